//! DataFusion's complaints as messages for the author of a query.

use datafusion::common::{Column, SchemaError};
use datafusion::error::DataFusionError;
use tidegate_core::Error;

use crate::api::{Part, PlanError};

/// A mistake of `part`, with its place where the planner knows it.
pub(crate) fn mistakes(part: &Part, error: &DataFusionError) -> Vec<PlanError> {
    if let DataFusionError::Collection(errors) = error {
        return errors.iter().flat_map(|error| mistakes(part, error)).collect();
    }
    vec![PlanError { part: part.clone(), error: explained(error), location: location(error) }]
}

/// A mistake without a known place.
pub(crate) fn mistake(part: &Part, error: Error) -> PlanError {
    PlanError { part: part.clone(), error, location: None }
}

fn location(error: &DataFusionError) -> Option<(usize, usize)> {
    let mut at = Some(error);
    while let Some(error) = at {
        at = match error {
            DataFusionError::Diagnostic(diagnostic, inner) => {
                if let Some(span) = diagnostic.span {
                    return Some((span.start.line as usize, span.start.column as usize));
                }
                Some(inner)
            }
            DataFusionError::Context(_, inner) => Some(inner),
            DataFusionError::Shared(inner) => Some(inner),
            _ => None,
        };
    }
    None
}

fn explained(error: &DataFusionError) -> Error {
    match error {
        DataFusionError::Diagnostic(_, inner) | DataFusionError::Context(_, inner) => explained(inner),
        DataFusionError::Shared(inner) => explained(inner),
        DataFusionError::SchemaError(schema, _) => of_schema(schema),
        DataFusionError::Plan(message) if message.contains("require unique expression names") => {
            let given = message.split("the expression \"").nth(1).and_then(|rest| rest.split("\" at position").next());
            let given = given.unwrap_or_default();
            let name = given.rsplit_once(" AS ").or_else(|| given.rsplit_once('.')).map_or(given, |(_, name)| name);
            Error::invalid(format!("two columns of the result are called '{name}'"))
                .with_help("give one of them another name with AS: a row of JSON has each name once")
        }
        DataFusionError::Plan(message) => Error::invalid(first_line(message)),
        DataFusionError::NotImplemented(message) => {
            Error::invalid(format!("not supported yet: {}", first_line(message)))
        }
        other => Error::invalid(first_line(&other.strip_backtrace())),
    }
}

fn first_line(text: &str) -> String {
    let text = text.split("\n\nbacktrace:").next().unwrap_or_default().trim();
    text.strip_prefix("Error during planning: ").unwrap_or(text).to_owned()
}

fn of_schema(error: &SchemaError) -> Error {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => unknown_column(field, valid_fields),
        SchemaError::AmbiguousReference { field } => {
            Error::invalid(format!("column '{}' is ambiguous", field.flat_name()))
                .with_help("put the table's name and a dot in front of it")
        }
        other => Error::invalid(other.to_string()),
    }
}

fn unknown_column(field: &Column, valid: &[Column]) -> Error {
    let error = Error::invalid(format!("there is no column '{}'", field.flat_name()));
    let names: Vec<&str> = valid.iter().map(|column| column.name.as_str()).collect();
    match did_you_mean(&field.name, &names) {
        Some(name) => error.with_help(format!("did you mean '{name}'?")),
        None if names.is_empty() => error,
        None => error.with_help(format!("columns here are {}", names.join(", "))),
    }
}

/// The name that `wanted` was probably meant to be.
pub(crate) fn did_you_mean<'a>(wanted: &str, names: &[&'a str]) -> Option<&'a str> {
    let wanted = wanted.to_lowercase();
    let (distance, name) =
        names.iter().map(|name| (edits(&wanted, &name.to_lowercase()), *name)).min_by_key(|(distance, _)| *distance)?;
    (distance <= 1 + wanted.chars().count() / 4).then_some(name)
}

/// How many letters must be changed, added or dropped to get from one to the other.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let changed = corner + usize::from(from != *to);
            corner = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_names_are_suggested() {
        assert_eq!(did_you_mean("amuont", &["branch", "amount"]), Some("amount"));
        assert_eq!(did_you_mean("Ts", &["branch", "ts"]), Some("ts"));
        assert_eq!(did_you_mean("completely", &["branch", "ts"]), None);
        assert_eq!(edits("kitten", "sitting"), 3);
    }
}
