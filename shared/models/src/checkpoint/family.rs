use std::{fmt, path::Path};

use super::folder::Pipeline;
use crate::config::{ConfigError, TransformerConfig};

/// Which of the CogVideoX models a checkpoint is, read from its configs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// 1.0 or 1.5.
    pub version: Version,
    /// What the transformer sees beside the prompt.
    pub conditioning: Conditioning,
    /// How tokens know where they are.
    pub positions: Positions,
}

/// A generation of the models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Patches of one latent frame.
    V1_0,
    /// Patches of two latent frames (`patch_size_t`).
    V1_5,
}

/// What the transformer sees beside the prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conditioning {
    /// Nothing.
    Text,
    /// A first image's latents on further channels.
    Image,
    /// A control video's latents on further channels.
    Control,
}

/// How tokens know where they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Positions {
    /// A fixed table of sines and cosines, added to the tokens.
    SinCos,
    /// Rotation of queries and keys.
    Rope,
    /// Rotation of queries and keys, and a learned table added to the tokens.
    Learned,
}

impl Family {
    pub(super) fn of(
        dir: &Path,
        pipeline: Pipeline,
        config: &TransformerConfig,
    ) -> Result<Self, ConfigError> {
        let version = if config.patch_size_t.is_some() { Version::V1_5 } else { Version::V1_0 };
        let positions = match (
            config.use_rotary_positional_embeddings,
            config.use_learned_positional_embeddings,
        ) {
            (false, _) => Positions::SinCos,
            (true, false) => Positions::Rope,
            (true, true) => Positions::Learned,
        };
        // The config's own check allows as many input channels as output channels, or twice as many.
        let doubled = config.in_channels != config.out_channels;
        let conditioning = match (pipeline, doubled) {
            (Pipeline::TextToVideo | Pipeline::VideoToVideo, false) => Conditioning::Text,
            (Pipeline::FunControl, true) => Conditioning::Control,
            (Pipeline::ImageToVideo, true) => Conditioning::Image,
            (pipeline, _) => {
                let times = if doubled { "" } else { "twice " };
                return Err(ConfigError::Value {
                    path: dir.join("transformer/config.json"),
                    key: "in_channels".to_owned(),
                    expected: format!(
                        "{times}the {} `out_channels`, for the {pipeline} of model_index.json",
                        config.out_channels
                    ),
                    found: config.in_channels.to_string(),
                });
            }
        };
        if let Some(ofs) = config.ofs_embed_dim
            && conditioning != Conditioning::Image
        {
            return Err(ConfigError::Value {
                path: dir.join("transformer/config.json"),
                key: "ofs_embed_dim".to_owned(),
                expected: format!("null, for the {pipeline} of model_index.json, which gives none"),
                found: ofs.to_string(),
            });
        }
        Ok(Self { version, conditioning, positions })
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CogVideoX {}, {}, {}", self.version, self.conditioning, self.positions)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1_0 => "1.0",
            Self::V1_5 => "1.5",
        })
    }
}

impl fmt::Display for Conditioning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text to video",
            Self::Image => "image to video",
            Self::Control => "control video to video",
        })
    }
}

impl fmt::Display for Positions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SinCos => "sin-cos positions",
            Self::Rope => "rotary positions",
            Self::Learned => "rotary and learned positions",
        })
    }
}
