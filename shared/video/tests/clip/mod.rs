//! A clip of moving shapes, like what small video models are trained on: smooth-edged, saturated, over a gradient.

use cogwheel_video::FrameSize;

/// Frame `index` of the clip: a red disc that moves right, a blue square that moves up, a white bar that stands.
pub(crate) fn moving_shapes(size: FrameSize, index: usize) -> Vec<u8> {
    let (width, height) = (size.width as f32, size.height as f32);
    let at = index as f32 / 32.0;
    let radius = height / 6.0;
    let mut rgb = Vec::new();
    for y in 0..size.height {
        for x in 0..size.width {
            let (x, y) = (x as f32 + 0.5, y as f32 + 0.5);
            let mut colour = [24.0 + 40.0 * x / width, 32.0 + 48.0 * y / height, 56.0];
            let disc = (x - width * (0.2 + 0.6 * at.fract())).hypot(y - height * 0.4) - radius;
            let square =
                (x - width * 0.7).abs().max((y - height * (0.9 - 0.6 * at.fract())).abs()) - radius;
            let bar =
                (x - width * 0.1).abs().max((y - height * 0.5).abs() - height * 0.3) - width * 0.03;
            for (distance, shape) in [
                (square, [40.0, 80.0, 230.0]),
                (disc, [220.0, 40.0, 40.0]),
                (bar, [255.0, 255.0, 255.0]),
            ] {
                let cover = (0.5 - distance / EDGE).clamp(0.0, 1.0);
                for (value, shape) in colour.iter_mut().zip(shape) {
                    *value += (shape - *value) * cover;
                }
            }
            rgb.extend(colour.map(|value| value.round() as u8));
        }
    }
    rgb
}

/// Pixels over which a shape fades into what is behind it, as in a decoded latent.
const EDGE: f32 = 3.0;
