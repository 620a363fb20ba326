//! Windows over several lanes: seals, close commits, and lanes that join meanwhile.

use bytes::Bytes;
use futures::future::join_all;
use tidegate_core::{ErrorKind, LaneId, Timestamp};
use tidegate_state::decide::seals::sealed_through;
use tidegate_state::faults::Fault;
use tidegate_state::{
    BlobStore, Closing, CommitOutcome, ConditionalStore, Draft, Item, ItemKey, Lane, LaneLimit, LoadRules,
    ManifestOutcome, Pipeline, Seal, SealOutcome,
};

mod world;

use world::*;

fn lane(name: &str) -> LaneId {
    LaneId::new("s", name)
}

async fn load(pipeline: &Pipeline, lane: &LaneId) -> Lane {
    pipeline.load(lane, LoadRules::default()).await.unwrap().lane
}

fn seal(lane_name: &str, n: u64, through: Option<i64>, rows: &[(i64, &[u8])]) -> Seal {
    Seal {
        output: "sums".into(),
        lane: lane(lane_name),
        n,
        part: 0,
        through: through.map(Timestamp),
        latest_end: rows.iter().map(|(end, _)| Timestamp(*end)).max(),
        rows: rows.iter().flat_map(|(_, row)| row.iter().copied()).collect(),
    }
}

fn noise(bytes: u32) -> Vec<u8> {
    (0..bytes).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// The results of windows up to `floor`.
fn closed(floor: i64, payload: &[u8], n: u64) -> Draft {
    Draft { watermark: Some(Timestamp(floor)), positions: Default::default(), ..owing(n, payload) }
}

async fn closing(pipeline: &Pipeline, floor: i64) -> Closing {
    let registry_version = pipeline.registry().await.unwrap().version;
    Closing { output: "sums".into(), floor: Timestamp(floor), registry_version }
}

#[tokio::test]
async fn seals_are_put_once() {
    for inline_limit in [10_000, 300] {
        let world = World::new(4, inline_limit);
        let pipeline = world.open(1).await;
        let rows = noise(2000);
        let payload = seal("0", 7, Some(20), &[(20, &rows)]).encode().unwrap();
        for (fault, outcome) in [
            (None, SealOutcome::Stored),
            (None, SealOutcome::AlreadyStored),
            (Some(Fault::LostAnswer), SealOutcome::AlreadyStored),
            (Some(Fault::TimeoutAfter), SealOutcome::AlreadyStored),
            (Some(Fault::OldItemMissing), SealOutcome::AlreadyStored),
            (Some(Fault::Throttled), SealOutcome::AlreadyStored),
        ] {
            world.store.script([fault]);
            assert_eq!(pipeline.put_seal(&payload).await.unwrap(), outcome, "{fault:?}");
        }
        let objects = world.blobs.list("p").await.unwrap().len();
        assert_eq!(objects, usize::from(inline_limit == 300));
        // An environment with another limit finds the same.
        let other =
            World { options: tidegate_state::StateOptions { inline_limit: 500, ..world.options.clone() }, ..world };
        assert_eq!(other.open(2).await.put_seal(&payload).await.unwrap(), SealOutcome::AlreadyStored);
        let stored = pipeline.seals("sums").await.unwrap();
        assert_eq!(stored.len(), 1);
        assert_eq!(stored[0].seal, Seal { rows: Bytes::new(), ..Seal::decode(&payload).unwrap() });
        assert_eq!((stored[0].rows_bytes(), pipeline.seal_rows(&stored[0]).await.unwrap()), (2000, rows.into()));
        let key = ItemKey::new("p#1#seals#sums", "s:0#00000000000000000007#0");
        assert!(other.store.get(&key).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn lost_puts_of_seals_are_told_and_late_ones_are_harmless() {
    for fault in [Fault::TimeoutBefore, Fault::Delayed] {
        let world = World::new(4, 10_000);
        let pipeline = world.open(1).await;
        let payload = seal("0", 1, Some(10), &[]).encode().unwrap();
        world.store.script([Some(fault)]);
        assert_eq!(pipeline.put_seal(&payload).await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert!(pipeline.seals("sums").await.unwrap().is_empty());
        assert_eq!(pipeline.put_seal(&payload).await.unwrap(), SealOutcome::Stored);
        world.store.land().await;
        assert_eq!(pipeline.seals("sums").await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn an_id_has_one_payload() {
    let world = World::new(4, 10_000);
    let pipeline = world.open(1).await;
    pipeline.put_seal(&seal("0", 1, Some(10), &[(10, b"a")]).encode().unwrap()).await.unwrap();
    let other = seal("0", 1, Some(10), &[(10, b"b")]).encode().unwrap();
    let error = pipeline.put_seal(&other).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(error.to_string().contains("seal 1.0 of lane s:0: the store holds another payload"), "{error}");
    // Another output, lane, number or part is another id.
    let first = seal("0", 1, Some(10), &[(10, b"b")]);
    for other in [
        Seal { output: "max".into(), ..first.clone() },
        Seal { lane: lane("1"), ..first.clone() },
        Seal { n: 2, ..first.clone() },
        Seal { part: 1, ..first.clone() },
    ] {
        assert_eq!(pipeline.put_seal(&other.encode().unwrap()).await.unwrap(), SealOutcome::Stored);
    }
    assert_eq!(pipeline.seals("sums").await.unwrap().len(), 4);
    // Somebody deletes the registry and starts anew: what the old one sealed is not merged.
    world.store.inner().force(ItemKey::new("p#registry", "registry"), None);
    let anew = world.open(2).await;
    assert_eq!(anew.seals("sums").await.unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!(anew.put_seal(&other).await.unwrap_err().kind(), ErrorKind::Fenced);
}

#[tokio::test]
async fn a_close_is_one_transaction_with_the_floor() {
    let world = World::new(4, 10_000);
    let pipeline = world.open(1).await;
    let mut data = load(&pipeline, &lane("0")).await;
    committed(&mut data, draft(1)).await;
    let id = LaneId::close("sums");
    let mut close = load(&pipeline, &id).await;
    for n in 1..=9 {
        let floor = n * 10;
        let closing = closing(&pipeline, floor).await;
        world.store.take_counters();
        let draft = closed(floor, b"result", n as u64);
        assert_eq!(close.commit_close(draft, closing).await.unwrap(), CommitOutcome::Committed);
        let counters = world.store.take_counters();
        assert_eq!((counters.transacts, counters.puts, counters.gets, counters.queries), (1, 0, 0, 0));
        close.settled();
        if close.manifest_due() {
            assert_eq!(close.write_manifest(Bytes::new()).await.unwrap(), ManifestOutcome::Written);
        }
        let view = world.open(2).await.registry().await.unwrap();
        assert_eq!((view.floors["sums"], view.lanes.len()), (Timestamp(floor), 2));
        let loaded = world.open(3).await.load(&id, LoadRules::default()).await.unwrap();
        assert_eq!((loaded.lane.head().n, loaded.lane.head().watermark), (n as u64, Some(Timestamp(floor))));
    }
    let view = pipeline.registry().await.unwrap();
    assert_eq!(view.active("s").collect::<Vec<_>>(), [&lane("0")]);
}

#[tokio::test]
async fn a_close_lane_closes_and_nothing_else() {
    let world = World::new(4, 10_000);
    let pipeline = world.open(1).await;
    let mut close = load(&pipeline, &LaneId::close("sums")).await;
    let internal = |error: tidegate_core::Error| assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
    internal(close.commit(closed(10, b"x", 1), LaneLimit::Many).await.unwrap_err());
    let right = closing(&pipeline, 10).await;
    let wrong = Closing { output: "max".into(), ..right.clone() };
    internal(close.commit_close(closed(10, b"x", 1), wrong).await.unwrap_err());
    assert_eq!(close.commit_close(closed(10, b"x", 1), right).await.unwrap(), CommitOutcome::Committed);
    let next = carry(&close);
    internal(close.commit_close(next.clone(), closing(&pipeline, 20).await).await.unwrap_err());
    // What is rejected is decided by carry commits, as in every lane.
    committed(&mut close, Draft { watermark: Some(Timestamp(10)), ..next }).await;
    close.settled();
    for floor in [9, 10] {
        internal(close.commit_close(closed(10, b"x", 3), closing(&pipeline, floor).await).await.unwrap_err());
    }
    assert!(!close.is_spoiled());
    let mut data = load(&pipeline, &lane("0")).await;
    internal(data.commit_close(draft(1), closing(&pipeline, 20).await).await.unwrap_err());
}

#[tokio::test]
async fn own_closes_are_recognised_and_lost_ones_are_no_success() {
    for (fault, expected) in [
        (Fault::LostAnswer, Some(CommitOutcome::AlreadyCommitted)),
        (Fault::TimeoutAfter, Some(CommitOutcome::AlreadyCommitted)),
        (Fault::Twice, Some(CommitOutcome::Committed)),
        (Fault::Throttled, Some(CommitOutcome::Committed)),
        (Fault::TimeoutBefore, None),
        (Fault::Delayed, None),
    ] {
        for before in [0, 1, 5] {
            let world = World::new(4, 10_000);
            let pipeline = world.open(1).await;
            let mut close = load(&pipeline, &LaneId::close("sums")).await;
            for n in 1..=before {
                let closing = closing(&pipeline, n).await;
                let outcome = close.commit_close(closed(n, b"x", n as u64), closing).await.unwrap();
                assert_eq!(outcome, CommitOutcome::Committed);
                close.settled();
                assert_eq!(close.write_manifest(Bytes::new()).await.unwrap(), ManifestOutcome::Written);
            }
            let next = closing(&pipeline, 99).await;
            world.store.script([Some(fault)]);
            let outcome = close.commit_close(closed(99, b"y", before as u64 + 1), next).await.unwrap();
            let other = world.open(2).await;
            match expected {
                Some(ref expected) => assert_eq!(outcome, *expected, "{fault:?} at {before}"),
                None => {
                    assert!(matches!(outcome, CommitOutcome::Unknown(_)), "{outcome:?}");
                    // Somebody else closes; what lands late is refused, whole.
                    let mut close = load(&other, &LaneId::close("sums")).await;
                    let closing = closing(&other, 50).await;
                    let outcome = close.commit_close(closed(50, b"z", before as u64 + 1), closing).await.unwrap();
                    assert_eq!(outcome, CommitOutcome::Committed);
                    assert_eq!(world.store.land().await, fault == Fault::Delayed);
                }
            }
            let floor = other.registry().await.unwrap().floors["sums"];
            let head = load(&other, &LaneId::close("sums")).await.head().clone();
            assert_eq!((head.n, head.watermark), (before as u64 + 1, Some(floor)), "{fault:?} at {before}");
        }
    }
}

#[tokio::test]
async fn a_close_that_lands_late_but_first_is_the_close() {
    let world = World::new(4, 10_000);
    let pipeline = world.open(1).await;
    let mut close = load(&pipeline, &LaneId::close("sums")).await;
    let first = closing(&pipeline, 10).await;
    world.store.script([Some(Fault::Delayed)]);
    assert!(matches!(close.commit_close(closed(10, b"late", 1), first).await.unwrap(), CommitOutcome::Unknown(_)));
    let other = world.open(2).await;
    let mut slow = load(&other, &LaneId::close("sums")).await;
    let second = closing(&other, 20).await;
    assert!(world.store.land().await);
    assert_eq!(slow.commit_close(closed(20, b"slow", 1), second).await.unwrap(), CommitOutcome::Conflict);
    let mut again = load(&other, &LaneId::close("sums")).await;
    assert_eq!((again.head().n, again.head().outbox[0].payload.as_ref()), (1, b"late".as_slice()));
    again.settled();
    let third = closing(&other, 20).await;
    assert_eq!(again.commit_close(closed(20, b"again", 2), third).await.unwrap(), CommitOutcome::Committed);
}

#[tokio::test]
async fn a_lane_that_joins_unseen_stops_a_close_and_the_other_way_round() {
    for missing in [None, Some(Fault::OldItemMissing)] {
        let world = World::new(4, 10_000);
        let [pipeline, other] = [world.open(1).await, world.open(2).await];
        let mut first = load(&pipeline, &lane("0")).await;
        committed(&mut first, draft(1)).await;
        let mut close = load(&pipeline, &LaneId::close("sums")).await;
        let early = closing(&pipeline, 10).await;
        let mut joins = load(&other, &lane("1")).await;
        let mut late = load(&other, &lane("2")).await;
        committed(&mut joins, draft(1)).await;
        world.store.script([missing]);
        assert_eq!(close.commit_close(closed(10, b"x", 1), early.clone()).await.unwrap(), CommitOutcome::Conflict);
        // Only the registry was in the way: the memory is good. The old decision stays refused.
        assert!(!close.is_spoiled());
        assert_eq!(close.commit_close(closed(10, b"x", 1), early).await.unwrap(), CommitOutcome::Conflict);
        let view = pipeline.registry().await.unwrap();
        assert_eq!((view.lanes.len(), view.floors.len()), (2, 0));
        let outcome = close.commit_close(closed(10, b"x", 1), closing(&pipeline, 10).await).await.unwrap();
        assert_eq!(outcome, CommitOutcome::Committed);
        // A lane that was loaded before the close does not know what is late for it.
        world.store.script([missing]);
        assert_eq!(commit(&mut late, draft(1)).await, CommitOutcome::Conflict);
        assert!(late.is_spoiled());
        let loaded = other.load(&lane("2"), LoadRules::default()).await.unwrap();
        assert_eq!(loaded.floors, [("sums".to_owned(), Timestamp(10))].into());
        let mut late = loaded.lane;
        committed(&mut late, Draft { watermark: Some(Timestamp(10)), ..draft(1) }).await;
        // A registered lane needs no floors.
        assert!(other.load(&lane("2"), LoadRules::default()).await.unwrap().floors.is_empty());
    }
}

#[tokio::test]
async fn closers_race() {
    let world = World::new(4, 10_000);
    let pipelines = join_all((1..=4).map(|seed| world.open(seed))).await;
    let mut lanes = Vec::new();
    for pipeline in &pipelines {
        let lane = load(pipeline, &LaneId::close("sums")).await;
        lanes.push((lane, closing(pipeline, 10).await));
    }
    let mut won = 0;
    for (i, (mut lane, closing)) in lanes.into_iter().enumerate() {
        match lane.commit_close(closed(10, &[i as u8], 1), closing).await.unwrap() {
            CommitOutcome::Committed => won += 1,
            outcome => assert_eq!(outcome, CommitOutcome::Conflict),
        }
    }
    assert_eq!(won, 1);
}

#[tokio::test]
async fn garbage_is_removed_and_comes_back_harmless() {
    let world = World::new(4, 300);
    let pipeline = world.open(1).await;
    let rows = noise(2000);
    for (name, n, through) in [("0", 1, 10), ("0", 2, 20), ("0", 3, 30), ("1", 1, 15)] {
        let seal = seal(name, n, Some(through), &[(through, &rows)]);
        pipeline.put_seal(&seal.encode().unwrap()).await.unwrap();
    }
    let left = async || -> Vec<(String, u64)> {
        let stored = pipeline.seals("sums").await.unwrap();
        stored.into_iter().map(|stored| (stored.seal.lane.to_string(), stored.seal.n)).collect()
    };
    // Nothing is closed yet.
    assert_eq!(pipeline.remove_seals("sums").await.unwrap(), 0);
    let mut close = load(&pipeline, &LaneId::close("sums")).await;
    let outcome = close.commit_close(closed(20, b"x", 1), closing(&pipeline, 20).await).await.unwrap();
    assert_eq!(outcome, CommitOutcome::Committed);
    // What is slow or throttled goes the next time.
    world.store.script([Some(Fault::Throttled), Some(Fault::Delayed)]);
    assert_eq!(pipeline.remove_seals("sums").await.unwrap(), 0);
    assert_eq!(left().await.len(), 4);
    assert!(world.store.land().await);
    assert_eq!(left().await.len(), 3);
    assert_eq!(pipeline.remove_seals("sums").await.unwrap(), 1);
    let rest = [("s:0".to_owned(), 3), ("s:1".to_owned(), 1)];
    assert_eq!(left().await, rest);
    // A zombie delivers again.
    let zombie = seal("0", 1, Some(10), &[(10, &rows)]);
    assert_eq!(pipeline.put_seal(&zombie.encode().unwrap()).await.unwrap(), SealOutcome::Stored);
    let stored = pipeline.seals("sums").await.unwrap();
    let through = sealed_through(stored.iter().map(|stored| &stored.seal));
    assert_eq!(through, [(lane("0"), Timestamp(30)), (lane("1"), Timestamp(15))].into());
    assert_eq!(pipeline.remove_seals("sums").await.unwrap(), 1);
    assert_eq!(left().await, rest);
    let open = &pipeline.seals("sums").await.unwrap()[0];
    assert_eq!(pipeline.seal_rows(open).await.unwrap(), rows);
}

#[tokio::test]
async fn a_registry_of_the_first_format_goes_on() {
    let world = World::new(4, 10_000);
    world.warm(2).await;
    let key = ItemKey::new("p#registry", "registry");
    let item = world.store.get(&key).await.unwrap().unwrap();
    let mut newer = item.data.to_vec();
    newer[0] += 1;
    let mut close = load(&world.open(2).await, &LaneId::close("sums")).await;
    let early = closing(&world.open(3).await, 10).await;
    world
        .store
        .inner()
        .force(key.clone(), Some(Item { version: item.version + 1, data: newer.into(), ..item.clone() }));
    // A newer one is not replaced.
    let error = close.commit_close(closed(10, b"x", 1), early).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
    let old = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/src/record/fixtures/registry-1.bin")).unwrap();
    let world = World::new(4, 10_000);
    world.store.inner().force(key.clone(), Some(Item { version: 9, attempt: 1, data: old.into() }));
    let pipeline = world.open(1).await;
    let mut close = load(&pipeline, &LaneId::close("sums")).await;
    let outcome = close.commit_close(closed(10, b"x", 1), closing(&pipeline, 10).await).await.unwrap();
    assert_eq!(outcome, CommitOutcome::Committed);
    let stored = world.store.get(&key).await.unwrap().unwrap();
    assert_eq!((stored.version, stored.data[0]), (10, 2));
    assert_eq!(world.open(2).await.registry().await.unwrap().lanes.len(), 3);
}
