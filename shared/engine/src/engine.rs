//! The engine: all plans of a pipeline, and the steps they make.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute;
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use bytes::Bytes;
use tidegate_core::{Error, Result, Timestamp};

use crate::api::{Closing, LaneState, OpenWindows, OutputCounts, OutputPlan, OutputRows, PlanError, StateLayout, Step};
use crate::dialect::BatchClock;
use crate::hashes::HashedKeys;
use crate::plan;
use crate::run::rows::RowsQuery;
use crate::run::window::WindowQuery;
use crate::run::{Runner, finish_now};
use crate::segment::{SegmentOptions, StoredState};
use crate::spec::EngineSpec;
use crate::state::{OperatorState, StateSchemas, decode, encode};

/// Queries that were planned once and run on any number of lanes.
///
/// One engine runs one step at a time: the clock that queries read is bound per step.
#[derive(Debug)]
pub struct Engine {
    pub(crate) outputs: Vec<OutputPlan>,
    pub(crate) queries: Vec<Query>,
    pub(crate) sources: BTreeMap<String, SourcePlan>,
    pub(crate) runner: Runner,
    pub(crate) clock: BatchClock,
    pub(crate) turn: tokio::sync::Mutex<()>,
    pub(crate) plans_made: u64,
    pub(crate) segments: SegmentOptions,
}

/// The plans of one output.
#[derive(Debug)]
pub(crate) enum Query {
    Rows(RowsQuery),
    Window(Box<WindowQuery>),
}

/// What reads one source.
#[derive(Debug)]
pub(crate) struct SourcePlan {
    pub(crate) name: Arc<str>,
    pub(crate) schema: SchemaRef,
    /// The column of event time and the delay in microseconds.
    pub(crate) watermark: Option<(usize, i64)>,
    /// Outputs that read the source, in their order.
    pub(crate) outputs: Vec<usize>,
    /// Those with state, in the order of their state.
    pub(crate) windows: Vec<usize>,
    pub(crate) layout: StateLayout,
    /// Schemas of the state, in the order of `windows`.
    pub(crate) schemas: Vec<StateSchemas>,
}

impl Engine {
    /// Plans everything. All mistakes of all views and outputs are told at once.
    ///
    /// # Errors
    /// One per mistake, in the order of the specification; what uses a broken view is not told again.
    pub fn plan(spec: &EngineSpec) -> Result<Self, Vec<PlanError>> {
        plan::plan(spec)
    }

    /// The outputs in the order of the specification.
    pub fn outputs(&self) -> &[OutputPlan] {
        &self.outputs
    }

    /// How many queries were planned. It never grows behind [`Engine::plan`].
    pub fn plans_made(&self) -> u64 {
        self.plans_made
    }

    /// The layout of the state of a source's operators; empty for a source that no output reads.
    pub fn fingerprint(&self, source: &str) -> StateLayout {
        match self.sources.get(source) {
            Some(plan) => plan.layout.clone(),
            None => plan::layout::layout_of(Vec::new()),
        }
    }

    /// The state of a lane that has seen nothing.
    pub fn new_state(&self, source: &str) -> LaneState {
        let windows = self.sources.get(source).map_or(0, |plan| plan.windows.len());
        LaneState {
            watermark: None,
            newest: None,
            operators: vec![OperatorState::default(); windows],
            source: source.into(),
            store: None,
        }
    }

    /// Runs all outputs of `source` over one micro-batch. `now` is what `now()` answers in it.
    ///
    /// Rows are late by the watermark that `state` brings; then the watermark advances by every row of `batch`, and
    /// windows that it has reached are closed, or sealed, in the same step.
    ///
    /// # Errors
    /// A batch with other columns, an unknown source, or a plan that fails for no row's fault. `state` is unchanged.
    pub async fn process(&self, source: &str, state: &LaneState, batch: RecordBatch, now: Timestamp) -> Result<Step> {
        self.process_hashed(source, state, batch, None, now).await
    }

    /// As [`Engine::process`], with the hashes by which the stream chose the partition of the rows: one for each row,
    /// `None` where it is not known. They are kept with the groups of windows that lanes close by themselves, for
    /// [`Engine::split_state`].
    ///
    /// # Errors
    /// As [`Engine::process`].
    pub async fn process_hashed(
        &self,
        source: &str,
        state: &LaneState,
        batch: RecordBatch,
        hashes: Option<&[Option<u128>]>,
        now: Timestamp,
    ) -> Result<Step> {
        let plan = self.source(source, state)?;
        if batch.schema_ref().fields() != plan.schema.fields() {
            return Err(Error::internal(format!(
                "source '{source}': the batch has other columns than were planned: {:?}",
                batch
                    .schema_ref()
                    .fields()
                    .iter()
                    .map(|f| format!("{} {}", f.name(), f.data_type()))
                    .collect::<Vec<_>>()
            )));
        }
        let _turn = self.turn.lock().await;
        self.clock.set(now.0);
        let mut step = self.empty_step(state);
        let newest = plan.newest(&batch);
        step.next.newest = later(state.newest, newest);
        step.next.watermark = later(state.watermark, newest.map(|newest| plan.follows(newest)));
        let keys = self.hashed_keys(plan, &batch, hashes)?;
        let mut deltas = vec![None; plan.windows.len()];
        for &output in plan.outputs.iter().filter(|_| batch.num_rows() > 0) {
            match &self.queries[output] {
                Query::Rows(query) => {
                    let rows = query.run(&self.runner, output, &batch, &mut step.rejected).await?;
                    step.give(output, rows);
                }
                Query::Window(query) => {
                    let found = state.watermark.map(|at| at.0);
                    let absorbed = query.absorb(&self.runner, output, &batch, found, &mut step.rejected).await?;
                    step.counts[output].late = absorbed.late_count;
                    step.counts[output].filtered_no_event_time = absorbed.without_time;
                    if let Some(late) = absorbed.late.filter(|rows| rows.num_rows() > 0) {
                        step.results.push(OutputRows { output, late: true, batch: late });
                    }
                    let place = plan.windows.iter().position(|&window| window == output);
                    let partial = absorbed.partial.map(|rows| query.fill(rows, keys.as_ref())).transpose()?;
                    deltas[place.expect("every windowed output is listed")] = partial;
                }
            }
        }
        self.close_ended(plan, deltas, state.watermark, &mut step).await?;
        Ok(step)
    }

    /// Closes every open window, or seals it where the output is closed over lanes. The watermark moves to the end of
    /// the last one, so that none opens again.
    ///
    /// # Errors
    /// As [`Engine::process`].
    pub async fn drain(&self, source: &str, state: &LaneState, now: Timestamp) -> Result<Step> {
        let plan = self.source(source, state)?;
        let _turn = self.turn.lock().await;
        self.clock.set(now.0);
        let mut step = self.empty_step(state);
        for (&output, operator) in plan.windows.iter().zip(&state.operators) {
            let size = self.window(output).window.shape.size;
            let last = operator.latest().map(|start| Timestamp(start.saturating_add(size)));
            step.next.watermark = later(step.next.watermark, last);
        }
        self.close_ended(plan, vec![None; plan.windows.len()], state.watermark, &mut step).await?;
        Ok(step)
    }

    /// The whole state as bytes, where all its rows are in memory.
    ///
    /// # Errors
    /// Internal for a state with segments: [`Engine::whole`] fetches them.
    pub fn snapshot(&self, source: &str, state: &LaneState) -> Result<Vec<u8>> {
        let plan = self.source(source, state)?;
        if state.operators.iter().any(|operator| !operator.stored.is_empty()) {
            return Err(Error::internal(format!("source '{source}': a part of its state lies in segments")));
        }
        let mut parts = Vec::with_capacity(plan.windows.len());
        for (&output, operator) in plan.windows.iter().zip(&state.operators) {
            parts.push(match operator.parts.is_empty() {
                true => None,
                false => Some(finish_now(self.window(output).merged(&self.runner, operator.batches()))?),
            });
        }
        encode(state.times(), &parts, &plan.schemas)
    }

    /// The state that `snapshot` and the `deltas` behind it, in commit order, describe.
    ///
    /// # Errors
    /// Bytes of another format or plan, or damaged ones.
    pub async fn restore(&self, source: &str, snapshot: Option<&[u8]>, deltas: &[Bytes]) -> Result<LaneState> {
        self.replay(self.new_state(source), snapshot, deltas).await
    }

    /// As [`Engine::restore`] with segments beside the snapshot. None of them is fetched.
    ///
    /// # Errors
    /// As [`Engine::restore`].
    pub async fn restore_stored(
        &self,
        source: &str,
        snapshot: Option<&[u8]>,
        stored: StoredState<'_>,
        deltas: &[Bytes],
    ) -> Result<LaneState> {
        self.replay(self.new_state(source).with_segments(stored)?, snapshot, deltas).await
    }

    async fn replay(&self, mut state: LaneState, snapshot: Option<&[u8]>, deltas: &[Bytes]) -> Result<LaneState> {
        let source = Arc::clone(&state.source);
        let plan = self.source(&source, &state)?;
        let snapshot = snapshot.map(|bytes| (bytes, false));
        for (bytes, replayed) in snapshot.into_iter().chain(deltas.iter().map(|delta| (&delta[..], true))) {
            let (times, parts) = decode(bytes, &plan.schemas)?;
            state.watermark = later(state.watermark, times.watermark);
            state.newest = later(state.newest, times.newest);
            for ((&output, operator), rows) in plan.windows.iter().zip(&mut state.operators).zip(parts) {
                let query = self.window(output);
                if let Some(watermark) = state.watermark.filter(|_| replayed) {
                    *operator = operator.without_ended(query.window, watermark.0)?;
                }
                if let Some(rows) = rows {
                    operator.push(rows, query.window);
                }
                query.merge_if_due(&self.runner, operator).await?;
            }
        }
        Ok(state)
    }

    /// The open windows of each windowed output of the state's source. Fetches no segment that says how many groups it
    /// holds; so where rows lie in segments the numbers are what there may be at most.
    ///
    /// # Errors
    /// As [`Engine::checkpoint`].
    pub async fn open_windows(&self, state: &LaneState) -> Result<Vec<OpenWindows>> {
        let mut state = state.clone();
        let Some(plan) = self.sources.get(&*state.source) else { return Ok(Vec::new()) };
        let mut open = Vec::with_capacity(plan.windows.len());
        for (place, &output) in plan.windows.iter().enumerate() {
            let query = self.window(output);
            self.fetch_uncounted(query, &mut state, place).await?;
            open.push(query.open(&self.runner, output, &state.operators[place]));
        }
        Ok(open)
    }

    /// Adds the partial rows of this step, closes or seals what `step.next.watermark` has reached and writes the
    /// delta. `found` is the watermark before the step.
    pub(crate) async fn close_ended(
        &self,
        plan: &SourcePlan,
        deltas: Vec<Option<RecordBatch>>,
        found: Option<Timestamp>,
        step: &mut Step,
    ) -> Result<()> {
        let mut kept = Vec::with_capacity(deltas.len());
        for ((place, &output), partial) in plan.windows.iter().enumerate().zip(deltas) {
            let query = self.window(output);
            let mut fresh = OperatorState::default();
            if let Some(partial) = partial {
                fresh.push(partial, query.window);
            }
            if let Some(watermark) = step.next.watermark {
                self.fetch_ended(query, &mut step.next, place, watermark.0).await?;
                let (mut ended, open) = step.next.operators[place].split(query.window, watermark.0)?;
                let (ended_now, open_now) = fresh.split(query.window, watermark.0)?;
                ended.extend(ended_now);
                step.next.operators[place] = open;
                fresh = open_now;
                if query.closing == Closing::OverLanes {
                    step.sealed.extend(query.seal(&self.runner, output, ended, found, watermark).await?);
                } else if !ended.is_empty() {
                    step.counts[output].windows_closed = query.starts(&ended).len() as u64;
                    let rows = query.close(&self.runner, output, ended, &mut step.rejected).await?;
                    step.give(output, rows);
                }
            }
            let operator = &mut step.next.operators[place];
            operator.parts.extend(fresh.parts.iter().cloned());
            kept.push(fresh.parts.pop().map(|part| part.rows));
            query.merge_if_due(&self.runner, operator).await?;
        }
        step.next.evict(self.segments.resident);
        step.delta = encode(step.next.times(), &kept, &plan.schemas)?;
        Ok(())
    }

    /// The keys of a micro-batch with their hashes, where groups of the source keep them.
    fn hashed_keys(
        &self,
        plan: &SourcePlan,
        batch: &RecordBatch,
        hashes: Option<&[Option<u128>]>,
    ) -> Result<Option<HashedKeys>> {
        // The columns of `partition_key` are the same for every output of a source.
        let columns = plan.windows.iter().find_map(|&output| self.window(output).hashed.as_ref());
        let (Some(columns), Some(hashes)) = (columns, hashes) else { return Ok(None) };
        if hashes.len() != batch.num_rows() {
            return Err(Error::internal(format!("{} hashes of {} rows", hashes.len(), batch.num_rows())));
        }
        columns.of_source(batch, hashes).map(Some)
    }

    pub(crate) fn empty_step(&self, state: &LaneState) -> Step {
        Step {
            results: Vec::new(),
            sealed: Vec::new(),
            delta: Vec::new(),
            next: state.clone(),
            rejected: Vec::new(),
            counts: vec![OutputCounts::default(); self.outputs.len()],
        }
    }

    pub(crate) fn window(&self, output: usize) -> &WindowQuery {
        match &self.queries[output] {
            Query::Window(query) => query,
            Query::Rows(_) => unreachable!("only windowed outputs are listed as operators"),
        }
    }

    pub(crate) fn source(&self, source: &str, state: &LaneState) -> Result<&SourcePlan> {
        let plan = self.sources.get(source);
        let plan = plan.ok_or_else(|| Error::internal(format!("there is no source '{source}' in the plan")))?;
        if *state.source != *plan.name || state.operators.len() != plan.windows.len() {
            return Err(Error::internal(format!("state of source '{}' was given to '{source}'", state.source)));
        }
        Ok(plan)
    }
}

impl SourcePlan {
    /// The newest event time of the rows of `batch`, cut to milliseconds.
    fn newest(&self, batch: &RecordBatch) -> Option<Timestamp> {
        let (column, _) = self.watermark?;
        let newest = compute::max(batch.column(column).as_primitive::<TimestampMicrosecondType>())?;
        Some(Timestamp(newest - newest.rem_euclid(1000)))
    }

    /// What the watermark becomes by an event time.
    fn follows(&self, newest: Timestamp) -> Timestamp {
        Timestamp(newest.0.saturating_sub(self.watermark.map_or(0, |(_, delay)| delay)))
    }
}

impl Step {
    fn give(&mut self, output: usize, rows: RecordBatch) {
        self.counts[output].rows_out += rows.num_rows() as u64;
        if rows.num_rows() > 0 {
            self.results.push(OutputRows { output, late: false, batch: rows });
        }
    }
}

pub(crate) fn later(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    a.max(b)
}
