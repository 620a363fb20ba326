//! The set of states already seen, as fingerprints.

use std::sync::atomic::{AtomicU64, Ordering};

/// Slots at the beginning. A power of two.
const FIRST_SLOTS: usize = 1 << 21;

/// Filled beyond this many tenths, the set asks to be grown.
const FULL_TENTHS: usize = 7;

/// Fingerprints of 64 bits in one open table that several threads fill side by side. 8 bytes per slot.
///
/// Two states with the same fingerprint count as one. Among 100 million states the chance that this happens at all is
/// about 1 in 3,700.
pub struct Seen {
    slots: Vec<AtomicU64>,
}

impl Default for Seen {
    fn default() -> Self {
        Self { slots: empty(FIRST_SLOTS) }
    }
}

fn empty(slots: usize) -> Vec<AtomicU64> {
    std::iter::repeat_with(|| AtomicU64::new(0)).take(slots).collect()
}

impl Seen {
    /// Adds a fingerprint. True if it is new. Must not be called once [`Seen::is_full`] says so and more follow than
    /// the spare slots hold; the search grows the set between blocks of states.
    pub fn insert(&self, fingerprint: u64) -> bool {
        let fingerprint = fingerprint.max(1);
        let mask = self.slots.len() - 1;
        let mut at = (fingerprint >> 20) as usize & mask;
        loop {
            let slot = &self.slots[at];
            let held = slot.load(Ordering::Relaxed);
            if held == fingerprint {
                return false;
            }
            if held == 0 {
                match slot.compare_exchange(0, fingerprint, Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(_) => return true,
                    Err(other) if other == fingerprint => return false,
                    Err(_) => {}
                }
            }
            at = (at + 1) & mask;
        }
    }

    /// Whether `held` fingerprints are too many for the table as it is.
    #[must_use]
    pub fn is_full(&self, held: u64) -> bool {
        held as usize > self.slots.len() / 10 * FULL_TENTHS
    }

    /// Doubles the table.
    pub fn grow(&mut self) {
        let doubled = Self { slots: empty(self.slots.len() * 2) };
        for slot in std::mem::take(&mut self.slots) {
            let fingerprint = slot.into_inner();
            if fingerprint != 0 {
                doubled.insert(fingerprint);
            }
        }
        *self = doubled;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_it_saw_when_it_grows() {
        let mut seen = Seen::default();
        let numbers = || (1..=500_000_u64).map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        assert!(numbers().all(|n| seen.insert(n)));
        seen.grow();
        assert!(numbers().all(|n| !seen.insert(n)));
        assert!(seen.insert(42));
    }

    #[test]
    fn two_threads_count_each_fingerprint_once() {
        let seen = Seen::default();
        let fill = || (1..=200_000_u64).filter(|n| seen.insert(n.wrapping_mul(0x9E37_79B9_7F4A_7C15))).count();
        let total = std::thread::scope(|scope| {
            let (one, two) = (scope.spawn(fill), scope.spawn(fill));
            one.join().expect("no panic") + two.join().expect("no panic")
        });
        assert_eq!(total, 200_000);
    }
}
