//! The rules of a lane, one by one, over the memory store with scripted faults.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tidegate_core::{Clock, EffectId, ErrorKind, LaneId, OutboxEntry, Position, RequestIndex, Timestamp};
use tidegate_state::faults::{Counters, Fault};
use tidegate_state::{
    BlobStore, CommitOutcome, ConditionalStore, Draft, Item, ItemKey, LaneLimit, Layout, LoadRules, ManifestOutcome,
    Pipeline, Ports,
};

mod world;

use world::*;

#[tokio::test]
async fn a_warm_commit_is_one_write_and_no_read() {
    let world = World::new(8, 10_000);
    let mut lane = world.warm(3).await;
    for _ in 0..20 {
        if lane.manifest_due() {
            assert_eq!(lane.write_manifest(Bytes::from_static(b"s")).await.unwrap(), ManifestOutcome::Written);
            let counters = world.store.take_counters();
            assert_eq!((counters.puts, counters.gets + counters.queries + counters.transacts), (1, 0));
        }
        let n = lane.next_number();
        committed(&mut lane, draft(n)).await;
        let counters = world.store.take_counters();
        let bytes_written = counters.bytes_written;
        assert_eq!(counters, Counters { puts: 1, bytes_written, ..Counters::default() });
        assert!(bytes_written < 250, "{bytes_written} bytes");
    }
}

#[tokio::test]
async fn a_first_commit_is_one_transaction_and_a_cold_load_is_bounded() {
    let world = World::new(8, 10_000);
    let pipeline = world.open(1).await;
    let mut lane = pipeline.load(&id(), LoadRules::default()).await.unwrap().lane;
    world.store.take_counters();
    committed(&mut lane, draft(1)).await;
    let counters = world.store.take_counters();
    assert_eq!((counters.transacts, counters.puts, counters.gets, counters.queries), (1, 0, 0, 0));
    assert_eq!(pipeline.lanes().await.unwrap(), [id()]);
    world.store.take_counters();
    world.load(2).await;
    // The registry, the manifest, and K slots.
    assert_eq!(world.store.take_counters().gets, 1 + 1 + 8);
}

#[tokio::test]
async fn two_reads_tell_that_a_lane_is_at_rest() {
    let world = World::new(4, 10_000);
    for settled in 0..11 {
        let mut lane = world.warm(0).await;
        let pipeline = world.open(2).await;
        if settled > 0 {
            let next = lane.next_number();
            committed(&mut lane, draft(next)).await;
        }
        let head = lane.head().n;
        let before = pipeline.covered_head(&id()).await.unwrap();
        assert_eq!(before, None, "commit {head} stands behind the manifest");
        if head == 0 {
            continue;
        }
        assert_eq!(lane.write_manifest(Bytes::new()).await.unwrap(), ManifestOutcome::Written);
        world.store.take_counters();
        assert_eq!(pipeline.covered_head(&id()).await.unwrap(), Some(head));
        let counters = world.store.take_counters();
        assert_eq!((counters.gets, counters.queries), (2, 0), "commit {head}");
    }
    // A warm manifest may stand behind several commits.
    world.warm(3).await;
    assert_eq!(world.open(3).await.covered_head(&id()).await.unwrap(), None);
}

#[tokio::test]
async fn own_writes_are_recognised() {
    for (fault, outcome) in [
        (Fault::LostAnswer, CommitOutcome::AlreadyCommitted),
        (Fault::TimeoutAfter, CommitOutcome::AlreadyCommitted),
        (Fault::Twice, CommitOutcome::Committed),
        (Fault::Throttled, CommitOutcome::Committed),
        (Fault::OldItemMissing, CommitOutcome::Committed),
    ] {
        // 0: the transaction that registers; 9: a slot that is used again.
        for n in [0, 1, 9] {
            let world = World::new(4, 10_000);
            let mut lane = world.warm(n).await;
            world.store.script([Some(fault)]);
            assert_eq!(commit(&mut lane, draft(n + 1)).await, outcome, "{fault:?} at {n}");
            committed(&mut lane, draft(n + 2)).await;
            assert_eq!(world.load(2).await.lane.head().n, n + 2);
        }
    }
}

#[tokio::test]
async fn an_unknown_outcome_is_never_success() {
    for n in [0, 1, 9] {
        for fault in [Fault::TimeoutBefore, Fault::Delayed] {
            let world = World::new(4, 10_000);
            let mut lane = world.warm(n).await;
            world.store.script([Some(fault)]);
            let outcome = commit(&mut lane, draft(n + 1)).await;
            assert!(matches!(outcome, CommitOutcome::Unknown(_)), "{outcome:?}");
            let error = lane.commit(draft(n + 1), LaneLimit::Many).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Internal);
            // Somebody else takes the number; what lands late is refused.
            let mut other = world.load(2).await.lane;
            committed(&mut other, owing(n + 1, b"other")).await;
            assert_eq!(world.store.land().await, fault == Fault::Delayed);
            let loaded = world.load(3).await.lane;
            assert_eq!((loaded.head().n, loaded.head().outbox.len()), (n + 1, 1));
        }
    }
}

#[tokio::test]
async fn a_late_put_that_lands_first_wins() {
    let world = World::new(4, 10_000);
    let mut lane = world.warm(2).await;
    world.store.script([Some(Fault::Delayed)]);
    assert!(matches!(commit(&mut lane, owing(3, b"late")).await, CommitOutcome::Unknown(_)));
    let mut other = world.load(2).await.lane;
    assert!(world.store.land().await);
    assert_eq!(commit(&mut other, owing(3, b"other")).await, CommitOutcome::Conflict);
    let head = world.load(3).await.lane.head().clone();
    assert_eq!(head.outbox[0].payload, "late");
    assert_eq!(head.outbox[0].committed_at, Timestamp(5));
    assert!(!head.settled);
}

#[tokio::test]
async fn throttling_ends_within_bounds() {
    let world = World::new(4, 10_000);
    for n in [0, 2] {
        let mut lane = world.warm(n).await;
        world.store.choose(|_| Some(Fault::Throttled));
        assert!(matches!(commit(&mut lane, draft(n + 1)).await, CommitOutcome::Unknown(_)));
        world.store.heal();
        assert!(lane.is_spoiled());
        assert_eq!(world.load(2).await.lane.head().n, n);
    }
}

#[tokio::test]
async fn errors_that_change_nothing_are_told() {
    let world = World::new(4, 10_000);
    let mut lane = world.warm(1).await;
    world.store.script([Some(Fault::Full)]);
    let error = lane.commit(draft(2), LaneLimit::Many).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().starts_with("lane s:0: no space is left"), "{error}");
    committed(&mut world.load(2).await.lane, draft(2)).await;
}

#[tokio::test]
async fn a_foreign_commit_is_a_conflict() {
    for missing in [None, Some(Fault::OldItemMissing)] {
        let world = World::new(4, 10_000);
        let mut zombie = world.warm(1).await;
        let mut lane = world.load(2).await.lane;
        committed(&mut lane, draft(2)).await;
        world.store.script([missing]);
        assert_eq!(commit(&mut zombie, draft(2)).await, CommitOutcome::Conflict);
        assert!(zombie.is_spoiled());
        // Even when the slot has been used again since.
        let mut zombie = world.load(3).await.lane;
        for n in 3..=11 {
            committed(&mut lane, draft(n)).await;
            assert_eq!(lane.write_manifest(Bytes::new()).await.unwrap(), ManifestOutcome::Written);
        }
        world.store.script([missing]);
        assert_eq!(commit(&mut zombie, draft(3)).await, CommitOutcome::Conflict);
    }
}

#[tokio::test]
async fn large_commits_spill_and_come_back() {
    let noise = |seed: u32| -> Bytes {
        (0..3000u32).map(|i| (i.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 13) as u8).collect()
    };
    for (delta, payload, objects) in [(true, false, 1), (false, true, 1), (true, true, 2), (false, false, 0)] {
        let world = World::new(4, 400);
        let mut lane = world.load(1).await.lane;
        let mut draft = owing(1, b"small");
        if payload {
            draft.outbox[0].payload = noise(1);
        }
        draft.outbox.push(OutboxEntry {
            id: EffectId { n: 1, index: RequestIndex::top(1) },
            payload: Bytes::from_static(b"second"),
            ..draft.outbox[0].clone()
        });
        if delta {
            draft.delta = noise(2);
        }
        committed(&mut lane, draft.clone()).await;
        assert_eq!(world.blobs.list("p").await.unwrap().len(), objects);
        let loaded = world.load(2).await;
        assert_eq!(loaded.lane.head().outbox, draft.outbox);
        assert_eq!(loaded.deltas, [draft.delta]);
        assert_eq!(lane.head(), loaded.lane.head());
    }
}

#[tokio::test]
async fn missing_and_damaged_objects_are_told() {
    let world = World::new(4, 400);
    let mut lane = world.load(1).await.lane;
    let noise: Bytes = (0..3000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    committed(&mut lane, Draft { delta: noise, ..draft(1) }).await;
    let name = world.blobs.list("p").await.unwrap().remove(0);
    let pipeline = world.open(2).await;
    let object = world.blobs.get(&name).await.unwrap().unwrap();
    world.blobs.force(&name, Some(object.slice(..object.len() - 1)));
    let error = pipeline.load(&id(), LoadRules::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(error.to_string().contains("does not match its name"), "{error}");
    world.blobs.force(&name, None);
    let error = pipeline.load(&id(), LoadRules::default()).await.unwrap_err();
    assert!(error.to_string().contains("is missing"), "{error}");
    world.blobs.force(&name, Some(object));
    assert_eq!(pipeline.load(&id(), LoadRules::default()).await.unwrap().lane.head().n, 1);
}

#[tokio::test]
async fn a_commit_that_fits_nowhere_is_refused() {
    let world = World::new(4, 400);
    let mut lane = world.load(1).await.lane;
    let layout = (0..400u32).map(|i| format!("{:x}", i.wrapping_mul(2_654_435_761))).collect();
    let error = lane.commit(Draft { layout, ..draft(1) }, LaneLimit::Many).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    // Nothing was tried, so the lane is as good as before.
    committed(&mut lane, draft(1)).await;
}

#[tokio::test]
async fn the_manifest_covers_what_is_settled() {
    let world = World::new(4, 10_000);
    let mut lane = world.warm(1).await;
    committed(&mut lane, owing(2, b"x")).await;
    assert_eq!(lane.write_manifest(Bytes::new()).await.unwrap_err().kind(), ErrorKind::Internal);
    let error = lane.commit(draft(3), LaneLimit::Many).await.unwrap_err();
    assert!(error.to_string().contains("commit 2 is not settled"), "{error}");
    lane.settled();
    assert_eq!(lane.write_manifest(Bytes::from_static(b"state at 2")).await.unwrap(), ManifestOutcome::Written);
    assert_eq!(lane.write_manifest(Bytes::new()).await.unwrap(), ManifestOutcome::Unchanged);
    let loaded = world.load(2).await;
    assert_eq!(loaded.snapshot.unwrap(), "state at 2");
    assert!(loaded.deltas.is_empty());
    // The head still tells what it sent, and that it is settled.
    assert!(loaded.lane.head().settled);
    assert_eq!(loaded.lane.head().outbox.len(), 1);
}

#[tokio::test]
async fn the_ring_is_never_overrun() {
    let world = World::new(4, 10_000);
    let mut lane = world.load(1).await.lane;
    for n in 1..=3 {
        committed(&mut lane, draft(n)).await;
    }
    assert!(lane.manifest_due());
    assert_eq!(commit(&mut lane, draft(4)).await, CommitOutcome::ManifestDue);
    assert!(!lane.is_spoiled());
    assert_eq!(lane.write_manifest(Bytes::new()).await.unwrap(), ManifestOutcome::Written);
    committed(&mut lane, draft(4)).await;
}

#[tokio::test]
async fn a_chain_of_carries_does_not_use_up_the_ring() {
    for ring in [2, 3, 4] {
        let world = World::new(ring, 10_000);
        let mut lane = world.load(1).await.lane;
        while lane.next_number() < u64::from(ring) - 1 {
            let n = lane.next_number();
            committed(&mut lane, draft(n)).await;
        }
        // The last data commit before the manifest is due, and it stays unsettled.
        let data = lane.next_number();
        committed(&mut lane, owing(data, b"x")).await;
        for i in 0..20 {
            if i % 3 == 0 {
                lane = world.load(2 + i).await.lane;
            }
            let next = carry(&lane);
            if commit(&mut lane, next.clone()).await == CommitOutcome::ManifestDue {
                let outcome = lane.write_manifest(Bytes::from_static(b"state")).await.unwrap();
                assert_eq!(outcome, ManifestOutcome::Written);
                committed(&mut lane, next).await;
            }
        }
        let loaded = world.load(99).await;
        let head = loaded.lane.head();
        assert_eq!((head.n, head.settled, head.carry), (data + 20, false, true));
        assert_eq!((head.outbox[0].id.n, head.outbox[0].payload.as_ref()), (data, b"x".as_slice()));
        assert_eq!(loaded.snapshot.unwrap(), "state");
        assert!(loaded.deltas.iter().all(Bytes::is_empty));
    }
}

#[tokio::test]
async fn a_manifest_that_somebody_else_replaced_is_not_replaced() {
    let world = World::new(4, 10_000);
    let mut zombie = world.warm(1).await;
    let mut lane = world.load(2).await.lane;
    committed(&mut lane, draft(2)).await;
    assert_eq!(lane.write_manifest(Bytes::from_static(b"2")).await.unwrap(), ManifestOutcome::Written);
    assert_eq!(zombie.write_manifest(Bytes::from_static(b"1")).await.unwrap(), ManifestOutcome::Conflict);
    assert_eq!(world.load(3).await.snapshot.unwrap(), "2");
    // Unknown outcomes are settled by a read, or not at all.
    committed(&mut lane, draft(3)).await;
    world.store.script([Some(Fault::TimeoutAfter)]);
    assert_eq!(lane.write_manifest(Bytes::from_static(b"3")).await.unwrap(), ManifestOutcome::Written);
    committed(&mut lane, draft(4)).await;
    world.store.script([Some(Fault::TimeoutBefore)]);
    assert!(matches!(lane.write_manifest(Bytes::new()).await.unwrap(), ManifestOutcome::Unknown(_)));
    assert!(lane.is_spoiled());
}

#[tokio::test]
async fn drafts_that_break_the_protocol_are_refused() {
    let world = World::new(4, 10_000);
    let mut lane = world.warm(3).await;
    let watermark = Draft { watermark: Some(Timestamp(10)), ..draft(5) };
    committed(&mut lane, watermark.clone()).await;
    let wrong = [
        draft(4),
        Draft { positions: [("1".to_owned(), Position::new(9))].into(), ..watermark.clone() },
        Draft { watermark: Some(Timestamp(9)), ..draft(6) },
        Draft { watermark: None, ..draft(6) },
        Draft { carry: true, ..watermark.clone() },
        Draft { carry: true, delta: Bytes::new(), ..draft(6) },
        Draft { ranges: range(None, 6), watermark: Some(Timestamp(10)), ..draft(6) },
        Draft { ranges: range(Some(5), 5), watermark: Some(Timestamp(10)), ..draft(6) },
        Draft { ranges: range(Some(5), 7), watermark: Some(Timestamp(10)), ..draft(6) },
    ];
    world.store.take_counters();
    for (i, draft) in wrong.into_iter().enumerate() {
        let error = lane.commit(draft, LaneLimit::Many).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal, "draft {i}");
    }
    assert_eq!(world.store.take_counters(), Counters::default());
    let more = [("0".to_owned(), Position::new(5)), ("1".to_owned(), Position::new(1))];
    committed(&mut lane, Draft { positions: more.into(), ..watermark }).await;
}

#[tokio::test]
async fn ranges_are_kept_by_carries_loads_and_manifests() {
    let world = World::new(8, 10_000);
    let mut lane = world.load(1).await.lane;
    committed(&mut lane, Draft { ranges: range(None, 2), ..owing(3, b"x") }).await;
    let next = carry(&lane);
    committed(&mut lane, next).await;
    assert_eq!(lane.head().ranges, range(None, 2));
    // A carry commit moves nothing.
    let moved = Draft { ranges: BTreeMap::new(), ..carry(&lane) };
    assert_eq!(lane.commit(moved, LaneLimit::Many).await.unwrap_err().kind(), ErrorKind::Internal);
    assert_eq!(world.load(2).await.lane.head().ranges, range(None, 2));
    lane.settled();
    committed(&mut lane, Draft { ranges: range(Some(3), 5), ..draft(9) }).await;
    assert_eq!(lane.write_manifest(Bytes::new()).await.unwrap(), ManifestOutcome::Written);
    assert_eq!(world.load(3).await.lane.head().ranges, range(Some(3), 5));
    // A commit that moves no position keeps them: windows that are closed at the end of an input.
    committed(&mut lane, Draft { ranges: range(Some(3), 5), ..draft(9) }).await;
    assert_eq!(world.load(4).await.lane.head().ranges, range(Some(3), 5));
}

#[tokio::test]
async fn a_lane_keeps_its_ring() {
    let mut world = World::new(4, 10_000);
    world.warm(7).await;
    world.options.ring = 16;
    let mut loaded = world.load(2).await.lane;
    assert_eq!((loaded.ring(), loaded.head().n), (4, 7));
    committed(&mut loaded, draft(8)).await;
    assert_eq!(world.load(3).await.lane.head().n, 8);
    // A pipeline that was opened before the lane was created learns its ring, too.
    let early = world.open(4).await;
    world.options.ring = 3;
    let other = LaneId::new("other", "0");
    let mut lane = world.open(5).await.load(&other, LoadRules::default()).await.unwrap().lane;
    committed(&mut lane, draft(1)).await;
    assert_eq!(early.load(&other, LoadRules::default()).await.unwrap().lane.ring(), 3);
    world.options.ring = 1;
    let error = Pipeline::open(world.ports(1), "p", world.options.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn registrations_race() {
    let world = World::new(4, 10_000);
    let pipelines = [world.open(1).await, world.open(2).await, world.open(3).await];
    let mut lanes = Vec::new();
    for (i, pipeline) in pipelines.iter().cycle().take(9).enumerate() {
        let id = LaneId::new("s", &i.to_string());
        lanes.push(pipeline.load(&id, LoadRules::default()).await.unwrap().lane);
    }
    // Each pipeline's memory of the registry is old, and some refusals do not show the newer one.
    world.store.script((0..30).map(|i| (i % 2 == 0).then_some(Fault::OldItemMissing)));
    for lane in &mut lanes {
        committed(lane, draft(1)).await;
    }
    assert_eq!(pipelines[0].lanes().await.unwrap().len(), 9);
    // Two writers of one new lane: one of them has it.
    let id = LaneId::new("s", "new");
    let mut first = pipelines[0].load(&id, LoadRules::default()).await.unwrap().lane;
    let mut second = pipelines[1].load(&id, LoadRules::default()).await.unwrap().lane;
    committed(&mut first, draft(1)).await;
    assert_eq!(commit(&mut second, draft(1)).await, CommitOutcome::Conflict);
}

#[tokio::test]
async fn a_second_lane_is_refused_where_one_is_allowed() {
    let world = World::new(4, 10_000);
    let [first, second] = [world.open(1).await, world.open(2).await];
    let mut lane = first.load(&id(), LoadRules::default()).await.unwrap().lane;
    let other = LaneId::new("s", "1");
    let mut refused = second.load(&other, LoadRules::default()).await.unwrap().lane;
    assert_eq!(lane.commit(draft(1), LaneLimit::Single).await.unwrap(), CommitOutcome::Committed);
    assert_eq!(lane.commit(draft(2), LaneLimit::Single).await.unwrap(), CommitOutcome::Committed);
    // The second pipeline learns of the lane by the refusal of its transaction.
    let error = refused.commit(draft(1), LaneLimit::Single).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("second lane, s:1, beside s:0"), "{error}");
    let mut another_source = second.load(&LaneId::new("t", "1"), LoadRules::default()).await.unwrap().lane;
    assert_eq!(another_source.commit(draft(1), LaneLimit::Single).await.unwrap(), CommitOutcome::Committed);
    assert_eq!(second.lanes().await.unwrap(), [id(), LaneId::new("t", "1")]);
}

#[tokio::test]
async fn a_registry_is_created_once() {
    for fault in [
        None,
        Some(Fault::TimeoutAfter),
        Some(Fault::TimeoutBefore),
        Some(Fault::LostAnswer),
        Some(Fault::Delayed),
        Some(Fault::Throttled),
    ] {
        let world = World::new(4, 10_000);
        world.store.script([fault]);
        let first = world.open(1).await;
        while world.store.land().await {}
        let second = world.open(2).await;
        assert_eq!(first.incarnation(), second.incarnation(), "{fault:?}");
        let other = Pipeline::open(world.ports(3), "q", world.options.clone()).await.unwrap();
        assert_ne!(first.incarnation(), other.incarnation());
    }
}

#[tokio::test]
async fn state_of_another_incarnation_is_fenced() {
    let world = World::new(4, 10_000);
    let mut zombie = world.warm(3).await;
    // Somebody deletes the registry and starts anew.
    world.store.inner().force(ItemKey::new("p#registry", "registry"), None);
    let anew = world.open(7).await;
    let error = anew.load(&id(), LoadRules::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
    assert!(error.to_string().contains("another incarnation"), "{error}");
    // Now the lane, too; the old writer meets the new chain.
    for key in world.store.inner().items().into_keys().filter(|key| key.sort != "registry") {
        world.store.inner().force(key, None);
    }
    let mut lane = anew.load(&id(), LoadRules::default()).await.unwrap().lane;
    for n in 1..=4 {
        committed(&mut lane, draft(n)).await;
        assert_eq!(lane.write_manifest(Bytes::new()).await.unwrap(), ManifestOutcome::Written);
    }
    assert!(matches!(commit(&mut zombie, draft(4)).await, CommitOutcome::Fenced(_)));
}

#[tokio::test]
async fn newer_formats_are_fenced() {
    let world = World::new(4, 10_000);
    let mut zombie = world.warm(2).await;
    let mut lane = world.load(2).await.lane;
    committed(&mut lane, draft(3)).await;
    let newer = |item: Item| {
        let mut data = item.data.to_vec();
        data[0] = 99;
        Item { data: data.into(), ..item }
    };
    for (key, item) in world.store.inner().items() {
        if key.sort == "commit" && item.version == 3 {
            world.store.inner().force(key, Some(newer(item)));
        }
    }
    assert!(matches!(commit(&mut zombie, draft(3)).await, CommitOutcome::Fenced(_)));
    let error = world.open(3).await.load(&id(), LoadRules::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
    assert!(error.to_string().contains("format 99, this build reads up to 2"), "{error}");
    let registry = ItemKey::new("p#registry", "registry");
    let item = world.store.get(&registry).await.unwrap().unwrap();
    world.store.inner().force(registry, Some(newer(item)));
    let error = Pipeline::open(world.ports(4), "p", world.options.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
}

#[tokio::test]
async fn another_layout_of_state_is_named() {
    let world = World::new(4, 10_000);
    let mut lane = world.load(1).await.lane;
    let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    let first = Draft { fingerprint: [1; 16], layout: lines(&["sums: window(2s)", "counts: count(*)"]), ..draft(1) };
    committed(&mut lane, first).await;
    let before = world.slot(1).data.len();
    // The description is stored where it changes only.
    committed(&mut lane, Draft { fingerprint: [1; 16], layout: lines(&["sums: window(2s)"]), ..draft(2) }).await;
    assert!(world.slot(2).data.len() < before);
    let rules = |fingerprint| LoadRules {
        layout: Some(Layout { fingerprint, lines: lines(&["sums: window(5s)", "counts: count(*)"]) }),
    };
    let pipeline = world.open(2).await;
    assert_eq!(pipeline.load(&id(), rules([1; 16])).await.unwrap().lane.head().layout.len(), 2);
    let error = pipeline.load(&id(), rules([2; 16])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(
        error.to_string().contains("it now has sums: window(5s), the state was made by sums: window(2s)"),
        "{error}"
    );
}

#[tokio::test]
async fn a_look_writes_nothing() {
    let world = World::new(4, 400);
    assert!(Pipeline::open_existing(world.ports(1), "p", world.options.clone()).await.unwrap().is_none());
    let mut lane = world.warm(2).await;
    let noise: Bytes = (0..3000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    committed(&mut lane, owing(3, &noise)).await;
    world.store.take_counters();
    let pipeline = Pipeline::open_existing(world.ports(2), "p", world.options.clone()).await.unwrap().unwrap();
    let reports = pipeline.inspect().await.unwrap();
    assert_eq!(reports.len(), 1);
    let report = &reports[0];
    assert_eq!((report.head.n, report.manifest_n, report.ring, report.outbox_bytes), (3, 2, 4, 3000));
    assert_eq!((report.head.outbox.len(), report.head.settled, report.delta_bytes), (1, false, 7));
    let counters = world.store.take_counters();
    assert_eq!((counters.puts, counters.transacts), (0, 0));
}

#[tokio::test]
async fn a_dropped_commit_spoils_the_lane() {
    let world = World::new(4, 10_000);
    let mut lane = world.warm(1).await;
    struct Stuck;
    #[async_trait]
    impl Clock for Stuck {
        fn now(&self) -> Timestamp {
            Timestamp(0)
        }

        fn elapsed(&self) -> Duration {
            Duration::ZERO
        }

        async fn sleep(&self, _: Duration) {
            std::future::pending().await
        }
    }
    let ports = Ports { clock: Arc::new(Stuck), ..world.ports(2) };
    let pipeline = Pipeline::open(ports, "p", world.options.clone()).await.unwrap();
    let mut stuck = pipeline.load(&id(), LoadRules::default()).await.unwrap().lane;
    world.store.script([Some(Fault::Throttled)]);
    let dropped = tokio::time::timeout(Duration::from_millis(5), stuck.commit(draft(2), LaneLimit::Many)).await;
    assert!(dropped.is_err());
    assert!(stuck.is_spoiled());
    committed(&mut lane, draft(2)).await;
}

#[tokio::test]
async fn a_damaged_chain_is_told() {
    let world = World::new(4, 10_000);
    world.warm(3).await;
    let key = ItemKey::new("p#1#s:0#3", "commit");
    let item = world.store.get(&key).await.unwrap().unwrap();
    assert_eq!(item.version, 3);
    let pipeline = world.open(2).await;
    let mut data = item.data.to_vec();
    data[30] ^= 1;
    world.store.inner().force(key.clone(), Some(Item { data: data.into(), ..item.clone() }));
    let error = pipeline.load(&id(), LoadRules::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(error.to_string().starts_with("lane s:0: slot 3: damaged record"), "{error}");
    // A commit of another chain under the right number.
    let other = World::new(4, 10_000);
    let mut lane = other.load(9).await.lane;
    for n in 1..=3 {
        committed(&mut lane, draft(n)).await;
    }
    world.store.inner().force(key, Some(other.slot(3)));
    let error = pipeline.load(&id(), LoadRules::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
}
