//! Texts in other texts: where they stand, and what is put in their place.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int32Array};
use datafusion::arrow::datatypes::Int32Type;
use datafusion::error::Result;
use memchr::memmem::Finder;

use super::column::{compared, counted, texts as texts_of, written};
use super::{int, offset_of};
use crate::dialect::functions::Call;

/// A search for one text after the other, mostly for the same.
#[derive(Default)]
struct Search(Option<Finder<'static>>);

impl Search {
    fn of(&mut self, wanted: &str) -> &Finder<'static> {
        if self.0.as_ref().is_some_and(|finder| finder.needle() != wanted.as_bytes()) {
            self.0 = None;
        }
        self.0.get_or_insert_with(|| Finder::new(wanted).into_owned())
    }
}

pub(super) fn contains(call: &Call<'_>) -> ArrayRef {
    let search = RefCell::new(Search::default());
    compared(call, |all, wanted| search.borrow_mut().of(wanted).find(all.as_bytes()).is_some())
}

/// Where a text stands in another, counted from 1 in characters; 0 if nowhere.
pub(super) fn find(call: &Call<'_>, within: usize, wanted: usize) -> ArrayRef {
    // Without a start nothing is found, not even in NULL.
    let start_missing = |row: usize| call.has(2) && call.args[2].is_null(row);
    let (all, wanted, search) = (texts_of(call, within), texts_of(call, wanted), RefCell::new(Search::default()));
    let found = counted(call, |row| {
        let (all, wanted) = (all.value(row), wanted.value(row));
        let start = if call.has(2) { int(call, 2, row) } else { 1 };
        if start < 1 {
            return 0;
        }
        let skip = offset_of(all, start as usize - 1);
        if skip == all.len() && all.chars().count() < start as usize - 1 {
            return 0;
        }
        let found = search.borrow_mut().of(wanted).find(&all.as_bytes()[skip..]);
        found.map_or(0, |at| all[..skip + at].chars().count() as i32 + 1)
    });
    if !(0..call.rows).any(start_missing) {
        return found;
    }
    let places = found.as_primitive::<Int32Type>();
    let value = |row| if start_missing(row) { Some(0) } else { places.is_valid(row).then(|| places.value(row)) };
    Arc::new((0..call.rows).map(value).collect::<Int32Array>())
}

pub(super) fn replace(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, from, to) = (texts_of(call, 0), texts_of(call, 1), call.has(2).then(|| texts_of(call, 2)));
    let mut search = Search::default();
    written(call, |row, out| {
        let (all, from, to) = (texts.value(row), from.value(row), to.map_or("", |to| to.value(row)));
        if from.is_empty() {
            return out.push_str(all);
        }
        let mut done = 0;
        for at in search.of(from).find_iter(all.as_bytes()) {
            out.push_str(&all[done..at]);
            out.push_str(to);
            done = at + from.len();
        }
        out.push_str(&all[done..]);
    })
}

/// What `translate` makes of each character.
struct Letters {
    from: String,
    to: String,
    /// For those of one byte; `None` leaves one out.
    ascii: Vec<Option<char>>,
    others: HashMap<char, Option<char>>,
}

impl Letters {
    fn new(from: &str, to: &str) -> Self {
        let mut ascii: Vec<_> = (0..128_u8).map(|byte| Some(char::from(byte))).collect();
        let (mut others, mut new) = (HashMap::new(), to.chars());
        let mut seen = HashSet::new();
        for c in from.chars() {
            let to = new.next();
            // Of several places the first one counts.
            if !seen.insert(c) {
                continue;
            }
            match ascii.get_mut(c as usize) {
                Some(place) => *place = to,
                None => _ = others.insert(c, to),
            }
        }
        Self { from: from.to_owned(), to: to.to_owned(), ascii, others }
    }

    fn of(&self, c: char) -> Option<char> {
        match self.ascii.get(c as usize) {
            Some(to) => *to,
            None => self.others.get(&c).copied().unwrap_or(Some(c)),
        }
    }
}

pub(super) fn translate(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, from, to) = (texts_of(call, 0), texts_of(call, 1), texts_of(call, 2));
    // Mostly all rows have the same letters.
    let mut letters = Letters::new("", "");
    written(call, |row, out| {
        let (from, to) = (from.value(row), to.value(row));
        if letters.from != from || letters.to != to {
            letters = Letters::new(from, to);
        }
        out.extend(texts.value(row).chars().filter_map(|c| letters.of(c)));
    })
}
