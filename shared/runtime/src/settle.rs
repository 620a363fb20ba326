//! Delivers an outbox. What is decided about a rejected request is committed before it is acted on.

use tidegate_core::{Error, ErrorKind, OutboxEntry, Result};
use tidegate_delivery::{BlockKind, DeliveryContext, DeliveryReport, Outcome, check_remembered};
use tidegate_state::{CommitOutcome, Draft, LaneLimit};

use crate::lane::Budget;
use crate::report::Counts;
use crate::runtime::{LaneMemory, Runtime};

/// Carry commits in a row for one micro-batch at most. Splitting 10,000 rows down to one takes 14.
pub const MAX_CARRIES: u32 = 20;

impl Runtime {
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
        memory: &mut LaneMemory,
        mut first: bool,
        budget: Budget,
        counts: &mut Counts,
    ) -> Result<bool> {
        for _ in 0..=MAX_CARRIES {
            if memory.lane.head().outbox.is_empty() {
                memory.lane.settled();
                return Ok(true);
            }
            if !first {
                let (key, outbox) = (memory.lane.key(), &memory.lane.head().outbox);
                check_remembered(key, outbox, &self.pipeline.targets, self.ports.clock.now())?;
            }
            let report = self.deliver(memory, first, budget, counts).await;
            let key = memory.lane.key();
            let now = self.ports.clock.now();
            let outbox = &memory.lane.head().outbox;
            let next = tidegate_delivery::carry(key, outbox, &self.pipeline.targets, &report.outcomes, now)?;
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

    async fn deliver(&self, memory: &LaneMemory, first: bool, budget: Budget, counts: &mut Counts) -> DeliveryReport {
        let context = DeliveryContext { deadline: budget.end_before, first_attempt: first };
        let outbox = &memory.lane.head().outbox;
        let report = self.sender.deliver(memory.lane.key(), outbox, &self.pipeline.targets, context).await;
        counts.requests += report.counts.requests;
        counts.retries += report.counts.retries;
        counts.repeats += report.counts.repeats;
        report
    }

    /// Commits what is still owed as the next commit, under the ids that it already has.
    async fn carry(
        &self,
        memory: &mut LaneMemory,
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
            deadline: self.ports.clock.now().plus(remaining),
            carry: true,
            fingerprint: head.fingerprint,
            layout: head.layout.clone(),
        };
        match memory.lane.commit(draft, LaneLimit::Many).await? {
            CommitOutcome::Committed | CommitOutcome::AlreadyCommitted => {
                counts.commits += 1;
                counts.commit_bytes += memory.lane.head_bytes() as u64;
                Ok(true)
            }
            CommitOutcome::Conflict | CommitOutcome::Unknown(_) => Ok(false),
            CommitOutcome::Fenced(why) => Err(Error::new(ErrorKind::Fenced, why)),
            CommitOutcome::ManifestDue => Err(Error::internal("the manifest was left behind")),
        }
    }
}

/// Why the lane waits: a passing fault only if nothing in the report needs a person.
fn blocked(report: &DeliveryReport, message: String) -> Error {
    let passing = |outcome: &Outcome| matches!(outcome, Outcome::Blocked { kind: BlockKind::Passing, .. });
    let waiting = |outcome: &Outcome| !matches!(outcome, Outcome::Acknowledged | Outcome::NotTried);
    let all_pass = report.outcomes.iter().filter(|outcome| waiting(outcome)).all(passing);
    if all_pass { Error::unavailable(message).with_help(RESENT) } else { Error::invalid(message) }
}

const RESENT: &str = "nothing is lost: the records come again, and the target drops what it knows already";
