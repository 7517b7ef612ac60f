//! Noise equal to torch's: the numbers that `torch.randn` draws from a CPU generator of the same seed.

mod box_muller;
mod mersenne_twister;

use box_muller::BLOCK;
use cogwheel_tensor::Storage;
use half::{bf16, f16};
use mersenne_twister::MersenneTwister;

/// A random generator that draws what `torch.Generator("cpu").manual_seed(seed)` draws, in the same order.
///
/// The engine is mt19937, seeded with the low 32 bits of the seed. Which of two paths a draw takes depends on its
/// count alone, as in ATen's `normal_kernel`:
///
/// - below 16 values, each is computed in double precision, two at a time; the second of a pair is kept in the
///   generator and is the first one that the next such draw returns, whatever its dtype;
/// - from 16 on, values come in blocks of 16 from single-precision uniforms; when the count is not a multiple of 16
///   the last 16 values are drawn afresh. The kept value is neither used nor lost.
///
/// Equality was checked against torch 2.15: the state and the order of draws are always equal, fp32 values are
/// within 4e-6 (and those compared equal to the bit where torch runs its AVX2 kernel), fp16 and bf16 values are those rounded. Older versions
/// of torch (2.7, for one) computed fp16 and bf16 draws of 16 and more in those dtypes themselves and got
/// other, coarser numbers (<https://github.com/pytorch/pytorch/issues/166853>); these are not reproduced.
#[derive(Clone, Debug, PartialEq)]
pub struct Generator {
    engine: MersenneTwister,
    /// The second normal of the last pair, not yet returned.
    kept: Option<f64>,
}

impl Generator {
    /// A generator in the state that `manual_seed(seed)` leaves. A negative seed of torch's is its two's complement.
    pub fn new(seed: u64) -> Self {
        Self { engine: MersenneTwister::new(seed), kept: None }
    }

    /// `count` values of `torch.randn(count, generator=g, dtype=torch.float32)`.
    pub fn normal_f32(&mut self, count: usize) -> Vec<f32> {
        if count < BLOCK {
            return (0..count).map(|_| self.next_normal() as f32).collect();
        }
        // All uniforms are drawn before the tail's: blocks and tail overlap.
        let mut values: Vec<f32> = (0..count).map(|_| self.next_uniform()).collect();
        let (blocks, _) = values.as_chunks_mut::<BLOCK>();
        blocks.iter_mut().for_each(box_muller::block);
        if !count.is_multiple_of(BLOCK) {
            values[count - BLOCK..].copy_from_slice(&self.next_block());
        }
        values
    }

    /// `count` values of `torch.randn(count, generator=g, dtype=torch.float16)`.
    pub fn normal_f16(&mut self, count: usize) -> Vec<f16> {
        self.normal_narrow(count, f16::from_f32, f16::from_f64)
    }

    /// `count` values of `torch.randn(count, generator=g, dtype=torch.bfloat16)`.
    pub fn normal_bf16(&mut self, count: usize) -> Vec<bf16> {
        self.normal_narrow(count, bf16::from_f32, bf16::from_f64)
    }

    /// `count` values of `torch.randn` in the dtype of `storage`, as fp32.
    pub fn normal_in(&mut self, storage: Storage, count: usize) -> Vec<f32> {
        match storage {
            Storage::Fp32 => self.normal_f32(count),
            Storage::Fp16 => self.normal_f16(count).into_iter().map(f32::from).collect(),
            Storage::Bf16 => self.normal_bf16(count).into_iter().map(f32::from).collect(),
        }
    }

    /// The bytes of `g.get_state()`, 5056 of them.
    pub fn torch_state(&self) -> Vec<u8> {
        let mut state = Vec::with_capacity(5056);
        self.engine.write_state(&mut state);
        // Legacy x, the kept normal, legacy rho, whether there is a kept one; then the never used single-precision
        // normal and its flag.
        state.extend([0; 8]);
        state.extend(self.kept.unwrap_or(0.0).to_le_bytes());
        state.extend([0; 8]);
        state.extend(u64::from(self.kept.is_some()).to_le_bytes());
        state.extend([0; 8]);
        state
    }

    /// Half-precision draws: blocks are computed in fp32 and rounded. Unlike in fp32 the values of an incomplete
    /// last block are not drawn before the tail replaces them.
    fn normal_narrow<T>(
        &mut self,
        count: usize,
        from_f32: fn(f32) -> T,
        from_f64: fn(f64) -> T,
    ) -> Vec<T> {
        if count < BLOCK {
            return (0..count).map(|_| from_f64(self.next_normal())).collect();
        }
        let mut values = Vec::with_capacity(count);
        for _ in 0..count / BLOCK {
            values.extend(self.next_block().map(from_f32));
        }
        if !count.is_multiple_of(BLOCK) {
            values.truncate(count - BLOCK);
            values.extend(self.next_block().map(from_f32));
        }
        values
    }

    fn next_block(&mut self) -> [f32; BLOCK] {
        let mut block = std::array::from_fn(|_| self.next_uniform());
        box_muller::block(&mut block);
        block
    }

    fn next_normal(&mut self) -> f64 {
        if let Some(kept) = self.kept.take() {
            return kept;
        }
        let u1 = self.next_uniform_f64();
        let u2 = self.next_uniform_f64();
        let (now, later) = box_muller::pair(u1, u2);
        self.kept = Some(later);
        now
    }

    /// Uniform in [0, 1): the low 24 bits of a draw.
    fn next_uniform(&mut self) -> f32 {
        (self.engine.next_u32() & 0x00ff_ffff) as f32 / 16_777_216.0
    }

    /// Uniform in [0, 1): the low 53 bits of two draws.
    fn next_uniform_f64(&mut self) -> f64 {
        (self.engine.next_u64() & ((1 << 53) - 1)) as f64 / (1u64 << 53) as f64
    }
}
