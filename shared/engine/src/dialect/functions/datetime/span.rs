//! Intervals made, measured and scaled: `make_ym_interval`, parts of intervals, an interval times a number.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, DurationMicrosecondArray, Float64Array, Int8Array, Int32Array,
    Int64Array, IntervalYearMonthArray, StringArray,
};
use datafusion::arrow::datatypes::{
    DataType, Decimal128Type, DurationMicrosecondType, Float64Type, Int64Type, IntervalUnit, IntervalYearMonthType,
    i256,
};
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, lit};
use tidegate_core::Units;

use super::super::Gives::{First, Of, Type};
use super::super::Takes::{Any, Double, Int, Long, Text};
use super::super::string::int;
use super::super::{Call, Def, Planned};
use super::{HOUR, MINUTE, read_interval};
use crate::dialect::cast::interval::within;
use crate::dialect::cast::text::DAY;
use crate::dialect::cast::{Mode, cast, divide_half_up_wide};
use crate::dialect::error::RowError;
use crate::dialect::plan::Planner;
use crate::dialect::types::{Arithmetic, day_time, is_float, is_numeric};

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
    Def::new(&["day_time_of_parts"], &[Int, Int, Int, Any], Of(|_| Ok(day_time())), |call| {
        let seconds = call.args[3].as_primitive::<Decimal128Type>();
        let value = |row| {
            if !call.complete(row) {
                return Ok(None);
            }
            let part = |at, unit: i64| i128::from(int(call, at, row)) * i128::from(unit);
            let all = part(0, DAY) + part(1, HOUR) + part(2, MINUTE) + seconds.value(row);
            i64::try_from(all).map(Some).map_err(|_| too_long())
        };
        Ok(Arc::new((0..call.rows).map(value).collect::<Result<DurationMicrosecondArray, RowError>>()?))
    }),
    Def::new(&["text_of_interval"], &[Any, Text], Type(Text), |call| {
        let (values, of) = (interval_values(&call.args[0])?, given_units(call)?);
        Ok(Arc::new(values.iter().map(|value| value.map(|value| of.text(value))).collect::<StringArray>()))
    }),
    // Whole ones of its smallest unit: the column is marked with the units.
    Def::new(&["interval_cut"], &[Any, Text], First, |call| {
        let (values, smallest) = (interval_values(&call.args[0])?, given_units(call)?.smallest());
        of_units(call.out, values.iter().map(|value| Ok(value.map(|value| value - value % smallest))))
    }),
    Def::new(&["interval_of_text"], &[Text, Text], Of(|_| Ok(day_time())), |call| of_text(call, true)),
    Def::new(&["months_of_text"], &[Text, Text], Of(|_| Ok(year_month())), |call| of_text(call, true)),
    Def::new(&["try_interval_of_text"], &[Text, Text], Of(|_| Ok(day_time())), |call| of_text(call, false)),
    Def::new(&["try_months_of_text"], &[Text, Text], Of(|_| Ok(year_month())), |call| of_text(call, false)),
    // Months or microseconds, whichever the interval counts.
    Def::new(&["interval_units"], &[Any], Type(Long), |call| Ok(Arc::new(interval_values(&call.args[0])?))),
    Def::new(&["interval_sign"], &[Any], Type(Double), |call| {
        let signs = interval_values(&call.args[0])?;
        Ok(Arc::new(signs.iter().map(|value| value.map(|value| value.signum() as f64)).collect::<Float64Array>()))
    }),
    Def::new(&["interval_abs"], &[Any], First, |call| {
        let values = interval_values(&call.args[0])?;
        let values = values.iter().map(|value| match value {
            Some(value) if value < 0 => negated(value).map(Some),
            value => Ok(value),
        });
        of_units(call.out, values)
    }),
    Def::new(&["interval_negated"], &[Any], First, |call| {
        let values = interval_values(&call.args[0])?;
        of_units(call.out, values.iter().map(|value| value.map_or(Ok(None), |value| negated(value).map(Some))))
    }),
    Def::new(&["interval_add"], &[Any, Any], First, |call| add(call, true, i64::checked_add)),
    Def::new(&["interval_subtract"], &[Any, Any], First, |call| add(call, true, i64::checked_sub)),
    Def::new(&["try_interval_add"], &[Any, Any], First, |call| add(call, false, i64::checked_add)),
    Def::new(&["try_interval_subtract"], &[Any, Any], First, |call| add(call, false, i64::checked_sub)),
    Def::new(&["interval_times"], &[Any, Any], First, |call| scale(call, true, true)),
    Def::new(&["interval_divided"], &[Any, Any], First, |call| scale(call, true, false)),
    Def::new(&["try_interval_times"], &[Any, Any], First, |call| scale(call, false, true)),
    Def::new(&["try_interval_divided"], &[Any, Any], First, |call| scale(call, false, false)),
    Def::new(&["interval_years"], &[Any], Type(Int), |call| {
        Ok(ints(&interval_values(&call.args[0])?, |months| months / 12))
    }),
    Def::new(&["interval_months"], &[Any], Of(|_| Ok(DataType::Int8)), |call| part(call, |months| months % 12)),
    Def::new(&["interval_days"], &[Any], Type(Int), |call| {
        Ok(ints(&interval_values(&call.args[0])?, |micros| micros / DAY))
    }),
    Def::new(&["interval_hours"], &[Any], Of(|_| Ok(DataType::Int8)), |call| part(call, |micros| micros % DAY / HOUR)),
    Def::new(&["interval_minutes"], &[Any], Of(|_| Ok(DataType::Int8)), |call| {
        part(call, |micros| micros % HOUR / MINUTE)
    }),
    Def::new(&["interval_seconds"], &[Any], Of(|_| Ok(DataType::Decimal128(8, 6))), |call| {
        let values = interval_values(&call.args[0])?;
        let values = values.iter().map(|micros| micros.map(|micros| i128::from(micros % MINUTE)));
        Ok(Arc::new(values.collect::<Decimal128Array>().with_precision_and_scale(8, 6)?))
    }),
];

/// Functions that plan themselves.
pub(in super::super) const PLANNED: &[Planned] = &[
    (&["cell_of_intervals"], super::interval::cell),
    (&["try_make_interval"], |p, args| {
        let Some(make) = p.shared.foreign.get("make_interval") else { return plan_err!("make_interval is missing") };
        let ints = args
            .into_iter()
            .enumerate()
            .map(|(i, arg)| p.cast(arg, &if i < 6 { DataType::Int32 } else { DataType::Float64 }, Mode::Raise));
        Ok(make.call(ints.collect::<Result<Vec<_>>>()?))
    }),
    // Seconds have six digits behind the point.
    (&["make_dt_interval"], |p, mut args| {
        if args.len() > 4 {
            return plan_err!("make_dt_interval takes 0 to 4 arguments, {} are given", args.len());
        }
        args.resize(4, lit(0_i32));
        let seconds = p.cast(args.remove(3), &DataType::Decimal128(18, 6), Mode::Raise)?;
        args.push(seconds);
        p.call("day_time_of_parts", args)
    }),
];

fn too_long() -> RowError {
    RowError::new("INTERVAL_ARITHMETIC_OVERFLOW", "an interval is longer than it may be")
}

/// The months or microseconds of intervals.
pub fn interval_values(array: &ArrayRef) -> Result<Int64Array> {
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

/// The units in the second argument.
fn given_units(call: &Call<'_>) -> Result<Units> {
    let names = call.args[1].as_string::<i32>();
    match names.iter().flatten().next().map_or(Some(Units::TIME), Units::parse) {
        Some(units) => Ok(units),
        None => plan_err!("units of an interval are expected"),
    }
}

/// Intervals of texts such as `5` and `INTERVAL '5' DAY`, in these units; another text raises, or is NULL.
fn of_text(call: &Call<'_>, raise: bool) -> Result<ArrayRef> {
    let (texts, names) = (call.args[0].as_string::<i32>(), call.args[1].as_string::<i32>());
    let read = |row: usize| -> Result<Option<i64>, RowError> {
        if texts.is_null(row) {
            return Ok(None);
        }
        let (text, unit) = (texts.value(row), names.value(row));
        let found = within(text, unit).and_then(|text| read_interval(text, &unit.to_ascii_uppercase()));
        let found = found.map(|(months, micros)| if call.out == &day_time() { micros } else { months });
        if found.is_none() && raise {
            let message = format!("'{text}' is no interval of {unit}");
            return Err(RowError::new("INVALID_INTERVAL_FORMAT.UNMATCHED_FORMAT_STRING", message));
        }
        Ok(found)
    };
    of_units(call.out, (0..call.rows).map(read))
}

fn ints(units: &Int64Array, f: impl Fn(i64) -> i64) -> ArrayRef {
    Arc::new(units.iter().map(|value| value.map(|value| f(value) as i32)).collect::<Int32Array>())
}

fn part(call: &Call<'_>, f: impl Fn(i64) -> i64) -> Result<ArrayRef> {
    let values = interval_values(&call.args[0])?;
    Ok(Arc::new(values.iter().map(|value| value.map(|value| f(value) as i8)).collect::<Int8Array>()))
}

fn negated(units: i64) -> Result<i64, RowError> {
    units.checked_neg().ok_or_else(too_long)
}

/// The sum or difference of two intervals of one kind; what does not fit raises, or is NULL.
fn add(call: &Call<'_>, raise: bool, f: fn(i64, i64) -> Option<i64>) -> Result<ArrayRef> {
    let (left, right) = (interval_values(&call.args[0])?, interval_values(&call.args[1])?);
    let small = !matches!(call.out, DataType::Duration(_));
    let one = |(a, b): (Option<i64>, Option<i64>)| {
        let (Some(a), Some(b)) = (a, b) else { return Ok(None) };
        match f(a, b).filter(|sum| !small || i32::try_from(*sum).is_ok()) {
            None if raise => Err(too_long()),
            sum => Ok(sum),
        }
    };
    of_units(call.out, left.iter().zip(&right).map(one))
}

/// Times or divided by a number, rounded half up; what does not fit raises, or is NULL.
fn scale(call: &Call<'_>, raise: bool, times: bool) -> Result<ArrayRef> {
    let values = interval_values(&call.args[0])?;
    let limit = if matches!(call.out, DataType::Duration(_)) { i64::MAX } else { i64::from(i32::MAX) };
    let scaled: Vec<Option<Scaled>> = if is_float(call.args[1].data_type()) {
        let by = cast(&call.args[1], &DataType::Float64, Mode::Raise)?;
        let pairs = values.iter().zip(by.as_primitive::<Float64Type>());
        pairs.map(|(value, by)| Some(scaled_by_double(value?, by?, times, limit))).collect()
    } else {
        let ty = match call.args[1].data_type() {
            decimal @ DataType::Decimal128(_, _) => decimal.clone(),
            _ => DataType::Decimal128(20, 0),
        };
        let by = cast(&call.args[1], &ty, Mode::Raise)?;
        let by = by.as_primitive::<Decimal128Type>();
        let one = |value: Option<i64>, by: Option<i128>, scale| Some(scaled_exactly(value?, by?, scale, times, limit));
        let scale = if let DataType::Decimal128(_, scale) = ty { scale } else { 0 };
        values.iter().zip(by).map(|(value, by)| one(value, by, scale)).collect()
    };
    let settled = scaled.into_iter().map(|scaled| match scaled {
        None => Ok(None),
        Some(Scaled::Fits(value)) => Ok(Some(value)),
        Some(_) if !raise => Ok(None),
        Some(Scaled::TooLong) => Err(too_long()),
        Some(Scaled::ByZero) => Err(RowError::new(
            "INTERVAL_DIVIDED_BY_ZERO",
            "an interval is divided by zero: try_divide gives NULL instead",
        )),
    });
    of_units(call.out, settled)
}

/// What became of an interval.
enum Scaled {
    Fits(i64),
    TooLong,
    ByZero,
}

fn scaled_by_double(value: i64, by: f64, times: bool, limit: i64) -> Scaled {
    if !times && by == 0.0 {
        return Scaled::ByZero;
    }
    let scaled = if times { value as f64 * by } else { value as f64 / by }.round();
    if scaled.is_finite() && scaled.abs() <= limit as f64 { Scaled::Fits(scaled as i64) } else { Scaled::TooLong }
}

fn scaled_exactly(value: i64, by: i128, scale: i8, times: bool, limit: i64) -> Scaled {
    if !times && by == 0 {
        return Scaled::ByZero;
    }
    let (value, by) = (i256::from(value), i256::from_i128(by));
    let power = i256::from_i128(10).wrapping_pow(scale.unsigned_abs().into());
    let scaled = if times {
        value.checked_mul(by).map(|all| divide_half_up_wide(all, power))
    } else {
        value.checked_mul(power).map(|all| divide_half_up_wide(all, by))
    };
    let units = scaled.and_then(i256::to_i128).and_then(|units| i64::try_from(units).ok());
    units.filter(|units| (-limit - 1..=limit).contains(units)).map_or(Scaled::TooLong, Scaled::Fits)
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
    let number = |expr: &Expr, ty: &DataType| {
        if is_numeric(ty) { Ok(expr.clone()) } else { planner.cast(expr.clone(), &DataType::Float64, Mode::Raise) }
    };
    Ok(Some(match op {
        Arithmetic::Multiply if is_interval(l) && !is_interval(r) => {
            planner.call(name(true), vec![left.clone(), number(right, r)?])?
        }
        Arithmetic::Multiply if is_interval(r) && !is_interval(l) => {
            planner.call(name(true), vec![right.clone(), number(left, l)?])?
        }
        Arithmetic::Divide if is_interval(l) && !is_interval(r) => {
            planner.call(name(false), vec![left.clone(), number(right, r)?])?
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
