use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use cogwheel_orchestrator::VideoMetadata;

use super::WriteError;
use super::pending::PendingFile;

/// In a folder of pictures.
const IN_FOLDER: &str = "cogwheel.json";

/// More than any description of a video takes.
const MAX_BYTES: u64 = 1 << 20;

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

/// What lies beside a video, if it says how that was made.
pub fn metadata_beside(video: &Path) -> Option<VideoMetadata> {
    let path = metadata_path(video);
    let text = path.is_file().then(|| read_metadata_text(&path).ok())??;
    serde_json::from_str(&text).ok()
}

/// Reads the file of a video's metadata.
///
/// # Errors
/// What the system says, or that the file is too large to be such.
pub fn read_metadata_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(io::Error::other("expected JSON of at most 1 MiB, found more"));
    }
    Ok(text)
}
