//! Dates and instants moved, cut and measured by units of the calendar.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array};
use datafusion::arrow::datatypes::TimestampMicrosecondType;
use datafusion::error::Result;
use tidegate_core::Zone;

use super::super::Call;
use super::super::string::text;
use super::{HOUR, MINUTE, out_of_range};
use crate::dialect::cast::text::{DAY, SECOND, civil_from_days, days_from_civil, days_in_month};
use crate::dialect::error::RowError;

/// The same day of another month, or its last day.
pub(in super::super) fn add_months(days: i64, months: i64) -> i64 {
    let (year, month, day) = civil_from_days(days);
    let all = year * 12 + month - 1 + months;
    let (year, month) = (all.div_euclid(12), all.rem_euclid(12) + 1);
    days_from_civil(year, month, day.min(days_in_month(year, month)))
}

pub(super) fn months_between(call: &Call<'_>) -> Result<ArrayRef> {
    let (a, b) = (
        call.args[0].as_primitive::<TimestampMicrosecondType>(),
        call.args[1].as_primitive::<TimestampMicrosecondType>(),
    );
    let value = |row: usize| {
        let round = !call.has(2) || call.args[2].as_boolean().value(row);
        let parts = |micros: i64| {
            let days = call.zone.to_local(micros).div_euclid(DAY);
            let (year, month, day) = civil_from_days(days);
            // What has passed since the day began, not what a clock shows.
            let start = days.checked_mul(DAY).and_then(|local| call.zone.start_of_day(local));
            let passed = start.map_or_else(|| micros.rem_euclid(DAY), |start| micros - start);
            (year * 12 + month, day, days_in_month(year, month) == day, passed / SECOND)
        };
        let ((m1, d1, last1, s1), (m2, d2, last2, s2)) = (parts(a.value(row)), parts(b.value(row)));
        let months = (m1 - m2) as f64;
        if d1 == d2 || (last1 && last2) {
            return months;
        }
        let seconds = (d1 - d2) * 86_400 + s1 - s2;
        let all = months + seconds as f64 / (31.0 * 86_400.0);
        if round { (all * 1e8).round() / 1e8 } else { all }
    };
    Ok(Arc::new((0..call.rows).map(|row| call.complete(row).then(|| value(row))).collect::<Float64Array>()))
}

/// The first day of the year, quarter, month or week that a day is in. `None` for another unit.
pub(super) fn first_day(unit: &str, days: i64) -> Option<i64> {
    let (year, month, _) = civil_from_days(days);
    Some(match unit.to_ascii_uppercase().as_str() {
        "YEAR" | "YYYY" | "YY" => days_from_civil(year, 1, 1),
        "QUARTER" => days_from_civil(year, (month - 1) / 3 * 3 + 1, 1),
        "MONTH" | "MM" | "MON" => days_from_civil(year, month, 1),
        "WEEK" => days - (days + 3).rem_euclid(7),
        _ => return None,
    })
}

/// Where the unit begins that a time by the clock is in. `None` for what is no unit.
fn truncate(unit: &str, micros: i64) -> Result<Option<i64>, RowError> {
    let days = micros.div_euclid(DAY);
    let of = |length: i64| micros.checked_sub(micros.rem_euclid(length));
    let start = match unit.to_ascii_uppercase().as_str() {
        "DAY" | "DD" => of(DAY),
        "HOUR" => of(HOUR),
        "MINUTE" => of(MINUTE),
        "SECOND" => of(SECOND),
        "MILLISECOND" => of(1000),
        "MICROSECOND" => Some(micros),
        _ => match first_day(unit, days) {
            Some(day) => day.checked_mul(DAY),
            None => return Ok(None),
        },
    };
    start.map(Some).ok_or_else(out_of_range)
}

/// Microseconds of a unit of fixed length.
pub(super) fn fixed_unit(unit: &str) -> Option<i64> {
    Some(match unit.trim_end_matches('S') {
        "WEEK" => 7 * DAY,
        "DAY" | "DAYOFYEAR" => DAY,
        "HOUR" => HOUR,
        "MINUTE" => MINUTE,
        "SECOND" => SECOND,
        "MILLISECOND" => 1000,
        "MICROSECOND" => 1,
        _ => return None,
    })
}

/// Months of a unit of calendar length.
pub(super) fn month_unit(unit: &str) -> Option<i64> {
    Some(match unit.trim_end_matches('S') {
        "YEAR" => 12,
        "QUARTER" => 3,
        "MONTH" => 1,
        _ => return None,
    })
}

/// As [`truncate`], to what a clock shows in a zone.
pub(super) fn truncated(unit: &str, micros: i64, zone: Zone) -> Result<Option<i64>, RowError> {
    if zone == Zone::UTC {
        return truncate(unit, micros);
    }
    let upper = unit.to_ascii_uppercase();
    if ["SECOND", "MILLISECOND", "MICROSECOND"].contains(&upper.as_str()) {
        return truncate(unit, micros);
    }
    let Some(local) = truncate(unit, zone.to_local(micros))? else { return Ok(None) };
    let start = match upper.as_str() {
        "DAY" | "DD" | "HOUR" | "MINUTE" => zone.to_utc_near(local, zone.offset_at(micros)),
        _ => zone.start_of_day(local),
    };
    start.map(Some).ok_or_else(out_of_range)
}

pub(super) fn add_units(unit: &str, count: i64, micros: i64, zone: Zone) -> Option<i64> {
    let unit = unit.to_ascii_uppercase();
    if let Some(length) = fixed_unit(&unit) {
        let by = length.checked_mul(count)?;
        return if length < DAY { micros.checked_add(by) } else { moved_by_time(micros, by, zone) };
    }
    moved_by_months(micros, month_unit(&unit)?.checked_mul(count)?, zone)
}

/// An instant moved by months: the clock shows the same time of day.
pub(super) fn moved_by_months(micros: i64, months: i64, zone: Zone) -> Option<i64> {
    let local = zone.to_local(micros);
    let day = add_months(local.div_euclid(DAY), months).checked_mul(DAY)?;
    zone.to_utc_near(day.checked_add(local.rem_euclid(DAY))?, zone.offset_at(micros))
}

/// An instant moved by an interval of days and smaller: days by the calendar, the rest as time that passes.
pub(super) fn moved_by_time(micros: i64, by: i64, zone: Zone) -> Option<i64> {
    if zone == Zone::UTC {
        return micros.checked_add(by);
    }
    let days = by - by % DAY;
    let start = if days == 0 {
        micros
    } else {
        zone.to_utc_near(zone.to_local(micros).checked_add(days)?, zone.offset_at(micros))?
    };
    start.checked_add(by % DAY)
}

pub(super) fn timestampdiff(call: &Call<'_>) -> Result<ArrayRef> {
    let (from, to) = (
        call.args[1].as_primitive::<TimestampMicrosecondType>(),
        call.args[2].as_primitive::<TimestampMicrosecondType>(),
    );
    let value = |row| {
        let (from, to) = (call.zone.to_local(from.value(row)), call.zone.to_local(to.value(row)));
        let unit = text(call, 0, row).to_ascii_uppercase();
        if let Some(length) = fixed_unit(&unit) {
            return Some((to - from) / length);
        }
        let months = |micros: i64| {
            let (year, month, day) = civil_from_days(micros.div_euclid(DAY));
            (year * 12 + month, day * DAY + micros.rem_euclid(DAY))
        };
        let ((m1, rest1), (m2, rest2)) = (months(from), months(to));
        let mut whole = m2 - m1;
        if whole > 0 && rest2 < rest1 {
            whole -= 1;
        } else if whole < 0 && rest2 > rest1 {
            whole += 1;
        }
        month_unit(&unit).map(|unit| whole / unit)
    };
    Ok(Arc::new((0..call.rows).map(|row| if call.complete(row) { value(row) } else { None }).collect::<Int64Array>()))
}
