use bytes::Bytes;
use tidegate_core::Generation;

use super::*;
use crate::record::Payload;

fn seal_of(lane: &str, n: u64, part: u32, through: Option<i64>, latest_end: Option<i64>) -> Seal {
    Seal {
        output: "sums".into(),
        lane: LaneId::new("s", lane),
        n,
        part,
        through: through.map(Timestamp),
        latest_end: latest_end.map(Timestamp),
        rows: Bytes::new(),
    }
}

fn item(incarnation: u128, hash: [u8; 32]) -> Item {
    let item = SealItem {
        incarnation: Incarnation(incarnation),
        generation: Generation::FIRST,
        hash,
        seal: seal_of("0", 3, 0, Some(5), None),
        rows: Payload::Inline(Bytes::new()),
    };
    Item { version: 1, attempt: 9, data: item.encode().unwrap() }
}

#[test]
fn equal_bytes_count_as_delivered_and_others_never() {
    let mine = [7; 32];
    let judge = |answer| seal(Incarnation(1), &mine, answer, true);
    let read = |slot, doubt| judge(Answer::Read { slot, doubt });
    let unknown = || Doubt::Unknown("no answer".into());
    assert_eq!(judge(Answer::Applied), Verdict::Committed);
    for found in [|item| Answer::Refused(Some(item)), |item| Answer::Read { slot: Some(item), doubt: Doubt::Refused }] {
        assert_eq!(judge(found(item(1, mine))), Verdict::AlreadyCommitted);
        assert_eq!(judge(found(item(1, [8; 32]))), Verdict::Conflict);
        assert!(matches!(judge(found(item(2, mine))), Verdict::Fenced(_)));
        let mut newer = item(1, mine);
        newer.data = [&[newer.data[0] + 1], &newer.data[1..]].concat().into();
        assert!(matches!(judge(found(newer)), Verdict::Fenced(_)));
        let damaged = Item { data: Bytes::from_static(b"\x01rubbish"), ..item(1, mine) };
        assert!(matches!(judge(found(damaged)), Verdict::Failed(StoreError::Damaged(_))));
    }
    assert_eq!(judge(Answer::Refused(None)), Verdict::Read(Doubt::Refused));
    assert_eq!(judge(Answer::Failed(StoreError::Unknown("no answer".into()))), Verdict::Read(unknown()));
    assert_eq!(read(None, unknown()), Verdict::Unknown("no answer".into()));
    assert!(matches!(read(None, Doubt::Refused), Verdict::Unknown(_)));
    assert_eq!(judge(Answer::Failed(StoreError::Throttled)), Verdict::Repeat);
    let last = seal(Incarnation(1), &mine, Answer::Failed(StoreError::Throttled), false);
    assert!(matches!(last, Verdict::Read(Doubt::Unknown(_))));
    assert!(matches!(judge(Answer::Failed(StoreError::Full("x".into()))), Verdict::Failed(_)));
}

#[test]
fn a_lane_is_sealed_as_far_as_its_largest_proof() {
    let seals = [
        seal_of("0", 1, 0, Some(10), Some(10)),
        seal_of("0", 4, 0, None, Some(30)),
        seal_of("0", 4, 1, Some(20), Some(20)),
        seal_of("1", 9, 0, None, Some(50)),
        seal_of("2", 2, 0, Some(-5), None),
    ];
    let expected = [(LaneId::new("s", "0"), Timestamp(20)), (LaneId::new("s", "2"), Timestamp(-5))];
    assert_eq!(sealed_through(&seals), expected.into());
}

#[test]
fn open_windows_and_the_newest_proof_of_each_lane_stay() {
    let cases = [
        ("closed, and a newer proof", seal_of("0", 1, 0, Some(10), Some(10)), true),
        ("closed, a part without proof", seal_of("0", 2, 0, None, Some(15)), true),
        ("a window is open", seal_of("0", 2, 1, Some(15), Some(21)), false),
        ("empty, and a newer proof", seal_of("0", 3, 0, Some(18), None), true),
        ("the newest proof", seal_of("0", 5, 0, Some(20), None), false),
        ("the only proof of its lane", seal_of("1", 1, 0, Some(5), Some(5)), false),
        ("a lane without proof", seal_of("2", 1, 0, None, Some(20)), true),
        ("a lane without proof, open", seal_of("2", 1, 1, None, Some(21)), false),
    ];
    let seals: Vec<&Seal> = cases.iter().map(|(_, seal, _)| seal).collect();
    let garbage = garbage_seals(&seals, Timestamp(20));
    for (place, (name, _, expected)) in cases.iter().enumerate() {
        assert_eq!(garbage.contains(&place), *expected, "{name}");
    }
    // What is left tells the closer the same, and is left again.
    let rest: Vec<&Seal> = (0..seals.len()).filter(|i| !garbage.contains(i)).map(|i| seals[i]).collect();
    assert_eq!(sealed_through(rest.iter().copied()), sealed_through(seals.iter().copied()));
    assert!(garbage_seals(&rest, Timestamp(20)).is_empty());
}
