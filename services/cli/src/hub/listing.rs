use std::fmt;

use serde::Deserialize;

use super::name::is_hex;
use super::{HubError, ModelName};

/// Files of a model on the hub.
const MAX_FILES: usize = 10_000;
/// Stems of weight files, of transformers and diffusers.
const STEMS: [&str; 2] = ["model", "diffusion_pytorch_model"];
const PARTS: [&str; 5] = ["tokenizer", "text_encoder", "transformer", "vae", "scheduler"];

/// A revision of a model on the hub: what a checkpoint needs of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The commit.
    pub commit: String,
    /// The files, the small ones first.
    pub files: Vec<HubFile>,
}

/// A file on the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubFile {
    /// Its path, two plain names at most.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// By which it is known and checked.
    pub checksum: Checksum,
}

/// The digest of a file, which also names it in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// SHA-256 of the bytes: large files.
    Sha256(String),
    /// SHA-1 of git's blob, which is `blob SIZE`, a zero byte and the bytes: small ones.
    GitBlob(String),
}

#[derive(Deserialize)]
struct Answer {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    #[serde(rename = "blobId")]
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: String,
    size: u64,
}

impl Listing {
    /// Reads the hub's answer to `/api/models/OWNER/NAME/revision/REV?blobs=true`. Nothing in it is believed: paths, digests
    /// and sizes are checked before they are used.
    ///
    /// # Errors
    /// What is malformed, or a model that is no checkpoint.
    pub fn read(name: &ModelName, json: &[u8]) -> Result<Self, HubError> {
        let wrong = |reason: String| HubError::Listing { name: name.clone(), reason };
        let Answer { sha: commit, siblings } = serde_json::from_slice(json).map_err(|error| {
            wrong(format!("expected the hub's list of files, found other JSON: {error}"))
        })?;
        if !is_hex(&commit, 40) {
            return Err(wrong(format!(
                "expected a commit, found '{}'",
                crate::shown::value(&commit)
            )));
        }
        if siblings.len() > MAX_FILES {
            return Err(wrong(format!(
                "expected at most {MAX_FILES} files, found {}",
                siblings.len()
            )));
        }
        let mut files = Vec::new();
        for sibling in siblings.into_iter().filter(|sibling| is_needed(&sibling.rfilename)) {
            let path = sibling.rfilename.clone();
            let file = HubFile::of(sibling).ok_or_else(|| {
                wrong(format!("{path}: expected a size and a digest, found none or others"))
            })?;
            files.push(file);
        }
        if let Some(missing) = missing(&files) {
            return Err(HubError::NoCheckpoint { name: name.clone(), missing });
        }
        files.sort_by(|a, b| (a.size, &a.path).cmp(&(b.size, &b.path)));
        files.dedup_by(|a, b| a.path == b.path);
        Ok(Self { commit, files })
    }

    /// Bytes of all files.
    pub fn size(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.size))
    }
}

impl HubFile {
    fn of(sibling: Sibling) -> Option<Self> {
        let (size, checksum) = match (sibling.lfs, sibling.size, sibling.blob_id) {
            (Some(lfs), _, _) => (lfs.size, Checksum::Sha256(lfs.sha256)),
            (None, Some(size), Some(id)) => (size, Checksum::GitBlob(id)),
            _ => return None,
        };
        checksum.is_sound().then_some(Self { path: sibling.rfilename, size, checksum })
    }
}

impl Checksum {
    /// The digits.
    pub fn digits(&self) -> &str {
        match self {
            Self::Sha256(digits) | Self::GitBlob(digits) => digits,
        }
    }

    fn is_sound(&self) -> bool {
        match self {
            Self::Sha256(digits) => is_hex(digits, 64),
            Self::GitBlob(digits) => is_hex(digits, 40),
        }
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(digits) => write!(f, "SHA-256 {digits}"),
            Self::GitBlob(digits) => write!(f, "git blob {digits}"),
        }
    }
}

/// Whether a checkpoint is read from it: configs, tokenizer, safetensors and their indices; not the weights of other precisions
/// that may stand beside them, nor anything pickled.
fn is_needed(path: &str) -> bool {
    let Some((part, file)) = path.split_once('/') else { return path == "model_index.json" };
    match part {
        "tokenizer" => is_plain(file) && (file.ends_with(".json") || file == "spiece.model"),
        "scheduler" => file == "scheduler_config.json",
        "text_encoder" | "transformer" | "vae" => file == "config.json" || is_weights(file),
        _ => false,
    }
}

/// `STEM.safetensors`, `STEM-00001-of-00002.safetensors` or `STEM.safetensors.index.json`.
fn is_weights(file: &str) -> bool {
    let rest = STEMS.iter().find_map(|stem| file.strip_prefix(stem));
    rest.is_some_and(|rest| {
        let shard = rest.strip_prefix('-').and_then(|rest| rest.strip_suffix(".safetensors"));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let is_shard = |shard: &str| {
            shard
                .split_once("-of-")
                .is_some_and(|(index, count)| is_number(index) && is_number(count))
        };
        matches!(rest, ".safetensors" | ".safetensors.index.json") || shard.is_some_and(is_shard)
    })
}

fn is_plain(file: &str) -> bool {
    let is_known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    file.len() <= 96 && file.chars().all(is_known) && !file.starts_with('.')
}

fn missing(files: &[HubFile]) -> Option<String> {
    let has = |test: &dyn Fn(&str) -> bool| files.iter().any(|file| test(&file.path));
    if !has(&|path| path == "model_index.json") {
        return Some("model_index.json".to_owned());
    }
    let part = PARTS.iter().find(|part| !has(&|path| path.starts_with(&format!("{part}/"))));
    let weightless = ["text_encoder", "transformer", "vae"].into_iter().find(|part| {
        !has(&|path| path.starts_with(&format!("{part}/")) && path.ends_with(".safetensors"))
    });
    part.map(|part| format!("{part}/")).or(weightless.map(|part| format!("{part}/*.safetensors")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn name() -> ModelName {
        "a/b".parse().unwrap()
    }

    fn small(path: &str) -> Value {
        json!({"rfilename": path, "size": 3, "blobId": COMMIT})
    }

    fn large(path: &str) -> Value {
        let sha256 = COMMIT.repeat(2)[..64].to_owned();
        json!({"rfilename": path, "size": 9, "blobId": COMMIT, "lfs": {"sha256": sha256, "size": 9, "pointerSize": 1}})
    }

    /// A whole checkpoint.
    fn siblings() -> Vec<Value> {
        vec![
            large("vae/diffusion_pytorch_model.safetensors"),
            large("transformer/diffusion_pytorch_model-00001-of-00002.safetensors"),
            large("transformer/diffusion_pytorch_model-00002-of-00002.safetensors"),
            large("text_encoder/model.safetensors"),
            small("transformer/diffusion_pytorch_model.safetensors.index.json"),
            small("transformer/config.json"),
            small("model_index.json"),
            small("scheduler/scheduler_config.json"),
            small("tokenizer/spiece.model"),
        ]
    }

    fn read(siblings: Vec<Value>) -> Result<Listing, HubError> {
        let answer = json!({"sha": COMMIT, "siblings": siblings, "private": false});
        Listing::read(&name(), answer.to_string().as_bytes())
    }

    #[test]
    fn a_checkpoint_is_what_is_needed_small_files_first() {
        let mut all = siblings();
        let needed = all.len();
        let others = [
            "README.md",
            ".gitattributes",
            "assets/a.png",
            "transformer/diffusion_pytorch_model.bin",
            "text_encoder/model.pt",
            "transformer/diffusion_pytorch_model.fp16.safetensors",
            "vae/../../x.safetensors",
            "tokenizer/../a.json",
            "other/config.json",
            "tokenizer/a/b.json",
            "vae/model-x-of-y.safetensors",
            "tokenizer/.json",
        ];
        all.extend(others.map(small));
        // A file that is not needed may lack its size.
        all.push(json!({"rfilename": "README.txt"}));
        let listing = read(all).unwrap();
        assert_eq!(listing.files.len(), needed);
        assert_eq!(listing.size(), 4 * 9 + 5 * 3);
        assert!(listing.files[..5].iter().all(|file| file.size == 3));
        assert!(matches!(listing.files[8].checksum, Checksum::Sha256(_)));
    }

    #[test]
    fn what_is_malformed_or_no_checkpoint_is_refused() {
        let refused = |siblings: Vec<Value>, expected: &str| {
            let error = read(siblings).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        let but = |path: &str| {
            siblings()
                .into_iter()
                .filter(|s| !s["rfilename"].as_str().unwrap().starts_with(path))
                .collect::<Vec<_>>()
        };
        refused(but("model_index"), "no model_index.json");
        refused(but("tokenizer"), "no tokenizer/");
        refused(but("vae"), "no vae/");
        let mut pickled = but("text_encoder");
        pickled
            .extend([small("text_encoder/config.json"), large("text_encoder/pytorch_model.bin")]);
        refused(pickled, "no text_encoder/*.safetensors");
        for odd in [
            json!({"rfilename": "vae/config.json"}),
            json!({"rfilename": "vae/config.json", "size": 3, "blobId": "../../x"}),
            json!({"rfilename": "vae/config.json", "size": 3, "lfs": {"sha256": "A".repeat(64), "size": 3}}),
        ] {
            let mut all = siblings();
            all.push(odd);
            refused(all, "vae/config.json: expected a size and a digest");
        }
        for text in ["", "[]", "{}", r#"{"sha": "x", "siblings": []}"#] {
            assert!(Listing::read(&name(), text.as_bytes()).is_err());
        }
        refused(vec![small("a"); MAX_FILES + 1], "at most 10000 files");
    }

    proptest! {
        #[test]
        fn a_path_that_is_taken_stays_in_the_snapshot(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    "", ".", "..", "vae", "tokenizer", "transformer", "model_index.json", "config.json", "spiece.model",
                    "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.safetensors.index.json",
                ]),
                1..4,
            ),
        ) {
            let path = parts.join("/");
            if is_needed(&path) {
                prop_assert!(!path.starts_with('/') && !path.split('/').any(|part| part.is_empty() || part == ".."));
                prop_assert!(path.matches('/').count() <= 1);
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Listing::read(&name(), &bytes);
        }
    }
}
