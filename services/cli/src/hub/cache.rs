use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use super::name::is_hex;
use super::{HubError, ModelName, Revision};

/// Bytes of a file that names a commit; it has 40.
const MAX_REF_BYTES: u64 = 256;

/// The hub's cache, as the hub's own programs have it
/// (<https://huggingface.co/docs/huggingface_hub/guides/manage-cache>). In `models--OWNER--NAME` there are
/// `blobs/DIGEST`, the contents of files; `snapshots/COMMIT/PATH`, links to them; and `refs/REVISION`, which
/// hold the commit of a branch or tag.
#[derive(Clone, Debug)]
pub struct HubCache {
    folder: PathBuf,
}

/// One revision of a model in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The model.
    pub name: ModelName,
    /// The commit.
    pub commit: String,
    /// The branches and tags that stood at it when they were fetched.
    pub revisions: Vec<String>,
    /// Its files, as a checkpoint's folder.
    pub folder: PathBuf,
}

impl HubCache {
    /// The cache that `HF_HUB_CACHE` names, or that of `HF_HOME`, or the user's.
    ///
    /// # Errors
    /// [`HubError::NoCache`] where none of them is set and there is no home.
    pub fn of_environment() -> Result<Self, HubError> {
        let folder = match set("HF_HUB_CACHE") {
            Some(folder) => folder.into(),
            None => home().ok_or(HubError::NoCache)?.join("hub"),
        };
        // Links of the cache are relative, its name in messages is not.
        Ok(Self::at(std::path::absolute(&folder).unwrap_or(folder)))
    }

    /// The cache in a folder.
    pub fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What stands at `main` of a model, if it was fetched.
    pub fn main(&self, name: &ModelName) -> Option<PathBuf> {
        let folder = self.snapshot_folder(name, &self.commit(name, "main")?);
        folder.is_dir().then_some(folder)
    }

    /// All that is in the cache of models in diffusers' layout, by name.
    pub fn snapshots(&self) -> Vec<Snapshot> {
        let mut found = Vec::new();
        for name in names(self.folder()).iter().filter_map(|folder| model(folder)) {
            let model_folder = self.model_folder(&name);
            let revisions = revisions(&model_folder.join("refs"), "");
            for commit in names(&model_folder.join("snapshots")) {
                let folder = self.snapshot_folder(&name, &commit);
                if !is_hex(&commit, 40) || !folder.join("model_index.json").is_file() {
                    continue;
                }
                let at =
                    |revision: &&String| self.commit(&name, revision).as_ref() == Some(&commit);
                let revisions = revisions.iter().filter(at).cloned().collect();
                found.push(Snapshot { name: name.clone(), commit, revisions, folder });
            }
        }
        found.sort_by(|a, b| (&a.name, &a.commit).cmp(&(&b.name, &b.commit)));
        found
    }

    /// Where a commit's files are.
    pub(super) fn snapshot_folder(&self, name: &ModelName, commit: &str) -> PathBuf {
        self.model_folder(name).join("snapshots").join(commit)
    }

    /// Where the contents of files are, by digest.
    pub(super) fn blobs(&self, name: &ModelName) -> PathBuf {
        self.model_folder(name).join("blobs")
    }

    /// Where the hub's programs lock what they write.
    pub(super) fn locks(&self, name: &ModelName) -> PathBuf {
        self.folder().join(".locks").join(folder_name(name))
    }

    /// Says that a branch or tag stands at a commit. A commit has no other name.
    pub(super) fn refer(
        &self,
        name: &ModelName,
        revision: &Revision,
        commit: &str,
    ) -> Result<(), HubError> {
        if revision.is_commit() {
            return Ok(());
        }
        let path = self.model_folder(name).join("refs").join(revision.as_str());
        let folder = path.parent().unwrap_or(&self.folder);
        // Whoever reads it at this moment finds the old one or the new one.
        let new = folder.join(format!(".{}.incomplete", std::process::id()));
        let written = fs::create_dir_all(folder)
            .and_then(|()| fs::write(&new, commit))
            .and_then(|()| fs::rename(&new, &path));
        written.map_err(|error| HubError::file(path, &error))
    }

    fn commit(&self, name: &ModelName, revision: &str) -> Option<String> {
        let path = self.model_folder(name).join("refs").join(revision);
        let is_small = fs::metadata(&path).ok()?.len() <= MAX_REF_BYTES;
        let commit = is_small.then(|| fs::read_to_string(path).ok())??.trim().to_owned();
        is_hex(&commit, 40).then_some(commit)
    }

    fn model_folder(&self, name: &ModelName) -> PathBuf {
        self.folder().join(folder_name(name))
    }
}

/// The token that `HF_TOKEN` holds, or the file of `HF_TOKEN_PATH` or in `HF_HOME`, with where it was found.
pub(super) fn token() -> Option<(String, String)> {
    if let Some(token) = set("HF_TOKEN") {
        return Some((token.trim().to_owned(), "HF_TOKEN".to_owned()));
    }
    let path = set("HF_TOKEN_PATH").map(PathBuf::from).or_else(|| Some(home()?.join("token")))?;
    let is_small = fs::metadata(&path).ok()?.len() <= 64 * 1024;
    let token = is_small.then(|| fs::read_to_string(&path).ok())??.trim().to_owned();
    (!token.is_empty()).then(|| (token, path.display().to_string()))
}

/// `HF_HOME`, or where it is by default.
fn home() -> Option<PathBuf> {
    if let Some(home) = set("HF_HOME") {
        return Some(home.into());
    }
    let cache = set("XDG_CACHE_HOME").map(PathBuf::from);
    Some(cache.or_else(|| Some(env::home_dir()?.join(".cache")))?.join("huggingface"))
}

/// An environment variable that is set to something.
pub(super) fn set(variable: &str) -> Option<String> {
    env::var(variable).ok().filter(|value| !value.trim().is_empty())
}

fn folder_name(name: &ModelName) -> String {
    format!("models--{name}").replace('/', "--")
}

fn model(folder: &str) -> Option<ModelName> {
    folder.strip_prefix("models--")?.replacen("--", "/", 1).parse().ok()
}

/// The names of branches and tags, which may have slashes.
fn revisions(folder: &Path, prefix: &str) -> Vec<String> {
    let mut found = Vec::new();
    for name in names(folder) {
        let revision = format!("{prefix}{name}");
        let path = folder.join(&name);
        // Such as refs/pr/1, no deeper.
        match path.is_dir() {
            true if prefix.matches('/').count() < 3 => {
                found.extend(revisions(&path, &format!("{revision}/")))
            }
            true => {}
            false => found.push(revision),
        }
    }
    found
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<_> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    names
}
