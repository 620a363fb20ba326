//! `from_json`: JSON texts as columns. What does not fit its type is NULL.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, ListArray, MapArray, StringArray, StructArray};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::plan_err;
use datafusion::error::Result;
use tidegate_core::Zone;

use super::path::{entries, items, text_of, well_formed};
use crate::dialect::cast::{Mode, cast, cast_in};

/// Reads texts as `ty`; a text that is no JSON gives NULL, or a struct without values.
pub fn read(texts: &[Option<&str>], ty: &DataType, zone: Zone) -> Result<ArrayRef> {
    let values: Vec<Option<&str>> =
        texts.iter().map(|text| text.map(str::trim).filter(|text| well_formed(text))).collect();
    if let DataType::Struct(_) = ty {
        // A text that is there gives a struct, whatever it says; an array gives its only object.
        let values: Vec<Option<&str>> = texts
            .iter()
            .zip(&values)
            .map(|(text, value)| text.map(|_| value.filter(|value| value.starts_with('{')).unwrap_or("{}")))
            .collect();
        return build(&values, ty, zone);
    }
    let values: Vec<_> = values.into_iter().map(|value| one_of(value, ty)).collect();
    build(&values.iter().map(Option::as_deref).collect::<Vec<_>>(), ty, zone)
}

/// A single object stands for an array of it.
fn one_of(value: Option<&str>, ty: &DataType) -> Option<String> {
    let value = value?;
    match ty {
        DataType::List(item) if value.starts_with('{') && matches!(item.data_type(), DataType::Struct(_)) => {
            Some(format!("[{value}]"))
        }
        _ => Some(value.to_owned()),
    }
}

fn build(values: &[Option<&str>], ty: &DataType, zone: Zone) -> Result<ArrayRef> {
    let values: Vec<Option<&str>> = values.iter().map(|value| value.filter(|value| *value != "null")).collect();
    match ty {
        DataType::Struct(fields) => {
            let rows: Vec<Option<Vec<(String, &str)>>> =
                values.iter().map(|value| value.filter(|v| v.starts_with('{')).map(entries)).collect();
            let column = |name: &str| -> Vec<Option<&str>> {
                rows.iter()
                    .map(|row| row.as_ref()?.iter().rfind(|(key, _)| key == name).map(|(_, value)| *value))
                    .collect()
            };
            let columns = fields
                .iter()
                .map(|field| build(&column(field.name()), field.data_type(), zone))
                .collect::<Result<Vec<_>>>()?;
            let nulls = NullBuffer::from_iter(rows.iter().map(Option::is_some));
            Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), columns, Some(nulls), values.len())?))
        }
        DataType::List(item) => {
            let rows: Vec<Option<Vec<&str>>> =
                values.iter().map(|value| value.filter(|v| v.starts_with('[')).map(items)).collect();
            let flat: Vec<Option<&str>> = rows.iter().flatten().flatten().map(|value| Some(*value)).collect();
            let offsets = OffsetBuffer::from_lengths(rows.iter().map(|row| row.as_ref().map_or(0, Vec::len)));
            let nulls = NullBuffer::from_iter(rows.iter().map(Option::is_some));
            let inner = build(&flat, item.data_type(), zone)?;
            Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, inner, Some(nulls))?))
        }
        DataType::Map(pairs, _) => {
            let DataType::Struct(fields) = pairs.data_type() else { return plan_err!("a map has entries") };
            let rows: Vec<Option<Vec<(String, &str)>>> =
                values.iter().map(|value| value.filter(|v| v.starts_with('{')).map(entries)).collect();
            let keys: Vec<Option<String>> = rows.iter().flatten().flatten().map(|(key, _)| Some(key.clone())).collect();
            let keys: ArrayRef = Arc::new(StringArray::from(keys));
            let flat: Vec<Option<&str>> = rows.iter().flatten().flatten().map(|(_, value)| Some(*value)).collect();
            let columns =
                vec![cast(&keys, fields[0].data_type(), Mode::Null)?, build(&flat, fields[1].data_type(), zone)?];
            let inner = StructArray::try_new(fields.clone(), columns, None)?;
            let offsets = OffsetBuffer::from_lengths(rows.iter().map(|row| row.as_ref().map_or(0, Vec::len)));
            let nulls = NullBuffer::from_iter(rows.iter().map(Option::is_some));
            Ok(Arc::new(MapArray::try_new(Arc::clone(pairs), offsets, inner, Some(nulls), false)?))
        }
        _ => leaves(&values, ty, zone),
    }
}

fn leaves(values: &[Option<&str>], ty: &DataType, zone: Zone) -> Result<ArrayRef> {
    let texts: StringArray = values.iter().map(|value| value.and_then(|value| leaf(value, ty))).collect();
    let texts: ArrayRef = Arc::new(texts);
    if let DataType::Timestamp(TimeUnit::Microsecond, _) = ty {
        let seconds = cast(&texts, &DataType::Int64, Mode::Null)?;
        let from_number =
            cast_in(&cast(&seconds, &crate::dialect::types::timestamp(), Mode::Null)?, ty, Mode::Null, zone)?;
        let from_text = cast_in(&texts, ty, Mode::Null, zone)?;
        let number = datafusion::arrow::compute::is_not_null(&seconds)?;
        return Ok(datafusion::arrow::compute::kernels::zip::zip(&number, &from_number, &from_text)?);
    }
    cast(&texts, ty, Mode::Null)
}

/// The text that a cast reads, if the JSON value is of a kind that fits the type.
fn leaf(value: &str, ty: &DataType) -> Option<String> {
    let quoted = value.starts_with('"');
    let number = value.starts_with(|c: char| c.is_ascii_digit() || c == '-');
    match ty {
        DataType::Utf8 => Some(text_of(value)),
        DataType::Boolean => matches!(value, "true" | "false").then(|| value.to_owned()),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => number.then(|| value.to_owned()),
        DataType::Float32 | DataType::Float64 if quoted => {
            let text = text_of(value);
            let known = ["NaN", "Infinity", "+Infinity", "-Infinity", "INF", "+INF", "-INF"];
            known.contains(&text.as_str()).then_some(text)
        }
        DataType::Float32 | DataType::Float64 => number.then(|| value.to_owned()),
        DataType::Timestamp(_, None) if quoted => {
            let text = text_of(value);
            // Other than in a cast, a zone does not fit.
            crate::dialect::cast::text::has_no_zone(&text).then_some(text)
        }
        DataType::Decimal128(_, _) | DataType::Timestamp(_, _) => (quoted || number).then(|| text_of(value)),
        DataType::Date32 => quoted.then(|| text_of(value)),
        _ => None,
    }
}
