//! How a lane's commits reach its ring.

use tidegate_core::{Error, LaneKey, Result};

use super::{Lane, LaneLimit};
use crate::decide::registry::{self, Change, Closing, Newcomer};
use crate::decide::{self, Verdict};
use crate::keys;
use crate::pipeline::Known;
use crate::ports::{Condition, Item, ItemKey};
use crate::writes::{Slot, Written};

impl Lane {
    fn slot_key(&self, n: u64) -> ItemKey {
        let slot = u16::try_from(n % u64::from(self.ring.ring)).expect("smaller than the ring, which is a u16");
        keys::slot(&self.key, slot)
    }

    /// A commit, its slot, and what the slot must hold: the commit one round before, or nothing in the first round.
    pub(super) fn slot(&self, item: Item) -> Slot {
        let before = item.version.checked_sub(u64::from(self.ring.ring)).filter(|before| *before >= self.ring.first);
        let condition = before.map_or(Condition::Absent, Condition::Version);
        Slot { key: self.slot_key(item.version), item, condition }
    }

    pub(super) async fn put(&self, item: Item) -> Verdict {
        self.shared.put_with(self.slot(item), decide::commit).await
    }

    /// The first commit: registers the lane and fills its first slot, or does neither.
    pub(super) async fn register(&self, item: Item, limit: LaneLimit) -> Result<Written> {
        let newcomer = Newcomer { lane: &self.key.lane, ring: self.ring.ring, floors: &self.floors };
        let judge = |known: &Known| {
            check_limit(known, &self.key, limit)?;
            Ok(registry::register(&known.registry, newcomer))
        };
        // Whoever meets an outdated load has to load again.
        match self.shared.put_with_registry(&[self.slot(item)], judge).await? {
            Written::RegistryChanged => Ok(Written::Judged(Verdict::Conflict)),
            written => Ok(written),
        }
    }

    /// A close commit: fills its slot and raises the floor, or does neither.
    pub(super) async fn close(&self, item: Item, closing: &Closing) -> Result<Written> {
        self.shared.put_with_registry(&[self.slot(item)], |known| Ok(self.judge_close(known, closing))).await
    }

    pub(super) fn judge_close(&self, known: &Known, closing: &Closing) -> Change {
        registry::close(&known.registry, known.version, &self.key.lane, self.ring.ring, closing)
    }

    /// The last commit of a lane that is finished: fills its slot and lists the lane as finished, or does neither.
    pub(super) async fn finish_with(&self, item: Item) -> Result<Written> {
        let judge = |known: &Known| Ok(registry::finish(&known.registry, &self.key.lane));
        self.shared.put_with_registry(&[self.slot(item)], judge).await
    }
}

pub(super) fn check_limit(known: &Known, key: &LaneKey, limit: LaneLimit) -> Result<()> {
    if limit == LaneLimit::Many {
        return Ok(());
    }
    let registry = &known.registry;
    let other = registry
        .lanes
        .keys()
        .find(|lane| lane.source() == key.lane.source() && **lane != key.lane && !registry.finished.contains(*lane));
    other.map_or(Ok(()), |other| {
        Err(Error::invalid(format!(
            "source {} has a second lane, {}, beside {other}: its windows group by columns that several \
             partitions share, which would give a wrong answer per partition",
            key.lane.source(),
            key.lane
        ))
        .with_help("put every column of partition_key into GROUP BY, or read a source with one partition"))
    })
}
