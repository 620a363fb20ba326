//! Mistakes in a pipeline file, all of them at once, each with its place and its remedy.

use std::fmt;
use std::sync::Arc;

use tidegate_core::Error;

use super::place::Place;

/// Mistakes shown at most; the rest is counted.
pub const MAX_SHOWN: usize = 50;

/// Characters of a source line shown at most.
const MAX_LINE: usize = 160;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where it stands. `None`: it is about the file as a whole.
    pub place: Option<Place>,
    /// Characters that the caret underlines.
    pub width: usize,
    /// Path of the key: `targets.api.rest.batch.rows`. Empty for the file as a whole.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl Mistake {
    /// A mistake at `place` about `key`.
    pub fn new(place: Place, key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { place: Some(place), width: 1, key: key.into(), message: message.into(), help: None }
    }

    /// A mistake about the file as a whole.
    pub fn of_file(message: impl Into<String>) -> Self {
        Self { place: None, width: 1, key: String::new(), message: message.into(), help: None }
    }

    /// Says what to do.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Underlines `width` characters.
    #[must_use]
    pub fn with_width(mut self, width: usize) -> Self {
        self.width = width.max(1);
        self
    }
}

/// Every mistake of a pipeline file, in the order of the file. `Display` shows each with its line.
#[derive(Clone, Debug)]
pub struct ConfigErrors {
    file_name: String,
    text: Arc<str>,
    mistakes: Vec<Mistake>,
    hidden: Hidden,
}

/// What of the file's text is never shown, because it may be a secret.
#[derive(Clone, Debug, Default)]
pub(super) struct Hidden {
    /// From the first place (included) to the second (excluded).
    pub ranges: Vec<(Place, Place)>,
    /// The structure is unknown (the YAML is broken): whatever follows a word such as `password` is hidden.
    pub by_words: bool,
}

/// Words that announce a secret in a file whose structure is unknown.
const SECRET_WORDS: [&str; 8] = ["auth:", "bearer", "basic", "password", "authorization", "token", "secret", "api_key"];

impl ConfigErrors {
    /// Sorts `mistakes` by place; `text` is the file's text.
    pub fn new(file_name: &str, text: Arc<str>, mut mistakes: Vec<Mistake>) -> Self {
        mistakes.sort_by_key(|mistake| mistake.place);
        mistakes.dedup();
        Self { file_name: file_name.to_owned(), text, mistakes, hidden: Hidden::default() }
    }

    /// Never shows what is `hidden`.
    pub(super) fn hiding(mut self, hidden: Hidden) -> Self {
        self.hidden = hidden;
        self
    }

    /// The mistakes, in the order of the file.
    pub fn mistakes(&self) -> &[Mistake] {
        &self.mistakes
    }

    fn write_one(&self, f: &mut fmt::Formatter<'_>, mistake: &Mistake) -> fmt::Result {
        f.write_str(&self.file_name)?;
        if let Some(place) = mistake.place {
            write!(f, ":{place}")?;
        }
        f.write_str(": ")?;
        if !mistake.key.is_empty() {
            write!(f, "{}: ", mistake.key)?;
        }
        writeln!(f, "{}", mistake.message)?;
        if let Some(place) = mistake.place {
            self.write_line(f, mistake, place)?;
        }
        if let Some(help) = &mistake.help {
            writeln!(f, "  help: {help}")?;
        }
        Ok(())
    }

    fn write_line(&self, f: &mut fmt::Formatter<'_>, mistake: &Mistake, place: Place) -> fmt::Result {
        let Some(line) = self.text.lines().nth(place.line.saturating_sub(1)) else { return Ok(()) };
        let mut line: Vec<char> = line.trim_end().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let before = place.line.checked_sub(2).and_then(|index| self.text.lines().nth(index));
        self.hidden.mask(place.line, before.unwrap_or(""), &mut line);
        let at = place.column.saturating_sub(1).min(line.len());
        let from = if at > MAX_LINE * 3 / 4 { at - MAX_LINE / 2 } else { 0 };
        let to = line.len().min(from + MAX_LINE);
        let shown: String = line[from..to].iter().collect();
        let width = (at + mistake.width).min(to.max(at + 1)) - at;
        let at = at - from;
        let number = place.line.to_string();
        writeln!(f, "  {number} | {shown}")?;
        writeln!(f, "  {:gutter$} | {:at$}{}", "", "", "^".repeat(width), gutter = number.len())
    }
}

impl Hidden {
    /// Puts stars over what must not be shown of line `number`, which stands behind the line `before`.
    fn mask(&self, number: usize, before: &str, line: &mut [char]) {
        for (from, to) in self.ranges.iter().filter(|(from, to)| from.line <= number && number <= to.line) {
            let first = if from.line == number { from.column - 1 } else { 0 };
            let last = if to.line == number { to.column - 1 } else { line.len() };
            stars(line, first, last);
        }
        if self.by_words {
            let text: String = line.iter().map(char::to_ascii_lowercase).collect();
            let opened = before.trim_end_matches([' ', '\r', '|', '>', '-']).to_ascii_lowercase();
            let goes_on =
                SECRET_WORDS.iter().any(|word| opened.trim_end_matches(':').ends_with(word.trim_end_matches(':')));
            let word = SECRET_WORDS.iter().filter_map(|word| text.find(word).map(|at| at + word.len())).min();
            let word = if goes_on { Some(0) } else { word.or_else(|| text.contains('@').then_some(0)) };
            if let Some(end) = word {
                let first = text[..end].chars().count();
                stars(line, first, line.len());
            }
        }
    }
}

fn stars(line: &mut [char], first: usize, last: usize) {
    let last = last.min(line.len());
    if let Some(range) = line.get_mut(first.min(last)..last) {
        range.fill('*');
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, mistake) in self.mistakes.iter().take(MAX_SHOWN).enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            self.write_one(f, mistake)?;
        }
        match self.mistakes.len().saturating_sub(MAX_SHOWN) {
            0 => Ok(()),
            more => writeln!(f, "\n... and {more} more"),
        }
    }
}

impl std::error::Error for ConfigErrors {}

impl From<ConfigErrors> for Error {
    fn from(errors: ConfigErrors) -> Self {
        Self::invalid(errors.to_string().trim_end())
    }
}
