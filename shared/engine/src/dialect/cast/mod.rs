//! `CAST` and `TRY_CAST` as Spark's ANSI mode does them.

pub(in crate::dialect) mod interval;
mod number;
pub mod text;

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, BooleanArray, Decimal128Array, ListArray, MapArray,
    PrimitiveArray, StringArray, StringBuilder, StructArray, new_null_array,
};
use datafusion::arrow::compute;
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, DurationMicrosecondType, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, IntervalMonthDayNanoType, IntervalUnit, IntervalYearMonthType, TimeUnit,
    TimestampMicrosecondType,
};
use datafusion::error::Result;
use datafusion::logical_expr::ColumnarValue;
use datafusion::scalar::ScalarValue;
use tidegate_core::{Units, Zone};

use self::number::numeric;
pub use self::number::{decimal_to_double, divide_half_up, divide_half_up_wide};
use self::text::{DAY, Fit, SECOND};
use super::error::RowError;
use super::types::{decimal_of, is_decimal, is_float, is_integer, is_numeric, is_string, sql_name};

/// What happens to a value that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The row raises.
    Raise,
    /// The result is NULL.
    Null,
}

/// Whether Spark knows a cast between two types.
pub fn allowed(from: &DataType, to: &DataType) -> bool {
    use DataType as T;
    if from == to || matches!(from, T::Null) {
        return true;
    }
    match (from, to) {
        (T::UInt8 | T::UInt16 | T::UInt32 | T::UInt64, T::Int32 | T::Int64) => true,
        (_, _) if is_string(to) => true,
        (_, T::Binary) => is_string(from) || is_integer(from) || matches!(from, T::Binary),
        (T::List(a), T::List(b)) => allowed(a.data_type(), b.data_type()),
        (T::Struct(a), T::Struct(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| allowed(a.data_type(), b.data_type()))
        }
        (T::Map(a, _), T::Map(b, _)) => match (a.data_type(), b.data_type()) {
            (T::Struct(a), T::Struct(b)) => a.iter().zip(b).all(|(a, b)| allowed(a.data_type(), b.data_type())),
            _ => false,
        },
        _ if is_string(from) => {
            is_numeric(to)
                || matches!(to, T::Boolean | T::Date32 | T::Timestamp(_, _) | T::Duration(_))
                || matches!(to, T::Interval(IntervalUnit::YearMonth))
        }
        _ if is_numeric(from) => is_numeric(to) || matches!(to, T::Boolean | T::Timestamp(_, Some(_))),
        (T::Boolean, _) => is_numeric(to),
        (T::Date32, T::Timestamp(_, _)) | (T::Timestamp(_, _), T::Date32 | T::Timestamp(_, _)) => true,
        (T::Timestamp(_, Some(_)), _) => is_numeric(to),
        _ => false,
    }
}

/// Whether some values of a type do not fit another one.
pub fn can_fail(from: &DataType, to: &DataType) -> bool {
    use DataType as T;
    match (from, to) {
        (T::Null, _) | (_, T::Float32 | T::Float64 | T::Boolean) if !is_string(from) => false,
        (T::List(a), T::List(b)) => can_fail(a.data_type(), b.data_type()),
        (T::Struct(a), T::Struct(b)) => a.iter().zip(b).any(|(a, b)| can_fail(a.data_type(), b.data_type())),
        (_, T::Binary) => false,
        _ if is_string(to) => false,
        (_, T::Decimal128(precision, scale)) if !is_string(from) => match decimal_of(from) {
            Some((own, digits)) => {
                let (before, room) = (own as i8 - digits, *precision as i8 - scale);
                room < before || room == before && *scale < digits
            }
            None => true,
        },
        (T::Date32, T::Timestamp(_, _)) | (T::Timestamp(_, _), T::Date32 | T::Timestamp(_, _) | T::Int64) => false,
        (_, T::Timestamp(_, _)) => !is_integer(from),
        _ => true,
    }
}

/// Casts that Arrow's own kernel answers as Spark does, so that the optimiser may see them.
pub fn is_plain(from: &DataType, to: &DataType, zone: Zone) -> bool {
    use DataType as T;
    match (from, to) {
        (T::Null, _) | (T::UInt8 | T::UInt16 | T::UInt32 | T::UInt64, T::Int32 | T::Int64) => true,
        (T::Int8, T::Int16 | T::Int32 | T::Int64)
        | (T::Int16, T::Int32 | T::Int64)
        | (T::Int32, T::Int64)
        | (T::Float32, T::Float64)
        | (T::Date32, T::Timestamp(TimeUnit::Microsecond, None)) => true,
        (T::Date32, T::Timestamp(TimeUnit::Microsecond, Some(_))) => zone == Zone::UTC,
        (_, T::Float32 | T::Float64) => is_integer(from),
        _ => is_string(from) && is_string(to),
    }
}

/// Casts a column value; scalars stay scalars.
pub fn cast_value(value: &ColumnarValue, to: &DataType, mode: Mode, zone: Zone) -> Result<ColumnarValue> {
    match value {
        ColumnarValue::Array(array) => Ok(ColumnarValue::Array(cast_in(array, to, mode, zone)?)),
        ColumnarValue::Scalar(scalar) => {
            let array = cast_in(&scalar.to_array()?, to, mode, zone)?;
            Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?))
        }
    }
}

/// Casts an array of values that no time zone governs.
pub fn cast(array: &ArrayRef, to: &DataType, mode: Mode) -> Result<ArrayRef> {
    cast_in(array, to, mode, Zone::UTC)
}

/// Casts an array in a session time zone.
pub fn cast_in(array: &ArrayRef, to: &DataType, mode: Mode, zone: Zone) -> Result<ArrayRef> {
    use DataType as T;
    let from = array.data_type();
    if from == to {
        return Ok(Arc::clone(array));
    }
    if matches!(from, T::Null) || array.null_count() == array.len() {
        return Ok(new_null_array(to, array.len()));
    }
    if is_plain(from, to, zone) {
        return Ok(compute::cast(array, to)?);
    }
    match (from, to) {
        (T::LargeUtf8 | T::Utf8View, _) => cast_in(&compute::cast(array, &T::Utf8)?, to, mode, zone),
        (T::Dictionary(_, inner), _) => cast_in(&compute::cast(array, inner)?, to, mode, zone),
        (_, T::Utf8) => to_text(array, zone),
        (_, T::LargeUtf8 | T::Utf8View) => Ok(compute::cast(&to_text(array, zone)?, to)?),
        (T::Utf8, _) => from_text(array.as_string::<i32>(), to, mode, zone),
        (T::Timestamp(_, _), _) => from_timestamp(array, to, mode, zone),
        (T::Date32, T::Timestamp(_, Some(_))) => Ok(starts_of_days(array, to, zone)),
        (_, T::Timestamp(_, _)) => to_timestamp(array, to, mode),
        (T::Boolean, _) if is_numeric(to) => cast(&compute::cast(array, &T::Int32)?, to, mode),
        (_, T::Boolean) if is_numeric(from) => Ok(compute::cast(&compute::cast(array, &T::Float64)?, to)?),
        (_, T::Binary) if is_integer(from) => Ok(integers_to_bytes(array)),
        _ if is_numeric(from) && is_numeric(to) => numeric(array, to, mode),
        (T::List(_), T::List(_)) | (T::Struct(_), T::Struct(_)) | (T::Map(_, _), T::Map(_, _)) => {
            nested(array, to, mode, zone)
        }
        _ => Ok(compute::cast(array, to)?),
    }
}

fn bad_input(text: &str, to: &DataType) -> RowError {
    let to = sql_name(to).to_uppercase();
    RowError::new("CAST_INVALID_INPUT", format!("the value '{text}' of the type \"STRING\" cannot be cast to \"{to}\""))
}

fn overflow(value: impl std::fmt::Display, from: &DataType, to: &DataType) -> RowError {
    let (from, to) = (sql_name(from).to_uppercase(), sql_name(to).to_uppercase());
    RowError::new("CAST_OVERFLOW", format!("the value {value} of the type \"{from}\" cannot be cast to \"{to}\""))
}

fn too_large(value: impl std::fmt::Display, to: &DataType) -> RowError {
    let (precision, scale) = match to {
        DataType::Decimal128(precision, scale) => (*precision, *scale),
        _ => (0, 0),
    };
    RowError::new(
        "NUMERIC_VALUE_OUT_OF_RANGE.WITH_SUGGESTION",
        format!("{value} cannot be represented as Decimal({precision}, {scale})"),
    )
}

fn keep<T>(value: Option<T>, mode: Mode, error: impl FnOnce() -> RowError) -> Result<Option<T>, RowError> {
    match (value, mode) {
        (None, Mode::Raise) => Err(error()),
        (value, _) => Ok(value),
    }
}

fn parse<T: ArrowPrimitiveType>(
    texts: &StringArray,
    to: &DataType,
    mode: Mode,
    read: impl Fn(&str) -> Option<T::Native>,
) -> Result<ArrayRef> {
    let values = texts
        .iter()
        .map(|text| match text {
            None => Ok(None),
            Some(text) => keep(read(text), mode, || bad_input(text, to)),
        })
        .collect::<Result<PrimitiveArray<T>, RowError>>()?;
    Ok(Arc::new(values.with_data_type(to.clone())))
}

fn from_text(texts: &StringArray, to: &DataType, mode: Mode, zone: Zone) -> Result<ArrayRef> {
    use DataType as T;
    match to {
        T::Int8 => parse::<Int8Type>(texts, to, mode, |t| text::read_integer(t)?.try_into().ok()),
        T::Int16 => parse::<Int16Type>(texts, to, mode, |t| text::read_integer(t)?.try_into().ok()),
        T::Int32 => parse::<Int32Type>(texts, to, mode, |t| text::read_integer(t)?.try_into().ok()),
        T::Int64 => parse::<Int64Type>(texts, to, mode, text::read_integer),
        T::Float32 => parse::<Float32Type>(texts, to, mode, |t| Some(text::read_double(t)? as f32)),
        T::Float64 => parse::<Float64Type>(texts, to, mode, text::read_double),
        T::Date32 => parse::<Date32Type>(texts, to, mode, text::read_date),
        T::Timestamp(_, Some(_)) => {
            parse::<TimestampMicrosecondType>(texts, to, mode, |t| text::read_timestamp(t, zone))
        }
        T::Timestamp(_, None) => parse::<TimestampMicrosecondType>(texts, to, mode, text::read_local_timestamp),
        T::Boolean => {
            let values = texts
                .iter()
                .map(|text| match text {
                    None => Ok(None),
                    Some(text) => keep(text::read_boolean(text), mode, || bad_input(text, to)),
                })
                .collect::<Result<BooleanArray, RowError>>()?;
            Ok(Arc::new(values))
        }
        T::Decimal128(precision, scale) => {
            let values = texts
                .iter()
                .map(|text| match text {
                    None => Ok(None),
                    Some(text) => match text::read_decimal(text, *precision, *scale) {
                        Fit::Value(value) => Ok(Some(value)),
                        Fit::TooLarge => keep(None, mode, || too_large(text, to)),
                        Fit::NoNumber => keep(None, mode, || bad_input(text, to)),
                    },
                })
                .collect::<Result<Decimal128Array, RowError>>()?;
            Ok(Arc::new(values.with_precision_and_scale(*precision, *scale)?))
        }
        T::Duration(_) => parse::<DurationMicrosecondType>(texts, to, mode, interval::read_days),
        T::Interval(IntervalUnit::YearMonth) => parse::<IntervalYearMonthType>(texts, to, mode, interval::read_months),
        T::Binary => Ok(Arc::new(texts.iter().map(|text| text.map(str::as_bytes)).collect::<BinaryArray>())),
        _ => Ok(compute::cast(texts, to)?),
    }
}

/// The text of one value as a cast to string gives it. Not called for nulls.
pub fn write_value(out: &mut String, array: &ArrayRef, row: usize, zone: Zone) -> Result<()> {
    use DataType as T;
    match array.data_type() {
        T::Float64 => text::write_double(out, array.as_primitive::<Float64Type>().value(row)),
        T::Float32 => text::write_float(out, array.as_primitive::<Float32Type>().value(row)),
        T::Decimal128(_, scale) => text::write_decimal(out, array.as_primitive::<Decimal128Type>().value(row), *scale),
        T::Date32 => text::write_date(out, i64::from(array.as_primitive::<Date32Type>().value(row))),
        T::Timestamp(TimeUnit::Microsecond, zoned) => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
            text::write_timestamp(out, if zoned.is_some() { zone.to_local(micros) } else { micros });
        }
        T::Duration(TimeUnit::Microsecond) => {
            Units::TIME.write(array.as_primitive::<DurationMicrosecondType>().value(row), out);
        }
        T::Interval(IntervalUnit::YearMonth) => {
            Units::MONTHS.write(array.as_primitive::<IntervalYearMonthType>().value(row).into(), out);
        }
        T::Interval(IntervalUnit::MonthDayNano) => {
            interval::write_calendar(out, array.as_primitive::<IntervalMonthDayNanoType>().value(row));
        }
        T::Binary => out.push_str(&String::from_utf8_lossy(array.as_binary::<i32>().value(row))),
        T::Utf8 => out.push_str(array.as_string::<i32>().value(row)),
        T::List(_) => {
            let items = array.as_list::<i32>().value(row);
            write_sequence(out, '[', ']', items.len(), |out, i| write_or_null(out, &items, i, zone))?;
        }
        T::Struct(_) => {
            let columns = array.as_struct().columns();
            write_sequence(out, '{', '}', columns.len(), |out, i| write_or_null(out, &columns[i], row, zone))?;
        }
        T::Map(_, _) => {
            let entries = array.as_map().value(row);
            let (keys, values) = (Arc::clone(entries.column(0)), Arc::clone(entries.column(1)));
            write_sequence(out, '{', '}', entries.len(), |out, i| {
                write_or_null(out, &keys, i, zone)?;
                out.push_str(" -> ");
                write_or_null(out, &values, i, zone)
            })?;
        }
        _ => out.push_str(compute::cast(&array.slice(row, 1), &T::Utf8)?.as_string::<i32>().value(0)),
    }
    Ok(())
}

fn write_or_null(out: &mut String, array: &ArrayRef, row: usize, zone: Zone) -> Result<()> {
    if array.is_null(row) {
        out.push_str("null");
        return Ok(());
    }
    write_value(out, array, row, zone)
}

fn write_sequence(
    out: &mut String,
    open: char,
    close: char,
    length: usize,
    write: impl Fn(&mut String, usize) -> Result<()>,
) -> Result<()> {
    out.push(open);
    for i in 0..length {
        if i > 0 {
            out.push_str(", ");
        }
        write(out, i)?;
    }
    out.push(close);
    Ok(())
}

fn to_text(array: &ArrayRef, zone: Zone) -> Result<ArrayRef> {
    use DataType as T;
    if matches!(array.data_type(), T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::Boolean) {
        return Ok(compute::cast(array, &T::Utf8)?);
    }
    let mut builder = StringBuilder::with_capacity(array.len(), array.len() * 16);
    let mut text = String::new();
    for row in 0..array.len() {
        if array.is_null(row) {
            builder.append_null();
            continue;
        }
        text.clear();
        write_value(&mut text, array, row, zone)?;
        builder.append_value(&text);
    }
    Ok(Arc::new(builder.finish()))
}

fn integers_to_bytes(array: &ArrayRef) -> ArrayRef {
    fn bytes<T: ArrowPrimitiveType>(array: &ArrayRef, write: impl Fn(T::Native) -> Vec<u8>) -> ArrayRef {
        Arc::new(array.as_primitive::<T>().iter().map(|value| value.map(&write)).collect::<BinaryArray>())
    }
    match array.data_type() {
        DataType::Int8 => bytes::<Int8Type>(array, |v| v.to_be_bytes().to_vec()),
        DataType::Int16 => bytes::<Int16Type>(array, |v| v.to_be_bytes().to_vec()),
        DataType::Int32 => bytes::<Int32Type>(array, |v| v.to_be_bytes().to_vec()),
        _ => bytes::<Int64Type>(array, |v| v.to_be_bytes().to_vec()),
    }
}

fn from_timestamp(array: &ArrayRef, to: &DataType, mode: Mode, zone: Zone) -> Result<ArrayRef> {
    use DataType as T;
    if !matches!(array.data_type(), T::Timestamp(TimeUnit::Microsecond, _)) {
        let T::Timestamp(_, zoned) = array.data_type() else { return Ok(compute::cast(array, to)?) };
        let micros = compute::cast(array, &T::Timestamp(TimeUnit::Microsecond, zoned.clone()))?;
        return cast_in(&micros, to, mode, zone);
    }
    let micros = array.as_primitive::<TimestampMicrosecondType>();
    let zoned = |ty: &DataType| matches!(ty, T::Timestamp(_, Some(_)));
    let zone = if zoned(array.data_type()) || zoned(to) { zone } else { Zone::UTC };
    match to {
        T::Timestamp(_, _) => {
            let moved = match (zoned(array.data_type()), zoned(to)) {
                (true, false) if zone != Zone::UTC => micros.unary(|micros| zone.to_local(micros)),
                (false, true) if zone != Zone::UTC => micros.unary_opt(|local| zone.to_utc(local)),
                _ => micros.clone(),
            };
            Ok(Arc::new(moved.with_data_type(to.clone())))
        }
        T::Date32 => Ok(Arc::new(micros.unary::<_, Date32Type>(|micros| {
            zone.to_local(micros).div_euclid(DAY).clamp(i32::MIN.into(), i32::MAX.into()) as i32
        }))),
        T::Float32 | T::Float64 => {
            let seconds: ArrayRef = Arc::new(micros.unary::<_, Float64Type>(|micros| micros as f64 / SECOND as f64));
            Ok(compute::cast(&seconds, to)?)
        }
        T::Decimal128(_, _) => {
            let seconds = micros.unary::<_, Decimal128Type>(i128::from).with_precision_and_scale(20, 6)?;
            cast(&(Arc::new(seconds) as ArrayRef), to, mode)
        }
        _ => {
            let seconds: ArrayRef = Arc::new(micros.unary::<_, Int64Type>(|micros| micros.div_euclid(SECOND)));
            cast(&seconds, to, mode)
        }
    }
}

fn to_timestamp(array: &ArrayRef, to: &DataType, mode: Mode) -> Result<ArrayRef> {
    use DataType as T;
    let from = array.data_type();
    let micros: PrimitiveArray<TimestampMicrosecondType> = if is_float(from) {
        let seconds = compute::cast(array, &T::Float64)?;
        seconds
            .as_primitive::<Float64Type>()
            .iter()
            .map(|seconds| match seconds {
                None => Ok(None),
                Some(value) if value.is_finite() => {
                    let micros = value * SECOND as f64;
                    let fits = micros.abs() < i64::MAX as f64;
                    keep(fits.then_some(micros as i64), mode, || overflow(value, from, to))
                }
                Some(value) => keep(None, mode, || {
                    let to = sql_name(to).to_uppercase();
                    RowError::new(
                        "CAST_INVALID_INPUT",
                        format!("{value} of the type \"DOUBLE\" cannot be cast to \"{to}\""),
                    )
                }),
            })
            .collect::<Result<_, RowError>>()?
    } else if is_decimal(from) {
        let exact = cast(array, &T::Decimal128(38, 6), mode)?;
        exact.as_primitive::<Decimal128Type>().unary_opt(|value| i64::try_from(value).ok())
    } else {
        let seconds = compute::cast(array, &T::Int64)?;
        seconds.as_primitive::<Int64Type>().unary(|seconds| seconds.saturating_mul(SECOND))
    };
    Ok(Arc::new(micros.with_data_type(to.clone())))
}

/// Days as the instants at which they start in a zone.
fn starts_of_days(array: &ArrayRef, to: &DataType, zone: Zone) -> ArrayRef {
    let days = array.as_primitive::<Date32Type>();
    let starts = days.unary_opt::<_, TimestampMicrosecondType>(|day| {
        let midnight = i64::from(day).checked_mul(DAY)?;
        if zone == Zone::UTC { Some(midnight) } else { zone.start_of_day(midnight) }
    });
    Arc::new(starts.with_data_type(to.clone()))
}

fn nested(array: &ArrayRef, to: &DataType, mode: Mode, zone: Zone) -> Result<ArrayRef> {
    use DataType as T;
    match to {
        T::List(item) => {
            let list = array.as_list::<i32>();
            let values = cast_in(list.values(), item.data_type(), mode, zone)?;
            Ok(Arc::new(ListArray::try_new(Arc::clone(item), list.offsets().clone(), values, list.nulls().cloned())?))
        }
        T::Struct(fields) => {
            let from = array.as_struct();
            let columns = from
                .columns()
                .iter()
                .zip(fields)
                .map(|(column, field)| cast_in(column, field.data_type(), mode, zone))
                .collect::<Result<Vec<_>>>()?;
            Ok(Arc::new(StructArray::try_new(fields.clone(), columns, from.nulls().cloned())?))
        }
        T::Map(entries, sorted) => {
            let map = array.as_map();
            let inner: ArrayRef = Arc::new(map.entries().clone());
            let inner = nested(&inner, entries.data_type(), mode, zone)?;
            Ok(Arc::new(MapArray::try_new(
                Arc::clone(entries),
                map.offsets().clone(),
                inner.as_struct().clone(),
                map.nulls().cloned(),
                *sorted,
            )?))
        }
        _ => Ok(compute::cast(array, to)?),
    }
}
