//! Places in the pipeline file, and the way from a text inside it (SQL) back to the file.

use std::fmt;

/// A place in the file. Lines and columns begin at 1; columns count characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1, in characters.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Where each character of a text stands in the file, as runs.
///
/// A text is not copied from the file as it stands: indentation, escapes and values of the environment come between.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextMap {
    runs: Vec<Run>,
    length: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Run {
    /// First character of the text that belongs to the run.
    at: usize,
    /// Its place.
    place: Place,
    /// Every character of the run stands at `place` (a value of the environment), not one behind the other.
    fixed: bool,
}

impl TextMap {
    /// Adds one character that stands at `place`.
    pub(super) fn push(&mut self, place: Place) {
        let goes_on = self.runs.last().is_some_and(|run| {
            !run.fixed && run.place.line == place.line && run.place.column + (self.length - run.at) == place.column
        });
        if !goes_on {
            self.runs.push(Run { at: self.length, place, fixed: false });
        }
        self.length += 1;
    }

    /// Adds `characters` that all come from what stands at `place`.
    pub(super) fn push_fixed(&mut self, place: Place, characters: usize) {
        if characters > 0 {
            self.runs.push(Run { at: self.length, place, fixed: true });
            self.length += characters;
        }
    }

    /// Where the text begins.
    pub fn start(&self) -> Place {
        self.runs.first().map(|run| run.place).unwrap_or(Place { line: 1, column: 1 })
    }

    /// The place of `line` and `column` (from 1, in characters) of `text`, the text that this map was made for.
    /// What lies behind the end of the text is shown at its end.
    pub fn place(&self, text: &str, line: usize, column: usize) -> Place {
        self.place_of(character_index(text, line, column))
    }

    /// The place of a character, counted from 0.
    pub(super) fn place_of(&self, index: usize) -> Place {
        let index = index.min(self.length);
        let after = self.runs.partition_point(|run| run.at <= index);
        let Some(run) = after.checked_sub(1).and_then(|i| self.runs.get(i)) else { return self.start() };
        let ahead = if run.fixed { 0 } else { index - run.at };
        Place { line: run.place.line, column: run.place.column + ahead }
    }
}

/// How many characters stand before `line` and `column` (from 1) of `text`. A column behind the line's end is the end.
fn character_index(text: &str, line: usize, column: usize) -> usize {
    let mut index = 0;
    for (number, content) in text.split('\n').enumerate() {
        let length = content.chars().count();
        if number + 1 == line.max(1) {
            return index + column.saturating_sub(1).min(length);
        }
        index += length + 1;
    }
    index.saturating_sub(1)
}
