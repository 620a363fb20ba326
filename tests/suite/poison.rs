//! A record that kills whoever takes it: environments die, and the pipeline goes on.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::kit::Receiver;
use crate::lambda::{Dynamo, TABLE, kinesis};
use crate::lambda_api::Environment;

/// Each text is as long as a record says, up to a limit; a row holds them all at once.
fn pipeline() -> String {
    let texts: Vec<String> = (0..TEXTS).map(|i| format!("repeat('{}', n) AS text{i}", "x".repeat(1000))).collect();
    PIPELINE.replace("TEXTS", &texts.join(", "))
}

const PIPELINE: &str = "
name: poison
sources:
  s:
    format: json
    columns: { id: bigint, n: int }
outputs:
  all:
    query: SELECT id, TEXTS FROM s
    target: api
targets:
  api: { rest: { url: '${URL}/rows', method: PUT, idempotency: header } }
";
const RECORDS: usize = 6;
/// The place of the record that asks for 12 texts of 60 MB.
const POISON: usize = 4;
const TEXTS: usize = 12;
/// Of an invocation.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Address space of an environment, in kilobytes.
const SPACE: u64 = 900_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_deadly_record_becomes_a_dead_letter() {
    let folder = tempfile::tempdir().expect("a folder");
    let (dynamo, receiver) = (Dynamo::start().await, Receiver::start(&folder.path().join("r.db"), &[]));
    let letters = folder.path().join("dead_letters.jsonl");
    let file = folder.path().join("pipeline.yaml");
    std::fs::write(&file, format!("{}dead_letters: {{ file: {} }}\n", pipeline(), letters.display())).expect("written");
    let lines: Vec<String> =
        (0..RECORDS).map(|id| json!({ "id": id, "n": if id == POISON { 60_000 } else { 0 } }).to_string()).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let event = kinesis("shardId-000000000000", &lines, 0);
    let mut deaths = 0;
    loop {
        let mut environment = Environment::start_within(
            SPACE,
            &[
                ("AWS_ENDPOINT_URL_DYNAMODB", dynamo.url.as_str()),
                ("TIDEGATE_TABLE", TABLE),
                ("TIDEGATE_BUCKET", "large"),
                ("TIDEGATE_PIPELINE", file.to_str().expect("UTF-8")),
                ("URL", receiver.url.as_str()),
            ],
        )
        .await;
        if !environment.kills(&event, TIMEOUT).await {
            // One of those that have died could be at work until its deadline: until then the record is refused.
            let mut refused = 0;
            while environment.invoke(&event).await != Ok(json!({ "batchItemFailures": [] })) {
                refused += 1;
                assert!(refused < 60, "the record is refused for ever");
                #[expect(clippy::disallowed_methods, reason = "the source delivers again after a while")]
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            assert!(refused > 0, "it was given up while another could be at work with it");
            break;
        }
        deaths += 1;
        assert!(deaths < 20, "it does not end");
    }
    println!("{deaths} environments died");
    assert!(deaths >= 4, "only {deaths} environments died: the record is not deadly");
    let ids: BTreeSet<u64> = (receiver.rows().await.iter())
        .map(|row| serde_json::from_str::<Value>(row).expect("JSON")["id"].as_u64().expect("a number"))
        .collect();
    let expected: BTreeSet<u64> = (0..RECORDS as u64).filter(|id| *id != POISON as u64).collect();
    assert_eq!(ids, expected);
    assert_eq!(receiver.summary().await["conflicts"], 0);
    let letters = std::fs::read_to_string(&letters).expect("there are dead letters");
    let letters: Vec<Value> = letters.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert!(
        letters[0]["reason"].as_str().is_some_and(|reason| reason.contains("environments have died")),
        "{letters:?}"
    );
    assert!(letters[0]["payload"].as_str().is_some_and(|payload| payload == lines[POISON]), "{letters:?}");
}
