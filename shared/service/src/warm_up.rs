use std::fmt;
use std::time::Instant;

use tracing::subscriber::{NoSubscriber, with_default};

use crate::metrics;

/// Loads a model by `load` and, where it is to stay, runs it once by `run`: what cannot be computed is
/// found out before anybody asks for it, and the first request does not pay for what is only made
/// by the first run.
pub fn warmed_up<M, E: fmt::Display>(
    service: &'static str,
    stays: bool,
    mut load: impl FnMut() -> Result<M, E> + Send + 'static,
    mut run: impl FnMut(&mut M) -> Result<(), E> + Send + 'static,
) -> impl FnMut() -> Result<M, String> + Send + 'static {
    move || {
        let start = Instant::now();
        let mut model = load().map_err(|error| error.to_string())?;
        let load_seconds = start.elapsed().as_secs_f64();
        if stays {
            // It is part of no generation's trace.
            let ran = with_default(NoSubscriber::default(), || run(&mut model));
            ran.map_err(|error| format!("the first run, of zeros: {error}"))?;
            let seconds = start.elapsed().as_secs_f64();
            tracing::info!(service, load_seconds, seconds, "loaded and run once");
        }
        metrics::model_loaded(service, start.elapsed());
        Ok(model)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_that_stays_is_run_once_before_it_is_there() {
        let loaded = |stays| {
            warmed_up(
                "vae",
                stays,
                || Ok::<_, String>(0),
                |runs| {
                    *runs += 1;
                    Ok(())
                },
            )()
        };
        assert_eq!(loaded(true), Ok(1));
        assert_eq!(loaded(false), Ok(0));
    }

    #[test]
    fn a_model_that_cannot_be_run_is_not_there() {
        let mut load = warmed_up("vae", true, || Ok(()), |()| Err("no kernel"));
        assert_eq!(load().unwrap_err(), "the first run, of zeros: no kernel");
    }
}
