//! From bytes to Arrow: what a source hands over becomes records, and records become columns.
//!
//! Pure: no I/O but the reader that [`LineReader`] is given, no clock, no randomness.
//!
//! 1. [`split_kinesis`] and [`split_kafka`] cut a Lambda event into one [`PartitionBatch`] per partition;
//!    [`LineReader`] cuts a file into the same [`Records`] for local runs.
//! 2. [`JsonDecoder`] turns [`Records`] into one Arrow batch with the answers that Spark gives.
//!
//! A record that cannot be read never fails its batch: it is listed in [`Decoded::rejected`] with a reason, and
//! its original bytes stay in [`Records`].

mod base64;
mod datetime;
mod decimal;
mod envelope;
mod inflate;
mod json;
mod kafka;
mod kinesis;
mod kpl;
mod lines;
mod records;
mod scan;
mod schema;

pub use envelope::{EventKind, MAX_EVENT_RECORDS, PartitionBatch, detect};
pub use inflate::{MAX_INFLATED_EVENT, MAX_INFLATED_RECORD};
pub use json::{Decoded, JsonDecoder, MAX_BATCH_BYTES, MAX_ROWS_PER_RECORD, Rejected};
pub use kafka::split_kafka;
pub use kinesis::split_kinesis;
pub use kpl::MAX_AGGREGATED_RECORDS;
pub use lines::{LineReader, MAX_LINE_BYTES};
pub use records::{RecordRef, Records};
pub use scan::MAX_JSON_DEPTH;
pub use schema::{Column, MetadataColumn, SourceSchema, TimestampUnit};
