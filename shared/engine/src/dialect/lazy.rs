//! Conditions that keep what they guard from being computed.
//!
//! `j <> 0 AND i / j > 1` must not raise for `j = 0`. The planner's `AND` may compute both sides for all rows, and it
//! turns a `CASE` of booleans into `AND` and `OR`. A `CASE` of numbers stays one: what may raise is guarded by that.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, BooleanArray, Int8Array};
use datafusion::arrow::datatypes::{DataType, Int8Type};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::expr::Case;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, ScalarUDFImpl, lit};
use datafusion::scalar::ScalarValue;
use tidegate_core::Zone;

use super::functions::conversion::CastFunction;
use super::functions::{Call, Function, call_in};
use super::operators::Operation;

/// Own functions that raise for no value; for others nothing is promised.
const HARMLESS: &[&str] = &[
    "upper",
    "lower",
    "trim",
    "length_text",
    "concat_text",
    "startswith_text",
    "endswith_text",
    "contains_text",
    "replace",
    "substring_text",
    "size",
    "array_contains_item",
    "map_value",
    "map_keys",
    "year",
    "month",
    "day",
    "hour",
    "minute",
    "second",
    "get_json_object",
    "as_number",
    "as_condition",
];

/// Whether some value may raise.
pub fn can_raise(expr: &Expr) -> bool {
    let raises = |expr: &Expr| match expr {
        Expr::ScalarFunction(function) => {
            let inner = function.func.inner().as_ref();
            if let Some(cast) = inner.downcast_ref::<CastFunction>() {
                return cast.can_raise();
            }
            match (inner.downcast_ref::<Operation>(), inner.downcast_ref::<Function>()) {
                (Some(operation), _) => operation.can_raise(),
                (None, Some(function)) => !HARMLESS.contains(&function.name()),
                (None, None) => !["coalesce", "get_field", "named_struct"].contains(&inner.name()),
            }
        }
        _ => false,
    };
    expr.exists(|expr| Ok(raises(expr))).unwrap_or(true)
}

/// Parts of the side that comes first, which is computed twice to keep the other one from being computed.
const SMALL: usize = 12;

/// An operation of two sides one of which may raise: the other one is looked at first, and where it is NULL nothing is
/// computed. Spark looks at the right side of a division first, else at the left one. Where the side that comes first is
/// large both are computed, and such a row raises.
pub fn guarded(planned: Expr) -> Expr {
    let (first, boolean) = match &planned {
        Expr::ScalarFunction(function) => {
            let divides = function.func.inner().downcast_ref::<Operation>().is_some_and(Operation::divides);
            match (&function.args[..], divides) {
                ([left, right], false) if guards(left, right) => (left.clone(), false),
                ([left, right], true) if guards(right, left) => (right.clone(), false),
                _ => return planned,
            }
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if compares(*op) && guards(left, right) => {
            ((**left).clone(), true)
        }
        _ => return planned,
    };
    let branch = (Box::new(first.is_not_null()), Box::new(planned));
    let guarded = Case::new(None, vec![branch], None);
    if boolean { case(guarded) } else { Expr::Case(guarded) }
}

fn compares(op: Operator) -> bool {
    use Operator as O;
    matches!(op, O::Eq | O::NotEq | O::Lt | O::LtEq | O::Gt | O::GtEq)
}

fn guards(first: &Expr, other: &Expr) -> bool {
    let mut parts = 0;
    let counted = first.apply(|_| {
        parts += 1;
        Ok(if parts > SMALL { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    // Spark computes constants when it plans, and raises then.
    !matches!(first, Expr::Literal(_, _))
        && other.any_column_refs()
        && counted.is_ok()
        && parts <= SMALL
        && can_raise(other)
}

/// Functions that look at their arguments in turn and stop at the first one that is NULL, as Spark's `nullSafeEval` does
/// (recorded in `tests/spark/drawn/nulls.jsonl.gz`). Others compute all of them first.
const STOP_AT_NULL: &[&str] = &[
    "add_months",
    "array_append",
    "array_contains",
    "array_except",
    "array_insert",
    "array_intersect",
    "array_position",
    "array_prepend",
    "array_remove",
    "array_union",
    "arrays_overlap",
    "atan2",
    "bit_get",
    "btrim",
    "concat",
    "contains",
    "date_add",
    "date_diff",
    "date_sub",
    "date_trunc",
    "dateadd",
    "datediff",
    "element_at",
    "endswith",
    "get",
    "getbit",
    "hypot",
    "instr",
    "jaro_winkler_similarity",
    "left",
    "levenshtein",
    "locate",
    "log",
    "lpad",
    "ltrim_of",
    "make_date",
    "make_dt_interval",
    "make_interval",
    "make_timestamp",
    "make_timestamp_ntz",
    "make_ym_interval",
    "map_concat",
    "map_contains_key",
    "map_from_arrays",
    "months_between",
    "nanvl",
    "next_day",
    "overlay",
    "position",
    "pow",
    "power",
    "repeat",
    "replace",
    "right",
    "rpad",
    "rtrim_of",
    "sequence",
    "shiftleft",
    "shiftright",
    "shiftrightunsigned",
    "slice",
    "split",
    "split_part",
    "startswith",
    "substr",
    "substring",
    "substring_index",
    "timestampadd",
    "timestampdiff",
    "trunc",
    "try_element_at",
    "try_make_timestamp",
];

/// A call of a function, NULL where its arguments say so before one that raises is looked at.
pub fn stopping(name: &str, args: &[Expr], ty: &DataType, planned: Expr) -> Result<Expr> {
    match name {
        // A start of NULL is looked at first, and gives 0.
        "locate" | "position" if args.len() > 2 => Ok(planned),
        "elt" => behind_first(args, ty, planned),
        _ if STOP_AT_NULL.contains(&name) => in_turn(args, ty, planned),
        _ => Ok(planned),
    }
}

/// What is planned of these arguments, NULL where one of them is; those behind that one are not looked at.
pub fn in_turn(args: &[Expr], ty: &DataType, planned: Expr) -> Result<Expr> {
    (0..args.len()).rev().try_fold(planned, |planned, at| behind_first(&args[at..], ty, planned))
}

/// The same where only the first one makes it NULL.
pub fn behind_first(args: &[Expr], ty: &DataType, planned: Expr) -> Result<Expr> {
    let Some((first, others)) = args.split_first() else { return Ok(planned) };
    if is_null(first) && others.iter().any(can_raise) {
        return Ok(Expr::Literal(ScalarValue::try_from(ty)?, None));
    }
    if !others.iter().any(|other| guards(first, other)) {
        return Ok(planned);
    }
    let branch = (Box::new(first.clone().is_not_null()), Box::new(planned));
    let guarded = Case::new(None, vec![branch], None);
    Ok(if ty == &DataType::Boolean { case(guarded) } else { Expr::Case(guarded) })
}

fn is_null(expr: &Expr) -> bool {
    match expr {
        Expr::Cast(cast) => is_null(&cast.expr),
        other => matches!(other, Expr::Literal(value, _) if value.is_null()),
    }
}

/// `AND` and `OR` whose right side is computed only for rows that the left one does not decide.
pub fn connect(left: Expr, op: Operator, right: Expr) -> Expr {
    let (decided, value) = match op {
        Operator::And => (Expr::IsFalse(Box::new(left.clone())), 0_i8),
        _ => (Expr::IsTrue(Box::new(left.clone())), 1_i8),
    };
    let both = Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)));
    let branches = vec![(Box::new(decided), Box::new(lit(value)))];
    as_condition(Expr::Case(Case::new(None, branches, Some(Box::new(as_number(both))))))
}

/// A `CASE` of booleans, each value computed for its own rows only.
pub fn case(case: Case) -> Expr {
    let number = |value: Box<Expr>| Box::new(as_number(*value));
    let branches = case.when_then_expr.into_iter().map(|(when, then)| (when, number(then))).collect();
    as_condition(Expr::Case(Case::new(None, branches, case.else_expr.map(number))))
}

fn as_number(condition: Expr) -> Expr {
    let run = |call: &Call<'_>| -> Result<ArrayRef> {
        Ok(Arc::new(call.args[0].as_boolean().iter().map(|value| value.map(i8::from)).collect::<Int8Array>()))
    };
    call_in(Zone::UTC, "as_number", run, DataType::Int8, vec![condition])
}

fn as_condition(number: Expr) -> Expr {
    let run = |call: &Call<'_>| -> Result<ArrayRef> {
        let values = call.args[0].as_primitive::<Int8Type>();
        Ok(Arc::new(values.iter().map(|value| value.map(|value| value != 0)).collect::<BooleanArray>()))
    };
    call_in(Zone::UTC, "as_condition", run, DataType::Boolean, vec![number])
}
