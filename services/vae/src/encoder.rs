mod clip;
mod posterior;

use std::{
    ops::{ControlFlow, Range},
    time::Duration,
};

use cogwheel_diffusion::geometry::{self, Tiles};
use cogwheel_engine::{CancellationToken, Runtime, Session, SessionOptions};
use cogwheel_models::{checkpoint::Checkpoint, config::VaeConfig, vae};
use cogwheel_tensor::Tensor;
use cogwheel_weights::Weights;

use crate::{
    VaeError,
    chunked::{Carried, ChunkedGraph},
    seams::{Seams, Tile, in_order},
};
use clip::Clip;
pub use posterior::{LatentUse, Posterior};

/// Frames to the distribution of their latents, chunk by chunk, and tile by tile where asked to: memory is bounded by
/// these, not by the clip.
#[derive(Debug)]
pub struct Encoder {
    graph: ChunkedGraph,
    spatial_compression: usize,
    latent_channels: usize,
}

/// How far encoding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoded {
    /// So many frames of all are encoded.
    Frames {
        /// Encoded.
        frames: usize,
        /// Of all.
        num_frames: usize,
    },
    /// So many tiles of all frames are encoded.
    Tiles {
        /// Encoded.
        tiles: usize,
        /// Of all.
        num_tiles: usize,
    },
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
            latent_channels: config.latent_channels,
        })
    }

    /// Encodes `frames` [frames, height, width, 3], U8, or fp32 in 0..1; tells after each chunk or tile how far it is,
    /// which can break off: then there is no result, and no error.
    ///
    /// As diffusers' `VideoProcessor.normalize` and `AutoencoderKLCogVideoX.encode`: `8 n + 1` frames give `2 n + 1` latent
    /// ones. With `tiles`, and where latents are larger than one, as `tiled_encode`.
    ///
    /// # Errors
    /// [`VaeError::Frames`]; [`cogwheel_engine::EngineError::Cancelled`] when the token fires.
    pub fn encode(
        &mut self,
        frames: &Tensor,
        tiles: Option<Tiles>,
        mut on_encoded: impl FnMut(Encoded) -> ControlFlow<()>,
        cancellation: &CancellationToken,
    ) -> Result<Option<Posterior>, VaeError> {
        let clip = Clip::new(frames, self.spatial_compression)?;
        let sides = clip.sides.map(|side| side / self.spatial_compression);
        let Some(tiles) = tiles.filter(|tiles| tiles.cut(sides)) else {
            let num_frames = clip.frames;
            let window = [0..sides[0], 0..sides[1]];
            let on_chunk = |frames| on_encoded(Encoded::Frames { frames, num_frames });
            let moments = self.encode_window(&clip, &window, on_chunk, cancellation)?;
            return moments.map(|moments| Posterior::new(&moments)).transpose();
        };
        let num_tiles = in_order(tiles, sides).count();
        let mut tell = |tiles| on_encoded(Encoded::Tiles { tiles, num_tiles });
        let mut seams = Seams::new(tiles, 1);
        let mut whole = Vec::new();
        for (done, (row, column, at)) in in_order(tiles, sides).enumerate() {
            if tell(done).is_break() {
                return Ok(None);
            }
            let mut tile = Tile::new(2 * self.latent_channels, [row.len(), column.len()]);
            let window = [row.clone(), column.clone()];
            let on_chunk = |_| ControlFlow::Continue(());
            let moments = self.encode_window(&clip, &window, on_chunk, cancellation)?;
            moments.iter().flatten().try_for_each(|moments| tile.push(moments))?;
            let (tile, size) = seams.blend(tile, at);
            whole.resize(tile.planes() * sides[0] * sides[1], 0.0);
            copy(tile, size, &mut whole, [row.start, column.start], sides);
        }
        if tell(num_tiles).is_break() {
            return Ok(None);
        }
        let channels = 2 * self.latent_channels;
        let latent_frames = whole.len() / (channels * sides[0] * sides[1]).max(1);
        let moments = Tensor::from_f32([latent_frames, channels, sides[0], sides[1]], whole)?;
        Ok(Some(Posterior::new(&[moments])?))
    }

    /// Encodes the pixels of some rows and columns of the latents; tells after each chunk how many frames are done.
    fn encode_window(
        &mut self,
        clip: &Clip<'_>,
        window: &[Range<usize>; 2],
        mut on_chunk: impl FnMut(usize) -> ControlFlow<()>,
        cancellation: &CancellationToken,
    ) -> Result<Option<Vec<Tensor>>, VaeError> {
        let scale = self.spatial_compression;
        let pixels = window.each_ref().map(|side| side.start * scale..side.end * scale);
        let sides = window.each_ref().map(|side| side.len());
        let (mut carried, mut moments) = (Carried::default(), Vec::new());
        for chunk in geometry::encode_chunks(clip.frames) {
            let end = chunk.end;
            let _span = tracing::info_span!("encode chunk", first_frame = chunk.start).entered();
            let indices = vae::encode_inputs(chunk.len(), carried.is_empty())?;
            let frames = clip.window(chunk, &pixels)?;
            let made =
                self.graph.run(("frames", &frames), &indices, sides, carried, cancellation)?;
            let (made, caches) = made.ok_or_else(|| clip::unfit(&frames, scale))?;
            carried = caches;
            moments.push(made);
            if on_chunk(end).is_break() {
                return Ok(None);
            }
        }
        Ok(Some(moments))
    }

    /// Time spent inside ONNX Runtime by all runs so far.
    pub fn time_inside(&self) -> Duration {
        self.graph.time_inside()
    }
}

/// Copies the first rows and columns of a tile to their place among whole planes.
fn copy(
    tile: &Tile,
    [height, width]: [usize; 2],
    whole: &mut [f32],
    [top, left]: [usize; 2],
    [rows, columns]: [usize; 2],
) {
    for (plane, row) in (0..tile.planes()).flat_map(|p| (0..height).map(move |row| (p, row))) {
        let from = (plane * tile.height + row) * tile.width;
        let to = (plane * rows + top + row) * columns + left;
        whole[to..to + width].copy_from_slice(&tile.values[from..from + width]);
    }
}
