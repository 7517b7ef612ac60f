//! Videos are read as FFmpeg and Pillow read them, in the order in which they are shown.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod clip;
mod inputs;
mod psnr;

use clip::moving_shapes;
use cogwheel_video::{FrameSize, PictureNote, ReadLimits, VideoEncoder, VideoFormat, VideoReader};
use inputs::{expected, file, names};
use psnr::psnr;

/// Against FFmpeg's bilinear chroma, in decibels: both round, at other places.
const MIN_PSNR: f64 = 50.0;
/// Of frames that were written and read back, in decibels.
const MIN_ROUND_TRIP_PSNR: f64 = 35.0;

fn open(bytes: Vec<u8>) -> VideoReader {
    VideoReader::open(bytes, &ReadLimits::default()).unwrap()
}

fn frames(reader: &mut VideoReader) -> Vec<Vec<u8>> {
    let size = reader.frame_size();
    let mut frames = Vec::new();
    while let Some(frame) = reader.next_frame().unwrap() {
        assert_eq!(frame.size(), size);
        frames.push(frame.into_rgb());
    }
    assert_eq!(frames.len() as u64, reader.frame_count());
    assert!(reader.next_frame().unwrap().is_none(), "the end stays the end");
    frames
}

#[test]
fn every_video_has_the_frames_that_ffmpeg_and_pillow_see() {
    let mut compared = 0;
    for name in names("videos") {
        let Some((size, rgb)) = expected(&name) else { continue };
        let mut reader = open(file(&name));
        assert_eq!(reader.frame_size().width, size.width, "{name}");
        let frames = frames(&mut reader);
        assert_eq!(frames.concat().len(), rgb.len(), "{name}");
        for (index, (found, expected)) in
            frames.iter().zip(rgb.chunks_exact(frames[0].len())).enumerate()
        {
            if name.ends_with(".gif") {
                assert_eq!(found, expected, "{name}, frame {index}");
            } else {
                let psnr = psnr(found, expected);
                assert!(psnr >= MIN_PSNR, "{name}, frame {index}: {psnr:.1} dB");
            }
        }
        compared += 1;
    }
    assert_eq!(compared, 15);
}

#[test]
fn counts_and_rates_are_the_files() {
    for (name, count, rate) in [
        ("b_frames.mp4", 14, 8.0),
        ("long.mp4", 100, 30000.0 / 1001.0),
        ("pillow.gif", 5, 100.0 / 12.0),
        ("many.gif", 30, 20.0),
        // One delay of 0, which browsers take for 10 hundredths.
        ("disposals.gif", 7, 700.0 / 80.0),
    ] {
        let reader = open(file(&format!("videos/{name}")));
        assert_eq!(reader.frame_count(), count, "{name}");
        let found = reader.frame_rate().unwrap();
        assert!((found - rate).abs() < 0.01, "{name}: {found}");
    }
}

#[test]
fn written_mp4_files_are_read_back() {
    for (width, height, fps) in [(128, 64, 8), (50, 34, 30), (64, 722, 16)] {
        let size = FrameSize { width, height };
        let written: Vec<_> = (0..17).map(|index| moving_shapes(size, index)).collect();
        let mut encoder = VideoEncoder::new(VideoFormat::Mp4, size, fps).unwrap();
        written.iter().for_each(|frame| encoder.push(frame).unwrap());
        let mut reader = open(encoder.with_metadata("a text".into()).finish().unwrap());
        assert_eq!((reader.frame_size(), reader.frame_rate()), (size, Some(fps.into())));
        let read = frames(&mut reader);
        assert_eq!(read.len(), 17);
        let worst = read.iter().zip(&written).map(|(a, b)| psnr(a, b)).fold(f64::MAX, f64::min);
        assert!(worst >= MIN_ROUND_TRIP_PSNR, "{size}: {worst:.1} dB");
    }
}

#[test]
fn written_gif_files_are_read_back_exactly_where_colours_are_few() {
    let size = FrameSize { width: 16, height: 8 };
    let written: Vec<Vec<u8>> =
        (0..5u8).map(|index| (0..128).flat_map(|x| [x, 255 - x, index * 50]).collect()).collect();
    let mut encoder = VideoEncoder::new(VideoFormat::Gif, size, 8).unwrap();
    written.iter().for_each(|frame| encoder.push(frame).unwrap());
    assert_eq!(frames(&mut open(encoder.finish().unwrap())), written);
}

#[test]
fn a_sound_track_before_the_video_changes_nothing() {
    let with_sound = frames(&mut open(file("videos/sound.mp4")));
    assert_eq!(with_sound, frames(&mut open(file("videos/baseline.mp4"))));
}

#[test]
fn parameter_sets_may_stand_in_the_samples_alone() {
    // In the index their units get types that mean nothing here.
    let mut bytes = file("videos/sets_in_samples.mp4");
    let at = |bytes: &[u8], start: &[u8]| {
        bytes.windows(start.len()).position(|window| window == start).unwrap()
    };
    let entry = at(&bytes, b"avc1\0\0\0\0");
    bytes[entry..entry + 4].copy_from_slice(b"avc3");
    let config = at(&bytes, b"avcC") + 4;
    for header in [[0x67, 0x42], [0x68, 0xcb]] {
        let at = config + at(&bytes[config..], &header);
        bytes[at] = 12;
    }
    let whole = frames(&mut open(file("videos/sets_in_samples.mp4")));
    assert_eq!(frames(&mut open(bytes)), whole);

    let mut without = file("videos/baseline.mp4");
    let config = at(&without, b"avcC") + 4;
    let at = config + at(&without[config..], &[0x67]);
    without[at] = 12;
    let error = VideoReader::open(without, &ReadLimits::default()).err().unwrap().to_string();
    assert_eq!(error, "mp4: expected a sequence parameter set, found none before the first frame");
}

#[test]
fn transparent_frames_of_a_gif_are_noted() {
    let mut reader = open(file("videos/disposals.gif"));
    let first = reader.next_frame().unwrap().unwrap();
    assert_eq!(first.notes(), [PictureNote::PutOnWhite]);
    let mut opaque = open(file("videos/pillow.gif"));
    assert!(opaque.next_frame().unwrap().unwrap().notes().is_empty());
}
