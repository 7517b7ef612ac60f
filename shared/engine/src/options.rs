use cogwheel_product::MatrixUnit;
use cogwheel_tensor::DType;

/// Where a session computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Provider {
    /// The CPU.
    #[default]
    Cpu,
    /// An NVIDIA GPU; it is an error where there is none.
    Cuda,
}

/// The name of the processor's matrix unit, where it has one that linear layers can be computed by.
pub fn matrix_unit() -> Option<&'static str> {
    MatrixUnit::find().map(MatrixUnit::name)
}

/// How a session is made.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// Threads within one operator; `None` is one for each physical core.
    pub threads: Option<usize>,
    /// Where it computes.
    pub provider: Provider,
    /// The dtype that models are computed in that can be computed in others than fp32. The CPU computes fp16 in fp32, node by
    /// node, and bf16 not at all.
    pub arithmetic: DType,
    /// Whether the session rearranges its weights for the processor once, into memory of its own,
    /// and lets go of what it was given; a product of 4,292 x 1,920 by 1,920 x
    /// 1,920 then takes 6% less time.
    ///
    /// If not, it reads the weights where they lie for as long as it lives: those of a memory map
    /// take no memory of their own, and sessions can share them. Weights of `Conv` and operands of
    /// constant expressions must then be constants of the graph.
    pub prepack: bool,
    /// Whether linear layers are computed by the processor's matrix unit, where it has one that multiplies bf16 (AMX) and
    /// the provider is the CPU: in fp32 all the same, see `cogwheel_product`.
    ///
    /// Their weights are then packed into memory of the session's, 2 bytes a parameter for what the source stores in
    /// bf16, 4 for fp16 and 6 for fp32, whatever `prepack` says.
    pub matrix_unit: bool,
    /// Which linear layers, by the names of their weights, are computed in bytes where the provider is the CPU, see
    /// [`cogwheel_product::QuantizedWeight`]: 1 byte a parameter whatever the source stores.
    pub quantize: Option<fn(&str) -> bool>,
    /// Whether the session is to have variants, see [`crate::Variant`]. It then keeps what it was made of, and weights that
    /// the matrix unit does not take are not rearranged, so that variants can share them.
    pub variants: bool,
}

impl SessionOptions {
    /// The layers that a session with these options computes in bytes.
    pub(crate) fn quantized_layers(&self) -> Option<fn(&str) -> bool> {
        self.quantize.filter(|_| self.provider == Provider::Cpu)
    }

    /// Bytes of a parameter of a linear layer that the source stores in `dtype`, as a session with these options holds it
    /// on this machine.
    pub fn bytes_per_parameter(&self, dtype: DType) -> usize {
        let is_packed =
            self.matrix_unit && self.provider == Provider::Cpu && MatrixUnit::find().is_some();
        match dtype {
            DType::BF16 if is_packed => 2,
            DType::F32 if is_packed => 6,
            _ => self.arithmetic.size(),
        }
    }
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            threads: None,
            provider: Provider::default(),
            arithmetic: DType::F32,
            prepack: true,
            matrix_unit: true,
            quantize: None,
            variants: false,
        }
    }
}
