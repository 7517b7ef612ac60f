//! The colour of a palette that is nearest to another.

/// Bits of each of red, green and blue that say in which cube a colour is.
const BITS: u32 = 5;
const CUBES: usize = 1 << (3 * BITS);
/// Values on a side of a cube.
const SIDE: u32 = 1 << (8 - BITS);

/// Finds nearest colours exactly: each cube of colours has a list of those that can be the nearest of any in it, made when
/// the first one is looked up.
pub(super) struct Nearest<'a> {
    palette: &'a [[u8; 3]],
    /// Where a cube's candidates begin and end; none are there yet where both are 0.
    cubes: Vec<(u32, u32)>,
    /// Colours by their index in the palette.
    candidates: Vec<u8>,
}

impl<'a> Nearest<'a> {
    /// `palette` has 1 to 256 colours.
    pub(super) fn new(palette: &'a [[u8; 3]]) -> Self {
        Self { palette, cubes: vec![(0, 0); CUBES], candidates: Vec::new() }
    }

    /// Of several that are as near the first.
    pub(super) fn of(&mut self, colour: [u8; 3]) -> u8 {
        let cube =
            colour.iter().fold(0, |cube, value| cube << BITS | usize::from(value >> (8 - BITS)));
        if self.cubes[cube].1 == 0 {
            self.cubes[cube] = self.list(colour);
        }
        let (start, end) = self.cubes[cube];
        let candidates = &self.candidates[start as usize..end as usize];
        let distance = |index: &&u8| {
            let other = self.palette[usize::from(**index)];
            colour.iter().zip(other).map(|(a, b)| u32::from(a.abs_diff(b)).pow(2)).sum::<u32>()
        };
        candidates.iter().min_by_key(distance).copied().unwrap_or(0)
    }

    /// Lists what can be nearest in the cube of `colour`: no farther at best than another one is at worst.
    fn list(&mut self, colour: [u8; 3]) -> (u32, u32) {
        let low = colour.map(|value| u32::from(value) / SIDE * SIDE);
        let at_worst = |other: &[u8; 3]| {
            let farther = |(low, value): (&u32, &u8)| {
                let value = u32::from(*value);
                low.abs_diff(value).max((low + SIDE - 1).abs_diff(value)).pow(2)
            };
            low.iter().zip(other).map(farther).sum::<u32>()
        };
        let at_best = |other: &[u8; 3]| {
            let nearer = |(low, value): (&u32, &u8)| {
                let value = u32::from(*value);
                value.abs_diff(value.clamp(*low, low + SIDE - 1)).pow(2)
            };
            low.iter().zip(other).map(nearer).sum::<u32>()
        };
        let limit = self.palette.iter().map(at_worst).min().unwrap_or(0);
        let start = self.candidates.len() as u32;
        let near = (0..=u8::MAX).zip(self.palette).filter(|(_, other)| at_best(other) <= limit);
        self.candidates.extend(near.map(|(index, _)| index));
        (start, self.candidates.len() as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_colour_is_nearer() {
        // Any palette: multiples of odd numbers are spread over all values.
        let palette: Vec<[u8; 3]> =
            (0..256_u32).map(|n| [(n * 37) as u8, (n * 101) as u8, (n * 59 + 7) as u8]).collect();
        let mut nearest = Nearest::new(&palette);
        let distance = |a: [u8; 3], b: [u8; 3]| {
            a.iter().zip(b).map(|(a, b)| u32::from(a.abs_diff(b)).pow(2)).sum::<u32>()
        };
        for n in 0..20_000_u32 {
            let colour = [(n * 7) as u8, (n / 3) as u8, (n / 79) as u8];
            let found = distance(colour, palette[usize::from(nearest.of(colour))]);
            let least = palette.iter().map(|other| distance(colour, *other)).min();
            assert_eq!(Some(found), least, "{colour:?}");
        }
    }
}
