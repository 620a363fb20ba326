//! Arrow rows as JSON text: the values that Spark's `to_json` writes, except that nulls are written as null and
//! decimals as plain numbers.
//!
//! | Type | Text |
//! |---|---|
//! | timestamp | `"2026-01-01T00:00:00.000Z"`, cut to milliseconds; in another zone than UTC `"2026-01-01T01:00:00.000+01:00"` |
//! | timestamp_ntz | `"2026-01-01T00:00:00.000"` |
//! | date | `"2026-01-01"` |
//! | decimal | a number with all digits of its scale: `1.50`, `0.000` |
//! | float, double | as Java 17 writes them: `100.0`, `1.0E10`; `"NaN"`, `"Infinity"`, `"-Infinity"` |
//! | interval | `"INTERVAL '1' DAY"`, in the units of its column |
//! | binary | Base64 with padding |
//! | map | an object; keys of timestamps are microseconds and of dates day numbers, as in Spark |
//! | struct, array | nested, nulls included |

/// NaN and the infinities are no JSON numbers: Spark writes them as text.
fn number(finite: bool, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    if finite {
        return write(out);
    }
    out.push(b'"');
    write(out);
    out.push(b'"');
}

#[cfg(test)]
mod tests;
mod text;
mod zone;

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{
    Array, ArrayRef, BinaryArray, BinaryViewArray, BooleanArray, LargeBinaryArray, LargeStringArray, RecordBatch,
    StringArray, StringViewArray,
};
use arrow_buffer::{NullBuffer, OffsetBuffer, ScalarBuffer, i256};
use arrow_schema::{DataType, IntervalUnit, Schema, TimeUnit};
use tidegate_core::java;
use tidegate_core::types::units_of;
use tidegate_core::{Error, Result, Units, Zone};

pub use text::write_string;
pub use zone::in_zone;

/// Values nest at most so deep.
pub const MAX_JSON_DEPTH: usize = 64;

/// Refuses a schema with a column that cannot be written as JSON. To be called when a query is planned.
pub fn check_schema(schema: &Schema) -> Result<()> {
    schema.fields().iter().try_for_each(|field| check_type(field.data_type(), field.name(), 0))
}

fn check_type(ty: &DataType, column: &str, depth: usize) -> Result<()> {
    use DataType::*;
    if depth > MAX_JSON_DEPTH {
        return Err(Error::invalid(format!("column '{column}' nests deeper than {MAX_JSON_DEPTH} levels")));
    }
    match ty {
        Null | Boolean | Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 | UInt64 | Float32 | Float64 => Ok(()),
        Utf8 | LargeUtf8 | Utf8View | Binary | LargeBinary | BinaryView | FixedSizeBinary(_) => Ok(()),
        Date32 | Timestamp(_, _) | Decimal128(_, _) | Decimal256(_, _) => Ok(()),
        Duration(TimeUnit::Microsecond) | Interval(IntervalUnit::YearMonth) => Ok(()),
        Dictionary(_, value) => check_type(value, column, depth + 1),
        List(item) | LargeList(item) | FixedSizeList(item, _) => check_type(item.data_type(), column, depth + 1),
        Struct(fields) => fields.iter().try_for_each(|field| check_type(field.data_type(), column, depth + 1)),
        Map(entries, _) => {
            let Struct(fields) = entries.data_type() else { return Err(refused(ty, column)) };
            let [key, value] = fields.as_ref() else { return Err(refused(ty, column)) };
            if key.data_type().is_nested() || key.data_type().is_binary() {
                return Err(Error::invalid(format!(
                    "column '{column}': a map with keys of type {} has no JSON form",
                    key.data_type()
                ))
                .with_help("make the keys strings in the query"));
            }
            check_type(key.data_type(), column, depth + 1)?;
            check_type(value.data_type(), column, depth + 1)
        }
        _ => Err(refused(ty, column)),
    }
}

fn refused(ty: &DataType, column: &str) -> Error {
    Error::invalid(format!("column '{column}' of type {ty} has no JSON form"))
        .with_help("cast it to string in the query")
}

/// Writes rows of one batch as JSON objects.
pub struct RowWriter {
    /// Each column's name, escaped and quoted, with the colon behind it.
    names: Vec<Vec<u8>>,
    columns: Vec<Column>,
}

impl RowWriter {
    /// Looks at every column once. Refuses what [`check_schema`] refuses.
    pub fn new(batch: &RecordBatch) -> Result<Self> {
        let schema = batch.schema();
        check_schema(&schema)?;
        let mut names = Vec::with_capacity(schema.fields().len());
        let mut columns = Vec::with_capacity(schema.fields().len());
        for (field, array) in schema.fields().iter().zip(batch.columns()) {
            names.push(key(field.name()));
            let mut column = Column::new(array, field.name())?;
            if let Values::Interval(_, units) = &mut column.values
                && let Some(counted) = units_of(field)
            {
                *units = counted;
            }
            columns.push(column);
        }
        Ok(Self { names, columns })
    }

    /// Appends the object of `row`.
    pub fn write(&self, row: usize, out: &mut Vec<u8>) {
        out.push(b'{');
        self.fields(row, out);
        out.push(b'}');
    }

    /// Appends the object of `row` with `first` (which ends in a comma) in front of its fields.
    pub fn write_with(&self, first: &[u8], row: usize, out: &mut Vec<u8>) {
        out.push(b'{');
        out.extend_from_slice(first);
        if self.names.is_empty() {
            out.pop();
        }
        self.fields(row, out);
        out.push(b'}');
    }

    fn fields(&self, row: usize, out: &mut Vec<u8>) {
        for (i, (name, column)) in self.names.iter().zip(&self.columns).enumerate() {
            if i > 0 {
                out.push(b',');
            }
            out.extend_from_slice(name);
            column.write(row, out);
        }
    }
}

/// One column whose values are written by themselves: for keys and templates.
pub struct ValueWriter(Column);

impl ValueWriter {
    /// Looks at the column once; `name` is for messages.
    pub fn new(array: &ArrayRef, name: &str) -> Result<Self> {
        check_type(array.data_type(), name, 0)?;
        Column::new(array, name).map(Self)
    }

    /// Appends the JSON value.
    pub fn write(&self, row: usize, out: &mut Vec<u8>) {
        self.0.write(row, out);
    }

    /// The value as bare text: strings as they are, the rest as in JSON without quotes. `None` for null.
    pub fn text(&self, row: usize) -> Option<String> {
        if !self.0.is_valid(row) {
            return None;
        }
        if let Some(text) = self.0.str(row) {
            return Some(text.to_owned());
        }
        let mut out = Vec::new();
        self.0.write(row, &mut out);
        let text = String::from_utf8(out).expect("JSON is UTF-8");
        Some(match text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            Some(bare) => bare.to_owned(),
            None => text,
        })
    }
}

/// All rows, one object a line, each line ended by `\n`.
pub fn rows_json(batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
    let writer = RowWriter::new(batch)?;
    for row in 0..batch.num_rows() {
        writer.write(row, out);
        out.push(b'\n');
    }
    Ok(())
}

fn key(name: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len() + 3);
    write_string(name, &mut out);
    out.push(b':');
    out
}

/// A column with its type resolved.
struct Column {
    nulls: Option<NullBuffer>,
    values: Values,
}

enum Values {
    Null,
    Boolean(BooleanArray),
    Int8(ScalarBuffer<i8>),
    Int16(ScalarBuffer<i16>),
    Int32(ScalarBuffer<i32>),
    Int64(ScalarBuffer<i64>),
    UInt8(ScalarBuffer<u8>),
    UInt16(ScalarBuffer<u16>),
    UInt32(ScalarBuffer<u32>),
    UInt64(ScalarBuffer<u64>),
    Float32(ScalarBuffer<f32>),
    Float64(ScalarBuffer<f64>),
    Decimal128(ScalarBuffer<i128>, i8),
    Decimal256(ScalarBuffer<i256>, i8),
    Date(ScalarBuffer<i32>),
    /// Values, how many of them make a second, and the zone whose clock is shown with its offset.
    Timestamp(ScalarBuffer<i64>, i64, Option<Zone>),
    /// Months or microseconds, and the units that are counted.
    Interval(ScalarBuffer<i64>, Units),
    Utf8(StringArray),
    LargeUtf8(LargeStringArray),
    Utf8View(StringViewArray),
    Binary(BinaryArray),
    LargeBinary(LargeBinaryArray),
    BinaryView(BinaryViewArray),
    FixedBinary(arrow_array::FixedSizeBinaryArray),
    List(OffsetBuffer<i32>, Box<Column>),
    LargeList(OffsetBuffer<i64>, Box<Column>),
    FixedList(usize, Box<Column>),
    Struct(Vec<(Vec<u8>, Column)>),
    Map(OffsetBuffer<i32>, Box<Column>, Box<Column>),
}

fn primitive<T: ArrowPrimitiveType>(array: &ArrayRef) -> ScalarBuffer<T::Native> {
    array.as_primitive::<T>().values().clone()
}

fn timestamps(array: &ArrayRef, unit: TimeUnit) -> (ScalarBuffer<i64>, i64) {
    match unit {
        TimeUnit::Second => (primitive::<TimestampSecondType>(array), 1),
        TimeUnit::Millisecond => (primitive::<TimestampMillisecondType>(array), 1_000),
        TimeUnit::Microsecond => (primitive::<TimestampMicrosecondType>(array), 1_000_000),
        TimeUnit::Nanosecond => (primitive::<TimestampNanosecondType>(array), 1_000_000_000),
    }
}

impl Column {
    fn new(array: &ArrayRef, name: &str) -> Result<Self> {
        if let DataType::Dictionary(_, value) = array.data_type() {
            let plain = arrow_cast::cast(array, value)
                .map_err(|error| Error::internal(format!("column '{name}' cannot be read")).with_source(error))?;
            return Self::new(&plain, name);
        }
        Ok(Self { nulls: array.logical_nulls(), values: Values::new(array, name)? })
    }

    fn is_valid(&self, row: usize) -> bool {
        !matches!(self.values, Values::Null) && self.nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row))
    }

    fn str(&self, row: usize) -> Option<&str> {
        match &self.values {
            Values::Utf8(values) => Some(values.value(row)),
            Values::LargeUtf8(values) => Some(values.value(row)),
            Values::Utf8View(values) => Some(values.value(row)),
            _ => None,
        }
    }

    fn write(&self, row: usize, out: &mut Vec<u8>) {
        if self.is_valid(row) {
            self.values.write(row, out);
        } else {
            out.extend_from_slice(b"null");
        }
    }

    /// A key of a map: always in quotes.
    fn write_key(&self, row: usize, out: &mut Vec<u8>) {
        match &self.values {
            Values::Utf8(_) | Values::LargeUtf8(_) | Values::Utf8View(_) => self.values.write(row, out),
            Values::Timestamp(values, per_second, _) => {
                let micros = i128::from(values[row]) * 1_000_000 / i128::from(*per_second);
                out.extend_from_slice(format!("\"{micros}\"").as_bytes());
            }
            Values::Date(values) => out.extend_from_slice(format!("\"{}\"", values[row]).as_bytes()),
            values => {
                let start = out.len();
                values.write(row, out);
                if out.get(start) != Some(&b'"') {
                    out.insert(start, b'"');
                    out.push(b'"');
                }
            }
        }
    }
}

impl Values {
    fn new(array: &ArrayRef, name: &str) -> Result<Self> {
        Ok(match array.data_type() {
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Boolean(array.as_boolean().clone()),
            DataType::Int8 => Self::Int8(primitive::<Int8Type>(array)),
            DataType::Int16 => Self::Int16(primitive::<Int16Type>(array)),
            DataType::Int32 => Self::Int32(primitive::<Int32Type>(array)),
            DataType::Int64 => Self::Int64(primitive::<Int64Type>(array)),
            DataType::UInt8 => Self::UInt8(primitive::<UInt8Type>(array)),
            DataType::UInt16 => Self::UInt16(primitive::<UInt16Type>(array)),
            DataType::UInt32 => Self::UInt32(primitive::<UInt32Type>(array)),
            DataType::UInt64 => Self::UInt64(primitive::<UInt64Type>(array)),
            DataType::Float32 => Self::Float32(primitive::<Float32Type>(array)),
            DataType::Float64 => Self::Float64(primitive::<Float64Type>(array)),
            DataType::Decimal128(_, scale) => Self::Decimal128(primitive::<Decimal128Type>(array), *scale),
            DataType::Decimal256(_, scale) => Self::Decimal256(primitive::<Decimal256Type>(array), *scale),
            DataType::Date32 => Self::Date(primitive::<Date32Type>(array)),
            DataType::Timestamp(unit, zone) => {
                let (values, per_second) = timestamps(array, *unit);
                Self::Timestamp(values, per_second, zone.as_ref().map(|name| Zone::parse(name).unwrap_or(Zone::UTC)))
            }
            DataType::Duration(TimeUnit::Microsecond) => {
                Self::Interval(primitive::<DurationMicrosecondType>(array), Units::TIME)
            }
            DataType::Interval(IntervalUnit::YearMonth) => {
                let months = primitive::<IntervalYearMonthType>(array);
                Self::Interval(months.iter().map(|months| i64::from(*months)).collect(), Units::MONTHS)
            }
            DataType::Utf8 => Self::Utf8(array.as_string().clone()),
            DataType::LargeUtf8 => Self::LargeUtf8(array.as_string().clone()),
            DataType::Utf8View => Self::Utf8View(array.as_string_view().clone()),
            DataType::Binary => Self::Binary(array.as_binary().clone()),
            DataType::LargeBinary => Self::LargeBinary(array.as_binary().clone()),
            DataType::BinaryView => Self::BinaryView(array.as_binary_view().clone()),
            DataType::FixedSizeBinary(_) => Self::FixedBinary(array.as_fixed_size_binary().clone()),
            _ => return Self::nested(array, name),
        })
    }

    fn nested(array: &ArrayRef, name: &str) -> Result<Self> {
        let column = |array: &ArrayRef| Column::new(array, name).map(Box::new);
        Ok(match array.data_type() {
            DataType::List(_) => {
                Self::List(array.as_list::<i32>().offsets().clone(), column(array.as_list::<i32>().values())?)
            }
            DataType::LargeList(_) => {
                Self::LargeList(array.as_list::<i64>().offsets().clone(), column(array.as_list::<i64>().values())?)
            }
            DataType::FixedSizeList(_, length) => {
                Self::FixedList(usize::try_from(*length).unwrap_or(0), column(array.as_fixed_size_list().values())?)
            }
            DataType::Struct(fields) => Self::Struct(
                fields
                    .iter()
                    .zip(array.as_struct().columns())
                    .map(|(field, array)| Ok((key(field.name()), Column::new(array, name)?)))
                    .collect::<Result<_>>()?,
            ),
            DataType::Map(_, _) => {
                let map = array.as_map();
                Self::Map(map.offsets().clone(), column(map.keys())?, column(map.values())?)
            }
            other => return Err(refused(other, name)),
        })
    }

    fn write(&self, row: usize, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Boolean(values) => out.extend_from_slice(if values.value(row) { b"true" } else { b"false" }),
            Self::Int8(values) => text::integer(values[row], out),
            Self::Int16(values) => text::integer(values[row], out),
            Self::Int32(values) => text::integer(values[row], out),
            Self::Int64(values) => text::integer(values[row], out),
            Self::UInt8(values) => text::integer(values[row], out),
            Self::UInt16(values) => text::integer(values[row], out),
            Self::UInt32(values) => text::integer(values[row], out),
            Self::UInt64(values) => text::integer(values[row], out),
            Self::Float32(values) => number(values[row].is_finite(), out, |out| java::write_f32(values[row], out)),
            Self::Float64(values) => number(values[row].is_finite(), out, |out| java::write_f64(values[row], out)),
            Self::Decimal128(values, scale) => {
                text::decimal(itoa::Buffer::new().format(values[row]).as_bytes(), *scale, out);
            }
            Self::Decimal256(values, scale) => text::decimal(values[row].to_string().as_bytes(), *scale, out),
            Self::Date(values) => text::date(values[row], out),
            Self::Timestamp(values, per_second, zone) => text::timestamp(values[row], *per_second, *zone, out),
            Self::Interval(values, units) => write_string(&units.text(values[row]), out),
            Self::Utf8(values) => write_string(values.value(row), out),
            Self::LargeUtf8(values) => write_string(values.value(row), out),
            Self::Utf8View(values) => write_string(values.value(row), out),
            Self::Binary(values) => text::base64(values.value(row), out),
            Self::LargeBinary(values) => text::base64(values.value(row), out),
            Self::BinaryView(values) => text::base64(values.value(row), out),
            Self::FixedBinary(values) => text::base64(values.value(row), out),
            Self::List(offsets, items) => list(items, offsets[row] as usize..offsets[row + 1] as usize, out),
            Self::LargeList(offsets, items) => list(items, offsets[row] as usize..offsets[row + 1] as usize, out),
            Self::FixedList(length, items) => list(items, row * length..(row + 1) * length, out),
            Self::Struct(fields) => {
                out.push(b'{');
                for (i, (name, column)) in fields.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    out.extend_from_slice(name);
                    column.write(row, out);
                }
                out.push(b'}');
            }
            Self::Map(offsets, keys, values) => {
                out.push(b'{');
                for (i, entry) in (offsets[row] as usize..offsets[row + 1] as usize).enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    keys.write_key(entry, out);
                    out.push(b':');
                    values.write(entry, out);
                }
                out.push(b'}');
            }
        }
    }
}

fn list(items: &Column, range: std::ops::Range<usize>, out: &mut Vec<u8>) {
    out.push(b'[');
    for (i, item) in range.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        items.write(item, out);
    }
    out.push(b']');
}
