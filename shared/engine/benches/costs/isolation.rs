//! What it costs that a row may raise, while none does.

use std::time::{Duration, Instant};

use tidegate_core::{Timestamp, Zone};
use tidegate_engine::Engine;
use tidegate_engine::spec::{EngineSpec, Lanes, OutputSpec, Scope, SourceSpec, WatermarkSpec};

use super::{BATCHES, ROUNDS, ROWS, batch, schema};

/// What may raise, and the same without errors.
const PAIRS: &[(&str, &str)] = &[
    ("SELECT i + j AS c FROM t", "SELECT try_add(i, j) AS c FROM t"),
    ("SELECT l * 2 AS c FROM t", "SELECT try_multiply(l, 2) AS c FROM t"),
    ("SELECT d / e AS c FROM t", "SELECT try_divide(d, e) AS c FROM t"),
    ("SELECT cast(n AS int) AS c FROM t", "SELECT try_cast(n AS int) AS c FROM t"),
    ("SELECT sum(i + j) AS c FROM t GROUP BY k", "SELECT sum(try_add(i, j)) AS c FROM t GROUP BY k"),
];

fn engine(sql: &str) -> Engine {
    let source = SourceSpec {
        name: "t".into(),
        schema: schema(),
        watermark: Some(WatermarkSpec { column: "ts".into(), delay: Duration::from_secs(1) }),
        partition_key: vec![],
        lanes: Lanes::One,
    };
    let output = OutputSpec { name: "out".into(), sql: sql.into(), scope: Scope::Batch, late: false };
    let spec = EngineSpec { sources: vec![source], views: vec![], outputs: vec![output], zone: Zone::UTC };
    Engine::plan(&spec).unwrap_or_else(|errors| panic!("{sql}: {errors:?}"))
}

/// Prints what steps cost with expressions that may raise, beside those that give NULL instead.
pub fn print(runtime: &tokio::runtime::Runtime) {
    println!("| Query of a step | The same without errors | ns a row | without errors | ratio | rows rejected |");
    println!("|---|---|---|---|---|---|");
    let input: Vec<_> = (0..BATCHES).map(batch).collect();
    for (raising, quiet) in PAIRS {
        let engines = [engine(raising), engine(quiet)];
        let (mut best, mut rejected) = ([f64::MAX; 2], 0);
        for _ in 0..ROUNDS {
            for (side, engine) in engines.iter().enumerate() {
                let mut state = engine.new_state("t");
                let input = input.clone();
                let started = Instant::now();
                for rows in input {
                    let step = runtime.block_on(engine.process("t", &state, rows, Timestamp(0))).expect("a step");
                    rejected += step.rejected.len();
                    state = step.next;
                }
                best[side] = best[side].min(started.elapsed().as_secs_f64());
            }
        }
        let per_row = |seconds: f64| seconds * 1e9 / (BATCHES * ROWS) as f64;
        println!(
            "| `{raising}` | `{quiet}` | {:.1} | {:.1} | {:.2} | {rejected} |",
            per_row(best[0]),
            per_row(best[1]),
            best[0] / best[1]
        );
    }
}
