use cogwheel_engine::SessionOptions;
use cogwheel_lora::Recipe;
use cogwheel_models::checkpoint::Checkpoint;
use cogwheel_models::names;
use cogwheel_tensor::{DType, Storage};
use cogwheel_weights::ExpectedTensor;

/// What the transformer and its variants take of memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Footprint {
    stored: DType,
    weights: u64,
    /// Of what a variant changes and is not quantized.
    bytes_per_parameter: u64,
    quantize: Option<fn(&str) -> bool>,
}

impl Footprint {
    /// Of sessions with these options. Weights that cannot be read are told when they are loaded.
    pub(super) fn new(checkpoint: &Checkpoint, options: &SessionOptions) -> Self {
        let stored = match checkpoint.storage() {
            Storage::Fp32 => checkpoint.weights_transformer().map_or(DType::F32, |w| w.dtype()),
            rounded => rounded.dtype(),
        };
        let bytes_per_parameter = options.bytes_per_parameter(stored) as u64;
        // As `VariantMaker::of` has it: fp32 in place of halves takes what fp16 does.
        let changed = match (checkpoint.storage(), stored) {
            (Storage::Fp32, DType::F32) => DType::F32,
            (Storage::Fp32, _) => DType::F16,
            (rounded, _) => rounded.dtype(),
        };
        let quantize = options.quantize;
        let tensors = names::transformer(&checkpoint.transformer);
        let of_base = Self { stored, weights: 0, bytes_per_parameter, quantize };
        Self {
            weights: tensors.iter().map(|tensor| of_base.bytes(tensor)).sum(),
            bytes_per_parameter: options.bytes_per_parameter(changed) as u64,
            ..of_base
        }
    }

    fn bytes(&self, tensor: &ExpectedTensor) -> u64 {
        let quantized = self.quantize.is_some_and(|quantize| quantize(&tensor.name));
        // Vectors are no layers' weights.
        let is_in_bytes = quantized && tensor.shape.len() == 2;
        names::elements(tensor) * if is_in_bytes { 1 } else { self.bytes_per_parameter }
    }

    /// The dtype that the weights are read in.
    pub(super) fn stored(&self) -> DType {
        self.stored
    }

    /// Bytes of the weights.
    pub(super) fn weights(&self) -> u64 {
        self.weights
    }

    /// Bytes of a variant.
    pub(super) fn variant(&self, checkpoint: &Checkpoint, recipe: &Recipe) -> u64 {
        let changed: std::collections::BTreeSet<_> = recipe.changed_tensors().into_iter().collect();
        let tensors = names::transformer(&checkpoint.transformer);
        let changed = tensors.iter().filter(|tensor| changed.contains(&tensor.name));
        changed.map(|tensor| self.bytes(tensor)).sum()
    }
}
