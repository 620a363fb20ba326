//! Regular expressions: Java's patterns and replacements.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BooleanArray, ListBuilder, StringBuilder};
use datafusion::error::Result;
use regex::Regex;

use super::super::Call;
use super::{int, text, try_rows};
use crate::dialect::error::RowError;

/// The last compiled pattern: in a column of patterns mostly the same one follows.
#[derive(Default)]
pub(super) struct Patterns {
    last: Option<(String, Regex)>,
}

impl Patterns {
    pub(super) fn get(&mut self, pattern: &str) -> Result<&Regex, RowError> {
        if self.last.as_ref().is_none_or(|(last, _)| last != pattern) {
            let regex = Regex::new(&java_pattern(pattern)).map_err(|error| {
                RowError::new(
                    "INVALID_PARAMETER_VALUE.PATTERN",
                    format!("'{pattern}' is no regular expression: {error}"),
                )
            })?;
            self.last = Some((pattern.to_owned(), regex));
        }
        match &self.last {
            Some((_, regex)) => Ok(regex),
            None => Err(RowError::new("INTERNAL_ERROR", "a pattern is missing")),
        }
    }
}

/// In Java `\\w`, `\\d`, `\\s` and `\\b` know ASCII only.
pub(super) fn java_pattern(java: &str) -> String {
    let mut out = String::with_capacity(java.len() + 8);
    let mut class = 0_usize;
    let mut chars = java.chars();
    while let Some(c) = chars.next() {
        match c {
            '[' => class += 1,
            ']' => class = class.saturating_sub(1),
            '\\' => {
                let Some(next) = chars.next() else { break };
                let (bare, negated) = match next {
                    'w' | 'W' => ("A-Za-z0-9_", next == 'W'),
                    'd' | 'D' => ("0-9", next == 'D'),
                    's' | 'S' => (" \\t\\n\\x0B\\f\\r", next == 'S'),
                    'b' if class == 0 => {
                        out.push_str("(?-u:\\b)");
                        continue;
                    }
                    _ => {
                        out.push('\\');
                        out.push(next);
                        continue;
                    }
                };
                match (class > 0, negated) {
                    (true, false) => out.push_str(bare),
                    (_, true) => out.push_str(&format!("[^{bare}]")),
                    (false, false) => out.push_str(&format!("[{bare}]")),
                }
                continue;
            }
            _ => {}
        }
        out.push(c);
    }
    out
}

pub(super) fn rlike(call: &Call<'_>) -> Result<ArrayRef> {
    let mut patterns = Patterns::default();
    let values = (0..call.rows).map(|row| {
        if !call.complete(row) {
            return Ok(None);
        }
        Ok(Some(patterns.get(text(call, 1, row))?.is_match(text(call, 0, row))))
    });
    Ok(Arc::new(values.collect::<Result<BooleanArray, RowError>>()?))
}

/// Java writes a group as `$1` and quotes with a backslash.
pub(super) fn replacement(java: &str, groups: usize) -> String {
    let mut out = String::with_capacity(java.len() + 4);
    let mut chars = java.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('$') => out.push_str("$$"),
                Some(next) => out.push(next),
                None => {}
            },
            '$' => {
                let mut number = 0;
                while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
                    let next = number * 10 + digit as usize;
                    if number > 0 && next >= groups {
                        break;
                    }
                    number = next;
                    chars.next();
                }
                out.push_str(&format!("${{{number}}}"));
            }
            _ => out.push(c),
        }
    }
    out
}

pub(super) fn regexp_replace(call: &Call<'_>) -> Result<ArrayRef> {
    let mut patterns = Patterns::default();
    let mut last: Option<(String, String)> = None;
    try_rows(call, |row| {
        let regex = patterns.get(text(call, 1, row))?;
        let java = text(call, 2, row);
        if last.as_ref().is_none_or(|(known, _)| known != java) {
            last = Some((java.to_owned(), replacement(java, regex.captures_len())));
        }
        let with = last.as_ref().map_or("", |(_, with)| with.as_str());
        Ok(Some(regex.replace_all(text(call, 0, row), with).into_owned()))
    })
}

pub(super) fn group_of(call: &Call<'_>, row: usize, regex: &Regex) -> Result<usize, RowError> {
    let group = if call.has(2) { int(call, 2, row) } else { 1 };
    let count = regex.captures_len() - 1;
    if group < 0 || group as usize > count {
        let message = format!("the pattern has {count} groups, group {group} is asked for");
        return Err(RowError::new("INVALID_PARAMETER_VALUE.REGEX_GROUP_INDEX", message));
    }
    Ok(group as usize)
}

pub(super) fn regexp_extract(call: &Call<'_>) -> Result<ArrayRef> {
    let mut patterns = Patterns::default();
    try_rows(call, |row| {
        let regex = patterns.get(text(call, 1, row))?;
        let group = group_of(call, row, regex)?;
        let found = regex.captures(text(call, 0, row)).and_then(|all| all.get(group).map(|m| m.as_str().to_owned()));
        Ok(Some(found.unwrap_or_default()))
    })
}

pub(super) fn regexp_extract_all(call: &Call<'_>) -> Result<ArrayRef> {
    let mut patterns = Patterns::default();
    let mut builder = ListBuilder::new(StringBuilder::new());
    for row in 0..call.rows {
        if !call.complete(row) {
            builder.append_null();
            continue;
        }
        let regex = patterns.get(text(call, 1, row))?;
        let group = group_of(call, row, regex)?;
        for all in regex.captures_iter(text(call, 0, row)) {
            builder.values().append_value(all.get(group).map_or("", |m| m.as_str()));
        }
        builder.append(true);
    }
    Ok(Arc::new(builder.finish()))
}

pub(super) fn split(call: &Call<'_>) -> Result<ArrayRef> {
    let mut patterns = Patterns::default();
    let mut builder = ListBuilder::new(StringBuilder::new());
    for row in 0..call.rows {
        if !call.complete(row) {
            builder.append_null();
            continue;
        }
        let (all, pattern) = (text(call, 0, row), text(call, 1, row));
        let limit = if call.has(2) { int(call, 2, row) } else { -1 };
        let regex = patterns.get(pattern)?;
        let mut from = 0;
        let mut parts = 1;
        for found in regex.find_iter(all) {
            if limit > 0 && parts >= limit {
                break;
            }
            // Java drops an empty part in front of an empty match, and an empty match at the end.
            if found.is_empty() && (found.start() == 0 || found.start() == all.len()) {
                continue;
            }
            builder.values().append_value(&all[from..found.start()]);
            from = found.end();
            parts += 1;
        }
        builder.values().append_value(&all[from..]);
        builder.append(true);
    }
    Ok(Arc::new(builder.finish()))
}
