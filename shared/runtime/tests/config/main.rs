//! The pipeline file: what loads, what is refused and how that reads, and that the JSON Schema is current.
//!
//! Each `bad/*.yaml` has its expected messages beside it as `.txt`. After an intended change:
//! `UPDATE=1 cargo test -p tidegate-runtime --test config`.

use std::fs;
use std::path::{Path, PathBuf};

use tidegate_runtime::config::{self, ConfigErrors, PipelineFile};

mod bad;
mod good;
mod places;
mod schema;

const REGENERATE: &str = "UPDATE=1 cargo test -p tidegate-runtime --test config";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config")
}

/// The environment of the tests.
fn environment(name: &str) -> Option<String> {
    let value = match name {
        "HOST" => "api.example",
        "REGION" => "eu-west-1",
        "ROWS" => "250",
        "QUEUE" => "https://sqs.eu-west-1.amazonaws.com/123456789012/dead",
        "WORD" => "many",
        "EMPTY" => "",
        "TOKEN" => "sk-live-4242",
        "TRICKY" => "a\nb: [c, d]",
        _ => return None,
    };
    Some(value.to_owned())
}

fn load(text: &str) -> Result<PipelineFile, ConfigErrors> {
    config::load("pipeline.yaml", text, &environment)
}

fn update() -> bool {
    std::env::var_os("UPDATE").is_some_and(|value| value == "1")
}

/// A pipeline that loads, with `rest` as the settings of its target.
fn with_rest(rest: &str) -> String {
    format!(
        "name: p\nsources:\n  s:\n    format: json\n    columns: {{ a: int, ts: timestamp }}\n\
         outputs:\n  o: {{ query: select a from s, target: t }}\ntargets:\n  t:\n    rest:\n{rest}"
    )
}

fn mistakes_of(text: &str) -> String {
    load(text).map(|_| ()).expect_err("the file must be refused").to_string()
}

/// Compares with a file, or writes it.
fn expect_file(path: &Path, actual: &str) {
    if update() {
        fs::write(path, actual).expect("the file can be written");
        return;
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    assert_eq!(actual, expected, "{} is not current; after an intended change run {REGENERATE}", path.display());
}
