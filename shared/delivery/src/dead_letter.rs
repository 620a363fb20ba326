//! Records and rows that could not be used, kept with the reason.

use std::fs::OpenOptions;
use std::io::Write;

use async_trait::async_trait;
use bytes::Bytes;
use tidegate_core::outbox::DEAD_LETTERS;
use tidegate_core::{CommitNumber, EffectId, Error, LaneKey, OutboxEntry, RequestIndex, Result, Timestamp};

use crate::json::write_string;
use crate::payload::Payload;

/// Dead letters in an outbox entry at most.
pub const DEAD_LETTERS_PER_ENTRY: usize = 100;
/// Bytes of an outbox entry with dead letters, unless a single one is larger.
pub const DEAD_LETTER_ENTRY_BYTES: usize = 256 * 1024;
/// Bytes of an original that are kept; the rest is cut off and the letter says so.
pub const MAX_ORIGINAL_BYTES: usize = 5_000_000;
/// Characters of a reason that are kept.
pub const MAX_REASON_BYTES: usize = 4_000;

/// One record or row that could not be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLetter {
    /// The source's name, if it is known.
    pub source: Option<String>,
    /// The source partition.
    pub partition: Option<String>,
    /// Its position there, as text.
    pub position: Option<String>,
    /// The output that it was meant for.
    pub output: Option<String>,
    /// Why.
    pub reason: String,
    /// The SQL expression that failed.
    pub expression: Option<String>,
    /// The original bytes of the record, or the row as JSON.
    pub payload: Bytes,
}

/// Outbox entries for dead letters, numbered from `first_index`. The letters' ids are `ENTRY#PLACE`.
///
/// Written as one JSON object each: `{pipeline, source, partition, position, output, reason, expression, payload,
/// encoding ("text" or "base64"), cut (bytes cut off), id, time}`; what is not known is left out.
pub fn dead_letter_entries(
    lane: &LaneKey,
    n: CommitNumber,
    first_index: u32,
    now: Timestamp,
    letters: &[DeadLetter],
) -> Result<Vec<OutboxEntry>> {
    pack(lane, now, letters, |i| {
        let index = first_index.checked_add(i).ok_or_else(|| Error::internal("too many dead letters in a commit"))?;
        Ok(EffectId { n, index: RequestIndex::top(index) })
    })
}

/// Puts letters into entries whose ids come from `id`.
pub(crate) fn pack(
    lane: &LaneKey,
    now: Timestamp,
    letters: &[DeadLetter],
    id: impl Fn(u32) -> Result<EffectId>,
) -> Result<Vec<OutboxEntry>> {
    let mut entries = Vec::new();
    let mut rest = letters;
    while !rest.is_empty() {
        let id = id(entries.len() as u32)?;
        let text = id.with_lane(lane);
        let mut lines = Vec::new();
        let mut count = 0;
        for letter in rest.iter().take(DEAD_LETTERS_PER_ENTRY) {
            let before = lines.len();
            letter.write(lane, &format!("{text}#{count}"), now, &mut lines);
            if count > 0 && lines.len() > DEAD_LETTER_ENTRY_BYTES {
                lines.truncate(before);
                break;
            }
            count += 1;
        }
        rest = &rest[count..];
        entries.push(OutboxEntry {
            id,
            target: DEAD_LETTERS.to_owned(),
            wave: 0,
            rows: count as u32,
            committed_at: now,
            payload: Payload::DeadLetters(lines.into()).encode(),
        });
    }
    Ok(entries)
}

impl DeadLetter {
    fn write(&self, lane: &LaneKey, id: &str, now: Timestamp, out: &mut Vec<u8>) {
        let field = |name: &str, value: &str, out: &mut Vec<u8>| {
            out.push(b',');
            write_string(name, out);
            out.push(b':');
            write_string(value, out);
        };
        out.extend_from_slice(b"{\"pipeline\":");
        write_string(&lane.pipeline, out);
        field("source", self.source.as_deref().unwrap_or(lane.lane.source()), out);
        let optional = [
            ("partition", &self.partition),
            ("position", &self.position),
            ("output", &self.output),
            ("expression", &self.expression),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                field(name, value, out);
            }
        }
        field("reason", cut(&self.reason, MAX_REASON_BYTES), out);
        match std::str::from_utf8(&self.payload) {
            Ok(text) => {
                let kept = cut(text, MAX_ORIGINAL_BYTES);
                field("payload", kept, out);
                field("encoding", "text", out);
                cut_flag(self.payload.len() - kept.len(), out);
            }
            Err(_) => {
                let kept = &self.payload[..self.payload.len().min(MAX_ORIGINAL_BYTES)];
                field("payload", &base64_simd::STANDARD.encode_to_string(kept), out);
                field("encoding", "base64", out);
                cut_flag(self.payload.len() - kept.len(), out);
            }
        }
        field("id", id, out);
        field("time", &now.to_string(), out);
        out.extend_from_slice(b"}\n");
    }
}

fn cut_flag(bytes: usize, out: &mut Vec<u8>) {
    if bytes > 0 {
        out.extend_from_slice(format!(",\"cut\":{bytes}").as_bytes());
    }
}

/// The longest prefix of at most `limit` bytes that ends at a character.
pub(crate) fn cut(text: &str, limit: usize) -> &str {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The port to where dead letters are kept. At least once: a letter's `id` tells repeats.
#[async_trait]
pub trait DeadLetterStore: Send + Sync {
    /// Keeps `lines` (one JSON object each). `Ok` only when all of them are kept.
    async fn keep(&self, lines: &[u8]) -> Result<()>;
}

/// Appends to a file of JSON lines.
#[derive(Clone, Debug)]
pub struct DeadLetterFile {
    /// The file; created when the first letter comes.
    pub path: String,
}

#[async_trait]
impl DeadLetterStore for DeadLetterFile {
    async fn keep(&self, lines: &[u8]) -> Result<()> {
        let written = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.path)
            .and_then(|mut file| file.write_all(lines).and_then(|()| file.sync_data()));
        written.map_err(|error| {
            Error::unavailable(format!("dead letters cannot be written to {}", self.path))
                .with_source(error)
                .with_help("make the file writable; the records wait until then")
        })
    }
}

/// Writes to standard error.
#[derive(Clone, Copy, Debug)]
pub struct DeadLetterStderr;

#[async_trait]
impl DeadLetterStore for DeadLetterStderr {
    async fn keep(&self, lines: &[u8]) -> Result<()> {
        let written = std::io::stderr().lock().write_all(lines);
        written.map_err(|error| Error::unavailable("standard error cannot be written").with_source(error))
    }
}

#[cfg(test)]
#[path = "dead_letter_tests.rs"]
mod tests;
