//! The 256 colours that stand for a frame's.

mod nearest;
mod points;

use nearest::Nearest;
use points::{Point, points};

/// Colours that a GIF's frame can have.
const MAX_COLOURS: usize = 256;

/// How often colours move to the middle of what they stand for. Twice takes most of what there is to gain.
const MOVES: usize = 2;

/// A frame as indices of its own colours.
pub(super) struct Indexed {
    /// Red, green and blue of each colour.
    pub(super) palette: Vec<u8>,
    /// The colour of each pixel.
    pub(super) indices: Vec<u8>,
}

/// Chooses 256 colours for a frame, `rgb` being its pixels, and gives each pixel the nearest one. A frame of 256 colours or
/// fewer keeps them.
///
/// The colours are cut into boxes, always the one whose colours err most, across the axis and at the place that leave the
/// least error (Wu, "Color quantization by dynamic programming and principal analysis", 1992, without the principal axes).
/// A colour counts by the square root of its pixels, so that a small bright thing on a large ground keeps its own.
pub(super) fn indexed(rgb: &[u8]) -> Indexed {
    let mut points = points(rgb);
    let palette: Vec<[u8; 3]> = if points.len() <= MAX_COLOURS {
        points.iter().map(|point| rounded(point.colour)).collect()
    } else {
        let cut = boxes(&mut points).iter().map(|cut| rounded(cut.mean)).collect();
        (0..MOVES).fold(cut, |palette: Vec<_>, _| moved(&palette, &points))
    };
    let mut nearest = Nearest::new(&palette);
    let indices = rgb.as_chunks().0.iter().map(|colour| nearest.of(*colour)).collect();
    Indexed { palette: palette.concat(), indices }
}

/// Each colour in the middle of the points that are nearest to it.
fn moved(palette: &[[u8; 3]], points: &[Point]) -> Vec<[u8; 3]> {
    let mut sums = vec![Sum::default(); palette.len()];
    let mut nearest = Nearest::new(palette);
    for point in points {
        sums[usize::from(nearest.of(rounded(point.colour)))].add(point);
    }
    let moved = |(sum, colour): (&Sum, &[u8; 3])| {
        if sum.weight > 0.0 { rounded(sum.mean()) } else { *colour }
    };
    sums.iter().zip(palette).map(moved).collect()
}

/// A box of points that stands for one colour so far.
struct Cut {
    start: usize,
    end: usize,
    mean: [f64; 3],
    /// Weighted squares of distances from the mean, along each axis.
    errors: [f64; 3],
}

impl Cut {
    fn new(points: &[Point], start: usize, end: usize) -> Self {
        let mut sum = Sum::default();
        points[start..end].iter().for_each(|point| sum.add(point));
        let mean = sum.mean();
        let mut errors = [0.0; 3];
        for point in &points[start..end] {
            for axis in 0..3 {
                errors[axis] += point.weight * (point.colour[axis] - mean[axis]).powi(2);
            }
        }
        Self { start, end, mean, errors }
    }

    fn error(&self) -> f64 {
        self.errors.iter().sum()
    }

    /// Where to cut the box in two, its points in order along the axis of the largest error.
    fn halve(&self, points: &mut [Point]) -> usize {
        let axis = (0..3).max_by(|&a, &b| self.errors[a].total_cmp(&self.errors[b])).unwrap_or(0);
        let points = &mut points[self.start..self.end];
        points.sort_unstable_by(|a, b| {
            // Equal ones too have one order, so that the same frame gives the same bytes.
            a.colour[axis].total_cmp(&b.colour[axis]).then_with(|| a.key.cmp(&b.key))
        });
        let mut all = Sum::default();
        points.iter().for_each(|point| all.add(point));
        // What is left of the error is least where the squares of both sides' sums, each by its weight, are largest.
        let (mut left, mut best, mut at) = (Sum::default(), f64::MIN, 1);
        for (index, point) in points[..points.len() - 1].iter().enumerate() {
            left.add(point);
            let share = left.square() / left.weight
                + all.without(&left).square() / (all.weight - left.weight);
            if share > best {
                (best, at) = (share, index + 1);
            }
        }
        self.start + at
    }
}

/// As many boxes as there can be colours.
fn boxes(points: &mut [Point]) -> Vec<Cut> {
    let mut boxes = vec![Cut::new(points, 0, points.len())];
    while boxes.len() < MAX_COLOURS {
        let worst = (0..boxes.len()).max_by(|&a, &b| boxes[a].error().total_cmp(&boxes[b].error()));
        // One that has a single point has no error.
        let Some(worst) = worst.filter(|&worst| boxes[worst].end - boxes[worst].start > 1) else {
            break;
        };
        let (start, end) = (boxes[worst].start, boxes[worst].end);
        let middle = boxes[worst].halve(points);
        boxes[worst] = Cut::new(points, start, middle);
        boxes.push(Cut::new(points, middle, end));
    }
    boxes
}

/// Weighted colours added up.
#[derive(Clone, Default)]
struct Sum {
    colour: [f64; 3],
    weight: f64,
}

impl Sum {
    fn add(&mut self, point: &Point) {
        for (sum, value) in self.colour.iter_mut().zip(point.colour) {
            *sum += point.weight * value;
        }
        self.weight += point.weight;
    }

    fn mean(&self) -> [f64; 3] {
        self.colour.map(|sum| sum / self.weight)
    }

    fn without(&self, part: &Self) -> Self {
        let [r, g, b] = [0, 1, 2].map(|axis| self.colour[axis] - part.colour[axis]);
        Self { colour: [r, g, b], weight: self.weight - part.weight }
    }

    fn square(&self) -> f64 {
        self.colour.iter().map(|sum| sum * sum).sum()
    }
}

fn rounded(colour: [f64; 3]) -> [u8; 3] {
    colour.map(|value| value.round() as u8)
}
