use proptest::prelude::*;
use serde_json::{Value as Json, json};
use tidegate_core::{ErrorKind, Timestamp};

use super::*;
use crate::{EventKind, detect, inflate};

const ARN: &str = "arn:aws:kinesis:us-east-2:123456789012:stream/lambda-stream";

fn encode(bytes: &[u8]) -> String {
    base64_simd::STANDARD.encode_to_string(bytes)
}

fn record(shard: &str, sequence: &str, data: &[u8]) -> Json {
    json!({
        "kinesis": {
            "kinesisSchemaVersion": "1.0", "partitionKey": "k", "sequenceNumber": sequence, "data": encode(data),
            "approximateArrivalTimestamp": 1_545_084_650.987
        },
        "eventSource": "aws:kinesis", "eventVersion": "1.0", "eventID": format!("{shard}:{sequence}"),
        "eventName": "aws:kinesis:record", "invokeIdentityArn": "arn:aws:iam::1:role/r", "awsRegion": "us-east-2",
        "eventSourceARN": ARN
    })
}

fn event(records: &[Json]) -> Vec<u8> {
    serde_json::to_vec(&json!({ "Records": records })).unwrap()
}

/// Position, payload and fault.
type Described = (String, Vec<u8>, Option<String>);

/// Every record, shard by shard.
fn split(event: &[u8]) -> Vec<(String, Vec<Described>)> {
    let describe = |r: crate::RecordRef<'_>| (r.position.to_string(), r.payload.to_vec(), r.fault.map(str::to_owned));
    let batches = split_kinesis(event).unwrap().into_iter();
    batches.map(|batch| (batch.partition, batch.records.iter().map(describe).collect())).collect()
}

// The examples of "Using Lambda to process records from Amazon Kinesis Data Streams" in the AWS Lambda Developer Guide,
// word for word. The same keys are in the test events of aws-lambda-go and of the crate aws_lambda_events.
#[test]
fn the_documented_events() {
    let one = include_bytes!("../fixtures/kinesis_one_record.json");
    assert_eq!(detect(one).unwrap(), EventKind::Kinesis);
    let batches = split_kinesis(one).unwrap();
    assert_eq!((batches.len(), batches[0].origin.as_str()), (1, ARN));
    assert_eq!(batches[0].partition, "shardId-000000000006");
    let record = batches[0].records.get(0);
    assert_eq!(record.payload, b"Hello, this is a test.");
    assert_eq!(record.key, Some(&b"1"[..]));
    assert_eq!(record.arrival, Some(Timestamp(1_545_084_650_987_000)));
    assert_eq!(record.position.to_string(), "49590338271490256608559692538361571095921575989136588898");

    let several = include_bytes!("../fixtures/kinesis_several_records.json");
    let batches = split_kinesis(several).unwrap();
    assert_eq!(batches[0].records.len(), 2);
    assert_eq!(batches[0].records.get(1).payload, b"This is only a test.");
    assert_eq!(batches[0].records.get(1).arrival, Some(Timestamp(1_545_084_711_166_000)));
}

// Encrypted streams: `example-kinesis-event-encrypted.json` of aws_lambda_events. The keys beside the records come with
// tumbling windows: `kinesisStreamTumblingWindowEvent.json` of Powertools for AWS Lambda.
#[test]
fn encrypted_records_and_the_keys_of_tumbling_windows() {
    let mut first = record("shardId-000000000006", "1", b"a");
    first["kinesis"]["encryptionType"] = json!("KMS");
    let second = record("shardId-000000000006", "2", b"b");
    let event = json!({
        "Records": [first, second],
        "window": { "start": "2020-12-09T07:04:00Z", "end": "2020-12-09T07:06:00Z" },
        "state": { "1": 282, "2": 715 },
        "shardId": "shardId-000000000006",
        "eventSourceARN": ARN,
        "isFinalInvokeForWindow": false,
        "isWindowTerminatedEarly": false
    });
    let event = serde_json::to_vec(&event).unwrap();
    assert_eq!(detect(&event).unwrap(), EventKind::Kinesis);
    let record = |position: &str, payload: &[u8]| (position.to_owned(), payload.to_vec(), None);
    let expected = ("shardId-000000000006".to_owned(), vec![record("1", b"a"), record("2", b"b")]);
    assert_eq!(split(&event), [expected]);
}

#[test]
fn duplicates_and_disorder_are_kept_for_the_skip_rule() {
    let shard = "shardId-000000000001";
    let found = split(&event(&[record(shard, "12", b"b"), record(shard, "11", b"a"), record(shard, "12", b"b")]));
    let positions: Vec<_> = found[0].1.iter().map(|r| r.0.as_str()).collect();
    assert_eq!(positions, ["12", "11", "12"]);
}

#[test]
fn shards_are_kept_apart() {
    let found = split(&event(&[record("s-1", "1", b"a"), record("s-2", "1", b"b"), record("s-1", "2", b"c")]));
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].1.len(), 2);
}

#[test]
fn order_blanks_escapes_and_foreign_keys_do_not_matter() {
    let odd = r#" { "extra" : [ {"Records": 1} ] , "Records" : [
        {"eventSourceARN":"arn\/x","eventID":"s-1:7","new":{"data":"no"},"kinesis":{"data":"YQ\u003d=","sequenceNumber":"7",
         "partitionKey":"\"\u00e9","approximateArrivalTimestamp":1.5E9},"eventSource":"aws:kinesis"},
        {"kinesis":{"sequenceNumber":"8","partitionKey":"k","data":""},"eventSource":"aws:kinesis","eventID":"s-1:8",
         "eventSourceARN":"arn\/x"} ] } "#;
    let batches = split_kinesis(odd.as_bytes()).unwrap();
    let records = &batches[0].records;
    assert_eq!((batches.len(), records.len()), (1, 2));
    assert_eq!(records.get(0).payload, b"a");
    assert_eq!(records.get(0).key, Some("\"\u{e9}".as_bytes()));
    assert_eq!(records.get(0).arrival, Some(Timestamp(1_500_000_000_000_000)));
    assert_eq!((records.get(1).payload, records.get(1).arrival), (&b""[..], None));
}

#[test]
fn a_broken_envelope_names_the_record() {
    let break_second = |change: &dyn Fn(&mut Json)| {
        let mut second = record("s-1", "2", b"b");
        change(&mut second);
        let error = split_kinesis(&event(&[record("s-1", "1", b"a"), second])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.help().is_some());
        error.to_string()
    };
    for (pointer, value, part) in [
        ("/kinesis/sequenceNumber", json!(""), "sequenceNumber '' is no decimal"),
        ("/kinesis/sequenceNumber", json!("12a"), "'12a'"),
        ("/kinesis/sequenceNumber", json!("-1"), "'-1'"),
        ("/kinesis/sequenceNumber", json!(12), "is no string"),
        ("/kinesis/partitionKey", json!(null), "partitionKey"),
        ("/kinesis/data", json!(null), "data"),
        ("/kinesis/approximateArrivalTimestamp", json!("now"), "approximateArrivalTimestamp"),
        ("/eventID", json!("2"), "names no shard"),
        ("/eventID", json!(":2"), "names no shard"),
        ("/eventSourceARN", json!(""), "eventSourceARN"),
        ("/eventSource", json!("aws:sqs"), "'aws:sqs'"),
    ] {
        let message = break_second(&|second| *second.pointer_mut(pointer).unwrap() = value.clone());
        assert!(message.contains("record 1 of the Kinesis event") && message.contains(part), "{message}");
    }
    let missing = break_second(&|second| {
        second["kinesis"].as_object_mut().unwrap().remove("sequenceNumber");
    });
    assert!(missing.contains("sequenceNumber is missing"), "{missing}");
}

#[test]
fn what_is_no_kinesis_event_is_refused() {
    for (text, part) in [
        ("", "cannot be read"),
        ("{", "cannot be read"),
        ("[]", "an object is expected"),
        ("{}", "no Records"),
        (r#"{"Records":{}}"#, "an array is expected"),
        (r#"{"Records":[{}]}"#, "eventSource is missing"),
        (r#"{"Records":[]} x"#, "text behind"),
        (r#"{"Records":[1]}"#, "an object is expected"),
    ] {
        let error = split_kinesis(text.as_bytes()).unwrap_err();
        assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains(part), "{text}: {error}");
    }
    assert!(split_kinesis(br#"{"Records":[]}"#).unwrap().is_empty());
    assert!(detect(br#"{"Records":[{"eventSource":"aws:s3"}]}"#).unwrap_err().to_string().contains("'aws:s3'"));
    assert!(detect(br#"{"Records":[]}"#).is_err());
    assert!(detect(br#"{"detail":{}}"#).is_err());
}

#[test]
fn bad_payloads_are_records_with_a_fault() {
    let mut broken = record("s-1", "2", b"");
    broken["kinesis"]["data"] = json!("no base64!");
    let gzip = inflate::gzip(b"{\"a\":1}");
    let cut = &gzip[..gzip.len() - 6];
    let found = split(&event(&[
        record("s-1", "1", &gzip),
        broken,
        record("s-1", "3", cut),
        record("s-1", "4", &[0xf3, 0x89, 0x9a, 0xc2, 1]),
        record("s-1", "5", b"fine"),
    ]));
    let records = &found[0].1;
    assert_eq!((records[0].1.as_slice(), &records[0].2), (&b"{\"a\":1}"[..], &None));
    assert_eq!(records[1].1, b"no base64!");
    assert!(records[1].2.as_ref().unwrap().contains("base64"));
    assert_eq!(records[2].1, cut);
    assert!(records[2].2.as_ref().unwrap().contains("gzip"));
    assert!(records[3].2.as_ref().unwrap().contains("KPL"));
    assert_eq!((records[4].1.as_slice(), &records[4].2), (&b"fine"[..], &None));
}

#[test]
fn aggregated_records_have_sub_positions() {
    let gzip = inflate::gzip(b"two");
    let packed = kpl::aggregate(&[("k1", b"one"), ("k2", &gzip)]);
    let event = event(&[record("s-1", "7", &packed), record("s-1", "8", b"three")]);
    let batches = split_kinesis(&event).unwrap();
    let mut records = batches[0].records.clone();
    let positions: Vec<_> = records.iter().map(|r| (r.position.to_string(), r.payload.to_vec())).collect();
    assert_eq!(
        positions,
        [("7".into(), b"one".to_vec()), ("7.1".into(), b"two".to_vec()), ("8".into(), b"three".to_vec())]
    );
    assert_eq!(records.get(1).key, Some(&b"k2"[..]));
    records.skip_through(Some(records.get(0).position));
    assert_eq!(records.len(), 2);
}

/// The hashes are MD5s, by md5sum.
#[test]
fn records_have_the_hash_that_chose_their_shard() {
    let (k, k1) = (0x8ce4_b16b_22b5_8894_aa86_c421_e875_9df3, 0xb637_b17a_f08a_ced8_850c_18cc_cde9_15da);
    let packed = kpl::aggregate(&[("k", b"one"), ("k1", b"two")]);
    let mut by_library = record("s-1", "9", &packed);
    by_library["kinesis"]["partitionKey"] = "a".into();
    let event = event(&[record("s-1", "7", b"plain"), record("s-1", "8", &packed), by_library]);
    let records = split_kinesis(&event).unwrap().remove(0).records;
    let hashes = |records: &Records| (0..records.len()).map(|i| records.hash(i)).collect::<Vec<_>>();
    // In an aggregated record that goes by the key of one of them the others are not known.
    assert_eq!(hashes(&records), [Some(k), Some(k), None, Some(k), Some(k1)]);
    assert_eq!(hashes(&records.copy_of(1..5)), hashes(&records)[1..]);
    let mut later = records.clone();
    later.skip_through(Some(records.get(1).position));
    assert_eq!(hashes(&later), hashes(&records)[2..]);
    assert!(records.is_hashed() && later.copy_of(0..1).is_hashed());
    // Nothing is known of what another source goes by.
    let mut other = Records::new();
    other.push(Position::new(1), None, Some(b"k"), Vec::new(), b"x");
    assert_eq!((other.is_hashed(), other.hash(0)), (false, None));
}

#[test]
fn large_events_are_read_whole_and_too_many_records_are_refused() {
    let records: Vec<_> = (0..10_001).map(|i| record("s-1", &i.to_string(), b"x")).collect();
    assert_eq!(split(&event(&records[..10_000]))[0].1.len(), 10_000);
    assert!(split_kinesis(&event(&records)).unwrap_err().to_string().contains("10000"));
    let large = split(&event(&[record("s-1", "1", &vec![b'x'; 4_500_000])]));
    assert_eq!(large[0].1[0].1.len(), 4_500_000);
}

/// A record with its keys in any order, foreign keys among them.
fn any_record() -> impl Strategy<Value = Json> {
    let data = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| encode(&bytes)),
        Just("%%%".to_owned()),
    ];
    let fields = (0u32..4, "[0-9]{1,56}", data, "\\PC{0,8}", proptest::option::of(0u32..2_000_000_000), any::<bool>());
    let shuffles = (Just((0..4usize).collect::<Vec<_>>()).prop_shuffle(), proptest::option::of("\\PC{0,5}"));
    (fields, shuffles).prop_map(|((shard, sequence, data, key, arrival, zero), (order, foreign))| {
        let mut inner = serde_json::Map::new();
        if let Some(arrival) = arrival {
            let number = if zero { json!(arrival) } else { json!(f64::from(arrival) + 0.5) };
            inner.insert("approximateArrivalTimestamp".into(), number);
        }
        inner.insert("partitionKey".into(), json!(key));
        inner.insert("sequenceNumber".into(), json!(sequence));
        inner.insert("data".into(), json!(data));
        let mut outer = serde_json::Map::new();
        for i in order {
            let (name, value) = match i {
                0 => ("kinesis", Json::Object(inner.clone())),
                1 => ("eventSource", json!("aws:kinesis")),
                2 => ("eventID", json!(format!("s-{shard}:{sequence}"))),
                _ => ("eventSourceARN", json!("arn")),
            };
            if let (2, Some(foreign)) = (i, &foreign) {
                outer.insert(format!("x{foreign}"), json!([foreign, { "data": foreign }]));
            }
            outer.insert(name.into(), value);
        }
        Json::Object(outer)
    })
}

type Plain = (String, u128, Vec<u8>, Vec<u8>, Option<i64>, bool);

/// What a plain reading of the event gives.
fn plainly(event: &[u8]) -> Vec<Plain> {
    let event: Json = serde_json::from_slice(event).unwrap();
    let read = |record: &Json| {
        let kinesis = &record["kinesis"];
        let text = |value: &Json| value.as_str().unwrap().to_owned();
        let data = text(&kinesis["data"]);
        let decoded = base64_simd::STANDARD.decode_to_vec(&data);
        let broken = decoded.is_err();
        let arrival = kinesis["approximateArrivalTimestamp"].as_f64().map(|seconds| (seconds * 1e6) as i64);
        let shard = text(&record["eventID"]).split(':').next().unwrap().to_owned();
        let digits = text(&kinesis["sequenceNumber"]);
        let tail: u128 = digits[digits.len().saturating_sub(30)..].parse().unwrap();
        let key = text(&kinesis["partitionKey"]).into_bytes();
        (shard, tail, key, decoded.unwrap_or_else(|_| data.into_bytes()), arrival, broken)
    };
    let mut all: Vec<_> = event["Records"].as_array().unwrap().iter().map(read).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

fn ours(event: &[u8]) -> Vec<Plain> {
    let mut all = Vec::new();
    for batch in split_kinesis(event).unwrap() {
        for r in batch.records.iter() {
            let digits = r.position.sequence.to_string();
            let tail: u128 = digits[digits.len().saturating_sub(30)..].parse().unwrap();
            let key = r.key.unwrap().to_vec();
            let arrival = r.arrival.map(|at| at.0);
            all.push((batch.partition.clone(), tail, key, r.payload.to_vec(), arrival, r.fault.is_some()));
        }
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

proptest! {
    #[test]
    fn equals_a_plain_reading(records in proptest::collection::vec(any_record(), 0..12), pretty: bool) {
        let value = json!({ "Records": records });
        let event = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) }.unwrap();
        prop_assert_eq!(ours(&event), plainly(&event));
    }

    #[test]
    fn never_panics(at in 0usize..2000, change in proptest::collection::vec(any::<u8>(), 0..6), cut in 0usize..2000) {
        let mut event = include_bytes!("../fixtures/kinesis_several_records.json").to_vec();
        let at = at.min(event.len());
        let end = (at + change.len()).min(event.len());
        event.splice(at..end, change.iter().copied());
        event.truncate(event.len().saturating_sub(cut / 4));
        let _ = (detect(&event), split_kinesis(&event), crate::split_kafka(&event));
        let _ = (detect(&change), split_kinesis(&change), crate::split_kafka(&change));
    }
}
