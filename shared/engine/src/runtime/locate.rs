use std::path::{Path, PathBuf};

use crate::EngineError;

/// File name of the library, as the published wheels have it.
pub(super) const FILE: &str = if cfg!(target_os = "macos") {
    "libonnxruntime.1.31.1.dylib"
} else if cfg!(target_os = "windows") {
    "onnxruntime.dll"
} else {
    "libonnxruntime.so.1.31.1"
};

/// The folder that `make setup` puts the library in.
const FOLDER: &str = ".runtime";

/// What `ORT_DYLIB_PATH` names: the file, or the folder that holds it.
pub(super) fn named(path: PathBuf) -> PathBuf {
    if path.is_dir() { path.join(FILE) } else { path }
}

/// Every place to look at, in order, none twice.
pub(super) fn candidates(executable: Option<PathBuf>, here: Option<PathBuf>) -> Vec<PathBuf> {
    let folder = executable.as_deref().and_then(Path::parent);
    let beside = folder.map(|folder| folder.join(FILE));
    let above = folder.into_iter().flat_map(Path::ancestors).map(|up| up.join(FOLDER).join(FILE));
    let here = here.map(|here| here.join(FOLDER).join(FILE));
    let mut places: Vec<PathBuf> = Vec::new();
    for place in beside.into_iter().chain(above).chain(here) {
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places
}

/// The first candidate that is a file.
pub(super) fn first_file(candidates: Vec<PathBuf>) -> Result<PathBuf, EngineError> {
    match candidates.iter().find(|path| path.is_file()) {
        Some(path) => Ok(path.clone()),
        None => Err(EngineError::LibraryNotFound { file: FILE, looked_at: candidates }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_beside_the_executable_then_runtime_folders_above_it_then_here() {
        let places =
            candidates(Some(PathBuf::from("/a/target/debug/cogwheel")), Some(PathBuf::from("/b")));
        let expected = ["/a/target/debug", "/a/target/debug/.runtime", "/a/target/.runtime"];
        let expected = expected.into_iter().chain(["/a/.runtime", "/.runtime", "/b/.runtime"]);
        let expected: Vec<_> = expected.map(|folder| Path::new(folder).join(FILE)).collect();
        assert_eq!(places, expected);
    }

    #[test]
    fn a_library_that_is_nowhere_is_an_error_that_lists_every_place_and_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let places = candidates(Some(folder.path().join("bin/cogwheel")), None);
        let error = first_file(places.clone()).unwrap_err().to_string();
        for place in places {
            assert!(error.contains(&place.display().to_string()), "{error}");
        }
        assert!(error.contains("make setup") && error.contains("ORT_DYLIB_PATH"), "{error}");
    }

    #[test]
    fn a_named_folder_stands_for_the_file_in_it() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(named(folder.path().to_owned()), folder.path().join(FILE));
        assert_eq!(named(folder.path().join("x.so")), folder.path().join("x.so"));
    }
}
