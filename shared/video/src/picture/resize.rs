//! Lanczos in Pillow's 8-bit arithmetic (`Resample.c`): weights in double, normalised, then rounded to 22 bits of fraction;
//! one pass over columns and one over rows, each rounded to 8 bits. A pass whose size stays is left out.
//!
//! The order of the passes is that of Pillow 13.0, found by trying sizes; Pillow 12 always takes columns first, which
//! differs by a step or two where 13 takes rows first.

use std::f64::consts::PI;

use crate::FrameSize;

/// Half the filter's width, in pixels of the coarser of both pictures.
const LOBES: f64 = 3.0;
/// 32 bits less 8 of the value and 2 for weights beyond 1 and the sign.
const FRACTION_BITS: u32 = 32 - 8 - 2;

/// `rgb` has size `from`.
pub(super) fn lanczos(rgb: &[u8], from: FrameSize, to: FrameSize) -> Vec<u8> {
    let (from_width, from_height) = (from.width as usize, from.height as usize);
    let (to_width, to_height) = (to.width as usize, to.height as usize);
    if [from_width, from_height, to_width, to_height].contains(&0) {
        return vec![0; to_width * to_height * 3];
    }
    let columns = |rgb: &[u8]| columns(rgb, from_width, to_width);
    match (to_width == from_width, to_height == from_height) {
        (true, true) => rgb.to_vec(),
        (false, true) => columns(rgb),
        (true, false) => rows(rgb, to_width, from_height, to_height),
        (false, false) if rows_first(from, to) => {
            columns(&rows(rgb, from_width, from_height, to_height))
        }
        (false, false) => rows(&columns(rgb), to_width, from_height, to_height),
    }
}

/// Rows that go are more than twice the columns that go.
fn rows_first(from: FrameSize, to: FrameSize) -> bool {
    let gone = |from: u32, to: u32| i64::from(from) - i64::from(to);
    let (columns, rows) = (gone(from.width, to.width), gone(from.height, to.height));
    rows > 0 && rows > 2 * columns
}

/// Every row to `to` pixels.
fn columns(rgb: &[u8], from: usize, to: usize) -> Vec<u8> {
    let taps = taps(from, to);
    let mut out = Vec::with_capacity(rgb.len() / from * to);
    for row in rgb.chunks_exact(from * 3) {
        for Taps { first, weights } in &taps {
            let mut sums = [HALF; 3];
            for (pixel, weight) in row[first * 3..].chunks_exact(3).zip(weights) {
                for (sum, value) in sums.iter_mut().zip(pixel) {
                    *sum += i32::from(*value) * weight;
                }
            }
            out.extend(sums.map(to_byte));
        }
    }
    out
}

/// `from` rows of `width` pixels to `to` rows.
fn rows(rgb: &[u8], width: usize, from: usize, to: usize) -> Vec<u8> {
    let row_bytes = width * 3;
    let mut out = Vec::with_capacity(row_bytes * to);
    let mut sums = vec![HALF; row_bytes];
    for Taps { first, weights } in taps(from, to) {
        sums.fill(HALF);
        for (row, weight) in rgb[first * row_bytes..].chunks_exact(row_bytes).zip(weights) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += i32::from(*value) * weight;
            }
        }
        out.extend(sums.iter().map(|sum| to_byte(*sum)));
    }
    out
}

/// What one pixel is made of: pixels from `first` on, one for each weight.
struct Taps {
    first: usize,
    weights: Vec<i32>,
}

fn taps(from: usize, to: usize) -> Vec<Taps> {
    let scale = from as f64 / to as f64;
    let filter_scale = scale.max(1.0);
    let support = LOBES * filter_scale;
    let inverse = 1.0 / filter_scale;
    let tap = |index: usize| {
        let center = (index as f64 + 0.5) * scale;
        // Casts cut towards zero and stop at it, which is what is wanted here.
        let first = (center - support + 0.5) as usize;
        let end = ((center + support + 0.5) as usize).min(from);
        let weight = |at: usize| filter((at as f64 - center + 0.5) * inverse);
        let weights: Vec<f64> = (first..end).map(weight).collect();
        let sum: f64 = weights.iter().sum();
        let weights = weights.into_iter().map(|weight| fixed(weight / sum)).collect();
        Taps { first, weights }
    };
    (0..to).map(tap).collect()
}

fn filter(x: f64) -> f64 {
    if (-LOBES..LOBES).contains(&x) { sinc(x) * sinc(x / LOBES) } else { 0.0 }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) }
}

/// Halves away from zero.
fn fixed(weight: f64) -> i32 {
    (weight * f64::from(1 << FRACTION_BITS) + 0.5f64.copysign(weight)) as i32
}

const HALF: i32 = 1 << (FRACTION_BITS - 1);

fn to_byte(sum: i32) -> u8 {
    (sum >> FRACTION_BITS).clamp(0, 255) as u8
}
