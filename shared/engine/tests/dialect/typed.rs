//! Replays expressions drawn over all types (`tests/spark/typed.py`).
//!
//! Those that differ stand in `tests/spark/typed.txt`, with their reasons.

use std::collections::BTreeMap;
use std::io::Read;
use std::panic::AssertUnwindSafe;

use datafusion::arrow::array::RecordBatch;
use futures::FutureExt;
use tidegate_core::Zone;
use tidegate_engine::AdHoc;
use tidegate_engine::dialect::types::sql_name_of;

use crate::examples::{NOW, cells, folder, same};
use crate::json::Json;

/// Expressions that are planned as one query.
const GROUP: usize = 8;

/// A value as text, or why there is none.
type Cell = Result<Option<String>, String>;

/// The answers to one expression: its type and a cell for each row.
type Answer = Result<(String, Vec<Cell>), String>;

/// A recording, line by line; a variable may name another one.
pub fn lines(variable: &str, name: &str) -> Vec<Json> {
    let path = std::env::var_os(variable)
        .map_or_else(|| folder().join(format!("drawn/{name}.jsonl.gz")), std::path::PathBuf::from);
    let mut text = String::new();
    let file = std::fs::File::open(path).expect("the recording is there");
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).expect("the recording can be read");
    text.lines().map(Json::parse).collect()
}

/// A table, as a whole and row by row.
#[derive(Default)]
struct World {
    whole: AdHoc,
    rows: Vec<AdHoc>,
}

impl World {
    async fn new(query: &str, zone: Zone) -> Self {
        let table = run(&AdHoc::new(NOW).in_zone(zone), query).await.unwrap_or_else(|error| panic!("{error}\n{query}"));
        let over = |rows: RecordBatch| {
            let mut adhoc = AdHoc::new(NOW).in_zone(zone);
            adhoc.add("t", rows);
            adhoc
        };
        Self { rows: (0..table.num_rows()).map(|row| over(table.slice(row, 1))).collect(), whole: over(table) }
    }
}

/// Runs a query; a panic is an error too.
pub async fn run(adhoc: &AdHoc, sql: &str) -> Result<RecordBatch, String> {
    match AssertUnwindSafe(adhoc.run(sql)).catch_unwind().await {
        Ok(answer) => answer.map_err(|error| error.error.to_string()),
        Err(_) => Err("panics".to_owned()),
    }
}

fn select(expressions: &[&str]) -> String {
    let items: Vec<String> = expressions.iter().enumerate().map(|(i, text)| format!("{text} AS c{i}")).collect();
    format!("SELECT {} FROM t", items.join(", "))
}

fn column(batch: &RecordBatch, at: usize, zone: Zone) -> Answer {
    let cells = cells(batch, at, zone)?.into_iter().map(Ok).collect();
    Ok((sql_name_of(batch.schema().field(at)), cells))
}

/// One expression; row by row where it raises.
async fn alone(world: &World, expression: &str) -> Answer {
    match run(&world.whole, &select(&[expression])).await {
        Ok(batch) => return column(&batch, 0, world.whole.zone()),
        Err(message) if !message.starts_with('[') => return Err(message),
        Err(_) => {}
    }
    let (mut ty, mut found) = (None, Vec::new());
    for row in &world.rows {
        match run(row, &select(&[expression])).await.and_then(|batch| column(&batch, 0, world.whole.zone())) {
            Ok((name, mut cells)) => {
                ty = Some(name);
                found.append(&mut cells);
            }
            Err(message) => found.push(Err(message)),
        }
    }
    Ok((ty.unwrap_or_else(|| "?".to_owned()), found))
}

async fn answers(world: &World, expressions: &[&str]) -> Vec<Answer> {
    if let Ok(batch) = run(&world.whole, &select(expressions)).await {
        return (0..expressions.len()).map(|at| column(&batch, at, world.whole.zone())).collect();
    }
    let mut found = Vec::new();
    for expression in expressions {
        found.push(alone(world, expression).await);
    }
    found
}

fn differs(case: &Json, answer: &Answer) -> Option<String> {
    let (ty, cells) = match answer {
        Ok(answer) => answer,
        Err(message) => return Some(message.clone()),
    };
    let want = case.get("t").text();
    if ty != want && ty != "?" {
        return Some(format!("type {ty}, in Spark {want}"));
    }
    let rows = case.get("v").items();
    if rows.len() != cells.len() {
        return Some(format!("{} rows, in Spark {}", cells.len(), rows.len()));
    }
    for (row, (got, want_cell)) in cells.iter().zip(rows).enumerate() {
        let fine = match (got, want_cell.get("!")) {
            (Ok(got), Json::Null) => same(want, got.as_ref(), want_cell),
            (Err(message), Json::Text(class)) => {
                let ours = message.trim_start_matches('[').split(']').next().unwrap_or_default();
                // Spark lets some exceptions of Java through: they have no class.
                class == "Py4JJavaError"
                    || class.ends_with("Exception")
                    || ours == class
                    || ours == class.split('.').next().unwrap_or_default()
            }
            _ => false,
        };
        if !fine {
            return Some(format!("row {row}: {got:?}, in Spark {want_cell:?}"));
        }
    }
    None
}

/// Expressions that differ, with the reason.
pub fn listed(file: &str) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(folder().join(file)).unwrap_or_default();
    let pair = |line: &str| line.split_once(" # ").map(|(query, why)| (query.to_owned(), why.to_owned()));
    text.lines().filter(|line| !line.starts_with('#')).filter_map(pair).collect()
}

#[tokio::test]
async fn expressions_drawn_over_all_types() {
    replayed("TIDEGATE_TYPED_CASES", "typed").await;
}

#[tokio::test]
async fn dates_and_times_in_session_time_zones() {
    replayed("TIDEGATE_ZONE_CASES", "zones").await;
}

#[tokio::test]
async fn what_stands_behind_a_null() {
    replayed("TIDEGATE_NULL_CASES", "nulls").await;
}

/// Replays a recording; what differs must stand in the list of its name.
#[expect(clippy::print_stdout, reason = "the list is shown with --nocapture")]
async fn replayed(variable: &str, name: &str) {
    let listed = listed(&format!("{name}.txt"));
    let mut world = World::default();
    let (mut total, mut differing, mut unexplained) = (0, Vec::new(), 0);
    let all = lines(variable, name);
    let mut at = 1;
    while at < all.len() {
        if let Json::Text(query) = all[at].get("table") {
            let zone = if let Json::Text(zone) = all[at].get("zone") { zone } else { "UTC" };
            world = World::new(query, Zone::parse(zone).expect("a zone")).await;
            at += 1;
            continue;
        }
        let end = (at..all.len().min(at + GROUP)).find(|i| all[*i].get("table") != &Json::Null);
        let group = &all[at..end.unwrap_or(all.len().min(at + GROUP))];
        let expressions: Vec<&str> = group.iter().map(|case| case.get("q").text()).collect();
        for (case, answer) in group.iter().zip(answers(&world, &expressions).await) {
            total += 1;
            let query = case.get("q").text();
            if let Some(what) = differs(case, &answer) {
                let known = listed.contains_key(query);
                println!("{} {}\n  {query}\n  {what}", if known { "listed" } else { "DIFFERS" }, case.get("f").text());
                unexplained += usize::from(!known);
                differing.push(query.to_owned());
            }
        }
        at += group.len();
    }
    println!(
        "{} of {total} expressions are as in Spark, {unexplained} of the others unexplained",
        total - differing.len()
    );
    let stale: Vec<_> = listed.keys().filter(|query| !differing.contains(query)).collect();
    assert_eq!(unexplained, 0, "expressions differ from Spark that {name}.txt does not name");
    assert!(stale.is_empty(), "{name}.txt names what is as in Spark: {stale:?}");
}
