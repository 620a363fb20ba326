//! The columns of an object: the record itself, or a struct in it.

use arrow_array::ArrayRef;
use tidegate_core::Result;
use tidegate_core::types::SqlType;

use super::builder::Builder;
use super::fault::{Fault, Read};
use super::keys::{Keys, Place};
use super::value::Context;
use crate::scan;
use crate::schema::{Column, TimestampUnit};

/// The columns of an object and the keys that lead to them.
///
/// All columns have the same length between objects. Within one, a column that was met is one longer than the
/// others: that is how a second value of the same key and a missing key are told.
#[derive(Debug)]
pub(crate) struct Fields {
    keys: Keys,
    pub columns: Vec<Builder>,
}

impl Fields {
    /// The columns of the record.
    pub fn root(columns: &[Column]) -> Self {
        Self {
            keys: Keys::new(columns.iter().map(|column| column.name.as_str())),
            columns: columns
                .iter()
                .map(|column| Builder::new(&column.ty, column.timestamp_unit.unwrap_or_default()))
                .collect(),
        }
    }

    /// The fields of a struct.
    pub fn of_struct(fields: &[(String, SqlType)], unit: TimestampUnit) -> Self {
        Self {
            keys: Keys::new(fields.iter().map(|(name, _)| name.as_str())),
            columns: fields.iter().map(|(_, ty)| Builder::new(ty, unit)).collect(),
        }
    }

    /// Reads the object whose brace stands at `at` as row `row`. Returns the index behind it.
    #[inline]
    pub fn object(&mut self, b: &[u8], at: usize, row: usize, cx: &mut Context) -> Read<usize> {
        let mut met = 0;
        let mut place = Place::START;
        let mut i = scan::blanks(b, at + 1);
        if b.get(i) == Some(&b'}') {
            self.fill(row);
            return Ok(i + 1);
        }
        loop {
            (place, i) = self.key(b, i, place, cx)?;
            match self.keys.column(place) {
                Some(column) => {
                    let builder = &mut self.columns[column];
                    if builder.len() == row {
                        met += 1;
                    } else {
                        // The same key again: the last one wins.
                        builder.truncate(row);
                    }
                    i = match builder.read(b, i, cx) {
                        Ok(end) => end,
                        Err(fault) => return Err(fault.within(self.keys.name(column))),
                    };
                }
                None => i = scan::skip(b, i, cx.depth + 1)?,
            }
            i = scan::blanks(b, i);
            match b.get(i) {
                Some(b',') => i = scan::blanks(b, i + 1),
                Some(b'}') => break,
                _ => return Err(Fault::syntax(i, "a comma or a closing brace is expected")),
            }
        }
        if met < self.columns.len() {
            self.fill(row);
        }
        Ok(i + 1)
    }

    /// Reads a key and its colon. Returns its place and the index of its value.
    #[inline]
    fn key(&mut self, b: &[u8], i: usize, place: Place, cx: &mut Context) -> Read<(Place, usize)> {
        if let Some((next, end)) = self.keys.guess(b, i, place) {
            let end = scan::blanks(b, end);
            if b.get(end) == Some(&b':') {
                return Ok((next, scan::blanks(b, end + 1)));
            }
        }
        let (name, end) = scan::key(b, i)?;
        let next = self.keys.learn(name.resolve(b, &mut cx.scratch), place);
        Ok((next, scan::blanks(b, end)))
    }

    /// Gives every column that was not met a NULL.
    fn fill(&mut self, row: usize) {
        for column in &mut self.columns {
            if column.len() == row {
                column.push_null();
            }
        }
    }

    /// Adds a row of NULLs, for a struct that is NULL.
    pub fn push_nulls(&mut self) {
        self.columns.iter_mut().for_each(Builder::push_null);
    }

    /// Keeps the first `rows` rows.
    pub fn truncate(&mut self, rows: usize) {
        self.columns.iter_mut().for_each(|column| column.truncate(rows));
    }

    /// Makes room for `rows` more.
    pub fn reserve(&mut self, rows: usize) {
        self.columns.iter_mut().for_each(|column| column.reserve(rows));
    }

    /// Hands over the columns and starts anew.
    pub fn take(&mut self) -> Result<Vec<ArrayRef>> {
        self.columns.iter_mut().map(Builder::take).collect()
    }
}
