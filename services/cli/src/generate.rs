//! `cogwheel generate`: checks, asks, follows, writes.

mod adapters;
mod again;
mod batch;
mod brought;
mod comparison;
mod plan;
mod reception;
mod request;

use std::io::{ErrorKind, Write as _};
use std::path::Path;

use cogwheel_api::generation::v1::GenerateVideoRequest;
use cogwheel_service::{Dialer, Exit, Fatal, Signals};

use crate::args::GenerateArgs;
use crate::chain::Chain;
use crate::client::{Generation, Server};
use crate::output::Kind;
use crate::progress::Progress;
use again::Again;
use comparison::Comparison;
use plan::{Job, Plan, Source};
use reception::Reception;

/// Makes the videos that `args` ask for and prints where they are.
///
/// # Errors
/// A [`Fatal`] with the exit code; nothing incomplete is left behind.
pub fn run(args: GenerateArgs) -> Result<(), Fatal> {
    args.logs.init().map_err(Fatal::usage)?;
    let verbose = args.verbose;
    let plan = Plan::new(args)?;
    let runtime = tokio::runtime::Runtime::new().map_err(Fatal::failed)?;
    let result = runtime.block_on(async {
        let mut progress = Progress::new(verbose);
        let result = generate(plan, &mut progress).await;
        progress.clear();
        result
    });
    // What was cut is not waited for.
    runtime.shutdown_background();
    result
}

async fn generate(plan: Plan, progress: &mut Progress) -> Result<(), Fatal> {
    let interrupted = interruption()?;
    let Plan {
        source,
        jobs,
        notices,
        compare,
        mut loras,
        again,
        mut broken_lines,
        skip_broken,
        ..
    } = plan;
    let how = How { compare, again, skip_broken };
    for notice in notices {
        progress.note(&notice);
    }
    for note in std::mem::take(&mut loras.notes) {
        progress.note(&note);
    }
    let interrupted = std::pin::pin!(interrupted);
    let result = match source {
        Source::Endpoint(address, client) => {
            let server = client.server(address)?;
            let sent = async {
                for note in loras.send(&server).await? {
                    progress.note(&note);
                }
                follow_all(&server, jobs, &how, &mut broken_lines, progress).await
            };
            tokio::select! {
                result = sent => result,
                () = interrupted => Err(cut()),
            }
        }
        // Everything is there already.
        Source::Model(_) if jobs.is_empty() => Ok(()),
        Source::Model(settings) => {
            let (chain, address) = Chain::in_memory(*settings);
            let server = Server::at(address, &Dialer::default());
            let result = tokio::select! {
                result = follow_all(&server, jobs, &how, &mut broken_lines, progress) => result,
                () = interrupted => Err(cut()),
            };
            let is_done = result.is_ok();
            tokio::select! {
                result = chain.end(result) => result,
                // Once more: the user does not want to wait for an orderly end either.
                () = interruption()? => if is_done { Ok(()) } else { Err(cut()) },
            }
        }
    };
    match broken_lines {
        0 => result,
        // What could be made is there; a script must not take it for all.
        lines => result
            .and(Err(Fatal::usage(format!("--prompt-file: {lines} broken lines were left out")))),
    }
}

/// What holds for all requests of a command.
struct How {
    compare: Option<Kind>,
    again: Option<Again>,
    skip_broken: bool,
}

/// Runs one request after another; counts the lines that could not be made where they are to be left out.
async fn follow_all(
    server: &Server,
    jobs: Vec<Job>,
    how: &How,
    broken_lines: &mut usize,
    progress: &mut Progress,
) -> Result<(), Fatal> {
    let count = jobs.len();
    for (index, mut job) in jobs.into_iter().enumerate() {
        let own = job.read_own();
        let Job { request, video, latents, frames, line, .. } = job;
        if count > 1 {
            let path = video.path(0);
            progress.note(&format!("{} of {count}: {}", index + 1, path.display()));
        }
        let followed = match own {
            Ok(()) => {
                let again = how.again.clone();
                let reception = Reception::new(video, latents, &request, again, progress);
                follow(server, request, how.compare, reception).await
            }
            Err(fatal) => Err(fatal),
        };
        let Err(fatal) = followed.map_err(|fatal| frames.name(fatal)) else { continue };
        let Some(line) = line else { return Err(fatal) };
        let message = format!("line {line}: {}", fatal.message);
        if !how.skip_broken {
            return Err(Fatal { message, ..fatal });
        }
        progress.note(&message);
        *broken_lines += 1;
    }
    Ok(())
}

/// Runs one request to its end. It runs on the main thread, which nobody else waits for: files are
/// written right here.
async fn follow(
    server: &Server,
    mut request: GenerateVideoRequest,
    compare: Option<Kind>,
    mut reception: Reception<'_>,
) -> Result<(), Fatal> {
    let mut comparison = match compare {
        Some(kind) => Some(Comparison::begin(server, &mut request, kind, &mut reception).await?),
        None => None,
    };
    let mut generation = Generation::start(server, request).await?;
    while let Some(response) = generation.next().await? {
        let responses = match &mut comparison {
            Some(comparison) => comparison.turn(response)?,
            None => vec![response],
        };
        for response in responses {
            for path in reception.take(response)? {
                reception.progress().aside(|| print(&path))?;
            }
        }
    }
    reception.finish()
}

/// A reader of standard output that has gone away is no reason to lose the videos that follow.
fn print(path: &Path) -> Result<(), Fatal> {
    match writeln!(std::io::stdout(), "{}", path.display()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Fatal::failed(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

pub(crate) fn cut() -> Fatal {
    Fatal { exit: Exit::Interrupted, message: "interrupted".to_owned() }
}

/// Completes when the user or the system wants this process to end.
pub(crate) fn interruption() -> Result<impl Future<Output = ()>, Fatal> {
    let mut signals = Signals::new().map_err(Fatal::failed)?;
    Ok(async move { signals.next().await })
}
