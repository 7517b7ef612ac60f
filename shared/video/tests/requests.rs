//! What the encoders accept, what they refuse and with which words, in both formats.

mod clip;

use clip::moving_shapes;
use cogwheel_video::{FrameSize, VideoEncoder, VideoError, VideoFormat};
use proptest::prelude::*;

const FORMATS: [VideoFormat; 2] = [VideoFormat::Mp4, VideoFormat::Gif];

fn refusal(format: VideoFormat, width: u32, height: u32, fps: u32) -> String {
    let refused = VideoEncoder::new(format, FrameSize { width, height }, fps).err();
    let size = FrameSize { width, height };
    let passes = format.check_size(size).is_ok() && (1..=format.max_fps()).contains(&fps);
    assert!(!passes, "{format:?} {width}x{height} at {fps} passes the check");
    refused
        .unwrap_or_else(|| panic!("{format:?} {width}x{height} at {fps} is accepted"))
        .to_string()
}

#[test]
fn sizes_a_format_cannot_have_are_refused_with_those_it_can() {
    for (width, height) in [
        (0, 0),
        (0, 64),
        (15, 64),
        (33, 64),
        (64, 33),
        (14, 64),
        (3842, 64),
        (2162, 2162),
        (u32::MAX, 2),
    ] {
        assert_eq!(
            refusal(VideoFormat::Mp4, width, height, 8),
            format!(
                "mp4 cannot have frames of {width}x{height} pixels: expected even sides from 16 to 3840, \
                 the shorter one at most 2160"
            ),
        );
    }
    for (width, height) in [(0, 1), (1, 0), (3841, 1), (1, u32::MAX)] {
        assert_eq!(
            refusal(VideoFormat::Gif, width, height, 8),
            format!(
                "gif cannot have frames of {width}x{height} pixels: expected sides from 1 to 3840"
            ),
        );
    }
}

#[test]
fn rates_a_format_cannot_have_are_refused_with_those_it_can() {
    for (format, name, max) in [(VideoFormat::Mp4, "mp4", 60), (VideoFormat::Gif, "gif", 50)] {
        for fps in [0, max + 1, u32::MAX] {
            let expected =
                format!("{name} cannot have {fps} frames per second: expected 1 to {max}");
            assert_eq!(refusal(format, 64, 64, fps), expected);
        }
        assert!(VideoEncoder::new(format, FrameSize { width: 64, height: 64 }, max).is_ok());
    }
}

#[test]
fn a_clip_without_frames_is_refused() {
    for format in FORMATS {
        let encoder = VideoEncoder::new(format, FrameSize { width: 64, height: 64 }, 8).unwrap();
        assert!(matches!(encoder.finish(), Err(VideoError::NoFrames)));
    }
}

#[test]
fn a_frame_of_the_wrong_length_is_refused_and_changes_nothing() {
    let size = FrameSize { width: 32, height: 16 };
    for format in FORMATS {
        let clip = |with_mistakes: bool| {
            let mut encoder = VideoEncoder::new(format, size, 8).unwrap();
            for index in 0..3 {
                encoder.push(&moving_shapes(size, index)).unwrap();
                for wrong in if with_mistakes { &[0, 1535, 1537][..] } else { &[] } {
                    let error = encoder.push(&vec![0; *wrong]).unwrap_err().to_string();
                    let expected = format!(
                        "frame {} has {wrong} bytes: expected 1536 for 32x16 pixels",
                        index + 1
                    );
                    assert_eq!(error, expected);
                }
            }
            encoder.finish().unwrap()
        };
        assert_eq!(clip(true), clip(false));
    }
}

#[test]
fn the_same_frames_give_the_same_bytes() {
    let size = FrameSize { width: 128, height: 64 };
    for format in FORMATS {
        let clip = || {
            let mut encoder = VideoEncoder::new(format, size, 16).unwrap();
            for index in 0..9 {
                encoder.push(&moving_shapes(size, index)).unwrap();
            }
            encoder.finish().unwrap()
        };
        let first = clip();
        assert_eq!(first, clip());
        // Encoders do not share anything either.
        let elsewhere = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..2).map(|_| scope.spawn(clip)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(elsewhere, [first.clone(), first]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_request_is_refused_or_written(width in 0u32..70, height in 0u32..70, fps in 0u32..70, count in 0usize..4) {
        let size = FrameSize { width, height };
        for format in FORMATS {
            let passes = format.check_size(size).is_ok() && (1..=format.max_fps()).contains(&fps);
            prop_assert_eq!(passes, VideoEncoder::new(format, size, fps).is_ok());
            match VideoEncoder::new(format, size, fps) {
                Err(VideoError::FrameSize { found, .. }) => prop_assert_eq!(found, size),
                Err(VideoError::FrameRate { found, .. }) => prop_assert_eq!(found, fps),
                Err(other) => prop_assert!(false, "{}", other),
                Ok(mut encoder) => {
                    for index in 0..count {
                        encoder.push(&moving_shapes(size, index)).unwrap();
                    }
                    prop_assert_eq!(encoder.finish().is_ok(), count > 0);
                }
            }
        }
    }
}
