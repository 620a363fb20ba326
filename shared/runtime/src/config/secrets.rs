//! Credentials in the pipeline file: by reference only. A literal one is refused and never shown.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use tidegate_core::secret::SecretRef;

use super::declare::section;
use super::errors::Hidden;
use super::place::Place;
use super::read::{At, Key, Read, Reader};
use super::yaml::{Kind, Node};

section! {
    /// Credentials: exactly one of the two.
    AuthKeys {
        /// Authorization: Bearer ...
        optional bearer: SecretText,
        /// Authorization: Basic ...
        optional basic: Basic,
    }
    later {
        "oauth2": "OAuth tokens", "sigv4": "AWS signatures", "iam": "AWS signatures", "api_key": "API keys",
        "header": "credentials in other headers",
    }
}

section! {
    /// User name and password.
    Basic {
        /// User name.
        required user: String,
        /// Where the password is kept.
        required password: SecretText,
    }
}

section! {
    /// Where a secret is kept: exactly one of these.
    SecretKeys {
        /// Name or ARN in AWS Secrets Manager.
        optional secret: String,
        /// Name of an environment variable.
        optional env: String,
        /// Path of a file.
        optional file: String,
        /// Name in the SSM Parameter Store.
        optional ssm: String,
    }
}

const REFERENCE: &str = "write { secret: NAME } (Secrets Manager), { ssm: NAME }, { env: NAME } or { file: PATH }";

/// A secret by reference.
#[derive(Clone, Debug)]
pub(super) struct SecretText(pub SecretRef);

impl Read for SecretText {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let Kind::Mapping(entries) = &node.kind else {
            if !matches!(node.kind, Kind::Broken) {
                reader.wrong(node, "a secret cannot stand in the pipeline file, only where it is kept", REFERENCE);
            }
            return None;
        };
        let unknown = |key: &str| !SecretKeys::KEYS.iter().any(|known| known.name == key);
        if let Some(entry) = entries.iter().find(|entry| unknown(&entry.key)) {
            let at = Node { place: entry.place, width: 1, end: entry.place, kind: Kind::Broken };
            reader.wrong(&at, "this does not say where the secret is kept", REFERENCE);
            return None;
        }
        let keys = SecretKeys::read(node, reader)?;
        reader.exactly_one(node, SecretKeys::KEYS, REFERENCE)?;
        let found = [
            keys.secret.map(|at| SecretRef::SecretsManager(at.value)),
            keys.env.map(|at| SecretRef::Env(at.value)),
            keys.file.map(|at| SecretRef::File(at.value)),
            keys.ssm.map(|at| SecretRef::Ssm(at.value)),
        ]
        .into_iter()
        .flatten()
        .next();
        found.map(Self)
    }
}

impl JsonSchema for SecretText {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SecretReference".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = SecretKeys::json_schema(generator);
        schema.insert("minProperties".to_owned(), 1.into());
        schema.insert("maxProperties".to_owned(), 1.into());
        schema
    }
}

/// Credentials of a target.
#[derive(Clone, Debug)]
pub(super) enum Auth {
    None,
    Bearer(SecretRef),
    Basic { user: String, password: SecretRef },
}

impl Read for Auth {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        match &node.kind {
            Kind::Scalar(scalar) if scalar.text == "none" => return Some(Self::None),
            Kind::Scalar(_) if !node.is_null() => {
                let help = format!("write none, {{ bearer: ... }} or {{ basic: ... }}; for a secret, {REFERENCE}");
                reader.wrong(node, "credentials cannot stand in the pipeline file, only where they are kept", help);
                return None;
            }
            _ => {}
        }
        let keys = AuthKeys::read(node, reader)?;
        reader.exactly_one(node, AuthKeys::KEYS, "write auth: { bearer: { secret: NAME } }")?;
        if let Some(bearer) = keys.bearer {
            return Some(Self::Bearer(bearer.value.0));
        }
        let Basic { user, password } = keys.basic?.value;
        Some(Self::Basic { user: user?.value, password: password?.value.0 })
    }
}

impl JsonSchema for Auth {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Auth".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "const": "none" }, generator.subschema_for::<AuthKeys>()] })
    }
}

/// Keys whose values are names, not secrets, although they stand below `auth`.
const NAMES: [&str; 5] = ["secret", "env", "file", "ssm", "user"];

/// Keys whose values are secrets wherever they stand.
const SECRETS: [&str; 8] =
    ["auth", "bearer", "basic", "password", "token", "api_key", "authorization", "proxy-authorization"];

/// Keys below which names and texts of the user's own stand, which may well be called `token`.
const OWN_NAMES: [&str; 3] = ["columns", "views", "query"];

/// Everything in the file that may be a literal secret. Messages never show it.
pub(super) fn hidden(root: &Node) -> Hidden {
    let mut found = Hidden::default();
    walk(root, false, &mut found.ranges);
    found
}

fn walk(node: &Node, secret: bool, ranges: &mut Vec<(Place, Place)>) {
    match &node.kind {
        Kind::Scalar(scalar) => {
            if (secret && !node.is_null()) || has_user_info(&scalar.text) {
                ranges.push((node.place, node.end));
            }
        }
        Kind::Sequence(items) => items.iter().for_each(|item| walk(item, secret, ranges)),
        Kind::Mapping(entries) => {
            for entry in entries.iter().filter(|entry| !OWN_NAMES.contains(&entry.key.as_str())) {
                let key = entry.key.to_ascii_lowercase();
                let named = SECRETS.contains(&key.as_str());
                if secret && !named && !NAMES.contains(&key.as_str()) {
                    let end = Place { column: entry.place.column + entry.key.chars().count(), ..entry.place };
                    ranges.push((entry.place, end));
                }
                let secret = (secret || named) && !(NAMES.contains(&key.as_str()) && secret);
                walk(&entry.value, secret, ranges);
            }
        }
        Kind::Broken => {}
    }
}

/// `https://user:password@host`
pub(super) fn has_user_info(text: &str) -> bool {
    let Some((_, rest)) = text.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
    authority.contains('@')
}
