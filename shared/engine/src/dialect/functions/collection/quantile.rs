//! What aggregates make of the list of a group's values: percentiles, the mode, an order, a text.

use std::cmp::Ordering;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, ListArray, PrimitiveArray, StringBuilder, UInt32Array, make_comparator,
};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::compute::{SortOptions, take};
use datafusion::arrow::datatypes::{DataType, Field, Float64Type, Int64Type};
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::Expr;

use super::super::Gives::{Of, Type};
use super::super::Takes::{Any, Text};
use super::super::aggregate::one_form;
use super::super::conditional::exactly;
use super::super::{Call, Def, Planned};
use super::{item_of, item_type};
use crate::dialect::cast::{Mode, cast, write_value};
use crate::dialect::error::RowError;
use crate::dialect::plan::Planner;
use crate::dialect::types::{array_of, is_numeric};

/// Functions with a kernel of their own.
pub(in super::super) const FUNCTIONS: &[Def] = &[
    Def::new(&["mode_of"], &[Any], Of(item_type), |call| mode(call, false)),
    Def::new(&["mode_of_last"], &[Any], Of(item_type), |call| mode(call, true)),
    Def::new(&["list_text"], &[Any, Text], Type(Text), list_text),
    Def::new(&["items_in_order"], &[Any, Text], Of(|types| Ok(array_of(value_type(types)?))), items_in_order),
    Def::new(&["picked_items"], &[Any, Any], Of(picked_type), |call| lists(call, call.out, &picks(call, UP)?)),
    Def::new(&["picked_items_down"], &[Any, Any], Of(picked_type), |call| lists(call, call.out, &picks(call, DOWN)?)),
    Def::new(&["interpolated_items"], &[Any, Any], Of(doubles), |call| interpolated(call, UP)),
    Def::new(&["interpolated_items_down"], &[Any, Any], Of(doubles), |call| interpolated(call, DOWN)),
];

/// Functions that plan themselves.
pub(in super::super) const PLANNED: &[Planned] = &[
    (&["percentile_of"], |p, args| percentiles(p, args, "picked_items")),
    (&["percentile_disc_of"], |p, args| discrete(p, args, "picked_items")),
    (&["percentile_disc_of_last"], |p, args| discrete(p, args, "picked_items_down")),
    (&["percentile_cont_of"], |p, args| percentiles(p, args, "interpolated_items")),
    (&["percentile_cont_of_last"], |p, args| percentiles(p, args, "interpolated_items_down")),
];

const UP: SortOptions = SortOptions { descending: false, nulls_first: true };
const DOWN: SortOptions = SortOptions { descending: true, nulls_first: true };

fn picked_type(types: &[DataType]) -> Result<DataType> {
    Ok(array_of(item_type(types)?))
}

fn doubles(_: &[DataType]) -> Result<DataType> {
    Ok(array_of(DataType::Float64))
}

/// For one share one value, for an array of them an array.
fn percentiles(planner: &Planner<'_>, args: Vec<Expr>, name: &str) -> Result<Expr> {
    let [list, share] = exactly::<2>("percentile", args)?;
    let ty = planner.type_of(&list)?;
    let Some(item) = item_of(&ty).cloned() else { return plan_err!("a list is expected") };
    let many = matches!(planner.type_of(&share)?, DataType::List(_));
    let shares = if many { share } else { planner.call("array", vec![share])? };
    let shares = planner.cast(shares, &array_of(DataType::Float64), Mode::Raise)?;
    let picked = match (name.starts_with("interpolated"), &item) {
        (true, DataType::Duration(_) | DataType::Interval(_)) => {
            let units = planner.call("list_units", vec![list])?;
            let found = planner.call(name, vec![units, shares])?;
            planner.call(
                if matches!(item, DataType::Duration(_)) { "list_durations" } else { "list_months" },
                vec![found],
            )?
        }
        (true, _) => {
            let list = planner.cast(list, &array_of(DataType::Float64), Mode::Raise)?;
            planner.call(name, vec![list, shares])?
        }
        _ => planner.call(name, vec![list, shares])?,
    };
    if many { Ok(picked) } else { planner.call("get", vec![picked, datafusion::logical_expr::lit(0_i32)]) }
}

/// `percentile_disc` gives doubles for numbers.
fn discrete(planner: &Planner<'_>, mut args: Vec<Expr>, name: &str) -> Result<Expr> {
    if let Some(list) = args.first_mut()
        && item_of(&planner.type_of(list)?).is_some_and(is_numeric)
    {
        *list = planner.cast(list.clone(), &array_of(DataType::Float64), Mode::Raise)?;
    }
    percentiles(planner, args, name)
}

/// The items of a row that have a value, in order.
fn in_order(list: &ListArray, row: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let range = list.value_offsets()[row] as usize..list.value_offsets()[row + 1] as usize;
    let mut items: Vec<usize> = range.filter(|i| list.is_valid(row) && list.values().is_valid(*i)).collect();
    items.sort_by(|a, b| compare(*a, *b));
    items
}

/// The shares of a row, in the second argument.
pub(in super::super) fn shares(call: &Call<'_>, row: usize) -> Result<Vec<f64>> {
    let shares = call.args[1].as_list::<i32>().value(row);
    let shares = shares.as_primitive::<Float64Type>();
    shares
        .iter()
        .map(|share| {
            let share = share.unwrap_or(f64::NAN);
            if (0.0..=1.0).contains(&share) {
                return Ok(share);
            }
            let message = format!("a percentile is between 0 and 1, this is {share}");
            Err(RowError::new("VALUE_OUT_OF_RANGE", message).into())
        })
        .collect()
}

/// Per row the places of the first items, in this order, that at least these shares of the items do not exceed.
fn picks(call: &Call<'_>, order: SortOptions) -> Result<Vec<Vec<Option<u32>>>> {
    let list = call.args[0].as_list::<i32>();
    let values = one_form(list.values())?;
    let compare = make_comparator(&values, &values, order)?;
    let row_picks = |row: usize| -> Result<Vec<Option<u32>>> {
        let items = in_order(list, row, &compare);
        let pick = |share: f64| {
            let rank = (share * items.len() as f64).ceil() as usize;
            items.get(rank.saturating_sub(1)).map(|place| *place as u32)
        };
        let picks = shares(call, row)?.into_iter().map(pick).collect();
        Ok(if items.is_empty() { vec![] } else { picks })
    };
    (0..call.rows).map(row_picks).collect()
}

/// Lists of items at these places; NULL where there is none.
fn lists(call: &Call<'_>, out: &DataType, places: &[Vec<Option<u32>>]) -> Result<ArrayRef> {
    let DataType::List(field) = out else { return plan_err!("a list is expected") };
    let flat: UInt32Array = places.iter().flatten().copied().collect();
    let values = take(call.args[0].as_list::<i32>().values(), &flat, None)?;
    let offsets = OffsetBuffer::from_lengths(places.iter().map(Vec::len));
    let nulls = places.iter().map(|places| !places.is_empty()).collect::<Vec<_>>();
    Ok(Arc::new(ListArray::try_new(Arc::clone(field), offsets, values, Some(nulls.into()))?))
}

/// Values between two items lie on the line from one to the other.
fn interpolated(call: &Call<'_>, order: SortOptions) -> Result<ArrayRef> {
    let list = call.args[0].as_list::<i32>();
    let values = one_form(list.values())?;
    let compare = make_comparator(&values, &values, order)?;
    let values = values.as_primitive::<Float64Type>();
    let (mut flat, mut lengths, mut nulls) = (vec![], vec![], vec![]);
    for row in 0..call.rows {
        let items = in_order(list, row, &compare);
        let before = flat.len();
        for share in if items.is_empty() { vec![] } else { shares(call, row)? } {
            let place = share * (items.len() - 1) as f64;
            let (low, high) = (place.floor(), place.ceil());
            let (from, to) = (values.value(items[low as usize]), values.value(items[high as usize]));
            flat.push(if low == high || from == to { from } else { from + (to - from) * (place - low) });
        }
        lengths.push(flat.len() - before);
        nulls.push(flat.len() > before);
    }
    let field = Arc::new(Field::new_list_field(DataType::Float64, true));
    let values = Arc::new(Float64Array::from(flat));
    Ok(Arc::new(ListArray::try_new(field, OffsetBuffer::from_lengths(lengths), values, Some(nulls.into()))?))
}

/// The item that is there most often; of several the smallest, or the largest.
fn mode(call: &Call<'_>, largest: bool) -> Result<ArrayRef> {
    let list = call.args[0].as_list::<i32>();
    let values = one_form(list.values())?;
    let compare = make_comparator(&values, &values, UP)?;
    let most = |row: usize| {
        let items = in_order(list, row, &compare);
        let runs = items.chunk_by(|a, b| compare(*a, *b).is_eq());
        // Of equals `max_by_key` takes the last.
        let found = if largest { runs.max_by_key(|run| run.len()) } else { runs.rev().max_by_key(|run| run.len()) };
        found.map(|run| run[0] as u32)
    };
    let places: UInt32Array = (0..call.rows).map(most).collect();
    Ok(take(&values, &places, None)?)
}

/// The type of the first field of a list's structs.
fn value_type(types: &[DataType]) -> Result<DataType> {
    match item_type(types)? {
        DataType::Struct(fields) if fields.len() > 1 => Ok(fields[0].data_type().clone()),
        _ => plan_err!("a list of structs is expected"),
    }
}

/// The first fields of a list's structs, ordered by the other ones. The second argument says in which order, two letters
/// for each: `a` or `d` for the direction, `f` or `l` for NULL first or last.
fn items_in_order(call: &Call<'_>) -> Result<ArrayRef> {
    let (list, places) = (call.args[0].as_list::<i32>(), call.args[1].as_string::<i32>());
    let structs = list.values().as_struct();
    let letters = if places.is_empty() { "" } else { places.value(0) };
    let options = letters.as_bytes().chunks(2).map(sort_options);
    let keys = structs.columns().iter().skip(1).zip(options);
    let compare = keys.map(|(key, options)| Ok(make_comparator(key, key, options)?)).collect::<Result<Vec<_>>>()?;
    let mut picked: Vec<u32> = Vec::with_capacity(structs.len());
    let mut lengths = Vec::with_capacity(call.rows);
    for bounds in list.value_offsets().windows(2) {
        let from = picked.len();
        picked.extend((bounds[0]..bounds[1]).map(i32::unsigned_abs));
        let places = &mut picked[from..];
        places.sort_by(|a, b| {
            let sides = (*a as usize, *b as usize);
            compare.iter().map(|by| by(sides.0, sides.1)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
        });
        lengths.push(places.len());
    }
    let values = take(structs.column(0), &UInt32Array::from(picked), None)?;
    let DataType::List(field) = call.out else { return plan_err!("a list is expected") };
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(Arc::clone(field), offsets, values, list.nulls().cloned())?))
}

fn sort_options(letters: &[u8]) -> SortOptions {
    SortOptions { descending: letters.starts_with(b"d"), nulls_first: letters.ends_with(b"f") }
}

/// The items as one text; NULL of an empty list.
fn list_text(call: &Call<'_>) -> Result<ArrayRef> {
    let list = call.args[0].as_list::<i32>();
    let mut builder = StringBuilder::new();
    for row in 0..call.rows {
        let items = list.value(row);
        if list.is_null(row) || items.len() == items.null_count() || items.data_type() == &DataType::Null {
            builder.append_null();
            continue;
        }
        let by = if call.args[1].is_valid(row) { super::super::string::text(call, 1, row) } else { "" };
        let mut text = String::new();
        for (n, i) in (0..items.len()).filter(|i| items.is_valid(*i)).enumerate() {
            if n > 0 {
                text.push_str(by);
            }
            write_value(&mut text, &items, i, call.zone)?;
        }
        builder.append_value(text);
    }
    Ok(Arc::new(builder.finish()))
}

/// The items of a list in another type, by a function of arrays.
pub(super) fn with_items(call: &Call<'_>, f: impl Fn(&ArrayRef) -> Result<ArrayRef>) -> Result<ArrayRef> {
    let DataType::List(field) = call.out else { return plan_err!("a list is expected") };
    let list = call.args[0].as_list::<i32>();
    let values = f(list.values())?;
    Ok(Arc::new(ListArray::try_new(Arc::clone(field), list.offsets().clone(), values, list.nulls().cloned())?))
}

/// Whole units of an interval as a double, and back, cut off towards zero.
pub(in super::super) const UNITS: &[Def] = &[
    Def::new(&["list_units"], &[Any], Of(|_| Ok(array_of(DataType::Float64))), |call| {
        with_items(call, |items| {
            let whole = match items.data_type() {
                DataType::Duration(_) => cast_plain(items, &DataType::Int64)?,
                _ => {
                    let months = items.as_primitive::<datafusion::arrow::datatypes::IntervalYearMonthType>();
                    Arc::new(months.unary::<_, Int64Type>(i64::from)) as ArrayRef
                }
            };
            cast(&whole, &DataType::Float64, Mode::Raise)
        })
    }),
    Def::new(&["list_durations"], &[Any], Of(|_| Ok(array_of(crate::dialect::types::day_time()))), |call| {
        with_items(call, |items| {
            let micros = items.as_primitive::<Float64Type>();
            let cut: PrimitiveArray<datafusion::arrow::datatypes::DurationMicrosecondType> = micros.unary(|v| v as i64);
            Ok(Arc::new(cut))
        })
    }),
    Def::new(
        &["list_months"],
        &[Any],
        Of(|_| Ok(array_of(DataType::Interval(datafusion::arrow::datatypes::IntervalUnit::YearMonth)))),
        |call| {
            with_items(call, |items| {
                let months = items.as_primitive::<Float64Type>();
                let cut: PrimitiveArray<datafusion::arrow::datatypes::IntervalYearMonthType> =
                    months.unary(|v| v as i32);
                Ok(Arc::new(cut))
            })
        },
    ),
];

fn cast_plain(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    Ok(datafusion::arrow::compute::cast(array, to)?)
}
