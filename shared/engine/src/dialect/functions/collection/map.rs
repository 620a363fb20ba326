//! Maps put together, and lists put in the order of a comparison.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Int64Builder, ListArray, ListBuilder, MapArray, StructArray, UInt32Array, make_comparator,
};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::compute::{SortOptions, interleave, take};
use datafusion::arrow::datatypes::{DataType, Field, Fields, Int32Type, Int64Type};
use datafusion::common::plan_err;
use datafusion::error::Result;

use super::super::Gives::{First, Of};
use super::super::Takes::{Any, Long};
use super::super::{Call, Def, Planned};
use super::{entries_of, item_of};
use crate::dialect::error::RowError;
use crate::dialect::types::array_of;

/// Functions with a kernel of their own.
pub(in super::super) const FUNCTIONS: &[Def] = &[
    Def::new(&["map_concat_of"], &[Any], First, concat).variadic(),
    Def::new(&["map_from_arrays"], &[Any, Any], Of(map_type), from_arrays),
    Def::new(&["zip_maps"], &[Any, Any], Of(|types| Ok(array_of(DataType::Struct(zipped(types)?)))), zip),
    Def::new(&["item_pairs"], &[Any], Of(|types| Ok(array_of(DataType::Struct(pair_fields(types)?)))), pairs),
    Def::new(&["ordered_by"], &[Any, Any], First, ordered),
    Def::new(&["range_of"], &[Long, Long, Long], Of(|_| Ok(array_of(DataType::Int64))), range).optional(1),
];

/// A map of keys and values; raises for a NULL key and for one that is twice in a map.
pub(super) fn map_array(
    out: &DataType,
    lengths: Vec<usize>,
    columns: Vec<ArrayRef>,
    valid: Vec<bool>,
) -> Result<ArrayRef> {
    let DataType::Map(entries, _) = out else { return plan_err!("a map is expected") };
    let DataType::Struct(fields) = entries.data_type() else { return plan_err!("a map is expected") };
    let keys = &columns[0];
    if keys.null_count() > 0 {
        return Err(RowError::new("NULL_MAP_KEY", "a map has no NULL keys").into());
    }
    let offsets = OffsetBuffer::from_lengths(lengths);
    let compare = make_comparator(keys, keys, SortOptions::default())?;
    for bounds in offsets.windows(2) {
        let (start, end) = (bounds[0] as usize, bounds[1] as usize);
        if (start..end).any(|i| (start..i).any(|j| compare(i, j).is_eq())) {
            return Err(RowError::new("DUPLICATED_MAP_KEY", "a key is twice in a map").into());
        }
    }
    let pairs = StructArray::try_new(fields.clone(), columns, None)?;
    Ok(Arc::new(MapArray::try_new(Arc::clone(entries), offsets, pairs, Some(valid.into()), false)?))
}

fn map_type(types: &[DataType]) -> Result<DataType> {
    match (item_of(&types[0]), item_of(&types[1])) {
        (Some(key), Some(value)) => Ok(crate::dialect::types::map_of(key.clone(), value.clone())),
        _ => plan_err!("[DATATYPE_MISMATCH] map_from_arrays takes two arrays"),
    }
}

/// One map per row of the keys and the values in two lists.
fn from_arrays(call: &Call<'_>) -> Result<ArrayRef> {
    let (keys, values) = (call.args[0].as_list::<i32>(), call.args[1].as_list::<i32>());
    let (mut key_places, mut value_places, mut lengths, mut valid) = (vec![], vec![], vec![], vec![]);
    for row in 0..call.rows {
        valid.push(call.complete(row));
        let count = if valid[row] { keys.value_length(row) } else { 0 };
        if valid[row] && count != values.value_length(row) {
            let message = "the arrays of keys and values are not of one length";
            return Err(RowError::new("_LEGACY_ERROR_TEMP_2128", message).into());
        }
        let (first, other) = (keys.value_offsets()[row], values.value_offsets()[row]);
        key_places.extend((0..count).map(|i| (first + i) as u32));
        value_places.extend((0..count).map(|i| (other + i) as u32));
        lengths.push(count as usize);
    }
    let columns = vec![
        take(keys.values(), &UInt32Array::from(key_places), None)?,
        take(values.values(), &UInt32Array::from(value_places), None)?,
    ];
    map_array(call.out, lengths, columns, valid)
}

/// Functions that plan themselves.
pub(in super::super) const PLANNED: &[Planned] = &[(&["map_concat"], |p, args| {
    let (ty, args) = p.unify("map_concat", args)?;
    if entries_of(&ty).is_none() {
        return plan_err!("[DATATYPE_MISMATCH] map_concat takes maps");
    }
    p.call("map_concat_of", args)
})];

/// Entries of all maps; a key of two of them raises.
fn concat(call: &Call<'_>) -> Result<ArrayRef> {
    let DataType::Map(entries, _) = call.out else { return plan_err!("a map is expected") };
    let maps: Vec<&MapArray> = call.args.iter().map(|arg| arg.as_map()).collect();
    let all: Vec<ArrayRef> = maps.iter().map(|map| Arc::new(map.entries().clone()) as ArrayRef).collect();
    let keys: Vec<&dyn Array> = maps.iter().map(|map| map.keys().as_ref()).collect();
    let (mut places, mut lengths, mut valid) = (vec![], vec![], vec![]);
    for row in 0..call.rows {
        valid.push(call.complete(row));
        let start = places.len();
        for (m, map) in maps.iter().enumerate().filter(|_| valid[row]) {
            let offsets = map.value_offsets();
            places.extend((offsets[row] as usize..offsets[row + 1] as usize).map(|i| (m, i)));
        }
        let keys = interleave(&keys, &places[start..])?;
        let compare = make_comparator(&keys, &keys, SortOptions::default())?;
        if (0..keys.len()).any(|i| (0..i).any(|j| compare(i, j).is_eq())) {
            return Err(RowError::new("DUPLICATED_MAP_KEY", "a key is in two of the maps").into());
        }
        lengths.push(places.len() - start);
    }
    let refs: Vec<&dyn Array> = all.iter().map(AsRef::as_ref).collect();
    let rows = interleave(&refs, &places)?;
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(MapArray::try_new(Arc::clone(entries), offsets, rows.as_struct().clone(), Some(valid.into()), false)?))
}

fn zipped(types: &[DataType]) -> Result<Fields> {
    match (entries_of(&types[0]), entries_of(&types[1])) {
        (Some((key, left)), Some((other, right))) if key == other => Ok(Fields::from(vec![
            Field::new("key", key.clone(), true),
            Field::new("value1", left.clone(), true),
            Field::new("value2", right.clone(), true),
        ])),
        _ => plan_err!("[DATATYPE_MISMATCH] map_zip_with takes two maps with keys of one type"),
    }
}

/// One entry per key of either map, with the values that the maps have for it.
fn zip(call: &Call<'_>) -> Result<ArrayRef> {
    let (a, b) = (call.args[0].as_map(), call.args[1].as_map());
    let compare = make_comparator(a.keys(), b.keys(), SortOptions::default())?;
    let range = |map: &MapArray, row: usize| map.value_offsets()[row] as usize..map.value_offsets()[row + 1] as usize;
    let (mut keys, mut left, mut right, mut lengths, mut valid) = (vec![], vec![], vec![], vec![], vec![]);
    for row in 0..call.rows {
        let start = keys.len();
        valid.push(call.complete(row));
        if valid[row] {
            for i in range(a, row) {
                let other = range(b, row).find(|j| compare(i, *j).is_eq());
                keys.push((0, i));
                left.push(Some(i as u32));
                right.push(other.map(|j| j as u32));
            }
            for j in range(b, row).filter(|j| !range(a, row).any(|i| compare(i, *j).is_eq())) {
                keys.push((1, j));
                left.push(None);
                right.push(Some(j as u32));
            }
        }
        lengths.push(keys.len() - start);
    }
    let columns = vec![
        interleave(&[a.keys().as_ref(), b.keys().as_ref()], &keys)?,
        take(a.values(), &UInt32Array::from(left), None)?,
        take(b.values(), &UInt32Array::from(right), None)?,
    ];
    list_of(call.out, lengths, columns, valid)
}

fn list_of(out: &DataType, lengths: Vec<usize>, columns: Vec<ArrayRef>, valid: Vec<bool>) -> Result<ArrayRef> {
    let DataType::List(field) = out else { return plan_err!("a list is expected") };
    let DataType::Struct(fields) = field.data_type() else { return plan_err!("structs are expected") };
    let rows = Arc::new(StructArray::try_new(fields.clone(), columns, None)?);
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(Arc::clone(field), offsets, rows, Some(valid.into()))?))
}

fn pair_fields(types: &[DataType]) -> Result<Fields> {
    match item_of(&types[0]) {
        Some(item) => Ok(Fields::from(vec![Field::new("1", item.clone(), true), Field::new("2", item.clone(), true)])),
        None => plan_err!("[DATATYPE_MISMATCH] array_sort takes an array"),
    }
}

/// How many items a list may have that is sorted by a lambda: it looks at every pair.
const MAX_COMPARED: usize = 1000;

/// Every item with every item, row by row of a square.
fn pairs(call: &Call<'_>) -> Result<ArrayRef> {
    let list = call.args[0].as_list::<i32>();
    let (mut left, mut right, mut lengths, mut valid) = (vec![], vec![], vec![], vec![]);
    for row in 0..call.rows {
        let range = list.value_offsets()[row] as u32..list.value_offsets()[row + 1] as u32;
        valid.push(list.is_valid(row));
        if range.len() > MAX_COMPARED {
            let message =
                format!("array_sort with a lambda takes up to {MAX_COMPARED} items, these are {}", range.len());
            return Err(RowError::new("COLLECTION_SIZE_LIMIT_EXCEEDED", message).into());
        }
        let range = if valid[row] { range } else { 0..0 };
        for i in range.clone() {
            left.extend(range.clone().map(|_| i));
            right.extend(range.clone());
        }
        lengths.push(range.len() * range.len());
    }
    let items = |places: Vec<u32>| take(list.values(), &UInt32Array::from(places), None);
    list_of(call.out, lengths, vec![items(left)?, items(right)?], valid)
}

/// Items in the order that the comparisons of all pairs say.
fn ordered(call: &Call<'_>) -> Result<ArrayRef> {
    let (list, verdicts) = (call.args[0].as_list::<i32>(), call.args[1].as_list::<i32>());
    let Some(signs) = verdicts.values().as_primitive_opt::<Int32Type>() else {
        return plan_err!("[DATATYPE_MISMATCH] the lambda of array_sort gives an int");
    };
    let mut order: Vec<u32> = Vec::with_capacity(list.values().len());
    let mut lengths = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        let (start, end) = (list.value_offsets()[row] as usize, list.value_offsets()[row + 1] as usize);
        let (first, count) = (verdicts.value_offsets()[row] as usize, if call.complete(row) { end - start } else { 0 });
        let mut items: Vec<usize> = (0..count).collect();
        // A single item is compared with nothing.
        if (0..count * count).any(|i| i / count != i % count && signs.is_null(first + i)) {
            return Err(RowError::new("COMPARATOR_RETURNS_NULL", "the lambda of array_sort gives NULL").into());
        }
        insert_each(&mut items, |a, b| signs.value(first + a * count + b) < 0);
        order.extend(items.iter().map(|i| (start + i) as u32));
        lengths.push(count);
    }
    let DataType::List(field) = list.data_type() else { return plan_err!("an array is expected") };
    let values = take(list.values(), &UInt32Array::from(order), None)?;
    Ok(Arc::new(ListArray::try_new(
        Arc::clone(field),
        OffsetBuffer::from_lengths(lengths),
        values,
        list.nulls().cloned(),
    )?))
}

/// Sorts by inserting, for any comparison: a lambda need not be an order.
fn insert_each(items: &mut [usize], before: impl Fn(usize, usize) -> bool) {
    for end in 1..items.len() {
        let item = items[end];
        let place = items[..end].partition_point(|other| !before(item, *other));
        items[place..=end].rotate_right(1);
    }
}

/// From the first number up to the second, without it.
fn range(call: &Call<'_>) -> Result<ArrayRef> {
    let side = |i: usize| call.args[i].as_primitive::<Int64Type>();
    let mut builder = ListBuilder::new(Int64Builder::new());
    for row in 0..call.rows {
        let step = if call.has(2) { side(2).value(row) } else { 1 };
        let (mut at, end) = (side(0).value(row), side(1).value(row));
        if step == 0 || (i128::from(end) - i128::from(at)) / i128::from(step) > super::MAX_SEQUENCE.into() {
            let message = format!("a range has up to {} numbers, its step is not 0", super::MAX_SEQUENCE);
            return Err(RowError::new("COLLECTION_SIZE_LIMIT_EXCEEDED", message).into());
        }
        while (step > 0 && at < end) || (step < 0 && at > end) {
            builder.values().append_value(at);
            at = at.saturating_add(step);
        }
        builder.append(true);
    }
    Ok(Arc::new(builder.finish()))
}
