//! What the tick looks after once in a while: that state and streams are what they were, and that nothing is left behind.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tidegate_core::{Error, Result, Timestamp};
use tidegate_lane::SourceView;
use tidegate_state::DEFAULT_GARBAGE_HORIZON;

use crate::runtime::Runtime;

/// How often one environment does this. Its first tick does; what failed is done again by the next one.
pub const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// When it was done last in this environment.
#[derive(Debug, Default)]
pub(crate) struct Housekeeping {
    last: Mutex<Option<Timestamp>>,
}

impl Housekeeping {
    /// Whether it is time.
    fn is_due(&self, now: Timestamp) -> bool {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_none_or(|last| last.plus(HOUSEKEEPING_INTERVAL) <= now)
    }

    fn done(&self, now: Timestamp) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }
}

impl Runtime {
    /// Compares state and streams with what is known of them, when it is time: what failed, by what it was.
    pub(crate) async fn compare(&self) -> Option<Vec<(String, Error)>> {
        if !self.housekeeping.is_due(self.ports.clock.now()) {
            return None;
        }
        let mut failed = Vec::new();
        let mut note = |what: String, done: Result<()>| failed.extend(done.err().map(|error| (what, error)));
        note("state".into(), self.store().check_guard().await);
        for source in &self.pipeline().sources {
            note(format!("source {}", source.name), self.compare_stream(&source.name).await);
        }
        Some(failed)
    }

    /// Removes objects that nothing refers to. Only where state and streams are what they were.
    pub(crate) async fn clean_up(&self) -> Result<()> {
        self.store().collect_garbage(DEFAULT_GARBAGE_HORIZON).await?;
        self.housekeeping.done(self.ports.clock.now());
        Ok(())
    }

    /// A stream that was deleted and created again has other records under the positions that are committed.
    async fn compare_stream(&self, source: &str) -> Result<()> {
        if !self.view.can_ask(source) {
            return Ok(());
        }
        match self.view.identity(source).await? {
            Some(identity) => self.store().identify(source, &identity).await,
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_done_at_the_first_tick_and_every_hour_and_again_where_it_failed() {
        let (house, at) = (Housekeeping::default(), |minutes: i64| Timestamp::from_millis(minutes * 60_000));
        let due: Vec<i64> = (0..=200)
            .step_by(7)
            .filter(|minutes| house.is_due(at(*minutes)))
            // It fails once, at minute 63.
            .inspect(|minutes| {
                if *minutes != 63 {
                    house.done(at(*minutes))
                }
            })
            .collect();
        assert_eq!(due, [0, 63, 70, 133, 196]);
    }
}
