//! New generations, sources that are not what they were, state that was restored, objects that nothing refers to.

use std::time::Duration;

use bytes::Bytes;
use tidegate_core::{ErrorKind, Generation, LaneId, Segment, Timestamp};
use tidegate_state::faults::Fault;
use tidegate_state::{
    BlobStore, Closing, CommitOutcome, Draft, Lane, LoadRules, ManifestOutcome, Opening, Phase, Pipeline, Seal,
    Snapshot, StateOptions,
};

mod world;

use world::*;

fn lane(name: &str) -> LaneId {
    LaneId::new("s", name)
}

async fn load(pipeline: &Pipeline, lane: &LaneId) -> Lane {
    pipeline.load(lane, LoadRules::default()).await.unwrap().lane
}

fn noise(bytes: u32, seed: u32) -> Bytes {
    (0..bytes).map(|i| (i.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 13) as u8).collect()
}

async fn sealed(lane: &mut Lane) {
    let owed = if lane.head().settled { Vec::new() } else { lane.head().outbox.clone() };
    let outcome = lane.seal(owed, Timestamp(0)).await.unwrap();
    assert!(matches!(outcome, CommitOutcome::Committed | CommitOutcome::AlreadyCommitted), "{outcome:?}");
}

#[tokio::test]
async fn a_generation_ends_and_the_next_one_begins_anew() {
    let world = World::new(4, 10_000);
    let [pipeline, other] = [world.open(1).await, world.open(2).await];
    let mut first = load(&pipeline, &lane("0")).await;
    committed(&mut first, owing(1, b"owed")).await;
    let mut zombie = load(&other, &lane("0")).await;
    zombie.settled();
    let mut joins = load(&other, &lane("1")).await;
    let mut close = load(&other, &LaneId::close("sums")).await;
    let closing = async |floor| {
        let registry_version = other.registry().await.unwrap().version;
        Closing { output: "sums".into(), floor: Timestamp(floor), registry_version }
    };
    let closed = close.commit_close(Draft::default(), closing(5).await).await.unwrap();
    assert_eq!(closed, CommitOutcome::Committed);
    other.put_seal(&old_seal().encode().unwrap()).await.unwrap();
    assert_eq!(first.seal(Vec::new(), Timestamp(0)).await.unwrap_err().kind(), ErrorKind::Internal, "not begun");
    assert_eq!(pipeline.open_generation(&Opening::default()).await.unwrap_err().kind(), ErrorKind::Unavailable);

    assert_eq!(pipeline.begin_generation().await.unwrap(), Generation(2));
    assert_eq!(other.begin_generation().await.unwrap(), Generation(2));
    assert_eq!(pipeline.registry().await.unwrap().phase, Phase::Sealing { next: Generation(2) });
    // Nobody joins, nothing is closed.
    assert!(matches!(commit(&mut joins, draft(1)).await, CommitOutcome::Conflict | CommitOutcome::Fenced(_)));
    let mut joins = load(&other, &lane("1")).await;
    assert!(matches!(commit(&mut joins, draft(1)).await, CommitOutcome::Fenced(_)));
    let refused = close.commit_close(Draft::default(), closing(6).await).await.unwrap();
    assert!(matches!(refused, CommitOutcome::Fenced(_)));
    // What owes something is carried over, and has to be settled before the next one opens.
    assert_eq!(pipeline.open_generation(&Opening::default()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(
        first.seal(Vec::new(), Timestamp(0)).await.unwrap_err().kind(),
        ErrorKind::Internal,
        "it owes something"
    );
    sealed(&mut first).await;
    sealed(&mut first).await;
    sealed(&mut load(&other, &LaneId::close("sums")).await).await;
    let error = pipeline.open_generation(&Opening::default()).await.unwrap_err();
    assert!(error.to_string().contains("lane s:0 still owes 1 requests"), "{error}");
    // Decisions about what is owed are still committed.
    let rejected = carry(&first);
    committed(&mut first, rejected).await;
    assert!(first.head().sealed);
    first.settled();
    assert_eq!(first.write_manifest(Bytes::new()).await.unwrap(), ManifestOutcome::Written);
    assert_eq!(commit(&mut zombie, draft(2)).await, CommitOutcome::Conflict);

    let opening = Opening { origin: Bytes::from_static(b"from the start"), ..Opening::default() };
    let next = pipeline.open_generation(&opening).await.unwrap();
    assert_eq!((next.generation(), next.incarnation()), (Generation(2), pipeline.incarnation()));
    let view = next.registry().await.unwrap();
    assert_eq!((view.phase, view.lanes.len(), view.floors.len()), (Phase::Open, 0, 0));
    assert_eq!(view.origin, "from the start");
    assert!(next.seals("sums").await.unwrap().is_empty());
    // Repeated by somebody who was slow.
    let again = other.open_generation(&Opening::default()).await.unwrap();
    assert_eq!((again.generation(), again.registry().await.unwrap().origin), (Generation(2), view.origin));
    // The old one is over.
    for old in [&pipeline, &other] {
        assert_eq!(old.registry().await.unwrap_err().kind(), ErrorKind::Fenced);
        assert_eq!(old.begin_generation().await.unwrap_err().kind(), ErrorKind::Fenced);
    }
    let mut old = load(&other, &lane("0")).await;
    assert!(matches!(commit(&mut old, draft(9)).await, CommitOutcome::Fenced(_)));
    // The new one numbers from the start, under other keys.
    let mut anew = load(&next, &lane("0")).await;
    assert_eq!((anew.head().n, anew.key().generation), (0, Generation(2)));
    committed(&mut anew, draft(1)).await;
    assert_eq!(other.reopened().await.unwrap().generation(), Generation(2));
    next.check_guard().await.unwrap();
}

fn old_seal() -> Seal {
    Seal {
        output: "sums".into(),
        lane: lane("0"),
        n: 1,
        part: 0,
        through: Some(Timestamp(5)),
        latest_end: None,
        rows: Bytes::new(),
    }
}

#[tokio::test]
async fn a_generation_is_begun_and_opened_whatever_is_lost() {
    for fault in [Fault::TimeoutBefore, Fault::TimeoutAfter, Fault::LostAnswer, Fault::Delayed, Fault::Throttled] {
        let world = World::new(4, 10_000);
        let pipeline = world.open(1).await;
        let mut first = load(&pipeline, &lane("0")).await;
        committed(&mut first, draft(1)).await;
        world.store.script([Some(fault)]);
        assert_eq!(pipeline.begin_generation().await.unwrap(), Generation(2), "{fault:?}");
        while world.store.land().await {}
        sealed(&mut first).await;
        world.store.script([Some(fault)]);
        let next = pipeline.open_generation(&Opening::default()).await.unwrap();
        while world.store.land().await {}
        assert_eq!(next.generation(), Generation(2), "{fault:?}");
        assert_eq!(next.registry().await.unwrap().phase, Phase::Open);
        committed(&mut load(&next, &lane("0")).await, draft(1)).await;
    }
}

#[tokio::test]
async fn what_is_owed_is_abandoned_only_when_told() {
    let world = World::new(4, 10_000);
    let pipeline = world.open(1).await;
    let mut first = load(&pipeline, &lane("0")).await;
    committed(&mut first, owing(1, b"owed")).await;
    pipeline.begin_generation().await.unwrap();
    sealed(&mut first).await;
    assert!(pipeline.open_generation(&Opening::default()).await.is_err());
    let large = Opening { origin: vec![0; 100_000].into(), ..Opening::default() };
    assert_eq!(pipeline.open_generation(&large).await.unwrap_err().kind(), ErrorKind::Invalid);
    let opening = Opening { abandon_owed: true, ..Opening::default() };
    assert_eq!(pipeline.open_generation(&opening).await.unwrap().generation(), Generation(2));
}

#[tokio::test]
async fn a_source_keeps_its_identity() {
    let world = World::new(4, 10_000);
    let [pipeline, other] = [world.open(1).await, world.open(2).await];
    world.store.script([Some(Fault::TimeoutAfter)]);
    pipeline.identify("s", "topic 1").await.unwrap();
    world.store.take_counters();
    pipeline.identify("s", "topic 1").await.unwrap();
    assert_eq!(world.store.take_counters(), Default::default());
    for handle in [&pipeline, &other] {
        let error = handle.identify("s", "topic 2").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Fenced);
        assert!(error.to_string().contains("it was topic 1, it is topic 2"), "{error}");
        assert!(error.help().unwrap().contains("tidegate reset"), "{error}");
    }
    other.identify("t", "topic 2").await.unwrap();
    other.identify("s", "topic 1").await.unwrap();
    pipeline.begin_generation().await.unwrap();
    let next = pipeline.open_generation(&Opening::default()).await.unwrap();
    next.identify("s", "topic 2").await.unwrap();
    assert_eq!(other.identify("u", "topic 3").await.unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!(next.registry().await.unwrap().sources.len(), 1);
}

async fn next_generation(pipeline: &Pipeline) -> Pipeline {
    pipeline.begin_generation().await.unwrap();
    for report in pipeline.inspect().await.unwrap() {
        sealed(&mut load(pipeline, &report.lane).await).await;
    }
    pipeline.open_generation(&Opening::default()).await.unwrap()
}

#[tokio::test]
async fn restored_state_is_found() {
    let world = World::new(4, 10_000);
    let pipeline = world.open(1).await;
    pipeline.check_guard().await.unwrap();
    pipeline.check_guard().await.unwrap();
    committed(&mut load(&pipeline, &lane("0")).await, draft(1)).await;
    let backup = world.store.inner().items();
    let next = next_generation(&next_generation(&pipeline).await).await;
    next.check_guard().await.unwrap();
    // A handle that is merely old hears that, not of a restore.
    let error = pipeline.check_guard().await.unwrap_err();
    assert!(error.to_string().contains("moved on to generation 3"), "{error}");
    let restore = || {
        for key in world.store.inner().items().into_keys() {
            world.store.inner().force(key, None);
        }
        for (key, item) in &backup {
            world.store.inner().force(key.clone(), Some(item.clone()));
        }
    };
    restore();
    let restored = world.open(2).await;
    let error = restored.check_guard().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
    assert!(error.to_string().contains("generation 3 was open already"), "{error}");
    let mended = next_generation(&restored).await;
    assert_eq!(mended.generation(), Generation(4));
    mended.check_guard().await.unwrap();
    // The state is deleted and created again, with the same blob store; then the old one comes back.
    for key in world.store.inner().items().into_keys() {
        world.store.inner().force(key, None);
    }
    let anew = world.open(3).await;
    anew.check_guard().await.unwrap();
    restore();
    let error = world.open(4).await.check_guard().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
}

#[tokio::test]
async fn objects_that_nothing_refers_to_are_removed() {
    let mut world = World::new(4, 400);
    world.options = StateOptions { load_concurrency: 3, ..world.options };
    let pipeline = world.open(1).await;
    let mut warm = load(&pipeline, &lane("0")).await;
    let large = |n: u64, seed: u32| Draft { delta: noise(2000, seed), ..draft(n) };
    // A commit that loses its slot leaves its object behind, and so does a manifest that is replaced.
    let mut loser = load(&world.open(2).await, &lane("0")).await;
    committed(&mut warm, large(1, 1)).await;
    assert_eq!(commit(&mut loser, large(1, 2)).await, CommitOutcome::Conflict);
    for n in 2..=3 {
        committed(&mut warm, draft(n)).await;
        assert_eq!(warm.write_manifest(noise(2000, n as u32)).await.unwrap(), ManifestOutcome::Written);
    }
    let closed = Seal { latest_end: Some(Timestamp(3)), rows: noise(2000, 9), ..old_seal() };
    let sealed = Seal { n: 2, ..closed.clone() };
    for seal in [&closed, &sealed, &sealed] {
        pipeline.put_seal(&seal.encode().unwrap()).await.unwrap();
    }
    let objects = async || world.blobs.list("p").await.unwrap().len();
    // Delta, its rival, two snapshots, two seals; and one whose put was lost.
    let lost = Seal { n: 3, ..closed.clone() }.encode().unwrap();
    world.store.script([Some(Fault::TimeoutBefore)]);
    assert_eq!(pipeline.put_seal(&lost).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(objects().await, 7);
    let state = async || {
        let loaded = world.open(9).await.load(&lane("0"), LoadRules::default()).await.unwrap();
        (loaded.lane.head().clone(), loaded.snapshot, loaded.deltas)
    };
    let before = state().await;
    let first = pipeline.collect_garbage(Duration::from_secs(10)).await.unwrap();
    assert_eq!((first.objects, first.waiting, first.removed), (7, 3, 0));
    // The world's clock stands still, so only a horizon of nothing has passed.
    assert_eq!(pipeline.collect_garbage(Duration::from_secs(10)).await.unwrap(), first);
    let done = pipeline.collect_garbage(Duration::ZERO).await.unwrap();
    assert_eq!((done.waiting, done.removed), (0, 3));
    assert_eq!(state().await, before);
    let stored = pipeline.seals("sums").await.unwrap();
    for seal in &stored {
        assert_eq!(pipeline.seal_rows(seal).await.unwrap().len(), 2000);
    }
    assert_eq!(stored.len(), 2);
    // Nothing of a generation that was sealed is needed.
    let next = next_generation(&pipeline).await;
    assert_eq!(pipeline.collect_garbage(Duration::ZERO).await.unwrap_err().kind(), ErrorKind::Fenced);
    next.collect_garbage(Duration::ZERO).await.unwrap();
    assert_eq!(next.collect_garbage(Duration::ZERO).await.unwrap().removed, 4);
    // The mark of the generation stays.
    assert_eq!(objects().await, 1);
    next.check_guard().await.unwrap();
}

#[tokio::test]
async fn segments_stay_as_long_as_a_manifest_names_them() {
    let world = World::new(4, 400);
    let pipeline = world.open(1).await;
    let mut warm = load(&pipeline, &lane("0")).await;
    let store = warm.segments();
    let put = async |seed: u32| store.put(noise(900, seed), vec![seed as u8].into()).await.unwrap();
    // The third one is of a checkpoint whose manifest was never written.
    let (a, b, _) = (put(1).await, put(2).await, put(3).await);
    assert_eq!((a.length, &a.about[..]), (900, &[1u8][..]));
    committed(&mut warm, draft(1)).await;
    let snapshot = |segments: &[Segment]| Snapshot { rest: "rest".into(), segments: segments.to_vec() };
    assert_eq!(warm.write_manifest(snapshot(&[a.clone(), b.clone()])).await.unwrap(), ManifestOutcome::Written);
    let loaded = world.open(2).await.load(&lane("0"), LoadRules::default()).await.unwrap();
    assert_eq!((loaded.snapshot.as_deref(), &loaded.segments), (Some(&b"rest"[..]), &vec![a.clone(), b.clone()]));
    assert_eq!(loaded.lane.segments().get(&b).await.unwrap(), noise(900, 2));
    let removed = async || {
        pipeline.collect_garbage(Duration::ZERO).await.unwrap();
        pipeline.collect_garbage(Duration::ZERO).await.unwrap().removed
    };
    assert_eq!(removed().await, 1);
    assert_eq!(store.get(&a).await.unwrap(), noise(900, 1));
    committed(&mut warm, draft(2)).await;
    let many = vec![b.clone(); tidegate_state::MAX_SEGMENTS + 1];
    assert_eq!(warm.write_manifest(snapshot(&many)).await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(warm.write_manifest(snapshot(std::slice::from_ref(&b))).await.unwrap(), ManifestOutcome::Written);
    assert_eq!(removed().await, 1);
    // Who still names it has an old memory.
    assert_eq!(loaded.lane.segments().get(&a).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(loaded.lane.segments().get(&b).await.unwrap(), noise(900, 2));
}
