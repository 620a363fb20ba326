//! Columns of JSON records, inferred as Spark does: names in alphabetical order, whole numbers are `bigint`.

use std::collections::BTreeMap;

use serde_json::Value;
use tidegate_core::types::SqlType;

/// What all values of a key have in common.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Shape {
    /// Nothing but null.
    #[default]
    Null,
    /// `boolean`
    Boolean,
    /// `bigint`
    Whole,
    /// `decimal(20,0)`: whole numbers beyond bigint.
    Large,
    /// `double`
    Double,
    /// `string`; also what has several types.
    Text,
    /// `array`
    List(Box<Shape>),
    /// `struct`
    Object(BTreeMap<String, Shape>),
}

impl Shape {
    /// The shape of one value.
    pub fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::Boolean,
            Value::Number(number) if number.is_i64() => Self::Whole,
            Value::Number(number) if number.is_u64() => Self::Large,
            Value::Number(_) => Self::Double,
            Value::String(_) => Self::Text,
            Value::Array(items) => Self::List(Box::new(items.iter().map(Self::of).fold(Self::Null, Self::with))),
            Value::Object(fields) => {
                Self::Object(fields.iter().map(|(name, value)| (name.clone(), Self::of(value))).collect())
            }
        }
    }

    /// The shape that both fit.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        match (self, other) {
            (Self::Null, shape) | (shape, Self::Null) => shape,
            (Self::List(a), Self::List(b)) => Self::List(Box::new(a.with(*b))),
            (Self::Object(mut a), Self::Object(b)) => {
                for (name, shape) in b {
                    let known = a.remove(&name).unwrap_or_default();
                    a.insert(name, known.with(shape));
                }
                Self::Object(a)
            }
            (a, b) if a == b => a,
            (Self::Whole, Self::Large) | (Self::Large, Self::Whole) => Self::Large,
            (Self::Whole | Self::Large | Self::Double, Self::Whole | Self::Large | Self::Double) => Self::Double,
            _ => Self::Text,
        }
    }

    /// The type of a column.
    pub fn sql_type(&self) -> SqlType {
        match self {
            Self::Null | Self::Text => SqlType::String,
            Self::Boolean => SqlType::Boolean,
            Self::Whole => SqlType::BigInt,
            Self::Large => SqlType::Decimal { precision: 20, scale: 0 },
            Self::Double => SqlType::Double,
            Self::List(item) => SqlType::Array(Box::new(item.sql_type())),
            Self::Object(fields) if fields.is_empty() => SqlType::String,
            Self::Object(fields) => {
                SqlType::Struct(fields.iter().map(|(name, shape)| (name.clone(), shape.sql_type())).collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inferred(lines: &[&str]) -> String {
        let values = lines.iter().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let shape = values.map(|value| Shape::of(&value)).fold(Shape::Null, Shape::with);
        tidegate_core::types::spark_name(&shape.sql_type().to_arrow())
    }

    #[test]
    fn types_grow_with_what_is_seen() {
        for (lines, ty) in [
            (&["{\"b\":1,\"a\":\"x\"}", "{\"b\":2.5}"][..], "struct<a:string,b:double>"),
            (&["{\"a\":null}", "{\"a\":[1,null]}"], "struct<a:array<bigint>>"),
            (&["{\"a\":[]}", "{\"a\":[{\"x\":true}]}"], "struct<a:array<struct<x:boolean>>>"),
            (&["{\"a\":1}", "{\"a\":\"1\"}"], "struct<a:string>"),
            (&["{\"a\":1}", "{\"a\":18446744073709551615}"], "struct<a:decimal(20,0)>"),
            (&["{\"a\":{}}"], "struct<a:string>"),
            (&["{\"a\":null}"], "struct<a:string>"),
        ] {
            assert_eq!(inferred(lines), ty, "{lines:?}");
        }
    }
}
