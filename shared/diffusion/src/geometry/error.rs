//! What a video cannot be.

/// Why a video cannot have a size. Every value that is possible near the one asked for is stated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GeometryError {
    /// A number of frames that the decoder would not give back.
    #[error("expected {step}n+1 frames with n at least 1, found {found}: possible are {}", list(.nearest))]
    NumFrames {
        /// The number asked for.
        found: usize,
        /// The distance between possible numbers: 8 as published.
        step: usize,
        /// The nearest possible numbers, rising.
        nearest: Vec<usize>,
    },
    /// A side that is no whole number of tokens.
    #[error("expected a {side} that is a multiple of {step}, found {found}: possible are {}", list(.nearest))]
    Side {
        /// `width` or `height`.
        side: &'static str,
        /// The number of pixels asked for.
        found: usize,
        /// The pixels of a token: 16 as published.
        step: usize,
        /// The nearest possible numbers, rising.
        nearest: Vec<usize>,
    },
    /// More latents than a machine can address.
    #[error(
        "expected a video whose latents can be addressed, found {num_frames} frames of {width}x{height}"
    )]
    TooLarge {
        /// The frames asked for.
        num_frames: usize,
        /// The width asked for, in pixels.
        width: usize,
        /// The height asked for, in pixels.
        height: usize,
    },
    /// A size in the configuration that is 0, or so large that nothing can be counted in it.
    #[error("expected a usable {key} in the configuration, found {found}")]
    Config {
        /// The field of [`super::GeometryConfig`].
        key: &'static str,
        /// Its value.
        found: usize,
    },
}

impl GeometryError {
    /// The option at fault, as the command line and the requests name it; `None` for a configuration's.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::NumFrames { .. } | Self::TooLarge { .. } => Some("num_frames"),
            Self::Side { side, .. } => Some(side),
            Self::Config { .. } => None,
        }
    }
}

fn list(values: &[usize]) -> String {
    values.iter().map(usize::to_string).collect::<Vec<_>>().join(" and ")
}
