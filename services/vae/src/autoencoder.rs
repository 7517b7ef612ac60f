use cogwheel_engine::{Runtime, SessionOptions};
use cogwheel_models::checkpoint::Checkpoint;

use crate::{Decoder, Encoder, VaeError};

/// A checkpoint's decoder and encoder, each from when it is first asked for: most models never need the encoder, and where
/// memory holds little, it is one of them that is needed.
pub(crate) struct Autoencoder {
    decoder: Option<Decoder>,
    encoder: Option<Encoder>,
    checkpoint: Checkpoint,
    runtime: Runtime,
    options: SessionOptions,
}

impl Autoencoder {
    /// With nothing loaded yet.
    pub(crate) fn new(
        checkpoint: &Checkpoint,
        runtime: &Runtime,
        options: &SessionOptions,
    ) -> Self {
        Self {
            decoder: None,
            encoder: None,
            checkpoint: checkpoint.clone(),
            runtime: runtime.clone(),
            options: options.clone(),
        }
    }

    /// The decoder, loaded if need be.
    ///
    /// # Errors
    /// As [`Decoder::load`].
    pub(crate) fn decoder(&mut self) -> Result<&mut Decoder, VaeError> {
        let Self { decoder, checkpoint, runtime, options, .. } = self;
        match decoder {
            Some(decoder) => Ok(decoder),
            empty => Ok(empty.insert(Decoder::load(checkpoint, runtime, options)?)),
        }
    }

    /// The encoder, loaded if need be.
    ///
    /// # Errors
    /// As [`Encoder::load`].
    pub(crate) fn encoder(&mut self) -> Result<&mut Encoder, VaeError> {
        let Self { encoder, checkpoint, runtime, options, .. } = self;
        match encoder {
            Some(encoder) => Ok(encoder),
            empty => Ok(empty.insert(Encoder::load(checkpoint, runtime, options)?)),
        }
    }
}
