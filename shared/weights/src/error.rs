use std::{
    io,
    path::{Path, PathBuf},
};

use cogwheel_tensor::DType;

use crate::Mismatch;

/// Why weights cannot be had from a file or folder.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The folder holds no safetensors of that name.
    #[error("{}: expected {expected}, found {}", dir.display(), instead(dir, pickle.as_deref()))]
    NotFound {
        /// The folder.
        dir: PathBuf,
        /// The file names looked for.
        expected: String,
        /// A file of the same weights that is there, in a form that is not read.
        pickle: Option<String>,
    },
    /// Two sets of weights stand side by side, and which one is meant nobody says.
    #[error("{}: expected one of {first} and {second}, found both", dir.display())]
    Ambiguous {
        /// The folder.
        dir: PathBuf,
        /// The single file.
        first: String,
        /// The index of the shards.
        second: String,
    },
    /// A file cannot be opened, read or mapped.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file is not well-formed safetensors.
    #[error("{}: expected {expected}, found {found}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What safetensors prescribe.
        expected: String,
        /// What the file has.
        found: String,
    },
    /// An entry of a file's header is not well-formed.
    #[error("{}: tensor '{tensor}': expected {expected}, found {found}", path.display())]
    MalformedTensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// What safetensors prescribe.
        expected: String,
        /// What the header says.
        found: String,
    },
    /// A tensor has a dtype that nothing here computes with.
    #[error("{}: tensor '{tensor}': dtype {found} is not supported, only {supported}", path.display())]
    UnsupportedDType {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The dtypes that can be read.
        supported: &'static str,
        /// The dtype in the header.
        found: String,
    },
    /// The index of the shards is malformed, or at odds with the shards.
    #[error("{}: expected {expected}, found {found}", path.display())]
    Index {
        /// The index file.
        path: PathBuf,
        /// What an index prescribes.
        expected: String,
        /// What it, or a shard, has.
        found: String,
    },
    /// A tensor stands in two shards.
    #[error("tensor '{tensor}': expected in one shard, found in {} and {}", first.display(), second.display())]
    Duplicate {
        /// The tensor.
        tensor: String,
        /// A shard that holds it.
        first: PathBuf,
        /// Another shard that holds it.
        second: PathBuf,
    },
    /// Names or shapes are not those that the config calls for.
    #[error("{}: {mismatch}", path.display())]
    Mismatch {
        /// The weights' file or index.
        path: PathBuf,
        /// All that differs.
        mismatch: Box<Mismatch>,
    },
    /// No tensor of that name.
    #[error("{}: expected tensor '{tensor}', found none of that name", path.display())]
    NoTensor {
        /// The weights' file or index.
        path: PathBuf,
        /// The name asked for.
        tensor: String,
    },
    /// The dtype cannot be converted to the one asked for.
    #[error("tensor '{tensor}': expected {expected} or a dtype that converts to it, found {found}")]
    Conversion {
        /// The tensor.
        tensor: String,
        /// The dtype asked for.
        expected: DType,
        /// The dtype on disk.
        found: DType,
    },
}

fn instead(dir: &Path, pickle: Option<&str>) -> String {
    match pickle {
        Some(name) => format!("only {name}, a pickle: save the model as safetensors"),
        None if dir.is_dir() => "neither".to_owned(),
        None => "no such folder".to_owned(),
    }
}
