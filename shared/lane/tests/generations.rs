//! What a new generation must not lose, in stores in memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::executor::block_on;
use tidegate_core::random::StdRandom;
use tidegate_core::secret::{Secret, SecretRef, SecretStore};
use tidegate_core::{Clock, Error, ErrorKind, Generation, LaneId, Position, Result, Timestamp};
use tidegate_delivery::{
    DeadLetter, DeadLetterStore, HttpFault, HttpRequest, HttpResponse, HttpTransport, Sender, SenderPorts,
};
use tidegate_lane::{
    Anew, Budget, Built, Counts, LaneOptions, Lanes, Operators, Replay, StageTimes, StepContext, Stored, Work,
};
use tidegate_source::Records;
use tidegate_state::faults::{Fault, FaultyStore, Request};
use tidegate_state::memory::{MemoryBlobs, MemoryStore};
use tidegate_state::{LaneLimit, Layout, Pipeline, Ports, Snapshot, StateOptions, Tries};

/// Counts the records of a lane; every record is a dead letter where `owes` says so.
struct Count {
    owes: bool,
    /// The largest count that a step began with.
    seen: Arc<AtomicU64>,
    /// Others go on in the middle of a step, so often by turns.
    yields: u64,
}

/// Lets others go on, `times` times.
async fn give_way(times: u64) {
    let mut left = times;
    std::future::poll_fn(|context| {
        let done = left == 0;
        left = left.saturating_sub(1);
        context.waker().wake_by_ref();
        if done { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

fn number(bytes: &[u8]) -> u64 {
    bytes.try_into().map(u64::from_le_bytes).unwrap_or_default()
}

#[async_trait]
impl Operators for Count {
    type State = u64;

    fn sources(&self) -> Vec<String> {
        vec!["s".into()]
    }

    fn lane_limit(&self, _: &str) -> Option<LaneLimit> {
        Some(LaneLimit::Many)
    }

    fn layout(&self, _: &str) -> Layout {
        Layout { fingerprint: [1; 16], lines: vec!["count".into()] }
    }

    async fn restore(&self, _: &str, stored: Stored<'_>) -> Result<u64> {
        Ok(stored.snapshot.map_or(0, number) + stored.deltas.iter().map(|delta| number(delta)).sum::<u64>())
    }

    async fn checkpoint(&self, source: &str, state: &u64) -> Result<(Snapshot, u64)> {
        Ok((self.whole(source, state).await?.into(), *state))
    }

    async fn whole(&self, _: &str, state: &u64) -> Result<Bytes> {
        Ok(state.to_le_bytes().to_vec().into())
    }

    fn watermark(&self, _: &u64) -> Option<Timestamp> {
        None
    }

    async fn step(&self, context: &StepContext<'_>, state: &u64, work: Work<'_>) -> Result<Built<u64>> {
        self.seen.store(*state, Ordering::Relaxed);
        give_way(self.yields * (1 + context.n % 3)).await;
        let Work::Records(records) = work else { return Err(Error::internal("only records")) };
        let letters = if self.owes { vec![DeadLetter::default()] } else { Vec::new() };
        let more = records.len() as u64;
        Ok(Built {
            next: state + more,
            delta: more.to_le_bytes().to_vec().into(),
            outbox: tidegate_delivery::dead_letter_entries(context.lane, context.n, 0, context.now, &letters)?,
            sealed: Vec::new(),
            sink_lengths: BTreeMap::new(),
            counts: Counts::default(),
            times: StageTimes::default(),
        })
    }

    fn seed(&self, state: u64, _: Timestamp) -> u64 {
        state
    }
}

/// Time that passes only where somebody sleeps.
#[derive(Default)]
struct Still(AtomicU64);

#[async_trait]
impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed) as i64)
    }

    fn elapsed(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }

    async fn sleep(&self, duration: Duration) {
        self.0.fetch_add(duration.as_micros() as u64, Ordering::Relaxed);
    }
}

struct Nothing;

#[async_trait]
impl HttpTransport for Nothing {
    async fn send(&self, _: HttpRequest) -> Result<HttpResponse, HttpFault> {
        Err(HttpFault::Unsendable("there are no targets here".into()))
    }
}

#[async_trait]
impl SecretStore for Nothing {
    async fn fetch(&self, _: &SecretRef) -> Result<Secret> {
        Err(Error::invalid("there are no secrets here"))
    }
}

#[async_trait]
impl DeadLetterStore for Nothing {
    async fn keep(&self, _: &[u8]) -> Result<()> {
        Err(Error::unavailable("dead letters cannot be kept now"))
    }
}

struct World {
    ring: u16,
    store: Arc<FaultyStore<MemoryStore>>,
    blobs: Arc<MemoryBlobs>,
    clock: Arc<Still>,
    seen: Arc<AtomicU64>,
    seeds: AtomicU64,
    /// Several invocations share an environment.
    busy: bool,
}

impl World {
    fn new(ring: u16) -> Self {
        Self {
            ring,
            store: Arc::new(FaultyStore::new(MemoryStore::new())),
            blobs: Arc::new(MemoryBlobs::new()),
            clock: Arc::new(Still::default()),
            seen: Arc::default(),
            seeds: AtomicU64::new(1),
            busy: false,
        }
    }

    /// An environment of its own.
    fn environment(&self, owes: bool) -> Lanes<Count> {
        let random = Arc::new(StdRandom::seeded(self.seeds.fetch_add(1, Ordering::Relaxed)));
        let ports = Ports {
            store: self.store.clone(),
            blobs: self.blobs.clone(),
            clock: self.clock.clone(),
            random: random.clone(),
        };
        let options = StateOptions { ring: self.ring, ..StateOptions::default() };
        let store = block_on(Pipeline::open(ports, "p", options)).unwrap();
        let sender = Sender::new(SenderPorts {
            http: Arc::new(Nothing),
            clock: self.clock.clone(),
            random,
            secrets: Arc::new(Nothing),
            dead_letters: Some(Arc::new(Nothing)),
        });
        let count = Count { owes, seen: self.seen.clone(), yields: u64::from(self.busy) };
        Lanes::new(count, store, sender, BTreeMap::new(), self.clock.clone(), LaneOptions::default()).unwrap()
    }

    fn budget(&self) -> Budget {
        Budget::new(self.clock.elapsed(), Duration::from_secs(60))
    }

    fn batch(&self, lanes: &Lanes<Count>, positions: std::ops::RangeInclusive<u64>) -> Result<()> {
        let mut records = Records::with_capacity(8, 8);
        positions.for_each(|at| records.push(Position::new(at), None, None, Vec::new(), b"x"));
        block_on(lanes.run_batch("s", "0", &mut records, self.budget())).map(drop)
    }
}

fn put_of(request: Request<'_>, sort: &str) -> bool {
    matches!(request, Request::Put(key) if key.sort == sort)
}

#[test]
fn a_sealing_that_stops_half_way_keeps_the_state() {
    let world = World::new(4);
    let first = world.environment(false);
    // Manifests are lost, so that one is due when the ring is to be sealed.
    world.store.choose(|request| put_of(request, "manifest").then_some(Fault::TimeoutBefore));
    world.batch(&first, 1..=1).unwrap();
    drop(world.batch(&first, 2..=2));
    drop(world.batch(&first, 3..=3));
    // Now no ring can be sealed.
    world.store.choose(|request| put_of(request, "commit").then_some(Fault::TimeoutBefore));
    assert!(block_on(world.environment(false).seal_generation(world.budget())).is_err());
    world.store.heal();
    // The lane is not sealed yet: it takes a batch, and has forgotten nothing.
    world.batch(&world.environment(false), 1..=9).unwrap();
    assert!(world.seen.load(Ordering::Relaxed) >= 2, "{} records are left", world.seen.load(Ordering::Relaxed));
}

#[test]
fn a_lane_is_sealed_whatever_it_owes_and_however_full_its_ring_is() {
    let world = World::new(2);
    for batch in 1..=4 {
        drop(world.batch(&world.environment(true), batch..=batch));
    }
    let person = world.environment(true);
    let sealing = block_on(person.seal_generation(world.budget())).unwrap();
    assert_eq!((sealing.sealed, sealing.owing.len()), (1, 1));
    let refused = block_on(person.open_generation(&Replay::Send.into())).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
    block_on(person.open_generation(&Anew { abandon_owed: true, ..Replay::Send.into() })).unwrap();
}

#[test]
fn who_has_nothing_to_commit_does_not_outlive_its_generation() {
    let world = World::new(4);
    let (warm, person) = (world.environment(false), world.environment(false));
    world.batch(&warm, 1..=3).unwrap();
    block_on(person.seal_generation(world.budget())).unwrap();
    // What is committed is committed, until the next generation counts it again.
    world.batch(&warm, 1..=3).unwrap();
    block_on(person.open_generation(&Replay::Send.into())).unwrap();
    let ended = world.batch(&warm, 1..=3).unwrap_err();
    assert_eq!(ended.kind(), ErrorKind::Fenced, "{ended}");
    world.batch(&world.environment(false), 1..=3).unwrap();
}

#[test]
fn who_seals_late_ends_no_generation_but_its_own() {
    let world = World::new(4);
    let (late, person) = (world.environment(false), world.environment(false));
    world.batch(&person, 1..=3).unwrap();
    block_on(person.seal_generation(world.budget())).unwrap();
    block_on(person.open_generation(&Replay::Send.into())).unwrap();
    let next = world.environment(false);
    world.batch(&next, 1..=3).unwrap();
    // Both knew the generation that has ended.
    for stale in [&late, &person] {
        let refused = block_on(stale.seal_generation(world.budget())).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Fenced, "{refused}");
        // Its next one is open already, and is not opened anew.
        assert_eq!(block_on(stale.open_generation(&Replay::Send.into())).unwrap(), next.store().generation());
    }
    world.batch(&next, 4..=5).unwrap();
    // Who knows the new one, and is asked to end the one before, sees that it has ended.
    let mine = next.store().generation();
    let asked = |ends: u32| next.has_ended(&Anew { ends: Some(Generation(ends)), ..Replay::Send.into() });
    assert!(asked(mine.0 - 1).unwrap() && !asked(mine.0).unwrap());
    assert_eq!(asked(mine.0 + 1).unwrap_err().kind(), ErrorKind::Invalid);
    assert!(!next.has_ended(&Replay::Send.into()).unwrap());
}

#[test]
fn a_death_hides_no_generation_that_has_ended() {
    let world = World::new(4);
    let (warm, person) = (world.environment(false), world.environment(false));
    world.batch(&world.environment(false), 1..=3).unwrap();
    // An environment was killed with record 3. This one knows the lane, as a tick does, and has taken no batch of it.
    let (lane, killed) = (LaneId::new("s", "0"), Tries { first: "4".into(), records: 2, ..Tries::default() });
    block_on(warm.store().set_tries(&lane, killed)).unwrap();
    block_on(warm.rest(&lane, world.budget())).unwrap();
    block_on(person.seal_generation(world.budget())).unwrap();
    block_on(person.open_generation(&Replay::Send.into())).unwrap();
    // The new generation reads from the start. Nothing of that is done.
    let mut records = Records::with_capacity(8, 8);
    (1..=3u64).for_each(|at| records.push(Position::new(at), None, None, Vec::new(), b"x"));
    let ended = block_on(warm.run_guarded("s", "0", &mut records, world.budget())).unwrap_err();
    assert_eq!(ended.error.kind(), ErrorKind::Fenced, "{}", ended.error);
}

#[test]
fn what_a_generation_leaves_out_hides_no_death() {
    let world = World::new(4);
    world.batch(&world.environment(false), 1..=3).unwrap();
    let lane = LaneId::new("s", "0");
    let begins = BTreeMap::from([(lane.clone(), Position::new(3u64).sequence)]);
    let behind_3 = Anew { begins, ..Replay::Send.into() };
    // The second time the lane has read nothing of its own.
    for _ in 0..2 {
        let person = world.environment(false);
        block_on(person.seal_generation(world.budget())).unwrap();
        block_on(person.open_generation(&behind_3)).unwrap();
    }
    let next = world.environment(false);
    let killed = Tries { first: "4".into(), records: 2, ..Tries::default() };
    block_on(next.store().set_tries(&lane, killed)).unwrap();
    let mut records = Records::with_capacity(8, 8);
    (1..=5u64).for_each(|at| records.push(Position::new(at), None, None, Vec::new(), b"x"));
    block_on(next.run_guarded("s", "0", &mut records, world.budget())).unwrap();
    let left = block_on(next.store().tries(&lane)).unwrap().expect("a marker");
    assert_eq!((left.first.as_str(), left.records), ("5", 1), "it was taken in pieces, the first of which is record 4");
}

#[test]
fn a_sealed_lane_computes_nothing() {
    let world = World::new(4);
    let warm = world.environment(false);
    world.batch(&warm, 1..=3).unwrap();
    block_on(world.environment(false).seal_generation(world.budget())).unwrap();
    world.seen.store(77, Ordering::Relaxed);
    let cold = world.environment(false);
    let refused = world.batch(&cold, 4..=4).unwrap_err();
    assert_eq!((refused.kind(), world.seen.load(Ordering::Relaxed)), (ErrorKind::Unavailable, 77), "{refused}");
}

#[test]
fn rewound_records_are_no_gap_for_who_works_on_an_ended_generation() {
    let world = World::new(4);
    let (warm, person) = (world.environment(false), world.environment(false));
    world.batch(&warm, 3..=5).unwrap();
    let gap = world.batch(&warm, 1..=2).unwrap_err();
    assert!(gap.kind() == ErrorKind::Invalid && gap.message().contains("no commit has taken"), "{gap}");
    block_on(person.seal_generation(world.budget())).unwrap();
    block_on(person.open_generation(&Replay::Send.into())).unwrap();
    // The new generation begins earlier than the old one did.
    let ended = world.batch(&warm, 1..=2).unwrap_err();
    assert_eq!(ended.kind(), ErrorKind::Fenced, "{ended}");
    world.batch(&world.environment(false), 1..=2).unwrap();
}

#[test]
fn invocations_that_share_an_environment_are_safe() {
    let world = World { busy: true, ..World::new(4) };
    let lanes = world.environment(false);
    let invocation = async |lane: &'static str, from: u64, to: u64| {
        let mut records = Records::with_capacity(8, 8);
        (from..=to).for_each(|at| records.push(Position::new(at), None, None, Vec::new(), b"x"));
        lanes.run_batch("s", lane, &mut records, world.budget()).await
    };
    let mut conflicts = 0;
    for round in 0..20 {
        let (from, to) = (round * 10 + 1, round * 10 + 10);
        // Two pollers that both have the batch, one of them cut in another way, and other lanes beside them.
        let side_by_side = block_on(futures::future::join_all([
            invocation("0", from, to),
            invocation("0", from, to),
            invocation("0", from, to - 4),
            invocation("1", from, to),
            invocation("2", from, to),
        ]));
        for answer in side_by_side {
            match answer {
                Ok(report) => conflicts += report.counts.conflicts,
                Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}"),
            }
        }
        block_on(invocation("0", from, to)).unwrap();
    }
    assert!(conflicts > 20, "{conflicts}: they met");
    for lane in ["0", "1", "2"] {
        let id = LaneId::new("s", lane);
        let found =
            block_on(lanes.look(&id, |head, state| (head.positions.get(lane).copied(), state.copied()))).unwrap();
        assert_eq!(found, (Some(Position::new(200u64)), Some(200)), "each record once");
    }
}
