//! Arithmetic as ANSI mode does it: overflow and division by zero raise, or give NULL in the `try_` forms.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, Datum, PrimitiveArray, Scalar};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::compute::kernels::numeric;
use datafusion::arrow::datatypes::{
    DataType, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, i256,
};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use datafusion::scalar::ScalarValue;

use super::cast::{Mode, divide_half_up, divide_half_up_wide, text};
use super::error::RowError;
use super::types::{Arithmetic, sql_name};

/// One operation with its result type. Integers and floats come in the same type on both sides, decimals in any.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Operation {
    op: Arithmetic,
    mode: Mode,
    out: DataType,
    signature: Signature,
}

impl Operation {
    /// An operation that gives `out`.
    pub fn new(op: Arithmetic, mode: Mode, out: DataType) -> Self {
        Self { op, mode, out, signature: Signature::any(2, Volatility::Immutable) }
    }
}

impl Operation {
    /// Whether it is a division or a remainder.
    pub fn divides(&self) -> bool {
        !matches!(self.op, Arithmetic::Add | Arithmetic::Subtract | Arithmetic::Multiply)
    }

    /// Whether some operands raise.
    pub fn can_raise(&self) -> bool {
        self.mode == Mode::Raise && (self.divides() || !matches!(self.out, DataType::Float32 | DataType::Float64))
    }
}

impl ScalarUDFImpl for Operation {
    fn name(&self) -> &str {
        match (self.op, self.mode) {
            (Arithmetic::Add, Mode::Raise) => "add",
            (Arithmetic::Subtract, Mode::Raise) => "subtract",
            (Arithmetic::Multiply, Mode::Raise) => "multiply",
            (Arithmetic::Divide, Mode::Raise) => "divide",
            (Arithmetic::Remainder, Mode::Raise) => "remainder",
            (Arithmetic::Modulo, Mode::Raise) => "pmod",
            (Arithmetic::IntegralDivide, Mode::Raise) => "div",
            (Arithmetic::Add, Mode::Null) => "try_add",
            (Arithmetic::Subtract, Mode::Null) => "try_subtract",
            (Arithmetic::Multiply, Mode::Null) => "try_multiply",
            (Arithmetic::Divide, Mode::Null) => "try_divide",
            (Arithmetic::Remainder, Mode::Null) => "try_mod",
            (Arithmetic::Modulo, Mode::Null) => "try_pmod",
            (Arithmetic::IntegralDivide, Mode::Null) => "try_div",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.out.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let scalars = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let (left, right) = (Side::new(&args.args[0])?, Side::new(&args.args[1])?);
        let array = self.run(&left, &right)?;
        if scalars {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?));
        }
        Ok(ColumnarValue::Array(array))
    }
}

/// One side: an array, or one value for all rows.
struct Side {
    array: ArrayRef,
    scalar: bool,
}

impl Side {
    fn new(value: &ColumnarValue) -> Result<Self> {
        Ok(match value {
            ColumnarValue::Array(array) => Self { array: Arc::clone(array), scalar: false },
            ColumnarValue::Scalar(scalar) => Self { array: scalar.to_array()?, scalar: true },
        })
    }

    fn datum(&self) -> Box<dyn Datum> {
        if self.scalar { Box::new(Scalar::new(Arc::clone(&self.array))) } else { Box::new(Arc::clone(&self.array)) }
    }
}

fn divided_by_zero() -> RowError {
    RowError::new("DIVIDE_BY_ZERO", "division by zero: try_divide gives NULL instead")
}

fn remainder_by_zero() -> RowError {
    RowError::new("REMAINDER_BY_ZERO", "remainder by zero: try_mod gives NULL instead")
}

impl Operation {
    fn run(&self, left: &Side, right: &Side) -> Result<ArrayRef> {
        match left.array.data_type() {
            DataType::Int8 => self.integers::<Int8Type>(left, right),
            DataType::Int16 => self.integers::<Int16Type>(left, right),
            DataType::Int32 => self.integers::<Int32Type>(left, right),
            DataType::Int64 => self.integers::<Int64Type>(left, right),
            DataType::Float32 => Ok(one_nan::<Float32Type>(self.floats::<Float32Type>(left, right)?, f32::NAN)),
            DataType::Float64 => Ok(one_nan::<Float64Type>(self.floats::<Float64Type>(left, right)?, f64::NAN)),
            _ => self.decimals(left, right),
        }
    }

    fn overflow(&self, left: impl std::fmt::Display, right: impl std::fmt::Display) -> RowError {
        let sign = match self.op {
            Arithmetic::Add => "+",
            Arithmetic::Subtract => "-",
            Arithmetic::Multiply => "*",
            Arithmetic::Divide => "/",
            Arithmetic::Remainder => "%",
            Arithmetic::Modulo => "pmod",
            Arithmetic::IntegralDivide => "div",
        };
        let ty = sql_name(&self.out);
        let class = match self.out {
            // Unary minus is planned as 0 - x.
            DataType::Int8 | DataType::Int16 if self.op == Arithmetic::Subtract && left.to_string() == "0" => {
                "ARITHMETIC_OVERFLOW"
            }
            DataType::Int8 | DataType::Int16 => "BINARY_ARITHMETIC_OVERFLOW",
            DataType::Decimal128(_, _) => "NUMERIC_VALUE_OUT_OF_RANGE.WITH_SUGGESTION",
            _ => "ARITHMETIC_OVERFLOW",
        };
        RowError::new(class, format!("{left} {sign} {right} does not fit {ty}"))
    }

    fn by_zero(&self) -> RowError {
        if matches!(self.op, Arithmetic::Divide | Arithmetic::IntegralDivide) {
            divided_by_zero()
        } else {
            remainder_by_zero()
        }
    }

    fn integers<T>(&self, left: &Side, right: &Side) -> Result<ArrayRef>
    where
        T: ArrowPrimitiveType,
        T::Native: Into<i64> + TryFrom<i64> + std::fmt::Display,
    {
        // Arrow's kernels are checked; only where one fails the rows are looked at.
        let kernel: Option<fn(&dyn Datum, &dyn Datum) -> _> = match self.op {
            Arithmetic::Add => Some(numeric::add),
            Arithmetic::Subtract => Some(numeric::sub),
            Arithmetic::Multiply => Some(numeric::mul),
            _ => None,
        };
        if let Some(kernel) = kernel
            && let Ok(array) = kernel(&*left.datum(), &*right.datum())
        {
            return Ok(array);
        }
        let compute = |a: T::Native, b: T::Native| -> Result<Option<i64>, RowError> {
            let (a, b): (i64, i64) = (a.into(), b.into());
            let value = match self.op {
                Arithmetic::Add => a.checked_add(b),
                Arithmetic::Subtract => a.checked_sub(b),
                Arithmetic::Multiply => a.checked_mul(b),
                _ if b == 0 => return self.raise(|| self.by_zero()),
                Arithmetic::Remainder => Some(a.wrapping_rem(b)),
                Arithmetic::Modulo => {
                    let rest = a.wrapping_rem(b);
                    Some(if rest < 0 { rest.wrapping_add(b).wrapping_rem(b) } else { rest })
                }
                _ => a.checked_div(b),
            };
            value.map_or_else(|| self.raise(|| self.overflow(a, b)), |value| Ok(Some(value)))
        };
        let whole = |a: T::Native, b: T::Native| compute(a, b).ok().flatten();
        if self.out == DataType::Int64 {
            return match quick::<T, Int64Type>(left, right, whole) {
                Some(array) => Ok(array),
                None => zip::<T, Int64Type>(left, right, compute),
            };
        }
        if let Some(array) = quick::<T, T>(left, right, |a, b| T::Native::try_from(whole(a, b)?).ok()) {
            return Ok(array);
        }
        zip::<T, T>(left, right, |a, b| {
            let Some(value) = compute(a, b)? else { return Ok(None) };
            T::Native::try_from(value).map_or_else(|_| self.raise(|| self.overflow(a, b)), |value| Ok(Some(value)))
        })
    }

    fn raise<T>(&self, error: impl FnOnce() -> RowError) -> Result<Option<T>, RowError> {
        match self.mode {
            Mode::Raise => Err(error()),
            Mode::Null => Ok(None),
        }
    }

    fn floats<T>(&self, left: &Side, right: &Side) -> Result<ArrayRef>
    where
        T: ArrowPrimitiveType,
        T::Native: Into<f64> + Copy + std::ops::Rem<Output = T::Native> + std::ops::Add<Output = T::Native>,
    {
        let (l, r) = (left.datum(), right.datum());
        let kernel: fn(&dyn Datum, &dyn Datum) -> _ = match self.op {
            Arithmetic::Add => return Ok(numeric::add(&*l, &*r)?),
            Arithmetic::Subtract => return Ok(numeric::sub(&*l, &*r)?),
            Arithmetic::Multiply => return Ok(numeric::mul(&*l, &*r)?),
            Arithmetic::Divide => numeric::div,
            _ => numeric::rem,
        };
        let has_zero = right.array.as_primitive::<T>().iter().flatten().any(|value| value.into() == 0.0);
        if !has_zero && self.op != Arithmetic::Modulo {
            return Ok(kernel(&*l, &*r)?);
        }
        if self.op == Arithmetic::Divide {
            let zero =
                zip::<T, T>(
                    left,
                    right,
                    |_, b| {
                        if b.into() == 0.0 { self.raise(divided_by_zero) } else { Ok(Some(b)) }
                    },
                )?;
            // Rows with a NULL on one side are NULL here as well.
            return Ok(numeric::div(&*l, &zero)?);
        }
        zip::<T, T>(left, right, |a, b| {
            if b.into() == 0.0 {
                return self.raise(remainder_by_zero);
            }
            let rest = a % b;
            let negative = self.op == Arithmetic::Modulo && rest.into() < 0.0;
            Ok(Some(if negative { (rest + b) % b } else { rest }))
        })
    }

    fn decimals(&self, left: &Side, right: &Side) -> Result<ArrayRef> {
        let scale = |ty: &DataType| match ty {
            DataType::Decimal128(_, scale) => i32::from(*scale),
            _ => 0,
        };
        let (s1, s2) = (scale(left.array.data_type()), scale(right.array.data_type()));
        let error = |a: i128, b: i128| {
            let (mut left, mut right) = (String::new(), String::new());
            text::write_decimal(&mut left, a, s1 as i8);
            text::write_decimal(&mut right, b, s2 as i8);
            self.overflow(left, right)
        };
        let divides = !matches!(self.op, Arithmetic::Add | Arithmetic::Subtract | Arithmetic::Multiply);
        if self.op == Arithmetic::IntegralDivide {
            return zip::<Decimal128Type, Int64Type>(left, right, |a, b| {
                if b == 0 {
                    return self.raise(divided_by_zero);
                }
                let value = whole_quotient(a, s1, b, s2).and_then(|value| i64::try_from(value).ok());
                value.map_or_else(|| self.raise(|| error(a, b)), |value| Ok(Some(value)))
            });
        }
        let DataType::Decimal128(precision, out_scale) = self.out else {
            return datafusion::common::internal_err!("a decimal operation gives a decimal");
        };
        let limit = 10_u128.pow(precision.into());
        let exact = s1.max(s2);
        let unscaled = match self.op {
            Arithmetic::Add | Arithmetic::Subtract => s1 == s2 && exact == i32::from(out_scale),
            Arithmetic::Multiply => s1 + s2 == i32::from(out_scale),
            _ => false,
        };
        let compute = |a: i128, b: i128| {
            let value = match self.op {
                _ if divides && b == 0 => None,
                Arithmetic::Add if unscaled => a.checked_add(b),
                Arithmetic::Subtract if unscaled => a.checked_sub(b),
                Arithmetic::Multiply if unscaled => a.checked_mul(b),
                op => decimal(op, a, s1, b, s2, out_scale.into()),
            };
            value.filter(|value| value.unsigned_abs() < limit)
        };
        if let Some(array) = quick::<Decimal128Type, Decimal128Type>(left, right, compute) {
            let array = array.as_primitive::<Decimal128Type>().clone();
            return Ok(Arc::new(array.with_precision_and_scale(precision, out_scale)?));
        }
        let array = zip::<Decimal128Type, Decimal128Type>(left, right, |a, b| {
            if divides && b == 0 {
                return self.raise(|| self.by_zero());
            }
            let value = decimal(self.op, a, s1, b, s2, out_scale.into());
            let fits = value.filter(|value| value.unsigned_abs() < limit);
            fits.map_or_else(|| self.raise(|| error(a, b)), |value| Ok(Some(value)))
        })?;
        let array = array.as_primitive::<Decimal128Type>().clone();
        Ok(Arc::new(array.with_precision_and_scale(precision, out_scale)?))
    }
}

/// Processors give NaN a sign, by which sorting would tell it apart.
fn one_nan<T: ArrowPrimitiveType>(array: ArrayRef, nan: T::Native) -> ArrayRef
where
    T::Native: PartialOrd + Copy,
{
    let values = array.as_primitive::<T>();
    let is_nan = |value: &T::Native| value.partial_cmp(value).is_none();
    if !values.values().iter().any(is_nan) {
        return array;
    }
    Arc::new(values.unary::<_, T>(|value| if is_nan(&value) { nan } else { value }))
}

/// Applies `f` to all values; `None` where a row that has both has no result: [`zip`] tells what becomes of it.
fn quick<T: ArrowPrimitiveType, O: ArrowPrimitiveType>(
    left: &Side,
    right: &Side,
    f: impl Fn(T::Native, T::Native) -> Option<O::Native>,
) -> Option<ArrayRef> {
    let (l, r) = (left.array.as_primitive::<T>(), right.array.as_primitive::<T>());
    let nulls = match (left.scalar, right.scalar) {
        (false, false) => NullBuffer::union(l.nulls(), r.nulls()),
        (true, false) if l.is_valid(0) => r.nulls().cloned(),
        (false, true) if r.is_valid(0) => l.nulls().cloned(),
        _ => return None,
    };
    // Values behind nulls are arbitrary.
    let one = |(row, (a, b)): (usize, (T::Native, T::Native))| match f(a, b) {
        None if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) => Some(O::Native::default()),
        result => result,
    };
    let (a, b) = (l.values(), r.values());
    let values: Option<Vec<O::Native>> = if left.scalar {
        b.iter().map(|b| (a[0], *b)).enumerate().map(one).collect()
    } else if right.scalar {
        a.iter().map(|a| (*a, b[0])).enumerate().map(one).collect()
    } else {
        a.iter().copied().zip(b.iter().copied()).enumerate().map(one).collect()
    };
    Some(Arc::new(PrimitiveArray::<O>::new(values?.into(), nulls)))
}

/// Applies `f` where both sides have a value.
fn zip<T: ArrowPrimitiveType, O: ArrowPrimitiveType>(
    left: &Side,
    right: &Side,
    f: impl Fn(T::Native, T::Native) -> Result<Option<O::Native>, RowError>,
) -> Result<ArrayRef> {
    let (l, r) = (left.array.as_primitive::<T>(), right.array.as_primitive::<T>());
    let rows = if left.scalar { r.len() } else { l.len() };
    let at = |side: &Side, array: &PrimitiveArray<T>, row: usize| {
        let row = if side.scalar { 0 } else { row };
        array.is_valid(row).then(|| array.value(row))
    };
    let values = (0..rows)
        .map(|row| match (at(left, l, row), at(right, r, row)) {
            (Some(a), Some(b)) => f(a, b),
            _ => Ok(None),
        })
        .collect::<Result<PrimitiveArray<O>, RowError>>()?;
    Ok(Arc::new(values))
}

fn power(exponent: i32) -> i256 {
    i256::from_i128(10).wrapping_pow(exponent.unsigned_abs())
}

/// The result at `scale`; `None` if it does not fit 128 bits.
fn decimal(op: Arithmetic, a: i128, s1: i32, b: i128, s2: i32, scale: i32) -> Option<i128> {
    narrow(op, a, s1, b, s2, scale).or_else(|| wide(op, a, s1, b, s2, scale))
}

/// The usual case: all steps fit 128 bits.
fn narrow(op: Arithmetic, a: i128, s1: i32, b: i128, s2: i32, scale: i32) -> Option<i128> {
    let shift = |value: i128, by: i32| {
        if by == 0 { Some(value) } else { value.checked_mul(10_i128.checked_pow(by.try_into().ok()?)?) }
    };
    let round = |value: i128, by: i32| {
        if by <= 0 { shift(value, -by) } else { Some(divide_half_up(value, 10_i128.checked_pow(by as u32)?)) }
    };
    let exact = s1.max(s2);
    match op {
        Arithmetic::Add => round(shift(a, exact - s1)?.checked_add(shift(b, exact - s2)?)?, exact - scale),
        Arithmetic::Subtract => round(shift(a, exact - s1)?.checked_sub(shift(b, exact - s2)?)?, exact - scale),
        Arithmetic::Multiply => round(a.checked_mul(b)?, s1 + s2 - scale),
        Arithmetic::Divide => {
            let by = scale - s1 + s2;
            if by >= 0 { Some(divide_half_up(shift(a, by)?, b)) } else { Some(divide_half_up(a, shift(b, -by)?)) }
        }
        _ => {
            let (a, b) = (shift(a, exact - s1)?, shift(b, exact - s2)?);
            let rest = a.checked_rem(b)?;
            let rest = if op == Arithmetic::Modulo && rest < 0 { (rest + b) % b } else { rest };
            round(rest, exact - scale)
        }
    }
}

fn wide(op: Arithmetic, a: i128, s1: i32, b: i128, s2: i32, scale: i32) -> Option<i128> {
    let (a, b) = (i256::from_i128(a), i256::from_i128(b));
    let exact = s1.max(s2);
    let round = |value: i256, by: i32| {
        if by <= 0 { value.checked_mul(power(by)) } else { Some(divide_half_up_wide(value, power(by))) }
    };
    let value = match op {
        Arithmetic::Add | Arithmetic::Subtract => {
            let (a, b) = (a.checked_mul(power(exact - s1))?, b.checked_mul(power(exact - s2))?);
            let sum = if op == Arithmetic::Add { a.checked_add(b)? } else { a.checked_sub(b)? };
            round(sum, exact - scale)?
        }
        Arithmetic::Multiply => round(a.checked_mul(b)?, s1 + s2 - scale)?,
        Arithmetic::Divide => {
            let by = scale - s1 + s2;
            if by >= 0 {
                divide_half_up_wide(a.checked_mul(power(by))?, b)
            } else {
                divide_half_up_wide(a, b.checked_mul(power(by))?)
            }
        }
        _ => {
            let (a, b) = (a.checked_mul(power(exact - s1))?, b.checked_mul(power(exact - s2))?);
            let rest = a.checked_rem(b)?;
            let turn = op == Arithmetic::Modulo && rest < i256::ZERO;
            round(if turn { rest.checked_add(b)?.checked_rem(b)? } else { rest }, exact - scale)?
        }
    };
    value.to_i128()
}

/// The quotient without its fraction.
fn whole_quotient(a: i128, s1: i32, b: i128, s2: i32) -> Option<i128> {
    let exact = s1.max(s2);
    let a = i256::from_i128(a).checked_mul(power(exact - s1))?;
    let b = i256::from_i128(b).checked_mul(power(exact - s2))?;
    a.checked_div(b)?.to_i128()
}
