//! What an environment has sent, also where the work that it was sent for failed later.

use std::sync::PoisonError;

use tidegate_delivery::DeliveryCounts;

use crate::lanes::Lanes;
use crate::operators::Operators;

/// Requests to targets. A report of something that failed does not exist, but what was sent was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Requests, retries included.
    pub requests: u64,
    /// Of these, requests that may have been sent before, by whomever.
    pub retries: u64,
    /// Of these, repeats that the target recognised and dropped.
    pub repeats: u64,
    /// Requests that are sent once at most and whose outcome is unknown.
    pub unknown: u64,
}

impl<O: Operators> Lanes<O> {
    /// What was sent since this was asked last: for the metrics of an invocation, whatever became of it.
    pub fn take_sent(&self) -> Sent {
        std::mem::take(&mut *self.sent.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn add_sent(&self, counts: &DeliveryCounts, dropped: u64) {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.requests += counts.requests;
        sent.retries += counts.retries;
        sent.repeats += counts.repeats;
        sent.unknown += counts.unknown + dropped;
    }
}
