use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use ring::digest::{SHA256, digest};
use tracing::{error, info};

/// How often files are looked at. Certificates live for hours at least, and a volume of Kubernetes needs longer than this.
const INTERVAL: Duration = Duration::from_secs(2);

/// Makes a value of the contents of its files.
type Read<T> = Box<dyn Fn(&[Contents]) -> Result<T, String> + Send + Sync>;

/// One file, as it was read.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) path: PathBuf,
    pub(crate) bytes: Vec<u8>,
}

/// What is read from files, and read again whenever they change. Contents count, not times: a volume swaps links.
///
/// What cannot be read leaves the value as it was, and is told once.
pub(crate) struct Reloaded<T> {
    /// What it is, in the log.
    what: &'static str,
    files: Vec<PathBuf>,
    read: Read<T>,
    state: Mutex<State<T>>,
}

struct State<T> {
    value: Arc<T>,
    /// Of the files that were last tried.
    tried: Fingerprint,
    /// What came of it, until it has been told.
    untold: Option<String>,
}

/// Of the files' contents; `None` where one could not be read.
type Fingerprint = Option<[u8; 32]>;

impl<T: Send + Sync + 'static> Reloaded<T> {
    /// Reads the files.
    ///
    /// # Errors
    /// A file that cannot be read, or what `read` says.
    pub(crate) fn open(
        what: &'static str,
        files: Vec<PathBuf>,
        read: impl Fn(&[Contents]) -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<Self, String> {
        let contents = contents(&files)?;
        let value = Arc::new(read(&contents)?);
        let tried = Some(fingerprint(&contents));
        let state = Mutex::new(State { value, tried, untold: None });
        Ok(Self { what, files, read: Box::new(read), state })
    }

    /// As it was last read.
    pub(crate) fn latest(&self) -> Arc<T> {
        Arc::clone(&self.state().value)
    }

    /// Looks at the files.
    pub(crate) fn refresh(&self) {
        let contents = contents(&self.files);
        let found = contents.as_ref().ok().map(|contents| fingerprint(contents));
        let mut state = self.state();
        if found == state.tried {
            // Told when it was the same twice: certificate and key are seldom replaced in one stroke.
            if let Some(reason) = state.untold.take() {
                error!(what = self.what, reason, "cannot be reloaded: what was read before stays");
            }
            return;
        }
        state.tried = found;
        match contents.and_then(|contents| (self.read)(&contents)) {
            Ok(value) => {
                *state = State { value: Arc::new(value), tried: found, untold: None };
                info!(what = self.what, "reloaded");
            }
            Err(reason) => state.untold = Some(reason),
        }
    }

    /// Looks at the files from now on, until nobody has this any more.
    pub(crate) fn watch(self: &Arc<Self>) {
        let weak = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(INTERVAL).await;
                let Some(this) = Weak::upgrade(&weak) else { return };
                // A file system that hangs keeps a thread of its own waiting.
                if tokio::task::spawn_blocking(move || this.refresh()).await.is_err() {
                    return;
                }
            }
        });
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> fmt::Debug for Reloaded<T> {
    /// Nothing of the value, which may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloaded").field("files", &self.files).finish_non_exhaustive()
    }
}

fn contents(files: &[PathBuf]) -> Result<Vec<Contents>, String> {
    files.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Result<Contents, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(Contents { path: path.to_owned(), bytes })
}

fn fingerprint(contents: &[Contents]) -> [u8; 32] {
    let each = contents.iter().map(|file| digest(&SHA256, &file.bytes));
    let all: Vec<u8> = each.flat_map(|digest| digest.as_ref().to_vec()).collect();
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(digest(&SHA256, &all).as_ref());
    fingerprint
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number in a file.
    fn number(path: &Path) -> Result<Reloaded<u32>, String> {
        Reloaded::open("the number", vec![path.to_owned()], |contents| {
            let text = String::from_utf8_lossy(&contents[0].bytes);
            text.parse().map_err(|_| format!("expected a number, found '{text}'"))
        })
    }

    #[test]
    fn what_changes_is_read_again_and_what_is_broken_leaves_it_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        assert!(number(&path).unwrap_err().contains("number: "));
        std::fs::write(&path, "one").unwrap();
        assert_eq!(number(&path).unwrap_err(), "expected a number, found 'one'");
        std::fs::write(&path, "1").unwrap();
        let number = number(&path).unwrap();
        for (text, expected) in [("2", 2), ("three", 2), ("3", 3)] {
            std::fs::write(&path, text).unwrap();
            number.refresh();
            assert_eq!(*number.latest(), expected);
        }
        std::fs::remove_file(&path).unwrap();
        number.refresh();
        assert_eq!(*number.latest(), 3);
        std::fs::write(&path, "4").unwrap();
        number.refresh();
        assert_eq!(*number.latest(), 4);
    }

    #[test]
    fn what_is_broken_is_told_only_when_it_stays_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        std::fs::write(&path, "1").unwrap();
        let number = number(&path).unwrap();
        std::fs::write(&path, "half of a nu").unwrap();
        number.refresh();
        assert!(number.state().untold.is_some());
        number.refresh();
        assert!(number.state().untold.is_none());
        assert_eq!(*number.latest(), 1);
    }
}
