//! Aggregates that are functions of the list of all values: exact percentiles, `mode`, `listagg`, bitmaps, vectors.
//!
//! They are collected with `collect_list`, whose state merges, and computed when the list is whole. Their state
//! grows with the rows of a group, up to the limit of [`super::kept`].

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArguments, OrderByExpr, OrderByOptions, Value,
};

use super::{argument, is_distinct, only_if, rename, take_argument, within_limit};
use crate::dialect::node::{self, Op};
use crate::dialect::rewrite::call;

/// Plain functions of the list of values.
const OF_LIST: &[(&str, &str)] = &[
    ("bitmap_construct_agg", "bitmap_of"),
    ("bitmap_or_agg", "bitmaps_or"),
    ("bitmap_and_agg", "bitmaps_and"),
    ("vector_sum", "vectors_sum"),
    ("vector_avg", "vectors_avg"),
];

/// The accuracy of `percentile_approx` where none is given.
const DEFAULT_ACCURACY: &str = "10000";

/// Rewrites one of these aggregates; `None` for others.
pub(super) fn rewrite(name: &str, function: &mut Function) -> Option<Expr> {
    if let Some((_, of_list)) = OF_LIST.iter().find(|(known, _)| *known == name) {
        return Some(call(of_list, vec![collected(name, function)]));
    }
    match name {
        "collect_union" => {
            let all = call("flatten", vec![collected(name, function)]);
            Some(call("array_distinct", vec![all]))
        }
        "mode" => {
            let descending = ordered_value(function);
            Some(call(if descending { "mode_of_last" } else { "mode_of" }, vec![collected(name, function)]))
        }
        "percentile" | "percentile_cont" | "percentile_disc" | "percentile_approx" | "approx_percentile" | "median" => {
            percentile(name, function)
        }
        "listagg" | "string_agg" => listagg(name, function),
        "max_by" | "min_by" => by_order(name, function),
        _ => None,
    }
}

/// The list of the first argument's values, for the aggregate `name`.
fn collected(name: &str, function: &mut Function) -> Expr {
    let mut once = false;
    if let FunctionArguments::List(list) = &mut function.args {
        list.args.truncate(1);
        once = list.duplicate_treatment.take() == Some(DuplicateTreatment::Distinct);
    }
    rename(function, if once { "collect_set" } else { "collect_list" });
    within_limit(name, function)
}

/// Makes `f(p) WITHIN GROUP (ORDER BY x)` to `f(x, p)`; whether the order is descending.
fn ordered_value(function: &mut Function) -> bool {
    let Some(order) = function.within_group.pop() else { return false };
    function.within_group.clear();
    if let FunctionArguments::List(list) = &mut function.args {
        list.args.insert(0, FunctionArg::Unnamed(FunctionArgExpr::Expr(order.expr)));
    }
    order.options.asc == Some(false)
}

fn percentile(name: &str, function: &mut Function) -> Option<Expr> {
    let approximate = matches!(name, "percentile_approx" | "approx_percentile");
    if approximate && !is_distinct(function) {
        return summary(function);
    }
    let descending = ordered_value(function);
    let half = || node::make(Op::Literal, "0.5", vec![]);
    let share = if name == "median" { half() } else { take_argument(function, 1)? };
    let of_list = match (name, descending) {
        ("percentile_approx" | "approx_percentile", _) => "percentile_of",
        ("percentile_disc", false) => "percentile_disc_of",
        ("percentile_disc", true) => "percentile_disc_of_last",
        (_, false) => "percentile_cont_of",
        (_, true) => "percentile_cont_of_last",
    };
    // Each value counts as often as a third argument says.
    let repeated = (name == "percentile").then(|| take_argument(function, 2)).flatten();
    let list = match repeated {
        Some(count) => {
            let value = take_argument(function, 0)?;
            super::set_argument(function, 0, call("array_repeat", vec![value, count]));
            call("flatten", vec![collected(name, function)])
        }
        None => collected(name, function),
    };
    Some(call(of_list, vec![list, share]))
}

/// `percentile_approx`: a place in a summary.
fn summary(function: &mut Function) -> Option<Expr> {
    let share = take_argument(function, 1)?;
    let accuracy = take_argument(function, 2).unwrap_or_else(|| node::make(Op::Literal, DEFAULT_ACCURACY, vec![]));
    let accuracy = call("accuracy_of_summary", vec![accuracy]);
    if let FunctionArguments::List(list) = &mut function.args {
        list.args.truncate(2);
    }
    let value = take_argument(function, 0)?;
    super::set_argument(function, 0, call("value_of_summary", vec![value]));
    super::set_argument(function, 1, accuracy.clone());
    rename(function, "summary_of");
    Some(call("percentile_of_summary", vec![Expr::Function(function.clone()), share, accuracy]))
}

/// The texts one after the other; NULL of none.
fn listagg(name: &str, function: &mut Function) -> Option<Expr> {
    let by = take_argument(function, 1).unwrap_or_else(|| Expr::value(Value::SingleQuotedString(String::new())));
    let order = std::mem::take(&mut function.within_group);
    let texts = if order.is_empty() { collected(name, function) } else { given_in_order(name, function, order)? };
    Some(call("list_text", vec![texts, by]))
}

/// `max_by(x, y, n)` is the first `n` values in the order of `y`, rows without `y` left out; NULL where there are none.
fn by_order(name: &str, function: &mut Function) -> Option<Expr> {
    let descending = name == "max_by";
    let count = take_argument(function, 2);
    if count.is_none() {
        rename(function, if descending { "value_of_max" } else { "value_of_min" });
        return Some(Expr::Function(function.clone()));
    }
    let by = take_argument(function, 1)?;
    only_if(function, Expr::IsNotNull(Box::new(by.clone())));
    let options = OrderByOptions { asc: Some(!descending), nulls_first: Some(false) };
    let values = in_order(name, function, vec![OrderByExpr { expr: by, options, with_fill: None }])?;
    let number = |text| node::make(Op::Literal, text, vec![]);
    let some = Expr::BinaryOp {
        left: Box::new(call("size", vec![values.clone()])),
        op: BinaryOperator::Gt,
        right: Box::new(number("0")),
    };
    Some(node::make(Op::Case, "", vec![some, call("slice", vec![values, number("1"), count?])]))
}

/// `collect_list(x ORDER BY y)`: rows without a value left out. `None` without an order.
pub(super) fn ordered(name: &str, function: &mut Function) -> Option<Expr> {
    let FunctionArguments::List(list) = &mut function.args else { return None };
    let at = list.clauses.iter().position(|clause| matches!(clause, FunctionArgumentClause::OrderBy(_)))?;
    let FunctionArgumentClause::OrderBy(order) = list.clauses.remove(at) else { return None };
    given_in_order(name, function, order)
}

fn given_in_order(name: &str, function: &mut Function, order: Vec<OrderByExpr>) -> Option<Expr> {
    let value = argument(function, 0)?.clone();
    only_if(function, Expr::IsNotNull(Box::new(value)));
    in_order(name, function, order)
}

/// The list of the first argument's values in an order; values of one place stand as they arrived.
///
/// They are kept as they arrive, each with what it is ordered by, and sorted when the list is whole: how the rows were
/// cut into micro-batches makes no difference.
fn in_order(name: &str, function: &mut Function, order: Vec<OrderByExpr>) -> Option<Expr> {
    let text = |text: String| Expr::value(Value::SingleQuotedString(text));
    let mut parts = vec![text("value".into()), take_argument(function, 0)?];
    let mut places = String::new();
    for (i, OrderByExpr { expr, options, .. }) in order.into_iter().enumerate() {
        let ascending = options.asc != Some(false);
        let first = options.nulls_first.unwrap_or(ascending);
        places.push(if ascending { 'a' } else { 'd' });
        places.push(if first { 'f' } else { 'l' });
        parts.extend([text(format!("by{i}")), call("distinct_argument", vec![expr])]);
    }
    super::set_argument(function, 0, call("named_struct", parts));
    Some(call("items_in_order", vec![collected(name, function), text(places)]))
}
