//! Videos are read as FFmpeg and Pillow read them, in the order in which they are shown.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod clip;
mod inputs;
mod psnr;

use clip::moving_shapes;
use cogwheel_video::{
    FrameSize, PictureNote, ReadLimits, VideoEncoder, VideoFormat, VideoReader, encode_png,
};
use inputs::{expected, file, names};
use psnr::psnr;

/// Against FFmpeg's bilinear chroma, in decibels: it rounds between its steps, and takes chroma for sited at the left.
const MIN_PSNR: f64 = 38.0;
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
    assert_eq!(compared, 14);
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
fn parameter_sets_may_stand_in_the_samples() {
    let mut bytes = file("videos/baseline.mp4");
    let at = bytes.windows(4).position(|kind| kind == b"avc1").unwrap();
    let at = at + bytes[at..].windows(4).position(|kind| kind == b"avc1").unwrap();
    let entry = bytes.windows(8).position(|kind| kind == b"avc1\0\0\0\0").unwrap_or(at);
    bytes[entry..entry + 4].copy_from_slice(b"avc3");
    assert_eq!(frames(&mut open(bytes)), frames(&mut open(file("videos/baseline.mp4"))));
}

#[test]
fn transparent_frames_of_a_gif_are_noted() {
    let mut reader = open(file("videos/disposals.gif"));
    let first = reader.next_frame().unwrap().unwrap();
    assert_eq!(first.notes(), [PictureNote::PutOnWhite]);
    let mut opaque = open(file("videos/pillow.gif"));
    assert!(opaque.next_frame().unwrap().unwrap().notes().is_empty());
}

#[test]
fn pictures_in_a_row_are_a_video_if_they_have_one_size() {
    let limits = ReadLimits::default();
    let png = |width: u32, value: u8| {
        encode_png(FrameSize { width, height: 2 }, &vec![value; width as usize * 6]).unwrap()
    };
    let mut reader = VideoReader::from_pictures(vec![png(3, 1), png(3, 2)], &limits).unwrap();
    assert_eq!((reader.frame_count(), reader.frame_rate()), (2, None));
    assert_eq!(frames(&mut reader), [vec![1; 18], vec![2; 18]]);
    let mut reader = VideoReader::from_pictures(vec![png(3, 1), png(4, 2)], &limits).unwrap();
    assert!(reader.next_frame().is_ok());
    assert_eq!(
        reader.next_frame().unwrap_err().to_string(),
        "frame 1: expected 3x2 pixels as in the first one, found 4x2"
    );
    let none = VideoReader::from_pictures(Vec::new(), &limits).err().unwrap();
    assert_eq!(none.to_string(), "pictures: expected 1 to 10000 frames, found 0");
}
