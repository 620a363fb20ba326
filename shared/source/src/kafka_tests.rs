use proptest::prelude::*;
use serde_json::{Value as Json, json};
use tidegate_core::{ErrorKind, Timestamp};

use super::*;
use crate::{EventKind, detect, inflate};

fn encode(bytes: &[u8]) -> String {
    base64_simd::STANDARD.encode_to_string(bytes)
}

fn record(topic: &str, partition: u32, offset: u64, value: &[u8]) -> Json {
    json!({
        "topic": topic, "partition": partition, "offset": offset, "timestamp": 1_545_084_650_987_u64,
        "timestampType": "CREATE_TIME", "key": encode(b"k"), "value": encode(value), "headers": []
    })
}

fn event(partitions: &Json) -> Vec<u8> {
    serde_json::to_vec(&json!({ "eventSource": "aws:kafka", "eventSourceArn": "arn", "records": partitions })).unwrap()
}

// The example of "Using Lambda with Amazon MSK" in the AWS Lambda Developer Guide, word for word. The same keys are in
// the test events of aws-lambda-go (`events/testdata/kafka-event.json`) and of the crate aws_lambda_events.
#[test]
fn the_documented_msk_event() {
    let msk = include_bytes!("../fixtures/msk.json");
    assert_eq!(detect(msk).unwrap(), EventKind::Kafka);
    let batches = split_kafka(msk).unwrap();
    assert_eq!((batches.len(), batches[0].origin.as_str(), batches[0].partition.as_str()), (1, "mytopic", "0"));
    let record = batches[0].records.get(0);
    assert_eq!(record.position, Position::new(15));
    assert_eq!(record.payload, b"Hello, this is a test.");
    assert_eq!(record.arrival, Some(Timestamp::from_millis(1_545_084_650_987)));
    assert_eq!(record.headers, [("headerKey".to_owned(), b"headerValue".to_vec())]);
    assert_eq!((record.key.map(<[u8]>::len), record.fault), (Some(22), None));
}

// The envelope of "Using Lambda with self-managed Apache Kafka" in the same guide: no ARN, and `SelfManagedKafka`
// without `aws:` in front. Header bytes are signed, as aws_lambda_events reads them (`Vec<i8>`).
#[test]
fn several_partitions_headers_and_tombstones() {
    let event = include_bytes!("../fixtures/self_managed_kafka.json");
    assert_eq!(detect(event).unwrap(), EventKind::Kafka);
    let batches = split_kafka(event).unwrap();
    let names: Vec<_> = batches.iter().map(|b| (b.origin.as_str(), b.partition.as_str(), b.records.len())).collect();
    assert_eq!(names, [("mytopic", "0", 2), ("my-topic-2", "11", 1)]);
    let first = batches[0].records.get(0);
    assert_eq!(first.key, Some(&b"order-1"[..]));
    assert_eq!(first.headers[1], ("signed".to_owned(), vec![255, 128, 127]));
    assert_eq!(first.headers[2], ("headerKey".to_owned(), vec![]));
    let tombstone = batches[0].records.get(1);
    assert_eq!((tombstone.payload, tombstone.fault), (&b""[..], None));
    let last = batches[1].records.get(0);
    assert_eq!((last.key, last.position), (None, Position::new(900_719_925_474_099)));
}

// What mappings leave out and add: records of older mappings have no headers and no key, or an empty one; with a schema
// registry each record has metadata (test event `kafkaEventMsk.json` of Powertools for AWS Lambda).
#[test]
fn records_with_fewer_and_with_more_keys() {
    let schema = json!({ "dataFormat": "JSON", "schemaId": "1234" });
    let mut registered = record("t", 0, 4, b"d");
    registered["valueSchemaMetadata"] = schema.clone();
    registered["keySchemaMetadata"] = schema;
    let old = |offset: u64| {
        json!({
            "topic": "t", "partition": 0, "offset": offset, "timestamp": 1_614_686_444_377_u64,
            "timestampType": "CREATE_TIME", "value": encode(b"old")
        })
    };
    let (mut empty, mut nulls) = (old(2), old(3));
    empty["key"] = json!("");
    nulls["key"] = json!(null);
    nulls["headers"] = json!(null);
    let batches = split_kafka(&event(&json!({ "t-0": [old(1), empty, nulls, registered] }))).unwrap();
    let found: Vec<_> = batches[0].records.iter().map(|r| (r.key, r.payload, r.headers.len(), r.fault)).collect();
    let old = &b"old"[..];
    assert_eq!(
        found,
        [
            (None, old, 0, None),
            (Some(&b""[..]), old, 0, None),
            (None, old, 0, None),
            (Some(&b"k"[..]), &b"d"[..], 0, None)
        ]
    );
}

#[test]
fn a_broken_envelope_names_the_record() {
    for (key, value, part) in [
        ("offset", json!(null), "offset"),
        ("offset", json!(-1), "offset"),
        ("offset", json!("15"), "offset"),
        ("offset", json!(1.5), "offset"),
        ("topic", json!(""), "topic"),
        ("partition", json!("0"), "partition"),
        ("timestamp", json!("x"), "timestamp"),
        ("key", json!(1), "key"),
        ("value", json!({}), "value"),
        ("headers", json!([{ "h": [256] }]), "headers"),
        ("headers", json!([{ "h": "x" }]), "headers"),
        ("headers", json!({}), "headers"),
    ] {
        let mut second = record("t", 0, 2, b"b");
        second[key] = value.clone();
        let error = split_kafka(&event(&json!({ "t-0": [record("t", 0, 1, b"a"), second] }))).unwrap_err();
        let text = error.to_string();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(text.contains("record 1 of t-0 of the Kafka event") && text.contains(part), "{key} {value}: {text}");
    }
    let mut without = record("t", 0, 2, b"b");
    without.as_object_mut().unwrap().remove("offset");
    assert!(split_kafka(&event(&json!({ "t-0": [without] }))).unwrap_err().to_string().contains("offset"));
    assert!(split_kafka(br#"{"eventSource":"aws:kafka"}"#).unwrap_err().to_string().contains("no records"));
    assert!(split_kafka(br#"{"records":{}}"#).unwrap_err().to_string().contains("no eventSource"));
    assert!(split_kafka(br#"{"eventSource":"aws:mq","records":{}}"#).unwrap_err().to_string().contains("aws:mq"));
}

#[test]
fn bad_payloads_are_records_with_a_fault() {
    let mut bad_value = record("t", 0, 1, b"");
    bad_value["value"] = json!("%%");
    let mut bad_key = record("t", 0, 2, b"fine");
    bad_key["key"] = json!("%%");
    let packed = record("t", 0, 3, &inflate::gzip(b"hello"));
    let mut timeless = record("t", 0, 4, b"");
    timeless["timestamp"] = json!(-1);
    let batches = split_kafka(&event(&json!({ "t-0": [bad_value, bad_key, packed, timeless] }))).unwrap();
    let records = &batches[0].records;
    assert_eq!(records.get(0).payload, b"%%");
    assert!(records.get(0).fault.unwrap().contains("value"));
    assert_eq!((records.get(1).key, records.get(1).payload), (Some(&b"%%"[..]), &b"fine"[..]));
    assert!(records.get(1).fault.unwrap().contains("key"));
    assert_eq!((records.get(2).payload, records.get(2).fault), (&b"hello"[..], None));
    assert_eq!(records.get(3).arrival, None);
}

#[test]
fn the_limit_counts_all_partitions() {
    let records = |n: usize| (0..n as u64).map(|i| record("t", 0, i, b"x")).collect::<Vec<_>>();
    let found = split_kafka(&event(&json!({ "t-0": records(6000), "t-1": records(4000) }))).unwrap();
    assert_eq!(found.iter().map(|b| b.records.len()).sum::<usize>(), 10_000);
    assert!(split_kafka(&event(&json!({ "t-0": records(6000), "t-1": records(4001) }))).is_err());
}

type Plain = (String, String, u64, Option<Vec<u8>>, Vec<u8>, Vec<(String, Vec<u8>)>);

fn any_record() -> impl Strategy<Value = Json> {
    let bytes = || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20));
    let headers = proptest::collection::vec(("\\PC{0,4}", proptest::collection::vec(any::<u8>(), 0..4)), 0..3);
    let keys = Just((0..7usize).collect::<Vec<_>>()).prop_shuffle();
    (0u32..3, any::<u64>(), bytes(), bytes(), headers, keys, any::<bool>()).prop_map(
        |(partition, offset, key, value, headers, order, shuffled)| {
            let mut order = order;
            if !shuffled {
                order.sort_unstable();
            }
            let headers: Vec<_> = headers.into_iter().map(|(name, value)| json!({ name: value })).collect();
            let mut record = serde_json::Map::new();
            for i in order {
                let (name, value) = match i {
                    0 => ("topic", json!("t")),
                    1 => ("partition", json!(partition)),
                    2 => ("offset", json!(offset >> 1)),
                    3 => ("timestamp", json!(1)),
                    4 => ("key", json!(key.as_ref().map(|key| encode(key)))),
                    5 => ("value", json!(value.as_ref().map(|value| encode(value)))),
                    _ => ("headers", json!(headers)),
                };
                record.insert(name.into(), value);
            }
            Json::Object(record)
        },
    )
}

fn plainly(records: &[Json]) -> Vec<Plain> {
    let bytes = |value: &Json| value.as_str().map(|text| base64_simd::STANDARD.decode_to_vec(text).unwrap());
    let read = |record: &Json| {
        let header = |header: &Json| {
            let (name, value) = header.as_object().unwrap().iter().next().unwrap();
            (name.clone(), value.as_array().unwrap().iter().map(|b| b.as_u64().unwrap() as u8).collect())
        };
        let headers = record["headers"].as_array().unwrap().iter().map(header).collect();
        let text = |value: &Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let value = bytes(&record["value"]).unwrap_or_default();
        let offset = record["offset"].as_u64().unwrap();
        (text(&record["topic"]), text(&record["partition"]), offset, bytes(&record["key"]), value, headers)
    };
    let mut all: Vec<_> = records.iter().map(read).collect();
    all.sort_by(|a, b| a.1.cmp(&b.1));
    all
}

proptest! {
    #[test]
    fn equals_a_plain_reading(records in proptest::collection::vec(any_record(), 1..12), pretty: bool) {
        let value = json!({ "records": { "t-0": records }, "eventSource": "SelfManagedKafka" });
        let event = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) }.unwrap();
        let mut ours: Vec<Plain> = Vec::new();
        for batch in split_kafka(&event).unwrap() {
            for r in batch.records.iter() {
                let offset = r.position.sequence.as_u64().unwrap();
                let key = r.key.map(<[u8]>::to_vec);
                ours.push((batch.origin.clone(), batch.partition.clone(), offset, key, r.payload.to_vec(), r.headers.to_vec()));
            }
        }
        ours.sort_by(|a, b| a.1.cmp(&b.1));
        prop_assert_eq!(ours, plainly(&records));
    }

    #[test]
    fn never_panics(at in 0usize..2000, change in proptest::collection::vec(any::<u8>(), 0..6)) {
        let mut event = include_bytes!("../fixtures/self_managed_kafka.json").to_vec();
        let at = at.min(event.len());
        let end = (at + change.len()).min(event.len());
        event.splice(at..end, change);
        let _ = (detect(&event), split_kafka(&event));
    }
}
