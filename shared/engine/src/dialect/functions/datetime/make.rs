//! Instants made of their parts: `make_timestamp` and its kin, times of day, buckets of time.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, Time64MicrosecondArray};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, DurationMicrosecondType, Float64Type, IntervalYearMonthType, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType,
};
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, lit};
use tidegate_core::Zone;

use super::super::Gives::{Of, Type};
use super::super::Takes::{Any, Date, Double, Int, Text, Timestamp};
use super::super::string::{int, text};
use super::super::{Call, Def, Planned};
use super::{HOUR, MINUTE, add_months, no_date, times, zone_named};
use crate::dialect::cast::Mode;
use crate::dialect::cast::text::{DAY, SECOND, civil_from_days, date_of};
use crate::dialect::error::RowError;
use crate::dialect::plan::Planner;
use crate::dialect::types::{timestamp, timestamp_ntz};

/// `time`: microseconds since midnight. It is known in literals only.
fn time_of_day() -> DataType {
    DataType::Time64(TimeUnit::Microsecond)
}

/// Functions with a kernel of their own.
pub(in super::super) const FUNCTIONS: &[Def] = &[
    Def::new(&["make_timestamp_of"], &[Int, Int, Int, Int, Int, Double, Text], Type(Timestamp), |c| of_parts(c, true))
        .optional(1),
    Def::new(&["try_make_timestamp_of"], &[Int, Int, Int, Int, Int, Double, Text], Type(Timestamp), |c| {
        of_parts(c, false)
    })
    .optional(1),
    Def::new(&["timestamp_of_date"], &[Date, Any, Text], Type(Timestamp), of_date).optional(2),
    Def::new(&["make_timestamp_ntz_of"], &[Int, Int, Int, Int, Int, Double, Text], Of(|_| Ok(timestamp_ntz())), |c| {
        of_parts(c, true)
    })
    .optional(1),
    Def::new(
        &["try_make_timestamp_ntz_of"],
        &[Int, Int, Int, Int, Int, Double, Text],
        Of(|_| Ok(timestamp_ntz())),
        |c| of_parts(c, false),
    )
    .optional(1),
    Def::new(&["timestamp_ntz_of_date"], &[Date, Any, Text], Of(|_| Ok(timestamp_ntz())), of_date).optional(2),
    Def::new(&["time_literal"], &[Text], Of(|_| Ok(time_of_day())), |call| {
        let value = |row| {
            if !call.complete(row) {
                return Ok(None);
            }
            let given = text(call, 0, row);
            let wrong = || RowError::new("INVALID_TYPED_LITERAL", format!("'{given}' is no time of day"));
            read_time(given).map(Some).ok_or_else(wrong)
        };
        Ok(Arc::new((0..call.rows).map(value).collect::<Result<Time64MicrosecondArray, RowError>>()?))
    }),
    Def::new(&["time_bucket_of"], &[Any, Timestamp, Timestamp], Type(Timestamp), bucket),
    Def::new(&["window_time"], &[Any], Type(Timestamp), |call| {
        let ends = match call.args[0].as_struct_opt() {
            Some(window) if window.num_columns() == 2 => Arc::clone(window.column(1)),
            _ => return plan_err!("window_time takes a window"),
        };
        let ends = crate::dialect::cast::cast(&ends, &timestamp(), Mode::Raise)?;
        let ends = ends.as_primitive::<TimestampMicrosecondType>().clone();
        times(call, |row| Ok(Some(ends.value(row) - 1)))
    }),
];

/// Functions that plan themselves.
pub(in super::super) const PLANNED: &[Planned] = &[
    (&["make_timestamp", "make_timestamp_ltz"], |p, args| make(p, args, true, &timestamp())),
    (&["try_make_timestamp", "try_make_timestamp_ltz"], |p, args| make(p, args, false, &timestamp())),
    (&["make_timestamp_ntz"], |p, args| make(p, args, true, &timestamp_ntz())),
    (&["try_make_timestamp_ntz"], |p, args| make(p, args, false, &timestamp_ntz())),
    (&["to_timestamp_ntz"], |p, mut args| {
        if args.len() == 2 && p.type_of(&args[0])? == DataType::Utf8 {
            return p.call("parse_timestamp_ntz", args);
        }
        p.cast(args.remove(0), &timestamp_ntz(), Mode::Raise)
    }),
    (&["time_bucket"], |p, mut args| {
        if args.len() == 2 {
            args.push(p.cast(lit("1970-01-01"), &timestamp(), Mode::Raise)?);
        }
        p.call("time_bucket_of", args)
    }),
    // A window's time given as text is read as a timestamp.
    (&["time_of_window"], |p, mut args| {
        let time = args.remove(0);
        if p.type_of(&time)? == DataType::Utf8 { p.cast(time, &timestamp(), Mode::Raise) } else { Ok(time) }
    }),
];

fn make(planner: &Planner<'_>, args: Vec<Expr>, raise: bool, out: &DataType) -> Result<Expr> {
    let zoned = out == &timestamp();
    let name = match args.len() {
        1..=3 if zoned => "timestamp_of_date",
        1..=3 => "timestamp_ntz_of_date",
        _ if zoned && raise => "make_timestamp_of",
        _ if zoned => "try_make_timestamp_of",
        _ if raise => "make_timestamp_ntz_of",
        _ => "try_make_timestamp_ntz_of",
    };
    planner.call(name, args)
}

fn of_parts(call: &Call<'_>, raise: bool) -> Result<ArrayRef> {
    let seconds = call.args[5].as_primitive::<Float64Type>();
    let value = |row: usize| -> Result<i64, RowError> {
        let (year, month, day) = (int(call, 0, row), int(call, 1, row), int(call, 2, row));
        let days = date_of(year.into(), month.into(), day.into()).ok_or_else(|| no_date(year, month, day))?;
        let (hour, minute, second) = (i64::from(int(call, 3, row)), i64::from(int(call, 4, row)), seconds.value(row));
        if !(0..24).contains(&hour) || !(0..60).contains(&minute) || !(0.0..=60.0).contains(&second) {
            return Err(RowError::new(
                "DATETIME_FIELD_OUT_OF_BOUNDS.WITHOUT_SUGGESTION",
                format!("there is no time {hour}:{minute}:{second}"),
            ));
        }
        let clock = hour * HOUR + minute * MINUTE + (second * SECOND as f64).round() as i64;
        let local = days.checked_mul(DAY).and_then(|start| start.checked_add(clock));
        in_zone(call, 6, row, local.ok_or_else(|| no_date(year, month, day))?)
    };
    times(call, |row| if raise { value(row).map(Some) } else { Ok(value(row).ok()) })
}

/// The instant of a local time in the zone that an argument names, or of the session.
fn in_zone(call: &Call<'_>, arg: usize, row: usize, local: i64) -> Result<i64, RowError> {
    let zone = match call.out {
        DataType::Timestamp(_, None) => Zone::UTC,
        _ if call.has(arg) => zone_named(text(call, arg, row))?,
        _ => call.zone,
    };
    zone.to_utc(local).ok_or_else(super::out_of_range)
}

fn of_date(call: &Call<'_>) -> Result<ArrayRef> {
    let days = call.args[0].as_primitive::<Date32Type>();
    if call.has(1) && call.args[1].data_type() != &time_of_day() && call.args[1].data_type() != &DataType::Null {
        return plan_err!("a timestamp is made of a date and a time, or of 6 numbers");
    }
    times(call, |row| {
        let clock = if call.has(1) { call.args[1].as_primitive::<Time64MicrosecondType>().value(row) } else { 0 };
        in_zone(call, 2, row, i64::from(days.value(row)) * DAY + clock).map(Some)
    })
}

/// `6:30:45.887`
fn read_time(text: &str) -> Option<i64> {
    let mut parts = text.trim().split(':');
    let (hour, minute) = (parts.next()?.parse::<i64>().ok()?, parts.next()?.parse::<i64>().ok()?);
    let (second, fraction) = parts.next().map_or(("0", ""), |part| part.split_once('.').unwrap_or((part, "")));
    let second: i64 = second.parse().ok()?;
    let fits = (0..24).contains(&hour) && (0..60).contains(&minute) && (0..60).contains(&second);
    if !fits || parts.next().is_some() || fraction.len() > 6 {
        return None;
    }
    let fraction: i64 = format!("{fraction:0<6}").parse().ok()?;
    Some(hour * HOUR + minute * MINUTE + second * SECOND + fraction)
}

/// The start of the bucket that an instant lies in; buckets are counted from an origin.
fn bucket(call: &Call<'_>) -> Result<ArrayRef> {
    let (at, origin) = (
        call.args[1].as_primitive::<TimestampMicrosecondType>(),
        call.args[2].as_primitive::<TimestampMicrosecondType>(),
    );
    let wrong = || RowError::new("DATATYPE_MISMATCH.VALUE_OUT_OF_RANGE", "the size of a bucket must be positive");
    times(call, |row| {
        let (at, origin) = (at.value(row), origin.value(row));
        match call.args[0].data_type() {
            DataType::Duration(_) => {
                let size = call.args[0].as_primitive::<DurationMicrosecondType>().value(row);
                match size {
                    ..=0 => Err(wrong()),
                    // Whole days are those of the calendar.
                    _ if size % DAY == 0 => {
                        let (local, first) = (call.zone.to_local(at), call.zone.to_local(origin));
                        Ok(call.zone.to_utc(local - (local - first).rem_euclid(size)))
                    }
                    _ => Ok(Some(at - (at - origin).rem_euclid(size))),
                }
            }
            DataType::Interval(datafusion::arrow::datatypes::IntervalUnit::YearMonth) => {
                let size = i64::from(call.args[0].as_primitive::<IntervalYearMonthType>().value(row));
                if size <= 0 {
                    return Err(wrong());
                }
                let (at, origin) = (call.zone.to_local(at), call.zone.to_local(origin));
                let moved = |months: i64| add_months(origin.div_euclid(DAY), months) * DAY + origin.rem_euclid(DAY);
                let months = |at: i64| {
                    let (year, month, _) = civil_from_days(at.div_euclid(DAY));
                    year * 12 + month
                };
                let mut count = (months(at) - months(origin)).div_euclid(size) * size;
                while moved(count) > at {
                    count -= size;
                }
                while moved(count + size) <= at {
                    count += size;
                }
                Ok(call.zone.to_utc(moved(count)))
            }
            _ => Err(RowError::new("DATATYPE_MISMATCH", "the size of a bucket is an interval")),
        }
    })
}
