use cogwheel_tensor::{DType, Tensor};

use super::{Alpha, AlphaSource};

/// One layer that an adapter changes: `W + scale * ratio * B A`.
#[derive(Clone, Debug)]
pub struct Target {
    /// The layer's name in a checkpoint, without the `.weight`.
    pub module: String,
    /// `[rank, input...]`: a convolution's kernel has more dimensions than one.
    pub a: Tensor,
    /// `[output, rank]`.
    pub b: Tensor,
    /// `[output]`, added to the layer's bias with the same scale.
    pub bias: Option<Tensor>,
    /// `[output]`: DoRA's norms of the rows of the changed weight.
    pub magnitude: Option<Tensor>,
    /// Whether the scale has the rank's root for the rank (rsLoRA).
    pub use_rslora: bool,
    alpha: Alpha,
    found: Alpha,
}

impl Target {
    pub(super) fn new(module: String, a: Tensor, b: Tensor, found: Alpha) -> Self {
        let (bias, magnitude) = (None, None);
        Self { module, a, b, bias, magnitude, use_rslora: false, alpha: found, found }
    }

    /// The inner dimension of the product.
    pub fn rank(&self) -> usize {
        self.a.shape().first().copied().unwrap_or_default()
    }

    /// Rows of the weight that is changed.
    pub fn rows(&self) -> usize {
        self.b.shape().first().copied().unwrap_or_default()
    }

    /// Alpha, and where it comes from.
    pub fn alpha(&self) -> Alpha {
        self.alpha
    }

    /// alpha / rank, or alpha / sqrt(rank) for rsLoRA: what the product is multiplied by at a scale of 1.
    pub fn ratio(&self) -> f64 {
        let rank = self.rank() as f64;
        self.alpha.value / if self.use_rslora { rank.sqrt() } else { rank }
    }

    pub(super) fn state_alpha(&mut self, stated: Option<f64>) {
        self.alpha =
            stated.map_or(self.found, |value| Alpha { value, source: AlphaSource::Stated });
    }

    /// The names of the changed tensors and their parts here.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (&'static str, &Tensor)> {
        [
            ("a", Some(&self.a)),
            ("b", Some(&self.b)),
            ("bias", self.bias.as_ref()),
            ("magnitude", self.magnitude.as_ref()),
        ]
        .into_iter()
        .filter_map(|(part, tensor)| Some((part, tensor?)))
    }

    /// The dtype of its matrices on disk.
    pub fn dtype(&self) -> DType {
        self.a.dtype()
    }
}
