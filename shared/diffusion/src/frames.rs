//! From the decoder's output to pictures.

/// Turns the decoder's output into brightness, in place: -1..1 becomes 0..1, and what lies beyond is cut off. As
/// diffusers' `VideoProcessor`; a value that is no number stays none.
pub fn denormalize(values: &mut [f32]) {
    for value in values {
        *value = (*value * 0.5 + 0.5).clamp(0.0, 1.0);
    }
}

/// Planes [3, frames, height, width] as pixels [frames, height, width, 3].
///
/// # Panics
///
/// If the values are not three planes.
pub fn interleave(planes: &[f32]) -> Vec<f32> {
    assert!(planes.len().is_multiple_of(3), "expected three planes, found {} values", planes.len());
    let (red, rest) = planes.split_at(planes.len() / 3);
    let (green, blue) = rest.split_at(red.len());
    red.iter().zip(green).zip(blue).flat_map(|((&red, &green), &blue)| [red, green, blue]).collect()
}

/// Brightness 0..1 as bytes, rounded to the nearest one, halves to even: as `VideoProcessor.numpy_to_pil`. What is
/// no number becomes 0.
pub fn to_u8(values: &[f32]) -> Vec<u8> {
    values.iter().map(|value| (value * 255.0).round_ties_even() as u8).collect()
}
