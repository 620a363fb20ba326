//! Dates and timestamps as text, in the forms that Spark takes when it casts a string.

use tidegate_core::time::days_from_civil;
use tidegate_core::zone::Zone;

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// Day number of `[+-]yyyy[-[m]m[-[d]d[ *|T*]]]`. Years have 4 to 7 digits.
/// A text that is no such date but a whole number counts days, as in Spark.
pub(crate) fn parse_date(text: &[u8]) -> Option<i32> {
    iso_date(text).or_else(|| day_number(text))
}

fn iso_date(text: &[u8]) -> Option<i32> {
    let text = trim(text);
    let (negative, mut rest) = sign(text);
    let mut parts = [1i64; 3];
    for (i, part) in parts.iter_mut().enumerate() {
        let (value, len) = leading_number(rest);
        if !(if i == 0 { 4..=7 } else { 1..=2 }).contains(&len) {
            return None;
        }
        *part = value;
        rest = &rest[len..];
        match rest.first() {
            None => break,
            Some(b'-') if i < 2 => rest = &rest[1..],
            Some(b' ' | b'T') if i == 2 => break,
            Some(_) => return None,
        }
    }
    let year = if negative { -parts[0] } else { parts[0] };
    i32::try_from(days(year, parts[1], parts[2])?).ok()
}

fn day_number(text: &[u8]) -> Option<i32> {
    // Day numbers before the Gregorian calendar would have to be moved; nobody writes them.
    const GREGORIAN_START: i32 = -141_427;
    std::str::from_utf8(text).ok()?.parse::<i32>().ok().filter(|day| *day >= GREGORIAN_START)
}

fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let month_days = match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        1..=12 => 31,
        _ => return None,
    };
    (1..=month_days).contains(&day).then(|| days_from_civil(year, month as u32, day as u32))
}

/// Microseconds since 1970 in UTC, from a text with or without a zone (`zone` then).
///
/// `[+-]yyyy[-[m]m[-[d]d[(T| )[h]h[:[m]m[:[s]s[.fraction]]][zone]]]]`; a zone needs seconds before it. Years have
/// 4 to 6 digits; a fraction is cut to microseconds. A time without a date, which Spark puts on the current day,
/// does not fit: the answer would depend on when the record is read.
pub(crate) fn parse_timestamp(text: &[u8], zone: Zone) -> Option<i64> {
    let (local, written) = local_time(text).or_else(|| without_gmt(text))?;
    written.unwrap_or(zone).to_utc(local)
}

/// As [`parse_timestamp`] for a wall-clock time: a text with a zone does not fit.
pub(crate) fn parse_timestamp_ntz(text: &[u8]) -> Option<i64> {
    local_time(text).filter(|(_, zone)| zone.is_none()).map(|(local, _)| local)
}

/// Spark's second try: `2000-01-01T00:00:00GMT+01:00x` and its like, with `GMT` taken out.
fn without_gmt(text: &[u8]) -> Option<(i64, Option<Zone>)> {
    let at = memchr::memmem::find(text, b"GMT")?;
    let mut cleaned = text[..at].to_vec();
    let mut rest = &text[at + 3..];
    while let Some(next) = memchr::memmem::find(rest, b"GMT") {
        cleaned.extend_from_slice(&rest[..next]);
        rest = &rest[next + 3..];
    }
    cleaned.extend_from_slice(rest);
    local_time(&cleaned)
}

fn local_time(text: &[u8]) -> Option<(i64, Option<Zone>)> {
    let text = trim(text);
    let (negative, mut rest) = sign(text);
    let mut parts = [1i64, 1, 1, 0, 0, 0];
    let mut fraction = 0;
    let mut zone = None;
    for (i, part) in parts.iter_mut().enumerate() {
        let (value, len) = leading_number(rest);
        if !(if i == 0 { 4..=6 } else { 1..=2 }).contains(&len) {
            return None;
        }
        *part = value;
        rest = &rest[len..];
        match (i, rest.first()) {
            (_, None) => break,
            (0 | 1, Some(b'-')) | (2, Some(b' ' | b'T')) | (3 | 4, Some(b':')) => rest = &rest[1..],
            (5, Some(_)) => (fraction, zone) = behind_seconds(rest)?,
            _ => return None,
        }
    }
    let [year, month, day, hour, minute, second] = parts;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let day = days(if negative { -year } else { year }, month, day)?;
    let local = day.checked_mul(DAY)?.checked_add((hour * 3600 + minute * 60 + second) * SECOND + fraction)?;
    Some((local, zone))
}

/// `.fraction` and `zone`, each if there.
fn behind_seconds(rest: &[u8]) -> Option<(i64, Option<Zone>)> {
    let mut rest = rest;
    let mut micros = 0;
    if rest.first() == Some(&b'.') {
        let digits = rest[1..].iter().take_while(|b| b.is_ascii_digit()).count();
        let mut weight = SECOND / 10;
        for digit in &rest[1..=digits] {
            micros += i64::from(digit - b'0') * weight;
            weight /= 10;
        }
        rest = &rest[1 + digits..];
    }
    let zone = if rest.is_empty() { None } else { Some(Zone::parse(std::str::from_utf8(rest).ok()?)?) };
    Some((micros, zone))
}

/// Java's blanks and control characters, which Spark trims.
fn trim(text: &[u8]) -> &[u8] {
    let blank = |b: &u8| *b <= b' ' || *b == 0x7f;
    let start = text.iter().position(|b| !blank(b)).unwrap_or(text.len());
    let end = text.iter().rposition(|b| !blank(b)).map_or(start, |last| last + 1);
    &text[start..end]
}

fn sign(text: &[u8]) -> (bool, &[u8]) {
    match text.first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    }
}

/// The digits that `text` starts with: their value (of the first 8 only) and how many there are.
fn leading_number(text: &[u8]) -> (i64, usize) {
    let len = text.iter().take_while(|b| b.is_ascii_digit()).count();
    (text[..len.min(8)].iter().fold(0, |sum, d| sum * 10 + i64::from(d - b'0')), len)
}

/// The day that was read last: records of one batch mostly share it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DayCache {
    text: [u8; 10],
    micros: i64,
}

impl Default for DayCache {
    fn default() -> Self {
        Self { text: *b"1970-01-01", micros: 0 }
    }
}

impl DayCache {
    /// Reads `yyyy-mm-dd(T| )hh:mm:ss[.f{1,6}][Z]"` at `i`, without `Z` in `zone`. Returns microseconds and the index
    /// of the quote; `None` for every other form, which [`parse_timestamp`] has to judge.
    #[inline]
    pub fn quick(&mut self, b: &[u8], i: usize, zone: Zone) -> Option<(i64, usize)> {
        let head: &[u8; 20] = b.get(i..)?.first_chunk()?;
        let day = self.day(head.first_chunk()?)?;
        if !matches!(head[10], b'T' | b' ') || head[13] != b':' || head[16] != b':' {
            return None;
        }
        let (hour, minute, second) = (two(head[11], head[12]), two(head[14], head[15]), two(head[17], head[18]));
        // Anything but two digits is larger than 99.
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let mut micros = day + i64::from(hour * 3600 + minute * 60 + second) * SECOND;
        let mut end = i + 19;
        if head[19] == b'.' {
            let mut weight = SECOND;
            end += 1;
            while let Some(digit) = b.get(end).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
                weight /= 10;
                micros += i64::from(digit) * weight;
                end += 1;
            }
        }
        if b.get(end) == Some(&b'Z') {
            end += 1;
        } else if zone != Zone::UTC {
            micros = zone.to_utc(micros)?;
        }
        (b.get(end) == Some(&b'"')).then_some((micros, end))
    }

    fn day(&mut self, text: &[u8; 10]) -> Option<i64> {
        if *text != self.text {
            // Only the full form: `2026-1-5 1` and `2026-01-5T` must not be remembered as days.
            if text[4] != b'-' || text[7] != b'-' || two(text[8], text[9]) > 31 {
                return None;
            }
            self.micros = i64::from(iso_date(text)?) * DAY;
            self.text = *text;
        }
        Some(self.micros)
    }
}

#[inline]
fn two(tens: u8, ones: u8) -> u32 {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    if tens > 9 || ones > 9 { 100 } else { u32::from(tens) * 10 + u32::from(ones) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NEW_YEAR: i64 = 1_767_225_600 * SECOND;

    #[test]
    fn timestamps_in_all_forms() {
        for (text, seconds) in [
            ("2026-01-01", 0.0),
            ("2026", 0.0),
            ("2026-1", 0.0),
            (" 2026-01-01 ", 0.0),
            ("2026-01-01T10", 36000.0),
            ("2026-01-01 10:30", 37800.0),
            ("2026-1-1 1:2:3", 3723.0),
            ("2026-01-01 10:00:00", 36000.0),
            ("2026-01-01T10:00:00Z", 36000.0),
            ("2026-01-01T10:00:00.", 36000.0),
            ("2026-01-01T10:00:00.5", 36000.5),
            ("2026-01-01T10:00:00.123456789Z", 36000.123456),
            ("2026-01-01T10:00:00+01:00", 32400.0),
            ("2026-01-01T10:00:00.25+0100", 32400.25),
            ("2026-01-01T10:00:00 UTC", 36000.0),
            ("2026-01-01T10:00:00GMT+01:00", 32400.0),
            ("2026-01-01T10:00:00 Europe/Paris", 32400.0),
            ("+2026-01-01", 0.0),
        ] {
            let expected = NEW_YEAR + (seconds * 1e6_f64).round() as i64;
            assert_eq!(parse_timestamp(text.as_bytes(), Zone::UTC), Some(expected), "{text}");
        }
        assert_eq!(parse_timestamp(b"-0001-01-01", Zone::UTC), Some(days_from_civil(-1, 1, 1) * DAY));
    }

    #[test]
    fn no_timestamps() {
        for text in [
            "",
            " ",
            "202",
            "20260101",
            "2026-13-01",
            "2026-02-30",
            "2026-01-01T",
            "2026-01-01T24:00:00",
            "2026-01-01 10:60:00",
            "2026-01-01 10:00Z",
            "10:00:00",
            "T10:00",
            "2026-01-01x10:00:00",
            "2026-01-01T10:00:00 Mars",
            "2026-01-01T10:00:00.1.2",
            "999999-01-01",
            "yesterday",
        ] {
            assert_eq!(parse_timestamp(text.as_bytes(), Zone::UTC), None, "{text}");
        }
        assert_eq!(parse_timestamp_ntz(b"2026-01-01T00:00:00Z"), None);
        assert_eq!(parse_timestamp_ntz(b"2026-01-01T00:00:00"), Some(NEW_YEAR));
    }

    #[test]
    fn dates() {
        for (text, day) in [
            ("2026-01-05", Some(20458)),
            ("2026-1-5", Some(20458)),
            ("2026-01-05T10:00:00Z", Some(20458)),
            ("2026-01-05 whatever", Some(20458)),
            ("2026", Some(20454)),
            ("123", Some(123)),
            ("-5", Some(-5)),
            ("2026-02-30", None),
            ("2026-01-05x", None),
            ("2026-01 ", Some(20454)),
            ("2026-01 x", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(parse_date(text.as_bytes()), day, "{text}");
        }
    }

    #[test]
    fn quick_form_stops_at_the_quote() {
        let mut cache = DayCache::default();
        let text = b"2026-01-01T00:00:01.120Z\"";
        assert_eq!(cache.quick(text, 0, Zone::UTC), Some((NEW_YEAR + 1_120_000, 24)));
        assert_eq!(cache.quick(b"2026-01-01 00:00:01\"", 0, Zone::UTC), Some((NEW_YEAR + SECOND, 19)));
        assert_eq!(cache.quick(b"2026-01-01 00:00:01+01:00\"", 0, Zone::UTC), None);
        assert_eq!(cache.quick(b"2026-1-5 1 00:00:01\"", 0, Zone::UTC), None);
    }

    proptest! {
        #[test]
        fn quick_agrees_with_slow(text in "20[0-9]{2}[-0][0-9]{2}[-:][0-9 ]{2}[T ][0-9]{2}[:0][0-9]{2}:[0-9]{2}(\\.[0-9]{0,8})?Z?[a-z]{0,1}") {
            let mut cache = DayCache::default();
            let quoted = format!("{text}\"");
            for _ in 0..2 {
                if let Some((micros, end)) = cache.quick(quoted.as_bytes(), 0, Zone::UTC) {
                    prop_assert_eq!(end, text.len());
                    prop_assert_eq!(Some(micros), parse_timestamp(text.as_bytes(), Zone::UTC));
                }
            }
        }

        #[test]
        fn never_panics(text in proptest::collection::vec(any::<u8>(), 0..40), near in "[+-]?[0-9:TZ. GMT-]{0,40}") {
            for text in [text.as_slice(), near.as_bytes()] {
                let _ = (parse_date(text), parse_timestamp(text, Zone::UTC), parse_timestamp_ntz(text), DayCache::default().quick(text, 0, Zone::UTC));
            }
        }
    }
}
