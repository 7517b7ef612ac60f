//! The names that trainers and converters give an adapter's tensors, as one: a layer of the transformer and a part.

mod dotted;
mod kohya;
mod modules;
mod sat;

use std::fmt;

use serde::Serialize;

/// How a file names its tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// `transformer.LAYER.lora_A.weight`, as diffusers and the exporter of SAT checkpoints save it.
    Diffusers,
    /// `LAYER.lora.down.weight` or `..._lora.down.weight`, as diffusers saved it up to 0.25.
    OldDiffusers,
    /// `base_model.model.LAYER.lora_A.weight`, as PEFT saves it beside an `adapter_config.json`.
    Peft,
    /// `LAYER.lora_A.weight`.
    Unprefixed,
    /// `diffusion_model.LAYER.lora_A.weight`.
    DiffusionModel,
    /// `lora_unet__LAYER_WITH_UNDERSCORES.lora_down.weight`, as CogVideoX-Fun saves it.
    Kohya,
    /// `model.diffusion_model.transformer.layers.N.attention.query_key_value.matrix_A.0`, as SAT itself saves it.
    Sat,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Diffusers => "diffusers",
            Self::OldDiffusers => "old diffusers",
            Self::Peft => "PEFT",
            Self::Unprefixed => "unprefixed",
            Self::DiffusionModel => "diffusion_model",
            Self::Kohya => "kohya",
            Self::Sat => "SAT",
        })
    }
}

/// What a tensor is to its layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Part {
    /// The first matrix, [rank, input...].
    A,
    /// The second matrix, [output, rank] or [output, rank, 1, 1].
    B,
    /// The second matrix's bias, [output].
    Bias,
    /// One number.
    Alpha,
    /// DoRA's norms of the rows.
    Magnitude,
}

/// A tensor's name, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) layout: Layout,
    /// The layer, as checkpoints name it without the `.weight`.
    pub(crate) module: String,
    pub(crate) part: Part,
}

/// Reads a tensor's name; `None` where it is no part of a LoRA for CogVideoX.
pub(crate) fn parse(name: &str) -> Option<Key> {
    kohya::parse(name).or_else(|| sat::parse(name)).or_else(|| dotted::parse(name))
}

/// Whether a name says that its tensor belongs to a text encoder.
pub(crate) fn is_text_encoder(name: &str) -> bool {
    let name = name.strip_prefix("base_model.model.").unwrap_or(name);
    [
        "text_encoder",
        "lora_te",
        "te_",
        "te1_",
        "te2_",
        "te1.",
        "te2.",
        "encoder.block.",
        "text_model.",
    ]
    .iter()
    .any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests;
