use proptest::prelude::*;

use super::*;
use crate::config::RestTarget;
use crate::tests::{context, http_of, lane, rest, rows, targets};
use crate::{BlockKind, plan};

fn planned(target: &RestTarget, keys: &[Option<&str>]) -> Vec<OutboxEntry> {
    plan(&Target::Rest(Box::new(target.clone())), &context(&lane(), &[]), &rows(keys)).unwrap().entries
}

fn rejection(proves_not_applied: bool) -> Outcome {
    Outcome::Rejected { reason: "answered 422".into(), proves_not_applied }
}

#[test]
fn outcomes_and_decisions() {
    let target = rest("http://h/x");
    let entry = &planned(&target, &[Some("a"), Some("b")])[0];
    let of = |target: &RestTarget, outcome: &Outcome| {
        decide(&lane(), entry, &Target::Rest(Box::new(target.clone())), outcome, Timestamp(0)).unwrap()
    };
    assert_eq!(of(&target, &Outcome::Acknowledged), Decision::Done);
    assert_eq!(of(&target, &Outcome::NotTried), Decision::Keep);
    assert!(matches!(of(&target, &rejection(false)), Decision::Block(why) if why.contains("rejections: final")));
    let Decision::Split([left, right]) = of(&target, &rejection(true)) else { panic!() };
    assert_eq!((left.id.index.to_string(), right.id.index.to_string()), ("0.0".into(), "0.1".into()));
    assert_eq!((left.id.n, left.committed_at), (7, entry.committed_at));
    let Decision::DeadLetter(letters) = of(&target, &Outcome::GivenUp { reason: "x".into() }) else { panic!() };
    assert_eq!((letters.len(), letters[0].rows), (1, 2));
    let mut blocks = target.clone();
    blocks.on_reject = OnReject::Block;
    assert!(matches!(of(&blocks, &rejection(true)), Decision::Block(_)));
    let mut wrong = entry.clone();
    wrong.rows = 3;
    assert!(decide(&lane(), &wrong, &Target::Rest(Box::new(target)), &rejection(true), Timestamp(0)).is_err());
}

#[test]
fn a_carry_keeps_order() {
    let target = rest("http://h/x");
    let entries = planned(&target, &[Some("a"); 6]);
    let outcomes = [rejection(true), Outcome::NotTried, Outcome::NotTried];
    let next = carry(&lane(), &entries, &targets(target.clone()), &outcomes, Timestamp(0)).unwrap();
    let shape: Vec<_> = next.outbox.iter().map(|entry| (entry.id.index.to_string(), entry.wave)).collect();
    assert_eq!(shape, [("0.0".into(), 0), ("0.1".into(), 1), ("1".into(), 2), ("2".into(), 3)]);
    assert!(next.untried && next.decided == 1 && next.blocked.is_empty());
    let blocked = Outcome::Blocked { kind: BlockKind::Passing, message: "down".into() };
    let outcomes = [Outcome::Acknowledged, blocked, Outcome::NotTried];
    let next = carry(&lane(), &entries, &targets(target), &outcomes, Timestamp(0)).unwrap();
    assert_eq!((next.decided, next.untried, next.outbox.len()), (0, false, 2));
    assert_eq!(next.blocked, ["down"]);
}

proptest! {
    #[test]
    fn halves_make_up_the_whole(keys in proptest::collection::vec(proptest::option::of("[\\PC\"\\\\{}\\[\\],\n]{0,8}"), 2..40), format in 0..2) {
        let mut target = rest("http://h/x");
        target.batch.rows = 1000;
        target.batch.format = [BodyFormat::JsonArray, BodyFormat::Ndjson][format as usize];
        let entry = planned(&target, &keys.iter().map(Option::as_deref).collect::<Vec<_>>()).remove(0);
        let rest_target = Target::Rest(Box::new(target.clone()));
        let whole = cut_rows(target.batch.format, &http_of(&entry).rows);
        let mut parts = vec![entry.clone()];
        let mut ids = std::collections::HashSet::new();
        while let Some(at) = parts.iter().position(|part| part.rows > 1) {
            let decision = decide(&lane(), &parts[at], &rest_target, &rejection(true), Timestamp(0)).unwrap();
            let Decision::Split(halves) = decision else { panic!() };
            for half in &halves {
                prop_assert!(ids.insert(half.id.clone()));
                prop_assert_eq!(&http_of(half).url, &http_of(&entry).url);
            }
            parts.splice(at..=at, halves);
        }
        let cut: Vec<_> = parts.iter().flat_map(|part| cut_rows(target.batch.format, &http_of(part).rows)).collect();
        prop_assert_eq!(&cut, &whole);
        prop_assert_eq!(join(target.batch.format, &cut), http_of(&entry).rows);
        prop_assert_eq!(whole.len(), keys.len());
        for row in whole {
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&row).is_ok());
        }
    }
}

#[test]
fn what_is_sent_once_is_offered_to_others_only_when_it_did_not_take_effect() {
    let mut target = rest("http://h/x");
    target.idempotency = Idempotency::AtMostOnce { offered: false };
    let entries = planned(&target, &[Some("a"); 6]);
    let offered = |outcomes: [Outcome; 3]| {
        let next = carry(&lane(), &entries, &targets(target.clone()), &outcomes, Timestamp(0)).unwrap();
        let marks = next.outbox.iter().map(|entry| {
            let offered = http_of(entry).idempotency == Idempotency::AtMostOnce { offered: true };
            (entry.id.index.to_string(), offered)
        });
        (marks.collect::<Vec<_>>(), next.decided)
    };
    let unknown = || Outcome::Unknown { reason: "no answer".into() };
    let down = || Outcome::Blocked { kind: BlockKind::Passing, message: "down".into() };
    assert_eq!(offered([Outcome::Acknowledged, unknown(), unknown()]), (vec![], 0));
    assert_eq!(offered([unknown(), down(), Outcome::NotTried]), (vec![("1".into(), true), ("2".into(), true)], 2));
    // No time was left.
    assert_eq!(offered([unknown(), unknown(), Outcome::NotTried]), (vec![("2".into(), true)], 1));
    // This environment goes on.
    let going_on = offered([rejection(true), Outcome::NotTried, Outcome::NotTried]);
    let marks = ["0.0", "0.1", "1", "2"].map(|index| (index.to_owned(), false));
    assert_eq!(going_on, (marks.to_vec(), 1));
}
