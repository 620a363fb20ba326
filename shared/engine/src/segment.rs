//! State that is larger than a manifest should carry: rows of open windows in segments.
//!
//! Rows reach a segment when the rows in memory have grown to [`SegmentOptions::flush`] at a checkpoint. From then on they are
//! fetched only when one of their windows ends, or when segments are merged. A micro-batch that closes no window reads
//! none, so its cost does not depend on how many groups are open.
//!
//! A flush is a *run* of level 0. When [`SegmentOptions::width`] runs of a level have come together they become one run of the
//! next level, as long as all of them fit into [`SegmentOptions::merge`]. The rows of a run are sorted by window and cut into
//! pieces of [`SegmentOptions::piece`], each a segment: so the end of a window fetches the pieces that hold it, and a
//! segment whose windows have all ended is dropped without being read.
//!
//! What a segment says about itself, in the manifest (little-endian):
//!
//! | Bytes | Meaning |
//! |---|---|
//! | 1 | format: [`FORMAT_COUNTED`], or [`FORMAT`] where it was written before |
//! | 2 | the operator's place in the source's state |
//! | 1 | level |
//! | 8 | run: larger for later ones |
//! | 8, 8 | start of the earliest and of the latest open window in it, in microseconds; rows of earlier windows are over |
//! | 8 | groups in it, at most: those of windows that are over may be counted; not in format [`FORMAT`] |

use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use tidegate_core::{Error, Result, Segment, Segments};

use crate::api::LaneState;
use crate::engine::{Engine, SourcePlan};
use crate::run::window::WindowQuery;
use crate::state::{FORMAT, OperatorState, Reader, WindowColumn, decode_sealed, encode, encode_sealed};
use crate::window::has_ended;

/// What a segment says of itself, with the number of its groups.
const FORMAT_COUNTED: u8 = 2;
/// Segments that are fetched side by side.
const FETCHES: usize = 8;

/// Bounds of state in segments, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct SegmentOptions {
    /// Rows in memory that are written to a segment at a checkpoint instead of into the manifest's own snapshot.
    pub flush: usize,
    /// About the size of a segment.
    pub piece: usize,
    /// Runs of a level that are merged into one.
    pub width: usize,
    /// Runs that are larger together are not merged.
    pub merge: usize,
    /// Rows of segments that stay in memory between micro-batches, for each lane.
    pub resident: usize,
}

impl Default for SegmentOptions {
    fn default() -> Self {
        Self { flush: 1 << 20, piece: 8 << 20, width: 16, merge: 128 << 20, resident: 32 << 20 }
    }
}

/// A segment, and its rows where they are in memory.
#[derive(Clone, Debug)]
pub(crate) struct StoredPart {
    segment: Arc<Segment>,
    level: u8,
    run: u64,
    /// No open window in it begins earlier. Rows of earlier ones are over.
    earliest: i64,
    latest: i64,
    /// Groups of open windows in it, at most. `None`: it does not say.
    groups: Option<u64>,
    /// Rows of windows that begin at or after `earliest`.
    rows: Option<RecordBatch>,
}

impl StoredPart {
    fn about(&self, operator: usize) -> Result<Bytes> {
        let operator = u16::try_from(operator).map_err(|_| Error::invalid("more than 65,535 windowed outputs"))?;
        let mut about = vec![if self.groups.is_some() { FORMAT_COUNTED } else { FORMAT }];
        about.extend(operator.to_le_bytes());
        about.push(self.level);
        about.extend(self.run.to_le_bytes());
        about.extend(self.earliest.to_le_bytes());
        about.extend(self.latest.to_le_bytes());
        about.extend(self.groups.into_iter().flat_map(u64::to_le_bytes));
        Ok(about.into())
    }

    fn read(segment: &Segment) -> Result<(usize, Self)> {
        let mut reader = Reader::new(&segment.about);
        let format = reader.format(FORMAT_COUNTED)?;
        let operator = usize::from(u16::from_le_bytes(reader.array()?));
        let level = u8::from_le_bytes(reader.array()?);
        let run = u64::from_le_bytes(reader.array()?);
        let (earliest, latest) = (i64::from_le_bytes(reader.array()?), i64::from_le_bytes(reader.array()?));
        let groups = match format {
            FORMAT_COUNTED => Some(u64::from_le_bytes(reader.array()?)),
            _ => None,
        };
        reader.end()?;
        Ok((operator, Self { segment: Arc::new(segment.clone()), level, run, earliest, latest, groups, rows: None }))
    }

    /// Whether a window of it has ended at `watermark`.
    pub(crate) fn ends(&self, window: WindowColumn, watermark: i64) -> bool {
        has_ended(self.earliest, window.shape.size, watermark)
    }

    /// Without the windows that have ended, as far as is known without its rows. `None`: nothing is left.
    pub(crate) fn without_ended(mut self, window: WindowColumn, watermark: i64) -> Option<Self> {
        if has_ended(self.latest, window.shape.size, watermark) {
            return None;
        }
        if self.ends(window, watermark) {
            self.earliest = window.first_open(watermark);
            self.rows = None;
        }
        Some(self)
    }

    /// The rows of windows that have ended at `watermark`, and the rest.
    pub(crate) fn split(self, window: WindowColumn, watermark: i64) -> Result<(RecordBatch, Option<Self>)> {
        let rows = self.rows.clone().ok_or_else(|| Error::internal("rows of a segment that was not fetched"))?;
        let ended = window.between(rows.clone(), None, watermark)?;
        let ended = ended.unwrap_or_else(|| RecordBatch::new_empty(rows.schema()));
        let open = window.from(rows, window.first_open(watermark))?;
        let open = open.and_then(|rows| {
            let earliest = *window.starts(&rows).iter().min()?;
            Some(Self { earliest, groups: Some(rows.num_rows() as u64), rows: Some(rows), ..self })
        });
        Ok((ended, open))
    }

    pub(crate) fn latest(&self) -> i64 {
        self.latest
    }

    /// Starts of the earliest and of the latest open window in it.
    pub(crate) fn span(&self) -> (i64, i64) {
        (self.earliest, self.latest)
    }

    /// Its rows, where they are in memory.
    pub(crate) fn rows(&self) -> Option<&RecordBatch> {
        self.rows.as_ref()
    }

    /// Groups in it, at most. `None`: not known without its rows.
    pub(crate) fn groups(&self) -> Option<u64> {
        self.rows.as_ref().map(|rows| rows.num_rows() as u64).or(self.groups)
    }
}

/// Where a state's segments lie.
pub struct StoredState<'a> {
    /// What the manifest names.
    pub segments: &'a [Segment],
    /// What fetches and stores them; the state keeps it.
    pub store: Arc<dyn Segments>,
}

/// A state as bytes for a manifest.
#[derive(Debug)]
pub struct Checkpoint {
    /// What lies in no segment.
    pub rest: Vec<u8>,
    /// The segments.
    pub segments: Vec<Segment>,
    /// The same state, which knows of the segments.
    pub state: LaneState,
}

impl LaneState {
    /// Takes over what a manifest says of segments.
    pub(crate) fn with_segments(mut self, stored: StoredState<'_>) -> Result<Self> {
        for segment in stored.segments {
            let (operator, part) = StoredPart::read(segment)?;
            let count = self.operators.len();
            let state = self.operators.get_mut(operator).ok_or_else(|| {
                Error::internal(format!("damaged state: a segment of operator {operator}, the plan has {count}"))
            })?;
            state.stored.push(part);
        }
        self.store = Some(stored.store);
        Ok(self)
    }

    fn store(&self) -> Result<Arc<dyn Segments>> {
        self.store.clone().ok_or_else(|| Error::internal("segments without their store"))
    }

    /// Forgets rows of segments beyond `limit` bytes, those first whose windows end last.
    pub(crate) fn evict(&mut self, limit: usize) {
        let loaded = |part: &&mut StoredPart| part.rows.is_some();
        let mut parts: Vec<&mut StoredPart> =
            self.operators.iter_mut().flat_map(|operator| &mut operator.stored).filter(loaded).collect();
        parts.sort_by_key(|part| part.earliest);
        let mut kept = 0;
        for part in parts {
            kept += part.segment.length as usize;
            if kept > limit {
                part.rows = None;
            }
        }
    }
}

impl Engine {
    /// Sets other bounds for state in segments.
    pub fn set_segment_options(&mut self, options: SegmentOptions) {
        self.segments = options;
    }

    /// The state as bytes for a manifest. Rows that are many go to new segments; the other segments stay, are merged, or
    /// are left out because their windows have ended.
    ///
    /// # Errors
    /// Those of the store: Conflict when a segment is gone, so that the state is old.
    pub async fn checkpoint(&self, source: &str, state: &LaneState) -> Result<Checkpoint> {
        let plan = self.source(source, state)?;
        let mut state = state.clone();
        let mut rest = self.encode_unstored(plan, &state).await?;
        if state.store.is_some() {
            if rest.len() >= self.segments.flush {
                self.flush(plan, &mut state).await?;
                rest = encode(state.times(), &vec![None; plan.windows.len()], &plan.schemas)?;
            }
            for place in 0..plan.windows.len() {
                self.merge_runs(plan, place, &mut state).await?;
            }
            state.evict(self.segments.resident);
        }
        let mut segments = Vec::new();
        for (place, operator) in state.operators.iter().enumerate() {
            for part in &operator.stored {
                segments.push(Segment { about: part.about(place)?, ..(*part.segment).clone() });
            }
        }
        Ok(Checkpoint { rest, segments, state })
    }

    /// The whole state in one piece: what [`Engine::restore`] takes as a snapshot.
    ///
    /// # Errors
    /// As [`Engine::checkpoint`].
    pub async fn whole(&self, source: &str, state: &LaneState) -> Result<Vec<u8>> {
        let loaded = self.loaded(state).await?;
        self.snapshot(source, &loaded)
    }

    /// The state with all its rows in memory and none in segments.
    ///
    /// # Errors
    /// As [`Engine::checkpoint`].
    pub(crate) async fn loaded(&self, state: &LaneState) -> Result<LaneState> {
        let mut state = state.clone();
        let Some(plan) = self.sources.get(&*state.source) else { return Ok(state) };
        for (place, &output) in plan.windows.iter().enumerate() {
            let query = self.window(output);
            fetch(&mut state, place, query, |_| true).await?;
            let operator = &mut state.operators[place];
            let mut all = OperatorState::default();
            for part in operator.stored.drain(..) {
                if let Some(rows) = part.rows {
                    all.push(rows, query.window);
                }
            }
            all.parts.append(&mut operator.parts);
            *operator = all;
        }
        Ok(state)
    }

    /// Fetches the segments of an operator that hold windows which have ended at `watermark`.
    pub(crate) async fn fetch_ended(
        &self,
        query: &WindowQuery,
        state: &mut LaneState,
        place: usize,
        watermark: i64,
    ) -> Result<()> {
        fetch(state, place, query, |part| part.ends(query.window, watermark)).await
    }

    /// Fetches the segments of an operator that do not say how many groups they hold.
    pub(crate) async fn fetch_uncounted(&self, query: &WindowQuery, state: &mut LaneState, place: usize) -> Result<()> {
        fetch(state, place, query, |part| part.groups.is_none()).await
    }

    /// What lies in no segment, as bytes.
    async fn encode_unstored(&self, plan: &SourcePlan, state: &LaneState) -> Result<Vec<u8>> {
        let mut parts = Vec::with_capacity(plan.windows.len());
        for (&output, operator) in plan.windows.iter().zip(&state.operators) {
            parts.push(match operator.parts.is_empty() {
                true => None,
                false => Some(self.window(output).merged(&self.runner, operator.batches()).await?),
            });
        }
        encode(state.times(), &parts, &plan.schemas)
    }

    /// The rows in memory become a run of level 0.
    async fn flush(&self, plan: &SourcePlan, state: &mut LaneState) -> Result<()> {
        let store = state.store()?;
        for (&output, operator) in plan.windows.iter().zip(&mut state.operators) {
            if operator.parts.is_empty() {
                continue;
            }
            let query = self.window(output);
            let rows = query.merged(&self.runner, operator.batches()).await?;
            let run = operator.next_run();
            operator.stored.extend(self.write_run(&*store, query, rows, (0, run)).await?);
            operator.parts.clear();
        }
        Ok(())
    }

    /// Merges runs of a level while there are many of them.
    async fn merge_runs(&self, plan: &SourcePlan, place: usize, state: &mut LaneState) -> Result<()> {
        let query = self.window(plan.windows[place]);
        let mut level = 0;
        while state.operators[place].stored.iter().any(|part| part.level >= level) {
            if state.operators[place].merge_is_due(level, &self.segments) {
                fetch(state, place, query, |part| part.level == level).await?;
                let store = state.store()?;
                let operator = &mut state.operators[place];
                let run = operator.next_run();
                let merged: Vec<_> = operator.stored.iter().filter(|part| part.level == level).collect();
                let rows = merged.iter().filter_map(|part| part.rows.clone()).collect();
                let rows = query.merged(&self.runner, rows).await?;
                let parts = self.write_run(&*store, query, rows, (level + 1, run)).await?;
                // Runs stand in the order of their rows: some aggregates depend on it.
                let at = operator.stored.iter().position(|part| part.level == level).unwrap_or_default();
                operator.stored.retain(|part| part.level != level);
                operator.stored.splice(at..at, parts);
            }
            level += 1;
        }
        Ok(())
    }

    /// Stores rows as a run of segments, each with consecutive windows.
    async fn write_run(
        &self,
        store: &dyn Segments,
        query: &WindowQuery,
        rows: RecordBatch,
        (level, run): (u8, u64),
    ) -> Result<Vec<StoredPart>> {
        let failed = |e| Error::internal("state rows cannot be sorted").with_source(e);
        let rows = take_record_batch(&rows, &order(query.window.starts(&rows))).map_err(failed)?;
        let starts = query.window.starts(&rows).to_vec();
        let schemas = query.state_schemas();
        let bytes = encode_sealed(&query.layout.hash, &rows, &schemas)?.len();
        let mut parts = Vec::new();
        for (from, to) in pieces(&starts, bytes, self.segments.piece) {
            // A copy: a slice would keep the whole run in memory.
            let places = UInt32Array::from_iter_values(from as u32..to as u32);
            let piece = take_record_batch(&rows, &places).map_err(failed)?;
            let content = encode_sealed(&query.layout.hash, &piece, &schemas)?;
            let segment = Arc::new(store.put(content.into(), Bytes::new()).await?);
            let (earliest, latest) = (starts[from], starts[to - 1]);
            let groups = Some(piece.num_rows() as u64);
            parts.push(StoredPart { segment, level, run, earliest, latest, groups, rows: Some(piece) });
        }
        Ok(parts)
    }
}

/// The order of rows by the starts of their windows; those of one window as they stand.
fn order(starts: &[i64]) -> UInt32Array {
    let mut order: Vec<u32> = (0..starts.len() as u32).collect();
    order.sort_by_key(|place| starts[*place as usize]);
    order.into()
}

/// Where rows that are sorted by `starts` and take `bytes` are cut: pieces of about `piece` bytes, between two windows where
/// one ends in the last half of a piece.
fn pieces(starts: &[i64], bytes: usize, piece: usize) -> Vec<(usize, usize)> {
    let rows = starts.len();
    let most = (rows as u128 * piece.max(1) as u128 / bytes.max(1) as u128).max(1) as usize;
    let (mut cuts, mut from) = (Vec::new(), 0);
    while from < rows {
        let end = (from + most).min(rows);
        let boundary = (from + most / 2 + 1..end).rev().find(|at| starts[*at] != starts[*at - 1]);
        let to = if end == rows || starts[end] != starts[end - 1] { end } else { boundary.unwrap_or(end) };
        cuts.push((from, to));
        from = to;
    }
    cuts
}

async fn fetch(
    state: &mut LaneState,
    place: usize,
    query: &WindowQuery,
    wanted: impl Fn(&StoredPart) -> bool,
) -> Result<()> {
    let missing = |part: &StoredPart| part.rows.is_none() && wanted(part);
    if !state.operators[place].stored.iter().any(missing) {
        return Ok(());
    }
    let store = state.store()?;
    let schemas = query.state_schemas();
    let stored = &mut state.operators[place].stored;
    let wanted: Vec<usize> = (0..stored.len()).filter(|at| missing(&stored[*at])).collect();
    let segments: Vec<_> = wanted.iter().map(|at| (*at, Arc::clone(&stored[*at].segment))).collect();
    let contents: Vec<(usize, Bytes)> = stream::iter(segments)
        .map(|(at, segment)| {
            let store = Arc::clone(&store);
            async move { Ok::<_, Error>((at, store.get(&segment).await?)) }
        })
        .buffered(FETCHES)
        .try_collect()
        .await?;
    for (at, content) in contents {
        let rows = decode_sealed(&content, &query.layout.hash, &schemas)?;
        let part = &mut stored[at];
        let open = query.window.from(rows, part.earliest)?;
        part.rows = Some(open.unwrap_or_else(|| RecordBatch::new_empty(schemas.plain.clone())));
    }
    Ok(())
}

impl OperatorState {
    fn next_run(&self) -> u64 {
        self.stored.iter().map(|part| part.run + 1).max().unwrap_or(0)
    }

    fn merge_is_due(&self, level: u8, options: &SegmentOptions) -> bool {
        let parts = || self.stored.iter().filter(move |part| part.level == level);
        let mut runs: Vec<u64> = parts().map(|part| part.run).collect();
        runs.sort_unstable();
        runs.dedup();
        let bytes: u64 = parts().map(|part| part.segment.length).sum();
        runs.len() >= options.width && bytes <= options.merge as u64 && level < u8::MAX
    }
}

#[cfg(test)]
mod tests {
    use super::pieces;

    #[test]
    fn pieces_are_cut_between_windows_where_one_is_near() {
        // Ten bytes a row.
        assert_eq!(pieces(&[], 0, 40), []);
        assert_eq!(pieces(&[1, 1, 1], 30, 40), [(0, 3)]);
        assert_eq!(pieces(&[1; 9], 90, 40), [(0, 4), (4, 8), (8, 9)]);
        assert_eq!(pieces(&[1, 1, 1, 2, 2, 2, 2, 3], 80, 40), [(0, 3), (3, 7), (7, 8)]);
        // A boundary too far ahead is not waited for.
        assert_eq!(pieces(&[1, 2, 2, 2, 2, 2], 60, 40), [(0, 4), (4, 6)]);
        // Rows that are larger than a piece.
        assert_eq!(pieces(&[1, 1], 200, 40), [(0, 1), (1, 2)]);
    }
}
