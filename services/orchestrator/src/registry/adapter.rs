use std::path::Path;
use std::sync::Arc;

use cogwheel_api::adapter::v1;
use cogwheel_api::denoiser::v1::PutAdapterHeader;
use cogwheel_lora::{Adapter, AdapterError, AdapterFiles, Description};
use cogwheel_models::checkpoint::Checkpoint;

use super::base::Base;
use super::kept::Kept;

/// An adapter under a name, read and checked against the model. Its file stays where it is as long
/// as this is held.
#[derive(Debug)]
pub struct RegisteredAdapter {
    pub(super) name: String,
    pub(super) alpha: Option<f64>,
    pub(super) description: Description,
    pub(super) kept: Arc<Kept>,
    pub(super) origin: Origin,
}

/// How an adapter came here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// It is there at every start: of a folder, or given with the settings.
    Start,
    /// Someone named its path.
    Path,
    /// Someone sent it up.
    Upload,
}

/// An adapter's bytes where they lie, checked.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(super) description: Description,
    pub(super) lengths: [u64; 2],
}

impl Opened {
    /// Reads an adapter's files and checks them against the model.
    pub(super) fn read(
        files: &AdapterFiles,
        alpha: Option<f64>,
        base: &Base,
    ) -> Result<Self, AdapterError> {
        let adapter = Adapter::open_files(files)?.with_alpha(alpha)?;
        let description = adapter.describe(&base.model())?;
        // The config was read with the rest: what is left of the size are the weights.
        let length = |path: &Path| path.metadata().map_or(0, |metadata| metadata.len());
        let config = files.config.as_deref().map_or(0, length);
        let weights = description.size_bytes.saturating_sub(config);
        Ok(Self { description, lengths: [weights, config] })
    }
}

impl RegisteredAdapter {
    /// Opens an adapter's file or folder for a server of this process; `alpha` is stated in place of
    /// what the file says. Reads all of it.
    ///
    /// # Errors
    /// What is wrong with the file, or why it does not fit the checkpoint.
    pub fn open(
        path: &Path,
        weight_name: Option<&str>,
        alpha: Option<f64>,
        checkpoint: &Checkpoint,
    ) -> Result<Self, AdapterError> {
        let files = AdapterFiles::find(path, weight_name)?;
        let base = Base::new(checkpoint);
        let Opened { description, lengths } = Opened::read(&files, alpha, &base)?;
        let kept = Arc::new(Kept::elsewhere(files, lengths));
        let name = description.digest.chars().take(16).collect();
        Ok(Self { name, alpha, description, kept, origin: Origin::Start })
    }

    /// The same under another name than the first 16 digits of its digest.
    #[must_use]
    pub fn named(self, name: String) -> Self {
        Self { name, ..self }
    }

    /// What requests call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The alpha that was stated.
    pub fn alpha(&self) -> Option<f64> {
        self.alpha
    }

    /// What it is.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Stages address it by this.
    pub(crate) fn digest(&self) -> &str {
        &self.description.digest
    }

    /// Where its bytes are.
    pub(crate) fn files(&self) -> &AdapterFiles {
        &self.kept.files
    }

    /// What goes before its bytes to a denoiser.
    pub(crate) fn put_header(&self) -> PutAdapterHeader {
        let [weights_byte_length, config_byte_length] = self.kept.lengths;
        let digest = self.digest().to_owned();
        PutAdapterHeader { digest, weights_byte_length, config_byte_length }
    }

    /// The adapter as the API describes it.
    pub fn message(&self) -> v1::Adapter {
        let Description {
            layout,
            digest,
            size_bytes,
            dtype,
            tensors,
            targets,
            targets_of_model,
            ..
        } = &self.description;
        let described = &self.description;
        v1::Adapter {
            name: self.name.clone(),
            digest: digest.clone(),
            size_bytes: *size_bytes,
            layout: layout.to_string(),
            dtype: dtype.clone(),
            num_tensors: count(*tensors),
            num_targets: count(*targets),
            num_targets_of_model: count(*targets_of_model),
            ranks: (described.ranks.iter())
                .map(|(&rank, &n)| v1::RankCount { rank: count(rank), num_targets: count(n) })
                .collect(),
            alphas: (described.alphas.iter())
                .map(|group| v1::AlphaCount {
                    alpha: group.alpha,
                    source: group.source.to_string(),
                    num_targets: count(group.targets),
                })
                .collect(),
            scales: (described.scales.iter())
                .map(|group| v1::ScaleCount {
                    scale: group.scale,
                    num_targets: count(group.targets),
                })
                .collect(),
            num_dora_targets: count(described.dora_targets),
            num_bias_targets: count(described.bias_targets),
            stated_base: described.stated_base.clone().unwrap_or_default(),
            fits: described.fits.clone(),
            warnings: described.warnings.clone(),
            stated_alpha: self.alpha,
        }
    }
}

/// Numbers of tensors are far below `u32::MAX`.
fn count(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
