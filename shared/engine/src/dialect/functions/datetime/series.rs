//! Times from one to another: `sequence` over timestamps, and over dates by months.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, ListArray, TimestampMicrosecondArray};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::datatypes::{DataType, Int64Type, TimestampMicrosecondType};
use datafusion::error::Result;
use tidegate_core::Zone;

use super::super::Gives::Of;
use super::super::Takes::{Any, Long};
use super::super::{Call, Def};
use super::shift::{moved_by_months, moved_by_time};
use crate::dialect::cast::text::DAY;
use crate::dialect::cast::{Mode, cast_in};
use crate::dialect::error::RowError;
use crate::dialect::types::{array_of, timestamp};

/// A step of one day in the direction of the other end.
pub(in super::super) const TOWARDS: i64 = i64::MIN;

/// The longest sequence.
const MAX_ITEMS: usize = super::super::collection::MAX_SEQUENCE as usize;

/// Microseconds of a month, as the direction of a step is judged.
const MONTH: i64 = 31 * DAY;

/// Functions with a kernel of their own.
pub(in super::super) const FUNCTIONS: &[Def] =
    &[Def::new(&["times_from"], &[Any, Any, Long, Long], Of(|types| Ok(array_of(types[0].clone()))), times_from)];

/// Both ends, months, microseconds. Each item is counted from the first one.
fn times_from(call: &Call<'_>) -> Result<ArrayRef> {
    let zone = call.zone_of(0);
    let end = |i: usize| cast_in(&call.args[i], &timestamp(), Mode::Raise, zone);
    let (from, to) = (end(0)?, end(1)?);
    let (from, to) = (from.as_primitive::<TimestampMicrosecondType>(), to.as_primitive::<TimestampMicrosecondType>());
    let steps = |i: usize| call.args[i].as_primitive::<Int64Type>();
    let (mut items, mut lengths, mut valid) =
        (Vec::new(), Vec::with_capacity(call.rows), Vec::with_capacity(call.rows));
    for row in 0..call.rows {
        let before = items.len();
        valid.push(call.complete(row));
        if valid[row] {
            let (from, to, months) = (from.value(row), to.value(row), steps(2).value(row));
            let micros = match steps(3).value(row) {
                TOWARDS if from <= to => DAY,
                TOWARDS => -DAY,
                micros => micros,
            };
            series(&mut items, from, to, (months, micros), zone)?;
        }
        lengths.push(items.len() - before);
    }
    let items: ArrayRef = Arc::new(TimestampMicrosecondArray::from(items).with_data_type(timestamp()));
    let DataType::List(field) = call.out else { return datafusion::common::plan_err!("a sequence is a list") };
    let items = cast_in(&items, field.data_type(), Mode::Raise, zone)?;
    let nulls = Some(NullBuffer::from(valid));
    Ok(Arc::new(ListArray::try_new(Arc::clone(field), OffsetBuffer::from_lengths(lengths), items, nulls)?))
}

fn series(items: &mut Vec<i64>, from: i64, to: i64, (months, micros): (i64, i64), zone: Zone) -> Result<(), RowError> {
    let step = months.saturating_mul(MONTH).saturating_add(micros);
    if !(step > 0 && from <= to || step < 0 && from >= to || step == 0 && from == to) {
        return Err(RowError::new("_LEGACY_ERROR_TEMP_3243", "a sequence cannot reach its end by these steps"));
    }
    let before = items.len();
    let mut at = Some(from);
    for count in 1.. {
        let Some(item) = at.filter(|at| if step < 0 { *at >= to } else { *at <= to }) else { break };
        if items.len() - before >= MAX_ITEMS {
            let message = format!("a sequence of times is longer than {MAX_ITEMS}");
            return Err(RowError::new("COLLECTION_SIZE_LIMIT_EXCEEDED", message));
        }
        items.push(item);
        if step == 0 {
            break;
        }
        at = match months {
            0 if micros % DAY == 0 || micros.abs() > DAY => {
                micros.checked_mul(count).and_then(|by| stepped(from, by, micros, count, zone))
            }
            0 => micros.checked_mul(count).and_then(|by| from.checked_add(by)),
            _ => months.checked_mul(count).and_then(|months| moved_by_months(from, months, zone)),
        };
    }
    Ok(())
}

/// So many steps: whole days by the calendar, the rest of each step as time that passes.
fn stepped(from: i64, by: i64, step: i64, count: i64, zone: Zone) -> Option<i64> {
    let rest = (step % DAY).checked_mul(count)?;
    moved_by_time(from, by.checked_sub(rest)?, zone)?.checked_add(rest)
}
