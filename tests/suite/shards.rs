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
        self.put_with(records, |_| json!({ "PartitionKey": format!("{:x}", dice.next()) })).await;
    }

    /// Puts records as producers do that partition by `k`.
    async fn put_by_key(&self, records: &[Record]) {
        self.put_with(records, |record| json!({ "PartitionKey": record.key })).await;
    }

    /// `place`: what the request says of a record's place in the stream.
    async fn put_with(&self, records: &[Record], mut place: impl FnMut(&Record) -> Value) {
        let record = |record: &Record| {
            let mut entry = place(record);
            entry["Data"] = crate::lambda::base64(record.line().as_bytes()).into();
            entry
        };
        let records: Vec<Value> = records.iter().map(record).collect();
        let put = self.ask("PutRecords", &json!({ "StreamName": STREAM, "Records": records })).await;
        assert_eq!(put["FailedRecordCount"], 0, "{put}");
    }

    async fn split(&self, shard: &str) {
        self.split_at(shard, u128::MAX / 2).await;
    }

    async fn split_at(&self, shard: &str, hash: u128) {
        let body = json!({ "StreamName": STREAM, "ShardToSplit": shard, "NewStartingHashKey": hash.to_string() });
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

/// The MD5 of the keys begins with: a 0c, b 92, c 4a, d 82.
#[tokio::test(flavor = "multi_thread")]
async fn windows_of_keys_go_to_the_shards_that_take_the_keys() {
    let (Some(mut stream), Some(bucket)) = (Stream::start().await, StandIn::start(&root())) else { return };
    resources(&bucket.url).await;
    let folder = tempfile::tempdir().expect("a folder");
    let (dynamo, receiver) = (Dynamo::start().await, Receiver::start(&folder.path().join("r.db"), &[]));
    let mut dice = Dice(5);
    let all = records(600, &mut dice);
    let keys = "    partition_key: [k]";
    let mut environments = [
        environment(&dynamo, &bucket, &stream, &receiver, folder.path(), keys).await,
        environment(&dynamo, &bucket, &stream, &receiver, folder.path(), keys).await,
    ];
    let names: Vec<String> = (0..6).map(shard).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    stream.put_by_key(&all[..150]).await;
    stream.deliver(names[0], 90, &mut environments[0]).await;
    stream.split(names[0]).await;
    stream.put_by_key(&all[150..300]).await;
    stream.deliver_all(&names[..1], &mut environments, &mut dice).await;
    stream.deliver_all(&names[1..3], &mut environments, &mut dice).await;
    // Half of the split is split again: d and b are apart from here on.
    stream.split_at(names[2], 0x8a << 120).await;
    stream.put_by_key(&all[300..450]).await;
    let three = [names[1], names[3], names[4]];
    stream.deliver_all(&three, &mut environments, &mut dice).await;
    // And a, c and d come together.
    stream.merge(names[1], names[3]).await;
    stream.put_by_key(&all[450..]).await;
    // What closes every window.
    let far = |key| Record { key, value: 0, at: 1_000_000 };
    stream.put_by_key(&['a', 'b', 'c', 'd'].map(far)).await;
    stream.deliver_all(&names[4..], &mut environments, &mut dice).await;
    assert_eq!(rows(receiver.rows().await.into_iter()), naive(&all));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_is_merged_before_it_had_a_record_brings_its_share() {
    let (Some(mut stream), Some(bucket)) = (Stream::start().await, StandIn::start(&root())) else { return };
    resources(&bucket.url).await;
    let folder = tempfile::tempdir().expect("a folder");
    let (dynamo, receiver) = (Dynamo::start().await, Receiver::start(&folder.path().join("r.db"), &[]));
    let mut dice = Dice(6);
    let all = records(300, &mut dice);
    let keys = "    partition_key: [k]";
    let mut environments = [environment(&dynamo, &bucket, &stream, &receiver, folder.path(), keys).await];
    let names: Vec<String> = (0..6).map(shard).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    stream.put_by_key(&all[..100]).await;
    stream.split(names[0]).await;
    stream.put_by_key(&all[100..200]).await;
    stream.deliver_all(&names[..1], &mut environments, &mut dice).await;
    stream.deliver_all(&names[1..3], &mut environments, &mut dice).await;
    // The lane of b and d has open windows; d's next shard is gone before it had a record.
    stream.split_at(names[2], 0x8a << 120).await;
    stream.merge(names[1], names[3]).await;
    stream.put_by_key(&all[200..]).await;
    let far = |key| Record { key, value: 0, at: 1_000_000 };
    stream.put_by_key(&['a', 'b', 'c', 'd'].map(far)).await;
    stream.deliver_all(&names[5..], &mut environments, &mut dice).await;
    stream.deliver_all(&names[4..5], &mut environments, &mut dice).await;
    assert_eq!(rows(receiver.rows().await.into_iter()), naive(&all));
}

/// What the first batch of a child is answered with, when `put` has put 60 records on either side of a split of the last
/// of `shards`.
async fn refused_split(shards: u32, place: impl Fn(&Record, &mut Dice) -> Value) -> Option<String> {
    let (mut stream, bucket) = (Stream::start().await?, StandIn::start(&root())?);
    resources(&bucket.url).await;
    let folder = tempfile::tempdir().expect("a folder");
    let (dynamo, receiver) = (Dynamo::start().await, Receiver::start(&folder.path().join("r.db"), &[]));
    let mut dice = Dice(3);
    let all = records(120, &mut dice);
    let keys = "    partition_key: [k]";
    let mut environments = [environment(&dynamo, &bucket, &stream, &receiver, folder.path(), keys).await];
    let mut parent = shard(0);
    if shards > 1 {
        stream.split(&parent).await;
        parent = shard(1);
    }
    stream.put_with(&all[..60], |record| place(record, &mut dice)).await;
    stream.split_at(&parent, 1 << 100).await;
    stream.put_with(&all[60..], |record| place(record, &mut dice)).await;
    stream.deliver_all(&[&parent], &mut environments, &mut dice).await;
    let mut refused = None;
    for child in [shard(2 * shards - 1), shard(2 * shards)] {
        let (count, event) = stream.event(&child, 0, 10).await;
        if count > 0 {
            refused = Some(message(environments[0].invoke(&event).await));
            environments[0].metrics();
        }
    }
    refused
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_not_divided_where_producers_partition_by_something_else() {
    let place = |_: &Record, dice: &mut Dice| json!({ "PartitionKey": format!("{:x}", dice.next()) });
    let Some(refused) = refused_split(1, place).await else { return };
    assert!(refused.contains("cannot be divided") && refused.contains("output 'sums'"), "{refused}");
    assert!(refused.contains("several keys of the stream") && refused.contains("group {"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_not_divided_where_producers_name_the_hash() {
    // By their keys b and d belong to the other half of the stream.
    let place = |record: &Record, _: &mut Dice| json!({ "PartitionKey": record.key, "ExplicitHashKey": "5" });
    let Some(refused) = refused_split(2, place).await else { return };
    assert!(refused.contains("cannot be divided") && refused.contains("ExplicitHashKey"), "{refused}");
}
