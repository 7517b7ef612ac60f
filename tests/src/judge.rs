//! What a clip of the demo model shows, by simple geometry: the formulas of `tools/demo-model/judge.py`.

/// The colours of the demo's shapes.
const PALETTE: [(&str, [f32; 3]); 6] = [
    ("red", [0.90, 0.12, 0.12]),
    ("green", [0.12, 0.70, 0.20]),
    ("blue", [0.12, 0.28, 0.92]),
    ("yellow", [0.95, 0.88, 0.12]),
    ("purple", [0.58, 0.16, 0.78]),
    ("orange", [0.96, 0.50, 0.08]),
];
/// Pixels of a frame's border.
const BORDER: usize = 2;
/// Which of a frame's largest contrasts is its peak: a few stray pixels do not set it.
const PEAK: usize = 40;
/// A shorter way is none.
const LEAST_SHIFT: f32 = 6.0;

/// A clip's frames, and where its foreground is.
#[derive(Debug)]
pub struct Clip<'a> {
    width: usize,
    /// Each `[height, width, 3]` in 0..1.
    frames: Vec<&'a [f32]>,
    /// Largest difference of a pixel from the ground, of its three channels.
    contrast: Vec<Vec<f32>>,
    peaks: Vec<f32>,
    masks: Vec<Vec<bool>>,
}

/// Rows and columns of a mask; bottom and right are beyond it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Bounds {
    top: usize,
    bottom: usize,
    left: usize,
    right: usize,
}

impl<'a> Clip<'a> {
    /// Frames of so many pixels, one after another.
    pub fn new(frames: &'a [f32], width: usize, height: usize) -> Self {
        let frames: Vec<_> = frames.chunks_exact(width * height * 3).collect();
        let mut clip = Self { width, frames, contrast: vec![], peaks: vec![], masks: vec![] };
        for frame in &clip.frames {
            let ground = clip.ground(frame);
            let contrast = |pixel: &[f32]| {
                pixel.iter().zip(ground).fold(0.0, |most: f32, (x, g)| most.max((x - g).abs()))
            };
            let contrast: Vec<f32> = frame.chunks_exact(3).map(contrast).collect();
            let mut sorted = contrast.clone();
            sorted.sort_by(f32::total_cmp);
            let peak = sorted[sorted.len().saturating_sub(PEAK)].max(0.05);
            clip.masks.push(contrast.iter().map(|value| *value > 0.5 * peak).collect());
            clip.peaks.push(contrast.iter().fold(0.05, |most, value| most.max(*value)));
            clip.contrast.push(contrast);
        }
        clip
    }

    /// `dark`, `gray` or `light`, by the mean of the border.
    pub fn background(&self) -> &'static str {
        match self.level() {
            level if level < 0.28 => "dark",
            level if level < 0.66 => "gray",
            _ => "light",
        }
    }

    /// The palette's entry that is nearest to the foreground's mean, both divided by their largest channel.
    pub fn color(&self) -> &'static str {
        let (mut sum, mut count) = ([0.0; 3], 0.0);
        for (frame, mask) in self.frames.iter().zip(&self.masks) {
            for (pixel, _) in frame.chunks_exact(3).zip(mask).filter(|(_, inside)| **inside) {
                sum.iter_mut().zip(pixel).for_each(|(sum, x)| *sum += x);
                count += 1.0;
            }
        }
        let mean = scaled(sum.map(|sum: f32| sum / f32::max(count, 1.0)));
        let distance = |color: [f32; 3]| -> f32 {
            scaled(color).iter().zip(mean).map(|(a, b)| (a - b).abs()).sum()
        };
        let nearest = PALETTE.iter().min_by(|a, b| distance(a.1).total_cmp(&distance(b.1)));
        nearest.map_or("none", |(name, _)| name)
    }

    /// `triangle`, `circle` or `square`, by how much of its box it fills.
    pub fn shape(&self) -> &'static str {
        match self.fill() {
            fill if fill < 0.65 => "triangle",
            fill if fill < 0.89 => "circle",
            _ => "square",
        }
    }

    /// `left`, `right`, `up`, `down` or `none`: where the centre goes.
    pub fn direction(&self) -> &'static str {
        let [x, y] = self.shift();
        match (x.abs() > y.abs(), x.abs().max(y.abs()) < LEAST_SHIFT) {
            (_, true) => "none",
            (true, _) if x > 0.0 => "right",
            (true, _) => "left",
            (false, _) if y > 0.0 => "down",
            (false, _) => "up",
        }
    }

    /// Half of the way, in pixels, that the centre goes back and forth across its travel.
    pub fn oscillation(&self) -> f32 {
        let [x, y] = self.shift();
        let axis = usize::from(x.abs() > y.abs());
        let across: Vec<f32> = self.centres().iter().map(|centre| centre[axis]).collect();
        let mean = mean(&across);
        let time = |index: usize| index as f32 - (across.len() as f32 - 1.0) / 2.0;
        let (mut slope, mut squares) = (0.0, 0.0);
        for (index, value) in across.iter().enumerate() {
            slope += time(index) * value;
            squares += time(index) * time(index);
        }
        let rest = across.iter().enumerate();
        let rest = rest.map(|(index, value)| value - mean - time(index) * slope / squares);
        let (least, most) =
            rest.fold((f32::MAX, f32::MIN), |(a, b), value| (a.min(value), b.max(value)));
        (most - least) / 2.0
    }

    /// Whether it dances across its travel.
    pub fn bounces(&self) -> bool {
        self.oscillation() > 2.5
    }

    /// Whether it is an outline on black.
    pub fn is_neon(&self) -> bool {
        self.level() < 0.06 && self.hollow() < 0.6
    }

    /// Whether it leaves a trail behind.
    pub fn trails(&self) -> bool {
        self.wake() > 0.05
    }

    /// Brightness in the middle of the shape over that of the foreground: 1 where it is filled. The middle is that of its
    /// area: in a triangle the middle of the box lies near the sides.
    pub fn hollow(&self) -> f32 {
        let brightness = |frame: &[f32], at: usize| {
            frame[3 * at..3 * at + 3].iter().copied().fold(0.0, f32::max)
        };
        let ratio = |index: usize| {
            let (frame, mask) = (self.frames[index], &self.masks[index]);
            let inside: Vec<f32> =
                (0..mask.len()).filter(|at| mask[*at]).map(|at| brightness(frame, at)).collect();
            if inside.is_empty() {
                return 1.0;
            }
            let [x, y] = self.middle(index);
            let rows = y.saturating_sub(2)..(y + 3).min(self.height());
            let columns = x.saturating_sub(2)..(x + 3).min(self.width);
            let middle: Vec<f32> = rows
                .flat_map(|row| columns.clone().map(move |column| row * self.width + column))
                .map(|at| brightness(frame, at))
                .collect();
            mean(&middle) / mean(&inside).max(1e-6)
        };
        median((0..self.frames.len()).map(ratio).collect())
    }

    /// Contrast behind the box less that before it, as a share of the frame's peak.
    pub fn wake(&self) -> f32 {
        let heading = self.direction();
        let mut total = Vec::new();
        for index in 0..self.frames.len() {
            let Bounds { top, bottom, left, right } = self.bounds(index);
            // Without the corners.
            let rows = top + 4..bottom.saturating_sub(4);
            let columns = left + 4..right.saturating_sub(4);
            let to_left = (rows.clone(), left.saturating_sub(10)..left.saturating_sub(2));
            let to_right = (rows, right + 2..(right + 10).min(self.width));
            let above = (top.saturating_sub(10)..top.saturating_sub(2), columns.clone());
            let below = (bottom + 2..(bottom + 10).min(self.height()), columns);
            let (behind, before) = match heading {
                "left" => (to_right, to_left),
                "right" => (to_left, to_right),
                "up" => (below, above),
                "down" => (above, below),
                _ => continue,
            };
            let contrast = |(rows, columns): (std::ops::Range<usize>, std::ops::Range<usize>)| {
                let places = rows
                    .flat_map(|row| columns.clone().map(move |column| row * self.width + column));
                let values: Vec<f32> = places.map(|at| self.contrast[index][at]).collect();
                (!values.is_empty()).then(|| mean(&values))
            };
            if let (Some(behind), Some(before)) = (contrast(behind), contrast(before)) {
                total.push((behind - before) / self.peaks[index]);
            }
        }
        if total.is_empty() { 0.0 } else { mean(&total) }
    }

    /// The centre of gravity (x, y) of what lies between the first and the last pixel of each row, rounded.
    fn middle(&self, index: usize) -> [usize; 2] {
        let (mut area, mut x, mut y) = (0.0, 0.0, 0.0);
        for (row, first, last) in self.spans(index) {
            let length = (last - first + 1) as f32;
            area += length;
            x += length * (first + last) as f32 / 2.0;
            y += length * row as f32;
        }
        [x, y].map(|sum: f32| (sum / f32::max(area, 1.0)).round() as usize)
    }

    /// Row, first and last pixel of each row in the box: all shapes being convex, what an outline surrounds.
    fn spans(&self, index: usize) -> impl Iterator<Item = (usize, usize, usize)> {
        let Bounds { top, bottom, left, right } = self.bounds(index);
        (top..bottom).filter_map(move |row| {
            let mask = &self.masks[index][row * self.width..][left..right];
            let (first, last) = (mask.iter().position(|x| *x)?, mask.iter().rposition(|x| *x)?);
            Some((row, left + first, left + last))
        })
    }

    /// Share of the box that lies between the first and the last pixel of each row: square 1, circle 0.79, triangle 0.5.
    fn fill(&self) -> f32 {
        let ratio = |index: usize| {
            let Bounds { top, bottom, left, right } = self.bounds(index);
            let spanned: usize = self.spans(index).map(|(_, first, last)| last - first + 1).sum();
            let area = (bottom - top) * (right - left);
            if area == 0 { 0.0 } else { spanned as f32 / area as f32 }
        };
        median((0..self.frames.len()).map(ratio).collect())
    }

    /// How far the centre travels, in pixels, by its means over the first and the last four frames.
    fn shift(&self) -> [f32; 2] {
        let path = self.centres();
        let end = |path: &[[f32; 2]], axis: usize| {
            path.iter().map(|centre| centre[axis]).sum::<f32>() / path.len().max(1) as f32
        };
        let (first, last) = (&path[..path.len().min(4)], &path[path.len().saturating_sub(4)..]);
        [0, 1].map(|axis| end(last, axis) - end(first, axis))
    }

    /// The middle (x, y) of each frame's box.
    fn centres(&self) -> Vec<[f32; 2]> {
        let middle = |index: usize| {
            let Bounds { top, bottom, left, right } = self.bounds(index);
            [(left + right) as f32 / 2.0, (top + bottom) as f32 / 2.0]
        };
        (0..self.frames.len()).map(middle).collect()
    }

    /// The box around a frame's foreground; rows and columns of one pixel do not count.
    fn bounds(&self, index: usize) -> Bounds {
        let (width, mask) = (self.width, &self.masks[index]);
        let row = |row: &usize| mask[row * width..][..width].iter().filter(|x| **x).count() >= 2;
        let column = |column: &usize| {
            (0..self.height()).filter(|row| mask[row * width + column]).count() >= 2
        };
        let (rows, columns): (Vec<_>, Vec<_>) =
            ((0..self.height()).filter(row).collect(), (0..width).filter(column).collect());
        match (&rows[..], &columns[..]) {
            ([top, ..], [left, ..]) => Bounds {
                top: *top,
                bottom: rows[rows.len() - 1] + 1,
                left: *left,
                right: columns[columns.len() - 1] + 1,
            },
            _ => Bounds::default(),
        }
    }

    /// The median colour of a frame's border.
    fn ground(&self, frame: &[f32]) -> [f32; 3] {
        [0, 1, 2].map(|channel| median(self.border(frame).map(|pixel| pixel[channel]).collect()))
    }

    /// The mean of the border over all frames and channels.
    fn level(&self) -> f32 {
        let values: Vec<f32> =
            self.frames.iter().flat_map(|frame| self.border(frame).flatten().copied()).collect();
        mean(&values)
    }

    fn border<'f>(&self, frame: &'f [f32]) -> impl Iterator<Item = &'f [f32]> {
        let (width, height) = (self.width, frame.len() / 3 / self.width);
        frame.chunks_exact(3).enumerate().filter_map(move |(at, pixel)| {
            let (row, column) = (at / width, at % width);
            let inner = |place: usize, length: usize| (BORDER..length - BORDER).contains(&place);
            (!(inner(row, height) && inner(column, width))).then_some(pixel)
        })
    }

    fn height(&self) -> usize {
        self.masks[0].len() / self.width
    }
}

/// Divided by its largest channel.
fn scaled(color: [f32; 3]) -> [f32; 3] {
    let most = color.iter().copied().fold(1e-6, f32::max);
    color.map(|channel| channel / most)
}

fn mean(values: &[f32]) -> f32 {
    values.iter().sum::<f32>() / values.len().max(1) as f32
}

/// The middle value, or the mean of the two in the middle.
fn median(mut values: Vec<f32>) -> f32 {
    values.sort_by(f32::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => 0.0,
        length if length % 2 == 1 => values[half],
        _ => (values[half - 1] + values[half]) / 2.0,
    }
}
