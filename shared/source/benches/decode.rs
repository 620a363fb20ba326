//! How fast records become columns, with a hash of the columns to show that the work was done.
//!
//! `cargo bench -p tidegate-source --bench decode [-- FILTER]`

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::fmt::Write;
use std::time::{Duration, Instant};

use arrow_array::{Array, RecordBatch};
use tidegate_core::Position;
use tidegate_core::types::parse_columns;
use tidegate_source::{Column, JsonDecoder, LineReader, Records, SourceSchema, split_kinesis};

const RECORDS: usize = 100_000;
const EVENT_RECORDS: usize = 6_600;
const BUDGET: Duration = Duration::from_millis(1500);

fn main() {
    let filter = std::env::args().nth(1).filter(|arg| !arg.starts_with('-')).unwrap_or_default();
    let run = |name: &str| name.contains(&filter);
    let treasury = || (0..RECORDS).map(treasury_line).collect::<Vec<_>>();
    if run("treasury decode") {
        decode("treasury decode (85 bytes)", TREASURY, &treasury());
    }
    if run("treasury decimal decode") {
        decode("treasury decimal decode", &TREASURY.replace("double", "decimal(12,2)"), &treasury());
    }
    if run("treasury lines and decode") {
        lines("treasury lines and decode", TREASURY, &treasury());
    }
    if run("kinesis split") {
        kinesis("kinesis split (300 bytes)", false);
    }
    if run("kinesis to arrow") {
        kinesis("kinesis to arrow (300 bytes)", true);
    }
    if run("wide decode") {
        decode("wide decode (20 columns)", WIDE, &(0..RECORDS).map(wide_line).collect::<Vec<_>>());
    }
}

const TREASURY: &str = "branch string, currency string, amount double, ts timestamp";
const WIDE: &str = "c0 string, c1 bigint, c2 double, c3 boolean, c4 timestamp, c5 decimal(12,2), c6 date, \
    c7 array<int>, c8 struct<a:int,b:string>, c9 map<string,int>, c10 string, c11 bigint, c12 double, c13 boolean, \
    c14 timestamp, c15 string, c16 int, c17 float, c18 struct<x:double,y:struct<z:bigint>>, c19 string";

fn schema(ddl: &str) -> SourceSchema {
    let column = |(name, ty)| Column { name, ty, timestamp_unit: None };
    let columns = parse_columns(ddl).expect("the bench's own DDL").into_iter().map(column).collect();
    SourceSchema { columns, metadata: Vec::new() }
}

fn random(i: usize) -> usize {
    (i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29) as usize >> 8
}

fn treasury_line(i: usize) -> String {
    let currency = ["USD", "EUR", "RUB", "GBP"][random(i) % 4];
    let (branch, cents) = (random(i) % 500, random(i + 7) % 10_000);
    let (second, milli) = (i / 1000 % 60, i % 1000);
    format!(
        r#"{{"branch":"b{branch}","currency":"{currency}","amount":{}.{:02},"ts":"2026-01-01T00:00:{second:02}.{milli:03}Z"}}"#,
        cents / 100,
        cents % 100
    )
}

/// A treasury record with fields that no column takes, 300 bytes together.
fn padded_line(i: usize) -> String {
    let mut line = treasury_line(i);
    line.pop();
    write!(line, r#","trace":"{:016x}","note":""#, random(i)).expect("writing to a string");
    while line.len() < 298 {
        line.push((b'a' + (line.len() % 26) as u8) as char);
    }
    line + "\"}"
}

fn wide_line(i: usize) -> String {
    let value = |c: usize| match c {
        0 | 10 | 15 | 19 => format!("\"text {}\"", random(i + c) % 1000),
        1 | 11 => (random(i + c) % 1_000_000_000).to_string(),
        2 | 12 | 17 => format!("{}.{}", random(i + c) % 1000, random(i) % 1000),
        3 | 13 => random(i + c).is_multiple_of(2).to_string(),
        4 | 14 => format!("\"2026-01-01 10:{:02}:{:02}.250\"", i / 60 % 60, i % 60),
        5 => format!("{}.{:02}", random(i) % 10_000, i % 100),
        6 => format!("\"2026-02-{:02}\"", 1 + i % 28),
        7 => format!("[{}, {}, null]", i % 10, i % 7),
        8 => format!(r#"{{"a":{},"b":"x{}"}}"#, i % 100, i % 3),
        9 => format!(r#"{{"k{}":{},"other":1}}"#, i % 5, i % 100),
        16 => (i % 1000).to_string(),
        _ => format!(r#"{{"x":0.5,"y":{{"z":{i}}}}}"#),
    };
    // Half of the columns are null: half of those are missing, half are written as null. The order changes.
    let mut line = String::from("{");
    for step in 0..20 {
        let c = (step * [1, 3, 7, 9][i % 4] + i) % 20;
        let text = match random(i * 31 + c) % 4 {
            0 => continue,
            1 => "null".to_owned(),
            _ => value(c),
        };
        write!(line, "{}\"c{c}\":{text}", if line.len() > 1 { "," } else { "" }).expect("writing to a string");
    }
    line + "}"
}

fn decode(name: &str, ddl: &str, lines: &[String]) {
    let mut records = Records::new();
    for (i, line) in lines.iter().enumerate() {
        records.push(Position::new(i as u64 + 1), None, None, Vec::new(), line.as_bytes());
    }
    let mut decoder = JsonDecoder::new(schema(ddl));
    measure(name, lines.len(), records.bytes(), || {
        let decoded = decoder.decode(&records, "0").expect("the batch is small");
        assert!(decoded.rejected.is_empty(), "{:?}", decoded.rejected[0]);
        vec![decoded.batch]
    });
}

fn lines(name: &str, ddl: &str, lines: &[String]) {
    let text = lines.join("\n");
    let mut decoder = JsonDecoder::new(schema(ddl));
    let mut records = Records::new();
    measure(name, lines.len(), text.len(), || {
        let mut reader = LineReader::new(text.as_bytes());
        let mut batches = Vec::new();
        loop {
            records.clear();
            if reader.read(EVENT_RECORDS, &mut records).expect("reading memory") == 0 {
                return batches;
            }
            batches.push(decoder.decode(&records, "0").expect("the batch is small").batch);
        }
    });
}

fn kinesis(name: &str, arrow: bool) {
    let mut event = String::from("{\"Records\":[");
    for i in 0..EVENT_RECORDS {
        let data = base64_simd::STANDARD.encode_to_string(padded_line(i));
        let sequence = format!("49590338271490256608559692538361571095921575989{:09}", 136_588_898 + i);
        write!(
            event,
            r#"{}{{"kinesis":{{"kinesisSchemaVersion":"1.0","partitionKey":"b{}","sequenceNumber":"{sequence}","data":"{data}","approximateArrivalTimestamp":1545084650.{:03}}},"eventSource":"aws:kinesis","eventVersion":"1.0","eventID":"shardId-000000000006:{sequence}","eventName":"aws:kinesis:record","invokeIdentityArn":"arn:aws:iam::123456789012:role/lambda-role","awsRegion":"us-east-2","eventSourceARN":"arn:aws:kinesis:us-east-2:123456789012:stream/lambda-stream"}}"#,
            if i > 0 { "," } else { "" },
            i % 500,
            100 + i % 900
        )
        .expect("writing to a string");
    }
    event.push_str("]}");
    let mut decoder = JsonDecoder::new(schema(TREASURY));
    measure(name, EVENT_RECORDS, event.len(), || {
        let mut batches = Vec::new();
        for batch in split_kinesis(event.as_bytes()).expect("the bench's own event") {
            if arrow {
                batches.push(decoder.decode(&batch.records, &batch.partition).expect("the batch is small").batch);
            } else {
                std::hint::black_box(&batch.records);
            }
        }
        batches
    });
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures with the machine's clock")]
fn measure(name: &str, records: usize, bytes: usize, mut run: impl FnMut() -> Vec<RecordBatch>) {
    let hash = hash(&run());
    let start = Instant::now();
    let mut best = Duration::MAX;
    while start.elapsed() < BUDGET {
        let from = Instant::now();
        std::hint::black_box(run());
        best = best.min(from.elapsed());
    }
    let seconds = best.as_secs_f64();
    println!(
        "{name:32} {:7.2} M records/s {:7.0} MB/s {:7.1} ns/record  hash {hash:08x}",
        records as f64 / seconds / 1e6,
        bytes as f64 / seconds / 1e6,
        seconds * 1e9 / records as f64
    );
}

/// A checksum over the content of all columns, the same for the same rows.
fn hash(batches: &[RecordBatch]) -> u32 {
    fn add(array: &dyn Array, hasher: &mut crc32fast::Hasher) {
        let data = array.to_data();
        for row in 0..array.len() {
            hasher.update(&[u8::from(array.is_valid(row))]);
        }
        for buffer in data.buffers() {
            hasher.update(buffer);
        }
        for child in data.child_data() {
            add(&*arrow_array::make_array(child.clone()), hasher);
        }
    }
    let mut hasher = crc32fast::Hasher::new();
    for batch in batches {
        batch.columns().iter().for_each(|column| add(column, &mut hasher));
    }
    hasher.finalize()
}
