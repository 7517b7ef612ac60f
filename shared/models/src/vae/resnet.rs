use cogwheel_graph::Value;

use super::{builder::Builder, causal_conv::Place};
use crate::BuildError;

/// A norm of so many channels with SiLU after it, which is another one in the encoder than in the decoder.
pub(super) type Norm<'n> =
    dyn Fn(&mut Builder<'_>, &Value, &str, usize) -> Result<Value, BuildError> + 'n;

impl Builder<'_> {
    /// Two times norm, SiLU and convolution, and the input added, by way of a convolution over one pixel where the
    /// number of channels changes; as diffusers' `CogVideoXResnetBlock3D`.
    pub(super) fn resnet(
        &mut self,
        x: &Value,
        name: &str,
        [input, output]: [usize; 2],
        at: &Place,
        norm: &Norm<'_>,
    ) -> Result<Value, BuildError> {
        let y = norm(self, x, &format!("{name}.norm1"), input)?;
        let y = self.causal_conv(&y, &format!("{name}.conv1"), input, at)?;
        let y = norm(self, &y, &format!("{name}.norm2"), output)?;
        let y = self.causal_conv(&y, &format!("{name}.conv2"), output, at)?;
        let shortcut = if input == output {
            x.clone()
        } else {
            self.pointwise_conv(x, &format!("{name}.conv_shortcut"))?
        };
        Ok(self.graph.scoped(name, |g| g.add(&y, &shortcut))?)
    }
}
