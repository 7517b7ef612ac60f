//! Whether the files of a folder are those that its `B3SUMS` names: lines of `b3sum`, as `b3sum --check` reads them.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

use cogwheel_weights::Digest;

/// The file that names a folder's files.
pub const FILE: &str = "B3SUMS";
/// The most that is read of it.
const MAX_BYTES: u64 = 1 << 20;

/// Why a folder is not as its `B3SUMS` says.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum SumsError {
    #[error("{path}: {source}")]
    Unreadable { path: PathBuf, source: io::Error },
    #[error(
        "{path}: line {line}: expected 64 hexadecimal digits, two spaces and the path of a file in the folder"
    )]
    Line { path: PathBuf, line: usize },
    #[error("{path}: missing; expected a file with digest {expected}")]
    Missing { path: PathBuf, expected: Digest },
    #[error("{path}: altered; expected digest {expected}, found {found}")]
    Altered { path: PathBuf, expected: Digest, found: Digest },
}

/// Compares every file that the folder's `B3SUMS` names; how many these are, or `None` in a folder without one.
///
/// # Errors
/// The first file that is missing or altered; a list that cannot be read.
pub fn check(folder: &Path) -> Result<Option<usize>, SumsError> {
    let path = folder.join(FILE);
    let mut text = String::new();
    let read = File::open(&path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text));
    match read {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(SumsError::Unreadable { path, source }),
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
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(SumsError::Missing { path, expected });
        }
        Err(source) => return Err(SumsError::Unreadable { path, source }),
    };
    let found = Digest::of(&bytes);
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
