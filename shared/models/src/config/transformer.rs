use std::path::Path;

use serde_json::json;

use super::{ConfigError, ConfigFile};

/// `transformer/config.json`: diffusers' `CogVideoXTransformer3DModel`. Keys whose other values this build does not
/// compute (activations, biases, norms, the order of the time embedding) are checked and left out.
#[derive(Clone, Debug, PartialEq)]
pub struct TransformerConfig {
    /// Attention heads.
    pub num_attention_heads: usize,
    /// Channels of one head.
    pub attention_head_dim: usize,
    /// Channels of the input: the latents, and in image- and control-conditioned models as many again.
    pub in_channels: usize,
    /// Channels of the prediction: those of the latents.
    pub out_channels: usize,
    /// Channels of the time embedding.
    pub time_embed_dim: usize,
    /// Channels of the `ofs` embedding of the 1.5 image-to-video model; none elsewhere.
    pub ofs_embed_dim: Option<usize>,
    /// Channels of the text encoder's output.
    pub text_embed_dim: usize,
    /// Transformer blocks.
    pub num_layers: usize,
    /// Width of the latents that the model was made for.
    pub sample_width: usize,
    /// Height of the latents that the model was made for.
    pub sample_height: usize,
    /// Frames of video (not of latents) that the model was made for.
    pub sample_frames: usize,
    /// Latents a patch spans in height and width.
    pub patch_size: usize,
    /// Latent frames a patch spans; `None` in 1.0, which patches each frame for itself.
    pub patch_size_t: Option<usize>,
    /// Frames of video to one of latents.
    pub temporal_compression_ratio: usize,
    /// Tokens of the prompt.
    pub max_text_seq_length: usize,
    /// Epsilon of the layer norms (those of queries and keys have their own, 1e-6).
    pub norm_eps: f64,
    /// What sin-cos positions in height and width are divided by.
    pub spatial_interpolation_scale: f64,
    /// What sin-cos positions in time are divided by.
    pub temporal_interpolation_scale: f64,
    /// Rotary positions in attention instead of sin-cos positions added to the tokens.
    pub use_rotary_positional_embeddings: bool,
    /// A learned table added to the tokens, beside rotary positions.
    pub use_learned_positional_embeddings: bool,
}

impl Default for TransformerConfig {
    /// The constructor's defaults: CogVideoX-2b.
    fn default() -> Self {
        Self {
            num_attention_heads: 30,
            attention_head_dim: 64,
            in_channels: 16,
            out_channels: 16,
            time_embed_dim: 512,
            ofs_embed_dim: None,
            text_embed_dim: 4096,
            num_layers: 30,
            sample_width: 90,
            sample_height: 60,
            sample_frames: 49,
            patch_size: 2,
            patch_size_t: None,
            temporal_compression_ratio: 4,
            max_text_seq_length: 226,
            norm_eps: 1e-5,
            spatial_interpolation_scale: 1.875,
            temporal_interpolation_scale: 1.0,
            use_rotary_positional_embeddings: false,
            use_learned_positional_embeddings: false,
        }
    }
}

impl TransformerConfig {
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

    /// Width of the hidden state: heads times channels of a head.
    pub fn inner_dim(&self) -> usize {
        self.num_attention_heads * self.attention_head_dim
    }

    /// Latent frames of the size that the model was made for, before 1.5 pads them to whole patches.
    pub fn sample_latent_frames(&self) -> usize {
        (self.sample_frames - 1) / self.temporal_compression_ratio + 1
    }

    /// Bounds are far above any published model and low enough that no size computed from them overflows 64 bits.
    fn from_file(file: &ConfigFile) -> Result<Self, ConfigError> {
        file.one_of("_class_name", &["CogVideoXTransformer3DModel"])?;
        let d = Self::default();
        let config = Self {
            num_attention_heads: file.size(
                "num_attention_heads",
                d.num_attention_heads,
                1..=1024,
            )?,
            attention_head_dim: file.size("attention_head_dim", d.attention_head_dim, 1..=1024)?,
            in_channels: file.size("in_channels", d.in_channels, 1..=4096)?,
            out_channels: file.size("out_channels", d.out_channels, 1..=4096)?,
            time_embed_dim: file.size("time_embed_dim", d.time_embed_dim, 1..=65536)?,
            // 0 means none, as Python's truth of it does.
            ofs_embed_dim: file.optional_size("ofs_embed_dim", 0..=65536)?.filter(|&dim| dim > 0),
            text_embed_dim: file.size("text_embed_dim", d.text_embed_dim, 1..=65536)?,
            num_layers: file.size("num_layers", d.num_layers, 1..=1024)?,
            sample_width: file.size("sample_width", d.sample_width, 2..=8192)?,
            sample_height: file.size("sample_height", d.sample_height, 2..=8192)?,
            sample_frames: file.size("sample_frames", d.sample_frames, 1..=65536)?,
            patch_size: d.patch_size,
            patch_size_t: file.optional_size("patch_size_t", 1..=64)?,
            temporal_compression_ratio: d.temporal_compression_ratio,
            max_text_seq_length: file.size(
                "max_text_seq_length",
                d.max_text_seq_length,
                1..=16384,
            )?,
            norm_eps: file.positive("norm_eps", d.norm_eps)?,
            spatial_interpolation_scale: file
                .positive("spatial_interpolation_scale", d.spatial_interpolation_scale)?,
            temporal_interpolation_scale: file
                .positive("temporal_interpolation_scale", d.temporal_interpolation_scale)?,
            use_rotary_positional_embeddings: file
                .flag("use_rotary_positional_embeddings", false)?,
            use_learned_positional_embeddings: file
                .flag("use_learned_positional_embeddings", false)?,
        };
        config.check_fixed_keys(file)?;
        config.check_dimensions(file)?;
        Ok(config)
    }

    fn check_fixed_keys(&self, file: &ConfigFile) -> Result<(), ConfigError> {
        file.only("patch_size", 2, &[json!(2)])?;
        file.only("temporal_compression_ratio", 4, &[json!(4)])?;
        file.only("activation_fn", "gelu-approximate", &[json!("gelu-approximate")])?;
        file.only("timestep_activation_fn", "silu", &[json!("silu")])?;
        file.only("flip_sin_to_cos", true, &[json!(true)])?;
        file.only("freq_shift", 0, &[json!(0)])?;
        file.only("attention_bias", true, &[json!(true)])?;
        file.only("norm_elementwise_affine", true, &[json!(true)])?;
        if self.patch_size_t.is_none() {
            // 1.5's linear patch embedding has a bias whatever the key says, and its configs say false.
            file.only("patch_bias", true, &[json!(true)])?;
        } else {
            file.flag("patch_bias", true)?;
            file.only("patch_size_t", 2, &[json!(2)])?;
        }
        Ok(())
    }

    fn check_dimensions(&self, file: &ConfigFile) -> Result<(), ConfigError> {
        for (key, size) in
            [("sample_width", self.sample_width), ("sample_height", self.sample_height)]
        {
            if size % self.patch_size != 0 {
                return Err(file.value(key, "a multiple of `patch_size` 2", size));
            }
        }
        // The VAE makes one latent frame of the first frame and of each four after it, and takes two of them at a time.
        if self.sample_frames < 9 || self.sample_frames % 8 != 1 {
            let expected = "a multiple of 8 and one more, as 49 or 81";
            return Err(file.value("sample_frames", expected, self.sample_frames));
        }
        for (key, dim) in
            [("time_embed_dim", Some(self.time_embed_dim)), ("ofs_embed_dim", self.ofs_embed_dim)]
        {
            if dim.is_some_and(|dim| dim % 2 != 0) {
                return Err(file.value(key, "an even number", dim.unwrap_or_default()));
            }
        }
        let head_dim = self.attention_head_dim;
        if self.use_rotary_positional_embeddings && !head_dim.is_multiple_of(16) {
            // Time takes a quarter of a head's channels, height and width three eighths each, in pairs.
            let expected = "a multiple of 16, which rotary positions need";
            return Err(file.value("attention_head_dim", expected, head_dim));
        }
        if !self.use_rotary_positional_embeddings && !self.inner_dim().is_multiple_of(16) {
            let expected = "a multiple of 16 together with `num_attention_heads`, which sin-cos positions need";
            return Err(file.value(
                "attention_head_dim",
                expected,
                format_args!("{} x {head_dim}", self.num_attention_heads),
            ));
        }
        if self.use_learned_positional_embeddings && !self.use_rotary_positional_embeddings {
            let key = "use_learned_positional_embeddings";
            return Err(file.unsupported(key, "beside `use_rotary_positional_embeddings`", true));
        }
        self.check_newer(file)?;
        let (input, output) = (self.in_channels, self.out_channels);
        if input != output && input != 2 * output {
            let expected = format!("{output} or {}, for `out_channels` of {output}", 2 * output);
            return Err(file.value("in_channels", expected, input));
        }
        Ok(())
    }

    /// What CogVideoX 1.5 brought, where diffusers' own class would fail at the first forward.
    fn check_newer(&self, file: &ConfigFile) -> Result<(), ConfigError> {
        if let Some(ofs) = self.ofs_embed_dim.filter(|&ofs| ofs != self.time_embed_dim) {
            let expected =
                format!("{}, as `time_embed_dim`, to which it is added", self.time_embed_dim);
            return Err(file.value("ofs_embed_dim", expected, ofs));
        }
        let plain_rotary =
            self.use_rotary_positional_embeddings && !self.use_learned_positional_embeddings;
        if self.patch_size_t.is_some() && !plain_rotary {
            let expected = "null, or rotary positions alone, which patches of two frames need";
            return Err(file.value("patch_size_t", expected, 2));
        }
        Ok(())
    }
}
