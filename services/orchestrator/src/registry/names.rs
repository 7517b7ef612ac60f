use std::io;
use std::path::{Path, PathBuf};

use cogwheel_service::Fatal;
use cogwheel_weights::Digest;
use serde::{Deserialize, Serialize};

/// Bytes of the file of names that are read: far more than any number of adapters needs.
const MAX_BYTES: u64 = 64 << 20;

/// What is written down of the adapters that someone registered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Names {
    pub(super) adapters: Vec<Entry>,
}

/// A name and what it stands for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) digest: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) alpha: Option<f64>,
    /// The safetensors in an adapter folder; absent for what is in the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) path: Option<PathBuf>,
    /// PEFT's config that belongs to it, likewise. Neither needs to have its usual name: links may
    /// have led there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) config: Option<PathBuf>,
}

impl Names {
    /// Reads what was written; `None` where there is no file.
    ///
    /// # Errors
    /// A file that cannot be read or understood: it is not written over.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, Fatal> {
        let unfit = |found: &dyn std::fmt::Display| {
            let path = path.display();
            Fatal::usage(format!("{path}: expected the names of adapters, found {found}"))
        };
        match path.metadata() {
            Ok(metadata) if metadata.len() > MAX_BYTES => {
                return Err(unfit(&format!("{} bytes", metadata.len())));
            }
            // Reading a pipe would wait for whoever writes.
            Ok(metadata) if !metadata.is_file() => return Err(unfit(&"no regular file")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            _ => {}
        }
        let json = std::fs::read(path).map_err(|error| unfit(&error))?;
        let names: Self = serde_json::from_slice(&json).map_err(|error| unfit(&error))?;
        // A digest becomes a file's name.
        match names.adapters.iter().find(|entry| entry.digest.parse::<Digest>().is_err()) {
            Some(entry) => Err(unfit(&format!("no digest: {:?}", entry.digest))),
            None => Ok(Some(names)),
        }
    }

    pub(super) fn to_json(&self) -> io::Result<Vec<u8>> {
        serde_json::to_vec_pretty(self).map_err(io::Error::other)
    }
}
