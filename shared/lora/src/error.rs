use std::path::{Path, PathBuf};

use cogwheel_weights::WeightsError;

use crate::config::quote;

/// Names shown of a list; the rest is counted.
pub(crate) const SHOWN: usize = 3;

/// Why a file cannot be used as an adapter, or not with a model.
#[derive(Debug, thiserror::Error)]
pub enum AdapterError {
    /// There is no adapter at the path.
    #[error("{}: expected {expected}, found {found}", path.display())]
    NotFound {
        /// The file or folder.
        path: PathBuf,
        /// What was looked for.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A folder holds several files, and which one is meant nobody says.
    #[error("{}: expected one .safetensors file or a weight name, found {}", dir.display(), list(names))]
    Several {
        /// The folder.
        dir: PathBuf,
        /// The files.
        names: Vec<String>,
    },
    /// A pickle, which can run any code when it is read.
    #[error(
        "{}: expected safetensors, found a pickle, which is not read: load it with torch and save it with \
         safetensors.torch.save_file",
        path.display()
    )]
    Pickle {
        /// The file.
        path: PathBuf,
    },
    /// A weight name that is not the name of a file in the folder.
    #[error("weight name: expected the name of a file in the adapter's folder, found '{name}'")]
    WeightName {
        /// The name.
        name: String,
    },
    /// The file is not well-formed safetensors.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// What describes the adapter (`adapter_config.json` or the header's metadata) is malformed or asks for something
    /// that is not computed.
    #[error("{}: {key}: expected {expected}, found {found}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// Where in it.
        key: String,
        /// What is read.
        expected: String,
        /// What it says.
        found: String,
    },
    /// Parts for the text encoder.
    #[error(
        "{}: expected tensors for the transformer alone, found {count} for a text encoder, as '{example}': save the \
         transformer's part by itself",
        path.display()
    )]
    TextEncoder {
        /// The file.
        path: PathBuf,
        /// How many tensors.
        count: usize,
        /// One of them.
        example: String,
    },
    /// Names that are no part of a LoRA for CogVideoX.
    #[error(
        "{}: expected LoRA tensors of a CogVideoX transformer, found {} of {present} that match nothing: {}",
        path.display(), names.len(), list(names)
    )]
    Unmatched {
        /// The file.
        path: PathBuf,
        /// Tensors in the file.
        present: usize,
        /// Those that match nothing.
        names: Vec<String>,
    },
    /// A part without those that it needs.
    #[error("{}: {module}: expected {expected}, found {found}", path.display())]
    Incomplete {
        /// The file.
        path: PathBuf,
        /// The layer.
        module: String,
        /// What it needs.
        expected: &'static str,
        /// What it has.
        found: String,
    },
    /// Two tensors that mean the same part.
    #[error("{}: {module}: expected each part once, found '{first}' and '{second}'", path.display())]
    Duplicate {
        /// The file.
        path: PathBuf,
        /// The layer.
        module: String,
        /// A tensor.
        first: String,
        /// Another.
        second: String,
    },
    /// A tensor that does not fit the others of its layer.
    #[error("{}: tensor '{tensor}': expected {expected}, found {found}", path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// What fits.
        expected: String,
        /// What it is.
        found: String,
    },
    /// Numbers of a kind that is not computed with.
    #[error(
        "{}: tensor '{tensor}': expected F32, F16 or BF16, found {found}: convert the tensors with \
         .to(torch.float32) and save them again",
        path.display()
    )]
    DType {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its dtype, as safetensors names it.
        found: String,
    },
    /// A stated alpha that is no scale.
    #[error("alpha: expected a positive number, found {found}")]
    Alpha {
        /// The number.
        found: f64,
    },
    /// Layers that this model does not have, or has at another width.
    #[error("{}: expected an adapter for {expected}, found {found}; {}", path.display(), fitting(fits))]
    WrongModel {
        /// The file.
        path: PathBuf,
        /// What the model has.
        expected: String,
        /// What the adapter is for.
        found: String,
        /// The published models that it would fit.
        fits: Vec<&'static str>,
    },
    /// The adapter says itself that it was made for another model.
    #[error("{}: expected an adapter for {expected}, found one whose {source_key} is '{stated}'", path.display())]
    StatedBase {
        /// The file.
        path: PathBuf,
        /// What the model is.
        expected: String,
        /// Where the adapter says it.
        source_key: String,
        /// What it says.
        stated: String,
    },
}

impl AdapterError {
    pub(crate) fn tensor(
        path: &Path,
        tensor: &str,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        let (path, tensor) = (path.to_path_buf(), quote(tensor));
        Self::Tensor { path, tensor, expected: expected.into(), found: found.into() }
    }
}

/// The first few of some names, quoted, and how many there are beside them.
pub(crate) fn list(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("'{name}'")).collect();
    match names.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        rest => format!("{} and {rest} more", shown.join(", ")),
    }
}

fn fitting(fits: &[&str]) -> String {
    if fits.is_empty() {
        return "it fits none of the published CogVideoX".to_owned();
    }
    format!("it would fit {}", fits.join(", "))
}
