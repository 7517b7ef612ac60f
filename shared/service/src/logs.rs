use std::io::IsTerminal as _;

use clap::{Args, ValueEnum};
use tracing::Subscriber;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer};

/// Settings of the logs.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Logs")]
pub struct LogArgs {
    /// Form of the log lines on standard error
    #[arg(
        long,
        value_enum,
        default_value = "text",
        env = "COGWHEEL_LOG_FORMAT",
        value_name = "FORM"
    )]
    pub log_format: LogFormat,
    /// What is logged: a level, or `target=level` pairs separated by commas
    #[arg(long, default_value = "info", env = "COGWHEEL_LOG", value_name = "FILTER")]
    pub log: String,
}

/// Form of the log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One readable line an event.
    Text,
    /// One JSON object an event.
    Json,
}

impl LogArgs {
    /// Sends logs to standard error from now on. Prompts are never logged.
    ///
    /// # Errors
    /// When the filter cannot be read; the message says where.
    pub fn init(&self) -> Result<(), String> {
        tracing_subscriber::registry().with(self.lines()?).init();
        Ok(())
    }

    /// What writes the lines.
    pub(crate) fn lines<S>(&self) -> Result<impl Layer<S> + use<S>, String>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let filter = EnvFilter::try_new(&self.log).map_err(|error| {
            format!("--log: expected a filter such as info or h2=warn: {error}")
        })?;
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal());
        let lines = match self.log_format {
            LogFormat::Text => lines.boxed(),
            LogFormat::Json => lines.json().flatten_event(true).boxed(),
        };
        Ok(lines.with_filter(filter))
    }
}
