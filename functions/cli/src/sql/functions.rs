//! `tidegate sql --functions`: what there is.

use serde_json::json;
use tidegate_core::{Error, Result};
use tidegate_engine::dialect::reference::{Entry, Support, entries, find};

use crate::output;

/// The widest form that the list makes room for.
const FORM_WIDTH: usize = 44;

/// Prints all that are supported, or everything that is known of one.
pub fn print(name: Option<&str>, json: bool) -> Result<()> {
    let Some(name) = name else {
        return entries().filter(|entry| json || entry.support != Support::No).try_for_each(|entry| {
            output::line(&if json { as_json(&entry) } else { format!("{:FORM_WIDTH$} {}", entry.form, entry.line) })
        });
    };
    let entry = find(name).map_err(|near| {
        let error = Error::invalid(format!("Spark has no built-in function or operator '{name}'"));
        error.with_help(match near {
            Some(near) => format!("did you mean '{near}'?"),
            None => "tidegate sql --functions lists them".to_owned(),
        })
    })?;
    if json {
        return output::line(&as_json(&entry));
    }
    output::line(entry.form)?;
    if !entry.line.is_empty() {
        output::line(&format!("  {}", entry.line))?;
    }
    output::line(&format!("  supported: {}", entry.support.word()))?;
    match entry.example {
        Some((query, answer)) => output::line(&format!("  {query}\n    {answer}")),
        None => Ok(()),
    }
}

fn as_json(entry: &Entry) -> String {
    json!({
        "name": entry.name,
        "group": entry.group,
        "supported": entry.support.word(),
        "form": entry.form,
        "does": entry.line,
        "example": entry.example.map(|(query, _)| query),
        "answer": entry.example.map(|(_, answer)| answer),
    })
    .to_string()
}
