use std::path::Path;

use super::{expect_file, load, with_rest};
use tidegate_runtime::config;

fn docs() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

#[test]
fn the_schema_is_current() {
    expect_file(&docs().join("pipeline.schema.json"), &config::json_schema());
}

/// Collects `section.key` of every object in the schema.
fn keys(schema: &serde_json::Value) -> Vec<String> {
    let mut keys = Vec::new();
    let mut add = |object: &serde_json::Value| {
        for key in object["properties"].as_object().into_iter().flat_map(|map| map.keys()) {
            keys.push(key.clone());
        }
    };
    add(schema);
    for definition in schema["$defs"].as_object().into_iter().flat_map(|map| map.values()) {
        add(definition);
    }
    keys.sort();
    keys.dedup();
    keys
}

#[test]
fn the_reference_names_every_key() {
    let schema: serde_json::Value = serde_json::from_str(&config::json_schema()).unwrap();
    let keys = keys(&schema);
    assert!(keys.len() > 50, "{keys:?}");
    let reference = std::fs::read_to_string(docs().join("pipeline.md")).unwrap();
    let missing: Vec<_> = keys.iter().filter(|key| !reference.contains(&format!("{key}`"))).collect();
    assert!(missing.is_empty(), "docs/pipeline.md does not explain {missing:?}");
}

/// Every block of YAML in the reference that is a whole pipeline loads.
#[test]
fn the_example_of_the_reference_loads() {
    let reference = std::fs::read_to_string(docs().join("pipeline.md")).unwrap();
    let blocks = reference.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let mut whole = 0;
    for block in blocks.filter(|block| block.starts_with("name:") || block.starts_with("# yaml-language-server")) {
        whole += 1;
        load(block).map(|_| ()).map_err(|errors| panic!("{errors}")).unwrap();
    }
    assert!(whole >= 1);
    assert!(load(&with_rest("      url: https://h/\n")).is_ok());
}
