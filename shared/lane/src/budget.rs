//! How long an invocation may work.

use std::time::Duration;

/// Until when work may go on, as [`Clock::elapsed`](tidegate_core::Clock::elapsed) of the process.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// No new micro-batch starts after this.
    pub start_before: Duration,
    /// Everything must have ended by this.
    pub end_before: Duration,
}

impl Budget {
    /// Share of the remaining time after which no new work starts, in percent.
    const NEW_WORK_PERCENT: u32 = 60;

    /// A budget of `remaining` from `now` on; new work starts within its first 60 %.
    pub fn new(now: Duration, remaining: Duration) -> Self {
        Self { start_before: now + remaining * Self::NEW_WORK_PERCENT / 100, end_before: now + remaining }
    }

    /// Practically no limit: local runs.
    pub fn unlimited() -> Self {
        let far = Duration::from_secs(1 << 40);
        Self { start_before: far, end_before: far }
    }
}
