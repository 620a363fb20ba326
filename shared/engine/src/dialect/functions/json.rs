//! JSON functions.

use std::fmt::Write;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int32Array, ListBuilder, StringArray, StringBuilder};
use datafusion::arrow::datatypes::{DataType, Field, Float32Type, Float64Type, TimestampMicrosecondType};
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, lit};
use datafusion::scalar::ScalarValue;
use tidegate_core::Zone;
use tidegate_core::types::SqlType;

use super::Gives::{Of, Type};
use super::Takes::{Any, Int, Text};
use super::csv::{Options, read_timestamps, texts_for_timestamps, write_timestamps};
use super::datetime::interval_values;
use super::pattern::write_iso_offset;
use super::string::{rows, text};
use super::{Call, Def, Planned};
use crate::dialect::cast::text::{DAY, SECOND, write_date};
use crate::dialect::cast::write_value;
use crate::dialect::plan::{Planner, parse_type};
use crate::dialect::types::{array_of, units_of};

mod path;
mod read;

/// Functions with a kernel of their own.
pub const FUNCTIONS: &[Def] = &[
    Def::new(&["get_json_object"], &[Text, Text], Type(Text), |c| {
        Ok(rows(c, |row| path::get(text(c, 0, row), text(c, 1, row))))
    }),
    Def::new(&["json_array_length"], &[Text], Type(Int), |c| {
        let length = |row| {
            let json = text(c, 0, row).trim();
            (json.starts_with('[') && path::well_formed(json)).then(|| path::items(json).len() as i32)
        };
        let lengths = (0..c.rows).map(|row| if c.complete(row) { length(row) } else { None });
        Ok(Arc::new(lengths.collect::<Int32Array>()))
    }),
    Def::new(&["json_object_keys"], &[Text], Of(|_| Ok(array_of(DataType::Utf8))), |c| {
        let mut builder = ListBuilder::new(StringBuilder::new());
        for row in 0..c.rows {
            let json = if c.complete(row) { text(c, 0, row).trim() } else { "" };
            let object = json.starts_with('{') && path::well_formed(json);
            if object {
                path::entries(json).iter().for_each(|(key, _)| builder.values().append_value(key));
            }
            builder.append(object);
        }
        Ok(Arc::new(builder.finish()))
    }),
];

/// Functions that plan themselves.
pub const PLANNED: &[Planned] =
    &[(&["from_json"], from_json), (&["to_json"], to_json_with), (&["schema_of_json"], schema_of_json)];

/// The type that a constant JSON text has, as DDL.
fn schema_of_json(_: &Planner<'_>, args: Vec<Expr>) -> Result<Expr> {
    let Some(Expr::Literal(ScalarValue::Utf8(Some(json)), _)) = args.first() else {
        return plan_err!("schema_of_json takes one constant text");
    };
    let options = Options::read("schema_of_json", args.get(1), &["allowNumericLeadingZeros"])?;
    let json = &if options.is_on("allowNumericLeadingZeros") { without_zeros(json) } else { json.clone() };
    if !path::well_formed(json.trim()) {
        return plan_err!("schema_of_json: '{json}' is no JSON");
    }
    Ok(lit(inferred(json.trim())))
}

/// Numbers without the zeros in front of them.
fn without_zeros(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let (mut open, mut before) = (false, ' ');
    let mut chars = json.chars().peekable();
    while let Some(c) = chars.next() {
        open ^= c == '"' && before != '\\';
        let starts = !open && !before.is_ascii_digit() && before != '.';
        if !(starts && c == '0' && chars.peek().is_some_and(char::is_ascii_digit)) {
            out.push(c);
            before = c;
        }
    }
    out
}

fn inferred(json: &str) -> String {
    match json.as_bytes().first() {
        Some(b'{') => {
            let mut fields = path::entries(json);
            fields.sort();
            let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{name}: {}", inferred(value))).collect();
            format!("STRUCT<{}>", fields.join(", "))
        }
        Some(b'[') => {
            let items: Vec<String> =
                path::items(json).into_iter().filter(|item| *item != "null").map(inferred).collect();
            let same = items.windows(2).all(|pair| pair[0] == pair[1]);
            let numbers = items.iter().all(|item| item == "BIGINT" || item == "DOUBLE");
            match items.first() {
                Some(first) if same => format!("ARRAY<{first}>"),
                Some(_) if numbers => "ARRAY<DOUBLE>".to_owned(),
                _ => "ARRAY<STRING>".to_owned(),
            }
        }
        Some(b'"') | None => "STRING".to_owned(),
        Some(b't' | b'f') => "BOOLEAN".to_owned(),
        Some(b'n') => "STRING".to_owned(),
        Some(_) if json.parse::<i64>().is_ok() => "BIGINT".to_owned(),
        Some(_) => "DOUBLE".to_owned(),
    }
}

/// The schema is a constant: `a int, b string`, or any type.
fn from_json(planner: &Planner<'_>, mut args: Vec<Expr>) -> Result<Expr> {
    if args.len() < 2 {
        return plan_err!("from_json takes a text and a schema");
    }
    let Expr::Literal(ScalarValue::Utf8(Some(schema)), _) = args.remove(1) else {
        return plan_err!("from_json needs a constant schema such as 'a int, b string'");
    };
    let options = Options::read("from_json", args.get(1), &["timestampFormat"])?;
    let out = match SqlType::parse(&schema) {
        Ok(ty) => ty.to_arrow(),
        Err(_) => parse_type(&format!("struct<{schema}>"))?,
    };
    let json = planner.implicit(args.remove(0), Text, "from_json")?;
    if let Some(format) = options.get("timestampFormat") {
        let run: super::Run = |call| {
            let texts = call.args[0].as_string::<i32>();
            let plain = texts_for_timestamps(call.out);
            let rows = read::read(&not_blank(texts), &plain, call.zone)?;
            read_timestamps(&rows, call, if call.rows > 0 { text(call, 1, 0) } else { "" })
        };
        return Ok(super::call(planner, "from_json_with", run, out, vec![json, lit(format)]));
    }
    let run: super::Run = |call| {
        let texts = call.args[0].as_string::<i32>();
        read::read(&not_blank(texts), call.out, call.zone)
    };
    Ok(super::call(planner, "from_json", run, out, vec![json]))
}

/// A blank text holds nothing.
fn not_blank(texts: &StringArray) -> Vec<Option<&str>> {
    texts.iter().map(|text| text.filter(|text| !text.trim().is_empty())).collect()
}

/// The options are in the name of the function, since its kernel has none.
fn to_json_with(planner: &Planner<'_>, args: Vec<Expr>) -> Result<Expr> {
    let options = Options::read("to_json", args.get(1), &["timestampFormat", "sortKeys", "ignoreNullFields"])?;
    let Some(value) = args.into_iter().next() else { return plan_err!("to_json takes a value") };
    let value = planner.implicit(value, Any, "to_json")?;
    let format = lit(options.get("timestampFormat").unwrap_or_default());
    let flags = lit(format!(
        "{}{}",
        if options.is_on("sortKeys") { "s" } else { "" },
        if options.get("ignoreNullFields").is_some_and(|on| on.eq_ignore_ascii_case("false")) { "n" } else { "" }
    ));
    let plain = options.get("timestampFormat").is_none()
        && matches!(&flags, Expr::Literal(ScalarValue::Utf8(Some(f)), _) if f.is_empty());
    if plain {
        return Ok(super::call(planner, "to_json", to_json, DataType::Utf8, vec![value]));
    }
    let run: super::Run = |call| {
        let (format, flags) = if call.rows > 0 { (text(call, 1, 0), text(call, 2, 0)) } else { ("", "") };
        let mut rows = Arc::clone(&call.args[0]);
        if !format.is_empty() {
            rows = write_timestamps(&rows, format, call.zone)?;
        }
        if flags.contains('s') {
            rows = sorted_fields(&rows)?;
        }
        let mut builder = StringBuilder::new();
        for row in 0..call.rows {
            if rows.is_null(row) {
                builder.append_null();
                continue;
            }
            let mut out = String::new();
            write_json(&mut out, &rows, row, flags.contains('n'), call.zone)?;
            builder.append_value(out);
        }
        Ok(Arc::new(builder.finish()))
    };
    Ok(super::call(planner, "to_json_with", run, DataType::Utf8, vec![value, format, flags]))
}

/// A struct with its fields by name.
fn sorted_fields(array: &ArrayRef) -> Result<ArrayRef> {
    let Some(rows) = array.as_struct_opt() else { return Ok(Arc::clone(array)) };
    let mut order: Vec<usize> = (0..rows.num_columns()).collect();
    order.sort_by_key(|i| rows.column_names()[*i].to_owned());
    let fields = order.iter().map(|i| Arc::clone(&rows.fields()[*i])).collect::<Vec<_>>();
    let columns = order.iter().map(|i| sorted_fields(rows.column(*i))).collect::<Result<Vec<_>>>()?;
    let fields = fields.iter().zip(&columns).map(|(field, column)| {
        datafusion::arrow::datatypes::Field::new(field.name(), column.data_type().clone(), true)
    });
    let fields: datafusion::arrow::datatypes::Fields = fields.collect();
    Ok(Arc::new(datafusion::arrow::array::StructArray::try_new(fields, columns, rows.nulls().cloned())?))
}

fn to_json(call: &Call<'_>) -> Result<ArrayRef> {
    let mut builder = StringBuilder::new();
    let mut out = String::new();
    for row in 0..call.rows {
        if call.args[0].is_null(row) {
            builder.append_null();
            continue;
        }
        out.clear();
        write_json(&mut out, &call.args[0], row, false, call.zone)?;
        builder.append_value(&out);
    }
    Ok(Arc::new(builder.finish()))
}

/// A text as a JSON string.
pub fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04X}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// A value as Spark's `to_json` writes it; fields without value are left out unless `nulls`.
/// Instants are written as clocks of `zone` show them.
pub fn write_json(out: &mut String, array: &ArrayRef, row: usize, nulls: bool, zone: Zone) -> Result<()> {
    if array.is_null(row) || array.data_type() == &DataType::Null {
        out.push_str("null");
        return Ok(());
    }
    match array.data_type() {
        DataType::Struct(fields) => {
            out.push('{');
            let mut first = true;
            for (field, column) in fields.iter().zip(array.as_struct().columns()) {
                if column.is_null(row) && !nulls {
                    continue;
                }
                if !std::mem::take(&mut first) {
                    out.push(',');
                }
                write_string(out, field.name());
                out.push(':');
                write_member(out, field, column, row, nulls, zone)?;
            }
            out.push('}');
        }
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            out.push('[');
            for i in 0..items.len() {
                if i > 0 {
                    out.push(',');
                }
                write_json(out, &items, i, nulls, zone)?;
            }
            out.push(']');
        }
        DataType::Map(_, _) => {
            let entries = array.as_map().value(row);
            out.push('{');
            for i in 0..entries.len() {
                if i > 0 {
                    out.push(',');
                }
                let mut key = String::new();
                write_value(&mut key, entries.column(0), i, zone)?;
                // A struct is written as Spark's own rows are.
                if matches!(entries.column(0).data_type(), DataType::Struct(_)) {
                    key = format!("[{}]", key.trim_matches(['{', '}']).replace(", ", ","));
                }
                write_string(out, &key);
                out.push(':');
                write_json(out, entries.column(1), i, nulls, zone)?;
            }
            out.push('}');
        }
        DataType::Timestamp(_, zoned) => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
            write_instant(out, micros, zoned.as_ref().map(|_| zone));
        }
        DataType::Float64 if !array.as_primitive::<Float64Type>().value(row).is_finite() => {
            quoted(out, array, row, zone)?
        }
        DataType::Float32 if !array.as_primitive::<Float32Type>().value(row).is_finite() => {
            quoted(out, array, row, zone)?
        }
        DataType::Utf8 => write_string(out, array.as_string::<i32>().value(row)),
        DataType::Date32 | DataType::Duration(_) | DataType::Interval(_) => quoted(out, array, row, zone)?,
        DataType::Binary => {
            // In one line, other than base64().
            write_string(out, &super::string::code::base64_line(array.as_binary::<i32>().value(row)));
        }
        _ => write_value(out, array, row, zone)?,
    }
    Ok(())
}

/// A field of a struct; intervals in the units that it is marked with.
fn write_member(out: &mut String, field: &Field, column: &ArrayRef, row: usize, nulls: bool, zone: Zone) -> Result<()> {
    let Some(units) = units_of(field).filter(|_| column.is_valid(row)) else {
        return write_json(out, column, row, nulls, zone);
    };
    write_string(out, &units.text(interval_values(&column.slice(row, 1))?.value(0)));
    Ok(())
}

/// Timestamps as texts, in the form that `to_json` gives them.
pub(super) fn instants(array: &ArrayRef, zone: Zone) -> Result<ArrayRef> {
    let mut builder = StringBuilder::new();
    for row in 0..array.len() {
        if array.is_null(row) {
            builder.append_null();
            continue;
        }
        let mut text = String::new();
        write_json(&mut text, array, row, true, zone)?;
        builder.append_value(text.trim_matches('"'));
    }
    Ok(Arc::new(builder.finish()))
}

fn quoted(out: &mut String, array: &ArrayRef, row: usize, zone: Zone) -> Result<()> {
    let mut text = String::new();
    write_value(&mut text, array, row, zone)?;
    write_string(out, &text);
    Ok(())
}

/// `2026-01-01T00:00:00.000Z`, or with the offset of the zone: cut to milliseconds, as Spark writes them.
fn write_instant(out: &mut String, micros: i64, zone: Option<Zone>) {
    out.push('"');
    let local = zone.map_or(micros, |zone| zone.to_local(micros));
    write_date(out, local.div_euclid(DAY));
    let rest = local.rem_euclid(DAY);
    let seconds = rest / SECOND;
    let _ = write!(out, "T{:02}:{:02}:{:02}.", seconds / 3600, seconds / 60 % 60, seconds % 60);
    let _ = write!(out, "{:03}", rest % SECOND / 1000);
    if let Some(zone) = zone {
        write_iso_offset(out, micros, zone);
    }
    out.push('"');
}
