//! Replays the examples of Spark's function documentation.
//!
//! Those that differ stand in `tests/spark/examples.txt`, with their reasons.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;

use datafusion::arrow::array::{Array, RecordBatch};
use datafusion::arrow::datatypes::DataType;
use futures::FutureExt;
use tidegate_core::Timestamp;
use tidegate_core::Zone;
use tidegate_engine::dialect::functions::json::write_json;
use tidegate_engine::dialect::types::{sql_name, sql_name_of};
use tidegate_engine::{AdHoc, texts};

use crate::json::Json;

/// Examples that are not set aside, and how many of them Spark answers alike. One more or less is told.
const COUNTED: usize = 983;
const EQUAL: usize = 970;

pub const NOW: Timestamp = Timestamp(1_767_225_600_000_000);

pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/spark")
}

/// What an example gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    Equal,
    Different,
    Refused,
}

/// A column as the recording writes it: JSON of nested values and bytes, text of the others.
pub fn cells(batch: &RecordBatch, at: usize, zone: Zone) -> Result<Vec<Option<String>>, String> {
    let column = batch.column(at);
    let fail = |error: datafusion::error::DataFusionError| error.to_string();
    let interval = sql_name(column.data_type()).contains("interval");
    let nested = matches!(column.data_type(), DataType::List(_) | DataType::Map(_, _) | DataType::Struct(_));
    if (nested && !interval) || column.data_type() == &DataType::Binary {
        let json = |row| -> Result<Option<String>, String> {
            if column.is_null(row) {
                return Ok(None);
            }
            let mut out = String::new();
            write_json(&mut out, column, row, true, zone).map_err(fail)?;
            Ok(Some(if nested { out } else { out.trim_matches('"').to_owned() }))
        };
        return (0..column.len()).map(json).collect();
    }
    let texts = texts(&batch.project(&[at]).map_err(|error| error.to_string())?, zone);
    Ok(texts.map_err(|error| error.to_string())?.into_iter().filter_map(|mut row| row.pop()).collect())
}

pub fn same(kind: &str, got: Option<&String>, want: &Json) -> bool {
    match (got, want) {
        (None, Json::Null) => true,
        (Some(got), Json::Text(want)) if got == want => true,
        // The last digit of a function of doubles is that of the C library.
        (Some(got), Json::Text(want)) if kind == "double" => match (got.parse::<f64>(), want.parse::<f64>()) {
            (Ok(got), Ok(want)) => (got - want).abs() <= 1e-15 * got.abs().max(want.abs()),
            _ => false,
        },
        // Spark writes Base64 in lines.
        (Some(got), Json::Text(want)) if kind == "binary" => got == &want.replace("\r\n", ""),
        (Some(got), Json::Text(want)) if kind.contains('<') => alike(&Json::parse(got), &Json::parse(want)),
        _ => false,
    }
}

/// Decimals within JSON are plain numbers here, Spark writes small ones with an exponent.
fn alike(got: &Json, want: &Json) -> bool {
    match (got, want) {
        (Json::Number(got), Json::Number(want)) => got == want || want.contains("E-") && plain(got) == plain(want),
        (Json::List(got), Json::List(want)) => {
            got.len() == want.len() && got.iter().zip(want).all(|(got, want)| alike(got, want))
        }
        (Json::Object(got), Json::Object(want)) => {
            got.len() == want.len() && got.iter().zip(want).all(|(got, want)| got.0 == want.0 && alike(&got.1, &want.1))
        }
        _ => got == want,
    }
}

/// Sign, digits without zeros around them, and the power of ten of the last one.
fn plain(number: &str) -> (bool, String, i32) {
    let (mantissa, exponent) = number.split_once('E').unwrap_or((number, "0"));
    let fraction = mantissa.split_once('.').map_or(0, |(_, fraction)| fraction.len() as i32);
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let trimmed = digits.trim_end_matches('0');
    let power = exponent.parse::<i32>().unwrap_or(0) - fraction + (digits.len() - trimmed.len()) as i32;
    let digits = trimmed.trim_start_matches('0').to_owned();
    let zero = digits.is_empty();
    (!zero && number.starts_with('-'), digits, if zero { 0 } else { power })
}

fn compare(case: &Json, batch: &RecordBatch) -> Result<(), String> {
    let want: Vec<&str> = case.get("schema").items().iter().map(|column| column.items()[1].text()).collect();
    let got: Vec<String> = batch.schema().fields().iter().map(|field| sql_name_of(field)).collect();
    if got != want {
        return Err(format!("types {got:?}, in Spark {want:?}"));
    }
    let columns = (0..batch.num_columns()).map(|at| cells(batch, at, Zone::UTC)).collect::<Result<Vec<_>, _>>()?;
    let rows = case.get("rows").items();
    if rows.len() != batch.num_rows() {
        return Err(format!("{} rows, in Spark {}: {columns:?}", batch.num_rows(), rows.len()));
    }
    let mut got: Vec<Vec<Option<String>>> =
        (0..rows.len()).map(|row| columns.iter().map(|column| column[row].clone()).collect()).collect();
    let mut wanted: Vec<&[Json]> = rows.iter().map(Json::items).collect();
    // Groups come in any order.
    if !case.get("query").text().to_ascii_uppercase().contains("ORDER BY") {
        let text = |cell: &Json| if cell == &Json::Null { None } else { Some(cell.text().to_owned()) };
        wanted.sort_by_key(|row| row.iter().map(text).collect::<Vec<_>>());
        got.sort();
    }
    for (got, wanted) in got.iter().zip(wanted) {
        if let Some(i) = (0..want.len()).find(|i| !same(want[*i], got[*i].as_ref(), &wanted[*i])) {
            return Err(format!("{:?}, in Spark {:?}", got[i], wanted[i]));
        }
    }
    Ok(())
}

/// Columns by the names that Spark gives them.
fn names_equal(case: &Json, batch: &RecordBatch) -> bool {
    let want = case.get("schema").items().iter().map(|column| column.items()[0].text());
    batch.schema().fields().iter().map(|field| field.name().as_str()).eq(want)
}

/// Runs an example: what it gave, whether the names of its columns are Spark's, and what differs.
pub async fn replay(case: Json) -> (Outcome, bool, String) {
    let query = case.get("query").text().to_owned();
    let answer = AssertUnwindSafe(AdHoc::new(NOW).run(&query)).catch_unwind().await;
    match answer {
        Err(_) => (Outcome::Refused, false, "panics".to_owned()),
        Ok(Err(error)) => (Outcome::Refused, false, error.error.to_string()),
        Ok(Ok(batch)) => match compare(&case, &batch) {
            Ok(()) => (Outcome::Equal, names_equal(&case, &batch), String::new()),
            Err(what) => (Outcome::Different, false, what),
        },
    }
}

/// The examples that differ or are not supported, with the reason.
fn listed() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(folder().join("examples.txt")).unwrap_or_default();
    let pair = |line: &str| line.split_once(": ").map(|(name, why)| (name.to_owned(), why.to_owned()));
    text.lines().filter(|line| !line.starts_with('#')).filter_map(pair).collect()
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "the table is shown with --nocapture")]
async fn documented_examples() {
    let text = std::fs::read_to_string(folder().join("documented/examples.json")).unwrap_or_default();
    let all = Json::parse(&text);
    let listed = listed();
    let mut table: BTreeMap<(bool, String), [usize; 4]> = BTreeMap::new();
    let (mut wrong, mut differing, mut sum) = (vec![], vec![], (0, 0));
    for case in all.get("cases").items().iter().filter(|case| case.get("error") == &Json::Null) {
        let (outcome, named, what) = replay(case.clone()).await;
        let (name, aside) = (case.get("name").text(), case.get("aside") != &Json::Null);
        let counts = table.entry((aside, case.get("group").text().to_owned())).or_default();
        counts[outcome as usize] += 1;
        counts[3] += usize::from(named);
        let equal = outcome == Outcome::Equal;
        if !aside {
            sum = (sum.0 + 1, sum.1 + usize::from(equal));
        }
        if !equal && !aside {
            let mark = if listed.contains_key(name) { "listed" } else { "DIFFERS" };
            println!("{mark} {name} {outcome:?}: {}\n  {what}", case.get("query").text());
            if !listed.contains_key(name) {
                wrong.push(name.to_owned());
            }
            differing.push(name.to_owned());
        }
    }
    print_table(&table);
    assert!(wrong.is_empty(), "examples differ from Spark that examples.txt does not name: {wrong:?}");
    let stale: Vec<_> = listed.keys().filter(|name| !differing.contains(name)).collect();
    assert!(stale.is_empty(), "examples.txt names what is as in Spark or is no example: {stale:?}");
    assert_eq!(sum, (COUNTED, EQUAL), "examples counted, and those that are equal");
}

#[expect(clippy::print_stdout, reason = "the table is shown with --nocapture")]
fn print_table(table: &BTreeMap<(bool, String), [usize; 4]>) {
    let line = |name: &str, [equal, different, refused, named]: [usize; 4]| {
        let all = equal + different + refused;
        println!("| {name} | {all} | {equal} | {different} | {refused} | {named} |");
    };
    let sum = |aside: Option<bool>| {
        let chosen = table.iter().filter(|((a, _), _)| aside.is_none_or(|wanted| wanted == *a));
        chosen.fold([0; 4], |sum, (_, counts)| std::array::from_fn(|i| sum[i] + counts[i]))
    };
    println!("| group | examples | equal | different | not supported | names equal too |\n|---|---|---|---|---|---|");
    for ((aside, group), counts) in table {
        line(&format!("{group}{}", if *aside { " (set aside)" } else { "" }), *counts);
    }
    line("those that remain", sum(Some(false)));
    line("all", sum(None));
}
