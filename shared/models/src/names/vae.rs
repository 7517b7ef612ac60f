use cogwheel_weights::ExpectedTensor;

use super::list::List;
use crate::config::VaeConfig;

/// The tensors of diffusers' `AutoencoderKLCogVideoX`: those of the encoder, then those of the decoder.
pub fn vae(config: &VaeConfig) -> Vec<ExpectedTensor> {
    let mut tensors = vae_encoder(config);
    tensors.extend(vae_decoder(config));
    tensors
}

/// The tensors under `encoder.`, from frames to the mean and log-variance of latents.
pub fn vae_encoder(config: &VaeConfig) -> Vec<ExpectedTensor> {
    let mut list = List::default();
    let channels = &config.block_out_channels;
    let (first, last) = ends(channels);
    causal_conv(&mut list, "encoder.conv_in", config.in_channels, first, 3);
    let mut input = first;
    for (level, &output) in channels.iter().enumerate() {
        let block = format!("encoder.down_blocks.{level}");
        resnets(&mut list, &block, config.layers_per_block, (input, output), None);
        if level + 1 < channels.len() {
            list.conv(&format!("{block}.downsamplers.0.conv"), output, output, &[3, 3]);
        }
        input = output;
    }
    resnets(&mut list, "encoder.mid_block", 2, (last, last), None);
    list.norm("encoder.norm_out", last);
    causal_conv(&mut list, "encoder.conv_out", last, 2 * config.latent_channels, 3);
    list.0
}

/// The tensors under `decoder.`, from latents to frames.
pub fn vae_decoder(config: &VaeConfig) -> Vec<ExpectedTensor> {
    let mut list = List::default();
    let channels = &config.block_out_channels;
    let (first, last) = ends(channels);
    let latent = Some(config.latent_channels);
    causal_conv(&mut list, "decoder.conv_in", config.latent_channels, last, 3);
    resnets(&mut list, "decoder.mid_block", 2, (last, last), latent);
    let mut input = last;
    for (level, &output) in channels.iter().rev().enumerate() {
        let block = format!("decoder.up_blocks.{level}");
        resnets(&mut list, &block, config.layers_per_block + 1, (input, output), latent);
        if level + 1 < channels.len() {
            list.conv(&format!("{block}.upsamplers.0.conv"), output, output, &[3, 3]);
        }
        input = output;
    }
    norm(&mut list, "decoder.norm_out", first, latent);
    causal_conv(&mut list, "decoder.conv_out", first, config.out_channels, 3);
    list.0
}

/// Channels next to the frames, and next to the latents.
fn ends(channels: &[usize]) -> (usize, usize) {
    let first = channels.first().copied().unwrap_or_default();
    (first, channels.last().copied().unwrap_or_default())
}

fn resnets(
    list: &mut List,
    block: &str,
    count: usize,
    (input, output): (usize, usize),
    latent: Option<usize>,
) {
    for i in 0..count {
        let name = format!("{block}.resnets.{i}");
        let input = if i == 0 { input } else { output };
        norm(list, &format!("{name}.norm1"), input, latent);
        norm(list, &format!("{name}.norm2"), output, latent);
        causal_conv(list, &format!("{name}.conv1"), input, output, 3);
        causal_conv(list, &format!("{name}.conv2"), output, output, 3);
        if input != output {
            list.conv(&format!("{name}.conv_shortcut"), input, output, &[1; 3]);
        }
    }
}

/// A group norm; in the decoder one that the latents scale and shift.
fn norm(list: &mut List, name: &str, channels: usize, latent: Option<usize>) {
    let Some(latent) = latent else { return list.norm(name, channels) };
    list.norm(&format!("{name}.norm_layer"), channels);
    causal_conv(list, &format!("{name}.conv_y"), latent, channels, 1);
    causal_conv(list, &format!("{name}.conv_b"), latent, channels, 1);
}

fn causal_conv(list: &mut List, name: &str, input: usize, output: usize, kernel: usize) {
    list.conv(&format!("{name}.conv"), input, output, &[kernel; 3]);
}
