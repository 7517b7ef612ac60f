use std::path::{Path, PathBuf};

use super::WriteError;
use super::pending::PendingFile;

/// In a folder of pictures.
const IN_FOLDER: &str = "cogwheel.json";

/// Where the metadata of a video lies: `NAME.EXT.json` beside a file, `cogwheel.json` in a folder.
pub fn metadata_path(video: &Path) -> PathBuf {
    match video.file_name() {
        Some(name) if !video.is_dir() => {
            let mut name = name.to_os_string();
            name.push(".json");
            video.with_file_name(name)
        }
        _ => video.join(IN_FOLDER),
    }
}

/// Writes what a server says of a video that has just been put in its place, whole or not at all. Where it says nothing, what
/// lies there of another video goes.
///
/// # Errors
/// [`WriteError::Io`].
pub fn write_metadata(video: &Path, json: &str) -> Result<(), WriteError> {
    let path = metadata_path(video);
    if json.is_empty() {
        let _ = std::fs::remove_file(path);
        return Ok(());
    }
    let created = PendingFile::create(&path);
    let mut file = created.map_err(|source| WriteError::Io { path: path.clone(), source })?;
    file.write(json.as_bytes())?;
    file.write(b"\n")?;
    file.commit().map(drop)
}
