//! What the engine hands out: outputs, state, and the result of one step.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use tidegate_core::{Error, Segments, Timestamp};

use crate::plan::layout::layout_of;
use crate::state::{OperatorState, Times};

/// The part of a pipeline that a mistake stands in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// A source, by name.
    Source(String),
    /// A view, by name.
    View(String),
    /// An output, by name.
    Output(String),
}

/// Why a query cannot run.
#[derive(Debug)]
pub struct PlanError {
    /// Where it stands.
    pub part: Part,
    /// What is wrong and what to do.
    pub error: Error,
    /// Line and column within the SQL, counted from 1, where known.
    pub location: Option<(usize, usize)>,
}

/// An output as planned.
#[derive(Clone, Debug)]
pub struct OutputPlan {
    /// Its name.
    pub name: String,
    /// The one source that it reads.
    pub source: String,
    /// Its columns.
    pub schema: SchemaRef,
    /// How it is computed.
    pub kind: OutputKind,
    /// The columns of its late rows, where they are kept.
    pub late_schema: Option<SchemaRef>,
    /// Sources and views that it reads, directly or through views. Sorted.
    pub uses: Vec<String>,
    /// What its author should know.
    pub warnings: Vec<String>,
}

/// How an output is computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputKind {
    /// Row by row.
    Stateless,
    /// A query over one micro-batch.
    BatchAggregate,
    /// An aggregation on a window.
    Windowed {
        /// The size of the window.
        size: Duration,
        /// How far apart windows begin: the size, or less where windows slide.
        slide: Duration,
        /// Names of the group keys beside the window.
        group_keys: Vec<String>,
        /// Whether all rows of a group arrive in one lane: every column of the source's `partition_key` is among
        /// the group keys.
        lane_local: bool,
        /// Who closes its windows.
        closing: Closing,
    },
}

/// Who closes the windows of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// Each lane by itself: every group stands in one lane only, or the source has one lane.
    Lane,
    /// All lanes together: a lane seals the partial rows of windows that its watermark has reached
    /// ([`Step::sealed`]), and [`crate::Engine::close`] merges the seals of all lanes.
    OverLanes,
}

/// The layout of a source's state: equal hashes mean that state can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateLayout {
    /// A hash over `operators`.
    pub hash: [u8; 16],
    /// One line per stateful operator.
    pub operators: Vec<String>,
}

impl StateLayout {
    /// The layout with one line more.
    #[must_use]
    pub fn with(self, line: String) -> Self {
        let mut operators = self.operators;
        operators.push(line);
        layout_of(operators)
    }
}

/// A lane's state. Cheap to clone: it shares its rows.
#[derive(Clone, Debug)]
pub struct LaneState {
    /// Everything before it has arrived, as far as the lane knows. `None` until a row with event time was seen.
    pub watermark: Option<Timestamp>,
    /// The largest event time that was seen, cut to milliseconds. The watermark may be ahead of it: where it was moved
    /// without rows, or seeded.
    pub newest: Option<Timestamp>,
    /// One per stateful operator of the source, in the order of [`StateLayout::operators`].
    pub(crate) operators: Vec<OperatorState>,
    pub(crate) source: Arc<str>,
    /// Where rows in segments lie. Without one there are no segments.
    pub(crate) store: Option<Arc<dyn Segments>>,
}

impl LaneState {
    pub(crate) fn times(&self) -> Times {
        Times { watermark: self.watermark, newest: self.newest }
    }
}

/// What one micro-batch changes.
#[derive(Clone, Debug)]
pub struct Step {
    /// Rows per output; an output may be missing, and may come twice (results and late rows).
    pub results: Vec<OutputRows>,
    /// At most one per output that is closed over lanes.
    pub sealed: Vec<SealedRows>,
    /// What restores `next` from the state before.
    pub delta: Vec<u8>,
    /// The state behind the step.
    pub next: LaneState,
    /// Rows and groups that an expression raised for.
    pub rejected: Vec<RejectedRow>,
    /// One per output of the engine, in its order; zeros for outputs of other sources.
    pub counts: Vec<OutputCounts>,
}

/// Rows of an output.
#[derive(Clone, Debug)]
pub struct OutputRows {
    /// The output's place in [`crate::Engine::outputs`].
    pub output: usize,
    /// Whether these are rows that came too late for their window (with the columns of `late_schema`).
    pub late: bool,
    /// The rows. At least one.
    pub batch: RecordBatch,
}

/// What a lane adds to the windows of an output that is closed over lanes. After it the lane adds nothing more to
/// windows that end at or before `through`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedRows {
    /// The output's place in [`crate::Engine::outputs`].
    pub output: usize,
    /// The lane's watermark behind the step.
    pub through: Timestamp,
    /// The latest end of a window in `rows`; `None` without rows.
    pub latest_end: Option<Timestamp>,
    /// Partial rows, one per group, sorted by window, then by the other keys. For [`crate::Engine::close`] alone.
    /// `None`: the watermark passed the end of a window that the lane has no rows of.
    pub rows: Option<Vec<u8>>,
}

/// What closing windows over all lanes gives.
#[derive(Clone, Debug)]
pub struct CloseStep {
    /// Results sorted by window, then by the other keys. Empty, or one entry.
    pub results: Vec<OutputRows>,
    /// Groups that an expression raised for.
    pub rejected: Vec<RejectedRow>,
    /// Windows closed and rows of the result.
    pub counts: OutputCounts,
}

/// A row or a group that an expression raised for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedRow {
    /// The output's place in [`crate::Engine::outputs`].
    pub output: usize,
    /// The row of the input batch; `None` for a group.
    pub row: Option<u32>,
    /// The group as JSON, for errors behind an aggregation.
    pub group: Option<String>,
    /// The expression that raised; empty where it cannot be told.
    pub expression: String,
    /// Why, beginning with Spark's error class in brackets.
    pub reason: String,
}

/// Counts of one step and one output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputCounts {
    /// Rows that came too late for their window.
    pub late: u64,
    /// Rows that belong to no window because they have no event time.
    pub filtered_no_event_time: u64,
    /// Windows that were closed. Sealed ones are counted by the one who closes them.
    pub windows_closed: u64,
    /// Rows of the result.
    pub rows_out: u64,
}

/// Windows that wait for the watermark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenWindows {
    /// The output's place in [`crate::Engine::outputs`].
    pub output: usize,
    /// How many windows are open.
    pub windows: u64,
    /// How many groups they hold together.
    pub groups: u64,
    /// Whether both are upper bounds: some rows lie in segments, where a group may stand more than once.
    pub at_most: bool,
    /// The start of the earliest one.
    pub earliest: Option<Timestamp>,
    /// The start of the latest one.
    pub latest: Option<Timestamp>,
}
