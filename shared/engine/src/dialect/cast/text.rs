//! Text of values and values of text, as Java and Spark write and read them.

use std::fmt::Write;

use datafusion::arrow::datatypes::i256;
use tidegate_core::{Zone, java};

/// Microseconds of a second.
pub const SECOND: i64 = 1_000_000;
/// Microseconds of a day.
pub const DAY: i64 = 86_400 * SECOND;

/// Days since the epoch of a civil date (proleptic Gregorian), without a check of month and day.
pub fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day of a day since the epoch.
pub fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    (year, month, of_year - (153 * shifted + 2) / 5 + 1)
}

/// How many days a month has.
pub fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days of a civil date that exists.
pub fn date_of(year: i64, month: i64, day: i64) -> Option<i64> {
    let exists = (1..=12).contains(&month) && day >= 1 && day <= days_in_month(year, month);
    exists.then(|| days_from_civil(year, month, day))
}

/// `2026-01-01`
pub fn write_date(out: &mut String, days: i64) {
    let (year, month, day) = civil_from_days(days);
    if year > 9999 {
        out.push('+');
    }
    let _ = if year < 0 {
        write!(out, "-{:04}-{month:02}-{day:02}", -year)
    } else {
        write!(out, "{year:04}-{month:02}-{day:02}")
    };
}

/// `2026-01-01 10:11:12.345`: digits of the fraction as needed.
pub fn write_timestamp(out: &mut String, micros: i64) {
    write_date(out, micros.div_euclid(DAY));
    let rest = micros.rem_euclid(DAY);
    let seconds = rest / SECOND;
    let _ = write!(out, " {:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = rest % SECOND;
    if fraction != 0 {
        let text = format!("{fraction:06}");
        let _ = write!(out, ".{}", text.trim_end_matches('0'));
    }
}

/// A double as Java prints it: `1.0E10`, `100.0`, `NaN`, `Infinity`.
pub fn write_double(out: &mut String, value: f64) {
    java_text(out, |bytes| java::write_f64(value, bytes));
}

/// A float as Java prints it.
pub fn write_float(out: &mut String, value: f32) {
    java_text(out, |bytes| java::write_f32(value, bytes));
}

fn java_text(out: &mut String, write: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = Vec::with_capacity(24);
    write(&mut bytes);
    out.push_str(&String::from_utf8_lossy(&bytes));
}

/// A decimal without exponent.
pub fn write_decimal(out: &mut String, value: i128, scale: i8) {
    if value < 0 {
        out.push('-');
    }
    let digits = value.unsigned_abs().to_string();
    let scale = scale.max(0) as usize;
    if scale == 0 {
        out.push_str(&digits);
        return;
    }
    let padded = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    out.push_str(whole);
    out.push('.');
    out.push_str(fraction);
}

/// What Spark trims before it reads a value: whitespace and control characters.
pub fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c <= ' ' || c == '\u{7f}')
}

/// A whole number with sign; no fraction.
pub fn read_integer(text: &str) -> Option<i64> {
    let text = trim(text);
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut value: i64 = 0;
    for digit in digits.bytes() {
        value = value.checked_mul(10)?.checked_sub(i64::from(digit - b'0'))?;
    }
    if negative { Some(value) } else { value.checked_neg() }
}

/// A double as Java reads it.
pub fn read_double(text: &str) -> Option<f64> {
    let text = trim(text);
    let unsigned = text.trim_start_matches(['+', '-']);
    let first = unsigned.bytes().next()?;
    if first.is_ascii_digit() || first == b'.' {
        let number = text.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(text);
        return number.parse().ok();
    }
    if text.len() - unsigned.len() > 1 {
        return None;
    }
    let negative = text.starts_with('-');
    match unsigned.to_ascii_lowercase().as_str() {
        "nan" if !negative && text == unsigned => Some(f64::NAN),
        "infinity" | "inf" => Some(if negative { f64::NEG_INFINITY } else { f64::INFINITY }),
        _ => None,
    }
}

/// `true`, `t`, `yes`, `y`, `1` and their opposites.
pub fn read_boolean(text: &str) -> Option<bool> {
    match trim(text).to_ascii_lowercase().as_str() {
        "t" | "true" | "y" | "yes" | "1" => Some(true),
        "f" | "false" | "n" | "no" | "0" => Some(false),
        _ => None,
    }
}

/// What became of a number that had to fit a decimal.
pub enum Fit {
    /// Its unscaled value.
    Value(i128),
    /// It has too many digits.
    TooLarge,
    /// It is no number.
    NoNumber,
}

/// Reads a decimal with optional exponent, rounds half up to `scale`, and checks `precision`.
pub fn read_decimal(text: &str, precision: u8, scale: i8) -> Fit {
    let text = trim(text);
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => match text[at + 1..].parse::<i32>() {
            Ok(exponent) => (&text[..at], exponent),
            Err(_) => return Fit::NoNumber,
        },
        None => (text, 0),
    };
    let (negative, digits) = match mantissa.as_bytes().first() {
        Some(b'-') => (true, &mantissa[1..]),
        Some(b'+') => (false, &mantissa[1..]),
        _ => (false, mantissa),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.len() + fraction.len() == 0 || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return Fit::NoNumber;
    }
    let all: Vec<u8> = whole.bytes().chain(fraction.bytes()).map(|b| b - b'0').collect();
    // How many of the digits stand before the last one that is kept.
    let kept = whole.len() as i64 + i64::from(exponent) + i64::from(scale);
    let mut value: i128 = 0;
    let wanted = kept.clamp(0, all.len() as i64) as usize;
    for digit in &all[..wanted] {
        let Some(next) = value.checked_mul(10).and_then(|v| v.checked_add(i128::from(*digit))) else {
            return Fit::TooLarge;
        };
        value = next;
    }
    if value != 0 {
        for _ in all.len() as i64..kept {
            let Some(next) = value.checked_mul(10) else { return Fit::TooLarge };
            value = next;
        }
    }
    if kept >= 0 && all.get(wanted).is_some_and(|digit| *digit >= 5) {
        value += 1;
    }
    if value >= 10_i128.pow(u32::from(precision)) {
        return Fit::TooLarge;
    }
    Fit::Value(if negative { -value } else { value })
}

/// Divides and rounds half away from zero.
pub fn div_half_up(value: i256, by: i256) -> i256 {
    let (zero, two) = (i256::ZERO, i256::from_i128(2));
    let quotient = value.wrapping_div(by);
    let rest = value.wrapping_rem(by).wrapping_abs();
    if rest.wrapping_mul(two) >= by.wrapping_abs() {
        let up = (value < zero) == (by < zero);
        return if up { quotient.wrapping_add(i256::ONE) } else { quotient.wrapping_sub(i256::ONE) };
    }
    quotient
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn number(&mut self, fewest: usize, most: usize) -> Option<i64> {
        let digits = self.rest.iter().take_while(|b| b.is_ascii_digit()).count();
        if digits < fewest || digits > most {
            return None;
        }
        let value = self.rest[..digits].iter().fold(0, |value, b| value * 10 + i64::from(b - b'0'));
        self.rest = &self.rest[digits..];
        Some(value)
    }

    fn eat(&mut self, wanted: u8) -> bool {
        let found = self.rest.first() == Some(&wanted);
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }
}

/// `y`, `y-m`, `y-m-d`, and what follows a full date.
fn read_date_part(text: &str) -> Option<(i64, bool, &[u8])> {
    let mut reader = Reader { rest: text.as_bytes() };
    let negative = reader.eat(b'-');
    if !negative {
        reader.eat(b'+');
    }
    let year = reader.number(4, 6)?;
    let year = if negative { -year } else { year };
    if reader.rest.is_empty() {
        return Some((date_of(year, 1, 1)?, false, &[]));
    }
    let month = reader.eat(b'-').then(|| reader.number(1, 2))??;
    if reader.rest.is_empty() {
        return Some((date_of(year, month, 1)?, false, &[]));
    }
    let day = reader.eat(b'-').then(|| reader.number(1, 2))??;
    let rest = reader.rest;
    Some((date_of(year, month, day)?, true, rest))
}

/// A date: `2026`, `2026-1`, `2026-1-5`, and anything behind a full date and a blank or `T`.
pub fn read_date(text: &str) -> Option<i32> {
    let (days, full, rest) = read_date_part(trim(text))?;
    let ends = rest.is_empty() || (full && matches!(rest[0], b' ' | b'T'));
    if ends { i32::try_from(days).ok() } else { None }
}

/// A timestamp in the forms that Spark casts; microseconds. Without a zone in the text it is read in `zone`.
pub fn read_timestamp(text: &str, zone: Zone) -> Option<i64> {
    let (local, written) = read_clock(text)?;
    written.unwrap_or(zone).to_utc(local)
}

/// A `timestamp_ntz` in the forms that Spark casts: a zone in the text is dropped.
pub fn read_local_timestamp(text: &str) -> Option<i64> {
    read_clock(text).map(|(local, _)| local)
}

/// Whether a text is no timestamp with a zone behind it.
pub fn has_no_zone(text: &str) -> bool {
    read_clock(text).is_none_or(|(_, zone)| zone.is_none())
}

/// A wall-clock time, and the zone that stands behind it.
fn read_clock(text: &str) -> Option<(i64, Option<Zone>)> {
    let text = trim(text);
    let (days, full, rest) = read_date_part(text)?;
    let midnight = days.checked_mul(DAY)?;
    if rest.is_empty() {
        return Some((midnight, None));
    }
    if !full || !matches!(rest[0], b' ' | b'T') {
        return None;
    }
    let mut reader = Reader { rest: &rest[1..] };
    if reader.rest.is_empty() {
        return Some((midnight, None));
    }
    let hour = reader.number(1, 2)?;
    let (mut minute, mut second, mut fraction) = (0, 0, 0);
    let mut to_the_second = false;
    if reader.eat(b':') {
        minute = reader.number(1, 2)?;
        if reader.eat(b':') {
            second = reader.number(1, 2)?;
            to_the_second = true;
            if reader.eat(b'.') {
                fraction = read_fraction(&mut reader);
            }
        }
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let zone = std::str::from_utf8(reader.rest).ok()?.trim();
    let local = midnight.checked_add(((hour * 60 + minute) * 60 + second) * SECOND + fraction)?;
    if zone.is_empty() {
        return Some((local, None));
    }
    // A zone needs the seconds in front of it.
    if !to_the_second {
        return None;
    }
    Some((local, Some(Zone::parse(zone)?)))
}

/// Digits of a fraction, cut to microseconds.
fn read_fraction(reader: &mut Reader<'_>) -> i64 {
    let digits = reader.rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let value = (0..6).fold(0, |value, i| value * 10 + if i < digits { i64::from(reader.rest[i] - b'0') } else { 0 });
    reader.rest = &reader.rest[digits..];
    value
}
