//! Lanes that end, and lanes that go on where others ended.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tidegate_core::{Error, LaneId, LaneKey, Position, Result, Timestamp};

use crate::blobs;
use crate::decide::Verdict;
use crate::decide::registry;
use crate::keys;
use crate::lane::{CommitOutcome, Lane};
use crate::load::genesis;
use crate::pipeline::Pipeline;
use crate::ports::{Condition, Item, MAX_TRANSACT_OPS};
use crate::record::Payload;
use crate::record::commit::Commit;
use crate::record::registry::Registered;
use crate::writes::{Slot, Written};

/// Bytes that all items of one resharding may have together: below the 4 MB that a DynamoDB transaction takes.
pub const MAX_RESHARD_BYTES: usize = 3_000_000;

/// A lane that goes on where others ended.
#[derive(Clone, Debug, Default)]
pub struct Child {
    /// Partition of the source, by its name in lane ids: see [`LaneId::new`].
    pub partition: String,
    /// The state that it begins with, as a snapshot in the engine's encoding. The caller decides who inherits what:
    /// partial windows and timers go to exactly one child, keyed state to every child that may get the key.
    pub snapshot: Bytes,
    /// Committed positions that it begins with: usually none, since a child's records are all new.
    pub positions: BTreeMap<String, Position>,
}

impl Pipeline {
    /// Ends `parents` and begins all `children` of them, in one transaction: each parent's ring is sealed, so that no
    /// writer with an old memory commits to it again; each child gets its first commit and is registered.
    ///
    /// Every parent must be settled, and no record of it may be left. All children must be given at once: what one of
    /// them inherits would otherwise be missing in the others for a while. A child's first number is larger than every
    /// parent's, its watermark is the largest of theirs.
    ///
    /// `Committed`, `AlreadyCommitted`: done. `Conflict`: a parent has moved on, or somebody else was first; load again,
    /// the children may be there. `ManifestDue`: a parent needs a manifest first, and nothing was tried. After anything
    /// else the parents have to be loaded again.
    ///
    /// # Errors
    /// Internal when the parents do not belong together, are not settled, or when names repeat; Invalid when all of it is too
    /// much for one transaction. Nothing was written then.
    pub async fn reshard(
        &self,
        source: &str,
        parents: &mut [Lane],
        children: Vec<Child>,
        deadline: Timestamp,
    ) -> Result<CommitOutcome> {
        let lanes: Vec<LaneId> = parents.iter().map(|parent| parent.key().lane.clone()).collect();
        let born: Vec<LaneId> = children.iter().map(|child| LaneId::new(source, &child.partition)).collect();
        let within = |e: Error| e.within(format!("resharding of {}", names(&lanes)));
        check(parents, &lanes, &born).map_err(within)?;
        if parents.iter().any(|parent| parent.head().sealed) {
            return Ok(CommitOutcome::Conflict);
        }
        if parents.iter().any(Lane::is_full) {
            return Ok(CommitOutcome::ManifestDue);
        }
        let entry = Registered {
            ring: self.shared.options.ring,
            first: parents.iter().map(Lane::next_number).max().unwrap_or_default() + 1,
        };
        let attempt = self.shared.ports.random.next_u128();
        let limit = self.shared.options.inline_limit.min(MAX_RESHARD_BYTES / (children.len() + parents.len()));
        let mut slots = Vec::new();
        for (child, lane) in children.into_iter().zip(&born) {
            let key = self.lane_key(lane);
            let commit = self.birth(&key, child, parents, entry, attempt, deadline);
            slots.push(self.birth_slot(&key, commit, limit).await.map_err(within)?);
        }
        for parent in parents.iter_mut() {
            slots.push(parent.sealing_slot(attempt, deadline).await.map_err(within)?);
        }
        // The first one is what a doubt is settled by.
        slots.rotate_right(parents.len());
        let judge = |known: &crate::pipeline::Known| Ok(registry::reshard(&known.registry, &lanes, &born, entry));
        match self.shared.put_with_registry(&slots, judge).await.map_err(within)? {
            Written::RegistryChanged => Ok(CommitOutcome::Conflict),
            Written::Judged(Verdict::Committed) => Ok(CommitOutcome::Committed),
            Written::Judged(Verdict::AlreadyCommitted) => Ok(CommitOutcome::AlreadyCommitted),
            Written::Judged(Verdict::Conflict) => Ok(CommitOutcome::Conflict),
            Written::Judged(Verdict::Fenced(why)) => Ok(CommitOutcome::Fenced(why)),
            Written::Judged(Verdict::Unknown(why)) => Ok(CommitOutcome::Unknown(why)),
            Written::Judged(Verdict::Failed(error)) => Err(within(error.into())),
            Written::Judged(Verdict::Repeat | Verdict::Read(_)) => {
                Err(within(Error::internal("an undecided resharding")))
            }
        }
    }

    /// The first commit of a child: its delta is the state that it begins with.
    fn birth(
        &self,
        key: &LaneKey,
        child: Child,
        parents: &[Lane],
        entry: Registered,
        attempt: u128,
        deadline: Timestamp,
    ) -> Commit {
        let head = parents[0].head();
        Commit {
            incarnation: key.incarnation,
            generation: key.generation,
            n: entry.first,
            ring: entry.ring,
            previous: genesis(key),
            writer: self.shared.writer,
            attempt,
            deadline,
            carry: false,
            sealed: false,
            birth: true,
            positions: child.positions,
            ranges: BTreeMap::new(),
            watermark: parents.iter().filter_map(|parent| parent.head().watermark).max(),
            sink_lengths: BTreeMap::new(),
            fingerprint: head.fingerprint,
            layout: Some(head.layout.clone()),
            delta: Payload::Inline(child.snapshot),
            outbox: Vec::new(),
        }
    }

    async fn birth_slot(&self, key: &LaneKey, mut commit: Commit, limit: usize) -> Result<Slot> {
        let mut data = commit.encode()?;
        if data.len() > limit {
            let (n, attempt) = (commit.n, commit.attempt);
            blobs::spill(&self.shared.ports, key, n, attempt, &mut [&mut commit.delta]).await?;
            data = commit.encode()?;
        }
        let slot = u16::try_from(commit.n % u64::from(commit.ring)).expect("smaller than the ring, which is a u16");
        let item = Item { version: commit.n, attempt: commit.attempt, data };
        Ok(Slot { key: keys::slot(key, slot), item, condition: Condition::Absent })
    }
}

fn names(lanes: &[LaneId]) -> String {
    lanes.iter().map(LaneId::as_str).collect::<Vec<_>>().join(", ")
}

fn check(parents: &[Lane], lanes: &[LaneId], born: &[LaneId]) -> Result<()> {
    let wrong = |why: String| Err(Error::internal(why));
    let distinct: BTreeSet<&LaneId> = lanes.iter().chain(born).collect();
    if lanes.is_empty() || born.is_empty() || distinct.len() != lanes.len() + born.len() {
        return wrong("it needs parents and children with names of their own".into());
    }
    if lanes.len() + born.len() >= MAX_TRANSACT_OPS {
        let limit = MAX_TRANSACT_OPS - 1;
        return Err(Error::invalid(format!("{} lanes are more than the limit of {limit}", distinct.len()))
            .with_help("split or merge fewer shards at a time"));
    }
    for parent in parents {
        let (lane, head) = (&parent.key().lane, parent.head());
        if parent.is_spoiled() {
            return wrong(format!("lane {lane} has to be loaded again"));
        }
        if head.n == 0 || !head.settled {
            return wrong(format!("commit {} of lane {lane} is not settled", head.n));
        }
        if head.fingerprint != parents[0].head().fingerprint {
            return wrong(format!("the state of lane {lane} has another layout than that of lane {}", lanes[0]));
        }
    }
    Ok(())
}
