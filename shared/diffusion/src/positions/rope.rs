//! Rotary positions of the RoPE transformers: CogVideoX-5b and 1.5.

use super::{PositionError, table_len};
use crate::geometry::TokenGrid;

/// How tokens are placed along the sides of a picture. Sizes are in tokens: the transformer's sample size over its
/// patch size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RopeGrid {
    /// CogVideoX 1.0: any picture is spread over a centred part of the base picture that has its proportions.
    Cropped {
        /// Rows of the base picture: 30 as published.
        base_height: usize,
        /// Its columns: 45 as published.
        base_width: usize,
    },
    /// CogVideoX 1.5: whole positions from the upper left corner, up to a largest picture.
    Sliced {
        /// The most rows: 48 or 150 as published.
        max_height: usize,
        /// The most columns: 85 or 150 as published.
        max_width: usize,
    },
}

/// Cosines and sines to turn the pairs of a head's query and key by: rows of head_dim / 2 values, one a video token,
/// each for one pair (diffusers' tables state every value twice).
#[derive(Clone, Debug, PartialEq)]
pub struct RopeTable {
    /// Cosines, [tokens, head_dim / 2].
    pub cos: Vec<f32>,
    /// Sines, [tokens, head_dim / 2].
    pub sin: Vec<f32>,
}

/// The rotary table of a token grid, as `CogVideoXPipeline._prepare_rotary_positional_embeddings`.
///
/// A quarter of a row turns with the frame, three eighths with the row and three eighths with the column (unlike the
/// sin-cos table), by frequencies falling from 1 to 1/10000.
///
/// # Errors
///
/// For a `head_dim` that is no multiple of 16, a grid that is empty or beyond memory, and one beyond the sliced
/// table.
pub fn rope_3d(
    head_dim: usize,
    grid: TokenGrid,
    placement: RopeGrid,
) -> Result<RopeTable, PositionError> {
    if head_dim == 0 || !head_dim.is_multiple_of(16) {
        return Err(PositionError::Dimension { name: "head_dim", found: head_dim });
    }
    let len = table_len(grid, head_dim / 2)?;
    let (row_positions, column_positions) = match placement {
        RopeGrid::Cropped { base_height, base_width } => {
            let region = crop_region((grid.height, grid.width), (base_height, base_width));
            (
                spread(region.top, region.bottom, grid.height),
                spread(region.left, region.right, grid.width),
            )
        }
        RopeGrid::Sliced { max_height, max_width } => {
            for (side, found, largest) in
                [("height", grid.height, max_height), ("width", grid.width, max_width)]
            {
                if found > largest {
                    return Err(PositionError::BeyondTable { side, found, largest });
                }
            }
            (whole(grid.height), whole(grid.width))
        }
    };
    let (temporal, spatial) = (head_dim / 8, head_dim / 16 * 3);
    let frames = angles(&whole(grid.frames), temporal);
    let rows = angles(&row_positions, spatial);
    let columns = angles(&column_positions, spatial);

    let table = |turn: fn(f32) -> f32| {
        let [frames, rows, columns] = [&frames, &rows, &columns]
            .map(|axis| axis.iter().copied().map(turn).collect::<Vec<_>>());
        let mut table = Vec::with_capacity(len);
        for frame in frames.chunks_exact(temporal) {
            for row in rows.chunks_exact(spatial) {
                for column in columns.chunks_exact(spatial) {
                    table.extend_from_slice(frame);
                    table.extend_from_slice(row);
                    table.extend_from_slice(column);
                }
            }
        }
        table
    };
    Ok(RopeTable { cos: table(f32::cos), sin: table(f32::sin) })
}

/// The part of the base picture over which another picture is spread, in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CropRegion {
    /// First row.
    pub top: i64,
    /// First column.
    pub left: i64,
    /// One past the last row.
    pub bottom: i64,
    /// One past the last column.
    pub right: i64,
}

/// The largest part with the proportions of a picture of (height, width) tokens in the middle of a base of (height,
/// width), as diffusers' `get_resize_crop_region_for_grid`; halves are rounded to even, as Python does.
pub fn crop_region((height, width): (usize, usize), base: (usize, usize)) -> CropRegion {
    let (height, width, base_height, base_width) =
        (height as f64, width as f64, base.0 as f64, base.1 as f64);
    let (resized_height, resized_width) = if height / width > base_height / base_width {
        (base_height, (base_height / height * width).round_ties_even())
    } else {
        ((base_width / width * height).round_ties_even(), base_width)
    };
    let top = ((base_height - resized_height) / 2.0).round_ties_even();
    let left = ((base_width - resized_width) / 2.0).round_ties_even();
    CropRegion {
        top: top as i64,
        left: left as i64,
        bottom: (top + resized_height) as i64,
        right: (left + resized_width) as i64,
    }
}

fn whole(count: usize) -> Vec<f32> {
    (0..count).map(|position| position as f32).collect()
}

/// `count` positions from `start` on, evenly so that the one after the last would be nearly at `stop`:
/// `torch.linspace(start, stop * (count - 1) / count, count)`, which counts from the nearer end by a single-precision
/// step and rounds product and sum once (done here in double precision, where the product is exact).
fn spread(start: i64, stop: i64, count: usize) -> Vec<f32> {
    let last = (stop as f64 * (count as f64 - 1.0) / count as f64) as f32;
    let start = start as f32;
    if count == 1 {
        return vec![start];
    }
    let step = f64::from((last - start) / (count - 1) as f32);
    let position = |i: usize| match i < count / 2 {
        true => f64::from(start) + step * i as f64,
        false => f64::from(last) - step * (count - 1 - i) as f64,
    };
    (0..count).map(|i| position(i) as f32).collect()
}

/// Rows of `pairs` angles, one a position, in single precision: position times 1 / 10000^(k / pairs). The power is
/// rounded before it is inverted, as torch does.
fn angles(positions: &[f32], pairs: usize) -> Vec<f32> {
    let power = |k: usize| 10_000f64.powf(f64::from(k as f32 / pairs as f32)) as f32;
    let frequencies: Vec<f32> = (0..pairs).map(|k| 1.0 / power(k)).collect();
    positions
        .iter()
        .flat_map(|position| frequencies.iter().map(move |frequency| position * frequency))
        .collect()
}
