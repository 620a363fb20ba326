//! The processor under the Lambda Runtime API, with DynamoDB semantics behind HTTP and a real HTTP target.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::kit::{Dice, Receiver, client, command, root, stdout_of, tidegate};
use crate::lambda_api::Environment;

/// The table of a test.
pub const TABLE: &str = "tidegate";
const PIPELINE: &str = "examples/treasury/pipeline.yaml";

/// DynamoDB semantics on a port of their own.
pub struct Dynamo {
    /// `http://127.0.0.1:PORT`
    pub url: String,
    server: tokio::task::JoinHandle<()>,
}

impl Dynamo {
    /// An empty table named [`TABLE`].
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let database = dynoxide::Database::memory().expect("an empty database");
        #[expect(clippy::disallowed_methods, reason = "a server beside the test; it is aborted when the test ends")]
        let server = tokio::spawn(dynoxide::server::serve_on(listener, database));
        let table = json!({
            "TableName": TABLE,
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [
                { "AttributeName": "pk", "AttributeType": "S" }, { "AttributeName": "sk", "AttributeType": "S" }
            ],
            "KeySchema": [
                { "AttributeName": "pk", "KeyType": "HASH" }, { "AttributeName": "sk", "KeyType": "RANGE" }
            ],
        });
        let made = client()
            .post(&url)
            .header("x-amz-target", "DynamoDB_20120810.CreateTable")
            .header("content-type", "application/x-amz-json-1.0")
            .header("x-amz-date", "20260101T000000Z")
            .header(
                "authorization",
                "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0",
            )
            .body(table.to_string())
            .send()
            .await
            .expect("the database answers");
        assert!(made.status().is_success(), "{}", made.text().await.unwrap_or_default());
        Self { url, server }
    }

    /// A processor with the example's pipeline, whose dead letters go to a file in `folder`.
    pub async fn environment(&self, receiver: &str, folder: &Path) -> Environment {
        let example = std::fs::read_to_string(root().join(PIPELINE)).expect("the example is there");
        let letters = folder.join("dead_letters.jsonl");
        let pipeline = folder.join("pipeline.yaml");
        // Others may be reading it.
        if !pipeline.exists() {
            std::fs::write(&pipeline, format!("{example}\ndead_letters: {{ file: {} }}\n", letters.display()))
                .expect("the pipeline is written");
        }
        Environment::start(&[
            ("AWS_ENDPOINT_URL_DYNAMODB", self.url.as_str()),
            ("TIDEGATE_TABLE", TABLE),
            ("TIDEGATE_BUCKET", "large"),
            ("TIDEGATE_PIPELINE", pipeline.to_str().expect("UTF-8")),
            ("TREASURY_URL", receiver),
        ])
        .await
    }
}

impl Drop for Dynamo {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A Kinesis event with `lines` from line `from` on (counted from 0) of shard `shard`.
pub fn kinesis(shard: &str, lines: &[&str], from: usize) -> Vec<u8> {
    let records: Vec<Value> = lines
        .iter()
        .enumerate()
        .map(|(i, line)| {
            let sequence = sequence_number(from + i);
            json!({
                "kinesis": {
                    "kinesisSchemaVersion": "1.0", "partitionKey": "key", "sequenceNumber": sequence,
                    "data": base64(line.as_bytes()), "approximateArrivalTimestamp": 1_767_225_600.5,
                },
                "eventSource": "aws:kinesis", "eventVersion": "1.0", "eventID": format!("{shard}:{sequence}"),
                "eventName": "aws:kinesis:record", "invokeIdentityArn": "arn:aws:iam::123456789012:role/lambda-role",
                "awsRegion": "us-east-1",
                "eventSourceARN": "arn:aws:kinesis:us-east-1:123456789012:stream/transactions",
            })
        })
        .collect();
    json!({ "Records": records }).to_string().into_bytes()
}

/// 56 digits, not dense, growing with the line.
/// The sequence number of a line in [`kinesis`].
pub fn sequence_number(line: usize) -> String {
    format!("495903382714902566085596925383615710959215759891{:08}", line * 37 + 5)
}

/// A Kafka event: `(partition, offset of the first line, lines)`.
pub fn kafka(parts: &[(u32, usize, &[&str])]) -> Vec<u8> {
    let mut records = BTreeMap::new();
    for (partition, first, lines) in parts {
        let list: Vec<Value> = lines
            .iter()
            .enumerate()
            .map(|(i, line)| {
                json!({
                    "topic": "transactions", "partition": partition, "offset": first + i, "timestamp": 1_767_225_600_500u64,
                    "timestampType": "CREATE_TIME", "key": base64(b"key"), "value": base64(line.as_bytes()), "headers": [],
                })
            })
            .collect();
        records.insert(format!("transactions-{partition}"), list);
    }
    json!({
        "eventSource": "aws:kafka",
        "eventSourceArn": "arn:aws:kafka:us-east-1:123456789012:cluster/c/uuid",
        "bootstrapServers": "b-1:9092",
        "records": records,
    })
    .to_string()
    .into_bytes()
}

/// Standard base64 with padding.
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * i) & 63) as usize] as char;
            text.push(if i <= chunk.len() { digit } else { '=' });
        }
    }
    text
}

/// Records of the example, one a line.
pub fn lines(records: u32) -> String {
    stdout_of(&tidegate(&["generate", &format!("treasury?rate=100&records={records}&seed=5&disorder=900ms&bad=0.002")]))
}

/// What a local run over the same lines delivers. Windows that stay open are left out on both sides.
pub async fn expected(folder: &Path, lines: &str) -> Vec<String> {
    let input = folder.join("expected.jsonl");
    std::fs::write(&input, lines).expect("the input is written");
    let receiver = Receiver::start(&folder.join("expected.db"), &[]);
    let mut run = command(&["run", PIPELINE, "--batch-size", "100", "--json", "--input"]);
    run.arg(format!("transactions={}", input.display())).arg("--state").arg(folder.join("expected"));
    stdout_of(&run.env("TREASURY_URL", &receiver.url).output().expect("tidegate starts"));
    receiver.rows().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warm_batch_is_one_write_and_no_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let (dynamo, receiver) = (Dynamo::start().await, Receiver::start(&folder.path().join("r.db"), &[]));
    let mut environment = dynamo.environment(&receiver.url, folder.path()).await;
    let text = lines(3000);
    let lines: Vec<&str> = text.lines().collect();
    for (batch, chunk) in lines.chunks(300).enumerate() {
        let answer = environment.invoke(&kinesis("shardId-000000000000", chunk, batch * 300)).await;
        assert_eq!(answer, Ok(json!({ "batchItemFailures": [] })));
        let metrics = environment.metrics();
        assert_eq!(metrics["Records"], 300.0, "{metrics}");
        assert_eq!(metrics["Commits"], 1.0, "{metrics}");
        let bytes = metrics["CommitBytes"].as_f64().expect("a number");
        assert!(bytes < 6000.0, "{bytes} bytes for 3 seconds of treasury sums");
    }
    assert_eq!(receiver.summary().await["repeats"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicates_old_batches_and_three_environments_change_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = lines(6000);
    let lines: Vec<&str> = text.lines().collect();
    let expected = expected(folder.path(), &text).await;
    let faults = ["--fail-503", "0.03", "--lose-answer", "0.05", "--drop", "0.03"];
    let dynamo = Dynamo::start().await;
    let receiver = Receiver::start(&folder.path().join("r.db"), &faults);
    let mut warm = [
        dynamo.environment(&receiver.url, folder.path()).await,
        dynamo.environment(&receiver.url, folder.path()).await,
    ];
    let mut dice = Dice(9);
    let (mut done, mut tries) = (0, 0);
    while done < lines.len() {
        tries += 1;
        assert!(tries < 400, "no progress");
        // What comes is cut anew each time, often begins with records that are committed, and may be wholly old.
        let from = done.saturating_sub(dice.below(300) as usize);
        let to = (from + 1 + dice.below(400) as usize).min(lines.len());
        let event = kinesis("shardId-000000000000", &lines[from..to], from);
        let answer = match dice.below(8) {
            0 => {
                let mut cold = dynamo.environment(&receiver.url, folder.path()).await;
                let answer = cold.invoke(&event).await;
                cold.kill();
                answer
            }
            side => warm[(side % 2) as usize].invoke(&event).await,
        };
        let answer = answer.expect("Kinesis failures are partial");
        match answer["batchItemFailures"][0]["itemIdentifier"].as_str() {
            None => done = done.max(to),
            Some(first) => assert_eq!(first, sequence_number(from), "the first record of what is not done"),
        }
    }
    let summary = receiver.summary().await;
    println!("{tries} invocations; receiver: {summary}");
    assert_eq!(summary["conflicts"], 0, "{summary}");
    assert_eq!(receiver.rows().await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kafka_event_feeds_several_lanes() {
    let folder = tempfile::tempdir().expect("a folder");
    let (dynamo, receiver) = (Dynamo::start().await, Receiver::start(&folder.path().join("r.db"), &[]));
    let mut environment = dynamo.environment(&receiver.url, folder.path()).await;
    let text = lines(2000);
    // By branch, as a producer would: one branch never spans two partitions.
    let of = |names: [&str; 2]| -> Vec<&str> {
        text.lines().filter(|line| names.iter().any(|name| line.contains(&format!("\"{name}\"")))).collect()
    };
    let (zero, one) = (of(["Kazan", "SPB"]), of(["Surgut", "Novosibirsk"]));
    let mut both = zero.clone();
    both.extend(&one);
    for (i, (a, b)) in zero.chunks(200).zip(one.chunks(200)).enumerate() {
        let event = kafka(&[(0, i * 200, a), (1, i * 200, b)]);
        for _ in 0..=i % 2 {
            assert_eq!(environment.invoke(&event).await, Ok(json!({ "batchItemFailures": [] })));
            environment.metrics();
        }
    }
    let summary = receiver.summary().await;
    assert_eq!(summary["conflicts"], 0, "{summary}");
    let rows = receiver.rows().await;
    assert!(rows.len() > 100, "{} rows", rows.len());
    let transactions = |row: &String| serde_json::from_str::<Value>(row).expect("JSON")["transactions"].as_u64();
    let counted: u64 = rows.iter().filter_map(transactions).sum();
    assert!(counted > 1000 && counted <= both.len() as u64, "{counted} of {} records counted", both.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_target_fails_the_records_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let dynamo = Dynamo::start().await;
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.local_addr().expect("an address").port()
    };
    let url = format!("http://127.0.0.1:{port}");
    let mut environment = dynamo.environment(&url, folder.path()).await;
    let text = lines(1000);
    let lines: Vec<&str> = text.lines().collect();
    let event = kinesis("shardId-000000000000", &lines, 0);
    let answer = environment.invoke_within(&event, Duration::from_secs(4)).await.expect("a partial answer");
    assert_eq!(answer["batchItemFailures"][0]["itemIdentifier"], sequence_number(0));
    environment.kill();
    // The target comes to life, and the records come again, to another environment.
    let receiver = Receiver::start_at(port, &folder.path().join("r.db"), &[]);
    let mut environment = dynamo.environment(&url, folder.path()).await;
    let answer = environment.invoke(&event).await;
    assert_eq!(answer, Ok(json!({ "batchItemFailures": [] })));
    assert!(receiver.rows().await.len() > 16);
    assert_eq!(environment.metrics()["SkippedRecords"], 1000.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_are_no_events_are_refused_in_words() {
    let folder = tempfile::tempdir().expect("a folder");
    let dynamo = Dynamo::start().await;
    let mut environment = dynamo.environment("http://127.0.0.1:9", folder.path()).await;
    for (event, words) in [
        (&b"{}"[..], "event"),
        (b"not json", "event"),
        (br#"{"Records":[{"eventSource":"aws:sqs","body":"x"}]}"#, "aws:sqs"),
        (&kinesis_without_number(), "sequence"),
    ] {
        let error = environment.invoke(event).await.expect_err("the event is refused");
        let message = error["errorMessage"].as_str().unwrap_or_default();
        assert!(message.contains(words), "'{words}' is missing in: {message}");
        environment.metrics();
    }
    let empty = environment.invoke(br#"{"Records":[]}"#).await;
    assert_eq!(empty, Ok(json!({ "batchItemFailures": [] })));
}

fn kinesis_without_number() -> Vec<u8> {
    let event = String::from_utf8(kinesis("shardId-000000000000", &["{}"], 0)).expect("UTF-8");
    event.replace(&format!("\"sequenceNumber\":\"{}\"", sequence_number(0)), "\"sequenceNumber\":\"\"").into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_six_megabyte_event_is_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    let (dynamo, receiver) = (Dynamo::start().await, Receiver::start(&folder.path().join("r.db"), &[]));
    let mut environment = dynamo.environment(&receiver.url, folder.path()).await;
    let text = lines(10_000);
    let lines: Vec<&str> = text.lines().collect();
    let event = kinesis("shardId-000000000000", &lines, 0);
    assert!(event.len() > 4_000_000, "{} bytes", event.len());
    assert_eq!(environment.invoke(&event).await, Ok(json!({ "batchItemFailures": [] })));
    assert!(root().join(PIPELINE).exists());
}
