//! Lanes that end: finished shards, and shards that are split and merged.

use bytes::Bytes;
use tidegate_core::{ErrorKind, LaneId, Position, Timestamp};
use tidegate_state::faults::Fault;
use tidegate_state::{
    BlobStore, Child, Closing, CommitOutcome, ConditionalStore, Draft, ItemKey, Lane, LaneLimit, LoadRules, Loaded,
    ManifestOutcome, Pipeline,
};

mod world;

use world::*;

fn lane(name: &str) -> LaneId {
    LaneId::new("s", name)
}

async fn load(pipeline: &Pipeline, name: &str) -> Loaded {
    pipeline.load(&lane(name), LoadRules::default()).await.unwrap()
}

fn child(name: &str, snapshot: &[u8]) -> Child {
    Child { partition: name.into(), snapshot: Bytes::copy_from_slice(snapshot), ..Child::default() }
}

fn noise(bytes: u32) -> Vec<u8> {
    (0..bytes).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// A settled lane with `n` commits and the watermark `watermark`.
async fn grown(pipeline: &Pipeline, name: &str, n: u64, watermark: i64) -> Lane {
    let mut lane = load(pipeline, name).await.lane;
    for _ in 0..n {
        let n = lane.next_number();
        committed(&mut lane, Draft { watermark: Some(Timestamp(watermark)), ..draft(n) }).await;
        assert_eq!(lane.write_manifest(Bytes::new()).await.unwrap(), ManifestOutcome::Written);
    }
    lane
}

async fn reshard(pipeline: &Pipeline, parents: &mut [Lane], children: Vec<Child>) -> CommitOutcome {
    pipeline.reshard("s", parents, children, Timestamp(77)).await.unwrap()
}

/// The n-th commit of a lane whose watermark stays.
fn next(lane: &Lane, n: u64) -> Draft {
    let mut positions = lane.head().positions.clone();
    positions.insert("new".to_owned(), Position::new(n));
    Draft { positions, watermark: lane.head().watermark, delta: Bytes::from(format!("{n}")), ..draft(n) }
}

#[tokio::test]
async fn children_go_on_where_their_parents_ended() {
    for (ring, inline_limit, state) in [(4, 10_000, 10), (2, 10_000, 10), (5, 400, 3000)] {
        let world = World::new(ring, inline_limit);
        let pipeline = world.open(1).await;
        let mut parents = [grown(&pipeline, "a", 3, 10).await, grown(&pipeline, "b", 9, 30).await];
        let state = noise(state);
        world.store.take_counters();
        let children = vec![child("c", &state), child("d", b"other")];
        assert_eq!(reshard(&pipeline, &mut parents, children).await, CommitOutcome::Committed);
        let counters = world.store.take_counters();
        assert_eq!((counters.transacts, counters.puts, counters.gets), (1, 0, 0));
        assert!(parents.iter().all(Lane::is_spoiled));
        let other = world.open(2).await;
        let view = other.registry().await.unwrap();
        assert_eq!(view.active("s").map(LaneId::as_str).collect::<Vec<_>>(), ["s:c", "s:d"]);
        assert_eq!(view.finished, [lane("a"), lane("b")].into());
        // Larger than the sealing commits, 4 and 10.
        let loaded = load(&other, "c").await;
        let head = loaded.lane.head();
        assert_eq!((head.n, head.watermark, head.settled, head.sealed), (11, Some(Timestamp(30)), true, false));
        assert_eq!((loaded.snapshot.unwrap(), loaded.deltas.len()), (state.clone().into(), 0));
        assert_eq!(load(&other, "d").await.snapshot.unwrap(), "other");
        // Once around the ring and further, loaded again at each step, with manifests and without.
        let mut lane = loaded.lane;
        for n in 12..=40 {
            let draft = next(&lane, n);
            let outcome = commit(&mut lane, draft.clone()).await;
            if outcome == CommitOutcome::ManifestDue {
                assert_eq!(lane.write_manifest(Bytes::from_static(b"state")).await.unwrap(), ManifestOutcome::Written);
                committed(&mut lane, draft).await;
            } else {
                assert_eq!(outcome, CommitOutcome::Committed);
            }
            let loaded = load(&world.open(n).await, "c").await;
            assert_eq!(loaded.lane.head(), lane.head());
            let covered = loaded.lane.manifest_number();
            assert_eq!(covered, lane.manifest_number());
            assert_eq!(loaded.snapshot.unwrap(), if covered < 11 { state.clone() } else { b"state".to_vec() });
            assert_eq!(loaded.deltas.len() as u64, n - covered.max(11));
            lane = loaded.lane;
        }
    }
}

#[tokio::test]
async fn a_sealed_ring_fences_zombies() {
    let world = World::new(4, 10_000);
    let [pipeline, other] = [world.open(1).await, world.open(2).await];
    let lane = grown(&pipeline, "a", 5, 10).await;
    let mut zombie = load(&other, "a").await.lane;
    let mut late = load(&other, "a").await.lane;
    assert_eq!(reshard(&pipeline, &mut [lane], vec![child("b", b"x")]).await, CommitOutcome::Committed);
    let draft = next(&zombie, 6);
    assert!(matches!(commit(&mut zombie, draft.clone()).await, CommitOutcome::Conflict));
    let mut again = load(&other, "a").await.lane;
    assert!(again.head().sealed && again.head().settled);
    assert!(matches!(commit(&mut again, draft).await, CommitOutcome::Fenced(_)));
    // Nor is it sealed, finished or split again.
    assert_eq!(late.finish(Timestamp(0)).await.unwrap(), CommitOutcome::Conflict);
    assert_eq!(again.finish(Timestamp(0)).await.unwrap(), CommitOutcome::Conflict);
    assert_eq!(reshard(&other, &mut [again], vec![child("c", b"x")]).await, CommitOutcome::Conflict);
    assert_eq!(pipeline.registry().await.unwrap().lanes.len(), 2);
}

#[tokio::test]
async fn a_parent_that_moved_on_is_not_sealed() {
    let world = World::new(4, 10_000);
    let [pipeline, other] = [world.open(1).await, world.open(2).await];
    let mut parents = [grown(&pipeline, "a", 2, 10).await, grown(&pipeline, "b", 6, 10).await];
    let mut quick = load(&other, "b").await.lane;
    let draft = next(&quick, 7);
    committed(&mut quick, draft).await;
    for missing in [None, Some(Fault::OldItemMissing)] {
        world.store.script([missing]);
        assert_eq!(reshard(&pipeline, &mut parents, vec![child("c", b"x")]).await, CommitOutcome::Conflict);
        assert!(!load(&other, "a").await.lane.head().sealed);
        assert_eq!(pipeline.registry().await.unwrap().lanes.len(), 2);
        parents = [load(&pipeline, "a").await.lane, grown(&pipeline, "b", 0, 10).await];
        let mut quick = load(&other, "b").await.lane;
        let n = quick.next_number();
        let draft = next(&quick, n);
        committed(&mut quick, draft).await;
    }
}

#[tokio::test]
async fn own_reshardings_are_recognised_and_lost_ones_are_no_success() {
    for (fault, expected) in [
        (Fault::LostAnswer, Some(CommitOutcome::AlreadyCommitted)),
        (Fault::TimeoutAfter, Some(CommitOutcome::AlreadyCommitted)),
        (Fault::Twice, Some(CommitOutcome::Committed)),
        (Fault::Throttled, Some(CommitOutcome::Committed)),
        (Fault::TimeoutBefore, None),
        (Fault::Delayed, None),
    ] {
        for commits in [1, 6] {
            let world = World::new(4, 10_000);
            let pipeline = world.open(1).await;
            let mut parents = [grown(&pipeline, "a", commits, 10).await, grown(&pipeline, "b", 2, 10).await];
            world.store.script([Some(fault)]);
            let outcome = reshard(&pipeline, &mut parents, vec![child("c", b"first"), child("d", b"first")]).await;
            let other = world.open(2).await;
            match &expected {
                Some(expected) => assert_eq!(outcome, *expected, "{fault:?}"),
                None => {
                    assert!(matches!(outcome, CommitOutcome::Unknown(_)), "{outcome:?}");
                    let mut parents = [load(&other, "a").await.lane, load(&other, "b").await.lane];
                    let children = vec![child("c", b"first"), child("d", b"first")];
                    assert_eq!(reshard(&other, &mut parents, children).await, CommitOutcome::Committed);
                    assert_eq!(world.store.land().await, fault == Fault::Delayed);
                }
            }
            for name in ["a", "b"] {
                assert!(load(&other, name).await.lane.head().sealed);
            }
            for name in ["c", "d"] {
                let loaded = load(&other, name).await;
                assert_eq!(
                    (loaded.lane.head().n, loaded.snapshot.unwrap().as_ref()),
                    (commits.max(2) + 2, b"first".as_slice())
                );
            }
        }
    }
}

#[tokio::test]
async fn reshardings_race_with_everything_else_in_the_registry() {
    let world = World::new(4, 10_000);
    let [pipeline, other] = [world.open(1).await, world.open(2).await];
    let mut parents = [grown(&pipeline, "a", 2, 10).await];
    let mut rival = [load(&other, "a").await.lane];
    // Others register and close: that does not matter to a resharding.
    grown(&other, "z", 1, 10).await;
    let mut close = other.load(&LaneId::close("sums"), LoadRules::default()).await.unwrap().lane;
    let registry_version = other.registry().await.unwrap().version;
    let closing = Closing { output: "sums".into(), floor: Timestamp(5), registry_version };
    assert_eq!(close.commit_close(Draft::default(), closing.clone()).await.unwrap(), CommitOutcome::Committed);
    assert_eq!(reshard(&pipeline, &mut parents, vec![child("b", b"x")]).await, CommitOutcome::Committed);
    // But a resharding matters to a close that was decided before.
    let stale = Closing { floor: Timestamp(6), registry_version: registry_version + 1, ..closing };
    assert_eq!(close.commit_close(Draft::default(), stale).await.unwrap(), CommitOutcome::Conflict);
    // Two that split the same parent: one has it, whole.
    assert_eq!(reshard(&other, &mut rival, vec![child("b", b"y"), child("c", b"y")]).await, CommitOutcome::Conflict);
    assert_eq!(load(&other, "b").await.snapshot.unwrap(), "x");
    assert!(!other.registry().await.unwrap().lanes.contains(&lane("c")));
    // A child that somebody has begun by mistake.
    let mut parents = [load(&other, "b").await.lane];
    grown(&other, "d", 1, 10).await;
    assert_eq!(reshard(&other, &mut parents, vec![child("d", b"x")]).await, CommitOutcome::Conflict);
}

#[tokio::test]
async fn reshardings_that_make_no_sense_are_refused() {
    let world = World::new(4, 10_000);
    let pipeline = world.open(1).await;
    let refused = async |parents: &mut [Lane], children: Vec<Child>| {
        let error = pipeline.reshard("s", parents, children, Timestamp(0)).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Internal | ErrorKind::Invalid), "{error}");
    };
    let mut lane = grown(&pipeline, "a", 2, 10).await;
    refused(&mut [], vec![child("b", b"")]).await;
    refused(std::slice::from_mut(&mut lane), Vec::new()).await;
    refused(std::slice::from_mut(&mut lane), vec![child("a", b"")]).await;
    refused(std::slice::from_mut(&mut lane), vec![child("b", b""), child("b", b"")]).await;
    let many = (0..99).map(|i| child(&i.to_string(), b"")).collect();
    refused(std::slice::from_mut(&mut lane), many).await;
    refused(&mut [load(&pipeline, "new").await.lane], vec![child("b", b"")]).await;
    let owes = Draft { watermark: lane.head().watermark, ..owing(3, b"x") };
    committed(&mut lane, owes).await;
    refused(std::slice::from_mut(&mut lane), vec![child("b", b"")]).await;
    assert!(!lane.is_spoiled());
    lane.settled();
    let mut other = load(&pipeline, "other").await.lane;
    committed(&mut other, Draft { fingerprint: [9; 16], ..draft(1) }).await;
    refused(&mut [lane, other], vec![child("b", b"")]).await;
    assert_eq!(world.blobs.list("p").await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_full_ring_needs_its_manifest_first() {
    let world = World::new(3, 10_000);
    let pipeline = world.open(1).await;
    let mut lane = load(&pipeline, "a").await.lane;
    committed(&mut lane, owing(1, b"x")).await;
    for _ in 0..2 {
        let next = carry(&lane);
        committed(&mut lane, next).await;
    }
    lane.settled();
    assert_eq!(
        reshard(&pipeline, std::slice::from_mut(&mut lane), vec![child("b", b"")]).await,
        CommitOutcome::ManifestDue
    );
    assert_eq!(lane.write_manifest(Bytes::new()).await.unwrap(), ManifestOutcome::Written);
    assert_eq!(
        reshard(&pipeline, std::slice::from_mut(&mut lane), vec![child("b", b"")]).await,
        CommitOutcome::Committed
    );
}

#[tokio::test]
async fn large_states_of_many_children_fit_into_one_transaction() {
    let world = World::new(4, 300_000);
    let pipeline = world.open(1).await;
    let mut parents = [grown(&pipeline, "p", 1, 10).await];
    let children = (0..40).map(|i| child(&i.to_string(), &noise(200_000))).collect();
    world.store.take_counters();
    assert_eq!(reshard(&pipeline, &mut parents, children).await, CommitOutcome::Committed);
    assert!(world.store.take_counters().bytes_written < 4_000_000);
    assert_eq!(load(&pipeline, "39").await.snapshot.unwrap().len(), 200_000);
}

#[tokio::test]
async fn a_finished_lane_is_sealed_for_good() {
    for fault in [None, Some(Fault::TimeoutAfter), Some(Fault::LostAnswer), Some(Fault::Throttled)] {
        let world = World::new(4, 10_000);
        let [pipeline, other] = [world.open(1).await, world.open(2).await];
        let mut finished = grown(&pipeline, "a", 6, 10).await;
        let mut zombie = load(&other, "a").await.lane;
        world.store.script([fault]);
        let outcome = finished.finish(Timestamp(0)).await.unwrap();
        assert!(matches!(outcome, CommitOutcome::Committed | CommitOutcome::AlreadyCommitted), "{outcome:?}");
        let view = other.registry().await.unwrap();
        assert_eq!((view.finished.len(), view.active("s").count()), (1, 0));
        let draft = next(&zombie, 7);
        assert_eq!(commit(&mut zombie, draft.clone()).await, CommitOutcome::Conflict);
        assert!(matches!(commit(&mut finished, draft).await, CommitOutcome::Fenced(_)));
        assert_eq!(finished.write_manifest(Bytes::new()).await.unwrap(), ManifestOutcome::Written);
        assert!(load(&other, "a").await.lane.head().sealed);
        // A source that may have one lane may have another one after it.
        let mut after = load(&other, "b").await.lane;
        assert_eq!(after.commit(draft_of(1), LaneLimit::Single).await.unwrap(), CommitOutcome::Committed);
    }
    let world = World::new(4, 10_000);
    let pipeline = world.open(1).await;
    let mut new = load(&pipeline, "a").await.lane;
    assert_eq!(new.finish(Timestamp(0)).await.unwrap_err().kind(), ErrorKind::Internal);
    committed(&mut new, owing(1, b"x")).await;
    assert_eq!(new.finish(Timestamp(0)).await.unwrap_err().kind(), ErrorKind::Internal);
    new.settled();
    world.store.script([Some(Fault::Delayed)]);
    assert!(matches!(new.finish(Timestamp(0)).await.unwrap(), CommitOutcome::Unknown(_)));
    let mut other = load(&pipeline, "a").await.lane;
    other.settled();
    committed(&mut other, draft(2)).await;
    assert!(world.store.land().await);
    assert!(pipeline.registry().await.unwrap().finished.is_empty());
    assert!(world.store.get(&ItemKey::new("p#1#s:a#2", "commit")).await.unwrap().is_some());
}

fn draft_of(n: u64) -> Draft {
    draft(n)
}
