//! `${NAME}` and `${NAME:-default}` in values. `$${` stands for `${`.
//!
//! Values are filled in after the YAML was read: what the environment says can never change the structure.

use super::place::{Place, TextMap};

/// A value with the environment filled in.
pub(super) struct Filled {
    /// The value.
    pub text: String,
    /// From the value to the file.
    pub map: TextMap,
    /// Whether any of it came from the environment.
    pub from_environment: bool,
}

/// What is wrong with a `${...}`.
pub(super) struct Wrong {
    /// Where the `${` stands.
    pub place: Place,
    /// Characters of the `${...}`.
    pub width: usize,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: String,
}

/// Fills `raw`, whose characters stand at `places`, from `env`.
pub(super) fn fill(raw: &str, places: &TextMap, env: &dyn Fn(&str) -> Option<String>) -> Result<Filled, Vec<Wrong>> {
    if !raw.contains("${") {
        return Ok(Filled { text: raw.to_owned(), map: places.clone(), from_environment: false });
    }
    let mut filled =
        Filled { text: String::with_capacity(raw.len()), map: TextMap::default(), from_environment: false };
    let mut wrong = Vec::new();
    let mut rest = raw;
    let mut at = 0;
    while let Some(c) = rest.chars().next() {
        let place = places.place_of(at);
        let eaten = if rest.starts_with("$${") {
            filled.text.push_str("${");
            filled.map.push_fixed(place, 2);
            3
        } else if let Some(inside) = rest.strip_prefix("${") {
            let close = inside.find('}');
            match expand(inside, close, env) {
                Ok(value) => {
                    filled.map.push_fixed(place, value.chars().count());
                    filled.text.push_str(&value);
                    filled.from_environment = true;
                }
                Err((message, help)) => {
                    let width = close.map_or(2, |close| inside[..close].chars().count() + 3);
                    wrong.push(Wrong { place, width, message, help });
                }
            }
            close.map_or(2, |close| close + 3)
        } else {
            filled.text.push(c);
            filled.map.push(place);
            c.len_utf8()
        };
        at += rest[..eaten].chars().count();
        rest = &rest[eaten..];
    }
    if wrong.is_empty() { Ok(filled) } else { Err(wrong) }
}

fn expand(
    inside: &str,
    close: Option<usize>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<String, (String, String)> {
    let escape = "write ${NAME} or ${NAME:-default}; $${ stands for ${";
    let Some(close) = close else { return Err(("'${' without '}'".to_owned(), escape.to_owned())) };
    let inside = &inside[..close];
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    if !is_variable(name) {
        return Err((format!("'${{{inside}}}' does not name an environment variable"), escape.to_owned()));
    }
    let value = env(name);
    match default {
        Some(default) => Ok(value.filter(|value| !value.is_empty()).unwrap_or_else(|| default.to_owned())),
        None => value.ok_or_else(|| {
            let help = format!("set {name}, or write ${{{name}:-default}}");
            (format!("environment variable {name} is not set"), help)
        }),
    }
}

fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}
