//! Checks of what a target's level asks of its other settings.

use tidegate_delivery::config::{BodyFormat, Method};

use super::errors::Mistake;
use super::raw::{Idempotency, Rest, Travel};

enum Level {
    Fenced,
    LastWriterWins,
    AtMostOnce,
    Other,
}

fn level(raw: &Rest) -> Level {
    match raw.idempotency.as_deref() {
        Some(Idempotency::Word(Travel::Fenced) | Idempotency::Fenced(_)) => Level::Fenced,
        Some(Idempotency::Word(Travel::LastWriterWins)) => Level::LastWriterWins,
        Some(Idempotency::None(true)) => Level::AtMostOnce,
        _ => Level::Other,
    }
}

/// Refuses settings that contradict the level, and warns about those without effect.
pub(super) fn check(raw: &Rest, mistakes: &mut Vec<Mistake>, warnings: &mut Vec<Mistake>) {
    let level = level(raw);
    match level {
        Level::Fenced => fenced(raw, mistakes),
        Level::LastWriterWins => last_writer_wins(raw, mistakes),
        Level::AtMostOnce => {}
        Level::Other => return,
    }
    if let Some(memory) = &raw.remembers_ids {
        let message = "the target is sent no ids to remember: this has no effect";
        warnings.push(memory.mistake(message, "remove it, or let the target recognise ids: idempotency: header"));
    }
    if let Some(rejections) = raw.rejections.as_ref().filter(|_| !matches!(level, Level::Fenced)) {
        let message = "rejections are acted on at this level whatever stands here";
        warnings.push(rejections.mistake(message, "remove it"));
    }
}

/// One request at a time, in order: what is overtaken would count as applied before.
fn fenced(raw: &Rest, mistakes: &mut Vec<Mistake>) {
    if let Some(concurrency) = raw.concurrency.as_ref().filter(|concurrency| concurrency.0 > 1) {
        let message =
            "a fenced target takes one request at a time: it would refuse what is overtaken, and that is lost";
        mistakes
            .push(concurrency.mistake(message, "remove it; more rows in a request (batch.rows) are faster as well"));
    }
    if let Some(ordered) = raw.ordered.as_ref().filter(|ordered| !ordered.0) {
        mistakes.push(ordered.mistake("the numbers of a fenced target are an order", "remove it"));
    }
}

/// A row replaces what is at its URL.
fn last_writer_wins(raw: &Rest, mistakes: &mut Vec<Mistake>) {
    if let Some(method) = raw.method.as_ref().filter(|method| method.0 != Method::Put) {
        let message = "only PUT replaces what is there: a repeat of anything else may add to it";
        mistakes.push(method.mistake(message, "write PUT, or another idempotency"));
    }
    if let Some(url) = raw.url.as_ref().filter(|url| !url.replace("{{", "").contains('{')) {
        let message = "every row would replace the one before it: the URL names no column";
        mistakes.push(url.mistake(message, "put the key into the path: https://api.example/v1/items/{id}"));
    }
    let format = raw.batch.as_ref().and_then(|batch| batch.format.as_ref());
    if let Some(format) = format.filter(|format| format.0 != BodyFormat::JsonObject) {
        let message = "where the last writer wins, a request is one row";
        mistakes.push(format.mistake(message, "remove it, or write json_object"));
    }
    if let Some(ordered) = raw.ordered.as_ref().filter(|ordered| !ordered.0) {
        let message = "where the last writer wins, order decides what stays";
        mistakes.push(ordered.mistake(message, "remove it"));
    }
    if let Some(key) = &raw.key {
        let message = "where the last writer wins, the URL is the key";
        mistakes.push(key.mistake(message, "remove it; rows of the same URL stay in order"));
    }
}
