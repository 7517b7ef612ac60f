use cogwheel_lora::Model;
use cogwheel_models::checkpoint::Checkpoint;
use cogwheel_models::config::TransformerConfig;
use cogwheel_weights::Weights;

/// What adapters are checked against.
#[derive(Debug)]
pub(super) struct Base {
    config: TransformerConfig,
    /// Mapped: an adapter's scale is judged by a few of them.
    weights: Option<Weights>,
}

impl Base {
    /// The checkpoint's transformer. Its weights need not be there: only the denoiser needs them.
    pub(super) fn new(checkpoint: &Checkpoint) -> Self {
        let weights = match checkpoint.weights_transformer() {
            Ok(weights) => Some(weights),
            Err(error) => {
                tracing::info!(%error, "no transformer's weights to judge adapters' scales by");
                None
            }
        };
        Self { config: checkpoint.transformer.clone(), weights }
    }

    pub(super) fn model(&self) -> Model<'_> {
        Model::new(&self.config, self.weights.as_ref())
    }
}
