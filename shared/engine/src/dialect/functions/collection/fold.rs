//! `aggregate(list, start, (sum, item) -> ...)`: a fold over the items of a list, in their order.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, UInt32Array, new_null_array};
use datafusion::arrow::compute::{interleave, take, take_arrays};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, HigherOrderFunctionArgs, HigherOrderReturnFieldArgs, HigherOrderSignature, HigherOrderUDFImpl,
    LambdaParametersProgress, ValueOrLambda, Volatility,
};

/// The fold; all rows take their next item together.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Fold {
    signature: HigherOrderSignature,
}

impl Default for Fold {
    fn default() -> Self {
        let takes = vec![ValueOrLambda::Value(()), ValueOrLambda::Value(()), ValueOrLambda::Lambda(())];
        Self { signature: HigherOrderSignature::exact(takes, Volatility::Immutable) }
    }
}

impl HigherOrderUDFImpl for Fold {
    fn name(&self) -> &str {
        "array_fold"
    }

    fn signature(&self) -> &HigherOrderSignature {
        &self.signature
    }

    fn coerce_value_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(types.to_vec())
    }

    fn lambda_parameters(
        &self,
        _: usize,
        fields: &[ValueOrLambda<FieldRef, Option<FieldRef>>],
    ) -> Result<LambdaParametersProgress> {
        let [ValueOrLambda::Value(list), ValueOrLambda::Value(start), ..] = fields else {
            return plan_err!("aggregate takes a list, a start and a lambda");
        };
        let DataType::List(item) = list.data_type() else { return plan_err!("aggregate takes a list first") };
        let sum = Arc::new(Field::new("sum", start.data_type().clone(), true));
        Ok(LambdaParametersProgress::Complete(vec![vec![sum, Arc::clone(item)]]))
    }

    fn return_field_from_args(&self, args: HigherOrderReturnFieldArgs) -> Result<FieldRef> {
        let [_, ValueOrLambda::Value(start), ValueOrLambda::Lambda(next)] = args.arg_fields else {
            return plan_err!("aggregate takes a list, a start and a lambda");
        };
        if start.data_type() != next.data_type() {
            let (start, next) = (start.data_type(), next.data_type());
            return plan_err!("[DATATYPE_MISMATCH] aggregate starts with {start}, its lambda gives {next}");
        }
        Ok(Arc::new(Field::new("", start.data_type().clone(), true)))
    }

    fn invoke_with_args(&self, args: HigherOrderFunctionArgs) -> Result<ColumnarValue> {
        let [ValueOrLambda::Value(list), ValueOrLambda::Value(start), ValueOrLambda::Lambda(next)] =
            args.args.as_slice()
        else {
            return plan_err!("aggregate takes a list, a start and a lambda");
        };
        let list = list.to_array(args.number_rows)?;
        let mut sums = start.to_array(args.number_rows)?;
        let list = list.as_list::<i32>();
        let offsets = list.value_offsets();
        let length = |row: usize| if list.is_valid(row) { offsets[row + 1] - offsets[row] } else { 0 };
        let longest = (0..list.len()).map(length).max().unwrap_or(0);
        for step in 0..longest {
            let rows: UInt32Array = (0..list.len()).filter(|row| length(*row) > step).map(|row| row as u32).collect();
            let places: UInt32Array = rows.values().iter().map(|row| (offsets[*row as usize] + step) as u32).collect();
            let (sum, item) = (take(&sums, &rows, None)?, take(list.values(), &places, None)?);
            let given = next.evaluate(&[&|| Ok(Arc::clone(&sum)), &|| Ok(Arc::clone(&item))], |captured| {
                Ok(take_arrays(captured, &rows, None)?)
            })?;
            sums = replaced(&sums, &rows, &given.into_array(rows.len())?)?;
        }
        let missing: UInt32Array = (0..list.len()).filter(|row| list.is_null(*row)).map(|row| row as u32).collect();
        let nothing = new_null_array(sums.data_type(), missing.len());
        Ok(ColumnarValue::Array(replaced(&sums, &missing, &nothing)?))
    }
}

/// The values with those of some rows, ascending, in their place.
fn replaced(values: &ArrayRef, rows: &UInt32Array, by: &ArrayRef) -> Result<ArrayRef> {
    if rows.is_empty() {
        return Ok(Arc::clone(values));
    }
    let mut next = 0;
    let places: Vec<(usize, usize)> = (0..values.len())
        .map(|row| {
            if next < rows.len() && rows.value(next) as usize == row {
                next += 1;
                (1, next - 1)
            } else {
                (0, row)
            }
        })
        .collect();
    Ok(interleave(&[values.as_ref(), by.as_ref()], &places)?)
}
