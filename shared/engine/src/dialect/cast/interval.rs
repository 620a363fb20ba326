//! Intervals as text, and back.

use datafusion::arrow::datatypes::IntervalMonthDayNano;

use super::text::SECOND;
use crate::dialect::functions::datetime::read_interval;

/// Months of `1-2`, alone or within `INTERVAL '1-2' YEAR TO MONTH`.
pub(super) fn read_months(text: &str) -> Option<i32> {
    let (months, micros) = read_interval(within(text, "YEAR TO MONTH")?, "YEAR TO MONTH")?;
    if micros == 0 { i32::try_from(months).ok() } else { None }
}

/// Microseconds of `1 02:03:04.5`, alone or within `INTERVAL '1 02:03:04.5' DAY TO SECOND`.
pub(super) fn read_days(text: &str) -> Option<i64> {
    let (months, micros) = read_interval(within(text, "DAY TO SECOND")?, "DAY TO SECOND")?;
    if months == 0 { Some(micros) } else { None }
}

/// What stands in the quotes of a literal of the unit; a text without them as it is.
pub(in crate::dialect) fn within<'a>(text: &'a str, unit: &str) -> Option<&'a str> {
    let text = text.trim();
    let Some(rest) = text.get(..8).filter(|word| word.eq_ignore_ascii_case("INTERVAL")).map(|_| &text[8..]) else {
        return Some(text);
    };
    let (value, rest) = rest.trim().strip_prefix('\'')?.split_once('\'')?;
    rest.trim().eq_ignore_ascii_case(unit).then_some(value)
}

/// `1 years 2 months 3 days 4 hours 5 minutes 6.7 seconds`, without the parts that are zero.
pub(super) fn write_calendar(out: &mut String, interval: IntervalMonthDayNano) {
    let start = out.len();
    let micros = interval.nanoseconds / 1000;
    let mut part = |count: i64, unit: &str| {
        if count != 0 {
            out.push_str(&format!("{count} {unit} "));
        }
    };
    part((interval.months / 12).into(), "years");
    part((interval.months % 12).into(), "months");
    part(interval.days.into(), "days");
    part(micros / (3600 * SECOND), "hours");
    part(micros / (60 * SECOND) % 60, "minutes");
    let rest = micros % (60 * SECOND);
    if rest != 0 {
        let sign = if rest < 0 { "-" } else { "" };
        let rest = rest.unsigned_abs();
        let text = format!("{sign}{}.{:06}", rest / SECOND as u64, rest % SECOND as u64);
        out.push_str(text.trim_end_matches('0').trim_end_matches('.'));
        out.push_str(" seconds ");
    }
    if out.len() == start {
        out.push_str("0 seconds ");
    }
    out.truncate(out.len() - 1);
}
