//! What stands in an outbox entry's payload: a persisted record kind.
//!
//! Layout: one byte for the version, one for the kind, then the fields. Numbers are LEB128, texts and byte strings
//! have their length in front; the last byte string of a kind has none and reaches to the end.
//!
//! | Kind | Fields |
//! |---|---|
//! | 1 HTTP | method (0 PUT, 1 POST, 2 PATCH), url, headers (count, then name and value each), content type, body format (0 array, 1 NDJSON, 2 object), id place (0 none, 1 header + name, 2 path, 3 body field + name; since version 2 also 4 fence + status of a refusal, 5 last writer wins, 6 at most once, 7 at most once and offered), output, rows |
//! | 2 lines | path (empty: standard output), offset, lines |
//! | 3 dead letters | lines |
//!
//! The id and the body's hash are not in here: they follow from the entry when it is sent, so that a part of
//! a split request carries the id of the part. Credentials are never in here.

use bytes::Bytes;
use tidegate_core::{Error, Result};

use crate::config::{BodyFormat, Idempotency, Method};

/// The newest version. What an older one can say is written in the older one, so that builds on both sides of a
/// deployment can follow each other. Older ones are read as long as fixtures of them exist.
pub const PAYLOAD_VERSION: u8 = 2;

/// A decoded payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// A request to a REST API.
    Http(HttpPayload),
    /// Lines of a dry run.
    Lines(LinesPayload),
    /// Dead letters: one JSON object a line.
    DeadLetters(Bytes),
}

/// A request without id, hash and credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpPayload {
    /// The method.
    pub method: Method,
    /// The URL with its places filled in.
    pub url: String,
    /// Headers of the target with their places filled in.
    pub headers: Vec<(String, String)>,
    /// The body's media type.
    pub content_type: String,
    /// How the rows are put together.
    pub format: BodyFormat,
    /// Where the id goes when the request is sent.
    pub idempotency: Idempotency,
    /// The output that the rows come from.
    pub output: String,
    /// `[{},{}]`, lines, or one object: the body without an id inside.
    pub rows: Bytes,
}

/// Lines of a dry run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinesPayload {
    /// The file; `None`: standard output.
    pub path: Option<String>,
    /// Where in the file they stand.
    pub offset: u64,
    /// The lines, each ended by a line break.
    pub lines: Bytes,
}

impl Payload {
    /// The stored bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = vec![self.version()];
        match self {
            Self::Http(http) => {
                out.push(1);
                http.encode(&mut out);
            }
            Self::Lines(lines) => {
                out.push(2);
                text(lines.path.as_deref().unwrap_or(""), &mut out);
                number(lines.offset, &mut out);
                out.extend_from_slice(&lines.lines);
            }
            Self::DeadLetters(lines) => {
                out.push(3);
                out.extend_from_slice(lines);
            }
        }
        out.into()
    }

    /// The oldest version that can say it.
    fn version(&self) -> u8 {
        match self {
            Self::Http(http) => match http.idempotency {
                Idempotency::Fenced(_) | Idempotency::LastWriterWins | Idempotency::AtMostOnce { .. } => 2,
                Idempotency::None | Idempotency::Header(_) | Idempotency::Path | Idempotency::BodyField(_) => 1,
            },
            Self::Lines(_) | Self::DeadLetters(_) => 1,
        }
    }

    /// Reads stored bytes. The body shares their memory.
    pub fn decode(bytes: &Bytes) -> Result<Self> {
        let mut reader = Reader { bytes, at: 0 };
        let version = reader.byte()?;
        if !(1..=PAYLOAD_VERSION).contains(&version) {
            return Err(Error::new(
                tidegate_core::ErrorKind::Fenced,
                format!("an outbox entry has format {version}, this program reads up to {PAYLOAD_VERSION}"),
            )
            .with_help("run the newer version that wrote it"));
        }
        match reader.byte()? {
            1 => HttpPayload::decode(&mut reader).map(Self::Http),
            2 => {
                let path = reader.text()?;
                let path = (!path.is_empty()).then_some(path);
                Ok(Self::Lines(LinesPayload { path, offset: reader.number()?, lines: reader.rest() }))
            }
            3 => Ok(Self::DeadLetters(reader.rest())),
            kind => Err(damaged(&format!("unknown kind {kind}"))),
        }
    }
}

impl HttpPayload {
    fn encode(&self, out: &mut Vec<u8>) {
        out.reserve(self.rows.len() + self.url.len() + 256);
        out.push(match self.method {
            Method::Put => 0,
            Method::Post => 1,
            Method::Patch => 2,
        });
        text(&self.url, out);
        number(self.headers.len() as u64, out);
        for (name, value) in &self.headers {
            text(name, out);
            text(value, out);
        }
        text(&self.content_type, out);
        out.push(match self.format {
            BodyFormat::JsonArray => 0,
            BodyFormat::Ndjson => 1,
            BodyFormat::JsonObject => 2,
        });
        match &self.idempotency {
            Idempotency::None => out.push(0),
            Idempotency::Header(name) => {
                out.push(1);
                text(name, out);
            }
            Idempotency::Path => out.push(2),
            Idempotency::BodyField(name) => {
                out.push(3);
                text(name, out);
            }
            Idempotency::Fenced(status) => {
                out.push(4);
                number(u64::from(*status), out);
            }
            Idempotency::LastWriterWins => out.push(5),
            Idempotency::AtMostOnce { offered } => out.push(6 + u8::from(*offered)),
        }
        text(&self.output, out);
        out.extend_from_slice(&self.rows);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self> {
        let method = match reader.byte()? {
            0 => Method::Put,
            1 => Method::Post,
            2 => Method::Patch,
            other => return Err(damaged(&format!("unknown method {other}"))),
        };
        let url = reader.text()?;
        let mut headers = Vec::new();
        for _ in 0..reader.number()? {
            headers.push((reader.text()?, reader.text()?));
        }
        let content_type = reader.text()?;
        let format = match reader.byte()? {
            0 => BodyFormat::JsonArray,
            1 => BodyFormat::Ndjson,
            2 => BodyFormat::JsonObject,
            other => return Err(damaged(&format!("unknown body format {other}"))),
        };
        let idempotency = match reader.byte()? {
            0 => Idempotency::None,
            1 => Idempotency::Header(reader.text()?),
            2 => Idempotency::Path,
            3 => Idempotency::BodyField(reader.text()?),
            4 => {
                let status = reader.number()?;
                Idempotency::Fenced(u16::try_from(status).map_err(|_| damaged(&format!("unknown status {status}")))?)
            }
            5 => Idempotency::LastWriterWins,
            place @ (6 | 7) => Idempotency::AtMostOnce { offered: place == 7 },
            other => return Err(damaged(&format!("unknown place of the id {other}"))),
        };
        let output = reader.text()?;
        Ok(Self { method, url, headers, content_type, format, idempotency, output, rows: reader.rest() })
    }
}

fn number(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn text(value: &str, out: &mut Vec<u8>) {
    number(value.len() as u64, out);
    out.extend_from_slice(value.as_bytes());
}

struct Reader<'a> {
    bytes: &'a Bytes,
    at: usize,
}

impl Reader<'_> {
    fn byte(&mut self) -> Result<u8> {
        let byte = *self.bytes.get(self.at).ok_or_else(|| damaged("it ends early"))?;
        self.at += 1;
        Ok(byte)
    }

    fn number(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(damaged("a number is too long"))
    }

    fn text(&mut self) -> Result<String> {
        let length = usize::try_from(self.number()?).map_err(|_| damaged("a text is too long"))?;
        let end = self.at.checked_add(length).ok_or_else(|| damaged("a text is too long"))?;
        let bytes = self.bytes.get(self.at..end).ok_or_else(|| damaged("it ends early"))?;
        self.at = end;
        String::from_utf8(bytes.to_vec()).map_err(|_| damaged("a text is not UTF-8"))
    }

    fn rest(&mut self) -> Bytes {
        let rest = self.bytes.slice(self.at..);
        self.at = self.bytes.len();
        rest
    }
}

fn damaged(why: &str) -> Error {
    Error::internal(format!("an outbox entry is damaged: {why}"))
        .with_help("keep the state as it is and report this; nothing was sent")
}

#[cfg(test)]
#[path = "payload_tests.rs"]
mod tests;
