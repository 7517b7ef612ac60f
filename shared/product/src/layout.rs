//! How pieces lie in memory: as the unit's tiles are loaded.
//!
//! A tile is 16 lines of 64 bytes. Of the activations a line is 32 neighbouring inputs of one row; of a weight it is two
//! neighbouring inputs of 16 outputs, pair by pair. A *step* is 32 inputs, a *panel* 32 rows or outputs: two tiles for
//! each step and piece.

/// A line of a tile: 32 bf16 numbers by their bits.
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [u16; 32]);

/// Lines of a tile; also rows of the activations, or outputs of the weight, that it covers.
pub(crate) const TILE: usize = 16;
/// Rows or outputs of a panel.
pub(crate) const PANEL: usize = 2 * TILE;
/// Inputs of a step.
pub(crate) const STEP: usize = 32;
/// Lines of one piece of a panel's step.
pub(crate) const PIECE_LINES: usize = 2 * TILE;
/// Pieces that any fp32 number is the sum of.
pub(crate) const MOST_PIECES: usize = 3;
