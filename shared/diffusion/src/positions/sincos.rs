//! The position table that is added to the tokens of CogVideoX-2b.

use super::{PositionError, table_len};
use crate::geometry::TokenGrid;

/// Sines and cosines of the places of the video tokens: rows of `inner_dim`, one a token.
///
/// As diffusers' `get_3d_sincos_pos_embed`: a quarter of a row tells the frame, three eighths the **column** and
/// three eighths the **row** (in this order), each as the sines of all frequencies, then their cosines. Positions
/// are divided by the interpolation scales (the transformer's `spatial_interpolation_scale`, 1.875 as published,
/// and `temporal_interpolation_scale`). The text tokens' part of the table is zero and not included.
///
/// # Errors
///
/// For an `inner_dim` that is no multiple of 16, and a grid that is empty or beyond memory.
pub fn sincos_3d(
    inner_dim: usize,
    grid: TokenGrid,
    spatial_interpolation_scale: f64,
    temporal_interpolation_scale: f64,
) -> Result<Vec<f32>, PositionError> {
    if inner_dim == 0 || !inner_dim.is_multiple_of(16) {
        return Err(PositionError::Dimension { name: "inner_dim", found: inner_dim });
    }
    let len = table_len(grid, inner_dim)?;
    let (temporal, spatial) = (inner_dim / 4, inner_dim / 8 * 3);
    let frames = axis(grid.frames, temporal, temporal_interpolation_scale);
    let rows = axis(grid.height, spatial, spatial_interpolation_scale);
    let columns = axis(grid.width, spatial, spatial_interpolation_scale);

    let mut table = Vec::with_capacity(len);
    for frame in frames.chunks_exact(temporal) {
        for row in rows.chunks_exact(spatial) {
            for column in columns.chunks_exact(spatial) {
                table.extend_from_slice(frame);
                table.extend_from_slice(column);
                table.extend_from_slice(row);
            }
        }
    }
    Ok(table)
}

/// Rows of `dim` for the positions 0 to `count` - 1: positions in single precision, the rest in double.
fn axis(count: usize, dim: usize, scale: f64) -> Vec<f32> {
    let frequencies: Vec<f64> =
        (0..dim / 2).map(|k| 1.0 / 10_000f64.powf(k as f64 / (dim as f64 / 2.0))).collect();
    (0..count)
        .flat_map(|position| {
            let position = f64::from(position as f32 / scale as f32);
            let angles = frequencies.iter().map(move |frequency| position * frequency);
            angles
                .clone()
                .map(|angle| angle.sin() as f32)
                .chain(angles.map(|angle| angle.cos() as f32))
        })
        .collect()
}
