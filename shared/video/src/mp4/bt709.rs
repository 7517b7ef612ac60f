//! RGB to Y'CbCr, ITU-R BT.709, limited range, 4:2:0.
//!
//! OpenH264's own converter uses the BT.601 matrix and truncates; browsers take untagged or BT.709 files for BT.709.

use openh264::formats::YUVSource;

/// Luma weights of red and blue (BT.709, item 3.2); green has the rest.
const RED: f64 = 0.2126;
const BLUE: f64 = 0.0722;

/// Steps of luma and of chroma for 255 steps of RGB, in limited range (BT.709, item 3.4).
const LUMA_SCALE: f64 = 219.0 / 255.0;
const CHROMA_SCALE: f64 = 224.0 / 255.0;

const FRACTION_BITS: u32 = 16;

const fn fixed(value: f64) -> i32 {
    (value * (1 << FRACTION_BITS) as f64).round() as i32
}

// The third weight of each row is what is left of the row's sum, so that greys are exact: no chroma, luma 16 to 235.
const Y_RED: i32 = fixed(RED * LUMA_SCALE);
const Y_BLUE: i32 = fixed(BLUE * LUMA_SCALE);
const Y_GREEN: i32 = fixed(LUMA_SCALE) - Y_RED - Y_BLUE;

const CB_BLUE: i32 = fixed(0.5 * CHROMA_SCALE);
const CB_RED: i32 = fixed(-0.5 * CHROMA_SCALE * RED / (1.0 - BLUE));
const CB_GREEN: i32 = -CB_BLUE - CB_RED;

const CR_RED: i32 = fixed(0.5 * CHROMA_SCALE);
const CR_BLUE: i32 = fixed(-0.5 * CHROMA_SCALE * BLUE / (1.0 - RED));
const CR_GREEN: i32 = -CR_RED - CR_BLUE;

/// One picture: luma of every pixel, chroma of every second column and row.
pub(super) struct Planes {
    width: usize,
    height: usize,
    y: Vec<u8>,
    cb: Vec<u8>,
    cr: Vec<u8>,
}

impl Planes {
    /// Both sides even.
    pub(super) fn new(width: usize, height: usize) -> Self {
        let chroma = vec![0; width / 2 * (height / 2)];
        Self { width, height, y: vec![0; width * height], cb: chroma.clone(), cr: chroma }
    }

    /// Takes the picture from `rgb`, `width * height * 3` bytes.
    pub(super) fn convert(&mut self, rgb: &[u8]) {
        for (y, pixel) in self.y.iter_mut().zip(rgb.chunks_exact(3)) {
            *y = luma([pixel[0], pixel[1], pixel[2]].map(i32::from));
        }
        let chroma_width = self.width / 2;
        let rows =
            self.cb.chunks_exact_mut(chroma_width).zip(self.cr.chunks_exact_mut(chroma_width));
        for ((cb, cr), pair) in rows.zip(rgb.chunks_exact(self.width * 2 * 3)) {
            for (x, (cb, cr)) in cb.iter_mut().zip(cr).enumerate() {
                (*cb, *cr) = chroma(block_sum(pair, self.width, 2 * x));
            }
        }
    }
}

/// Four times the mean colour of the two-by-two block whose left column is `x`.
///
/// The mean lies in the block's middle. H.264's default siting is its left column, and this encoder cannot say otherwise,
/// but browsers and FFmpeg's scaler take the middle whatever the file says.
fn block_sum(pair: &[u8], width: usize, x: usize) -> [i32; 3] {
    std::array::from_fn(|channel| {
        let sample =
            |row: usize, column: usize| i32::from(pair[(row * width + column) * 3 + channel]);
        sample(0, x) + sample(0, x + 1) + sample(1, x) + sample(1, x + 1)
    })
}

fn luma([red, green, blue]: [i32; 3]) -> u8 {
    const OFFSET: i32 = (16 << FRACTION_BITS) + (1 << (FRACTION_BITS - 1));
    ((Y_RED * red + Y_GREEN * green + Y_BLUE * blue + OFFSET) >> FRACTION_BITS) as u8
}

/// From four times a colour.
fn chroma([red, green, blue]: [i32; 3]) -> (u8, u8) {
    const BITS: u32 = FRACTION_BITS + 2;
    const OFFSET: i32 = (128 << BITS) + (1 << (BITS - 1));
    let cb = (CB_RED * red + CB_GREEN * green + CB_BLUE * blue + OFFSET) >> BITS;
    let cr = (CR_RED * red + CR_GREEN * green + CR_BLUE * blue + OFFSET) >> BITS;
    (cb as u8, cr as u8)
}

impl YUVSource for Planes {
    fn dimensions(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    fn strides(&self) -> (usize, usize, usize) {
        (self.width, self.width / 2, self.width / 2)
    }

    fn y(&self) -> &[u8] {
        &self.y
    }

    fn u(&self) -> &[u8] {
        &self.cb
    }

    fn v(&self) -> &[u8] {
        &self.cr
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The picture of one flat colour.
    fn flat(rgb: [u8; 3]) -> [u8; 3] {
        let mut planes = Planes::new(4, 2);
        planes.convert(&rgb.repeat(8));
        let all = |plane: &[u8]| {
            assert!(plane.iter().all(|value| *value == plane[0]));
            plane[0]
        };
        [all(&planes.y), all(&planes.cb), all(&planes.cr)]
    }

    #[test]
    fn colour_bars_have_the_values_of_bt709() {
        // 8-bit values of 100% bars, as BT.709 items 3.2 to 3.4 give them.
        for (rgb, expected) in [
            ([255, 255, 255], [235, 128, 128]),
            ([255, 255, 0], [219, 16, 138]),
            ([0, 255, 255], [188, 154, 16]),
            ([0, 255, 0], [173, 42, 26]),
            ([255, 0, 255], [78, 214, 230]),
            ([255, 0, 0], [63, 102, 240]),
            ([0, 0, 255], [32, 240, 118]),
            ([0, 0, 0], [16, 128, 128]),
        ] {
            assert_eq!(flat(rgb), expected, "{rgb:?}");
        }
    }

    #[test]
    fn every_colour_is_within_one_step_of_the_formula() {
        for code in 0..4096u32 {
            let rgb = [code >> 8, (code >> 4) & 15, code & 15].map(|nibble| (nibble * 17) as u8);
            let [red, green, blue] = rgb.map(f64::from);
            let luma = RED * red + (1.0 - RED - BLUE) * green + BLUE * blue;
            let expected = [
                16.0 + LUMA_SCALE * luma,
                128.0 + CHROMA_SCALE * (blue - luma) / (2.0 * (1.0 - BLUE)),
                128.0 + CHROMA_SCALE * (red - luma) / (2.0 * (1.0 - RED)),
            ];
            for (found, expected) in flat(rgb).into_iter().zip(expected) {
                assert!(
                    (f64::from(found) - expected).abs() < 0.51,
                    "{rgb:?}: {found} for {expected}"
                );
            }
        }
    }

    #[test]
    fn greys_have_no_chroma() {
        for grey in 0..=255 {
            assert_eq!(flat([grey; 3])[1..], [128, 128]);
        }
    }

    #[test]
    fn chroma_is_the_mean_of_its_block() {
        let blue_at = |column: usize| {
            let row: Vec<u8> =
                (0..8).flat_map(|x| if x == column { [0, 0, 255] } else { [0; 3] }).collect();
            let mut planes = Planes::new(8, 2);
            planes.convert(&row.repeat(2));
            planes.cb
        };
        assert_eq!(blue_at(2), [128, 184, 128, 128]);
        assert_eq!(blue_at(3), [128, 184, 128, 128]);
    }
}
