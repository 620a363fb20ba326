//! What the events of all sources have in common: the JSON around the payloads, read without building a tree.
//!
//! Records of one event differ in few places. The scanner reads the first record key by key, remembers the bytes
//! between the values that may change, and compares the next records with them. Where they differ (other key
//! order, blanks, unknown keys, escapes) it reads key by key again, so the answer never depends on the guess.

use memchr::memmem;
use tidegate_core::{Error, Result, Timestamp};

use crate::records::Records;
use crate::scan::{self, Syntax, Text};

/// The most records that one event may hold: the limit of AWS's event source mappings.
pub const MAX_EVENT_RECORDS: usize = 10_000;

/// The records of one partition, as one event brought them.
#[derive(Clone, Debug)]
pub struct PartitionBatch {
    /// Stream ARN (Kinesis) or topic (Kafka).
    pub origin: String,
    /// Shard id (Kinesis) or partition number (Kafka).
    pub partition: String,
    /// The records, in the event's order.
    pub records: Records,
}

/// Which source an event comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// Kinesis Data Streams.
    Kinesis,
    /// Amazon MSK or self-managed Kafka.
    Kafka,
}

/// Says which source an event comes from, by its `eventSource`.
pub fn detect(event: &[u8]) -> Result<EventKind> {
    let mut source = None;
    let mut has_records = false;
    object(event, scan::blanks(event, 0), |key, at| {
        match key {
            b"eventSource" => source = Some(text_value(event, at)?),
            b"Records" => {
                has_records = true;
                source = first_source(event, at)?.or(source);
                // Nothing behind the records can change the answer; they are most of the event.
                return if source.is_some() { Ok(None) } else { Ok(Some(scan::skip(event, at, 1)?)) };
            }
            _ => {}
        }
        scan::skip(event, at, 1).map(Some)
    })
    .map_err(|e| damaged("the event", event, &e))?;
    match source.as_ref().map(|text| text.raw(event)) {
        Some(b"aws:kinesis") => Ok(EventKind::Kinesis),
        Some(b"aws:kafka" | b"SelfManagedKafka") => Ok(EventKind::Kafka),
        Some(other) => Err(unknown_source(other)),
        None if has_records => Err(no_source("its records name no eventSource")),
        None => Err(no_source("it names no eventSource")),
    }
}

/// The `eventSource` of the first element of the array at `at`.
fn first_source(event: &[u8], at: usize) -> Result<Option<Text>, Syntax> {
    let at = scan::blanks(event, at);
    if event.get(at) != Some(&b'[') {
        return Ok(None);
    }
    let mut source = None;
    let first = scan::blanks(event, at + 1);
    if event.get(first) == Some(&b'{') {
        object(event, first, |key, at| {
            if key == b"eventSource" {
                source = Some(text_value(event, at)?);
            }
            scan::skip(event, at, 2).map(Some)
        })?;
    }
    Ok(source)
}

fn no_source(why: &str) -> Error {
    Error::invalid(format!("the event comes from no source that Tidegate reads: {why}"))
        .with_help("connect the function to a Kinesis stream, an MSK topic or a self-managed Kafka topic")
}

/// The error for an `eventSource` that is not read here.
pub(crate) fn unknown_source(seen: &[u8]) -> Error {
    no_source(&format!("its eventSource is '{}'", shortened(seen)))
}

/// Reads the object at `at`, which must be its brace. `visit` gets each key (escapes resolved) and the index behind
/// its colon, and returns the index behind the value, or `None` to stop. Returns the index behind the object.
#[inline]
pub(crate) fn object(
    b: &[u8],
    at: usize,
    mut visit: impl FnMut(&[u8], usize) -> Result<Option<usize>, Syntax>,
) -> Result<Option<usize>, Syntax> {
    if b.get(at) != Some(&b'{') {
        return scan::syntax(at, "an object is expected");
    }
    let mut scratch = Vec::new();
    let mut i = scan::blanks(b, at + 1);
    if b.get(i) == Some(&b'}') {
        return Ok(Some(i + 1));
    }
    loop {
        let (key, value) = scan::key(b, i)?;
        let Some(end) = visit(key.resolve(b, &mut scratch), value)? else { return Ok(None) };
        i = scan::blanks(b, end);
        match b.get(i) {
            Some(b',') => i = scan::blanks(b, i + 1),
            Some(b'}') => return Ok(Some(i + 1)),
            _ => return scan::syntax(i, "a comma or a closing brace is expected"),
        }
    }
}

/// The string at or behind `at`.
#[inline]
pub(crate) fn text_value(b: &[u8], at: usize) -> Result<Text, Syntax> {
    let at = scan::blanks(b, at);
    if b.get(at) == Some(&b'"') { scan::string(b, at + 1) } else { scan::syntax(at, "a string is expected") }
}

/// The text of a string value, escapes resolved.
pub(crate) fn owned(b: &[u8], text: Text) -> String {
    let mut scratch = Vec::new();
    String::from_utf8_lossy(text.resolve(b, &mut scratch)).into_owned()
}

/// Text of the event for a message: short, and readable whatever it holds.
pub(crate) fn shortened(bytes: &[u8]) -> String {
    const SHOWN: usize = 60;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * SHOWN)]);
    let mut short: String = text.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().count() > SHOWN || bytes.len() > 4 * SHOWN {
        short.push_str("...");
    }
    short
}

/// The error for an event, or a record of it, that is no JSON of the expected shape.
pub(crate) fn damaged(what: &str, b: &[u8], error: &Syntax) -> Error {
    let at = error.at.min(b.len());
    let near = shortened(&b[at..b.len().min(at + 30)]);
    let place = if near.is_empty() { "at its end".to_owned() } else { format!("at byte {at}, near '{near}'") };
    Error::invalid(format!("{what} cannot be read: {} {place}", error.what))
        .with_help("the event must be passed on exactly as AWS Lambda hands it over")
}

/// The error for a record that lacks something, or has it in a wrong form.
pub(crate) fn wrong_record(record: &str, field: &str, why: &str) -> Error {
    Error::invalid(format!("{record}: {field} {why}"))
        .with_help("AWS writes it into every record; check what stands between the stream and this function")
}

/// One value of a record that may change from record to record: its place in the event.
pub(crate) trait RawRecord: Clone {
    /// Reads a record key by key. Returns it and the index behind it.
    fn read(b: &[u8], at: usize) -> Result<(Self, usize), Syntax>;

    /// The values that may change, where they stood, in any order.
    fn variables(&self) -> Vec<Variable>;

    /// Puts a value that was found by the template into its place.
    fn put(&mut self, slot: u8, value: Value);
}

/// A value that may change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Variable {
    /// Which one, as [`RawRecord::put`] understands it.
    pub slot: u8,
    /// Index of its first byte (of the opening quote for strings).
    pub start: usize,
    /// Index behind it.
    pub end: usize,
}

/// A value of the envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// A string.
    Text(Text),
    /// Anything else, as it stands in the event.
    Raw { start: usize, end: usize },
}

impl Value {
    /// Reads the value at or behind `at`; with it the index where it starts and the one behind it.
    #[inline]
    pub fn read(b: &[u8], at: usize) -> Result<(Self, usize, usize), Syntax> {
        let start = scan::blanks(b, at);
        if b.get(start) == Some(&b'"') {
            let text = scan::string(b, start + 1)?;
            return Ok((Self::Text(text), start, text.end + 1));
        }
        let end = match b.get(start) {
            Some(b'0'..=b'9') => scan::number(b, start)?.end,
            _ => scan::skip(b, start, 3)?,
        };
        Ok((Self::Raw { start, end }, start, end))
    }

    /// Whether it is `null`.
    pub fn is_null(&self, b: &[u8]) -> bool {
        matches!(self, Self::Raw { start, end } if &b[*start..*end] == b"null")
    }

    /// The bytes as they stand in the event: without quotes for strings.
    #[inline]
    pub fn raw<'a>(&self, b: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Text(text) => text.raw(b),
            Self::Raw { start, end } => &b[*start..*end],
        }
    }
}

/// Reads records by comparing them with the first one.
pub(crate) struct Template<R> {
    /// The first record; its variables are overwritten by each record that fits.
    fitting: R,
    /// The last record that did not fit.
    other: R,
    /// Before each variable: the bytes that must stand there, as a range of the event.
    parts: Vec<(u8, std::ops::Range<usize>)>,
    tail: std::ops::Range<usize>,
}

impl<R: RawRecord> Template<R> {
    /// Learns from a record that stands at `start..end`.
    pub fn learn(first: R, start: usize, end: usize) -> Self {
        let mut variables = first.variables();
        variables.sort_by_key(|variable| variable.start);
        let mut from = start;
        let parts = variables
            .iter()
            .map(|variable| {
                let literal = from..variable.start;
                from = variable.end;
                (variable.slot, literal)
            })
            .collect();
        Self { other: first.clone(), fitting: first, parts, tail: from..end }
    }

    /// Reads the record at `at`: as the template says, or key by key.
    #[inline]
    pub fn read(&mut self, b: &[u8], at: usize) -> Result<(&R, usize), Syntax> {
        if let Some(end) = self.guess(b, at) {
            return Ok((&self.fitting, end));
        }
        let (record, end) = R::read(b, at)?;
        self.other = record;
        Ok((&self.other, end))
    }

    #[inline]
    fn guess(&mut self, b: &[u8], mut at: usize) -> Option<usize> {
        for (slot, literal) in &self.parts {
            at = same(b, at, literal)?;
            let (value, start, end) = Value::read(b, at).ok()?;
            // The literal ends where the value starts: a blank more is another shape.
            if start != at {
                return None;
            }
            self.fitting.put(*slot, value);
            at = end;
        }
        same(b, at, &self.tail)
    }
}

/// Whether the bytes at `at` are those of the range `literal`; the index behind them then.
#[inline]
fn same(b: &[u8], at: usize, literal: &std::ops::Range<usize>) -> Option<usize> {
    let end = at + literal.len();
    (b.get(at..end)? == &b[literal.clone()]).then_some(end)
}

/// Reads the array of records at or behind `at` and hands each to `take` with its number. Returns the index behind
/// the array. `name` is how a message calls the array.
pub(crate) fn array<R: RawRecord>(
    b: &[u8],
    at: usize,
    template: &mut Option<Template<R>>,
    name: &str,
    mut take: impl FnMut(usize, &R) -> Result<()>,
) -> Result<usize> {
    let at = scan::blanks(b, at);
    let wrong = |e: Syntax, record: usize| damaged(&format!("record {record} of {name}"), b, &e);
    if b.get(at) != Some(&b'[') {
        return Err(damaged(name, b, &Syntax { at, what: "an array is expected" }));
    }
    let mut i = scan::blanks(b, at + 1);
    if b.get(i) == Some(&b']') {
        return Ok(i + 1);
    }
    for number in 0.. {
        if number >= MAX_EVENT_RECORDS {
            return Err(Error::invalid(format!("{name} hold more than {MAX_EVENT_RECORDS} records"))
                .with_help("set the batch size of the event source mapping to 10000 or less"));
        }
        let end = match template {
            Some(template) => {
                let (record, end) = template.read(b, i).map_err(|e| wrong(e, number))?;
                take(number, record)?;
                end
            }
            None => {
                let (record, end) = R::read(b, i).map_err(|e| wrong(e, number))?;
                take(number, &record)?;
                *template = Some(Template::learn(record, i, end));
                end
            }
        };
        i = scan::blanks(b, end);
        match b.get(i) {
            Some(b',') => i = scan::blanks(b, i + 1),
            Some(b']') => return Ok(i + 1),
            _ => return Err(wrong(Syntax { at: i, what: "a comma or a closing bracket is expected" }, number)),
        }
    }
    Ok(i)
}

/// Microseconds of a number of seconds such as `1545084650.987` or `1.545084650987E9`. Cut to microseconds.
pub(crate) fn seconds(b: &[u8], value: Value) -> Option<Timestamp> {
    let Value::Raw { start, .. } = value else { return None };
    let number = scan::number(b, start).ok().filter(|number| number.exact)?;
    let shift = number.exponent.checked_add(6)?;
    let micros = match u32::try_from(shift) {
        Ok(up) => i128::from(number.mantissa).checked_mul(10i128.checked_pow(up)?)?,
        Err(_) => i128::from(number.mantissa) / 10i128.checked_pow(shift.unsigned_abs())?,
    };
    let micros = i64::try_from(micros).ok()?;
    Some(Timestamp(if number.negative { -micros } else { micros }))
}

/// Whether something other than blanks follows.
pub(crate) fn check_end(b: &[u8], at: usize) -> Result<()> {
    let at = scan::blanks(b, at);
    if at == b.len() { Ok(()) } else { Err(damaged("the event", b, &Syntax { at, what: "text behind its end" })) }
}

/// Finds the batch of a partition, newest first: records of one partition mostly follow one another.
pub(crate) fn batch_of(batches: &[PartitionBatch], origin: &[u8], partition: &[u8]) -> Option<usize> {
    batches.iter().rposition(|batch| batch.partition.as_bytes() == partition && batch.origin.as_bytes() == origin)
}

/// How many records an event probably holds, to reserve room.
pub(crate) fn estimate(event: &[u8], needle: &[u8]) -> usize {
    const PROBE: usize = 16 << 10;
    let probe = &event[..event.len().min(PROBE)];
    let found = memmem::find_iter(probe, needle).count();
    if probe.is_empty() { 0 } else { (found * event.len() / probe.len() + 1).min(MAX_EVENT_RECORDS) }
}
