//! How the encoder and the decoder cut space.

use std::ops::Range;

/// Tiles that latents are decoded in, or frames encoded, one after another, each overlapping the one above and the one to the left, into which
/// it is blended: `enable_tiling` of `AutoencoderKLCogVideoX`, whose overlaps are a sixth of the height and a fifth of the
/// width.
///
/// Rows and columns, in latents. Where a sixth or a fifth of the tile is no whole number of latents, diffusers cuts frames
/// of another size than asked for; here the overlap is then the latents that tiles have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiles {
    /// At least 1.
    size: [usize; 2],
    /// At least 1 and at most the size.
    stride: [usize; 2],
}

/// How a side of the latents is cut: the tiles, in order.
pub type Cuts = Vec<Range<usize>>;

/// What tiles of each side do not share with the next one.
const ALONE: [f64; 2] = [1.0 - 1.0 / 6.0, 1.0 - 1.0 / 5.0];

impl Tiles {
    /// Tiles of so many latents.
    pub fn of(size: [usize; 2]) -> Self {
        let size = size.map(|side| side.max(1));
        let stride = |side: usize| ((size[side] as f64 * ALONE[side]) as usize).max(1);
        Self { size, stride: [stride(0), stride(1)] }
    }

    /// Those of a model made for frames of such sides, in pixels: half as high and wide.
    pub fn of_frames(sample: [usize; 2], spatial_compression: usize) -> Self {
        Self::of(sample.map(|side| side / 2 / spatial_compression.max(1)))
    }

    /// Sides of a tile.
    pub fn size(&self) -> [usize; 2] {
        self.size
    }

    /// From one tile's start to the next one's.
    pub fn stride(&self) -> [usize; 2] {
        self.stride
    }

    /// Whether latents of such sides take more than one tile.
    pub fn cut(&self, latents: [usize; 2]) -> bool {
        latents[0] > self.size[0] || latents[1] > self.size[1]
    }

    /// The tiles' rows and columns over latents of such sides.
    pub fn cuts(&self, latents: [usize; 2]) -> [Cuts; 2] {
        let cuts = |side: usize| {
            let starts = (0..latents[side]).step_by(self.stride[side]);
            starts
                .map(|start| start..start.saturating_add(self.size[side]).min(latents[side]))
                .collect()
        };
        [cuts(0), cuts(1)]
    }

    /// How many latents a tile shares with the one before it.
    pub fn overlap(&self) -> [usize; 2] {
        [0, 1].map(|side| self.size[side] - self.stride[side])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_models_tiles_are_those_of_diffusers() {
        let tiles = Tiles::of_frames([480, 720], 8);
        assert_eq!((tiles.size, tiles.stride, tiles.overlap()), ([30, 45], [25, 36], [5, 9]));
        let [rows, columns] = tiles.cuts([60, 90]);
        assert_eq!(rows, [0..30, 25..55, 50..60]);
        assert_eq!(columns, [0..45, 36..81, 72..90]);
        let [rows, columns] = tiles.cuts([96, 170]);
        assert_eq!((rows.len(), columns.len()), (4, 5));
        assert!(tiles.cut([60, 90]) && tiles.cut([31, 1]) && tiles.cut([1, 46]));
        assert!(!tiles.cut([30, 45]));
    }

    #[test]
    fn every_latent_is_in_a_tile_whatever_the_sizes() {
        for size in [0, 1, 2, 3, 6, 30] {
            for latents in [1, 2, 5, 29, 30, 31, 90] {
                let tiles = Tiles::of([size, size]);
                for (side, cuts) in tiles.cuts([latents, latents]).iter().enumerate() {
                    assert!(tiles.stride[side] >= 1);
                    let covered = cuts.iter().enumerate().all(|(index, cut)| {
                        cut.start == index * tiles.stride[side] && !cut.is_empty()
                    });
                    assert!(covered && cuts.last().is_some_and(|cut| cut.end == latents));
                }
            }
        }
    }
}
