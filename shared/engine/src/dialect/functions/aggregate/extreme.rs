//! `min`, `max`, `min_by` and `max_by` in Spark's order: NaN is the largest number, NULL within a struct or an array the
//! smallest value.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, PrimitiveArray, new_null_array,
};
use datafusion::arrow::compute;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Float32Type, Float64Type};
use datafusion::arrow::row::{OwnedRow, RowConverter, SortField};
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use super::{counts, in_units_of};

fn is_nested(ty: &DataType) -> bool {
    matches!(ty, DataType::Struct(_) | DataType::List(_))
}

/// `min` or `max`; types whose order is the same everywhere go to DataFusion's.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Extreme {
    largest: bool,
    inner: Arc<AggregateUDF>,
}

impl Extreme {
    /// `max`, or `min`.
    pub fn new(largest: bool) -> Self {
        Self { largest, inner: if largest { max_udaf() } else { min_udaf() } }
    }
}

impl AggregateUDFImpl for Extreme {
    fn name(&self) -> &'static str {
        if self.largest { "max" } else { "min" }
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

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let ty = args.return_field.data_type();
        if is_nested(ty) || matches!(ty, DataType::Float32 | DataType::Float64) {
            return Ok(Box::new(Best::new(self.largest, false, ty.clone(), ty.clone())?));
        }
        self.inner.accumulator(args)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let ty = args.return_field.data_type();
        if !is_nested(ty) && !matches!(ty, DataType::Float32 | DataType::Float64) {
            return self.inner.state_fields(args);
        }
        Ok(vec![Arc::new(Field::new(format!("{}[{}]", args.name, self.name()), ty.clone(), true))])
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !is_nested(args.return_field.data_type()) && self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        match args.return_field.data_type() {
            DataType::Float32 => Ok(Box::new(Floats::<Float32Type>::new(self.largest))),
            DataType::Float64 => Ok(Box::new(Floats::<Float64Type>::new(self.largest))),
            _ => self.inner.create_groups_accumulator(args),
        }
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// `max_by(x, y)` and `min_by(x, y)`: the value where `y` is largest or smallest.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ExtremeBy {
    largest: bool,
    signature: Signature,
}

impl ExtremeBy {
    /// `max_by`, or `min_by`.
    pub fn new(largest: bool) -> Self {
        Self { largest, signature: Signature::any(2, Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for ExtremeBy {
    fn name(&self) -> &'static str {
        if self.largest { "value_of_max" } else { "value_of_min" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [value, _] => Ok(value.clone()),
            _ => plan_err!("max_by and min_by take two arguments"),
        }
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        in_units_of(self, fields)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let ty = |at: usize| args.expr_fields[at].data_type().clone();
        Ok(Box::new(Best::new(self.largest, true, ty(0), ty(1))?))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field =
            |part: &str, ty: &DataType| Arc::new(Field::new(format!("{}[{part}]", args.name), ty.clone(), true));
        let ty = |at: usize| args.input_fields[at].data_type();
        Ok(vec![field("value", ty(0)), field("by", ty(1))])
    }
}

/// The best row of one group. With one column it is compared by itself.
#[derive(Debug)]
struct Best {
    largest: bool,
    rows: RowConverter,
    best: Option<OwnedRow>,
    value: ScalarValue,
    by: ScalarValue,
    /// Whether the value is another column than the one that is compared.
    paired: bool,
}

impl Best {
    fn new(largest: bool, paired: bool, value: DataType, by: DataType) -> Result<Self> {
        Ok(Self {
            largest,
            rows: RowConverter::new(vec![SortField::new(by.clone())])?,
            best: None,
            value: ScalarValue::try_from(&value)?,
            by: ScalarValue::try_from(&by)?,
            paired,
        })
    }
}

impl Accumulator for Best {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let (Some(value), Some(by)) = (columns.first(), columns.last()) else { return Ok(()) };
        let sorted = self.rows.convert_columns(&[one_form(by)?])?;
        let mut found = None;
        for row in (0..by.len()).filter(|row| by.is_valid(*row)) {
            let better = |than: datafusion::arrow::row::Row<'_>| {
                if self.largest { sorted.row(row) > than } else { sorted.row(row) < than }
            };
            let wins = match found {
                Some(before) => better(sorted.row(before)),
                None => self.best.as_ref().is_none_or(|best| better(best.row())),
            };
            if wins {
                found = Some(row);
            }
        }
        if let Some(row) = found {
            self.best = Some(sorted.row(row).owned());
            self.value = ScalarValue::try_from_array(value, row)?;
            self.by = ScalarValue::try_from_array(by, row)?;
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.value.clone())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(if self.paired { vec![self.value.clone(), self.by.clone()] } else { vec![self.value.clone()] })
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.rows.size() + self.value.size() + self.by.size()
    }
}

/// NaN without a sign and zero without one, so that rows are in Spark's order.
pub(in super::super) fn one_form(array: &ArrayRef) -> Result<ArrayRef> {
    Ok(match array.data_type() {
        DataType::Float32 => Arc::new(
            array
                .as_primitive::<Float32Type>()
                .unary::<_, Float32Type>(|value| if value.is_nan() { f32::NAN } else { value + 0.0 }),
        ),
        DataType::Float64 => Arc::new(
            array
                .as_primitive::<Float64Type>()
                .unary::<_, Float64Type>(|value| if value.is_nan() { f64::NAN } else { value + 0.0 }),
        ),
        _ => Arc::clone(array),
    })
}

/// The largest or smallest number of all groups.
#[derive(Debug)]
struct Floats<T: ArrowPrimitiveType> {
    largest: bool,
    values: Vec<T::Native>,
    seen: Vec<bool>,
}

impl<T: ArrowPrimitiveType> Floats<T> {
    fn new(largest: bool) -> Self {
        Self { largest, values: vec![], seen: vec![] }
    }
}

impl<T: ArrowPrimitiveType> GroupsAccumulator for Floats<T>
where
    T::Native: PartialOrd,
{
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.values.resize(total, T::Native::default());
        self.seen.resize(total, false);
        let values = values[0].as_primitive::<T>();
        let plain = values.null_count() == 0 && filter.is_none();
        for (row, (group, value)) in groups.iter().zip(values.values()).enumerate() {
            let given = plain || values.is_valid(row) && counts(filter, row);
            if !given {
                continue;
            }
            let best = &mut self.values[*group];
            // NaN compares with nothing, itself included: it is above all others.
            let better = if self.largest {
                *value > *best || is_nan(value) && !is_nan(best)
            } else {
                *value < *best || is_nan(best) && !is_nan(value)
            };
            if !self.seen[*group] || better {
                *best = *value;
                self.seen[*group] = true;
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.update_batch(states, groups, None, total)
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        let (values, seen) = (emit.take_needed(&mut self.values), emit.take_needed(&mut self.seen));
        let values = values.into_iter().zip(seen).map(|(value, seen)| seen.then_some(value));
        Ok(Arc::new(values.collect::<PrimitiveArray<T>>()))
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(emit)?])
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let Some(filter) = filter else { return Ok(vec![Arc::clone(&values[0])]) };
        if filter.is_empty() {
            return Ok(vec![new_null_array(values[0].data_type(), 0)]);
        }
        let drop = compute::not(&compute::prep_null_mask_filter(filter))?;
        Ok(vec![compute::nullif(&values[0], &drop)?])
    }

    fn size(&self) -> usize {
        self.values.capacity() * size_of::<T::Native>() + self.seen.capacity()
    }
}

fn is_nan<N: PartialOrd>(value: &N) -> bool {
    value.partial_cmp(value).is_none()
}
