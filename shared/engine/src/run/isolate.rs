//! Finding the rows that an expression raises for. Costs nothing until an error occurs.

use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result as PlanResult};
use datafusion::physical_plan::ExecutionPlan;
use futures::future::BoxFuture;
use tidegate_core::{Error, Result};

use super::Runner;
use crate::dialect::error::{Fault, RowError, classify};

/// What is left when the culprits are gone. Units are rows of the input, or groups.
pub(crate) struct Isolated {
    /// Units that go on, ascending.
    pub(crate) good: Vec<u32>,
    /// Units that raise, ascending, each with its error.
    pub(crate) bad: Vec<(u32, RowError)>,
}

/// Narrows `units` down to those that raise. `attempt` runs the plan over some of them; running all of them has
/// failed with `error`.
///
/// Units that raise by themselves are found by bisection. If the others still raise together (a sum that
/// overflows), the first one that tips the balance is taken out until they do not.
pub(crate) async fn isolate<'a>(
    units: u32,
    error: &DataFusionError,
    attempt: impl Fn(Vec<u32>) -> BoxFuture<'a, PlanResult<()>>,
) -> Result<Isolated> {
    let mut found = Isolated { good: Vec::new(), bad: Vec::new() };
    let mut failing = vec![(0..units, row_error(error)?)];
    while let Some((range, error)) = failing.pop() {
        if range.len() == 1 {
            found.bad.push((range.start, error));
            continue;
        }
        let middle = range.start + (range.end - range.start) / 2;
        for half in [range.start..middle, middle..range.end] {
            match attempt(half.clone().collect()).await {
                Ok(()) => found.good.extend(half),
                Err(error) => failing.push((half, row_error(&error)?)),
            }
        }
    }
    found.good.sort_unstable();
    while !found.good.is_empty() {
        let Err(error) = attempt(found.good.clone()).await else { break };
        let (at, error) = tipping(&found.good, row_error(&error)?, &attempt).await?;
        found.bad.push((found.good.remove(at), error));
    }
    found.bad.sort_unstable_by_key(|(unit, _)| *unit);
    Ok(found)
}

/// The place of the first unit with which its predecessors fail. All units together fail.
async fn tipping<'a>(
    units: &[u32],
    mut error: RowError,
    attempt: &impl Fn(Vec<u32>) -> BoxFuture<'a, PlanResult<()>>,
) -> Result<(usize, RowError)> {
    let (mut passing, mut failing) = (0, units.len());
    while failing - passing > 1 {
        let middle = passing + (failing - passing) / 2;
        match attempt(units[..middle].to_vec()).await {
            Ok(()) => passing = middle,
            Err(raised) => {
                failing = middle;
                error = row_error(&raised)?;
            }
        }
    }
    Ok((failing - 1, error))
}

fn row_error(error: &DataFusionError) -> Result<RowError> {
    match classify(error) {
        Fault::Row(row) => Ok(row),
        Fault::Plan => Err(broken(error)),
    }
}

/// An error that no row is to blame for.
pub(crate) fn broken(error: &DataFusionError) -> Error {
    Error::internal(format!("the query failed: {}", error.strip_backtrace()))
}

/// The rows of `batch` at `rows`.
pub(crate) fn pick(batch: &RecordBatch, rows: &[u32]) -> PlanResult<RecordBatch> {
    Ok(take_record_batch(batch, &UInt32Array::from(rows.to_vec()))?)
}

/// The text of the first expression of `plan` that raises over `input`, from the leaf upwards. Empty where it cannot
/// be told.
pub(crate) async fn guilty_expression(runner: &Runner, plan: &Arc<dyn ExecutionPlan>, input: &RecordBatch) -> String {
    let mut path = vec![Arc::clone(plan)];
    while let Some(child) = path.last().and_then(|node| node.children().first().map(|child| Arc::clone(child))) {
        path.push(child);
    }
    for pair in path.windows(2).rev() {
        let (node, child) = (&pair[0], &pair[1]);
        let Ok(rows) = runner.run(child, vec![input.clone()]).await else { return String::new() };
        let mut guilty = None;
        // The expressions are only looked at: nothing can fail here.
        let _ = node.apply_expressions(&mut |expression| {
            if guilty.is_none() && expression.evaluate(&rows).is_err() {
                guilty = Some(readable(&expression.to_string()));
            }
            Ok(TreeNodeRecursion::Continue)
        });
        if let Some(text) = guilty {
            return text;
        }
    }
    String::new()
}

/// Without the column numbers of the plan: `amount@2 / 0` becomes `amount / 0`.
fn readable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if c == '@' && rest.peek().is_some_and(char::is_ascii_digit) {
            while rest.next_if(char::is_ascii_digit).is_some() {}
        } else {
            out.push(c);
        }
    }
    out
}
