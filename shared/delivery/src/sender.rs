//! Sends what a commit owes. Nothing outlives [`Sender::deliver`]: no task is spawned.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tidegate_core::outbox::DEAD_LETTERS;
use tidegate_core::random::Random;
use tidegate_core::secret::SecretStore;
use tidegate_core::{Clock, Error, ErrorKind, LaneKey, OutboxEntry, Result};
use tokio::sync::OnceCell;

use crate::classify::{Applied, Meaning, applied, classify};
use crate::config::{Idempotency, LinesTarget, OnExhausted, OnReject, RestTarget, Target};
use crate::credentials::Credentials;
use crate::dead_letter::DeadLetterStore;
use crate::lines::LineFiles;
use crate::pace::{Pace, pause};
use crate::payload::{HttpPayload, Payload};
use crate::request::{Addressed, address, display_url};
use crate::transport::{HttpRequest, HttpTransport};

/// An attempt does not start with less time than this before the deadline.
pub const MIN_ATTEMPT_TIME: Duration = Duration::from_millis(20);

/// What the sender reaches the outside through.
#[derive(Clone)]
pub struct SenderPorts {
    /// HTTP targets.
    pub http: Arc<dyn HttpTransport>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Jitter.
    pub random: Arc<dyn Random>,
    /// Credentials.
    pub secrets: Arc<dyn SecretStore>,
    /// Dead letters. `None`: a dead letter blocks the lane with a message.
    pub dead_letters: Option<Arc<dyn DeadLetterStore>>,
}

/// Delivers outboxes. Keeps, per target, what its rate limit needs; made once per environment.
pub struct Sender {
    ports: SenderPorts,
    paces: Mutex<HashMap<String, Arc<Pace>>>,
    files: LineFiles,
}

/// Bounds of one delivery.
#[derive(Clone, Copy, Debug)]
pub struct DeliveryContext {
    /// In time of `Clock::elapsed`: no attempt lasts longer.
    pub deadline: Duration,
    /// None of these requests was ever sent before, by anybody, and nobody else can be sending them.
    pub first_attempt: bool,
}

/// What became of each request, in the order of the entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryReport {
    /// One per entry.
    pub outcomes: Vec<Outcome>,
    /// Figures.
    pub counts: DeliveryCounts,
}

impl DeliveryReport {
    /// Every request is acknowledged: the commit is settled.
    pub fn settled(&self) -> bool {
        self.outcomes.iter().all(Outcome::is_settled)
    }
}

/// Figures of one delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeliveryCounts {
    /// Attempts that were made.
    pub requests: u64,
    /// Attempts of requests that may have been sent before: all but the first one of a request, and that one too where
    /// somebody else may have sent it.
    pub retries: u64,
    /// Requests whose receiver said that it knew them already.
    pub repeats: u64,
    /// Requests that were to be sent once at most and whose outcome is unknown.
    pub unknown: u64,
    /// Bytes of bodies sent.
    pub bytes: u64,
    /// Time from start to end.
    pub time: Duration,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It took effect.
    Acknowledged,
    /// The target does not take its content; [`crate::decide`] narrows it down.
    Rejected {
        /// What the target said.
        reason: String,
        /// No earlier attempt can have taken effect.
        proves_not_applied: bool,
    },
    /// It was to be sent once at most, and whether it took effect is unknown. It is never sent again.
    Unknown {
        /// What happened.
        reason: String,
    },
    /// The retries are used up, every attempt was refused, and the target's `on_exhausted` asks for a dead letter.
    GivenUp {
        /// What the target said last.
        reason: String,
    },
    /// It is still owed, and the lane waits.
    Blocked {
        /// Does somebody have to act?
        kind: BlockKind,
        /// What happened, where, and what to look at.
        message: String,
    },
    /// It did not leave, since an earlier one is blocked or rejected or no time was left.
    NotTried,
}

impl Outcome {
    /// Nothing of it is owed any more.
    pub fn is_settled(&self) -> bool {
        matches!(self, Self::Acknowledged | Self::Unknown { .. })
    }
}

/// Why a lane waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockKind {
    /// A passing fault: the source delivers again.
    Passing,
    /// Somebody has to mend something first.
    NeedsAttention,
}

#[derive(Default)]
struct Counters {
    requests: AtomicU64,
    retries: AtomicU64,
    repeats: AtomicU64,
    unknown: AtomicU64,
    bytes: AtomicU64,
}

/// One target's part of a delivery.
struct Run<'a> {
    lane: &'a LaneKey,
    name: &'a str,
    target: &'a RestTarget,
    ctx: DeliveryContext,
    counters: &'a Counters,
    pace: Arc<Pace>,
    credentials: Credentials,
    /// What was fetched after the target refused them; `None` inside where that gave nothing else. Fetched once.
    renewed: OnceCell<Option<Credentials>>,
    /// A request is blocked: nothing new starts, nothing is retried.
    stop: AtomicBool,
}

impl Run<'_> {
    fn credentials(&self) -> &Credentials {
        self.renewed.get().and_then(Option::as_ref).unwrap_or(&self.credentials)
    }

    /// After a 401: whether there are other credentials than those that `first` says were used.
    async fn renew(&self, first: bool, secrets: &dyn SecretStore) -> bool {
        let fetch = || self.credentials.fetch_again(&self.target.auth, secrets);
        self.renewed.get_or_init(fetch).await.is_some() && first
    }
}

impl Sender {
    /// A sender that reaches the outside through `ports`.
    pub fn new(ports: SenderPorts) -> Self {
        Self { ports, paces: Mutex::default(), files: LineFiles::default() }
    }

    /// Opens the file of a dry run and cuts it back to its committed length. Before the first delivery.
    pub fn open_lines(&self, target: &LinesTarget, committed: u64) -> Result<()> {
        match target {
            LinesTarget::Stdout => Ok(()),
            LinesTarget::File(path) => self.files.open(path, committed),
        }
    }

    /// Makes the lines of a dry run survive a power cut. (They survive a killed process without.)
    pub fn sync_lines(&self) -> Result<()> {
        self.files.sync()
    }

    /// Sends `entries`, targets side by side, the waves of a target in order. Returns by the deadline.
    pub async fn deliver(
        &self,
        lane: &LaneKey,
        entries: &[OutboxEntry],
        targets: &BTreeMap<String, Target>,
        ctx: DeliveryContext,
    ) -> DeliveryReport {
        let started = self.ports.clock.elapsed();
        let counters = Counters::default();
        let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (i, entry) in entries.iter().enumerate() {
            groups.entry(&entry.target).or_default().push(i);
        }
        let mut running: FuturesUnordered<_> = groups
            .into_iter()
            .map(|(name, members)| self.deliver_group(lane, name, members, entries, targets, ctx, &counters))
            .collect();
        let mut outcomes = vec![Outcome::NotTried; entries.len()];
        while let Some(group) = running.next().await {
            for (i, outcome) in group {
                outcomes[i] = outcome;
            }
        }
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = DeliveryCounts {
            requests: load(&counters.requests),
            retries: load(&counters.retries),
            repeats: load(&counters.repeats),
            unknown: load(&counters.unknown),
            bytes: load(&counters.bytes),
            time: self.ports.clock.elapsed().saturating_sub(started),
        };
        DeliveryReport { outcomes, counts }
    }

    #[expect(clippy::too_many_arguments, reason = "one call, by the function above")]
    async fn deliver_group(
        &self,
        lane: &LaneKey,
        name: &str,
        members: Vec<usize>,
        entries: &[OutboxEntry],
        targets: &BTreeMap<String, Target>,
        ctx: DeliveryContext,
        counters: &Counters,
    ) -> Vec<(usize, Outcome)> {
        match targets.get(name) {
            _ if name == DEAD_LETTERS => self.keep_dead_letters(members, entries, ctx, counters).await,
            Some(Target::Lines(_)) => self.write_lines(members, entries, counters),
            Some(Target::Rest(target)) => {
                let credentials = match Credentials::fetch(&target.auth, self.ports.secrets.as_ref()).await {
                    Ok(credentials) => credentials,
                    Err(error) => return blocked_all(members, &error.within(format!("target {name}: credentials"))),
                };
                let pace = self.pace(name);
                let (renewed, stop) = (OnceCell::new(), AtomicBool::new(false));
                let run = Run { lane, name, target, ctx, counters, pace, credentials, renewed, stop };
                self.deliver_waves(&run, members, entries).await
            }
            None => {
                let message =
                    format!("target {name} is not in the pipeline file any more, but requests to it are owed");
                blocked_all(members, &Error::invalid(message).with_help("put it back until they are delivered"))
            }
        }
    }

    fn pace(&self, target: &str) -> Arc<Pace> {
        let mut paces = self.paces.lock().unwrap_or_else(PoisonError::into_inner);
        paces.entry(target.to_owned()).or_default().clone()
    }

    async fn keep_dead_letters(
        &self,
        members: Vec<usize>,
        entries: &[OutboxEntry],
        ctx: DeliveryContext,
        counters: &Counters,
    ) -> Vec<(usize, Outcome)> {
        let mut outcomes = Vec::with_capacity(members.len());
        for i in members {
            if self.ports.clock.elapsed() + MIN_ATTEMPT_TIME > ctx.deadline {
                break;
            }
            let entry = &entries[i];
            let kept = match (&self.ports.dead_letters, Payload::decode(&entry.payload)) {
                (_, Err(error)) => Err(error),
                (None, Ok(_)) => Err(Error::invalid("there are dead letters, and no place for them")
                    .with_help("set dead_letters in the pipeline file")),
                (Some(store), Ok(Payload::DeadLetters(lines))) => {
                    counters.requests.fetch_add(1, Ordering::Relaxed);
                    counters.bytes.fetch_add(lines.len() as u64, Ordering::Relaxed);
                    store.keep(&lines).await
                }
                (Some(_), Ok(_)) => Err(Error::internal("an entry for the dead letters holds something else")),
            };
            outcomes.push((i, settled(kept)));
        }
        outcomes
    }

    fn write_lines(&self, members: Vec<usize>, entries: &[OutboxEntry], counters: &Counters) -> Vec<(usize, Outcome)> {
        let mut outcomes = Vec::with_capacity(members.len());
        for i in members {
            let written = Payload::decode(&entries[i].payload).and_then(|payload| match payload {
                Payload::Lines(lines) => {
                    counters.requests.fetch_add(1, Ordering::Relaxed);
                    counters.bytes.fetch_add(lines.lines.len() as u64, Ordering::Relaxed);
                    self.files.write(&lines)
                }
                _ => Err(Error::internal(format!("request {} is not made of lines", entries[i].id.index))),
            });
            let outcome = settled(written);
            let done = outcome == Outcome::Acknowledged;
            outcomes.push((i, outcome));
            if !done {
                break;
            }
        }
        outcomes
    }

    async fn deliver_waves(
        &self,
        run: &Run<'_>,
        mut members: Vec<usize>,
        entries: &[OutboxEntry],
    ) -> Vec<(usize, Outcome)> {
        members.sort_by_key(|i| entries[*i].wave);
        let mut outcomes = Vec::with_capacity(members.len());
        for wave in members.chunk_by(|a, b| entries[*a].wave == entries[*b].wave) {
            let mut waiting = wave.iter().copied();
            let at_a_time = if run.target.idempotency.one_at_a_time() { 1 } else { run.target.concurrency.max(1) };
            let mut running = FuturesUnordered::new();
            loop {
                while running.len() < at_a_time && !run.stop.load(Ordering::Relaxed) {
                    let Some(i) = waiting.next() else { break };
                    running.push(async move { (i, self.send(run, &entries[i]).await) });
                }
                let Some((i, outcome)) = running.next().await else { break };
                if matches!(outcome, Outcome::Blocked { .. } | Outcome::NotTried) {
                    run.stop.store(true, Ordering::Relaxed);
                }
                outcomes.push((i, outcome));
            }
            // A later wave may hold the same keys: it waits for everything that is not settled.
            let settled = outcomes.iter().filter(|(_, outcome)| outcome.is_settled()).count();
            if settled < outcomes.len() || run.stop.load(Ordering::Relaxed) {
                break;
            }
        }
        outcomes
    }

    /// One request, with its retries.
    async fn send(&self, run: &Run<'_>, entry: &OutboxEntry) -> Outcome {
        let (payload, addressed) = match open(entry, run.lane) {
            Ok(opened) => opened,
            Err(error) => return blocked(&error),
        };
        let once = match payload.idempotency {
            // Its outcome is known: nobody may send it before it is committed again.
            Idempotency::AtMostOnce { offered: true } => return Outcome::NotTried,
            Idempotency::AtMostOnce { offered: false } => true,
            _ => false,
        };
        let clock = &self.ports.clock;
        let budget_end = clock.elapsed().saturating_add(run.target.retry.max_elapsed);
        let Some(latest) = run.ctx.deadline.checked_sub(MIN_ATTEMPT_TIME).map(|latest| latest.min(budget_end)) else {
            return Outcome::NotTried;
        };
        let mut attempts = 0;
        let mut all_refused = run.ctx.first_attempt || once;
        let mut last = String::from("there was no time for an attempt");
        loop {
            let start = run.pace.take(run.target.rate_limit, clock.elapsed(), latest);
            let Some(start) = start else {
                if attempts == 0 {
                    return Outcome::NotTried;
                }
                return exhausted(run, &payload, attempts, all_refused && latest == budget_end, last);
            };
            clock.sleep_until(start).await;
            if attempts > 0 && run.stop.load(Ordering::Relaxed) {
                return passing(run, &payload, attempts, &last);
            }
            attempts += 1;
            let first_credentials = run.renewed.get().is_none();
            let (meaning, applied) = self.attempt(run, &payload, &addressed, attempts).await;
            if once && applied == Applied::Unknown {
                run.counters.unknown.fetch_add(1, Ordering::Relaxed);
                return Outcome::Unknown { reason: run.credentials().redact(meaning.reason()) };
            }
            match meaning {
                Meaning::Success => return Outcome::Acknowledged,
                Meaning::Rejected(reason) => return rejected(run, &payload, attempts, reason),
                Meaning::Unauthorized(reason) => {
                    if !run.renew(first_credentials, self.ports.secrets.as_ref()).await {
                        return attention(run, &payload, &reason);
                    }
                    all_refused = false;
                    last = reason;
                }
                Meaning::NeedsAttention(reason) => return attention(run, &payload, &reason),
                Meaning::Passing { refused, message, retry_after } => {
                    all_refused &= refused;
                    last = message;
                    if attempts >= run.target.retry.max_attempts {
                        return exhausted(run, &payload, attempts, all_refused, last);
                    }
                    let now = clock.elapsed();
                    if let Some(asked) = retry_after {
                        run.pace.pause_until(now.saturating_add(asked));
                    }
                    let wait = pause(&run.target.retry, attempts, retry_after, self.ports.random.as_ref());
                    if now.saturating_add(wait) > latest {
                        return exhausted(run, &payload, attempts, all_refused && latest == budget_end, last);
                    }
                    clock.sleep(wait).await;
                }
            }
        }
    }

    async fn attempt(
        &self,
        run: &Run<'_>,
        payload: &HttpPayload,
        addressed: &Addressed,
        attempt: u32,
    ) -> (Meaning, Applied) {
        let left = run.ctx.deadline.saturating_sub(self.ports.clock.elapsed());
        let request = HttpRequest {
            method: payload.method,
            url: addressed.url.clone(),
            headers: addressed.headers.clone(),
            authorization: run.credentials().authorization(),
            body: Bytes::clone(&addressed.body),
            timeout: run.target.timeout.min(left),
        };
        run.counters.requests.fetch_add(1, Ordering::Relaxed);
        let again = attempt > 1 || !run.ctx.first_attempt;
        run.counters.retries.fetch_add(u64::from(again), Ordering::Relaxed);
        run.counters.bytes.fetch_add(addressed.body.len() as u64, Ordering::Relaxed);
        let answer = self.ports.http.send(request).await;
        let fence = matches!((&answer, &payload.idempotency), (Ok(response), Idempotency::Fenced(refused))
            if response.status == *refused);
        let repeat = fence || answer.as_ref().is_ok_and(|response| response.repeat);
        run.counters.repeats.fetch_add(u64::from(repeat), Ordering::Relaxed);
        if fence {
            // What is not newer than what the target has was applied before: later ones leave only behind it.
            return (Meaning::Success, Applied::Yes);
        }
        let meaning = classify(&answer, &run.target.success, self.ports.clock.now());
        let applied = applied(&answer, &meaning);
        (meaning, applied)
    }
}

/// A request as it was committed, and as it is sent.
fn open(entry: &OutboxEntry, lane: &LaneKey) -> Result<(HttpPayload, Addressed)> {
    let Payload::Http(payload) = Payload::decode(&entry.payload)? else {
        return Err(Error::internal(format!("request {} is no HTTP request", entry.id.index)));
    };
    let addressed = address(&payload, entry, lane)?;
    Ok((payload, addressed))
}

fn place(run: &Run<'_>, payload: &HttpPayload) -> String {
    format!("target {}: {}", run.name, display_url(&payload.url))
}

fn rejected(run: &Run<'_>, payload: &HttpPayload, attempts: u32, reason: String) -> Outcome {
    let reason = run.credentials().redact(&reason);
    if run.target.on_reject == OnReject::Block {
        return attention(run, payload, &format!("{reason}; the target takes no such content, and on_reject is block"));
    }
    let proves_not_applied = run.target.rejections_decide() || run.ctx.first_attempt && attempts == 1;
    Outcome::Rejected { reason, proves_not_applied }
}

fn attention(run: &Run<'_>, payload: &HttpPayload, reason: &str) -> Outcome {
    let message = format!("{} {}", place(run, payload), run.credentials().redact(reason));
    Outcome::Blocked { kind: BlockKind::NeedsAttention, message }
}

fn passing(run: &Run<'_>, payload: &HttpPayload, attempts: u32, last: &str) -> Outcome {
    let tries = if attempts == 1 { "1 attempt".to_owned() } else { format!("{attempts} attempts") };
    let message = format!("{} after {tries}: {}", place(run, payload), run.credentials().redact(last));
    Outcome::Blocked { kind: BlockKind::Passing, message }
}

/// The retries are used up. A dead letter only where every attempt ever made was refused by the target itself.
fn exhausted(run: &Run<'_>, payload: &HttpPayload, attempts: u32, known: bool, last: String) -> Outcome {
    if known && run.target.on_exhausted == OnExhausted::DeadLetter {
        return Outcome::GivenUp { reason: format!("{attempts} attempts, last: {}", run.credentials().redact(&last)) };
    }
    passing(run, payload, attempts, &last)
}

fn settled(result: Result<()>) -> Outcome {
    result.map_or_else(|error| blocked(&error), |()| Outcome::Acknowledged)
}

fn blocked(error: &Error) -> Outcome {
    let passing = error.kind() == ErrorKind::Unavailable;
    let kind = if passing { BlockKind::Passing } else { BlockKind::NeedsAttention };
    Outcome::Blocked { kind, message: error.to_string() }
}

fn blocked_all(members: Vec<usize>, error: &Error) -> Vec<(usize, Outcome)> {
    members.into_iter().map(|i| (i, blocked(error))).collect()
}

/// Waiting for a moment of [`Clock::elapsed`].
trait SleepUntil {
    fn sleep_until(&self, moment: Duration) -> impl Future<Output = ()> + Send;
}

impl SleepUntil for Arc<dyn Clock> {
    async fn sleep_until(&self, moment: Duration) {
        let wait = moment.saturating_sub(self.elapsed());
        if !wait.is_zero() {
            self.sleep(wait).await;
        }
    }
}
