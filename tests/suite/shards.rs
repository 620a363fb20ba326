//! Shards that are split and merged while windows are open: the processor, fed from a Kinesis stream as an event source
//! mapping feeds it, with the state in DynamoDB and the tick.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};

use crate::aws::{BUCKET, call, resources};
use crate::kit::{Dice, Receiver, root};
use crate::lambda::{Dynamo, TABLE};
use crate::lambda_api::Environment;
use crate::lanes::{Record, WINDOW, naive, records, rows};
use crate::stand_in::StandIn;

const STREAM: &str = "clicks";
const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/clicks";
/// The watermark's delay, in milliseconds.
const DELAY: u64 = 2_000;

/// `keys`: what the source declares as its partition key.
fn pipeline(keys: &str) -> String {
    format!(
        "name: shards
sources:
  s:
    format: json
    from: {ARN}
    columns: {{ k: string, v: bigint, ms: {{ type: timestamp, unit: ms }} }}
    watermark: {{ column: ms, delay: 2s }}
{keys}
outputs:
  sums:
    query: |
      SELECT unix_timestamp(window.start) AS at, k, sum(v) AS total, count(*) AS n
      FROM s GROUP BY window(ms, '2 seconds'), k
    target: api
targets:
  api: {{ rest: {{ url: '${{URL}}/rows', method: PUT, idempotency: header }} }}
report_item_failures: false
"
    )
}

/// A stream, and how far each shard of it was delivered.
struct Stream {
    server: StandIn,
    read: BTreeMap<String, usize>,
}

impl Stream {
    async fn start() -> Option<Self> {
        let stream = Self { server: StandIn::script(&root(), "kinesis.sh")?, read: BTreeMap::new() };
        stream.ask("CreateStream", &json!({ "StreamName": STREAM, "ShardCount": 1 })).await;
        stream.active().await;
        Some(stream)
    }

    async fn ask(&self, action: &str, body: &Value) -> Value {
        call(&self.server.url, "kinesis", &format!("Kinesis_20131202.{action}"), body).await
    }

    /// Waits until the stream has taken its last change, and names its shards.
    async fn active(&self) -> Vec<Value> {
        for _ in 0..500 {
            let stream = self.ask("DescribeStream", &json!({ "StreamName": STREAM })).await;
            if stream["StreamDescription"]["StreamStatus"] == "ACTIVE" {
                return stream["StreamDescription"]["Shards"].as_array().expect("shards").clone();
            }
            #[expect(clippy::disallowed_methods, reason = "another process is at work")]
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("the stream does not become active");
    }

    async fn put(&self, records: &[Record], dice: &mut Dice) {
        let record = |record: &Record| {
            json!({
                "PartitionKey": format!("{:x}", dice.next()),
                "Data": crate::lambda::base64(record.line().as_bytes()),
            })
        };
        let records: Vec<Value> = records.iter().map(record).collect();
        let put = self.ask("PutRecords", &json!({ "StreamName": STREAM, "Records": records })).await;
        assert_eq!(put["FailedRecordCount"], 0, "{put}");
    }

    async fn split(&self, shard: &str) {
        let half = (u128::MAX / 2).to_string();
        let body = json!({ "StreamName": STREAM, "ShardToSplit": shard, "NewStartingHashKey": half });
        self.ask("SplitShard", &body).await;
        self.active().await;
    }

    async fn merge(&self, shard: &str, other: &str) {
        let body = json!({ "StreamName": STREAM, "ShardToMerge": shard, "AdjacentShardToMerge": other });
        self.ask("MergeShards", &body).await;
        self.active().await;
    }

    /// Everything that the shard has.
    async fn content(&self, shard: &str) -> Vec<Value> {
        let body = json!({ "StreamName": STREAM, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON" });
        let iterator = self.ask("GetShardIterator", &body).await["ShardIterator"].clone();
        let read = self.ask("GetRecords", &json!({ "ShardIterator": iterator })).await;
        read["Records"].as_array().expect("records").clone()
    }

    /// The next records of a shard as an event; empty at its end.
    async fn event(&self, shard: &str, from: usize, limit: usize) -> (usize, Vec<u8>) {
        let content = self.content(shard).await;
        let taken: Vec<Value> = content
            .iter()
            .skip(from)
            .take(limit)
            .map(|record| {
                let sequence = &record["SequenceNumber"];
                json!({
                    "kinesis": {
                        "kinesisSchemaVersion": "1.0", "partitionKey": record["PartitionKey"], "sequenceNumber": sequence,
                        "data": record["Data"], "approximateArrivalTimestamp": 1_767_225_600.5,
                    },
                    "eventSource": "aws:kinesis", "eventVersion": "1.0",
                    "eventID": format!("{shard}:{}", sequence.as_str().expect("a number")),
                    "eventName": "aws:kinesis:record", "invokeIdentityArn": "arn:aws:iam::000000000000:role/r",
                    "awsRegion": "us-east-1", "eventSourceARN": ARN,
                })
            })
            .collect();
        (taken.len(), json!({ "Records": taken }).to_string().into_bytes())
    }

    /// Delivers one batch of the shard. How many records that were.
    async fn deliver(&mut self, shard: &str, limit: usize, to: &mut Environment) -> usize {
        let from = self.read.get(shard).copied().unwrap_or(0);
        let (count, event) = self.event(shard, from, limit).await;
        if count > 0 {
            assert_eq!(to.invoke(&event).await, Ok(json!({ "batchItemFailures": [] })), "{shard} from {from}");
            to.metrics();
            self.read.insert(shard.to_owned(), from + count);
        }
        count
    }

    async fn deliver_all(&mut self, shards: &[&str], environments: &mut [Environment], dice: &mut Dice) {
        let mut left: BTreeSet<&str> = shards.iter().copied().collect();
        while !left.is_empty() {
            let place = dice.below(left.len() as u64) as usize;
            let shard = *left.iter().nth(place).expect("one of them");
            let environment = dice.below(environments.len() as u64) as usize;
            let limit = 5 + dice.below(40) as usize;
            if self.deliver(shard, limit, &mut environments[environment]).await == 0 {
                left.remove(shard);
            }
        }
    }
}

async fn environment(
    dynamo: &Dynamo,
    bucket: &StandIn,
    stream: &Stream,
    receiver: &Receiver,
    folder: &Path,
    keys: &str,
) -> Environment {
    let file = folder.join("pipeline.yaml");
    std::fs::write(&file, pipeline(keys)).expect("the pipeline is written");
    Environment::start(&[
        ("AWS_ENDPOINT_URL_DYNAMODB", dynamo.url.as_str()),
        ("AWS_ENDPOINT_URL_S3", bucket.url.as_str()),
        ("AWS_ENDPOINT_URL_KINESIS", stream.server.url.as_str()),
        ("TIDEGATE_TABLE", TABLE),
        ("TIDEGATE_BUCKET", BUCKET),
        ("TIDEGATE_PIPELINE", file.to_str().expect("UTF-8")),
        ("TIDEGATE_REST_AFTER", "0s"),
        ("URL", &receiver.url),
    ])
    .await
}

/// Windows that have ended when everything was read: the newest event less the delay.
fn ended(records: &[Record]) -> Vec<(u64, char, i64, u64)> {
    let newest = records.iter().map(|record| record.at).max().unwrap_or(0);
    naive(records).into_iter().filter(|(start, ..)| start + WINDOW + DELAY <= newest).collect()
}

fn shard(number: u32) -> String {
    format!("shardId-{number:012}")
}

fn message(answer: Result<Value, Value>) -> String {
    let error = answer.expect_err("it fails");
    error["errorMessage"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_survive_a_split_and_a_merge() {
    let (Some(mut stream), Some(bucket)) = (Stream::start().await, StandIn::start(&root())) else { return };
    resources(&bucket.url).await;
    let folder = tempfile::tempdir().expect("a folder");
    let (dynamo, receiver) = (Dynamo::start().await, Receiver::start(&folder.path().join("r.db"), &[]));
    let mut dice = Dice(11);
    let all = records(600, &mut dice);
    let mut environments = [
        environment(&dynamo, &bucket, &stream, &receiver, folder.path(), "").await,
        environment(&dynamo, &bucket, &stream, &receiver, folder.path(), "").await,
    ];
    let names: Vec<String> = (0..4).map(shard).collect();
    let [root, left, right, merged] = [&names[0], &names[1], &names[2], &names[3]].map(String::as_str);
    stream.put(&all[..200], &mut dice).await;
    stream.deliver(root, 90, &mut environments[0]).await;
    stream.split(root).await;
    stream.put(&all[200..400], &mut dice).await;
    // A child that comes before its parent is done waits.
    let (_, early) = stream.event(left, 0, 10).await;
    let refused = message(environments[1].invoke(&early).await);
    assert!(refused.contains("continues another one"), "{refused}");
    environments[1].metrics();
    stream.deliver_all(&[root], &mut environments, &mut dice).await;
    stream.deliver_all(&[left, right], &mut environments, &mut dice).await;
    stream.merge(left, right).await;
    stream.put(&all[400..], &mut dice).await;
    stream.deliver_all(&[merged], &mut environments, &mut dice).await;
    // Old batches of lanes that have ended change nothing.
    for shard in [root, left] {
        let (_, old) = stream.event(shard, 3, 20).await;
        assert_eq!(environments[0].invoke(&old).await, Ok(json!({ "batchItemFailures": [] })), "{shard}");
        environments[0].metrics();
    }
    for round in 0..4 {
        let ticked = environments[round % 2].invoke(br#"{"tidegate":"tick"}"#).await;
        assert_eq!(ticked, Ok(json!({ "batchItemFailures": [] })));
        environments[round % 2].metrics();
    }
    assert_eq!(rows(receiver.rows().await.into_iter()), ended(&all));
}

#[tokio::test(flavor = "multi_thread")]
async fn open_windows_of_a_single_lane_are_not_divided() {
    let (Some(mut stream), Some(bucket)) = (Stream::start().await, StandIn::start(&root())) else { return };
    resources(&bucket.url).await;
    let folder = tempfile::tempdir().expect("a folder");
    let (dynamo, receiver) = (Dynamo::start().await, Receiver::start(&folder.path().join("r.db"), &[]));
    let mut dice = Dice(3);
    let all = records(120, &mut dice);
    let keys = "    partition_key: [k]";
    let mut environments = [environment(&dynamo, &bucket, &stream, &receiver, folder.path(), keys).await];
    stream.put(&all[..60], &mut dice).await;
    stream.split(&shard(0)).await;
    stream.put(&all[60..], &mut dice).await;
    stream.deliver_all(&[&shard(0)], &mut environments, &mut dice).await;
    let (_, event) = stream.event(&shard(1), 0, 10).await;
    let refused = message(environments[0].invoke(&event).await);
    assert!(refused.contains("cannot be divided") && refused.contains("output 'sums'"), "{refused}");
}
