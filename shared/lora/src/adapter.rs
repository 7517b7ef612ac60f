//! One adapter file, read, paired and checked in itself.

mod alpha;
mod files;
mod numbers;
mod pairs;
mod target;
mod unread;

use std::path::{Path, PathBuf};

pub use alpha::{Alpha, AlphaSource};
use cogwheel_weights::{Digest, Weights};
pub use files::AdapterFiles;
pub use target::Target;

use crate::{AdapterError, Layout, config::LoraConfig};

/// A LoRA, whatever layout its file has: pairs of matrices for layers of a CogVideoX transformer, memory-mapped.
/// Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Adapter {
    pub(crate) path: PathBuf,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    /// Tensors in the file.
    pub(crate) present: usize,
    pub(crate) layout: Layout,
    pub(crate) targets: Vec<Target>,
    /// What the adapter says it was trained from: where it says it, and what.
    pub(crate) stated_bases: Vec<(String, String)>,
    /// `target_modules` of its config.
    pub(crate) target_modules: Option<Vec<String>>,
    /// What is odd about it and no reason to refuse it.
    pub(crate) warnings: Warnings,
    /// Of all matrices under the names of checkpoints, without alphas.
    content: Digest,
}

impl Adapter {
    /// Opens a file, or a file in a folder: the one of that name, else `pytorch_lora_weights.safetensors`, else
    /// `adapter_model.safetensors`, else the only safetensors there. Reads all of it once, in parallel.
    ///
    /// # Errors
    /// An [`AdapterError`] that says what was expected and found: no such file, no safetensors, names that are no part of
    /// a LoRA for CogVideoX or belong to a text encoder, matrices without their other half, shapes that do not fit each
    /// other, numbers that are not finite, a config that is malformed or of another method.
    pub fn open(path: &Path, weight_name: Option<&str>) -> Result<Self, AdapterError> {
        Self::open_files(&AdapterFiles::find(path, weight_name)?)
    }

    /// Opens files found before, or put somewhere for the purpose.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_files(files: &AdapterFiles) -> Result<Self, AdapterError> {
        let path = &files.weights;
        let weights = Weights::open_file(path).map_err(|error| unread::reason(path, error))?;
        let metadata = weights.metadata();
        let of_header = LoraConfig::of_metadata(path, |key| metadata.get(key))?;
        let beside = files.config.as_deref().map(LoraConfig::read).transpose()?;
        let configs =
            Configs { header: of_header, beside: beside.as_ref().map(|(config, _)| config) };

        let mut warnings = Warnings::default();
        let (layout, pairs) = pairs::pair(&weights, &mut warnings)?;
        let targets = pairs::targets(&weights, pairs, &configs, &mut warnings)?;
        let content = numbers::check(path, &targets)?;
        let bytes: u64 = weights.files().iter().map(|file| file.len() as u64).sum();
        let mut digest = weights.files().first().map_or(content, |file| Digest::of(file));
        if let Some((_, config)) = &beside {
            digest = with_config(digest, config);
        }
        Ok(Self {
            path: path.clone(),
            digest,
            size: bytes + beside.as_ref().map_or(0, |(_, config)| config.len() as u64),
            present: weights.names().len(),
            layout,
            targets,
            stated_bases: stated_bases(&weights, &configs),
            target_modules: configs.first(|config| config.target_modules.clone()),
            warnings,
            content,
        })
    }

    /// The same with a stated alpha in place of the one that was found, or with that one again.
    ///
    /// # Errors
    /// [`AdapterError::Alpha`] unless it is a positive number.
    pub fn with_alpha(mut self, alpha: Option<f64>) -> Result<Self, AdapterError> {
        if let Some(found) = alpha.filter(|alpha| !alpha.is_finite() || *alpha <= 0.0) {
            return Err(AdapterError::Alpha { found });
        }
        self.targets.iter_mut().for_each(|target| target.state_alpha(alpha));
        Ok(self)
    }

    /// The safetensors.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// blake3 of the file, as `b3sum` prints it; where an `adapter_config.json` belongs to it, of both files' digests.
    /// Adapters are addressed by it.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What the adapter does, as 32 bytes: its matrices under the names of checkpoints, and each layer's scale. Two files
    /// that hold the same adapter in two layouts have the same.
    pub fn identity(&self) -> Digest {
        let mut hasher = blake3::Hasher::new_derive_key("cogwheel 2026 adapter v1");
        hasher.update(self.content.as_bytes());
        for target in &self.targets {
            hasher.update(&target.ratio().to_bits().to_le_bytes());
        }
        Digest::from_bytes(*hasher.finalize().as_bytes())
    }

    /// The layers it changes, in the order of their names.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// What is odd about it with the alphas that it has now.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let is_stated = |target: &Target| target.alpha().source == AlphaSource::Stated;
        let Warnings { of_alphas, others } = &self.warnings;
        let of_alphas = of_alphas.iter().filter(|_| !self.targets.iter().all(is_stated));
        others.iter().chain(of_alphas).cloned().collect()
    }

    /// Whether any layer is weight-decomposed (DoRA).
    pub fn is_dora(&self) -> bool {
        self.targets.iter().any(|target| target.magnitude.is_some())
    }
}

/// What is odd about an adapter.
#[derive(Clone, Debug, Default)]
pub(crate) struct Warnings {
    /// About the alphas that were found, which mean nothing where another is stated.
    pub(crate) of_alphas: Vec<String>,
    /// About anything else.
    pub(crate) others: Vec<String>,
}

/// What describes the adapter: the header's word goes before that of a file beside it.
struct Configs<'a> {
    header: Option<LoraConfig>,
    beside: Option<&'a LoraConfig>,
}

impl Configs<'_> {
    fn first<T>(&self, get: impl Fn(&LoraConfig) -> Option<T>) -> Option<T> {
        self.header.as_ref().and_then(&get).or_else(|| self.beside.and_then(get))
    }
}

fn with_config(weights: Digest, config: &[u8]) -> Digest {
    let mut hasher = blake3::Hasher::new_derive_key("cogwheel 2026 adapter with config v1");
    hasher.update(weights.as_bytes()).update(Digest::of(config).as_bytes());
    Digest::from_bytes(*hasher.finalize().as_bytes())
}

/// PEFT's key, then those of kohya's and the model specification's headers.
fn stated_bases(weights: &Weights, configs: &Configs<'_>) -> Vec<(String, String)> {
    const KEYS: [&str; 5] = [
        "base_model_name_or_path",
        "base_model",
        "ss_sd_model_name",
        "ss_base_model_version",
        "modelspec.architecture",
    ];
    let config = configs.first(|config| config.base_model.clone());
    let config = config.map(|base| (KEYS[0].to_owned(), base));
    let header =
        KEYS.iter().filter_map(|&key| Some((key.to_owned(), weights.metadata().get(key)?.clone())));
    config.into_iter().chain(header).collect()
}
