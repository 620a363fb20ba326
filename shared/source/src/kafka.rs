//! Kafka events (MSK and self-managed): `{"eventSource":"aws:kafka","records":{"topic-0":[{...}]}}`.

use tidegate_core::{Error, Position, Result, Timestamp};

use crate::base64;
use crate::envelope::{self, PartitionBatch, RawRecord, Template, Value, Variable};
use crate::inflate::Budget;
use crate::records::{Meta, Records};
use crate::scan::{self, Syntax};

/// The most headers that one record may have.
const MAX_HEADERS: usize = 1000;

/// Cuts a Kafka event into one batch per topic and partition, in the event's order.
///
/// Strict about the envelope: a record without offset, topic or partition is [`tidegate_core::ErrorKind::Invalid`]
/// and the message names the record. Lenient about payloads: broken base64 or gzip marks the one record as
/// undecodable. A record without a value (a tombstone) has an empty payload.
pub fn split_kafka(event: &[u8]) -> Result<Vec<PartitionBatch>> {
    let mut splitter = Splitter { event, batches: Vec::new(), budget: Budget::default(), taken: 0 };
    let mut source = None;
    let mut seen = false;
    let mut failure = None;
    let end = envelope::object(event, scan::blanks(event, 0), |key, at| match key {
        b"eventSource" => {
            let (value, _, end) = Value::read(event, at)?;
            source = Some(value);
            Ok(Some(end))
        }
        b"records" => {
            seen = true;
            splitter.partitions(at, &mut failure)
        }
        _ => scan::skip(event, at, 1).map(Some),
    });
    if let Some(error) = failure {
        return Err(error);
    }
    let end = end.map_err(|e| envelope::damaged("the event", event, &e))?;
    envelope::check_end(event, end.unwrap_or(event.len()))?;
    match source {
        Some(Value::Text(text)) if matches!(text.raw(event), b"aws:kafka" | b"SelfManagedKafka") => {}
        Some(other) => return Err(envelope::unknown_source(other.raw(event))),
        None => return Err(Error::invalid("the event has no eventSource").with_help("this is no Kafka event")),
    }
    if !seen {
        return Err(Error::invalid("the event has no records").with_help("this is no Kafka event"));
    }
    Ok(splitter.batches)
}

struct Splitter<'a> {
    event: &'a [u8],
    batches: Vec<PartitionBatch>,
    budget: Budget,
    taken: usize,
}

impl Splitter<'_> {
    /// Reads `{"topic-0":[...],"topic-1":[...]}`.
    fn partitions(&mut self, at: usize, failure: &mut Option<Error>) -> Result<Option<usize>, Syntax> {
        let event = self.event;
        // The key's records share topic and partition, which the template takes for fixed.
        envelope::object(event, scan::blanks(event, at), |key, at| {
            let mut template: Option<Template<KafkaRecord>> = None;
            let name = envelope::shortened(key);
            let array = format!("the event's records of {name}");
            let end = envelope::array(event, at, &mut template, &array, |i, record| self.take(i, &name, record));
            Ok(end.map_err(|e| *failure = Some(e)).ok())
        })
    }

    fn take(&mut self, i: usize, partition: &str, record: &KafkaRecord) -> Result<()> {
        let name = || format!("record {i} of {partition} of the Kafka event");
        let wrong = |field: &str, why: &str| envelope::wrong_record(&name(), field, why);
        let b = self.event;
        self.taken += 1;
        if self.taken > envelope::MAX_EVENT_RECORDS {
            return Err(Error::invalid(format!("the event holds more than {} records", envelope::MAX_EVENT_RECORDS))
                .with_help("set the batch size of the event source mapping to 10000 or less"));
        }
        let offset = whole(b, record.offset).ok_or_else(|| wrong("offset", "is missing or no whole number"))?;
        let arrival = match record.timestamp {
            Some(value) if !value.is_null(b) => {
                let millis = whole(b, Some(value)).and_then(|millis| i64::try_from(millis).ok());
                // Kafka writes -1 where a record has no timestamp.
                let none = value.raw(b) == b"-1";
                let millis = millis.map(Timestamp::from_millis);
                if millis.is_none() && !none {
                    return Err(wrong("timestamp", "is no number of milliseconds"));
                }
                millis
            }
            _ => None,
        };
        let headers = match record.headers {
            Some(value) if !value.is_null(b) => {
                headers(b, value).ok_or_else(|| wrong("headers", "are no array of objects with arrays of bytes"))?
            }
            _ => Vec::new(),
        };
        let batch = self.batch(record, &wrong)?;
        let (mut key, mut scratch) = (Vec::new(), Vec::new());
        let key_ok = match record.key {
            Some(Value::Text(text)) => Some(base64::append_lenient(text.resolve(b, &mut scratch), &mut key)),
            Some(value) if !value.is_null(b) => return Err(wrong("key", "is no string")),
            _ => None,
        };
        if key_ok == Some(false) {
            key.extend_from_slice(record.key.map_or(&[], |key| key.raw(b)));
        }
        let data = match record.value {
            Some(Value::Text(text)) => text.resolve(b, &mut scratch),
            Some(value) if !value.is_null(b) => return Err(wrong("value", "is no string")),
            _ => b"",
        };
        let key_ref = key_ok.map(|_| key.as_slice());
        let meta = Meta { position: Position::new(offset), arrival, key: key_ref, headers };
        let records = &mut self.batches[batch].records;
        push_payload(records, data, meta, &mut self.budget);
        if key_ok == Some(false) {
            records.mark_last("the record's key is no base64".to_owned());
        }
        Ok(())
    }

    /// The batch of the record's partition; made when it is the first one.
    fn batch(&mut self, record: &KafkaRecord, wrong: &dyn Fn(&str, &str) -> Error) -> Result<usize> {
        let b = self.event;
        let topic = match record.topic {
            Some(Value::Text(text)) if text.end > text.start => envelope::Value::Text(text),
            _ => return Err(wrong("topic", "is missing or empty")),
        };
        if whole(b, record.partition).is_none() {
            return Err(wrong("partition", "is missing or no whole number"));
        }
        let partition = record.partition.map_or(&b""[..], |value| value.raw(b));
        if let Some(found) = envelope::batch_of(&self.batches, topic.raw(b), partition) {
            return Ok(found);
        }
        let Value::Text(text) = topic else { return Err(wrong("topic", "is no string")) };
        let origin = envelope::owned(b, text);
        let partition = String::from_utf8_lossy(partition).into_owned();
        // A topic that is written with escapes is found by its resolved name only.
        if let Some(found) = envelope::batch_of(&self.batches, origin.as_bytes(), partition.as_bytes()) {
            return Ok(found);
        }
        self.batches.push(PartitionBatch { origin, partition, records: Records::new() });
        Ok(self.batches.len() - 1)
    }
}

fn push_payload(records: &mut Records, data: &[u8], meta: Meta<'_>, budget: &mut Budget) {
    let buffer = records.buffer();
    let start = buffer.len();
    let reason = if base64::append_lenient(data, buffer) {
        budget.inflate(buffer, start).err()
    } else {
        buffer.extend_from_slice(data);
        Some("the record's value is no base64".to_owned())
    };
    records.finish(meta, start);
    if let Some(reason) = reason {
        records.mark_last(reason);
    }
}

/// A whole number that is not negative.
fn whole(b: &[u8], value: Option<Value>) -> Option<u64> {
    let Some(Value::Raw { start, .. }) = value else { return None };
    let number = scan::number(b, start).ok()?;
    (number.integer && number.exact && !number.negative).then_some(number.mantissa)
}

/// Reads `[{"name":[104,105]},...]`. AWS writes bytes as signed or unsigned numbers; both are taken.
fn headers(b: &[u8], value: Value) -> Option<Vec<(String, Vec<u8>)>> {
    let Value::Raw { start, .. } = value else { return None };
    let mut headers = Vec::new();
    elements(b, start, |at| {
        let end = envelope::object(b, at, |key, at| {
            let name = String::from_utf8_lossy(key).into_owned();
            let (bytes, end) = byte_array(b, at).ok_or(Syntax { at, what: "an array of bytes is expected" })?;
            headers.push((name, bytes));
            Ok(Some(end))
        });
        end.ok().flatten().filter(|_| headers.len() <= MAX_HEADERS)
    })?;
    (headers.len() <= MAX_HEADERS).then_some(headers)
}

fn byte_array(b: &[u8], at: usize) -> Option<(Vec<u8>, usize)> {
    let mut bytes = Vec::new();
    let at = scan::blanks(b, at);
    if b.get(at..at + 4) == Some(b"null") {
        return Some((bytes, at + 4));
    }
    let end = elements(b, at, |at| {
        let number = scan::number(b, at).ok().filter(|number| number.integer && number.exact)?;
        let limit = if number.negative { 128 } else { 255 };
        let value = u8::try_from(number.mantissa).ok().filter(|value| *value <= limit)?;
        bytes.push(if number.negative { value.wrapping_neg() } else { value });
        Some(number.end)
    })?;
    Some((bytes, end))
}

/// Reads an array; `element` gets the index of each element and returns the one behind it.
fn elements(b: &[u8], at: usize, mut element: impl FnMut(usize) -> Option<usize>) -> Option<usize> {
    let at = scan::blanks(b, at);
    if b.get(at) != Some(&b'[') {
        return None;
    }
    let mut i = scan::blanks(b, at + 1);
    if b.get(i) == Some(&b']') {
        return Some(i + 1);
    }
    loop {
        i = scan::blanks(b, element(i)?);
        match b.get(i) {
            Some(b',') => i = scan::blanks(b, i + 1),
            Some(b']') => return Some(i + 1),
            _ => return None,
        }
    }
}

/// The values of one record, as places in the event.
#[derive(Clone, Default)]
struct KafkaRecord {
    topic: Option<Value>,
    partition: Option<Value>,
    offset: Option<Value>,
    timestamp: Option<Value>,
    key: Option<Value>,
    value: Option<Value>,
    headers: Option<Value>,
    variables: [Option<Variable>; VARIABLES],
}

const VARIABLES: usize = 5;
const OFFSET: u8 = 0;
const TIMESTAMP: u8 = 1;
const KEY: u8 = 2;
const VALUE: u8 = 3;
const HEADERS: u8 = 4;

impl RawRecord for KafkaRecord {
    fn read(b: &[u8], at: usize) -> Result<(Self, usize), Syntax> {
        let mut record = Self::default();
        let end = envelope::object(b, at, |key, at| {
            let slot = match key {
                b"offset" => OFFSET,
                b"timestamp" => TIMESTAMP,
                b"key" => KEY,
                b"value" => VALUE,
                b"headers" => HEADERS,
                b"topic" | b"partition" => {
                    let (value, _, end) = Value::read(b, at)?;
                    let place = if key == b"topic" { &mut record.topic } else { &mut record.partition };
                    *place = Some(value);
                    return Ok(Some(end));
                }
                _ => return scan::skip(b, at, 4).map(Some),
            };
            let (value, start, end) = Value::read(b, at)?;
            record.put(slot, value);
            record.variables[usize::from(slot)] = Some(Variable { slot, start, end });
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
            OFFSET => &mut self.offset,
            TIMESTAMP => &mut self.timestamp,
            KEY => &mut self.key,
            VALUE => &mut self.value,
            _ => &mut self.headers,
        };
        *place = Some(value);
    }
}

#[cfg(test)]
#[path = "kafka_tests.rs"]
mod tests;
