//! Y'CbCr 4:2:0 to RGB.

use openh264::formats::YUVSource;

use super::FORMAT;
use crate::{FrameSize, ReadError};

/// A matrix's code for "not said" (ITU-T H.273, table 4).
const UNSPECIFIED: u32 = 2;
/// Files that say nothing are taken for BT.709 from so many rows on, as players do, and for BT.601 below.
const HD_HEIGHT: u32 = 720;

/// What a header says of colours, as far as it matters here.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Colours {
    /// By its code in ITU-T H.273.
    pub(super) matrix: Option<u32>,
    pub(super) full_range: Option<bool>,
}

impl Colours {
    /// From the payload of `colr` (ISO/IEC 14496-12, 12.1.5; QuickTime's `nclc` has no range).
    pub(super) fn of_colr(payload: &[u8]) -> Self {
        match *payload {
            [b'n', b'c', b'l', b'x', _, _, _, _, high, low, range, ..] => Self {
                matrix: Some(u16::from_be_bytes([high, low]).into()),
                full_range: Some(range & 0x80 != 0),
            },
            [b'n', b'c', b'l', b'c', _, _, _, _, high, low, ..] => {
                Self { matrix: Some(u16::from_be_bytes([high, low]).into()), full_range: None }
            }
            _ => Self::default(),
        }
    }

    /// What `self` leaves open, `other` says.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            matrix: self.matrix.filter(|matrix| *matrix != UNSPECIFIED).or(other.matrix),
            full_range: self.full_range.or(other.full_range),
        }
    }
}

const FRACTION_BITS: u32 = 14;
/// The sum of the weights of a pixel's four chroma samples, as a power of two.
const CHROMA_BITS: u32 = 4;

/// Weights in fixed point.
#[derive(Clone, Copy)]
pub(super) struct Converter {
    luma_offset: i32,
    luma: i32,
    red_cr: i32,
    green_cb: i32,
    green_cr: i32,
    blue_cb: i32,
}

impl Converter {
    pub(super) fn new(colours: Colours, size: FrameSize) -> Result<Self, ReadError> {
        // Luma weights of red and blue, by H.273.
        let (red, blue) = match colours.matrix.unwrap_or(UNSPECIFIED) {
            1 => (0.2126, 0.0722),
            UNSPECIFIED if size.height >= HD_HEIGHT => (0.2126, 0.0722),
            UNSPECIFIED | 5 | 6 => (0.299, 0.114),
            4 => (0.3, 0.11),
            7 => (0.212, 0.087),
            9 => (0.2627, 0.0593),
            other => {
                let found = format!("matrix {other} of H.273");
                return Err(ReadError::content(FORMAT, "colours as Y'CbCr", found));
            }
        };
        let green = 1.0 - red - blue;
        let full = colours.full_range == Some(true);
        let (luma_offset, luma_scale, chroma_scale) =
            if full { (0, 1.0, 1.0) } else { (16, 255.0 / 219.0, 255.0 / 224.0) };
        let fixed = |weight: f64, bits: u32| (weight * f64::from(1 << bits)).round() as i32;
        let chroma = |weight: f64| fixed(weight * chroma_scale, FRACTION_BITS);
        let (cr, cb) = (2.0 * (1.0 - red), 2.0 * (1.0 - blue));
        Ok(Self {
            luma_offset,
            luma: fixed(luma_scale, FRACTION_BITS + CHROMA_BITS),
            red_cr: chroma(cr),
            green_cb: chroma(-cb * blue / green),
            green_cr: chroma(-cr * red / green),
            blue_cb: chroma(cb),
        })
    }

    /// `size` is the picture's, both sides even. Chroma lies in the middle of its four pixels and is linear between them, as
    /// browsers show it and this crate writes it.
    pub(super) fn rgb(&self, picture: &impl YUVSource, size: FrameSize) -> Vec<u8> {
        let (width, height) = (size.width as usize, size.height as usize);
        let (luma_stride, cb_stride, cr_stride) = picture.strides();
        let mut rgb = Vec::with_capacity(width * height * 3);
        let (mut cb, mut cr) = (vec![0; width / 2], vec![0; width / 2]);
        for y in 0..height {
            let (near, far) = neighbours(y, height / 2);
            let row = |plane, stride, at| &<[u8]>::split_at(plane, stride * at).1[..width / 2];
            blend(&mut cb, row(picture.u(), cb_stride, near), row(picture.u(), cb_stride, far));
            blend(&mut cr, row(picture.v(), cr_stride, near), row(picture.v(), cr_stride, far));
            let luma = &picture.y()[y * luma_stride..][..width];
            for (x, luma) in luma.iter().enumerate() {
                let (near, far) = neighbours(x, width / 2);
                let middle = 128 << CHROMA_BITS;
                let chroma = |row: &[i32]| 3 * row[near] + row[far] - middle;
                rgb.extend(self.pixel((*luma).into(), chroma(&cb), chroma(&cr)));
            }
        }
        rgb
    }

    fn pixel(&self, luma: i32, cb: i32, cr: i32) -> [u8; 3] {
        const BITS: u32 = FRACTION_BITS + CHROMA_BITS;
        let luma = (luma - self.luma_offset) * self.luma + (1 << (BITS - 1));
        [self.red_cr * cr, self.green_cb * cb + self.green_cr * cr, self.blue_cb * cb]
            .map(|chroma| ((luma + chroma) >> BITS).clamp(0, 255) as u8)
    }
}

/// The chroma sample in whose square a pixel lies, and the next one on its side.
fn neighbours(at: usize, samples: usize) -> (usize, usize) {
    let near = at / 2;
    let far =
        if at.is_multiple_of(2) { near.saturating_sub(1) } else { (near + 1).min(samples - 1) };
    (near, far)
}

fn blend(out: &mut [i32], near: &[u8], far: &[u8]) {
    for ((out, near), far) in out.iter_mut().zip(near).zip(far) {
        *out = 3 * i32::from(*near) + i32::from(*far);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: FrameSize = FrameSize { width: 64, height: 64 };
    const TALL: FrameSize = FrameSize { width: 64, height: 720 };

    fn rgb(colours: Colours, size: FrameSize, [y, cb, cr]: [i32; 3]) -> [u8; 3] {
        let [cb, cr] = [cb, cr].map(|chroma| (chroma - 128) << CHROMA_BITS);
        Converter::new(colours, size).unwrap().pixel(y, cb, cr)
    }

    #[test]
    fn bars_are_red_in_every_matrix_and_range() {
        let said = |matrix, full| Colours { matrix: Some(matrix), full_range: Some(full) };
        // 8-bit values of a 100% red bar, by each standard's formula.
        for (colours, size, red) in [
            (said(1, false), SMALL, [63, 102, 240]),
            (said(6, false), TALL, [81, 90, 240]),
            (said(6, true), SMALL, [76, 85, 255]),
            (said(9, false), SMALL, [74, 97, 240]),
            (Colours::default(), SMALL, [81, 90, 240]),
            (Colours::default(), TALL, [63, 102, 240]),
            (said(UNSPECIFIED, false), TALL, [63, 102, 240]),
        ] {
            let found = rgb(colours, size, red);
            let off = found.iter().zip([255, 0, 0]).map(|(a, b): (_, u8)| a.abs_diff(b)).max();
            assert!(off <= Some(2), "{colours:?}: {found:?}");
        }
    }

    #[test]
    fn greys_are_exact() {
        let full = Colours { matrix: Some(1), full_range: Some(true) };
        for grey in 0..=255 {
            assert_eq!(rgb(full, SMALL, [grey, 128, 128]), [grey as u8; 3]);
        }
        for (luma, grey) in [(0, 0), (16, 0), (235, 255), (255, 255)] {
            assert_eq!(rgb(Colours::default(), SMALL, [luma, 128, 128]), [grey; 3]);
        }
    }

    #[test]
    fn the_stream_goes_before_the_container() {
        let colr = Colours::of_colr(b"nclx\0\x01\0\x01\0\x01\x80");
        assert_eq!(colr, Colours { matrix: Some(1), full_range: Some(true) });
        let quicktime = Colours::of_colr(b"nclc\0\x01\0\x01\0\x06");
        assert_eq!(quicktime, Colours { matrix: Some(6), full_range: None });
        assert_eq!(Colours::of_colr(b"prof1234"), Colours::default());
        let stream = Colours { matrix: Some(UNSPECIFIED), full_range: Some(false) };
        assert_eq!(stream.or(colr), Colours { matrix: Some(1), full_range: Some(false) });
        assert_eq!(quicktime.or(colr), Colours { matrix: Some(6), full_range: Some(true) });
    }

    #[test]
    fn a_matrix_that_is_none_is_refused() {
        let error = Converter::new(Colours { matrix: Some(0), full_range: None }, SMALL).err();
        let found = error.unwrap().to_string();
        assert_eq!(found, "mp4: expected colours as Y'CbCr, found matrix 0 of H.273");
    }
}
