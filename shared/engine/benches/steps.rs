//! Cost of a step: `cargo bench -p tidegate-engine --bench steps`. Prints ns per row, and a hash of the results that
//! must not change with the machine.
#![expect(clippy::print_stdout, reason = "it prints its figures")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use tidegate_core::{Timestamp, Zone};
use tidegate_engine::Engine;
use tidegate_engine::spec::{EngineSpec, Lanes, OutputSpec, Scope, SourceSpec, WatermarkSpec};

const ROUNDS: usize = 300;
const BRANCHES: u64 = 500;
const CURRENCIES: u64 = 10;

const CASES: &[(&str, &str, Scope)] = &[
    (
        "windowed",
        "SELECT window.start AS s, branch, currency, sum(amount) AS total, count(*) AS n FROM t \
         GROUP BY window(ts, '2 seconds'), branch, currency",
        Scope::Stream,
    ),
    ("batch", "SELECT branch, currency, sum(amount) AS total FROM t GROUP BY branch, currency", Scope::Batch),
    ("stateless", "SELECT branch, amount * 2 AS double FROM t WHERE amount > 0", Scope::Stream),
];

fn schema() -> SchemaRef {
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("ts", utc, true),
        Field::new("branch", DataType::Utf8, true),
        Field::new("currency", DataType::Utf8, true),
        Field::new("amount", DataType::Float64, true),
    ]))
}

/// 10,000 rows a second of event time.
fn batches(rows: usize) -> Vec<RecordBatch> {
    let mut seed = 1u64;
    let mut below = |end: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % end
    };
    let mut batch = |i: usize| {
        let ts: TimestampMicrosecondArray = (0..rows).map(|row| Some(((i * rows + row) * 100) as i64)).collect();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(ts.with_timezone("UTC")),
            Arc::new((0..rows).map(|_| Some(format!("branch-{}", below(BRANCHES)))).collect::<StringArray>()),
            Arc::new((0..rows).map(|_| Some(format!("C{}", below(CURRENCIES)))).collect::<StringArray>()),
            Arc::new((0..rows).map(|_| Some(below(20_000) as f64 / 100.0 - 100.0)).collect::<Float64Array>()),
        ];
        RecordBatch::try_new(schema(), columns).expect("columns of the schema")
    };
    (0..ROUNDS).map(&mut batch).collect()
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    for (name, sql, scope) in CASES {
        let source = SourceSpec {
            name: "t".into(),
            schema: schema(),
            watermark: Some(WatermarkSpec { column: "ts".into(), delay: Duration::from_secs(1) }),
            partition_key: vec![],
            lanes: Lanes::One,
        };
        let output = OutputSpec { name: "out".into(), sql: (*sql).into(), scope: *scope, late: false };
        let spec = EngineSpec { sources: vec![source], views: vec![], outputs: vec![output], zone: Zone::UTC };
        let started = Instant::now();
        let engine = Engine::plan(&spec).expect("the query plans");
        println!("{name}: planned in {:.1} ms", started.elapsed().as_secs_f64() * 1e3);
        for rows in [100, 1_000, 6_600, 10_000] {
            let input = batches(rows);
            let mut state = engine.new_state("t");
            let (mut hash, mut out, mut delta) = (DefaultHasher::new(), 0, 0);
            let started = Instant::now();
            let mut steps = Vec::with_capacity(input.len());
            for batch in input {
                let step = runtime.block_on(engine.process("t", &state, batch, Timestamp(0))).expect("a step");
                state = step.next;
                delta += step.delta.len();
                steps.push(step.results);
            }
            let elapsed = started.elapsed();
            for rows in steps.into_iter().flatten() {
                out += rows.batch.num_rows();
                format!("{:?}", rows.batch).hash(&mut hash);
            }
            println!(
                "{name} {rows:>6} rows: {:>8.1} us/batch {:>7.1} ns/row  rows out {out}  delta {} B/batch  hash {:016x}",
                elapsed.as_secs_f64() * 1e6 / ROUNDS as f64,
                elapsed.as_secs_f64() * 1e9 / (ROUNDS * rows) as f64,
                delta / ROUNDS,
                hash.finish()
            );
        }
    }
}
