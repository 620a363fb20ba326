//! A stored request becomes one that can be sent: id and hash are added. Pure.

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};
use tidegate_core::{EffectId, Error, LaneKey, OutboxEntry, Result};

use crate::config::{BodyFormat, Idempotency};
use crate::json::write_string;
use crate::payload::HttpPayload;

/// The header with the SHA-256 of the body in hex: the same id with another hash is a fault.
pub const CONTENT_HASH_HEADER: &str = "Tidegate-Content-SHA256";

/// The header that names the sequence which a fenced target numbers: `incarnation/generation/lane/target`.
pub const FENCE_LANE_HEADER: &str = "Tidegate-Fence-Lane";

/// The header with the number of a request within its sequence. Later ones are larger, compared byte by byte.
pub const FENCE_NUMBER_HEADER: &str = "Tidegate-Fence-Number";

/// An id as one path segment.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');

/// A request with its id, without credentials.
pub(crate) struct Addressed {
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

/// Puts the id of `entry` where the payload says.
///
/// In a path, the slashes of the id become colons: `%2F` is refused or decoded by many servers and proxies. The id
/// stays unique, since its parts hold no slashes.
pub(crate) fn address(payload: &HttpPayload, entry: &OutboxEntry, lane: &LaneKey) -> Result<Addressed> {
    let id = &entry.id.with_lane(lane);
    let mut url = payload.url.clone();
    let mut headers = payload.headers.clone();
    headers.push(("Content-Type".into(), payload.content_type.clone()));
    let mut body = payload.rows.clone();
    match &payload.idempotency {
        Idempotency::None | Idempotency::LastWriterWins | Idempotency::AtMostOnce { .. } => {}
        Idempotency::Fenced(_) => {
            headers.push((FENCE_LANE_HEADER.into(), fence_lane(lane, &entry.target)));
            headers.push((FENCE_NUMBER_HEADER.into(), fence_number(&entry.id)));
        }
        Idempotency::Header(name) => headers.push((name.clone(), id.clone())),
        Idempotency::Path => url = with_segment(&url, id),
        Idempotency::BodyField(field) => body = with_field(payload, field, id)?,
    }
    headers.push((CONTENT_HASH_HEADER.into(), hex(&Sha256::digest(&body))));
    Ok(Addressed { url, headers, body })
}

/// One lane may owe several targets, whose requests travel side by side: each has a sequence of its own.
fn fence_lane(lane: &LaneKey, target: &str) -> String {
    format!("{}/{}/{}/{target}", lane.incarnation, lane.generation, lane.lane)
}

/// Number and index, with leading zeros. Parts of a split request stand behind it and before the next one.
fn fence_number(id: &EffectId) -> String {
    let index: Vec<String> = id.index.path().iter().map(|part| format!("{part:010}")).collect();
    format!("{:020}.{}", id.n, index.join("."))
}

fn with_segment(url: &str, id: &str) -> String {
    let (path, query) = url.split_once('?').map_or((url, None), |(path, query)| (path, Some(query)));
    let id = id.replace('/', ":");
    let id = utf8_percent_encode(&id, SEGMENT);
    let path = path.strip_suffix('/').unwrap_or(path);
    query.map_or_else(|| format!("{path}/{id}"), |query| format!("{path}/{id}?{query}"))
}

fn with_field(payload: &HttpPayload, field: &str, id: &str) -> Result<Bytes> {
    let mut body = Vec::with_capacity(payload.rows.len() + field.len() + id.len() + 24);
    body.push(b'{');
    write_string(field, &mut body);
    body.push(b':');
    write_string(id, &mut body);
    match payload.format {
        BodyFormat::JsonArray => {
            body.extend_from_slice(b",\"rows\":");
            body.extend_from_slice(&payload.rows);
            body.push(b'}');
        }
        BodyFormat::JsonObject => {
            let rest = payload.rows.strip_prefix(b"{").ok_or_else(|| Error::internal("a body is no object"))?;
            if rest != b"}" {
                body.push(b',');
            }
            body.extend_from_slice(rest);
        }
        BodyFormat::Ndjson => return Err(Error::internal("NDJSON has no place for an id in the body")),
    }
    Ok(body.into())
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// The URL as messages show it: without user, password and query.
pub(crate) fn display_url(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let host_end = rest.find('/').unwrap_or(rest.len());
    let (host, path) = rest.split_at(host_end);
    let host = host.rsplit('@').next().unwrap_or(host);
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
