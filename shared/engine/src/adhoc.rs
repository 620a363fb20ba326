//! One query over tables that are at hand: what `tidegate sql` and the tests of the dialect ask.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::DataType;
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::physical_plan::collect_partitioned;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast;
use tidegate_core::{Error, Timestamp, Zone};

use crate::api::{Part, PlanError};
use crate::dialect::cast::{Mode, cast_in};
use crate::dialect::error::{Fault, classify};
use crate::dialect::functions::datetime::interval_values;
use crate::dialect::types::units_of;
use crate::dialect::{BatchClock, Dialect, Kind, parse_query_over};
use crate::plan::mistake::{did_you_mean, mistakes};
use crate::plan::session::{add_names, state};
use crate::plan::{sliding, stream};
use crate::run::one_batch;

/// Tables by name, a clock that stands still, and a session time zone.
#[derive(Debug, Default)]
pub struct AdHoc {
    dialect: Dialect,
    tables: BTreeMap<String, Vec<RecordBatch>>,
    /// Made with the first query over these tables.
    session: OnceLock<SessionState>,
}

/// Why a query has no answer.
#[derive(Debug)]
pub struct AdHocError {
    /// What is wrong; for values that raise, Spark's error class stands in brackets.
    pub error: Error,
    /// Line and column within the SQL, counted from 1, where known.
    pub location: Option<(usize, usize)>,
}

impl AdHoc {
    /// No tables. `now` is what `now()` answers.
    pub fn new(now: Timestamp) -> Self {
        let clock = BatchClock::default();
        clock.set(now.0);
        Self { dialect: Dialect { clock, zone: Zone::UTC }, tables: BTreeMap::new(), session: OnceLock::new() }
    }

    /// With another session time zone than UTC.
    pub fn in_zone(mut self, zone: Zone) -> Self {
        self.dialect.zone = zone;
        self.session.take();
        self
    }

    /// The session time zone.
    pub fn zone(&self) -> Zone {
        self.dialect.zone
    }

    /// Adds rows to a table; the first ones make it. All of one table have the same columns.
    pub fn add(&mut self, name: &str, rows: RecordBatch) {
        self.tables.entry(name.to_owned()).or_default().push(rows);
        self.session.take();
    }

    /// Takes a table away.
    pub fn remove(&mut self, name: &str) {
        self.tables.remove(name);
        self.session.take();
    }

    /// Plans and runs one query; its rows as one batch.
    ///
    /// # Errors
    /// A text that is no query, one that cannot be planned, and values that raise: the first one ends the query.
    pub async fn run(&self, sql: &str) -> std::result::Result<RecordBatch, AdHocError> {
        let mut names = BTreeMap::new();
        for (name, rows) in &self.tables {
            names.insert(name.clone(), Kind::Other);
            let fields = rows.first().map(|rows| rows.schema_ref().fields().clone()).unwrap_or_default();
            fields.iter().for_each(|field| add_names(&mut names, field.name(), field.data_type()));
        }
        let names: Vec<(&str, Kind)> = names.iter().map(|(name, kind)| (name.as_str(), *kind)).collect();
        let query = parse_query_over(sql, &names)
            .map_err(|error| AdHocError { error: error.error, location: error.location })?;
        let plan = |error: DataFusionError| match mistakes(&Part::Output(String::new()), &error).into_iter().next() {
            Some(PlanError { error, location, .. }) => AdHocError { error, location },
            None => AdHocError { error: Error::internal(error.to_string()), location: None },
        };
        let state = match self.session.get() {
            Some(state) => state,
            None => {
                let made = self.session().map_err(plan)?;
                self.session.get_or_init(|| made)
            }
        };
        let statement = Statement::Statement(Box::new(ast::Statement::Query(Box::new(query))));
        self.check_tables(state, &statement)?;
        let logical = state.statement_to_plan(statement).await.map_err(plan)?;
        let logical = stream::without_timeless_rows(sliding::spread(logical, false).map_err(plan)?).map_err(plan)?;
        let physical = state.create_physical_plan(&logical).await.map_err(plan)?;
        // Part by part: the parts of a UNION stay in their order.
        let parts =
            collect_partitioned(Arc::clone(&physical), state.task_ctx()).await.map_err(|error| raised(&error))?;
        one_batch(&physical.schema(), parts.into_iter().flatten().collect()).map_err(|error| raised(&error))
    }
}

impl AdHoc {
    fn session(&self) -> Result<SessionState, DataFusionError> {
        let state = state(&self.dialect);
        let context = datafusion::prelude::SessionContext::new_with_state(state.clone());
        for (name, rows) in &self.tables {
            let Some(first) = rows.first() else { continue };
            let table = MemTable::try_new(first.schema(), vec![rows.clone()])?;
            context.register_table(name.as_str(), Arc::new(table))?;
        }
        Ok(state)
    }

    fn check_tables(&self, state: &SessionState, statement: &Statement) -> std::result::Result<(), AdHocError> {
        // What cannot be resolved is told when it is planned.
        let named = state.resolve_table_references(statement).unwrap_or_default();
        let Some(unknown) = named.iter().map(|name| name.table()).find(|name| !self.tables.contains_key(*name)) else {
            return Ok(());
        };
        let known: Vec<&str> = self.tables.keys().map(String::as_str).collect();
        let help = match did_you_mean(unknown, &known) {
            Some(name) => format!("did you mean '{name}'?"),
            None if known.is_empty() => "no table is given: --input NAME=PATH makes one".to_owned(),
            None => format!("tables are {}", known.join(", ")),
        };
        let error = Error::invalid(format!("there is no table '{unknown}'")).with_help(help);
        Err(AdHocError { error, location: None })
    }
}

/// The cells of a batch, row by row, as `CAST(... AS STRING)` writes them in a session time zone; bytes in hexadecimal.
/// `None` is NULL.
///
/// # Errors
/// A type that has no text.
pub fn texts(batch: &RecordBatch, zone: Zone) -> std::result::Result<Vec<Vec<Option<String>>>, Error> {
    let failed = |error: DataFusionError| Error::internal(format!("a value has no text: {error}"));
    let mut columns = Vec::with_capacity(batch.num_columns());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        if let Some(units) = units_of(field) {
            let values = interval_values(column).map_err(failed)?;
            columns.push(values.iter().map(|value| value.map(|value| units.text(value))).collect());
            continue;
        }
        if let Some(bytes) = column.as_binary_opt::<i32>() {
            columns.push(bytes.iter().map(|bytes| bytes.map(hexadecimal)).collect::<Vec<_>>());
            continue;
        }
        let texts = cast_in(column, &DataType::Utf8, Mode::Raise, zone).map_err(failed)?;
        columns.push(texts.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect());
    }
    Ok((0..batch.num_rows()).map(|row| columns.iter().map(|column| column[row].clone()).collect()).collect())
}

fn hexadecimal(bytes: &[u8]) -> String {
    format!("X'{}'", bytes.iter().map(|byte| format!("{byte:02X}")).collect::<String>())
}

fn raised(error: &DataFusionError) -> AdHocError {
    let error = match classify(error) {
        Fault::Row(row) => Error::invalid(row.to_string()),
        Fault::Plan => Error::internal(format!("the query cannot run: {error}")),
    };
    AdHocError { error, location: None }
}
