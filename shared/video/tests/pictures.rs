//! Pictures are read as Pillow reads them.

mod inputs;
mod psnr;

use cogwheel_video::{FrameSize, PictureNote, ReadLimits, encode_png, read_picture};
use inputs::{expected, file, names};
use psnr::psnr;

/// How far decoders of JPEG and lossy WebP may differ, of 255: rounding in two transforms.
const LOSSY_TOLERANCE: u8 = 4;
/// Where chroma is stored at half the size, decoders fill in between by filters of their own.
const MIN_HALF_CHROMA_PSNR: f64 = 34.0;

#[test]
fn every_picture_is_what_pillow_makes_of_it() {
    for name in names("pictures") {
        let picture = read_picture(&file(&name), &ReadLimits::default()).unwrap();
        let (size, rgb) = expected(&name).unwrap();
        assert_eq!(picture.size(), size, "{name}");
        let off = picture.rgb().iter().zip(&rgb).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        let psnr = psnr(picture.rgb(), &rgb);
        let stem = name.rsplit('/').next().unwrap();
        match stem {
            "rgb.jpg" | "progressive.jpg" | "cmyk.jpg" | "lossy.webp" | "alpha.webp" => {
                assert!(psnr >= MIN_HALF_CHROMA_PSNR, "{name}: {psnr:.1} dB, {off} off");
            }
            _ if stem.ends_with(".jpg") => assert!(off <= LOSSY_TOLERANCE, "{name}: {off} off"),
            _ => assert_eq!(picture.rgb(), rgb, "{name}: {off} off"),
        }
    }
}

#[test]
fn what_was_lost_is_noted_and_nothing_else() {
    use PictureNote::{FirstFrameOnly, PutOnWhite, ReducedTo8Bits};
    for name in names("pictures") {
        let picture = read_picture(&file(&name), &ReadLimits::default()).unwrap();
        let expected: &[PictureNote] = match name.rsplit('/').next().unwrap() {
            "rgba.png" | "grey_alpha.png" | "palette_transparent.png" | "alpha.webp" => {
                &[PutOnWhite]
            }
            "rgb16.png" | "grey16.png" => &[ReducedTo8Bits],
            "rgba16.png" => &[ReducedTo8Bits, PutOnWhite],
            "animated.png" | "animated.webp" => &[FirstFrameOnly],
            _ => &[],
        };
        assert_eq!(picture.notes(), expected, "{name}");
    }
    assert_eq!(PutOnWhite.to_string(), "transparent pixels were put on white");
}

#[test]
fn a_written_png_is_read_back_exactly() {
    for (width, height) in [(1, 1), (7, 3), (64, 48)] {
        let size = FrameSize { width, height };
        let rgb: Vec<u8> = (0..width * height * 3).map(|at| (at * 37 % 251) as u8).collect();
        let picture =
            read_picture(&encode_png(size, &rgb).unwrap(), &ReadLimits::default()).unwrap();
        assert_eq!((picture.size(), picture.rgb()), (size, &rgb[..]));
    }
}
