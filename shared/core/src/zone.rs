//! Time zones: offsets, `UTC+1`, Java's short ids, names of the tz database; wall-clock times and instants.
//!
//! Times are microseconds since 1970: of an instant in UTC, of a wall-clock time as if it were UTC.

use chrono::{DateTime, LocalResult, NaiveDateTime, Offset, TimeDelta, TimeZone};
use chrono_tz::Tz;

use crate::time::{civil_from_days, days_from_civil};

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// Java's `ZoneId.SHORT_IDS`, which Spark accepts. Those with an offset are fixed.
const SHORT_IDS: [(&str, &str); 28] = [
    ("ACT", "Australia/Darwin"),
    ("AET", "Australia/Sydney"),
    ("AGT", "America/Argentina/Buenos_Aires"),
    ("ART", "Africa/Cairo"),
    ("AST", "America/Anchorage"),
    ("BET", "America/Sao_Paulo"),
    ("BST", "Asia/Dhaka"),
    ("CAT", "Africa/Harare"),
    ("CNT", "America/St_Johns"),
    ("CST", "America/Chicago"),
    ("CTT", "Asia/Shanghai"),
    ("EAT", "Africa/Addis_Ababa"),
    ("ECT", "Europe/Paris"),
    ("IET", "America/Indiana/Indianapolis"),
    ("IST", "Asia/Kolkata"),
    ("JST", "Asia/Tokyo"),
    ("MIT", "Pacific/Apia"),
    ("NET", "Asia/Yerevan"),
    ("NST", "Pacific/Auckland"),
    ("PLT", "Asia/Karachi"),
    ("PNT", "America/Phoenix"),
    ("PRT", "America/Puerto_Rico"),
    ("PST", "America/Los_Angeles"),
    ("SST", "Pacific/Guadalcanal"),
    ("VST", "Asia/Ho_Chi_Minh"),
    ("EST", "-05:00"),
    ("MST", "-07:00"),
    ("HST", "-10:00"),
];

/// A time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Zone {
    /// Seconds east of UTC.
    Fixed(i32),
    /// A zone of the tz database.
    Named(Tz),
}

/// The rules of named zones are known until this year. From then on a year is taken for one of the years before
/// that starts on the same day of the week and is as long.
const LAST_YEAR: i64 = 2099;

/// Years that a calendar repeats after, within a century.
const CYCLE: i64 = 28;

impl Zone {
    /// Reads `Z`, `+01:00`, `+0100`, `+1`, `UTC`, `GMT-3`, `JST`, `Europe/Paris`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim_matches(|c: char| c <= ' ');
        if matches!(text, "Z" | "UTC" | "GMT" | "UT") {
            return Some(Self::Fixed(0));
        }
        let short = SHORT_IDS.iter().find(|(id, _)| *id == text);
        let text = short.map_or(text, |(_, zone)| zone);
        if text.starts_with(['+', '-']) {
            return offset(text).map(Self::Fixed);
        }
        for prefix in ["UTC", "GMT", "UT"] {
            if let Some(rest) = text.strip_prefix(prefix).filter(|rest| rest.starts_with(['+', '-'])) {
                return offset(rest).map(Self::Fixed);
            }
        }
        text.parse::<Tz>().ok().map(Self::Named)
    }

    /// The names of all zones of the tz database.
    pub fn names() -> impl Iterator<Item = &'static str> {
        chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name())
    }

    /// UTC.
    pub const UTC: Self = Self::Fixed(0);

    /// Seconds that the zone is ahead of UTC at an instant.
    pub fn offset_at(self, instant: i64) -> i32 {
        match self {
            Self::Fixed(offset) => offset,
            Self::Named(zone) => zone.offset_from_utc_datetime(&known_time(instant)).fix().local_minus_utc(),
        }
    }

    /// The wall-clock time of an instant.
    pub fn to_local(self, instant: i64) -> i64 {
        match self {
            Self::Fixed(0) => instant,
            zone => instant.saturating_add(i64::from(zone.offset_at(instant)) * SECOND),
        }
    }

    /// The instant of a wall-clock time. Where a clock was put back the earlier instant is meant, where it was put
    /// forward the time moves by the gap: Java's rule. `None`: out of range.
    pub fn to_utc(self, local: i64) -> Option<i64> {
        let offset = match self {
            Self::Fixed(offset) => offset,
            Self::Named(zone) => local_offset(zone, known_time(local)),
        };
        local.checked_sub(i64::from(offset) * SECOND)
    }

    /// As [`Self::to_utc`], and where a clock was put back the offset `preferred` (in seconds) decides, if it is one of
    /// the two: a time that is moved within an hour that comes twice stays on its side.
    pub fn to_utc_near(self, local: i64, preferred: i32) -> Option<i64> {
        let instant = local.checked_sub(i64::from(preferred) * SECOND)?;
        if self.offset_at(instant) == preferred { Some(instant) } else { self.to_utc(local) }
    }

    /// The instant at which a day starts: its first one where the clock is put forward at midnight.
    pub fn start_of_day(self, midnight: i64) -> Option<i64> {
        let instant = self.to_utc(midnight)?;
        if self.to_local(instant) == midnight {
            return Some(instant);
        }
        // Midnight lies in a gap: the day starts at its end. Find the change of the offset.
        let (mut before, mut after) = (instant.checked_sub(2 * DAY)?, instant);
        let offset = self.offset_at(after);
        while after - before > 1 {
            let middle = before + (after - before) / 2;
            if self.offset_at(middle) == offset { after = middle } else { before = middle }
        }
        Some(after)
    }

    /// The zone's abbreviation at an instant (`CEST`); `None` where it has none but its offset.
    pub fn abbreviation(self, instant: i64) -> Option<String> {
        match self {
            Self::Fixed(0) => Some("UTC".to_owned()),
            Self::Fixed(_) => None,
            Self::Named(zone) => {
                let offset = zone.offset_from_utc_datetime(&known_time(instant));
                let name = chrono_tz::OffsetName::abbreviation(&offset)?;
                name.starts_with(|c: char| c.is_ascii_alphabetic()).then(|| name.to_owned())
            }
        }
    }
}

/// `UTC`, `+02:00`, `Europe/Paris`.
impl std::fmt::Display for Zone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fixed(0) => f.write_str("UTC"),
            Self::Fixed(offset) => {
                let (sign, offset) = (if *offset < 0 { '-' } else { '+' }, offset.unsigned_abs());
                write!(f, "{sign}{:02}:{:02}", offset / 3600, offset / 60 % 60)?;
                if offset % 60 == 0 { Ok(()) } else { write!(f, ":{:02}", offset % 60) }
            }
            Self::Named(zone) => f.write_str(zone.name()),
        }
    }
}

/// A time whose year the tz database knows.
fn known_time(micros: i64) -> NaiveDateTime {
    let days = micros.div_euclid(DAY);
    let (year, _, _) = civil_from_days(days);
    let micros = if year > LAST_YEAR {
        let like = equal_year(year);
        micros - (days_from_civil(year, 1, 1) - days_from_civil(like, 1, 1)) * DAY
    } else {
        micros
    };
    // Before the first year that chrono knows no zone changed its offset.
    DateTime::from_timestamp_micros(micros).unwrap_or(DateTime::<chrono::Utc>::MIN_UTC).naive_utc()
}

/// A year up to [`LAST_YEAR`] with the calendar of `year`.
fn equal_year(year: i64) -> i64 {
    let shape = |year: i64| {
        let start = days_from_civil(year, 1, 1);
        (start.rem_euclid(7), days_from_civil(year + 1, 1, 1) - start)
    };
    let wanted = shape(year);
    (LAST_YEAR - CYCLE + 1..=LAST_YEAR).rev().find(|like| shape(*like) == wanted).unwrap_or(LAST_YEAR)
}

fn local_offset(zone: Tz, local: NaiveDateTime) -> i32 {
    match zone.offset_from_local_datetime(&local) {
        LocalResult::Single(offset) => offset.fix().local_minus_utc(),
        LocalResult::Ambiguous(a, b) => {
            // The earlier instant is the one with the larger offset.
            a.fix().local_minus_utc().max(b.fix().local_minus_utc())
        }
        LocalResult::None => {
            // In a gap the offset before it counts. Gaps are shorter than a day but for two in history.
            let before = local.checked_sub_signed(TimeDelta::days(2)).unwrap_or(local);
            zone.offset_from_utc_datetime(&before).fix().local_minus_utc()
        }
    }
}

/// `+1`, `+01`, `+01:00`, `+1:00`, `+01:0`, `+0100`, `+01:00:00`, `+010000`; at most 18 hours.
fn offset(text: &str) -> Option<i32> {
    let (sign, rest) = match text.as_bytes() {
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (hours, minutes, seconds): (&[u8], &[u8], &[u8]) = match rest {
        [h] => (std::slice::from_ref(h), b"0", b"0"),
        [_, _] => (rest, b"0", b"0"),
        [h, b':', m @ ..] if m.len() == 2 => (std::slice::from_ref(h), m, b"0"),
        [h, b':', m @ .., b':', s0, s1] if m.len() == 2 => (std::slice::from_ref(h), m, &[*s0, *s1]),
        [h0, h1, b':', m @ ..] if m.len() <= 2 => (&[*h0, *h1], m, b"0"),
        [h0, h1, b':', m0, m1, b':', s @ ..] if s.len() == 2 => (&[*h0, *h1], &[*m0, *m1], s),
        [_, _, _, _] => (&rest[..2], &rest[2..], b"0"),
        [_, _, _, _, _, _] => (&rest[..2], &rest[2..4], &rest[4..]),
        _ => return None,
    };
    let (hours, minutes, seconds) = (number(hours)?, number(minutes)?, number(seconds)?);
    let total = hours * 3600 + minutes * 60 + seconds;
    (minutes < 60 && seconds < 60 && total <= 18 * 3600).then_some(sign * total)
}

fn number(digits: &[u8]) -> Option<i32> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |sum, d| sum * 10 + i32::from(d - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_offsets() {
        for (text, hours) in [
            ("Z", 0),
            ("UTC", 0),
            ("GMT", 0),
            ("+01:00", 1),
            ("+1:00", 1),
            ("+0100", 1),
            ("+1", 1),
            ("-07:00", -7),
            (" UTC", 0),
            ("UTC+3", 3),
            ("GMT-05:00", -5),
            ("EST", -5),
            ("+18:00", 18),
        ] {
            assert_eq!(Zone::parse(text), Some(Zone::Fixed(hours * 3600)), "{text}");
        }
        for text in ["", "z", "+", "+19", "+01:60", "+1:0:0", "Mars/Base", "+a", "UTC+", "+01:", "utc+1"] {
            assert_eq!(Zone::parse(text), None, "{text}");
        }
    }

    #[test]
    fn named_zones_know_their_rules() {
        let paris = Zone::parse("Europe/Paris").unwrap();
        let at = |text: &str| text.parse::<NaiveDateTime>().unwrap().and_utc().timestamp_micros();
        assert_eq!(paris.to_utc(at("2026-01-01T12:00:00")), Some(at("2026-01-01T11:00:00")));
        assert_eq!(paris.to_utc(at("2026-07-01T12:00:00")), Some(at("2026-07-01T10:00:00")));
        // 29 March 2026: 02:00 to 03:00 does not exist; 25 October: 02:00 to 03:00 exists twice.
        assert_eq!(paris.to_utc(at("2026-03-29T02:30:00")), Some(at("2026-03-29T01:30:00")));
        assert_eq!(paris.to_utc(at("2026-10-25T02:30:00")), Some(at("2026-10-25T00:30:00")));
    }

    #[test]
    fn a_day_starts_where_its_gap_ends() {
        let at = |text: &str| text.parse::<NaiveDateTime>().unwrap().and_utc().timestamp_micros();
        let start = |zone: &str, day: &str| Zone::parse(zone).unwrap().start_of_day(at(&format!("{day}T00:00:00")));
        assert_eq!(start("Europe/Berlin", "2026-03-29"), Some(at("2026-03-28T23:00:00")));
        assert_eq!(start("America/Sao_Paulo", "2018-11-04"), Some(at("2018-11-04T03:00:00")));
        // From 23:30 to 00:30.
        assert_eq!(start("America/Toronto", "1919-03-31"), Some(at("1919-03-31T04:30:00")));
        // A day that never was.
        assert_eq!(start("Pacific/Apia", "2011-12-30"), Some(at("2011-12-30T10:00:00")));
    }

    #[test]
    fn rules_go_on_behind_the_last_year_that_is_written_down() {
        let at = |text: &str| text.parse::<NaiveDateTime>().unwrap().and_utc().timestamp_micros();
        let paris = Zone::parse("Europe/Paris").unwrap();
        for year in [2099, 2100, 2150, 2400, 9999] {
            assert_eq!(paris.offset_at(at(&format!("{year}-07-01T12:00:00"))), 7200, "{year}");
            assert_eq!(paris.offset_at(at(&format!("{year}-12-01T12:00:00"))), 3600, "{year}");
        }
    }

    #[test]
    fn an_hour_that_comes_twice_keeps_its_side() {
        let at = |text: &str| text.parse::<NaiveDateTime>().unwrap().and_utc().timestamp_micros();
        let paris = Zone::parse("Europe/Paris").unwrap();
        let twice = at("2026-10-25T02:30:00");
        assert_eq!(paris.to_utc_near(twice, 3600), Some(at("2026-10-25T01:30:00")));
        assert_eq!(paris.to_utc_near(twice, 7200), Some(at("2026-10-25T00:30:00")));
        assert_eq!(paris.to_utc_near(twice, 0), Some(at("2026-10-25T00:30:00")));
    }

    #[test]
    fn zones_have_a_name() {
        for (text, name) in [("Z", "UTC"), ("UTC+3", "+03:00"), ("-0530", "-05:30"), ("JST", "Asia/Tokyo")] {
            assert_eq!(Zone::parse(text).unwrap().to_string(), name);
        }
    }
}
