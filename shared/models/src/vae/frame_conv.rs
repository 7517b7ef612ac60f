use cogwheel_graph::{Convolution, Value};
use cogwheel_tensor::{DType, Tensor};

use super::{builder::Builder, causal_conv::POINTWISE, kernel::Kernel};
use crate::BuildError;

impl Builder<'_> {
    /// A convolution of each frame by itself, with a weight [out, in, height, width] and the bias of that name.
    pub(super) fn frame_conv(
        &mut self,
        x: &Value,
        name: &str,
        weight: &Tensor,
        geometry: Convolution<'_>,
    ) -> Result<Value, BuildError> {
        let bias = self.weights.tensor_as(&format!("{name}.bias"), DType::F32)?;
        self.graph.scoped(name, |g| {
            let weight = g.constant("weight", weight);
            let bias = g.constant("bias", &bias);
            Ok(g.conv(x, &weight, Some(&bias), geometry)?)
        })
    }

    /// The same over one pixel.
    pub(super) fn pointwise_conv(&mut self, x: &Value, name: &str) -> Result<Value, BuildError> {
        let weight = Kernel::read(self.weights, &format!("{name}.weight"))?.pointwise()?;
        self.frame_conv(x, name, &weight, POINTWISE)
    }
}
