use cogwheel_lora::{Adapter, AdapterError, AdapterFiles};
use cogwheel_service::Fatal;

use crate::args::Lora;
use crate::client::Upload;

/// Looks at an adapter's file before it is sent: what is no adapter at all goes nowhere.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn upload(lora: &Lora) -> Result<Upload, Fatal> {
    let read = || -> Result<Upload, AdapterError> {
        let files = AdapterFiles::find(&lora.path, lora.weight_name.as_deref())?;
        let adapter = Adapter::open_files(&files)?;
        let name = lora
            .name
            .clone()
            .unwrap_or_else(|| default_name(&adapter.digest().to_string(), lora.alpha));
        Ok(Upload { name, alpha: lora.alpha, files })
    };
    read().map_err(Fatal::usage)
}

/// The first digits of a digest. A stated alpha makes another adapter of it, under another name.
pub(crate) fn default_name(digest: &str, alpha: Option<f64>) -> String {
    let digits: String = digest.chars().take(16).collect();
    match alpha {
        Some(alpha) => format!("{digits}-alpha-{alpha:e}"),
        None => digits,
    }
}
