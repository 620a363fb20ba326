//! Vectors: arrays of floats, and bitmaps as bytes.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Float32Array, Float32Builder, ListBuilder};
use datafusion::arrow::datatypes::{DataType, Float32Type, Int64Type};
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, lit};

use super::Gives::{Of, Type};
use super::Takes::{Any, Bytes};
use super::conditional::exactly;
use super::{Call, Def, Planned};
use crate::dialect::cast::Mode;
use crate::dialect::error::RowError;
use crate::dialect::plan::Planner;
use crate::dialect::types::array_of;

fn vector() -> DataType {
    array_of(DataType::Float32)
}

/// Functions with a kernel of their own.
pub const FUNCTIONS: &[Def] = &[
    Def::new(&["vector_inner_product_of"], &[Any, Any], Of(|_| Ok(DataType::Float32)), |call| {
        of_two(call, |a, b| Some(dot(a, b)))
    }),
    Def::new(&["vector_cosine_similarity_of"], &[Any, Any], Of(|_| Ok(DataType::Float32)), |call| {
        of_two(call, |a, b| {
            let length = (dot(a, a) * dot(b, b)).sqrt();
            (length > 0.0).then(|| dot(a, b) / length)
        })
    }),
    Def::new(&["vector_l2_distance_of"], &[Any, Any], Of(|_| Ok(DataType::Float32)), |call| {
        of_two(call, |a, b| Some(a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt()))
    }),
    Def::new(&["vector_norm_of"], &[Any, Any], Of(|_| Ok(DataType::Float32)), |call| {
        let norms = norms(call)?.into_iter().map(|found| found.map(|(_, norm)| norm as f32));
        Ok(Arc::new(norms.collect::<Float32Array>()))
    }),
    Def::new(&["vector_normalize_of"], &[Any, Any], Of(|_| Ok(vector())), |call| {
        let rows = norms(call)?.into_iter().map(|found| match found {
            Some((items, norm)) if norm > 0.0 => Some(items.into_iter().map(|item| item / norm).collect()),
            _ => None,
        });
        Ok(lists(rows))
    }),
    Def::new(&["vectors_sum"], &[Any], Of(|_| Ok(vector())), |call| folded(call, false)),
    Def::new(&["vectors_avg"], &[Any], Of(|_| Ok(vector())), |call| folded(call, true)),
    Def::new(&["bitmap_of"], &[Any], Type(Bytes), |call| {
        let list = call.args[0].as_list::<i32>();
        let bitmap = |row: usize| -> Result<Vec<u8>, RowError> {
            let mut bytes = vec![0_u8; BITMAP];
            let items = list.value(row);
            let Some(positions) = items.as_primitive_opt::<Int64Type>() else { return Ok(bytes) };
            for position in positions.iter().flatten() {
                let place = usize::try_from(position).ok().filter(|place| *place < BITMAP * 8);
                let wrong = || RowError::new("INVALID_BITMAP_POSITION", format!("a bitmap has no bit {position}"));
                let place = place.ok_or_else(wrong)?;
                bytes[place / 8] |= 1 << (place % 8);
            }
            Ok(bytes)
        };
        let bitmaps = (0..call.rows).map(bitmap).collect::<Result<Vec<_>, RowError>>()?;
        Ok(Arc::new(BinaryArray::from_iter_values(bitmaps)))
    }),
    Def::new(&["bitmaps_or"], &[Any], Type(Bytes), |call| Ok(bitmaps(call, 0, |a, b| a | b))),
    Def::new(&["bitmaps_and"], &[Any], Type(Bytes), |call| Ok(bitmaps(call, 0xff, |a, b| a & b))),
];

/// Bytes of a bitmap that an aggregate makes.
const BITMAP: usize = 4096;

/// Functions that plan themselves.
pub const PLANNED: &[Planned] = &[
    (&["vector_inner_product"], |p, args| of_vectors(p, "vector_inner_product_of", args)),
    (&["vector_cosine_similarity"], |p, args| of_vectors(p, "vector_cosine_similarity_of", args)),
    (&["vector_l2_distance"], |p, args| of_vectors(p, "vector_l2_distance_of", args)),
    (&["vector_norm"], |p, args| with_degree(p, "vector_norm_of", args)),
    (&["vector_normalize"], |p, args| with_degree(p, "vector_normalize_of", args)),
];

fn of_vectors(planner: &Planner<'_>, name: &str, args: Vec<Expr>) -> Result<Expr> {
    let [a, b] = exactly::<2>(name, args)?;
    planner.call(name, vec![planner.cast(a, &vector(), Mode::Raise)?, planner.cast(b, &vector(), Mode::Raise)?])
}

fn with_degree(planner: &Planner<'_>, name: &str, mut args: Vec<Expr>) -> Result<Expr> {
    if args.len() == 1 {
        args.push(lit(2.0_f32));
    }
    let [items, degree] = exactly::<2>(name, args)?;
    let items = planner.cast(items, &vector(), Mode::Raise)?;
    planner.call(name, vec![items, planner.cast(degree, &DataType::Float32, Mode::Raise)?])
}

/// The numbers of a vector; `None` if one is missing.
fn items(array: &ArrayRef, row: usize) -> Option<Vec<f64>> {
    let items = array.as_list::<i32>().value(row);
    items.as_primitive::<Float32Type>().iter().map(|item| item.map(f64::from)).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn of_two(call: &Call<'_>, f: impl Fn(&[f64], &[f64]) -> Option<f64>) -> Result<ArrayRef> {
    let value = |row: usize| -> Result<Option<f32>, RowError> {
        if !call.complete(row) {
            return Ok(None);
        }
        let (Some(a), Some(b)) = (items(&call.args[0], row), items(&call.args[1], row)) else { return Ok(None) };
        if a.len() != b.len() {
            let message = format!("vectors of {} and {} numbers", a.len(), b.len());
            return Err(RowError::new("VECTOR_DIMENSION_MISMATCH", message));
        }
        Ok(f(&a, &b).map(|value| value as f32))
    };
    Ok(Arc::new((0..call.rows).map(value).collect::<Result<Float32Array, RowError>>()?))
}

/// The numbers of a vector and their norm.
type Normed = (Vec<f64>, f64);

/// Per row the numbers and their norm of a degree: 1, 2 or infinity.
fn norms(call: &Call<'_>) -> Result<Vec<Option<Normed>>> {
    let degrees = call.args[1].as_primitive::<Float32Type>();
    let norm = |row: usize| -> Result<Option<Normed>> {
        if !call.complete(row) {
            return Ok(None);
        }
        let Some(items) = items(&call.args[0], row) else { return Ok(None) };
        let sizes = items.iter().map(|item| item.abs());
        let degree = degrees.value(row);
        let norm = if degree == f32::INFINITY {
            sizes.fold(0.0, f64::max)
        } else if degree == 1.0 {
            sizes.sum()
        } else if degree == 2.0 {
            dot(&items, &items).sqrt()
        } else {
            let message = format!("the degree of a norm is 1, 2 or infinity, not {degree}");
            return Err(RowError::new("INVALID_VECTOR_NORM_DEGREE", message).into());
        };
        Ok(Some((items, norm)))
    };
    (0..call.rows).map(norm).collect()
}

fn lists(rows: impl Iterator<Item = Option<Vec<f64>>>) -> ArrayRef {
    let mut builder = ListBuilder::new(Float32Builder::new());
    for row in rows {
        let valid = row.is_some();
        row.into_iter().flatten().for_each(|item| builder.values().append_value(item as f32));
        builder.append(valid);
    }
    Arc::new(builder.finish())
}

/// Vectors of a list, number by number.
fn folded(call: &Call<'_>, average: bool) -> Result<ArrayRef> {
    let list = call.args[0].as_list::<i32>();
    if !matches!(list.values().data_type(), DataType::List(_)) {
        return plan_err!("an aggregate of vectors takes arrays of floats");
    }
    let vectors = crate::dialect::cast::cast(list.values(), &vector(), Mode::Raise)?;
    let mut rows = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        let range = list.value_offsets()[row] as usize..list.value_offsets()[row + 1] as usize;
        let count = range.len() as f64;
        let mut sum: Option<Vec<f64>> = None;
        for next in range.filter(|i| vectors.is_valid(*i)).filter_map(|i| items(&vectors, i)) {
            match &mut sum {
                None => sum = Some(next),
                Some(sum) if sum.len() == next.len() => sum.iter_mut().zip(next).for_each(|(a, b)| *a += b),
                Some(_) => return Err(RowError::new("VECTOR_DIMENSION_MISMATCH", "vectors of several lengths").into()),
            }
        }
        rows.push(sum.map(|sum| if average { sum.into_iter().map(|item| item / count).collect() } else { sum }));
    }
    Ok(lists(rows.into_iter()))
}

fn bitmaps(call: &Call<'_>, start: u8, f: impl Fn(u8, u8) -> u8) -> ArrayRef {
    let list = call.args[0].as_list::<i32>();
    let merged = |row: usize| {
        let items = list.value(row);
        let mut all = vec![start; BITMAP];
        if let Some(items) = items.as_binary_opt::<i32>() {
            for bytes in items.iter().flatten() {
                let padded = bytes.iter().copied().chain(std::iter::repeat(0));
                all.iter_mut().zip(padded).for_each(|(sum, byte)| *sum = f(*sum, byte));
            }
        }
        all
    };
    Arc::new(BinaryArray::from_iter_values((0..call.rows).map(merged)))
}
