use std::{io, path::PathBuf};

/// Why a config file does not describe a model that can be computed here.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is missing or cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The config file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is larger than any config is.
    #[error("{}: expected a config of at most {limit} bytes, found {found}", path.display())]
    TooLarge {
        /// The config file.
        path: PathBuf,
        /// Most bytes read.
        limit: u64,
        /// Bytes there are.
        found: u64,
    },
    /// The file is not a JSON object.
    #[error("{}: expected a JSON object: {source}", path.display())]
    Json {
        /// The config file.
        path: PathBuf,
        /// Where the text stops being JSON.
        source: serde_json::Error,
    },
    /// A key holds a value of the wrong type, out of bounds, or at odds with another key.
    #[error("{}: `{key}`: expected {expected}, found {found}", path.display())]
    Value {
        /// The config file.
        path: PathBuf,
        /// The key in that file.
        key: String,
        /// What the key may hold.
        expected: String,
        /// What it holds.
        found: String,
    },
    /// A key holds a value that diffusers knows and this build does not compute.
    #[error("{}: `{key}` of {found} is not supported, only {supported}", path.display())]
    Unsupported {
        /// The config file.
        path: PathBuf,
        /// The key in that file.
        key: String,
        /// What can be computed.
        supported: String,
        /// What the file asks for.
        found: String,
    },
}
