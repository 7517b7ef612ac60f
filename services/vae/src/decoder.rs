use std::{borrow::Cow, ops::ControlFlow, time::Duration};

use cogwheel_diffusion::{frames, geometry};
use cogwheel_engine::{
    CancellationToken, EngineError, Input, Output, Runtime, Session, SessionOptions,
};
use cogwheel_models::{
    BuildError,
    checkpoint::{Checkpoint, CheckpointError},
    config::VaeConfig,
    vae::{self, ConvCache},
};
use cogwheel_tensor::{DType, Storage, Tensor, TensorError};
use cogwheel_weights::Weights;

/// Latents to frames, chunk by chunk: memory is bounded by a chunk, not by the clip.
#[derive(Debug)]
pub struct Decoder {
    session: Session,
    caches: Vec<ConvCache>,
    latent_channels: usize,
    scaling_factor: f64,
    /// What latents are rounded to before anything else.
    storage: Storage,
}

/// Why latents were not decoded.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The weights are not what the config calls for.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// No graph could be built of them.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The session could not be made or run, or was cancelled.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The latents are not those of this model.
    #[error(
        "latents: expected F32 [frames, {channels}, height, width], none of them 0, found {dtype} {shape:?}"
    )]
    Latents {
        /// Channels that the model's latents have.
        channels: usize,
        /// Their dtype.
        dtype: DType,
        /// Their shape.
        shape: Vec<usize>,
    },
    /// Frames larger than a machine can address.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

impl Decoder {
    /// Makes the session from a checkpoint's `vae/`. Computes in fp32 whatever the weights are stored in; latents are
    /// rounded to what the checkpoint's weights are.
    ///
    /// # Errors
    /// Weights that the config does not call for, or what ONNX Runtime says.
    pub fn load(
        checkpoint: &Checkpoint,
        runtime: &Runtime,
        options: &SessionOptions,
    ) -> Result<Self, DecodeError> {
        let decoder = Self::new(&checkpoint.vae, &checkpoint.weights_vae()?, runtime, options)?;
        Ok(Self { storage: checkpoint.storage(), ..decoder })
    }

    /// Makes the session from a config and its weights, of which only the decoder's are read.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn new(
        config: &VaeConfig,
        weights: &Weights,
        runtime: &Runtime,
        options: &SessionOptions,
    ) -> Result<Self, DecodeError> {
        let decoder = vae::decoder(config, weights)?;
        Ok(Self {
            session: Session::new(runtime, decoder.model, weights, options)?,
            caches: decoder.caches,
            latent_channels: config.latent_channels,
            scaling_factor: config.scaling_factor,
            storage: Storage::Fp32,
        })
    }

    /// Decodes `latents`, fp32 [frames, channels, height, width] as the denoiser gives them, and hands over the frames
    /// of each chunk as soon as they are there: the index of the first one, and fp32 [n, 8 height, 8 width, 3] in 0..1.
    ///
    /// As diffusers' `CogVideoXPipeline.decode_latents` and `VideoProcessor`: an odd number of latent frames gives
    /// `4 (n - 1) + 1` frames, an even one `4n`. `on_frames` can break off, which is no error.
    ///
    /// # Errors
    /// [`DecodeError::Latents`]; [`EngineError::Cancelled`] when the token fires.
    pub fn decode(
        &mut self,
        latents: &Tensor,
        mut on_frames: impl FnMut(usize, Tensor) -> ControlFlow<()>,
        cancellation: &CancellationToken,
    ) -> Result<(), DecodeError> {
        let (mut values, [count, height, width]) = self.latents(latents)?;
        if self.storage != Storage::Fp32 {
            self.storage.round(values.to_mut());
        }
        let frame_len = values.len() / count;
        let inverse = (1.0 / self.scaling_factor) as f32;
        let mut carried: Vec<Output> = Vec::new();
        let mut first_frame = 0;
        for chunk in geometry::decode_chunks(count) {
            let scaled = values[chunk.start * frame_len..chunk.end * frame_len].iter();
            let scaled = scaled.map(|value| inverse * value).collect();
            let scaled =
                Tensor::from_f32([chunk.len(), self.latent_channels, height, width], scaled)?;
            let (frames, caches) = self.chunk(&scaled, carried, cancellation)?;
            carried = caches;
            let frames = pixels(frames)?;
            let frame_count = frames.shape().first().copied().unwrap_or_default();
            if on_frames(first_frame, frames).is_break() {
                break;
            }
            first_frame += frame_count;
        }
        Ok(())
    }

    /// Time spent inside ONNX Runtime by all runs so far.
    pub fn time_inside(&self) -> Duration {
        self.session.time_inside()
    }

    /// Runs the graph on one chunk; gives its frames and the caches for the next one.
    fn chunk(
        &mut self,
        latents: &Tensor,
        carried: Vec<Output>,
        cancellation: &CancellationToken,
    ) -> Result<(Tensor, Vec<Output>), DecodeError> {
        let &[latent_frames, _, height, width] = latents.shape() else {
            return Err(self.unfit(latents));
        };
        let is_first = carried.is_empty();
        let indices = vae::chunk_inputs(latent_frames, is_first)?;
        let empty = self.caches.iter().filter(|_| is_first).map(|cache| cache.empty(height, width));
        let empty = empty.collect::<Result<Vec<_>, _>>()?;

        let mut inputs: Vec<(&str, Input<'_>)> = vec![("latents", latents.into())];
        inputs.extend(indices.iter().map(|(name, tensor)| (name.as_str(), tensor.into())));
        let names = || self.caches.iter().map(|cache| cache.input.as_str());
        inputs.extend(names().zip(empty.iter().map(Input::from)));
        inputs.extend(names().zip(carried.iter().map(Input::from)));

        let mut outputs = self.session.run(&inputs, cancellation)?;
        let caches = outputs.split_off(outputs.len().min(1));
        let frames = outputs.pop().ok_or_else(|| self.unfit(latents))?;
        Ok((frames.into_tensor()?, caches))
    }

    /// The values, and the number of frames, the height and the width.
    fn latents<'a>(
        &self,
        latents: &'a Tensor,
    ) -> Result<(Cow<'a, [f32]>, [usize; 3]), DecodeError> {
        match *latents.shape() {
            [frames, channels, height, width]
                if channels == self.latent_channels
                    && !latents.is_empty()
                    && latents.dtype() == DType::F32 =>
            {
                Ok((latents.as_f32()?, [frames, height, width]))
            }
            _ => Err(self.unfit(latents)),
        }
    }

    fn unfit(&self, latents: &Tensor) -> DecodeError {
        DecodeError::Latents {
            channels: self.latent_channels,
            dtype: latents.dtype(),
            shape: latents.shape().to_vec(),
        }
    }
}

/// The decoder's output [frames, 3, height, width] as brightness [frames, height, width, 3].
fn pixels(frames: Tensor) -> Result<Tensor, TensorError> {
    let &[count, channels, height, width] = frames.shape() else { return Ok(frames) };
    let values = frames.as_f32()?;
    let mut pixels = Vec::with_capacity(values.len());
    for frame in values.chunks_exact((values.len() / count.max(1)).max(1)) {
        pixels.extend(frames::interleave(frame));
    }
    frames::denormalize(&mut pixels);
    Tensor::from_f32([count, height, width, channels], pixels)
}
