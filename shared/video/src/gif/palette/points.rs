//! The colours of a frame, with how often they occur.

use std::array::from_fn;

/// Most points that are told apart: more gain nothing that eyes see, and take time.
const MAX_POINTS: usize = 1 << 14;

/// A colour, or the middle of neighbouring ones.
#[derive(Clone, Copy)]
pub(super) struct Point {
    pub(super) colour: [f64; 3],
    /// The square root of the pixels.
    pub(super) weight: f64,
    /// Of no two points the same.
    pub(super) key: u32,
}

/// Every colour of a frame as a point of its own, or those of each cube of 2, 4, 8 ... values a side as one where there are
/// more than [`MAX_POINTS`].
pub(super) fn points(rgb: &[u8]) -> Vec<Point> {
    let mut keys: Vec<u32> = rgb.as_chunks().0.iter().map(|colour| key(*colour)).collect();
    keys.sort_unstable();
    let cubes = |bits: u32| keys.chunk_by(move |a, b| a >> (3 * bits) == b >> (3 * bits));
    let bits = (0..8).find(|&bits| cubes(bits).nth(MAX_POINTS).is_none()).unwrap_or(8);
    let mut points = Vec::with_capacity(MAX_POINTS);
    for cube in cubes(bits) {
        let mut sums = [0_u64; 3];
        for key in cube {
            for (sum, value) in sums.iter_mut().zip(colour(*key)) {
                *sum += u64::from(value);
            }
        }
        let pixels = cube.len() as f64;
        let colour = sums.map(|sum| sum as f64 / pixels);
        points.push(Point { colour, weight: pixels.sqrt(), key: cube[0] });
    }
    points
}

/// The bits of red, green and blue in turn, so that the colours of a cube follow each other.
fn key([r, g, b]: [u8; 3]) -> u32 {
    let [r, g, b] = [r, g, b].map(|value| SPREAD[usize::from(value)]);
    r << 2 | g << 1 | b
}

fn colour(key: u32) -> [u8; 3] {
    from_fn(|axis| {
        (0..8).fold(0, |value, bit| value | ((key >> (3 * bit + 2 - axis as u32) & 1) as u8) << bit)
    })
}

/// The bits of a value, each three from the next.
const SPREAD: [u32; 256] = {
    let mut spread = [0; 256];
    let mut value = 0;
    while value < 256 {
        let mut bit = 0;
        while bit < 8 {
            spread[value] |= (value as u32 >> bit & 1) << (3 * bit);
            bit += 1;
        }
        value += 1;
    }
    spread
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_its_colour() {
        for value in [[0, 0, 0], [255, 255, 255], [1, 2, 4], [200, 100, 50]] {
            assert_eq!(colour(key(value)), value);
        }
    }

    #[test]
    fn many_colours_become_points_that_have_all_their_pixels() {
        let rgb: Vec<u8> =
            (0..40_000_u32).flat_map(|n| [n as u8, (n >> 4) as u8, (n >> 8) as u8]).collect();
        let points = points(&rgb);
        assert!((256..=MAX_POINTS).contains(&points.len()), "{}", points.len());
        let pixels: f64 = points.iter().map(|point| point.weight.powi(2)).sum();
        assert!((pixels - 40_000.0).abs() < 1e-6, "{pixels}");
    }
}
