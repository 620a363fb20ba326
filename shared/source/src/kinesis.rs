//! Kinesis events: `{"Records":[{"kinesis":{...},"eventSource":"aws:kinesis",...}]}`.

use tidegate_core::{Error, Position, Result, Sequence};

use crate::envelope::{self, PartitionBatch, RawRecord, Template, Value, Variable};
use crate::inflate::Budget;
use crate::records::{Meta, Records};
use crate::scan::{self, Syntax};
use crate::{base64, kpl};

/// Cuts a Kinesis event into one batch per shard, in the order in which shards come first.
///
/// Strict about the envelope: an event that lacks a sequence number, a shard or a partition key is
/// [`tidegate_core::ErrorKind::Invalid`] and the message names the record. Lenient about payloads: broken base64,
/// gzip or KPL aggregation marks the one record as undecodable.
///
/// User records of an aggregated record have the positions `(sequence number, 0)`, `(sequence number, 1)`, ...
pub fn split_kinesis(event: &[u8]) -> Result<Vec<PartitionBatch>> {
    let mut splitter = Splitter {
        event,
        batches: Vec::new(),
        budget: Budget::default(),
        expected: envelope::estimate(event, b"\"sequenceNumber\""),
        scratch: Vec::new(),
    };
    let mut template: Option<Template<KinesisRecord>> = None;
    let mut seen = false;
    let mut failure = None;
    let end = envelope::object(event, scan::blanks(event, 0), |key, at| {
        if key != b"Records" {
            return scan::skip(event, at, 1).map(Some);
        }
        seen = true;
        let records =
            envelope::array(event, at, &mut template, "the event's Records", |i, record| splitter.take(i, record));
        Ok(records.map_err(|e| failure = Some(e)).ok())
    });
    if let Some(error) = failure {
        return Err(error);
    }
    let end = end.map_err(|e| envelope::damaged("the event", event, &e))?;
    envelope::check_end(event, end.unwrap_or(event.len()))?;
    if !seen {
        return Err(Error::invalid("the event has no Records").with_help("this is no Kinesis event"));
    }
    Ok(splitter.batches)
}

struct Splitter<'a> {
    event: &'a [u8],
    batches: Vec<PartitionBatch>,
    budget: Budget,
    expected: usize,
    scratch: Vec<u8>,
}

impl Splitter<'_> {
    fn take(&mut self, i: usize, record: &KinesisRecord) -> Result<()> {
        let name = || format!("record {i} of the Kinesis event");
        let wrong = |field: &str, why: &str| envelope::wrong_record(&name(), field, why);
        let b = self.event;
        match record.source {
            Some(Value::Text(text)) if text.raw(b) == b"aws:kinesis" => {}
            Some(other) => return Err(envelope::unknown_source(other.raw(b)).within(name())),
            None => return Err(wrong("eventSource", "is missing")),
        }
        let sequence = match record.sequence {
            Some(Value::Text(text)) => Sequence::from_decimal(text.raw(b)).ok_or_else(|| {
                wrong("sequenceNumber", &format!("'{}' is no decimal number", envelope::shortened(text.raw(b))))
            })?,
            Some(_) => return Err(wrong("sequenceNumber", "is no string")),
            None => return Err(wrong("sequenceNumber", "is missing")),
        };
        let arrival = match record.arrival {
            Some(value) if !value.is_null(b) => Some(
                envelope::seconds(b, value)
                    .ok_or_else(|| wrong("approximateArrivalTimestamp", "is no number of seconds"))?,
            ),
            _ => None,
        };
        let Some(Value::Text(key)) = record.key else { return Err(wrong("partitionKey", "is missing or no string")) };
        let Some(Value::Text(data)) = record.data else { return Err(wrong("data", "is missing or no string")) };
        let batch = self.batch(record, &wrong)?;
        let records = &mut self.batches[batch].records;
        let key = key.resolve(b, &mut self.scratch);
        let meta = Meta { position: Position { sequence, sub: 0 }, arrival, key: Some(key), headers: Vec::new() };
        let mut data_scratch = Vec::new();
        push_payload(records, data.resolve(b, &mut data_scratch), meta, &mut self.budget);
        Ok(())
    }

    /// The batch of the record's shard; made when it is the first one.
    fn batch(&mut self, record: &KinesisRecord, wrong: &dyn Fn(&str, &str) -> Error) -> Result<usize> {
        let b = self.event;
        let Some(Value::Text(id)) = record.event_id else { return Err(wrong("eventID", "is missing or no string")) };
        let id = id.raw(b);
        let shard = memchr::memchr(b':', id).map(|at| &id[..at]).filter(|shard| !shard.is_empty());
        let Some(shard) = shard else {
            return Err(wrong("eventID", &format!("'{}' names no shard", envelope::shortened(id))));
        };
        let stream = match record.stream {
            Some(Value::Text(text)) if text.end > text.start => text.raw(b),
            _ => return Err(wrong("eventSourceARN", "is missing or empty")),
        };
        if let Some(found) = envelope::batch_of(&self.batches, stream, shard) {
            return Ok(found);
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let room = if self.batches.is_empty() { self.expected } else { 0 };
        let mut records = Records::with_capacity(room, if room > 0 { b.len() / 2 } else { 0 });
        records.set_hashed();
        self.batches.push(PartitionBatch { origin: text(stream), partition: text(shard), records });
        Ok(self.batches.len() - 1)
    }
}

/// Decodes base64, KPL aggregation and gzip into the batch's buffer.
fn push_payload(records: &mut Records, data: &[u8], meta: Meta<'_>, budget: &mut Budget) {
    let buffer = records.buffer();
    let start = buffer.len();
    if !base64::append_lenient(data, buffer) {
        buffer.extend_from_slice(data);
        records.finish(meta, start);
        records.mark_last("the record's data is no base64".to_owned());
    } else if kpl::is_aggregated(&buffer[start..]) {
        push_aggregated(records, start, meta, budget);
    } else {
        let inflated = budget.inflate(buffer, start);
        records.finish(meta, start);
        if let Err(reason) = inflated {
            records.mark_last(reason);
        }
    }
}

fn push_aggregated(records: &mut Records, start: usize, meta: Meta<'_>, budget: &mut Budget) {
    let packed = records.buffer().split_off(start);
    match kpl::user_records(&packed) {
        Err(reason) => {
            records.buffer().extend_from_slice(&packed);
            records.finish(meta, start);
            records.mark_last(reason);
        }
        Ok(user_records) => {
            for (sub, record) in (0..).zip(user_records) {
                let buffer = records.buffer();
                let start = buffer.len();
                buffer.extend_from_slice(record.data);
                let inflated = budget.inflate(buffer, start);
                let position = Position { sequence: meta.position.sequence, sub };
                let headers = Vec::new();
                records.finish(Meta { position, arrival: meta.arrival, key: Some(record.key), headers }, start);
                let outer = meta.key.unwrap_or_default();
                if outer != record.key || record.hash.is_some() {
                    records.hash_last(record.hash(outer));
                }
                if let Err(reason) = inflated {
                    records.mark_last(reason);
                }
            }
        }
    }
}

/// The values of one record, as places in the event.
#[derive(Clone, Default)]
struct KinesisRecord {
    source: Option<Value>,
    stream: Option<Value>,
    event_id: Option<Value>,
    key: Option<Value>,
    sequence: Option<Value>,
    data: Option<Value>,
    arrival: Option<Value>,
    variables: [Option<Variable>; VARIABLES],
}

const VARIABLES: usize = 5;
const EVENT_ID: u8 = 0;
const KEY: u8 = 1;
const SEQUENCE: u8 = 2;
const DATA: u8 = 3;
const ARRIVAL: u8 = 4;

impl KinesisRecord {
    /// Reads the value of `slot` at `at`; a later one of the same key wins.
    fn variable(&mut self, b: &[u8], slot: u8, at: usize) -> Result<usize, Syntax> {
        let (value, start, end) = Value::read(b, at)?;
        self.put(slot, value);
        self.variables[usize::from(slot)] = Some(Variable { slot, start, end });
        Ok(end)
    }

    fn inner(&mut self, b: &[u8], at: usize) -> Result<usize, Syntax> {
        let end = envelope::object(b, scan::blanks(b, at), |key, at| {
            let slot = match key {
                b"partitionKey" => KEY,
                b"sequenceNumber" => SEQUENCE,
                b"data" => DATA,
                b"approximateArrivalTimestamp" => ARRIVAL,
                _ => return scan::skip(b, at, 4).map(Some),
            };
            self.variable(b, slot, at).map(Some)
        })?;
        Ok(end.unwrap_or(at))
    }
}

impl RawRecord for KinesisRecord {
    fn read(b: &[u8], at: usize) -> Result<(Self, usize), Syntax> {
        let mut record = Self::default();
        let end = envelope::object(b, at, |key, at| {
            let fixed = match key {
                b"kinesis" => return record.inner(b, at).map(Some),
                b"eventID" => return record.variable(b, EVENT_ID, at).map(Some),
                b"eventSource" => &mut record.source,
                b"eventSourceARN" => &mut record.stream,
                _ => return scan::skip(b, at, 3).map(Some),
            };
            let (value, _, end) = Value::read(b, at)?;
            *fixed = Some(value);
            Ok(Some(end))
        })?;
        Ok((record, end.unwrap_or(at)))
    }

    fn variables(&self) -> Vec<Variable> {
        self.variables.iter().flatten().copied().collect()
    }

    #[inline]
    fn put(&mut self, slot: u8, value: Value) {
        let place = match slot {
            EVENT_ID => &mut self.event_id,
            KEY => &mut self.key,
            SEQUENCE => &mut self.sequence,
            DATA => &mut self.data,
            _ => &mut self.arrival,
        };
        *place = Some(value);
    }
}

#[cfg(test)]
#[path = "kinesis_tests.rs"]
mod tests;
