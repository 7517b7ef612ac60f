//! A checkpoint folder in diffusers' layout: its configs, what family it is of, and its weights.

mod defaults;
mod error;
mod family;
mod folder;
mod memory;
mod name;
mod sides;

use std::path::{Path, PathBuf};

use cogwheel_diffusion::geometry::GeometryConfig;
use cogwheel_tensor::Storage;
use cogwheel_weights::{ExpectedTensor, Strictness, Weights};
pub use defaults::Defaults;
pub use error::CheckpointError;
pub use family::{Conditioning, Family, Positions, Version};
pub use memory::{MemoryEstimate, StageMemory, Workload};
pub use name::folder_name;
pub use sides::{SideLimit, SideLimits};

use crate::{
    config::{SchedulerFileConfig, TextEncoderConfig, TransformerConfig, VaeConfig},
    names,
};

/// The stem of diffusers' weight files.
const DIFFUSERS: &str = "diffusion_pytorch_model";

/// The stem of transformers' weight files.
const TRANSFORMERS: &str = "model";

/// A checkpoint folder, its configs read and checked one by one and against each other.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// The folder.
    pub dir: PathBuf,
    /// `transformer/config.json`.
    pub transformer: TransformerConfig,
    /// `vae/config.json`.
    pub vae: VaeConfig,
    /// `text_encoder/config.json`.
    pub text_encoder: TextEncoderConfig,
    /// `scheduler/scheduler_config.json`.
    pub scheduler: SchedulerFileConfig,
    family: Family,
    storage: Storage,
    quantized: bool,
}

/// Parameters of each part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParameterCount {
    /// Of the text encoder.
    pub text_encoder: u64,
    /// Of the transformer, without a learned position table.
    pub transformer: u64,
    /// Of the VAE, encoder and decoder.
    pub vae: u64,
}

impl Checkpoint {
    /// Opens a folder of any family: looks whether all files are there, and reads the configs. Weights are not read.
    ///
    /// # Errors
    /// A [`CheckpointError`] that lists all that is missing, or names config, key, expected and found.
    pub fn open(dir: &Path) -> Result<Self, CheckpointError> {
        folder::check_complete(dir)?;
        let pipeline = folder::pipeline(dir)?;
        let transformer = TransformerConfig::read(&dir.join("transformer/config.json"))?;
        let vae = VaeConfig::read(&dir.join("vae/config.json"))?;
        let text_encoder = TextEncoderConfig::read(&dir.join("text_encoder/config.json"))?;
        let scheduler = SchedulerFileConfig::read(&dir.join("scheduler/scheduler_config.json"))?;
        folder::check_agreement(dir, &transformer, &vae, &text_encoder)?;
        let family = Family::of(dir, pipeline, &transformer)?;
        Ok(Self {
            dir: dir.to_path_buf(),
            transformer,
            vae,
            text_encoder,
            scheduler,
            family,
            storage: Storage::Fp32,
            quantized: false,
        })
    }

    /// The same checkpoint with its weights rounded to `storage` as they are read. T5's `wo` stays as it is in half
    /// precision, and only there, as transformers keeps it.
    #[must_use]
    pub fn stored_in(self, storage: Storage) -> Self {
        Self { storage, ..self }
    }

    /// The same checkpoint with its linear layers computed in bytes, see [`crate::transformer::is_quantized`] and
    /// [`crate::text_encoder::is_quantized`], or not.
    #[must_use]
    pub fn with_quantized(self, quantized: bool) -> Self {
        Self { quantized, ..self }
    }

    /// Whether its linear layers are computed in bytes.
    pub fn is_quantized(&self) -> bool {
        self.quantized
    }

    /// What weights, and the state between steps and stages, are rounded to.
    pub fn storage(&self) -> Storage {
        self.storage
    }

    /// What family the configs describe; the folder's name has no say in it.
    pub fn family(&self) -> Family {
        self.family
    }

    /// What a request that leaves things open gets.
    pub fn defaults(&self) -> Defaults {
        Defaults::of(self)
    }

    /// What a guided request that leaves sizes open computes.
    pub fn default_workload(&self) -> Workload {
        let Defaults { num_frames, height, width, .. } = self.defaults();
        let encoded_frames = self.encoded_frames(num_frames, false);
        Workload { batch: 2, num_frames, height, width, encoded_frames, tiled: false }
    }

    /// What the geometry of its videos follows from.
    pub fn geometry(&self) -> GeometryConfig {
        GeometryConfig {
            latent_channels: self.transformer.out_channels,
            spatial_compression: self.vae.spatial_compression_ratio(),
            temporal_compression: self.vae.temporal_compression_ratio,
            patch_size: self.transformer.patch_size,
            patch_size_t: self.transformer.patch_size_t,
        }
    }

    /// Parameters of each part, from the configs.
    pub fn parameter_count(&self) -> ParameterCount {
        ParameterCount {
            text_encoder: names::parameter_count(&names::text_encoder(&self.text_encoder)),
            transformer: names::parameter_count(&names::transformer(&self.transformer)),
            vae: names::parameter_count(&names::vae(&self.vae)),
        }
    }

    /// Opens the transformer's weights and checks that they are what the config calls for.
    ///
    /// # Errors
    /// [`CheckpointError::Weights`], which names tensor, expected and found.
    pub fn weights_transformer(&self) -> Result<Weights, CheckpointError> {
        let expected = names::transformer(&self.transformer);
        self.weights("transformer", DIFFUSERS, |_| expected)
    }

    /// Opens the VAE's weights, encoder and decoder, and checks that they are what the config calls for.
    ///
    /// # Errors
    /// As [`Self::weights_transformer`].
    pub fn weights_vae(&self) -> Result<Weights, CheckpointError> {
        let expected = names::vae(&self.vae);
        self.weights("vae", DIFFUSERS, |_| expected)
    }

    /// Opens the text encoder's weights and checks that they are what the config calls for. The token embedding may
    /// stand there under either of its names, or under both: [`names::embedding_name`] says which to take.
    ///
    /// # Errors
    /// As [`Self::weights_transformer`]; [`CheckpointError::TiedEmbedding`] when both are there and differ.
    pub fn weights_text_encoder(&self) -> Result<Weights, CheckpointError> {
        let expected = |weights: &Weights| names::text_encoder_in(&self.text_encoder, weights);
        let weights = self.weights("text_encoder", TRANSFORMERS, expected)?;
        if let (Some(shared), Some(tied)) =
            (weights.get(names::EMBEDDING), weights.get(names::TIED_EMBEDDING))
            && (shared.dtype != tied.dtype || shared.bytes != tied.bytes)
        {
            return Err(CheckpointError::TiedEmbedding { path: weights.path().to_path_buf() });
        }
        if self.storage == Storage::Fp16 {
            return Ok(weights.stored_in(self.storage, names::is_kept_fp32));
        }
        Ok(weights)
    }

    fn weights(
        &self,
        part: &str,
        stem: &str,
        expected: impl FnOnce(&Weights) -> Vec<ExpectedTensor>,
    ) -> Result<Weights, CheckpointError> {
        let weights = Weights::open(&self.dir.join(part), stem)?;
        weights.check(&expected(&weights), Strictness::Exact)?;
        Ok(weights.stored_in(self.storage, |_| false))
    }
}

#[cfg(test)]
mod tests;
