use cogwheel_product::{
    Linear, MatrixUnit, PackedWeight, ProductError, QuantizedLinear, QuantizedWeight, Scratch,
    Threads,
};
use cogwheel_tensor::Tensor;

use crate::SessionOptions;

/// A linear layer's weight as the operator has it.
#[derive(Debug)]
pub(in crate::session) enum Weight {
    /// For the matrix unit, in fp32.
    Packed(MatrixUnit, PackedWeight),
    /// In bytes.
    Quantized(QuantizedWeight),
}

/// Which layers a session computes by itself, and how.
#[derive(Clone, Copy, Debug)]
pub(in crate::session) struct Packing {
    unit: Option<MatrixUnit>,
    quantize: Option<fn(&str) -> bool>,
    /// Most pieces of what goes to the unit.
    pieces: usize,
}

impl Packing {
    pub(in crate::session) fn of(options: &SessionOptions) -> Self {
        let unit = super::unit(options);
        Self { unit, quantize: options.quantized_layers(), pieces: usize::MAX }
    }

    /// The same with no more pieces of a weight for the unit.
    pub(in crate::session) fn with_pieces(self, pieces: usize) -> Self {
        Self { pieces, ..self }
    }

    /// Whether the layer with the weight of that name is taken out of ONNX Runtime's hands.
    pub(in crate::session) fn takes(&self, name: &str) -> bool {
        self.unit.is_some() || self.quantizes(name)
    }

    /// Lays a weight out as its layer wants it; nothing for one that ONNX Runtime has.
    pub(in crate::session) fn pack(
        &self,
        name: &str,
        weight: &Tensor,
    ) -> Result<Option<Weight>, ProductError> {
        if self.quantizes(name) {
            return QuantizedWeight::new(weight).map(Weight::Quantized).map(Some);
        }
        let pack = |unit| {
            let packed = PackedWeight::of_pieces(unit, weight, self.pieces)?;
            Ok(Weight::Packed(unit, packed))
        };
        self.unit.map(pack).transpose()
    }

    fn quantizes(&self, name: &str) -> bool {
        self.quantize.is_some_and(|quantize| quantize(name))
    }
}

impl Weight {
    pub(super) fn outputs(&self) -> usize {
        match self {
            Self::Packed(_, weight) => weight.outputs(),
            Self::Quantized(weight) => weight.outputs(),
        }
    }

    pub(super) fn inputs(&self) -> usize {
        match self {
            Self::Packed(_, weight) => weight.inputs(),
            Self::Quantized(weight) => weight.inputs(),
        }
    }

    pub(in crate::session) fn byte_length(&self) -> usize {
        match self {
            Self::Packed(_, weight) => weight.byte_length(),
            Self::Quantized(weight) => weight.byte_length(),
        }
    }

    /// `y = x W^T + b`.
    pub(super) fn apply(
        &self,
        bias: Option<&[f32]>,
        (rows, x, y): (usize, &[f32], &mut [f32]),
        threads: &dyn Threads,
        scratch: &mut Scratch,
    ) -> Result<(), ProductError> {
        match self {
            Self::Packed(unit, weight) => {
                Linear { unit: *unit, weight, bias }.apply(rows, x, y, threads, scratch)
            }
            Self::Quantized(weight) => {
                QuantizedLinear { weight, bias }.apply(rows, x, y, threads, scratch)
            }
        }
    }
}
