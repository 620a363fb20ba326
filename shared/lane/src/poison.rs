//! Records that kill whoever takes them: out of memory, a crash in native code, an endless loop.
//!
//! Whatever can be caught is data: see dead letters. What kills the process leaves no trace but the marker that was
//! written before the work began. Each environment writes one for its first batch of a lane, and for each piece of it when
//! the environment before has died: then the batch is taken in pieces, half as large each time. A single record at which
//! [`MAX_DEATHS`] environments have ended becomes a dead letter.
//!
//! A marker that is still there does not say whether its environment has died or is at work. For smaller pieces that is all
//! the same. A record is given up only when the deadlines of all that were counted have passed.

use std::time::Duration;

use tidegate_core::{Error, LaneId, Position, Result, Timestamp};
use tidegate_source::Records;
use tidegate_state::Tries;

use crate::budget::Budget;
use crate::lanes::Lanes;
use crate::operators::Operators;
use crate::report::{BatchReport, Counts, StageTimes};
use crate::take_over::CLOCK_SKEW;

/// Environments that may die with one record before it becomes a dead letter.
pub const MAX_DEATHS: u32 = 3;

/// How long an invocation may last, on Lambda. A deadline further ahead was written by a clock that is wrong.
const LONGEST_INVOCATION: Duration = Duration::from_secs(15 * 60);

/// A batch that was not taken to its end.
#[derive(Debug)]
pub struct Undone {
    /// Why.
    pub error: Error,
    /// The first record that is not committed. What stands before it is.
    pub first: Option<Position>,
}

impl From<Error> for Undone {
    /// Nothing of the batch is known to be committed.
    fn from(error: Error) -> Self {
        Self { error, first: None }
    }
}

/// How a batch is taken after what the environment before has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    /// Records of the first piece.
    records: usize,
    /// Environments that died with the first record alone.
    deaths: u32,
    /// Until when one of these may be at work still.
    until: Timestamp,
    /// Somebody died: the pieces after the first one are marked, too.
    careful: bool,
}

impl Plan {
    /// Until when the record is not given up, because one that was counted may be at work with it.
    fn waits_until(&self, now: Timestamp) -> Option<Timestamp> {
        let until = self.until.plus(CLOCK_SKEW);
        let known = self.until <= now.plus(LONGEST_INVOCATION).plus(CLOCK_SKEW);
        (self.deaths >= MAX_DEATHS && now < until && known).then_some(until)
    }
}

/// Whether an environment has left word that it takes what begins with the record at `first`, and has not come to an end.
fn is_under_way(found: Option<&Tries>, first: &str) -> bool {
    found.is_some_and(|found| !first.is_empty() && found.first == first && found.records > 0)
}

fn plan(found: Option<&Tries>, first: &str, len: usize) -> Plan {
    match found {
        Some(found) if is_under_way(Some(found), first) => {
            let died_at = usize::try_from(found.records).unwrap_or(len).min(len.max(1));
            let (deaths, until) = if found.records == 1 { (found.deaths + 1, found.until) } else { Default::default() };
            Plan { records: died_at.div_ceil(2), deaths, until, careful: true }
        }
        _ => Plan { records: len, deaths: 0, until: Timestamp::default(), careful: false },
    }
}

/// The first record behind `done`, which a piece begins with. Empty: there is none.
///
/// The position `done` would not do: this environment may remember an old one, and then the record behind it is not the
/// one that others have died with.
fn place(records: &Records, done: Option<Position>) -> String {
    let open = records.iter().map(|record| record.position).filter(|position| Some(*position) > done);
    open.min().map(|position| position.to_string()).unwrap_or_default()
}

impl<O: Operators> Lanes<O> {
    /// As [`Self::run_batch`], where the process may be killed by what it takes: for Lambda.
    ///
    /// Two reads and one write more for the first batch of a lane in this environment; nothing more for the others.
    pub async fn run_guarded(
        &self,
        source: &str,
        partition: &str,
        records: &mut Records,
        budget: Budget,
    ) -> Result<BatchReport, Undone> {
        let id = LaneId::new(source, partition);
        let first = records.iter().map(|record| record.position).min();
        let undone = |error| Undone { error, first };
        if !self.meet(&id) {
            return self.run_batch(source, partition, records, budget).await.map_err(undone);
        }
        let prepared = match self.prepare(&id, partition, records, budget).await {
            Ok(prepared) => prepared,
            Err(error) => {
                self.part(&id);
                return Err(undone(error));
            }
        };
        let (committed, plan) = prepared;
        let ran = match plan.careful {
            false => self.run_batch(source, partition, records, budget).await.map_err(undone),
            true => self.run_pieces((source, partition), records, plan, budget).await,
        };
        // This environment has come to an end of it, so it was not killed. Where the position has moved, that says so.
        let moved = ran.is_ok() && self.committed(&id, partition).await.is_ok_and(|now| now != committed);
        let ended = if moved { Ok(()) } else { self.store.set_tries(&id, Tries::default()).await };
        match (ran, ended) {
            (Ok(report), Ok(())) => Ok(report),
            (Ok(_), Err(error)) => Err(error.into()),
            (Err(undone), _) => Err(undone),
        }
    }

    /// How the first batch of a lane is taken, and what of it was committed before. Where it is taken whole, it is marked.
    ///
    /// # Errors
    /// Unavailable while an environment that was counted may be at work with the record.
    async fn prepare(
        &self,
        id: &LaneId,
        partition: &str,
        records: &mut Records,
        budget: Budget,
    ) -> Result<(Option<Position>, Plan)> {
        let committed = self.committed(id, partition).await?;
        let done = self.done(id, committed)?;
        let begin = place(records, done);
        let found = self.store.tries(id).await?;
        if is_under_way(found.as_ref(), &begin) && records.last_position() > done {
            // What is done is no part of what killed. A batch of nothing else is left whole: who skips it asks
            // whether its generation goes on.
            records.skip_through(done);
        }
        let plan = plan(found.as_ref(), &begin, records.len());
        if let Some(until) = plan.waits_until(self.clock.now()) {
            return Err(Error::unavailable(format!(
                "lane {id}, record {begin}: {} environments have begun with this record alone and have not come to an end \
                 of it; one of them may be at work until {until}",
                plan.deaths
            ))
            .with_help("nothing is lost: it is delivered again, and becomes a dead letter after that"));
        }
        if !plan.careful {
            self.begin(id, begin, plan, budget).await?;
        }
        Ok((committed, plan))
    }

    async fn committed(&self, id: &LaneId, partition: &str) -> Result<Option<Position>> {
        self.look(id, |head, _| head.positions.get(partition).copied()).await
    }

    /// Up to where nothing of a lane is taken any more: it is committed, or left out by this generation.
    fn done(&self, id: &LaneId, committed: Option<Position>) -> Result<Option<Position>> {
        Ok(committed.max(self.origin.begin(id)?))
    }

    async fn begin(&self, id: &LaneId, first: String, plan: Plan, budget: Budget) -> Result<()> {
        let until = self.deadline(budget).max(plan.until);
        self.store.set_tries(id, Tries { first, records: plan.records as u64, deaths: plan.deaths, until }).await
    }

    async fn run_pieces(
        &self,
        (source, partition): (&str, &str),
        records: &Records,
        mut plan: Plan,
        budget: Budget,
    ) -> Result<BatchReport, Undone> {
        let id = LaneId::new(source, partition);
        let (mut total, mut done) = (BatchReport::default(), 0);
        while done < records.len() {
            let first = records.iter().skip(done).map(|record| record.position).min();
            let undone = |error| Undone { error, first };
            if done > 0 && self.elapsed() >= budget.start_before {
                return Err(undone(
                    Error::unavailable("the invocation's time was used up; what was taken so far is committed")
                        .with_help("nothing is lost: the rest comes again"),
                ));
            }
            let end = (done + plan.records).min(records.len());
            let mut piece = records.copy_of(done..end);
            if end - done == 1 && plan.deaths >= MAX_DEATHS {
                piece.mark_last(format!("{} environments have died with this record alone", plan.deaths));
            }
            let before = self.committed(&id, partition).await.and_then(|committed| self.done(&id, committed));
            let marked = Plan { records: end - done, ..plan };
            self.begin(&id, place(&piece, before.map_err(undone)?), marked, budget).await.map_err(undone)?;
            let report = self.run_batch(source, partition, &mut piece, budget).await.map_err(undone)?;
            let (counts, times): (&Counts, &StageTimes) = (&report.counts, &report.times);
            total.counts += counts;
            total.times += times;
            total.watermark = report.watermark;
            done = end;
            plan = Plan { records: plan.records.saturating_mul(2), deaths: 0, until: Timestamp::default(), ..plan };
        }
        Ok(total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tries(first: usize, records: usize, deaths: u32) -> Tries {
        Tries { first: first.to_string(), records: records as u64, deaths, until: Timestamp(9) }
    }

    #[test]
    fn pieces_halve_down_to_the_record() {
        // An environment dies whenever its piece holds record 700. What comes before is committed piece by piece.
        let (mut done, mut found, mut deaths) = (0, None, 0);
        loop {
            let mut now = plan(found.as_ref(), &done.to_string(), 1000 - done);
            let killed = loop {
                found = Some(tries(done, now.records.min(1000 - done), now.deaths));
                if now.deaths >= MAX_DEATHS {
                    break false;
                }
                if (done..done + now.records).contains(&700) {
                    break true;
                }
                assert!(now.careful);
                done += now.records;
                now = Plan { records: now.records * 2, deaths: 0, ..now };
            };
            if !killed {
                break;
            }
            deaths += 1;
            assert!(deaths < 40, "{found:?}");
        }
        assert_eq!(done, 700, "all records before it are committed");
        assert_eq!(found.unwrap().records, 1);
        assert!(deaths <= 30, "{deaths}");
    }

    #[test]
    fn the_record_counts_and_not_what_is_remembered_as_committed() {
        let batch = |numbers: &[u64]| {
            let mut records = Records::new();
            numbers.iter().for_each(|n| records.push(Position::new(*n), None, None, Vec::new(), b"x"));
            records
        };
        let at = |n: u64| Some(Position::new(n));
        // Others have died with record 1 and given it up. Who remembers the lane from before gets record 2 next.
        let (given_up, next) = (place(&batch(&[1]), None), place(&batch(&[2]), None));
        assert_ne!(given_up, next);
        assert!(!plan(Some(&Tries { first: given_up, ..tries(0, 1, 3) }), &next, 1).careful);
        // However the batch is cut.
        assert_eq!(place(&batch(&[1, 2]), at(1)), next);
        assert_eq!(place(&batch(&[2, 3]), at(1)), next);
        // Of nothing nobody dies.
        let nothing = place(&batch(&[1, 2]), at(2));
        assert!(!is_under_way(Some(&Tries { first: nothing.clone(), ..tries(0, 2, 0) }), &nothing));
    }

    #[test]
    fn only_a_death_at_the_same_place_counts() {
        let whole = Plan { records: 10, deaths: 0, until: Timestamp(0), careful: false };
        assert_eq!(plan(None, "5", 10), whole);
        assert_eq!(plan(Some(&tries(4, 10, 0)), "5", 10), whole);
        assert_eq!(plan(Some(&tries(5, 0, 0)), "5", 10), whole);
        assert_eq!(
            plan(Some(&tries(5, 10, 0)), "5", 10),
            Plan { records: 5, deaths: 0, until: Timestamp(0), careful: true }
        );
        assert_eq!(
            plan(Some(&tries(5, 1, 2)), "5", 10),
            Plan { records: 1, deaths: 3, until: Timestamp(9), careful: true }
        );
    }

    #[test]
    fn a_record_is_given_up_when_nobody_can_be_at_work_with_it() {
        const S: Duration = Duration::from_secs(1);
        let at = |seconds: u32| Timestamp(0).plus(seconds * S);
        let plan = |deaths| Plan { records: 1, deaths, until: at(1000), careful: true };
        assert_eq!(plan(MAX_DEATHS - 1).waits_until(at(990)), None, "it is tried");
        assert_eq!(plan(MAX_DEATHS).waits_until(at(990)), Some(at(1002)));
        assert_eq!(plan(MAX_DEATHS).waits_until(at(1001)), Some(at(1002)), "clocks differ");
        assert_eq!(plan(MAX_DEATHS).waits_until(at(1002)), None);
        assert_eq!(plan(MAX_DEATHS).waits_until(at(98)), Some(at(1002)), "it began now, by a clock that goes before");
        assert_eq!(plan(MAX_DEATHS).waits_until(at(97)), None, "no invocation lasts as long");
    }
}
