use std::path::Path;

use serde_json::json;

use super::{ConfigError, ConfigFile};

/// `text_encoder/config.json`: transformers' `T5Config` as T5 v1.1 uses it, gated with GELU in its tanh form. Keys
/// whose other values this build does not compute are checked and left out.
#[derive(Clone, Debug, PartialEq)]
pub struct TextEncoderConfig {
    /// Tokens of the vocabulary, with the rows that only pad the embedding.
    pub vocab_size: usize,
    /// Width of the hidden state and of the output.
    pub d_model: usize,
    /// Channels of one head; heads times this need not be `d_model`.
    pub d_kv: usize,
    /// Width of the feed-forward.
    pub d_ff: usize,
    /// Encoder blocks.
    pub num_layers: usize,
    /// Attention heads.
    pub num_heads: usize,
    /// Buckets of relative positions, half for each direction.
    pub relative_attention_num_buckets: usize,
    /// Distance from which on all positions share the last bucket.
    pub relative_attention_max_distance: usize,
    /// Epsilon of the RMS norms.
    pub layer_norm_epsilon: f64,
}

impl Default for TextEncoderConfig {
    /// The constructor's defaults, which are T5-small's sizes.
    fn default() -> Self {
        Self {
            vocab_size: 32128,
            d_model: 512,
            d_kv: 64,
            d_ff: 2048,
            num_layers: 6,
            num_heads: 8,
            relative_attention_num_buckets: 32,
            relative_attention_max_distance: 128,
            layer_norm_epsilon: 1e-6,
        }
    }
}

impl TextEncoderConfig {
    /// Reads and checks a config file.
    ///
    /// # Errors
    /// A [`ConfigError`] that names file, key, expected and found.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        Self::from_file(&ConfigFile::read(path)?)
    }

    /// Checks a config's text; `path` serves for messages only.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn parse(path: &Path, json: &[u8]) -> Result<Self, ConfigError> {
        Self::from_file(&ConfigFile::parse(path, json)?)
    }

    /// Width of queries, keys and values: heads times channels of a head.
    pub fn inner_dim(&self) -> usize {
        self.num_heads * self.d_kv
    }

    fn from_file(file: &ConfigFile) -> Result<Self, ConfigError> {
        file.one_of("model_type", &["t5"])?;
        check_fixed_keys(file)?;
        let d = Self::default();
        let config = Self {
            vocab_size: file.size("vocab_size", d.vocab_size, 1..=1 << 22)?,
            d_model: file.size("d_model", d.d_model, 1..=65536)?,
            d_kv: file.size("d_kv", d.d_kv, 1..=1024)?,
            d_ff: file.size("d_ff", d.d_ff, 1..=1 << 20)?,
            num_layers: file.size("num_layers", d.num_layers, 1..=1024)?,
            num_heads: file.size("num_heads", d.num_heads, 1..=1024)?,
            relative_attention_num_buckets: file.size(
                "relative_attention_num_buckets",
                d.relative_attention_num_buckets,
                4..=65536,
            )?,
            relative_attention_max_distance: file.size(
                "relative_attention_max_distance",
                d.relative_attention_max_distance,
                2..=1 << 20,
            )?,
            layer_norm_epsilon: file.positive("layer_norm_epsilon", d.layer_norm_epsilon)?,
        };
        config.check_buckets(file)?;
        Ok(config)
    }

    /// A quarter of the buckets holds one distance each; the logarithm that spreads the others needs room beyond.
    fn check_buckets(&self, file: &ConfigFile) -> Result<(), ConfigError> {
        let buckets = self.relative_attention_num_buckets;
        if !buckets.is_multiple_of(4) {
            let key = "relative_attention_num_buckets";
            return Err(file.value(key, "a multiple of 4", buckets));
        }
        let distance = self.relative_attention_max_distance;
        if distance <= buckets / 4 {
            let expected = format!("more than a quarter of the {buckets} buckets");
            return Err(file.value("relative_attention_max_distance", expected, distance));
        }
        Ok(())
    }
}

fn check_fixed_keys(file: &ConfigFile) -> Result<(), ConfigError> {
    file.only("feed_forward_proj", "relu", &[json!("gated-gelu")])?;
    file.only("dense_act_fn", "gelu_new", &[json!("gelu_new")])?;
    file.only("is_gated_act", true, &[json!(true)])?;
    file.only("is_decoder", false, &[json!(false)])
}
