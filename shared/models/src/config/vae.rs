use std::path::Path;

use serde_json::json;

use super::{ConfigError, ConfigFile};

/// `vae/config.json`: diffusers' `AutoencoderKLCogVideoX`. Keys whose other values this build does not compute are
/// checked and left out; `shift_factor`, `latents_mean`, `latents_std` and `force_upcast` are read by no pipeline.
#[derive(Clone, Debug, PartialEq)]
pub struct VaeConfig {
    /// Channels of the frames going in.
    pub in_channels: usize,
    /// Channels of the frames coming out.
    pub out_channels: usize,
    /// Channels of each level, from the frames to the latents.
    pub block_out_channels: Vec<usize>,
    /// Channels of the latents.
    pub latent_channels: usize,
    /// ResNet blocks of a level in the encoder; the decoder has one more.
    pub layers_per_block: usize,
    /// Epsilon of the encoder's group norms (the decoder's have their own, 1e-6).
    pub norm_eps: f64,
    /// Groups of the group norms.
    pub norm_num_groups: usize,
    /// Frames of video to one of latents.
    pub temporal_compression_ratio: usize,
    /// Height of the frames that the model was made for; tiles are half as high.
    pub sample_height: usize,
    /// Width of the frames that the model was made for; tiles are half as wide.
    pub sample_width: usize,
    /// What latents are multiplied by for the transformer, and divided by before decoding.
    pub scaling_factor: f64,
    /// Whether a conditioning image's latents are divided by the factor instead (1.5).
    pub invert_scale_latents: bool,
}

impl Default for VaeConfig {
    /// The constructor's defaults: CogVideoX-2b.
    fn default() -> Self {
        Self {
            in_channels: 3,
            out_channels: 3,
            block_out_channels: vec![128, 256, 256, 512],
            latent_channels: 16,
            layers_per_block: 3,
            norm_eps: 1e-6,
            norm_num_groups: 32,
            temporal_compression_ratio: 4,
            sample_height: 480,
            sample_width: 720,
            scaling_factor: 1.15258426,
            invert_scale_latents: false,
        }
    }
}

impl VaeConfig {
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

    /// Pixels of a side to one of the latents: 8.
    pub fn spatial_compression_ratio(&self) -> usize {
        1 << (self.block_out_channels.len() - 1)
    }

    fn from_file(file: &ConfigFile) -> Result<Self, ConfigError> {
        file.one_of("_class_name", &["AutoencoderKLCogVideoX"])?;
        let d = Self::default();
        let config = Self {
            in_channels: d.in_channels,
            out_channels: d.out_channels,
            block_out_channels: file.sizes(
                "block_out_channels",
                &d.block_out_channels,
                1..=16384,
            )?,
            latent_channels: file.size("latent_channels", d.latent_channels, 1..=4096)?,
            layers_per_block: file.size("layers_per_block", d.layers_per_block, 1..=256)?,
            norm_eps: file.positive("norm_eps", d.norm_eps)?,
            norm_num_groups: file.size("norm_num_groups", d.norm_num_groups, 1..=16384)?,
            temporal_compression_ratio: d.temporal_compression_ratio,
            sample_height: file.size("sample_height", d.sample_height, 16..=65536)?,
            sample_width: file.size("sample_width", d.sample_width, 16..=65536)?,
            scaling_factor: file.positive("scaling_factor", d.scaling_factor)?,
            invert_scale_latents: file.flag("invert_scale_latents", d.invert_scale_latents)?,
        };
        check_fixed_keys(file)?;
        if config.block_out_channels.len() != 4 {
            let found = config.block_out_channels.len();
            return Err(file.unsupported(
                "block_out_channels",
                "4 levels",
                format_args!("{found} levels"),
            ));
        }
        let groups = config.norm_num_groups;
        if let Some(channels) = config.block_out_channels.iter().find(|c| *c % groups != 0) {
            let expected = format!("multiples of `norm_num_groups` {groups}");
            return Err(file.value("block_out_channels", expected, channels));
        }
        Ok(config)
    }
}

fn check_fixed_keys(file: &ConfigFile) -> Result<(), ConfigError> {
    let (down, up) = (json!(vec!["CogVideoXDownBlock3D"; 4]), json!(vec!["CogVideoXUpBlock3D"; 4]));
    file.only("in_channels", 3, &[json!(3)])?;
    file.only("out_channels", 3, &[json!(3)])?;
    file.only("down_block_types", down.clone(), &[down])?;
    file.only("up_block_types", up.clone(), &[up])?;
    file.only("act_fn", "silu", &[json!("silu"), json!("swish")])?;
    file.only("temporal_compression_ratio", 4, &[json!(4)])?;
    file.only("use_quant_conv", false, &[json!(false)])?;
    file.only("use_post_quant_conv", false, &[json!(false)])
}
