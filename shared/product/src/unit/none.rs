use super::Block;
use crate::layout::Line;

/// No processor of this kind has one.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unit {}

impl Unit {
    pub(super) fn find() -> Option<Self> {
        None
    }
}

pub(super) fn split(unit: Unit, _: &[f32], _: &mut [Line], _: usize) {
    match unit {}
}

#[derive(Debug)]
pub(crate) struct Tiles(Unit);

impl Tiles {
    pub(super) fn new(unit: Unit) -> Self {
        Self(unit)
    }

    /// # Safety
    /// Never called: there is no unit.
    pub(crate) unsafe fn multiply(&self, _: &[Line], _: &[Line], _: usize, _: &Block) {
        match self.0 {}
    }
}
