//! Tiles put together to whole frames: `tiled_decode` of diffusers' `AutoencoderKLCogVideoX`.

use std::ops::Range;

use cogwheel_diffusion::{
    frames,
    geometry::{self, Tiles},
};
use cogwheel_tensor::{Tensor, TensorError};

use super::latents::Latents;
use crate::seams::{Seams, Tile};

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
    seams: Seams,
}

impl Canvas {
    /// Of frames for such latents, `temporal` of them and `scale` rows and columns to one of the latents.
    pub(super) fn new(latents: &Latents, tiles: Tiles, [temporal, scale]: [usize; 2]) -> Self {
        let [height, width] = latents.sides.map(|side| side * scale);
        let chunks = geometry::decode_chunks(latents.frames);
        let count = |chunk: &Range<usize>| geometry::frames_of_chunk(chunk.len(), temporal);
        let counts: Vec<usize> = chunks.iter().map(count).collect();
        let chunks = counts.iter().map(|count| vec![0.0; count * height * width * 3]).collect();
        Self { chunks, counts, height, width, scale, seams: Seams::new(tiles, scale) }
    }

    /// Blends the next tile, which is that of these rows of the latents and of the `at`-th columns, into its place.
    pub(super) fn place(
        &mut self,
        tile: Tile,
        rows: &Range<usize>,
        (at, columns): (usize, &Range<usize>),
    ) {
        let (tile, [height, width]) = self.seams.blend(tile, at);
        let (top, left) = (rows.start * self.scale, columns.start * self.scale);
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
    pub(super) fn into_chunks(self) -> impl Iterator<Item = Result<(usize, Tensor), TensorError>> {
        let Self { chunks, counts, height, width, .. } = self;
        let mut next = 0;
        chunks.into_iter().zip(counts).map(move |(mut values, count)| {
            frames::denormalize(&mut values);
            let first = next;
            next += count;
            Ok((first, Tensor::from_f32([count, height, width, 3], values)?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture that differs everywhere, in -0.9..0.9.
    fn pixel(plane: usize, row: usize, column: usize) -> f32 {
        ((plane * 31 + row * 17 + column * 7) % 97) as f32 / 54.0 - 0.9
    }

    #[test]
    fn tiles_cut_from_a_picture_make_that_picture() {
        const SCALE: usize = 8;
        for size in 1..7 {
            for (frames, height, width) in [(1, 1, 9), (2, 7, 3), (3, 6, 6), (5, 8, 5)] {
                let (tiles, sides) = (Tiles::of([size, size.max(2)]), [height, width]);
                let latents = Latents { values: Vec::new(), frames, channels: 4, sides };
                let mut canvas = Canvas::new(&latents, tiles, [4, SCALE]);
                let count = geometry::decoded_frames(frames, 4);
                let [rows, columns] = tiles.cuts(sides);
                for row in &rows {
                    for (at, column) in columns.iter().enumerate() {
                        let mut tile = Tile::new(3, [row.len() * SCALE, column.len() * SCALE]);
                        let pixels = (0..3 * count).flat_map(|plane| {
                            (row.start * SCALE..row.end * SCALE).flat_map(move |y| {
                                let columns = column.start * SCALE..column.end * SCALE;
                                columns.map(move |x| pixel(plane, y, x))
                            })
                        });
                        let shape = [count, 3, tile.height, tile.width];
                        tile.push(&Tensor::from_f32(shape, pixels.collect()).unwrap()).unwrap();
                        canvas.place(tile, row, (at, column));
                    }
                }
                let mut seen = 0;
                for chunk in canvas.into_chunks() {
                    let (first, chunk) = chunk.unwrap();
                    assert_eq!(first, seen);
                    let values = chunk.as_f32().unwrap();
                    for (at, value) in values.iter().enumerate() {
                        let (rest, channel) = (at / 3, at % 3);
                        let (rest, x) = (rest / (width * SCALE), rest % (width * SCALE));
                        let (frame, y) = (rest / (height * SCALE), rest % (height * SCALE));
                        let expected = pixel((first + frame) * 3 + channel, y, x) / 2.0 + 0.5;
                        assert!((value - expected).abs() < 1e-6, "{size}: {frame} {y} {x}");
                    }
                    seen += chunk.shape()[0];
                }
                assert_eq!(seen, count);
            }
        }
    }

    #[test]
    fn a_chunk_of_another_size_is_no_part_of_a_tile() {
        let mut tile = Tile::new(3, [8, 16]);
        let error = tile.push(&Tensor::from_f32([1, 3, 16, 8], vec![0.0; 384]).unwrap());
        assert!(error.unwrap_err().to_string().contains("[1, 3, 16, 8]"));
    }
}
