//! What a target makes of a request that comes a second time. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate_core::units::format_duration;
use tidegate_core::{Error, LaneKey, OutboxEntry, Result, Timestamp};

use crate::config::{Idempotency, OnExhausted, OnReject, RestTarget, Target};
use crate::payload::{HttpPayload, Payload};

/// Refuses to send an outbox again that a target may have forgotten: an id that is forgotten takes effect twice.
/// Only for an outbox that somebody else may have sent.
///
/// # Errors
/// Invalid: a person must look in the target.
pub fn check_remembered(
    lane: &LaneKey,
    outbox: &[OutboxEntry],
    targets: &BTreeMap<String, Target>,
    now: Timestamp,
) -> Result<()> {
    for entry in outbox {
        let Some(rest) = rest(entry, targets).filter(|rest| rest.idempotency.remembers_ids()) else { continue };
        let (age, memory) = (now.since(entry.committed_at), rest.promise.remembers_ids);
        if age > memory {
            return Err(Error::invalid(format!(
                "target {}: request {} is {} old and may have been sent before, but the target remembers ids for {}",
                entry.target,
                entry.id.with_lane(lane),
                format_duration(whole_minutes(age)),
                format_duration(memory)
            ))
            .with_help(
                "look in the target whether it took effect; raise remembers_ids if the target really remembers longer; \
                 the lane stops so that nothing takes effect twice",
            ));
        }
    }
    Ok(())
}

/// Whether a repeat of some request of the outbox would take effect again, however soon it comes.
pub fn repeats_count(outbox: &[OutboxEntry], targets: &BTreeMap<String, Target>) -> bool {
    outbox.iter().filter_map(|entry| rest(entry, targets)).any(|rest| rest.idempotency.repeats_count())
}

/// Whether the environment that committed an outbox may conclude, from being its only sender so far, that some request
/// did not take effect: from a rejection that the target does not promise to be final, or from refusals alone.
///
/// Anybody else takes the outbox over by a carry commit before sending any of it. That takes the number which such a
/// conclusion needs, so that it is never committed beside an effect.
pub fn first_sender_decides(outbox: &[OutboxEntry], targets: &BTreeMap<String, Target>) -> bool {
    outbox.iter().filter_map(|entry| rest(entry, targets)).any(|rest| {
        let by_rejection = !rest.rejections_decide() && rest.on_reject == OnReject::DeadLetter;
        by_rejection || rest.on_exhausted == OnExhausted::DeadLetter
    })
}

/// What somebody who has loaded an unsettled head has to do before anything of it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakeOver {
    /// What is still owed. Empty: the head is settled as it is.
    pub outbox: Vec<OutboxEntry>,
    /// It has to be committed, as it is here, in a carry commit of one's own.
    pub commit: bool,
    /// Nothing may leave before everybody who may be sending what was committed before has stopped.
    pub wait: bool,
    /// Requests that are sent at most once and left the outbox: whether they took effect is unknown.
    pub dropped: u64,
}

/// What taking an outbox over asks for. `outbox` is that of a head which this environment has loaded unsettled.
///
/// # Errors
/// Internal when an entry is damaged; Fenced when a newer program wrote it.
pub fn take_over(outbox: &[OutboxEntry], targets: &BTreeMap<String, Target>) -> Result<TakeOver> {
    let mut owed = TakeOver {
        outbox: Vec::with_capacity(outbox.len()),
        commit: first_sender_decides(outbox, targets),
        wait: false,
        dropped: 0,
    };
    for entry in outbox {
        let mut entry = entry.clone();
        match level(&entry)? {
            Some(Idempotency::LastWriterWins) => (owed.commit, owed.wait) = (true, true),
            Some(Idempotency::AtMostOnce { offered: false }) => {
                owed.dropped += 1;
                continue;
            }
            Some(Idempotency::AtMostOnce { offered: true }) => {
                entry = with_level(&entry, Idempotency::AtMostOnce { offered: false })?;
                owed.commit = true;
            }
            _ => {}
        }
        owed.outbox.push(entry);
    }
    owed.commit |= owed.dropped > 0;
    owed.commit &= !owed.outbox.is_empty();
    Ok(owed)
}

/// How long a request of the outbox may be on its way whose place is taken by the last writer.
pub fn longest_flight(outbox: &[OutboxEntry], targets: &BTreeMap<String, Target>) -> Duration {
    let timeouts = outbox.iter().filter_map(|entry| rest(entry, targets)).map(|rest| rest.timeout);
    timeouts.max().unwrap_or_default()
}

/// How the target of a request was to recognise a repeat when it was committed. `None`: it is no HTTP request.
pub(crate) fn level(entry: &OutboxEntry) -> Result<Option<Idempotency>> {
    if entry.target.starts_with('$') {
        return Ok(None);
    }
    Ok(match Payload::decode(&entry.payload)? {
        Payload::Http(http) => Some(http.idempotency),
        Payload::Lines(_) | Payload::DeadLetters(_) => None,
    })
}

/// The same request with another mark. Its body and its address stay.
pub(crate) fn with_level(entry: &OutboxEntry, idempotency: Idempotency) -> Result<OutboxEntry> {
    let Payload::Http(http) = Payload::decode(&entry.payload)? else {
        return Err(Error::internal(format!("request {}/{} is no HTTP request", entry.id.n, entry.id.index)));
    };
    Ok(OutboxEntry { payload: Payload::Http(HttpPayload { idempotency, ..http }).encode(), ..entry.clone() })
}

fn rest<'a>(entry: &OutboxEntry, targets: &'a BTreeMap<String, Target>) -> Option<&'a RestTarget> {
    match targets.get(&entry.target)? {
        Target::Rest(rest) => Some(rest),
        Target::Lines(_) => None,
    }
}

/// Seconds do not help anybody who reads of hours.
fn whole_minutes(age: Duration) -> Duration {
    Duration::from_secs(age.as_secs() / 60 * 60)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tidegate_core::outbox::DEAD_LETTERS;
    use tidegate_core::{EffectId, ErrorKind, RequestIndex};

    use super::*;
    use crate::config::LinesTarget;
    use crate::tests::{lane, rest as rest_target, targets};

    const HOUR: Duration = Duration::from_secs(3600);

    fn entry(target: &str) -> OutboxEntry {
        OutboxEntry {
            id: EffectId { n: 7, index: RequestIndex::top(2) },
            target: target.to_owned(),
            wave: 0,
            rows: 1,
            committed_at: Timestamp(1_000_000),
            payload: Bytes::new(),
        }
    }

    /// The name of the one target, and targets with it.
    fn with(change: impl Fn(&mut RestTarget)) -> (String, BTreeMap<String, Target>) {
        let mut target = rest_target("http://h/x");
        target.promise.remembers_ids = 24 * HOUR;
        change(&mut target);
        let targets = targets(target);
        (targets.keys().next().unwrap().clone(), targets)
    }

    #[test]
    fn what_a_target_has_forgotten_is_not_sent_again() {
        let (name, targets) = with(|_| {});
        let check = |age| check_remembered(&lane(), &[entry(&name)], &targets, Timestamp(1_000_000).plus(age));
        check(Duration::ZERO).unwrap();
        check(24 * HOUR).unwrap();
        let error = check(25 * HOUR + Duration::from_millis(1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let text = error.to_string();
        for part in [format!("target {name}"), entry(&name).id.with_lane(&lane()), "25h old".into(), "for 1d".into()] {
            assert!(text.contains(&part), "{part}: {text}");
        }
        assert!(error.help().unwrap().contains("raise remembers_ids"));
        // A clock that is behind is no reason.
        check_remembered(&lane(), &[entry(&name)], &targets, Timestamp(0)).unwrap();
    }

    #[test]
    fn only_targets_with_a_memory_can_forget() {
        let (name, targets) = with(|target| target.idempotency = Idempotency::None);
        let lines = BTreeMap::from([("lines".to_owned(), Target::Lines(LinesTarget::Stdout))]);
        let late = Timestamp(0).plus(1000 * HOUR);
        check_remembered(&lane(), &[entry(&name)], &targets, late).unwrap();
        check_remembered(&lane(), &[entry("lines"), entry(DEAD_LETTERS), entry("gone")], &lines, late).unwrap();
    }

    #[test]
    fn an_outbox_is_taken_over_where_its_first_sender_decides() {
        let decides = |change: &dyn Fn(&mut RestTarget)| {
            let (name, targets) = with(|target| {
                target.promise.rejections_are_final = true;
                change(target);
            });
            first_sender_decides(&[entry(DEAD_LETTERS), entry(&name)], &targets)
        };
        assert!(!decides(&|_| {}));
        assert!(decides(&|target| target.on_exhausted = OnExhausted::DeadLetter));
        assert!(decides(&|target| target.promise.rejections_are_final = false));
        assert!(!decides(&|target| {
            target.promise.rejections_are_final = false;
            target.on_reject = OnReject::Block;
        }));
        assert!(!first_sender_decides(&[entry(DEAD_LETTERS), entry("gone")], &BTreeMap::new()));
    }

    #[test]
    fn repeats_count_where_nothing_recognises_them() {
        let (name, targets) = with(|target| target.idempotency = Idempotency::None);
        assert!(repeats_count(&[entry(DEAD_LETTERS), entry(&name)], &targets));
        assert!(!repeats_count(&[entry(DEAD_LETTERS), entry("gone")], &targets));
        let (name, targets) = with(|target| target.idempotency = Idempotency::Path);
        assert!(!repeats_count(&[entry(&name)], &targets));
        assert!(!repeats_count(&[], &targets));
    }

    fn owed(index: u32, idempotency: Idempotency) -> OutboxEntry {
        let http = HttpPayload {
            method: crate::config::Method::Put,
            url: "http://h/x".into(),
            headers: Vec::new(),
            content_type: "application/json".into(),
            format: crate::config::BodyFormat::JsonObject,
            idempotency,
            output: "o".into(),
            rows: Bytes::from_static(b"{}"),
        };
        let id = EffectId { n: 7, index: RequestIndex::top(index) };
        OutboxEntry { id, payload: Payload::Http(http).encode(), ..entry("api") }
    }

    #[test]
    fn what_a_loader_does_follows_from_how_repeats_are_recognised() {
        const MINE: Idempotency = Idempotency::AtMostOnce { offered: false };
        const OFFERED: Idempotency = Idempotency::AtMostOnce { offered: true };
        let (_, targets) = with(|target| target.promise.rejections_are_final = true);
        let of = |levels: &[Idempotency]| {
            let outbox: Vec<_> = (0..).zip(levels).map(|(i, level)| owed(i, level.clone())).collect();
            let over = take_over(&outbox, &targets).unwrap();
            let left: Vec<_> =
                over.outbox.iter().map(|entry| (entry.id.index.path()[0], level(entry).unwrap().unwrap())).collect();
            (left, over.commit, over.wait, over.dropped)
        };
        let by_id = Idempotency::Path;
        let fenced = Idempotency::Fenced(412);
        let last = Idempotency::LastWriterWins;
        assert_eq!(of(&[]), (vec![], false, false, 0));
        let as_it_is = vec![(0, by_id.clone()), (1, fenced.clone())];
        assert_eq!(of(&[by_id.clone(), fenced]), (as_it_is, false, false, 0));
        assert_eq!(of(std::slice::from_ref(&last)), (vec![(0, last.clone())], true, true, 0));
        // Nobody knows whether it was sent: it never is again. What was offered is, once that is committed.
        assert_eq!(of(&[MINE]), (vec![], false, false, 1));
        assert_eq!(of(&[MINE, by_id.clone()]), (vec![(1, by_id)], true, false, 1));
        assert_eq!(of(&[OFFERED, MINE]), (vec![(0, MINE)], true, false, 1));
    }
}
