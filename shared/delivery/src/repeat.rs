//! What a target makes of a request that comes a second time. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate_core::units::format_duration;
use tidegate_core::{Error, LaneKey, OutboxEntry, Result, Timestamp};

use crate::config::{Idempotency, OnExhausted, OnReject, RestTarget, Target};

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
        let Some(rest) = rest(entry, targets).filter(|rest| rest.idempotency != Idempotency::None) else { continue };
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
    outbox.iter().filter_map(|entry| rest(entry, targets)).any(|rest| rest.idempotency == Idempotency::None)
}

/// Whether the environment that committed an outbox may conclude, from being its only sender so far, that some request
/// did not take effect: from a rejection that the target does not promise to be final, or from refusals alone.
///
/// Anybody else takes the outbox over by a carry commit before sending any of it. That takes the number which such a
/// conclusion needs, so that it is never committed beside an effect.
pub fn first_sender_decides(outbox: &[OutboxEntry], targets: &BTreeMap<String, Target>) -> bool {
    outbox.iter().filter_map(|entry| rest(entry, targets)).any(|rest| {
        let by_rejection = !rest.promise.rejections_are_final && rest.on_reject == OnReject::DeadLetter;
        by_rejection || rest.on_exhausted == OnExhausted::DeadLetter
    })
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
}
