//! The processor with DynamoDB, S3 and SQS of one stand-in: state, large commits and dead letters together.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::kit::{Receiver, client, root};
use crate::lambda::kinesis;
use crate::lambda_api::Environment;
use crate::stand_in::StandIn;

const TABLE: &str = "tidegate";
/// The bucket of a test.
pub const BUCKET: &str = "large";
const QUEUE: &str = "dead";
const SHARD: &str = "shardId-000000000000";

/// Rows go to the target as they come; a commit of a few rows is too large for its item.
const PIPELINE: &str = "
name: notes
sources:
  notes:
    format: json
    columns: { id: bigint, note: string }
outputs:
  all:
    query: SELECT id, note FROM notes
    target: api
targets:
  api:
    rest: { url: \"${URL}/v1/notes\", method: PUT, idempotency: header }
state: { ring: 16, inline_limit: 1KB }
";

/// A call of an AWS service with a JSON protocol. Nobody checks the signature.
pub async fn call(url: &str, service: &str, action: &str, body: &Value) -> Value {
    let version = if service == "sqs" { "1.0" } else { "1.1" };
    let answer = client()
        .post(url)
        .header("x-amz-target", action)
        .header("content-type", format!("application/x-amz-json-{version}"))
        .header("x-amz-date", "20260101T000000Z")
        .header("authorization", authorization(service))
        .body(body.to_string())
        .send()
        .await
        .expect("the service answers");
    let (status, text) = (answer.status(), answer.text().await.expect("the answer is text"));
    assert!(status.is_success(), "{action}: {status} {text}");
    serde_json::from_str(&text).unwrap_or(Value::Null)
}

fn authorization(service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
    )
}

/// Makes table, bucket and queue; the queue's address.
pub async fn resources(url: &str) -> String {
    let table = json!({
        "TableName": TABLE,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [
            { "AttributeName": "pk", "AttributeType": "S" }, { "AttributeName": "sk", "AttributeType": "S" }
        ],
        "KeySchema": [{ "AttributeName": "pk", "KeyType": "HASH" }, { "AttributeName": "sk", "KeyType": "RANGE" }],
    });
    call(url, "dynamodb", "DynamoDB_20120810.CreateTable", &table).await;
    let bucket = client().put(format!("{url}/{BUCKET}")).header("authorization", authorization("s3"));
    let made = bucket.send().await.expect("S3 answers");
    assert!(made.status().is_success(), "{}", made.status());
    let queue = json!({ "QueueName": QUEUE, "Attributes": { "MaximumMessageSize": "262144" } });
    let queue = call(url, "sqs", "AmazonSQS.CreateQueue", &queue).await;
    queue["QueueUrl"].as_str().expect("an address").to_owned()
}

/// Every message of the queue, by the position of its record.
async fn letters(url: &str, queue: &str) -> BTreeMap<String, Value> {
    let mut letters = BTreeMap::new();
    loop {
        let ask = json!({ "QueueUrl": queue, "MaxNumberOfMessages": 10, "VisibilityTimeout": 600 });
        let answer = call(url, "sqs", "AmazonSQS.ReceiveMessage", &ask).await;
        let Some(messages) = answer["Messages"].as_array().filter(|messages| !messages.is_empty()) else {
            return letters;
        };
        for message in messages {
            let letter: Value = serde_json::from_str(message["Body"].as_str().expect("a body")).expect("JSON");
            letters.insert(letter["position"].as_str().expect("a position").to_owned(), letter);
        }
    }
}

async fn environment(url: &str, receiver: &str, pipeline: &str, queue: &str) -> Environment {
    processor(url, pipeline, &[("TIDEGATE_DEAD_LETTER_QUEUE", queue), ("URL", receiver)]).await
}

/// A processor whose table and bucket are those of the stand-in at `url`.
pub async fn processor(url: &str, pipeline: &str, more: &[(&str, &str)]) -> Environment {
    let fixed = [
        ("AWS_ENDPOINT_URL", url),
        ("TIDEGATE_TABLE", TABLE),
        ("TIDEGATE_BUCKET", BUCKET),
        ("TIDEGATE_PIPELINE", pipeline),
    ];
    Environment::start(&[&fixed[..], more].concat()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn large_commits_go_to_the_bucket_and_dead_letters_to_the_queue() {
    let Some(aws) = StandIn::start(&root()) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let queue = resources(&aws.url).await;
    let receiver = Receiver::start(&folder.path().join("r.db"), &[]);
    // The pipeline file comes from the bucket, too.
    let file = client().put(format!("{}/{BUCKET}/pipeline.yaml", aws.url)).header("authorization", authorization("s3"));
    assert!(file.body(PIPELINE).send().await.expect("S3 answers").status().is_success());
    let pipeline = format!("s3://{BUCKET}/pipeline.yaml");
    // Text that does not compress; a record that fits a message, one that does not, small ones.
    let mut dice = crate::kit::Dice(3);
    let mut noise = |length: usize| -> String { (0..length).map(|_| (b'a' + dice.below(26) as u8) as char).collect() };
    let bad = [noise(200_000), noise(300_000), "{\"id\": \"one\"}".to_owned(), "\u{e9}\u{1f30a} no json".to_owned()];
    let good: Vec<String> = (0..20).map(|id| json!({ "id": id, "note": noise(2_000) }).to_string()).collect();
    let records: Vec<&str> = good.iter().chain(&bad).map(String::as_str).collect();
    let mut warm = environment(&aws.url, &receiver.url, &pipeline, &queue).await;
    for (i, chunk) in records.chunks(6).enumerate() {
        assert_eq!(warm.invoke(&kinesis(SHARD, chunk, i * 6)).await, Ok(json!({ "batchItemFailures": [] })));
    }
    warm.kill();
    let rows = receiver.rows().await;
    assert_eq!(rows.len(), good.len());
    // A cold start reads its commits back from the bucket, and finds the records done.
    let mut cold = environment(&aws.url, &receiver.url, &pipeline, &queue).await;
    assert_eq!(cold.invoke(&kinesis(SHARD, &records[18..], 18)).await, Ok(json!({ "batchItemFailures": [] })));
    assert_eq!(cold.metrics()["SkippedRecords"], 6.0);
    assert_eq!(receiver.rows().await, rows);
    let listed = client().get(format!("{}/{BUCKET}?list-type=2&prefix=tidegate/", aws.url)).send().await;
    let listed = listed.expect("S3 answers").text().await.expect("text");
    assert!(listed.matches("<Key>").count() >= 4, "{listed}");
    let letters = letters(&aws.url, &queue).await;
    assert_eq!(letters.len(), bad.len(), "{:?}", letters.keys());
    for (letter, original) in letters.values().zip(&bad) {
        let payload = letter["payload"].as_str().expect("a payload");
        let cut = letter["cut"].as_u64().unwrap_or(0) as usize;
        assert_eq!(payload.len() + cut, original.len());
        assert!(original.starts_with(payload) && (cut == 0 || original.len() > 256 * 1024), "{cut} bytes are cut");
        assert!(letter["reason"].as_str().is_some_and(|reason| !reason.is_empty()));
    }
}
