//! The unit: whether there is one, and what it does. The only file set that knows the processor.

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod amx;
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
mod none;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
use amx as processor;
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
use none as processor;

pub(crate) use processor::Tiles;

use crate::layout::Line;

/// A matrix unit that this process may use: who has one may multiply.
#[derive(Clone, Copy, Debug)]
pub struct MatrixUnit(processor::Unit);

impl MatrixUnit {
    /// The processor's, where it has one and the system lets this process use it.
    pub fn find() -> Option<Self> {
        processor::Unit::find().map(Self)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        "amx-bf16"
    }

    /// Sets the unit up on this thread.
    pub(crate) fn tiles(self) -> Tiles {
        Tiles::new(self.0)
    }

    /// Cuts up to 32 values into pieces: one line for each, where `lines` start `stride` lines apart.
    pub(crate) fn split(self, values: &[f32], lines: &mut [Line], stride: usize) {
        processor::split(self.0, values, lines, stride);
    }
}

/// Where a block of the result lies, what it starts from, and how many of its rows count.
#[cfg_attr(
    not(all(target_os = "linux", target_arch = "x86_64")),
    allow(dead_code, reason = "where there is no unit, nothing is multiplied")
)]
pub(crate) struct Block {
    /// What the sums start with: 32 values for each row, the rows `start_stride` values apart (0: all the same).
    pub(crate) start: *const f32,
    pub(crate) start_stride: usize,
    /// Where they go: 32 values for each row, the rows `stride` values apart.
    pub(crate) target: *mut f32,
    pub(crate) stride: usize,
    /// Tiles of rows: 1 or 2.
    pub(crate) height: usize,
    /// Lines that will be needed next, to be brought near meanwhile: [`lines_ahead`] for each step. They are not read, so
    /// any address will do.
    pub(crate) next: *const Line,
}

/// Lines that are brought near with each step of a product by a weight in so many pieces: four for each pair of pieces
/// that is multiplied. Four blocks together bring as many as one panel has, or more.
pub(crate) fn lines_ahead(pieces: usize) -> usize {
    4 * match pieces {
        1 => 3,
        2 => 5,
        _ => 6,
    }
}
