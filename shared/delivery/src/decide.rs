//! What becomes of requests that were answered. Pure; a carry commit keeps the decisions before they are acted on.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidegate_core::outbox::DEAD_LETTERS;
use tidegate_core::{EffectId, Error, LaneKey, OutboxEntry, Result, Timestamp};

use crate::config::{BodyFormat, Idempotency, OnReject, Target};
use crate::dead_letter::{DeadLetter, pack};
use crate::payload::{HttpPayload, Payload};
use crate::repeat::{level, with_level};
use crate::sender::Outcome;

/// What becomes of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is settled and leaves the outbox.
    Done,
    /// It is still owed as it is.
    Keep,
    /// Two halves take its place, to be sent in this order.
    Split([OutboxEntry; 2]),
    /// Dead letters take its place.
    DeadLetter(Vec<OutboxEntry>),
    /// The lane stops, a person decides.
    Block(String),
}

/// Decides about one request by its outcome.
///
/// A rejected request of several rows is halved; its row, once it is alone, becomes a dead letter. The halves are
/// `index.0` and `index.1` of the same commit number, a dead letter of `index` is `index.0` (a request of one row
/// has no halves). A request that was given up becomes dead letters as a whole.
pub fn decide(
    lane: &LaneKey,
    entry: &OutboxEntry,
    target: &Target,
    outcome: &Outcome,
    now: Timestamp,
) -> Result<Decision> {
    match outcome {
        Outcome::Acknowledged | Outcome::Unknown { .. } => Ok(Decision::Done),
        Outcome::Blocked { .. } | Outcome::NotTried => Ok(Decision::Keep),
        Outcome::GivenUp { reason } => to_dead_letters(lane, entry, reason, now),
        Outcome::Rejected { reason, proves_not_applied } => {
            let Target::Rest(rest) = target else { return Ok(Decision::Block(reason.clone())) };
            if rest.on_reject == OnReject::Block {
                return Ok(Decision::Block(format!("{reason}; on_reject is block")));
            }
            if !proves_not_applied {
                return Ok(Decision::Block(format!(
                    "{reason}; but an earlier attempt of request {} may have taken effect. If the target looks ids up \
                     before it validates and keeps rejected ids rejected, write rejections: final",
                    entry.id.with_lane(lane)
                )));
            }
            if entry.rows > 1 { split(entry).map(Decision::Split) } else { to_dead_letters(lane, entry, reason, now) }
        }
    }
}

fn http(entry: &OutboxEntry) -> Result<HttpPayload> {
    match Payload::decode(&entry.payload)? {
        Payload::Http(http) => Ok(http),
        _ => Err(Error::internal(format!("request {}/{} is no HTTP request", entry.id.n, entry.id.index))),
    }
}

fn split(entry: &OutboxEntry) -> Result<[OutboxEntry; 2]> {
    let payload = http(entry)?;
    let rows = checked_rows(entry, &payload)?;
    let (left, right) = rows.split_at(rows.len() / 2);
    let child = |i: u32, rows: &[Bytes]| OutboxEntry {
        id: EffectId { n: entry.id.n, index: entry.id.index.child(i) },
        target: entry.target.clone(),
        wave: entry.wave,
        rows: rows.len() as u32,
        committed_at: entry.committed_at,
        payload: Payload::Http(HttpPayload { rows: join(payload.format, rows), ..payload.clone() }).encode(),
    };
    Ok([child(0, left), child(1, right)])
}

fn to_dead_letters(lane: &LaneKey, entry: &OutboxEntry, reason: &str, now: Timestamp) -> Result<Decision> {
    let payload = http(entry)?;
    let rows = checked_rows(entry, &payload)?;
    let letters: Vec<DeadLetter> = rows
        .into_iter()
        .map(|row| DeadLetter {
            output: Some(payload.output.clone()),
            reason: format!("target {}: {reason}", entry.target),
            payload: row,
            ..DeadLetter::default()
        })
        .collect();
    let id = |i| Ok(EffectId { n: entry.id.n, index: entry.id.index.child(i) });
    pack(lane, now, &letters, id).map(Decision::DeadLetter)
}

fn checked_rows(entry: &OutboxEntry, payload: &HttpPayload) -> Result<Vec<Bytes>> {
    let rows = cut_rows(payload.format, &payload.rows);
    if rows.len() != entry.rows as usize || rows.is_empty() {
        return Err(Error::internal(format!(
            "request {}/{} should have {} rows, its body has {}",
            entry.id.n,
            entry.id.index,
            entry.rows,
            rows.len()
        )));
    }
    Ok(rows)
}

/// The rows of a body that [`crate::plan`] wrote, without commas, brackets and line breaks.
fn cut_rows(format: BodyFormat, body: &Bytes) -> Vec<Bytes> {
    if format == BodyFormat::JsonObject {
        return vec![body.clone()];
    }
    let mut rows = Vec::new();
    let (mut depth, mut start, mut in_string, mut escaped) = (0u32, 0, false, false);
    for (i, &byte) in body.iter().enumerate() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' => {
                if depth == 0 {
                    start = i;
                }
                depth += 1;
            }
            b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    rows.push(body.slice(start..=i));
                }
            }
            _ => {}
        }
    }
    rows
}

fn join(format: BodyFormat, rows: &[Bytes]) -> Bytes {
    let mut body = Vec::with_capacity(rows.iter().map(|row| row.len() + 1).sum::<usize>() + 2);
    match format {
        BodyFormat::JsonArray => {
            for (i, row) in rows.iter().enumerate() {
                body.push(if i == 0 { b'[' } else { b',' });
                body.extend_from_slice(row);
            }
            body.push(b']');
        }
        BodyFormat::Ndjson => {
            for row in rows {
                body.extend_from_slice(row);
                body.push(b'\n');
            }
        }
        BodyFormat::JsonObject => rows.iter().for_each(|row| body.extend_from_slice(row)),
    }
    body.into()
}

/// The outbox of the carry commit that follows a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carry {
    /// What is still owed, decisions taken. Empty: the commit is settled and needs no carry commit.
    pub outbox: Vec<OutboxEntry>,
    /// Requests that were split, became dead letters, or may be sent by others from now on. 0: a carry commit would
    /// change nothing.
    pub decided: usize,
    /// Rows that became dead letters.
    pub dead_letters: u64,
    /// Why the lane stops, if it does: what a person should read.
    pub blocked: Vec<String>,
    /// No request of `outbox` was ever on its way: the next delivery may be a first attempt.
    pub untried: bool,
}

/// Decides about all requests of a delivery (`outcomes` as [`crate::Sender::deliver`] reported them).
///
/// The waves of the new outbox keep the old order: halves stand one after the other, before every later wave.
pub fn carry(
    lane: &LaneKey,
    entries: &[OutboxEntry],
    targets: &BTreeMap<String, Target>,
    outcomes: &[Outcome],
    now: Timestamp,
) -> Result<Carry> {
    if entries.len() != outcomes.len() {
        return Err(Error::internal(format!("{} requests have {} outcomes", entries.len(), outcomes.len())));
    }
    let mut carry = Carry { outbox: Vec::new(), decided: 0, dead_letters: 0, blocked: Vec::new(), untried: true };
    // Old wave and place within it, per entry of the outbox.
    let mut order = Vec::new();
    for (entry, outcome) in entries.iter().zip(outcomes) {
        if let Outcome::Blocked { message, .. } = outcome {
            carry.blocked.push(message.clone());
        }
        let decision = match (targets.get(&entry.target), outcome) {
            (_, outcome) if outcome.is_settled() => Decision::Done,
            (Some(target), outcome) => decide(lane, entry, target, outcome, now)?,
            (None, _) => Decision::Keep,
        };
        match decision {
            Decision::Done => {}
            Decision::Keep | Decision::Block(_) => {
                if let Decision::Block(message) = decision {
                    carry.blocked.push(message);
                }
                carry.untried &= matches!(outcome, Outcome::NotTried);
                order.push((entry.wave, 0));
                carry.outbox.push(entry.clone());
            }
            Decision::Split(halves) => {
                carry.decided += 1;
                let ordered = !matches!(targets.get(&entry.target), Some(Target::Rest(rest)) if !rest.ordered);
                for (place, half) in halves.into_iter().enumerate() {
                    order.push((entry.wave, if ordered { place } else { 0 }));
                    carry.outbox.push(half);
                }
            }
            Decision::DeadLetter(letters) => {
                carry.decided += 1;
                carry.dead_letters += u64::from(entry.rows);
                for letter in letters {
                    order.push((0, 0));
                    carry.outbox.push(letter);
                }
            }
        }
    }
    number_waves(&mut carry.outbox, &order)?;
    if !carry.blocked.is_empty() || carry.decided == 0 {
        offer(&mut carry)?;
    }
    Ok(carry)
}

/// This environment stops here. What is sent at most once and is still owed did not take effect, or it would be settled:
/// somebody else may send it, once that is committed.
fn offer(carry: &mut Carry) -> Result<()> {
    for entry in &mut carry.outbox {
        if level(entry)? == Some(Idempotency::AtMostOnce { offered: false }) {
            *entry = with_level(entry, Idempotency::AtMostOnce { offered: true })?;
            carry.decided += 1;
        }
    }
    Ok(())
}

fn number_waves(outbox: &mut [OutboxEntry], order: &[(u16, usize)]) -> Result<()> {
    let mut places: BTreeMap<(u16, usize), u16> = order
        .iter()
        .zip(&*outbox)
        .filter(|(_, entry)| entry.target != DEAD_LETTERS)
        .map(|(place, _)| (*place, 0))
        .collect();
    for (i, wave) in places.values_mut().enumerate() {
        *wave = u16::try_from(i).map_err(|_| Error::internal("a commit has more than 65,536 waves"))?;
    }
    for (entry, place) in outbox.iter_mut().zip(order) {
        entry.wave = places.get(place).copied().filter(|_| entry.target != DEAD_LETTERS).unwrap_or(0);
    }
    Ok(())
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
