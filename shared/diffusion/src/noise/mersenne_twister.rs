//! The generator below the distributions: mt19937 with 32-bit output.

/// Words of state.
const LENGTH: usize = 624;
/// Distance between a word and the one it is mixed with.
const MIDDLE: usize = 397;
const MATRIX: u32 = 0x9908_b0df;
const UPPER: u32 = 0x8000_0000;
const LOWER: u32 = 0x7fff_ffff;

/// Mersenne Twister mt19937 (Matsumoto and Nishimura, 1998), with the book-keeping of ATen's `mt19937_engine`
/// so that its state can be written as torch writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MersenneTwister {
    /// The whole seed as given; only its low 32 bits reach the words.
    seed: u64,
    words: [u32; LENGTH],
    /// Draws until the words are renewed, plus one.
    left: u32,
    /// The word that the next draw takes.
    next: u32,
}

impl MersenneTwister {
    pub(super) fn new(seed: u64) -> Self {
        let mut words = [0u32; LENGTH];
        let mut word = (seed & 0xffff_ffff) as u32;
        words[0] = word;
        for (index, slot) in words.iter_mut().enumerate().skip(1) {
            word = 1_812_433_253u32.wrapping_mul(word ^ (word >> 30)).wrapping_add(index as u32);
            *slot = word;
        }
        Self { seed, words, left: 1, next: 0 }
    }

    /// Uniform over all 32-bit values.
    pub(super) fn next_u32(&mut self) -> u32 {
        self.left -= 1;
        if self.left == 0 {
            self.renew();
        }
        let mut y = self.words[self.next as usize];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// Two draws, the first in the high half.
    pub(super) fn next_u64(&mut self) -> u64 {
        let high = u64::from(self.next_u32());
        high << 32 | u64::from(self.next_u32())
    }

    fn renew(&mut self) {
        for i in 0..LENGTH {
            let following = self.words[(i + 1) % LENGTH];
            let mixed = (self.words[i] & UPPER) | (following & LOWER);
            let twisted = (mixed >> 1) ^ if following & 1 == 1 { MATRIX } else { 0 };
            self.words[i] = self.words[(i + MIDDLE) % LENGTH] ^ twisted;
        }
        self.left = LENGTH as u32;
        self.next = 0;
    }

    /// The first 5016 bytes of `torch.Generator.get_state()`: seed, `left`, seeded, `next`, and each word in 8 bytes.
    pub(super) fn write_state(&self, out: &mut Vec<u8>) {
        out.extend(self.seed.to_le_bytes());
        out.extend(self.left.to_le_bytes());
        out.extend(1u32.to_le_bytes());
        out.extend(u64::from(self.next).to_le_bytes());
        out.extend(self.words.iter().flat_map(|&word| u64::from(word).to_le_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::MersenneTwister;

    #[test]
    fn the_ten_thousandth_draw_is_the_one_the_c_standard_states() {
        let mut engine = MersenneTwister::new(5489);
        let draws: Vec<u32> = (0..10_000).map(|_| engine.next_u32()).collect();
        assert_eq!(draws[9_999], 4_123_659_995);
    }

    #[test]
    fn only_the_low_32_bits_of_a_seed_count() {
        let (mut low, mut high) = (MersenneTwister::new(5), MersenneTwister::new((1 << 32) + 5));
        assert_eq!(low.next_u64(), high.next_u64());
    }
}
