//! JSON records into one Arrow batch, with the answers that Spark gives for what fits a column.
//!
//! | Value, column | Answer |
//! |---|---|
//! | `1.0`, `"1"`, `3000000000` for `int`; `"1.5"` for `double`; `"true"`, `1` for `boolean` | does not fit |
//! | `"NaN"`, `NaN` for `double`; `1e400` | NaN; Infinity |
//! | `12`, `1.50`, `true`, `{"a": 1}` for `string` | its text exactly as written |
//! | ISO dates and times, numbers in the column's unit for `timestamp` | converted to UTC, cut to microseconds |
//! | `1.005` for `decimal(12,2)`; `"1.50"`; too large | 1.01 (half up); fits; does not fit |
//! | a key twice; in other letter case; not declared; missing or null | the last wins; another key; ignored; NULL |
//! | `128` to `255` for `tinyint` | wraps to -128 to -1, as Jackson reads bytes |
//! | an array of objects as the record | one row each |
//! | an empty or blank payload | no row |
//!
//! Not as in Spark, on purpose: a value that does not fit rejects the whole record, and so do single quotes, text
//! behind the record, a time without a date, and a number of seconds past the range of a timestamp.

mod builder;
mod fault;
mod fields;
mod keys;
mod metadata;
mod value;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::SchemaRef;
use tidegate_core::{Error, Result, Zone};

use crate::records::Records;
use crate::scan;
use crate::schema::SourceSchema;
use fault::{Fault, Read};
use fields::Fields;
use value::Context;

/// The most payload bytes that one batch may hold: Arrow's offsets have 31 bits.
pub const MAX_BATCH_BYTES: usize = i32::MAX as usize;

/// The most rows that one record (an array of objects) may hold. A larger one is rejected.
pub const MAX_ROWS_PER_RECORD: usize = 100_000;

/// A batch of rows, and what became of each record.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// The rows: declared columns, then metadata columns.
    pub batch: RecordBatch,
    /// For each row the index of its record. Ascending.
    pub record_of_row: Vec<u32>,
    /// Records that gave no row because something in them does not fit. Ascending. A blank record is not listed.
    pub rejected: Vec<Rejected>,
}

/// A record that could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Its index in the [`Records`].
    pub record: u32,
    /// Why: column, value and type where a value does not fit.
    pub reason: String,
}

/// Decodes JSON records. It learns the order of keys and the size of texts as it goes, so keep it between batches;
/// the answers do not depend on what it learnt.
#[derive(Debug)]
pub struct JsonDecoder {
    schema: SourceSchema,
    arrow: SchemaRef,
    root: Fields,
    context: Context,
}

impl JsonDecoder {
    /// A decoder for `schema`, which should have passed [`SourceSchema::check`].
    pub fn new(schema: SourceSchema) -> Self {
        let root = Fields::root(&schema.columns);
        let arrow = schema.arrow();
        Self { schema, arrow, root, context: Context::default() }
    }

    /// Reads timestamps without a zone in `zone` instead of UTC.
    pub fn in_zone(mut self, zone: Zone) -> Self {
        self.context.zone = zone;
        self
    }

    /// The schema of the batches.
    pub fn schema(&self) -> &SchemaRef {
        &self.arrow
    }

    /// Decodes every record. Never fails for what a record holds; fails when the batch holds more than
    /// [`MAX_BATCH_BYTES`].
    pub fn decode(&mut self, records: &Records, partition: &str) -> Result<Decoded> {
        if records.bytes() > MAX_BATCH_BYTES {
            return Err(Error::invalid(format!("a batch of {} bytes is too large", records.bytes()))
                .with_help(format!("a batch holds at most {MAX_BATCH_BYTES} bytes: make it smaller")));
        }
        self.root.truncate(0);
        self.root.reserve(records.len());
        let mut rows = Vec::with_capacity(records.len());
        let mut rejected = Vec::new();
        let ascii = records.is_ascii();
        for i in 0..records.len() {
            let record = u32::try_from(i).expect("a batch has fewer records than bytes and fewer bytes than 2^31");
            let (payload, fault) = records.payload(i);
            let outcome = match fault {
                Some(reason) => Err(reason.to_owned()),
                None => self.record(payload, ascii, rows.len()).map_err(|fault| fault.reason(payload)),
            };
            match outcome {
                Ok(1) => rows.push(record),
                Ok(count) => rows.extend(std::iter::repeat_n(record, count)),
                Err(reason) => {
                    self.root.truncate(rows.len());
                    rejected.push(Rejected { record, reason });
                }
            }
        }
        let batch = self.finish(records, partition, &rows)?;
        Ok(Decoded { batch, record_of_row: rows, rejected })
    }

    /// Appends the rows of one record behind `row` others; how many there are.
    #[inline]
    fn record(&mut self, payload: &[u8], ascii: bool, row: usize) -> Read<usize> {
        let mut start = scan::blanks(payload, 0);
        if start == payload.len() {
            return Ok(0);
        }
        if !ascii {
            if let Err(e) = std::str::from_utf8(payload) {
                return Err(Fault::utf8(e.valid_up_to()));
            }
            if payload.starts_with(b"\xef\xbb\xbf") {
                start = scan::blanks(payload, 3);
            }
        }
        self.context.depth = 0;
        match payload.get(start) {
            Some(b'{') => {
                let end = self.root.object(payload, start, row, &mut self.context)?;
                self.end(payload, end, 1)
            }
            Some(b'[') => self.array(payload, start, row),
            _ => Err(Fault::no_object(start)),
        }
    }

    /// A record that is an array of objects.
    fn array(&mut self, payload: &[u8], start: usize, row: usize) -> Read<usize> {
        self.context.depth = 1;
        let mut count = 0;
        let mut i = scan::blanks(payload, start + 1);
        if payload.get(i) == Some(&b']') {
            return self.end(payload, i + 1, 0);
        }
        loop {
            if payload.get(i) != Some(&b'{') {
                return Err(Fault::no_object(i));
            }
            if count == MAX_ROWS_PER_RECORD {
                return Err(Fault::too_many_rows(i));
            }
            i = scan::blanks(payload, self.root.object(payload, i, row + count, &mut self.context)?);
            count += 1;
            match payload.get(i) {
                Some(b',') => i = scan::blanks(payload, i + 1),
                Some(b']') => return self.end(payload, i + 1, count),
                _ => return Err(Fault::syntax(i, "a comma or a closing bracket is expected")),
            }
        }
    }

    #[inline]
    fn end(&self, payload: &[u8], end: usize, count: usize) -> Read<usize> {
        let end = scan::blanks(payload, end);
        if end == payload.len() { Ok(count) } else { Err(Fault::syntax(end, "text behind the record")) }
    }

    fn finish(&mut self, records: &Records, partition: &str, rows: &[u32]) -> Result<RecordBatch> {
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.arrow.fields().len());
        for column in self.root.take()? {
            columns.push(column);
        }
        for column in &self.schema.metadata {
            columns.push(metadata::column(*column, records, partition, rows)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        RecordBatch::try_new_with_options(self.arrow.clone(), columns, &options)
            .map_err(|e| Error::internal("decoded columns do not match their schema").with_source(e))
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
