use crate::FrameSize;

/// How stored rows must be turned to be shown, as EXIF's tag 274 has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Orientation {
    AsIs,
    MirrorHorizontally,
    HalfTurn,
    MirrorVertically,
    /// Rows become columns.
    Transpose,
    /// A quarter turn to the right.
    TurnRight,
    /// Rows become columns, from the other end.
    Transverse,
    /// A quarter turn to the left.
    TurnLeft,
}

impl Orientation {
    /// EXIF's 1 to 8 (JEITA CP-3451, 4.6.4 A); anything else is taken for 1, as Pillow does.
    pub(crate) fn from_exif(value: u32) -> Self {
        match value {
            2 => Self::MirrorHorizontally,
            3 => Self::HalfTurn,
            4 => Self::MirrorVertically,
            5 => Self::Transpose,
            6 => Self::TurnRight,
            7 => Self::Transverse,
            8 => Self::TurnLeft,
            _ => Self::AsIs,
        }
    }

    /// The size that a picture stored as `size` is shown in.
    pub(crate) fn shown(self, size: FrameSize) -> FrameSize {
        match self {
            Self::AsIs | Self::MirrorHorizontally | Self::HalfTurn | Self::MirrorVertically => size,
            Self::Transpose | Self::TurnRight | Self::Transverse | Self::TurnLeft => {
                FrameSize { width: size.height, height: size.width }
            }
        }
    }

    /// `rgb` has `size`.
    pub(crate) fn apply(self, size: FrameSize, rgb: &[u8]) -> (FrameSize, Vec<u8>) {
        let shown = self.shown(size);
        let (width, height) = (size.width as usize, size.height as usize);
        let mut turned = Vec::with_capacity(rgb.len());
        for y in 0..shown.height as usize {
            for x in 0..shown.width as usize {
                // The stored column and row that are shown at `x` and `y`.
                let (column, row) = match self {
                    Self::AsIs => (x, y),
                    Self::MirrorHorizontally => (width - 1 - x, y),
                    Self::HalfTurn => (width - 1 - x, height - 1 - y),
                    Self::MirrorVertically => (x, height - 1 - y),
                    Self::Transpose => (y, x),
                    Self::TurnRight => (y, height - 1 - x),
                    Self::Transverse => (width - 1 - y, height - 1 - x),
                    Self::TurnLeft => (width - 1 - y, x),
                };
                let at = (row * width + column) * 3;
                turned.extend_from_slice(&rgb[at..at + 3]);
            }
        }
        (shown, turned)
    }
}
