//! Replays aggregates over random groups (`tests/spark/groups.py`): over the whole table, and over a stream whose
//! micro-batches are cut at random.
//!
//! Those that differ stand in `tests/spark/groups.txt`, with their reasons.

use std::collections::BTreeMap;
use std::time::Duration;

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use tidegate_engine::dialect::types::sql_name_of;
use tidegate_engine::spec::{EngineSpec, Lanes, OutputSpec, Scope, SourceSpec, WatermarkSpec};
use tidegate_engine::{AdHoc, Engine, Step};

use crate::examples::{NOW, cells, same};
use crate::json::Json;
use crate::typed::{lines, listed, run};

/// A key and the value of its group.
type Row = (Option<String>, Option<String>);

/// The type of an aggregate and its value for each key, or the class of its error.
type Answer = Result<(String, Vec<Row>), String>;

fn select(case: &Json, window: &str) -> String {
    let query = case.get("q").text();
    let (key, by) = if case.get("key") == &Json::Bool(true) { ("k", vec!["k"]) } else { ("'all'", vec![]) };
    let keys: Vec<&str> = by.into_iter().chain([window]).filter(|key| !key.is_empty()).collect();
    let grouped = if keys.is_empty() { String::new() } else { format!(" GROUP BY {}", keys.join(", ")) };
    format!("SELECT {key} AS k, {query} AS c FROM t{grouped}")
}

fn rows_of(batch: &RecordBatch) -> Result<Vec<Row>, String> {
    let keys = batch.column(0).as_string::<i32>();
    let keys = (0..keys.len()).map(|row| keys.is_valid(row).then(|| keys.value(row).to_owned()));
    Ok(keys.zip(cells(batch, 1, tidegate_core::Zone::UTC)?).collect())
}

async fn whole(adhoc: &AdHoc, case: &Json) -> Answer {
    let batch = run(adhoc, &select(case, "")).await.map_err(class_of)?;
    let mut rows = rows_of(&batch)?;
    rows.sort();
    Ok((sql_name_of(batch.schema().field(1)), rows))
}

fn class_of(message: String) -> String {
    match message.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((class, _)) => format!("!{class}"),
        None => message,
    }
}

fn engine(table: &RecordBatch, case: &Json) -> Result<Engine, String> {
    let source = SourceSpec {
        name: "t".into(),
        schema: table.schema(),
        watermark: Some(WatermarkSpec { column: "at".into(), delay: Duration::from_secs(3600) }),
        partition_key: vec![],
        lanes: Lanes::One,
    };
    let sql = select(case, "window(at, '1 hour')");
    let outputs = vec![OutputSpec { name: "o".into(), sql, scope: Scope::Stream, late: false }];
    let spec = EngineSpec { sources: vec![source], views: vec![], outputs, zone: tidegate_core::Zone::UTC };
    Engine::plan(&spec).map_err(|errors| format!("does not plan: {}", errors[0].error))
}

/// The same over a stream: micro-batches of 1 to 9 rows.
async fn cut(table: &RecordBatch, case: &Json, mut seed: u64) -> Answer {
    let engine = engine(table, case)?;
    let ty = sql_name_of(engine.outputs()[0].schema.field(1));
    let mut state = engine.new_state("t");
    let (mut start, mut rows) = (0, vec![]);
    let take = |step: &Step, rows: &mut Vec<Row>| -> Result<(), String> {
        if let Some(rejected) = step.rejected.first() {
            return Err(class_of(rejected.reason.clone()));
        }
        for result in &step.results {
            rows.extend(rows_of(&result.batch)?);
        }
        Ok(())
    };
    while start < table.num_rows() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let length = ((seed >> 33) as usize % 9 + 1).min(table.num_rows() - start);
        let batch = table.slice(start, length);
        let step = engine.process("t", &state, batch, NOW).await.map_err(|error| error.to_string())?;
        take(&step, &mut rows)?;
        state = step.next;
        start += length;
    }
    let last = engine.drain("t", &state, NOW).await.map_err(|error| error.to_string())?;
    take(&last, &mut rows)?;
    rows.sort();
    Ok((ty, rows))
}

/// Equal but for the last digits of doubles, which depend on the order of merging.
fn close(kind: &str, got: Option<&String>, want: &Json) -> bool {
    let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
    match (kind, got, want) {
        ("double", Some(got), Json::Text(want)) => match (number(got), number(want)) {
            (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1e-3),
            _ => got == want,
        },
        ("array<double>", Some(got), Json::Text(want)) => close_lists(&Json::parse(got), &Json::parse(want)),
        _ => same(kind, got, want),
    }
}

/// Spark's approximate count has a relative standard deviation of 5 %: three of them apart, or one in small counts.
fn near(got: Option<&String>, want: &Json) -> bool {
    let number = |text: &str| text.parse::<f64>().ok();
    match (got.and_then(|got| number(got)), number(want.text())) {
        (Some(got), Some(want)) => (got - want).abs() <= (0.15 * want).max(1.0),
        _ => false,
    }
}

fn close_lists(got: &Json, want: &Json) -> bool {
    let near = |(got, want): (&Json, &Json)| match (got, want) {
        (Json::Number(got), Json::Number(_)) => close("double", Some(got), &Json::Text(want.text().to_owned())),
        _ => got == want,
    };
    got.items().len() == want.items().len() && got.items().iter().zip(want.items()).all(near)
}

fn differs(case: &Json, answer: &Answer) -> Option<String> {
    let class = case.get("v").get("!").text();
    let (ty, rows) = match answer {
        Err(message) if !class.is_empty() => {
            // Spark lets some exceptions of Java through: they have no class.
            let java = class == "Py4JJavaError" || class.ends_with("Exception");
            let ours = message.strip_prefix('!');
            let fine = ours.is_some_and(|ours| java || ours == class || class.starts_with(ours));
            return (!fine).then(|| format!("{message}, in Spark {class}"));
        }
        Err(message) => return Some(message.clone()),
        Ok(_) if !class.is_empty() => return Some(format!("in Spark {class}")),
        Ok(answer) => answer,
    };
    let want = case.get("t").text();
    if ty != want {
        return Some(format!("type {ty}, in Spark {want}"));
    }
    let wanted = case.get("v").items();
    if wanted.len() != rows.len() {
        return Some(format!("{} groups, in Spark {}", rows.len(), wanted.len()));
    }
    let key = |json: &Json| if json == &Json::Null { None } else { Some(json.text().to_owned()) };
    let counted = case.get("f").text().starts_with("approx_count_distinct");
    let alike =
        |got: Option<&String>, wanted: &Json| if counted { near(got, wanted) } else { close(want, got, wanted) };
    rows.iter().zip(wanted).find_map(|((k, value), wanted)| {
        let pair = wanted.items();
        let fine = *k == key(&pair[0]) && alike(value.as_ref(), &pair[1]);
        (!fine).then(|| format!("{k:?}: {value:?}, in Spark {pair:?}"))
    })
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "the list is shown with --nocapture")]
async fn aggregates_over_random_groups() {
    let listed: BTreeMap<String, String> = listed("groups.txt");
    let (mut table, mut adhoc) = (None, AdHoc::new(NOW));
    let (mut total, mut differing, mut unexplained) = (0, Vec::new(), 0);
    let all = [lines("TIDEGATE_GROUP_CASES", "groups"), lines("TIDEGATE_DISTINCT_CASES", "distinct")];
    // The first line of each says where it is from.
    let all = all.iter().flat_map(|recorded| &recorded[1..]);
    for (number, case) in all.enumerate() {
        if let Json::Text(query) = case.get("table") {
            let rows = run(&AdHoc::new(NOW), query).await.unwrap_or_else(|error| panic!("{error}\n{query}"));
            adhoc = AdHoc::new(NOW);
            adhoc.add("t", rows.clone());
            table = Some(rows);
            continue;
        }
        let Some(table) = &table else { panic!("a case before its table") };
        total += 1;
        let one = differs(case, &whole(&adhoc, case).await).map(|what| format!("whole: {what}"));
        let what = match one {
            Some(what) => Some(what),
            None => differs(case, &cut(table, case, number as u64 + 1).await).map(|what| format!("cut: {what}")),
        };
        if let Some(what) = what {
            let query = case.get("q").text();
            let known = listed.contains_key(query);
            println!("{} {}\n  {query}\n  {what}", if known { "listed" } else { "DIFFERS" }, case.get("f").text());
            unexplained += usize::from(!known);
            differing.push(query.to_owned());
        }
    }
    println!(
        "{} of {total} aggregates are as in Spark, {unexplained} of the others unexplained",
        total - differing.len()
    );
    let stale: Vec<_> = listed.keys().filter(|query| !differing.contains(query)).collect();
    assert_eq!(unexplained, 0, "aggregates differ from Spark that groups.txt does not name");
    assert!(total >= 1000 && stale.is_empty(), "groups.txt names what is as in Spark: {stale:?}");
}
