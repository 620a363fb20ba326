//! The template's policies allow what the code calls, and nothing else.
//!
//! `infra/permissions.json` says for each action who needs it and which call of an SDK that is. It is compared with
//! the template on one side and with the code on the other.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::kit::root;

/// Calls of the SDKs that stand in the code.
const CALLS: [&str; 20] = [
    "get_item",
    "put_item",
    "query",
    "transact_write_items",
    "batch_get_item",
    "update_item",
    "delete_item",
    "scan",
    "get_object",
    "put_object",
    "head_object",
    "delete_object",
    "list_objects_v2",
    "send_message_batch",
    "get_secret_value",
    "get_parameter",
    "list_shards",
    "get_shard_iterator",
    "get_records",
    "describe_stream_summary",
];

fn permissions() -> Value {
    let text = std::fs::read_to_string(root().join("infra/permissions.json")).expect("infra/permissions.json");
    serde_json::from_str(&text).expect("infra/permissions.json is JSON")
}

/// `service:Action` words of the template, outside of comments.
fn actions_of_template() -> BTreeSet<String> {
    const SERVICES: [&str; 9] =
        ["dynamodb", "s3", "sqs", "secretsmanager", "ssm", "logs", "kinesis", "kafka", "kafka-cluster"];
    let text = std::fs::read_to_string(root().join("template.yaml")).expect("template.yaml");
    // What is denied to everybody (requests without TLS) allows nothing.
    let denied = text.split("Effect: Deny").skip(1).map(|part| part.split("Resource:").next().unwrap_or_default());
    let denied: Vec<&str> = denied.collect();
    let text = denied.iter().fold(text.clone(), |text, part| text.replace(part, ""));
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let words = lines.flat_map(|line| line.split(|c: char| !(c.is_ascii_alphanumeric() || ":-*".contains(c))));
    let action = |word: &&str| {
        word.split_once(':').is_some_and(|(service, action)| {
            let named = action.starts_with(|c: char| c.is_ascii_uppercase() || c == '*') && !action.contains(':');
            named && (SERVICES.contains(&service) || service == "ec2")
        })
    };
    words.filter(action).map(str::to_owned).collect()
}

#[test]
fn the_template_allows_what_is_listed_and_nothing_else() {
    let listed: BTreeSet<String> = permissions().as_object().expect("an object").keys().cloned().collect();
    let allowed = actions_of_template();
    assert_eq!(allowed, listed);
    assert!(allowed.iter().all(|action| !action.contains('*')), "no action is a pattern: {allowed:?}");
}

#[test]
fn every_call_of_the_code_is_allowed_and_every_permission_is_used() {
    let permissions = permissions();
    let mut listed = BTreeSet::new();
    for permission in permissions.as_object().expect("an object").values() {
        listed.extend(permission["sdk"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned));
    }
    let mut called = BTreeSet::new();
    for folder in ["shared/state/src", "shared/delivery/src", "functions/processor/src"] {
        calls_below(&root().join(folder), &mut called);
    }
    let missing: Vec<&String> = called.difference(&listed).collect();
    assert!(missing.is_empty(), "calls without a permission: {missing:?}");
    let unused: Vec<&String> = listed.difference(&called).collect();
    assert!(unused.is_empty(), "permissions for calls that nobody makes: {unused:?}");
}

fn calls_below(folder: &Path, called: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("a file").path();
        if path.is_dir() {
            calls_below(&path, called);
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        if !text.contains("aws_sdk_") {
            continue;
        }
        let names = CALLS.iter().filter(|call| text.contains(&format!(".{call}()")));
        called.extend(names.map(|name| (*name).to_owned()));
    }
}
