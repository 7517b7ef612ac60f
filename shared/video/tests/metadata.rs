//! A text inside an MP4 file.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::io::Cursor;

use cogwheel_video::{FrameSize, MetadataError, VideoEncoder, VideoFormat, read_metadata};
use proptest::prelude::*;

fn clip(text: Option<&str>) -> Vec<u8> {
    let size = FrameSize { width: 16, height: 16 };
    let mut encoder = VideoEncoder::new(VideoFormat::Mp4, size, 8).unwrap();
    if let Some(text) = text {
        encoder = encoder.with_metadata(text.to_owned());
    }
    encoder.push(&[128; 16 * 16 * 3]).unwrap();
    encoder.finish().unwrap()
}

fn read(bytes: &[u8]) -> Result<Option<String>, MetadataError> {
    read_metadata(Cursor::new(bytes))
}

#[test]
fn what_was_put_in_is_read_and_the_pictures_are_the_same() {
    for text in ["", "{\"prompt\": \"ein Kätzchen 🐈\"}", &"x".repeat(1 << 20)] {
        let file = clip(Some(text));
        assert_eq!(read(&file).unwrap().as_deref(), Some(text));
        let plain = clip(None);
        assert_eq!(file[..plain.len()], plain);
    }
}

#[test]
fn a_file_without_it_has_none_and_what_is_too_long_is_left_out() {
    assert_eq!(read(&clip(None)).unwrap(), None);
    assert_eq!(clip(Some(&"x".repeat((1 << 20) + 1))), clip(None));
    let mut other = clip(None);
    other.extend([0, 0, 0, 24]);
    other.extend(b"uuid");
    other.extend([7; 16]);
    assert_eq!(read(&other).unwrap(), None, "somebody else's");
}

#[test]
fn what_is_no_mp4_file_or_cut_says_so() {
    for bytes in [&b""[..], b"x", b"GIF89a and more than eight bytes", &[0; 64]] {
        assert!(matches!(read(bytes), Err(MetadataError::NotMp4)), "{bytes:?}");
    }
    let file = clip(Some("text"));
    for length in [file.len() - 1, file.len() - 20, 40] {
        assert!(matches!(read(&file[..length]), Err(MetadataError::Box { .. })), "{length}");
    }
    let mut huge = clip(None);
    huge.extend([0, 0, 0, 1]);
    huge.extend(b"uuid");
    huge.extend(u64::MAX.to_be_bytes());
    huge.extend(b"cogwheel\0video\0\x01");
    assert!(matches!(read(&huge), Err(MetadataError::Box { .. })));
    let mut invalid = clip(Some("ab"));
    *invalid.last_mut().unwrap() = 0xff;
    assert!(matches!(read(&invalid), Err(MetadataError::Text { .. })));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        at in any::<prop::sample::Index>(),
        to in any::<u8>(),
    ) {
        let _ = read(&bytes);
        let mut file = clip(Some("some text"));
        let index = at.index(file.len());
        file[index] = to;
        let _ = read(&file);
    }
}
