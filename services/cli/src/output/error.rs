use std::io;
use std::path::PathBuf;

use cogwheel_service::Fatal;

/// Why a path cannot be written to, found before the work.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    /// The ending says nothing.
    #[error(
        "{option} {}: expected an ending of {expected}, found {found}", path.display()
    )]
    Ending {
        /// The option.
        option: &'static str,
        /// The path given.
        path: PathBuf,
        /// What is known.
        expected: &'static str,
        /// What the path ends in.
        found: String,
    },
    /// Several outputs need a name to be numbered.
    #[error("{option} {}: expected a path with a name, which --num-videos can number", path.display())]
    NoName {
        /// The option.
        option: &'static str,
        /// The path given.
        path: PathBuf,
    },
    /// The folder is not there.
    #[error(
        "{option} {}: expected an existing folder {}, found {found} (missing folders are not created)",
        path.display(), folder.display()
    )]
    NoFolder {
        /// The option.
        option: &'static str,
        /// The path given.
        path: PathBuf,
        /// The folder it would be in.
        folder: PathBuf,
        /// What is there.
        found: &'static str,
    },
    /// Something else has the name.
    #[error("{option} {}: expected {expected} or nothing there, found {found}", path.display())]
    Occupied {
        /// The option.
        option: &'static str,
        /// The path.
        path: PathBuf,
        /// What may be there.
        expected: &'static str,
        /// What is there.
        found: &'static str,
    },
    /// A picture that would stay behind those of the video and look like its end.
    #[error(
        "{option} {}: expected no pictures behind {last} but those that cogwheel.json there says this program made, found {found}",
        path.display()
    )]
    Leftover {
        /// The option.
        option: &'static str,
        /// The folder.
        path: PathBuf,
        /// The last picture of the video.
        last: String,
        /// The picture.
        found: String,
    },
    /// The system does not let this user write there.
    #[error("{option} {}: cannot be written: {source}", path.display())]
    Unwritable {
        /// The option.
        option: &'static str,
        /// The path.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Why a file did not come about, found during the work.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The system refused.
    #[error("cannot write {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The server sent something else than was asked for.
    #[error("the server's answer: expected {expected}, found {found}")]
    Contract {
        /// What the API prescribes.
        expected: String,
        /// What came.
        found: String,
    },
}

/// A path that cannot be written to is the caller's to mend, also when it is found late.
impl From<WriteError> for Fatal {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Io { .. } => Self::usage(error),
            WriteError::Contract { .. } => Self::failed(error),
        }
    }
}

impl WriteError {
    /// The server broke the API's contract.
    pub(super) fn contract(expected: impl ToString, found: impl ToString) -> Self {
        Self::Contract { expected: expected.to_string(), found: found.to_string() }
    }
}
