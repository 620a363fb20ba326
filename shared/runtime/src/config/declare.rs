//! Declares raw types: one declaration gives the type, its reader, the keys it knows, and its JSON Schema.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::read::{At, Count, Flag, Lasting, Named, Size, Text, format_size, grouped};
use tidegate_core::units::format_duration;

/// What `${NAME}` looks like: it may stand wherever a value stands.
pub(super) const VARIABLE: &str = r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}";

/// A map with fixed keys. `later` names keys of features that are not built yet.
macro_rules! section {
    (
        $(#[doc = $doc:literal])+
        $name:ident {
            $( $(#[doc = $field_doc:literal])+ $need:ident $field:ident : $ty:ty, )*
        }
        $( later { $( $later:literal : $what:literal, )* } )?
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug)]
        pub(super) struct $name {
            $( $(#[doc = $field_doc])+ pub $field: Option<At<$ty>>, )*
        }

        impl $name {
            const KEYS: &'static [Key] = &[
                $( Key { name: $crate::config::declare::key_name(stringify!($field)), required: $crate::config::declare::is_required!($need) }, )*
            ];
            const LATER: &'static [(&'static str, &'static str)] = &[ $( $( ($later, $what), )* )? ];
        }

        impl Read for $name {
            fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
                reader.section(node, Self::KEYS, Self::LATER)?;
                Some(Self {
                    $( $field: reader.field(node, $crate::config::declare::key_name(stringify!($field))), )*
                })
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let mut properties = serde_json::Map::new();
                $(
                    let schema = generator.subschema_for::<$ty>();
                    $crate::config::declare::property(&mut properties, stringify!($field), schema, &[ $( $field_doc ),+ ]);
                )*
                $crate::config::declare::object(properties, Self::KEYS, &[ $( $doc ),+ ])
            }
        }
    };
}

/// A value out of a few words. `later` names words of features that are not built yet.
macro_rules! choice {
    (
        $(#[doc = $doc:literal])+
        $name:ident : $ty:ty { $( $word:literal => $value:expr, )+ }
        $( later { $( $later:literal : $what:literal, )* } )?
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug)]
        pub(super) struct $name(pub $ty);

        impl Read for $name {
            fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
                reader
                    .choice(node, &[ $( ($word, $value) ),+ ], &[ $( $( ($later, $what), )* )? ])
                    .map(Self)
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                $crate::config::declare::words(&[ $( $word ),+ ])
            }
        }
    };
}

/// Whether a key must stand in its section.
macro_rules! is_required {
    (required) => {
        true
    };
    (optional) => {
        false
    };
}

pub(super) use {choice, is_required, section};

/// A field's key: `r#type` is `type`.
pub(super) const fn key_name(field: &'static str) -> &'static str {
    match field.as_bytes() {
        [b'r', b'#', ..] => field.split_at(2).1,
        _ => field,
    }
}

fn text_of(doc: &[&str]) -> String {
    doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

/// Adds a property with its description.
pub(super) fn property(properties: &mut Map<String, Value>, field: &'static str, schema: Schema, doc: &[&str]) {
    let mut value = schema.to_value();
    if let Value::Object(object) = &mut value {
        object.insert("description".to_owned(), text_of(doc).into());
    }
    properties.insert(key_name(field).to_owned(), value);
}

/// An object that knows `keys` only.
pub(super) fn object(properties: Map<String, Value>, keys: &[super::read::Key], doc: &[&str]) -> Schema {
    let needed: Vec<&str> = keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    let mut schema = json_schema!({
        "description": text_of(doc), "type": "object", "properties": properties, "additionalProperties": false,
    });
    if !needed.is_empty() {
        schema.insert("required".to_owned(), json!(needed));
    }
    schema
}

/// One of `words`.
pub(super) fn words(words: &[&str]) -> Schema {
    json_schema!({ "anyOf": [{ "enum": words }, { "type": "string", "pattern": VARIABLE }] })
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

impl<T: JsonSchema> JsonSchema for Named<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("NamedOf{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object", "additionalProperties": generator.subschema_for::<T>(),
            "maxProperties": super::read::MAX_ITEMS,
        })
    }
}

impl JsonSchema for Text {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Text".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "maxLength": super::read::MAX_TEXT })
    }
}

impl JsonSchema for Flag {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Flag".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "boolean" }, { "type": "string", "pattern": VARIABLE }] })
    }
}

impl<const MIN: u64, const MAX: u64> JsonSchema for Count<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Count{}to{}", grouped(MIN), grouped(MAX)).into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "integer", "minimum": MIN, "maximum": MAX }, { "type": "string", "pattern": VARIABLE },
        ] })
    }
}

impl<const MIN: u64, const MAX: u64> JsonSchema for Lasting<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Lasting{MIN}to{MAX}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let limit = |millis| format_duration(std::time::Duration::from_millis(millis));
        json_schema!({
            "type": "string", "pattern": format!(r"^\s*[0-9]+\s*(us|ms|s|m|h|d)\s*$|{VARIABLE}"),
            "title": format!("A duration, {} to {}", limit(MIN), limit(MAX)),
        })
    }
}

impl<const MIN: u64, const MAX: u64> JsonSchema for Size<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Size{MIN}to{MAX}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string", "pattern": format!(r"^\s*[0-9]+\s*(B|KB|MB|GB|KiB|MiB|GiB)\s*$|{VARIABLE}"),
            "title": format!("A size, {} to {}", format_size(MIN), format_size(MAX)),
        })
    }
}
