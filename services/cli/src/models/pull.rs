use cogwheel_models::checkpoint::Checkpoint;
use cogwheel_service::Fatal;

use super::Weights;
use crate::generate::{cut, interruption};
use crate::hub::{self, ModelName, Pulled, Revision};

/// Fetches a model, opens what has come, tells what it is, and prints where.
///
/// # Errors
/// What the hub or the disk answers; a checkpoint that is unfit, or an interruption. What has come stays.
pub(super) fn run(name: &ModelName, revision: &Revision) -> Result<(), Fatal> {
    let runtime = tokio::runtime::Runtime::new().map_err(Fatal::failed)?;
    let pulled = runtime.block_on(async {
        let interrupted = interruption()?;
        tokio::select! {
            pulled = hub::pull(name, revision) => pulled,
            () = interrupted => Err(cut()),
        }
    });
    runtime.shutdown_background();
    let pulled = pulled?;
    let told = told(name, &pulled)?;
    hub::say(&told);
    crate::adapters::print(&format!("{}\n", pulled.folder.display()))
}

/// What a pulled checkpoint is, in a line: its configs and the headers of its weights are sound.
fn told(name: &ModelName, pulled: &Pulled) -> Result<String, Fatal> {
    let checkpoint = Checkpoint::open(&pulled.folder).map_err(Fatal::usage)?;
    Weights::of(&checkpoint).map_err(Fatal::usage)?;
    let (family, commit) = (checkpoint.family(), &pulled.commit);
    let size = format!("{} files, {:.2} GB", pulled.files, pulled.bytes as f64 / 1e9);
    let fetched = match pulled.fetched {
        0 => "nothing to fetch".to_owned(),
        bytes => format!("{:.2} GB of it fetched now", bytes as f64 / 1e9),
    };
    Ok(format!("{name} at {commit}: {family}; {size}, {fetched}"))
}
