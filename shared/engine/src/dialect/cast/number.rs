//! Casts from number to number.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, Decimal128Array, PrimitiveArray};
use datafusion::arrow::compute;
use datafusion::arrow::datatypes::{
    DataType, Decimal128Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, i256,
};
use datafusion::error::Result;
use tidegate_core::Zone;

use super::text::{self, Fit};
use super::{Mode, keep, overflow, too_large};
use crate::dialect::error::RowError;
use crate::dialect::types::{is_float, is_integer};

pub(super) fn numeric(array: &ArrayRef, to: &DataType, mode: Mode) -> Result<ArrayRef> {
    use DataType as T;
    let from = array.data_type();
    match (from, to) {
        (T::Decimal128(_, scale), T::Decimal128(_, _)) => rescale(array, *scale, to, mode),
        (_, T::Decimal128(_, _)) if is_integer(from) => {
            let wide = compute::cast(array, &T::Int64)?;
            let exact = wide.as_primitive::<Int64Type>().unary::<_, Decimal128Type>(i128::from);
            rescale(&(Arc::new(exact.with_precision_and_scale(20, 0)?) as ArrayRef), 0, to, mode)
        }
        // By way of its double, as in Spark: 0.1 of a float is 0.1000000015.
        (T::Float32, T::Decimal128(_, _)) => numeric(&compute::cast(array, &T::Float64)?, to, mode),
        (_, T::Decimal128(precision, scale)) => {
            let texts = super::to_text(array, Zone::UTC)?;
            let values = texts
                .as_string::<i32>()
                .iter()
                .map(|text| match text {
                    None => Ok(None),
                    // NaN and the infinities have no decimal.
                    Some(text) => match text::read_decimal(text, *precision, *scale) {
                        Fit::Value(value) => Ok(Some(value)),
                        Fit::NoNumber => Ok(None),
                        Fit::TooLarge => keep(None, mode, || too_large(text, to)),
                    },
                })
                .collect::<Result<Decimal128Array, RowError>>()?;
            Ok(Arc::new(values.with_precision_and_scale(*precision, *scale)?))
        }
        (T::Decimal128(_, scale), T::Float32 | T::Float64) => {
            let doubles: ArrayRef = Arc::new(decimal_to_double(array.as_primitive::<Decimal128Type>(), *scale));
            Ok(compute::cast(&doubles, to)?)
        }
        (T::Decimal128(_, scale), _) => {
            let divisor = 10_i128.pow(scale.unsigned_abs().into());
            let whole = array.as_primitive::<Decimal128Type>();
            let wide = whole
                .iter()
                .map(|value| match value {
                    None => Ok(None),
                    Some(value) => keep(i64::try_from(value / divisor).ok(), mode, || overflow(value, from, to)),
                })
                .collect::<Result<PrimitiveArray<Int64Type>, RowError>>()?;
            narrow(&(Arc::new(wide) as ArrayRef), from, to, mode)
        }
        _ if is_float(from) && is_integer(to) => float_to_integer(array, to, mode),
        _ if is_float(from) => Ok(compute::cast(array, to)?),
        _ => narrow(&compute::cast(array, &T::Int64)?, from, to, mode),
    }
}

/// A decimal's nearest double.
pub fn decimal_to_double(values: &Decimal128Array, scale: i8) -> PrimitiveArray<Float64Type> {
    let divisor = 10_f64.powi(scale.into());
    values.unary(|value| {
        // Both sides are exact, so the quotient is rounded once.
        if value.unsigned_abs() < 1 << 53 && scale <= 22 {
            return value as f64 / divisor;
        }
        let mut text = String::new();
        text::write_decimal(&mut text, value, scale);
        text.parse().unwrap_or(f64::NAN)
    })
}

fn narrow(wide: &ArrayRef, from: &DataType, to: &DataType, mode: Mode) -> Result<ArrayRef> {
    if to == &DataType::Int64 {
        return Ok(Arc::clone(wide));
    }
    fn to_type<T: ArrowPrimitiveType>(wide: &ArrayRef, from: &DataType, to: &DataType, mode: Mode) -> Result<ArrayRef>
    where
        T::Native: TryFrom<i64>,
    {
        let all = wide.as_primitive::<Int64Type>();
        // Values behind nulls are arbitrary: they only make this look again.
        if all.values().iter().all(|value| T::Native::try_from(*value).is_ok()) {
            return Ok(Arc::new(all.unary::<_, T>(|value| value.try_into().unwrap_or_default())));
        }
        let values = all
            .iter()
            .map(|value| match value {
                None => Ok(None),
                Some(value) => keep(value.try_into().ok(), mode, || overflow(value, from, to)),
            })
            .collect::<Result<PrimitiveArray<T>, RowError>>()?;
        Ok(Arc::new(values))
    }
    match to {
        DataType::Int8 => to_type::<Int8Type>(wide, from, to, mode),
        DataType::Int16 => to_type::<Int16Type>(wide, from, to, mode),
        _ => to_type::<Int32Type>(wide, from, to, mode),
    }
}

fn float_to_integer(array: &ArrayRef, to: &DataType, mode: Mode) -> Result<ArrayRef> {
    // The largest double below the limit; the limit itself is not representable as bigint.
    let (low, high) = match to {
        DataType::Int8 => (f64::from(i8::MIN), f64::from(i8::MAX) + 1.0),
        DataType::Int16 => (f64::from(i16::MIN), f64::from(i16::MAX) + 1.0),
        DataType::Int32 => (f64::from(i32::MIN), f64::from(i32::MAX) + 1.0),
        _ => (i64::MIN as f64, i64::MAX as f64),
    };
    let doubles = compute::cast(array, &DataType::Float64)?;
    let all = doubles.as_primitive::<Float64Type>();
    if all.values().iter().all(|value| value.trunc() >= low && value.trunc() < high) {
        let wide: ArrayRef = Arc::new(all.unary::<_, Int64Type>(|value| value.trunc() as i64));
        return narrow(&wide, array.data_type(), to, mode);
    }
    let wide = all
        .iter()
        .map(|value| match value {
            None => Ok(None),
            Some(value) => {
                let whole = value.trunc();
                let fits = value.is_finite() && whole >= low && whole < high;
                keep(fits.then_some(whole as i64), mode, || overflow(value, array.data_type(), to))
            }
        })
        .collect::<Result<PrimitiveArray<Int64Type>, RowError>>()?;
    narrow(&(Arc::new(wide) as ArrayRef), array.data_type(), to, mode)
}

/// Moves the point, rounds half up, and checks the precision.
fn rescale(array: &ArrayRef, from_scale: i8, to: &DataType, mode: Mode) -> Result<ArrayRef> {
    let DataType::Decimal128(precision, scale) = to else { return Ok(compute::cast(array, to)?) };
    let limit = 10_i128.pow((*precision).into());
    let shift = i32::from(*scale) - i32::from(from_scale);
    let factor = 10_i128.pow(shift.unsigned_abs());
    let values = array
        .as_primitive::<Decimal128Type>()
        .iter()
        .map(|value| {
            let Some(value) = value else { return Ok(None) };
            let moved = if shift >= 0 { value.checked_mul(factor) } else { Some(divide_half_up(value, factor)) };
            let fits = moved.filter(|moved| moved.unsigned_abs() < limit.unsigned_abs());
            keep(fits, mode, || {
                let mut text = String::new();
                text::write_decimal(&mut text, value, from_scale);
                too_large(text, to)
            })
        })
        .collect::<Result<Decimal128Array, RowError>>()?;
    Ok(Arc::new(values.with_precision_and_scale(*precision, *scale)?))
}

/// Divides and rounds half away from zero.
pub fn divide_half_up(value: i128, by: i128) -> i128 {
    let (quotient, rest) = (value / by, value % by);
    let up = rest.unsigned_abs() >= by.unsigned_abs() - rest.unsigned_abs();
    match (up, (value < 0) == (by < 0)) {
        (false, _) => quotient,
        (true, true) => quotient + 1,
        (true, false) => quotient - 1,
    }
}

/// The same on 256 bits, for intermediate results.
pub fn divide_half_up_wide(value: i256, by: i256) -> i256 {
    text::div_half_up(value, by)
}
