use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cogwheel_service::Fatal;

use super::progress::{Progress, say};
use super::remote::Remote;
use super::transfer::{fetch, has};
use super::{HubCache, HubError, HubFile, Listing, ModelName, Revision};

/// A model in the cache.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// Its folder.
    pub folder: PathBuf,
    /// The commit.
    pub commit: String,
    /// Files of it.
    pub files: usize,
    /// Bytes of it.
    pub bytes: u64,
    /// Bytes that were not there before, or not whole.
    pub fetched: u64,
}

/// Brings a model into the hub's cache: the files that a checkpoint is read from, each under its digest once its bytes are those
/// that the hub lists. Its name means the new revision only when all of them are there.
///
/// # Cancel safety
/// What has come stays and is not fetched again.
///
/// # Errors
/// What the hub or the disk answers.
pub async fn pull(name: &ModelName, revision: &Revision) -> Result<Pulled, Fatal> {
    let cache = HubCache::of_environment()?;
    let remote = Remote::of_environment()?;
    let listing = remote.listing(name, revision).await?;
    let commit: Revision = listing.commit.parse().map_err(Fatal::failed)?;
    let blobs = cache.blobs(name);
    let is_missing = |file: &&HubFile| !has(&blobs.join(file.checksum.digits()), file.size);
    let missing: Vec<_> = listing.files.iter().filter(is_missing).collect();
    let fetched = missing.iter().fold(0, |sum: u64, file| sum.saturating_add(file.size));
    if !missing.is_empty() {
        say(&format!(
            "{name}: fetching {} of {} files, {:.2} GB",
            missing.len(),
            listing.files.len(),
            fetched as f64 / 1e9
        ));
    }
    let mut progress = Progress::new(fetched);
    for file in missing {
        progress.turn_to(&file.path);
        let result = fetch(&remote, &cache, name, &commit, file, &mut progress).await;
        if result.is_err() {
            progress.clear();
        }
        result?;
    }
    progress.clear();
    let folder = cache.snapshot_folder(name, commit.as_str());
    for file in &listing.files {
        link(&cache, name, &folder, file)?;
    }
    cache.refer(name, revision, commit.as_str())?;
    let bytes = listing.size();
    let Listing { commit, files } = listing;
    Ok(Pulled { folder, commit, files: files.len(), bytes, fetched })
}

/// Gives a blob its name in a snapshot.
fn link(cache: &HubCache, name: &ModelName, folder: &Path, file: &HubFile) -> Result<(), HubError> {
    let path = folder.join(&file.path);
    let blob = cache.blobs(name).join(file.checksum.digits());
    if path.canonicalize().is_ok_and(|found| blob.canonicalize().is_ok_and(|blob| blob == found)) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| HubError::file(folder, &error))?;
    }
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(HubError::file(path, &error));
        }
        _ => {}
    }
    // From the snapshot's folder, or from one in it.
    let up = "../".repeat(2 + file.path.matches('/').count());
    let target = format!("{up}blobs/{}", file.checksum.digits());
    symlink(Path::new(&target), &blob, &path).map_err(|error| HubError::file(path, &error))
}

#[cfg(unix)]
fn symlink(target: &Path, _: &Path, path: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, path)
}

/// Where links need rights that a user may not have.
#[cfg(not(unix))]
fn symlink(_: &Path, blob: &Path, path: &Path) -> io::Result<()> {
    fs::copy(blob, path).map(drop)
}
