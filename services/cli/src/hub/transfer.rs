use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use reqwest::StatusCode;
use reqwest::header::CONTENT_RANGE;
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};

use super::progress::Progress;
use super::remote::{Remote, reason};
use super::{Checksum, HubCache, HubError, HubFile, ModelName, Revision};

/// Bytes read at once of what a transfer before has left.
const PIECE: usize = 1 << 20;

/// Brings a file's bytes into the cache, unless they are there: `blobs/DIGEST`, once all of them have come and are those that
/// the hub lists. What is cut stays as `blobs/DIGEST.incomplete`, as that of the hub's own programs, and goes on there.
///
/// # Cancel safety
/// What has come stays for the next time.
///
/// # Errors
/// What the hub or the disk answers; other bytes than those that are listed, of which nothing is kept.
pub(super) async fn fetch(
    remote: &Remote,
    cache: &HubCache,
    name: &ModelName,
    commit: &Revision,
    file: &HubFile,
    progress: &mut Progress,
) -> Result<(), HubError> {
    let blob = cache.blobs(name).join(file.checksum.digits());
    if has(&blob, file.size) {
        return Ok(());
    }
    let _lock = Lock::take(cache, name, file)?;
    // Whoever had the lock may have fetched it.
    if has(&blob, file.size) {
        return Ok(());
    }
    let mut part = Part::open(blob.with_extension("incomplete"), file)?;
    part.read_what_is_there(progress).await?;
    if part.length < file.size || file.size == 0 {
        part.receive(remote, name, commit, progress).await?;
    }
    part.become_blob(&blob)
}

/// Whether a whole file is there: nothing else gets a digest as its name.
pub(super) fn has(blob: &Path, size: u64) -> bool {
    fs::metadata(blob).is_ok_and(|found| found.is_file() && found.len() == size)
}

/// What has come of a file.
struct Part<'a> {
    path: PathBuf,
    file: File,
    of: &'a HubFile,
    /// Bytes that are there.
    length: u64,
    hash: Context,
}

impl<'a> Part<'a> {
    fn open(path: PathBuf, of: &'a HubFile) -> Result<Self, HubError> {
        let wrong = |error: &io::Error| HubError::file(&path, error);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|error| HubError::file(folder, &error))?;
        }
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(|error| wrong(&error))?;
        Ok(Self { path, file, of, length: 0, hash: hash(of) })
    }

    /// Takes what a transfer before has left; of what is longer than the whole, nothing.
    async fn read_what_is_there(&mut self, progress: &mut Progress) -> Result<(), HubError> {
        let found = self.file.metadata().map_err(|error| self.wrong(&error))?.len();
        if found > self.of.size {
            return self.start_again();
        }
        let mut piece = vec![0; PIECE];
        while self.length < found {
            let count = self.file.read(&mut piece).map_err(|error| self.wrong(&error))?;
            if count == 0 {
                break;
            }
            self.hash.update(&piece[..count]);
            self.length += count as u64;
            progress.has(count as u64);
            // Many gigabytes may be there already; an interruption is heard in between.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Writes what comes, at most as much as is missing.
    async fn receive(
        &mut self,
        remote: &Remote,
        name: &ModelName,
        commit: &Revision,
        progress: &mut Progress,
    ) -> Result<(), HubError> {
        let mut response = remote.file(name, commit, &self.of.path, self.length).await?;
        if self.length > 0 {
            let range = response.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
            let goes_on =
                range.is_some_and(|range| range.starts_with(&format!("bytes {}-", self.length)));
            if response.status() != StatusCode::PARTIAL_CONTENT || !goes_on {
                // A server that begins anew.
                progress.lost(self.length);
                self.start_again()?;
                if response.status() == StatusCode::PARTIAL_CONTENT {
                    response = remote.file(name, commit, &self.of.path, 0).await?;
                }
            }
        }
        // Another length is another file; the same one that ends early is a cut one.
        let whole = response.content_length().map(|rest| self.length.saturating_add(rest));
        if let Some(found) = whole.filter(|&found| found != self.of.size) {
            return Err(self.damaged(format!("{} bytes", self.of.size), format!("{found} bytes")));
        }
        loop {
            let piece = match response.chunk().await {
                Ok(Some(piece)) => piece,
                Ok(None) if self.length == self.of.size => return Ok(()),
                Ok(None) => return Err(self.cut(name, "the connection was closed".to_owned())),
                Err(error) => return Err(self.cut(name, reason(&error))),
            };
            if piece.len() as u64 > self.of.size - self.length {
                return Err(self.damaged(format!("{} bytes", self.of.size), "more".to_owned()));
            }
            self.file.write_all(&piece).map_err(|error| self.wrong(&error))?;
            self.hash.update(&piece);
            self.length += piece.len() as u64;
            progress.came(piece.len() as u64);
        }
    }

    /// Gives it its name in the cache if it is the file.
    fn become_blob(mut self, blob: &Path) -> Result<(), HubError> {
        let digest = std::mem::replace(&mut self.hash, hash(self.of)).finish();
        let found = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        if found != self.of.checksum.digits() {
            return Err(self.damaged(self.of.checksum.to_string(), found));
        }
        self.file.sync_all().map_err(|error| self.wrong(&error))?;
        fs::rename(&self.path, blob).map_err(|error| HubError::file(blob, &error))
    }

    fn start_again(&mut self) -> Result<(), HubError> {
        let truncated = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        truncated.map_err(|error| self.wrong(&error))?;
        (self.length, self.hash) = (0, hash(self.of));
        Ok(())
    }

    fn cut(&self, name: &ModelName, reason: String) -> HubError {
        let (found, expected) = (self.length, self.of.size);
        HubError::Cut { path: self.of.path.clone(), name: name.clone(), found, expected, reason }
    }

    /// Takes it away.
    fn damaged(&self, expected: String, found: String) -> HubError {
        let _ = fs::remove_file(&self.path);
        HubError::Damaged { path: self.of.path.clone(), expected, found }
    }

    fn wrong(&self, error: &io::Error) -> HubError {
        HubError::file(&self.path, error)
    }
}

fn hash(file: &HubFile) -> Context {
    match file.checksum {
        Checksum::Sha256(_) => Context::new(&SHA256),
        Checksum::GitBlob(_) => {
            let mut hash = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
            hash.update(format!("blob {}\0", file.size).as_bytes());
            hash
        }
    }
}

/// The right to write a file, among all programs that use the cache; it ends with the process.
struct Lock {
    _file: File,
}

impl Lock {
    fn take(cache: &HubCache, name: &ModelName, file: &HubFile) -> Result<Self, HubError> {
        let folder = cache.locks(name);
        fs::create_dir_all(&folder).map_err(|error| HubError::file(&folder, &error))?;
        let path = folder.join(format!("{}.lock", file.checksum.digits()));
        let open = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let lock = open.map_err(|error| HubError::file(&path, &error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { _file: lock }),
            Err(fs::TryLockError::WouldBlock) => Err(HubError::Busy { path: file.path.clone() }),
            // Some network file systems have no locks, and then nobody has them.
            Err(fs::TryLockError::Error(_)) => Ok(Self { _file: lock }),
        }
    }
}
