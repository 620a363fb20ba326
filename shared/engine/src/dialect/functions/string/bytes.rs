//! String functions of bytes.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, BinaryArray, BooleanArray};
use datafusion::error::Result;

use super::super::Call;
use super::super::Def;
use super::super::Gives::Type;
use super::super::Takes::{Bool, Bytes, Int, Text};
use super::int;
use crate::dialect::error::RowError;

/// What functions of text do where they get bytes.
pub(in super::super) const FUNCTIONS: &[Def] = &[
    Def::new(&["left_bytes"], &[Bytes, Int], Type(Bytes), |c| {
        Ok(rows(c, |row| {
            let all = bytes(c, 0, row);
            all[..all.len().min(int(c, 1, row).max(0) as usize)].to_vec()
        }))
    }),
    Def::new(&["right_bytes"], &[Bytes, Int], Type(Bytes), |c| {
        Ok(rows(c, |row| {
            let all = bytes(c, 0, row);
            all[all.len().saturating_sub(int(c, 1, row).max(0) as usize)..].to_vec()
        }))
    }),
    Def::new(&["lpad_bytes"], &[Bytes, Int, Bytes], Type(Bytes), |c| Ok(pad(c, true))).optional(1),
    Def::new(&["rpad_bytes"], &[Bytes, Int, Bytes], Type(Bytes), |c| Ok(pad(c, false))).optional(1),
    Def::new(&["reverse_bytes"], &[Bytes], Type(Bytes), |c| {
        Ok(rows(c, |row| bytes(c, 0, row).iter().rev().copied().collect()))
    }),
    Def::new(&["overlay_bytes"], &[Bytes, Bytes, Int, Int], Type(Bytes), |c| Ok(overlay(c))).optional(1),
    Def::new(&["contains_bytes"], &[Bytes, Bytes], Type(Bool), |c| {
        Ok(test(c, |all, part| part.is_empty() || all.windows(part.len()).any(|window| window == part)))
    }),
    Def::new(&["startswith_bytes"], &[Bytes, Bytes], Type(Bool), |c| Ok(test(c, |all, part| all.starts_with(part)))),
    Def::new(&["endswith_bytes"], &[Bytes, Bytes], Type(Bool), |c| Ok(test(c, |all, part| all.ends_with(part)))),
    Def::new(&["is_valid_utf8"], &[Bytes], Type(Bool), |c| {
        let valid = |b: &[u8]| std::str::from_utf8(b).is_ok();
        let values = c.args[0].as_binary::<i32>().iter().map(|b| b.map(valid));
        Ok(Arc::new(values.collect::<BooleanArray>()))
    }),
    Def::new(&["validate_utf8"], &[Bytes], Type(Text), |c| utf8(c, true)),
    Def::new(&["try_validate_utf8"], &[Bytes], Type(Text), |c| utf8(c, false)),
];

fn bytes<'a>(call: &'a Call<'_>, arg: usize, row: usize) -> &'a [u8] {
    call.args[arg].as_binary::<i32>().value(row)
}

fn rows(call: &Call<'_>, f: impl Fn(usize) -> Vec<u8>) -> ArrayRef {
    Arc::new((0..call.rows).map(|row| call.complete(row).then(|| f(row))).collect::<BinaryArray>())
}

fn test(call: &Call<'_>, f: impl Fn(&[u8], &[u8]) -> bool) -> ArrayRef {
    let value = |row| call.complete(row).then(|| f(bytes(call, 0, row), bytes(call, 1, row)));
    Arc::new((0..call.rows).map(value).collect::<BooleanArray>())
}

/// Bytes are filled up with zeros where nothing else is given.
fn pad(call: &Call<'_>, left: bool) -> ArrayRef {
    rows(call, |row| {
        let (all, width) = (bytes(call, 0, row), (int(call, 1, row).max(0) as usize).min(super::MAX_TEXT));
        let with = if call.has(2) { bytes(call, 2, row) } else { &[0] };
        if all.len() >= width || with.is_empty() {
            return all[..all.len().min(width)].to_vec();
        }
        let fill = with.iter().copied().cycle().take(width - all.len());
        if left { fill.chain(all.iter().copied()).collect() } else { all.iter().copied().chain(fill).collect() }
    })
}

fn overlay(call: &Call<'_>) -> ArrayRef {
    rows(call, |row| {
        let (all, with) = (bytes(call, 0, row), bytes(call, 1, row));
        let length = if call.has(3) { int(call, 3, row) } else { -1 };
        let length = if length >= 0 { length as usize } else { with.len() };
        let start = (i64::from(int(call, 2, row)) - 1).max(0) as usize;
        let behind = i64::from(int(call, 2, row)) + length as i64;
        let (rest, end) = super::slice_of(all.len() as i64, behind, i64::from(i32::MAX));
        all.iter().take(start).chain(with).chain(&all[rest..end]).copied().collect()
    })
}

fn utf8(call: &Call<'_>, raise: bool) -> Result<ArrayRef> {
    super::try_rows(call, |row| match std::str::from_utf8(bytes(call, 0, row)) {
        Ok(text) => Ok(Some(text.to_owned())),
        Err(_) if raise => {
            Err(RowError::new("INVALID_UTF8_STRING", "the bytes are no UTF-8: try_validate_utf8 gives NULL instead"))
        }
        Err(_) => Ok(None),
    })
}
