use std::io;
use std::path::PathBuf;

use cogwheel_service::Fatal;

use super::{ModelName, Revision};

/// Why a model is not in the cache, or did not come into it.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// Neither `HF_HUB_CACHE` nor `HF_HOME` nor a home is set.
    #[error(
        "expected a folder for the hub's cache in HF_HUB_CACHE or HF_HOME, found neither, and no home"
    )]
    NoCache,
    /// A token that no header can hold.
    #[error("{source_name}: expected a token of visible ASCII characters, found others")]
    Token {
        /// Where it was found.
        source_name: String,
    },
    /// A setting that is no URL of a server.
    #[error("HF_ENDPOINT: expected a URL such as https://huggingface.co, found '{found}'")]
    Endpoint {
        /// What is set.
        found: String,
    },
    /// 401 or 403.
    #[error(
        "{name}: the hub answered {status}: expected the name of a model that is there, and where it is gated or private a token \
         that may read it: accept its terms at {endpoint}/{name}, then set HF_TOKEN or run `hf auth login`{token}"
    )]
    Forbidden {
        /// The model.
        name: ModelName,
        /// The status.
        status: u16,
        /// The hub.
        endpoint: String,
        /// Whether one was sent.
        token: &'static str,
    },
    /// 404.
    #[error(
        "{name}: expected a model of the hub with a revision '{revision}', found none at {endpoint}"
    )]
    NotFound {
        /// The model.
        name: ModelName,
        /// The revision.
        revision: Revision,
        /// The hub.
        endpoint: String,
    },
    /// Another status.
    #[error("{what}: expected an answer of the hub, found {status}: try again later")]
    Status {
        /// What was asked for.
        what: String,
        /// The status.
        status: u16,
    },
    /// The hub could not be reached.
    #[error("{what}: cannot reach {endpoint}: {reason}")]
    Unreachable {
        /// What was asked for.
        what: String,
        /// The hub.
        endpoint: String,
        /// Why.
        reason: String,
    },
    /// The connection ended early.
    #[error(
        "{path}: cut after {found} of {expected} bytes ({reason}): a second `cogwheel models pull {name}` goes on from there"
    )]
    Cut {
        /// The file.
        path: String,
        /// The model.
        name: ModelName,
        /// Bytes that are there.
        found: u64,
        /// Bytes of the whole.
        expected: u64,
        /// Why.
        reason: String,
    },
    /// Other bytes than those that the hub lists.
    #[error("{path}: expected {expected}, found {found}: nothing of it was kept, pull again")]
    Damaged {
        /// The file.
        path: String,
        /// Size or digest.
        expected: String,
        /// Size or digest.
        found: String,
    },
    /// The hub's list of files cannot be used.
    #[error("{name}: {reason}")]
    Listing {
        /// The model.
        name: ModelName,
        /// What was expected and found.
        reason: String,
    },
    /// Not a checkpoint of the layout that is served.
    #[error(
        "{name}: expected a checkpoint in diffusers' layout with safetensors, found no {missing}"
    )]
    NoCheckpoint {
        /// The model.
        name: ModelName,
        /// What is missing.
        missing: String,
    },
    /// No space, or no right to write.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Another process writes the same file.
    #[error("{path}: another process fetches it right now: wait for it, then pull again")]
    Busy {
        /// The file.
        path: String,
    },
}

impl HubError {
    /// A file of the cache that cannot be read or written. A full disk is told with what would have helped.
    pub(super) fn file(path: impl Into<PathBuf>, error: &io::Error) -> Self {
        let reason = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "no space left: make room, or name another folder in HF_HUB_CACHE; a second pull goes on from here".to_owned()
            }
            _ => error.to_string(),
        };
        Self::File { path: path.into(), reason }
    }
}

impl From<HubError> for Fatal {
    fn from(error: HubError) -> Self {
        match error {
            HubError::NoCache
            | HubError::Token { .. }
            | HubError::Endpoint { .. }
            | HubError::NotFound { .. }
            | HubError::NoCheckpoint { .. } => Self::usage(error),
            _ => Self::failed(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use cogwheel_service::Exit;

    use super::*;

    #[test]
    fn a_full_disk_is_told_with_what_helps_and_is_not_bad_usage() {
        let fatal = Fatal::from(HubError::file("/c/blobs/x", &io::ErrorKind::StorageFull.into()));
        assert_eq!(fatal.exit, Exit::Failed);
        assert!(fatal.message.starts_with("/c/blobs/x: no space left"), "{}", fatal.message);
        assert!(fatal.message.contains("HF_HUB_CACHE"), "{}", fatal.message);
        let other = HubError::file("/c", &io::ErrorKind::PermissionDenied.into()).to_string();
        assert_eq!(other, "/c: permission denied");
    }
}
