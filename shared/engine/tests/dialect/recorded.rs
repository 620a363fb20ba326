//! Replays recordings through the engine. Which lines fit their columns is taken from the recordings.
//!
//! Cases that differ stand in `tests/spark/differences.txt`, with their reasons.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::{Array, ArrayRef, RecordBatch, StructArray};
use tidegate_core::Timestamp;
use tidegate_core::Zone;
use tidegate_engine::dialect::functions::json::write_json;
use tidegate_engine::dialect::types::sql_name_of;
use tidegate_engine::spec::{EngineSpec, Lanes, OutputSpec, Scope, SourceSpec, WatermarkSpec};
use tidegate_engine::{Engine, LaneState, Step};

use crate::json::Json;
use crate::session::{batch, schema};

const NOW: Timestamp = Timestamp(1_767_225_600_000_000);

fn cases(family: &str) -> Vec<Json> {
    let folder = std::env::var_os("TIDEGATE_SPARK_CASES")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/spark/cases"), PathBuf::from);
    let text = std::fs::read_to_string(folder.join(format!("{family}.json"))).unwrap_or_default();
    Json::parse(&text).get("cases").items().to_vec()
}

/// The lines of a micro-batch that fit their columns, with their numbers.
fn lines(case: &Json, index: usize) -> Vec<(usize, Json)> {
    let rejected = case.get("rejected").items().get(index).map(Json::items).unwrap_or_default();
    let rejected: Vec<usize> = rejected.iter().filter_map(|line| line.text().parse().ok()).collect();
    let batch = &case.get("batches").items()[index];
    let kept = batch.items().iter().enumerate().filter(|(i, _)| !rejected.contains(i));
    kept.map(|(i, line)| (i, Json::parse(line.text()))).collect()
}

fn close(a: &Json, b: &Json, approx: bool) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) if approx => {
            let (a, b): (f64, f64) = (a.parse().unwrap(), b.parse().unwrap());
            (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1e-300)
        }
        (Json::List(a), Json::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| close(a, b, approx)),
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && close(&a.1, &b.1, approx))
        }
        _ => a == b,
    }
}

fn without(row: &str, ignored: &[String]) -> Json {
    match Json::parse(row) {
        Json::Object(fields) => Json::Object(fields.into_iter().filter(|(name, _)| !ignored.contains(name)).collect()),
        other => other,
    }
}

fn delay(text: &str) -> Duration {
    let (number, unit) = text.split_once(' ').expect("a number and a unit");
    let number: u64 = number.parse().expect("a number");
    Duration::from_millis(match unit.trim_end_matches('s') {
        "millisecond" => number,
        "second" => number * 1000,
        "minute" => number * 60_000,
        "hour" => number * 3_600_000,
        other => panic!("unit {other}"),
    })
}

fn plan(case: &Json) -> Result<Engine, String> {
    let watermark = match case.get("watermark") {
        Json::Null => None,
        given => Some(WatermarkSpec {
            column: given.get("column").text().to_owned(),
            delay: delay(given.get("delay").text()),
        }),
    };
    let scope = if case.get("scope").text() == "batch" { Scope::Batch } else { Scope::Stream };
    let schema = schema(case.get("columns").text());
    let spec = EngineSpec {
        sources: vec![SourceSpec { name: "t".into(), schema, watermark, partition_key: vec![], lanes: Lanes::One }],
        views: vec![],
        outputs: vec![OutputSpec { name: "o".into(), sql: case.get("query").text().to_owned(), scope, late: false }],
        zone: Zone::UTC,
    };
    Engine::plan(&spec).map_err(|errors| format!("does not plan: {}", errors[0].error))
}

fn rows_of(step: &Step) -> Result<Vec<String>, String> {
    let mut rows = vec![];
    for result in &step.results {
        let all: ArrayRef = Arc::new(StructArray::from(result.batch.clone()));
        for row in 0..all.len() {
            let mut out = String::new();
            write_json(&mut out, &all, row, true, Zone::UTC).map_err(|error| error.to_string())?;
            rows.push(out);
        }
    }
    Ok(rows)
}

fn compare_rows(case: &Json, expected: &Json, step: &Step) -> Result<(), String> {
    let ignored: Vec<String> = case.get("ignore").items().iter().map(|name| name.text().to_owned()).collect();
    let approx = case.get("approx") == &Json::Bool(true);
    let parse = |row: &str| without(row, &ignored);
    let mut got: Vec<Json> = rows_of(step)?.iter().map(|row| parse(row)).collect();
    let mut want: Vec<Json> = expected.items().iter().map(|row| parse(row.text())).collect();
    got.sort_by_key(|row| format!("{row:?}"));
    want.sort_by_key(|row| format!("{row:?}"));
    if want.len() != got.len() {
        return Err(format!("{} rows, in Spark {}: {got:?}, {want:?}", got.len(), want.len()));
    }
    match got.iter().zip(&want).find(|(a, b)| !close(a, b, approx)) {
        Some((got, want)) => Err(format!("row {got:?}\n  in Spark {want:?}")),
        None => Ok(()),
    }
}

fn check_types(case: &Json, engine: &Engine) -> Result<(), String> {
    let pair = |column: &Json| (column.items()[0].text().to_owned(), column.items()[1].text().to_owned());
    let want: Vec<(String, String)> = case.get("schema").items().iter().map(pair).collect();
    let fields = engine.outputs()[0].schema.fields().clone();
    let got: Vec<_> = fields.iter().map(|field| (field.name().clone(), sql_name_of(field))).collect();
    match got.iter().zip(&want).find(|(a, b)| a != b) {
        _ if got.len() != want.len() => Err(format!("columns {got:?}, in Spark {want:?}")),
        Some((got, want)) => Err(format!("column {got:?}, in Spark {want:?}")),
        None => Ok(()),
    }
}

fn check_raised(case: &Json, index: usize, step: &Step, numbers: &[usize]) -> Result<(), String> {
    let class =
        |reason: &str| reason.trim_start_matches('[').split([']', ' ', ':']).next().unwrap_or_default().to_owned();
    let line = |row: Option<u32>| row.map_or("none".to_owned(), |row| numbers[row as usize].to_string());
    let mut got: Vec<_> = step.rejected.iter().map(|row| (line(row.row), class(&row.reason))).collect();
    let raises = case.get("raises").items().get(index).map(Json::items).unwrap_or_default();
    let mut want: Vec<_> =
        raises.iter().map(|pair| (pair.items()[0].text().to_owned(), pair.items()[1].text().to_owned())).collect();
    got.sort();
    want.sort();
    if got == want { Ok(()) } else { Err(format!("raised {got:?}, in Spark {want:?}: {:?}", step.rejected)) }
}

async fn replay_case(case: &Json) -> Result<(), String> {
    let engine = plan(case)?;
    check_types(case, &engine)?;
    let schema = schema(case.get("columns").text());
    let mut state: LaneState = engine.new_state("t");
    for index in 0..case.get("batches").items().len() {
        let (numbers, lines): (Vec<usize>, Vec<Json>) = lines(case, index).into_iter().unzip();
        let input: RecordBatch = batch(&schema, &lines);
        let step = engine.process("t", &state, input, NOW).await.map_err(|error| error.to_string())?;
        check_raised(case, index, &step, &numbers)?;
        let expect = &case.get("expect").items()[index];
        compare_rows(case, expect.get("rows"), &step)?;
        if case.get("watermark") != &Json::Null {
            let late: u64 = step.counts.iter().map(|counts| counts.late).sum();
            let watermark = step.next.watermark.map(|watermark| watermark.to_string()).unwrap_or_default();
            let want = (expect.get("late").text(), expect.get("watermark_after").text());
            if (late.to_string().as_str(), watermark.as_str()) != want {
                return Err(format!("batch {index}: {late} late, watermark {watermark}, in Spark {want:?}"));
            }
            state = step.next;
        }
    }
    if matches!(case.get("drain"), Json::List(_)) {
        let step = engine.drain("t", &state, NOW).await.map_err(|error| error.to_string())?;
        compare_rows(case, case.get("drain"), &step)?;
    }
    Ok(())
}

/// The names of the cases that differ on purpose or for now.
fn known_differences() -> Vec<String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/spark/differences.txt");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| line.split_once(": ")).map(|(name, _)| name.to_owned()).collect()
}

#[expect(clippy::print_stdout, reason = "the list is shown with --nocapture")]
async fn replay(family: &str) {
    let known = known_differences();
    let mut wrong = 0;
    let (mut equal, mut total) = (0, 0);
    for case in cases(family).iter().filter(|case| !matches!(case.get("decided"), Json::Text(_))) {
        total += 1;
        let name = case.get("name").text();
        match replay_case(case).await {
            Ok(()) => equal += 1,
            Err(what) => {
                let listed = known.iter().any(|known| known == name);
                wrong += usize::from(!listed);
                let mark = if listed { "listed" } else { "DIFFERS" };
                println!("{mark} {name}: {}\n  {what}", case.get("query").text());
            }
        }
    }
    println!("{family}: {equal} of {total} as in Spark");
    assert!(total > 0, "the recordings are missing");
    assert_eq!(wrong, 0, "cases differ from Spark that differences.txt does not name");
}

#[tokio::test]
async fn stateless_expressions() {
    replay("stateless").await;
}

#[tokio::test]
async fn aggregates_of_a_batch() {
    replay("aggregates").await;
}

#[tokio::test]
async fn rows_that_raise() {
    replay("raises").await;
}

#[tokio::test]
async fn sliding_windows_over_micro_batches() {
    replay("sliding").await;
}

#[tokio::test]
async fn windows_over_micro_batches() {
    replay("windows").await;
}
