//! From uniform to normal values: the two forms of Box and Muller's transform that torch uses on a CPU.

use std::f64::consts::PI;

/// Values in a block of [`block`]: eight radii, then eight angles.
pub(super) const BLOCK: usize = 16;

/// Turns 16 uniform values in [0, 1) into 16 normal ones: value `j` and `j + 8` are the cosine and sine of one pair.
///
/// As ATen's `NormalFill16<float>` for AVX2, whose logarithm, sine and cosine are single-precision Cephes
/// polynomials evaluated with fused multiply-adds. The same operations are done here in the same order, so that
/// the values are the same on every machine. Where torch takes that path (x86-64 with AVX2) every value compared was
/// equal to the bit, which [`fused`] does not guarantee; torch's other paths differ from it by up to 2e-6.
pub(super) fn block(values: &mut [f32; BLOCK]) {
    let two_pi = (2.0 * PI) as f32;
    for j in 0..BLOCK / 2 {
        // 1 - u lies in (0, 1]: the logarithm is finite.
        let radius = (-2.0 * ln(1.0 - values[j])).sqrt();
        let (sin, cos) = sin_cos(two_pi * values[j + 8]);
        // Adding zero makes a zero positive, as torch's scaling by mean 0 and deviation 1 does.
        values[j] = radius * cos + 0.0;
        values[j + 8] = radius * sin + 0.0;
    }
}

/// Two normal values of two uniform ones in [0, 1): the one to use now and the one to keep.
///
/// As ATen's `normal_distribution<double>`.
pub(super) fn pair(u1: f64, u2: f64) -> (f64, f64) {
    let radius = (-2.0 * (-u2).ln_1p()).sqrt();
    let (sin, cos) = (2.0 * PI * u1).sin_cos();
    (radius * cos, radius * sin)
}

/// `a * b + c` rounded once. The product of two singles is exact in double precision, so only the sum's rounding
/// to double can disturb the result, by the last bit of very few; unlike `f32::mul_add` this needs no instruction that every target lacks
/// by default.
fn fused(a: f32, b: f32, c: f32) -> f32 {
    (f64::from(a) * f64::from(b) + f64::from(c)) as f32
}

/// Natural logarithm of a normal, positive number, by Cephes' `logf`.
#[expect(clippy::excessive_precision, reason = "the digits that Cephes states")]
fn ln(x: f32) -> f32 {
    const POLYNOMIAL: [f32; 9] = [
        7.037_683_629_2e-2,
        -1.151_461_031e-1,
        1.167_699_874e-1,
        -1.242_014_084_6e-1,
        1.424_932_278_7e-1,
        -1.666_805_766_5e-1,
        2.000_071_476_5e-1,
        -2.499_999_399_3e-1,
        3.333_333_117_4e-1,
    ];
    // ln 2 in two parts, the second one exact when multiplied by an exponent.
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    const LN_2_HIGH: f32 = 0.693_359_375;

    // x = mantissa * 2^exponent with the mantissa in [1/2, 1), then in [sqrt(1/2), sqrt(2)) less one.
    let bits = x.to_bits();
    let mut exponent = (bits >> 23) as f32 - 126.0;
    let mut mantissa = f32::from_bits(bits & 0x007f_ffff | 0x3f00_0000);
    if mantissa < std::f32::consts::FRAC_1_SQRT_2 {
        exponent -= 1.0;
        mantissa = (mantissa - 1.0) + mantissa;
    } else {
        mantissa -= 1.0;
    }

    let square = mantissa * mantissa;
    let series =
        POLYNOMIAL.iter().copied().reduce(|sum, term| fused(sum, mantissa, term)).unwrap_or(0.0);
    let mut y = fused(series * mantissa, square, exponent * LN_2_LOW);
    y = fused(square, -0.5, y);
    fused(exponent, LN_2_HIGH, mantissa + y)
}

/// Sine and cosine of an angle that is not negative, by Cephes' `sinf` and `cosf`.
#[expect(clippy::excessive_precision, reason = "the digits that Cephes states")]
fn sin_cos(angle: f32) -> (f32, f32) {
    // pi / 4 in three parts, so that the reduction keeps its digits.
    const QUARTER_PI: [f32; 3] =
        [-0.785_156_25, -2.418_756_484_985_351_6e-4, -3.774_894_977_445_941e-8];
    const SINE: [f32; 3] = [-1.951_529_589_1e-4, 8.332_160_873_6e-3, -1.666_665_461_1e-1];
    const COSINE: [f32; 3] =
        [2.443_315_711_809_948e-5, -1.388_731_625_493_765e-3, 4.166_664_568_298_827e-2];

    // The octant, rounded up to an even one.
    let octant = ((angle * (4.0 / PI) as f32) as u32 + 1) & !1;
    let x = QUARTER_PI.iter().fold(angle, |x, &part| fused(octant as f32, part, x));
    let z = x * x;

    let cosine = fused(fused(COSINE[0], z, COSINE[1]), z, COSINE[2]);
    let cosine = fused(cosine * z, z, -0.5 * z) + 1.0;
    let sine = fused(fused(SINE[0], z, SINE[1]), z, SINE[2]);
    let sine = fused(sine * z, x, x);

    let (mut sin, mut cos) = if octant & 2 == 0 { (sine, cosine) } else { (cosine, sine) };
    if octant & 4 != 0 {
        sin = -sin;
    }
    if octant.wrapping_sub(2) & 4 == 0 {
        cos = -cos;
    }
    (sin, cos)
}
