//! What is being written lies beside its place under a name of its own until it is whole. Dropping
//! it removes it.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile, TempDir};

use super::WriteError;
use super::target::parent;

/// How temporary names begin.
const PREFIX: &str = ".cogwheel-";

/// A file that is not whole yet.
#[derive(Debug)]
pub(super) struct PendingFile {
    file: NamedTempFile,
    path: PathBuf,
}

impl PendingFile {
    /// Starts a file that will be called `path`.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let folder = parent(&resolve(path));
        let file = permitted(&mut Builder::new(), 0o666).prefix(PREFIX).tempfile_in(folder)?;
        Ok(Self { file, path: path.to_path_buf() })
    }

    /// Writes on.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.file
            .write_all(bytes)
            .map_err(|source| WriteError::Io { path: self.path.clone(), source })
    }

    /// Puts the file in its place, over what was there, and gives the place.
    pub(super) fn commit(self) -> Result<PathBuf, WriteError> {
        let place = resolve(&self.path);
        match self.file.persist(place) {
            Ok(_) => Ok(self.path),
            Err(error) => Err(WriteError::Io { path: self.path, source: error.error }),
        }
    }
}

/// A folder that is not whole yet.
#[derive(Debug)]
pub(super) struct PendingFolder {
    folder: TempDir,
    path: PathBuf,
}

impl PendingFolder {
    /// Starts a folder that will be called `path`, or files that will go into it if it exists.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let place = resolve(path);
        // Inside, not beside: what exists may be the root of another file system.
        let beside = if place.is_dir() { place } else { parent(&place) };
        let folder = permitted(&mut Builder::new(), 0o777).prefix(PREFIX).tempdir_in(beside)?;
        Ok(Self { folder, path: path.to_path_buf() })
    }

    /// What it will be called.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Starts a file in it.
    pub(super) fn file(&self, name: &str) -> Result<PendingFile, WriteError> {
        let path = self.folder.path().join(name);
        PendingFile::create(&path).map_err(|source| WriteError::Io { path, source })
    }

    /// Puts the folder in its place, or its files into what is there, over files of the same names.
    pub(super) fn commit(self) -> Result<PathBuf, WriteError> {
        let moved = self.move_into_place();
        moved.map_err(|source| WriteError::Io { path: self.path.clone(), source })?;
        Ok(self.path)
    }

    fn move_into_place(&self) -> io::Result<()> {
        let place = resolve(&self.path);
        if !place.is_dir() {
            return fs::rename(self.folder.path(), place);
        }
        for entry in fs::read_dir(self.folder.path())? {
            let entry = entry?;
            fs::rename(entry.path(), place.join(entry.file_name()))?;
        }
        Ok(())
    }
}

/// What a link leads to: the file behind it is replaced, not the link.
pub(super) fn resolve(path: &Path) -> PathBuf {
    if path.is_symlink() {
        fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf())
    } else {
        path.to_path_buf()
    }
}

/// A temporary file becomes the user's, so it gets the permissions that his umask leaves.
fn permitted<'a, 'b>(builder: &'a mut Builder<'b, 'b>, mode: u32) -> &'a mut Builder<'b, 'b> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(fs::Permissions::from_mode(mode));
    }
    #[cfg(not(unix))]
    let _ = mode;
    builder
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_stands_under_its_name_only_when_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clip.mp4");
        fs::write(&path, "the one before").unwrap();
        let mut file = PendingFile::create(&path).unwrap();
        file.write(b"the new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"the one before");
        assert_eq!(file.commit().unwrap(), path);
        assert_eq!(fs::read(&path).unwrap(), b"the new");
        assert_eq!(names(folder.path()), ["clip.mp4"]);
    }

    #[test]
    fn a_file_that_is_given_up_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = PendingFile::create(&folder.path().join("clip.mp4")).unwrap();
        file.write(b"half").unwrap();
        drop(file);
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn a_new_folder_appears_with_all_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clip/");
        let pending = PendingFolder::create(&path).unwrap();
        let mut file = pending.file("00000.png").unwrap();
        file.write(b"png").unwrap();
        file.commit().unwrap();
        assert!(!path.exists());
        pending.commit().unwrap();
        assert_eq!(names(folder.path()), ["clip"]);
        assert_eq!(names(&path), ["00000.png"]);
    }

    #[test]
    fn an_existing_folder_keeps_its_other_files() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("notes.txt"), "mine").unwrap();
        fs::write(folder.path().join("00000.png"), "before").unwrap();
        let pending = PendingFolder::create(folder.path()).unwrap();
        let mut file = pending.file("00000.png").unwrap();
        file.write(b"after").unwrap();
        file.commit().unwrap();
        pending.commit().unwrap();
        assert_eq!(names(folder.path()), ["00000.png", "notes.txt"]);
        assert_eq!(fs::read(folder.path().join("00000.png")).unwrap(), b"after");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_followed_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real.mp4"), folder.path().join("link.mp4"));
        fs::write(&real, "before").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let mut file = PendingFile::create(&link).unwrap();
        file.write(b"after").unwrap();
        assert_eq!(file.commit().unwrap(), link);
        assert!(link.is_symlink());
        assert_eq!(fs::read(&real).unwrap(), b"after");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_gets_the_permissions_of_any_new_file() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let plain = folder.path().join("plain");
        fs::write(&plain, "").unwrap();
        let path = folder.path().join("clip.mp4");
        PendingFile::create(&path).unwrap().commit().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&path), mode(&plain));
    }
}
