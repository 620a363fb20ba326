//! String functions.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Int32Array, StringArray, StringBuilder};
use datafusion::arrow::datatypes::{DataType, Int32Type, Int64Type};
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, lit};
use datafusion::scalar::ScalarValue;

use super::Gives::{First, Of, Type};
use super::Takes::{Any, Bool, Bytes, Int, Long, Text};
use super::conditional::when;
use super::{Call, Def, Foreign, Planned};
use crate::dialect::cast::write_value;
use crate::dialect::error::RowError;
use crate::dialect::plan::Planner;
use crate::dialect::types::{array_of, is_decimal};

pub(super) mod bytes;
pub(super) mod code;
mod column;
mod encoding;
mod form;
mod format;
mod number;
mod regular;
mod search;
pub(super) mod words;

use column::{compared, counted, part, texts as texts_of, try_written, written};
use encoding::url_decode;
use number::format_number;
use regular::{Patterns, regexp_extract, regexp_extract_all, regexp_replace, rlike, split};
use search::{contains, find, replace, translate};

/// Functions with a kernel of their own.
pub const FUNCTIONS: &[Def] = &[
    Def::new(&["upper", "ucase"], &[Text], Type(Text), |c| {
        Ok(letters(c, <[u8]>::to_ascii_uppercase, str::to_uppercase))
    }),
    Def::new(&["lower", "lcase"], &[Text], Type(Text), |c| {
        Ok(letters(c, <[u8]>::to_ascii_lowercase, str::to_lowercase))
    }),
    Def::new(&["reverse_text"], &[Text], Type(Text), reverse),
    Def::new(&["initcap"], &[Text], Type(Text), |c| Ok(map(c, initcap))),
    Def::new(&["trim"], &[Text], Type(Text), |c| part(c, |_, s| s.trim_matches(' '))),
    Def::new(&["ltrim"], &[Text], Type(Text), |c| part(c, |_, s| s.trim_start_matches(' '))),
    Def::new(&["rtrim"], &[Text], Type(Text), |c| part(c, |_, s| s.trim_end_matches(' '))),
    Def::new(&["btrim"], &[Text, Text], Type(Text), |c| trim(c, true, true)).optional(1),
    Def::new(&["ltrim_of"], &[Text, Text], Type(Text), |c| trim(c, true, false)).optional(1),
    Def::new(&["rtrim_of"], &[Text, Text], Type(Text), |c| trim(c, false, true)).optional(1),
    Def::new(&["length_text"], &[Text], Type(Int), |c| Ok(measure(c, |s| s.chars().count()))),
    Def::new(&["octet_length"], &[Bytes], Type(Int), octets),
    Def::new(&["bit_length"], &[Bytes], Type(Int), |c| {
        let values = c.args[0].as_binary::<i32>().iter().map(|b| b.map(|b| b.len() as i32 * 8));
        Ok(Arc::new(values.collect::<Int32Array>()))
    }),
    Def::new(&["locate", "position", "charindex"], &[Text, Text, Int], Type(Int), |c| Ok(find(c, 1, 0))).optional(1),
    Def::new(&["replace"], &[Text, Text, Text], Type(Text), replace).optional(1),
    Def::new(&["translate"], &[Text, Text, Text], Type(Text), translate),
    Def::new(&["repeat"], &[Text, Int], Type(Text), |c| {
        let texts = texts_of(c, 0);
        try_written(c, |row, all| {
            let (one, count) = (texts.value(row), int(c, 1, row).max(0) as usize);
            let length = one.len().saturating_mul(count);
            if length > MAX_TEXT {
                return Err(too_long(length));
            }
            (0..count).for_each(|_| all.push_str(one));
            Ok(())
        })
    }),
    Def::new(&["substring_text"], &[Text, Int, Int], Type(Text), substring).optional(1),
    Def::new(&["substring_bytes"], &[Bytes, Int, Int], Type(Bytes), |c| Ok(substring_bytes(c))).optional(1),
    Def::new(&["left_text"], &[Text, Int], Type(Text), |c| {
        part(c, |row, all| &all[..offset_of(all, int(c, 1, row).max(0) as usize)])
    }),
    Def::new(&["right_text"], &[Text, Int], Type(Text), |c| {
        part(c, |row, all| {
            let count = int(c, 1, row).max(0) as usize;
            let length = if all.is_ascii() { all.len() } else { all.chars().count() };
            &all[offset_of(all, length.saturating_sub(count))..]
        })
    }),
    Def::new(&["lpad_text"], &[Text, Int, Text], Type(Text), |c| pad(c, true)).optional(1),
    Def::new(&["rpad_text"], &[Text, Int, Text], Type(Text), |c| pad(c, false)).optional(1),
    Def::new(&["concat_text"], &[Text], Type(Text), |c| {
        let all: Vec<_> = (0..c.args.len()).map(|at| texts_of(c, at)).collect();
        written(c, |row, out| all.iter().for_each(|texts| out.push_str(texts.value(row))))
    })
    .variadic(),
    Def::new(&["concat_bytes"], &[Bytes], Type(Bytes), |c| {
        let row_bytes = |row| {
            c.complete(row)
                .then(|| c.args.iter().flat_map(|a| a.as_binary::<i32>().value(row).to_vec()).collect::<Vec<u8>>())
        };
        Ok(Arc::new((0..c.rows).map(row_bytes).collect::<BinaryArray>()))
    })
    .variadic(),
    Def::new(&["concat_ws"], &[Text, Any], Type(Text), concat_ws).variadic(),
    Def::new(&["split"], &[Text, Text, Int], Of(texts), split).optional(1),
    Def::new(&["split_part"], &[Text, Text, Int], Type(Text), split_part),
    Def::new(&["substring_index"], &[Text, Text, Int], Type(Text), |c| {
        let by = texts_of(c, 1);
        part(c, |row, all| substring_index(all, by.value(row), int(c, 2, row)))
    }),
    Def::new(&["find_in_set"], &[Text, Text], Type(Int), |c| {
        Ok(counted(c, |row| {
            let wanted = text(c, 0, row);
            let at = text(c, 1, row).split(',').position(|item| item == wanted);
            if wanted.contains(',') { 0 } else { at.map_or(0, |at| at as i32 + 1) }
        }))
    }),
    Def::new(&["startswith_text"], &[Text, Text], Type(Bool), |c| Ok(compared(c, |a, b| a.starts_with(b)))),
    Def::new(&["endswith_text"], &[Text, Text], Type(Bool), |c| Ok(compared(c, |a, b| a.ends_with(b)))),
    Def::new(&["contains_text"], &[Text, Text], Type(Bool), |c| Ok(contains(c))),
    Def::new(&["rlike", "regexp_like", "regexp"], &[Text, Text], Type(Bool), rlike),
    Def::new(&["regexp_replace"], &[Text, Text, Text, Int], Type(Text), regexp_replace).optional(1),
    Def::new(&["regexp_extract"], &[Text, Text, Int], Type(Text), regexp_extract).optional(1),
    Def::new(&["regexp_extract_all"], &[Text, Text, Int], Of(texts), regexp_extract_all).optional(1),
    Def::new(&["regexp_count"], &[Text, Text], Type(Int), |c| {
        let mut patterns = Patterns::default();
        try_ints(c, |row| Ok(patterns.get(text(c, 1, row))?.find_iter(text(c, 0, row)).count() as i32))
    }),
    Def::new(&["regexp_substr"], &[Text, Text], Type(Text), |c| {
        let mut patterns = Patterns::default();
        try_rows(c, |row| Ok(patterns.get(text(c, 1, row))?.find(text(c, 0, row)).map(|m| m.as_str().to_owned())))
    }),
    Def::new(&["regexp_instr"], &[Text, Text, Int], Type(Int), |c| {
        let mut patterns = Patterns::default();
        try_ints(c, |row| {
            let all = text(c, 0, row);
            let found = patterns.get(text(c, 1, row))?.find(all);
            Ok(found.map_or(0, |m| all[..m.start()].chars().count() as i32 + 1))
        })
    })
    .optional(1),
    Def::new(&["elt"], &[Int, Text], Type(Text), |c| {
        try_rows_of(c, |row| {
            let at = int(c, 0, row);
            match usize::try_from(at).ok().and_then(|at| c.args.get(at)).filter(|_| at > 0) {
                Some(found) => Ok(found.is_valid(row).then(|| found.as_string::<i32>().value(row).to_owned())),
                None => {
                    let message = format!("there is no argument {at}, {} are given", c.args.len() - 1);
                    Err(RowError::new("INVALID_ARRAY_INDEX", message))
                }
            }
        })
    })
    .variadic(),
    Def::new(&["url_decode"], &[Text], Type(Text), |c| try_rows(c, |row| url_decode(text(c, 0, row)).map(Some))),
    Def::new(&["ascii"], &[Text], Type(Int), |c| {
        let texts = texts_of(c, 0);
        Ok(counted(c, |row| texts.value(row).chars().next().map_or(0, |c| c as i32)))
    }),
    Def::new(&["chr", "char"], &[Long], Type(Text), |c| {
        Ok(rows(c, |row| {
            let code = c.args[0].as_primitive::<Int64Type>().value(row);
            Some(if code < 0 { String::new() } else { char::from((code % 256) as u8).to_string() })
        }))
    }),
    Def::new(&["space"], &[Int], Type(Text), |c| {
        try_rows(c, |row| {
            let count = int(c, 0, row).max(0) as usize;
            if count > MAX_TEXT { Err(too_long(count)) } else { Ok(Some(" ".repeat(count))) }
        })
    }),
    Def::new(&["hex_bytes"], &[Bytes], Type(Text), |c| {
        let hex = |b: &[u8]| b.iter().map(|b| format!("{b:02X}")).collect::<String>();
        Ok(Arc::new(c.args[0].as_binary::<i32>().iter().map(|b| b.map(hex)).collect::<StringArray>()))
    }),
    Def::new(&["hex_long"], &[Long], Type(Text), |c| {
        let values = c.args[0].as_primitive::<Int64Type>().iter().map(|v| v.map(|v| format!("{v:X}")));
        Ok(Arc::new(values.collect::<StringArray>()))
    }),
    Def::new(&["format_number_of"], &[Any, Int], Type(Text), format_number),
    Def::new(&["overlay_text"], &[Text, Text, Int, Int], Type(Text), |c| Ok(overlay(c))).optional(1),
    Def::new(&["length_bytes"], &[Bytes], Type(Int), octets),
    Def::new(&["format_number_as"], &[Any, Text], Type(Text), form::pattern),
    Def::new(&["format_string"], &[Text, Any], Type(Text), format::format_string).variadic(),
    Def::new(&["collate"], &[Text, Text], First, |c| Ok(Arc::clone(&c.args[0]))),
];

/// Functions that plan themselves.
pub const PLANNED: &[Planned] = &[
    (&["concat"], |p, args| {
        let types = args.iter().map(|arg| p.type_of(arg)).collect::<Result<Vec<_>>>()?;
        let name = if types.iter().any(|ty| matches!(ty, DataType::List(_))) {
            // NULL if one of them is.
            let whole = args.iter().cloned().map(Expr::is_not_null).reduce(Expr::and);
            let joined = p.call("array_concat", args)?;
            return match whole {
                Some(whole) => when(p, whole, joined, lit(ScalarValue::Null)),
                None => Ok(joined),
            };
        } else if !types.is_empty() && types.iter().all(|ty| ty == &DataType::Binary) {
            "concat_bytes"
        } else {
            "concat_text"
        };
        p.call(name, args)
    }),
    (&["length", "len", "char_length", "character_length"], |p, args| by_bytes(p, "length_bytes", "length_text", args)),
    (&["substring", "substr", "mid"], |p, args| by_bytes(p, "substring_bytes", "substring_text", args)),
    (&["left"], |p, args| by_bytes(p, "left_bytes", "left_text", args)),
    (&["right"], |p, args| by_bytes(p, "right_bytes", "right_text", args)),
    (&["lpad"], |p, args| by_bytes(p, "lpad_bytes", "lpad_text", args)),
    (&["rpad"], |p, args| by_bytes(p, "rpad_bytes", "rpad_text", args)),
    (&["overlay"], |p, args| by_bytes(p, "overlay_bytes", "overlay_text", args)),
    (&["collation"], |_, _| Ok(lit("SYSTEM.BUILTIN.UTF8_BINARY"))),
    (&["to_number"], |p, args| form::to_number(p, &args, true)),
    (&["try_to_number"], |p, args| form::to_number(p, &args, false)),
    (&["to_char", "to_varchar"], form::to_char),
    (&["try_to_binary"], |p, args| try_to_binary(p, args)),
    (&["reverse"], |p, args| match args.first().map(|arg| p.type_of(arg)).transpose()? {
        Some(DataType::List(_)) => p.call("array_reverse", args),
        Some(DataType::Binary) => p.call("reverse_bytes", args),
        _ => p.call("reverse_text", args),
    }),
    (&["hex"], |p, args| match args.first().map(|arg| p.type_of(arg)).transpose()? {
        Some(DataType::Utf8 | DataType::Binary) => p.call("hex_bytes", args),
        _ => p.call("hex_long", args),
    }),
    (&["format_number"], |p, mut args| {
        if let Some(first) = args.first_mut()
            && !is_decimal(&p.type_of(first)?)
            && p.type_of(first)? != DataType::Int64
        {
            let whole = matches!(p.type_of(first)?, DataType::Int8 | DataType::Int16 | DataType::Int32);
            let to = if whole { DataType::Int64 } else { DataType::Float64 };
            *first = p.cast(first.clone(), &to, crate::dialect::cast::Mode::Raise)?;
        }
        let form = args.get(1).map(|form| p.type_of(form)).transpose()?;
        p.call(if form == Some(DataType::Utf8) { "format_number_as" } else { "format_number_of" }, args)
    }),
    (&["like"], |p, mut args| {
        if args.len() == 2 {
            args.push(lit("\\"));
        }
        p.like_call(args, false)
    }),
    (&["ilike"], |p, mut args| {
        if args.len() == 2 {
            args.push(lit("\\"));
        }
        p.like_call(args, true)
    }),
    (&["to_binary"], |p, mut args| {
        let form = if args.len() == 2 { args.pop() } else { Some(lit("hex")) };
        let Some(Expr::Literal(ScalarValue::Utf8(Some(form)), _)) = form else {
            return plan_err!("to_binary needs a constant form");
        };
        match form.to_ascii_lowercase().as_str() {
            "base64" => p.call("unbase64", args),
            "hex" => p.call("unhex", args),
            "utf-8" | "utf8" => {
                args.push(lit("UTF-8"));
                p.call("encode", args)
            }
            _ => plan_err!("to_binary knows hex, base64 and utf-8, not {form}"),
        }
    }),
    (&["printf"], |p, args| p.call("format_string", args)),
    (&["parse_url"], |p, args| code::parse_url(p, "uri_or_raise", args)),
    (&["try_parse_url"], |p, args| code::parse_url(p, "uri_or_null", args)),
    (&["contains"], |p, args| by_bytes(p, "contains_bytes", "contains_text", args)),
    (&["startswith"], |p, args| by_bytes(p, "startswith_bytes", "startswith_text", args)),
    (&["endswith"], |p, args| by_bytes(p, "endswith_bytes", "endswith_text", args)),
];

/// Functions of others.
pub const FOREIGN: &[Foreign] =
    &[("soundex", &[Text]), ("unhex", &[Text]), ("url_encode", &[Text]), ("luhn_check", &[Text]), ("quote", &[Text])];

/// NULL where `to_binary` raises, and for a form that it does not know.
fn try_to_binary(planner: &Planner<'_>, args: Vec<Expr>) -> Result<Expr> {
    let nothing = || lit(ScalarValue::Binary(None));
    let form = match args.get(1) {
        Some(Expr::Literal(ScalarValue::Utf8(Some(form)), _)) => form.to_ascii_lowercase(),
        Some(_) => return plan_err!("try_to_binary needs a constant form"),
        None => "hex".to_owned(),
    };
    let value = args.first().cloned().unwrap_or_default();
    match form.as_str() {
        "base64" => planner.call("try_unbase64", vec![value]),
        "hex" | "utf-8" | "utf8" => planner.call("to_binary", vec![value, lit(form)]),
        _ => Ok(nothing()),
    }
}

fn by_bytes(planner: &Planner<'_>, bytes: &str, text: &str, args: Vec<Expr>) -> Result<Expr> {
    let first = args.first().map(|arg| planner.type_of(arg)).transpose()?;
    planner.call(if first == Some(DataType::Binary) { bytes } else { text }, args)
}

fn texts(_: &[DataType]) -> Result<DataType> {
    Ok(array_of(DataType::Utf8))
}

/// The text of an argument in a row.
pub fn text<'a>(call: &'a Call<'_>, arg: usize, row: usize) -> &'a str {
    call.args[arg].as_string::<i32>().value(row)
}

/// The int of an argument in a row.
pub fn int(call: &Call<'_>, arg: usize, row: usize) -> i32 {
    call.args[arg].as_primitive::<Int32Type>().value(row)
}

/// Texts in other letters; where all are ASCII, all at once.
fn letters(call: &Call<'_>, ascii: fn(&[u8]) -> Vec<u8>, f: fn(&str) -> String) -> ArrayRef {
    let texts = call.args[0].as_string::<i32>();
    if texts.values().is_ascii()
        && let Ok(found) =
            StringArray::try_new(texts.offsets().clone(), ascii(texts.values()).into(), texts.nulls().cloned())
    {
        return Arc::new(found);
    }
    map(call, f)
}

fn map(call: &Call<'_>, f: impl Fn(&str) -> String) -> ArrayRef {
    Arc::new(call.args[0].as_string::<i32>().iter().map(|text| text.map(&f)).collect::<StringArray>())
}

/// Text per row; NULL where an argument is.
pub fn rows(call: &Call<'_>, f: impl Fn(usize) -> Option<String>) -> ArrayRef {
    Arc::new((0..call.rows).map(|row| if call.complete(row) { f(row) } else { None }).collect::<StringArray>())
}

/// The same where a row may raise.
pub fn try_rows(call: &Call<'_>, mut f: impl FnMut(usize) -> Result<Option<String>, RowError>) -> Result<ArrayRef> {
    let values = (0..call.rows).map(|row| if call.complete(row) { f(row) } else { Ok(None) });
    Ok(Arc::new(values.collect::<Result<StringArray, RowError>>()?))
}

/// Rows whose first argument has a value.
fn try_rows_of(call: &Call<'_>, mut f: impl FnMut(usize) -> Result<Option<String>, RowError>) -> Result<ArrayRef> {
    let values = (0..call.rows).map(|row| if call.args[0].is_valid(row) { f(row) } else { Ok(None) });
    Ok(Arc::new(values.collect::<Result<StringArray, RowError>>()?))
}

fn try_ints(call: &Call<'_>, mut f: impl FnMut(usize) -> Result<i32, RowError>) -> Result<ArrayRef> {
    let values = (0..call.rows).map(|row| if call.complete(row) { f(row).map(Some) } else { Ok(None) });
    Ok(Arc::new(values.collect::<Result<Int32Array, RowError>>()?))
}

fn measure(call: &Call<'_>, f: impl Fn(&str) -> usize) -> ArrayRef {
    Arc::new(call.args[0].as_string::<i32>().iter().map(|text| text.map(|text| f(text) as i32)).collect::<Int32Array>())
}

fn octets(call: &Call<'_>) -> Result<ArrayRef> {
    let values = call.args[0].as_binary::<i32>().iter().map(|bytes| bytes.map(|bytes| bytes.len() as i32));
    Ok(Arc::new(values.collect::<Int32Array>()))
}

/// Only blanks part words.
fn initcap(text: &str) -> String {
    if text.is_ascii() {
        let mut out = text.to_ascii_lowercase();
        let starts: Vec<usize> = (0..out.len()).filter(|at| *at == 0 || text.as_bytes()[at - 1] == b' ').collect();
        starts.into_iter().for_each(|at| out[at..=at].make_ascii_uppercase());
        return out;
    }
    let word = |word: &str| {
        let mut chars = word.chars();
        let Some(first) = chars.next() else { return String::new() };
        // In small letters as a whole: the last one of a word may have a form of its own.
        let small = word.to_lowercase();
        let rest: String = small.chars().skip(first.to_lowercase().count()).collect();
        first.to_uppercase().collect::<String>() + &rest
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

fn trim(call: &Call<'_>, left: bool, right: bool) -> Result<ArrayRef> {
    let sets = call.has(1).then(|| texts_of(call, 1));
    part(call, |row, mut out| {
        let set = sets.map_or(" ", |sets| sets.value(row));
        if left {
            out = out.trim_start_matches(|c| set.contains(c));
        }
        if right {
            out = out.trim_end_matches(|c| set.contains(c));
        }
        out
    })
}

fn reverse(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = texts_of(call, 0);
    written(call, |row, all| all.extend(texts.value(row).chars().rev()))
}

/// The byte where the character of a number (from 0) begins; the end of the text behind the last one.
fn offset_of(all: &str, number: usize) -> usize {
    // Up to there, each character is one byte.
    if all.as_bytes().iter().take(number).all(u8::is_ascii) {
        return number.min(all.len());
    }
    all.char_indices().nth(number).map_or(all.len(), |(at, _)| at)
}

/// First and last position (from 0) of Spark's substring.
fn slice_of(length: i64, position: i64, count: i64) -> (usize, usize) {
    let start = match position {
        0 => 0,
        _ if position > 0 => position - 1,
        _ => length + position,
    };
    let end = start.saturating_add(count.max(0)).clamp(0, length);
    let start = start.clamp(0, length);
    (start as usize, end.max(start) as usize)
}

fn substring(call: &Call<'_>) -> Result<ArrayRef> {
    part(call, |row, all| {
        let count = if call.has(2) { i64::from(int(call, 2, row)) } else { i64::from(i32::MAX) };
        let ascii = all.is_ascii();
        let length = if ascii { all.len() } else { all.chars().count() };
        let (start, end) = slice_of(length as i64, int(call, 1, row).into(), count);
        if ascii { &all[start..end] } else { &all[offset_of(all, start)..offset_of(all, end)] }
    })
}

/// Bytes of a text that a function makes at most.
pub(super) const MAX_TEXT: usize = 64 << 20;

pub(super) fn too_long(length: usize) -> RowError {
    RowError::new("COLLECTION_SIZE_LIMIT_EXCEEDED", format!("a text of {length} is longer than {MAX_TEXT}"))
}

fn substring_bytes(call: &Call<'_>) -> ArrayRef {
    let bytes = call.args[0].as_binary::<i32>();
    let value = |row| {
        let count = if call.has(2) { i64::from(int(call, 2, row)) } else { i64::from(i32::MAX) };
        let all = bytes.value(row);
        let (start, end) = slice_of(all.len() as i64, int(call, 1, row).into(), count);
        &all[start..end]
    };
    Arc::new((0..call.rows).map(|row| call.complete(row).then(|| value(row))).collect::<BinaryArray>())
}

fn pad(call: &Call<'_>, left: bool) -> Result<ArrayRef> {
    let (texts, with) = (texts_of(call, 0), call.has(2).then(|| texts_of(call, 2)));
    try_written(call, |row, out| {
        let (all, with) = (texts.value(row), with.map_or(" ", |with| with.value(row)));
        let width = int(call, 1, row).max(0) as usize;
        let length = if all.is_ascii() { all.len() } else { all.chars().count() };
        if length >= width || with.is_empty() {
            out.push_str(&all[..offset_of(all, width)]);
            return Ok(());
        }
        if width > MAX_TEXT {
            return Err(too_long(width));
        }
        let fill = with.chars().cycle().take(width - length);
        if left {
            out.extend(fill);
            out.push_str(all);
        } else {
            out.push_str(all);
            out.extend(fill);
        }
        Ok(())
    })
}

/// Skips nulls; lists are joined item by item.
fn concat_ws(call: &Call<'_>) -> Result<ArrayRef> {
    let (by, mut builder) = (texts_of(call, 0), StringBuilder::new());
    let mut all = String::new();
    for row in 0..call.rows {
        if by.is_null(row) {
            builder.append_null();
            continue;
        }
        all.clear();
        let mut first = true;
        let mut separate = |all: &mut String| {
            if !std::mem::take(&mut first) {
                all.push_str(by.value(row));
            }
        };
        for arg in &call.args[1..] {
            if arg.is_null(row) || arg.data_type() == &DataType::Null {
                continue;
            }
            match arg.data_type() {
                DataType::Utf8 => {
                    separate(&mut all);
                    all.push_str(arg.as_string::<i32>().value(row));
                }
                DataType::List(_) => {
                    let items = arg.as_list::<i32>().value(row);
                    for i in (0..items.len()).filter(|i| items.is_valid(*i)) {
                        separate(&mut all);
                        write_value(&mut all, &items, i, call.zone)?;
                    }
                }
                _ => {
                    separate(&mut all);
                    write_value(&mut all, arg, row, call.zone)?;
                }
            }
        }
        builder.append_value(&all);
    }
    Ok(Arc::new(builder.finish()))
}

fn split_part(call: &Call<'_>) -> Result<ArrayRef> {
    try_rows(call, |row| {
        let (all, by, part) = (text(call, 0, row), text(call, 1, row), int(call, 2, row));
        if part == 0 {
            return Err(RowError::new("INVALID_INDEX_OF_ZERO", "parts are counted from 1, or from -1 at the end"));
        }
        let parts: Vec<&str> = if by.is_empty() { vec![all] } else { all.split(by).collect() };
        let at = if part > 0 { i64::from(part) - 1 } else { parts.len() as i64 + i64::from(part) };
        Ok(Some(usize::try_from(at).ok().and_then(|at| parts.get(at)).map_or(String::new(), |part| (*part).to_owned())))
    })
}

fn substring_index<'a>(all: &'a str, by: &str, count: i32) -> &'a str {
    if by.is_empty() || count == 0 {
        return "";
    }
    let wanted = count.unsigned_abs() as usize - 1;
    if count > 0 {
        return all.match_indices(by).nth(wanted).map_or(all, |(at, _)| &all[..at]);
    }
    all.rmatch_indices(by).nth(wanted).map_or(all, |(at, _)| &all[at + by.len()..])
}

fn overlay(call: &Call<'_>) -> ArrayRef {
    rows(call, |row| {
        let all: Vec<char> = text(call, 0, row).chars().collect();
        let with = text(call, 1, row);
        let from = int(call, 2, row);
        let length = if call.has(3) { int(call, 3, row) } else { -1 };
        let length = if length >= 0 { length as usize } else { with.chars().count() };
        let start = (i64::from(from) - 1).max(0) as usize;
        let mut out: String = all.iter().take(start).collect();
        out.push_str(with);
        // As substring counts: 0 is the first one, negative places count from the end.
        let (rest, end) = slice_of(all.len() as i64, i64::from(from) + length as i64, i64::from(i32::MAX));
        out.extend(&all[rest..end]);
        Some(out)
    })
}
