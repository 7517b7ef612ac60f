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
/// How far values may be from those that went in, on average and at most. NeuQuant, which leaves rare colours out, gave 141 at
/// most on clips of the demo model.
const MAX_MEAN_ERROR: f64 = 1.0;
const MAX_ERROR: u8 = 16;

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

#[test]
fn no_pixel_is_far_from_its_colour() {
    // Large enough for thousands of colours; the bar, white, is 1 pixel in 60.
    let size = FrameSize { width: 256, height: 128 };
    let frame = moving_shapes(size, 5);
    let (decoded, _) = decode(&encode(size, 8, std::slice::from_ref(&frame)), size).remove(0);
    let errors = || frame.iter().zip(&decoded).map(|(a, b)| a.abs_diff(*b));
    let mean = errors().map(f64::from).sum::<f64>() / frame.len() as f64;
    let worst = errors().max().unwrap();
    assert!(mean <= MAX_MEAN_ERROR && worst <= MAX_ERROR, "mean {mean:.2}, worst {worst}");
}

#[test]
fn any_colours_make_a_file() {
    // Every value of red and green in turn, and blue that looks like noise: no two pixels are alike.
    let size = FrameSize { width: 256, height: 256 };
    let noise = |at: u32| [at as u8, (at >> 8) as u8, (at.wrapping_mul(2_654_435_761) >> 24) as u8];
    let frame: Vec<u8> = (0..256 * 256).flat_map(noise).collect();
    let (decoded, _) = decode(&encode(size, 8, std::slice::from_ref(&frame)), size).remove(0);
    let worst = frame.iter().zip(&decoded).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
    // 256 cubes that fill all colours are 40 values a side.
    assert!(worst <= 64, "{worst}");
}
