//! Arrays, maps and structs.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int32Array, Int64Builder, ListArray, ListBuilder, MapArray, PrimitiveArray,
    StructArray, UInt32Array, make_array, make_comparator, new_empty_array,
};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::compute::{SortOptions, concat, interleave, take};
use datafusion::arrow::datatypes::{DataType, Field, Fields, Int32Type, Int64Type};
use datafusion::common::{plan_datafusion_err, plan_err};
use datafusion::error::Result;
use datafusion::functions::core::{get_field, named_struct as core_named_struct};
use datafusion::logical_expr::{Expr, lit};
use datafusion::scalar::ScalarValue;

use super::Gives::{Of, Type};
use super::Takes::{Any, Bool, Int, Long};
use super::conditional::exactly;
use super::{Call, Def, Planned};
use crate::dialect::cast::Mode;
use crate::dialect::error::RowError;
use crate::dialect::plan::Planner;
use crate::dialect::types::{array_of, map_of};

pub mod fold;
pub mod list;
pub mod map;
pub mod quantile;

/// Functions with a kernel of their own.
pub const FUNCTIONS: &[Def] = &[
    Def::new(&["size", "cardinality", "array_size"], &[Any], Type(Int), |call| {
        let array = &call.args[0];
        let offsets: Vec<i32> = match array.data_type() {
            DataType::Map(_, _) => array.as_map().value_offsets().to_vec(),
            DataType::List(_) => array.as_list::<i32>().value_offsets().to_vec(),
            other => return plan_err!("size does not take {other}"),
        };
        let sizes = (0..array.len()).map(|row| array.is_valid(row).then(|| offsets[row + 1] - offsets[row]));
        Ok(Arc::new(sizes.collect::<Int32Array>()))
    }),
    Def::new(&["array_item"], &[Any, Int], Of(item_type), |call| item(call, Missing::Raise, 0)),
    Def::new(&["array_item_or_null", "get"], &[Any, Int], Of(item_type), |call| item(call, Missing::Null, 0)),
    Def::new(&["array_element_at"], &[Any, Int], Of(item_type), |call| item(call, Missing::Raise, 1)),
    Def::new(&["try_array_element_at"], &[Any, Int], Of(item_type), |call| item(call, Missing::Null, 1)),
    Def::new(&["map_value"], &[Any, Any], Of(value_type), map_value),
    Def::new(&["array_contains_item"], &[Any, Any], Type(Bool), array_contains),
    Def::new(&["array_position_of"], &[Any, Any], Type(super::Takes::Long), |call| {
        let places = positions(call)?;
        let places = places.into_iter().map(|(place, _)| place.map(|place| place as i64));
        Ok(Arc::new(places.collect::<PrimitiveArray<Int64Type>>()))
    }),
    Def::new(&["sort_array"], &[Any, Bool], super::Gives::First, |call| sort_array(call, true)).optional(1),
    Def::new(&["array_sort"], &[Any], super::Gives::First, |call| sort_array(call, false)),
    Def::new(
        &["make_array_of"],
        &[Any],
        Of(|types| Ok(array_of(types.first().cloned().unwrap_or(DataType::Null)))),
        make,
    )
    .variadic(),
    Def::new(&["make_map_of"], &[Any, Any], Of(|types| Ok(map_of(types[0].clone(), types[1].clone()))), make_map)
        .variadic(),
    Def::new(&["sequence_of"], &[Long, Long, Long], Of(|_| Ok(array_of(DataType::Int64))), sequence),
    Def::new(
        &["with_positions"],
        &[Any],
        Of(|types| Ok(array_of(DataType::Struct(positioned(&types[0])?)))),
        positions_of,
    ),
    Def::new(&["map_keys"], &[Any], Of(|types| entry_list(types, 0)), |call| entry_array(call, 0)),
    Def::new(&["map_values"], &[Any], Of(|types| entry_list(types, 1)), |call| entry_array(call, 1)),
];

/// Functions that plan themselves.
pub const PLANNED: &[Planned] = &[
    (&["array"], |p, args| p.call("make_array_of", p.unify("array", args)?.1)),
    (&["map"], map),
    (&["struct"], |p, args| {
        let mut fields = vec![];
        for (i, arg) in args.into_iter().enumerate() {
            let name = match &arg {
                Expr::Column(column) => column.name.clone(),
                Expr::Alias(alias) => alias.name.clone(),
                _ => format!("col{}", i + 1),
            };
            fields.push(lit(name));
            fields.push(arg.unalias());
        }
        let _ = p;
        Ok(core_named_struct().call(fields))
    }),
    (&["named_struct"], |_, args| Ok(core_named_struct().call(args))),
    (&["array_contains"], |p, args| with_item(p, "array_contains_item", args)),
    (&["array_position"], |p, args| with_item(p, "array_position_of", args)),
    (&["map_contains_key"], |p, args| {
        let [map, key] = exactly::<2>("map_contains_key", args)?;
        let keys = p.call("map_keys", vec![map])?;
        with_item(p, "array_contains_item", vec![keys, key])
    }),
    (&["element_at"], |p, args| element_at(p, args, "array_element_at")),
    (&["try_element_at"], |p, args| element_at(p, args, "try_array_element_at")),
];

fn item_of(ty: &DataType) -> Option<&DataType> {
    match ty {
        DataType::List(item) => Some(item.data_type()),
        _ => None,
    }
}

fn entries_of(ty: &DataType) -> Option<(&DataType, &DataType)> {
    let DataType::Map(entries, _) = ty else { return None };
    let DataType::Struct(fields) = entries.data_type() else { return None };
    Some((fields[0].data_type(), fields[1].data_type()))
}

fn item_type(types: &[DataType]) -> Result<DataType> {
    item_of(&types[0]).cloned().ok_or_else(|| plan_datafusion_err!("an array is expected"))
}

fn value_type(types: &[DataType]) -> Result<DataType> {
    entries_of(&types[0]).map(|(_, value)| value.clone()).ok_or_else(|| plan_datafusion_err!("a map is expected"))
}

fn entry_list(types: &[DataType], side: usize) -> Result<DataType> {
    let (key, value) = entries_of(&types[0]).ok_or_else(|| plan_datafusion_err!("a map is expected"))?;
    Ok(array_of(if side == 0 { key.clone() } else { value.clone() }))
}

/// The fields of an item with its position.
fn positioned(ty: &DataType) -> Result<Fields> {
    let pos = Field::new("pos", DataType::Int32, true);
    let field = |name: &str, ty: &DataType| Field::new(name, ty.clone(), true);
    match (item_of(ty), entries_of(ty)) {
        (Some(item), _) => Ok(Fields::from(vec![pos, field("col", item)])),
        (None, Some((key, value))) => Ok(Fields::from(vec![pos, field("key", key), field("value", value)])),
        _ => plan_err!("an array or a map is expected"),
    }
}

/// Items together with their positions, counted from 0.
fn positions_of(call: &Call<'_>) -> Result<ArrayRef> {
    let array = &call.args[0];
    let (offsets, items): (_, Vec<ArrayRef>) = match array.data_type() {
        DataType::Map(_, _) => (array.as_map().offsets().clone(), array.as_map().entries().columns().to_vec()),
        _ => (array.as_list::<i32>().offsets().clone(), vec![Arc::clone(array.as_list::<i32>().values())]),
    };
    let length = items[0].len();
    let mut places = vec![0_i32; length];
    for pair in offsets.windows(2) {
        (pair[0]..pair[1]).for_each(|at| places[at as usize] = at - pair[0]);
    }
    let places: ArrayRef = Arc::new(Int32Array::from(places));
    let columns = std::iter::once(places).chain(items).collect();
    let rows = StructArray::try_new(positioned(array.data_type())?, columns, None)?;
    let DataType::List(field) = call.out else { return plan_err!("an array is expected") };
    Ok(Arc::new(ListArray::try_new(Arc::clone(field), offsets, Arc::new(rows), array.nulls().cloned())?))
}

fn entry_array(call: &Call<'_>, side: usize) -> Result<ArrayRef> {
    let map = call.args[0].as_map();
    let values = Arc::clone(map.entries().column(side));
    let field = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    Ok(Arc::new(ListArray::try_new(field, map.offsets().clone(), values, map.nulls().cloned())?))
}

/// `a[0]`, `m['k']`
pub fn index(planner: &Planner<'_>, from: Expr, at: Expr) -> Result<Expr> {
    match planner.type_of(&from)? {
        DataType::List(_) => planner.call("array_item", vec![from, at]),
        DataType::Map(_, _) => value_of(planner, from, at),
        DataType::Struct(_) => match at {
            Expr::Literal(ScalarValue::Utf8(Some(name)), _) => field(planner, from, &name),
            _ => plan_err!("a struct has fields, not items"),
        },
        other => plan_err!("[INVALID_EXTRACT_BASE_FIELD_TYPE] {other} has no items"),
    }
}

fn value_of(planner: &Planner<'_>, map: Expr, key: Expr) -> Result<Expr> {
    let ty = planner.type_of(&map)?;
    let Some((key_type, _)) = entries_of(&ty) else { return plan_err!("a map is expected") };
    let key = planner.cast(key, key_type, Mode::Raise)?;
    planner.call("map_value", vec![map, key])
}

/// `s.a`; of an array of structs, an array of the field.
pub fn field(planner: &Planner<'_>, from: Expr, name: &str) -> Result<Expr> {
    let ty = planner.type_of(&from)?;
    match &ty {
        DataType::Struct(fields) => {
            let exact = fields.iter().find(|field| field.name() == name);
            let known = exact.or_else(|| fields.iter().find(|field| field.name().eq_ignore_ascii_case(name)));
            let Some(known) = known else {
                let names: Vec<_> = fields.iter().map(|field| format!("`{}`", field.name())).collect();
                return plan_err!("[FIELD_NOT_FOUND] there is no field `{name}` in {}", names.join(", "));
            };
            Ok(get_field().call(vec![from, lit(known.name().clone())]))
        }
        DataType::Map(_, _) => value_of(planner, from, lit(name)),
        other => plan_err!("[INVALID_EXTRACT_BASE_FIELD_TYPE] {other} has no field `{name}`"),
    }
}

fn element_at(planner: &Planner<'_>, args: Vec<Expr>, of_array: &str) -> Result<Expr> {
    let [from, at] = exactly::<2>("element_at", args)?;
    match planner.type_of(&from)? {
        DataType::Map(_, _) => value_of(planner, from, at),
        _ => planner.call(of_array, vec![from, at]),
    }
}

fn with_item(planner: &Planner<'_>, name: &str, args: Vec<Expr>) -> Result<Expr> {
    let [array, item] = exactly::<2>(name, args)?;
    let ty = planner.type_of(&array)?;
    let Some(items) = item_of(&ty) else { return plan_err!("an array is expected") };
    let other = planner.type_of(&item)?;
    let Some(common) = crate::dialect::types::common(items, &other) else {
        return plan_err!("[DATATYPE_MISMATCH] an array of {items} cannot contain {other}");
    };
    let array = planner.cast(array, &array_of(common.clone()), Mode::Raise)?;
    let item = planner.cast(item, &common, Mode::Raise)?;
    planner.call(name, vec![array, item])
}

fn map(planner: &Planner<'_>, args: Vec<Expr>) -> Result<Expr> {
    if args.is_empty() {
        let ty = map_of(DataType::Null, DataType::Null);
        let DataType::Map(entries, _) = &ty else { return plan_err!("a map is expected") };
        let none = new_empty_array(entries.data_type()).as_struct().clone();
        let one = MapArray::try_new(Arc::clone(entries), OffsetBuffer::from_lengths([0]), none, None, false)?;
        return Ok(lit(ScalarValue::Map(Arc::new(one))));
    }
    let (mut keys, mut values) = (vec![], vec![]);
    for (i, arg) in args.into_iter().enumerate() {
        if i % 2 == 0 { keys.push(arg) } else { values.push(arg) }
    }
    if keys.len() != values.len() || keys.is_empty() {
        return plan_err!("map takes keys and values in turn");
    }
    let (_, keys) = planner.unify("map keys", keys)?;
    let (_, values) = planner.unify("map values", values)?;
    planner.call("make_map_of", keys.into_iter().zip(values).flat_map(|(key, value)| [key, value]).collect())
}

/// How many items one sequence may have.
pub(super) const MAX_SEQUENCE: i64 = 1_000_000;

/// From the first to the second number by the third; 0 stands for one step towards the end.
fn sequence(call: &Call<'_>) -> Result<ArrayRef> {
    let side = |i: usize| call.args[i].as_primitive::<Int64Type>();
    let mut builder = ListBuilder::new(Int64Builder::new());
    for row in 0..call.rows {
        if !call.complete(row) {
            builder.append_null();
            continue;
        }
        let (from, to, step) = (side(0).value(row), side(1).value(row), side(2).value(row));
        let step = if step == 0 { if from <= to { 1 } else { -1 } } else { step };
        if from != to && (to > from) != (step > 0) {
            let message = format!("a sequence from {from} to {to} cannot go by {step}");
            return Err(RowError::new("_LEGACY_ERROR_TEMP_3243", message).into());
        }
        let count = i128::from(to).abs_diff(from.into()) / u128::from(step.unsigned_abs()) + 1;
        if count > MAX_SEQUENCE as u128 {
            let message = format!("a sequence of {count} items is longer than {MAX_SEQUENCE}");
            return Err(RowError::new("COLLECTION_SIZE_LIMIT_EXCEEDED", message).into());
        }
        (0..count as i64).for_each(|i| builder.values().append_value(from + i * step));
        builder.append(true);
    }
    Ok(Arc::new(builder.finish()))
}

#[derive(Clone, Copy, PartialEq)]
enum Missing {
    Raise,
    Null,
}

/// Items by position, counted from `base`; from 1, negative ones count from the end.
fn item(call: &Call<'_>, missing: Missing, base: i32) -> Result<ArrayRef> {
    let list = call.args[0].as_list::<i32>();
    let at = call.args[1].as_primitive::<Int32Type>();
    let offsets = list.value_offsets();
    let mut places: Vec<Option<u32>> = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        if !call.complete(row) {
            places.push(None);
            continue;
        }
        let (length, index) = (offsets[row + 1] - offsets[row], at.value(row));
        if base == 1 && index == 0 {
            return Err(
                RowError::new("INVALID_INDEX_OF_ZERO", "items are counted from 1, or from -1 at the end").into()
            );
        }
        let place = if base == 1 && index < 0 { length.saturating_add(index) } else { index - base };
        if (0..length).contains(&place) {
            places.push(Some((offsets[row] + place) as u32));
        } else if missing == Missing::Null {
            places.push(None);
        } else {
            let class = if base == 1 { "INVALID_ARRAY_INDEX_IN_ELEMENT_AT" } else { "INVALID_ARRAY_INDEX" };
            return Err(RowError::new(class, format!("there is no item {index}, the array has {length}")).into());
        }
    }
    Ok(take(list.values(), &UInt32Array::from(places), None)?)
}

/// The last value of an equal key; NULL without one.
fn map_value(call: &Call<'_>) -> Result<ArrayRef> {
    let map = call.args[0].as_map();
    let compare = make_comparator(map.keys(), &call.args[1], SortOptions::default())?;
    let offsets = map.value_offsets();
    let place = |row: usize| {
        if !call.complete(row) {
            return None;
        }
        (offsets[row]..offsets[row + 1]).rev().find(|i| compare(*i as usize, row).is_eq()).map(|i| i as u32)
    };
    let places: UInt32Array = (0..call.rows).map(place).collect();
    Ok(take(map.values(), &places, None)?)
}

/// Per row: place from 1 (0 if nowhere), and whether a NULL was among the items.
fn positions(call: &Call<'_>) -> Result<Vec<(Option<usize>, bool)>> {
    let list = call.args[0].as_list::<i32>();
    let compare = make_comparator(list.values(), &call.args[1], SortOptions::default())?;
    let offsets = list.value_offsets();
    let place = |row: usize| {
        if !call.complete(row) {
            return (None, false);
        }
        let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
        let found = (start..end).find(|i| list.values().is_valid(*i) && compare(*i, row).is_eq());
        let nulls = (start..end).any(|i| list.values().is_null(i));
        (Some(found.map_or(0, |i| i - start + 1)), nulls)
    };
    Ok((0..call.rows).map(place).collect())
}

/// Unknown if the item is not found but a NULL is.
fn array_contains(call: &Call<'_>) -> Result<ArrayRef> {
    let found = positions(call)?.into_iter().map(|(place, nulls)| match place? {
        0 if nulls => None,
        place => Some(place > 0),
    });
    Ok(Arc::new(found.collect::<BooleanArray>()))
}

/// `sort_array` puts nulls first (last if descending), `array_sort` last.
fn sort_array(call: &Call<'_>, by_flag: bool) -> Result<ArrayRef> {
    let list = call.args[0].as_list::<i32>();
    let values = list.values();
    let plain = SortOptions { descending: false, nulls_first: true };
    let compare = make_comparator(values, values, plain)?;
    let offsets = list.value_offsets();
    let mut order: Vec<u32> = Vec::with_capacity(values.len());
    let mut starts = vec![0_i32];
    for row in 0..list.len() {
        let mut items: Vec<u32> = (offsets[row] as u32..offsets[row + 1] as u32).collect();
        if list.is_null(row) {
            items.clear();
        }
        let ascending = !by_flag || !call.has(1) || call.args[1].as_boolean().value(row);
        items.sort_by(|a, b| {
            if !by_flag && values.is_null(*a as usize) != values.is_null(*b as usize) {
                return values.is_null(*a as usize).cmp(&values.is_null(*b as usize));
            }
            let order = compare(*a as usize, *b as usize);
            if ascending { order } else { order.reverse() }
        });
        order.extend(items);
        starts.push(order.len() as i32);
    }
    let sorted = take(values, &UInt32Array::from(order), None)?;
    let DataType::List(field) = list.data_type() else { return plan_err!("an array is expected") };
    Ok(Arc::new(ListArray::try_new(
        Arc::clone(field),
        OffsetBuffer::new(starts.into()),
        sorted,
        list.nulls().cloned(),
    )?))
}

/// The columns of each row as one array.
fn make(call: &Call<'_>) -> Result<ArrayRef> {
    let DataType::List(field) = call.out else { return plan_err!("an array is expected") };
    let width = call.args.len();
    let values = if width == 0 {
        make_array(datafusion::arrow::array::ArrayData::new_empty(field.data_type()))
    } else {
        in_turn(call.args, call.rows)?
    };
    let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(width, call.rows));
    Ok(Arc::new(ListArray::try_new(Arc::clone(field), offsets, values, None)?))
}

fn in_turn(columns: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let refs: Vec<&dyn Array> = columns.iter().map(AsRef::as_ref).collect();
    if rows == 0 {
        return Ok(concat(&refs)?);
    }
    let places: Vec<(usize, usize)> =
        (0..rows).flat_map(|row| (0..columns.len()).map(move |column| (column, row))).collect();
    Ok(interleave(&refs, &places)?)
}

fn make_map(call: &Call<'_>) -> Result<ArrayRef> {
    let pick = |side: usize| call.args.iter().skip(side).step_by(2).cloned().collect::<Vec<_>>();
    let columns = vec![in_turn(&pick(0), call.rows)?, in_turn(&pick(1), call.rows)?];
    map::map_array(call.out, vec![call.args.len() / 2; call.rows], columns, vec![true; call.rows])
}
