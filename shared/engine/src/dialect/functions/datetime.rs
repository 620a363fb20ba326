//! Date and time functions, intervals, and arithmetic on dates and timestamps.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, AsArray, Date32Array, Decimal128Array, DurationMicrosecondArray, StringArray, TimestampMicrosecondArray,
};
use datafusion::arrow::compute;
use datafusion::arrow::datatypes::{DataType, Date32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility, lit,
};
use datafusion::scalar::ScalarValue;
use tidegate_core::Zone;

use super::Gives::{Of, Type};
use super::Takes::{Any, Bool, Clock, Date, Double, Int, Long, Text, Timestamp};
use super::conditional::exactly;
use super::pattern::Pattern;
use super::string::{int, text, try_rows};
use super::{Call, Def, Planned};
use crate::dialect::cast::Mode;
use crate::dialect::cast::text::{DAY, SECOND, civil_from_days, date_of, days_from_civil, days_in_month};
use crate::dialect::clock::BatchClock;
use crate::dialect::error::RowError;
use crate::dialect::plan::Planner;
use crate::dialect::types::{Arithmetic, day_time, is_float, is_integer, is_string, timestamp, timestamp_ntz};

mod interval;
pub(super) mod make;
pub(super) mod series;
mod shift;
pub(super) mod span;

pub use interval::{arithmetic, cast_to_interval, interval, of_chosen, read_interval, with_units};
use interval::{move_time, moved_type};
pub(super) use shift::add_months;
use shift::{
    add_units, first_day, fixed_unit, month_unit, months_between, moved_by_months, moved_by_time, timestampdiff,
    truncated,
};
pub use span::interval_values;

const HOUR: i64 = 3600 * SECOND;
const MINUTE: i64 = 60 * SECOND;

/// Functions of a date that give an int.
macro_rules! of_date {
    ($f:expr) => {
        |call| {
            Ok(Arc::new(
                call.args[0].as_primitive::<Date32Type>().unary::<_, Int32Type>(|days| $f(i64::from(days)) as i32),
            ) as ArrayRef)
        }
    };
}

/// Functions of a timestamp that give an int.
macro_rules! of_time {
    ($f:expr) => {
        |call| {
            let (times, zone) = (call.args[0].as_primitive::<TimestampMicrosecondType>(), call.zone_of(0));
            Ok(Arc::new(times.unary::<_, Int32Type>(|micros| $f(zone.to_local(micros)) as i32)) as ArrayRef)
        }
    };
}

/// Functions of a timestamp that give a bigint.
macro_rules! to_long {
    ($f:expr) => {
        |call| {
            Ok(Arc::new(call.args[0].as_primitive::<TimestampMicrosecondType>().unary::<_, Int64Type>($f)) as ArrayRef)
        }
    };
}

/// Functions with a kernel of their own.
pub const FUNCTIONS: &[Def] = &[
    Def::new(&["year"], &[Date], Type(Int), of_date!(|days| civil_from_days(days).0)),
    Def::new(&["month"], &[Date], Type(Int), of_date!(|days| civil_from_days(days).1)),
    Def::new(&["day", "dayofmonth"], &[Date], Type(Int), of_date!(|days| civil_from_days(days).2)),
    Def::new(&["quarter"], &[Date], Type(Int), of_date!(|days| (civil_from_days(days).1 - 1) / 3 + 1)),
    Def::new(
        &["dayofyear"],
        &[Date],
        Type(Int),
        of_date!(|days| days - days_from_civil(civil_from_days(days).0, 1, 1) + 1),
    ),
    Def::new(&["dayofweek"], &[Date], Type(Int), of_date!(|days: i64| (days + 4).rem_euclid(7) + 1)),
    Def::new(&["weekday"], &[Date], Type(Int), of_date!(|days: i64| (days + 3).rem_euclid(7))),
    Def::new(&["weekofyear"], &[Date], Type(Int), of_date!(|days| iso_week(days).1)),
    Def::new(&["yearofweek"], &[Date], Type(Int), of_date!(|days| iso_week(days).0)),
    Def::new(&["hour"], &[Clock], Type(Int), of_time!(|micros: i64| micros.rem_euclid(DAY) / HOUR)),
    Def::new(&["minute"], &[Clock], Type(Int), of_time!(|micros: i64| micros.rem_euclid(HOUR) / MINUTE)),
    Def::new(&["second"], &[Clock], Type(Int), of_time!(|micros: i64| micros.rem_euclid(MINUTE) / SECOND)),
    Def::new(&["second_with_fraction"], &[Clock], Of(|_| Ok(DataType::Decimal128(8, 6))), |call| {
        let (values, zone) = (call.args[0].as_primitive::<TimestampMicrosecondType>().iter(), call.zone_of(0));
        let values = values.map(|micros| micros.map(|micros| i128::from(zone.to_local(micros).rem_euclid(MINUTE))));
        Ok(Arc::new(values.collect::<Decimal128Array>().with_precision_and_scale(8, 6)?))
    }),
    Def::new(&["monthname"], &[Date], Type(Text), |call| named(call, "MMM")),
    Def::new(&["dayname"], &[Date], Type(Text), |call| named(call, "EEE")),
    Def::new(&["date_format"], &[Timestamp, Text], Type(Text), date_format),
    Def::new(&["from_unixtime"], &[Long, Text], Type(Text), from_unixtime).optional(1),
    // Towards zero, other than unix_seconds.
    Def::new(&["unix_time_of"], &[Clock], Type(Long), to_long!(|micros| micros / SECOND)),
    Def::new(&["unix_seconds"], &[Timestamp], Type(Long), to_long!(|micros| micros.div_euclid(SECOND))),
    Def::new(&["unix_millis"], &[Timestamp], Type(Long), to_long!(|micros| micros.div_euclid(1000))),
    Def::new(&["unix_micros"], &[Timestamp], Type(Long), to_long!(|micros| micros)),
    Def::new(&["unix_date"], &[Date], Type(Int), of_date!(|days| days)),
    Def::new(&["date_from_unix_date"], &[Int], Type(Date), |call| {
        Ok(Arc::new(call.args[0].as_primitive::<Int32Type>().unary::<_, Date32Type>(|days| days)))
    }),
    Def::new(&["timestamp_millis"], &[Long], Type(Timestamp), |call| scaled(call, 1000)),
    Def::new(&["timestamp_micros"], &[Long], Type(Timestamp), |call| scaled(call, 1)),
    Def::new(&["timestamp_seconds_of"], &[Long], Type(Timestamp), |call| scaled(call, SECOND)),
    Def::new(&["timestamp_of_double"], &[Double], Type(Timestamp), |call| {
        let seconds = call.args[0].as_primitive::<Float64Type>();
        // NaN and the infinities have no instant; what is too large is the last one.
        times(call, |row| Ok(Some(seconds.value(row)).filter(|s| s.is_finite()).map(|s| (s * SECOND as f64) as i64)))
    }),
    Def::new(&["parse_timestamp"], &[Text, Text], Type(Timestamp), |call| parsed(call, true)),
    Def::new(&["parse_timestamp_ntz"], &[Text, Text], Of(|_| Ok(timestamp_ntz())), |call| {
        parsed(&Call { zone: Zone::UTC, ..*call }, true)
    }),
    Def::new(&["try_parse_timestamp"], &[Text, Text], Type(Timestamp), |call| parsed(call, false)),
    Def::new(&["date_add_days", "date_sub_days"], &[Date, Int], Type(Date), |call| add_days(call, 1)),
    Def::new(&["date_sub"], &[Date, Int], Type(Date), |call| add_days(call, -1)),
    Def::new(&["days_between"], &[Date, Date], Type(Int), |call| {
        let (a, b) = (call.args[0].as_primitive::<Date32Type>(), call.args[1].as_primitive::<Date32Type>());
        Ok(Arc::new(compute::binary::<_, _, _, Int32Type>(a, b, i32::wrapping_sub)?))
    }),
    Def::new(&["add_months"], &[Date, Int], Type(Date), |call| {
        let days = call.args[0].as_primitive::<Date32Type>();
        let value = |row| {
            if !call.complete(row) {
                return Ok(None);
            }
            let moved = add_months(days.value(row).into(), int(call, 1, row).into());
            i32::try_from(moved).map(Some).map_err(|_| out_of_range())
        };
        Ok(Arc::new((0..call.rows).map(value).collect::<Result<Date32Array, RowError>>()?))
    }),
    Def::new(&["months_between"], &[Timestamp, Timestamp, Bool], Type(Double), months_between).optional(1),
    Def::new(&["last_day"], &[Date], Type(Date), |call| {
        let last = |days: i32| {
            let (year, month, day) = civil_from_days(days.into());
            days.checked_add((days_in_month(year, month) - day) as i32).ok_or_else(out_of_range)
        };
        Ok(Arc::new(call.args[0].as_primitive::<Date32Type>().try_unary::<_, Date32Type, RowError>(last)?))
    }),
    Def::new(&["next_day"], &[Date, Text], Type(Date), next_day),
    Def::new(&["make_date"], &[Int, Int, Int], Type(Date), make_date),
    Def::new(&["date_trunc"], &[Text, Timestamp], Type(Timestamp), |call| {
        let micros = call.args[1].as_primitive::<TimestampMicrosecondType>();
        times(call, |row| truncated(text(call, 0, row), micros.value(row), call.zone))
    }),
    Def::new(&["trunc"], &[Date, Text], Type(Date), |call| {
        let days = call.args[0].as_primitive::<Date32Type>();
        let value = |row| {
            let first = first_day(text(call, 1, row), days.value(row).into());
            first.map(|day| i32::try_from(day).map_err(|_| out_of_range())).transpose()
        };
        let value = |row| if call.complete(row) { value(row) } else { Ok(None) };
        Ok(Arc::new((0..call.rows).map(value).collect::<Result<Date32Array, RowError>>()?))
    }),
    Def::new(&["timestampdiff"], &[Text, Timestamp, Timestamp], Type(Long), timestampdiff),
    Def::new(&["timestampadd"], &[Text, Long, Clock], Of(|types| Ok(types[2].clone())), |call| {
        let (counts, micros) =
            (call.args[1].as_primitive::<Int64Type>(), call.args[2].as_primitive::<TimestampMicrosecondType>());
        times(call, |row| {
            let unit = text(call, 0, row);
            let moved = add_units(unit, counts.value(row), micros.value(row), call.zone_of(2));
            moved.map(Some).ok_or_else(|| {
                RowError::new("DATETIME_OVERFLOW", format!("adding {unit} leaves the range of timestamps"))
            })
        })
    }),
    Def::new(&["from_utc_timestamp"], &[Timestamp, Text], Type(Timestamp), |call| zoned(call, 1)),
    Def::new(&["to_utc_timestamp"], &[Timestamp, Text], Type(Timestamp), |call| zoned(call, -1)),
    Def::new(&["convert_timezone_of"], &[Text, Text, Clock], Of(|_| Ok(timestamp_ntz())), |call| {
        let clock = call.args[2].as_primitive::<TimestampMicrosecondType>();
        times(call, |row| {
            let (from, to) = (text(call, 0, row), text(call, 1, row));
            let instant = zone_named(from)?.to_utc(clock.value(row)).ok_or_else(out_of_range)?;
            Ok(Some(zone_named(to)?.to_local(instant)))
        })
    }),
    Def::new(&["time_add"], &[Any, Any], Of(moved_type), |call| move_time(call, 1)),
    Def::new(&["time_subtract"], &[Any, Any], Of(moved_type), |call| move_time(call, -1)),
    Def::new(&["time_between"], &[Clock, Clock], Of(|_| Ok(day_time())), time_between),
    Def::new(&["interval_of_dates"], &[Clock, Clock], Of(|_| Ok(day_time())), time_between),
];

fn time_between(call: &Call<'_>) -> Result<ArrayRef> {
    let side = |i: usize| (call.args[i].as_primitive::<TimestampMicrosecondType>(), call.zone_of(i));
    let ((a, from), (b, to)) = (side(0), side(1));
    // As clocks show it: a day is a day, also when an hour comes twice.
    let between = |(a, b): (Option<i64>, Option<i64>)| Some(from.to_local(a?).wrapping_sub(to.to_local(b?)));
    Ok(Arc::new(a.iter().zip(b).map(between).collect::<DurationMicrosecondArray>()))
}

/// Functions that plan themselves.
pub const PLANNED: &[Planned] = &[
    (&["now", "current_timestamp"], |p, _| Ok(clock(p, "now", timestamp()))),
    (&["localtimestamp"], |p, _| Ok(clock(p, "localtimestamp", timestamp_ntz()))),
    (&["current_date", "curdate"], |p, _| Ok(clock(p, "current_date", DataType::Date32))),
    (&["current_timezone"], |p, _| Ok(lit(p.shared.zone.to_string()))),
    (&["unix_timestamp", "to_unix_timestamp"], unix_timestamp),
    (&["to_timestamp", "to_timestamp_ltz"], |p, args| to_timestamp(p, args, true)),
    (&["try_to_timestamp"], |p, args| to_timestamp(p, args, false)),
    (&["try_to_date"], |p, args| {
        let instant = to_timestamp(p, args.clone(), false)?;
        let direct = args.len() == 1;
        let from = if direct { args.into_iter().next().unwrap_or_default() } else { instant };
        p.cast(from, &DataType::Date32, Mode::Null)
    }),
    (&["to_date"], |p, args| {
        let instant = to_timestamp(p, args.clone(), true)?;
        let direct = args.len() == 1;
        let from = if direct { args.into_iter().next().unwrap_or_default() } else { instant };
        p.cast(from, &DataType::Date32, Mode::Raise)
    }),
    (
        &["date_add", "dateadd"],
        |p, args| if args.len() == 3 { unit_add(p, args) } else { p.call("date_add_days", args) },
    ),
    (&["datediff", "date_diff"], |p, args| {
        if args.len() == 3 { p.call("timestampdiff", args) } else { p.call("days_between", args) }
    }),
    (&["timestamp_seconds"], |p, args| {
        let [arg] = exactly::<1>("timestamp_seconds", args)?;
        let ty = p.type_of(&arg)?;
        if is_integer(&ty) {
            p.call("timestamp_seconds_of", vec![arg])
        } else if is_float(&ty) {
            p.call("timestamp_of_double", vec![arg])
        } else {
            p.cast(arg, &timestamp(), Mode::Raise)
        }
    }),
    (&["convert_timezone"], |p, mut args| {
        if args.len() == 2 {
            args.insert(0, lit(p.shared.zone.to_string()));
        }
        let [from, to, clock] = exactly::<3>("convert_timezone", args)?;
        let clock = p.cast(clock, &timestamp_ntz(), Mode::Raise)?;
        p.call("convert_timezone_of", vec![from, to, clock])
    }),
    (&["date_part", "datepart", "extract"], date_part),
];

fn unit_add(planner: &Planner<'_>, args: Vec<Expr>) -> Result<Expr> {
    planner.call("timestampadd", args)
}

fn iso_week(days: i64) -> (i64, i64) {
    // The week belongs to the year of its Thursday.
    let thursday = days - (days + 3).rem_euclid(7) + 3;
    let year = civil_from_days(thursday).0;
    (year, (thursday - days_from_civil(year, 1, 1)) / 7 + 1)
}

/// Days after which months and weekdays come again: 400 years.
const CYCLE: i32 = 146_097;

fn named(call: &Call<'_>, pattern: &str) -> Result<ArrayRef> {
    let pattern = Pattern::new(pattern)?;
    let days = call.args[0].as_primitive::<Date32Type>();
    Ok(Arc::new(
        days.iter()
            .map(|days| days.map(|days| pattern.format(i64::from(days.rem_euclid(CYCLE)) * DAY, Zone::UTC)))
            .collect::<StringArray>(),
    ))
}

/// The pattern of the last row: mostly all rows have the same.
#[derive(Default)]
struct Patterns {
    last: Option<(String, Pattern)>,
}

impl Patterns {
    fn get(&mut self, text: &str) -> Result<&Pattern, RowError> {
        if self.last.as_ref().is_none_or(|(last, _)| last != text) {
            self.last = Some((text.to_owned(), Pattern::new(text)?));
        }
        match &self.last {
            Some((_, pattern)) => Ok(pattern),
            None => Err(RowError::new("INTERNAL_ERROR", "a pattern is missing")),
        }
    }
}

fn date_format(call: &Call<'_>) -> Result<ArrayRef> {
    let mut patterns = Patterns::default();
    let micros = call.args[0].as_primitive::<TimestampMicrosecondType>();
    try_rows(call, |row| Ok(Some(patterns.get(text(call, 1, row))?.format(micros.value(row), call.zone))))
}

fn from_unixtime(call: &Call<'_>) -> Result<ArrayRef> {
    let mut patterns = Patterns::default();
    let seconds = call.args[0].as_primitive::<Int64Type>();
    try_rows(call, |row| {
        let pattern = if call.has(1) { text(call, 1, row) } else { "yyyy-MM-dd HH:mm:ss" };
        Ok(Some(patterns.get(pattern)?.format(seconds.value(row).wrapping_mul(SECOND), call.zone)))
    })
}

fn times(call: &Call<'_>, mut f: impl FnMut(usize) -> Result<Option<i64>, RowError>) -> Result<ArrayRef> {
    let values = (0..call.rows).map(|row| if call.complete(row) { f(row) } else { Ok(None) });
    let values = values.collect::<Result<TimestampMicrosecondArray, RowError>>()?;
    Ok(Arc::new(values.with_data_type(call.out.clone())))
}

fn scaled(call: &Call<'_>, factor: i64) -> Result<ArrayRef> {
    let values = call.args[0].as_primitive::<Int64Type>();
    times(call, |row| {
        let value = values.value(row).checked_mul(factor);
        value.map(Some).ok_or_else(|| RowError::new("DATETIME_OVERFLOW", "the instant leaves the range of timestamps"))
    })
}

fn parsed(call: &Call<'_>, raise: bool) -> Result<ArrayRef> {
    let mut patterns = Patterns::default();
    times(call, |row| {
        let (value, pattern) = (text(call, 0, row), text(call, 1, row));
        match patterns.get(pattern)?.reading()?.parse(value, call.zone) {
            None if raise => {
                let message =
                    format!("'{value}' does not have the form '{pattern}': try_to_timestamp gives NULL instead");
                Err(RowError::new("CANNOT_PARSE_TIMESTAMP", message))
            }
            parsed => Ok(parsed),
        }
    })
}

fn unix_timestamp(planner: &Planner<'_>, mut args: Vec<Expr>) -> Result<Expr> {
    if args.is_empty() {
        return Ok(clock(planner, "unix_timestamp", DataType::Int64));
    }
    let text = is_string(&planner.type_of(&args[0])?);
    if text && args.len() == 1 {
        args.push(lit("yyyy-MM-dd HH:mm:ss"));
    }
    let instant = if text { to_timestamp(planner, args, true)? } else { args.remove(0) };
    planner.call("unix_time_of", vec![instant])
}

fn to_timestamp(planner: &Planner<'_>, mut args: Vec<Expr>, raise: bool) -> Result<Expr> {
    let Some(first) = args.first() else { return plan_err!("to_timestamp takes 1 or 2 arguments") };
    if args.len() == 2 && is_string(&planner.type_of(first)?) {
        return planner.call(if raise { "parse_timestamp" } else { "try_parse_timestamp" }, args);
    }
    planner.cast(args.remove(0), &timestamp(), if raise { Mode::Raise } else { Mode::Null })
}

fn date_part(planner: &Planner<'_>, args: Vec<Expr>) -> Result<Expr> {
    let [part, from] = exactly::<2>("date_part", args)?;
    let Expr::Literal(ScalarValue::Utf8(Some(part)), _) = part else {
        return plan_err!("date_part needs a constant part");
    };
    let name = match part.to_ascii_uppercase().as_str() {
        "YEAR" | "Y" | "YEARS" | "YR" | "YRS" => "year",
        "YEAROFWEEK" => "yearofweek",
        "QUARTER" | "QTR" => "quarter",
        "MONTH" | "MON" | "MONS" | "MONTHS" => "month",
        "WEEK" | "W" | "WEEKS" => "weekofyear",
        "DAY" | "D" | "DAYS" => "day",
        "DAYOFWEEK" | "DOW" => "dayofweek",
        "DAYOFWEEK_ISO" | "DOW_ISO" => {
            return planner.arithmetic(Arithmetic::Add, planner.call("weekday", vec![from])?, lit(1_i32), Mode::Raise);
        }
        "DOY" => "dayofyear",
        "HOUR" | "H" | "HOURS" | "HR" | "HRS" => "hour",
        "MINUTE" | "M" | "MIN" | "MINS" | "MINUTES" => "minute",
        "SECOND" | "S" | "SEC" | "SECONDS" | "SECS" => "second_with_fraction",
        _ => return plan_err!("'{part}' is no part of a date"),
    };
    if span::is_interval(&planner.type_of(&from)?) {
        let found = span::part_of(planner, name, &from)?;
        return found.map_or_else(|| plan_err!("[INVALID_EXTRACT_FIELD] an interval has no {part}"), Ok);
    }
    planner.call(name, vec![from])
}

/// A day or an instant that no date or timestamp stands for.
fn out_of_range() -> RowError {
    RowError::new("ARITHMETIC_OVERFLOW", "the result is out of the range of its type")
}

fn add_days(call: &Call<'_>, sign: i32) -> Result<ArrayRef> {
    let days = call.args[0].as_primitive::<Date32Type>();
    let value = |row| call.complete(row).then(|| days.value(row).wrapping_add(int(call, 1, row).wrapping_mul(sign)));
    Ok(Arc::new((0..call.rows).map(value).collect::<Date32Array>()))
}

fn next_day(call: &Call<'_>) -> Result<ArrayRef> {
    let days = call.args[0].as_primitive::<Date32Type>();
    let value = |row| {
        if !call.complete(row) {
            return Ok(None);
        }
        let name = text(call, 1, row);
        let wanted = match name.to_ascii_uppercase().as_str() {
            "MO" | "MON" | "MONDAY" => 0,
            "TU" | "TUE" | "TUESDAY" => 1,
            "WE" | "WED" | "WEDNESDAY" => 2,
            "TH" | "THU" | "THURSDAY" => 3,
            "FR" | "FRI" | "FRIDAY" => 4,
            "SA" | "SAT" | "SATURDAY" => 5,
            "SU" | "SUN" | "SUNDAY" => 6,
            _ => return Err(RowError::new("ILLEGAL_DAY_OF_WEEK", format!("'{name}' is no day of the week"))),
        };
        let today = (days.value(row).rem_euclid(7) + 3).rem_euclid(7);
        let until = 1 + (wanted - today - 1).rem_euclid(7);
        days.value(row).checked_add(until).map(Some).ok_or_else(out_of_range)
    };
    Ok(Arc::new((0..call.rows).map(value).collect::<Result<Date32Array, RowError>>()?))
}

fn no_date(year: i32, month: i32, day: i32) -> RowError {
    RowError::new("DATETIME_FIELD_OUT_OF_BOUNDS.WITHOUT_SUGGESTION", format!("there is no date {year}-{month}-{day}"))
}

fn make_date(call: &Call<'_>) -> Result<ArrayRef> {
    let value = |row| {
        if !call.complete(row) {
            return Ok(None);
        }
        let (year, month, day) = (int(call, 0, row), int(call, 1, row), int(call, 2, row));
        date_of(year.into(), month.into(), day.into())
            .and_then(|days| i32::try_from(days).ok())
            .map(Some)
            .ok_or_else(|| no_date(year, month, day))
    };
    Ok(Arc::new((0..call.rows).map(value).collect::<Result<Date32Array, RowError>>()?))
}

fn zoned(call: &Call<'_>, sign: i64) -> Result<ArrayRef> {
    let micros = call.args[0].as_primitive::<TimestampMicrosecondType>();
    times(call, |row| {
        let (micros, zone) = (micros.value(row), zone_named(text(call, 1, row))?);
        if sign > 0 { Ok(Some(zone.to_local(micros))) } else { zone.to_utc(micros).map(Some).ok_or_else(out_of_range) }
    })
}

/// The zone that a text names.
pub(super) fn zone_named(name: &str) -> Result<Zone, RowError> {
    Zone::parse(name).ok_or_else(|| RowError::new("INVALID_TIMEZONE", format!("'{name}' is no time zone")))
}

fn clock(planner: &Planner<'_>, name: &'static str, out: DataType) -> Expr {
    let any = TypeSignature::Nullary;
    let signature = Signature::new(any, Volatility::Volatile);
    let reader = ClockReader { name, out, clock: planner.shared.clock.clone(), zone: planner.shared.zone, signature };
    Arc::new(ScalarUDF::from(reader)).call(vec![])
}

/// Reads the time of the micro-batch. Volatile, so that no plan keeps an old one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct ClockReader {
    name: &'static str,
    out: DataType,
    clock: BatchClock,
    zone: Zone,
    signature: Signature,
}

impl ScalarUDFImpl for ClockReader {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.out.clone())
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let micros = self.clock.get();
        Ok(ColumnarValue::Scalar(match &self.out {
            DataType::Int64 => ScalarValue::Int64(Some(micros.div_euclid(SECOND))),
            DataType::Date32 => ScalarValue::Date32(Some(self.zone.to_local(micros).div_euclid(DAY) as i32)),
            DataType::Timestamp(_, None) => ScalarValue::TimestampMicrosecond(Some(self.zone.to_local(micros)), None),
            _ => ScalarValue::TimestampMicrosecond(Some(micros), Some(Arc::from("UTC"))),
        }))
    }
}

/// Whether a type takes part in no arithmetic of time.
pub fn is_plain_number(ty: &DataType) -> bool {
    is_integer(ty) || is_float(ty)
}
