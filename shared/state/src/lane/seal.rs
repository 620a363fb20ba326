//! Commits that end a lane.

use tidegate_core::{Error, OutboxEntry, Result, Timestamp};

use super::{CommitOutcome, Draft, Lane, Way};
use crate::ports::Item;
use crate::record::registry::Phase;
use crate::writes::Slot;

impl Lane {
    /// Seals the lane: from here on it takes no records, from no writer; a sealing commit in a ring fences those that work
    /// with an old memory. `owed` is what the head still owes, and is carried over; nothing if the head is settled. A sealed
    /// lane is settled, and its outbox decided by carry commits, as ever. One that is sealed already is left alone.
    ///
    /// For a pipeline whose generation is being sealed, see [`Pipeline::begin_generation`](crate::Pipeline).
    ///
    /// # Errors
    /// Internal when the pipeline is not being sealed, when the lane has no commit, or when the head owes something and
    /// nothing is carried over. Nothing was written then.
    pub async fn seal(&mut self, owed: Vec<OutboxEntry>, deadline: Timestamp) -> Result<CommitOutcome> {
        self.check_usable()?;
        if self.head.sealed {
            return Ok(CommitOutcome::AlreadyCommitted);
        }
        if self.shared.refresh().await?.registry.phase == Phase::Open {
            return Err(self.within(Error::internal("the pipeline is not being sealed")));
        }
        self.check_owed(&owed)?;
        self.commit_by(self.sealing(owed, deadline), Way::Seal).await
    }

    /// Seals a lane for good whose source has ended and has no successors. The caller has seen that nothing is left:
    /// no record behind the committed position, no open window, nothing owed.
    ///
    /// # Errors
    /// Internal when the lane is not settled, has no commit, or is a close lane. Nothing was written then.
    pub async fn finish(&mut self, deadline: Timestamp) -> Result<CommitOutcome> {
        self.check_usable()?;
        self.check_owed(&[])?;
        if self.head.sealed {
            return Ok(CommitOutcome::Conflict);
        }
        self.commit_by(self.sealing(Vec::new(), deadline), Way::Finish).await
    }

    fn check_owed(&self, owed: &[OutboxEntry]) -> Result<()> {
        if self.head.n > 0 && (self.head.settled || !owed.is_empty()) {
            return Ok(());
        }
        Err(self.within(Error::internal(format!("commit {} is not settled", self.head.n))))
    }

    /// The sealing commit of a lane whose head is settled, for a transaction of several slots. From here on the lane
    /// is spoiled: whether it is sealed, a load tells.
    pub(crate) async fn sealing_slot(&mut self, attempt: u128, deadline: Timestamp) -> Result<Slot> {
        let draft = self.sealing(Vec::new(), deadline);
        let data = self.build(&draft, true, attempt).await?;
        self.spoiled = Some("it was being sealed");
        Ok(self.slot(Item { version: self.next_number(), attempt, data }))
    }

    /// A commit without records that changes nothing but who may commit.
    pub(super) fn sealing(&self, owed: Vec<OutboxEntry>, deadline: Timestamp) -> Draft {
        let head = self.head.clone();
        Draft {
            positions: head.positions,
            ranges: head.ranges,
            watermark: head.watermark,
            sink_lengths: head.sink_lengths,
            outbox: owed,
            deadline,
            carry: true,
            ..Draft::default()
        }
    }
}
