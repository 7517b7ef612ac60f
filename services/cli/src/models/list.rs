use std::fs;
use std::path::{Path, PathBuf};

use cogwheel_models::checkpoint::Checkpoint;
use cogwheel_service::Fatal;
use serde::Serialize;

use crate::hub::{HubCache, Snapshot};
use crate::shown;

/// A checkpoint in the hub's cache.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    /// Branches and tags, as they stood when they were fetched.
    revisions: Vec<String>,
    commit: String,
    /// Of the files of this commit; two commits may share some.
    bytes: u64,
    /// Whether it is one that can be opened.
    sound: bool,
    /// What it is, or why it cannot be opened.
    what: String,
    folder: PathBuf,
}

/// Prints which checkpoints in diffusers' layout are in the hub's cache.
///
/// # Errors
/// When there can be no cache.
pub(super) fn run(json: bool) -> Result<(), Fatal> {
    let cache = HubCache::of_environment()?;
    let rows: Vec<_> = cache.snapshots().into_iter().map(row).collect();
    let text = if json {
        format!("{}\n", serde_json::to_string_pretty(&rows).map_err(Fatal::failed)?)
    } else if rows.is_empty() {
        format!(
            "no checkpoint in {}: `cogwheel models pull OWNER/NAME` fetches one\n",
            cache.folder().display()
        )
    } else {
        text(&rows)
    };
    crate::adapters::print(&text)
}

fn row(snapshot: Snapshot) -> Row {
    let Snapshot { name, commit, revisions, folder } = snapshot;
    let (sound, what) = match Checkpoint::open(&folder) {
        Ok(checkpoint) => (true, checkpoint.family().to_string()),
        // The folder is told beside it.
        Err(error) => (false, error.to_string().replace(&format!("{}/", folder.display()), "")),
    };
    let (name, bytes) = (name.to_string(), bytes(&folder, DEPTH));
    Row { name, revisions, commit, bytes, sound, what, folder }
}

/// Folders within folders that are counted; a checkpoint has one level.
const DEPTH: u32 = 4;

/// Of all files of a folder, behind links too.
fn bytes(folder: &Path, depth: u32) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries.flatten().map(|entry| entry.path()).fold(0, |sum: u64, path| {
        sum.saturating_add(match fs::metadata(&path) {
            Ok(found) if found.is_dir() && depth > 0 => bytes(&path, depth - 1),
            Ok(found) if found.is_file() => found.len(),
            _ => 0,
        })
    })
}

fn text(rows: &[Row]) -> String {
    let names = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
    let line = |row: &Row| {
        let commit = row.commit.get(..12).unwrap_or(&row.commit);
        let revision = match &row.revisions[..] {
            [] => commit.to_owned(),
            revisions => format!("{commit} ({})", revisions.join(", ")),
        };
        let sound = if row.sound { "sound" } else { "unfit" };
        let size = format!("{:.2} GB", row.bytes as f64 / 1e9);
        let line = format!("{:<names$}  {revision:<20} {size:>9}  {sound}  {}", row.name, row.what);
        format!("{}\n", shown::line(line.trim_end()))
    };
    rows.iter().map(line).collect()
}
