//! Lanes of several environments over one store, at targets of each level.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::executor::block_on;
use tidegate_core::random::StdRandom;
use tidegate_core::secret::{Secret, SecretRef, SecretStore};
use tidegate_core::{Clock, Error, ErrorKind, LaneId, OutboxEntry, Position, Result, Timestamp};
use tidegate_core::{EffectId, RequestIndex};
use tidegate_delivery::config::*;
use tidegate_delivery::payload::{HttpPayload, Payload};
use tidegate_delivery::{
    FENCE_NUMBER_HEADER, HttpFault, HttpRequest, HttpResponse, HttpTransport, Sender, SenderPorts,
};
use tidegate_source::Records;
use tidegate_state::memory::{MemoryBlobs, MemoryStore};
use tidegate_state::{LaneLimit, Layout, Pipeline, Ports, Snapshot, StateOptions};

use crate::*;

const S: Duration = Duration::from_secs(1);

/// Time passes only by sleeping, for everybody.
#[derive(Default)]
struct Time(AtomicU64);

impl Time {
    fn seconds(&self) -> u64 {
        self.0.load(Ordering::SeqCst) / 1_000_000
    }

    fn set(&self, seconds: u64) {
        self.0.store(seconds * 1_000_000, Ordering::SeqCst);
    }
}

struct TestClock {
    time: Arc<Time>,
    /// Whoever sleeps never wakes up.
    stuck: bool,
}

#[async_trait]
impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_767_225_600_000).plus(self.elapsed())
    }

    fn elapsed(&self) -> Duration {
        Duration::from_micros(self.time.0.load(Ordering::SeqCst))
    }

    async fn sleep(&self, duration: Duration) {
        if self.stuck {
            std::future::pending::<()>().await;
        }
        self.time.0.fetch_add(duration.as_micros() as u64, Ordering::SeqCst);
    }
}

/// What a target answers to each request in turn; `None`: never. Then 200.
type Answers = Mutex<VecDeque<Option<Result<HttpResponse, HttpFault>>>>;

/// When a request came (in seconds), its body, and its number at a fence.
type Seen = (u64, String, Option<String>);

struct Http {
    answers: Answers,
    time: Arc<Time>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

#[async_trait]
impl HttpTransport for Http {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpFault> {
        let number = request.headers.iter().find(|(name, _)| name == FENCE_NUMBER_HEADER).map(|(_, n)| n.clone());
        let body = String::from_utf8_lossy(&request.body).into_owned();
        self.seen.lock().unwrap().push((self.time.seconds(), body, number));
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or_else(|| Some(status(200)));
        match answer {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }
}

fn status(status: u16) -> Result<HttpResponse, HttpFault> {
    Ok(HttpResponse { status, complete: true, ..HttpResponse::default() })
}

struct NoSecrets;

#[async_trait]
impl SecretStore for NoSecrets {
    async fn fetch(&self, _: &SecretRef) -> Result<Secret> {
        Err(Error::invalid("there are no secrets"))
    }
}

/// A request per record.
struct EachRecord(Idempotency);

#[async_trait]
impl Operators for EachRecord {
    type State = ();

    fn sources(&self) -> Vec<String> {
        vec!["s".into()]
    }

    fn lane_limit(&self, _: &str) -> Option<LaneLimit> {
        Some(LaneLimit::Many)
    }

    fn layout(&self, _: &str) -> Layout {
        Layout::default()
    }

    async fn restore(&self, _: &str, _: Stored<'_>) -> Result<()> {
        Ok(())
    }

    async fn checkpoint(&self, _: &str, (): &()) -> Result<(Snapshot, ())> {
        Ok((Snapshot::default(), ()))
    }

    async fn whole(&self, _: &str, (): &()) -> Result<Bytes> {
        Ok(Bytes::new())
    }

    fn watermark(&self, (): &()) -> Option<Timestamp> {
        None
    }

    fn seed(&self, (): (), _: Timestamp) {}

    async fn step(&self, context: &StepContext<'_>, (): &(), work: Work<'_>) -> Result<Built<()>> {
        let Work::Records(records) = work else { return Err(Error::internal("only records")) };
        let entry = |(i, record): (u32, tidegate_source::RecordRef<'_>)| {
            let http = HttpPayload {
                method: Method::Put,
                url: "http://h/x".into(),
                headers: Vec::new(),
                content_type: "application/json".into(),
                format: BodyFormat::JsonObject,
                idempotency: self.0.clone(),
                output: "o".into(),
                rows: Bytes::copy_from_slice(record.payload),
            };
            OutboxEntry {
                id: EffectId { n: context.n, index: RequestIndex::top(i) },
                target: "api".into(),
                wave: i as u16,
                rows: 1,
                committed_at: context.now,
                payload: Payload::Http(http).encode(),
            }
        };
        Ok(Built {
            next: (),
            delta: Bytes::new(),
            outbox: (0..).zip(records.iter()).map(entry).collect(),
            sealed: Vec::new(),
            sink_lengths: BTreeMap::new(),
            counts: Counts::default(),
            times: StageTimes::default(),
        })
    }
}

/// A store, a target, and the environments that work with them.
struct World {
    store: Arc<MemoryStore>,
    blobs: Arc<MemoryBlobs>,
    time: Arc<Time>,
    seen: Arc<Mutex<Vec<Seen>>>,
    level: Idempotency,
    environments: AtomicU64,
}

impl World {
    fn new(level: Idempotency) -> Self {
        Self {
            store: Arc::default(),
            blobs: Arc::default(),
            time: Arc::default(),
            seen: Arc::default(),
            level,
            environments: AtomicU64::new(0),
        }
    }

    fn target(&self) -> RestTarget {
        RestTarget {
            url: Template { parts: vec![TemplatePart::Text("http://h/x".into())] },
            method: Method::Put,
            headers: Vec::new(),
            idempotency: self.level.clone(),
            promise: Promise { remembers_ids: 100_000 * S, rejections_are_final: true },
            batch: Batch { rows: 1, bytes: 1000, format: BodyFormat::JsonObject },
            concurrency: 1,
            key: None,
            ordered: true,
            order_by: Vec::new(),
            rate_limit: None,
            auth: Auth::None,
            retry: Retry { max_elapsed: S, max_attempts: 1, initial_backoff: S, max_backoff: S },
            success: Success { status: Vec::new(), error_field: None },
            on_reject: OnReject::DeadLetter,
            on_exhausted: OnExhausted::Block,
            timeout: 10 * S,
        }
    }

    /// A cold environment, to which the target gives these answers.
    fn environment(
        &self,
        answers: impl IntoIterator<Item = Option<Result<HttpResponse, HttpFault>>>,
        stuck: bool,
        options: LaneOptions,
    ) -> Lanes<EachRecord> {
        let clock: Arc<dyn Clock> = Arc::new(TestClock { time: self.time.clone(), stuck });
        let random = Arc::new(StdRandom::seeded(self.environments.fetch_add(1, Ordering::SeqCst)));
        let answers = Mutex::new(answers.into_iter().collect());
        let http = Http { answers, time: self.time.clone(), seen: self.seen.clone() };
        let ports = Ports {
            store: self.store.clone(),
            blobs: self.blobs.clone(),
            clock: clock.clone(),
            random: random.clone(),
        };
        let store = block_on(Pipeline::open(ports, "p", StateOptions::default())).unwrap();
        let sender = Sender::new(SenderPorts {
            http: Arc::new(http),
            clock: clock.clone(),
            random,
            secrets: Arc::new(NoSecrets),
            dead_letters: None,
        });
        let targets = BTreeMap::from([("api".to_owned(), Target::Rest(Box::new(self.target())))]);
        Lanes::new(EachRecord(self.level.clone()), store, sender, targets, clock, options).unwrap()
    }

    fn cold(&self, answers: impl IntoIterator<Item = Option<Result<HttpResponse, HttpFault>>>) -> Lanes<EachRecord> {
        self.environment(answers, false, LaneOptions::default())
    }

    /// Number of the head.
    fn head(&self) -> u64 {
        let reports = block_on(self.cold([]).store().inspect()).unwrap();
        reports.iter().map(|report| report.head.n).max().unwrap_or(0)
    }

    fn sent(&self) -> Vec<(u64, String)> {
        self.seen.lock().unwrap().iter().map(|(at, body, _)| (*at, body.clone())).collect()
    }
}

/// Records `1` to `count`, as the source gives them again and again.
fn records(count: u64) -> Records {
    let mut records = Records::new();
    for i in 1..=count {
        records.push(Position::new(i), None, None, Vec::new(), format!("{{\"i\":{i}}}").as_bytes());
    }
    records
}

async fn batch(lanes: &Lanes<EachRecord>, count: u64, seconds: u64) -> Result<Counts> {
    let budget = Budget::new(lanes.elapsed(), Duration::from_secs(seconds));
    lanes.run_batch("s", "0", &mut records(count), budget).await.map(|report| report.counts)
}

/// Runs the batch until it waits for what never comes; then the environment is gone.
fn dies(lanes: &Lanes<EachRecord>, count: u64, seconds: u64) {
    block_on(async {
        let mut running = Box::pin(batch(lanes, count, seconds));
        for _ in 0..100 {
            assert!(futures::poll!(&mut running).is_pending());
        }
    });
}

fn row(i: u64) -> String {
    format!("{{\"i\":{i}}}")
}

#[test]
fn earlier_senders_are_waited_for_where_the_last_writer_wins() {
    let world = World::new(Idempotency::LastWriterWins);
    dies(&world.cold([None]), 1, 60);
    assert_eq!((world.head(), world.sent()), (1, vec![(0, row(1))]));
    world.time.set(1);
    // There is no time for the wait: nothing is committed, so that the wait does not become longer.
    for seconds in [30, 90] {
        let error = block_on(batch(&world.cold([]), 1, seconds)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains("may be sending until 2026-01-01T00:01:00"), "{error}");
        assert_eq!((world.head(), world.sent().len()), (1, 1));
    }
    // Two seconds more, since clocks differ.
    block_on(batch(&world.cold([]), 2, 110)).unwrap();
    assert_eq!(world.sent()[1..], [(62, row(1)), (62, row(2))]);
    assert_eq!(world.head(), 3);
}

#[test]
fn every_earlier_sender_is_waited_for_and_not_only_the_last() {
    let world = World::new(Idempotency::LastWriterWins);
    dies(&world.cold([None]), 1, 600);
    world.time.set(1);
    // The second one has committed that it takes over, and dies while it waits for the first.
    dies(&world.environment([], true, LaneOptions::default()), 1, 1_100);
    assert_eq!((world.head(), world.sent().len()), (2, 1));
    // The third waits for it as well, although the first has stopped.
    world.time.set(1_050);
    block_on(batch(&world.cold([]), 1, 100)).unwrap();
    assert_eq!(world.sent()[1..], [(1_103, row(1))]);
}

#[test]
fn a_shorter_deadline_does_not_hide_a_longer_one() {
    let world = World::new(Idempotency::LastWriterWins);
    let alone = LaneOptions { alone: true, ..LaneOptions::default() };
    dies(&world.cold([None]), 1, 600);
    world.time.set(100);
    // It need not wait, and stops sending long before the first one does.
    let stuck = world.environment([None], false, alone);
    dies(&stuck, 1, 30);
    assert_eq!((world.head(), world.sent().len()), (2, 2));
    block_on(batch(&world.cold([]), 1, 900)).unwrap();
    assert_eq!(world.sent()[2..], [(602, row(1))]);
}

#[test]
fn a_locked_state_has_no_other_senders() {
    let world = World::new(Idempotency::LastWriterWins);
    dies(&world.cold([None]), 1, 1_000_000);
    world.time.set(5);
    let alone = world.environment([], false, LaneOptions { alone: true, ..LaneOptions::default() });
    block_on(batch(&alone, 1, 100)).unwrap();
    // Only a request that may still be on its way is waited for.
    assert_eq!(world.sent()[1..], [(15, row(1))]);
}

#[test]
fn other_levels_do_not_wait() {
    for (level, head) in
        [(Idempotency::Header("Idempotency-Key".into()), 2), (Idempotency::Fenced(412), 2), (Idempotency::None, 2)]
    {
        let world = World::new(level);
        dies(&world.cold([None]), 1, 60);
        let counts = block_on(batch(&world.cold([]), 2, 20)).unwrap();
        // The first of them may have left before.
        assert_eq!((counts.requests, counts.retries), (2, 1));
        assert_eq!((world.head(), world.sent()), (head, vec![(0, row(1)), (0, row(1)), (0, row(2))]));
    }
}

#[test]
fn a_request_keeps_its_number_at_a_fence() {
    let world = World::new(Idempotency::Fenced(412));
    dies(&world.cold([Some(status(200)), None]), 2, 60);
    // Both were applied before, says the target.
    let counts = block_on(batch(&world.cold([Some(status(412)), Some(status(412))]), 3, 60)).unwrap();
    assert_eq!((counts.repeats, counts.dead_letters), (2, 0));
    let seen = world.seen.lock().unwrap();
    let numbers: Vec<&String> = seen.iter().map(|(_, _, number)| number.as_ref().unwrap()).collect();
    assert_eq!(numbers[..2], numbers[2..4]);
    assert!(numbers[2..].is_sorted_by(|a, b| a < b), "{numbers:?}");
}

#[test]
fn at_most_once_is_never_sent_again_by_somebody_else() {
    let world = World::new(Idempotency::AtMostOnce { offered: false });
    dies(&world.cold([Some(status(200)), None]), 3, 60);
    // It was on its way, and the third one did not leave. Nobody can tell them apart.
    let counts = block_on(batch(&world.cold([]), 4, 60)).unwrap();
    assert_eq!(counts.unknown, 3);
    let bodies = |world: &World| world.sent().into_iter().map(|(_, body)| body).collect::<Vec<_>>();
    assert_eq!(bodies(&world), [row(1), row(2), row(4)]);
    // What was sent is settled into the manifest: a cold start has nothing to doubt.
    let counts = block_on(batch(&world.cold([]), 5, 60)).unwrap();
    assert_eq!((counts.unknown, bodies(&world).pop()), (0, Some(row(5))));
}

#[test]
fn what_did_not_take_effect_is_sent_by_the_next_one() {
    let world = World::new(Idempotency::AtMostOnce { offered: false });
    let first = world.cold([Some(Err(HttpFault::TimedOut)), Some(status(503))]);
    let error = block_on(batch(&first, 3, 60)).unwrap_err();
    assert_eq!((error.kind(), world.sent().len()), (ErrorKind::Unavailable, 2));
    // The error has no counts, but what was sent is told.
    assert_eq!(first.take_sent(), Sent { requests: 2, unknown: 1, ..Sent::default() });
    assert_eq!(first.take_sent(), Sent::default());
    // Whoever takes it up dies with the request on its way: then nobody knows.
    dies(&world.cold([None]), 3, 60);
    assert_eq!(world.sent()[2].1, row(2));
    let counts = block_on(batch(&world.cold([]), 3, 60)).unwrap();
    assert_eq!((counts.unknown, world.sent().len()), (2, 3));

    let world = World::new(Idempotency::AtMostOnce { offered: false });
    block_on(batch(&world.cold([Some(status(503))]), 2, 60)).unwrap_err();
    let counts = block_on(batch(&world.cold([]), 2, 60)).unwrap();
    let bodies: Vec<String> = world.sent().into_iter().map(|(_, body)| body).collect();
    assert_eq!((counts.unknown, bodies), (0, vec![row(1), row(1), row(2)]));
    assert!(block_on(world.cold([]).look(&LaneId::new("s", "0"), |head, _| head.settled)).unwrap());
}
