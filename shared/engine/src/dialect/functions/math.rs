//! Mathematical functions.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Float64Array, PrimitiveArray, StringArray,
};
use datafusion::arrow::datatypes::{
    DataType, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
};
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, Operator, lit};
use datafusion::scalar::ScalarValue;

use super::Gives::{First, Of, Type};
use super::Takes::{Any, Double, Int, Long, Text};
use super::conditional::{exactly, when};
use super::datetime::span::is_interval;
use super::{Call, Def, Foreign, Planned, Run};
use crate::dialect::cast::text::{Fit, read_decimal, write_decimal, write_double, write_float};
use crate::dialect::cast::{Mode, divide_half_up};
use crate::dialect::error::RowError;
use crate::dialect::plan::Planner;
use crate::dialect::types::{Arithmetic, is_decimal, is_float, is_integer};

/// Functions of one double.
macro_rules! of_double {
    ($($names:expr => $f:expr),* $(,)?) => {
        &[$(Def::new($names, &[Double], Type(Double), |call| Ok(double(call, $f)))),*]
    };
}

/// Functions of one double that have no value for some.
macro_rules! of_some_double {
    ($call:expr, $f:expr) => {
        Ok(Arc::new($call.args[0].as_primitive::<Float64Type>().unary_opt::<_, Float64Type>($f)) as ArrayRef)
    };
}

const SIMPLE: &[Def] = of_double! {
    &["sqrt"] => f64::sqrt,
    &["cbrt"] => f64::cbrt,
    &["exp"] => f64::exp,
    &["expm1"] => f64::exp_m1,
    &["sin"] => f64::sin,
    &["cos"] => f64::cos,
    &["tan"] => f64::tan,
    &["cot"] => |x: f64| 1.0 / x.tan(),
    &["sec"] => |x: f64| 1.0 / x.cos(),
    &["csc"] => |x: f64| 1.0 / x.sin(),
    &["asin"] => f64::asin,
    &["acos"] => f64::acos,
    &["atan"] => f64::atan,
    &["sinh"] => f64::sinh,
    &["cosh"] => f64::cosh,
    &["tanh"] => f64::tanh,
    &["asinh"] => f64::asinh,
    &["acosh"] => f64::acosh,
    &["atanh"] => f64::atanh,
    &["degrees"] => |x: f64| x * (180.0 / std::f64::consts::PI),
    &["radians"] => |x: f64| x / 180.0 * std::f64::consts::PI,
    &["rint"] => f64::round_ties_even,
    &["sign_of"] => |x: f64| if x == 0.0 || x.is_nan() { x } else { x.signum() },
};

/// Functions with a kernel of their own.
pub const FUNCTIONS: &[Def] = &[
    SIMPLE[0],
    SIMPLE[1],
    SIMPLE[2],
    SIMPLE[3],
    SIMPLE[4],
    SIMPLE[5],
    SIMPLE[6],
    SIMPLE[7],
    SIMPLE[8],
    SIMPLE[9],
    SIMPLE[10],
    SIMPLE[11],
    SIMPLE[12],
    SIMPLE[13],
    SIMPLE[14],
    SIMPLE[15],
    SIMPLE[16],
    SIMPLE[17],
    SIMPLE[18],
    SIMPLE[19],
    SIMPLE[20],
    SIMPLE[21],
    SIMPLE[22],
    // Logarithms have no value at and below zero.
    Def::new(&["ln"], &[Double], Type(Double), |call| {
        of_some_double!(call, |x| (x > 0.0 || x.is_nan()).then(|| x.ln()))
    }),
    Def::new(&["log10"], &[Double], Type(Double), |call| {
        of_some_double!(call, |x| (x > 0.0 || x.is_nan()).then(|| x.log10()))
    }),
    Def::new(&["log2"], &[Double], Type(Double), |call| {
        of_some_double!(call, |x| (x > 0.0 || x.is_nan()).then(|| x.log2()))
    }),
    Def::new(&["log1p"], &[Double], Type(Double), |call| {
        of_some_double!(call, |x| (x > -1.0 || x.is_nan()).then(|| x.ln_1p()))
    }),
    Def::new(&["log_of"], &[Double, Double], Type(Double), |call| {
        let (base, x) = (call.args[0].as_primitive::<Float64Type>(), call.args[1].as_primitive::<Float64Type>());
        let log = |(base, x): (Option<f64>, Option<f64>)| {
            let (base, x) = (base?, x?);
            // NaN stays NaN.
            (!(base <= 0.0 || x <= 0.0)).then(|| x.ln() / base.ln())
        };
        Ok(Arc::new(base.iter().zip(x).map(log).collect::<Float64Array>()))
    }),
    Def::new(&["pow", "power"], &[Double, Double], Type(Double), |call| Ok(doubles(call, f64::powf))),
    Def::new(&["atan2"], &[Double, Double], Type(Double), |call| Ok(doubles(call, f64::atan2))),
    Def::new(&["hypot"], &[Double, Double], Type(Double), |call| Ok(doubles(call, f64::hypot))),
    Def::new(&["nanvl_of"], &[Double, Double], Type(Double), |call| {
        let (a, b) = (call.args[0].as_primitive::<Float64Type>(), call.args[1].as_primitive::<Float64Type>());
        let pick = |(a, b): (Option<f64>, Option<f64>)| if a?.is_nan() { b } else { a };
        Ok(Arc::new(a.iter().zip(b).map(pick).collect::<Float64Array>()))
    }),
    Def::new(&["isnan"], &[Double], Type(super::Takes::Bool), |call| {
        let values = call.args[0].as_primitive::<Float64Type>();
        Ok(Arc::new(values.iter().map(|value| Some(value.is_some_and(f64::is_nan))).collect::<BooleanArray>()))
    }),
    Def::new(&["conv"], &[Text, Int, Int], Type(Text), conv),
    Def::new(&["bin"], &[Long], Type(Text), |call| {
        let values = call.args[0].as_primitive::<Int64Type>();
        Ok(Arc::new(values.iter().map(|value| value.map(|value| format!("{value:b}"))).collect::<StringArray>()))
    }),
    Def::new(&["round_half_up"], &[Any, Int], First, round_half_up),
    Def::new(&["shiftrightunsigned"], &[Any, Int], Of(shifted_type), |call| match call.out {
        DataType::Int64 => shift::<Int64Type>(call, |a, by| ((a as u64) >> (by & 63)) as i64),
        _ => shift::<Int32Type>(call, |a, by| ((a as u32) >> (by & 31)) as i32),
    }),
    Def::new(&["shiftleft"], &[Any, Int], Of(shifted_type), |call| match call.out {
        DataType::Int64 => shift::<Int64Type>(call, |a, by| a << (by & 63)),
        _ => shift::<Int32Type>(call, |a, by| a << (by & 31)),
    }),
    Def::new(&["shiftright"], &[Any, Int], Of(shifted_type), |call| match call.out {
        DataType::Int64 => shift::<Int64Type>(call, |a, by| a >> (by & 63)),
        _ => shift::<Int32Type>(call, |a, by| a >> (by & 31)),
    }),
    Def::new(&["bit_xor_of"], &[Any, Any], First, |call| match call.out {
        DataType::Int8 => xor::<Int8Type>(call),
        DataType::Int16 => xor::<Int16Type>(call),
        DataType::Int32 => xor::<Int32Type>(call),
        _ => xor::<Int64Type>(call),
    }),
    Def::new(&["getbit", "bit_get"], &[Long, Int], Of(|_| Ok(DataType::Int8)), |call| {
        let (a, by) = (call.args[0].as_primitive::<Int64Type>(), call.args[1].as_primitive::<Int32Type>());
        let bit = |(a, by): (Option<i64>, Option<i32>)| Some((a? >> (by? & 63) & 1) as i8);
        Ok(Arc::new(a.iter().zip(by).map(bit).collect::<PrimitiveArray<Int8Type>>()))
    }),
];

/// Functions that plan themselves.
pub const PLANNED: &[Planned] = &[
    (&["mod"], |p, args| operation(p, Arithmetic::Remainder, Mode::Raise, args)),
    (&["pmod"], |p, args| operation(p, Arithmetic::Modulo, Mode::Raise, args)),
    (&["div"], |p, args| operation(p, Arithmetic::IntegralDivide, Mode::Raise, args)),
    (&["try_add"], |p, args| operation(p, Arithmetic::Add, Mode::Null, args)),
    (&["try_subtract"], |p, args| operation(p, Arithmetic::Subtract, Mode::Null, args)),
    (&["try_multiply"], |p, args| operation(p, Arithmetic::Multiply, Mode::Null, args)),
    (&["try_divide"], |p, args| operation(p, Arithmetic::Divide, Mode::Null, args)),
    (&["try_mod"], |p, args| operation(p, Arithmetic::Remainder, Mode::Null, args)),
    (&["negative"], |p, args| p.negate(exactly::<1>("negative", args)?.into_iter().next().unwrap_or_default())),
    (&["positive"], |_, args| Ok(exactly::<1>("positive", args)?.into_iter().next().unwrap_or_default())),
    (&["e"], |_, _| Ok(lit(std::f64::consts::E))),
    (&["pi"], |_, _| Ok(lit(std::f64::consts::PI))),
    (&["log"], |p, args| if args.len() == 1 { p.call("ln", args) } else { p.call("log_of", args) }),
    (&["round"], |p, args| round(p, "round", round_half_up, args)),
    (&["bround"], |p, args| round(p, "bround", round_half_even, args)),
    (&["ceil", "ceiling"], |p, args| whole(p, "ceil", ceil_kernel, args)),
    (&["floor"], |p, args| whole(p, "floor", floor_kernel, args)),
    (&["bitwise_not"], |p, args| {
        let [arg] = exactly::<1>("~", args)?;
        match p.shared.foreign.get("bitwise_not") {
            Some(not) => Ok(not.call(vec![arg])),
            None => plan_err!("bitwise_not is missing"),
        }
    }),
    (&["abs"], abs),
    (&["sign", "signum"], |p, args| {
        let interval = args.first().map(|arg| p.type_of(arg)).transpose()?.is_some_and(|ty| is_interval(&ty));
        p.call(if interval { "interval_sign" } else { "sign_of" }, args)
    }),
    (&["width_bucket"], |p, args| {
        let interval = args.first().map(|arg| p.type_of(arg)).transpose()?.is_some_and(|ty| is_interval(&ty));
        let count = |(i, arg)| if i < 3 && interval { p.call("interval_units", vec![arg]) } else { Ok(arg) };
        let args = args.into_iter().enumerate().map(count).collect::<Result<Vec<_>>>()?;
        let takes = [Double, Double, Double, Int];
        let args = args.into_iter().zip(takes).map(|(arg, takes)| p.implicit(arg, takes, "width_bucket"));
        let args = args.collect::<Result<Vec<_>>>()?;
        match p.shared.foreign.get("width_bucket") {
            Some(bucket) => {
                let [value, low, high, count] = exactly::<4>("width_bucket", args.clone())?;
                let call = p.cast(bucket.call(args), &DataType::Int64, Mode::Raise)?;
                // DataFusion's gives NULL for what lies infinitely far below or above.
                let count = p.cast(count, &DataType::Int64, Mode::Raise)?;
                let last = p.arithmetic(Arithmetic::Add, count, lit(1_i64), Mode::Raise)?;
                let rises = p.compare(Operator::Lt, low, high)?;
                let at_end = |end: f64, first: Expr, other: Expr| -> Result<(Expr, Expr)> {
                    let there = p.compare(Operator::Eq, value.clone(), lit(end))?;
                    Ok((there, when(p, rises.clone(), first, other)?))
                };
                let (below, first) = at_end(f64::NEG_INFINITY, lit(0_i64), last.clone())?;
                let (above, end) = at_end(f64::INFINITY, last, lit(0_i64))?;
                let call = when(p, above, end, call)?;
                when(p, below, first, call)
            }
            None => plan_err!("width_bucket is missing"),
        }
    }),
    (&["nanvl"], |p, args| p.call("nanvl_of", args)),
];

/// Functions of others.
pub const FOREIGN: &[Foreign] = &[("factorial", &[Int])];

/// Processors give NaN a sign, by which sorting would tell it apart.
fn one_nan(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value }
}

fn double(call: &Call<'_>, f: impl Fn(f64) -> f64) -> ArrayRef {
    Arc::new(call.args[0].as_primitive::<Float64Type>().unary::<_, Float64Type>(|value| one_nan(f(value))))
}

fn doubles(call: &Call<'_>, f: impl Fn(f64, f64) -> f64) -> ArrayRef {
    let (a, b) = (call.args[0].as_primitive::<Float64Type>(), call.args[1].as_primitive::<Float64Type>());
    Arc::new(a.iter().zip(b).map(|(a, b)| Some(one_nan(f(a?, b?)))).collect::<Float64Array>())
}

fn xor<T: ArrowPrimitiveType>(call: &Call<'_>) -> Result<ArrayRef>
where
    T::Native: std::ops::BitXor<Output = T::Native>,
{
    let (a, b) = (call.args[0].as_primitive::<T>(), call.args[1].as_primitive::<T>());
    Ok(Arc::new(a.iter().zip(b).map(|(a, b)| Some(a? ^ b?)).collect::<PrimitiveArray<T>>()))
}

/// Small numbers are shifted as int.
fn shifted_type(types: &[DataType]) -> Result<DataType> {
    Ok(if types[0] == DataType::Int64 { DataType::Int64 } else { DataType::Int32 })
}

fn shift<T: ArrowPrimitiveType>(call: &Call<'_>, f: impl Fn(T::Native, i32) -> T::Native) -> Result<ArrayRef> {
    let array = crate::dialect::cast::cast(&call.args[0], call.out, Mode::Raise)?;
    let by = call.args[1].as_primitive::<Int32Type>();
    let shifted = array.as_primitive::<T>().iter().zip(by).map(|(a, by)| Some(f(a?, by?)));
    Ok(Arc::new(shifted.collect::<PrimitiveArray<T>>()))
}

fn operation(planner: &Planner<'_>, op: Arithmetic, mode: Mode, args: Vec<Expr>) -> Result<Expr> {
    let [left, right] = exactly::<2>("an operator", args)?;
    planner.arithmetic(op, left, right, mode)
}

/// `abs` of a minimum raises; decimals and doubles have one for each value.
fn abs(planner: &Planner<'_>, args: Vec<Expr>) -> Result<Expr> {
    let [arg] = exactly::<1>("abs", args)?;
    let ty = planner.type_of(&arg)?;
    if is_interval(&ty) {
        return planner.call("interval_abs", vec![arg]);
    }
    let arg = if ty == DataType::Utf8 { planner.cast(arg, &DataType::Float64, Mode::Raise)? } else { arg };
    let out = planner.type_of(&arg)?;
    Ok(super::call(planner, "abs", abs_kernel, out, vec![arg]))
}

fn abs_kernel(call: &Call<'_>) -> Result<ArrayRef> {
    fn integers<T: ArrowPrimitiveType>(
        array: &ArrayRef,
        abs: impl Fn(T::Native) -> Option<T::Native>,
    ) -> Result<ArrayRef> {
        let overflow =
            || RowError::new("ARITHMETIC_OVERFLOW", "the absolute value of a smallest integer does not fit its type");
        let values = array.as_primitive::<T>().iter().map(|value| match value {
            None => Ok(None),
            Some(value) => abs(value).map(Some).ok_or_else(overflow),
        });
        Ok(Arc::new(values.collect::<Result<PrimitiveArray<T>, RowError>>()?))
    }
    let array = &call.args[0];
    match array.data_type() {
        DataType::Int8 => integers::<Int8Type>(array, i8::checked_abs),
        DataType::Int16 => integers::<Int16Type>(array, i16::checked_abs),
        DataType::Int32 => integers::<Int32Type>(array, i32::checked_abs),
        DataType::Int64 => integers::<Int64Type>(array, i64::checked_abs),
        DataType::Float32 => Ok(Arc::new(array.as_primitive::<Float32Type>().unary::<_, Float32Type>(f32::abs))),
        DataType::Float64 => Ok(Arc::new(array.as_primitive::<Float64Type>().unary::<_, Float64Type>(f64::abs))),
        DataType::Decimal128(precision, scale) => {
            let values = array.as_primitive::<Decimal128Type>().unary::<_, Decimal128Type>(i128::abs);
            Ok(Arc::new(values.with_precision_and_scale(*precision, *scale)?))
        }
        other => plan_err!("abs does not take {other}"),
    }
}

/// `round` and `bround`: the type depends on the scale, which is constant.
fn round(planner: &Planner<'_>, name: &'static str, run: Run, mut args: Vec<Expr>) -> Result<Expr> {
    if args.len() == 1 {
        args.push(lit(0_i32));
    }
    let [mut value, scale] = exactly::<2>(name, args)?;
    let Expr::Literal(ScalarValue::Int32(Some(digits)), _) = scale else {
        return plan_err!("{name} needs a constant scale");
    };
    let ty = planner.type_of(&value)?;
    if ty == DataType::Utf8 || ty == DataType::Null {
        value = planner.cast(value, &DataType::Float64, Mode::Raise)?;
    }
    let out = rounded(&planner.type_of(&value)?, digits);
    Ok(super::call(planner, name, run, out, vec![value, lit(digits)]))
}

fn rounded(ty: &DataType, digits: i32) -> DataType {
    let DataType::Decimal128(precision, scale) = ty else { return ty.clone() };
    let (precision, scale) = (i32::from(*precision), i32::from(*scale));
    // Rounding may carry into one more digit.
    let integral = precision - scale + 1;
    if digits < 0 {
        return DataType::Decimal128(integral.max(1 - digits).min(38) as u8, 0);
    }
    let scale = scale.min(digits);
    DataType::Decimal128((integral + scale).min(38) as u8, scale as i8)
}

/// How to round away digits.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    HalfUp,
    HalfEven,
    Floor,
    Ceil,
}

fn divide(value: i128, by: i128, way: Way) -> i128 {
    match way {
        Way::HalfUp => divide_half_up(value, by),
        Way::Floor => value.div_euclid(by),
        Way::Ceil => -((-value).div_euclid(by)),
        Way::HalfEven => {
            let (quotient, rest) = (value.div_euclid(by), value.rem_euclid(by));
            match (rest * 2).cmp(&by) {
                std::cmp::Ordering::Less => quotient,
                std::cmp::Ordering::Greater => quotient + 1,
                std::cmp::Ordering::Equal => quotient + (quotient & 1),
            }
        }
    }
}

fn round_half_up(call: &Call<'_>) -> Result<ArrayRef> {
    rounding(call, Way::HalfUp)
}

fn round_half_even(call: &Call<'_>) -> Result<ArrayRef> {
    rounding(call, Way::HalfEven)
}

fn rounding(call: &Call<'_>, way: Way) -> Result<ArrayRef> {
    let array = &call.args[0];
    let digits = call.args[1].as_primitive::<Int32Type>();
    let digits = if digits.is_empty() { 0 } else { digits.value(0) };
    fn integers<T: ArrowPrimitiveType>(array: &ArrayRef, digits: i32, way: Way) -> Result<ArrayRef>
    where
        T::Native: Into<i64> + TryFrom<i128>,
    {
        if digits >= 0 {
            return Ok(Arc::clone(array));
        }
        let unit = 10_i128.pow(digits.unsigned_abs().min(20));
        let overflow = || RowError::new("ARITHMETIC_OVERFLOW", "a rounded integer does not fit its type");
        let values = array.as_primitive::<T>().iter().map(|value| match value {
            None => Ok(None),
            Some(value) => {
                let value: i64 = value.into();
                T::Native::try_from(divide(value.into(), unit, way) * unit).map(Some).map_err(|_| overflow())
            }
        });
        Ok(Arc::new(values.collect::<Result<PrimitiveArray<T>, RowError>>()?))
    }
    match array.data_type() {
        DataType::Int8 => integers::<Int8Type>(array, digits, way),
        DataType::Int16 => integers::<Int16Type>(array, digits, way),
        DataType::Int32 => integers::<Int32Type>(array, digits, way),
        DataType::Int64 => integers::<Int64Type>(array, digits, way),
        DataType::Float32 => {
            let values = array.as_primitive::<Float32Type>().unary::<_, Float32Type>(|value| {
                let mut text = String::new();
                write_float(&mut text, value);
                round_text(&text, f64::from(value), digits, way) as f32
            });
            Ok(Arc::new(values))
        }
        DataType::Float64 => {
            let values = array.as_primitive::<Float64Type>().unary::<_, Float64Type>(|value| {
                if let (Way::HalfUp, Some(rounded)) = (way, quick_round(value, digits)) {
                    return rounded;
                }
                let mut text = String::new();
                write_double(&mut text, value);
                round_text(&text, value, digits, way)
            });
            Ok(Arc::new(values))
        }
        DataType::Decimal128(_, scale) => decimals(array, *scale, digits, call.out, way),
        other => plan_err!("round does not take {other}"),
    }
}

/// Rounds half up where the digits behind are so far from a half that no digit of the number's text decides.
fn quick_round(value: f64, digits: i32) -> Option<f64> {
    // Products below this are exact to a ten-millionth.
    const SMALL: f64 = 1e9;
    let power = 10_f64.powi(if (0..=8).contains(&digits) { digits } else { return None });
    let scaled = value.abs() * power;
    let fraction = scaled - scaled.floor();
    if scaled.is_nan() || scaled >= SMALL || (fraction - 0.5).abs() < 1e-6 {
        return None;
    }
    let whole = scaled.floor() + if fraction > 0.5 { 1.0 } else { 0.0 };
    // Both are whole: their quotient is the double nearest to the decimal number.
    Some(if whole == 0.0 { 0.0 } else { (whole / power).copysign(value) })
}

/// Java rounds the decimal number that it would print.
fn round_text(text: &str, value: f64, digits: i32, way: Way) -> f64 {
    let bare = value.abs();
    if !value.is_finite() || bare >= 1e30 || digits > 20 {
        return value;
    }
    if digits < -30 {
        return 0.0;
    }
    // Half even looks at what follows: keep what a double can have.
    let more = 18_i32.saturating_sub(digits).clamp(0, 17);
    let exact = match way {
        Way::HalfUp => 0,
        _ if bare < 1e9 => more,
        _ => 1,
    };
    let Fit::Value(unscaled) = read_decimal(text, 38, (digits + exact) as i8) else { return value };
    let rounded = divide(unscaled, 10_i128.pow(exact as u32), way);
    if digits >= 0 {
        let mut text = String::new();
        write_decimal(&mut text, rounded, digits as i8);
        return text.parse().unwrap_or(value);
    }
    format!("{rounded}e{}", -digits).parse().unwrap_or(value)
}

fn decimals(array: &ArrayRef, scale: i8, digits: i32, out: &DataType, way: Way) -> Result<ArrayRef> {
    let DataType::Decimal128(precision, out_scale) = out else { return plan_err!("a decimal rounds to a decimal") };
    let drop = i32::from(scale) - digits;
    let limit = 10_u128.pow((*precision).into());
    let unit = 10_i128.pow(drop.clamp(0, 38) as u32);
    let back = if digits < 0 { 10_i128.pow(digits.unsigned_abs().min(38)) } else { 1 };
    let overflow = || RowError::new("NUMERIC_VALUE_OUT_OF_RANGE", "a rounded decimal does not fit its type");
    let values = array.as_primitive::<Decimal128Type>().iter().map(|value| match value {
        None => Ok(None),
        Some(value) => {
            let rounded = if drop > 0 { divide(value, unit, way).checked_mul(back) } else { Some(value) };
            rounded.filter(|value| value.unsigned_abs() < limit).map(Some).ok_or_else(overflow)
        }
    });
    let values = values.collect::<Result<PrimitiveArray<Decimal128Type>, RowError>>()?;
    Ok(Arc::new(values.with_precision_and_scale(*precision, *out_scale)?))
}

/// `ceil` and `floor`: bigint for integers and doubles, decimal for decimals and wherever a scale is given.
fn whole(planner: &Planner<'_>, name: &'static str, run: Run, mut args: Vec<Expr>) -> Result<Expr> {
    let scaled = args.len() == 2;
    if !scaled {
        args.push(lit(0_i32));
    }
    let [mut value, scale] = exactly::<2>(name, args)?;
    let Expr::Literal(ScalarValue::Int32(Some(digits)), _) = scale else {
        return plan_err!("{name} needs a constant scale");
    };
    let ty = planner.type_of(&value)?;
    if !is_decimal(&ty) {
        let to = match ty {
            DataType::Float32 if scaled => DataType::Decimal128(14, 7),
            _ if is_integer(&ty) && scaled => {
                let (precision, scale) = crate::dialect::types::decimal_of(&ty).unwrap_or((20, 0));
                DataType::Decimal128(precision, scale)
            }
            _ if scaled => DataType::Decimal128(30, 15),
            _ if is_integer(&ty) => return planner.cast(value, &DataType::Int64, Mode::Raise),
            _ => DataType::Float64,
        };
        value = planner.cast(value, &to, Mode::Raise)?;
    }
    let ty = planner.type_of(&value)?;
    let out = if is_float(&ty) { DataType::Int64 } else { rounded(&ty, digits) };
    Ok(super::call(planner, name, run, out, vec![value, lit(digits)]))
}

fn ceil_kernel(call: &Call<'_>) -> Result<ArrayRef> {
    if call.out != &DataType::Int64 {
        return rounding(call, Way::Ceil);
    }
    to_long(call, f64::ceil)
}

fn floor_kernel(call: &Call<'_>) -> Result<ArrayRef> {
    if call.out != &DataType::Int64 {
        return rounding(call, Way::Floor);
    }
    to_long(call, f64::floor)
}

fn to_long(call: &Call<'_>, round: fn(f64) -> f64) -> Result<ArrayRef> {
    let all = call.args[0].as_primitive::<Float64Type>();
    if all.values().iter().all(|value| (i64::MIN as f64..i64::MAX as f64).contains(&round(*value))) {
        return Ok(Arc::new(all.unary::<_, Int64Type>(|value| round(value) as i64)));
    }
    let values = all.iter().map(|value| match value {
        None => Ok(None),
        Some(value) => {
            let whole = round(value);
            let fits = whole.is_nan() || (i64::MIN as f64..i64::MAX as f64).contains(&whole);
            let overflow = || RowError::new("ARITHMETIC_OVERFLOW", format!("{value} does not fit bigint"));
            if fits { Ok(Some(whole as i64)) } else { Err(overflow()) }
        }
    });
    Ok(Arc::new(values.collect::<Result<PrimitiveArray<Int64Type>, RowError>>()?))
}

/// `conv(number, from, to)`: reads digits of base `from` up to the first that is none, as 64 bits without sign.
fn conv(call: &Call<'_>) -> Result<ArrayRef> {
    let numbers = call.args[0].as_string::<i32>();
    let (from, to) = (call.args[1].as_primitive::<Int32Type>(), call.args[2].as_primitive::<Int32Type>());
    let mut out = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        out.push(if call.complete(row) { convert(numbers.value(row), from.value(row), to.value(row))? } else { None });
    }
    Ok(Arc::new(StringArray::from(out)))
}

fn convert(number: &str, from: i32, to: i32) -> Result<Option<String>, RowError> {
    let bases = 2..=36;
    if !bases.contains(&from) || !bases.contains(&to.abs()) || number.trim().is_empty() {
        return Ok(None);
    }
    let number = number.trim();
    let negative = number.starts_with('-');
    let digits = number.trim_start_matches('-');
    let mut value: u64 = 0;
    for digit in digits.chars().map_while(|c| c.to_digit(from as u32)) {
        let next = value.checked_mul(from as u64).and_then(|value| value.checked_add(u64::from(digit)));
        value =
            next.ok_or_else(|| RowError::new("ARITHMETIC_OVERFLOW", format!("conv: '{number}' does not fit 64 bits")))?;
    }
    if negative {
        value = value.wrapping_neg();
    }
    let (sign, mut rest) = if to < 0 && (value as i64) < 0 { ("-", value.wrapping_neg()) } else { ("", value) };
    let base = u64::from(to.unsigned_abs());
    let mut text = Vec::new();
    while rest > 0 || text.is_empty() {
        let digit = char::from_digit((rest % base) as u32, base as u32).unwrap_or('0');
        text.push(digit.to_ascii_uppercase());
        rest /= base;
    }
    Ok(Some(format!("{sign}{}", text.iter().rev().collect::<String>())))
}
