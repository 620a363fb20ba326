//! Outputs without state: row by row, or one query over a micro-batch.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::physical_plan::ExecutionPlan;
use futures::FutureExt;
use tidegate_core::Result;

use super::Runner;
use super::isolate::{guilty_expression, isolate, pick};
use crate::api::RejectedRow;
use crate::group_json::row_json;

/// A query as a chain of plans: the first reads the source's rows, each further one the rows of the one before.
#[derive(Debug)]
pub(crate) struct RowsQuery {
    /// Never empty. Errors of the first are blamed on rows of the source, later ones on rows between (groups).
    pub(crate) stages: Vec<Arc<dyn ExecutionPlan>>,
}

impl RowsQuery {
    /// The rows for one micro-batch. Rows and groups that raise are left out and told.
    pub(crate) async fn run(
        &self,
        runner: &Runner,
        output: usize,
        batch: &RecordBatch,
        rejected: &mut Vec<RejectedRow>,
    ) -> Result<RecordBatch> {
        let mut rows = batch.clone();
        for (i, stage) in self.stages.iter().enumerate() {
            rows = match runner.run(stage, vec![rows.clone()]).await {
                Ok(rows) => rows,
                Err(error) => {
                    let attempt = |units: Vec<u32>| {
                        let rows = &rows;
                        async move { runner.run(stage, vec![pick(rows, &units)?]).await.map(drop) }.boxed()
                    };
                    let found = isolate(rows.num_rows() as u32, &error, attempt).await?;
                    for (unit, error) in &found.bad {
                        let one = rows.slice(*unit as usize, 1);
                        rejected.push(RejectedRow {
                            output,
                            row: (i == 0).then_some(*unit),
                            group: (i > 0).then(|| row_json(&one)),
                            expression: guilty_expression(runner, stage, &one).await,
                            reason: error.to_string(),
                        });
                    }
                    let good = pick(&rows, &found.good).map_err(|e| super::isolate::broken(&e))?;
                    if good.num_rows() == 0 {
                        return Ok(RecordBatch::new_empty(self.last().schema()));
                    }
                    runner.run(stage, vec![good]).await.map_err(|e| super::isolate::broken(&e))?
                }
            };
        }
        Ok(rows)
    }

    pub(crate) fn last(&self) -> &Arc<dyn ExecutionPlan> {
        self.stages.last().expect("a chain has a first stage")
    }
}
