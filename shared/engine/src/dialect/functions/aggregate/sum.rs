//! `sum` of integers, decimals and intervals: overflow raises, where DataFusion's wraps. `try_sum` of intervals.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, BooleanArray, PrimitiveArray,
};
use datafusion::arrow::datatypes::{
    DataType, Decimal128Type, DurationMicrosecondType, Field, FieldRef, Int64Type, IntervalUnit, IntervalYearMonthType,
};
use datafusion::error::Result;
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF, Signature,
};
use datafusion::scalar::ScalarValue;
use datafusion_spark::function::aggregate::try_sum::SparkTrySum;

use super::{counts, in_units_of};
use crate::dialect::error::RowError;
use crate::dialect::functions::datetime::span::is_interval;
use crate::dialect::types::sql_name;

const MONTHS: DataType = DataType::Interval(IntervalUnit::YearMonth);

/// `sum`; floats and `DISTINCT` go to DataFusion's.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct CheckedSum {
    inner: Arc<AggregateUDF>,
}

impl Default for CheckedSum {
    fn default() -> Self {
        Self { inner: sum_udaf() }
    }
}

impl AggregateUDFImpl for CheckedSum {
    fn name(&self) -> &'static str {
        "sum"
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        in_units_of(self, fields)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match args.return_field.data_type() {
            _ if args.is_distinct => self.inner.accumulator(args),
            DataType::Int64 => Ok(Box::new(Total::<Int64Type>::new(&DataType::Int64))),
            ty @ DataType::Decimal128(_, _) => Ok(Box::new(Total::<Decimal128Type>::new(ty))),
            ty @ DataType::Duration(_) => Ok(Box::new(Total::<DurationMicrosecondType>::new(ty))),
            ty if ty == &MONTHS => Ok(Box::new(Total::<IntervalYearMonthType>::new(ty))),
            _ => self.inner.accumulator(args),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        match args.return_field.data_type() {
            DataType::Int64 => Ok(Box::new(Totals::<Int64Type>::new(&DataType::Int64))),
            ty @ DataType::Decimal128(_, _) => Ok(Box::new(Totals::<Decimal128Type>::new(ty))),
            ty @ DataType::Duration(_) => Ok(Box::new(Totals::<DurationMicrosecondType>::new(ty))),
            ty if ty == &MONTHS => Ok(Box::new(Totals::<IntervalYearMonthType>::new(ty))),
            _ => self.inner.create_groups_accumulator(args),
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.inner.create_sliding_accumulator(args)
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

fn overflow(ty: &DataType) -> RowError {
    let class = if is_interval(ty) { "INTERVAL_ARITHMETIC_OVERFLOW" } else { "ARITHMETIC_OVERFLOW" };
    RowError::new(class, format!("a sum does not fit {}: try_sum gives NULL instead", sql_name(ty)))
}

/// A finished decimal has at most the digits of its type.
fn check<T: ArrowPrimitiveType>(values: &PrimitiveArray<T>, ty: &DataType) -> Result<(), RowError> {
    let DataType::Decimal128(precision, _) = ty else { return Ok(()) };
    let Some(decimals) = values.as_any().downcast_ref::<PrimitiveArray<Decimal128Type>>() else { return Ok(()) };
    let limit = 10_u128.pow((*precision).into());
    if decimals.iter().flatten().any(|value| value.unsigned_abs() >= limit) { Err(overflow(ty)) } else { Ok(()) }
}

/// The sum of one group.
#[derive(Debug)]
struct Total<T: ArrowPrimitiveType> {
    sum: Option<T::Native>,
    ty: DataType,
}

impl<T: ArrowPrimitiveType> Total<T> {
    fn new(ty: &DataType) -> Self {
        Self { sum: None, ty: ty.clone() }
    }
}

impl<T: ArrowPrimitiveType + std::fmt::Debug> Accumulator for Total<T> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = values[0].as_primitive::<T>();
        if let Some(sum) = datafusion::arrow::compute::sum_checked(values).map_err(|_| overflow(&self.ty))? {
            let all = self.sum.unwrap_or_default().add_checked(sum).map_err(|_| overflow(&self.ty))?;
            self.sum = Some(all);
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let value = PrimitiveArray::<T>::from_iter([self.sum]).with_data_type(self.ty.clone());
        check(&value, &self.ty)?;
        ScalarValue::try_from_array(&value, 0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }
}

/// `try_sum`; all but intervals go to `datafusion-spark`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct TrySum {
    inner: SparkTrySum,
}

impl Default for TrySum {
    fn default() -> Self {
        Self { inner: SparkTrySum::new() }
    }
}

impl AggregateUDFImpl for TrySum {
    fn name(&self) -> &'static str {
        "try_sum"
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        if matches!(types, [one] if is_interval(one)) { Ok(types.to_vec()) } else { self.inner.coerce_types(types) }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        if is_interval(&types[0]) { Ok(types[0].clone()) } else { self.inner.return_type(types) }
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        in_units_of(self, fields)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match args.return_field.data_type() {
            ty @ DataType::Duration(_) => {
                Ok(Box::new(TryTotal { total: Total::<DurationMicrosecondType>::new(ty), failed: false }))
            }
            ty if ty == &MONTHS => {
                Ok(Box::new(TryTotal { total: Total::<IntervalYearMonthType>::new(ty), failed: false }))
            }
            _ => self.inner.accumulator(args),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        if !is_interval(args.return_type()) {
            return self.inner.state_fields(args);
        }
        let field = |part, ty: &DataType| Arc::new(Field::new(format!("{}[{part}]", args.name), ty.clone(), true));
        Ok(vec![field("sum", args.return_type()), field("failed", &DataType::Boolean)])
    }

    fn default_value(&self, ty: &DataType) -> Result<ScalarValue> {
        ScalarValue::try_new_null(ty)
    }
}

/// A sum that is NULL for ever once it has overflowed.
#[derive(Debug)]
struct TryTotal<T: ArrowPrimitiveType> {
    total: Total<T>,
    failed: bool,
}

impl<T: ArrowPrimitiveType + std::fmt::Debug> Accumulator for TryTotal<T> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.failed = self.failed || self.total.update_batch(values).is_err();
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.failed = self.failed || states[1].as_boolean().true_count() > 0;
        self.update_batch(&states[..1])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if self.failed { ScalarValue::try_new_null(&self.total.ty) } else { self.total.evaluate() }
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?, ScalarValue::Boolean(Some(self.failed))])
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }
}

/// The sums of all groups.
#[derive(Debug)]
struct Totals<T: ArrowPrimitiveType> {
    sums: Vec<T::Native>,
    seen: Vec<bool>,
    ty: DataType,
}

impl<T: ArrowPrimitiveType> Totals<T> {
    fn new(ty: &DataType) -> Self {
        Self { sums: vec![], seen: vec![], ty: ty.clone() }
    }
}

impl<T: ArrowPrimitiveType + Send> GroupsAccumulator for Totals<T> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.sums.resize(total, T::Native::default());
        self.seen.resize(total, false);
        let values = values[0].as_primitive::<T>();
        let plain = values.null_count() == 0 && filter.is_none();
        for (row, (group, value)) in groups.iter().zip(values.values()).enumerate() {
            let given = plain || values.is_valid(row) && counts(filter, row);
            if given {
                self.sums[*group] = self.sums[*group].add_checked(*value).map_err(|_| overflow(&self.ty))?;
                self.seen[*group] = true;
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.update_batch(states, groups, None, total)
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        let (sums, seen) = (emit.take_needed(&mut self.sums), emit.take_needed(&mut self.seen));
        let values = sums.into_iter().zip(seen).map(|(sum, seen)| seen.then_some(sum));
        let values = values.collect::<PrimitiveArray<T>>().with_data_type(self.ty.clone());
        check(&values, &self.ty)?;
        Ok(Arc::new(values))
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(emit)?])
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let values = match filter {
            None => Arc::clone(&values[0]),
            Some(filter) => {
                let drop = datafusion::arrow::compute::not(&datafusion::arrow::compute::prep_null_mask_filter(filter))?;
                datafusion::arrow::compute::nullif(&values[0], &drop)?
            }
        };
        Ok(vec![Arc::new(values.as_primitive::<T>().clone().with_data_type(self.ty.clone()))])
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<T::Native>() + self.seen.capacity()
    }
}
