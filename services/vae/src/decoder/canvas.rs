//! Tiles blended into whole frames: `blend_v`, `blend_h` and `tiled_decode` of diffusers' `AutoencoderKLCogVideoX`.

use std::ops::Range;

use cogwheel_diffusion::{
    frames,
    geometry::{self, Tiles},
};
use cogwheel_tensor::{Tensor, TensorError};

use super::latents::Latents;
use crate::VaeError;

/// A tile's frames as the decoder gave them: planes of three channels, one frame after another.
#[derive(Default)]
pub(super) struct Tile {
    /// [3 n, height, width].
    values: Vec<f32>,
    height: usize,
    width: usize,
}

/// Whole frames, filled tile by tile from the top left, row by row.
pub(super) struct Canvas {
    /// [frames, height, width, 3] in 0..1, frames in the chunks in which they are handed over.
    chunks: Vec<Vec<f32>>,
    /// Frames of each chunk.
    counts: Vec<usize>,
    height: usize,
    width: usize,
    /// Pixels of a latent.
    scale: usize,
    tiles: Tiles,
    /// The tiles of the row above, blended, from the left.
    above: Vec<Tile>,
    /// Those of this row.
    row: Vec<Tile>,
}

impl Tile {
    /// Takes a chunk, [n, 3, height, width].
    pub(super) fn push(&mut self, planes: &Tensor) -> Result<(), VaeError> {
        if let &[_, _, height, width] = planes.shape() {
            (self.height, self.width) = (height, width);
        }
        self.values.extend_from_slice(&planes.as_f32()?);
        Ok(())
    }

    fn planes(&self) -> usize {
        self.values.len() / (self.height * self.width).max(1)
    }

    /// Goes over from the tile above, which ends where this one's first `extent` rows do.
    fn blend_rows(&mut self, above: &Self, extent: usize) {
        let extent = extent.min(self.height).min(above.height);
        for plane in 0..self.planes().min(above.planes()) {
            for row in 0..extent {
                let theirs = (plane * above.height + above.height - extent + row) * above.width;
                let ours = (plane * self.height + row) * self.width;
                let theirs = &above.values[theirs..theirs + above.width];
                let ours = &mut self.values[ours..ours + self.width];
                ours.iter_mut().zip(theirs).for_each(|(o, t)| *o = mixed(*t, *o, row, extent));
            }
        }
    }

    /// Goes over from the tile to the left, which ends where this one's first `extent` columns do.
    fn blend_columns(&mut self, left: &Self, extent: usize) {
        let extent = extent.min(self.width).min(left.width);
        let rows = self.values.chunks_exact_mut(self.width.max(1));
        for (ours, theirs) in rows.zip(left.values.chunks_exact(left.width.max(1))) {
            let theirs = &theirs[left.width - extent..];
            let pairs = ours.iter_mut().zip(theirs).enumerate();
            pairs.for_each(|(column, (o, t))| *o = mixed(*t, *o, column, extent));
        }
    }
}

/// The `at`-th of `extent` steps from one tile into the next, in fp32 in diffusers' order.
fn mixed(from: f32, into: f32, at: usize, extent: usize) -> f32 {
    let share = at as f64 / extent as f64;
    from * (1.0 - share) as f32 + into * share as f32
}

impl Canvas {
    pub(super) fn new(latents: &Latents, tiles: Tiles, scale: usize) -> Self {
        let [height, width] = latents.sides.map(|side| side * scale);
        let counts: Vec<usize> = geometry::decode_chunks(latents.frames)
            .iter()
            .map(|chunk| geometry::frames_of_chunk(chunk.len(), TEMPORAL_COMPRESSION))
            .collect();
        let chunks = counts.iter().map(|count| vec![0.0; count * height * width * 3]).collect();
        let (above, row) = (Vec::new(), Vec::new());
        Self { chunks, counts, height, width, scale, tiles, above, row }
    }

    /// Blends the next tile, which is that of these rows and columns of the latents, into its place.
    pub(super) fn place(&mut self, mut tile: Tile, [rows, columns]: [Range<usize>; 2]) {
        if columns.start == 0 {
            self.above = std::mem::take(&mut self.row);
        }
        let extent = self.tiles.overlap().map(|side| side * self.scale);
        if let Some(above) = self.above.get(self.row.len()) {
            tile.blend_rows(above, extent[0]);
        }
        if let Some(left) = self.row.last() {
            tile.blend_columns(left, extent[1]);
        }
        // What the next tile goes over from is that tile's to place.
        let kept = self.tiles.stride.map(|side| side * self.scale);
        let size = [tile.height.min(kept[0]), tile.width.min(kept[1])];
        self.copy(&tile, [rows.start * self.scale, columns.start * self.scale], size);
        self.row.push(tile);
    }

    /// Copies the first rows and columns of a tile to their place, as brightness.
    fn copy(&mut self, tile: &Tile, [top, left]: [usize; 2], [height, width]: [usize; 2]) {
        let area = tile.height * tile.width;
        let mut frame = 0;
        for (chunk, count) in self.chunks.iter_mut().zip(&self.counts) {
            for index in 0..*count {
                for (row, channel) in (0..height).flat_map(|row| (0..3).map(move |c| (row, c))) {
                    let from = (frame * 3 + channel) * area + row * tile.width;
                    let to = ((index * self.height + top + row) * self.width + left) * 3 + channel;
                    let places = chunk[to..].iter_mut().step_by(3);
                    places.zip(&tile.values[from..from + width]).for_each(|(to, x)| *to = *x);
                }
                frame += 1;
            }
        }
    }

    /// The frames, chunk by chunk with the index of its first one; a chunk's memory is the tensor's.
    pub(super) fn into_chunks(self) -> Result<Vec<(usize, Tensor)>, TensorError> {
        let mut first = 0;
        let chunks = self.chunks.into_iter().zip(self.counts);
        chunks
            .map(|(mut values, count)| {
                frames::denormalize(&mut values);
                let tensor = Tensor::from_f32([count, self.height, self.width, 3], values)?;
                first += count;
                Ok((first - count, tensor))
            })
            .collect()
    }
}

/// Frames of a latent frame in every CogVideoX; the config of any other is refused.
const TEMPORAL_COMPRESSION: usize = 4;
