//! The timestep as the transformer's time embedding takes it.

/// `dim` values (an even number): the cosines of a timestep at dim / 2 frequencies falling from 1 towards 1/10000,
/// then the sines.
///
/// As diffusers' `Timesteps(dim, flip_sin_to_cos=True, downscale_freq_shift=0)`, in single precision.
/// The frequencies are rounded from double precision; torch's depend on the machine's mathematics library, which
/// misses the nearest in one of a hundred. Such a last bit is up to 6e-5 of an angle near timestep 1000.
pub fn timestep_projection(timestep: f32, dim: usize) -> Vec<f32> {
    let half = dim / 2;
    let slope = -(10_000f64.ln() as f32);
    let angles = (0..half).map(|k| {
        let exponent = slope * k as f32 / half as f32;
        timestep * f64::from(exponent).exp() as f32
    });
    angles.clone().map(f32::cos).chain(angles.map(f32::sin)).collect()
}
