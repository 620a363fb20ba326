//! Intervals made, measured and scaled: `make_ym_interval`, parts of intervals, an interval times a number.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, DurationMicrosecondArray, Float64Array, Int8Array, Int32Array,
    Int64Array, IntervalYearMonthArray,
};
use datafusion::arrow::datatypes::{
    DataType, DurationMicrosecondType, Float64Type, Int64Type, IntervalUnit, IntervalYearMonthType,
};
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::Expr;

use super::super::Gives::{First, Of, Type};
use super::super::Takes::{Any, Double, Int, Long};
use super::super::string::int;
use super::super::{Call, Def, Planned};
use super::{HOUR, MINUTE};
use crate::dialect::cast::Mode;
use crate::dialect::cast::text::DAY;
use crate::dialect::error::RowError;
use crate::dialect::plan::Planner;
use crate::dialect::types::Arithmetic;

fn year_month() -> DataType {
    DataType::Interval(IntervalUnit::YearMonth)
}

/// Whether a type is `interval year to month` or `interval day to second`.
pub(in super::super) fn is_interval(ty: &DataType) -> bool {
    matches!(ty, DataType::Duration(_) | DataType::Interval(IntervalUnit::YearMonth))
}

/// Functions with a kernel of their own.
pub(in super::super) const FUNCTIONS: &[Def] = &[
    Def::new(&["make_ym_interval"], &[Int, Int], Of(|_| Ok(year_month())), |call| {
        let value = |row| {
            if !call.complete(row) {
                return Ok(None);
            }
            let years = if call.has(0) { int(call, 0, row) } else { 0 };
            let months = if call.has(1) { int(call, 1, row) } else { 0 };
            let all = i64::from(years) * 12 + i64::from(months);
            i32::try_from(all).map(Some).map_err(|_| too_long())
        };
        Ok(Arc::new((0..call.rows).map(value).collect::<Result<IntervalYearMonthArray, RowError>>()?))
    })
    .optional(2),
    // Months or microseconds, whichever the interval counts.
    Def::new(&["interval_units"], &[Any], Type(Long), |call| Ok(Arc::new(units(&call.args[0])?))),
    Def::new(&["interval_sign"], &[Any], Type(Double), |call| {
        let signs = units(&call.args[0])?;
        Ok(Arc::new(signs.iter().map(|value| value.map(|value| value.signum() as f64)).collect::<Float64Array>()))
    }),
    Def::new(&["interval_abs"], &[Any], First, |call| {
        let values = units(&call.args[0])?;
        let values = values.iter().map(|value| Ok(value.map(i64::saturating_abs)));
        of_units(call.out, values)
    }),
    Def::new(&["interval_times"], &[Any, Double], First, |call| scale(call, true, |units, by| units * by)),
    Def::new(&["interval_divided"], &[Any, Double], First, |call| scale(call, true, |units, by| units / by)),
    Def::new(&["try_interval_times"], &[Any, Double], First, |call| scale(call, false, |units, by| units * by)),
    Def::new(&["try_interval_divided"], &[Any, Double], First, |call| scale(call, false, |units, by| units / by)),
    Def::new(&["interval_years"], &[Any], Type(Int), |call| Ok(ints(&units(&call.args[0])?, |months| months / 12))),
    Def::new(&["interval_months"], &[Any], Of(|_| Ok(DataType::Int8)), |call| part(call, |months| months % 12)),
    Def::new(&["interval_days"], &[Any], Type(Int), |call| Ok(ints(&units(&call.args[0])?, |micros| micros / DAY))),
    Def::new(&["interval_hours"], &[Any], Of(|_| Ok(DataType::Int8)), |call| part(call, |micros| micros % DAY / HOUR)),
    Def::new(&["interval_minutes"], &[Any], Of(|_| Ok(DataType::Int8)), |call| {
        part(call, |micros| micros % HOUR / MINUTE)
    }),
    Def::new(&["interval_seconds"], &[Any], Of(|_| Ok(DataType::Decimal128(8, 6))), |call| {
        let values = units(&call.args[0])?;
        let values = values.iter().map(|micros| micros.map(|micros| i128::from(micros % MINUTE)));
        Ok(Arc::new(values.collect::<Decimal128Array>().with_precision_and_scale(8, 6)?))
    }),
];

/// Functions that plan themselves.
pub(in super::super) const PLANNED: &[Planned] = &[(&["try_make_interval"], |p, args| {
    let Some(make) = p.shared.foreign.get("make_interval") else { return plan_err!("make_interval is missing") };
    let ints = args
        .into_iter()
        .enumerate()
        .map(|(i, arg)| p.cast(arg, &if i < 6 { DataType::Int32 } else { DataType::Float64 }, Mode::Raise));
    Ok(make.call(ints.collect::<Result<Vec<_>>>()?))
})];

fn too_long() -> RowError {
    RowError::new("INTERVAL_ARITHMETIC_OVERFLOW", "an interval is longer than it may be")
}

fn units(array: &ArrayRef) -> Result<Int64Array> {
    match array.data_type() {
        DataType::Duration(_) => Ok(array.as_primitive::<DurationMicrosecondType>().reinterpret_cast::<Int64Type>()),
        DataType::Interval(IntervalUnit::YearMonth) => {
            Ok(array.as_primitive::<IntervalYearMonthType>().unary::<_, Int64Type>(i64::from))
        }
        DataType::Null => Ok(Int64Array::new_null(array.len())),
        other => plan_err!("an interval is expected, this is {other}"),
    }
}

fn of_units(out: &DataType, values: impl Iterator<Item = Result<Option<i64>, RowError>>) -> Result<ArrayRef> {
    match out {
        DataType::Duration(_) => Ok(Arc::new(values.collect::<Result<DurationMicrosecondArray, RowError>>()?)),
        _ => {
            let months = values.map(|value| match value? {
                Some(value) => i32::try_from(value).map(Some).map_err(|_| too_long()),
                None => Ok(None),
            });
            Ok(Arc::new(months.collect::<Result<IntervalYearMonthArray, RowError>>()?))
        }
    }
}

fn ints(units: &Int64Array, f: impl Fn(i64) -> i64) -> ArrayRef {
    Arc::new(units.iter().map(|value| value.map(|value| f(value) as i32)).collect::<Int32Array>())
}

fn part(call: &Call<'_>, f: impl Fn(i64) -> i64) -> Result<ArrayRef> {
    let values = units(&call.args[0])?;
    Ok(Arc::new(values.iter().map(|value| value.map(|value| f(value) as i8)).collect::<Int8Array>()))
}

/// Rounds half up; what does not fit raises, or is NULL.
fn scale(call: &Call<'_>, raise: bool, f: impl Fn(f64, f64) -> f64) -> Result<ArrayRef> {
    let (values, by) = (units(&call.args[0])?, call.args[1].as_primitive::<Float64Type>());
    let limit = if matches!(call.out, DataType::Duration(_)) { i64::MAX as f64 } else { f64::from(i32::MAX) };
    let one = |(value, by): (Option<i64>, Option<f64>)| {
        let (Some(value), Some(by)) = (value, by) else { return Ok(None) };
        let scaled = f(value as f64, by).round();
        match (scaled.is_finite() && scaled.abs() <= limit, raise) {
            (true, _) => Ok(Some(scaled as i64)),
            (false, false) => Ok(None),
            (false, true) if by == 0.0 => Err(RowError::new(
                "INTERVAL_DIVIDED_BY_ZERO",
                "an interval is divided by zero: try_divide gives NULL instead",
            )),
            (false, true) => Err(too_long()),
        }
    };
    of_units(call.out, values.iter().zip(by).map(one))
}

/// An interval times or divided by a number, and one interval divided by another; `None` for other operations.
pub(super) fn scaled(
    planner: &Planner<'_>,
    op: Arithmetic,
    (left, l): (&Expr, &DataType),
    (right, r): (&Expr, &DataType),
    mode: Mode,
) -> Result<Option<Expr>> {
    let name = |times: bool| match (times, mode) {
        (true, Mode::Raise) => "interval_times",
        (true, Mode::Null) => "try_interval_times",
        (false, Mode::Raise) => "interval_divided",
        (false, Mode::Null) => "try_interval_divided",
    };
    Ok(Some(match op {
        Arithmetic::Multiply if is_interval(l) && !is_interval(r) => {
            planner.call(name(true), vec![left.clone(), right.clone()])?
        }
        Arithmetic::Multiply if is_interval(r) && !is_interval(l) => {
            planner.call(name(true), vec![right.clone(), left.clone()])?
        }
        Arithmetic::Divide if is_interval(l) && !is_interval(r) => {
            planner.call(name(false), vec![left.clone(), right.clone()])?
        }
        Arithmetic::IntegralDivide if is_interval(l) && l == r => {
            let units = |side: &Expr| planner.call("interval_units", vec![side.clone()]);
            planner.arithmetic(op, units(left)?, units(right)?, mode)?
        }
        _ => return Ok(None),
    }))
}

/// A part of an interval; `None` where it has no such part.
pub(super) fn part_of(planner: &Planner<'_>, part: &str, from: &Expr) -> Result<Option<Expr>> {
    let months = planner.type_of(from)? == year_month();
    let name = match (part, months) {
        ("year", true) => "interval_years",
        ("month", true) => "interval_months",
        ("day", false) => "interval_days",
        ("hour", false) => "interval_hours",
        ("minute", false) => "interval_minutes",
        ("second_with_fraction", false) => "interval_seconds",
        _ => return Ok(None),
    };
    planner.call(name, vec![from.clone()]).map(Some)
}

/// `1` of a sequence's step in months, else in microseconds.
pub(in super::super) fn step_units(step: &Expr) -> Option<(i64, bool)> {
    use datafusion::scalar::ScalarValue;
    match step {
        Expr::Literal(ScalarValue::DurationMicrosecond(Some(micros)), _) => Some((*micros, false)),
        Expr::Literal(ScalarValue::IntervalYearMonth(Some(months)), _) => Some((i64::from(*months), true)),
        _ => None,
    }
}
