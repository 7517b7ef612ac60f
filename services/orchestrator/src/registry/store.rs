use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use cogwheel_lora::AdapterFiles;
use cogwheel_service::Fatal;
use cogwheel_weights::Digest;
use tempfile::{NamedTempFile, TempDir};

use super::folders::Folders;
use super::kept::Kept;
use super::names::{Entry, Names};

/// What a file is called while it comes; what is left of them after a crash is removed.
const INCOMING: &str = ".incoming-";
const WEIGHTS: &str = ".safetensors";
const CONFIG: &str = ".adapter_config.json";
const NAMES: &str = "adapters.json";
const LOCK: &str = ".lock";

/// The folder of uploaded adapters: each under its digest, and the names beside them.
///
/// Nothing stands under a digest before it is whole: files are written under another name, flushed
/// and renamed.
#[derive(Debug)]
pub(super) struct Store {
    place: Place,
    kept: Mutex<HashMap<String, Weak<Kept>>>,
}

#[derive(Debug)]
enum Place {
    /// Outlives the process, which holds the lock.
    Durable { dir: PathBuf, _lock: File },
    /// Made when it is first used, removed with the process.
    Temporary(Mutex<Option<TempDir>>),
}

/// Files that come in. Dropping this removes them.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) weights: NamedTempFile,
    pub(crate) config: Option<NamedTempFile>,
}

impl Store {
    /// Opens the store of a data folder, which is made where it is missing.
    ///
    /// # Errors
    /// A folder that cannot be written, that another process uses, or that lies in one of the folders
    /// of adapters: what lies there is its owner's and nothing to remove.
    pub(super) fn durable(data_dir: &Path, folders: &Folders) -> Result<Self, Fatal> {
        let dir = data_dir.join("adapters");
        let unfit = |found: &dyn std::fmt::Display| {
            let expected = "expected a folder that can be written";
            Fatal::usage(format!("--data-dir {}: {expected}, found {found}", data_dir.display()))
        };
        // What is refused leaves no folder behind: the nearest one that is there says where it would be.
        let there = dir.ancestors().find_map(|there| there.canonicalize().ok());
        if there.is_some_and(|there| folders.holds(&there)) {
            return Err(unfit(&"one whose adapters/ is part of an --adapter-dir"));
        }
        fs::create_dir_all(&dir).map_err(|error| unfit(&error))?;
        let lock = File::options().create(true).truncate(false).write(true).open(dir.join(LOCK));
        let lock = lock.map_err(|error| unfit(&error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(unfit(&"that another server uses it")),
            Err(fs::TryLockError::Error(error)) => return Err(unfit(&error)),
        }
        Ok(Self { place: Place::Durable { dir, _lock: lock }, kept: Mutex::default() })
    }

    /// A store of this process alone.
    pub(super) fn temporary() -> Self {
        Self { place: Place::Temporary(Mutex::default()), kept: Mutex::default() }
    }

    /// Places for files to come.
    ///
    /// # Errors
    /// When they cannot be made.
    pub(super) fn incoming(&self, with_config: bool) -> io::Result<Incoming> {
        let dir = self.dir()?;
        let file =
            |ending| tempfile::Builder::new().prefix(INCOMING).suffix(ending).tempfile_in(&dir);
        let config = if with_config { Some(file(CONFIG)?) } else { None };
        Ok(Incoming { weights: file(WEIGHTS)?, config })
    }

    /// Puts files under their digest, which are [flushed](Incoming::flush) already. Where files stand there that are
    /// still what they were, reading all of them, they stay; what was damaged or removed since is replaced. No name
    /// stands for them yet.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(super) fn keep(
        self: &Arc<Self>,
        digest: &str,
        incoming: Incoming,
    ) -> io::Result<Arc<Kept>> {
        // Held, so that it stays; read without the lock, for which others wait.
        if let Some(same) = self.held(digest).filter(|same| same.are_sound(digest)) {
            return Ok(same);
        }
        let mut kept = lock(&self.kept);
        let Incoming { weights, config } = incoming;
        let files = self.files(digest, config.is_some())?;
        // The weights last: a config alone stands for nothing.
        if let (Some(file), Some(path)) = (config, &files.config) {
            persist(file, path)?;
        }
        persist(weights, &files.weights)?;
        // Who holds what was damaged has these from now on.
        if let Some(same) = kept.get(digest).and_then(Weak::upgrade) {
            return Ok(same);
        }
        Ok(self.hold(&mut kept, digest, files, false))
    }

    /// What was put there in another run.
    ///
    /// # Errors
    /// When the store has no folder.
    pub(super) fn kept(self: &Arc<Self>, digest: &str) -> io::Result<Arc<Kept>> {
        if let Some(same) = self.held(digest) {
            return Ok(same);
        }
        let mut kept = lock(&self.kept);
        let mut files = self.files(digest, true)?;
        // Both have the digest in their names: a config that is there is the one it was made of.
        files.config = files.config.filter(|config| config.exists());
        Ok(self.hold(&mut kept, digest, files, true))
    }

    /// The names of another run; `None` where none were ever written, as in a temporary store.
    ///
    /// # Errors
    /// When they cannot be read or understood.
    pub(super) fn names(&self) -> Result<Option<Names>, Fatal> {
        let Place::Durable { dir, .. } = &self.place else { return Ok(None) };
        Names::read(&dir.join(NAMES))
    }

    /// Writes the names down, all or nothing.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(super) fn write_names(&self, names: &Names) -> io::Result<()> {
        let Place::Durable { dir, .. } = &self.place else { return Ok(()) };
        let mut file = tempfile::Builder::new().prefix(INCOMING).tempfile_in(dir)?;
        file.write_all(&names.to_json()?)?;
        file.as_file().sync_all()?;
        persist(file, &dir.join(NAMES))?;
        // The name itself is durable only with its folder.
        File::open(dir)?.sync_all()
    }

    /// Removes what a crash left of incoming files and, where the names are known, the store's own
    /// files that none of them stands for. Files of any other name are somebody's.
    pub(super) fn sweep(&self, names: Option<&Names>) {
        let Place::Durable { dir, .. } = &self.place else { return };
        let Ok(entries) = dir.read_dir() else { return };
        let is_unnamed = |digest: &str| {
            let stands_for = |entry: &Entry| entry.path.is_none() && entry.digest == digest;
            names.is_some_and(|names| !names.adapters.iter().any(stands_for))
        };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let stem = name.strip_suffix(WEIGHTS).or_else(|| name.strip_suffix(CONFIG));
            let digest = stem.filter(|stem| stem.parse::<Digest>().is_ok());
            if name.starts_with(INCOMING) || digest.is_some_and(is_unnamed) {
                tracing::info!(file = name, "no adapter has this file, removed");
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn dir(&self) -> io::Result<PathBuf> {
        match &self.place {
            Place::Durable { dir, .. } => Ok(dir.clone()),
            Place::Temporary(dir) => {
                let mut dir = lock(dir);
                let made = match dir.take() {
                    Some(made) => made,
                    None => tempfile::Builder::new().prefix("cogwheel-adapters-").tempdir()?,
                };
                Ok(dir.insert(made).path().to_path_buf())
            }
        }
    }

    fn files(&self, digest: &str, with_config: bool) -> io::Result<AdapterFiles> {
        let dir = self.dir()?;
        Ok(AdapterFiles {
            weights: dir.join(format!("{digest}{WEIGHTS}")),
            config: with_config.then(|| dir.join(format!("{digest}{CONFIG}"))),
        })
    }

    fn held(&self, digest: &str) -> Option<Arc<Kept>> {
        lock(&self.kept).get(digest).and_then(Weak::upgrade)
    }

    fn hold(
        self: &Arc<Self>,
        kept: &mut HashMap<String, Weak<Kept>>,
        digest: &str,
        files: AdapterFiles,
        is_named: bool,
    ) -> Arc<Kept> {
        let new = Arc::new(Kept::stored(self, digest, files, is_named));
        kept.insert(digest.to_owned(), Arc::downgrade(&new));
        new
    }

    /// Removes files that nobody holds any more.
    pub(super) fn discard(&self, digest: &str, files: &AdapterFiles) {
        let mut kept = lock(&self.kept);
        // The same adapter may have come again while the last one who held it let go.
        if kept.get(digest).is_some_and(|again| again.strong_count() > 0) {
            return;
        }
        kept.remove(digest);
        for file in [Some(&files.weights), files.config.as_ref()].into_iter().flatten() {
            let _ = fs::remove_file(file);
        }
    }
}

impl Incoming {
    /// Sees to it that what was written outlives a crash. Takes as long as the disk needs for all of
    /// it: nothing that others wait for is held meanwhile.
    ///
    /// # Errors
    /// What the disk says.
    pub(super) fn flush(&self) -> io::Result<()> {
        let files = [Some(&self.weights), self.config.as_ref()];
        files.into_iter().flatten().try_for_each(|file| file.as_file().sync_all())
    }
}

fn persist(file: NamedTempFile, path: &Path) -> io::Result<()> {
    file.persist(path).map(drop).map_err(|error| error.error)
}

/// What is behind these locks is changed in one step each, so that a panic elsewhere spoils nothing.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
