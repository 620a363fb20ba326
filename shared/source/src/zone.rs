//! Time zones as they stand behind a timestamp: offsets, `UTC+1`, Java's short ids, names of the tz database.

use chrono::{DateTime, LocalResult, NaiveDateTime, Offset, TimeDelta, TimeZone};
use chrono_tz::Tz;

const SECOND: i64 = 1_000_000;

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

/// A zone that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Zone {
    /// Seconds east of UTC.
    Fixed(i32),
    Named(Tz),
}

impl Zone {
    /// Reads `Z`, `+01:00`, `+0100`, `+1`, `UTC`, `GMT-3`, `JST`, `Europe/Paris`.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?.trim_matches(|c: char| c <= ' ');
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

    /// Microseconds in UTC of a wall-clock time given as microseconds. Where a clock was put back the earlier
    /// instant is meant, where it was put forward the time moves by the gap: Java's rule.
    pub fn to_utc(self, local: i64) -> Option<i64> {
        let offset = match self {
            Self::Fixed(offset) => offset,
            Self::Named(zone) => {
                let local = DateTime::from_timestamp_micros(local)?.naive_utc();
                local_offset(zone, local)?
            }
        };
        local.checked_sub(i64::from(offset) * SECOND)
    }
}

fn local_offset(zone: Tz, local: NaiveDateTime) -> Option<i32> {
    match zone.offset_from_local_datetime(&local) {
        LocalResult::Single(offset) => Some(offset.fix().local_minus_utc()),
        LocalResult::Ambiguous(a, b) => {
            // The earlier instant is the one with the larger offset.
            Some(a.fix().local_minus_utc().max(b.fix().local_minus_utc()))
        }
        LocalResult::None => {
            // In a gap the offset before it counts. Gaps are shorter than a day but for two in history.
            let before = local.checked_sub_signed(TimeDelta::days(2))?;
            let guess = zone.offset_from_utc_datetime(&before).fix().local_minus_utc();
            Some(guess)
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
            assert_eq!(Zone::parse(text.as_bytes()), Some(Zone::Fixed(hours * 3600)), "{text}");
        }
        for text in ["", "z", "+", "+19", "+01:60", "+1:0:0", "Mars/Base", "+a", "UTC+", "+01:", "utc+1"] {
            assert_eq!(Zone::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn named_zones_know_their_rules() {
        let paris = Zone::parse(b"Europe/Paris").unwrap();
        let at = |text: &str| text.parse::<NaiveDateTime>().unwrap().and_utc().timestamp_micros();
        assert_eq!(paris.to_utc(at("2026-01-01T12:00:00")), Some(at("2026-01-01T11:00:00")));
        assert_eq!(paris.to_utc(at("2026-07-01T12:00:00")), Some(at("2026-07-01T10:00:00")));
        // 29 March 2026: 02:00 to 03:00 does not exist; 25 October: 02:00 to 03:00 exists twice.
        assert_eq!(paris.to_utc(at("2026-03-29T02:30:00")), Some(at("2026-03-29T01:30:00")));
        assert_eq!(paris.to_utc(at("2026-10-25T02:30:00")), Some(at("2026-10-25T00:30:00")));
    }
}
