//! Texts as bytes and in other alphabets: character sets, Base64, Base32, URLs.

use std::sync::Arc;

use datafusion::arrow::array::{AsArray, BinaryArray, StringArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::{Cast, Expr};

use super::super::Gives::Type;
use super::super::Takes::{Bytes, Text};
use super::super::{Call, Def};
pub(in super::super) use super::encoding::base64_line;
use super::encoding::{self, base64, unbase64};
use super::{rows, text, try_rows};
use crate::dialect::error::RowError;
use crate::dialect::plan::Planner;

/// Functions with a kernel of their own.
pub(in super::super) const FUNCTIONS: &[Def] = &[
    Def::new(&["base64"], &[Bytes], Type(Text), |c| {
        let values = c.args[0].as_binary::<i32>().iter().map(|b| b.map(base64));
        Ok(Arc::new(values.collect::<StringArray>()))
    }),
    Def::new(&["unbase64"], &[Text], Type(Bytes), |c| {
        let mut out = Vec::with_capacity(c.rows);
        for row in 0..c.rows {
            out.push(if c.complete(row) { Some(unbase64(text(c, 0, row))?) } else { None });
        }
        Ok(Arc::new(out.iter().map(Option::as_deref).collect::<BinaryArray>()))
    }),
    Def::new(&["try_unbase64"], &[Text], Type(Bytes), |c| {
        let value = |row| {
            let text = text(c, 0, row);
            if encoding::is_base64(text) { unbase64(text).ok() } else { None }
        };
        let values = (0..c.rows).map(|row| if c.complete(row) { value(row) } else { None });
        Ok(Arc::new(values.collect::<BinaryArray>()))
    }),
    Def::new(&["encode"], &[Text, Text], Type(Bytes), |c| {
        let value = |row| {
            if !c.complete(row) {
                return Ok(None);
            }
            encoding::to_charset(text(c, 0, row), text(c, 1, row))?.map(Some).ok_or_else(|| malformed(c, row))
        };
        let values = (0..c.rows).map(value).collect::<Result<Vec<_>, RowError>>()?;
        Ok(Arc::new(values.iter().map(Option::as_deref).collect::<BinaryArray>()))
    }),
    Def::new(&["decode_text"], &[Bytes, Text], Type(Text), |c| {
        let bytes = c.args[0].as_binary::<i32>();
        try_rows(c, |row| {
            encoding::from_charset(bytes.value(row), text(c, 1, row))?.map(Some).ok_or_else(|| malformed(c, row))
        })
    }),
    Def::new(&["to_base32"], &[Bytes], Type(Text), |c| {
        let values = c.args[0].as_binary::<i32>().iter().map(|b| b.map(encoding::base32));
        Ok(Arc::new(values.collect::<StringArray>()))
    }),
    Def::new(&["from_base32"], &[Text], Type(Bytes), |c| {
        let values = (0..c.rows).map(|row| c.complete(row).then(|| encoding::unbase32(text(c, 0, row))));
        Ok(Arc::new(values.collect::<BinaryArray>()))
    }),
    Def::new(&["uri_or_raise"], &[Text], Type(Text), |c| {
        try_rows(c, |row| match text(c, 0, row) {
            uri if encoding::is_uri(uri) => Ok(Some(uri.to_owned())),
            other => {
                Err(RowError::new("INVALID_URL", format!("'{other}' is no URL: try_parse_url gives NULL instead")))
            }
        })
    }),
    Def::new(&["uri_or_null"], &[Text], Type(Text), |c| {
        Ok(rows(c, |row| Some(text(c, 0, row)).filter(|uri| encoding::is_uri(uri)).map(str::to_owned)))
    }),
];

fn malformed(call: &Call<'_>, row: usize) -> RowError {
    let message = format!("the value does not fit the character set {}", text(call, 1, row));
    RowError::new("MALFORMED_CHARACTER_CODING", message)
}

/// A part of a URL; `check` raises or gives NULL for what is none.
pub(super) fn parse_url(planner: &Planner<'_>, check: &str, mut args: Vec<Expr>) -> Result<Expr> {
    let Some(parse) = planner.shared.foreign.get("try_parse_url") else { return plan_err!("parse_url is missing") };
    let url = planner.call(check, args.drain(..args.len().min(1)).collect())?;
    let rest = args.into_iter().map(|arg| planner.implicit(arg, Text, "parse_url"));
    let call = parse.call(std::iter::once(Ok(url)).chain(rest).collect::<Result<Vec<_>>>()?);
    Ok(Expr::Cast(Cast::new(Box::new(call), DataType::Utf8)))
}
