//! CSV functions, and the options that they share with those of JSON.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringArray, StringBuilder, StructArray};
use datafusion::arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, lit};
use datafusion::scalar::ScalarValue;
use tidegate_core::Zone;

use super::Takes::Text;
use super::string::text;
use super::{Call, Planned};
use crate::dialect::cast::{Mode, cast_in, write_value};
use crate::dialect::plan::{Planner, parse_type};
use crate::dialect::types::{is_timestamp, timestamp_ntz};

/// Functions that plan themselves.
pub const PLANNED: &[Planned] =
    &[(&["from_csv"], from_csv), (&["to_csv"], to_csv), (&["schema_of_csv"], schema_of_csv)];

/// Options as `map('key', 'value')` of constants.
pub(super) struct Options(Vec<(String, String)>);

impl Options {
    /// Reads the argument; only `known` options are.
    pub(super) fn read(function: &str, arg: Option<&Expr>, known: &[&str]) -> Result<Self> {
        let Some(arg) = arg else { return Ok(Self(vec![])) };
        let Expr::ScalarFunction(map) = arg else {
            return plan_err!("the options of {function} are map('key', 'value')");
        };
        let texts: Option<Vec<String>> = map
            .args
            .iter()
            .map(|arg| match arg {
                Expr::Literal(ScalarValue::Utf8(Some(text)), _) => Some(text.clone()),
                _ => None,
            })
            .collect();
        let Some(texts) = texts else { return plan_err!("the options of {function} are constants") };
        let pairs: Vec<(String, String)> =
            texts.chunks_exact(2).map(|pair| (pair[0].to_ascii_lowercase(), pair[1].clone())).collect();
        if let Some((name, _)) =
            pairs.iter().find(|(name, _)| !known.iter().any(|known| known.eq_ignore_ascii_case(name)))
        {
            return plan_err!("the option '{name}' of {function} is not supported: {}", known.join(", "));
        }
        Ok(Self(pairs))
    }

    /// The value of an option.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Whether an option is on.
    pub(super) fn is_on(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }
}

/// A struct with texts for timestamps.
pub(super) fn texts_for_timestamps(ty: &DataType) -> DataType {
    let DataType::Struct(fields) = ty else { return ty.clone() };
    let plain = |field: &Arc<Field>| {
        let ty = if is_timestamp(field.data_type()) { DataType::Utf8 } else { field.data_type().clone() };
        Field::new(field.name(), ty, true)
    };
    DataType::Struct(fields.iter().map(plain).collect::<Fields>())
}

/// Reads the texts of a struct as timestamps of a pattern; what has another form is NULL.
pub(super) fn read_timestamps(from: &ArrayRef, call: &Call<'_>, pattern: &str) -> Result<ArrayRef> {
    let (DataType::Struct(fields), Some(rows)) = (call.out, from.as_struct_opt()) else { return Ok(Arc::clone(from)) };
    let patterns: ArrayRef = Arc::new(StringArray::from(vec![pattern; rows.len()]));
    let column = |(column, field): (&ArrayRef, &Arc<Field>)| match super::find("try_parse_timestamp") {
        Some(def) if is_timestamp(field.data_type()) => {
            let args = [Arc::clone(column), Arc::clone(&patterns)];
            (def.run)(&Call { args: &args, rows: rows.len(), out: field.data_type(), zone: call.zone })
        }
        _ => Ok(Arc::clone(column)),
    };
    let columns = rows.columns().iter().zip(fields).map(column).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(StructArray::try_new(fields.clone(), columns, rows.nulls().cloned())?))
}

/// Writes the timestamps of a struct as texts of a pattern, or without one as JSON has them; wall-clock times always so.
pub(super) fn write_timestamps(from: &ArrayRef, pattern: &str, zone: Zone) -> Result<ArrayRef> {
    let Some(rows) = from.as_struct_opt() else { return Ok(Arc::clone(from)) };
    let DataType::Struct(fields) = texts_for_timestamps(from.data_type()) else { return Ok(Arc::clone(from)) };
    let patterns: ArrayRef = Arc::new(StringArray::from(vec![pattern; rows.len()]));
    let column = |column: &ArrayRef| match super::find("date_format") {
        _ if pattern.is_empty() && is_timestamp(column.data_type()) || column.data_type() == &timestamp_ntz() => {
            super::json::instants(column, zone)
        }
        Some(def) if is_timestamp(column.data_type()) => {
            let args = [Arc::clone(column), Arc::clone(&patterns)];
            (def.run)(&Call { args: &args, rows: rows.len(), out: &DataType::Utf8, zone })
        }
        _ => Ok(Arc::clone(column)),
    };
    let columns = rows.columns().iter().map(column).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(StructArray::try_new(fields, columns, rows.nulls().cloned())?))
}

/// A line's fields; quotes hold separators, two of them are one.
fn split(line: &str, separator: char) -> Vec<(String, bool)> {
    let (mut fields, mut field, mut quoted, mut open) = (vec![], String::new(), false, false);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if open && chars.peek() == Some(&'"') => {
                field.push('"');
                chars.next();
            }
            '"' if open => open = false,
            '"' if field.is_empty() && !quoted => (open, quoted) = (true, true),
            '\\' if open => field.extend(chars.next()),
            c if c == separator && !open => {
                fields.push((std::mem::take(&mut field), std::mem::take(&mut quoted)));
            }
            c => field.push(c),
        }
    }
    fields.push((field, quoted));
    fields
}

fn from_csv(planner: &Planner<'_>, mut args: Vec<Expr>) -> Result<Expr> {
    if args.len() < 2 {
        return plan_err!("from_csv takes a text and a schema");
    }
    let Expr::Literal(ScalarValue::Utf8(Some(schema)), _) = args.remove(1) else {
        return plan_err!("from_csv needs a constant schema such as 'a int, b string'");
    };
    let options = Options::read("from_csv", args.get(1), &["timestampFormat", "sep", "delimiter"])?;
    let out = parse_type(&format!("struct<{schema}>"))?;
    let csv = planner.implicit(args.remove(0), Text, "from_csv")?;
    let format = lit(options.get("timestampFormat").unwrap_or_default());
    let separator = lit(options.get("sep").or(options.get("delimiter")).unwrap_or(","));
    let run: super::Run = |call| {
        let plain = texts_for_timestamps(call.out);
        let pattern = if call.rows > 0 { text(call, 1, 0) } else { "" };
        let shape = if pattern.is_empty() { call.out } else { &plain };
        let rows = read_lines(call, shape)?;
        if pattern.is_empty() { Ok(rows) } else { read_timestamps(&rows, call, pattern) }
    };
    Ok(super::call(planner, "from_csv", run, out, vec![csv, format, separator]))
}

/// A field that does not fit its column is NULL.
fn read_lines(call: &Call<'_>, out: &DataType) -> Result<ArrayRef> {
    let DataType::Struct(fields) = out else { return plan_err!("from_csv gives a struct") };
    let mut columns: Vec<StringBuilder> = fields.iter().map(|_| StringBuilder::new()).collect();
    let mut valid = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        valid.push(call.args[0].is_valid(row));
        let separator = text(call, 2, row).chars().next().unwrap_or(',');
        let line = if valid[row] { split(text(call, 0, row), separator) } else { vec![] };
        for (i, column) in columns.iter_mut().enumerate() {
            match line.get(i) {
                Some((field, quoted)) if *quoted || !field.is_empty() => column.append_value(field),
                _ => column.append_null(),
            }
        }
    }
    let cast_column = |(column, field): (&mut StringBuilder, &Arc<Field>)| {
        let texts: ArrayRef = Arc::new(column.finish());
        cast_in(&texts, field.data_type(), Mode::Null, call.zone)
    };
    let columns = columns.iter_mut().zip(fields).map(cast_column).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(StructArray::try_new(fields.clone(), columns, Some(valid.into()))?))
}

fn to_csv(planner: &Planner<'_>, args: Vec<Expr>) -> Result<Expr> {
    let options = Options::read("to_csv", args.get(1), &["timestampFormat", "sep", "delimiter"])?;
    let Some(row) = args.into_iter().next() else { return plan_err!("to_csv takes a struct") };
    if !matches!(planner.type_of(&row)?, DataType::Struct(_)) {
        return plan_err!("[DATATYPE_MISMATCH] to_csv takes a struct");
    }
    let format = lit(options.get("timestampFormat").unwrap_or_default());
    let separator = lit(options.get("sep").or(options.get("delimiter")).unwrap_or(","));
    let run: super::Run = |call| {
        let mut builder = StringBuilder::new();
        let rows = write_timestamps(&call.args[0], if call.rows > 0 { text(call, 1, 0) } else { "" }, call.zone)?;
        let columns = rows.as_struct().columns();
        for row in 0..call.rows {
            if rows.is_null(row) {
                builder.append_null();
                continue;
            }
            let separator = text(call, 2, row);
            let mut line = String::new();
            for (i, column) in columns.iter().enumerate() {
                line.push_str(if i > 0 { separator } else { "" });
                if column.is_valid(row) && column.data_type() != &DataType::Null {
                    let mut field = String::new();
                    write_value(&mut field, column, row, call.zone)?;
                    // Blanks around a field are not written.
                    let field = field.trim().to_owned();
                    let quote = field.is_empty() || field.contains(['"', '\n', '\r']) || field.contains(separator);
                    line += &if quote { format!("\"{}\"", field.replace('"', "\\\"")) } else { field };
                }
            }
            builder.append_value(line);
        }
        Ok(Arc::new(builder.finish()))
    };
    Ok(super::call(planner, "to_csv", run, DataType::Utf8, vec![row, format, separator]))
}

fn schema_of_csv(_: &Planner<'_>, args: Vec<Expr>) -> Result<Expr> {
    let Some(Expr::Literal(ScalarValue::Utf8(Some(csv)), _)) = args.first() else {
        return plan_err!("schema_of_csv takes one constant text");
    };
    let options = Options::read("schema_of_csv", args.get(1), &["sep", "delimiter"])?;
    let separator = options.get("sep").or(options.get("delimiter")).and_then(|sep| sep.chars().next()).unwrap_or(',');
    let kind = |field: &str| match field {
        _ if field.parse::<i32>().is_ok() => "INT",
        _ if field.parse::<i64>().is_ok() => "BIGINT",
        _ if field.parse::<f64>().is_ok() => "DOUBLE",
        "true" | "false" => "BOOLEAN",
        _ if field.len() == 10 && crate::dialect::cast::text::read_date(field).is_some() => "DATE",
        _ if crate::dialect::cast::text::read_timestamp(field, Zone::UTC).is_some() => "TIMESTAMP",
        _ => "STRING",
    };
    let fields = split(csv, separator);
    let fields: Vec<String> =
        fields.iter().enumerate().map(|(i, (field, _))| format!("_c{i}: {}", kind(field))).collect();
    Ok(lit(format!("STRUCT<{}>", fields.join(", "))))
}
