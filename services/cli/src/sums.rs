//! Whether the files of a folder are those that its `B3SUMS` names: lines of `b3sum`, as `b3sum --check` reads them.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use cogwheel_weights::Digest;

/// The file that names a folder's files.
pub const FILE: &str = "B3SUMS";
/// The most that it may take.
const MAX_BYTES: u64 = 1 << 20;

/// Why a folder is not as its `B3SUMS` says.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum SumsError {
    #[error("{path}: {source}")]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{path}: expected a regular file, found none")]
    NoFile { path: PathBuf },
    #[error("{path}: expected at least one file's digest, found none")]
    Empty { path: PathBuf },
    #[error("{path}: expected at most {MAX_BYTES} bytes, found {found}")]
    Long { path: PathBuf, found: u64 },
    #[error(
        "{path}: line {line}: expected 64 hexadecimal digits, two spaces and the path of a file in the folder"
    )]
    Line { path: PathBuf, line: usize },
    #[error("{path}: missing; expected a file with digest {expected}")]
    Missing { path: PathBuf, expected: Digest },
    #[error("{path}: altered; expected digest {expected}, found {found}")]
    Altered { path: PathBuf, expected: Digest, found: Digest },
}

impl SumsError {
    /// What to do, after the message.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Missing { .. } | Self::Altered { .. } => ": fetch the file again",
            _ => "",
        }
    }
}

/// Compares every file that the folder's `B3SUMS` names; how many these are, or `None` in a folder without one.
///
/// # Errors
/// The first file that is missing or altered; a list that cannot be read.
pub fn check(folder: &Path) -> Result<Option<usize>, SumsError> {
    let path = folder.join(FILE);
    let text = match fs::metadata(&path) {
        // Opening a pipe would wait for whoever writes.
        Ok(metadata) if !metadata.is_file() => return Err(SumsError::NoFile { path }),
        Ok(metadata) if metadata.len() > MAX_BYTES => {
            return Err(SumsError::Long { path, found: metadata.len() });
        }
        Ok(_) => fs::read_to_string(&path)
            .map_err(|source| SumsError::Unreadable { path: path.clone(), source })?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(SumsError::Unreadable { path, source }),
    };
    if text.trim().is_empty() {
        return Err(SumsError::Empty { path });
    }
    for (index, line) in text.lines().enumerate() {
        let (expected, name) =
            entry(line).ok_or_else(|| SumsError::Line { path: path.clone(), line: index + 1 })?;
        compare(folder.join(name), expected)?;
    }
    Ok(Some(text.lines().count()))
}

/// A line's digest and path, which leads nowhere out of the folder.
fn entry(line: &str) -> Option<(Digest, &Path)> {
    let (digest, name) = line.split_once("  ")?;
    let name = Path::new(name);
    let is_inside = name.components().all(|part| matches!(part, Component::Normal(_)));
    (is_inside && name.file_name().is_some()).then_some((digest.parse().ok()?, name))
}

fn compare(path: PathBuf, expected: Digest) -> Result<(), SumsError> {
    let digest = |metadata: fs::Metadata| metadata.is_file().then(|| Digest::of_file(&path));
    let found = match fs::metadata(&path).map(digest) {
        Ok(None) => return Err(SumsError::NoFile { path }),
        Ok(Some(Ok(found))) => found,
        Ok(Some(Err(source))) => return Err(SumsError::Unreadable { path, source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(SumsError::Missing { path, expected });
        }
        Err(source) => return Err(SumsError::Unreadable { path, source }),
    };
    if found == expected { Ok(()) } else { Err(SumsError::Altered { path, expected, found }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with one file and what its list says.
    fn folder(list: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("vae")).unwrap();
        fs::write(folder.path().join("vae/config.json"), "{}").unwrap();
        fs::write(folder.path().join(FILE), list).unwrap();
        folder
    }

    #[test]
    fn a_folder_as_it_should_be_is_counted_and_one_without_a_list_is_not_judged() {
        let line = format!("{}  vae/config.json\n", Digest::of(b"{}"));
        assert!(matches!(check(folder(&line).path()), Ok(Some(1))));
        assert!(matches!(check(tempfile::tempdir().unwrap().path()), Ok(None)));
    }

    #[test]
    fn a_missing_and_an_altered_file_are_told_with_their_digests() {
        let expected = Digest::of(b"[]");
        let altered = folder(&format!("{expected}  vae/config.json\n"));
        let message = check(altered.path()).unwrap_err().to_string();
        for part in
            ["vae/config.json: altered", &expected.to_string(), &Digest::of(b"{}").to_string()]
        {
            assert!(message.contains(part), "{part} in {message}");
        }
        let missing = folder(&format!("{expected}  vae/weights.safetensors\n"));
        let message = check(missing.path()).unwrap_err().to_string();
        assert!(message.contains("weights.safetensors: missing"), "{message}");
        assert!(message.contains(&expected.to_string()), "{message}");
    }

    #[test]
    fn what_is_no_file_is_not_read() {
        let line = format!("{}  vae\n", Digest::of(b"{}"));
        let message = check(folder(&line).path()).unwrap_err().to_string();
        assert!(message.contains("vae: expected a regular file"), "{message}");
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(FILE)).unwrap();
        let message = check(folder.path()).unwrap_err().to_string();
        assert!(message.contains("B3SUMS: expected a regular file"), "{message}");
    }

    #[cfg(unix)]
    #[test]
    fn a_device_without_an_end_is_not_read() {
        let folder = folder(&format!("{}  zero\n", Digest::of(b"")));
        std::os::unix::fs::symlink("/dev/zero", folder.path().join("zero")).unwrap();
        let message = check(folder.path()).unwrap_err().to_string();
        assert!(message.contains("zero: expected a regular file"), "{message}");
    }

    #[test]
    fn a_list_of_nothing_is_none() {
        let message = check(folder("\n").path()).unwrap_err().to_string();
        assert!(message.contains("expected at least one"), "{message}");
    }

    #[test]
    fn a_list_beyond_reason_is_not_read() {
        let folder = folder(&"x".repeat(usize::try_from(MAX_BYTES).unwrap() + 1));
        let message = check(folder.path()).unwrap_err().to_string();
        assert!(message.contains("expected at most 1048576 bytes, found 1048577"), "{message}");
    }

    #[test]
    fn a_line_that_is_none_is_told_by_its_number() {
        let good = format!("{}  vae/config.json", Digest::of(b"{}"));
        for line in [
            "",
            "abc  vae/config.json",
            &good.replace("  ", " "),
            &good.replace("vae/", "../vae/"),
            &good.replace("vae/", "/vae/"),
        ] {
            let folder = folder(&format!("{good}\n{line}\n"));
            let message = check(folder.path()).unwrap_err().to_string();
            assert!(message.contains("line 2"), "{line}: {message}");
        }
    }
}
