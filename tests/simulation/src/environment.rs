//! Execution environments: what they reach the outside through, how they crash, freeze and thaw, and what they run.

use std::future::pending;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use sha2::{Digest, Sha256};
use tidegate_core::random::Random;
use tidegate_core::secret::{Secret, SecretRef, SecretStore};
use tidegate_core::{Clock, Error, ErrorKind, LaneId, Position, Result, Timestamp};
use tidegate_delivery::{Sender, SenderPorts};
use tidegate_lane::{Anew, Backlog, Budget, CloseError, Descent, Lanes, Reach, Replay, SourceView, TickOptions};
use tidegate_state::{ConditionalStore, Item, Pipeline, Ports, StateOptions};

use crate::blobs::BlobPort;
use crate::draw::Draw;
use crate::fault::{Fault, Site};
use crate::operators::Fold;
use crate::plant::{self, Plant};
use crate::source::{SOURCE, outlived};
use crate::store::StorePort;
use crate::target::{HttpPort, LetterPort};
use crate::world::{Cell, HOUR, Job, MINUTE, MS, Micros, SECOND, Shared, World};

/// 2026-01-01T00:00:00Z in microseconds: when schedules begin.
pub const EPOCH: i64 = 1_767_225_600_000_000;
/// Time that an invocation keeps back for its answer.
pub const ANSWER_RESERVE: Duration = Duration::from_millis(500);

/// What the world knows of an environment.
pub struct Environment {
    /// It was not killed.
    pub alive: bool,
    /// Nothing of it runs now.
    pub frozen: bool,
    /// 1, or 2 after the deployment.
    pub version: u8,
    /// How far its clock is off, in microseconds.
    pub skew: i64,
    /// Its clock was never off by a second or more.
    pub right: bool,
    /// When it was started.
    pub started: Micros,
    /// Invocations that run in it.
    pub busy: usize,
    /// Its random numbers, for latencies.
    pub dice: Draw,
    /// Its random numbers, for the random port.
    pub tokens: Draw,
    /// Reads that it has made.
    pub reads: u64,
    /// Its writes that were refused.
    pub refusals: u64,
    /// Its writes that took effect.
    pub writes: u64,
    /// Its writes of unknown outcome.
    pub unknown: u64,
    /// Whether the last job that it was given is the tick.
    pub ticks: bool,
    /// Whether it opens a generation.
    pub opens: bool,
    /// The table that it works with.
    pub table: u32,
    /// When it has asked the source last what it has.
    pub asked: Option<Micros>,
}

impl World {
    /// A new environment.
    pub fn start_environment(&mut self) -> usize {
        let number = self.environments.len();
        let mut dice = Draw::new(self.config.seed).part(10_000 + number as u64);
        let most = self.config.most_skew(10 * MINUTE);
        let skew = if self.config.skew { dice.within(0, 2 * most) as i64 - most as i64 } else { 0 };
        let next = self.source.deployed && (self.source.at_rest || dice.percent(60));
        self.environments.push(Environment {
            alive: true,
            frozen: false,
            version: 1 + u8::from(next),
            skew,
            right: skew.unsigned_abs() < SECOND,
            started: self.now,
            busy: 0,
            dice,
            tokens: dice.part(1),
            reads: 0,
            refusals: 0,
            writes: 0,
            unknown: 0,
            ticks: false,
            opens: false,
            table: self.items.table,
            asked: None,
        });
        self.note(31, || format!("env {number} starts{}", if next { " with the next version" } else { "" }));
        number
    }

    /// Sets the clock of an environment.
    pub fn set_skew(&mut self, environment: usize, skew: i64) {
        let environment = &mut self.environments[environment];
        environment.skew = skew;
        environment.right &= skew.unsigned_abs() < SECOND;
    }

    /// Ends an environment: everything that it was doing is gone. What it has sent stays on its way.
    pub fn kill(&mut self, environment: usize) {
        if std::mem::take(&mut self.environments[environment].alive) {
            self.note(32, || format!("env {environment} is gone"));
            self.kills.push(environment);
        }
    }

    /// Stops an environment for a while.
    pub fn freeze(&mut self, environment: usize, time: Micros) {
        if std::mem::replace(&mut self.environments[environment].frozen, true) {
            return;
        }
        self.later(time, move |world| world.thaw(environment));
    }

    /// Lets an environment go on.
    pub fn thaw(&mut self, environment: usize) {
        if std::mem::take(&mut self.environments[environment].frozen) {
            self.note(33, || format!("env {environment} goes on"));
            self.thawed.push(environment);
        }
    }
}

/// Lets what strikes an environment strike, before it asks anything of the outside.
pub async fn struck(world: &Shared, environment: usize) {
    let pause = {
        let mut world = world.lock();
        match world.strike(environment, Site::Compute) {
            None => return,
            Some((Fault::CrashNow, _)) => {
                world.kill(environment);
                None
            }
            Some((Fault::CrashSoon, mut draw)) => {
                world.later(draw.spread(MS, 5 * SECOND), move |world| world.kill(environment));
                return;
            }
            Some((Fault::ClockJumps, mut draw)) => {
                let most = world.config.most_skew(10 * MINUTE);
                let jump = draw.within(0, 2 * most) as i64 - most as i64;
                world.set_skew(environment, jump);
                return;
            }
            Some((fault, mut draw)) => {
                let minutes = fault == Fault::FreezeForMinutes;
                let time = if minutes { draw.spread(SECOND, 30 * MINUTE) } else { draw.spread(HOUR, 100 * HOUR) };
                world.freeze(environment, time);
                let cell = Cell::default();
                let thawed = cell.clone();
                world.later(time, move |_| thawed.fill(()));
                Some(cell)
            }
        }
    };
    match pause {
        Some(cell) => cell.await,
        None => pending().await,
    }
}

/// Added to the format of every record that the next version writes.
const NEXT: u8 = 100;

/// An item as the version of an environment writes it: the next version has a newer format in every record.
pub fn as_written(version: u8, item: Item) -> Item {
    match item.data.first() {
        Some(format) if version > 1 => with_format(&item, format + NEXT),
        _ => item,
    }
}

/// An item as the version of an environment reads it.
pub fn as_read(version: u8, item: Item) -> Item {
    if version > 1 { plain(item) } else { item }
}

/// An item as the first version would have written it.
pub fn plain(item: Item) -> Item {
    match item.data.first() {
        Some(format) if *format > NEXT => with_format(&item, format - NEXT),
        _ => item,
    }
}

/// A record with another format number and the check sum that belongs to it.
fn with_format(item: &Item, format: u8) -> Item {
    const CHECK: usize = 8;
    let mut data = item.data.to_vec();
    data[0] = format;
    let end = data.len().saturating_sub(CHECK);
    let check = Sha256::digest(&data[..end]);
    data[end..].copy_from_slice(&check[..CHECK]);
    Item { data: data.into(), ..*item }
}

/// The clock of an environment.
pub struct ClockPort {
    world: Shared,
    environment: usize,
}

#[async_trait]
impl Clock for ClockPort {
    fn now(&self) -> Timestamp {
        let world = self.world.lock();
        Timestamp(EPOCH + world.now as i64 + world.environments[self.environment].skew)
    }

    fn elapsed(&self) -> Duration {
        let world = self.world.lock();
        Duration::from_micros(world.now - world.environments[self.environment].started)
    }

    async fn sleep(&self, duration: Duration) {
        let cell = Cell::default();
        let done = cell.clone();
        self.world.lock().later(duration.as_micros() as u64, move |_| done.fill(()));
        cell.await
    }
}

struct RandomPort {
    world: Shared,
    environment: usize,
}

impl Random for RandomPort {
    fn next_u64(&self) -> u64 {
        self.world.lock().environments[self.environment].tokens.number()
    }
}

struct NoSecrets;

#[async_trait]
impl SecretStore for NoSecrets {
    async fn fetch(&self, _: &SecretRef) -> Result<Secret> {
        Err(Error::invalid("there are no secrets here"))
    }
}

/// What is in the memory of an environment between invocations.
#[derive(Clone, Default)]
pub struct Memory(Arc<Mutex<Option<Arc<Lanes<Fold>>>>>);

impl Memory {
    /// Drops everything: the next invocation opens the pipeline anew.
    fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    async fn lanes(&self, world: &Shared, environment: usize) -> Result<Arc<Lanes<Fold>>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(lanes) = known {
            return Ok(lanes);
        }
        let lanes = Arc::new(open(world, environment).await?);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(lanes.clone());
        Ok(lanes)
    }
}

/// The store as an environment reaches it: through the AWS SDK in some schedules.
fn store(world: &Shared, environment: usize) -> Arc<dyn ConditionalStore> {
    let port = StorePort { world: world.clone(), environment };
    #[cfg(feature = "sdk")]
    if world.lock().sdk {
        return Arc::new(crate::sdk::store(port));
    }
    Arc::new(port)
}

async fn open(world: &Shared, environment: usize) -> Result<Lanes<Fold>> {
    let clock: Arc<dyn Clock> = Arc::new(ClockPort { world: world.clone(), environment });
    let random: Arc<dyn Random> = Arc::new(RandomPort { world: world.clone(), environment });
    let (options, targets, fold, lane_options) = {
        let world_now = world.lock();
        let config = &plant::layout(world_now.plant, &world_now.config);
        let options = StateOptions {
            ring: config.ring,
            inline_limit: config.inline_limit,
            load_concurrency: config.load_concurrency,
        };
        (
            options,
            plant::targets(world_now.plant, config.targets.clone()),
            Fold::new(world.clone(), environment, config),
            plant::lane_options(world_now.plant),
        )
    };
    let ports = Ports {
        store: store(world, environment),
        blobs: Arc::new(BlobPort { world: world.clone(), environment }),
        clock: clock.clone(),
        random: random.clone(),
    };
    let store = Pipeline::open(ports, "p", options).await?;
    let sender = Sender::new(SenderPorts {
        http: Arc::new(HttpPort { world: world.clone(), environment }),
        clock: clock.clone(),
        random,
        secrets: Arc::new(NoSecrets),
        dead_letters: Some(Arc::new(LetterPort { world: world.clone(), environment })),
    });
    Lanes::new(fold, store, sender, targets, clock, lane_options)
}

/// How one partition's part of an invocation ended.
pub type PartResult = Result<(), (ErrorKind, String)>;

/// Runs one invocation. What it answers reaches the world only if the environment lives to say it.
pub async fn run(world: Shared, environment: usize, memory: Memory, invocation: usize, job: Job) {
    let results = match memory.lanes(&world, environment).await {
        Err(error) => vec![Err((error.kind(), error.to_string()))],
        Ok(lanes) => {
            world.lock().source.opened(invocation);
            let done = work(&world, environment, &lanes, job).await;
            let sent = lanes.take_sent();
            let mut world = world.lock();
            let sent = plant::sent(&world, sent);
            let alone = world.environments[environment].busy == 1;
            crate::check::reported(&mut world, environment, sent, alone);
            done
        }
    };
    if results.iter().any(outlived) {
        memory.forget();
    }
    world.lock().finished(invocation, results);
}

/// One job.
async fn work(world: &Shared, environment: usize, lanes: &Lanes<Fold>, job: Job) -> Vec<PartResult> {
    let timeout = Duration::from_micros(world.lock().config.timeout);
    let clock = ClockPort { world: world.clone(), environment };
    let budget = Budget::new(clock.elapsed(), timeout.saturating_sub(ANSWER_RESERVE));
    match job {
        Job::Batch(parts) => batch(world, &clock, lanes, budget, parts).await,
        Job::Tick => tick(world, environment, lanes, budget).await,
        Job::Look => vec![look(world, lanes).await.map_err(told)],
        Job::Drain => drain(world, environment, lanes, budget).await,
        // A person says which generation is to end. Where it has ended, whoever has opened the next one may have died
        // before it was marked: the first tick of it does that.
        Job::Seal { ends } | Job::Open { ends, .. } if u64::from(lanes.store().generation().0) > ends => {
            vec![lanes.store().check_guard().await.map_err(told)]
        }
        Job::Seal { .. } => seal(world, lanes, budget).await,
        Job::Open { abandon, repair, begins, .. } => {
            let replay = if repair { Replay::Repair } else { Replay::Send };
            world.lock().environments[environment].opens = true;
            let begins = if world.lock().planted(Plant::BeginningForgotten) { Vec::new() } else { begins };
            let lane = |(partition, begin)| (LaneId::new(SOURCE, &format!("p{partition}")), begin);
            let begins = begins.into_iter().map(lane).collect();
            let anew = Anew { abandon_owed: abandon, begins, ..replay.into() };
            vec![lanes.open_generation(&anew).await.map(drop).map_err(told)]
        }
    }
}

async fn batch(
    world: &Shared,
    clock: &ClockPort,
    lanes: &Lanes<Fold>,
    budget: Budget,
    parts: Vec<(usize, usize, usize)>,
) -> Vec<PartResult> {
    let mut results = Vec::with_capacity(parts.len());
    let planted = world.lock().plant;
    for _ in 0..plant::garbage_scans_of_a_batch(planted) {
        drop(lanes.store().collect_garbage(plant::garbage_horizon(planted)).await);
    }
    for (partition, from, to) in parts {
        if clock.elapsed() >= budget.start_before {
            results.push(Err((ErrorKind::Unavailable, "no time was left".into())));
            continue;
        }
        let (name, mut records) = world.lock().source.records(partition, from, to);
        let view = ViewPort { world: world.clone(), environment: clock.environment };
        let ran = match lanes.adopt(SOURCE, &name, &view, budget).await {
            Ok(_) => {
                let ran = lanes.run_guarded(SOURCE, &name, &mut records, budget).await;
                ran.map_err(|undone| undone.error)
            }
            Err(error) => Err(error),
        };
        let result = match ran {
            Ok(report) if report.counts.seals > 0 || report.counts.skipped == report.counts.records => {
                match lanes.close_windows(SOURCE, &view, Reach::Sealed, budget).await {
                    // What is sealed is kept and closed later.
                    Ok(_) | Err(CloseError::Failed(_)) => Ok(()),
                    Err(CloseError::Overflow(error)) => Err(error),
                }
            }
            ran => ran.map(drop),
        };
        results.push(result.map_err(told));
    }
    results
}

fn told(error: Error) -> (ErrorKind, String) {
    (error.kind(), error.to_string())
}

/// Whether table and source are what they were.
async fn look(world: &Shared, lanes: &Lanes<Fold>) -> Result<()> {
    lanes.store().check_guard().await?;
    let identity = plant::identity(&world.lock());
    lanes.store().identify(SOURCE, &identity).await
}

async fn tick(world: &Shared, environment: usize, lanes: &Lanes<Fold>, budget: Budget) -> Vec<PartResult> {
    let looked = look(world, lanes).await;
    if let Err(error) = &looked
        && error.kind() == ErrorKind::Fenced
    {
        return vec![looked.map_err(told)];
    }
    let view = ViewPort { world: world.clone(), environment };
    let report = match lanes.tick(&view, TickOptions::default(), budget).await {
        Ok(report) => report,
        Err(error) => return vec![Err(told(error))],
    };
    if report.cut_short {
        return vec![Err((ErrorKind::Unavailable, "the tick was cut short".into()))];
    }
    let horizon = plant::garbage_horizon(world.lock().plant);
    if let Err(error) = lanes.store().collect_garbage(horizon).await {
        return vec![Err(told(error))];
    }
    let mut results: Vec<PartResult> = report.failed.into_iter().map(|(_, error)| Err(told(error))).collect();
    results.push(looked.map_err(told));
    results
}

async fn seal(world: &Shared, lanes: &Lanes<Fold>, budget: Budget) -> Vec<PartResult> {
    let planted = world.lock().planted(Plant::OpenedBeforeSealed);
    if planted {
        return vec![lanes.store().begin_generation().await.map(drop).map_err(told)];
    }
    match lanes.seal_generation(budget).await {
        Ok(sealing) if sealing.owing.is_empty() => vec![Ok(())],
        Ok(sealing) => {
            world.lock().still_owing();
            sealing.owing.into_iter().map(|(_, error)| Err(told(error))).collect()
        }
        Err(error) => vec![Err(told(error))],
    }
}

async fn drain(world: &Shared, environment: usize, lanes: &Lanes<Fold>, budget: Budget) -> Vec<PartResult> {
    let registry = match lanes.store().registry().await {
        Ok(registry) => registry,
        Err(error) => return vec![Err(told(error))],
    };
    let mut results = Vec::new();
    for lane in registry.active(SOURCE) {
        results.push(lanes.drain(SOURCE, &lane.partition(), budget).await.map(drop).map_err(told));
    }
    let view = ViewPort { world: world.clone(), environment };
    let closed = lanes.close_windows(SOURCE, &view, Reach::Idle, budget).await;
    results.push(closed.map(drop).map_err(|error| told(error.into())));
    results
}

/// What the source says when an environment asks it.
struct ViewPort {
    world: Shared,
    environment: usize,
}

impl ViewPort {
    async fn ask<T: Send + 'static>(&self, answer: impl FnOnce(&World) -> T + Send + 'static) -> Result<T> {
        struck(&self.world, self.environment).await;
        let cell = Cell::default();
        {
            let mut world = self.world.lock();
            let (there, mut back) = (world.latency(self.environment), world.latency(self.environment));
            let heard = cell.clone();
            match world.strike(self.environment, Site::View) {
                Some((Fault::SourceDoesNotAnswer, _)) => {
                    world.check.path(crate::paths::Path::SourceDidNotAnswer);
                    world.later(there + back, move |_| heard.fill(None));
                }
                struck => {
                    if let Some((_, mut draw)) = struck {
                        back += draw.spread(10 * MS, 10 * SECOND);
                    }
                    world.later(there, move |world| {
                        let said = answer(world);
                        world.later(back, move |_| heard.fill(Some(said)));
                    });
                }
            }
        }
        cell.await.ok_or_else(|| Error::unavailable("the source does not answer"))
    }
}

#[async_trait]
impl SourceView for ViewPort {
    async fn partitions(&self, _: &str) -> Result<Vec<String>> {
        self.ask(|world| plant::partitions(world, world.source.names(world.now))).await
    }

    async fn lineage(&self, _: &str) -> Result<Vec<Descent>> {
        self.ask(|world| plant::lineage(world, world.source.lineage(world.now))).await
    }

    async fn backlog(&self, _: &str, partition: &str, after: Option<Position>) -> Result<Backlog> {
        let (name, environment) = (partition.to_owned(), self.environment);
        // A lane without records is at the place where its generation begins.
        {
            let mut world = self.world.lock();
            let now = world.now;
            world.environments[environment].asked = Some(now);
        }
        self.ask(move |world| {
            plant::backlog(world, world.source.backlog(&name, after.max(world.beginning(&name)), world.config.asks))
        })
        .await
    }
}
