//! The state of windowed aggregations, and its bytes.
//!
//! An operator's state is partial-aggregate rows: group keys, the window's start among them, followed by the state
//! of each aggregate. The same group may stand in several batches; reading merges them. A delta, a snapshot and the
//! state in memory have the same rows, so that replay is appending.
//!
//! Rows of segments ([`crate::segment`]) stand in front of those in memory.
//!
//! Bytes of a delta and of a snapshot:
//!
//! | Bytes | Meaning |
//! |---|---|
//! | 1 | format: [`FORMAT`] or [`FORMAT_HASHES`] |
//! | 1 | which times follow: 1 for the watermark, plus 2 for the newest event time |
//! | 8 | the watermark in microseconds, little-endian; 0 without one |
//! | 8 | the newest event time, likewise; only where it follows |
//! | 2 | number of operators, little-endian |
//! | per operator 1 | in format [`FORMAT_HASHES`] alone: 1 where the rows have hashes of their keys ([`crate::hashes`]), else 0 |
//! | per operator 4, 4 | length of the Arrow message and of its body, little-endian; both 0 when there are no rows |
//! | per operator | Arrow IPC record batch: message and body, without the schema |
//!
//! The format is [`FORMAT_HASHES`] where the rows of an operator have hashes, so that state without them has the same
//! bytes as ever.
//!
//! Bytes of sealed rows, which travel from a lane to the one who closes windows over all lanes, and of segments:
//!
//! | Bytes | Meaning |
//! |---|---|
//! | 1 | format: [`FORMAT`], or [`FORMAT_HASHES`] where the rows have hashes of their keys |
//! | 16 | the fingerprint of the output's layout |
//! | 4, 4 | length of the Arrow message and of its body, little-endian |
//! | | Arrow IPC record batch: message and body, without the schema |

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::buffer::Buffer;
use arrow::compute::filter_record_batch;
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use arrow_ipc::MetadataVersion;
use arrow_ipc::reader::read_record_batch;
use arrow_ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions};
use tidegate_core::{Error, ErrorKind, Result, Timestamp};

use crate::segment::StoredPart;
use crate::window::{Shape, has_ended};

/// The version of the bytes where no rows have hashes of keys.
pub(crate) const FORMAT: u8 = 1;
/// The version of the bytes where some have. A larger one is refused.
pub(crate) const FORMAT_HASHES: u8 = 2;

/// The schemas that an operator's stored rows may have.
#[derive(Clone, Debug)]
pub(crate) struct StateSchemas {
    pub(crate) plain: SchemaRef,
    /// With hashes of keys; `None` where they are not kept.
    pub(crate) hashed: Option<SchemaRef>,
}

impl StateSchemas {
    fn of(&self, hashed: bool) -> Result<&SchemaRef> {
        let with_hashes = || self.hashed.as_ref().ok_or_else(|| damaged("hashes of keys that are not kept".into()));
        if hashed { with_hashes() } else { Ok(&self.plain) }
    }

    /// Whether `rows` have hashes.
    fn are_hashed(&self, rows: &RecordBatch) -> bool {
        self.hashed.as_ref().is_some_and(|schema| rows.num_columns() == schema.fields().len())
    }
}

/// How many batches of about the same size an operator holds before they are merged into one.
pub(crate) const MERGE_WIDTH: usize = 16;

/// Partial-aggregate rows of one operator.
#[derive(Clone, Debug, Default)]
pub(crate) struct OperatorState {
    /// Rows in segments.
    pub(crate) stored: Vec<StoredPart>,
    /// Rows in memory alone, behind those.
    pub(crate) parts: Vec<StatePart>,
}

/// One batch of partial-aggregate rows; never empty.
#[derive(Clone, Debug)]
pub(crate) struct StatePart {
    pub(crate) rows: RecordBatch,
    earliest: i64,
    latest: i64,
}

/// The values of a column of event time.
///
/// # Errors
/// Internal when `rows` have no such column of timestamps.
pub fn event_times(rows: &RecordBatch, column: &str) -> Result<Vec<Option<Timestamp>>> {
    let found = rows.schema_ref().fields().iter().position(|field| field.name().eq_ignore_ascii_case(column));
    let times = found.and_then(|place| rows.column(place).as_primitive_opt::<TimestampMicrosecondType>());
    let times = times.ok_or_else(|| Error::internal(format!("no column '{column}' of event time")))?;
    Ok(times.iter().map(|at| at.map(Timestamp)).collect())
}

/// Where the window stands in an operator's rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WindowColumn {
    /// The column that holds the window's start.
    pub(crate) column: usize,
    /// Size, slide and offset.
    pub(crate) shape: Shape,
}

impl WindowColumn {
    /// The rows whose windows end behind `floor` and at or before `to`; `None` when there are none.
    pub(crate) fn between(&self, rows: RecordBatch, floor: Option<i64>, to: i64) -> Result<Option<RecordBatch>> {
        let wanted = |start: i64| {
            has_ended(start, self.shape.size, to)
                && !floor.is_some_and(|floor| has_ended(start, self.shape.size, floor))
        };
        let chosen: BooleanArray = self.starts(&rows).iter().map(|start| Some(wanted(*start))).collect();
        match chosen.true_count() {
            0 => Ok(None),
            all if all == rows.num_rows() => Ok(Some(rows)),
            _ => filtered(&rows, &chosen).map(Some),
        }
    }

    /// The rows whose windows start at or after `start`; `None` when there are none.
    pub(crate) fn from(&self, rows: RecordBatch, start: i64) -> Result<Option<RecordBatch>> {
        let chosen: BooleanArray = self.starts(&rows).iter().map(|at| Some(*at >= start)).collect();
        match chosen.true_count() {
            0 => Ok(None),
            all if all == rows.num_rows() => Ok(Some(rows)),
            _ => filtered(&rows, &chosen).map(Some),
        }
    }

    /// The start of the earliest window that has not ended at `watermark`.
    pub(crate) fn first_open(&self, watermark: i64) -> i64 {
        self.shape.first_open(watermark)
    }

    /// Starts of the rows' windows, in microseconds.
    pub(crate) fn starts<'a>(&self, rows: &'a RecordBatch) -> &'a [i64] {
        rows.column(self.column).as_primitive::<TimestampMicrosecondType>().values()
    }
}

impl StatePart {
    fn new(rows: RecordBatch, window: WindowColumn) -> Option<Self> {
        let starts = window.starts(&rows);
        let (earliest, latest) = (*starts.iter().min()?, *starts.iter().max()?);
        Some(Self { rows, earliest, latest })
    }
}

impl OperatorState {
    /// Appends rows.
    pub(crate) fn push(&mut self, rows: RecordBatch, window: WindowColumn) {
        self.parts.extend(StatePart::new(rows, window));
    }

    /// Splits off the rows of windows that have ended at `watermark`. Segments that hold such windows must be fetched.
    pub(crate) fn split(&self, window: WindowColumn, watermark: i64) -> Result<(Vec<RecordBatch>, Self)> {
        let mut ended = Vec::new();
        let mut open = Self { stored: Vec::new(), parts: Vec::with_capacity(self.parts.len() + 1) };
        for part in &self.stored {
            if part.ends(window, watermark) {
                let (over, rest) = part.clone().split(window, watermark)?;
                ended.push(over);
                open.stored.extend(rest);
            } else {
                open.stored.push(part.clone());
            }
        }
        for part in &self.parts {
            if !has_ended(part.earliest, window.shape.size, watermark) {
                open.parts.push(part.clone());
            } else if has_ended(part.latest, window.shape.size, watermark) {
                ended.push(part.rows.clone());
            } else {
                let over: BooleanArray = window
                    .starts(&part.rows)
                    .iter()
                    .map(|at| Some(has_ended(*at, window.shape.size, watermark)))
                    .collect();
                ended.push(filtered(&part.rows, &over)?);
                open.push(filtered(&part.rows, &inverted(&over))?, window);
            }
        }
        Ok((ended, open))
    }

    /// Without the windows that have ended at `watermark`.
    pub(crate) fn without_ended(&self, window: WindowColumn, watermark: i64) -> Result<Self> {
        let unstored = Self { stored: Vec::new(), parts: self.parts.clone() };
        let stored = self.stored.iter().cloned().filter_map(|part| part.without_ended(window, watermark)).collect();
        Ok(Self { stored, ..unstored.split(window, watermark)?.1 })
    }

    /// The trailing parts to be merged into one, if it is time: [`MERGE_WIDTH`] of them in the same or a smaller
    /// order of magnitude. So each row is copied a few times only, however large the state grows.
    pub(crate) fn merge_due(&self) -> Option<usize> {
        let from = self.parts.len().checked_sub(MERGE_WIDTH)?;
        let order = |rows: usize| (rows.max(1)).ilog(MERGE_WIDTH);
        let first = order(self.parts[from].rows.num_rows());
        self.parts[from..].iter().all(|part| order(part.rows.num_rows()) <= first).then_some(from)
    }

    /// The start of the latest window that has rows.
    pub(crate) fn latest(&self) -> Option<i64> {
        let stored = self.stored.iter().map(StoredPart::latest);
        stored.chain(self.parts.iter().map(|part| part.latest)).max()
    }

    pub(crate) fn batches(&self) -> Vec<RecordBatch> {
        self.parts.iter().map(|part| part.rows.clone()).collect()
    }
}

fn filtered(rows: &RecordBatch, mask: &BooleanArray) -> Result<RecordBatch> {
    filter_record_batch(rows, mask).map_err(|e| Error::internal("state rows cannot be filtered").with_source(e))
}

fn inverted(mask: &BooleanArray) -> BooleanArray {
    BooleanArray::new(!mask.values(), mask.nulls().cloned())
}

/// How far a lane is in event time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Times {
    pub watermark: Option<Timestamp>,
    /// The largest event time of a row.
    pub newest: Option<Timestamp>,
}

const HAS_WATERMARK: u8 = 1;
const HAS_NEWEST: u8 = 2;

/// The bytes of a delta or a snapshot. `parts` has one entry per operator, `None` where it has no rows; so has `schemas`.
pub(crate) fn encode(times: Times, parts: &[Option<RecordBatch>], schemas: &[StateSchemas]) -> Result<Vec<u8>> {
    let Times { watermark, newest } = times;
    let flags = watermark.map_or(0, |_| HAS_WATERMARK) | newest.map_or(0, |_| HAS_NEWEST);
    let rows = |place: usize| parts[place].as_ref().filter(|rows| rows.num_rows() > 0);
    let hashed: Vec<bool> =
        schemas.iter().enumerate().map(|(at, one)| rows(at).is_some_and(|rows| one.are_hashed(rows))).collect();
    let format = if hashed.contains(&true) { FORMAT_HASHES } else { FORMAT };
    let mut out = vec![format, flags];
    out.extend(watermark.unwrap_or_default().0.to_le_bytes());
    out.extend(newest.into_iter().flat_map(|newest| newest.0.to_le_bytes()));
    let count = u16::try_from(parts.len()).map_err(|_| Error::invalid("more than 65,535 windowed outputs"))?;
    out.extend(count.to_le_bytes());
    for (place, hashed) in hashed.into_iter().enumerate() {
        out.extend((format == FORMAT_HASHES).then_some(u8::from(hashed)));
        match rows(place) {
            Some(rows) => write_rows(rows, &mut out)?,
            None => out.extend([0; 8]),
        }
    }
    Ok(out)
}

/// The bytes of sealed rows of the output whose layout has the fingerprint `layout`.
pub(crate) fn encode_sealed(layout: &[u8; 16], rows: &RecordBatch, schemas: &StateSchemas) -> Result<Vec<u8>> {
    let mut out = vec![if schemas.are_hashed(rows) { FORMAT_HASHES } else { FORMAT }];
    out.extend(layout);
    write_rows(rows, &mut out)?;
    Ok(out)
}

fn write_rows(rows: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
    let damaged = |e| Error::internal("state cannot be written as Arrow data").with_source(e);
    let options = IpcWriteOptions::try_new(8, false, MetadataVersion::V5).map_err(damaged)?;
    let mut tracker = DictionaryTracker::new(false);
    let (_, data) =
        IpcDataGenerator::default().encode(rows, &mut tracker, &options, &mut Default::default()).map_err(damaged)?;
    for length in [data.ipc_message.len(), data.arrow_data.len()] {
        let length = u32::try_from(length).map_err(|_| Error::internal("an operator's state exceeds 4 GiB"))?;
        out.extend(length.to_le_bytes());
    }
    out.extend(data.ipc_message);
    out.extend(data.arrow_data);
    Ok(())
}

/// Reads what [`encode`] wrote. `schemas` has one entry per operator.
pub(crate) fn decode(bytes: &[u8], schemas: &[StateSchemas]) -> Result<(Times, Vec<Option<RecordBatch>>)> {
    let mut reader = Reader { bytes };
    let format = reader.format(FORMAT_HASHES)?;
    let flags = reader.take(1)?[0];
    if flags > HAS_WATERMARK | HAS_NEWEST {
        return Err(damaged(format!("it holds times of an unknown kind ({flags})")));
    }
    let watermark = Timestamp(i64::from_le_bytes(reader.array()?));
    let watermark = (flags & HAS_WATERMARK > 0).then_some(watermark);
    let newest = match flags & HAS_NEWEST > 0 {
        true => Some(Timestamp(i64::from_le_bytes(reader.array()?))),
        false => None,
    };
    let count = usize::from(u16::from_le_bytes(reader.array()?));
    if count != schemas.len() {
        return Err(damaged(format!("it holds {count} operators, the plan has {}", schemas.len())));
    }
    let mut parts = Vec::with_capacity(count);
    for schemas in schemas {
        let hashed = match format {
            FORMAT => false,
            _ => match reader.take(1)?[0] {
                0 => false,
                1 => true,
                other => return Err(damaged(format!("its rows are of an unknown kind ({other})"))),
            },
        };
        parts.push(reader.rows(schemas.of(hashed)?)?);
    }
    reader.end()?;
    Ok((Times { watermark, newest }, parts))
}

/// Reads what [`encode_sealed`] wrote.
pub(crate) fn decode_sealed(bytes: &[u8], layout: &[u8; 16], schemas: &StateSchemas) -> Result<RecordBatch> {
    let mut reader = Reader { bytes };
    let hashed = reader.format(FORMAT_HASHES)? == FORMAT_HASHES;
    if reader.array::<16>()? != *layout {
        return Err(Error::new(
            ErrorKind::Fenced,
            "sealed rows, or a segment of the state, of another query than the one that is planned",
        )
        .with_help("run the pipeline file that wrote them until their windows are closed"));
    }
    let rows = reader.rows(schemas.of(hashed)?)?.ok_or_else(|| damaged("sealed rows without rows".into()))?;
    reader.end()?;
    Ok(rows)
}

fn read_rows(message: &[u8], body: &[u8], schema: &SchemaRef) -> Result<RecordBatch> {
    let message = arrow_ipc::root_as_message(message).map_err(|e| damaged(e.to_string()))?;
    let batch = message.header_as_record_batch().ok_or_else(|| damaged("no record batch".into()))?;
    read_record_batch(&Buffer::from(body), batch, Arc::clone(schema), &HashMap::new(), None, &message.version())
        .map_err(|e| damaged(e.to_string()))
}

fn damaged(why: String) -> Error {
    Error::internal(format!("damaged state: {why}"))
}

pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or_else(|| damaged("it is cut off".into()))?;
        self.bytes = rest;
        Ok(taken)
    }

    /// The format, which stands in front: from 1 to `newest`.
    pub(crate) fn format(&mut self, newest: u8) -> Result<u8> {
        let format = self.take(1)?[0];
        if !(1..=newest).contains(&format) {
            let message = format!("the state has format {format}, this version reads formats up to {newest}");
            return Err(Error::new(ErrorKind::Fenced, message)
                .with_help("run the version of Tidegate that wrote it, or a newer one"));
        }
        Ok(format)
    }

    /// Rows behind the lengths of their message and body; `None` where both are 0.
    fn rows(&mut self, schema: &SchemaRef) -> Result<Option<RecordBatch>> {
        let message = u32::from_le_bytes(self.array()?) as usize;
        let body = u32::from_le_bytes(self.array()?) as usize;
        if message == 0 {
            return Ok(None);
        }
        let (message, body) = (self.take(message)?, self.take(body)?);
        read_rows(message, body, schema).map(Some)
    }

    pub(crate) fn end(&self) -> Result<()> {
        match self.bytes.len() {
            0 => Ok(()),
            more => Err(damaged(format!("{more} bytes too many"))),
        }
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| damaged("it is cut off".into()))
    }
}
