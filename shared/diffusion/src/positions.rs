//! Where a token is, and when: position tables and the projection of the timestep.

mod rope;
mod sincos;
mod timestep;

pub use rope::{CropRegion, RopeGrid, RopeTable, crop_region, rope_3d};
pub use sincos::sincos_3d;
pub use timestep::timestep_projection;

/// Why positions cannot be computed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PositionError {
    /// A dimension that cannot be shared among time, rows and columns.
    #[error("{name} must be a positive multiple of 16, found {found}")]
    Dimension {
        /// `inner_dim` or `head_dim`.
        name: &'static str,
        /// Its value.
        found: usize,
    },
    /// A picture larger than the sliced table of CogVideoX 1.5.
    #[error("{side} must be at most {largest} tokens, found {found}")]
    BeyondTable {
        /// `width` or `height`.
        side: &'static str,
        /// Tokens along that side.
        found: usize,
        /// The table's, from the transformer's sample size.
        largest: usize,
    },
    /// No tokens, or more than can be addressed.
    #[error(
        "expected a token grid that can be addressed, found {frames}x{height}x{width} tokens of {dim}"
    )]
    Grid {
        /// Tokens along time.
        frames: usize,
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// Values a token.
        dim: usize,
    },
}

/// The number of values in a table of `dim` a token.
fn table_len(grid: crate::geometry::TokenGrid, dim: usize) -> Result<usize, PositionError> {
    let crate::geometry::TokenGrid { frames, height, width } = grid;
    [frames, height, width, dim]
        .into_iter()
        .try_fold(1, usize::checked_mul)
        .filter(|&len| len > 0 && len <= isize::MAX as usize / size_of::<f32>())
        .ok_or(PositionError::Grid { frames, height, width, dim })
}
