//! PNG files hold the frame as it is.

mod clip;

use cogwheel_video::{FrameSize, VideoError, check_png_size, encode_png};

#[test]
fn a_frame_comes_back_exactly() {
    for (width, height) in [(1, 1), (3, 2), (65, 33)] {
        let size = FrameSize { width, height };
        let frame = clip::moving_shapes(size, 3);
        let file = encode_png(size, &frame).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
        let mut decoded = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut decoded).unwrap();
        assert_eq!((info.width, info.height), (width, height));
        assert_eq!((info.color_type, info.bit_depth), (png::ColorType::Rgb, png::BitDepth::Eight));
        assert_eq!(decoded, frame);
    }
}

#[test]
fn a_wrong_length_or_size_is_refused() {
    let size = FrameSize { width: 3, height: 2 };
    let error = encode_png(size, &[0; 17]).unwrap_err();
    assert_eq!(error.to_string(), "frame 0 has 17 bytes: expected 18 for 3x2 pixels");
    for (width, height) in [(0, 2), (2, 0), (3841, 1), (u32::MAX, u32::MAX)] {
        let size = FrameSize { width, height };
        assert!(check_png_size(size).is_err());
        assert!(
            matches!(encode_png(size, &[]), Err(VideoError::FrameSize { found, .. }) if found == size)
        );
    }
}
