//! Files that are not what they seem are refused with what was expected and found.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod inputs;

use cogwheel_video::{ReadError, ReadLimits, VideoReader, read_picture};
use inputs::{file, names};

fn picture(bytes: &[u8]) -> String {
    read_picture(bytes, &ReadLimits::default()).expect_err("it is refused").to_string()
}

/// Of opening or of any frame.
fn video(bytes: Vec<u8>, limits: &ReadLimits) -> Result<u64, ReadError> {
    let mut reader = VideoReader::open(bytes, limits)?;
    let mut frames = 0;
    while reader.next_frame()?.is_some() {
        frames += 1;
    }
    Ok(frames)
}

fn video_error(bytes: Vec<u8>) -> String {
    video(bytes, &ReadLimits::default()).expect_err("it is refused").to_string()
}

/// `bytes` with `new` where `old` stands first.
fn replaced(mut bytes: Vec<u8>, old: &[u8], new: &[u8]) -> Vec<u8> {
    let at = bytes.windows(old.len()).position(|window| window == old).expect("it is there");
    bytes[at..at + new.len()].copy_from_slice(new);
    bytes
}

#[test]
fn another_kind_of_file_is_named() {
    let markup = b"<svg xmlns='http://www.w3.org/2000/svg'/>";
    for (bytes, found) in [
        (&b""[..], "an empty file"),
        (b"abc", "a file that begins with the bytes 61 62 63"),
        (&[0; 40], "a file that begins with the bytes 00 00 00 00 00 00 00 00"),
        (b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0", "a BMP picture"),
        (b"II*\0\x08\0\0\0", "a TIFF picture"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "a HEIF picture"),
        (b"\0\0\0\x18ftypavif\0\0\0\0", "an AVIF picture"),
        (b"RIFF\x10\0\0\0AVI LIST", "an AVI video"),
        (b"\x1a\x45\xdf\xa3\x9f", "a Matroska or WebM video"),
        (markup, "a text with markup"),
    ] {
        assert_eq!(picture(bytes), format!("expected a PNG, JPEG or WebP picture, found {found}"));
        assert_eq!(
            video_error(bytes.to_vec()),
            format!("expected an MP4 video or a GIF, found {found}")
        );
    }
    let gif = file("videos/many.gif");
    assert_eq!(picture(&gif), "expected a PNG, JPEG or WebP picture, found a GIF");
    let mp4 = file("videos/baseline.mp4");
    assert_eq!(picture(&mp4), "expected a PNG, JPEG or WebP picture, found an MP4 video");
    let png = file("pictures/rgb.png");
    assert_eq!(video_error(png), "expected an MP4 video or a GIF, found a PNG picture");
}

#[test]
fn sizes_of_zero_and_of_a_bomb_are_refused_by_the_header() {
    let png = |width: u32, height: u32| {
        let sides = [width.to_be_bytes(), height.to_be_bytes()].concat();
        let mut bytes = file("pictures/rgb.png");
        bytes[16..24].copy_from_slice(&sides);
        picture(&bytes)
    };
    let jpeg = |width: u16, height: u16| {
        let mut bytes = file("pictures/rgb.jpg");
        let at = bytes.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap() + 5;
        bytes[at..at + 2].copy_from_slice(&height.to_be_bytes());
        bytes[at + 2..at + 4].copy_from_slice(&width.to_be_bytes());
        picture(&bytes)
    };
    let gif = |width: u16, height: u16| {
        let mut bytes = file("videos/many.gif");
        bytes[6..8].copy_from_slice(&width.to_le_bytes());
        bytes[8..10].copy_from_slice(&height.to_le_bytes());
        video_error(bytes)
    };
    let bomb = "expected 1 to 50000000 pixels and sides of at most 65535, found 65535x65535";
    assert_eq!(png(65535, 65535), format!("png: {bomb}"));
    assert_eq!(
        png(0, 16),
        "png: expected 1 to 50000000 pixels and sides of at most 65535, found 0x16"
    );
    let whole = "png: expected 1 to 50000000 pixels and sides of at most 65535, found 4294967295x4294967295";
    assert_eq!(png(u32::MAX, u32::MAX), whole);
    assert_eq!(jpeg(65535, 65535), format!("jpeg: {bomb}"));
    assert!(jpeg(0, 16).starts_with("jpeg: expected "), "{}", jpeg(0, 16));
    assert_eq!(gif(65535, 65535), format!("gif: {bomb}"));
    assert_eq!(
        gif(0, 2),
        "gif: expected 1 to 50000000 pixels and sides of at most 65535, found 0x2"
    );
    // A lossy WebP's own header, 14 bits a side.
    let mut webp = file("pictures/lossy.webp");
    let at = webp.windows(3).position(|start| start == [0x9d, 0x01, 0x2a]).unwrap() + 3;
    webp[at..at + 4].copy_from_slice(&[0xff, 0x3f, 0xff, 0x3f]);
    assert_eq!(
        picture(&webp),
        "webp: expected 1 to 50000000 pixels and sides of at most 65535, found 16383x16383"
    );
    webp[at..at + 4].fill(0);
    assert_eq!(
        picture(&webp),
        "webp: expected 1 to 50000000 pixels and sides of at most 65535, found 0x0"
    );
    // A frame of a GIF that is far larger than the screen.
    let gif =
        replaced(file("videos/many.gif"), b",\0\0\0\0\x02\0\x02\0", b",\0\0\0\0\xff\xff\xff\xff");
    assert_eq!(video_error(gif), format!("gif: {bomb}"));
}

#[test]
fn limits_are_named_in_full() {
    let few = ReadLimits { max_bytes: 100, ..ReadLimits::default() };
    let error = read_picture(&file("pictures/rgb.png"), &few).unwrap_err();
    assert_eq!(error.to_string(), "expected at most 100 bytes, found 429");
    let error = video(file("videos/many.gif"), &few).unwrap_err();
    assert_eq!(error.to_string(), "expected at most 100 bytes, found 746");
    let small = ReadLimits { max_pixels: 383, ..ReadLimits::default() };
    for name in ["rgb.png", "rgb.jpg", "lossy.webp", "lossless.webp", "animated.webp"] {
        let error = read_picture(&file(&format!("pictures/{name}")), &small).unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("expected 1 to 383 pixels and sides of at most 65535, found 24x16"),
            "{error}"
        );
    }
    let error = video(file("videos/baseline.mp4"), &small).unwrap_err();
    assert_eq!(
        error.to_string(),
        "mp4: expected 1 to 383 pixels and sides of at most 65535, found 48x32"
    );
    let short = ReadLimits { max_frames: 29, ..ReadLimits::default() };
    let error = video(file("videos/many.gif"), &short).unwrap_err();
    assert_eq!(error.to_string(), "gif: expected 1 to 29 frames, found 30");
    let error = video(file("videos/long.mp4"), &short).unwrap_err();
    assert_eq!(error.to_string(), "mp4: expected 1 to 29 frames, found 100");
    let enough = ReadLimits { max_frames: 30, ..ReadLimits::default() };
    assert_eq!(video(file("videos/many.gif"), &enough).unwrap(), 30);
}

#[test]
fn a_gif_of_ten_thousand_frames_is_counted_and_read_as_far_as_wanted() {
    let many = file("videos/many.gif");
    let start = many.windows(2).position(|pair| pair == [b'!', 0xf9]).unwrap();
    let frame_end =
        start + 1 + many[start + 1..].windows(2).position(|pair| pair == [b'!', 0xf9]).unwrap();
    let gif =
        |frames: usize| [&many[..start], &many[start..frame_end].repeat(frames), b";"].concat();
    let mut reader = VideoReader::open(gif(10_000), &ReadLimits::default()).unwrap();
    assert_eq!(reader.frame_count(), 10_000);
    assert!(reader.next_frame().unwrap().is_some());
    assert_eq!(video_error(gif(10_001)), "gif: expected 1 to 10000 frames, found 10001");
    // However many more there are, counting stops there.
    assert_eq!(video_error(gif(50_000)), "gif: expected 1 to 10000 frames, found 10001");
    assert_eq!(video_error(gif(0)), "gif: expected 1 to 10000 frames, found 0");
}

#[test]
fn every_cut_file_is_refused() {
    for name in names("pictures") {
        let bytes = file(&name);
        for length in [bytes.len() / 4, bytes.len() / 2, bytes.len() * 3 / 4, bytes.len() - 3] {
            let error = read_picture(&bytes[..length], &ReadLimits::default());
            // Of an animation the first frame may be there.
            if !name.contains("animated") || length < bytes.len() / 3 {
                let error = error.expect_err(&format!("{name} of {length} bytes")).to_string();
                assert!(error.contains("expected a whole picture, found"), "{name}: {error}");
            }
        }
    }
    for name in ["videos/baseline.mp4", "videos/pillow.gif", "videos/disposals.gif"] {
        let bytes = file(name);
        for length in [bytes.len() / 4, bytes.len() / 2, bytes.len() - 3] {
            let error = video_error(bytes[..length].to_vec());
            assert!(error.contains("whole"), "{name}: {error}");
        }
    }
}

#[test]
fn what_is_no_progressive_eight_bit_h264_is_named() {
    for (name, error) in [
        ("hevc", "mp4: expected H.264 video, found HEVC (H.265) ('hev1')"),
        ("vp9", "mp4: expected H.264 video, found VP9 ('vp09')"),
        ("av1", "mp4: expected H.264 video, found AV1 ('av01')"),
        ("encrypted", "mp4: expected H.264 video, found encrypted video ('encv')"),
        ("only_sound", "mp4: expected a video track, found tracks of soun"),
        ("fragmented", "mp4: expected all samples in one index, found a file of fragments"),
        ("chroma_422", "mp4: expected H.264 with colours in 4:2:0, found 4:2:2"),
        ("ten_bits", "mp4: expected H.264 of 8 bits, found 10 and 10"),
        ("interlaced", "mp4: expected progressive H.264, found interlaced fields"),
    ] {
        assert_eq!(video_error(file(&format!("videos/{name}.mp4"))), error);
    }
}

#[test]
fn an_index_that_lies_is_refused() {
    let good = || file("videos/baseline.mp4");
    // A sample table's box: its count, or an entry.
    let lie = |kind: &[u8; 4], at: usize, value: u32| {
        let mut bytes = good();
        let start = bytes.windows(4).position(|window| window == kind).unwrap() + 4 + at;
        bytes[start..start + 4].copy_from_slice(&value.to_be_bytes());
        video_error(bytes)
    };
    let frames = "mp4: expected 1 to 10000 frames, found ";
    assert_eq!(lie(b"stts", 8, u32::MAX), format!("{frames}4294967295"));
    assert_eq!(lie(b"stts", 8, 0), format!("{frames}0"));
    assert!(lie(b"stts", 8, 11).starts_with("mp4: expected an index that agrees, found"));
    assert!(
        lie(b"stts", 4, u32::MAX).starts_with("mp4: expected whole boxes, found a broken 'stts'")
    );
    assert!(
        lie(b"stsz", 8, u32::MAX).starts_with("mp4: expected whole boxes, found a broken 'stsz'")
    );
    assert!(
        lie(b"stsz", 12, u32::MAX)
            .starts_with("mp4: expected samples that share no bytes, found samples of ")
    );
    assert!(
        lie(b"stco", 8, u32::MAX)
            .starts_with("mp4: expected samples within the file, found sample 0 at 4294967295")
    );
    assert_eq!(
        lie(b"stsd", 8, u32::MAX).split(" of ").next(),
        Some("mp4: expected whole boxes, found a box 'avc1'")
    );
    assert!(
        lie(b"moov", 0, 1 << 30)
            .starts_with("mp4: expected whole boxes, found a box 'mvhd' of 1073741824 bytes")
    );
    let no_index = replaced(good(), b"moov", b"free");
    assert_eq!(video_error(no_index), "mp4: expected an index, found no box 'moov'");
    // Units longer than their sample.
    let offset = good().windows(4).position(|window| window == b"mdat").unwrap() + 4;
    let mut bytes = good();
    bytes[offset..offset + 4].copy_from_slice(&u32::MAX.to_be_bytes());
    let error = "mp4: expected whole units, found a unit that is longer than its sample";
    assert_eq!(video_error(bytes), error);
}

#[test]
fn samples_that_share_their_bytes_are_refused_before_any_is_decoded() {
    let mut bytes = file("videos/baseline.mp4");
    let (length, sizes) = (bytes.len(), bytes.windows(4).position(|kind| kind == b"stsz").unwrap());
    // Version and flags, one size for all, and a count stand before the sizes.
    let count = u32::from_be_bytes(bytes[sizes + 12..sizes + 16].try_into().unwrap()) as usize;
    assert!(count > 2);
    for at in 0..count {
        let size = u32::try_from(length / 2).unwrap();
        bytes[sizes + 16 + 4 * at..][..4].copy_from_slice(&size.to_be_bytes());
    }
    let error = VideoReader::open(bytes, &ReadLimits::default()).err().unwrap().to_string();
    let expected =
        format!("expected samples that share no bytes, found samples of {}", count * (length / 2));
    assert!(error.contains(&expected), "{error}");
}

#[test]
fn a_start_code_within_a_unit_is_refused() {
    let mut bytes = file("videos/baseline.mp4");
    let data = bytes.windows(4).position(|kind| kind == b"mdat").unwrap() + 4;
    // Behind the length and the header of each unit of the first samples.
    let mut at = data;
    for _ in 0..3 {
        let length = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        if length > 16 {
            bytes[at + 10..at + 14].copy_from_slice(&[0, 0, 1, 0x67]);
        }
        at += 4 + length;
    }
    assert!(video_error(bytes).contains("a start code within one, in sample"), "it is refused");
}

#[test]
fn a_side_that_only_a_line_has_is_refused() {
    let wide = line_of(70_000);
    let told = "png: expected 1 to 50000000 pixels and sides of at most 65535, found 70000x1";
    assert_eq!(picture(&wide), told);
}

/// A PNG file of one row.
fn line_of(width: u32) -> Vec<u8> {
    let pixels = vec![0; (width * 3) as usize];
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, 1);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
    bytes
}
