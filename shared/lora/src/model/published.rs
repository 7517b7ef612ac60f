use std::fmt;

use cogwheel_models::{config::TransformerConfig, names};

use super::Model;
use crate::Target;

/// A published CogVideoX. Their transformers all differ in some tensor's shape, but most adapters do not change the
/// layers that differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// CogVideoX-2b.
    TwoB,
    /// CogVideoX-5b.
    FiveB,
    /// CogVideoX-5b-I2V.
    FiveBImage,
    /// CogVideoX1.5-5B.
    V1_5,
    /// CogVideoX1.5-5B-I2V.
    V1_5Image,
}

impl Published {
    pub(crate) const ALL: [Self; 5] =
        [Self::TwoB, Self::FiveB, Self::FiveBImage, Self::V1_5, Self::V1_5Image];

    /// The one whose transformer has the same tensors.
    pub(crate) fn of(config: &TransformerConfig) -> Option<Self> {
        let tensors = names::transformer(config);
        Self::ALL.into_iter().find(|published| {
            let theirs = published.config();
            // Most configs differ in these already, and lists of names take time to make.
            theirs.num_layers == config.num_layers
                && theirs.inner_dim() == config.inner_dim()
                && names::transformer(&theirs) == tensors
        })
    }

    /// Those that a whole adapter fits.
    pub(crate) fn fitting(targets: &[Target]) -> Vec<Self> {
        let fits = |published: &Self| {
            let model = Model::new(&published.config(), None);
            targets.iter().all(|target| model.fit(target).is_ok())
        };
        Self::ALL.into_iter().filter(fits).collect()
    }

    /// The one that an adapter's author names, as a repository or folder; `Err` for a model that is no CogVideoX, `None`
    /// where the text names neither. Of a path, the last part that names a CogVideoX counts: what else is in it, such as
    /// the name of an experiment, can hold any word.
    pub(crate) fn named(text: &str) -> Option<Result<Self, ()>> {
        let plain = |text: &str| -> String {
            let text = text.to_lowercase();
            text.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '.').collect()
        };
        let parts = text.rsplit(['/', '\\']).map(plain);
        let part = parts.into_iter().find(|part| part.contains("cogvideox"));
        let is_cogvideox = part.is_some();
        let text = part.unwrap_or_else(|| plain(text));
        let has = |word: &str| text.contains(word);
        if !is_cogvideox {
            // Names that cannot be part of a folder's by chance.
            let others = [
                "flux.1",
                "stablediffusion",
                "hunyuanvideo",
                "ltxvideo",
                "mochi1",
                "wan2.",
                "sdxl",
            ];
            return others.into_iter().any(has).then_some(Err(()));
        }
        // Fun's models have the names of those that they were trained from, and other channels.
        if has("fun") {
            return None;
        }
        Some(Ok(match (has("1.5"), has("i2v"), has("2b"), has("5b")) {
            (true, true, ..) => Self::V1_5Image,
            (true, false, ..) => Self::V1_5,
            (false, true, ..) => Self::FiveBImage,
            (false, false, true, false) => Self::TwoB,
            (false, false, false, true) => Self::FiveB,
            _ => return None,
        }))
    }

    /// The name under which it is published.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TwoB => "CogVideoX-2b",
            Self::FiveB => "CogVideoX-5b",
            Self::FiveBImage => "CogVideoX-5b-I2V",
            Self::V1_5 => "CogVideoX1.5-5B",
            Self::V1_5Image => "CogVideoX1.5-5B-I2V",
        }
    }

    /// What of its config decides over names and shapes.
    pub(crate) fn config(self) -> TransformerConfig {
        let five_b = TransformerConfig {
            num_attention_heads: 48,
            num_layers: 42,
            use_rotary_positional_embeddings: true,
            ..TransformerConfig::default()
        };
        let v1_5 = TransformerConfig {
            patch_size_t: Some(2),
            sample_height: 96,
            sample_width: 170,
            sample_frames: 81,
            ..five_b.clone()
        };
        match self {
            Self::TwoB => TransformerConfig::default(),
            Self::FiveB => five_b,
            Self::FiveBImage => TransformerConfig {
                in_channels: 32,
                use_learned_positional_embeddings: true,
                ..five_b
            },
            Self::V1_5 => v1_5,
            Self::V1_5Image => {
                TransformerConfig { in_channels: 32, ofs_embed_dim: Some(512), ..v1_5 }
            }
        }
    }
}

impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    #[test]
    fn configs_call_for_the_tensors_of_the_published_ones() {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("../../tests/data/published_models.json");
        let published: serde_json::Value =
            serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        for model in Published::ALL {
            let text = published[model.name()]["configs"]["transformer"].to_string();
            let config = TransformerConfig::parse(Path::new("x"), text.as_bytes()).unwrap();
            assert_eq!(names::transformer(&model.config()), names::transformer(&config), "{model}");
            assert_eq!(Published::of(&config), Some(model));
        }
    }

    #[test]
    fn a_named_base_is_recognized_however_it_is_written() {
        for (text, expected) in [
            ("THUDM/CogVideoX-2b", Some(Ok(Published::TwoB))),
            ("zai-org/CogVideoX-5b", Some(Ok(Published::FiveB))),
            ("/data/models/cogvideox_5b_i2v/transformer", Some(Ok(Published::FiveBImage))),
            ("THUDM/CogVideoX1.5-5B", Some(Ok(Published::V1_5))),
            ("CogVideoX-1.5-5B-I2V", Some(Ok(Published::V1_5Image))),
            ("/exp1.5/cogvideox-2b", Some(Ok(Published::TwoB))),
            ("/funny/i2v/CogVideoX-5b/transformer", Some(Ok(Published::FiveB))),
            ("C:\\cogvideox1.5-tuning\\CogVideoX-2b", Some(Ok(Published::TwoB))),
            ("/exp1.5/cogvideox", None),
            ("alibaba-pai/CogVideoX-Fun-V1.1-5b-InP", None),
            ("black-forest-labs/FLUX.1-dev", Some(Err(()))),
            ("stabilityai/stable-diffusion-xl-base-1.0", Some(Err(()))),
            ("/home/me/base", None),
            ("", None),
        ] {
            assert_eq!(Published::named(text), expected, "{text}");
        }
    }
}
