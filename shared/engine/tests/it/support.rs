//! What the tests share: a stream of transactions, and the ways to run it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use async_trait::async_trait;
use bytes::Bytes;
use tidegate_core::{Error, ErrorKind, Result, Segment, Segments, Timestamp};
use tidegate_engine::spec::{EngineSpec, Lanes, OutputSpec, Scope, SourceSpec, ViewSpec, WatermarkSpec};
use tidegate_engine::{Engine, LaneState, PlanError, SegmentOptions, Step, StoredState};

pub fn schema() -> SchemaRef {
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("ts", utc, true),
        Field::new("branch", DataType::Utf8, true),
        Field::new("amount", DataType::Float64, true),
        Field::new("n", DataType::Int64, true),
    ]))
}

pub fn source() -> SourceSpec {
    SourceSpec {
        name: "t".into(),
        schema: schema(),
        watermark: Some(WatermarkSpec { column: "ts".into(), delay: Duration::from_secs(1) }),
        partition_key: vec!["branch".into()],
        lanes: Lanes::One,
    }
}

pub fn output(name: &str, sql: &str, scope: Scope) -> OutputSpec {
    OutputSpec { name: name.into(), sql: sql.into(), scope, late: true }
}

pub fn spec(views: &[(&str, &str)], outputs: Vec<OutputSpec>) -> EngineSpec {
    let views = views.iter().map(|(name, sql)| ViewSpec { name: (*name).into(), sql: (*sql).into() }).collect();
    EngineSpec { sources: vec![source()], views, outputs, zone: tidegate_core::Zone::UTC }
}

/// An engine with one output, `out`.
pub fn engine(sql: &str, scope: Scope) -> Engine {
    plan(&spec(&[], vec![output("out", sql, scope)]))
}

pub fn plan(spec: &EngineSpec) -> Engine {
    Engine::plan(spec).unwrap_or_else(|errors| panic!("{}", told(&errors)))
}

pub fn told(errors: &[PlanError]) -> String {
    errors.iter().map(|e| format!("{:?} {:?}: {}\n", e.part, e.location, e.error)).collect()
}

/// The text of all mistakes of a stream query.
pub fn refused(sql: &str) -> String {
    match Engine::plan(&spec(&[], vec![output("out", sql, Scope::Stream)])) {
        Ok(_) => panic!("planned: {sql}"),
        Err(errors) => told(&errors),
    }
}

pub type Row = (Option<i64>, Option<&'static str>, Option<f64>, Option<i64>);

/// Rows with their time in milliseconds.
pub fn batch(rows: &[Row]) -> RecordBatch {
    let ts: TimestampMicrosecondArray = rows.iter().map(|row| row.0.map(|ms| ms * 1000)).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(ts.with_timezone("UTC")),
        Arc::new(rows.iter().map(|row| row.1).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| row.2).collect::<Float64Array>()),
        Arc::new(rows.iter().map(|row| row.3).collect::<Int64Array>()),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

/// A small generator of numbers: same seed, same numbers.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// `count` rows whose times rise by about 20 ms, at most 900 ms out of order: none is late with a delay of 1 s.
/// Amounts are whole, so that sums do not depend on the order of adding.
pub fn stream(seed: u64, count: usize) -> RecordBatch {
    let mut numbers = Numbers(seed);
    let branches = ["Kazan", "SPB", "Novosibirsk", "Surgut"];
    let rows: Vec<Row> = (0..count)
        .map(|i| {
            let at = 1_000_000 + i as i64 * 20 - numbers.below(900) as i64;
            let branch = branches[numbers.below(4) as usize];
            let amount = numbers.below(200) as f64 - 100.0;
            let null = numbers.below(10);
            (
                Some(at),
                (null != 0).then_some(branch),
                (null != 1).then_some(amount),
                (null != 2).then_some(numbers.below(50) as i64),
            )
        })
        .collect();
    batch(&rows)
}

pub fn run<F: Future>(work: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

pub fn process(engine: &Engine, state: &LaneState, batch: RecordBatch) -> Step {
    run(engine.process("t", state, batch, Timestamp(0))).unwrap()
}

/// How state travels from one micro-batch to the next.
#[derive(Clone, Copy, Debug)]
pub enum Carry {
    Memory,
    Snapshot,
    Deltas,
    /// Checkpoints at random moments, with all rows in tiny segments; in between the state stays in memory or is
    /// restored from checkpoint and deltas.
    Segments,
}

/// Bounds that put every row into a segment at once, and merge often.
pub const TINY: SegmentOptions = SegmentOptions { flush: 0, piece: 900, width: 3, merge: 20_000, resident: 2_000 };

/// Segments in memory, counted.
#[derive(Debug, Default)]
pub struct MemorySegments {
    objects: Mutex<HashMap<u128, Bytes>>,
    gets: AtomicUsize,
}

impl MemorySegments {
    /// Segments that were fetched since the last call.
    pub fn fetched(&self) -> usize {
        self.gets.swap(0, Ordering::Relaxed)
    }

    pub fn remove_all(&self) {
        self.objects.lock().unwrap().clear();
    }
}

#[async_trait]
impl Segments for MemorySegments {
    async fn put(&self, content: Bytes, about: Bytes) -> Result<Segment> {
        let mut objects = self.objects.lock().unwrap();
        let (attempt, length) = (objects.len() as u128, content.len() as u64);
        objects.insert(attempt, content);
        Ok(Segment { attempt, hash: [0; 32], length, about })
    }

    async fn get(&self, segment: &Segment) -> Result<Bytes> {
        self.gets.fetch_add(1, Ordering::Relaxed);
        let found = self.objects.lock().unwrap().get(&segment.attempt).cloned();
        found.ok_or_else(|| Error::new(ErrorKind::Conflict, "a segment is missing"))
    }
}

/// A state with `store`, from what a checkpoint left.
pub fn restored(
    engine: &Engine,
    store: &Arc<MemorySegments>,
    rest: Option<&[u8]>,
    segments: &[Segment],
    deltas: &[Bytes],
) -> LaneState {
    let stored = StoredState { segments, store: Arc::clone(store) as Arc<dyn Segments> };
    run(engine.restore_stored("t", rest, stored, deltas)).unwrap()
}

/// Runs `whole` cut at random places (`None`: not cut), then drains. Returns the rows of the first output.
pub fn run_cut(engine: &Engine, whole: &RecordBatch, cuts: Option<u64>, carry: Carry) -> RecordBatch {
    let store = Arc::new(MemorySegments::default());
    let mut kept: (Option<Vec<u8>>, Vec<Segment>) = (None, Vec::new());
    let mut state = restored(engine, &store, None, &[], &[]);
    let mut deltas: Vec<Bytes> = Vec::new();
    let mut results = Vec::new();
    let mut at = 0;
    let mut numbers = Numbers(cuts.unwrap_or_default());
    while at < whole.num_rows() {
        let rest = whole.num_rows() - at;
        let length = cuts.map_or(rest, |_| rest.min(1 + numbers.below(90) as usize));
        let step = process(engine, &state, whole.slice(at, length));
        at += length;
        assert_eq!(step.rejected, [], "{carry:?}");
        results.extend(step.results.into_iter().inspect(|rows| assert!(!rows.late)).map(|rows| rows.batch));
        deltas.push(step.delta.into());
        let watermark = step.next.watermark;
        state = match carry {
            Carry::Memory => step.next,
            Carry::Snapshot => {
                let bytes = engine.snapshot("t", &step.next).unwrap();
                run(engine.restore("t", Some(&bytes), &[])).unwrap()
            }
            Carry::Deltas => run(engine.restore("t", None, &deltas)).unwrap(),
            Carry::Segments => {
                let mut next = step.next;
                if numbers.below(3) == 0 {
                    let checkpoint = run(engine.checkpoint("t", &next)).unwrap();
                    kept = (Some(checkpoint.rest), checkpoint.segments);
                    next = checkpoint.state;
                    deltas.clear();
                }
                match numbers.below(2) {
                    0 => next,
                    _ => restored(engine, &store, kept.0.as_deref(), &kept.1, &deltas),
                }
            }
        };
        assert_eq!(state.watermark, watermark);
    }
    let last = run(engine.drain("t", &state, Timestamp(0))).unwrap();
    results.extend(last.results.into_iter().map(|rows| rows.batch));
    assert!(run(engine.open_windows(&last.next)).unwrap().iter().all(|open| open.windows == 0));
    concat_batches(&engine.outputs()[0].schema, &results).unwrap()
}

/// Each row as text, columns with a bar between them.
pub fn lines(rows: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let columns: Vec<_> = rows.columns().iter().map(|c| ArrayFormatter::try_new(c, &options).unwrap()).collect();
    (0..rows.num_rows())
        .map(|i| columns.iter().map(|c| c.value(i).to_string()).collect::<Vec<_>>().join(" | "))
        .collect()
}

/// Results of a step for an output.
pub fn results(step: &Step, output: usize, late: bool) -> Vec<String> {
    step.results
        .iter()
        .filter(|rows| rows.output == output && rows.late == late)
        .flat_map(|rows| lines(&rows.batch))
        .collect()
}
