//! The lists of all groups at once: `collect_list` and what is computed from its lists, within the limit of
//! [`super::kept`].
//!
//! Values are kept as they arrive, each with the number of its group. They are sorted by group when they leave.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray, UInt32Array};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::compute::{concat, take};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::Result;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};

use super::counts;
use super::kept::Weight;

/// Whether lists of these values are kept so: those whose size follows from their type or their length.
pub(super) fn knows(ty: &DataType) -> bool {
    ty.is_primitive() || matches!(ty, DataType::Boolean | DataType::Utf8 | DataType::Binary)
}

/// The values of groups, in the order of their arrival; NULLs are left out.
#[derive(Debug)]
pub(super) struct Lists {
    item: FieldRef,
    parts: Vec<(ArrayRef, Vec<u32>)>,
    weights: Vec<Weight>,
    /// Groups that have more than is kept: nothing more is added to them, and they leave without values.
    beyond: Vec<bool>,
}

impl Lists {
    pub(super) fn new(ty: &DataType) -> Self {
        let item = Arc::new(Field::new_list_field(ty.clone(), true));
        Self { item, parts: vec![], weights: vec![], beyond: vec![] }
    }

    fn grow(&mut self, groups: usize) {
        self.weights.resize(groups.max(self.weights.len()), Weight::default());
        self.beyond.resize(self.weights.len(), false);
    }

    /// Adds the rows of `values` that are given with their group, in order.
    fn add(&mut self, values: &ArrayRef, rows: impl Iterator<Item = (usize, usize)>) -> Result<()> {
        let (mut taken, mut groups) = (Vec::with_capacity(values.len()), Vec::with_capacity(values.len()));
        for (row, group) in rows {
            if self.beyond[group] || values.is_null(row) {
                continue;
            }
            let weight = &mut self.weights[group];
            weight.add(Weight { values: 1, bytes: bytes_of(values, row) });
            self.beyond[group] = weight.is_beyond();
            taken.push(row as u32);
            groups.push(group as u32);
        }
        if !taken.is_empty() {
            let values = if taken.len() == values.len() {
                Arc::clone(values)
            } else {
                take(values, &UInt32Array::from(taken), None)?
            };
            self.parts.push((values, groups));
        }
        Ok(())
    }

    /// The lists of the groups that leave, empty for those beyond the limit, and which these are.
    fn leave(&mut self, emit: EmitTo) -> Result<(ListArray, Vec<bool>)> {
        let beyond = emit.take_needed(&mut self.beyond);
        emit.take_needed(&mut self.weights);
        let parts = std::mem::take(&mut self.parts);
        let groups: Vec<u32> = parts.iter().flat_map(|(_, groups)| groups.iter().copied()).collect();
        let values = match &parts[..] {
            [] => datafusion::arrow::array::new_empty_array(self.item.data_type()),
            several => concat(&several.iter().map(|(values, _)| values.as_ref()).collect::<Vec<_>>())?,
        };
        let leaves = |group: u32| beyond.get(group as usize);
        let mut lengths = vec![0; beyond.len()];
        groups.iter().filter(|group| leaves(**group) == Some(&false)).for_each(|group| lengths[*group as usize] += 1);
        let offsets = OffsetBuffer::<i32>::from_lengths(lengths.iter().copied());
        let mut next: Vec<usize> = offsets.iter().map(|offset| offset.unsigned_abs() as usize).collect();
        let mut order = vec![0_u32; lengths.iter().sum()];
        let (mut rest, mut rest_groups) = (vec![], vec![]);
        for (row, group) in groups.into_iter().enumerate() {
            match leaves(group) {
                Some(false) => {
                    let place = &mut next[group as usize];
                    order[*place] = row as u32;
                    *place += 1;
                }
                Some(true) => {}
                None => {
                    rest.push(row as u32);
                    rest_groups.push(group - beyond.len() as u32);
                }
            }
        }
        if !rest.is_empty() {
            self.parts.push((take(&values, &UInt32Array::from(rest), None)?, rest_groups));
        }
        let values = take(&values, &UInt32Array::from(order), None)?;
        Ok((ListArray::try_new(Arc::clone(&self.item), offsets, values, None)?, beyond))
    }
}

/// As [`Weight`] counts: a number its width, a text its length plus 4.
fn bytes_of(values: &ArrayRef, row: usize) -> usize {
    match values.data_type() {
        DataType::Boolean => 1,
        DataType::Utf8 => values.as_string::<i32>().value(row).len() + 4,
        DataType::Binary => values.as_binary::<i32>().value(row).len() + 4,
        other => other.primitive_width().unwrap_or(16),
    }
}

impl GroupsAccumulator for Lists {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        count: usize,
    ) -> Result<()> {
        self.grow(count);
        self.add(&values[0], groups.iter().copied().enumerate().filter(|(row, _)| counts(filter, *row)))
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], count: usize) -> Result<()> {
        self.grow(count);
        let (lists, marks) = (states[0].as_list::<i32>(), states[1].as_boolean());
        for (row, group) in groups.iter().enumerate() {
            self.beyond[*group] |= marks.value(row);
        }
        let items = groups.iter().enumerate().filter(|(row, _)| lists.is_valid(*row));
        let items = items.flat_map(|(row, group)| {
            let ends = [lists.value_offsets()[row], lists.value_offsets()[row + 1]];
            (ends[0].unsigned_abs() as usize..ends[1].unsigned_abs() as usize).map(|item| (item, *group))
        });
        self.add(lists.values(), items)
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        let (lists, beyond) = self.leave(emit)?;
        let (item, offsets, values, _) = lists.into_parts();
        let known = NullBuffer::from(beyond.iter().map(|beyond| !beyond).collect::<Vec<_>>());
        Ok(Arc::new(ListArray::try_new(item, offsets, values, Some(known))?))
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        let (lists, beyond) = self.leave(emit)?;
        Ok(vec![Arc::new(lists), Arc::new(BooleanArray::from(beyond))])
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let mut each = Self::new(values[0].data_type());
        let rows: Vec<usize> = (0..values[0].len()).collect();
        each.update_batch(values, &rows, filter, rows.len())?;
        each.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        let parts = self.parts.iter().map(|(values, groups)| values.get_array_memory_size() + groups.capacity() * 4);
        size_of::<Self>() + parts.sum::<usize>() + self.weights.capacity() * (size_of::<Weight>() + 1)
    }
}
