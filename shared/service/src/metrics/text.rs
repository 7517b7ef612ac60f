use prometheus_client::encoding::prometheus_text;

use super::METRICS;

/// Media type of [`text`].
pub(crate) const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything that this process has counted and measured, in Prometheus' text form.
pub fn text() -> String {
    let mut text = String::new();
    // A string takes whatever is written to it.
    let _ = prometheus_text::encode(&mut text, &METRICS.registry);
    text
}
