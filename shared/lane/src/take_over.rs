//! A head that somebody else has committed and that is not settled: what has to happen before any of it is sent.

use std::time::Duration;

use tidegate_core::{Error, Result, Timestamp};
use tidegate_delivery::longest_flight;

use crate::budget::Budget;
use crate::lanes::{LaneMemory, Lanes};
use crate::operators::Operators;
use crate::report::Counts;

/// By how much the clocks of two environments may differ, where the last writer wins.
pub const CLOCK_SKEW: Duration = Duration::from_secs(2);

/// What became of somebody else's head.
pub(crate) enum Taken {
    /// This environment may send what the head owes.
    Mine,
    /// Nothing of it is to be sent.
    NothingOwed,
    /// Somebody else committed meanwhile.
    Lost,
}

/// From when on nobody but this environment sends, in time of the process.
///
/// `deadline`: of the head. `now` and `elapsed` are the same moment. `alone`: when the state was opened, if it is locked
/// for this process; requests of earlier ones may be on their way for `flight`.
fn quiet_from(
    deadline: Timestamp,
    now: Timestamp,
    elapsed: Duration,
    alone: Option<Duration>,
    flight: Duration,
) -> Duration {
    match alone {
        Some(opened) => opened + flight,
        None => elapsed + deadline.plus(CLOCK_SKEW).since(now),
    }
}

impl<O: Operators> Lanes<O> {
    /// Makes an unsettled head that was loaded one's own, as far as its targets ask for it.
    ///
    /// Who committed it may be about to decide that nothing of a request took effect, because nobody else sends it: the
    /// carry commit takes the number that such a decision needs. And where the last writer wins, a request that somebody
    /// sends late would undo a newer one: the carry commit keeps everybody from joining, and then everybody is waited for
    /// who may still be sending.
    ///
    /// # Errors
    /// Unavailable where the time does not suffice for the wait. Nothing was committed then.
    pub(crate) async fn take_over(
        &self,
        memory: &mut LaneMemory<O::State>,
        budget: Budget,
        counts: &mut Counts,
    ) -> Result<Taken> {
        let over = tidegate_delivery::take_over(&memory.lane.head().outbox, &self.targets)?;
        counts.unknown += over.dropped;
        self.add_sent(&Default::default(), over.dropped);
        if over.outbox.is_empty() {
            return Ok(Taken::NothingOwed);
        }
        let mut quiet = self.elapsed();
        if over.wait {
            let alone = self.options.alone.then_some(self.opened);
            let flight = longest_flight(&over.outbox, &self.targets);
            quiet = quiet_from(memory.lane.head().deadline, self.clock.now(), quiet, alone, flight);
            // Behind the wait there must be time to send, or the next invocation has to wait for this one in vain.
            if quiet > self.elapsed() && quiet > budget.start_before {
                return Err(Error::unavailable(format!(
                    "commit {} is owed to a target where the last writer wins, and who committed it may be sending \
                     until {}",
                    memory.lane.head().n,
                    memory.lane.head().deadline
                ))
                .with_help("nothing is lost: a later invocation has the time to wait for that"));
            }
        }
        if over.commit && !self.carry(memory, over.outbox, budget, counts).await? {
            return Ok(Taken::Lost);
        }
        if over.wait && memory.lane.head().sealed {
            // A ring that is sealed refuses nobody who works on a generation that has ended, and this row would land on
            // one of the next.
            self.store.announce_sender().await?;
        }
        let wait = quiet.saturating_sub(self.elapsed());
        if !wait.is_zero() {
            self.clock.sleep(wait).await;
        }
        Ok(Taken::Mine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earlier_senders_are_waited_for() {
        const S: Duration = Duration::from_secs(1);
        let quiet = |deadline, now, alone| {
            quiet_from(Timestamp(0).plus(deadline), Timestamp(0).plus(now), 5 * S, alone, 10 * S)
        };
        assert_eq!(quiet(100 * S, 60 * S, None), 5 * S + 40 * S + CLOCK_SKEW);
        // It has passed, but clocks differ.
        assert_eq!(quiet(100 * S, 101 * S, None), 5 * S + CLOCK_SKEW - S);
        assert_eq!(quiet(100 * S, 500 * S, None), 5 * S);
        // A locked state: whoever wrote before has ended when it was opened.
        assert_eq!(quiet(100_000 * S, 60 * S, Some(3 * S)), 13 * S);
    }
}
