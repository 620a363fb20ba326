//! What arrays are made into: parts, picks and arrays of arrays.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Int64Array, ListArray, UInt32Array, make_comparator,
    new_null_array,
};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::compute::{SortOptions, interleave, take};
use datafusion::arrow::datatypes::{DataType, Field, Int32Type, Int64Type};
use datafusion::common::{plan_datafusion_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::expr::Case;
use datafusion::logical_expr::{Expr, lit};

use super::super::Gives::{First, Of, Type};
use super::super::Takes::{Any, Bool, Date, Int, Text};
use super::super::conditional::exactly;
use super::super::datetime::{series, span::step_units};
use super::super::{Call, Def, Planned};
use super::{item_of, item_type};
use crate::dialect::cast::Mode;
use crate::dialect::cast::text::DAY;
use crate::dialect::error::RowError;
use crate::dialect::plan::Planner;
use crate::dialect::types::{array_of, common, is_integer, is_timestamp};

/// Functions with a kernel of their own.
pub const FUNCTIONS: &[Def] = &[
    Def::new(&["array_insert_of"], &[Any, Int, Any], First, insert),
    Def::new(&["array_intersect_of"], &[Any, Any], First, intersect),
    Def::new(&["bounded_count"], &[Int], Type(Int), |call| {
        let counts = call.args[0].as_primitive::<Int32Type>();
        match counts.iter().flatten().map(i64::from).find(|count| *count > super::MAX_SEQUENCE) {
            Some(count) => Err(too_many(count).into()),
            None => Ok(Arc::clone(&call.args[0])),
        }
    }),
    Def::new(&["flatten"], &[Any], Of(item_type), flatten),
    Def::new(&["arrays_overlap_of"], &[Any, Any], Type(Bool), overlap),
    Def::new(&["dates_of"], &[Any], Of(|_| Ok(array_of(DataType::Date32))), |call| {
        let list = call.args[0].as_list::<i32>();
        let days = list.values().as_primitive::<Int64Type>().iter();
        let days: Date32Array = days.map(|day| day.and_then(|day| i32::try_from(day).ok())).collect();
        let field = Arc::new(Field::new_list_field(DataType::Date32, true));
        Ok(Arc::new(ListArray::try_new(field, list.offsets().clone(), Arc::new(days), list.nulls().cloned())?))
    }),
    Def::new(&["day_number"], &[Date], Type(super::super::Takes::Long), |call| {
        let days = call.args[0].as_primitive::<datafusion::arrow::datatypes::Date32Type>();
        Ok(Arc::new(days.iter().map(|day| day.map(i64::from)).collect::<Int64Array>()))
    }),
];

/// Functions that plan themselves.
pub const PLANNED: &[Planned] = &[
    (&["array_insert"], |p, args| {
        let [list, at, item] = exactly::<3>("array_insert", args)?;
        let (list, item) = with_items_of(p, list, item)?;
        p.call("array_insert_of", vec![list, at, item])
    }),
    (&["array_append"], |p, args| {
        let [list, item] = exactly::<2>("array_append", args)?;
        p.call("array_insert", vec![list, lit(-1_i32), item])
    }),
    (&["array_prepend"], |p, args| {
        let [list, item] = exactly::<2>("array_prepend", args)?;
        p.call("array_insert", vec![list, lit(1_i32), item])
    }),
    (&["array_remove"], |p, args| {
        let [list, item] = exactly::<2>("array_remove", args)?;
        let (list, item) = with_items_of(p, list, item)?;
        // DataFusion's array_remove takes the first one only.
        p.call("array_remove_all", vec![list, item])
    }),
    (&["arrays_overlap"], |p, args| {
        let (_, args) = p.unify("arrays_overlap", args)?;
        p.call("arrays_overlap_of", args)
    }),
    (&["array_intersect"], |p, args| {
        let (_, args) = p.unify("array_intersect", args)?;
        p.call("array_intersect_of", args)
    }),
    (&["array_repeat"], |p, args| {
        let [item, count] = exactly::<2>("array_repeat", args)?;
        let count = p.call("bounded_count", vec![count])?;
        match p.shared.foreign.get("array_repeat") {
            Some(repeat) => Ok(repeat.call(vec![item, p.cast(count, &DataType::Int64, Mode::Raise)?])),
            None => plan_err!("array_repeat is missing"),
        }
    }),
    (&["sequence"], sequence),
    (&["array_join"], |p, mut args| {
        // Items as a cast writes them.
        let list = args.remove(0);
        let list = p.cast(list, &array_of(DataType::Utf8), Mode::Raise)?;
        match p.shared.foreign.get("array_join") {
            Some(join) => {
                let texts = args.into_iter().map(|arg| p.implicit(arg, Text, "array_join"));
                Ok(join.call(std::iter::once(Ok(list)).chain(texts).collect::<Result<_>>()?))
            }
            None => plan_err!("array_join is missing"),
        }
    }),
    (&["arrays_zip"], |p, args| {
        let name = |(i, arg): (usize, &Expr)| match arg {
            Expr::Column(column) => column.name.clone(),
            _ => i.to_string(),
        };
        let names: Vec<String> = args.iter().enumerate().map(name).collect();
        let zipped = p.call("zip_rows", args)?;
        let ty = p.type_of(&zipped)?;
        let Some(DataType::Struct(fields)) = item_of(&ty) else { return Ok(zipped) };
        let fields = fields.iter().zip(names).map(|(field, name)| Field::new(name, field.data_type().clone(), true));
        p.cast(zipped, &array_of(DataType::Struct(fields.collect())), Mode::Raise)
    }),
    (&["zip_rows"], |p, args| match p.shared.foreign.get("arrays_zip") {
        Some(zip) => {
            // DataFusion's takes NULL for an empty list.
            let whole = args.iter().cloned().map(Expr::is_not_null).reduce(Expr::and).unwrap_or(lit(true));
            let zipped = Box::new(zip.call(args));
            Ok(Expr::Case(Case::new(None, vec![(Box::new(whole), zipped)], None)))
        }
        None => plan_err!("arrays_zip is missing"),
    }),
];

/// A list and an item, in a type that they have in common.
fn with_items_of(planner: &Planner<'_>, list: Expr, item: Expr) -> Result<(Expr, Expr)> {
    let (ty, other) = (planner.type_of(&list)?, planner.type_of(&item)?);
    let all = item_of(&ty).and_then(|items| common(items, &other));
    let all = all.ok_or_else(|| plan_datafusion_err!("[DATATYPE_MISMATCH] {ty} cannot hold {other}"))?;
    Ok((planner.cast(list, &array_of(all.clone()), Mode::Raise)?, planner.cast(item, &all, Mode::Raise)?))
}

/// From one end to the other, in whole numbers, days or times.
fn sequence(planner: &Planner<'_>, mut args: Vec<Expr>) -> Result<Expr> {
    let (ty, mut ends) = planner.unify("sequence", args.drain(..args.len().min(2)).collect())?;
    let step = args.pop();
    if ends.len() == 2 && ty == DataType::Date32 {
        let step = match step.as_ref().map(step_units) {
            None => 0,
            Some(Some((micros, false))) if micros % DAY == 0 => micros / DAY,
            Some(Some((months, true))) => {
                ends.extend([lit(months), lit(0_i64)]);
                return planner.call("times_from", ends);
            }
            Some(_) => return plan_err!("a sequence of dates goes by whole days or months"),
        };
        let mut days = ends.into_iter().map(|end| planner.call("day_number", vec![end])).collect::<Result<Vec<_>>>()?;
        days.push(lit(step));
        let list = planner.call("sequence_of", days)?;
        return planner.call("dates_of", vec![list]);
    }
    if is_timestamp(&ty) && ends.len() == 2 {
        // Without a step a day, in the direction of the other end.
        let (months, micros) = match step.as_ref().map(step_units) {
            None => (0, series::TOWARDS),
            Some(Some((months, true))) => (months, 0),
            Some(Some((micros, false))) => (0, micros),
            Some(None) => return plan_err!("the step of a sequence of timestamps is a constant interval"),
        };
        ends.extend([lit(months), lit(micros)]);
        return planner.call("times_from", ends);
    }
    if !is_integer(&ty) || ends.len() != 2 {
        return plan_err!("sequence is supported for whole numbers, dates and timestamps");
    }
    ends.push(step.unwrap_or_else(|| lit(0_i64)));
    let list = planner.call("sequence_of", ends)?;
    planner.cast(list, &array_of(ty), Mode::Raise)
}

fn too_many(count: i64) -> RowError {
    let message = format!("an array of {count} items is longer than {}", super::MAX_SEQUENCE);
    RowError::new("COLLECTION_SIZE_LIMIT_EXCEEDED", message)
}

/// The items of the first list that are in the second one as well, each once, in the order of the first.
fn intersect(call: &Call<'_>) -> Result<ArrayRef> {
    let (a, b) = (call.args[0].as_list::<i32>(), call.args[1].as_list::<i32>());
    let within = make_comparator(a.values(), a.values(), SortOptions::default())?;
    let across = make_comparator(a.values(), b.values(), SortOptions::default())?;
    let range =
        |list: &ListArray, row: usize| list.value_offsets()[row] as usize..list.value_offsets()[row + 1] as usize;
    let (mut places, mut lengths, mut nulls) = (vec![], vec![], vec![]);
    for row in 0..call.rows {
        let (before, valid) = (places.len(), call.complete(row));
        nulls.push(valid);
        for i in range(a, row).filter(|_| valid) {
            let first = !places[before..].iter().any(|known: &u32| within(*known as usize, i).is_eq());
            if first && range(b, row).any(|j| across(i, j).is_eq()) {
                places.push(i as u32);
            }
        }
        lengths.push(places.len() - before);
    }
    let values = take(a.values(), &UInt32Array::from(places), None)?;
    let DataType::List(field) = call.out else { return plan_err!("an array is expected") };
    let nulls = Some(NullBuffer::from(nulls));
    Ok(Arc::new(ListArray::try_new(Arc::clone(field), OffsetBuffer::from_lengths(lengths), values, nulls)?))
}

fn insert(call: &Call<'_>) -> Result<ArrayRef> {
    let list = call.args[0].as_list::<i32>();
    let at = call.args[1].as_primitive::<Int32Type>();
    let nothing = new_null_array(list.values().data_type(), 1);
    let offsets = list.value_offsets();
    let (mut places, mut lengths, mut nulls) = (vec![], vec![], vec![]);
    for row in 0..call.rows {
        let valid = list.is_valid(row) && at.is_valid(row);
        nulls.push(valid);
        let before = places.len();
        if valid {
            let at = at.value(row);
            if at == 0 {
                let message = "items are counted from 1, or from -1 at the end";
                return Err(RowError::new("INVALID_INDEX_OF_ZERO", message).into());
            }
            let mut items: Vec<(usize, usize)> = (offsets[row]..offsets[row + 1]).map(|i| (0, i as usize)).collect();
            let wanted = at.unsigned_abs() as usize - 1;
            if wanted as i64 > super::MAX_SEQUENCE {
                return Err(too_many(wanted as i64).into());
            }
            if wanted > items.len() {
                let gap = vec![(2, 0); wanted - items.len()];
                if at > 0 { items.extend(gap) } else { items.splice(0..0, gap).for_each(drop) }
            }
            let place = if at > 0 { wanted } else { items.len() - wanted };
            items.insert(place, (1, row));
            places.extend(items);
        }
        lengths.push(places.len() - before);
    }
    let values = if places.is_empty() {
        list.values().slice(0, 0)
    } else {
        interleave(&[list.values().as_ref(), call.args[2].as_ref(), nothing.as_ref()], &places)?
    };
    let DataType::List(field) = call.out else { return plan_err!("an array is expected") };
    let nulls = Some(NullBuffer::from(nulls));
    Ok(Arc::new(ListArray::try_new(Arc::clone(field), OffsetBuffer::from_lengths(lengths), values, nulls)?))
}

/// The items of the arrays in an array; NULL if one of them is.
fn flatten(call: &Call<'_>) -> Result<ArrayRef> {
    let outer = call.args[0].as_list::<i32>();
    let Some(inner) = outer.values().as_list_opt::<i32>() else { return plan_err!("flatten takes an array of arrays") };
    let (outside, inside) = (outer.value_offsets(), inner.value_offsets());
    let (mut places, mut lengths, mut nulls) = (vec![], vec![], vec![]);
    for row in 0..call.rows {
        let (start, end) = (outside[row] as usize, outside[row + 1] as usize);
        let valid = outer.is_valid(row) && (start..end).all(|i| inner.is_valid(i));
        let before = places.len();
        if valid {
            (start..end).for_each(|i| places.extend(inside[i] as u32..inside[i + 1] as u32));
        }
        nulls.push(valid);
        lengths.push(places.len() - before);
    }
    let values = take(inner.values(), &UInt32Array::from(places), None)?;
    let DataType::List(field) = call.out else { return plan_err!("flatten takes an array of arrays") };
    let nulls = Some(NullBuffer::from(nulls));
    Ok(Arc::new(ListArray::try_new(Arc::clone(field), OffsetBuffer::from_lengths(lengths), values, nulls)?))
}

/// Unknown if no item is in both but one of them has a NULL.
fn overlap(call: &Call<'_>) -> Result<ArrayRef> {
    let (a, b) = (call.args[0].as_list::<i32>(), call.args[1].as_list::<i32>());
    let compare = make_comparator(a.values(), b.values(), SortOptions::default())?;
    let range =
        |list: &ListArray, row: usize| list.value_offsets()[row] as usize..list.value_offsets()[row + 1] as usize;
    let answer = |row: usize| {
        if !call.complete(row) {
            return None;
        }
        let (left, right) = (range(a, row), range(b, row));
        let in_both =
            |i: usize| a.values().is_valid(i) && right.clone().any(|j| b.values().is_valid(j) && compare(i, j).is_eq());
        let nulls = left.clone().any(|i| a.values().is_null(i)) || right.clone().any(|j| b.values().is_null(j));
        let found = left.clone().any(in_both);
        (found || !nulls || left.is_empty() || right.is_empty()).then_some(found)
    };
    Ok(Arc::new((0..call.rows).map(answer).collect::<BooleanArray>()))
}
