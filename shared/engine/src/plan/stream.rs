//! What a query over a stream may say, and where its columns come from.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::{Aggregate, Expr, Filter, LogicalPlan};
use tidegate_core::Error;

use crate::window::{Shape, window_call, window_of_start};

/// Finds the aggregation of a query over a stream, if it has one. Whatever needs more than one row at a time, or
/// more than one stream, is refused.
pub(crate) fn only_aggregate(plan: &LogicalPlan) -> Result<Option<Aggregate>, Error> {
    let mut found = None;
    let mut wrong = None;
    let walked = plan.apply_with_subqueries(|node| {
        wrong = match node {
            LogicalPlan::Aggregate(_) if found.is_some() => Some(
                Error::invalid("two aggregations in a row over a stream are not supported yet")
                    .with_help("aggregate once per output"),
            ),
            LogicalPlan::Aggregate(aggregate) => {
                found = Some(aggregate.clone());
                None
            }
            node => refused(node),
        };
        Ok(if wrong.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    walked.map_err(|e| Error::internal("the plan cannot be walked").with_source(e))?;
    wrong.map_or(Ok(found), Err)
}

fn refused(node: &LogicalPlan) -> Option<Error> {
    const BATCH: &str = "add 'scope: batch' to the output if it is meant for each micro-batch by itself";
    let (what, help) = match node {
        LogicalPlan::Sort(_) => ("ORDER BY over a stream has no end to wait for", BATCH),
        LogicalPlan::Limit(_) => ("LIMIT and OFFSET over a stream are not supported", BATCH),
        LogicalPlan::Distinct(_) => ("DISTINCT over a stream needs unbounded memory", BATCH),
        LogicalPlan::Window(_) => ("window functions (OVER) over a stream are not supported", BATCH),
        LogicalPlan::Join(_) => {
            ("joins over streams are not supported yet", "read one source per output, without joins")
        }
        LogicalPlan::Union(_) => {
            ("UNION over a stream is not supported yet", "write one output per part, to the same target")
        }
        LogicalPlan::Subquery(_) => {
            ("subqueries in expressions over a stream are not supported yet", "a subquery may stand in FROM")
        }
        LogicalPlan::RecursiveQuery(_) => {
            ("recursive queries over a stream are not supported", "write it without WITH RECURSIVE")
        }
        LogicalPlan::Values(_) => ("VALUES beside a stream are not supported yet", "read one source per output"),
        _ => return None,
    };
    Some(Error::invalid(what).with_help(help))
}

/// Names of the sources that a plan scans, one per scan.
pub(crate) fn scans(plan: &LogicalPlan) -> Result<Vec<String>> {
    let mut names = Vec::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            names.push(scan.table_name.table().to_owned());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(names)
}

/// Follows a column of `plan` down through whatever passes it on unchanged: the expression that computes it, with
/// the plan that the expression reads; or the column of the source.
pub(crate) fn origin<'a>(plan: &'a LogicalPlan, column: &Column) -> Option<Origin<'a>> {
    let at = plan.schema().maybe_index_of_column(column)?;
    origin_at(plan, at)
}

/// Where a column comes from.
#[derive(Debug)]
pub(crate) enum Origin<'a> {
    /// The source's column of this name.
    Source(String),
    /// An expression over the rows of a plan.
    Computed(&'a Expr, &'a LogicalPlan),
}

fn origin_at(plan: &LogicalPlan, at: usize) -> Option<Origin<'_>> {
    match plan {
        LogicalPlan::TableScan(scan) => Some(Origin::Source(scan.projected_schema.field(at).name().clone())),
        LogicalPlan::SubqueryAlias(alias) => origin_at(&alias.input, at),
        LogicalPlan::Filter(filter) => origin_at(&filter.input, at),
        LogicalPlan::Sort(sort) => origin_at(&sort.input, at),
        LogicalPlan::Projection(projection) => origin_of(&projection.expr[at], &projection.input),
        LogicalPlan::Unnest(unnest) => {
            let below = *unnest.dependency_indices.get(at)?;
            let spread = unnest.list_type_columns.iter().any(|(column, _)| *column == below)
                || unnest.struct_type_columns.contains(&below);
            if spread { None } else { origin_at(&unnest.input, below) }
        }
        _ => None,
    }
}

/// Follows an expression over the rows of `plan`.
pub(crate) fn origin_of<'a>(expr: &'a Expr, plan: &'a LogicalPlan) -> Option<Origin<'a>> {
    match expr {
        Expr::Alias(alias) => origin_of(&alias.expr, plan),
        Expr::Column(column) => origin(plan, column),
        computed => Some(Origin::Computed(computed, plan)),
    }
}

/// The source's column that an expression passes on unchanged.
pub(crate) fn source_column(expr: &Expr, plan: &LogicalPlan) -> Option<String> {
    match origin_of(expr, plan)? {
        Origin::Source(name) => Some(name),
        Origin::Computed(..) => None,
    }
}

/// Shape and time column of the window that an expression is, directly or through views.
pub(crate) fn window_of(expr: &Expr, plan: &LogicalPlan) -> Result<Option<(Shape, Option<String>)>> {
    let Some(Origin::Computed(computed, below)) = origin_of(expr, plan) else { return Ok(None) };
    if let Some((_, shape)) = window_of_start(computed) {
        return Ok(Some((shape, spread_time(below))));
    }
    Ok(window_call(computed)?.map(|(time, shape)| (shape, source_column(time, below))))
}

/// The source's column that the starts of sliding windows are made from.
fn spread_time(rows: &LogicalPlan) -> Option<String> {
    let LogicalPlan::Unnest(unnest) = rows else { return None };
    let LogicalPlan::Projection(listed) = unnest.input.as_ref() else { return None };
    let Expr::ScalarFunction(starts) = listed.expr.last()?.clone().unalias() else { return None };
    source_column(&starts.args[0], &listed.input)
}

/// Drops rows without event time below every `window(...)`, as Spark does: they belong to no window.
pub(crate) fn without_timeless_rows(plan: LogicalPlan) -> Result<LogicalPlan> {
    let done = plan.transform_up(|node| {
        let mut times: Vec<Expr> = Vec::new();
        if matches!(node, LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_)) {
            node.apply_expressions(|expr| {
                expr.apply(|expr| {
                    if let Some((time, _)) = window_call(expr)?
                        && !times.contains(time)
                    {
                        times.push(time.clone());
                    }
                    Ok(TreeNodeRecursion::Continue)
                })
            })?;
        }
        let Some(timed) = times.into_iter().map(Expr::is_not_null).reduce(Expr::and) else {
            return Ok(Transformed::no(node));
        };
        let input = Arc::new(node.inputs()[0].clone());
        let filter = LogicalPlan::Filter(Filter::try_new(timed, input)?);
        let expressions = node.expressions();
        Ok(Transformed::yes(node.with_new_exprs(expressions, vec![filter])?))
    })?;
    Ok(done.data)
}
