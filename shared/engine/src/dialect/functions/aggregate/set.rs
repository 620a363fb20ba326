//! `collect_set`: distinct values in the order of their first appearance.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, ListArray, UInt32Array};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::compute::{concat, take};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::arrow::row::{OwnedRow, RowConverter, SortField};
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};
use datafusion::scalar::ScalarValue;

use super::extreme::one_form;
use crate::dialect::types::array_of;

/// The aggregate.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct CollectSet {
    signature: Signature,
}

impl Default for CollectSet {
    fn default() -> Self {
        Self { signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for CollectSet {
    fn name(&self) -> &'static str {
        "collect_set"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(array_of(types[0].clone()))
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        distinct_values(args.expr_fields[0].data_type().clone())
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(args.name, args.return_field.data_type().clone(), true))])
    }

    fn default_value(&self, ty: &DataType) -> Result<ScalarValue> {
        match ty {
            DataType::List(item) => Ok(ScalarValue::List(ScalarValue::new_list(&[], item.data_type(), true))),
            other => ScalarValue::try_from(other),
        }
    }
}

/// Accumulates the distinct values of a type; its result is the list of them.
pub(super) fn distinct_values(item: DataType) -> Result<Box<dyn Accumulator>> {
    let rows = RowConverter::new(vec![SortField::new(item.clone())])?;
    Ok(Box::new(Distinct { item, rows, seen: HashSet::new(), values: vec![], bytes: 0 }))
}

#[derive(Debug)]
struct Distinct {
    item: DataType,
    rows: RowConverter,
    seen: HashSet<OwnedRow>,
    /// New values, a slice per batch.
    values: Vec<ArrayRef>,
    bytes: usize,
}

impl Distinct {
    fn add(&mut self, values: &ArrayRef) -> Result<()> {
        let rows = self.rows.convert_columns(&[one_form(values)?])?;
        let mut fresh: Vec<u32> = vec![];
        for (i, row) in rows.iter().enumerate().filter(|(i, _)| values.is_valid(*i)) {
            if self.seen.insert(row.owned()) {
                self.bytes += size_of::<OwnedRow>() + row.as_ref().len();
                fresh.push(i as u32);
            }
        }
        if !fresh.is_empty() {
            let fresh = take(values, &UInt32Array::from(fresh), None)?;
            self.bytes += fresh.get_array_memory_size();
            self.values.push(fresh);
        }
        Ok(())
    }

    fn list(&self) -> Result<ScalarValue> {
        let refs: Vec<&dyn Array> = self.values.iter().map(AsRef::as_ref).collect();
        if refs.is_empty() {
            return Ok(ScalarValue::List(ScalarValue::new_list(&[], &self.item, true)));
        }
        let all = concat(&refs)?;
        let field = Arc::new(Field::new_list_field(self.item.clone(), true));
        Ok(ScalarValue::List(Arc::new(ListArray::try_new(field, OffsetBuffer::from_lengths([all.len()]), all, None)?)))
    }
}

impl Accumulator for Distinct {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        if values[0].data_type() == &DataType::Null { Ok(()) } else { self.add(&values[0]) }
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let lists = states[0].as_list::<i32>();
        (0..lists.len()).filter(|row| lists.is_valid(*row)).try_for_each(|row| self.add(&lists.value(row)))
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.list()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.list()?])
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.bytes
    }
}
