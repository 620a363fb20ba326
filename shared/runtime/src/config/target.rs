//! Checks of a REST target.

use std::time::Duration;

use tidegate_core::units::format_duration;
use tidegate_delivery::config::{
    Auth, Batch, BodyFormat, Idempotency, Method, OnExhausted, OnReject, Promise, RateLimit, RestTarget, Retry,
    Success, Template, TemplatePart,
};

use super::errors::Mistake;
use super::level;
use super::raw;
use super::read::{At, Named};
use super::secrets::has_user_info;

const DEFAULT_HEADER: &str = "Idempotency-Key";
/// What a fenced target answers to a number that is not newer.
const DEFAULT_FENCE: u16 = 412;
const DEFAULT_MEMORY: Duration = Duration::from_secs(24 * 3600);
const DEFAULT_ROWS: usize = 500;
const DEFAULT_BYTES: usize = 1_000_000;
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
const DEFAULT_RETRY: Retry = Retry {
    max_elapsed: Duration::from_secs(60),
    max_attempts: 10,
    initial_backoff: Duration::from_millis(100),
    max_backoff: Duration::from_secs(10),
};

/// Headers that Tidegate or the connection sets.
const OWN_HEADERS: [&str; 6] = ["host", "content-length", "transfer-encoding", "connection", "upgrade", "te"];

/// Headers that hold credentials.
const SECRET_HEADERS: [&str; 3] = ["authorization", "proxy-authorization", "cookie"];

/// Parts of header and query names that hint at a credential.
const SECRET_HINTS: [&str; 6] = ["api-key", "api_key", "apikey", "token", "secret", "password"];

/// Status codes that are passing faults.
const PASSING: [u64; 3] = [408, 425, 429];

/// Checks `raw`. `None`: a mistake was reported, here or before.
pub(super) fn rest(raw: raw::Rest, mistakes: &mut Vec<Mistake>, warnings: &mut Vec<Mistake>) -> Option<RestTarget> {
    level::check(&raw, mistakes, warnings);
    let auth = raw.auth.map_or(Auth::None, |auth| match auth.value {
        raw::Auth::None => Auth::None,
        raw::Auth::Bearer(secret) => Auth::Bearer(secret),
        raw::Auth::Basic { user, password } => Auth::Basic { user, password },
    });
    let last_writer_wins =
        matches!(raw.idempotency.as_deref(), Some(raw::Idempotency::Word(raw::Travel::LastWriterWins)));
    let usual = if last_writer_wins { BodyFormat::JsonObject } else { BodyFormat::JsonArray };
    let batch = batch(raw.batch.as_deref(), usual, mistakes);
    let url = raw.url.as_ref().and_then(|at| url(at, auth != Auth::None, mistakes, warnings));
    let idempotency = idempotency(raw.idempotency, &batch, mistakes);
    let headers = headers(raw.headers, &idempotency, mistakes, warnings);
    let retry = retry(raw.retry.as_ref(), mistakes);
    let remembers_ids = raw.remembers_ids.as_ref().map_or(DEFAULT_MEMORY, |memory| memory.0);
    if let Some(memory) = raw.remembers_ids.as_ref().filter(|memory| memory.0 <= retry.max_elapsed) {
        let elapsed = format_duration(retry.max_elapsed);
        let message = format!("the target must remember ids for longer than retries go on (max_elapsed {elapsed})");
        mistakes.push(memory.mistake(message, "raise remembers_ids or lower retry.max_elapsed"));
    }
    let key = raw.key.map(|key| column_list(Some(key), mistakes));
    Some(RestTarget {
        url: url?,
        method: raw.method.map_or(if last_writer_wins { Method::Put } else { Method::Post }, |method| method.0),
        headers,
        idempotency,
        promise: Promise { remembers_ids, rejections_are_final: raw.rejections.is_some_and(|word| word.0) },
        batch,
        concurrency: raw.concurrency.map_or(1, |count| whole(count.0)),
        key,
        ordered: raw.ordered.is_none_or(|ordered| ordered.0),
        order_by: Vec::new(),
        rate_limit: raw.rate_limit.and_then(|limit| {
            // The only scope there is; any other was refused when it was read.
            let () = limit.scope.as_ref().map_or((), |scope| scope.0);
            let (requests, per) = (limit.requests.as_ref()?.0, limit.per.as_ref()?.0);
            Some(RateLimit { requests: u32::try_from(requests).ok()?, per })
        }),
        auth,
        retry,
        success: success(raw.success.as_deref(), mistakes),
        on_reject: raw.on_reject.map_or(OnReject::DeadLetter, |word| word.0),
        on_exhausted: raw.on_exhausted.map_or(OnExhausted::Block, |word| word.0),
        timeout: raw.timeout.map_or(DEFAULT_TIMEOUT, |timeout| timeout.0),
    })
}

fn whole(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Column names; each at most once.
pub(super) fn column_list(list: Option<At<Vec<At<String>>>>, mistakes: &mut Vec<Mistake>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for column in list.into_iter().flat_map(|list| list.value) {
        if names.contains(&column.value) {
            mistakes.push(column.mistake(format!("column '{}' stands here twice", column.value), "remove one"));
        } else {
            names.push(column.value);
        }
    }
    names
}

fn url(at: &At<String>, has_auth: bool, mistakes: &mut Vec<Mistake>, warnings: &mut Vec<Mistake>) -> Option<Template> {
    const EXAMPLE: &str = "write an absolute URL: https://api.example/v1/items/{id}";
    let lower = at.to_ascii_lowercase();
    let rest = lower.strip_prefix("https://").or_else(|| lower.strip_prefix("http://"));
    let Some(rest) = rest else {
        mistakes.push(at.mistake("this is no http or https URL", EXAMPLE));
        return None;
    };
    let host = rest.split(['/', '?', '#']).next().unwrap_or("");
    let wrong = if has_user_info(at) {
        Some(("credentials cannot stand in a URL", "use auth: { basic: { user: NAME, password: { secret: NAME } } }"))
    } else if host.is_empty() || host.starts_with(':') {
        Some(("the URL names no host", EXAMPLE))
    } else if host.contains(['{', '}']) {
        Some(("the host cannot come from a column: rows would choose who gets them", "write the host out"))
    } else if at.contains('#') {
        Some(("the part behind '#' is never sent", "remove it, or write %23"))
    } else if at.contains(char::is_whitespace) {
        Some(("a URL holds no spaces", "write %20"))
    } else {
        None
    };
    if let Some((message, help)) = wrong {
        mistakes.push(at.mistake(message, help));
        return None;
    }
    let local = ["localhost", "127.0.0.1", "[::1]"].iter().any(|name| host.starts_with(name));
    if has_auth && lower.starts_with("http://") && !local {
        warnings.push(at.mistake("credentials travel unencrypted", "use https"));
    }
    let query = lower.split_once('?').map_or("", |(_, query)| query);
    if SECRET_HINTS.iter().any(|hint| query.contains(hint)) {
        let help = "use auth; what stands in a URL reaches the state and the logs";
        warnings.push(at.mistake("this looks like a credential in the URL", help));
    }
    template(at, mistakes)
}

/// Reads `{column}`; `{{` and `}}` are braces.
pub(super) fn template(at: &At<String>, mistakes: &mut Vec<Mistake>) -> Option<Template> {
    match parse_template(at) {
        Ok(template) => Some(template),
        Err(message) => {
            mistakes.push(at.mistake(message, "write {column}; {{ and }} stand for braces"));
            None
        }
    }
}

fn parse_template(text: &str) -> Result<Template, String> {
    let mut parts = Vec::new();
    let mut fixed = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        fixed.push_str(&rest[..at]);
        let tail = &rest[at..];
        if tail.starts_with("{{") || tail.starts_with("}}") {
            fixed.push_str(&tail[..1]);
            rest = &tail[2..];
            continue;
        }
        let Some(inside) = tail.strip_prefix('{') else { return Err("'}' without '{'".to_owned()) };
        let Some(end) = inside.find('}') else { return Err("'{' without '}'".to_owned()) };
        let column = inside[..end].trim();
        if column.is_empty() || column.contains('{') {
            return Err("'{' and '}' enclose no column name".to_owned());
        }
        if !fixed.is_empty() {
            parts.push(TemplatePart::Text(std::mem::take(&mut fixed)));
        }
        parts.push(TemplatePart::Column(column.to_owned()));
        rest = &inside[end + 1..];
    }
    fixed.push_str(rest);
    if !fixed.is_empty() {
        parts.push(TemplatePart::Text(fixed));
    }
    Ok(Template { parts })
}

fn batch(raw: Option<&raw::Batch>, usual: BodyFormat, mistakes: &mut Vec<Mistake>) -> Batch {
    let format = raw.and_then(|raw| raw.format.as_ref()).map_or(usual, |format| format.0);
    let rows = raw.and_then(|raw| raw.rows.as_ref());
    if let Some(rows) = rows.filter(|rows| format == BodyFormat::JsonObject && rows.0 != 1) {
        let message = "json_object puts one row into a request";
        mistakes.push(rows.mistake(message, "write rows: 1, or format: json_array or ndjson"));
    }
    let rows = match format {
        BodyFormat::JsonObject => 1,
        BodyFormat::JsonArray | BodyFormat::Ndjson => rows.map_or(DEFAULT_ROWS, |rows| whole(rows.0)),
    };
    let bytes = raw.and_then(|raw| raw.bytes.as_ref()).map_or(DEFAULT_BYTES, |bytes| whole(bytes.0));
    Batch { rows, bytes, format }
}

fn idempotency(raw: Option<At<raw::Idempotency>>, batch: &Batch, mistakes: &mut Vec<Mistake>) -> Idempotency {
    match raw.map(|raw| raw.value) {
        None | Some(raw::Idempotency::Word(raw::Travel::Header)) => Idempotency::Header(DEFAULT_HEADER.to_owned()),
        Some(raw::Idempotency::Word(raw::Travel::Path)) => Idempotency::Path,
        Some(raw::Idempotency::Word(raw::Travel::Fenced)) => Idempotency::Fenced(DEFAULT_FENCE),
        Some(raw::Idempotency::Fenced(status)) => {
            if ![409, 412].contains(&status.0) {
                let message = format!("{} does not say that a number is too old", status.0);
                mistakes.push(status.mistake(message, "let the target answer 412, or 409"));
            }
            Idempotency::Fenced(u16::try_from(status.0).unwrap_or(DEFAULT_FENCE))
        }
        Some(raw::Idempotency::Word(raw::Travel::LastWriterWins)) => Idempotency::LastWriterWins,
        Some(raw::Idempotency::Word(raw::Travel::None) | raw::Idempotency::None(false)) => Idempotency::None,
        Some(raw::Idempotency::None(true)) => Idempotency::AtMostOnce { offered: false },
        Some(raw::Idempotency::Header(name)) => {
            check_header_name(&name, mistakes);
            Idempotency::Header(name.value)
        }
        Some(raw::Idempotency::Body(field)) => {
            if batch.format == BodyFormat::Ndjson {
                let message = "an ndjson body has no place for a field of the request";
                mistakes.push(field.mistake(message, "use idempotency: header, or format: json_array or json_object"));
            }
            if batch.format == BodyFormat::JsonArray && field.value == "rows" {
                mistakes.push(field.mistake("'rows' is where the rows themselves stand", "choose another field"));
            }
            Idempotency::BodyField(field.value)
        }
    }
}

/// Whether `name` is a header name of HTTP that a pipeline may set.
fn check_header_name(name: &At<String>, mistakes: &mut Vec<Mistake>) -> bool {
    let lower = name.to_ascii_lowercase();
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let wrong = if !name.bytes().all(token) || name.is_empty() {
        Some(("this is no header name", "use letters, digits and '-'"))
    } else if OWN_HEADERS.contains(&lower.as_str()) {
        Some(("the connection sets this header itself", "remove it"))
    } else if SECRET_HEADERS.contains(&lower.as_str()) {
        Some(("credentials cannot stand in headers", "use auth: { bearer: { secret: NAME } }"))
    } else {
        None
    };
    if let Some((message, help)) = wrong {
        mistakes.push(name.mistake(message, help));
    }
    wrong.is_none()
}

fn headers(
    raw: Option<At<Named<String>>>,
    idempotency: &Idempotency,
    mistakes: &mut Vec<Mistake>,
    warnings: &mut Vec<Mistake>,
) -> Vec<(String, Template)> {
    let mut headers: Vec<(String, Template)> = Vec::new();
    for (name, value) in raw.into_iter().flat_map(|raw| raw.value.0) {
        let lower = name.to_ascii_lowercase();
        if !check_header_name(&name, mistakes) {
            continue;
        }
        if headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(&name)) {
            mistakes.push(name.mistake("this header stands here twice", "remove one"));
        }
        if matches!(idempotency, Idempotency::Header(own) if own.eq_ignore_ascii_case(&name)) {
            let help = "remove it here, or name another header under idempotency: { header: NAME }";
            mistakes.push(name.mistake("this header carries the request's id", help));
        }
        if SECRET_HINTS.iter().any(|hint| lower.contains(hint)) {
            let help = "what stands in a header reaches the state; use auth where the target takes it";
            warnings.push(name.mistake("this looks like a credential", help));
        }
        if let Some(template) = value.and_then(|value| template(&value, mistakes)) {
            headers.push((name.value, template));
        }
    }
    headers
}

fn retry(raw: Option<&At<raw::Retry>>, mistakes: &mut Vec<Mistake>) -> Retry {
    let Some(raw) = raw else { return DEFAULT_RETRY };
    let initial = raw.initial_backoff.as_ref().map_or(DEFAULT_RETRY.initial_backoff, |pause| pause.0);
    let longest = raw.max_backoff.as_ref().map_or(DEFAULT_RETRY.max_backoff.max(initial), |pause| pause.0);
    if let Some(pause) = raw.max_backoff.as_ref().filter(|_| initial > longest) {
        let message = format!("the longest pause is shorter than the first one ({})", format_duration(initial));
        mistakes.push(pause.mistake(message, "raise max_backoff or lower initial_backoff"));
    }
    Retry {
        max_elapsed: raw.max_elapsed.as_ref().map_or(DEFAULT_RETRY.max_elapsed, |elapsed| elapsed.0),
        max_attempts: raw
            .max_attempts
            .as_ref()
            .and_then(|attempts| u32::try_from(attempts.0).ok())
            .unwrap_or(DEFAULT_RETRY.max_attempts),
        initial_backoff: initial,
        max_backoff: longest,
    }
}

fn success(raw: Option<&raw::Success>, mistakes: &mut Vec<Mistake>) -> Success {
    let mut status: Vec<u16> = Vec::new();
    let list = raw.and_then(|raw| raw.status.as_ref());
    for code in list.into_iter().flat_map(|list| list.0.iter()) {
        if PASSING.contains(&code.0) {
            let message = format!("{} is a passing fault: it says that nothing was done", code.0);
            mistakes.push(code.mistake(message, "remove it; such requests are repeated"));
        }
        status.extend(u16::try_from(code.0).ok());
    }
    Success { status, error_field: raw.and_then(|raw| raw.error_field.as_ref()).map(|field| field.value.clone()) }
}
