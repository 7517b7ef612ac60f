//! What a viewer makes of the GIF files.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod clip;
mod psnr;

use clip::moving_shapes;
use cogwheel_video::{FrameSize, VideoEncoder, VideoFormat};
use gif::{ColorOutput, DecodeOptions, Repeat};
use psnr::psnr;

/// What 256 colours a frame must keep of a smooth clip, in decibels over RGB.
const MIN_PSNR: f64 = 36.0;

fn encode(size: FrameSize, fps: u32, frames: &[Vec<u8>]) -> Vec<u8> {
    let mut encoder = VideoEncoder::new(VideoFormat::Gif, size, fps).unwrap();
    for frame in frames {
        encoder.push(frame).unwrap();
    }
    encoder.finish().unwrap()
}

/// Frames as RGB with their delays in hundredths of a second.
fn decode(file: &[u8], size: FrameSize) -> Vec<(Vec<u8>, u16)> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::RGBA);
    let mut decoder = options.read_info(file).unwrap();
    assert_eq!(
        (u32::from(decoder.width()), u32::from(decoder.height())),
        (size.width, size.height)
    );
    let mut frames = Vec::new();
    while let Some(frame) = decoder.read_next_frame().unwrap() {
        assert_eq!((u32::from(frame.width), u32::from(frame.height)), (size.width, size.height));
        let rgb =
            frame.buffer.chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect();
        frames.push((rgb, frame.delay));
    }
    assert!(matches!(decoder.repeat(), Repeat::Infinite));
    frames
}

#[test]
fn a_decoded_clip_looks_like_the_frames_that_went_in() {
    let size = FrameSize { width: 128, height: 64 };
    let frames: Vec<_> = (0..9).map(|index| moving_shapes(size, index)).collect();
    let decoded = decode(&encode(size, 8, &frames), size);
    assert_eq!(decoded.len(), frames.len());
    for (index, ((decoded, _), frame)) in decoded.iter().zip(&frames).enumerate() {
        let psnr = psnr(decoded, frame);
        assert!(psnr >= MIN_PSNR, "frame {index}: {psnr:.2} dB");
    }
}

#[test]
fn frames_of_few_colours_are_kept_exactly() {
    let size = FrameSize { width: 16, height: 16 };
    let frames: Vec<Vec<u8>> = (0..3u8)
        .map(|index| (0..=255).flat_map(|value| [value, 255 - value, index * 80]).collect())
        .collect();
    let decoded: Vec<_> =
        decode(&encode(size, 8, &frames), size).into_iter().map(|(rgb, _)| rgb).collect();
    assert_eq!(decoded, frames);
}

#[test]
fn the_clip_lasts_as_long_as_its_rate_says() {
    let size = FrameSize { width: 2, height: 1 };
    for (count, fps, hundredths) in
        [(1, 1, 100), (49, 8, 613), (48, 8, 600), (81, 16, 506), (200, 30, 667), (50, 50, 100)]
    {
        let file = encode(size, fps, &vec![vec![7; 6]; count]);
        let delays: Vec<u16> = decode(&file, size).into_iter().map(|(_, delay)| delay).collect();
        assert_eq!(delays.len(), count);
        assert_eq!(delays.iter().sum::<u16>(), hundredths, "{count} frames at {fps} a second");
        assert!(delays.iter().max().unwrap() - delays.iter().min().unwrap() <= 1);
    }
}
