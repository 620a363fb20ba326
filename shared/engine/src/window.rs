//! Windows: the SQL function `window(ts, size [, slide [, offset]])` and what it is planned as.
//!
//! Windows are aligned to the epoch in UTC, moved by the offset. A row of a tumbling window belongs to the one whose start
//! is its event time rounded down; a row of sliding windows to each that it lies in (see `plan::sliding`).

use std::hash::Hash;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, StructArray, TimestampMicrosecondArray};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
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

/// In how many sliding windows a row may lie: size divided by slide. Each keeps a partial aggregate of it.
pub(crate) const MAX_WINDOWS_OF_A_ROW: i64 = 100;

/// Size, slide and offset of windows, in microseconds. Tumbling windows slide by their size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Shape {
    pub(crate) size: i64,
    pub(crate) slide: i64,
    /// Starts are this far behind multiples of the slide; at least 0 and below the slide.
    pub(crate) offset: i64,
}

impl Shape {
    /// Whether each instant lies in one window.
    pub(crate) fn is_tumbling(self) -> bool {
        self.slide == self.size
    }

    /// The start of the last window that begins at or before `at`.
    pub(crate) fn start_of(self, at: i64) -> i64 {
        at.saturating_sub(at.saturating_sub(self.offset).rem_euclid(self.slide))
    }

    /// Starts of all windows that `at` lies in, the last one first.
    pub(crate) fn starts_of(self, at: i64) -> impl Iterator<Item = i64> {
        let last = self.start_of(at);
        let windows = (0..).map(move |i: i64| last.saturating_sub(i * self.slide));
        windows.take_while(move |start| start.saturating_add(self.size) > at)
    }

    /// The first start whose window has not ended when the watermark stands at `watermark`.
    pub(crate) fn first_open(self, watermark: i64) -> i64 {
        self.start_of(watermark.saturating_sub(self.size)).saturating_add(self.slide)
    }

    /// Whether a window ends behind `from` and at or before `to`. `None` lies before everything.
    pub(crate) fn passes_end(self, from: Option<i64>, to: i64) -> bool {
        from.is_none_or(|from| self.first_open(from) < self.first_open(to))
    }
}

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
        shape_of(args.scalar_arguments.get(1..).unwrap_or_default())?;
        Ok(Arc::new(Field::new(WINDOW, DataType::Struct(bounds(time)), true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let literals: Vec<_> = args.args[1..].iter().map(literal).collect();
        let shape = shape_of(&literals)?;
        if !shape.is_tumbling() {
            return internal_err!("a sliding window is left in the plan");
        }
        let time = args.args[0].to_array(args.number_rows)?;
        let start = starts(&time, shape);
        Ok(ColumnarValue::Array(window_struct(start, shape.size)?))
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
    shape: Shape,
}

impl WindowStart {
    pub(crate) fn udf(shape: Shape) -> ScalarUDF {
        ScalarUDF::new_from_impl(Self { signature: Signature::any(1, Volatility::Immutable), shape })
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
        Ok(ColumnarValue::Array(Arc::new(starts(&time, self.shape))))
    }
}

/// The window that begins at a start: behind an aggregation, and of rows that stand once for each sliding window.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct WindowOfStart {
    signature: Signature,
    shape: Shape,
}

impl WindowOfStart {
    pub(crate) fn udf(shape: Shape) -> ScalarUDF {
        ScalarUDF::new_from_impl(Self { signature: Signature::any(1, Volatility::Immutable), shape })
    }
}

/// The start and the shape of the windows that a call of [`WindowOfStart`] makes.
pub(crate) fn window_of_start(expr: &Expr) -> Option<(&Expr, Shape)> {
    let Expr::ScalarFunction(call) = expr else { return None };
    let of_start = call.func.inner().as_ref().downcast_ref::<WindowOfStart>()?;
    Some((&call.args[0], of_start.shape))
}

/// The starts of all windows that an instant lies in, as a list.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct WindowStarts {
    signature: Signature,
    shape: Shape,
}

impl WindowStarts {
    pub(crate) fn udf(shape: Shape) -> ScalarUDF {
        ScalarUDF::new_from_impl(Self { signature: Signature::any(1, Volatility::Immutable), shape })
    }
}

impl ScalarUDFImpl for WindowStarts {
    fn name(&self) -> &'static str {
        "__window_starts"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        Ok(DataType::List(Arc::new(Field::new_list_field(args[0].clone(), true))))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let time = args.args[0].to_array(args.number_rows)?;
        let times = time.as_primitive::<TimestampMicrosecondType>();
        let mut starts = Vec::with_capacity(times.len() * 2);
        let mut lengths = Vec::with_capacity(times.len());
        for row in 0..times.len() {
            let before = starts.len();
            if times.is_valid(row) {
                starts.extend(self.shape.starts_of(times.value(row)));
            }
            lengths.push(starts.len() - before);
        }
        let starts = TimestampMicrosecondArray::from(starts).with_data_type(time.data_type().clone());
        let item = Arc::new(Field::new_list_field(time.data_type().clone(), true));
        let offsets = OffsetBuffer::from_lengths(lengths);
        let lists = ListArray::try_new(item, offsets, Arc::new(starts), times.nulls().cloned())?;
        Ok(ColumnarValue::Array(Arc::new(lists)))
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
        Ok(ColumnarValue::Array(window_struct(start, self.shape.size)?))
    }
}

fn bounds(time: &DataType) -> Fields {
    Fields::from(vec![Field::new("start", time.clone(), true), Field::new("end", time.clone(), true)])
}

fn starts(time: &ArrayRef, shape: Shape) -> TimestampMicrosecondArray {
    let time = time.as_primitive::<TimestampMicrosecondType>();
    // Neighbours mostly share a window: a comparison is cheaper than a division.
    let mut start = shape.offset;
    let starts = time.values().iter().map(|&at| {
        if at < start || at.wrapping_sub(start) >= shape.slide {
            start = shape.start_of(at);
        }
        start
    });
    let starts = ScalarBuffer::from(starts.collect::<Vec<_>>());
    TimestampMicrosecondArray::new(starts, time.nulls().cloned()).with_data_type(time.data_type().clone())
}

/// Whether the window that begins at `start` has ended when the watermark stands at `watermark`.
pub(crate) fn has_ended(start: i64, size: i64, watermark: i64) -> bool {
    start.saturating_add(size) <= watermark
}

fn window_struct(start: TimestampMicrosecondArray, size: i64) -> Result<ArrayRef> {
    let ty = start.data_type().clone();
    let end: TimestampMicrosecondArray = start.unary(|at| at.saturating_add(size));
    let end = end.with_data_type(ty.clone());
    let nulls = start.nulls().cloned();
    Ok(Arc::new(StructArray::try_new(bounds(&ty), vec![Arc::new(start), Arc::new(end)], nulls)?))
}

/// The time argument and the shape of a call of `window`; `None` for any other expression.
pub(crate) fn window_call(expr: &Expr) -> Result<Option<(&Expr, Shape)>> {
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
    Ok(Some((&call.args[0], shape_of(&literals)?)))
}

/// Size, slide and offset from the arguments behind the time.
fn shape_of(args: &[Option<&ScalarValue>]) -> Result<Shape> {
    let [size, more @ ..] = args else { return plan_err!("window() needs a size, as in window(ts, '2 seconds')") };
    let size = micros_of(*size)?;
    if size <= 0 || size > LARGEST_SIZE {
        return plan_err!("the size of a window must be positive and below 70,000 years");
    }
    let slide = more.first().map_or(Ok(size), |slide| micros_of(*slide))?;
    let offset = more.get(1).map_or(Ok(0), |offset| micros_of(*offset))?;
    if more.len() > 2 {
        return plan_err!("window() takes a time, a size, a slide and an offset");
    }
    if slide <= 0 || slide > size {
        return plan_err!(
            "[DATATYPE_MISMATCH.PARAMETER_CONSTRAINT_VIOLATION] the slide of a window must be positive and at most its size"
        );
    }
    if offset.saturating_abs() >= slide {
        return plan_err!(
            "[DATATYPE_MISMATCH.PARAMETER_CONSTRAINT_VIOLATION] the offset of a window must be smaller than its slide"
        );
    }
    let windows = size.saturating_add(slide - 1) / slide;
    if windows > MAX_WINDOWS_OF_A_ROW {
        return plan_err!(
            "a row would lie in {windows} windows, at most {MAX_WINDOWS_OF_A_ROW} are possible: slide by more at a time"
        );
    }
    Ok(Shape { size, slide, offset: offset.rem_euclid(slide) })
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
        let tumbling = Shape { size: 2, slide: 2, offset: 0 };
        assert_eq!(tumbling.start_of(5), 4);
        assert_eq!(tumbling.start_of(-1), -2);
        assert_eq!(Shape { offset: 1, ..tumbling }.start_of(4), 3);
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
            let shape = Shape { size: 10, slide: 10, offset: 0 };
            assert_eq!(shape.passes_end(from, to), passes, "{from:?} {to}");
        }
    }

    #[test]
    fn sliding_windows_are_told_apart_from_their_ends() {
        for (size, slide, offset) in [(10, 4, 0), (10, 4, 3), (10, 5, 1), (7, 7, 2), (10, 10, 0), (9, 1, 0)] {
            let shape = Shape { size, slide, offset };
            for at in -40..40 {
                let found: Vec<i64> = shape.starts_of(at).collect();
                let all = (-80..80).filter(|start: &i64| (start - offset).rem_euclid(slide) == 0);
                let expected: Vec<i64> = all.filter(|start| *start <= at && at < start + size).rev().collect();
                assert_eq!(found, expected, "{shape:?} {at}");
                let all = (-80..80).filter(|start: &i64| (start - offset).rem_euclid(slide) == 0);
                let open = all.into_iter().find(|start| !has_ended(*start, size, at));
                assert_eq!(Some(shape.first_open(at)), open, "{shape:?} {at}");
                let ends = |from: i64, to: i64| {
                    (-80..80).any(|start: i64| {
                        (start - offset).rem_euclid(slide) == 0 && start + size > from && start + size <= to
                    })
                };
                for to in at..at + 12 {
                    assert_eq!(shape.passes_end(Some(at), to), ends(at, to), "{shape:?} {at} {to}");
                }
            }
        }
    }
}
