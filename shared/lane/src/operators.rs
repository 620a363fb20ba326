//! What is computed, as a port.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tidegate_core::{CommitNumber, Error, HashRange, LaneKey, OutboxEntry, Result, Segment, Segments, Timestamp};
use tidegate_source::Records;
use tidegate_state::{LaneLimit, Layout, Snapshot};

use crate::report::{Counts, StageTimes};

/// A pipeline's computation: records to rows to requests, and the state between micro-batches.
///
/// Every step is a function of its arguments: the same state, records and context give the same bytes.
#[async_trait]
pub trait Operators: Send + Sync {
    /// A lane's state in memory. Cheap to clone.
    type State: Clone + Send + Sync;

    /// The names of all sources.
    fn sources(&self) -> Vec<String>;

    /// How many lanes `source` may have; `None` when the pipeline has no such source.
    fn lane_limit(&self, source: &str) -> Option<LaneLimit>;

    /// The layout of the state of a lane of `source`.
    fn layout(&self, source: &str) -> Layout;

    /// The state that is stored as `stored`.
    async fn restore(&self, source: &str, stored: Stored<'_>) -> Result<Self::State>;

    /// The state as bytes for a manifest, and what to go on with once the manifest is written: the same state, which
    /// knows what lies in segments now. What is large goes into new segments of the state's store.
    ///
    /// # Errors
    /// Conflict when a segment is gone.
    async fn checkpoint(&self, source: &str, state: &Self::State) -> Result<(Snapshot, Self::State)>;

    /// The whole state in one piece, for a lane that has segments of its own.
    ///
    /// # Errors
    /// Conflict when a segment is gone.
    async fn whole(&self, source: &str, state: &Self::State) -> Result<Bytes>;

    /// The watermark of a state. `None` until a record with event time was seen.
    fn watermark(&self, state: &Self::State) -> Option<Timestamp>;

    /// Computes what the lane's next commit says. Changes nothing: the commit may be refused and the step done again.
    ///
    /// # Errors
    /// Conflict when a segment is gone.
    async fn step(&self, context: &StepContext<'_>, state: &Self::State, work: Work<'_>) -> Result<Built<Self::State>>;

    /// The outputs of `source` whose windows are closed over all its lanes, by name.
    fn over_lanes(&self, source: &str) -> Vec<String> {
        let _ = source;
        Vec::new()
    }

    /// `state` with a watermark of at least `watermark`.
    fn seed(&self, state: Self::State, watermark: Timestamp) -> Self::State;

    /// The results of windows that all lanes have sealed. Independent of the order of the seals.
    async fn close(&self, context: &StepContext<'_>, close: &Close<'_>) -> Result<Closed> {
        let _ = context;
        Err(Error::internal(format!("output {} is not closed over lanes", close.output)))
    }

    /// The states that lanes begin with when they take the place of lanes with the states `parents`: one for each of
    /// `children`, in this order, which are the hashes of keys whose records it takes, where that is known.
    ///
    /// # Errors
    /// Invalid where what `parents` hold cannot be divided among several. Conflict when a segment is gone.
    async fn divide(
        &self,
        source: &str,
        parents: &[Self::State],
        children: &[Option<HashRange>],
    ) -> Result<Vec<Self::State>> {
        let _ = (parents, children);
        Err(Error::invalid(format!("source '{source}': its lanes cannot be split or merged")))
    }

    /// The largest event time that a lane of `source` has seen, as far as its state tells.
    fn newest(&self, source: &str, state: &Self::State) -> Option<Timestamp> {
        let _ = (source, state);
        None
    }

    /// After how long without a commit a lane counts as silent: it holds up nobody then, where its source cannot be asked,
    /// and its windows close by what it has seen. `None`: never.
    fn idle_after(&self, source: &str) -> Option<Duration> {
        let _ = source;
        None
    }

    /// A commit has succeeded; these are the lengths of files that it speaks of.
    fn committed(&self, sink_lengths: &BTreeMap<String, u64>) {
        let _ = sink_lengths;
    }
}

/// What a lane's state is restored from. All empty: a new lane.
pub struct Stored<'a> {
    /// The state at the manifest, without what lies in segments.
    pub snapshot: Option<&'a [u8]>,
    /// The segments that the manifest names.
    pub segments: &'a [Segment],
    /// The changes since, in commit order.
    pub deltas: &'a [Bytes],
    /// Where segments are fetched and stored. The state keeps it.
    pub store: Arc<dyn Segments>,
}

/// Where a step stands.
#[derive(Clone, Copy, Debug)]
pub struct StepContext<'a> {
    /// The source that the lane belongs to.
    pub source: &'a str,
    /// The partition that the records come from.
    pub partition: &'a str,
    /// The lane.
    pub lane: &'a LaneKey,
    /// The number of the commit that is being built.
    pub n: CommitNumber,
    /// What `now()` answers in it.
    pub now: Timestamp,
    /// Committed lengths of files, as of the head.
    pub sink_lengths: &'a BTreeMap<String, u64>,
}

/// What a step works on.
#[derive(Clone, Copy)]
pub enum Work<'a> {
    /// A micro-batch: at least one record, none of which is committed yet.
    Records(&'a Records),
    /// Close every open window: the end of a finite input.
    Drain,
    /// Raise the watermark to this without records.
    Advance(Timestamp),
    /// The first commit of a lane that has no records yet: the state as it is.
    Nothing,
}

/// What a step asks to be committed.
pub struct Built<S> {
    /// The state behind it.
    pub next: S,
    /// What restores `next` from the state before.
    pub delta: Bytes,
    /// What the commit owes, in order, with ids of the commit's number.
    pub outbox: Vec<OutboxEntry>,
    /// What the lane hands over to the close lanes; at most one per output.
    pub sealed: Vec<Sealed>,
    /// Lengths of files behind it.
    pub sink_lengths: BTreeMap<String, u64>,
    /// Counts of the step.
    pub counts: Counts,
    /// Time for decoding and for queries.
    pub times: StageTimes,
}

/// What a lane adds to the windows of an output that is closed over lanes.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// The output, by name.
    pub output: String,
    /// The lane adds nothing more to windows that end at or before this.
    pub through: Timestamp,
    /// The latest end of a window in `rows`; `None` without rows.
    pub latest_end: Option<Timestamp>,
    /// Partial rows, opaque here. Empty: the watermark passed the end of a window of which the lane has no rows.
    pub rows: Bytes,
}

/// Which windows are closed, and of what.
#[derive(Clone, Copy, Debug)]
pub struct Close<'a> {
    /// The output, by name.
    pub output: &'a str,
    /// Rows of all seals that may hold such windows, of all lanes.
    pub seals: &'a [Bytes],
    /// Windows that end at or before this are closed already.
    pub floor: Option<Timestamp>,
    /// Windows that end at or before this are closed now.
    pub to: Timestamp,
}

/// What closing asks to be committed.
#[derive(Debug)]
pub struct Closed {
    /// The results as requests, with ids of the commit's number.
    pub outbox: Vec<OutboxEntry>,
    /// Lengths of files behind it.
    pub sink_lengths: BTreeMap<String, u64>,
    /// Counts.
    pub counts: Counts,
}
