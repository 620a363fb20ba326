//! Numbers as texts for people.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use datafusion::arrow::datatypes::{DataType, Float64Type, Int32Type};
use datafusion::error::Result;

use super::super::Call;
use super::{MAX_TEXT, too_long};
use crate::dialect::cast::write_value;

/// Grouped by thousands, rounded half even.
pub(super) fn format_number(call: &Call<'_>) -> Result<ArrayRef> {
    let digits = call.args[1].as_primitive::<Int32Type>();
    let mut builder = StringBuilder::new();
    for row in 0..call.rows {
        if !call.complete(row) || digits.value(row) < 0 {
            builder.append_null();
            continue;
        }
        let digits = digits.value(row) as usize;
        if digits > MAX_TEXT {
            return Err(too_long(digits).into());
        }
        let plain = if call.args[0].data_type() == &DataType::Float64 {
            let value = call.args[0].as_primitive::<Float64Type>().value(row);
            if !value.is_finite() {
                let text = if value.is_nan() {
                    "NaN"
                } else if value > 0.0 {
                    "∞"
                } else {
                    "-∞"
                };
                builder.append_value(text);
                continue;
            }
            if value.abs() < EXACT { format!("{value:.digits$}") } else { fixed(&format!("{value}"), digits, false) }
        } else {
            let mut text = String::new();
            write_value(&mut text, &call.args[0], row, call.zone)?;
            fixed(&text, digits, false)
        };
        builder.append_value(grouped(&plain));
    }
    Ok(Arc::new(builder.finish()))
}

/// Doubles from here on have no fraction; Java writes their shortest digits and zeros.
const EXACT: f64 = 1e17;

/// A plain number (`-12.5`) with so many digits behind the point, rounded half up or half even; the sign stays.
pub(super) fn fixed(plain: &str, digits: usize, half_up: bool) -> String {
    let (sign, size) = plain.strip_prefix('-').map_or(("", plain), |rest| ("-", rest));
    let (whole, fraction) = size.split_once('.').unwrap_or((size, ""));
    let kept: String = fraction.chars().chain(std::iter::repeat('0')).take(digits).collect();
    let rest = fraction.get(digits..).unwrap_or_default();
    let mut all: Vec<u8> = format!("{whole}{kept}").into_bytes();
    let last_is_odd = all.last().is_some_and(|digit| (digit - b'0') % 2 == 1);
    let up = match rest.as_bytes().first() {
        Some(b'5') => half_up || last_is_odd || rest.bytes().skip(1).any(|digit| digit != b'0'),
        Some(digit) => *digit > b'5',
        None => false,
    };
    if up {
        let mut at = all.len();
        loop {
            match at.checked_sub(1) {
                None => {
                    all.insert(0, b'1');
                    break;
                }
                Some(place) if all[place] == b'9' => {
                    all[place] = b'0';
                    at = place;
                }
                Some(place) => {
                    all[place] += 1;
                    break;
                }
            }
        }
    }
    let text: String = all.into_iter().map(char::from).collect();
    let (whole, fraction) = text.split_at(text.len() - digits);
    format!("{sign}{whole}{}{fraction}", if digits > 0 { "." } else { "" })
}

pub(super) fn grouped(plain: &str) -> String {
    let (sign, rest) = plain.strip_prefix('-').map_or(("", plain), |rest| ("-", rest));
    let (whole, fraction) = rest.split_once('.').map_or((rest, None), |(whole, fraction)| (whole, Some(fraction)));
    let mut out = String::from(sign);
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    out
}
