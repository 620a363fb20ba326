//! Conditional functions: `if`, `coalesce`, `nvl`, `nullif` and their kin.

use datafusion::arrow::array::{ArrayRef, new_null_array};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::functions::core::{coalesce as core_coalesce, greatest, least};
use datafusion::logical_expr::expr::Case;
use datafusion::logical_expr::{Expr, Operator, lit};
use datafusion::scalar::ScalarValue;

use super::Planned;
use crate::dialect::cast::Mode;
use crate::dialect::error::RowError;
use crate::dialect::lazy;
use crate::dialect::plan::Planner;
use crate::dialect::types::{is_integer, is_string};

/// Functions that plan themselves.
pub const PLANNED: &[Planned] = &[
    (&["coalesce", "nvl", "ifnull"], coalesce),
    (&["if", "iff"], if_else),
    (&["nvl2"], |p, args| {
        let [test, then, otherwise] = exactly::<3>("nvl2", args)?;
        when(p, Expr::IsNotNull(Box::new(test)), then, otherwise)
    }),
    (&["nullif"], |p, args| {
        let [a, b] = exactly::<2>("nullif", args)?;
        let equal = p.compare(Operator::Eq, a.clone(), b)?;
        when(p, equal, lit(ScalarValue::Null), a)
    }),
    (&["nullifzero"], |p, args| {
        let [a] = exactly::<1>("nullifzero", args)?;
        let equal = p.compare(Operator::Eq, a.clone(), lit(0_i32))?;
        when(p, equal, lit(ScalarValue::Null), a)
    }),
    (&["zeroifnull"], |p, mut args| {
        args.push(lit(0_i32));
        coalesce(p, args)
    }),
    (&["isnull"], |_, args| {
        Ok(Expr::IsNull(Box::new(exactly::<1>("isnull", args)?.into_iter().next().unwrap_or_default())))
    }),
    (&["isnotnull"], |_, args| {
        Ok(Expr::IsNotNull(Box::new(exactly::<1>("isnotnull", args)?.into_iter().next().unwrap_or_default())))
    }),
    (&["between"], |p, args| {
        let [value, low, high] = exactly::<3>("between", args)?;
        let (low, high) = (p.compare(Operator::GtEq, value.clone(), low)?, p.compare(Operator::LtEq, value, high)?);
        Ok(low.and(high))
    }),
    (&["equal_null"], |p, args| {
        let [a, b] = exactly::<2>("equal_null", args)?;
        p.compare(Operator::IsNotDistinctFrom, a, b)
    }),
    (&["greatest"], |p, args| Ok(greatest().call(p.unify("greatest", args)?.1))),
    (&["least"], |p, args| Ok(least().call(p.unify("least", args)?.1))),
    (&["decode"], decode),
    (&["raise_error"], |p, args| {
        let [message] = exactly::<1>("raise_error", args)?;
        let message = p.implicit(message, super::Takes::Text, "raise_error")?;
        Ok(super::call(p, "raise_error", raise_error, DataType::Null, vec![message]))
    }),
    (&["assert_true"], |p, mut args| {
        let message = if args.len() == 2 { args.remove(1) } else { lit("the asserted condition does not hold") };
        let [test] = exactly::<1>("assert_true", args)?;
        let test = p.condition(test)?;
        let raise = p.call("raise_error", vec![message])?;
        when(p, Expr::IsTrue(Box::new(test)), lit(ScalarValue::Null), raise)
    }),
];

/// Raises for the first row that has a message.
fn raise_error(call: &super::Call<'_>) -> Result<ArrayRef> {
    match (0..call.rows).find(|row| call.complete(*row)) {
        Some(row) => Err(RowError::new("USER_RAISED_EXCEPTION", super::string::text(call, 0, row)).into()),
        None => Ok(new_null_array(&DataType::Null, call.rows)),
    }
}

/// The arguments as an array of a fixed length.
pub fn exactly<const N: usize>(name: &str, args: Vec<Expr>) -> Result<[Expr; N]> {
    let given = args.len();
    match args.try_into() {
        Ok(args) => Ok(args),
        Err(_) => plan_err!("{name} takes {N} arguments, {given} are given"),
    }
}

fn coalesce(planner: &Planner<'_>, args: Vec<Expr>) -> Result<Expr> {
    if args.is_empty() {
        return plan_err!("coalesce takes at least one argument");
    }
    Ok(core_coalesce().call(planner.unify("coalesce", args)?.1))
}

fn if_else(planner: &Planner<'_>, args: Vec<Expr>) -> Result<Expr> {
    let [test, then, otherwise] = exactly::<3>("if", args)?;
    let test = planner.condition(test)?;
    when(planner, test, then, otherwise)
}

/// `CASE WHEN test THEN then ELSE otherwise END` in their common type.
pub fn when(planner: &Planner<'_>, test: Expr, then: Expr, otherwise: Expr) -> Result<Expr> {
    let (ty, mut values) = planner.unify("if", vec![then, otherwise])?;
    let lazy = ty == DataType::Boolean && values.iter().any(lazy::can_raise);
    let otherwise = values.pop().map(Box::new);
    let then = Box::new(values.remove(0));
    let case = Case::new(None, vec![(Box::new(test), then)], otherwise);
    Ok(if lazy { lazy::case(case) } else { Expr::Case(case) })
}

/// `decode(x, a, 1, b, 2, 3)` compares as `<=>` does; with two arguments it reads bytes as text.
fn decode(planner: &Planner<'_>, args: Vec<Expr>) -> Result<Expr> {
    if args.len() == 2 {
        return planner.call("decode_text", args);
    }
    let mut args = args.into_iter();
    let Some(value) = args.next() else { return plan_err!("decode takes at least two arguments") };
    let rest: Vec<Expr> = args.collect();
    let (mut tests, mut values) = (vec![], vec![]);
    for pair in rest.chunks(2) {
        match pair {
            [key, result] => {
                tests.push(planner.compare(Operator::IsNotDistinctFrom, value.clone(), key.clone())?);
                values.push(result.clone());
            }
            other => values.extend(other.iter().cloned()),
        }
    }
    let (ty, values) = planner.unify("decode", values)?;
    // Spark finds one type for the texts that are compared and the numbers that are given.
    let texts = rest.chunks(2).filter(|pair| pair.len() == 2).map(|pair| planner.type_of(&pair[0]));
    let wide = is_integer(&ty) && texts.collect::<Result<Vec<_>>>()?.iter().any(is_string);
    let ty = if wide { DataType::Int64 } else { ty };
    let values = values.into_iter().map(|value| planner.cast(value, &ty, Mode::Raise));
    let mut values = values.collect::<Result<Vec<_>>>()?;
    let otherwise = if values.len() > tests.len() { values.pop().map(Box::new) } else { None };
    let branches = tests.into_iter().map(Box::new).zip(values.into_iter().map(Box::new)).collect();
    Ok(Expr::Case(Case::new(None, branches, otherwise)))
}
