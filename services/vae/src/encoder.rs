mod posterior;

use std::{ops::ControlFlow, time::Duration};

use cogwheel_diffusion::geometry;
use cogwheel_engine::{CancellationToken, Output, Runtime, Session, SessionOptions};
use cogwheel_models::{checkpoint::Checkpoint, config::VaeConfig, vae};
use cogwheel_tensor::{DType, Tensor};
use cogwheel_weights::Weights;

use crate::{VaeError, chunked::ChunkedGraph};
pub use posterior::Posterior;

/// Frames to the distribution of their latents, chunk by chunk: memory is bounded by a chunk, not by the clip.
#[derive(Debug)]
pub struct Encoder {
    graph: ChunkedGraph,
    spatial_compression: usize,
}

impl Encoder {
    /// Makes the session from a checkpoint's `vae/`. Computes in fp32 whatever the weights are stored in.
    ///
    /// # Errors
    /// Weights that the config does not call for, or what ONNX Runtime says.
    pub fn load(
        checkpoint: &Checkpoint,
        runtime: &Runtime,
        options: &SessionOptions,
    ) -> Result<Self, VaeError> {
        Self::new(&checkpoint.vae, &checkpoint.weights_vae()?, runtime, options)
    }

    /// Makes the session from a config and its weights, of which only the encoder's are read.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn new(
        config: &VaeConfig,
        weights: &Weights,
        runtime: &Runtime,
        options: &SessionOptions,
    ) -> Result<Self, VaeError> {
        let encoder = vae::encoder(config, weights)?;
        let session = Session::new(runtime, encoder.model, weights, options)?;
        Ok(Self {
            graph: ChunkedGraph::new(session, encoder.caches),
            spatial_compression: config.spatial_compression_ratio(),
        })
    }

    /// Encodes `frames`, fp32 [frames, height, width, 3] in 0..1; tells after each chunk how many are done, which can break
    /// off: then there is no result, and no error.
    ///
    /// As diffusers' `VideoProcessor.normalize` and `AutoencoderKLCogVideoX.encode`: `8 n + 1` frames give `2 n + 1` latent
    /// ones.
    ///
    /// # Errors
    /// [`VaeError::Frames`]; [`cogwheel_engine::EngineError::Cancelled`] when the token fires.
    pub fn encode(
        &mut self,
        frames: &Tensor,
        mut on_frames: impl FnMut(usize) -> ControlFlow<()>,
        cancellation: &CancellationToken,
    ) -> Result<Option<Posterior>, VaeError> {
        let [count, height, width] = self.sides(frames)?;
        let values = frames.as_f32()?;
        let (mut carried, mut moments) = (Vec::new(), Vec::new());
        for chunk in geometry::encode_chunks(count) {
            let end = chunk.end;
            let frame_len = height * width * 3;
            let part = &values[chunk.start * frame_len..chunk.end * frame_len];
            let part =
                Tensor::from_f32([chunk.len(), 3, height, width], planes(part, height * width))?;
            let (made, caches) = self.chunk(&part, carried, cancellation)?;
            carried = caches;
            moments.push(made);
            if on_frames(end).is_break() {
                return Ok(None);
            }
        }
        Posterior::new(&moments).map(Some)
    }

    /// Time spent inside ONNX Runtime by all runs so far.
    pub fn time_inside(&self) -> Duration {
        self.graph.time_inside()
    }

    /// Runs the graph on one chunk; gives its moments and the caches for the next one.
    fn chunk(
        &mut self,
        frames: &Tensor,
        carried: Vec<Output>,
        cancellation: &CancellationToken,
    ) -> Result<(Tensor, Vec<Output>), VaeError> {
        let &[count, _, height, width] = frames.shape() else { return Err(self.unfit(frames)) };
        let indices = vae::encode_inputs(count, carried.is_empty())?;
        let sides = [height, width].map(|side| side / self.spatial_compression);
        let made = self.graph.run(("frames", frames), &indices, sides, carried, cancellation)?;
        made.ok_or_else(|| self.unfit(frames))
    }

    /// Frames, height and width.
    fn sides(&self, frames: &Tensor) -> Result<[usize; 3], VaeError> {
        match *frames.shape() {
            [count, height, width, 3]
                if !frames.is_empty()
                    && frames.dtype() == DType::F32
                    && [height, width].iter().all(|side| side % self.spatial_compression == 0) =>
            {
                Ok([count, height, width])
            }
            _ => Err(self.unfit(frames)),
        }
    }

    fn unfit(&self, frames: &Tensor) -> VaeError {
        VaeError::Frames {
            multiple: self.spatial_compression,
            dtype: frames.dtype(),
            shape: frames.shape().to_vec(),
        }
    }
}

/// Brightness [frames, height, width, 3] in 0..1 as [frames, 3, height, width] in -1..1.
fn planes(frames: &[f32], area: usize) -> Vec<f32> {
    let mut planes = Vec::with_capacity(frames.len());
    for frame in frames.chunks_exact(3 * area) {
        for channel in 0..3 {
            planes.extend(frame.iter().skip(channel).step_by(3).map(|value| value * 2.0 - 1.0));
        }
    }
    planes
}
