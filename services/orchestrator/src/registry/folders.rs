use std::path::{Component, Path, PathBuf};

use cogwheel_lora::AdapterFiles;
use cogwheel_service::{Failure, Fatal};

/// Endings of files that are taken for adapters; pickles too, so that they are told of.
const ENDINGS: [&str; 6] = ["safetensors", "bin", "pt", "pth", "ckpt", "pkl"];

/// The folders that adapters may be read from.
#[derive(Debug)]
pub(super) struct Folders {
    /// Without links.
    dirs: Vec<PathBuf>,
}

impl Folders {
    /// # Errors
    /// A folder that is not there.
    pub(super) fn new(dirs: &[PathBuf]) -> Result<Self, Fatal> {
        let resolve = |dir: &PathBuf| match dir.canonicalize() {
            Ok(dir) if dir.is_dir() => Ok(dir),
            Ok(_) => Err(unfit(dir, "a file")),
            Err(error) => Err(unfit(dir, error)),
        };
        Ok(Self { dirs: dirs.iter().map(resolve).collect::<Result<_, _>>()? })
    }

    /// What lies directly in the folders and may be an adapter, by file or folder name.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub(super) fn entries(&self) -> Result<Vec<(String, PathBuf)>, Fatal> {
        let mut entries = Vec::new();
        for dir in &self.dirs {
            let unreadable = |error: std::io::Error| unfit(dir, error);
            for entry in dir.read_dir().map_err(unreadable)? {
                let path = entry.map_err(unreadable)?.path();
                let is_file = path
                    .extension()
                    .is_some_and(|e| ENDINGS.iter().any(|end| e.eq_ignore_ascii_case(end)));
                let name = if path.is_dir() { path.file_name() } else { path.file_stem() };
                let Some(name) = name.map(|name| name.to_string_lossy().into_owned()) else {
                    continue;
                };
                if (path.is_dir() || is_file) && !name.starts_with('.') {
                    entries.push((name, path));
                }
            }
        }
        entries.sort();
        Ok(entries)
    }

    /// The files of an adapter at a path that a caller names: below the folders once every link is
    /// followed. A relative path is looked for in each folder.
    ///
    /// # Errors
    /// [`Failure::PermissionDenied`] for what is outside of them, whether or not it is there;
    /// [`Failure::Invalid`] for what is not there or no adapter.
    pub(super) fn find(
        &self,
        path: &Path,
        weight_name: Option<&str>,
    ) -> Result<AdapterFiles, Failure> {
        let path = self.resolve(path)?;
        let found = AdapterFiles::find(&path, weight_name);
        // A file in an allowed folder may itself be a link.
        self.again(&found.map_err(|error| super::refused("path", &error))?)
    }

    /// Files that were found before, if they are still below the folders.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub(super) fn again(&self, files: &AdapterFiles) -> Result<AdapterFiles, Failure> {
        Ok(AdapterFiles {
            weights: self.inside(&files.weights)?,
            config: files.config.as_deref().map(|config| self.inside(config)).transpose()?,
        })
    }

    fn resolve(&self, path: &Path) -> Result<PathBuf, Failure> {
        let plain = |part| !matches!(part, Component::ParentDir);
        if !path.components().all(plain) {
            return Err(self.denied(path));
        }
        if path.is_absolute() {
            return self.inside(path);
        }
        let candidates = self.dirs.iter().map(|dir| dir.join(path));
        match candidates.into_iter().find(|path| path.symlink_metadata().is_ok()) {
            Some(path) => self.inside(&path),
            None if self.dirs.is_empty() => Err(self.denied(path)),
            None => Err(missing(path)),
        }
    }

    /// The path without links, if it is below the folders.
    fn inside(&self, path: &Path) -> Result<PathBuf, Failure> {
        match path.canonicalize() {
            Ok(real) if self.holds(&real) => Ok(real),
            // Whether there is something outside is nobody's to learn.
            Err(_) if self.holds(path) => Err(missing(path)),
            _ => Err(self.denied(path)),
        }
    }

    /// Whether a path without links is one of the folders or below one.
    pub(super) fn holds(&self, path: &Path) -> bool {
        self.dirs.iter().any(|dir| path.starts_with(dir))
    }

    fn denied(&self, path: &Path) -> Failure {
        let expected = match self.dirs.len() {
            0 => "an upload, since this server has no adapter folders".to_owned(),
            _ => "a path below this server's adapter folders".to_owned(),
        };
        Failure::PermissionDenied(format!("path: expected {expected}, found '{}'", shown(path)))
    }
}

fn missing(path: &Path) -> Failure {
    Failure::invalid("path", format!("expected an adapter, found nothing at '{}'", shown(path)))
}

fn shown(path: &Path) -> String {
    path.display().to_string().escape_debug().take(512).collect()
}

fn unfit(dir: &Path, found: impl std::fmt::Display) -> Fatal {
    Fatal::usage(format!("--adapter-dir {}: expected a folder, found {found}", dir.display()))
}
