//! Random numbers of one record.

/// SplitMix64, started at a place that depends on seed and index alone
/// (Steele, Lea, Flood, "Fast splittable pseudorandom number generators").
pub struct Draw(u64);

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

#[inline]
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Draw {
    /// The numbers of record `index`.
    #[inline]
    pub fn new(seed: u64, index: u64) -> Self {
        // The seed is mixed before the index is added: neighbouring seeds would share records otherwise.
        Self(mix(mix(seed.wrapping_add(GOLDEN)).wrapping_add(index)))
    }

    /// The next number.
    #[inline]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }

    /// A number below `n`, which is at least 1.
    #[inline]
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }

    /// True as often as `share` says, 0 to 1.
    #[inline]
    pub fn share(&mut self, share: f64) -> bool {
        ((self.next() >> 11) as f64) < share * (1u64 << 53) as f64
    }

    /// One of `choices`, which are not empty.
    #[inline]
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}
