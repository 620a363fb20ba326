//! Random numbers that depend on a seed alone.

/// A stream of random numbers (SplitMix64). Cheap to make, so every actor has one of its own: what one actor draws
/// does not shift what another one draws.
#[derive(Clone, Copy, Debug)]
pub struct Draw(u64);

/// Mixes a number into another one.
pub fn mix(a: u64, b: u64) -> u64 {
    let mut z = a ^ b.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Draw {
    /// The stream of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(mix(seed, 0x5851_f42d_4c95_7f2d))
    }

    /// A stream for a part of what `self` is for.
    pub fn part(self, part: u64) -> Self {
        Self(mix(self.0, part.wrapping_add(1)))
    }

    /// The next number, uniform over all of `u64`.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0, 0)
    }

    /// A number below `bound`, which is at least 1.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound.max(1)
    }

    /// A number from `from` to `to`, both included.
    pub fn within(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from + 1)
    }

    /// True in `percent` of 100 cases.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of `choices`, which are not empty.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    /// From `from` to about `to`; each order of magnitude is as likely as any other.
    pub fn spread(&mut self, from: u64, to: u64) -> u64 {
        let (low, high) = (from.max(1).ilog2(), to.max(1).ilog2());
        let bits = self.within(u64::from(low), u64::from(high));
        (1u64 << bits).saturating_add(self.below(1 << bits)).clamp(from, to)
    }
}
