use cogwheel_engine::{Runtime, SessionOptions};
use cogwheel_models::checkpoint::Checkpoint;

use crate::{Decoder, Encoder, VaeError};

/// A checkpoint's decoder, and its encoder from when it is first asked for: most models never need it.
pub(crate) struct Autoencoder {
    pub(crate) decoder: Decoder,
    encoder: Option<Encoder>,
    checkpoint: Checkpoint,
    runtime: Runtime,
    options: SessionOptions,
}

impl Autoencoder {
    /// Loads the decoder.
    ///
    /// # Errors
    /// As [`Decoder::load`].
    pub(crate) fn load(
        checkpoint: &Checkpoint,
        runtime: &Runtime,
        options: &SessionOptions,
    ) -> Result<Self, VaeError> {
        Ok(Self {
            decoder: Decoder::load(checkpoint, runtime, options)?,
            encoder: None,
            checkpoint: checkpoint.clone(),
            runtime: runtime.clone(),
            options: options.clone(),
        })
    }

    /// The encoder, loaded if need be.
    ///
    /// # Errors
    /// As [`Encoder::load`].
    pub(crate) fn encoder(&mut self) -> Result<&mut Encoder, VaeError> {
        match &mut self.encoder {
            Some(encoder) => Ok(encoder),
            empty => {
                let encoder = Encoder::load(&self.checkpoint, &self.runtime, &self.options)?;
                Ok(empty.insert(encoder))
            }
        }
    }
}
