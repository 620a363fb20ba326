//! When the next attempt may leave: rate limits and pauses between attempts.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tidegate_core::random::Random;

use crate::config::{RateLimit, Retry};

/// At most so many starts in any window of time, and none before a target's own `Retry-After`.
///
/// Exact: it remembers the starts of the last window. Bounded by the number of requests in it.
#[derive(Debug, Default)]
pub(crate) struct Pace(Mutex<PaceState>);

#[derive(Debug, Default)]
struct PaceState {
    starts: VecDeque<Duration>,
    not_before: Duration,
}

impl Pace {
    /// Takes the next free place and says when it is, in time of `Clock::elapsed`. Takes none and says `None` if
    /// that would be after `latest`.
    pub(crate) fn take(&self, limit: Option<RateLimit>, now: Duration, latest: Duration) -> Option<Duration> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut start = now.max(state.not_before);
        let Some(limit) = limit.filter(|limit| limit.requests > 0) else {
            return (start <= latest).then_some(start);
        };
        while state.starts.front().is_some_and(|first| *first + limit.per <= now) {
            state.starts.pop_front();
        }
        let places = limit.requests as usize;
        if let Some(before) = state.starts.len().checked_sub(places) {
            start = start.max(state.starts[before] + limit.per);
        }
        // Places are given out in order of time, so that the queue stays sorted.
        start = start.max(state.starts.back().copied().unwrap_or_default());
        if start > latest {
            return None;
        }
        state.starts.push_back(start);
        Some(start)
    }

    /// The target asked for a pause: it holds for all of its requests.
    pub(crate) fn pause_until(&self, moment: Duration) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.not_before = state.not_before.max(moment);
    }
}

/// The pause after `failures` failed attempts (at least 1): full jitter under an exponential bound, or what the target
/// asked for if that is longer.
pub(crate) fn pause(retry: &Retry, failures: u32, asked: Option<Duration>, random: &dyn Random) -> Duration {
    let factor = 2u32.saturating_pow(failures.saturating_sub(1).min(30));
    let bound = retry.initial_backoff.saturating_mul(factor).min(retry.max_backoff);
    let micros = u64::try_from(bound.as_micros()).unwrap_or(u64::MAX);
    let jitter = Duration::from_micros(random.next_u64() % micros.saturating_add(1).max(1));
    jitter.max(asked.unwrap_or_default())
}

#[cfg(test)]
#[path = "pace_tests.rs"]
mod tests;
