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
    let one = || node::make(Op::Literal, "1", vec![]);
    let share = if descending {
        Expr::BinaryOp { left: Box::new(one()), op: BinaryOperator::Minus, right: Box::new(share) }
    } else {
        share
    };
    let of_list = match name {
        "percentile_approx" | "approx_percentile" => "percentile_of",
        "percentile_disc" => "percentile_disc_of",
        _ => "percentile_cont_of",
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
    let value = argument(function, 0)?.clone();
    if let FunctionArguments::List(list) = &mut function.args {
        list.args.truncate(1);
        let distinct = list.duplicate_treatment == Some(DuplicateTreatment::Distinct);
        if order.is_empty() && distinct {
            list.duplicate_treatment = None;
            rename(function, "collect_set");
        } else if order.is_empty() {
            rename(function, "collect_list");
        } else {
            list.clauses.push(FunctionArgumentClause::OrderBy(order));
            only_if(function, Expr::IsNotNull(Box::new(value)));
            rename(function, "array_agg");
        }
    }
    Some(call("list_text", vec![within_limit(name, function), by]))
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
    let has = Expr::IsNotNull(Box::new(by.clone()));
    if let FunctionArguments::List(list) = &mut function.args {
        list.args.truncate(1);
        let options = OrderByOptions { asc: Some(!descending), nulls_first: Some(false) };
        list.clauses.push(FunctionArgumentClause::OrderBy(vec![OrderByExpr { expr: by, options, with_fill: None }]));
    }
    only_if(function, has);
    rename(function, "array_agg");
    let number = |text| node::make(Op::Literal, text, vec![]);
    let values = within_limit(name, function);
    let some = Expr::BinaryOp {
        left: Box::new(call("size", vec![values.clone()])),
        op: BinaryOperator::Gt,
        right: Box::new(number("0")),
    };
    Some(node::make(Op::Case, "", vec![some, call("slice", vec![values, number("1"), count?])]))
}
