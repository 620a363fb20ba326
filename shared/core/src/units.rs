//! Durations, sizes and counts that carry their unit in the value: `5s`, `1MB`.

use std::time::Duration;

use crate::error::{Error, Result};

const DURATION_UNITS: [(&str, u64); 6] =
    [("us", 1), ("ms", 1_000), ("s", 1_000_000), ("m", 60_000_000), ("h", 3_600_000_000), ("d", 86_400_000_000)];

const SIZE_UNITS: [(&str, u64); 7] = [
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

/// Reads `5s`, `250ms`, `1m`, `2h`, `7d`, `10us`. A bare number is an error.
pub fn parse_duration(text: &str) -> Result<Duration> {
    with_unit(text, &DURATION_UNITS, "duration", "5s, 250ms, 1m, 2h or 7d").map(Duration::from_micros)
}

/// Reads `1MB` (10^6 bytes), `64KiB` (2^10), `500B`. A bare number is an error.
pub fn parse_size(text: &str) -> Result<u64> {
    with_unit(text, &SIZE_UNITS, "size", "1MB, 64KiB or 500B")
}

fn with_unit(text: &str, units: &[(&str, u64)], what: &str, examples: &str) -> Result<u64> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    let wrong =
        |why: &str| Error::invalid(format!("'{text}' is no {what}: {why}")).with_help(format!("write {examples}"));
    if number.is_empty() {
        return Err(wrong("it does not start with a whole number"));
    }
    if unit.is_empty() {
        return Err(wrong("the unit is missing"));
    }
    let factor = units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    let factor = factor.ok_or_else(|| wrong(&format!("'{unit}' is no unit here")))?;
    number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).ok_or_else(|| wrong("it is too large"))
}

/// Writes a duration in the largest unit that divides it: `5s`, `1m`, `250ms`.
pub fn format_duration(duration: Duration) -> String {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let unit = DURATION_UNITS.iter().rev().find(|(_, factor)| micros >= *factor && micros % factor == 0);
    let (name, factor) = unit.copied().unwrap_or(("s", 1_000_000));
    format!("{}{name}", micros / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_required() {
        assert_eq!(parse_duration("5s").unwrap(), Duration::from_secs(5));
        assert_eq!(parse_duration("250 ms").unwrap(), Duration::from_millis(250));
        assert_eq!(parse_size("1MB").unwrap(), 1_000_000);
        assert_eq!(parse_size("2KiB").unwrap(), 2048);
        for wrong in ["5", "s", "", "5 parsecs", "-1s", "99999999999999999999d"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
        assert!(parse_size("5").unwrap_err().to_string().contains("unit is missing"));
    }

    #[test]
    fn durations_print_as_written() {
        for text in ["5s", "1m", "250ms", "2h", "7d", "90s"] {
            assert_eq!(format_duration(parse_duration(text).unwrap()), text);
        }
    }
}
