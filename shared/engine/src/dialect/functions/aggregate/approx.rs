//! `percentile_approx`: a value at a share of the sorted ones, from a summary of a limited size.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, Int64Array, ListArray, PrimitiveArray, StructArray, UInt32Array,
};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, DurationMicrosecondType, Field, FieldRef, Fields, Float32Type, Float64Type,
    Int8Type, Int16Type, Int32Type, Int64Type, IntervalUnit, IntervalYearMonthType, TimeUnit, TimestampMicrosecondType,
};
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Expr, Signature, Volatility, lit};
use datafusion::physical_expr::expressions::Literal;
use datafusion::scalar::ScalarValue;

use super::summary::{Held, Summary, TooLarge, place};
use crate::dialect::cast::Mode;
use crate::dialect::error::RowError;
use crate::dialect::functions::Gives::Of;
use crate::dialect::functions::Takes::{Any, Int};
use crate::dialect::functions::collection::quantile;
use crate::dialect::functions::{Call, Def};
use crate::dialect::plan::Planner;
use crate::dialect::types::array_of;

/// The largest accuracy: ranks are known up to one part in so many.
pub const MAX_ACCURACY: u32 = 100_000;

/// What is planned around the aggregate: summary, shares, accuracy.
pub const FUNCTIONS: &[Def] = &[Def::new(&["summary_places"], &[Any, Any, Int], Of(values_of), picked)];

fn values_of(types: &[DataType]) -> Result<DataType> {
    match types.first() {
        Some(DataType::Struct(fields)) if !fields.is_empty() => Ok(array_of(match fields[0].data_type() {
            DataType::List(item) => item.data_type().clone(),
            other => other.clone(),
        })),
        _ => plan_err!("a summary is expected"),
    }
}

/// Numbers, dates, times and intervals as they are; text as double.
pub(super) fn argument(planner: &Planner<'_>, arg: Expr) -> Result<Expr> {
    let ty = planner.type_of(&arg)?;
    match ty {
        DataType::Utf8 | DataType::Null => planner.cast(arg, &DataType::Float64, Mode::Raise),
        _ if kind_of(&ty).is_ok() => Ok(arg),
        _ => plan_err!(
            "percentile_approx takes numbers, dates, timestamps and intervals, not {}",
            crate::dialect::types::sql_name(&ty)
        ),
    }
}

/// Checks the accuracy, which is a constant.
pub(super) fn accuracy(planner: &Planner<'_>, arg: Expr) -> Result<Expr> {
    let _ = planner.type_of(&arg)?;
    let given = match &arg {
        Expr::Literal(value, _) => value.cast_to(&DataType::Int64).ok(),
        _ => None,
    };
    match given {
        Some(ScalarValue::Int64(Some(value))) if (1..=i64::from(MAX_ACCURACY)).contains(&value) => {
            Ok(lit(i32::try_from(value).unwrap_or(i32::MAX)))
        }
        _ => plan_err!(
            "the accuracy of percentile_approx is a whole number from 1 to {MAX_ACCURACY}, written into the query"
        ),
    }
}

/// For one share one value, for an array of them an array: summary, shares, accuracy.
pub(super) fn percentiles(planner: &Planner<'_>, [summary, share, accuracy]: [Expr; 3]) -> Result<Expr> {
    let many = matches!(planner.type_of(&share)?, DataType::List(_));
    let shares = if many { share } else { planner.call("array", vec![share])? };
    let shares = planner.cast(shares, &array_of(DataType::Float64), Mode::Raise)?;
    let picked = planner.call("summary_places", vec![summary, shares, accuracy])?;
    if many { Ok(picked) } else { planner.call("get", vec![picked, lit(0_i32)]) }
}

fn picked(call: &Call<'_>) -> Result<ArrayRef> {
    let summaries = call.args[0].as_struct();
    let values = summaries.column(0).as_list::<i32>();
    let (mut flat, mut lengths, mut valid) = (vec![], vec![], vec![]);
    for row in 0..call.rows {
        if summaries.is_null(row) {
            return Err(too_large().into());
        }
        let held = held_of(summaries.columns(), row)?;
        let accuracy = call.args[2].as_primitive::<Int32Type>().value(row).unsigned_abs();
        let shares = if held.is_empty() { vec![] } else { quantile::shares(call, row)? };
        let start = values.value_offsets()[row].unsigned_abs();
        let places = shares.iter().filter_map(|share| place(&held, accuracy, *share));
        flat.extend(places.map(|place| start + place as u32));
        lengths.push(shares.len());
        valid.push(!shares.is_empty());
    }
    let DataType::List(field) = call.out else { return plan_err!("a list is expected") };
    let values = take(values.values(), &UInt32Array::from(flat), None)?;
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(Arc::clone(field), offsets, values, Some(valid.into()))?))
}

fn too_large() -> RowError {
    let message = "percentile_approx cannot summarize this group: use a smaller accuracy, or group by more keys";
    RowError::new("COLLECTION_SIZE_LIMIT_EXCEEDED", message)
}

/// The aggregate: the summary of a group as a struct, NULL where it would be too large.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Summarize {
    signature: Signature,
}

impl Default for Summarize {
    fn default() -> Self {
        Self { signature: Signature::any(2, Volatility::Immutable) }
    }
}

/// Values in order, and how far the ranks go: `steps` is empty where all are 1, `spreads` where all are 0.
fn fields(value: &DataType) -> Fields {
    let list = |name: &str, ty: DataType| Field::new(name, array_of(ty), true);
    Fields::from(vec![list("values", value.clone()), list("steps", DataType::Int64), list("spreads", DataType::Int64)])
}

impl AggregateUDFImpl for Summarize {
    fn name(&self) -> &'static str {
        "summary_of"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Struct(fields(&types[0])))
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let accuracy = match args.exprs.get(1).and_then(|expr| expr.downcast_ref::<Literal>()).map(Literal::value) {
            Some(ScalarValue::Int32(Some(accuracy))) => accuracy.unsigned_abs(),
            _ => return plan_err!("the accuracy is a constant"),
        };
        let ty = args.expr_fields[0].data_type().clone();
        Ok(Box::new(Summarizing { kind: kind_of(&ty)?, ty, accuracy, summary: Some(Summary::new(accuracy)) }))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let mark = Field::new(format!("{}[beyond]", args.name), DataType::Boolean, false);
        let parts = fields(args.input_fields[0].data_type());
        let parts = parts.iter().map(|part| {
            Arc::new(Field::new(format!("{}[{}]", args.name, part.name()), part.data_type().clone(), true))
        });
        Ok(parts.chain([Arc::new(mark)]).collect())
    }

    fn default_value(&self, ty: &DataType) -> Result<ScalarValue> {
        let DataType::Struct(fields) = ty else { return ScalarValue::try_new_null(ty) };
        let empty = fields.iter().map(|field| super::kept::no_values(field.data_type())?.to_array());
        let empty = StructArray::try_new(fields.clone(), empty.collect::<Result<_>>()?, None)?;
        Ok(ScalarValue::Struct(Arc::new(empty)))
    }
}

#[derive(Debug)]
struct Summarizing {
    ty: DataType,
    kind: Kind,
    accuracy: u32,
    /// `None` of a group whose summary would be too large.
    summary: Option<Summary>,
}

impl Summarizing {
    /// Changes the summary; one that gets too large is forgotten.
    fn change(&mut self, by: impl FnOnce(&mut Summary) -> Result<(), TooLarge>) {
        if self.summary.as_mut().is_some_and(|summary| by(summary).is_err()) {
            self.summary = None;
        }
    }

    /// Values, steps and spreads, each as one list.
    fn lists(&mut self) -> Result<Vec<ArrayRef>> {
        self.change(|summary| summary.held().map(|_| ()));
        let held = match &mut self.summary {
            Some(summary) => summary.held().map(<[Held]>::to_vec).unwrap_or_default(),
            None => vec![],
        };
        let values = (self.kind.write)(&held, &self.ty);
        let ranks = |of: fn(&Held) -> u64, plain: u64| -> ArrayRef {
            let all = held.iter().map(|held| i64::try_from(of(held)).unwrap_or(i64::MAX));
            let needed = held.iter().any(|held| of(held) != plain);
            Arc::new(if needed { all.collect::<Int64Array>() } else { Int64Array::from(Vec::<i64>::new()) })
        };
        let parts = [values, ranks(|held| held.steps, 1), ranks(|held| held.spread, 0)];
        let list = |items: ArrayRef| -> Result<ArrayRef> {
            let field = Arc::new(Field::new_list_field(items.data_type().clone(), true));
            let offsets = OffsetBuffer::from_lengths([items.len()]);
            Ok(Arc::new(ListArray::try_new(field, offsets, items, None)?))
        };
        parts.into_iter().map(list).collect()
    }
}

impl Accumulator for Summarizing {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let read = (self.kind.read)(&values[0]);
        self.change(|summary| read.into_iter().try_for_each(|value| summary.add(value)));
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let Some((marks, states)) = states.split_last() else { return Ok(()) };
        if marks.as_boolean().true_count() > 0 {
            self.summary = None;
        }
        for row in 0..marks.len() {
            let held = held_of(states, row)?;
            self.change(|summary| summary.merge(&held));
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let lists = self.lists()?;
        let fields = fields(&self.ty);
        if self.summary.is_none() {
            return ScalarValue::try_new_null(&DataType::Struct(fields));
        }
        Ok(ScalarValue::Struct(Arc::new(StructArray::try_new(fields, lists, None)?)))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let lists = self.lists()?;
        let mut state: Vec<ScalarValue> =
            lists.iter().map(|list| ScalarValue::try_from_array(list, 0)).collect::<Result<_>>()?;
        state.push(ScalarValue::Boolean(Some(self.summary.is_none())));
        // What a state was read from is not needed any more.
        if self.summary.is_some() {
            self.summary = Some(Summary::new(self.accuracy));
        }
        Ok(state)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.summary.as_ref().map_or(0, Summary::bytes)
    }
}

/// What a row of lists of values, steps and spreads holds.
fn held_of(lists: &[ArrayRef], row: usize) -> Result<Vec<Held>> {
    let [values, steps, spreads] = lists else { return plan_err!("values, steps and spreads are expected") };
    let items = |list: &ArrayRef| list.is_valid(row).then(|| list.as_list::<i32>().value(row));
    let Some(values) = items(values) else { return Ok(vec![]) };
    let values = (kind_of(values.data_type())?.read)(&values);
    let ranks = |list: &ArrayRef, plain: u64| -> Vec<u64> {
        let given = items(list);
        let given = given.iter().flat_map(|given| given.as_primitive::<Int64Type>().values().iter());
        let given: Vec<u64> = given.map(|rank| rank.unsigned_abs()).collect();
        if given.is_empty() { vec![plain; values.len()] } else { given }
    };
    let (steps, spreads) = (ranks(steps, 1), ranks(spreads, 0));
    let held = values.iter().zip(steps).zip(spreads);
    Ok(held.map(|((value, steps), spread)| Held { value: *value, steps: steps.max(1), spread }).collect())
}

/// How values of a type become numbers with the same order, and come back.
#[derive(Clone, Copy, Debug)]
struct Kind {
    read: fn(&ArrayRef) -> Vec<i128>,
    write: fn(&[Held], &DataType) -> ArrayRef,
}

/// A kind: type of the array, number from value, value from number.
macro_rules! kind {
    ($ty:ty, $to:expr, $from:expr) => {
        Kind {
            read: |array| array.as_primitive::<$ty>().iter().flatten().map($to).collect(),
            write: |held, ty| {
                let values = held.iter().map(|held| $from(held.value));
                let values: PrimitiveArray<$ty> = PrimitiveArray::from_iter_values(values);
                Arc::new(values.with_data_type(ty.clone()))
            },
        }
    };
}

/// Of an integer of any width.
macro_rules! whole {
    ($ty:ty) => {
        kind!($ty, i128::from, |value| value as <$ty as ArrowPrimitiveType>::Native)
    };
}

fn kind_of(ty: &DataType) -> Result<Kind> {
    Ok(match ty {
        DataType::Int8 => whole!(Int8Type),
        DataType::Int16 => whole!(Int16Type),
        DataType::Int32 => whole!(Int32Type),
        DataType::Int64 => whole!(Int64Type),
        DataType::Date32 => whole!(Date32Type),
        DataType::Decimal128(..) => whole!(Decimal128Type),
        DataType::Timestamp(TimeUnit::Microsecond, _) => whole!(TimestampMicrosecondType),
        DataType::Duration(TimeUnit::Microsecond) => whole!(DurationMicrosecondType),
        DataType::Interval(IntervalUnit::YearMonth) => whole!(IntervalYearMonthType),
        // The bits of a float are in the order of the numbers where the sign is left out.
        DataType::Float32 => kind!(
            Float32Type,
            |value| {
                let bits = if value.is_nan() { f32::NAN } else { value }.to_bits() as i32;
                i128::from(bits ^ (((bits >> 31) as u32) >> 1) as i32)
            },
            |value| {
                let bits = value as i32;
                f32::from_bits((bits ^ (((bits >> 31) as u32) >> 1) as i32) as u32)
            }
        ),
        DataType::Float64 => kind!(
            Float64Type,
            |value| {
                let bits = if value.is_nan() { f64::NAN } else { value }.to_bits() as i64;
                i128::from(bits ^ (((bits >> 63) as u64) >> 1) as i64)
            },
            |value| {
                let bits = value as i64;
                f64::from_bits((bits ^ (((bits >> 63) as u64) >> 1) as i64) as u64)
            }
        ),
        other => return plan_err!("a summary of {other} is not known"),
    })
}
