//! The random port: tokens, jitter, incarnations.

use std::sync::Mutex;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// The random port: the only source of random numbers.
pub trait Random: Send + Sync {
    /// A number that is uniform over all of `u64`.
    fn next_u64(&self) -> u64;

    /// A number that is uniform over all of `u128`: long enough to be unique.
    fn next_u128(&self) -> u128 {
        u128::from(self.next_u64()) << 64 | u128::from(self.next_u64())
    }
}

/// Seeded once: from the operating system in production, from a number in tests and simulations.
#[derive(Debug)]
pub struct StdRandom(Mutex<StdRng>);

impl StdRandom {
    /// Seeded from the operating system.
    #[allow(clippy::disallowed_methods, reason = "this is the random port's real implementation")]
    pub fn from_os() -> Self {
        Self(Mutex::new(StdRng::from_os_rng()))
    }

    /// The same numbers for the same seed.
    pub fn seeded(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }
}

impl Random for StdRandom {
    fn next_u64(&self) -> u64 {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).random()
    }
}
