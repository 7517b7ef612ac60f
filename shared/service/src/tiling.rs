use clap::{Args, ValueEnum};

/// The setting of whatever decodes frames.
#[derive(Args, Clone, Copy, Debug)]
pub struct TilingArgs {
    /// Decode in tiles: with less memory, and slightly other frames. auto: where whole frames would pass the memory limit
    #[arg(
        long,
        env = "COGWHEEL_VAE_TILING",
        value_enum,
        default_value = "auto",
        value_name = "on|off|auto",
        hide_possible_values = true
    )]
    pub vae_tiling: Tiling,
}

/// Whether frames are decoded in tiles: with less memory, and other numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Tiling {
    /// Always.
    On,
    /// Never.
    Off,
    /// When whole frames would pass the memory limit.
    #[default]
    Auto,
}

impl Tiling {
    /// Whether frames are worked on in tiles where whole ones would need so many bytes, of those that there are as far as that
    /// is known.
    pub fn applies(self, need: u64, limit: Option<u64>) -> bool {
        match self {
            Self::On => true,
            Self::Off => false,
            Self::Auto => limit.is_some_and(|limit| need > limit),
        }
    }
}
