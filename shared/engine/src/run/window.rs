//! A windowed aggregation: rows to partial-aggregate rows, and closed windows to results.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{filter_record_batch, take_record_batch};
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use arrow::row::{RowConverter, SortField};
use datafusion::error::Result as PlanResult;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use futures::FutureExt;
use tidegate_core::{Result, Timestamp};

use super::isolate::{broken, guilty_expression, isolate, pick};
use super::{Runner, finish_now, one_batch};
use crate::api::{Closing, OpenWindows, RejectedRow, SealedRows, StateLayout};
use crate::group_json::row_json;
use crate::hashes::{HashedKeys, KeyColumns};
use crate::segment::StoredPart;
use crate::state::{OperatorState, StateSchemas, WindowColumn, encode_sealed};

/// The plans of one windowed output. Each but `below` reads partial-aggregate or result rows from the leaf.
#[derive(Debug)]
pub(crate) struct WindowQuery {
    /// Filters and projections below the aggregation, over the source's rows. `None`: the source's rows themselves.
    pub(crate) below: Option<Arc<dyn ExecutionPlan>>,
    /// Rows to partial-aggregate rows.
    pub(crate) partial: Arc<dyn ExecutionPlan>,
    /// Partial-aggregate rows to fewer of them.
    pub(crate) reduce: Arc<dyn ExecutionPlan>,
    /// Partial-aggregate rows to results.
    pub(crate) finish: Arc<dyn ExecutionPlan>,
    /// HAVING and the projection, over results. `None`: the results themselves.
    pub(crate) above: Option<Arc<dyn ExecutionPlan>>,
    /// The event time of a row below the aggregation, or its window's start: both are late together. Of sliding windows
    /// the start.
    pub(crate) time: Arc<dyn PhysicalExpr>,
    /// How many columns of partial-aggregate rows are group keys; they come first.
    pub(crate) keys: usize,
    pub(crate) window: WindowColumn,
    /// Columns of late rows and what they are called, where they are kept.
    pub(crate) late: Option<(Vec<usize>, SchemaRef)>,
    pub(crate) closing: Closing,
    /// How hashes of keys are kept beside the groups. `None`: they cannot be.
    pub(crate) hashed: Option<KeyColumns>,
    /// The layout of this output's state alone.
    pub(crate) layout: StateLayout,
}

/// What one micro-batch gives a windowed output before any window closes.
#[derive(Debug)]
pub(crate) struct Absorbed {
    pub(crate) partial: Option<RecordBatch>,
    pub(crate) late: Option<RecordBatch>,
    pub(crate) late_count: u64,
    pub(crate) without_time: u64,
}

impl WindowQuery {
    /// Schema of partial-aggregate rows.
    pub(crate) fn state_schema(&self) -> SchemaRef {
        self.partial.schema()
    }

    /// Schemas of partial-aggregate rows: without the hashes of keys, and with them.
    pub(crate) fn state_schemas(&self) -> StateSchemas {
        let hashed = self.hashed.as_ref().map(|hashed| Arc::clone(hashed.with_hashes()));
        StateSchemas { plain: self.state_schema(), hashed }
    }

    /// Puts the hashes of `keys` beside the groups of a micro-batch.
    pub(crate) fn fill(&self, partial: RecordBatch, keys: Option<&HashedKeys>) -> Result<RecordBatch> {
        match (&self.hashed, keys) {
            (Some(hashed), Some(keys)) => hashed.fill(&partial, keys),
            _ => Ok(partial),
        }
    }

    /// Rows of ended windows, of which the hashes do not matter.
    fn without_hashes(&self, rows: Vec<RecordBatch>) -> Result<Vec<RecordBatch>> {
        let Some(hashed) = &self.hashed else { return Ok(rows) };
        rows.iter().map(|rows| hashed.removed(rows)).collect()
    }

    /// Aggregates the rows of a micro-batch. `watermark` is the one that the batch found.
    pub(crate) async fn absorb(
        &self,
        runner: &Runner,
        output: usize,
        batch: &RecordBatch,
        watermark: Option<i64>,
        rejected: &mut Vec<RejectedRow>,
    ) -> Result<Absorbed> {
        let error = match self.try_absorb(runner, batch, watermark).await {
            Ok(absorbed) => return Ok(absorbed),
            Err(error) => error,
        };
        let attempt = |units: Vec<u32>| {
            async move { self.try_absorb(runner, &pick(batch, &units)?, watermark).await.map(drop) }.boxed()
        };
        let found = isolate(batch.num_rows() as u32, &error, attempt).await?;
        for (row, error) in &found.bad {
            let expression = self.guilty(runner, &batch.slice(*row as usize, 1)).await;
            rejected.push(RejectedRow { output, row: Some(*row), group: None, expression, reason: error.to_string() });
        }
        let good = pick(batch, &found.good).map_err(|e| broken(&e))?;
        self.try_absorb(runner, &good, watermark).await.map_err(|e| broken(&e))
    }

    async fn guilty(&self, runner: &Runner, row: &RecordBatch) -> String {
        let mut rows = row.clone();
        if let Some(below) = &self.below {
            let found = guilty_expression(runner, below, row).await;
            if !found.is_empty() {
                return found;
            }
            let Ok(passed) = runner.run(below, vec![rows]).await else { return String::new() };
            rows = passed;
        }
        guilty_expression(runner, &self.partial, &rows).await
    }

    async fn try_absorb(&self, runner: &Runner, batch: &RecordBatch, watermark: Option<i64>) -> PlanResult<Absorbed> {
        let mut rows = match &self.below {
            Some(below) => runner.run(below, vec![batch.clone()]).await?,
            None => batch.clone(),
        };
        let mut absorbed = Absorbed { partial: None, late: None, late_count: 0, without_time: 0 };
        let times = self.time.evaluate(&rows)?.into_array(rows.num_rows())?;
        let times = times.as_primitive::<TimestampMicrosecondType>();
        absorbed.without_time = times.null_count() as u64;
        let late = watermark.and_then(|watermark| self.late_rows(times, watermark));
        if let Some(late) = &late {
            absorbed.late_count = late.true_count() as u64;
            if let Some((columns, schema)) = &self.late {
                let found = filter_record_batch(&rows, late)?.project(columns)?;
                absorbed.late = Some(RecordBatch::try_new(Arc::clone(schema), found.columns().to_vec())?);
            }
        }
        if late.is_some() || absorbed.without_time > 0 {
            let on_time: BooleanArray = (0..times.len())
                .map(|i| Some(times.is_valid(i) && !late.as_ref().is_some_and(|late| late.value(i))))
                .collect();
            rows = filter_record_batch(&rows, &on_time)?;
        }
        if rows.num_rows() > 0 {
            absorbed.partial = Some(runner.run(&self.partial, vec![rows]).await?);
        }
        Ok(absorbed)
    }

    /// Which rows belong to a window that has ended; `None` when none does.
    fn late_rows(
        &self,
        times: &arrow::array::PrimitiveArray<TimestampMicrosecondType>,
        watermark: i64,
    ) -> Option<BooleanArray> {
        // Times of a tumbling window and starts of any window lie before this one when their window has ended.
        let first_open = self.window.shape.first_open(watermark);
        let is_late = |at: i64| at < first_open;
        // Values behind nulls are arbitrary: they only make this look again.
        if !times.values().iter().any(|at| is_late(*at)) {
            return None;
        }
        let mask: BooleanArray = (0..times.len()).map(|i| Some(times.is_valid(i) && is_late(times.value(i)))).collect();
        (mask.true_count() > 0).then_some(mask)
    }

    /// The seal of a step that moves the watermark from `found` to `through`. `ended` are the rows of windows that
    /// have ended by then. `None` when the closer learns nothing from it.
    pub(crate) async fn seal(
        &self,
        runner: &Runner,
        output: usize,
        ended: Vec<RecordBatch>,
        found: Option<Timestamp>,
        through: Timestamp,
    ) -> Result<Option<SealedRows>> {
        let Some(latest) = self.starts(&ended).last().copied() else {
            let passed = self.window.shape.passes_end(found.map(|at| at.0), through.0);
            return Ok(passed.then_some(SealedRows { output, through, latest_end: None, rows: None }));
        };
        let merged = self.merged(runner, ended).await?;
        let sorted = self.sorted(&merged).map_err(|e| broken(&e))?;
        Ok(Some(SealedRows {
            output,
            through,
            latest_end: Some(Timestamp(latest.saturating_add(self.window.shape.size))),
            rows: Some(encode_sealed(&self.layout.hash, &sorted, &self.state_schemas())?),
        }))
    }

    /// Results of closed windows, sorted by window start, then by the other keys.
    pub(crate) async fn close(
        &self,
        runner: &Runner,
        output: usize,
        ended: Vec<RecordBatch>,
        rejected: &mut Vec<RejectedRow>,
    ) -> Result<RecordBatch> {
        let ended = self.without_hashes(ended)?;
        let error = match self.try_close(runner, ended.clone()).await {
            Ok(rows) => return Ok(rows),
            Err(error) => error,
        };
        let rows = one_batch(&self.state_schema(), ended).map_err(|e| broken(&e))?;
        let groups = self.groups(&rows).map_err(|e| broken(&e))?;
        let attempt = |units: Vec<u32>| {
            let rows = &rows;
            let chosen = rows_of(&groups, &units);
            async move { self.try_close(runner, vec![pick(rows, &chosen)?]).await.map(drop) }.boxed()
        };
        let found = isolate(groups.len() as u32, &error, attempt).await?;
        for (group, error) in &found.bad {
            let chosen = rows_of(&groups, &[*group]);
            let one = pick(&rows, &chosen).map_err(|e| broken(&e))?;
            let keys = one.project(&(0..self.keys).collect::<Vec<_>>()).map_err(|e| broken(&e.into()))?;
            rejected.push(RejectedRow {
                output,
                row: None,
                group: Some(row_json(&keys)),
                expression: self.guilty_above(runner, &one).await,
                reason: error.to_string(),
            });
        }
        let good = pick(&rows, &rows_of(&groups, &found.good)).map_err(|e| broken(&e))?;
        self.try_close(runner, vec![good]).await.map_err(|e| broken(&e))
    }

    async fn guilty_above(&self, runner: &Runner, state: &RecordBatch) -> String {
        let Some(above) = &self.above else { return String::new() };
        let Ok(result) = runner.run(&self.finish, vec![state.clone()]).await else { return String::new() };
        guilty_expression(runner, above, &result).await
    }

    async fn try_close(&self, runner: &Runner, ended: Vec<RecordBatch>) -> PlanResult<RecordBatch> {
        let results = runner.run(&self.finish, ended).await?;
        let results = self.sorted(&results)?;
        match &self.above {
            Some(above) => runner.run(above, vec![results]).await,
            None => Ok(results),
        }
    }

    /// The key columns as sortable rows, the window first. `None` where a key has no order (maps).
    fn key_rows(&self, rows: &RecordBatch) -> PlanResult<Option<arrow::row::Rows>> {
        let others = (0..self.keys).filter(|i| *i != self.window.column);
        let columns: Vec<ArrayRef> =
            std::iter::once(self.window.column).chain(others).map(|i| Arc::clone(rows.column(i))).collect();
        let fields: Vec<_> = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
        if !RowConverter::supports_fields(&fields) {
            return Ok(None);
        }
        Ok(Some(RowConverter::new(fields)?.convert_columns(&columns)?))
    }

    fn sorted(&self, results: &RecordBatch) -> PlanResult<RecordBatch> {
        let Some(keys) = self.key_rows(results)? else { return Ok(results.clone()) };
        let mut order: Vec<u32> = (0..results.num_rows() as u32).collect();
        order.sort_by(|a, b| keys.row(*a as usize).cmp(&keys.row(*b as usize)));
        Ok(take_record_batch(results, &UInt32Array::from(order))?)
    }

    /// Rows of each group, groups in order of first appearance.
    fn groups(&self, rows: &RecordBatch) -> PlanResult<Vec<Vec<u32>>> {
        let Some(keys) = self.key_rows(rows)? else {
            return Ok((0..rows.num_rows() as u32).map(|i| vec![i]).collect());
        };
        let mut places: HashMap<arrow::row::Row<'_>, usize> = HashMap::new();
        let mut groups: Vec<Vec<u32>> = Vec::new();
        for i in 0..rows.num_rows() {
            let place = *places.entry(keys.row(i)).or_insert(groups.len());
            if place == groups.len() {
                groups.push(Vec::new());
            }
            groups[place].push(i as u32);
        }
        Ok(groups)
    }

    /// Merges the trailing parts of the state when there are many of about the same size.
    pub(crate) async fn merge_if_due(&self, runner: &Runner, state: &mut OperatorState) -> Result<()> {
        while let Some(from) = state.merge_due() {
            let parts = state.parts[from..].iter().map(|part| part.rows.clone()).collect();
            let merged = self.merged(runner, parts).await?;
            state.parts.truncate(from);
            state.push(merged, self.window);
        }
        Ok(())
    }

    /// One batch with one row per group. Where merging raises (a sum that overflows), the rows side by side: the
    /// error belongs to the group and is told when its window closes.
    pub(crate) async fn merged(&self, runner: &Runner, parts: Vec<RecordBatch>) -> Result<RecordBatch> {
        if let [only] = parts.as_slice() {
            return Ok(only.clone());
        }
        match &self.hashed {
            Some(hashed) if parts.iter().any(|rows| hashed.are_in(rows)) => {
                let keys = hashed.of_state(&parts)?;
                let merged = self.reduced(runner, self.without_hashes(parts)?).await?;
                hashed.fill(&merged, &keys)
            }
            _ => self.reduced(runner, parts).await,
        }
    }

    async fn reduced(&self, runner: &Runner, parts: Vec<RecordBatch>) -> Result<RecordBatch> {
        match runner.run(&self.reduce, parts.clone()).await {
            Ok(merged) => Ok(merged),
            Err(_) => one_batch(&self.state_schema(), parts).map_err(|e| broken(&e)),
        }
    }

    /// The open windows of `operator`, as far as its rows in memory and what segments say of themselves tell.
    pub(crate) fn open(&self, runner: &Runner, output: usize, operator: &OperatorState) -> OpenWindows {
        // Rows in memory are counted as the groups that they are.
        let unloaded = || operator.stored.iter().filter(|part| part.rows().is_none());
        let loaded = operator.stored.iter().filter_map(StoredPart::rows).filter(|rows| rows.num_rows() > 0);
        let rows: Vec<RecordBatch> = loaded.cloned().chain(operator.batches()).collect();
        let starts = self.starts(&rows);
        let groups = match rows.is_empty() {
            true => 0,
            false => finish_now(self.merged(runner, rows)).map_or(0, |rows| rows.num_rows() as u64),
        };
        let elsewhere: u64 = unloaded().filter_map(StoredPart::groups).sum();
        let spans: Vec<(i64, i64)> =
            starts.iter().map(|at| (*at, *at)).chain(unloaded().map(StoredPart::span)).collect();
        OpenWindows {
            output,
            windows: windows_in(&spans, self.window.shape.slide),
            groups: groups + elsewhere,
            at_most: elsewhere > 0,
            earliest: spans.iter().map(|span| Timestamp(span.0)).min(),
            latest: spans.iter().map(|span| Timestamp(span.1)).max(),
        }
    }

    /// Starts of the windows in `rows`.
    pub(crate) fn starts(&self, batches: &[RecordBatch]) -> BTreeSet<i64> {
        batches.iter().flat_map(|rows| self.window.starts(rows).iter().copied()).collect()
    }
}

/// How many windows begin in any of `spans`, from the first to the last start of each. Windows begin `slide` apart.
fn windows_in(spans: &[(i64, i64)], slide: i64) -> u64 {
    let mut spans = spans.to_vec();
    spans.sort_unstable();
    let (mut windows, mut counted) = (0u64, None);
    for (first, last) in spans {
        let first = counted.map_or(first, |counted: i64| first.max(counted.saturating_add(slide)));
        if first <= last {
            windows += last.abs_diff(first) / slide.unsigned_abs().max(1) + 1;
            counted = Some(last);
        }
    }
    windows
}

fn rows_of(groups: &[Vec<u32>], units: &[u32]) -> Vec<u32> {
    let mut rows: Vec<u32> = units.iter().flat_map(|unit| groups[*unit as usize].iter().copied()).collect();
    rows.sort_unstable();
    rows
}

#[cfg(test)]
mod tests {
    use super::windows_in;

    #[test]
    fn windows_of_several_spans_are_counted_once() {
        for (spans, expected) in [
            (&[][..], 0),
            (&[(5, 5), (5, 5)], 1),
            (&[(0, 20), (10, 10)], 3),
            (&[(10, 30), (0, 20)], 4),
            (&[(-20, -10), (10, 10)], 3),
            (&[(0, 50), (10, 20), (30, 40)], 6),
        ] {
            assert_eq!(windows_in(spans, 10), expected, "{spans:?}");
        }
    }
}
