//! Tiles blended into each other: `blend_v` and `blend_h` of diffusers' `AutoencoderKLCogVideoX`.

use std::ops::Range;

use cogwheel_diffusion::geometry::Tiles;
use cogwheel_tensor::Tensor;

use crate::VaeError;

/// What the graph made of a tile: planes of some channels, one frame after another.
pub(crate) struct Tile {
    /// [frames * channels, height, width].
    pub(crate) values: Vec<f32>,
    channels: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
}

/// The seams between tiles that come row by row from the top left.
pub(crate) struct Seams {
    tiles: Tiles,
    /// Rows and columns of a tile to one of the latents.
    scale: usize,
    /// The last tile of each column, blended: left of the next tile those of its row, from there on those above.
    row: Vec<Tile>,
}

impl Tile {
    /// Without frames yet.
    pub(crate) fn new(channels: usize, [height, width]: [usize; 2]) -> Self {
        Self { values: Vec::new(), channels, height, width }
    }

    /// Takes a chunk, [n, channels, height, width].
    pub(crate) fn push(&mut self, planes: &Tensor) -> Result<(), VaeError> {
        let values = planes.as_f32()?;
        let expected = [self.channels, self.height, self.width];
        if !matches!(*planes.shape(), [_, ref found @ ..] if *found == expected) {
            let (dtype, shape) = (planes.dtype(), planes.shape().to_vec());
            return Err(VaeError::Tile { expected, dtype, shape });
        }
        self.values.extend_from_slice(&values);
        Ok(())
    }

    pub(crate) fn planes(&self) -> usize {
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

impl Seams {
    /// Between tiles that have `scale` rows and columns to one of the latents.
    pub(crate) fn new(tiles: Tiles, scale: usize) -> Self {
        Self { tiles, scale, row: Vec::new() }
    }

    /// Blends the next tile, which is the `at`-th of its row, with those above it and to its left. Gives it back with how
    /// many of its first rows and columns stay: what the next tile goes over from is that one's to place.
    pub(crate) fn blend(&mut self, mut tile: Tile, at: usize) -> (&Tile, [usize; 2]) {
        let extent = self.tiles.overlap().map(|side| side * self.scale);
        if let Some(above) = self.row.get(at) {
            tile.blend_rows(above, extent[0]);
        }
        if let Some(left) = at.checked_sub(1).and_then(|left| self.row.get(left)) {
            tile.blend_columns(left, extent[1]);
        }
        let kept = self.tiles.stride().map(|side| side * self.scale);
        let size = [tile.height.min(kept[0]), tile.width.min(kept[1])];
        let at = at.min(self.row.len());
        match self.row.get_mut(at) {
            Some(above) => *above = tile,
            None => self.row.push(tile),
        }
        (&self.row[at], size)
    }
}

/// The tiles of latents of such sides, from the top left: rows, columns, and which of its row each one is.
pub(crate) fn in_order(
    tiles: Tiles,
    sides: [usize; 2],
) -> impl Iterator<Item = (Range<usize>, Range<usize>, usize)> {
    let [rows, columns] = tiles.cuts(sides);
    rows.into_iter().flat_map(move |row| {
        let columns = columns.clone().into_iter().enumerate();
        columns.map(move |(at, column)| (row.clone(), column, at))
    })
}
