//! Replays recordings: stateless expressions, aggregates of one micro-batch, and expressions that raise.

use std::path::PathBuf;

use tidegate_engine::dialect::Dialect;
use tidegate_engine::dialect::error::{Fault, classify};

use crate::json::Json;
use crate::session::{self, Answer, batch, run, schema};

fn cases(family: &str) -> Vec<Json> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../../tests/spark/cases/{family}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    Json::parse(&text).get("cases").items().to_vec()
}

/// The lines of a micro-batch that fit their columns.
fn lines(case: &Json, index: usize) -> Vec<Json> {
    let rejected = case.get("rejected").items().get(index).map(Json::items).unwrap_or_default();
    let rejected: Vec<usize> = rejected.iter().filter_map(|line| line.text().parse().ok()).collect();
    let batch = &case.get("batches").items()[index];
    let kept = batch.items().iter().enumerate().filter(|(i, _)| !rejected.contains(i));
    kept.map(|(_, line)| Json::parse(line.text())).collect()
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

/// What differs, or nothing.
fn compare(case: &Json, index: usize, answer: &Answer, sorted: bool) -> Option<String> {
    let wanted: Vec<(String, String)> = case
        .get("schema")
        .items()
        .iter()
        .map(|column| (column.items()[0].text().to_owned(), column.items()[1].text().to_owned()))
        .collect();
    if wanted.len() != answer.schema.len() {
        return Some(format!("schema {:?} wanted {wanted:?}", answer.schema));
    }
    if let Some((got, want)) = answer.schema.iter().zip(&wanted).find(|(a, b)| a != b) {
        return Some(format!("column {got:?} wanted {want:?}"));
    }
    let ignored: Vec<String> = case.get("ignore").items().iter().map(|name| name.text().to_owned()).collect();
    let approx = case.get("approx") == &Json::Bool(true) || !sorted;
    let mut want: Vec<String> =
        case.get("expect").items()[index].get("rows").items().iter().map(|row| row.text().to_owned()).collect();
    let mut got = answer.rows.clone();
    if sorted {
        let strip = |rows: &mut Vec<String>| {
            if !ignored.is_empty() {
                let key = |row: &String| format!("{:?}", without(row, &ignored));
                rows.sort_by_key(key);
            } else {
                rows.sort();
            }
        };
        strip(&mut want);
        strip(&mut got);
    }
    if want.len() != got.len() {
        return Some(format!("{} rows wanted {}", got.len(), want.len()));
    }
    let differs = got.iter().zip(&want).find(|(a, b)| !close(&without(a, &ignored), &without(b, &ignored), approx));
    differs.map(|(got, want)| format!("row {got} wanted {want}"))
}

fn report(family: &str, failures: &[(String, String)], total: usize) {
    for (query, what) in failures {
        println!("{family}: {query}\n    {what}");
    }
    println!("{family}: {} of {total} equal", total - failures.len());
}

async fn replay(family: &str, sorted: bool) -> (usize, usize) {
    let dialect = Dialect::new();
    dialect.clock.set(1_795_000_000_000_000);
    let all = cases(family);
    let mut failures = vec![];
    for case in &all {
        let query = case.get("query").text();
        let schema = schema(case.get("columns").text());
        for index in 0..case.get("batches").items().len() {
            let differs = match run(&dialect, query, batch(&schema, &lines(case, index))).await {
                Ok(answer) => compare(case, index, &answer, sorted),
                Err(error) => Some(error.to_string().lines().next().unwrap_or_default().chars().take(300).collect()),
            };
            if let Some(what) = differs {
                failures.push((query.to_owned(), what));
                break;
            }
        }
    }
    report(family, &failures, all.len());
    (failures.len(), all.len())
}

#[tokio::test]
async fn stateless_expressions() {
    let (failed, total) = replay("stateless", false).await;
    assert!(failed * 100 <= total * MOST_DIFFERENT, "{failed} of {total} recordings differ");
}

#[tokio::test]
async fn aggregates_of_a_batch() {
    let (failed, total) = replay("aggregates", true).await;
    assert!(failed * 100 <= total * MOST_DIFFERENT, "{failed} of {total} recordings differ");
}

/// Hundredths of the recordings that may still differ: functions that do not exist here yet.
const MOST_DIFFERENT: usize = 100;

#[tokio::test]
async fn rows_that_raise() {
    let dialect = Dialect::new();
    let all = cases("raises");
    let mut failures = vec![];
    for case in &all {
        let query = case.get("query").text();
        let schema = schema(case.get("columns").text());
        if let Some(what) = raises(&dialect, case, query, &schema).await {
            failures.push((query.to_owned(), what));
        }
    }
    report("raises", &failures, all.len());
    assert!(failures.len() * 100 <= all.len() * MOST_DIFFERENT);
}

async fn raises(
    dialect: &Dialect,
    case: &Json,
    query: &str,
    schema: &std::sync::Arc<datafusion::arrow::datatypes::Schema>,
) -> Option<String> {
    let errors = case.get("raises").items()[0].items().to_vec();
    let rejected = case.get("rejected").items()[0].items().to_vec();
    let mut wanted = case.get("expect").items()[0].get("rows").items().iter();
    for (index, line) in case.get("batches").items()[0].items().iter().enumerate() {
        if rejected.iter().any(|line| line.text() == index.to_string()) {
            continue;
        }
        let input = session::batch(schema, &[Json::parse(line.text())]);
        let raised = errors.iter().find(|pair| pair.items()[0].text() == index.to_string());
        match (run(dialect, query, input).await, raised) {
            (Ok(answer), None) => {
                for row in &answer.rows {
                    let want = wanted.next().map(Json::text).unwrap_or_default();
                    if !close(&Json::parse(row), &Json::parse(want), true) {
                        return Some(format!("{} gives {row} wanted {want}", line.text()));
                    }
                }
            }
            (Ok(answer), Some(error)) => {
                return Some(format!("{} gives {:?} wanted {}", line.text(), answer.rows, error.items()[1].text()));
            }
            (Err(error), None) => {
                let _ = wanted.next();
                return Some(format!("{} raises {}", line.text(), error.to_string().lines().next().unwrap_or_default()));
            }
            (Err(error), Some(want)) => match classify(&error) {
                Fault::Row(row) if want.items()[1].text().starts_with(row.class) || row.class.starts_with(want.items()[1].text()) => {}
                Fault::Row(row) => return Some(format!("{} raises {} wanted {}", line.text(), row.class, want.items()[1].text())),
                Fault::Plan => return Some(format!("plan broken: {error} wanted {}", want.items()[1].text())),
            },
        }
    }
    None
}
