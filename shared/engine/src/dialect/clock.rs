//! The clock that queries read: bound once per micro-batch.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// A shared cell that holds the time of the running micro-batch, in microseconds since the epoch.
/// Clones share the cell.
#[derive(Clone, Debug, Default)]
pub struct BatchClock(Arc<AtomicI64>);

impl BatchClock {
    /// Binds the time for everything that runs from now on.
    pub fn set(&self, micros: i64) {
        self.0.store(micros, Ordering::Release);
    }

    /// The time of the running micro-batch, in microseconds since the epoch.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Acquire)
    }
}

// Two dialect functions are the same function exactly if they read the same cell.
impl PartialEq for BatchClock {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for BatchClock {}

impl std::hash::Hash for BatchClock {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}
