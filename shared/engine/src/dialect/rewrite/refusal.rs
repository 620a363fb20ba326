//! What is refused, where it stands and what to do instead.

use datafusion::sql::sqlparser::ast::{ObjectName, Spanned};

/// Why a query cannot be rewritten.
#[derive(Debug)]
pub struct Refusal {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// Line and column within the text, counted from 1, where known.
    pub location: Option<(usize, usize)>,
}

impl From<String> for Refusal {
    fn from(message: String) -> Self {
        Self { message, help: None, location: None }
    }
}

impl Refusal {
    /// The same at the place of a function's name, unless a place is known.
    pub(super) fn at(mut self, function: &ObjectName) -> Self {
        let start = function.span().start;
        let place = (start.line > 0).then_some((start.line as usize, start.column as usize));
        self.location = self.location.or(place);
        self
    }
}

/// Functions of Spark's streams that are still to come, and what to write instead.
const NOT_YET: &[(&str, &str)] = &[("session_window", "group by a tumbling window, window(ts, '2 seconds')")];

/// Functions whose values are drawn at random, so that a second run of the same records gives others.
const DRAWN: &[&str] = &["rand", "randn", "random", "randstr", "shuffle", "uniform", "uuid", "uuid7"];

/// Why a function is refused; `None` if it is not.
pub(super) fn of(name: &str) -> Option<Refusal> {
    if let Some((_, instead)) = NOT_YET.iter().find(|(known, _)| *known == name) {
        let message = format!("{name}() is not supported yet");
        return Some(Refusal { help: Some((*instead).to_owned()), ..message.into() });
    }
    if DRAWN.contains(&name) {
        let message = format!(
            "{name}() is not supported: its values are drawn, and a batch that is run again must give the values it \
             gave before"
        );
        let help = "derive them from columns, as in xxhash64(id) or md5(id)";
        return Some(Refusal { help: Some(help.to_owned()), ..message.into() });
    }
    None
}
