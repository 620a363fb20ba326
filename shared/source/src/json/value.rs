//! Reading one value into its column.

use tidegate_core::Zone;

use super::builder::{Builder, Bytes, Offsets};
use super::fault::{Fault, Read};
use crate::datetime::{self, DayCache};
use crate::scan::{self, Number};
use crate::schema::TimestampUnit;
use crate::{base64, decimal};

/// What reading needs beside the columns.
#[derive(Debug)]
pub(crate) struct Context {
    /// For texts with escapes.
    pub scratch: Vec<u8>,
    pub days: DayCache,
    /// Open arrays and objects around the object that is read.
    pub depth: usize,
    /// Where a timestamp without a zone was read off a clock.
    pub zone: Zone,
}

impl Default for Context {
    fn default() -> Self {
        Self { scratch: Vec::new(), days: DayCache::default(), depth: 0, zone: Zone::UTC }
    }
}

impl Builder {
    /// Reads the value at `i` (no blanks before it) as one more row. Returns the index behind it.
    /// After an error the column may hold a part of the row: truncate it.
    #[inline]
    pub fn read(&mut self, b: &[u8], i: usize, cx: &mut Context) -> Read<usize> {
        if b.get(i) == Some(&b'n') {
            let end = scan::word(b, i, b"null")?;
            self.push_null();
            return Ok(end);
        }
        match self {
            Self::String(part) => string(part, b, i, cx),
            Self::Double(part) => {
                let (value, end) = double(b, i, cx)?;
                part.push(value);
                Ok(end)
            }
            Self::Timestamp(part, unit) => {
                let (micros, end) = timestamp(b, i, *unit, cx)?;
                part.push(micros);
                Ok(end)
            }
            Self::BigInt(part) => {
                let (value, end) = integer(b, i).ok_or_else(|| Fault::misfit(i, "bigint"))?;
                part.push(value);
                Ok(end)
            }
            Self::Int(part) => {
                let (value, end) = small_integer(b, i).ok_or_else(|| Fault::misfit(i, "int"))?;
                part.push(value);
                Ok(end)
            }
            Self::Decimal(part, precision, scale) => {
                let (value, end) = decimal_value(b, i, *precision, *scale, cx)?;
                part.push(value);
                Ok(end)
            }
            _ => self.read_rare(b, i, cx),
        }
    }

    fn read_rare(&mut self, b: &[u8], i: usize, cx: &mut Context) -> Read<usize> {
        match self {
            Self::Boolean(part) => {
                let (value, end) = boolean(b, i)?;
                part.push(value);
                Ok(end)
            }
            Self::SmallInt(part) => {
                let (value, end) = small_integer(b, i).ok_or_else(|| Fault::misfit(i, "smallint"))?;
                part.push(value);
                Ok(end)
            }
            Self::TinyInt(part) => {
                // Jackson takes unsigned bytes too and keeps their bits.
                let byte = small_integer::<i16>(b, i).filter(|(value, _)| (-128..=255).contains(value));
                let (value, end) = byte.ok_or_else(|| Fault::misfit(i, "tinyint"))?;
                part.push(value as i8);
                Ok(end)
            }
            Self::Float(part) => {
                let (value, end) = float(b, i, cx)?;
                part.push(value);
                Ok(end)
            }
            Self::Date(part) => {
                let (value, end) = from_text(b, i, cx, datetime::parse_date).ok_or_else(|| Fault::misfit(i, "date"))?;
                part.push(value);
                Ok(end)
            }
            Self::TimestampNtz(part) => {
                let (value, end) = from_text(b, i, cx, datetime::parse_timestamp_ntz)
                    .ok_or_else(|| Fault::misfit(i, "timestamp_ntz"))?;
                part.push(value);
                Ok(end)
            }
            Self::Binary(part) => binary(part, b, i, cx),
            Self::Array(offsets, item) => array(offsets, item, b, i, cx),
            Self::Map(offsets, keys, values) => map(offsets, keys, values, b, i, cx),
            Self::Struct(validity, fields) => {
                if b.get(i) != Some(&b'{') {
                    return Err(Fault::misfit(i, "struct"));
                }
                cx.depth += 1;
                let end = fields.object(b, i, validity.len(), cx)?;
                cx.depth -= 1;
                validity.push();
                Ok(end)
            }
            Self::Refused(_, ty) => Err(Fault::misfit(i, &*ty)),
            _ => Err(Fault::syntax(i, "a value is expected")),
        }
    }
}

#[inline]
fn string(part: &mut Bytes, b: &[u8], i: usize, cx: &Context) -> Read<usize> {
    if b.get(i) == Some(&b'"') {
        let text = scan::string(b, i + 1)?;
        if text.escaped {
            part.push_with(|out| {
                scan::unescape(text.raw(b), out);
                true
            });
        } else {
            part.push(text.raw(b));
        }
        return Ok(text.end + 1);
    }
    // Anything else: its text as it stands there.
    let end = scan::skip(b, i, cx.depth + 1)?;
    part.push(&b[i..end]);
    Ok(end)
}

fn boolean(b: &[u8], i: usize) -> Read<(bool, usize)> {
    match b.get(i) {
        Some(b't') => Ok((true, scan::word(b, i, b"true")?)),
        Some(b'f') => Ok((false, scan::word(b, i, b"false")?)),
        _ => Err(Fault::misfit(i, "boolean")),
    }
}

/// A whole number of 64 bits; `None` for everything else.
#[inline]
fn integer(b: &[u8], i: usize) -> Option<(i64, usize)> {
    let number = scan::number(b, i).ok().filter(|number| number.integer && number.exact)?;
    let value = if number.negative {
        // -2^63 is the one value whose magnitude does not fit.
        0i64.checked_sub_unsigned(number.mantissa)?
    } else {
        i64::try_from(number.mantissa).ok()?
    };
    Some((value, number.end))
}

#[inline]
fn small_integer<T: TryFrom<i64>>(b: &[u8], i: usize) -> Option<(T, usize)> {
    let (value, end) = integer(b, i)?;
    Some((T::try_from(value).ok()?, end))
}

/// Powers of ten that doubles hold exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

#[inline]
fn double(b: &[u8], i: usize, cx: &mut Context) -> Read<(f64, usize)> {
    if !matches!(b.get(i), Some(b'0'..=b'9' | b'-')) {
        return odd_double(b, i, cx).ok_or_else(|| Fault::misfit(i, "double"));
    }
    let number = match scan::number(b, i) {
        Ok(number) => number,
        Err(e) => return scan::odd_number(b, i).ok_or_else(|| e.into()),
    };
    match exact_double(&number) {
        Some(value) => Ok((value, number.end)),
        None => {
            let value = lexical_core::parse::<f64>(&b[i..number.end]);
            Ok((value.map_err(|_| Fault::misfit(i, "double"))?, number.end))
        }
    }
}

/// The value where one correctly rounded operation gives it: both operands are exact.
#[inline]
fn exact_double(number: &Number) -> Option<f64> {
    if !number.exact || number.mantissa > 1 << 53 {
        return None;
    }
    let value = number.mantissa as f64;
    let power = *POWERS.get(number.exponent.unsigned_abs() as usize)?;
    let value = if number.exponent < 0 { value / power } else { value * power };
    // The whole number -0 is 0 in Java.
    Some(if number.negative && !(number.integer && number.mantissa == 0) { -value } else { value })
}

/// `"NaN"`, `"Infinity"` and their like, in quotes or bare.
#[cold]
fn odd_double(b: &[u8], i: usize, cx: &mut Context) -> Option<(f64, usize)> {
    if b.get(i) != Some(&b'"') {
        return scan::odd_number(b, i);
    }
    from_text(b, i, cx, |text| match text {
        b"NaN" => Some(f64::NAN),
        b"Infinity" | b"+Infinity" | b"+INF" => Some(f64::INFINITY),
        b"-Infinity" | b"-INF" => Some(f64::NEG_INFINITY),
        _ => None,
    })
}

fn float(b: &[u8], i: usize, cx: &mut Context) -> Read<(f32, usize)> {
    if !matches!(b.get(i), Some(b'0'..=b'9' | b'-')) {
        let odd = odd_double(b, i, cx).ok_or_else(|| Fault::misfit(i, "float"))?;
        return Ok((odd.0 as f32, odd.1));
    }
    let number = match scan::number(b, i) {
        Ok(number) => number,
        Err(e) => return scan::odd_number(b, i).map(|(value, end)| (value as f32, end)).ok_or_else(|| e.into()),
    };
    if number.integer && number.exact && number.mantissa == 0 {
        return Ok((0.0, number.end));
    }
    // Not through a double: rounding twice gives another last bit.
    let value = lexical_core::parse::<f32>(&b[i..number.end]).map_err(|_| Fault::misfit(i, "float"))?;
    Ok((value, number.end))
}

/// A value read from the text of a string; `None` when it is no string or does not fit.
fn from_text<T>(b: &[u8], i: usize, cx: &mut Context, read: impl FnOnce(&[u8]) -> Option<T>) -> Option<(T, usize)> {
    if b.get(i) != Some(&b'"') {
        return None;
    }
    let text = scan::string(b, i + 1).ok()?;
    Some((read(text.resolve(b, &mut cx.scratch))?, text.end + 1))
}

#[inline]
fn timestamp(b: &[u8], i: usize, unit: TimestampUnit, cx: &mut Context) -> Read<(i64, usize)> {
    if b.get(i) == Some(&b'"')
        && let Some((micros, end)) = cx.days.quick(b, i + 1, cx.zone)
    {
        return Ok((micros, end + 1));
    }
    slow_timestamp(b, i, unit, cx).ok_or_else(|| Fault::misfit(i, "timestamp"))
}

fn slow_timestamp(b: &[u8], i: usize, unit: TimestampUnit, cx: &mut Context) -> Option<(i64, usize)> {
    if b.get(i) == Some(&b'"') {
        let zone = cx.zone;
        return from_text(b, i, cx, |text| datetime::parse_timestamp(text, zone));
    }
    let (value, end) = integer(b, i)?;
    let micros = match unit {
        TimestampUnit::Seconds => value.checked_mul(1_000_000)?,
        TimestampUnit::Millis => value.checked_mul(1000)?,
        TimestampUnit::Micros => value,
        TimestampUnit::Nanos => value.div_euclid(1000),
    };
    Some((micros, end))
}

fn decimal_value(b: &[u8], i: usize, precision: u8, scale: u8, cx: &mut Context) -> Read<(i128, usize)> {
    let found = if b.get(i) == Some(&b'"') {
        from_text(b, i, cx, |text| decimal::from_text(text, precision, scale))
    } else {
        let number = scan::number(b, i).ok();
        number.and_then(|n| Some((decimal::from_number(&n, &b[i..n.end], precision, scale)?, n.end)))
    };
    found.ok_or_else(|| Fault::misfit(i, format!("decimal({precision},{scale})")))
}

fn binary(part: &mut Bytes, b: &[u8], i: usize, cx: &mut Context) -> Read<usize> {
    if b.get(i) != Some(&b'"') {
        return Err(Fault::misfit(i, "binary"));
    }
    let text = scan::string(b, i + 1)?;
    let resolved = text.resolve(b, &mut cx.scratch);
    if part.push_with(|out| base64::append_lenient(resolved, out)) {
        Ok(text.end + 1)
    } else {
        Err(Fault::misfit(i, "binary (base64)"))
    }
}

fn array(offsets: &mut Offsets, item: &mut Builder, b: &[u8], i: usize, cx: &mut Context) -> Read<usize> {
    if b.get(i) != Some(&b'[') {
        return Err(Fault::misfit(i, "array"));
    }
    cx.depth += 1;
    let mut at = scan::blanks(b, i + 1);
    if b.get(at) != Some(&b']') {
        loop {
            at = match item.read(b, at, cx) {
                Ok(end) => scan::blanks(b, end),
                Err(fault) => return Err(fault.within("[]".to_owned())),
            };
            match b.get(at) {
                Some(b',') => at = scan::blanks(b, at + 1),
                Some(b']') => break,
                _ => return Err(Fault::syntax(at, "a comma or a closing bracket is expected")),
            }
        }
    }
    cx.depth -= 1;
    offsets.push(item.len());
    Ok(at + 1)
}

/// Keys may stand in it twice, as in Spark.
fn map(
    offsets: &mut Offsets,
    keys: &mut Bytes,
    values: &mut Builder,
    b: &[u8],
    i: usize,
    cx: &mut Context,
) -> Read<usize> {
    if b.get(i) != Some(&b'{') {
        return Err(Fault::misfit(i, "map"));
    }
    cx.depth += 1;
    let mut at = scan::blanks(b, i + 1);
    if b.get(at) != Some(&b'}') {
        loop {
            let (key, end) = scan::key(b, at)?;
            let name = key.resolve(b, &mut cx.scratch);
            keys.push(name);
            at = match values.read(b, scan::blanks(b, end), cx) {
                Ok(end) => scan::blanks(b, end),
                Err(fault) => {
                    let name = crate::envelope::shortened(key.raw(b));
                    return Err(fault.within(format!("['{name}']")));
                }
            };
            match b.get(at) {
                Some(b',') => at = scan::blanks(b, at + 1),
                Some(b'}') => break,
                _ => return Err(Fault::syntax(at, "a comma or a closing brace is expected")),
            }
        }
    }
    cx.depth -= 1;
    offsets.push(keys.len());
    Ok(at + 1)
}
