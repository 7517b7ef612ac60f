mod palette;

use gif::{Encoder, Frame, Repeat};

use palette::Indexed;

use crate::frame::check_frame_rate;
use crate::{FrameSize, VideoError};

/// Delays are whole hundredths of a second, and browsers show one below two hundredths as ten: 50 is the fastest that plays right.
pub(crate) const MAX_FPS: u32 = 50;

/// Writes an animated GIF frame by frame.
///
/// Every frame has its own palette: frames come one at a time, so the colours of later ones are unknown, and a palette of
/// its own is always the nearest. A frame of 256 colours or fewer is kept exactly.
pub(crate) struct GifEncoder {
    encoder: Encoder<Vec<u8>>,
    width: u16,
    height: u16,
    fps: u32,
}

impl GifEncoder {
    pub(crate) fn new(size: FrameSize, fps: u32) -> Result<Self, VideoError> {
        check_size(size)?;
        check_frame_rate("gif", fps, MAX_FPS)?;
        let side = |pixels: u32| u16::try_from(pixels).expect("check_size bounds it by 3840");
        let (width, height) = (side(size.width), side(size.height));
        let mut encoder = Encoder::new(Vec::new(), width, height, &[])?;
        encoder.set_repeat(Repeat::Infinite)?;
        Ok(Self { encoder, width, height, fps })
    }

    /// `rgb` has the clip's size.
    pub(crate) fn push(&mut self, frame: usize, rgb: &[u8]) -> Result<(), VideoError> {
        let Indexed { palette, indices } = palette::indexed(rgb);
        let mut image = Frame::from_palette_pixels(self.width, self.height, indices, palette, None);
        image.delay = delay(frame, self.fps);
        Ok(self.encoder.write_frame(&image)?)
    }

    pub(crate) fn finish(self) -> Result<Vec<u8>, VideoError> {
        Ok(self.encoder.into_inner()?)
    }
}

/// That a GIF can have frames of this size.
pub(crate) fn check_size(size: FrameSize) -> Result<(), VideoError> {
    size.check_sides("gif")
}

/// Hundredths of a second for which a frame is shown: from its own start to the next frame's, both rounded, so that no
/// rounding error adds up.
fn delay(frame: usize, fps: u32) -> u16 {
    let fps = u64::from(fps);
    let start = |frame: u64| (frame * 100 + fps / 2) / fps;
    let frame = frame as u64 % fps; // every second starts on a whole hundredth
    u16::try_from(start(frame + 1) - start(frame))
        .expect("at one frame per second or more a delay is at most 100")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_add_up_to_the_clip_at_every_rate() {
        for fps in 1..=MAX_FPS {
            let mut total = 0;
            for frame in 0..200 {
                let delay = u32::from(delay(frame, fps));
                assert!(delay >= 2, "{fps} fps");
                total += delay;
                let exact = f64::from(frame as u32 + 1) * 100.0 / f64::from(fps);
                assert!(
                    (f64::from(total) - exact).abs() <= 0.5,
                    "{fps} fps, frame {frame}: {total} for {exact}"
                );
            }
        }
    }
}
