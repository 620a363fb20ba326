//! Spark's types over Arrow's: common types, decimal results, and what casts without being asked.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use tidegate_core::Units;
pub use tidegate_core::types::{all_units, spark_name as sql_name, spark_name_of as sql_name_of, units_of};

/// Digits that a decimal can have.
pub const MAX_PRECISION: u8 = 38;
/// Digits behind the point that an operation keeps when its exact result does not fit.
const MINIMUM_ADJUSTED_SCALE: i32 = 6;

/// `timestamp`: an instant in microseconds.
pub fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC")))
}

/// `timestamp_ntz`.
pub fn timestamp_ntz() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
}

/// `interval day to second`.
pub fn day_time() -> DataType {
    DataType::Duration(TimeUnit::Microsecond)
}

/// `array<t>`.
pub fn array_of(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, true)))
}

/// Text in any of Arrow's forms.
pub fn is_string(ty: &DataType) -> bool {
    matches!(ty, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// `tinyint` to `bigint`.
pub fn is_integer(ty: &DataType) -> bool {
    matches!(ty, DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64)
}

/// `float` and `double`.
pub fn is_float(ty: &DataType) -> bool {
    matches!(ty, DataType::Float32 | DataType::Float64)
}

/// `decimal(p,s)`.
pub fn is_decimal(ty: &DataType) -> bool {
    matches!(ty, DataType::Decimal128(_, _))
}

/// Integers, floats and decimals.
pub fn is_numeric(ty: &DataType) -> bool {
    is_integer(ty) || is_float(ty) || is_decimal(ty)
}

/// With or without zone.
pub fn is_timestamp(ty: &DataType) -> bool {
    matches!(ty, DataType::Timestamp(_, _))
}

/// The decimal that holds every value of a type exactly.
pub fn decimal_of(ty: &DataType) -> Option<(u8, i8)> {
    match ty {
        DataType::Int8 => Some((3, 0)),
        DataType::Int16 => Some((5, 0)),
        DataType::Int32 => Some((10, 0)),
        DataType::Int64 => Some((20, 0)),
        DataType::Decimal128(precision, scale) => Some((*precision, *scale)),
        _ => None,
    }
}

fn integer_rank(ty: &DataType) -> u8 {
    match ty {
        DataType::Int8 => 1,
        DataType::Int16 => 2,
        DataType::Int32 => 3,
        _ => 4,
    }
}

/// The type that two values have in common, as ANSI mode finds it; `None` where Spark refuses.
pub fn common(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType as T;
    if a == b {
        return Some(a.clone());
    }
    match (a, b) {
        (T::Null, other) | (other, T::Null) => Some(plain(other)),
        _ if is_string(a) && is_string(b) => Some(T::Utf8),
        _ if is_string(a) => common_with_string(b),
        _ if is_string(b) => common_with_string(a),
        _ if is_integer(a) && is_integer(b) => {
            Some(if integer_rank(a) >= integer_rank(b) { a.clone() } else { b.clone() })
        }
        _ if is_numeric(a) && is_numeric(b) => {
            if is_float(a) || is_float(b) {
                return Some(T::Float64);
            }
            let ((p1, s1), (p2, s2)) = (decimal_of(a)?, decimal_of(b)?);
            Some(wider_decimal(p1, s1, p2, s2))
        }
        (T::Date32, T::Timestamp(_, _)) => Some(b.clone()),
        (T::Timestamp(_, _), T::Date32) => Some(a.clone()),
        (T::Timestamp(_, _), T::Timestamp(_, _)) => Some(timestamp()),
        (T::List(x), T::List(y)) => Some(array_of(common(x.data_type(), y.data_type())?)),
        (T::Struct(x), T::Struct(y)) if x.len() == y.len() => {
            let fields = x
                .iter()
                .zip(y)
                .map(|(x, y)| Some(Field::new(x.name(), common(x.data_type(), y.data_type())?, true)))
                .collect::<Option<Vec<_>>>()?;
            Some(T::Struct(Fields::from(fields)))
        }
        (T::Map(x, _), T::Map(y, _)) => common_map(x, y),
        _ => None,
    }
}

fn common_map(x: &Field, y: &Field) -> Option<DataType> {
    let (DataType::Struct(x), DataType::Struct(y)) = (x.data_type(), y.data_type()) else { return None };
    Some(map_of(common(x[0].data_type(), y[0].data_type())?, common(x[1].data_type(), y[1].data_type())?))
}

/// `map<k,v>`.
pub fn map_of(key: DataType, value: DataType) -> DataType {
    let entries = Fields::from(vec![Field::new("key", key, false), Field::new("value", value, true)]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false)
}

fn common_with_string(other: &DataType) -> Option<DataType> {
    match other {
        _ if is_integer(other) => Some(DataType::Int64),
        _ if is_float(other) || is_decimal(other) => Some(DataType::Float64),
        DataType::Boolean | DataType::Date32 | DataType::Timestamp(_, _) | DataType::Binary => Some(other.clone()),
        _ => None,
    }
}

/// The type that all values have in common.
pub fn common_of(types: &[DataType]) -> Option<DataType> {
    types.iter().try_fold(DataType::Null, |sum, next| common(&sum, next))
}

/// The form that the dialect computes in: text is `Utf8`.
pub fn plain(ty: &DataType) -> DataType {
    if is_string(ty) { DataType::Utf8 } else { ty.clone() }
}

fn wider_decimal(p1: u8, s1: i8, p2: u8, s2: i8) -> DataType {
    let scale = i32::from(s1.max(s2));
    let integral = (i32::from(p1) - i32::from(s1)).max(i32::from(p2) - i32::from(s2));
    bounded(integral + scale, scale)
}

/// Cuts a decimal type to 38 digits; digits before the point go first.
pub fn bounded(precision: i32, scale: i32) -> DataType {
    let max = i32::from(MAX_PRECISION);
    if precision <= max {
        return DataType::Decimal128(precision as u8, scale as i8);
    }
    DataType::Decimal128(MAX_PRECISION, (max - (precision - scale)).max(0) as i8)
}

/// The same for results of operations, which keep six digits behind the point where they had them.
fn adjusted(precision: i32, scale: i32) -> DataType {
    let max = i32::from(MAX_PRECISION);
    if precision <= max {
        return DataType::Decimal128(precision as u8, scale as i8);
    }
    let kept = scale.min(MINIMUM_ADJUSTED_SCALE);
    DataType::Decimal128(MAX_PRECISION, (max - (precision - scale)).max(kept) as i8)
}

/// An operation on numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arithmetic {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`, the sign of the dividend.
    Remainder,
    /// `pmod`, never negative for a positive divisor.
    Modulo,
    /// `div`
    IntegralDivide,
}

/// The type of a decimal operation.
pub fn decimal_result(op: Arithmetic, (p1, s1): (u8, i8), (p2, s2): (u8, i8)) -> DataType {
    let (p1, s1, p2, s2) = (i32::from(p1), i32::from(s1), i32::from(p2), i32::from(s2));
    match op {
        Arithmetic::Add | Arithmetic::Subtract => {
            let scale = s1.max(s2);
            adjusted((p1 - s1).max(p2 - s2) + scale + 1, scale)
        }
        Arithmetic::Multiply => adjusted(p1 + p2 + 1, s1 + s2),
        Arithmetic::Divide => {
            let scale = (s1 + p2 + 1).max(MINIMUM_ADJUSTED_SCALE);
            adjusted(p1 - s1 + s2 + scale, scale)
        }
        Arithmetic::Remainder | Arithmetic::Modulo => {
            let scale = s1.max(s2);
            adjusted((p1 - s1).min(p2 - s2) + scale, scale)
        }
        Arithmetic::IntegralDivide => DataType::Int64,
    }
}

/// The mark of a column whose intervals count these units; none where they count all of their kind.
pub fn mark_of(units: Units) -> Option<(String, String)> {
    (units != Units::TIME && units != Units::MONTHS).then(|| (Units::KEY.to_owned(), units.name()))
}
