//! Columns of texts, written into one buffer.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int32Array, StringArray};
use datafusion::arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};
use datafusion::error::Result;

use super::too_long;
use crate::dialect::error::RowError;
use crate::dialect::functions::Call;

/// The rows where every argument has a value; `None`: all.
pub fn given(call: &Call<'_>) -> Option<NullBuffer> {
    call.args.iter().fold(None, |all, arg| NullBuffer::union(all.as_ref(), arg.logical_nulls().as_ref()))
}

/// The texts of an argument.
pub fn texts<'a>(call: &'a Call<'_>, arg: usize) -> &'a StringArray {
    call.args[arg].as_string::<i32>()
}

/// Text per row, which `write` appends; NULL where an argument is.
///
/// # Errors
/// Those of `write`, and more than 2 GiB of texts in a column.
pub fn try_written(
    call: &Call<'_>,
    mut write: impl FnMut(usize, &mut String) -> Result<(), RowError>,
) -> Result<ArrayRef> {
    let nulls = given(call);
    let mut ends = Vec::with_capacity(call.rows + 1);
    ends.push(0_i32);
    let mut all = String::with_capacity(call.rows.saturating_mul(16));
    for row in 0..call.rows {
        if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
            write(row, &mut all)?;
        }
        ends.push(i32::try_from(all.len()).map_err(|_| too_long(all.len()))?);
    }
    let values = Buffer::from_vec(all.into_bytes());
    Ok(Arc::new(StringArray::try_new(OffsetBuffer::new(ends.into()), values, nulls)?))
}

/// The same where no row raises.
pub fn written(call: &Call<'_>, mut write: impl FnMut(usize, &mut String)) -> Result<ArrayRef> {
    try_written(call, |row, all| {
        write(row, all);
        Ok(())
    })
}

/// A part of each text of the first argument.
pub fn part<'a>(call: &'a Call<'_>, f: impl Fn(usize, &'a str) -> &'a str) -> Result<ArrayRef> {
    let from = texts(call, 0);
    written(call, |row, all| all.push_str(f(row, from.value(row))))
}

/// Whole number per row; NULL where an argument is.
pub fn counted(call: &Call<'_>, f: impl Fn(usize) -> i32) -> ArrayRef {
    let nulls = given(call);
    let valid = |row| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
    let values: Vec<i32> = (0..call.rows).map(|row| if valid(row) { f(row) } else { 0 }).collect();
    Arc::new(Int32Array::new(values.into(), nulls))
}

/// Condition on the texts of two arguments; NULL where one of them is.
pub fn compared(call: &Call<'_>, f: impl Fn(&str, &str) -> bool) -> ArrayRef {
    let (left, right, nulls) = (texts(call, 0), texts(call, 1), given(call));
    let valid = |row| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
    let values = (0..call.rows).map(|row| valid(row) && f(left.value(row), right.value(row))).collect();
    Arc::new(BooleanArray::new(values, nulls))
}
