//! State that grows: `cargo bench -p tidegate-engine --bench state [-- MILLIONS]`. One lane takes batches of 10,000 keys that
//! it has never seen, all in one window, with a checkpoint every 32 batches; segments are files in a temporary folder.
//! Beside it the same with the whole state in every checkpoint. Then the cold start, a batch behind it, and the end of
//! the window, whose results are counted.
#![expect(clippy::print_stdout, reason = "it prints its figures")]
#![expect(clippy::disallowed_methods, reason = "it measures time and reads its own memory")]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit};
use async_trait::async_trait;
use bytes::Bytes;
use tidegate_core::{Error, ErrorKind, Result, Segment, Segments, Timestamp, Zone};
use tidegate_engine::spec::{EngineSpec, Lanes, OutputSpec, Scope, SourceSpec, WatermarkSpec};
use tidegate_engine::{Engine, LaneState, StoredState};

/// Rows of a batch, each with a key of its own.
const ROWS: i64 = 10_000;
/// Batches between two checkpoints: half of a ring of 64.
const EVERY: i64 = 32;
/// Beyond so many keys the whole state is not written any more.
const WHOLE: i64 = 2_000_000;
const DAY: i64 = 86_400_000_000;
const SQL: &str = "SELECT k, sum(v) AS total, count(*) AS n FROM t GROUP BY window(ts, '1 day'), k";

#[derive(Debug)]
struct Folder {
    path: PathBuf,
    puts: AtomicU64,
    gets: AtomicU64,
}

#[async_trait]
impl Segments for Folder {
    async fn put(&self, content: Bytes, about: Bytes) -> Result<Segment> {
        let attempt = u128::from(self.puts.fetch_add(1, Ordering::Relaxed));
        std::fs::write(self.path.join(attempt.to_string()), &content).expect("a segment is written");
        Ok(Segment { attempt, hash: [0; 32], length: content.len() as u64, about })
    }

    async fn get(&self, segment: &Segment) -> Result<Bytes> {
        self.gets.fetch_add(1, Ordering::Relaxed);
        let found = std::fs::read(self.path.join(segment.attempt.to_string()));
        found.map(Bytes::from).map_err(|error| Error::new(ErrorKind::Conflict, error.to_string()))
    }
}

fn schema() -> SchemaRef {
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let number = |name| Field::new(name, DataType::Int64, true);
    Arc::new(Schema::new(vec![Field::new("ts", utc, true), number("k"), number("v")]))
}

fn engine() -> Engine {
    let source = SourceSpec {
        name: "t".into(),
        schema: schema(),
        watermark: Some(WatermarkSpec { column: "ts".into(), delay: Duration::ZERO }),
        partition_key: Vec::new(),
        lanes: Lanes::One,
    };
    let output = OutputSpec { name: "out".into(), sql: SQL.into(), scope: Scope::Stream, late: false };
    let spec = EngineSpec { sources: vec![source], views: vec![], outputs: vec![output], zone: Zone::UTC };
    Engine::plan(&spec).expect("the query plans")
}

/// Batch `i`: its rows are 10 ms apart from the next batch's.
fn batch(i: i64) -> RecordBatch {
    let ts: TimestampMicrosecondArray = (0..ROWS).map(|_| Some(i * 10_000)).collect();
    // Keys in no order.
    let key = |row: i64| (i * ROWS + row).wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(ts.with_timezone("UTC")),
        Arc::new((0..ROWS).map(|row| Some(key(row))).collect::<Int64Array>()),
        Arc::new((0..ROWS).map(Some).collect::<Int64Array>()),
    ];
    RecordBatch::try_new(schema(), columns).expect("columns of the schema")
}

/// The most megabytes of the process in memory so far.
fn peak() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1000
}

/// Megabytes of the process in memory.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096 / 1_000_000
}

fn main() {
    let millions = std::env::args().filter_map(|word| word.parse::<i64>().ok()).next().unwrap_or(10);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(run(millions * 1_000_000));
}

async fn run(keys: i64) {
    let folder = std::env::temp_dir().join(format!("tidegate-state-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let store = Arc::new(Folder { path: folder.clone(), puts: AtomicU64::new(0), gets: AtomicU64::new(0) });
    let engine = engine();
    let stored = || Arc::clone(&store) as Arc<dyn Segments>;
    let start = StoredState { segments: &[], store: stored() };
    let mut state = engine.restore_stored("t", None, start, &[]).await.expect("a new lane");
    let (mut rest, mut segments) = (Vec::new(), Vec::new());
    println!("| keys | us a batch | gets | ms a checkpoint | segments | MB in them | ms, whole state | resident MB |");
    println!("|---|---|---|---|---|---|---|---|");
    let (mut stepping, mut pointing, mut points) = (Duration::ZERO, Duration::ZERO, 0u32);
    let report = keys / ROWS / 10;
    for i in 0..keys / ROWS {
        let rows = batch(i);
        let started = Instant::now();
        state = engine.process("t", &state, rows, Timestamp(0)).await.expect("a step").next;
        stepping += started.elapsed();
        if (i + 1) % EVERY == 0 {
            let started = Instant::now();
            let checkpoint = engine.checkpoint("t", &state).await.expect("a checkpoint");
            pointing += started.elapsed();
            points += 1;
            (rest, segments, state) = (checkpoint.rest, checkpoint.segments, checkpoint.state);
        }
        if (i + 1) % report == 0 {
            let seen = (i + 1) * ROWS;
            let gets = store.gets.swap(0, Ordering::Relaxed);
            let whole = if seen <= WHOLE { whole(&engine, &state).await } else { "-".to_owned() };
            let bytes: u64 = segments.iter().map(|segment| segment.length).sum();
            println!(
                "| {seen} | {} | {} | {} | {} | {} | {whole} | {} |",
                stepping.as_micros() / report as u128,
                gets,
                pointing.as_millis() / u128::from(points.max(1)),
                segments.len(),
                bytes / 1_000_000,
                resident(),
            );
            store.gets.swap(0, Ordering::Relaxed);
            (stepping, pointing, points) = (Duration::ZERO, Duration::ZERO, 0);
        }
    }
    let last = engine.checkpoint("t", &state).await.expect("a checkpoint");
    (rest, segments) = if last.segments.is_empty() { (rest, segments) } else { (last.rest, last.segments) };
    drop(state);
    finish(&engine, &store, (&rest, &segments), keys).await;
    std::fs::remove_dir_all(&folder).expect("the folder is removed");
}

/// What a checkpoint without segments would take.
async fn whole(engine: &Engine, state: &LaneState) -> String {
    let bytes = engine.whole("t", state).await.expect("the whole state");
    let alone = engine.restore("t", Some(&bytes), &[]).await.expect("the whole state is read");
    let started = Instant::now();
    let again = engine.snapshot("t", &alone).expect("the whole state is written");
    assert_eq!(again.len(), bytes.len());
    started.elapsed().as_millis().to_string()
}

/// A cold start, a batch behind it, and the end of the window.
async fn finish(engine: &Engine, store: &Arc<Folder>, (rest, segments): (&[u8], &[Segment]), keys: i64) {
    let gets = || store.gets.swap(0, Ordering::Relaxed);
    gets();
    let started = Instant::now();
    let stored = StoredState { segments, store: Arc::clone(store) as Arc<dyn Segments> };
    let cold = engine.restore_stored("t", Some(rest), stored, &[]).await.expect("a cold start");
    println!(
        "\ncold start: {} us, {} gets, {} bytes of manifest state",
        started.elapsed().as_micros(),
        gets(),
        rest.len()
    );
    let started = Instant::now();
    let next = engine.process("t", &cold, batch(keys / ROWS), Timestamp(0)).await.expect("a step").next;
    println!("first batch: {} us, {} gets", started.elapsed().as_micros(), gets());
    let mut columns = batch(0).columns().to_vec();
    columns[0] = Arc::new(TimestampMicrosecondArray::from_value(DAY, ROWS as usize).with_timezone("UTC"));
    let ends = RecordBatch::try_new(schema(), columns).expect("columns of the schema");
    let started = Instant::now();
    let step = engine.process("t", &next, ends, Timestamp(0)).await.expect("the window ends");
    let elapsed = started.elapsed();
    let rows: usize = step.results.iter().map(|rows| rows.batch.num_rows()).sum();
    let sum = |column: usize| -> i64 {
        let values =
            step.results.iter().flat_map(|rows| rows.batch.column(column).as_primitive::<Int64Type>().values());
        values.sum()
    };
    println!("end of the window: {} ms, {} gets, peak {} MB", elapsed.as_millis(), gets(), peak());
    let batches = keys / ROWS + 1;
    assert_eq!((rows as i64, sum(2), sum(1)), (batches * ROWS, batches * ROWS, batches * (ROWS * (ROWS - 1) / 2)));
    println!("{rows} groups, each once; sums as counted");
}
