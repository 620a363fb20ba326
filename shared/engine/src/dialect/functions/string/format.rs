//! `format_string`: the forms of Java's `Formatter`.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use datafusion::arrow::compute;
use datafusion::arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type};
use datafusion::error::Result;
use tidegate_core::Zone;

use super::super::Call;
use super::number::{fixed, grouped};
use super::{MAX_TEXT, text, too_long};
use crate::dialect::cast::text::write_decimal;
use crate::dialect::cast::write_value;
use crate::dialect::error::RowError;
use crate::dialect::types::{is_float, is_integer};

/// One `%...` of a form.
#[derive(Debug, Default)]
struct Spec {
    /// From 1; none takes the next argument.
    place: Option<usize>,
    flags: String,
    width: usize,
    precision: Option<usize>,
    conversion: char,
}

impl Spec {
    /// Reads what stands behind the `%`.
    fn read(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Self> {
        let mut spec = Self::default();
        let number = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>| {
            let mut digits = String::new();
            while let Some(c) = chars.next_if(char::is_ascii_digit) {
                digits.push(c);
            }
            digits
        };
        while let Some(c) = chars.next_if(|c| "-#+ 0,(".contains(*c)) {
            spec.flags.push(c);
        }
        let first = number(chars);
        if !first.is_empty() && chars.next_if_eq(&'$').is_some() {
            spec.place = first.parse().ok();
            while let Some(c) = chars.next_if(|c| "-#+ 0,(".contains(*c)) {
                spec.flags.push(c);
            }
            spec.width = number(chars).parse().unwrap_or(0);
        } else {
            spec.width = first.parse().unwrap_or(0);
        }
        if chars.next_if_eq(&'.').is_some() {
            spec.precision = Some(number(chars).parse().ok()?);
        }
        spec.conversion = chars.next()?;
        Some(spec)
    }

    fn has(&self, flag: char) -> bool {
        self.flags.contains(flag)
    }

    /// The text filled up to the width, which counts as Java does: what UTF-16 needs two words for is two.
    fn padded(&self, text: String) -> Result<String, RowError> {
        if self.width > MAX_TEXT {
            return Err(too_long(self.width));
        }
        let missing = self.width.saturating_sub(text.encode_utf16().count());
        Ok(match (missing, self.has('-')) {
            (0, _) => text,
            (_, true) => text + &" ".repeat(missing),
            (_, false) => " ".repeat(missing) + &text,
        })
    }

    /// A number's digits with sign, separators and zeros.
    fn signed(&self, negative: bool, digits: &str) -> Result<String, RowError> {
        let digits = if self.has(',') { grouped(digits) } else { digits.to_owned() };
        let (before, after) = match negative {
            true if self.has('(') => ("(", ")"),
            true => ("-", ""),
            false if self.has('+') => ("+", ""),
            false if self.has(' ') => (" ", ""),
            false => ("", ""),
        };
        if self.width > MAX_TEXT {
            return Err(too_long(self.width));
        }
        let length = before.len() + digits.len() + after.len();
        let zeros = if self.has('0') { self.width.saturating_sub(length) } else { 0 };
        self.padded(format!("{before}{}{digits}{after}", "0".repeat(zeros)))
    }
}

fn wrong(message: String) -> RowError {
    RowError::new("INVALID_PARAMETER_VALUE", message)
}

/// `format_string(form, ...)`
pub(super) fn format_string(call: &Call<'_>) -> Result<ArrayRef> {
    let mut builder = StringBuilder::new();
    for row in 0..call.rows {
        if call.args[0].is_null(row) {
            builder.append_null();
            continue;
        }
        builder.append_value(one(call, row)?);
    }
    Ok(Arc::new(builder.finish()))
}

fn one(call: &Call<'_>, row: usize) -> Result<String> {
    let (mut out, mut next) = (String::new(), 1);
    let form = text(call, 0, row);
    let mut chars = form.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let spec =
            Spec::read(&mut chars).ok_or_else(|| wrong(format!("'{form}' ends within a form of an argument")))?;
        match spec.conversion {
            '%' => out.push_str(&spec.padded("%".to_owned())?),
            'n' => out.push('\n'),
            _ => {
                let place = spec.place.unwrap_or(next);
                next += usize::from(spec.place.is_none());
                let Some(array) = call.args.get(place).filter(|_| place > 0) else {
                    return Err(wrong(format!("'{form}' asks for argument {place}, which is not given")).into());
                };
                out.push_str(&value(&spec, array, row)?);
            }
        }
        if out.len() > MAX_TEXT {
            return Err(too_long(out.len()).into());
        }
    }
    Ok(out)
}

fn value(spec: &Spec, array: &ArrayRef, row: usize) -> Result<String> {
    let upper = spec.conversion.is_ascii_uppercase();
    let null = array.is_null(row) || array.data_type() == &DataType::Null;
    let text = match spec.conversion.to_ascii_lowercase() {
        's' | 'b' | 'h' | 'd' | 'x' | 'o' | 'c' | 'f' | 'e' | 'g' if null => {
            let text = if spec.conversion.eq_ignore_ascii_case(&'b') { "false" } else { "null" };
            spec.padded(cut(text, spec.precision))?
        }
        's' => {
            let mut text = String::new();
            // Times are the numbers that stand for them.
            let number = match array.data_type() {
                DataType::Timestamp(_, _) | DataType::Duration(_) => Some(DataType::Int64),
                DataType::Date32 => Some(DataType::Int32),
                _ => None,
            };
            match number {
                Some(ty) => write_value(&mut text, &compute::cast(&array.slice(row, 1), &ty)?, 0, Zone::UTC)?,
                None => write_value(&mut text, array, row, Zone::UTC)?,
            }
            spec.padded(cut(&text, spec.precision))?
        }
        'b' => {
            let truth = array.as_boolean_opt().is_none_or(|values| values.value(row));
            spec.padded(cut(&truth.to_string(), spec.precision))?
        }
        'd' | 'x' | 'o' | 'c' if is_integer(array.data_type()) => integer(spec, array, row)?,
        'f' | 'e' if is_float(array.data_type()) => double(spec, array, row)?,
        'f' => decimal(spec, array, row)?,
        _ => {
            let ty = crate::dialect::types::sql_name(array.data_type());
            return Err(wrong(format!("%{} is no form of a {ty}", spec.conversion)).into());
        }
    };
    Ok(if upper { text.to_uppercase() } else { text })
}

fn cut(text: &str, precision: Option<usize>) -> String {
    precision.map_or_else(|| text.to_owned(), |length| text.chars().take(length).collect())
}

fn integer(spec: &Spec, array: &ArrayRef, row: usize) -> Result<String> {
    let wide = compute::cast(&array.slice(row, 1), &DataType::Int64)?;
    let value = wide.as_primitive::<Int64Type>().value(0);
    // Negative numbers are written with the bits of their own width.
    let bits = match array.data_type() {
        DataType::Int8 => value as u64 & 0xff,
        DataType::Int16 => value as u64 & 0xffff,
        DataType::Int32 => value as u64 & 0xffff_ffff,
        _ => value as u64,
    };
    Ok(match spec.conversion.to_ascii_lowercase() {
        'd' => spec.signed(value < 0, &value.unsigned_abs().to_string())?,
        'x' => spec.signed(false, &format!("{}{bits:x}", if spec.has('#') { "0x" } else { "" }))?,
        'o' => spec.signed(false, &format!("{}{bits:o}", if spec.has('#') { "0" } else { "" }))?,
        _ => match u32::try_from(value).ok().and_then(char::from_u32) {
            Some(c) => spec.padded(c.to_string())?,
            None => return Err(wrong(format!("{value} is no character")).into()),
        },
    })
}

fn double(spec: &Spec, array: &ArrayRef, row: usize) -> Result<String> {
    let wide = compute::cast(&array.slice(row, 1), &DataType::Float64)?;
    let value = wide.as_primitive::<Float64Type>().value(0);
    if !value.is_finite() {
        let text = if value.is_nan() { "NaN" } else { "Infinity" };
        let sign = if value < 0.0 {
            "-"
        } else if spec.has('+') && !value.is_nan() {
            "+"
        } else {
            ""
        };
        return Ok(spec.padded(format!("{sign}{text}"))?);
    }
    let digits = spec.precision.unwrap_or(6);
    if digits > MAX_TEXT {
        return Err(too_long(digits).into());
    }
    let size = value.abs();
    let text = if spec.conversion.eq_ignore_ascii_case(&'f') {
        fixed(&format!("{size}"), digits, true)
    } else {
        let text = format!("{size:.digits$e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let exponent: i32 = exponent.parse().unwrap_or(0);
        format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
    };
    Ok(spec.signed(value.is_sign_negative(), &text)?)
}

fn decimal(spec: &Spec, array: &ArrayRef, row: usize) -> Result<String> {
    let (Some(values), DataType::Decimal128(_, scale)) =
        (array.as_primitive_opt::<Decimal128Type>(), array.data_type())
    else {
        return Err(wrong("%f is no form of this type".to_owned()).into());
    };
    let mut plain = String::new();
    write_decimal(&mut plain, values.value(row), *scale);
    let digits = spec.precision.unwrap_or(6);
    if digits > MAX_TEXT {
        return Err(too_long(digits).into());
    }
    let size = plain.trim_start_matches('-');
    Ok(spec.signed(plain.starts_with('-'), &fixed(size, digits, true))?)
}
