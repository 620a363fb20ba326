//! Words, letters and how much two texts are alike.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Float64Array, ListBuilder, StringArray, StringBuilder};
use datafusion::arrow::datatypes::DataType;
use datafusion::error::Result;

use super::super::Gives::{Of, Type};
use super::super::Takes::{Double, Int, Text};
use super::super::{Call, Def};
use super::column::counted;
use super::{int, text};
use crate::dialect::types::array_of;

/// Functions with a kernel of their own.
pub(in super::super) const FUNCTIONS: &[Def] = &[
    Def::new(&["mask"], &[Text, Text, Text, Text, Text], Type(Text), |c| Ok(mask(c))).optional(4),
    Def::new(&["instr"], &[Text, Text, Int, Int], Type(Int), |c| Ok(counted(c, |row| instr(c, row)))).optional(2),
    Def::new(&["levenshtein"], &[Text, Text, Int], Type(Int), |c| {
        Ok(counted(c, |row| {
            let distance = levenshtein(text(c, 0, row), text(c, 1, row));
            if c.has(2) && distance > int(c, 2, row) { -1 } else { distance }
        }))
    })
    .optional(1),
    Def::new(&["jaro_winkler_similarity"], &[Text, Text], Type(Double), |c| {
        let value = |row| c.complete(row).then(|| jaro_winkler(text(c, 0, row), text(c, 1, row)));
        Ok(Arc::new((0..c.rows).map(value).collect::<Float64Array>()))
    }),
    Def::new(&["sentences"], &[Text, Text, Text], Of(|_| Ok(array_of(array_of(DataType::Utf8)))), sentences)
        .optional(2),
];

/// Every letter by one of its kind; a NULL keeps letters of its kind.
fn mask(call: &Call<'_>) -> ArrayRef {
    let by = |kind: usize, row: usize| -> Option<char> {
        let default = [None, Some('X'), Some('x'), Some('n'), None][kind];
        match call.args.get(kind) {
            None => default,
            Some(given) if given.is_null(row) || given.data_type() == &DataType::Null => None,
            Some(given) => given.as_string::<i32>().value(row).chars().next(),
        }
    };
    let value = |row: usize| {
        if call.args[0].is_null(row) {
            return None;
        }
        let [upper, lower, digit, other] = [by(1, row), by(2, row), by(3, row), by(4, row)];
        let one = |c: char| match c {
            _ if c.is_uppercase() => upper.unwrap_or(c),
            _ if c.is_lowercase() => lower.unwrap_or(c),
            _ if c.is_ascii_digit() => digit.unwrap_or(c),
            _ => other.unwrap_or(c),
        };
        Some(text(call, 0, row).chars().map(one).collect::<String>())
    };
    Arc::new((0..call.rows).map(value).collect::<StringArray>())
}

/// The place of the nth occurrence, from a start; a negative start looks backwards from there.
fn instr(call: &Call<'_>, row: usize) -> i32 {
    let (all, part) = (text(call, 0, row), text(call, 1, row));
    let start = if call.has(2) { int(call, 2, row) } else { 1 };
    let count = if call.has(3) { int(call, 3, row) } else { 1 };
    if start == 0 || count < 1 {
        return 0;
    }
    if start == 1 && count == 1 {
        return all.find(part).map_or(0, |at| all[..at].chars().count() as i32 + 1);
    }
    let (all, part): (Vec<char>, Vec<char>) = (all.chars().collect(), part.chars().collect());
    let matches = |at: &usize| all[*at..].starts_with(&part);
    let found = if start > 0 {
        (start as usize - 1..=all.len()).filter(matches).nth(count as usize - 1)
    } else {
        let last = all.len() as i64 + i64::from(start);
        (0..=last.max(-1)).rev().map(|at| at as usize).filter(matches).nth(count as usize - 1)
    };
    found.map_or(0, |at| at as i32 + 1)
}

fn levenshtein(a: &str, b: &str) -> i32 {
    let b: Vec<char> = b.chars().collect();
    let mut costs: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut corner = i;
        costs[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let change = corner + usize::from(from != *to);
            corner = costs[j + 1];
            costs[j + 1] = change.min(costs[j] + 1).min(corner + 1);
        }
    }
    costs[b.len()] as i32
}

/// 1 for equal texts, 0 for texts without a common letter. Letters are units of UTF-16, as in Java.
fn jaro_winkler(a: &str, b: &str) -> f64 {
    let (a, b): (Vec<u16>, Vec<u16>) = (a.encode_utf16().collect(), b.encode_utf16().collect());
    if a == b {
        return 1.0;
    }
    let reach = (a.len().max(b.len()) / 2).saturating_sub(1);
    let (mut in_a, mut in_b) = (vec![false; a.len()], vec![false; b.len()]);
    for i in 0..a.len() {
        let near = i.saturating_sub(reach)..(i + reach + 1).min(b.len());
        if let Some(j) = near.clone().find(|j| !in_b[*j] && a[i] == b[*j]) {
            (in_a[i], in_b[j]) = (true, true);
        }
    }
    let kept = |all: &[u16], marks: &[bool]| -> Vec<u16> {
        all.iter().zip(marks).filter(|(_, mark)| **mark).map(|(c, _)| *c).collect()
    };
    let (left, right) = (kept(&a, &in_a), kept(&b, &in_b));
    if left.is_empty() {
        return 0.0;
    }
    let moved = left.iter().zip(&right).filter(|(x, y)| x != y).count() / 2;
    let same = left.len() as f64;
    let jaro = (same / a.len() as f64 + same / b.len() as f64 + (same - moved as f64) / same) / 3.0;
    let prefix = a.iter().zip(&b).take(4).take_while(|(x, y)| x == y).count();
    jaro + prefix as f64 * 0.1 * (1.0 - jaro)
}

/// Sentences end with `.`, `!` or `?`; words are letters, digits and apostrophes.
fn sentences(call: &Call<'_>) -> Result<ArrayRef> {
    let mut builder = ListBuilder::new(ListBuilder::new(StringBuilder::new()));
    for row in 0..call.rows {
        if call.args[0].is_null(row) {
            builder.append_null();
            continue;
        }
        for sentence in sentences_of(text(call, 0, row)) {
            let words = words_of(&sentence);
            if !words.is_empty() {
                words.iter().for_each(|word| builder.values().values().append_value(word));
                builder.values().append(true);
            }
        }
        builder.append(true);
    }
    Ok(Arc::new(builder.finish()))
}

/// A sentence ends with a mark that a blank or the end follows.
fn sentences_of(text: &str) -> Vec<String> {
    let (mut all, mut one) = (vec![], String::new());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        one.push(c);
        if matches!(c, '.' | '!' | '?') && chars.peek().is_none_or(|next| next.is_whitespace()) {
            all.push(std::mem::take(&mut one));
        }
    }
    all.push(one);
    all
}

/// Letters and digits; a point, a comma or an apostrophe between two of them joins them.
fn words_of(sentence: &str) -> Vec<String> {
    let chars: Vec<char> = sentence.chars().collect();
    let solid = |c: char| c.is_alphanumeric() || c == '_';
    let joins = |at: usize| {
        let (Some(before), Some(after)) = (at.checked_sub(1).map(|i| chars[i]), chars.get(at + 1).copied()) else {
            return false;
        };
        match chars[at] {
            '.' | '\'' => {
                (before.is_alphabetic() && after.is_alphabetic()) || (before.is_numeric() && after.is_numeric())
            }
            ',' => before.is_numeric() && after.is_numeric(),
            _ => false,
        }
    };
    let mut words = vec![String::new()];
    for (at, c) in chars.iter().enumerate() {
        match (solid(*c) || joins(at), words.last_mut()) {
            (true, Some(word)) => word.push(*c),
            (false, Some(word)) if !word.is_empty() => words.push(String::new()),
            _ => {}
        }
    }
    words.retain(|word| !word.is_empty());
    words
}
