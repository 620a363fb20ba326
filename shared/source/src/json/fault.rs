//! Why a record was rejected, kept small until somebody asks for the text.

use crate::envelope::shortened;
use crate::scan::{self, Syntax};

/// The result of reading a part of a record. The error is boxed: it is rare, and the index is not.
pub(crate) type Read<T> = Result<T, Box<Fault>>;

/// What is wrong with a record.
#[derive(Debug)]
pub(crate) struct Fault {
    at: usize,
    kind: Kind,
    /// Path of the column, innermost name first.
    path: Vec<String>,
}

#[derive(Debug)]
enum Kind {
    Syntax(&'static str),
    /// The value at `at` does not fit the type.
    Misfit(String),
    NoObject,
    Utf8,
    TooManyRows,
}

impl Fault {
    #[cold]
    fn new(at: usize, kind: Kind) -> Box<Self> {
        Box::new(Self { at, kind, path: Vec::new() })
    }

    #[cold]
    pub fn syntax(at: usize, what: &'static str) -> Box<Self> {
        Self::new(at, Kind::Syntax(what))
    }

    #[cold]
    pub fn misfit(at: usize, ty: impl ToString) -> Box<Self> {
        Self::new(at, Kind::Misfit(ty.to_string()))
    }

    #[cold]
    pub fn no_object(at: usize) -> Box<Self> {
        Self::new(at, Kind::NoObject)
    }

    #[cold]
    pub fn utf8(at: usize) -> Box<Self> {
        Self::new(at, Kind::Utf8)
    }

    #[cold]
    pub fn too_many_rows(at: usize) -> Box<Self> {
        Self::new(at, Kind::TooManyRows)
    }

    /// Says within which column, field, item or key it happened. Called from the inside outwards.
    #[cold]
    pub fn within(mut self: Box<Self>, name: String) -> Box<Self> {
        self.path.push(name);
        self
    }

    /// The text for the dead letter.
    pub fn reason(&self, b: &[u8]) -> String {
        let at = self.at.min(b.len());
        match &self.kind {
            Kind::Syntax(what) => self.no_json(b, at, what),
            Kind::Misfit(ty) => match scan::skip(b, at, self.path.len()) {
                Ok(end) => format!("column '{}': {} does not fit {ty}", self.column(), shortened(&b[at..end])),
                Err(e) => self.no_json(b, e.at.min(b.len()), e.what),
            },
            Kind::NoObject => match scan::skip(b, at, 0) {
                Ok(end) => format!("the record is no JSON object but {}", shortened(&b[at..end])),
                Err(e) => self.no_json(b, e.at.min(b.len()), e.what),
            },
            Kind::Utf8 => format!("the record is no UTF-8 text: byte {at} is wrong"),
            Kind::TooManyRows => format!("the record is an array of more than {} objects", super::MAX_ROWS_PER_RECORD),
        }
    }

    fn no_json(&self, b: &[u8], at: usize, what: &str) -> String {
        let near = shortened(&b[at..b.len().min(at + 20)]);
        let place = if near.is_empty() { "at its end".to_owned() } else { format!("at byte {at}, near '{near}'") };
        format!("the record is no JSON: {what} {place}")
    }

    /// `a.b[].c`.
    fn column(&self) -> String {
        let mut text = String::new();
        for name in self.path.iter().rev() {
            if !text.is_empty() && !name.starts_with('[') {
                text.push('.');
            }
            text.push_str(name);
        }
        text
    }
}

impl From<Syntax> for Box<Fault> {
    #[cold]
    fn from(e: Syntax) -> Self {
        Fault::syntax(e.at, e.what)
    }
}
