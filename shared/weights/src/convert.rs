use bytes::Bytes;
use cogwheel_tensor::{DType, Tensor};
use half::{bf16, f16, slice::HalfFloatSliceExt};
use rayon::prelude::*;

use crate::TensorView;

/// Elements that one task converts: 256 KB of fp32, which stays in a core's second-level cache.
const PIECE: usize = 1 << 16;

/// A tensor in another floating-point dtype, or in its own with its bytes aligned; `None` where there is no conversion.
pub(crate) fn convert(view: TensorView<'_>, dtype: DType) -> Option<Tensor> {
    use DType::{BF16, F16, F32};
    let source = &view.bytes;
    let bytes = match (view.dtype, dtype) {
        (from, to) if from == to && is_aligned(source, to) => view.bytes.clone(),
        (F32, F32) => map(source, |from: &[f32], to: &mut [f32]| to.copy_from_slice(from)),
        (F32, F16) => map(source, |from: &[f32], to: &mut [f16]| to.convert_from_f32_slice(from)),
        (F32, BF16) => map(source, |from: &[f32], to: &mut [bf16]| to.convert_from_f32_slice(from)),
        (F16, F32) => map(source, |from: &[f16], to: &mut [f32]| from.convert_to_f32_slice(to)),
        (BF16, F32) => map(source, |from: &[bf16], to: &mut [f32]| from.convert_to_f32_slice(to)),
        (F16, F16) => map(source, |from: &[f16], to: &mut [f16]| to.copy_from_slice(from)),
        (BF16, BF16) => map(source, |from: &[bf16], to: &mut [bf16]| to.copy_from_slice(from)),
        // Both fit fp32 exactly, so only the second step rounds.
        (F16, BF16) => map(source, |from: &[f16], to: &mut [bf16]| {
            to.convert_from_f32_slice(&from.to_f32_vec());
        }),
        (BF16, F16) => map(source, |from: &[bf16], to: &mut [f16]| {
            to.convert_from_f32_slice(&from.to_f32_vec());
        }),
        (from, to) if from == to => Bytes::copy_from_slice(source),
        _ => return None,
    };
    Some(tensor(dtype, view.shape, bytes))
}

/// A tensor over bytes whose length follows from a checked header.
pub(crate) fn tensor(dtype: DType, shape: &[usize], bytes: Bytes) -> Tensor {
    Tensor::new(dtype, shape, bytes)
        .expect("the header's check made sure that the bytes fill the shape, and conversion keeps the number of elements")
}

pub(crate) fn is_aligned(bytes: &[u8], dtype: DType) -> bool {
    bytes.as_ptr().addr().is_multiple_of(dtype.size())
}

/// Converts piece by piece, in parallel where there is more than one piece.
fn map<From, To>(source: &[u8], convert: impl Fn(&[From], &mut [To]) + Sync) -> Bytes
where
    From: bytemuck::AnyBitPattern + bytemuck::NoUninit,
    To: bytemuck::AnyBitPattern + bytemuck::NoUninit + Send + Sync,
{
    let mut target: Vec<To> = bytemuck::zeroed_vec(source.len() / size_of::<From>());
    let pieces = source.par_chunks(PIECE * size_of::<From>());
    pieces.zip(target.par_chunks_mut(PIECE)).for_each(|(from, to)| match bytemuck::try_cast_slice(
        from,
    ) {
        Ok(from) => convert(from, to),
        Err(_) => convert(&bytemuck::pod_collect_to_vec::<u8, From>(from), to),
    });
    Bytes::from_owner(Owner(target))
}

struct Owner<T>(Vec<T>);

impl<T: bytemuck::NoUninit> AsRef<[u8]> for Owner<T> {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}
