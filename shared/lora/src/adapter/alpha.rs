use std::fmt;

use serde::Serialize;

use super::Configs;

/// What a layer's product is scaled by, before it is divided by the rank.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alpha {
    /// A positive number.
    pub value: f64,
    /// Where it comes from.
    pub source: AlphaSource,
}

/// Where an alpha comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AlphaSource {
    /// Whoever registered the adapter stated it.
    Stated,
    /// `lora_adapter_metadata` in the file's header.
    Metadata,
    /// A tensor `.alpha` of the layer.
    Tensor,
    /// `adapter_config.json`.
    Config,
    /// Nobody says: taken to be the rank, as diffusers does, so that the scale is 1, or with rsLoRA the rank's root.
    Rank,
}

impl Alpha {
    /// What the files say about a layer. diffusers lets the header's config replace all that it would infer.
    pub(super) fn found(
        module: &str,
        rank: usize,
        tensor: Option<f64>,
        configs: &Configs<'_>,
    ) -> Self {
        let of = |config: &crate::config::LoraConfig| {
            config.lora_alpha.map(|alpha| config.alpha_pattern.get(module).unwrap_or(alpha))
        };
        let header =
            configs.header.as_ref().and_then(of).map(|value| (value, AlphaSource::Metadata));
        let (value, source) = header
            .or(tensor.map(|value| (value, AlphaSource::Tensor)))
            .or_else(|| configs.beside.and_then(of).map(|value| (value, AlphaSource::Config)))
            .unwrap_or((rank as f64, AlphaSource::Rank));
        Self { value, source }
    }
}

impl fmt::Display for AlphaSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stated => "stated",
            Self::Metadata => "lora_adapter_metadata",
            Self::Tensor => "alpha tensors",
            Self::Config => "adapter_config.json",
            Self::Rank => "not said, taken to be the rank",
        })
    }
}
