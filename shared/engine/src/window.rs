//! Tumbling windows: the SQL function `window(ts, '2 seconds')` and what it is planned as.
//!
//! Windows are aligned to the epoch in UTC. A row belongs to the window whose start is its event time rounded down.

use std::hash::Hash;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StructArray, TimestampMicrosecondArray};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, TimeUnit, TimestampMicrosecondType};
use datafusion::common::{Result, ScalarValue, internal_err, plan_datafusion_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// The name of the function in SQL, and of its column in the result, as in Spark.
pub(crate) const WINDOW: &str = "window";
/// The name of the group key that a windowed aggregation is planned with.
pub(crate) const WINDOW_START: &str = "__window_start";

const LARGEST_SIZE: i64 = i64::MAX / 4;

/// `window(ts, size)`: the window of an instant as `struct<start: timestamp, end: timestamp>`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Window {
    signature: Signature,
}

impl Window {
    pub(crate) fn udf() -> ScalarUDF {
        ScalarUDF::new_from_impl(Self { signature: Signature::variadic_any(Volatility::Immutable) })
    }
}

impl ScalarUDFImpl for Window {
    fn name(&self) -> &'static str {
        WINDOW
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        internal_err!("the type of window() depends on its arguments")
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let [time, ..] = args.arg_fields else { return plan_err!("window() needs a timestamp and a size") };
        let time = time.data_type();
        if !matches!(time, DataType::Timestamp(TimeUnit::Microsecond, _)) {
            return plan_err!("window() needs a timestamp, this is {time}");
        }
        size_of(args.scalar_arguments.get(1..).unwrap_or_default())?;
        Ok(Arc::new(Field::new(WINDOW, DataType::Struct(bounds(time)), true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let literals: Vec<_> = args.args[1..].iter().map(literal).collect();
        let size = size_of(&literals)?;
        let time = args.args[0].to_array(args.number_rows)?;
        let start = starts(&time, size);
        Ok(ColumnarValue::Array(window_struct(start, size)?))
    }
}

fn literal(value: &ColumnarValue) -> Option<&ScalarValue> {
    match value {
        ColumnarValue::Scalar(scalar) => Some(scalar),
        ColumnarValue::Array(_) => None,
    }
}

/// The start of an instant's window: the group key of a windowed aggregation.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct WindowStart {
    signature: Signature,
    size: i64,
}

impl WindowStart {
    pub(crate) fn udf(size: i64) -> ScalarUDF {
        ScalarUDF::new_from_impl(Self { signature: Signature::any(1, Volatility::Immutable), size })
    }
}

impl ScalarUDFImpl for WindowStart {
    fn name(&self) -> &'static str {
        WINDOW_START
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        Ok(args[0].clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let time = args.args[0].to_array(args.number_rows)?;
        Ok(ColumnarValue::Array(Arc::new(starts(&time, self.size))))
    }
}

/// The window that begins at a start, behind the aggregation.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct WindowOfStart {
    signature: Signature,
    size: i64,
}

impl WindowOfStart {
    pub(crate) fn udf(size: i64) -> ScalarUDF {
        ScalarUDF::new_from_impl(Self { signature: Signature::any(1, Volatility::Immutable), size })
    }
}

impl ScalarUDFImpl for WindowOfStart {
    fn name(&self) -> &'static str {
        "__window"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        Ok(DataType::Struct(bounds(&args[0])))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let start = args.args[0].to_array(args.number_rows)?;
        let start = start.as_primitive::<TimestampMicrosecondType>().clone();
        Ok(ColumnarValue::Array(window_struct(start, self.size)?))
    }
}

fn bounds(time: &DataType) -> Fields {
    Fields::from(vec![Field::new("start", time.clone(), true), Field::new("end", time.clone(), true)])
}

fn starts(time: &ArrayRef, size: i64) -> TimestampMicrosecondArray {
    let time = time.as_primitive::<TimestampMicrosecondType>();
    // Neighbours mostly share a window: a comparison is cheaper than a division.
    let mut start = 0;
    let starts = time.values().iter().map(|&at| {
        if at < start || at.wrapping_sub(start) >= size {
            start = start_of(at, size);
        }
        start
    });
    let starts = ScalarBuffer::from(starts.collect::<Vec<_>>());
    TimestampMicrosecondArray::new(starts, time.nulls().cloned()).with_data_type(time.data_type().clone())
}

/// The start of the window of `at`, both in microseconds.
pub(crate) fn start_of(at: i64, size: i64) -> i64 {
    at.saturating_sub(at.rem_euclid(size))
}

/// Whether the window that begins at `start` has ended when the watermark stands at `watermark`.
pub(crate) fn has_ended(start: i64, size: i64, watermark: i64) -> bool {
    start.saturating_add(size) <= watermark
}

/// Whether a window ends behind `from` and at or before `to`. `None` lies before everything.
pub(crate) fn passes_end(from: Option<i64>, to: i64, size: i64) -> bool {
    from.is_none_or(|from| start_of(from, size) < start_of(to, size))
}

fn window_struct(start: TimestampMicrosecondArray, size: i64) -> Result<ArrayRef> {
    let ty = start.data_type().clone();
    let end: TimestampMicrosecondArray = start.unary(|at| at.saturating_add(size));
    let end = end.with_data_type(ty.clone());
    let nulls = start.nulls().cloned();
    Ok(Arc::new(StructArray::try_new(bounds(&ty), vec![Arc::new(start), Arc::new(end)], nulls)?))
}

/// The time argument and the size in microseconds of a call of `window`; `None` for any other expression.
pub(crate) fn window_call(expr: &Expr) -> Result<Option<(&Expr, i64)>> {
    let Expr::ScalarFunction(call) = expr else { return Ok(None) };
    if call.func.inner().as_ref().downcast_ref::<Window>().is_none() {
        return Ok(None);
    }
    let literals: Vec<_> = call.args[1..]
        .iter()
        .map(|arg| match arg {
            Expr::Literal(value, _) => Some(value),
            _ => None,
        })
        .collect();
    Ok(Some((&call.args[0], size_of(&literals)?)))
}

/// The size from the arguments behind the time. Everything but a tumbling window is refused.
fn size_of(args: &[Option<&ScalarValue>]) -> Result<i64> {
    let [size, more @ ..] = args else { return plan_err!("window() needs a size, as in window(ts, '2 seconds')") };
    let size = micros_of(*size)?;
    if size <= 0 || size > LARGEST_SIZE {
        return plan_err!("the size of a window must be positive and below 70,000 years");
    }
    match more {
        [] => Ok(size),
        [slide] if micros_of(*slide)? == size => Ok(size),
        [_] => plan_err!("sliding windows are not supported yet: write window(ts, size) without a slide"),
        [_, offset] if micros_of(*offset)? == 0 => Ok(size),
        _ => plan_err!("a start offset of window() is not supported yet"),
    }
}

fn micros_of(arg: Option<&ScalarValue>) -> Result<i64> {
    let value =
        arg.ok_or_else(|| plan_datafusion_err!("the size of a window must be a literal such as '2 seconds'"))?;
    match value {
        ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)) | ScalarValue::LargeUtf8(Some(text)) => {
            interval_micros(text).ok_or_else(|| {
                plan_datafusion_err!(
                    "'{text}' is no size of a window: write a number and a unit from microseconds to weeks, \
                     as in '2 seconds' or '1 hour 30 minutes'"
                )
            })
        }
        ScalarValue::IntervalMonthDayNano(Some(interval)) if interval.months == 0 => {
            Ok(i64::from(interval.days) * 86_400_000_000 + interval.nanoseconds / 1000)
        }
        ScalarValue::IntervalDayTime(Some(interval)) => {
            Ok(i64::from(interval.days) * 86_400_000_000 + i64::from(interval.milliseconds) * 1000)
        }
        ScalarValue::Int64(Some(micros)) => Ok(*micros),
        ScalarValue::Int32(Some(micros)) => Ok(i64::from(*micros)),
        other => plan_err!("the size of a window must be a text such as '2 seconds', this is {}", other.data_type()),
    }
}

/// Microseconds of an interval text as Spark writes it: `2 seconds`, `interval 1 hour 30 minutes`, `-1 day`.
/// Months and years have no fixed length and are no size.
pub(crate) fn interval_micros(text: &str) -> Option<i64> {
    let text = text.trim().to_ascii_lowercase();
    let mut words = text.split_ascii_whitespace().peekable();
    words.next_if_eq(&"interval");
    words.peek()?;
    let mut sum = 0i64;
    while let Some(number) = words.next() {
        let unit = words.next()?;
        let micros: i64 = match unit.strip_suffix('s').unwrap_or(unit) {
            "microsecond" => 1,
            "millisecond" => 1_000,
            "second" => 1_000_000,
            "minute" => 60_000_000,
            "hour" => 3_600_000_000,
            "day" => 86_400_000_000,
            "week" => 604_800_000_000,
            _ => return None,
        };
        let part = match number.split_once('.') {
            Some((whole, fraction)) if micros == 1_000_000 => seconds(whole, fraction)?,
            _ => number.parse::<i64>().ok()?.checked_mul(micros)?,
        };
        sum = sum.checked_add(part)?;
    }
    Some(sum)
}

fn seconds(whole: &str, fraction: &str) -> Option<i64> {
    if fraction.is_empty() || fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let micros: i64 = format!("{fraction:0<6}")[..6].parse().ok()?;
    let negative = whole.starts_with('-');
    let whole: i64 = if matches!(whole, "" | "-" | "+") { 0 } else { whole.parse().ok()? };
    whole.checked_mul(1_000_000)?.checked_add(if negative { -micros } else { micros })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interval_texts() {
        for (text, micros) in [
            ("2 seconds", 2_000_000),
            (" INTERVAL 1 hour 30 minutes", 5_400_000_000),
            ("1 week", 604_800_000_000),
            ("1.5 seconds", 1_500_000),
            ("10 milliseconds", 10_000),
            ("-1 day", -86_400_000_000),
        ] {
            assert_eq!(interval_micros(text), Some(micros), "{text}");
        }
        for wrong in
            ["", "interval", "2", "seconds", "1 month", "1 year", "1.5 hours", "2seconds", "9999999999999 weeks"]
        {
            assert_eq!(interval_micros(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn starts_are_rounded_down() {
        assert_eq!(start_of(5, 2), 4);
        assert_eq!(start_of(-1, 2), -2);
        assert!(has_ended(4, 2, 6));
        assert!(!has_ended(4, 2, 5));
    }

    #[test]
    fn ends_of_windows_are_multiples_of_the_size() {
        for (from, to, passes) in [
            (None, -7, true),
            (Some(0), 9, false),
            (Some(9), 10, true),
            (Some(10), 10, false),
            (Some(10), 19, false),
            (Some(-11), -10, true),
            (Some(-10), -1, false),
            (Some(20), 10, false),
        ] {
            assert_eq!(passes_end(from, to, 10), passes, "{from:?} {to}");
        }
    }
}
