use std::{fmt, path::Path};

use cogwheel_weights::{Weights, WeightsError};
use serde_json::Value;

use super::{CheckpointError, DIFFUSERS, TRANSFORMERS};
use crate::config::{
    ConfigError, ConfigFile, TextEncoderConfig, TransformerConfig, VaeConfig, quote,
};

/// The pipeline that `model_index.json` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pipeline {
    TextToVideo,
    ImageToVideo,
    VideoToVideo,
    FunControl,
}

const PIPELINES: [Pipeline; 4] =
    [Pipeline::TextToVideo, Pipeline::ImageToVideo, Pipeline::VideoToVideo, Pipeline::FunControl];

/// The classes that a pipeline's parts must be of. The scheduler's is checked in its own config.
const PARTS: [(&str, &[&str]); 4] = [
    ("tokenizer", &["T5Tokenizer", "T5TokenizerFast"]),
    ("text_encoder", &["T5EncoderModel"]),
    ("transformer", &["CogVideoXTransformer3DModel"]),
    ("vae", &["AutoencoderKLCogVideoX"]),
];

const CONFIGS: [&str; 5] = [
    "model_index.json",
    "text_encoder/config.json",
    "transformer/config.json",
    "vae/config.json",
    "scheduler/scheduler_config.json",
];

/// Looks for every file of the layout, shards included, and lists all that are missing.
pub(super) fn check_complete(dir: &Path) -> Result<(), CheckpointError> {
    if !dir.is_dir() {
        let found = if dir.exists() { "a file" } else { "nothing" };
        return Err(CheckpointError::NoFolder { dir: dir.to_path_buf(), found });
    }
    let mut missing: Vec<String> = CONFIGS
        .iter()
        .filter(|config| !dir.join(config).exists())
        .map(|config| (*config).to_owned())
        .collect();
    if !["spiece.model", "tokenizer.json"].iter().any(|f| dir.join("tokenizer").join(f).exists()) {
        missing.push("tokenizer/spiece.model or tokenizer/tokenizer.json".to_owned());
    }
    for (part, stem) in
        [("text_encoder", TRANSFORMERS), ("transformer", DIFFUSERS), ("vae", DIFFUSERS)]
    {
        match Weights::locate(&dir.join(part), stem) {
            Ok(_) => {}
            Err(WeightsError::NotFound { expected, pickle: None, .. }) => {
                missing
                    .push(format!("{part}/{}", expected.replace(" or ", &format!(" or {part}/"))));
            }
            Err(error) => return Err(error.into()),
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(CheckpointError::Incomplete { dir: dir.to_path_buf(), missing })
}

/// Reads `model_index.json`.
pub(super) fn pipeline(dir: &Path) -> Result<Pipeline, ConfigError> {
    let file = ConfigFile::read(&dir.join("model_index.json"))?;
    let names = PIPELINES.map(Pipeline::class);
    let class = file.one_of("_class_name", &names)?;
    for (part, classes) in PARTS {
        let found = file.get(part);
        // A pair of library and class.
        let class = found.and_then(|pair| pair.get(1)).and_then(Value::as_str);
        if !class.is_some_and(|class| classes.contains(&class)) {
            let found = found.map_or("nothing".to_owned(), quote);
            return Err(file.value(part, classes.join(" or "), found));
        }
    }
    // `one_of` has just found it among them.
    Ok(PIPELINES.into_iter().find(|p| p.class() == class).unwrap_or(Pipeline::TextToVideo))
}

/// Checks what one config says of another's part.
pub(super) fn check_agreement(
    dir: &Path,
    transformer: &TransformerConfig,
    vae: &VaeConfig,
    text_encoder: &TextEncoderConfig,
) -> Result<(), ConfigError> {
    let disagree = |key: &str, expected: String, found: usize| ConfigError::Value {
        path: dir.join("transformer/config.json"),
        key: key.to_owned(),
        expected,
        found: found.to_string(),
    };
    if transformer.out_channels != vae.latent_channels {
        let expected = format!("{}, the VAE's `latent_channels`", vae.latent_channels);
        return Err(disagree("out_channels", expected, transformer.out_channels));
    }
    if transformer.text_embed_dim != text_encoder.d_model {
        let expected = format!("{}, the text encoder's `d_model`", text_encoder.d_model);
        return Err(disagree("text_embed_dim", expected, transformer.text_embed_dim));
    }
    Ok(())
}

impl Pipeline {
    const fn class(self) -> &'static str {
        match self {
            Self::TextToVideo => "CogVideoXPipeline",
            Self::ImageToVideo => "CogVideoXImageToVideoPipeline",
            Self::VideoToVideo => "CogVideoXVideoToVideoPipeline",
            Self::FunControl => "CogVideoXFunControlPipeline",
        }
    }
}

impl fmt::Display for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.class())
    }
}
