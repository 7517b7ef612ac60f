use cogwheel_graph::{Convolution, Dim, GraphBuilder, GraphError, Value};
use cogwheel_tensor::{DType, Tensor, TensorError};

use super::{builder::Builder, kernel::Kernel, resolution::Resolution};
use crate::BuildError;

/// Taps of every causal convolution along time.
const TIME_TAPS: usize = 3;

/// Frames that a causal convolution looks back on.
pub(super) const CACHED_FRAMES: usize = TIME_TAPS - 1;

/// The input with the indices of frames to repeat in front of a convolution's own.
pub(super) const LEAD: &str = "lead";

/// One output row and column from a 3x3 neighbourhood, zeros beyond the edge.
pub(super) const SAME: Convolution<'static> =
    Convolution { kernel: &[3, 3], strides: &[], pads: &[1, 1, 1, 1] };

/// A convolution over one pixel.
pub(super) const POINTWISE: Convolution<'static> =
    Convolution { kernel: &[1, 1], strides: &[], pads: &[] };

/// The last frames that a convolution has seen, carried from one chunk to the next: fp32
/// [2, channels, height * scale, width * scale] for latents of [.., height, width].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvCache {
    /// Name of the graph's input.
    pub input: String,
    /// Name of the output to give to that input at the next chunk.
    pub output: String,
    /// Channels of what the convolution takes.
    pub channels: usize,
    /// Rows and columns to one of the latents.
    pub scale: usize,
}

impl ConvCache {
    fn new(convolution: &str, channels: usize, scale: usize) -> Self {
        let (input, output) = (format!("{convolution}.cache"), format!("{convolution}.next_cache"));
        Self { input, output, channels, scale }
    }

    /// What the first chunk is given for latents of this height and width: no frames.
    ///
    /// # Errors
    /// [`TensorError::Overflow`] for sizes that no tensor can have.
    pub fn empty(&self, height: usize, width: usize) -> Result<Tensor, TensorError> {
        Tensor::from_f32(self.shape(0, height, width)?, Vec::new())
    }

    /// Shape of what a chunk gives for the next one.
    ///
    /// # Errors
    /// As [`Self::empty`].
    pub fn next_shape(&self, height: usize, width: usize) -> Result<[usize; 4], TensorError> {
        self.shape(CACHED_FRAMES, height, width)
    }

    fn shape(&self, frames: usize, height: usize, width: usize) -> Result<[usize; 4], TensorError> {
        let overflow = || TensorError::Overflow { dtype: DType::F32, shape: vec![height, width] };
        let scaled = |side: usize| side.checked_mul(self.scale).ok_or_else(overflow);
        Ok([frames, self.channels, scaled(height)?, scaled(width)?])
    }

    fn declare_input(&self, g: &mut GraphBuilder) -> Result<Value, GraphError> {
        g.input(&self.input, DType::F32, &self.dims(Dim::Free("cached_frames")))
    }

    pub(super) fn declare_output(
        &self,
        g: &mut GraphBuilder,
        value: &Value,
    ) -> Result<(), GraphError> {
        g.output(&self.output, value, &self.dims(Dim::Fixed(CACHED_FRAMES)))
    }

    fn dims(&self, frames: Dim) -> [Dim; 4] {
        let [height, width] = Resolution::dims(self.scale);
        [frames, Dim::Fixed(self.channels), height, width]
    }
}

/// Where a causal convolution stands.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Rows, and columns, to one of the latents: 1, 2, 4, 8.
    pub(super) scale: usize,
    /// How the padded input is cut in two, i64 of shape [2]: as many frames as the activation has, and those to cache.
    pub(super) cut: Value,
}

impl Place {
    /// That of an activation with so many frames, i64 of shape [1].
    pub(super) fn new(
        g: &mut GraphBuilder,
        scale: usize,
        frames: &Value,
    ) -> Result<Self, GraphError> {
        let cached = g.ints(&[CACHED_FRAMES as i64]);
        let cut = g.concat(&[frames, &cached], 0)?;
        Ok(Self { scale, cut })
    }
}

impl Builder<'_> {
    /// A convolution over time and space that sees no later frame, as diffusers' `CogVideoXCausalConv3d`: in front of
    /// its input stand the last frames it has seen, or its first frame repeated.
    ///
    /// `channels` is that of `x`. A sum over time taps rather than one product over their stacked channels: that would
    /// take three times the memory of the largest activation, for 5% of the time.
    pub(super) fn causal_conv(
        &mut self,
        x: &Value,
        name: &str,
        channels: usize,
        at: &Place,
    ) -> Result<Value, BuildError> {
        let cache = ConvCache::new(name, channels, at.scale);
        let kernel = Kernel::read(self.weights, &format!("{name}.conv.weight"))?;
        let bias = self.weights.tensor_as(&format!("{name}.conv.bias"), DType::F32)?;
        let lead = self.lead.clone();
        let (result, seen) = self.graph.scoped(name, |g| -> Result<_, BuildError> {
            let cached = cache.declare_input(g)?;
            let repeated = g.gather(x, &lead, 0);
            let padded = g.concat(&[&cached, &repeated, x], 0)?;
            // One operator gives the first tap's frames and those to cache: ONNX Runtime puts off what only outputs need,
            // and all the while the padded input of every convolution would stay in memory.
            let [first, seen] = g.split_by(&padded, &at.cut, 0);
            let bias = g.constant("bias", &bias);
            let weight = g.constant("weight", &kernel.time_tap(0)?);
            let mut sum = g.conv(&first, &weight, Some(&bias), SAME)?;
            for tap in 1..TIME_TAPS {
                let end = match TIME_TAPS - 1 - tap {
                    0 => i64::MAX,
                    later => -(later as i64),
                };
                let frames = g.slice(&padded, 0, tap as i64, end);
                let weight = g.constant("weight", &kernel.time_tap(tap)?);
                let product = g.conv(&frames, &weight, None, SAME)?;
                sum = g.add(&sum, &product)?;
            }
            Ok((sum, seen))
        })?;
        self.caches.push((cache, seen));
        Ok(result)
    }
}
