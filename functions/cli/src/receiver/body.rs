//! Bodies of requests as rows. A row stays the text that came in: numbers keep every digit.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

/// The field that holds the rows where the body is an object around them.
const ROWS_FIELD: &str = "rows";

/// The rows of a body. `id_field` is the field that holds the request's id, if it travels in the body: it is not
/// part of a row. The error is a message for the sender.
pub fn rows(body: &[u8], id_field: Option<&str>) -> Result<Vec<String>, String> {
    let values = values(body)?;
    if let [only] = values.as_slice() {
        if only.get().starts_with('[') {
            return Ok(elements(only)?.into_iter().map(|row| one_line(row.get())).collect());
        }
        if let Some(id_field) = id_field {
            return wrapped_rows(only, id_field);
        }
    }
    Ok(values.into_iter().map(|row| one_line(row.get())).collect())
}

/// The id in a body, where it travels in `field`.
pub fn id(body: &[u8], field: &str) -> Result<String, String> {
    let values = values(body)?;
    let [only] = values.as_slice() else {
        return Err(format!("the body is not one object with the field '{field}'"));
    };
    match self::field(only.get(), field) {
        Some(id) => Ok(id),
        None => Err(format!("the body has no field '{field}'")),
    }
}

/// A field of a row: a string's content, or the JSON text of anything else.
pub fn field(row: &str, name: &str) -> Option<String> {
    let object: Object<'_> = serde_json::from_str(row).ok()?;
    let (_, value) = object.0.into_iter().rev().find(|(key, _)| key == name)?;
    serde_json::from_str::<String>(value.get()).ok().or_else(|| Some(value.get().to_owned()))
}

/// All JSON values that follow each other in `body`.
fn values(body: &[u8]) -> Result<Vec<&RawValue>, String> {
    let values: Result<Vec<_>, _> = serde_json::Deserializer::from_slice(body).into_iter::<&RawValue>().collect();
    match values {
        Ok(values) if values.is_empty() => Err("the body is empty".to_owned()),
        Ok(values) => Ok(values),
        Err(error) => Err(format!("the body is no JSON: {error}")),
    }
}

fn elements(array: &RawValue) -> Result<Vec<&RawValue>, String> {
    serde_json::from_str(array.get()).map_err(|error| format!("the body is no JSON array: {error}"))
}

/// The rows inside `{ID_FIELD: id, "rows": [...]}`, or the object without its id as the only row.
fn wrapped_rows(object: &RawValue, id_field: &str) -> Result<Vec<String>, String> {
    let fields: Object<'_> =
        serde_json::from_str(object.get()).map_err(|error| format!("the body is no JSON object: {error}"))?;
    let rest: Vec<_> = fields.0.into_iter().filter(|(name, _)| name != id_field).collect();
    if let [(name, rows)] = rest.as_slice()
        && name == ROWS_FIELD
        && rows.get().starts_with('[')
    {
        return Ok(elements(rows)?.into_iter().map(|row| one_line(row.get())).collect());
    }
    let mut row = String::with_capacity(object.get().len());
    for (name, value) in rest {
        row.push(if row.is_empty() { '{' } else { ',' });
        row.push_str(&serde_json::Value::from(name.as_ref()).to_string());
        row.push(':');
        row.push_str(value.get());
    }
    if row.is_empty() {
        row.push('{');
    }
    row.push('}');
    Ok(vec![one_line(&row)])
}

/// Line breaks stand only between the tokens of a JSON text: a space does the same.
fn one_line(row: &str) -> String {
    if row.contains(['\n', '\r']) { row.replace(['\n', '\r'], " ") } else { row.to_owned() }
}

/// The fields of an object in their order, values as text.
struct Object<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    fields.push((Cow::Owned(name), value));
                }
                Ok(Object(fields))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_every_shape() {
        let all = |body: &str| rows(body.as_bytes(), None).unwrap();
        assert_eq!(all(r#"[{"a":1.10},{"a":2}]"#), [r#"{"a":1.10}"#, r#"{"a":2}"#]);
        assert_eq!(all("{\"a\":1}\n{\"a\":2}\n"), [r#"{"a":1}"#, r#"{"a":2}"#]);
        assert_eq!(all(r#" {"a":1} "#), [r#"{"a":1}"#]);
        assert_eq!(all("[{\"a\":\n1}]"), [r#"{"a": 1}"#]);
        assert_eq!(all("[]"), Vec::<String>::new());
        for wrong in ["", "  ", "[1,", "{\"a\"", "\u{fe}"] {
            assert!(rows(wrong.as_bytes(), None).is_err(), "{wrong}");
        }
        assert!(rows(b"[\"\xff\"]", None).is_err());
    }

    #[test]
    fn the_id_is_no_part_of_a_row() {
        let wrapped = br#"{"request_id":"x/1","rows":[{"a":1},{"a":12345678901234567890.10}]}"#;
        assert_eq!(id(wrapped, "request_id").unwrap(), "x/1");
        assert_eq!(rows(wrapped, Some("request_id")).unwrap(), [r#"{"a":1}"#, r#"{"a":12345678901234567890.10}"#]);
        let single = br#"{"a":1.50,"request_id":"x/2","b\"c":null}"#;
        assert_eq!(rows(single, Some("request_id")).unwrap(), [r#"{"a":1.50,"b\"c":null}"#]);
        assert_eq!(rows(br#"{"request_id":"x"}"#, Some("request_id")).unwrap(), ["{}"]);
        assert!(id(b"[1]", "request_id").is_err());
        assert!(id(b"{}{}", "request_id").is_err());
    }

    #[test]
    fn fields_compare_by_content() {
        assert_eq!(field(r#"{"a":"K\u0061zan"}"#, "a").as_deref(), Some("Kazan"));
        assert_eq!(field(r#"{"a":-1.0}"#, "a").as_deref(), Some("-1.0"));
        assert_eq!(field(r#"{"a":null}"#, "a").as_deref(), Some("null"));
        assert_eq!(field(r#"{"a":1}"#, "b"), None);
        assert_eq!(field("3", "b"), None);
    }
}
