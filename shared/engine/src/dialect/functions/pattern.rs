//! Java's patterns for dates and times: `yyyy-MM-dd HH:mm:ss`.

use std::fmt::Write;

use tidegate_core::Zone;

use crate::dialect::cast::text::{DAY, SECOND, civil_from_days, date_of, days_from_civil};
use crate::dialect::error::RowError;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// A compiled pattern.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(String),
    Field(char, usize),
    Optional(bool),
}

impl Pattern {
    /// The pattern, if texts can be read with it.
    ///
    /// # Errors
    /// One with letters that only write: days of the week, weeks of the month, quarters.
    pub fn reading(&self) -> Result<&Self, RowError> {
        let Some(letter) = self.pieces.iter().find_map(|piece| match piece {
            Piece::Field(letter @ ('E' | 'F' | 'Q' | 'q'), _) => Some(*letter),
            _ => None,
        }) else {
            return Ok(self);
        };
        let class = match letter {
            'Q' | 'q' => "INVALID_DATETIME_PATTERN.ILLEGAL_CHARACTER",
            // Spark before 3.0 read these.
            _ => "INCONSISTENT_BEHAVIOR_CROSS_VERSION.DATETIME_PATTERN_RECOGNITION",
        };
        Err(RowError::new(
            class,
            format!("'{letter}' of the pattern '{}' writes only: no text can be read with it", self.text),
        ))
    }

    /// Compiles a pattern.
    pub fn new(text: &str) -> Result<Self, RowError> {
        let wrong = |what: String| RowError::new("INVALID_DATETIME_PATTERN.WITH_SUGGESTION", what);
        let mut pieces = vec![];
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '\'' => {
                    let mut quoted = String::new();
                    if chars.peek() == Some(&'\'') {
                        chars.next();
                        pieces.push(Piece::Text("'".into()));
                        continue;
                    }
                    while let Some(c) = chars.next() {
                        if c == '\'' {
                            if chars.peek() != Some(&'\'') {
                                break;
                            }
                            chars.next();
                        }
                        quoted.push(c);
                    }
                    pieces.push(Piece::Text(quoted));
                }
                '[' => pieces.push(Piece::Optional(true)),
                ']' => pieces.push(Piece::Optional(false)),
                _ if c.is_ascii_alphabetic() => {
                    let mut count = 1;
                    while chars.peek() == Some(&c) {
                        chars.next();
                        count += 1;
                    }
                    if !"GyMLdDQqEFahkKHmsSVzOXxZu".contains(c) || matches!(c, 'u') || (c == 'E' && count > 4) {
                        return Err(wrong(format!("'{text}' is no pattern: '{c}' is not known")));
                    }
                    pieces.push(Piece::Field(c, count));
                }
                _ => pieces.push(Piece::Text(c.to_string())),
            }
        }
        Ok(Self { text: text.to_owned(), pieces })
    }

    /// Writes an instant (microseconds, UTC) as a clock of `zone` shows it.
    pub fn format(&self, instant: i64, zone: Zone) -> String {
        let micros = zone.to_local(instant);
        let days = micros.div_euclid(DAY);
        let mut out = String::with_capacity(self.text.len() + 8);
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Optional(_) => {}
                Piece::Field(letter @ ('V' | 'z' | 'O' | 'X' | 'x' | 'Z'), count) => {
                    write_zone(&mut out, *letter, *count, instant, zone);
                }
                Piece::Field(letter, count) => write_field(&mut out, *letter, *count, days, micros.rem_euclid(DAY)),
            }
        }
        out
    }

    /// Reads an instant, in `zone` where the text names none; `None` if the text does not have this form.
    pub fn parse(&self, text: &str, zone: Zone) -> Option<i64> {
        let mut fields = Fields::default();
        let mut rest = text;
        let mut optional: Option<&str> = None;
        let mut skip = false;
        for (at, piece) in self.pieces.iter().enumerate() {
            match piece {
                Piece::Optional(true) => optional = Some(rest),
                Piece::Optional(false) => (optional, skip) = (None, false),
                _ if skip => {}
                _ => match fields.read(piece, rest, self.pieces.get(at + 1)) {
                    Some(left) => rest = left,
                    None => {
                        rest = optional?;
                        skip = true;
                    }
                },
            }
        }
        if rest.is_empty() { fields.instant(zone) } else { None }
    }
}

fn name(out: &mut String, name: &str, count: usize) {
    out.push_str(if count == 4 { name } else { &name[..3] });
}

fn write_field(out: &mut String, letter: char, count: usize, days: i64, time: i64) {
    let (year, month, day) = civil_from_days(days);
    let hour = time / (3600 * SECOND);
    let number = |out: &mut String, value: i64| {
        let _ = write!(out, "{value:0count$}");
    };
    match letter {
        'y' if count == 2 => {
            let _ = write!(out, "{:02}", year.rem_euclid(100));
        }
        'y' => {
            if count >= 4 && year > 9999 && count == 4 {
                out.push('+');
            }
            number(out, year);
        }
        'M' | 'L' if count >= 3 => name(out, MONTHS[month as usize - 1], count),
        'M' | 'L' => number(out, month),
        'd' => number(out, day),
        'D' => number(out, days - days_from_civil(year, 1, 1) + 1),
        'Q' | 'q' => match count {
            1 | 2 => number(out, (month - 1) / 3 + 1),
            3 => {
                let _ = write!(out, "Q{}", (month - 1) / 3 + 1);
            }
            _ => out.push_str(["1st quarter", "2nd quarter", "3rd quarter", "4th quarter"][(month as usize - 1) / 3]),
        },
        'E' => name(out, DAYS[(days + 3).rem_euclid(7) as usize], count),
        'F' => number(out, (day - 1) % 7 + 1),
        'a' => out.push_str(if hour < 12 { "AM" } else { "PM" }),
        'G' => out.push_str(if year > 0 { "AD" } else { "BC" }),
        'H' => number(out, hour),
        'k' => number(out, if hour == 0 { 24 } else { hour }),
        'K' => number(out, hour % 12),
        'h' => number(out, if hour % 12 == 0 { 12 } else { hour % 12 }),
        'm' => number(out, time / (60 * SECOND) % 60),
        's' => number(out, time / SECOND % 60),
        'S' => {
            let nanos = format!("{:06}000", time % SECOND);
            out.push_str(&nanos[..count.min(9)]);
        }
        _ => {}
    }
}

/// Letters of the zone and of its offset.
fn write_zone(out: &mut String, letter: char, count: usize, instant: i64, zone: Zone) {
    let offset = zone.offset_at(instant);
    let name = || zone.abbreviation(instant).unwrap_or_else(|| zone.to_string());
    match (letter, count) {
        ('V', _) => out.push_str(&zone.to_string()),
        ('z', 4) if zone == Zone::UTC => out.push_str("Coordinated Universal Time"),
        ('z', _) => out.push_str(&name()),
        ('X', _) | ('Z', 5) if offset == 0 => out.push('Z'),
        ('O', _) | ('Z', 4) if offset == 0 => out.push_str("GMT"),
        ('O', 1) => {
            let (hour, minute, second) = clock_of(offset);
            let _ = write!(out, "GMT{}{hour}", sign_of(offset));
            if minute != 0 || second != 0 {
                let _ = write!(out, ":{minute:02}");
            }
            if second != 0 {
                let _ = write!(out, ":{second:02}");
            }
        }
        ('O', _) | ('Z', 4) => {
            out.push_str("GMT");
            write_offset(out, offset, ":", true);
        }
        ('X' | 'x', 1) => {
            let (hour, minute, _) = clock_of(offset);
            let _ = write!(out, "{}{hour:02}", sign_of(offset));
            if minute != 0 {
                let _ = write!(out, "{minute:02}");
            }
        }
        ('X' | 'x', 2) | ('Z', 1..=3) => write_offset(out, offset, "", false),
        ('X' | 'x', 3) => write_offset(out, offset, ":", false),
        ('X' | 'x', 4) => write_offset(out, offset, "", true),
        _ => write_offset(out, offset, ":", true),
    }
}

fn sign_of(offset: i32) -> char {
    if offset < 0 { '-' } else { '+' }
}

/// Hours, minutes and seconds of an offset without its sign.
fn clock_of(offset: i32) -> (u32, u32, u32) {
    let all = offset.unsigned_abs();
    (all / 3600, all / 60 % 60, all % 60)
}

/// `+01:00`, with seconds where there are some and `seconds` asks for them.
fn write_offset(out: &mut String, offset: i32, between: &str, seconds: bool) {
    let (hour, minute, second) = clock_of(offset);
    // Less than a minute behind is no minus where seconds are not written.
    let sign = if hour + minute == 0 && !seconds { '+' } else { sign_of(offset) };
    let _ = write!(out, "{sign}{hour:02}{between}{minute:02}");
    if seconds && second != 0 {
        let _ = write!(out, "{between}{second:02}");
    }
}

/// `+01:00` or `Z`: the offset of a zone at an instant, with seconds where it has some.
pub fn write_iso_offset(out: &mut String, instant: i64, zone: Zone) {
    write_zone(out, 'X', 5, instant, zone);
}

#[derive(Default)]
struct Fields {
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    hour: Option<i64>,
    half_hour: Option<i64>,
    afternoon: Option<bool>,
    minute: i64,
    second: i64,
    micros: i64,
    zone: Option<String>,
}

/// Reads digits: exactly `count` where another field of digits follows or `count` is above one.
fn digits(text: &str, fewest: usize, most: usize) -> Option<(i64, &str)> {
    let found = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    if found < fewest || found == 0 {
        return None;
    }
    Some((text[..found].parse().ok()?, &text[found..]))
}

fn named<'a>(text: &'a str, names: &[&str], count: usize) -> Option<(i64, &'a str)> {
    names.iter().enumerate().find_map(|(i, name)| {
        let name = if count >= 4 { name } else { &name[..3] };
        Some((i as i64 + 1, text.strip_prefix(name)?))
    })
}

impl Fields {
    fn read<'a>(&mut self, piece: &Piece, text: &'a str, next: Option<&Piece>) -> Option<&'a str> {
        let (letter, count) = match piece {
            Piece::Text(wanted) => return text.strip_prefix(wanted.as_str()),
            Piece::Field(letter, count) => (*letter, *count),
            Piece::Optional(_) => return Some(text),
        };
        let adjacent = matches!(next, Some(Piece::Field(letter, _)) if "yMdDHhkKmsS".contains(*letter));
        let fixed = |most: usize| if count == 1 && !adjacent { (1, most) } else { (count, count) };
        let (fewest, most) = fixed(2);
        let mut rest = text;
        let mut number = |fewest, most| {
            let (value, left) = digits(rest, fewest, most)?;
            rest = left;
            Some(value)
        };
        match letter {
            'y' if count == 2 => self.year = Some(2000 + number(2, 2)?),
            'y' => self.year = Some(if adjacent || count == 4 { number(4.min(count), 4)? } else { number(1, 6)? }),
            'M' | 'L' if count >= 3 => {
                let (month, left) = named(text, &MONTHS, count)?;
                self.month = Some(month);
                return Some(left);
            }
            'E' => return named(text, &DAYS, count).map(|(_, left)| left),
            'M' | 'L' => self.month = Some(number(fewest, most)?),
            'd' => self.day = Some(number(fewest, most)?),
            'D' => self.day_of_year = Some(number(count.min(3), 3)?),
            'H' => self.hour = Some(number(fewest, most)?),
            'k' => self.hour = Some(number(fewest, most)? % 24),
            'h' | 'K' => self.half_hour = Some(number(fewest, most)? % 12),
            'm' => self.minute = number(fewest, most)?,
            's' => self.second = number(fewest, most)?,
            'S' => {
                let found = text.bytes().take(count).take_while(u8::is_ascii_digit).count();
                if found == 0 || (adjacent && found < count) {
                    return None;
                }
                let padded = format!("{:0<6}", &text[..found]);
                self.micros = padded[..6].parse().ok()?;
                return Some(&text[found..]);
            }
            'a' => {
                let afternoon = text.get(..2)?.eq_ignore_ascii_case("pm");
                if !afternoon && !text.get(..2)?.eq_ignore_ascii_case("am") {
                    return None;
                }
                self.afternoon = Some(afternoon);
                return Some(&text[2..]);
            }
            'G' => return text.strip_prefix("AD"),
            _ => {
                let end = text.find(|c: char| !c.is_ascii_alphanumeric() && !"+-:/_".contains(c)).unwrap_or(text.len());
                if end == 0 {
                    return None;
                }
                self.zone = Some(text[..end].to_owned());
                return Some(&text[end..]);
            }
        }
        Some(rest)
    }

    fn instant(&self, zone: Zone) -> Option<i64> {
        let year = self.year.unwrap_or(1970);
        let days = match self.day_of_year {
            Some(day) => days_from_civil(year, 1, 1) + day - 1,
            None => date_of(year, self.month.unwrap_or(1), self.day.unwrap_or(1))?,
        };
        let hour = match (self.hour, self.half_hour) {
            (Some(hour), _) => hour,
            (None, Some(hour)) => hour + if self.afternoon == Some(true) { 12 } else { 0 },
            _ => 0,
        };
        if hour > 23 || self.minute > 59 || self.second > 59 {
            return None;
        }
        let local = days * DAY + ((hour * 60 + self.minute) * 60 + self.second) * SECOND + self.micros;
        let zone = match &self.zone {
            Some(zone) => Zone::parse(zone)?,
            None => zone,
        };
        zone.to_utc(local)
    }
}
