//! Aggregates: Spark's names over DataFusion's, and own ones where those differ.

use std::sync::Arc;

use datafusion::arrow::array::{Array, BooleanArray};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::{AggregateUDF, AggregateUDFImpl, Expr as PlannedExpr, ScalarUDF, lit};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    ObjectName, Value,
};

use super::Planned;
use super::conditional::exactly;
use super::datetime::span::is_interval;
use crate::dialect::cast::Mode;
use crate::dialect::node::{self, Op};
use crate::dialect::operators::Operation;
use crate::dialect::plan::Planner;
use crate::dialect::rewrite::{IGNORE_NULLS, call};
use crate::dialect::types::{Arithmetic, is_decimal, is_float, mark_of, units_of};

pub mod approx;
mod collect;
mod extreme;
pub mod kept;
mod list;
mod pairs;
mod set;
mod shape;
mod sum;
pub mod summary;

pub(super) use extreme::one_form;

/// Aggregates that the session gets on top of DataFusion's.
pub fn all() -> Vec<Arc<AggregateUDF>> {
    datafusion_spark::all_default_aggregate_functions()
        .into_iter()
        .filter(|function| !["avg", "collect_set", "try_sum"].contains(&function.name()))
        .chain([
            Arc::new(AggregateUDF::from(sum::CheckedSum::default())),
            Arc::new(AggregateUDF::from(sum::TrySum::default())),
            Arc::new(AggregateUDF::from(extreme::Extreme::new(true))),
            Arc::new(AggregateUDF::from(extreme::Extreme::new(false))),
            Arc::new(AggregateUDF::from(extreme::ExtremeBy::new(true))),
            Arc::new(AggregateUDF::from(extreme::ExtremeBy::new(false))),
            Arc::new(AggregateUDF::from(shape::Shape::new(shape::Measure::Skewness))),
            Arc::new(AggregateUDF::from(approx::Summarize::default())),
            Arc::new(AggregateUDF::from(shape::Shape::new(shape::Measure::Kurtosis))),
        ])
        .chain(pairs::ALL.iter().map(|pair| Arc::new(AggregateUDF::from(pairs::Pairs::new(*pair)))))
        .chain(kept::all().into_iter().map(Arc::new))
        .collect()
}

/// Whether the `FILTER` of an aggregate lets a row pass.
fn counts(filter: Option<&BooleanArray>, row: usize) -> bool {
    filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
}

/// The column of an aggregate whose intervals count what those of its first argument count.
fn in_units_of(function: &impl AggregateUDFImpl, fields: &[FieldRef]) -> Result<FieldRef> {
    let types: Vec<DataType> = fields.iter().map(|field| field.data_type().clone()).collect();
    let field = Field::new(function.name(), function.return_type(&types)?, function.is_nullable());
    let marks = fields.first().and_then(|first| units_of(first)).and_then(mark_of);
    Ok(Arc::new(field.with_metadata(marks.into_iter().collect())))
}

/// What is planned when types are known.
pub const PLANNED: &[Planned] = &[
    (&["average_of"], |p, args| {
        let [average, sum, count] = exactly::<3>("avg", args)?;
        if is_interval(&p.type_of(&sum)?) {
            return p.call("interval_divided", vec![sum, count]);
        }
        let ty = p.type_of(&average)?;
        if !is_decimal(&ty) {
            return Ok(average);
        }
        // At once with the digits of the result: it is rounded one time.
        let count = p.cast(count, &DataType::Decimal128(20, 0), Mode::Raise)?;
        let divided = Operation::new(Arithmetic::Divide, Mode::Null, ty);
        Ok(Arc::new(ScalarUDF::from(divided)).call(vec![sum, count]))
    }),
    // DataFusion's average knows no months; that of intervals is their sum divided.
    (&["average_argument"], |p, args| {
        let [arg] = exactly::<1>("avg", args)?;
        if is_interval(&p.type_of(&arg)?) { Ok(lit(0.0)) } else { p.call("numeric_argument", vec![arg]) }
    }),
    (&["value_of_summary"], |p, args| {
        let [arg] = exactly::<1>("percentile_approx", args)?;
        approx::argument(p, arg)
    }),
    (&["accuracy_of_summary"], |p, args| {
        let [arg] = exactly::<1>("percentile_approx", args)?;
        approx::accuracy(p, arg)
    }),
    (&["percentile_of_summary"], |p, args| approx::percentiles(p, exactly::<3>("percentile_approx", args)?)),
    // DataFusion's count knows no floating point; a hash of it counts as well.
    (&["counted_argument"], |p, mut args| {
        if args.len() == 2 {
            least_deviation(p, args.remove(1))?;
        }
        let [arg] = exactly::<1>("approx_count_distinct", args)?;
        if !is_float(&p.type_of(&arg)?) {
            return Ok(arg);
        }
        let given = arg.clone().is_not_null();
        let hash = p.call("xxhash64", vec![arg])?;
        super::conditional::when(p, given, hash, lit(ScalarValue::Null))
    }),
    // The two zeros are one value.
    (&["distinct_argument"], |p, args| {
        let [arg] = exactly::<1>("count", args)?;
        let ty = p.type_of(&arg)?;
        if is_float(&ty) {
            p.arithmetic(Arithmetic::Add, arg, lit(ScalarValue::new_zero(&ty)?), Mode::Raise)
        } else {
            Ok(arg)
        }
    }),
];

/// Spark's name, DataFusion's name.
const NAMES: &[(&str, &str)] = &[
    ("mean", "avg"),
    ("variance", "var_samp"),
    ("std", "stddev"),
    ("every", "bool_and"),
    ("some", "bool_or"),
    ("any", "bool_or"),
    ("first", "first_value"),
    ("any_value", "first_value"),
    ("last", "last_value"),
    ("array_agg", "collect_list"),
    ("approx_count_distinct", "approx_distinct"),
    ("try_avg", "avg"),
];

/// Aggregates of numbers.
const NUMERIC: &[&str] = &["sum", "avg", "var_samp", "var_pop", "stddev", "stddev_samp", "stddev_pop", "try_sum"];

/// Gives an aggregate the name and the arguments that DataFusion knows. `None`: it goes on as it is.
pub fn rewrite(name: &str, function: &mut Function) -> Option<Expr> {
    if name == "count_if" {
        let condition = take_argument(function, 0)?;
        let one = node::make(Op::Literal, "1", vec![]);
        set_argument(function, 0, node::make(Op::Case, "", vec![condition, one]));
        rename(function, "count");
        return Some(Expr::Function(function.clone()));
    }
    if name == "regr_avgx" || name == "regr_avgy" {
        mean_of_pairs(function, usize::from(name == "regr_avgx"))?;
        return rewrite("avg", function);
    }
    if (name == "regr_sxx" || name == "regr_syy") && is_distinct(function) {
        distinct_of_one(function, usize::from(name == "regr_sxx"))?;
    }
    if let Some(of_list) = list::rewrite(name, function) {
        return Some(of_list);
    }
    if let Some(window) = window_function(name, function) {
        return Some(window);
    }
    let of_two = pairs::ALL.iter().any(|(pair, _)| *pair == name);
    if of_two || name == "skewness" || name == "kurtosis" {
        for at in 0..=usize::from(of_two) {
            let value = argument(function, at)?.clone();
            set_argument(function, at, node::make(Op::Cast, "double", vec![value]));
        }
        see_each_once(function, name);
        return Some(Expr::Function(function.clone()));
    }
    if name == "count" {
        return count_distinct(function);
    }
    if ["array_agg", "collect_list", "collect_set"].contains(&name) {
        return Some(collect(function, name));
    }
    let known = NAMES.iter().find(|(spark, _)| *spark == name).map_or(name, |(_, known)| *known);
    if known != name {
        rename(function, known);
    }
    if known == "first_value" || known == "last_value" {
        ignore_nulls_flag(function);
    }
    if NUMERIC.contains(&known)
        && let Some(arg) = take_argument(function, 0)
    {
        set_argument(function, 0, call("numeric_argument", vec![arg]));
    }
    if known == "avg" {
        return Some(average(function, name == "try_avg"));
    }
    if known == "approx_distinct" {
        counted(function);
    }
    let once = see_each_once(function, known);
    // The dialect knows one form of text and no unsigned numbers.
    let result = match known {
        "approx_distinct" | "regr_count" => Some("bigint"),
        "grouping" => Some("tinyint"),
        _ => None,
    };
    if let Some(ty) = result {
        return Some(node::make(Op::Cast, ty, vec![Expr::Function(function.clone())]));
    }
    (once || known != name || NUMERIC.contains(&known)).then(|| Expr::Function(function.clone()))
}

/// Spark divides the sum of decimals by their count and rounds half up; that of intervals too.
fn average(function: &mut Function, or_null: bool) -> Expr {
    let other = |name| {
        let mut other = function.clone();
        rename(&mut other, name);
        see_each_once(&mut other, name);
        Expr::Function(other)
    };
    let sum = other(if or_null { "try_sum" } else { "sum" });
    let count = other("count");
    if let Some(arg) = take_argument(function, 0) {
        set_argument(function, 0, call("average_argument", vec![arg]));
    }
    see_each_once(function, "avg");
    call("average_of", vec![Expr::Function(function.clone()), sum, count])
}

/// The relative standard deviation of DataFusion's HyperLogLog with 2^14 registers: 1.04 / sqrt(2^14).
const DEVIATION: f64 = 0.008_125;

/// `approx_count_distinct(x, deviation)`
fn counted(function: &mut Function) {
    let FunctionArguments::List(list) = &mut function.args else { return };
    let given = list.args.drain(..).filter_map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    });
    let counted = call("counted_argument", given.collect());
    list.args.push(FunctionArg::Unnamed(FunctionArgExpr::Expr(counted)));
}

/// Whether the deviation that is asked for is one that is kept.
fn least_deviation(planner: &Planner<'_>, asked: PlannedExpr) -> Result<()> {
    let asked = planner.cast(asked, &DataType::Float64, Mode::Raise)?;
    match asked {
        PlannedExpr::Literal(ScalarValue::Float64(Some(asked)), _) if asked >= DEVIATION => Ok(()),
        PlannedExpr::Literal(..) => plan_err!(
            "approx_count_distinct has a relative standard deviation of {DEVIATION}, not less: count(DISTINCT) is exact"
        ),
        _ => plan_err!("the relative standard deviation of approx_count_distinct is a constant"),
    }
}

/// The mean of one argument where the other one is given as well.
fn mean_of_pairs(function: &mut Function, at: usize) -> Option<()> {
    let (value, other) = (argument(function, at)?.clone(), argument(function, 1 - at)?.clone());
    if let FunctionArguments::List(list) = &mut function.args {
        list.args.truncate(1);
    }
    set_argument(function, 0, value);
    only_if(function, Expr::IsNotNull(Box::new(other)));
    rename(function, "avg");
    Some(())
}

/// What looks at one argument alone sees each value of that one once, in rows where the other one is given as well.
fn distinct_of_one(function: &mut Function, at: usize) -> Option<()> {
    let (value, other) = (argument(function, at)?.clone(), argument(function, 1 - at)?.clone());
    set_argument(function, 1 - at, value);
    only_if(function, Expr::IsNotNull(Box::new(other)));
    Some(())
}

/// Functions of windows: counts are int; `rank(b)` says again what it is ordered by.
fn window_function(name: &str, function: &mut Function) -> Option<Expr> {
    if name == "counter_diff" {
        return counter_diff(function);
    }
    if ["rank", "dense_rank", "percent_rank"].contains(&name)
        && let FunctionArguments::List(list) = &mut function.args
    {
        list.args.clear();
    }
    let counts = ["row_number", "rank", "dense_rank", "ntile"].contains(&name);
    (counts && function.over.is_some()).then(|| node::make(Op::Cast, "int", vec![Expr::Function(function.clone())]))
}

/// How much a counter has grown since the row before; NULL where it began anew.
fn counter_diff(function: &mut Function) -> Option<Expr> {
    let value = argument(function, 0)?.clone();
    let since = argument(function, 1).cloned();
    let before = |of: Expr| {
        let mut lag = function.clone();
        rename(&mut lag, "lag");
        if let FunctionArguments::List(list) = &mut lag.args {
            list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(of))];
        }
        Expr::Function(lag)
    };
    let join = |left: Expr, op, right: Expr| Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) };
    let mut goes_on = join(value.clone(), BinaryOperator::GtEq, before(value.clone()));
    if let Some(since) = since {
        let same = join(since.clone(), BinaryOperator::Eq, before(since));
        goes_on = join(goes_on, BinaryOperator::And, same);
    }
    let grown = join(value.clone(), BinaryOperator::Minus, before(value));
    Some(node::make(Op::Case, "", vec![goes_on, grown]))
}

/// One more condition that a row must meet to be counted.
fn only_if(function: &mut Function, condition: Expr) {
    function.filter = Some(Box::new(match function.filter.take() {
        Some(filter) => Expr::BinaryOp { left: filter, op: BinaryOperator::And, right: Box::new(condition) },
        None => condition,
    }));
}

/// `collect_list` and its relatives, within the limit of what a group keeps.
fn collect(function: &mut Function, name: &str) -> Expr {
    if let Some(ordered) = list::ordered(name, function) {
        return ordered;
    }
    let once = name == "collect_set" || is_distinct(function);
    rename(function, if once { "collect_set" } else { "collect_list" });
    if let FunctionArguments::List(list) = &mut function.args
        && once
    {
        list.duplicate_treatment = None;
    }
    within_limit(name, function)
}

/// The aggregate, with an error for a group that has more values than it keeps.
fn within_limit(name: &str, function: &Function) -> Expr {
    let name = Expr::value(Value::SingleQuotedString(name.to_owned()));
    call("within_limit", vec![name, Expr::Function(function.clone())])
}

fn is_distinct(function: &Function) -> bool {
    matches!(&function.args, FunctionArguments::List(list) if list.duplicate_treatment == Some(DuplicateTreatment::Distinct))
}

/// Makes `known(DISTINCT x)` the aggregate that keeps a set of a limited size; whether it does.
fn see_each_once(function: &mut Function, known: &str) -> bool {
    let Some(name) = kept::distinct_name(known).filter(|_| is_distinct(function)) else { return false };
    if let FunctionArguments::List(list) = &mut function.args {
        list.duplicate_treatment = None;
    }
    rename(function, &name);
    true
}

/// `count(DISTINCT a, b)` counts the pairs without NULL. `None` without `DISTINCT`.
fn count_distinct(function: &mut Function) -> Option<Expr> {
    if !see_each_once(function, "count") {
        return None;
    }
    let FunctionArguments::List(list) = &mut function.args else { return None };
    for arg in &mut list.args {
        if let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = arg {
            let given = std::mem::replace(expr, Expr::value(Value::Null));
            *expr = call("distinct_argument", vec![given]);
        }
    }
    let args: Vec<Expr> = list
        .args
        .iter()
        .filter_map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
            _ => None,
        })
        .collect();
    let several = args.len() > 1;
    let present = args.iter().cloned().map(|arg| Expr::IsNotNull(Box::new(arg))).reduce(|a, b| Expr::BinaryOp {
        left: Box::new(a),
        op: BinaryOperator::And,
        right: Box::new(b),
    });
    if let Some(present) = present.filter(|_| several) {
        let one = node::make(Op::Case, "", vec![present, call("struct", args)]);
        list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(one))];
    }
    Some(within_limit("count(DISTINCT)", function))
}

fn rename(function: &mut Function, name: &str) {
    function.name = ObjectName::from(vec![Ident::new(name)]);
}

fn argument(function: &mut Function, at: usize) -> Option<&mut Expr> {
    let FunctionArguments::List(list) = &mut function.args else { return None };
    match list.args.get_mut(at)? {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    }
}

fn take_argument(function: &mut Function, at: usize) -> Option<Expr> {
    argument(function, at).map(|expr| std::mem::replace(expr, Expr::value(Value::Null)))
}

fn set_argument(function: &mut Function, at: usize, to: Expr) {
    if let Some(expr) = argument(function, at) {
        *expr = to;
    }
}

/// `first(x, true)` ignores nulls.
fn ignore_nulls_flag(function: &mut Function) {
    let flag = match argument(function, 1) {
        Some(Expr::Value(value)) => match value.value {
            Value::Boolean(flag) => flag,
            _ => return,
        },
        _ => return,
    };
    if let FunctionArguments::List(list) = &mut function.args {
        list.args.truncate(1);
    }
    if flag {
        function.null_treatment = Some(IGNORE_NULLS);
    }
}
