use bytes::Bytes;
use tidegate_core::{Generation, Incarnation};

use super::*;

fn lane(name: &str) -> LaneId {
    LaneId::new("s", name)
}

fn registry() -> Registry {
    let mut registry = Registry::new(Incarnation(1), Generation::FIRST);
    registry.lanes.insert(lane("0"), Registered { ring: 4, first: 1 });
    registry.floors.insert("sums".into(), Timestamp(10));
    registry
}

fn sealing() -> Registry {
    Registry { phase: Phase::Sealing { next: Generation(2) }, ..registry() }
}

#[test]
fn a_lane_registers_only_under_the_floors_that_it_was_loaded_with() {
    let floors =
        |floors: &[(&str, i64)]| floors.iter().map(|(output, at)| ((*output).into(), Timestamp(*at))).collect();
    let seen: BTreeMap<String, Timestamp> = floors(&[("sums", 10)]);
    let new = lane("1");
    let newcomer = Newcomer { lane: &new, ring: 8, floors: &seen };
    let Change::Write(written) = register(&registry(), newcomer) else { panic!("refused") };
    assert_eq!(written.lanes[&new], Registered { ring: 8, first: 1 });
    assert_eq!(Registry { lanes: registry().lanes, ..written }, registry());
    for other in [floors(&[]), floors(&[("sums", 9)]), floors(&[("sums", 11)]), floors(&[("sums", 10), ("max", 1)])] {
        assert_eq!(register(&registry(), Newcomer { floors: &other, ..newcomer }), Change::Outdated, "{other:?}");
    }
    assert_eq!(register(&registry(), Newcomer { lane: &lane("0"), ..newcomer }), Change::Outdated);
    assert!(matches!(register(&sealing(), newcomer), Change::Fenced(_)));
}

#[test]
fn a_close_raises_the_floor_of_its_own_output() {
    let closing = |output: &str, floor: i64, version: u64| Closing {
        output: output.into(),
        floor: Timestamp(floor),
        registry_version: version,
    };
    let sums = LaneId::close("sums");
    let judge = |lane: &LaneId, closing: &Closing| close(&registry(), 7, lane, 8, closing);
    let Change::Write(first) = judge(&sums, &closing("sums", 11, 7)) else { panic!("refused") };
    assert_eq!((first.floors["sums"], first.lanes[&sums].ring, first.lanes.len()), (Timestamp(11), 8, 2));
    // It keeps the ring that it has.
    let Change::Write(again) = close(&first, 8, &sums, 64, &closing("sums", 12, 8)) else { panic!("refused") };
    assert_eq!((again.lanes[&sums].ring, again.floors["sums"]), (8, Timestamp(12)));
    let Change::Write(other) = judge(&LaneId::close("max"), &closing("max", -5, 7)) else { panic!("refused") };
    assert_eq!((other.floors["sums"], other.floors["max"]), (Timestamp(10), Timestamp(-5)));
    for version in [6, 8] {
        assert_eq!(judge(&sums, &closing("sums", 11, version)), Change::Outdated);
    }
    for (lane, closing) in [
        (&sums, closing("sums", 10, 7)),
        (&sums, closing("sums", 9, 7)),
        (&sums, closing("max", 11, 7)),
        (&lane("0"), closing("sums", 11, 7)),
    ] {
        assert!(matches!(judge(lane, &closing), Change::Wrong(_)), "{lane} {closing:?}");
    }
    assert!(matches!(close(&sealing(), 7, &sums, 8, &closing("sums", 11, 7)), Change::Fenced(_)));
}

#[test]
fn parents_end_and_children_begin_together() {
    let entry = Registered { ring: 8, first: 900 };
    let judge = |registry: &Registry, parents: &[&str], children: &[&str]| {
        let lanes = |names: &[&str]| names.iter().map(|name| lane(name)).collect::<Vec<_>>();
        reshard(registry, &lanes(parents), &lanes(children), entry)
    };
    let Change::Write(split) = judge(&registry(), &["0"], &["1", "2"]) else { panic!("refused") };
    assert_eq!((split.lanes[&lane("1")], split.lanes[&lane("2")], split.lanes.len()), (entry, entry, 3));
    assert_eq!(split.finished, [lane("0")].into());
    assert_eq!(split.floors, registry().floors);
    let Change::Write(merged) = judge(&split, &["1", "2"], &["3"]) else { panic!("refused") };
    assert_eq!((merged.lanes.len(), merged.finished.len()), (4, 3));
    assert_eq!(judge(&split, &["0"], &["4"]), Change::Outdated, "a parent has ended");
    assert_eq!(judge(&split, &["1"], &["2"]), Change::Outdated, "a child is there");
    assert!(matches!(judge(&registry(), &["7"], &["8"]), Change::Wrong(_)));
    assert!(matches!(reshard(&registry(), &[LaneId::close("sums")], &[lane("1")], entry), Change::Wrong(_)));
    assert!(matches!(judge(&sealing(), &["0"], &["1"]), Change::Fenced(_)));
}

#[test]
fn a_lane_is_finished_once() {
    let Change::Write(finished) = finish(&registry(), &lane("0")) else { panic!("refused") };
    assert_eq!(finished.finished, [lane("0")].into());
    assert_eq!(finish(&finished, &lane("0")), Change::Outdated);
    assert!(matches!(finish(&registry(), &lane("1")), Change::Wrong(_)));
    assert!(matches!(finish(&sealing(), &lane("0")), Change::Fenced(_)));
}

#[test]
fn the_slot_goes_before_the_registry() {
    let item = |version| Item { version, attempt: 1, data: Bytes::new() };
    let refusal = |op, old| Refusal { op, old };
    let cases = [
        (vec![refusal(0, Some(item(3)))], Refused::Slot(0, Some(item(3)))),
        (vec![refusal(0, None), refusal(1, Some(item(9)))], Refused::Slot(0, None)),
        (vec![refusal(1, Some(item(9))), refusal(0, Some(item(3)))], Refused::Slot(0, Some(item(3)))),
        (vec![refusal(1, Some(item(9)))], Refused::Registry(Some(item(9)))),
        (vec![refusal(1, None)], Refused::Registry(None)),
    ];
    for (refusals, expected) in cases {
        assert_eq!(refused(1, refusals), expected);
    }
    assert_eq!(refused(3, vec![refusal(3, None), refusal(2, Some(item(4)))]), Refused::Slot(2, Some(item(4))));
    assert_eq!(refused(3, vec![refusal(3, Some(item(4)))]), Refused::Registry(Some(item(4))));
}
