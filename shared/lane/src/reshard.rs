//! Partitions that continue others: a shard that was split, shards that were merged.
//!
//! The first batch of an unknown partition asks where it comes from. What its parents have read must be committed and
//! settled; then one transaction ends their lanes and begins the lanes of all their children, with what they inherit.

use tidegate_core::{Error, ErrorKind, HashRange, LaneId, Result};
use tidegate_state::{Child, CommitOutcome, RegistryView};

use crate::batch::Task;
use crate::budget::Budget;
use crate::decide::{self, Family};
use crate::lanes::{LaneMemory, Lanes};
use crate::operators::Operators;
use crate::report::Counts;
use crate::view::{Backlog, Descent, SourceView};

/// Generations of partitions that one call brings forward. A stream is split a few times a day at most.
const MAX_DEPTH: usize = 64;

/// How a partition came to its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It has one: from before, or as the child of others.
    Known,
    /// It continues nothing that has a lane: its first commit makes one.
    First,
    /// What it continues has records left. It has no lane yet.
    TooEarly,
}

impl<O: Operators> Lanes<O> {
    /// Gives `partition` its lane, if it continues partitions that have one: their lanes end, and all their children
    /// begin with what they leave. To be called before the first batch of a partition that this environment does not
    /// know; does nothing where the lane is there, or continues nothing.
    ///
    /// # Errors
    /// Unavailable while a parent has records that are not committed, or its target is down; the source delivers again.
    /// Invalid where the state cannot be divided.
    pub async fn adopt(&self, source: &str, partition: &str, view: &dyn SourceView, budget: Budget) -> Result<Counts> {
        let mut counts = Counts::default();
        if self.store.knows(&LaneId::new(source, partition)) {
            return Ok(counts);
        }
        let registry = self.store.registry().await?;
        if registry.lanes.contains(&LaneId::new(source, partition)) || registry.lanes.is_empty() {
            return Ok(counts);
        }
        let lineage = view.lineage(source).await?;
        match self.originate(source, partition, &lineage, view, budget, &mut counts).await? {
            Origin::Known | Origin::First => Ok(counts),
            Origin::TooEarly => Err(Error::unavailable(format!(
                "partition {partition} continues another one, which has records that are not committed"
            ))
            .with_help("the source delivers again; if this lasts, look why the older partition is behind")),
        }
    }

    /// Brings the lanes that `partition` descends from forward to it, one generation of partitions after the other.
    pub(crate) async fn originate(
        &self,
        source: &str,
        partition: &str,
        lineage: &[Descent],
        view: &dyn SourceView,
        budget: Budget,
        counts: &mut Counts,
    ) -> Result<Origin> {
        let mut lost = 0;
        for _ in 0..MAX_DEPTH {
            let registry = self.store.registry().await?;
            if registry.lanes.contains(&LaneId::new(source, partition)) {
                return Ok(Origin::Known);
            }
            let has_lane = |name: &str| registry.lanes.contains(&LaneId::new(source, name));
            let Some(family) = decide::next_family(lineage, partition, &has_lane) else { return Ok(Origin::First) };
            if family.children.iter().any(|child| has_lane(child)) {
                if self.leave_nothing(source, &family).await? {
                    return Ok(Origin::First);
                }
                return Err(self.torn_family(source, &family, &registry));
            }
            let hashes = decide::hashes(lineage, &family.children);
            match self.reshard(source, &family, &hashes, view, budget, counts).await? {
                Some(true) => {}
                Some(false) => return Ok(Origin::TooEarly),
                None => lost += 1,
            }
            if lost >= self.options.max_tries {
                return Err(self.lost_every_race(&LaneId::new(source, partition)));
            }
        }
        Err(Error::invalid(format!("partition {partition}: its ancestors go back over more than {MAX_DEPTH} splits"))
            .with_help("begin a new generation with `tidegate reset`"))
    }

    /// Ends the parents and begins the children, which take `hashes`. `Some(false)`: a parent has records left. `None`: somebody else was
    /// first, or the outcome is unknown.
    async fn reshard(
        &self,
        source: &str,
        family: &Family,
        hashes: &[Option<HashRange>],
        view: &dyn SourceView,
        budget: Budget,
        counts: &mut Counts,
    ) -> Result<Option<bool>> {
        let (mut lanes, mut states) = (Vec::new(), Vec::new());
        for parent in &family.parents {
            let id = LaneId::new(source, parent);
            // What is remembered may be old: another environment may have read the parent's end.
            self.forget(&id);
            let mut memory = self.recall(&id).await?;
            if memory.lane.head().sealed {
                return Ok(None);
            }
            let within = |error: Error| error.within(format!("lane {id}"));
            let settled =
                memory.lane.head().settled || self.settle(&mut memory, false, budget, counts).await.map_err(within)?;
            if !settled || !self.manifest_if_due(&mut memory).await? {
                return Ok(None);
            }
            let committed = memory.lane.head().positions.get(parent).copied().or(self.origin.begin(&id)?);
            if view.backlog(source, parent, committed).await? != Backlog::Empty {
                self.remember(memory);
                return Ok(Some(false));
            }
            let LaneMemory { lane, state } = memory;
            lanes.push(lane);
            states.push(state.ok_or_else(|| Error::internal("a close lane has no partition"))?);
        }
        let children = match self.heirs(source, family, hashes, &states).await {
            Err(error) if error.kind() == ErrorKind::Conflict => return Ok(None),
            children => children?,
        };
        match self.store.reshard(source, &mut lanes, children, self.deadline(budget)).await? {
            CommitOutcome::Conflict | CommitOutcome::Unknown(_) => Ok(None),
            outcome => self.judge(outcome).map(Some),
        }
    }

    /// The children with what they begin with. Segments belong to one lane, so nobody inherits them as they are.
    async fn heirs(
        &self,
        source: &str,
        family: &Family,
        hashes: &[Option<HashRange>],
        parents: &[O::State],
    ) -> Result<Vec<Child>> {
        let states = self.operators.divide(source, parents, hashes).await.map_err(|error| {
            error.within(format!("{} continued by {}", family.parents.join(", "), family.children.join(", ")))
        })?;
        let mut children = Vec::with_capacity(states.len());
        for (partition, state) in family.children.iter().zip(&states) {
            let snapshot = self.operators.whole(source, state).await?;
            children.push(Child { partition: partition.clone(), snapshot, ..Child::default() });
        }
        Ok(children)
    }

    /// Gives lanes to those of `missing` that can have one now: parents first, children through their parents.
    pub(crate) async fn join_missing(
        &self,
        source: &str,
        missing: &[String],
        view: &dyn SourceView,
        budget: Budget,
        counts: &mut Counts,
    ) -> Result<()> {
        let lineage = view.lineage(source).await?;
        for partition in decide::oldest_first(&lineage, missing) {
            let registry = self.store.registry().await?;
            let has_lane = |name: &str| registry.lanes.contains(&LaneId::new(source, name));
            if decide::is_continued(&lineage, &partition, &has_lane) {
                // The generation began behind its end: it will never have a record again.
                continue;
            }
            if self.originate(source, &partition, &lineage, view, budget, counts).await? == Origin::First {
                let report = self.run_lane(source, &partition, Task::Join, budget).await?;
                *counts += &report.counts;
            }
        }
        Ok(())
    }

    /// Whether the parents have lanes that never took a record: who continues them misses nothing.
    async fn leave_nothing(&self, source: &str, family: &Family) -> Result<bool> {
        for parent in &family.parents {
            if !self.look(&LaneId::new(source, parent), |head, _| head.positions.is_empty()).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn torn_family(&self, source: &str, family: &Family, registry: &RegistryView) -> Error {
        let known: Vec<&str> = (family.children.iter().map(String::as_str))
            .filter(|child| registry.lanes.contains(&LaneId::new(source, child)))
            .collect();
        Error::invalid(format!(
            "source '{source}': {} continue {}, but {} began without it",
            family.children.join(" and "),
            family.parents.join(" and "),
            known.join(" and "),
        ))
        .with_help(
            "begin a new generation with `tidegate reset`; name the stream in from: of the source before it is split",
        )
    }
}
