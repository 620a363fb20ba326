//! Intervals, and arithmetic on dates and timestamps.

use std::collections::BTreeMap;

use datafusion::arrow::array::{ArrayRef, AsArray};
use datafusion::arrow::datatypes::{
    DataType, DurationMicrosecondType, IntervalUnit, IntervalYearMonthType, TimestampMicrosecondType,
};
use datafusion::common::metadata::FieldMetadata;
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, lit};
use datafusion::scalar::ScalarValue;
use tidegate_core::{Units, Zone};

use super::super::Call;
use super::super::conditional::exactly;
use super::span::is_interval;
use super::{HOUR, MINUTE, fixed_unit, month_unit, moved_by_months, moved_by_time, times};
use crate::dialect::cast::Mode;
use crate::dialect::cast::text::{DAY, SECOND};
use crate::dialect::plan::Planner;
use crate::dialect::types::{
    Arithmetic, all_units, day_time, is_integer, is_string, is_timestamp, mark_of, timestamp, timestamp_ntz, units_of,
};

pub(super) fn moved_type(types: &[DataType]) -> Result<DataType> {
    Ok(match &types[0] {
        DataType::Date32 if matches!(types[1], DataType::Interval(IntervalUnit::YearMonth)) => DataType::Date32,
        DataType::Date32 => timestamp(),
        other => other.clone(),
    })
}

pub(super) fn move_time(call: &Call<'_>, sign: i64) -> Result<ArrayRef> {
    let by = &call.args[1];
    // A date that stays one knows no zone.
    let zone = if call.out == &DataType::Date32 { Zone::UTC } else { call.zone_of(0) };
    let from = crate::dialect::cast::cast_in(&call.args[0], &timestamp(), Mode::Raise, zone)?;
    let from = from.as_primitive::<TimestampMicrosecondType>();
    let out = timestamp();
    let moved = Call { out: &out, ..*call };
    let array = times(&moved, |row| {
        let micros = from.value(row);
        let moved = match by.data_type() {
            DataType::Interval(_) => {
                let months = sign * i64::from(by.as_primitive::<IntervalYearMonthType>().value(row));
                moved_by_months(micros, months, zone)
            }
            _ => {
                let by = by.as_primitive::<DurationMicrosecondType>().value(row);
                match by.checked_mul(sign) {
                    Some(by) => moved_by_time(micros, by, zone),
                    None => micros.checked_sub(by),
                }
            }
        };
        moved.map(Some).ok_or_else(super::out_of_range)
    })?;
    crate::dialect::cast::cast_in(&array, call.out, Mode::Raise, zone)
}

/// Arithmetic with dates, timestamps and intervals; `None` if none of them takes part.
pub fn arithmetic(
    planner: &Planner<'_>,
    op: Arithmetic,
    (left, l): (&Expr, &DataType),
    (right, r): (&Expr, &DataType),
    mode: Mode,
) -> Result<Option<Expr>> {
    let (date, time) = (|ty: &DataType| ty == &DataType::Date32, is_timestamp);
    let args = || vec![left.clone(), right.clone()];
    let swapped = || vec![right.clone(), left.clone()];
    Ok(Some(match op {
        Arithmetic::Add if date(l) && is_integer(r) => planner.call("date_add_days", args())?,
        Arithmetic::Add if is_integer(l) && date(r) => planner.call("date_add_days", swapped())?,
        Arithmetic::Subtract if date(l) && is_integer(r) => planner.call("date_sub", args())?,
        Arithmetic::Subtract if (date(l) || time(l)) && (date(r) || time(r)) => {
            // A day begins at midnight by the clock, whether or not the session's zone had one.
            let side = |side: &Expr, ty: &DataType| match (date(ty), date(l) && date(r)) {
                (true, true) => planner.cast(side.clone(), &timestamp_ntz(), mode),
                (true, false) => planner.cast(side.clone(), &timestamp(), mode),
                _ => Ok(side.clone()),
            };
            let name = if date(l) && date(r) { "interval_of_dates" } else { "time_between" };
            planner.call(name, vec![side(left, l)?, side(right, r)?])?
        }
        Arithmetic::Add if (date(l) || time(l)) && is_interval(r) => whole_days(planner, "time_add", left, l, right)?,
        Arithmetic::Add if is_interval(l) && (date(r) || time(r)) => whole_days(planner, "time_add", right, r, left)?,
        Arithmetic::Subtract if (date(l) || time(l)) && is_interval(r) => {
            whole_days(planner, "time_subtract", left, l, right)?
        }
        Arithmetic::Add | Arithmetic::Subtract if is_interval(l) && l == r => {
            let name = match (op, mode) {
                (Arithmetic::Add, Mode::Raise) => "interval_add",
                (Arithmetic::Add, Mode::Null) => "try_interval_add",
                (_, Mode::Raise) => "interval_subtract",
                (_, Mode::Null) => "try_interval_subtract",
            };
            planner.call(name, args())?
        }
        Arithmetic::Add if is_string(l) && is_interval(r) => {
            let left = planner.cast(left.clone(), &timestamp(), mode)?;
            planner.call("time_add", vec![left, right.clone()])?
        }
        _ => return super::span::scaled(planner, op, (left, l), (right, r), mode),
    }))
}

/// A date moved by whole days stays a date.
fn whole_days(planner: &Planner<'_>, name: &str, from: &Expr, ty: &DataType, by: &Expr) -> Result<Expr> {
    if ty == &DataType::Date32 && units_of(&*planner.field_of(by)?) == Some(Units::DAY) {
        let midnight = planner.cast(from.clone(), &timestamp_ntz(), Mode::Raise)?;
        let moved = planner.call(name, vec![midnight, by.clone()])?;
        return planner.cast(moved, &DataType::Date32, Mode::Raise);
    }
    planner.call(name, vec![from.clone(), by.clone()])
}

/// `INTERVAL` literals: day-time ones are durations, year-month ones months.
pub fn interval(unit: &str, args: Vec<Expr>) -> Result<Expr> {
    let [value] = exactly::<1>("INTERVAL", args)?;
    let unit = unit.to_ascii_uppercase();
    let Expr::Literal(value, _) = value else { return plan_err!("INTERVAL needs a constant") };
    let text = match value {
        ScalarValue::Utf8(Some(text)) => text,
        number => {
            let array = crate::dialect::cast::cast(&number.to_array()?, &DataType::Utf8, Mode::Raise)?;
            array.as_string::<i32>().value(0).to_owned()
        }
    };
    let Some((months, micros)) = read_interval(&text, &unit) else {
        return plan_err!("[INVALID_INTERVAL_FORMAT] '{text}' {unit} is no interval");
    };
    let Some(units) = units_of_literal(&text, &unit) else {
        return plan_err!("an interval of months and days is not supported: add the two one after the other");
    };
    let value = match (units.counts_months(), i32::try_from(months)) {
        (true, Ok(months)) => ScalarValue::IntervalYearMonth(Some(months)),
        (true, Err(_)) => return plan_err!("[INVALID_INTERVAL_FORMAT] '{text}' {unit} is out of range"),
        (false, _) => ScalarValue::DurationMicrosecond(Some(micros)),
    };
    Ok(marked(value, units))
}

/// A literal interval that counts these units.
fn marked(value: ScalarValue, units: Units) -> Expr {
    let marks = mark_of(units).map(|mark| FieldMetadata::from(BTreeMap::from([mark])));
    Expr::Literal(value, marks)
}

/// The units that a literal names, in its text where `unit` is empty. `None` where they are of both kinds.
fn units_of_literal(text: &str, unit: &str) -> Option<Units> {
    if let Some(units) = Units::parse(unit) {
        return Some(units);
    }
    let named = |word: &str| {
        let word = word.to_ascii_uppercase();
        let of_months = |months| if months % 12 == 0 { "year" } else { "month" };
        let of_time = |micros: i64| match micros {
            _ if micros % DAY == 0 => "day",
            _ if micros % HOUR == 0 => "hour",
            _ if micros % MINUTE == 0 => "minute",
            _ => "second",
        };
        Units::parse(month_unit(&word).map(of_months).or_else(|| fixed_unit(&word).map(of_time))?)
    };
    let words = if unit.is_empty() { text } else { unit };
    words.split_whitespace().filter_map(named).map(Some).reduce(|all, one| all?.with(one?)).flatten()
}

/// `CAST` to an interval of these units: what is smaller than the last of them is cut off.
pub fn cast_to_interval(planner: &Planner<'_>, from: Expr, to: &DataType, units: Units, mode: Mode) -> Result<Expr> {
    let ty = planner.type_of(&from)?;
    if let Expr::Literal(value, _) = &from
        && value.is_null()
    {
        return Ok(marked(ScalarValue::try_from(to)?, units));
    }
    let whole = if units.is_one() && is_integer(&ty) {
        let one = if units.counts_months() {
            ScalarValue::IntervalYearMonth(i32::try_from(units.one()).ok())
        } else {
            ScalarValue::DurationMicrosecond(Some(units.one()))
        };
        planner.arithmetic(Arithmetic::Multiply, lit(one), from, mode)?
    } else if mark_of(units).is_some() && is_string(&ty) {
        let name = match (units.counts_months(), mode) {
            (true, Mode::Raise) => "months_of_text",
            (true, Mode::Null) => "try_months_of_text",
            (false, Mode::Raise) => "interval_of_text",
            (false, Mode::Null) => "try_interval_of_text",
        };
        planner.call(name, vec![from, lit(units.name())])?
    } else {
        planner.cast(from, to, mode)?
    };
    // Also where the mark is the same already: a text may name smaller units.
    if mark_of(units).is_none() { Ok(whole) } else { planner.call("interval_cut", vec![whole, lit(units.name())]) }
}

/// A cell of `VALUES`, in the units that all cells of its column count together. The arguments are the cell, then the
/// column.
pub(super) fn cell(planner: &Planner<'_>, mut args: Vec<Expr>) -> Result<Expr> {
    let mut cell = args.remove(0);
    let mut units = None::<Units>;
    for other in &args {
        let Some(one) = units_of(&*planner.field_of(other)?) else { continue };
        units = units.map_or(Some(one), |all| all.with(one));
        let Some(_) = units else { return Ok(cell) };
    }
    let Some(units) = units else { return Ok(cell) };
    let ty = if units.counts_months() { DataType::Interval(IntervalUnit::YearMonth) } else { day_time() };
    cell = planner.cast(cell, &ty, Mode::Raise)?;
    match cell {
        Expr::Literal(value, _) => Ok(marked(value, units)),
        other => with_units(planner, other, Some(units)),
    }
}

/// What is chosen among intervals (`CASE`, `coalesce`, `greatest`) counts all units that these count.
pub fn of_chosen(planner: &Planner<'_>, name: &str, args: &[Expr], ty: &DataType, planned: Expr) -> Result<Expr> {
    let args = match name {
        "try_multiply" | "try_divide" | "average_of" => return Ok(planned),
        "nullif" => &args[..1],
        _ => args,
    };
    if all_units(ty).is_none() || units_of(&*planner.field_of(&planned)?) != all_units(ty) {
        return Ok(planned);
    }
    let mut units = None::<Units>;
    for arg in args {
        let field = planner.field_of(arg)?;
        match (units_of(&field).filter(|_| field.data_type() == ty), units) {
            (Some(one), None) => units = Some(one),
            (Some(one), Some(all)) => units = all.with(one),
            (None, _) => {}
        }
    }
    with_units(planner, planned, units)
}

/// An interval that is known to count these units; `None` of another type.
pub fn with_units(planner: &Planner<'_>, planned: Expr, units: Option<Units>) -> Result<Expr> {
    match units.filter(|units| mark_of(*units).is_some()) {
        Some(units) if units_of(&*planner.field_of(&planned)?) != Some(units) => {
            planner.call("interval_cut", vec![planned, lit(units.name())])
        }
        _ => Ok(planned),
    }
}

/// Months and microseconds of an interval's text; `unit` is empty where the text says it.
pub fn read_interval(text: &str, unit: &str) -> Option<(i64, i64)> {
    let text = text.trim();
    let (text, sign) = match text.strip_prefix('-') {
        Some(rest) => (rest, -1),
        None => (text.strip_prefix('+').unwrap_or(text), 1),
    };
    if let Some((from, _)) = unit.split_once(" TO ") {
        // With the sign from the start: the smallest interval is one microsecond further from zero than the largest.
        let micros = match from {
            "YEAR" => {
                let (years, months) = text.split_once('-')?;
                let (years, months) = (digits(years)?, digits(months).filter(|months| *months < 12)?);
                return Some((sign * years.checked_mul(12)?.checked_add(months)?, 0));
            }
            "DAY" => {
                let (days, clock) = text.split_once(' ')?;
                let days = (sign * digits(days)?).checked_mul(DAY)?;
                days.checked_add(sign * clock_micros(clock, HOUR)?)?
            }
            "HOUR" => sign * clock_micros(text, HOUR)?,
            _ => sign * clock_micros(text, MINUTE)?,
        };
        return Some((0, micros));
    }
    if !unit.is_empty() {
        return one_unit(text, unit).map(|(months, micros)| (sign * months, sign * micros));
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let words =
        if words.first().is_some_and(|word| word.eq_ignore_ascii_case("interval")) { &words[1..] } else { &words[..] };
    let mut sum = (0_i64, 0_i64);
    for pair in words.chunks(2) {
        let [count, unit] = pair else { return None };
        let (count, minus) = count.strip_prefix('-').map_or((*count, 1), |rest| (rest, -1));
        let (months, micros) = one_unit(count, &unit.to_ascii_uppercase())?;
        sum = (sum.0.checked_add(minus * months)?, sum.1.checked_add(minus * micros)?);
    }
    (!words.is_empty()).then_some((sign * sum.0, sign * sum.1))
}

/// A number without a sign.
fn digits(text: &str) -> Option<i64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn one_unit(count: &str, unit: &str) -> Option<(i64, i64)> {
    if let Some(months) = month_unit(unit) {
        return Some((digits(count)?.checked_mul(months)?, 0));
    }
    let length = fixed_unit(unit)?;
    if let Some((whole, fraction)) = count.split_once('.') {
        let whole = digits(whole)?.checked_mul(SECOND)?.checked_add(micros_of_fraction(fraction)?)?;
        return (length == SECOND).then_some((0, whole));
    }
    Some((0, digits(count)?.checked_mul(length)?))
}

/// Six digits behind the point; more are cut.
fn micros_of_fraction(fraction: &str) -> Option<i64> {
    digits(format!("{fraction:0<6}").get(..6)?)
}

/// `10:20:30.5`, the first number in `unit`.
fn clock_micros(text: &str, mut unit: i64) -> Option<i64> {
    let mut sum = 0_i64;
    for part in text.split(':') {
        let (whole, fraction) = part.split_once('.').unwrap_or((part, ""));
        sum = sum.checked_add(digits(whole)?.checked_mul(unit)?)?.checked_add(micros_of_fraction(fraction)?)?;
        unit /= 60;
    }
    Some(sum)
}
