use std::fs::{self, File};
use std::io;
use std::path::Path;

use tempfile::TempDir;

/// How the names of these folders begin.
const PREFIX: &str = "cogwheel-adapters-";
/// A file in each that its process holds locked as long as it lives.
const LOCK: &str = "lock";

/// A temporary folder that goes with the process; if that is killed, when the next one starts.
#[derive(Debug)]
pub(super) struct Folder {
    dir: TempDir,
    _lock: File,
}

impl Folder {
    /// A new one in `parent`, from which those of processes that are gone are removed.
    ///
    /// # Errors
    /// When there is no place for it.
    pub(super) fn new_in(parent: &Path) -> io::Result<Self> {
        sweep(parent);
        let dir = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
        // Nobody sees the file under its name before it is locked.
        let new = dir.path().join("lock.new");
        let lock = File::create(&new)?;
        lock.lock()?;
        fs::rename(new, dir.path().join(LOCK))?;
        Ok(Self { dir, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// Removes what nobody holds any more. Another user's cannot be removed, and stays.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.filter_map(Result::ok) {
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX)
            && entry.file_type().is_ok_and(|kind| kind.is_dir());
        if !is_ours {
            continue;
        }
        // Without one it is just being made. Anything but a file is another user's trap.
        let lock = entry.path().join(LOCK);
        if !lock.symlink_metadata().is_ok_and(|lock| lock.is_file()) {
            continue;
        }
        let Ok(lock) = File::open(lock) else { continue };
        if lock.try_lock().is_ok() && fs::remove_dir_all(entry.path()).is_ok() {
            tracing::info!(folder = %entry.path().display(), "adapters of a process that is gone removed");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use super::*;

    #[test]
    fn what_a_killed_process_left_is_removed_and_what_a_living_one_has_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let living = Folder::new_in(parent.path()).unwrap();
        let left = |name: &str, lock: bool| {
            let dir = parent.path().join(name);
            fs::create_dir_all(dir.join("adapter")).unwrap();
            if lock {
                File::create(dir.join(LOCK)).unwrap();
            }
            dir
        };
        let killed = left("cogwheel-adapters-abc", true);
        let beginning = left("cogwheel-adapters-def", false);
        let others = left("somebody's", true);
        let next = Folder::new_in(parent.path()).unwrap();
        assert!(!killed.exists());
        for there in [living.path(), next.path(), &beginning, &others] {
            assert!(there.exists(), "{}", there.display());
        }
    }
}
