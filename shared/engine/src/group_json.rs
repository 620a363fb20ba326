//! A row as JSON, for the report of a rejected group.

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// The first row of `rows` as a JSON object. Numbers and booleans are written plainly, anything else as text.
pub(crate) fn row_json(rows: &RecordBatch) -> String {
    let options = FormatOptions::default();
    let mut out = String::from("{");
    for (i, (field, column)) in rows.schema().fields().iter().zip(rows.columns()).enumerate() {
        if i > 0 {
            out.push(',');
        }
        quote(field.name(), &mut out);
        out.push(':');
        if column.is_empty() || column.is_null(0) {
            out.push_str("null");
            continue;
        }
        let text = ArrayFormatter::try_new(column, &options).map(|f| f.value(0).to_string()).unwrap_or_default();
        let plain = match column.data_type() {
            DataType::Boolean | DataType::Decimal128(..) => true,
            ty => ty.is_integer() || (ty.is_floating() && text.parse::<f64>().is_ok_and(f64::is_finite)),
        };
        if plain { out.push_str(&text) } else { quote(&text, &mut out) }
    }
    out.push('}');
    out
}

fn quote(text: &str, out: &mut String) {
    use std::fmt::Write;
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if u32::from(c) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
