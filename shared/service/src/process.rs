use std::process::ExitCode;

use clap::{Args, Parser};

use crate::{Failure, Fatal, Limits, Listener, LogArgs, ServerArgs, Shutdown};

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
}

/// The whole of a service's `main`: settings, logs, the socket, then `serve` until a signal.
///
/// The socket is bound before `serve` loads anything, so that a port in use is told at once.
pub fn run_process<A, S>(name: &'static str, about: &'static str, serve: S) -> ExitCode
where
    A: Args,
    S: AsyncFnOnce(A, Listener, Limits, &Shutdown) -> Result<(), Fatal>,
{
    let command = <Process<A> as clap::CommandFactory>::command().name(name).about(about);
    // clap's own exit codes are 0 for help and 2 for bad usage, as they should be.
    let matches = command.get_matches();
    let process = match <Process<A> as clap::FromArgMatches>::from_arg_matches(&matches) {
        Ok(process) => process,
        Err(error) => error.exit(),
    };
    match run(process, serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fatal) => fatal.report(),
    }
}

fn run<A, S>(process: Process<A>, serve: S) -> Result<(), Fatal>
where
    A: Args,
    S: AsyncFnOnce(A, Listener, Limits, &Shutdown) -> Result<(), Fatal>,
{
    process.logs.init().map_err(Fatal::usage)?;
    let runtime = tokio::runtime::Runtime::new().map_err(Fatal::failed)?;
    let result = runtime.block_on(async {
        let shutdown = Shutdown::new();
        shutdown.on_signals().map_err(Fatal::failed)?;
        let listener = Listener::bind(process.server.listen).await.map_err(Fatal::usage)?;
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
