//! What an answer means. Pure.
//!
//! | Answer | Meaning |
//! |---|---|
//! | a success status (2xx, or those listed) without an error field | success |
//! | a success status with an error inside, or with a body that cannot be checked for one | passing, outcome unknown |
//! | 429, 503, 425 | passing, refused |
//! | 408, 409, 412, other 5xx, connection lost, timeout | passing, outcome unknown |
//! | 400, 413, 422 | rejected for its content |
//! | 401 | the credentials are refused: fetched again once, then a person has to look |
//! | everything else (403, 404, 3xx, 410, ...) | a person has to look |

use std::time::Duration;

use serde_json::Value;
use tidegate_core::Timestamp;

use crate::config::Success;
use crate::transport::{HttpFault, HttpResponse};

/// Characters of a target's answer that are quoted in messages.
pub const QUOTED_CHARS: usize = 300;

/// The meaning of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// It took effect, now or before.
    Success,
    /// Try again. Neither success nor failure.
    Passing {
        /// The target said that it did not take it: the only passing fault whose outcome is known.
        refused: bool,
        /// What happened.
        message: String,
        /// Not before so long.
        retry_after: Option<Duration>,
    },
    /// The target does not take this content.
    Rejected(String),
    /// The target does not take these credentials.
    Unauthorized(String),
    /// Retrying is useless until somebody mends something.
    NeedsAttention(String),
}

impl Meaning {
    /// What the target said; empty where it took effect.
    pub fn reason(&self) -> &str {
        match self {
            Self::Success => "",
            Self::Passing { message: reason, .. }
            | Self::Rejected(reason)
            | Self::Unauthorized(reason)
            | Self::NeedsAttention(reason) => reason,
        }
    }
}

/// Whether an attempt took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It did, now or before.
    Yes,
    /// It did not: it never left, or the target said so.
    No,
    /// Nobody can say.
    Unknown,
}

/// Whether an attempt with this answer, which means `meaning`, took effect.
pub fn applied(answer: &Result<HttpResponse, HttpFault>, meaning: &Meaning) -> Applied {
    match (meaning, answer) {
        (Meaning::Success, _) => Applied::Yes,
        (Meaning::Passing { refused: true, .. } | Meaning::Rejected(_) | Meaning::Unauthorized(_), _) => Applied::No,
        (_, Err(HttpFault::NotConnected(_) | HttpFault::Unsendable(_))) => Applied::No,
        (Meaning::NeedsAttention(_), Ok(response)) if (300..500).contains(&response.status) => Applied::No,
        _ => Applied::Unknown,
    }
}

/// The meaning of an answer. `now` is for `Retry-After` dates.
pub fn classify(answer: &Result<HttpResponse, HttpFault>, success: &Success, now: Timestamp) -> Meaning {
    match answer {
        Ok(response) => classify_response(response, success, now),
        Err(HttpFault::NotConnected(why)) => passing(format!("no connection: {why}")),
        Err(HttpFault::Lost(why)) => passing(format!("the connection was lost, the outcome is unknown: {why}")),
        Err(HttpFault::TimedOut) => passing("no answer in time, the outcome is unknown".into()),
        Err(HttpFault::Unsendable(why)) => Meaning::NeedsAttention(format!("the request cannot be sent: {why}")),
    }
}

fn passing(message: String) -> Meaning {
    Meaning::Passing { refused: false, message, retry_after: None }
}

fn classify_response(response: &HttpResponse, success: &Success, now: Timestamp) -> Meaning {
    let status = response.status;
    let is_success =
        if success.status.is_empty() { (200..300).contains(&status) } else { success.status.contains(&status) };
    let quoted = quote(&response.body);
    if is_success {
        return match &success.error_field {
            None => Meaning::Success,
            Some(field) => match error_inside(response, field) {
                None => Meaning::Success,
                Some(why) => passing(format!("answered {status}, but {why}{quoted}")),
            },
        };
    }
    let message = format!("answered {status}{quoted}");
    match status {
        400 | 413 | 422 => Meaning::Rejected(message),
        425 | 429 | 503 => Meaning::Passing { refused: true, message, retry_after: retry_after(response, now) },
        408 | 409 | 412 | 500..=599 => {
            Meaning::Passing { refused: false, message, retry_after: retry_after(response, now) }
        }
        401 => Meaning::Unauthorized(format!("{message}; {}", what_to_look_at(status))),
        _ => Meaning::NeedsAttention(format!("{message}; {}", what_to_look_at(status))),
    }
}

fn what_to_look_at(status: u16) -> &'static str {
    match status {
        200..=299 => "this status is not among success.status: add it there if it means success",
        300..=399 => "redirects are not followed: put the final address into url",
        401 => "check the credentials: is the secret current, does the target know it",
        403 => "check what these credentials may do at the target",
        404 | 410 => "check the url: nothing is there",
        405 => "check the method: the target does not take it at this url",
        407 => "a proxy asks for credentials: check the network path",
        406 | 415 => "check batch.format and the Content-Type header",
        411..=499 => "check the target's documentation for this status",
        _ => "check that the url is that of an HTTP API",
    }
}

/// Why a body of a success status is no success.
fn error_inside(response: &HttpResponse, field: &str) -> Option<String> {
    if !response.complete {
        return Some("its body is too large to be checked for errors: ".into());
    }
    if response.body.iter().all(u8::is_ascii_whitespace) {
        return None;
    }
    let Ok(body) = serde_json::from_slice::<Value>(&response.body) else {
        return Some(format!("its body is no JSON, so that '{field}' cannot be checked: "));
    };
    let items = body.as_array().map_or(std::slice::from_ref(&body), Vec::as_slice);
    let found = items.iter().find_map(|item| lookup(item, field).filter(|value| says_error(value)));
    found.map(|_| format!("'{field}' says that it failed: "))
}

/// A field by its name, or by a path with dots.
fn lookup<'a>(value: &'a Value, field: &str) -> Option<&'a Value> {
    value.get(field).or_else(|| field.split('.').try_fold(value, |value, name| value.get(name)))
}

fn says_error(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Bool(true) | Value::Number(_) => true,
    }
}

fn retry_after(response: &HttpResponse, now: Timestamp) -> Option<Duration> {
    let text = response.retry_after.as_deref()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(Timestamp(i64::try_from(date.as_micros()).ok()?).since(now))
}

/// The beginning of an answer on one line, with a colon in front; empty if there is none.
fn quote(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let mut words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    words.retain(|c| !c.is_control());
    if words.is_empty() {
        return words;
    }
    match words.char_indices().nth(QUOTED_CHARS) {
        Some((end, _)) => format!(": {}...", &words[..end]),
        None => format!(": {words}"),
    }
}

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;
