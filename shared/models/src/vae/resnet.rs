use cogwheel_graph::Value;
use cogwheel_tensor::DType;

use super::{
    builder::Builder,
    causal_conv::{POINTWISE, Place},
    kernel::Kernel,
};
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
        let shortcut = if input == output { x.clone() } else { self.shortcut(x, name)? };
        Ok(self.graph.scoped(name, |g| g.add(&y, &shortcut))?)
    }

    fn shortcut(&mut self, x: &Value, name: &str) -> Result<Value, BuildError> {
        let name = format!("{name}.conv_shortcut");
        let weight = Kernel::read(self.weights, &format!("{name}.weight"))?.pointwise()?;
        let bias = self.weights.tensor_as(&format!("{name}.bias"), DType::F32)?;
        self.graph.scoped(name, |g| {
            let weight = g.constant("weight", &weight);
            let bias = g.constant("bias", &bias);
            Ok(g.conv(x, &weight, Some(&bias), POINTWISE)?)
        })
    }
}
