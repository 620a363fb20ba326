//! Sliding windows: below every use of one, each row stands once for each window that it lies in.
//!
//! `window(ts, '10 minutes', '5 minutes')` becomes the window of a start, and the starts come from a list that is
//! spread below. What stands above sees a window as if it tumbled.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result, UnnestOptions, plan_err};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Projection};

use crate::window::{Shape, WindowOfStart, WindowStarts, window_call};

/// The column of starts.
pub(super) const SLIDING_START: &str = "__sliding_start";

/// Spreads rows below every sliding window. `keep_timeless` keeps a row without event time, with a window that is NULL.
pub(crate) fn spread(plan: LogicalPlan, keep_timeless: bool) -> Result<LogicalPlan> {
    let done = plan.transform_up_with_subqueries(|node| {
        let mut found: Option<(Expr, Shape)> = None;
        let mut several = false;
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Some((time, shape)) = window_call(expr)?
                    && !shape.is_tumbling()
                {
                    several |= found.replace((time.clone(), shape)).is_some_and(|other| other != (time.clone(), shape));
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })?;
        if several {
            return plan_err!("a query can have one sliding window only: rows would stand for each pair of them");
        }
        match found {
            // What reads a column of the node below computes it again: its types are those of before.
            None => node.recompute_schema().map(Transformed::no),
            Some((time, shape)) => spread_below(node, time, shape, keep_timeless).map(Transformed::yes),
        }
    })?;
    Ok(done.data)
}

fn spread_below(node: LogicalPlan, time: Expr, shape: Shape, keep_timeless: bool) -> Result<LogicalPlan> {
    let [input] = node.inputs()[..] else { return plan_err!("a sliding window stands over one table") };
    let columns =
        input.schema().iter().map(|(qualifier, field)| Expr::Column(Column::new(qualifier.cloned(), field.name())));
    let starts = WindowStarts::udf(shape).call(vec![time]).alias(SLIDING_START);
    let listed = Projection::try_new(columns.chain([starts]).collect(), Arc::new(input.clone()))?;
    let options = UnnestOptions::new().with_preserve_nulls(keep_timeless);
    let rows = LogicalPlanBuilder::from(LogicalPlan::Projection(listed))
        .unnest_column_with_options(Column::new_unqualified(SLIDING_START), options)?
        .build()?;
    let names = NamePreserver::new(&node);
    let replaced = |expr: Expr| {
        let name = names.save(&expr);
        let expr = expr.transform_up(|expr| {
            let sliding = window_call(&expr)?.is_some_and(|(_, shape)| !shape.is_tumbling());
            if !sliding {
                return Ok(Transformed::no(expr));
            }
            let start = Expr::Column(Column::new_unqualified(SLIDING_START));
            Ok(Transformed::yes(WindowOfStart::udf(shape).call(vec![start])))
        })?;
        Ok(name.restore(expr.data))
    };
    let expressions = node.expressions().into_iter().map(replaced).collect::<Result<Vec<_>>>()?;
    node.with_new_exprs(expressions, vec![rows])
}
