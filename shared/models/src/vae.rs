//! The VAE's encoder and decoder as one graph each: frames to the moments of latents, and latents to frames, chunk by chunk.
//!
//! The mathematics are those of diffusers' `AutoencoderKLCogVideoX`, for a tile as for whole frames. One graph serves every
//! chunk: the number of frames, height and width are free, and what depends on them comes in as indices (see
//! [`encode_inputs`] and [`decode_inputs`]). All convolutions are 2-D with the frames as batch; one over time is the sum of one for each of
//! its taps. ONNX Runtime's blocked 2-D convolutions are 1.2 to 1.7 times as fast as its 3-D one.

mod builder;
mod causal_conv;
mod decoder;
mod encoder;
mod frame_conv;
mod frames;
mod group_norm;
mod kernel;
mod resnet;
mod resolution;
mod spatial_norm;
mod upsample;

pub use causal_conv::ConvCache;
pub use decoder::{Decoder, decoder};
pub use encoder::{Encoder, encoder};
pub use frames::{decode_inputs, encode_inputs};
