//! The units of SQL's intervals, and their text: `INTERVAL '1 02' DAY TO HOUR`.
//!
//! An interval of years and months is a count of months, one of days to seconds a count of microseconds. What it counts
//! is a mark at its column ([`Units::KEY`]); without one it counts all units of its kind.

use std::fmt::Write;

const SECOND: u64 = 1_000_000;

/// A unit; those of months come before those of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Unit {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
}

const NAMES: [(Unit, &str); 6] = [
    (Unit::Year, "year"),
    (Unit::Month, "month"),
    (Unit::Day, "day"),
    (Unit::Hour, "hour"),
    (Unit::Minute, "minute"),
    (Unit::Second, "second"),
];

impl Unit {
    fn parse(name: &str) -> Option<Self> {
        NAMES.iter().find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|(unit, _)| *unit)
    }

    fn name(self) -> &'static str {
        NAMES.iter().find(|(unit, _)| *unit == self).map_or("", |(_, name)| name)
    }

    /// Months or microseconds.
    fn size(self) -> u64 {
        match self {
            Self::Year => 12,
            Self::Month => 1,
            Self::Day => 86_400 * SECOND,
            Self::Hour => 3_600 * SECOND,
            Self::Minute => 60 * SECOND,
            Self::Second => SECOND,
        }
    }
}

/// The units that an interval counts, from the largest to the smallest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Units {
    first: Unit,
    last: Unit,
}

impl Units {
    /// The mark of a column that says what its intervals count: [`Units::name`].
    pub const KEY: &str = "interval";
    /// `year to month`
    pub const MONTHS: Self = Self { first: Unit::Year, last: Unit::Month };
    /// `day to second`
    pub const TIME: Self = Self { first: Unit::Day, last: Unit::Second };
    /// `day`
    pub const DAY: Self = Self { first: Unit::Day, last: Unit::Day };

    /// Reads `hour` or `day to hour`, in letters of any case. `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (first, last) = match words[..] {
            [one] => (Unit::parse(one)?, Unit::parse(one)?),
            [first, to, last] if to.eq_ignore_ascii_case("to") => (Unit::parse(first)?, Unit::parse(last)?),
            _ => return None,
        };
        let units = Self { first, last };
        (first <= last && units.counts_months() == (last <= Unit::Month)).then_some(units)
    }

    /// As SQL writes them behind `interval`.
    pub fn name(self) -> String {
        let (first, last) = (self.first.name(), self.last.name());
        if first == last { first.to_owned() } else { format!("{first} to {last}") }
    }

    /// Whether these are years and months, not days to seconds.
    pub fn counts_months(self) -> bool {
        self.first <= Unit::Month
    }

    /// Whether it is a single unit.
    pub fn is_one(self) -> bool {
        self.first == self.last
    }

    /// All units from the largest to the smallest one of both; `None` where one counts months and the other time.
    pub fn with(self, other: Self) -> Option<Self> {
        let both = Self { first: self.first.min(other.first), last: self.last.max(other.last) };
        (self.counts_months() == other.counts_months()).then_some(both)
    }

    /// Months or microseconds that every value is a multiple of.
    pub fn smallest(self) -> i64 {
        // Seconds have six digits behind the point.
        if self.last == Unit::Second { 1 } else { self.one() }
    }

    /// Months or microseconds of one of the last unit.
    pub fn one(self) -> i64 {
        self.last.size().cast_signed()
    }

    /// Months or microseconds as SQL's literal.
    pub fn text(self, value: i64) -> String {
        let mut text = String::new();
        self.write(value, &mut text);
        text
    }

    /// Appends the same.
    pub fn write(self, value: i64, out: &mut String) {
        out.push_str("INTERVAL '");
        if value < 0 {
            out.push('-');
        }
        let mut rest = value.unsigned_abs();
        for (unit, _) in NAMES.iter().filter(|(unit, _)| (self.first..=self.last).contains(unit)) {
            let count = rest / unit.size();
            rest %= unit.size();
            // Writing to a string does not fail.
            let _ = match unit {
                Unit::Year | Unit::Day => write!(out, "{count}"),
                Unit::Month if self.first == Unit::Month => write!(out, "{count}"),
                Unit::Month => write!(out, "-{count}"),
                _ => {
                    out.push_str(if *unit == self.first {
                        ""
                    } else if *unit == Unit::Hour {
                        " "
                    } else {
                        ":"
                    });
                    write!(out, "{count:02}")
                }
            };
        }
        if self.last == Unit::Second && rest > 0 {
            let _ = write!(out, ".{rest:06}");
            out.truncate(out.trim_end_matches('0').len());
        }
        let _ = write!(out, "' {}", self.name().to_ascii_uppercase());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The texts are those of Spark 4.3.0: `SELECT CAST(INTERVAL '100' HOUR AS STRING)`.
    #[test]
    fn intervals_are_written_as_in_spark() {
        let (hour, minute, second) = (3_600_000_000, 60_000_000, 1_000_000);
        for (units, value, text) in [
            ("hour", hour, "INTERVAL '01' HOUR"),
            ("hour", 100 * hour, "INTERVAL '100' HOUR"),
            ("minute", -5 * minute, "INTERVAL '-05' MINUTE"),
            ("second", 1_500_000, "INTERVAL '01.5' SECOND"),
            ("second", 100 * second, "INTERVAL '100' SECOND"),
            ("second", -1, "INTERVAL '-00.000001' SECOND"),
            ("second", 0, "INTERVAL '00' SECOND"),
            ("day to hour", 26 * hour, "INTERVAL '1 02' DAY TO HOUR"),
            ("day to minute", -(26 * hour + 3 * minute), "INTERVAL '-1 02:03' DAY TO MINUTE"),
            ("hour to minute", 2 * hour + 3 * minute, "INTERVAL '02:03' HOUR TO MINUTE"),
            ("hour to second", -(2 * hour + 184_500_000), "INTERVAL '-02:03:04.5' HOUR TO SECOND"),
            ("minute to second", 103 * minute + 4 * second, "INTERVAL '103:04' MINUTE TO SECOND"),
            ("day to second", 26 * hour, "INTERVAL '1 02:00:00' DAY TO SECOND"),
            ("day", 48 * hour, "INTERVAL '2' DAY"),
            ("year", -24, "INTERVAL '-2' YEAR"),
            ("month", -14, "INTERVAL '-14' MONTH"),
            ("year to month", 14, "INTERVAL '1-2' YEAR TO MONTH"),
            ("day to second", i64::MIN, "INTERVAL '-106751991 04:00:54.775808' DAY TO SECOND"),
        ] {
            assert_eq!(Units::parse(units).expect("units").text(value), text);
        }
    }

    #[test]
    fn units_are_read_and_put_together() {
        for text in ["", "fortnight", "hour to day", "month to day", "day too hour", "year to second"] {
            assert_eq!(Units::parse(text), None, "{text}");
        }
        let units = |text| Units::parse(text).expect("units");
        assert_eq!(units("DAY").with(units("Hour")), Some(units("day to hour")));
        assert_eq!(units("minute").with(units("hour to second")), Some(units("hour to second")));
        assert_eq!(units("year").with(units("month")), Some(Units::MONTHS));
        assert_eq!(units("month").with(units("day")), None);
        assert_eq!(units("day to hour").name(), "day to hour");
    }
}
