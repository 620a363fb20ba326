//! Running plans on rows.

pub(crate) mod input;
pub(crate) mod isolate;
mod owners;
pub(crate) mod rows;
pub(crate) mod window;

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::execution::context::SessionConfig;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, common};

use self::input::RunInput;

/// Starts plans. Holds what all runs share.
#[derive(Clone, Debug)]
pub(crate) struct Runner {
    config: SessionConfig,
    runtime: Arc<RuntimeEnv>,
}

impl Runner {
    pub(crate) fn new(config: SessionConfig, runtime: Arc<RuntimeEnv>) -> Self {
        Self { config, runtime }
    }

    /// Runs `plan` over `input` and returns all its rows as one batch.
    pub(crate) async fn run(&self, plan: &Arc<dyn ExecutionPlan>, input: Vec<RecordBatch>) -> Result<RecordBatch> {
        let config = self.config.clone().with_extension(Arc::new(RunInput(input)));
        let context = TaskContext::new(
            None,
            String::new(),
            config,
            HashMap::new(),
            HashMap::new(),
            HashMap::new(),
            HashMap::new(),
            Arc::clone(&self.runtime),
        );
        // Drops the metrics of the run before and whatever a node remembers of it.
        let fresh = reset_plan_states(Arc::clone(plan))?;
        let context = Arc::new(context);
        let mut batches = Vec::new();
        // One after the other: the order of the rows must not depend on scheduling.
        for partition in 0..fresh.output_partitioning().partition_count() {
            batches.extend(common::collect(fresh.execute(partition, Arc::clone(&context))?).await?);
        }
        one_batch(&plan.schema(), batches)
    }
}

/// All rows as one batch; no copy where there is one batch already.
pub(crate) fn one_batch(schema: &SchemaRef, mut batches: Vec<RecordBatch>) -> Result<RecordBatch> {
    match batches.len() {
        0 => Ok(RecordBatch::new_empty(Arc::clone(schema))),
        1 => Ok(batches.swap_remove(0)),
        _ => concat_batches(schema, &batches).map_err(DataFusionError::from),
    }
}

/// Polls work that never waits for anything outside to its end.
pub(crate) fn finish_now<F: Future>(work: F) -> F::Output {
    let mut work = pin!(tokio::task::unconstrained(work));
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = work.as_mut().poll(&mut context) {
            return output;
        }
    }
}
