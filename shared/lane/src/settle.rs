//! Delivers an outbox. What is decided about a rejected request is committed before it is acted on.

use tidegate_core::outbox::SEALS;
use tidegate_core::{Error, ErrorKind, LaneId, OutboxEntry, Result};
use tidegate_delivery::{BlockKind, DeliveryContext, DeliveryReport, Outcome, check_remembered};
use tidegate_state::{Draft, LaneLimit};

use crate::budget::Budget;
use crate::lanes::{LaneMemory, Lanes};
use crate::operators::Operators;
use crate::report::Counts;
use crate::take_over::Taken;

/// Carry commits in a row for one micro-batch at most. Splitting 10,000 rows down to one takes 14.
pub const MAX_CARRIES: u32 = 20;

impl<O: Operators> Lanes<O> {
    /// Sends the head's outbox until each request is acknowledged or decided.
    ///
    /// `first` says that this environment has just committed the head and nothing of it was sent yet.
    /// `false` means that somebody else committed meanwhile: the memory is stale.
    ///
    /// # Errors
    /// `Unavailable` for a passing fault, `Invalid` where a person must look: at a rejection, or at a target that may
    /// have forgotten what was sent before. The memory must be dropped.
    pub(crate) async fn settle(
        &self,
        memory: &mut LaneMemory<O::State>,
        mut first: bool,
        budget: Budget,
        counts: &mut Counts,
    ) -> Result<bool> {
        let mut sole = first;
        for _ in 0..=MAX_CARRIES {
            if memory.lane.head().outbox.is_empty() {
                memory.lane.settled();
                return Ok(true);
            }
            if !first {
                let (key, outbox) = (memory.lane.key(), &memory.lane.head().outbox);
                check_remembered(key, outbox, &self.targets, self.clock.now())?;
            }
            if !sole {
                sole = true;
                match self.take_over(memory, budget, counts).await? {
                    Taken::Mine => {}
                    Taken::NothingOwed => {
                        memory.lane.settled();
                        return Ok(true);
                    }
                    Taken::Lost => return Ok(false),
                }
            }
            let report = self.deliver(memory, first, budget, counts).await;
            let key = memory.lane.key();
            let now = self.clock.now();
            let outbox = &memory.lane.head().outbox;
            let next = tidegate_delivery::carry(key, outbox, &self.targets, &report.outcomes, now)?;
            if next.outbox.is_empty() {
                memory.lane.settled();
                return Ok(true);
            }
            if next.decided > 0 {
                counts.dead_letters += next.dead_letters;
                first = first && next.untried;
                if !self.carry(memory, next.outbox, budget, counts).await? {
                    return Ok(false);
                }
            }
            if let Some(message) = next.blocked.into_iter().next() {
                return Err(blocked(&report, message));
            }
            if next.decided == 0 {
                return Err(Error::unavailable("the time was used up before every request was sent").with_help(RESENT));
            }
        }
        Err(Error::internal(format!("an outbox was not settled by {MAX_CARRIES} carry commits")))
    }

    /// Sends what a lane's head still owes, if anything.
    pub async fn resume(&self, id: &LaneId, budget: Budget) -> Result<Counts> {
        let mut counts = Counts::default();
        for _ in 0..self.options.max_tries {
            let mut memory = self.recall(id).await?;
            if memory.lane.head().settled || self.settle(&mut memory, false, budget, &mut counts).await? {
                self.remember(memory);
                return Ok(counts);
            }
        }
        Err(self.lost_every_race(id))
    }

    async fn deliver(
        &self,
        memory: &LaneMemory<O::State>,
        first: bool,
        budget: Budget,
        counts: &mut Counts,
    ) -> DeliveryReport {
        let context = DeliveryContext { deadline: budget.end_before, first_attempt: first };
        let outbox = &memory.lane.head().outbox;
        let (seals, requests): (Vec<usize>, Vec<usize>) =
            (0..outbox.len()).partition(|place| outbox[*place].target == SEALS);
        let report = if seals.is_empty() {
            self.sender.deliver(memory.lane.key(), outbox, &self.targets, context).await
        } else {
            let entries: Vec<OutboxEntry> = requests.iter().map(|place| outbox[*place].clone()).collect();
            let mut report = self.sender.deliver(memory.lane.key(), &entries, &self.targets, context).await;
            let mut outcomes = vec![Outcome::NotTried; outbox.len()];
            for (place, outcome) in requests.into_iter().zip(report.outcomes) {
                outcomes[place] = outcome;
            }
            for place in seals.into_iter().take_while(|_| self.elapsed() < budget.end_before) {
                outcomes[place] = self.put_seal(&outbox[place]).await;
            }
            report.outcomes = outcomes;
            report
        };
        self.add_sent(&report.counts, 0);
        counts.requests += report.counts.requests;
        counts.retries += report.counts.retries;
        counts.repeats += report.counts.repeats;
        counts.unknown += report.counts.unknown;
        report
    }

    async fn put_seal(&self, entry: &OutboxEntry) -> Outcome {
        match self.store.put_seal(&entry.payload).await {
            Ok(_) => Outcome::Acknowledged,
            Err(error) => {
                let passing = error.kind() == ErrorKind::Unavailable;
                let kind = if passing { BlockKind::Passing } else { BlockKind::NeedsAttention };
                Outcome::Blocked { kind, message: error.to_string() }
            }
        }
    }

    /// Commits what is still owed as the next commit, under the ids that it already has.
    pub(crate) async fn carry(
        &self,
        memory: &mut LaneMemory<O::State>,
        owed: Vec<OutboxEntry>,
        budget: Budget,
        counts: &mut Counts,
    ) -> Result<bool> {
        // A chain of carries must not use up the ring: what a carry carries over is covered behind it.
        if memory.lane.head().carry && !self.manifest_if_due(memory).await? {
            return Ok(false);
        }
        let head = memory.lane.head();
        let remaining = budget.end_before.saturating_sub(self.elapsed());
        let draft = Draft {
            positions: head.positions.clone(),
            ranges: head.ranges.clone(),
            watermark: head.watermark,
            sink_lengths: head.sink_lengths.clone(),
            delta: Default::default(),
            outbox: owed,
            deadline: self.clock.now().plus(remaining),
            carry: true,
            fingerprint: head.fingerprint,
            layout: head.layout.clone(),
        };
        self.commit(memory, draft, LaneLimit::Many, counts).await
    }
}

/// Why the lane waits: a passing fault only if nothing in the report needs a person.
fn blocked(report: &DeliveryReport, message: String) -> Error {
    let passing = |outcome: &Outcome| matches!(outcome, Outcome::Blocked { kind: BlockKind::Passing, .. });
    let waiting = |outcome: &Outcome| !outcome.is_settled() && *outcome != Outcome::NotTried;
    let all_pass = report.outcomes.iter().filter(|outcome| waiting(outcome)).all(passing);
    if all_pass { Error::unavailable(message).with_help(RESENT) } else { Error::invalid(message) }
}

const RESENT: &str = "nothing is lost: the records come again, and the target drops what it knows already";
