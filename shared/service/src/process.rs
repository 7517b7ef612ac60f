use std::io::Write as _;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser};

use crate::config::{self, ConfigError, Parsed};
use crate::{
    ConfigArgs, Failure, Fatal, Limits, Listener, LogArgs, ServerArgs, Shutdown, Telemetry,
    TraceArgs,
};

/// Columns of the help on a wider terminal.
pub const HELP_WIDTH: usize = 100;

/// The settings of a whole process: its service's own, its server's, its logs'.
#[derive(Debug, Parser)]
#[command(version)]
struct Process<A: Args> {
    #[command(flatten)]
    service: A,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    logs: LogArgs,
    #[command(flatten)]
    traces: TraceArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

/// The command line of a service: its own settings, its server's, its logs'.
pub fn command<A: Args>(name: &'static str, about: &'static str) -> clap::Command {
    Process::<A>::command().name(name).about(about).max_term_width(HELP_WIDTH)
}

/// The whole of a service's `main`: settings, logs, the socket, then `serve` until a signal.
///
/// The socket is bound before `serve` loads anything, so that a port in use is told at once.
pub fn run_process<A, S>(name: &'static str, about: &'static str, serve: S) -> Result<(), Fatal>
where
    A: Args,
    S: AsyncFnOnce(A, Listener, Limits, &Shutdown) -> Result<(), Fatal>,
{
    cogwheel_engine::without_telemetry();
    let parsed = config::parse(command::<A>(name, about), &ServerArgs::TABLES, std::env::args_os());
    match parsed {
        Ok(Parsed::Run(mut config)) => {
            let mut process = Process::<A>::from_arg_matches(&config.matches)
                .map_err(|error| Fatal::usage(one_line(&error)))?;
            process.server.take_tables(&mut config.tables)?;
            run(name, process, serve)
        }
        Ok(Parsed::Print(text)) => {
            // A reader that has gone away (`| head`) is no failure of ours.
            let _ = write!(std::io::stdout(), "{text}");
            Ok(())
        }
        Err(ConfigError::Usage(text))
            if matches!(text.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) =>
        {
            let _ = text.print();
            Ok(())
        }
        Err(error) => Err(Fatal::usage(error)),
    }
}

/// clap's message without its label, usage and pointer to the help, on one line.
pub fn one_line(error: &clap::Error) -> String {
    let message = error.to_string();
    let told = message.split("\n\n").filter(|paragraph| {
        let paragraph = paragraph.trim_start();
        !paragraph.starts_with("Usage:") && !paragraph.starts_with("For more information")
    });
    let lines: Vec<String> = told
        .map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|line| !line.is_empty())
        .collect();
    let line = lines.join("; ");
    line.strip_prefix("error: ").map_or(line.clone(), str::to_owned)
}

fn run<A, S>(name: &str, process: Process<A>, serve: S) -> Result<(), Fatal>
where
    A: Args,
    S: AsyncFnOnce(A, Listener, Limits, &Shutdown) -> Result<(), Fatal>,
{
    let telemetry = Telemetry::begin(name, &process.logs, &process.traces).map_err(Fatal::usage)?;
    let result = serve_until_signal(process, serve);
    telemetry.finish();
    result
}

fn serve_until_signal<A, S>(process: Process<A>, serve: S) -> Result<(), Fatal>
where
    A: Args,
    S: AsyncFnOnce(A, Listener, Limits, &Shutdown) -> Result<(), Fatal>,
{
    let shutdown = Shutdown::new();
    // Answers until the very end.
    let _admin = process.server.admin(&shutdown)?;
    let runtime = tokio::runtime::Runtime::new().map_err(Fatal::failed)?;
    let result = runtime.block_on(async {
        shutdown.on_signals().map_err(Fatal::failed)?;
        let listener = process.server.bind().await?;
        let limits = Limits::from(&process.server);
        serve(process.service, listener, limits, &shutdown).await
    });
    // Blocking work that was cut is not waited for.
    runtime.shutdown_background();
    result
}

impl From<Failure> for Fatal {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Invalid(_) | Failure::Unfit(_) => Self::usage(failure),
            other => Self::failed(other),
        }
    }
}
