//! Numbers as texts for people.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use datafusion::arrow::datatypes::{DataType, Float64Type, Int32Type};
use datafusion::error::Result;

use super::super::Call;
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
            format!("{value:.digits$}")
        } else {
            let mut text = String::new();
            write_value(&mut text, &call.args[0], row)?;
            round_plain(&text, digits)
        };
        builder.append_value(grouped(&plain));
    }
    Ok(Arc::new(builder.finish()))
}

fn round_plain(text: &str, digits: usize) -> String {
    use crate::dialect::cast::text::{Fit, read_decimal, write_decimal};
    match read_decimal(text, 38, digits.min(30) as i8) {
        Fit::Value(value) => {
            let mut out = String::new();
            write_decimal(&mut out, value, digits.min(30) as i8);
            out
        }
        _ => text.to_owned(),
    }
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
