//! What functions and operators cost, beside their nearest relatives in DataFusion:
//! `cargo bench -p tidegate-engine --bench costs`.
//!
//! Both sides run as queries over the same table in memory, one thread, one after the other, several times; the best
//! time of each counts. The values of both are compared. Behind that: what it costs that rows may raise.
#![expect(clippy::print_stdout, reason = "it prints its figures")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]

mod cases;
mod isolation;

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array, ListArray,
    RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef, TimeUnit};
use datafusion::datasource::MemTable;
use datafusion::execution::SessionStateBuilder;
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast;
use tidegate_engine::dialect::{Dialect, parse_query_with};

use cases::{CASES, Case, Same};

/// Batches of the table, and rows of each.
const BATCHES: usize = 16;
const ROWS: usize = 8192;
/// How often each side runs.
const ROUNDS: usize = 7;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let only: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    println!("| Expression | Its relative in DataFusion | ns a row | of the relative | ratio | values | why |");
    println!("|---|---|---|---|---|---|---|");
    let (mut slow, mut differing) = (0, 0);
    for case in CASES.iter().filter(|case| only.is_empty() || only.iter().any(|word| case.ours.contains(word))) {
        let row = runtime.block_on(measured(case));
        slow += usize::from(row.ratio > 2.0 && case.why.is_empty());
        differing += usize::from(row.values == "DIFFER");
        let cell = |text: &str| text.replace('|', "\\|");
        println!(
            "| `{}` | `{}` | {:.1} | {:.1} | {:.2} | {} | {} |",
            cell(case.ours),
            cell(case.theirs),
            row.ours,
            row.theirs,
            row.ratio,
            row.values,
            case.why
        );
    }
    println!("\n{slow} cost more than twice their relative without a reason, {differing} give other values.\n");
    isolation::print(&runtime);
}

struct Row {
    ours: f64,
    theirs: f64,
    ratio: f64,
    values: &'static str,
}

async fn measured(case: &Case) -> Row {
    let (mine, other) = (dialect(), plain());
    let query = |text: &str| match case.by {
        Some(keys) => format!("SELECT {text} AS c FROM t GROUP BY {keys}"),
        None => format!("SELECT {text} AS c FROM t"),
    };
    let ours = planned(&mine, &query(case.ours), true).await;
    let theirs = planned(&other, &query(case.theirs), false).await;
    let (mut best, mut values) = ([f64::MAX; 2], [None, None]);
    for _ in 0..ROUNDS {
        for (side, (context, plan)) in [(&mine, &ours), (&other, &theirs)].into_iter().enumerate() {
            let started = Instant::now();
            let rows = collect(Arc::clone(plan), context.task_ctx()).await.expect("rows");
            best[side] = best[side].min(started.elapsed().as_secs_f64());
            values[side] = Some(rows);
        }
    }
    let [Some(ours), Some(theirs)] = values else { unreachable!("there are rounds") };
    let per_row = |seconds: f64| seconds * 1e9 / (BATCHES * ROWS) as f64;
    let values = match case.same {
        Same::Values if texts(&ours, case) == texts(&theirs, case) => "equal",
        Same::Values => "DIFFER",
        Same::Not => "other",
    };
    Row { ours: per_row(best[0]), theirs: per_row(best[1]), ratio: best[0] / best[1], values }
}

/// The values as texts; of groups in their order.
fn texts(rows: &[RecordBatch], case: &Case) -> Vec<Option<String>> {
    let all = concat_batches(&rows[0].schema(), rows).expect("one schema");
    let column = all.column(0);
    let text = |array: &ArrayRef| -> Vec<Option<String>> {
        let plain = cast(array, &DataType::Utf8).expect("a text");
        plain.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
    };
    let mut values = match column.data_type() {
        // Sums of doubles depend on their order in the last digits.
        DataType::Float64 => {
            let doubles = column.as_primitive::<arrow::datatypes::Float64Type>();
            doubles.iter().map(|value| value.map(|value| format!("{value:.6e}"))).collect()
        }
        DataType::Decimal128(_, _) => text(&cast(column, &DataType::Float64).expect("a double")),
        DataType::Timestamp(_, _) => text(&cast(column, &DataType::Int64).expect("microseconds")),
        DataType::List(_) => text(&(Arc::clone(column.as_list::<i32>().values()))),
        ty if ty.is_integer() || ty == &DataType::Boolean => text(column),
        _ => text(column),
    };
    if case.by.is_some() {
        values.sort_unstable();
    }
    values
}

async fn planned(context: &SessionContext, sql: &str, spark: bool) -> Arc<dyn ExecutionPlan> {
    let state = context.state();
    let statement = if spark {
        let names: Vec<String> = schema().fields().iter().map(|field| field.name().clone()).collect();
        let mut known: Vec<&str> = names.iter().map(String::as_str).collect();
        known.push("t");
        let query = parse_query_with(sql, &known).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        Statement::Statement(Box::new(ast::Statement::Query(Box::new(query))))
    } else {
        state.sql_to_statement(sql, &datafusion::config::Dialect::Generic).expect("a statement")
    };
    let plan = state.statement_to_plan(statement).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    state.create_physical_plan(&plan).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

fn config() -> SessionConfig {
    SessionConfig::new().with_target_partitions(1).with_batch_size(ROWS)
}

fn with_table(context: SessionContext) -> SessionContext {
    let table = MemTable::try_new(schema(), vec![(0..BATCHES).map(batch).collect()]).expect("a table");
    context.register_table("t", Arc::new(table)).expect("a name that is free");
    context
}

/// DataFusion as it is.
fn plain() -> SessionContext {
    with_table(SessionContext::new_with_config(config()))
}

/// DataFusion with the dialect.
fn dialect() -> SessionContext {
    let builder = SessionStateBuilder::new().with_config(config()).with_default_features();
    with_table(SessionContext::new_with_state(Dialect::new().install(builder).build()))
}

fn schema() -> SchemaRef {
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let list = DataType::List(Arc::new(Field::new_list_field(DataType::Int32, true)));
    let columns = [
        ("i", DataType::Int32),
        ("j", DataType::Int32),
        ("l", DataType::Int64),
        ("d", DataType::Float64),
        ("e", DataType::Float64),
        ("m", DataType::Decimal128(12, 2)),
        ("s", DataType::Utf8),
        ("u", DataType::Utf8),
        ("k", DataType::Utf8),
        ("n", DataType::Utf8),
        ("g", DataType::Utf8),
        ("st", DataType::Utf8),
        ("ts", utc),
        ("dt", DataType::Date32),
        ("b", DataType::Boolean),
        ("a", list),
        ("js", DataType::Utf8),
    ];
    Arc::new(Schema::new(columns.map(|(name, ty)| Field::new(name, ty, true)).to_vec()))
}

/// Numbers that look random and are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// One value of ten is null.
fn batch(number: usize) -> RecordBatch {
    let mut numbers = Numbers(number as u64 + 1);
    macro_rules! column {
        ($array:ty, $value:expr) => {
            (0..ROWS)
                .map(|_| {
                    let null = numbers.below(10) == 0;
                    let value = $value;
                    (!null).then_some(value)
                })
                .collect::<$array>()
        };
    }
    let utc = |array: TimestampMicrosecondArray| Arc::new(array.with_timezone("UTC")) as ArrayRef;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(column!(Int32Array, numbers.below(2_000) as i32 - 1_000)),
        Arc::new(column!(Int32Array, numbers.below(100) as i32 + 1)),
        Arc::new(column!(Int64Array, numbers.below(4_000_000_000) as i64 - 2_000_000_000)),
        Arc::new(column!(Float64Array, numbers.below(2_000_000) as f64 / 100.0 - 10_000.0)),
        Arc::new(column!(Float64Array, numbers.below(1_000) as f64 / 8.0 + 1.0)),
        Arc::new(
            column!(Decimal128Array, i128::from(numbers.below(2_000_000)) - 1_000_000)
                .with_precision_and_scale(12, 2)
                .expect("a decimal"),
        ),
        Arc::new(column!(StringArray, format!("Branch number {} of the bank", numbers.below(500)))),
        Arc::new(column!(StringArray, format!("  uni\u{e9} {} ", numbers.below(500)))),
        Arc::new(column!(StringArray, format!("key-{}", numbers.below(500)))),
        Arc::new(column!(StringArray, format!("{}", numbers.below(100_000)))),
        Arc::new(column!(StringArray, format!("a,b{},c", numbers.below(100)))),
        Arc::new(column!(
            StringArray,
            format!("2026-0{}-1{} 1{}:00:00", numbers.below(9) + 1, numbers.below(10), numbers.below(10))
        )),
        utc(column!(TimestampMicrosecondArray, numbers.below(1_800_000_000) as i64 * 1_000_000 + 123_456)),
        Arc::new(column!(Date32Array, numbers.below(20_000) as i32)),
        Arc::new(column!(BooleanArray, numbers.below(2) == 0)),
        Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>((0..ROWS).map(|_| {
            let items = numbers.below(6);
            Some((0..items).map(|_| Some(numbers.below(50) as i32)).collect::<Vec<_>>())
        }))),
        Arc::new(column!(StringArray, format!("{{\"a\":{},\"b\":\"x{}\"}}", numbers.below(100), numbers.below(10)))),
    ];
    RecordBatch::try_new(schema(), columns).expect("columns of the schema")
}
