//! One query over tables that are at hand: what `tidegate sql` and the tests of the dialect ask.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::physical_plan::{ExecutionPlanProperties, collect};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast;
use tidegate_core::{Error, Timestamp};

use crate::api::{Part, PlanError};
use crate::dialect::error::{Fault, classify};
use crate::dialect::{BatchClock, Dialect, Kind, parse_query_over};
use crate::plan::mistake::mistakes;
use crate::plan::session::{add_names, state};
use crate::run::one_batch;

/// Tables by name, and a clock that stands still.
#[derive(Debug, Default)]
pub struct AdHoc {
    clock: BatchClock,
    tables: BTreeMap<String, RecordBatch>,
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
        Self { clock, tables: BTreeMap::new() }
    }

    /// Adds a table, or takes the place of the one with this name.
    pub fn add(&mut self, name: &str, rows: RecordBatch) {
        self.tables.insert(name.to_owned(), rows);
    }

    /// Plans and runs one query; its rows as one batch.
    ///
    /// # Errors
    /// A text that is no query, one that cannot be planned, and values that raise: the first one ends the query.
    pub async fn run(&self, sql: &str) -> std::result::Result<RecordBatch, AdHocError> {
        let mut names = BTreeMap::new();
        for (name, rows) in &self.tables {
            names.insert(name.clone(), Kind::Other);
            rows.schema_ref().fields().iter().for_each(|field| add_names(&mut names, field.name(), field.data_type()));
        }
        let names: Vec<(&str, Kind)> = names.iter().map(|(name, kind)| (name.as_str(), *kind)).collect();
        let query = parse_query_over(sql, &names)
            .map_err(|error| AdHocError { error: error.error, location: error.location })?;
        let plan = |error: DataFusionError| match mistakes(&Part::Output(String::new()), &error).into_iter().next() {
            Some(PlanError { error, location, .. }) => AdHocError { error, location },
            None => AdHocError { error: Error::internal(error.to_string()), location: None },
        };
        let state = state(&Dialect { clock: self.clock.clone() });
        let context = datafusion::prelude::SessionContext::new_with_state(state.clone());
        for (name, rows) in &self.tables {
            let table = MemTable::try_new(rows.schema(), vec![vec![rows.clone()]]).map_err(plan)?;
            context.register_table(name.as_str(), Arc::new(table)).map_err(plan)?;
        }
        let statement = Statement::Statement(Box::new(ast::Statement::Query(Box::new(query))));
        let logical = state.statement_to_plan(statement).await.map_err(plan)?;
        let physical = state.create_physical_plan(&logical).await.map_err(plan)?;
        debug_assert_eq!(physical.output_partitioning().partition_count(), 1);
        let rows = collect(Arc::clone(&physical), state.task_ctx()).await.map_err(|error| raised(&error))?;
        one_batch(&physical.schema(), rows).map_err(|error| raised(&error))
    }
}

fn raised(error: &DataFusionError) -> AdHocError {
    let error = match classify(error) {
        Fault::Row(row) => Error::invalid(row.to_string()),
        Fault::Plan => Error::internal(format!("the query cannot run: {error}")),
    };
    AdHocError { error, location: None }
}
