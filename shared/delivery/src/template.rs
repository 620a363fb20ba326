//! URL and header templates, filled from the columns of a row.

use arrow_array::RecordBatch;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tidegate_core::{Error, Result};

use crate::config::{Template, TemplatePart};
use crate::json::ValueWriter;

/// Bytes of a filled URL at most.
pub const MAX_URL_BYTES: usize = 8_000;
/// Bytes of a filled header value at most.
pub const MAX_HEADER_BYTES: usize = 8_000;

/// Everything but RFC 3986's unreserved characters.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A template bound to a batch.
pub(crate) struct Bound {
    parts: Vec<Part>,
}

enum Part {
    Text(String),
    Column { name: String, values: ValueWriter },
}

impl Bound {
    pub(crate) fn new(template: &Template, batch: &RecordBatch, place: &str) -> Result<Self> {
        let parts = template.parts.iter().map(|part| match part {
            TemplatePart::Text(text) => Ok(Part::Text(text.clone())),
            TemplatePart::Column(name) => {
                let array = column(batch, name, place)?;
                if array.data_type().is_nested() {
                    return Err(Error::invalid(format!("{place}: column '{name}' is a {}", array.data_type()))
                        .with_help("take a column with a single value"));
                }
                Ok(Part::Column { name: name.clone(), values: ValueWriter::new(array, name)? })
            }
        });
        Ok(Self { parts: parts.collect::<Result<_>>()? })
    }

    /// Checks once what fixed text promises: scheme and host are not filled from columns.
    pub(crate) fn check_url(&self) -> Result<()> {
        let Some(Part::Text(first)) = self.parts.first() else {
            return Err(host_from_column());
        };
        let rest = first.split_once("://").map(|(_, rest)| rest).ok_or_else(host_from_column)?;
        if self.has_columns() && !rest.contains(['/', '?']) {
            return Err(host_from_column());
        }
        if self.parts.iter().any(|part| matches!(part, Part::Text(text) if text.contains('#'))) {
            return Err(Error::invalid("url: a fragment ('#') is never sent to a server").with_help("remove it"));
        }
        Ok(())
    }

    pub(crate) fn has_columns(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Column { .. }))
    }

    /// The URL of `row`, or why the row has none.
    pub(crate) fn url(&self, row: usize) -> Result<String, String> {
        let mut url = String::new();
        let mut in_query = false;
        for part in &self.parts {
            match part {
                Part::Text(text) => {
                    in_query |= text.contains('?');
                    url.push_str(text);
                }
                Part::Column { name, values } => {
                    let value = values.text(row).ok_or_else(|| format!("url: column '{name}' is null"))?;
                    if value.is_empty() && !in_query {
                        return Err(format!("url: column '{name}' is empty, which would change the path"));
                    }
                    url.extend(utf8_percent_encode(&value, VALUE));
                }
            }
        }
        let path = url.split('?').next().unwrap_or(&url);
        if self.has_columns() && path.split('/').any(|segment| segment == "." || segment == "..") {
            return Err("url: a value makes a path segment '.' or '..', which would change the path".into());
        }
        if url.len() > MAX_URL_BYTES {
            return Err(format!("url: {} bytes, more than {MAX_URL_BYTES}", url.len()));
        }
        Ok(url)
    }

    /// The header value of `row`; `None` leaves the header out (every place is null); or why the row has none.
    pub(crate) fn header(&self, row: usize, header: &str) -> Result<Option<String>, String> {
        let mut value = String::new();
        let mut any = !self.has_columns();
        for part in &self.parts {
            match part {
                Part::Text(text) => value.push_str(text),
                Part::Column { values, .. } => {
                    if let Some(text) = values.text(row) {
                        any = true;
                        value.push_str(&text);
                    }
                }
            }
        }
        if value.chars().any(|c| c.is_control() && c != '\t') {
            return Err(format!("header {header}: the value has a control character (such as a line break)"));
        }
        if value.len() > MAX_HEADER_BYTES {
            return Err(format!("header {header}: {} bytes, more than {MAX_HEADER_BYTES}", value.len()));
        }
        Ok(any.then_some(value))
    }
}

/// The column called `name`.
pub(crate) fn column<'a>(batch: &'a RecordBatch, name: &str, place: &str) -> Result<&'a arrow_array::ArrayRef> {
    batch.column_by_name(name).ok_or_else(|| {
        let schema = batch.schema();
        let known: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        Error::invalid(format!("{place}: the output has no column '{name}'"))
            .with_help(format!("its columns are {}", known.join(", ")))
    })
}

fn host_from_column() -> Error {
    Error::invalid("url: scheme and host must be fixed text").with_help("write https://host/path/{column}")
}
