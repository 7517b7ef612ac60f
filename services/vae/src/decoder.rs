mod canvas;
mod latents;

use std::{
    ops::{ControlFlow, Range},
    time::Duration,
};

use cogwheel_diffusion::{
    frames,
    geometry::{self, Tiles},
};
use cogwheel_engine::{CancellationToken, EngineError, Runtime, Session, SessionOptions};
use cogwheel_models::{checkpoint::Checkpoint, config::VaeConfig, vae};
use cogwheel_tensor::{DType, Storage, Tensor, TensorError};
use cogwheel_weights::Weights;

use canvas::Canvas;
use latents::Latents;

use crate::{
    VaeError,
    chunked::{Carried, ChunkedGraph},
    seams::{Tile, in_order},
};

/// Latents to frames, chunk by chunk, and tile by tile where asked to: memory is bounded by these, not by the clip.
#[derive(Debug)]
pub struct Decoder {
    graph: ChunkedGraph,
    latent_channels: usize,
    /// Along time, and along each side.
    compression: [usize; 2],
    scaling_factor: f64,
    /// What latents are rounded to before anything else.
    storage: Storage,
}

/// What decoding gives, as soon as it is there.
#[derive(Debug)]
pub enum Decoded {
    /// So many tiles of all are decoded; their frames follow when the last one is.
    Tiles {
        /// Decoded.
        tiles: usize,
        /// Of all.
        num_tiles: usize,
    },
    /// Frames, fp32 [n, 8 height, 8 width, 3] in 0..1.
    Frames {
        /// Index of the first one.
        first: usize,
        /// The frames.
        frames: Tensor,
    },
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
    ) -> Result<Self, VaeError> {
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
    ) -> Result<Self, VaeError> {
        let decoder = vae::decoder(config, weights)?;
        let session = Session::new(runtime, decoder.model, weights, options)?;
        Ok(Self {
            graph: ChunkedGraph::new(session, decoder.caches),
            latent_channels: config.latent_channels,
            compression: [config.temporal_compression_ratio, config.spatial_compression_ratio()],
            scaling_factor: config.scaling_factor,
            storage: Storage::Fp32,
        })
    }

    /// Decodes `latents`, fp32 [frames, channels, height, width] as the denoiser gives them, and hands over the frames
    /// of each chunk.
    ///
    /// As diffusers' `CogVideoXPipeline.decode_latents` and `VideoProcessor`: an odd number of latent frames gives
    /// `4 (n - 1) + 1` frames, an even one `4n`. With `tiles`, and where latents are larger than one, as `tiled_decode`
    /// (other numbers: group norms take their statistics over a tile): memory is then bounded by a tile's chunk, beside
    /// the clip's frames and those of a row of tiles; frames come when the last tile is decoded. `on_decoded` can break
    /// off, which is no error.
    ///
    /// # Errors
    /// [`VaeError::Latents`]; [`EngineError::Cancelled`] when the token fires.
    pub fn decode(
        &mut self,
        latents: &Tensor,
        tiles: Option<Tiles>,
        mut on_decoded: impl FnMut(Decoded) -> ControlFlow<()>,
        cancellation: &CancellationToken,
    ) -> Result<(), VaeError> {
        let latents = self.scaled(latents)?;
        let [height, width] = latents.sides;
        match tiles.filter(|tiles| tiles.cut(latents.sides)) {
            Some(tiles) => self.decode_tiles(&latents, tiles, &mut on_decoded, cancellation),
            None => self.decode_window(
                &latents,
                [0..height, 0..width],
                |first, planes| Ok(on_decoded(Decoded::Frames { first, frames: pixels(planes)? })),
                cancellation,
            ),
        }
    }

    /// Decodes the least that there can be: one frame of one latent, of zeros.
    ///
    /// # Errors
    /// What keeps the model from being run.
    pub fn warm_up(&mut self) -> Result<(), VaeError> {
        let shape = [1, self.latent_channels, 1, 1];
        let latents = Tensor::from_f32(shape, vec![0.0; self.latent_channels])?;
        self.decode(&latents, None, |_| ControlFlow::Continue(()), &CancellationToken::new())
    }

    /// Decodes some rows and columns of the latents, chunk by chunk; hands over the index of a chunk's first frame and
    /// what the decoder gave, [n, 3, 8 rows, 8 columns].
    fn decode_window(
        &mut self,
        latents: &Latents,
        window: [Range<usize>; 2],
        mut on_chunk: impl FnMut(usize, Tensor) -> Result<ControlFlow<()>, VaeError>,
        cancellation: &CancellationToken,
    ) -> Result<(), VaeError> {
        let mut carried = Carried::default();
        let mut first_frame = 0;
        for chunk in geometry::decode_chunks(latents.frames) {
            let _span = tracing::info_span!("decode chunk", first_frame).entered();
            let part = latents.window(chunk, &window)?;
            let (planes, caches) = self.chunk(&part, carried, cancellation)?;
            carried = caches;
            let frames = planes.shape().first().copied().unwrap_or_default();
            if on_chunk(first_frame, planes)?.is_break() {
                break;
            }
            first_frame += frames;
        }
        Ok(())
    }

    fn decode_tiles(
        &mut self,
        latents: &Latents,
        tiles: Tiles,
        on_decoded: &mut impl FnMut(Decoded) -> ControlFlow<()>,
        cancellation: &CancellationToken,
    ) -> Result<(), VaeError> {
        let num_tiles = in_order(tiles, latents.sides).count();
        let mut canvas = Canvas::new(latents, tiles, self.compression);
        for (done, (row, column, at)) in in_order(tiles, latents.sides).enumerate() {
            if on_decoded(Decoded::Tiles { tiles: done, num_tiles }).is_break() {
                return Ok(());
            }
            let sides = [&row, &column].map(|side| side.len() * self.compression[1]);
            let mut tile = Tile::new(3, sides);
            let collect = |_, planes| tile.push(&planes).map(ControlFlow::Continue);
            self.decode_window(latents, [row.clone(), column.clone()], collect, cancellation)?;
            canvas.place(tile, &row, (at, &column));
        }
        if on_decoded(Decoded::Tiles { tiles: num_tiles, num_tiles }).is_break() {
            return Ok(());
        }
        for chunk in canvas.into_chunks() {
            let (first, frames) = chunk?;
            if cancellation.is_cancelled() {
                return Err(EngineError::Cancelled.into());
            }
            if on_decoded(Decoded::Frames { first, frames }).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Time spent inside ONNX Runtime by all runs so far.
    pub fn time_inside(&self) -> Duration {
        self.graph.time_inside()
    }

    /// Runs the graph on one chunk; gives its frames and the caches for the next one.
    fn chunk(
        &mut self,
        latents: &Tensor,
        carried: Carried,
        cancellation: &CancellationToken,
    ) -> Result<(Tensor, Carried), VaeError> {
        let &[latent_frames, _, height, width] = latents.shape() else {
            return Err(self.unfit(latents));
        };
        let indices = vae::decode_inputs(latent_frames, carried.is_empty())?;
        let sides = [height, width];
        let made = self.graph.run(("latents", latents), &indices, sides, carried, cancellation)?;
        made.ok_or_else(|| self.unfit(latents))
    }

    /// The latents rounded to the storage and divided by the scaling factor.
    fn scaled(&self, latents: &Tensor) -> Result<Latents, VaeError> {
        let &[frames, channels, height, width] = latents.shape() else {
            return Err(self.unfit(latents));
        };
        if channels != self.latent_channels || latents.is_empty() || latents.dtype() != DType::F32 {
            return Err(self.unfit(latents));
        }
        let mut values = latents.as_f32()?.into_owned();
        self.storage.round(&mut values);
        let inverse = (1.0 / self.scaling_factor) as f32;
        values.iter_mut().for_each(|value| *value *= inverse);
        Ok(Latents { values, frames, channels, sides: [height, width] })
    }

    fn unfit(&self, latents: &Tensor) -> VaeError {
        VaeError::Latents {
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
