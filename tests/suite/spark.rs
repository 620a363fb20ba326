//! Spark's recorded answers (`tests/spark/`), replayed: decode, query and JSON text are ours, the rows are Spark's.
//!
//! A case that differs must stand in `spark/differences.txt` with its reason; one that stands there and no longer
//! differs fails as well. `TIDEGATE_SPARK_CASES=FOLDER` replays other recordings (see `spark/README.md`).

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;
use tidegate_core::types::parse_columns;
use tidegate_core::units::parse_duration;
use tidegate_core::{Position, Timestamp};
use tidegate_delivery::json::RowWriter;
use tidegate_engine::spec::{EngineSpec, Lanes, OutputSpec, Scope, SourceSpec, WatermarkSpec};
use tidegate_engine::{Engine, LaneState, Step};
use tidegate_source::{Column, JsonDecoder, Records, SourceSchema};

use crate::kit::root;

/// The clock of every replayed micro-batch.
const NOW: Timestamp = Timestamp(1_767_225_600_000_000);

/// Equal, or how it differs.
type Outcome = Result<(), String>;

struct Replay {
    decoder: JsonDecoder,
    engine: Engine,
    state: LaneState,
    case: Value,
}

impl Replay {
    fn new(case: Value) -> Result<Self, String> {
        let columns = parse_columns(case["columns"].as_str().unwrap_or_default()).map_err(|error| error.to_string())?;
        let columns = columns.into_iter().map(|(name, ty)| Column { name, ty, timestamp_unit: None }).collect();
        let schema = SourceSchema { columns, metadata: Vec::new() };
        let watermark = case["watermark"].as_object().map(|watermark| WatermarkSpec {
            column: watermark["column"].as_str().unwrap_or_default().to_owned(),
            delay: spark_interval(watermark["delay"].as_str().unwrap_or_default()),
        });
        let scope = if case["scope"] == "batch" { Scope::Batch } else { Scope::Stream };
        let sql = case["query"].as_str().unwrap_or_default().to_owned();
        let spec = EngineSpec {
            sources: vec![SourceSpec {
                name: "t".into(),
                schema: schema.arrow(),
                watermark,
                partition_key: Vec::new(),
                lanes: Lanes::One,
            }],
            views: Vec::new(),
            outputs: vec![OutputSpec { name: "o".into(), sql, scope, late: false }],
            zone: tidegate_core::Zone::UTC,
        };
        let engine = Engine::plan(&spec).map_err(|errors| {
            errors.iter().map(|error| format!("does not plan: {}", error.error)).collect::<Vec<_>>().join("; ")
        })?;
        let state = engine.new_state("t");
        Ok(Self { decoder: JsonDecoder::new(schema), engine, state, case })
    }

    async fn run(&mut self) -> Outcome {
        self.check_types()?;
        let batches = self.case["batches"].as_array().cloned().unwrap_or_default();
        for (i, lines) in batches.iter().enumerate() {
            self.batch(i, lines).await.map_err(|error| format!("batch {i}: {error}"))?;
        }
        if let Some(expected) = self.case["drain"].as_array().cloned() {
            let step = self.engine.drain("t", &self.state, NOW).await.map_err(|error| error.to_string())?;
            self.compare(&expected, &rows_of(&step)?).map_err(|error| format!("drain: {error}"))?;
        }
        Ok(())
    }

    fn check_types(&self) -> Outcome {
        let schema = &self.engine.outputs()[0].schema;
        let ours: Vec<(String, String)> = schema
            .fields()
            .iter()
            .map(|field| (field.name().clone(), tidegate_core::types::spark_name_of(field)))
            .collect();
        let pair = |column: &Value| {
            (column[0].as_str().unwrap_or_default().to_owned(), column[1].as_str().unwrap_or_default().to_owned())
        };
        let theirs: Vec<(String, String)> = self.case["schema"].as_array().into_iter().flatten().map(pair).collect();
        if ours == theirs { Ok(()) } else { Err(format!("columns are {ours:?}, Spark's are {theirs:?}")) }
    }

    async fn batch(&mut self, i: usize, lines: &Value) -> Outcome {
        let mut records = Records::new();
        for (line, text) in lines.as_array().into_iter().flatten().enumerate() {
            let text = text.as_str().unwrap_or_default();
            records.push(Position::new(line as u64 + 1), None, None, Vec::new(), text.as_bytes());
        }
        let decoded = self.decoder.decode(&records, "0").map_err(|error| error.to_string())?;
        let mut rejected: Vec<u64> = decoded.rejected.iter().map(|rejected| u64::from(rejected.record)).collect();
        rejected.sort_unstable();
        let expected: Vec<u64> =
            self.case["rejected"][i].as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
        if rejected != expected {
            return Err(format!("lines {rejected:?} do not fit, in Spark {expected:?}: {:?}", decoded.rejected));
        }
        let step =
            self.engine.process("t", &self.state, decoded.batch, NOW).await.map_err(|error| error.to_string())?;
        self.check_raised(i, &step, &decoded.record_of_row)?;
        let expect = &self.case["expect"][i];
        self.compare(expect["rows"].as_array().map_or(&[], Vec::as_slice), &rows_of(&step)?)?;
        if self.case["watermark"].is_object() {
            let late: u64 = step.counts.iter().map(|counts| counts.late).sum();
            let watermark = step.next.watermark.map(|watermark| watermark.to_string());
            if Some(late) != expect["late"].as_u64() {
                return Err(format!("{late} late rows, in Spark {}", expect["late"]));
            }
            if watermark.as_deref() != expect["watermark_after"].as_str() {
                return Err(format!("watermark {watermark:?}, in Spark {}", expect["watermark_after"]));
            }
            self.state = step.next;
        }
        Ok(())
    }

    /// The rows for which an expression raised, with Spark's error class.
    fn check_raised(&self, i: usize, step: &Step, record_of_row: &[u32]) -> Outcome {
        let mut ours: Vec<(u64, String)> = step
            .rejected
            .iter()
            .map(|row| {
                let line =
                    row.row.and_then(|row| record_of_row.get(row as usize)).map_or(u64::MAX, |line| u64::from(*line));
                let class = row.reason.trim_start_matches('[').split([']', ' ', ':']).next().unwrap_or_default();
                (line, class.to_owned())
            })
            .collect();
        ours.sort();
        let pair =
            |raised: &Value| (raised[0].as_u64().unwrap_or(0), raised[1].as_str().unwrap_or_default().to_owned());
        let mut theirs: Vec<(u64, String)> =
            self.case["raises"][i].as_array().into_iter().flatten().map(pair).collect();
        theirs.sort();
        if ours == theirs { Ok(()) } else { Err(format!("{:?} raise ({ours:?}), in Spark {theirs:?}", step.rejected)) }
    }

    fn compare(&self, expected: &[Value], ours: &[String]) -> Outcome {
        let ignore: Vec<&str> =
            self.case["ignore"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let approximate = self.case["approx"] == true;
        let mut ours: Vec<String> = ours.iter().map(|row| normal(row, &ignore, approximate)).collect();
        let mut theirs: Vec<String> =
            expected.iter().filter_map(Value::as_str).map(|row| normal(row, &ignore, approximate)).collect();
        ours.sort();
        theirs.sort();
        if ours == theirs {
            return Ok(());
        }
        let only_ours: Vec<&String> = ours.iter().filter(|row| !theirs.contains(row)).take(3).collect();
        let only_theirs: Vec<&String> = theirs.iter().filter(|row| !ours.contains(row)).take(3).collect();
        Err(format!("{} rows, in Spark {}; ours {only_ours:?}, Spark's {only_theirs:?}", ours.len(), theirs.len()))
    }
}

/// The text of a row; parsed only where columns are left out or doubles are compared to 9 digits.
fn normal(row: &str, ignore: &[&str], approximate: bool) -> String {
    if ignore.is_empty() && !approximate {
        return row.to_owned();
    }
    let mut value: Value = serde_json::from_str(row).unwrap_or_else(|_| Value::String(row.to_owned()));
    if let Some(object) = value.as_object_mut() {
        object.retain(|name, _| !ignore.contains(&name.as_str()));
    }
    if approximate {
        round(&mut value);
    }
    value.to_string()
}

fn round(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            *value = Value::String(format!("{:.8e}", number.as_f64().unwrap_or(0.0)));
        }
        Value::Array(items) => items.iter_mut().for_each(round),
        Value::Object(fields) => fields.values_mut().for_each(round),
        _ => {}
    }
}

fn rows_of(step: &Step) -> Result<Vec<String>, String> {
    let mut rows = Vec::new();
    for result in step.results.iter().filter(|result| !result.late) {
        let writer = RowWriter::new(&result.batch).map_err(|error| error.to_string())?;
        for row in 0..result.batch.num_rows() {
            let mut text = Vec::new();
            writer.write(row, &mut text);
            rows.push(String::from_utf8(text).map_err(|error| error.to_string())?);
        }
    }
    Ok(rows)
}

/// `5 seconds`, `1 minute`: Spark's words for what is `5s`, `1m` in a pipeline file.
fn spark_interval(text: &str) -> std::time::Duration {
    let (number, unit) = text.split_once(' ').expect("a number and a unit");
    let unit = match unit.trim_end_matches('s') {
        "millisecond" => "ms",
        "second" => "s",
        "minute" => "m",
        "hour" => "h",
        other => panic!("unit {other}"),
    };
    parse_duration(&format!("{number}{unit}")).expect("a duration")
}

fn known_differences() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(root().join("tests/spark/differences.txt")).unwrap_or_default();
    let line = |line: &str| line.split_once(": ").map(|(name, why)| (name.to_owned(), why.to_owned()));
    text.lines().filter(|text| !text.starts_with('#')).filter_map(line).collect()
}

fn cases_folder() -> (PathBuf, bool) {
    match std::env::var_os("TIDEGATE_SPARK_CASES") {
        Some(folder) => (folder.into(), false),
        None => (root().join("tests/spark/cases"), true),
    }
}

#[tokio::test]
async fn answers_are_sparks() {
    let (folder, kept) = cases_folder();
    let known = if kept { known_differences() } else { BTreeMap::new() };
    let mut wrong = Vec::new();
    let mut stale: Vec<&String> = known.keys().collect();
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for entry in std::fs::read_dir(&folder).expect("the recordings are there") {
        let path = entry.expect("a file").path();
        if path.extension().is_none_or(|kind| kind != "json") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a recording can be read");
        let file: Value = serde_json::from_str(&text).expect("a recording is JSON");
        // Recordings without a family hold single expressions: the engine's own tests replay them.
        let Some(family) = file["family"].as_str().map(str::to_owned) else { continue };
        for case in file["cases"].as_array().expect("cases") {
            if case["decided"].is_string() {
                continue;
            }
            let name = case["name"].as_str().unwrap_or_default().to_owned();
            let outcome = match Replay::new(case.clone()) {
                Ok(mut replay) => replay.run().await,
                Err(error) => Err(error),
            };
            let count = counts.entry(family.clone()).or_default();
            count.0 += 1;
            match outcome {
                Ok(()) => count.1 += 1,
                Err(_) if known.contains_key(&name) => stale.retain(|known| **known != name),
                Err(error) => {
                    wrong.push(format!("{name}: {error}\n    {}", case["query"].as_str().unwrap_or_default()))
                }
            }
        }
    }
    for (family, (all, equal)) in &counts {
        println!("{family}: {equal} of {all} cases as in Spark");
    }
    assert!(wrong.is_empty(), "{} cases differ from Spark:\n{}", wrong.len(), wrong.join("\n"));
    assert!(stale.is_empty(), "these cases no longer differ, take them out of differences.txt: {stale:?}");
    assert!(counts.values().map(|count| count.0).sum::<usize>() >= 200 || !kept, "too few cases were replayed");
}
