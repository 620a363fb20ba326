use std::collections::BTreeMap;

use bytes::Bytes;
use tidegate_core::{Generation, Timestamp};

use super::*;
use crate::record::Payload;

const MINE: u128 = 77;

fn sample(n: u64, ring: u16, previous: record::Checksum, incarnation: u128) -> Commit {
    Commit {
        incarnation: Incarnation(incarnation),
        generation: Generation::FIRST,
        n,
        ring,
        previous,
        writer: 1,
        attempt: u128::from(n),
        deadline: Timestamp(0),
        carry: false,
        sealed: false,
        birth: false,
        positions: BTreeMap::new(),
        ranges: BTreeMap::new(),
        watermark: None,
        sink_lengths: BTreeMap::new(),
        fingerprint: [0; 16],
        layout: None,
        delta: Payload::Inline(Bytes::new()),
        outbox: Vec::new(),
    }
}

fn item(n: u64, attempt: u128, incarnation: u128) -> Item {
    Item { version: n, attempt, data: sample(n, 4, [0; 16], incarnation).encode().unwrap() }
}

fn judge(answer: Answer) -> Verdict {
    commit(Claim { incarnation: Incarnation(1), n: 9, attempt: MINE }, answer, true)
}

fn read(slot: Option<Item>, doubt: Doubt) -> Answer {
    Answer::Read { slot, doubt }
}

fn unknown() -> Doubt {
    Doubt::Unknown("no answer".into())
}

#[test]
fn only_an_own_write_is_success() {
    assert_eq!(judge(Answer::Applied), Verdict::Committed);
    assert_eq!(judge(Answer::Refused(Some(item(9, MINE, 1)))), Verdict::AlreadyCommitted);
    assert_eq!(judge(Answer::Refused(Some(item(9, 5, 1)))), Verdict::Conflict);
    assert_eq!(judge(Answer::Refused(Some(item(13, 5, 1)))), Verdict::Conflict);
    assert_eq!(judge(Answer::Refused(None)), Verdict::Read(Doubt::Refused));
}

#[test]
fn foreign_and_newer_items_fence() {
    assert!(matches!(judge(Answer::Refused(Some(item(9, 5, 2)))), Verdict::Fenced(_)));
    let mut newer = item(9, 5, 1);
    let mut data = newer.data.to_vec();
    data[0] = record::COMMIT_FORMAT + 1;
    newer.data = data.into();
    assert!(matches!(judge(Answer::Refused(Some(newer.clone()))), Verdict::Fenced(_)));
    newer.data = Bytes::from_static(b"\x01rubbish");
    assert!(matches!(judge(Answer::Refused(Some(newer))), Verdict::Failed(StoreError::Damaged(_))));
}

#[test]
fn unknown_is_settled_by_a_read_or_stays_unknown() {
    assert_eq!(judge(Answer::Failed(StoreError::Unknown("no answer".into()))), Verdict::Read(unknown()));
    assert_eq!(judge(read(Some(item(9, MINE, 1)), unknown())), Verdict::AlreadyCommitted);
    assert_eq!(judge(read(Some(item(9, 5, 1)), unknown())), Verdict::Conflict);
    assert_eq!(judge(read(Some(item(13, 5, 1)), unknown())), Verdict::Conflict);
    // The put may still be on its way.
    assert_eq!(judge(read(Some(item(5, 5, 1)), unknown())), Verdict::Unknown("no answer".into()));
    assert_eq!(judge(read(None, unknown())), Verdict::Unknown("no answer".into()));
    // A refusal is no unknown outcome.
    assert_eq!(judge(read(Some(item(5, 5, 1)), Doubt::Refused)), Verdict::Conflict);
    assert_eq!(judge(read(None, Doubt::Refused)), Verdict::Conflict);
}

#[test]
fn throttling_is_repeated_within_bounds() {
    assert_eq!(judge(Answer::Failed(StoreError::Throttled)), Verdict::Repeat);
    let last = commit(
        Claim { incarnation: Incarnation(1), n: 9, attempt: MINE },
        Answer::Failed(StoreError::Throttled),
        false,
    );
    assert!(matches!(last, Verdict::Read(Doubt::Unknown(_))));
    assert!(matches!(judge(Answer::Failed(StoreError::Full("x".into()))), Verdict::Failed(_)));
}

const GENESIS: record::Checksum = [42; 16];

/// A lane of K = 4 with commits `1..=head` and a manifest at `covered`.
fn facts(head: u64, covered: u64) -> LoadFacts {
    let mut slots = vec![None, None, None, None];
    let mut previous = GENESIS;
    let mut checksums = BTreeMap::new();
    for n in 1..=head {
        let commit = sample(n, 4, previous, 1);
        previous = record::checksum(&commit.encode().unwrap());
        checksums.insert(n, previous);
        slots[(n % 4) as usize] = Some(Stored { version: n, checksum: previous, bytes: 0, record: commit });
    }
    let manifest = (covered > 0).then(|| Stored {
        version: 1,
        checksum: [0; 16],
        bytes: 0,
        record: Manifest {
            incarnation: Incarnation(1),
            generation: Generation::FIRST,
            ring: 4,
            n: covered,
            checksum: checksums[&covered],
            writer: 1,
            attempt: 1,
            positions: BTreeMap::new(),
            ranges: BTreeMap::new(),
            watermark: None,
            sink_lengths: BTreeMap::new(),
            fingerprint: [0; 16],
            layout: Vec::new(),
            snapshot: Payload::Inline(Bytes::new()),
            segments: Vec::new(),
        },
    });
    LoadFacts {
        incarnation: Incarnation(1),
        ring: 4,
        first: 1,
        registered: head > 0,
        genesis: GENESIS,
        manifest,
        slots,
    }
}

#[test]
fn every_state_of_a_ring_loads() {
    assert_eq!(load(&facts(0, 0)), LoadVerdict::Head(0));
    for head in 1..20u64 {
        for covered in head.saturating_sub(4)..=head {
            assert_eq!(load(&facts(head, covered)), LoadVerdict::Head(head), "manifest {covered}");
        }
    }
}

/// A lane of K = 4 that goes on where others ended, with commits `first..=head` and a manifest at `covered`.
fn inherited(first: u64, head: u64, covered: Option<u64>) -> LoadFacts {
    let mut slots = vec![None, None, None, None];
    let mut previous = GENESIS;
    let mut checksums = BTreeMap::new();
    for n in first..=head {
        let commit = Commit { birth: n == first, ..sample(n, 4, previous, 1) };
        previous = record::checksum(&commit.encode().unwrap());
        checksums.insert(n, previous);
        slots[(n % 4) as usize] = Some(Stored { version: n, checksum: previous, bytes: 0, record: commit });
    }
    let manifest = covered.map(|covered| {
        let stored = facts(1, 1).manifest.unwrap();
        let record = Manifest { n: covered, checksum: checksums[&covered], ..stored.record };
        Stored { record, ..stored }
    });
    LoadFacts { first, slots, manifest, ..facts(1, 0) }
}

#[test]
fn lanes_begin_with_any_number() {
    for first in [3u64, 4, 5, 8, 1000] {
        for head in first..first + 12 {
            let needed = head.saturating_sub(4);
            for covered in needed.max(first)..=head {
                assert_eq!(load(&inherited(first, head, Some(covered))), LoadVerdict::Head(head), "{first} {covered}");
            }
            if needed < first {
                assert_eq!(load(&inherited(first, head, None)), LoadVerdict::Head(head), "{first}");
            }
        }
        let broken = |facts: LoadFacts| matches!(load(&facts), LoadVerdict::Broken(_));
        // Another first number than the one registered, either way.
        assert!(broken(LoadFacts { first: first + 1, ..inherited(first, first + 2, None) }));
        assert!(broken(LoadFacts { first: first - 1, ..inherited(first, first + 2, Some(first)) }));
        assert!(broken(LoadFacts { genesis: [1; 16], ..inherited(first, first + 1, None) }));
        assert!(broken(LoadFacts { slots: vec![None, None, None, None], ..inherited(first, first, None) }));
        let mut torn = inherited(first, first + 2, None);
        torn.slots[((first + 1) % 4) as usize] = None;
        assert!(matches!(load(&torn), LoadVerdict::Torn(_)));
    }
}

#[test]
fn a_newer_slot_is_a_torn_load() {
    // The slots were read while others committed.
    for (head, covered, missed) in [(6, 3, 5), (4, 0, 1), (9, 8, 9)] {
        let mut torn = facts(head, covered);
        let older = (missed > 4).then(|| facts(missed - 4, 0).slots[(missed % 4) as usize].clone()).flatten();
        torn.slots[(missed % 4) as usize] = older;
        let verdict = load(&torn);
        match missed == head {
            // An older head is a head: the next put tells.
            true => assert_eq!(verdict, LoadVerdict::Head(head - 1)),
            false => assert!(matches!(verdict, LoadVerdict::Torn(_)), "{verdict:?}"),
        }
    }
    // The manifest was read long before the slots.
    let mut torn = facts(20, 19);
    torn.manifest = facts(8, 7).manifest;
    assert!(matches!(load(&torn), LoadVerdict::Torn(_)));
    let mut torn = facts(3, 0);
    torn.registered = false;
    assert!(matches!(load(&torn), LoadVerdict::Torn(_)));
}

#[test]
fn contradictions_are_broken() {
    let broken = |change: fn(&mut LoadFacts)| {
        let mut facts = facts(6, 4);
        change(&mut facts);
        load(&facts)
    };
    let changes: [fn(&mut LoadFacts); 6] = [
        |f| f.slots[2].as_mut().unwrap().record.previous = [1; 16],
        |f| f.manifest.as_mut().unwrap().record.checksum = [1; 16],
        |f| f.slots[1].as_mut().unwrap().record.ring = 8,
        |f| f.manifest.as_mut().unwrap().record.ring = 8,
        |f| f.slots[3] = None,
        |f| f.slots.swap(0, 1),
    ];
    for (i, change) in changes.into_iter().enumerate() {
        assert!(matches!(broken(change), LoadVerdict::Broken(_)), "change {i}");
    }
    assert!(matches!(broken(|f| f.incarnation = Incarnation(9)), LoadVerdict::Fenced(_)));
    let mut gone = facts(0, 0);
    gone.registered = true;
    assert!(matches!(load(&gone), LoadVerdict::Broken(_)));
    let mut first = facts(2, 0);
    first.genesis = [0; 16];
    assert!(matches!(load(&first), LoadVerdict::Broken(_)));
}

#[test]
fn a_manifest_is_replaced_by_its_writer_or_not_at_all() {
    let judge = |answer| manifest(Claim { incarnation: Incarnation(1), n: 3, attempt: MINE }, answer, true);
    let other = |version, attempt| Some(Item { version, attempt, data: Bytes::from_static(b"not looked at") });
    assert_eq!(judge(Answer::Applied), Verdict::Committed);
    assert_eq!(judge(Answer::Refused(other(3, MINE))), Verdict::AlreadyCommitted);
    assert_eq!(judge(Answer::Refused(other(3, 1))), Verdict::Conflict);
    assert_eq!(judge(Answer::Refused(None)), Verdict::Read(Doubt::Refused));
    assert_eq!(judge(read(other(3, MINE), unknown())), Verdict::AlreadyCommitted);
    assert_eq!(judge(read(other(3, 1), unknown())), Verdict::Conflict);
    assert_eq!(judge(read(other(2, 1), unknown())), Verdict::Unknown("no answer".into()));
    assert_eq!(judge(read(other(2, 1), Doubt::Refused)), Verdict::Conflict);
    assert_eq!(judge(Answer::Failed(StoreError::Throttled)), Verdict::Repeat);
}
