use std::fmt;

use super::{Checkpoint, Positions, Version};

/// The pixels that a video's sides can have, beside being whole tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SideLimits {
    /// Of its width.
    pub width: SideLimit,
    /// Of its height.
    pub height: SideLimit,
}

/// The pixels that a side can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SideLimit {
    /// Any: positions are computed.
    Any,
    /// At most so many: those are all that the model has positions for.
    AtMost(usize),
    /// These alone: the model has learned its positions.
    Learned(usize),
}

impl SideLimit {
    /// Whether a side can have so many pixels.
    pub fn contains(self, pixels: usize) -> bool {
        match self {
            Self::Any => true,
            Self::AtMost(most) => pixels <= most,
            Self::Learned(only) => pixels == only,
        }
    }
}

impl fmt::Display for SideLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any number of pixels"),
            Self::AtMost(most) => write!(f, "at most {most}, the end of the model's positions"),
            Self::Learned(only) => write!(f, "{only}, for which the model has learned positions"),
        }
    }
}

impl Checkpoint {
    /// The pixels that sides can have. CogVideoX 1.0 spreads its positions over any picture; 1.5 counts them, as far as
    /// the sample size of its config goes; learned ones are there for that size alone.
    pub fn side_limits(&self) -> SideLimits {
        let ratio = self.vae.spatial_compression_ratio();
        let limit = |sample: usize| match (self.family.positions, self.family.version) {
            (Positions::Learned, _) => SideLimit::Learned(sample * ratio),
            (Positions::Rope, Version::V1_5) => SideLimit::AtMost(sample * ratio),
            (Positions::Rope | Positions::SinCos, _) => SideLimit::Any,
        };
        SideLimits {
            width: limit(self.transformer.sample_width),
            height: limit(self.transformer.sample_height),
        }
    }
}
