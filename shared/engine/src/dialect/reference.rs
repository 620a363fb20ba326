//! What there is: every built-in function and operator of Spark, with what this dialect makes of it.
//!
//! The list is written by the test `reference_is_current`, from the recorded examples of Spark's documentation.

const LIST: &str = include_str!("reference/functions.tsv");

/// How far a function is supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// All documented examples are as in Spark.
    Yes,
    /// Some of them are.
    Partly,
    /// It is refused, or nothing is promised of it.
    No,
}

impl Support {
    /// The word of the list.
    pub fn word(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::Partly => "partly",
            Self::No => "no",
        }
    }
}

/// A function or an operator.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its name in Spark.
    pub name: &'static str,
    /// Its group in Spark's documentation: `string_funcs`.
    pub group: &'static str,
    /// How far it is supported.
    pub support: Support,
    /// How it is called: `abs(x)`. The bare name for what is not described.
    pub form: &'static str,
    /// What it does, in one line; empty for what is not described.
    pub line: &'static str,
    /// A query, and its answer in Spark, where one is recorded that is equal here.
    pub example: Option<(&'static str, &'static str)>,
}

/// All of them, sorted by name.
pub fn entries() -> impl Iterator<Item = Entry> {
    LIST.lines().filter_map(|line| {
        let mut fields = line.split('\t');
        let mut next = || fields.next();
        let (name, group, support, form, line) = (next()?, next()?, next()?, next()?, next()?);
        let support = match support {
            "yes" => Support::Yes,
            "partly" => Support::Partly,
            _ => Support::No,
        };
        let example = next().filter(|query| !query.is_empty()).zip(next());
        Some(Entry { name, group, support, form, line, example })
    })
}

/// The one of a name, in any letter case; otherwise the name that was probably meant.
pub fn find(name: &str) -> Result<Entry, Option<&'static str>> {
    let mut all: Vec<Entry> = entries().collect();
    if let Some(at) = all.iter().position(|entry| entry.name.eq_ignore_ascii_case(name)) {
        return Ok(all.swap_remove(at));
    }
    let names: Vec<&'static str> = all.iter().map(|entry| entry.name).collect();
    Err(crate::plan::mistake::did_you_mean(name, &names))
}
