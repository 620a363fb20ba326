//! Everything outside the environments: time, what is on its way, stores, targets, the source, and who watches.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tidegate_core::position::Sequence;

use crate::blobs::Objects;
use crate::check::Checker;
use crate::config::Config;
use crate::draw::{Draw, mix};
use crate::environment::Environment;
use crate::fault::{Fault, Faults, Site};
use crate::plant::Plant;
use crate::source::Source;
use crate::store::Items;
use crate::target::Targets;

/// Simulated time in microseconds.
pub type Micros = u64;

/// A millisecond.
pub const MS: Micros = 1_000;
/// A second.
pub const SECOND: Micros = 1_000 * MS;
/// A minute.
pub const MINUTE: Micros = 60 * SECOND;
/// An hour.
pub const HOUR: Micros = 60 * MINUTE;

type Action = Box<dyn FnOnce(&mut World) + Send>;

struct Due {
    at: Micros,
    order: u64,
    action: Action,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// What an environment is to do next.
#[derive(Clone, Debug)]
pub enum Job {
    /// A batch of the event source mapping: per partition, places in its log.
    Batch(Vec<(usize, usize, usize)>),
    /// The tick.
    Tick,
    /// Ask whether table and source are what they were.
    Look,
    /// Close what is open, at the very end.
    Drain,
    /// Begin a new generation and seal every ring.
    Seal {
        /// The generation that ends.
        ends: u64,
    },
    /// Open the generation that was begun.
    Open {
        /// The generation that ends.
        ends: u64,
        /// Although something is owed.
        abandon: bool,
        /// What was sent is not sent again.
        repair: bool,
        /// Partitions that are read behind a sequence number.
        begins: Vec<(usize, Sequence)>,
    },
}

/// A job that waits to be started.
#[derive(Debug)]
pub struct Spawn {
    /// In which environment.
    pub environment: usize,
    /// Number of the invocation.
    pub invocation: usize,
    /// What.
    pub job: Job,
}

/// Shared by everything in a schedule.
#[derive(Clone)]
pub struct Shared(Arc<Mutex<World>>);

impl Shared {
    /// Around a world.
    pub fn new(world: World) -> Self {
        Self(Arc::new(Mutex::new(world)))
    }

    /// The world. Never held over an await.
    pub fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The world of one schedule.
pub struct World {
    /// Simulated time since the start of the schedule.
    pub now: Micros,
    /// How the schedule was drawn.
    pub config: Config,
    /// The mistake that is planted, if any.
    pub plant: Option<Plant>,
    /// Faults.
    pub faults: Faults,
    /// Latencies and choices that belong to nobody else.
    pub dice: Draw,
    /// Items.
    pub items: Items,
    /// Objects.
    pub objects: Objects,
    /// HTTP targets and dead letters.
    pub targets: Targets,
    /// Partitions and pollers.
    pub source: Source,
    /// Environments, living and dead.
    pub environments: Vec<Environment>,
    /// Watches everything.
    pub check: Checker,
    /// Every window is being closed, at the very end.
    pub draining: bool,
    /// Jobs to be started.
    pub spawns: Vec<Spawn>,
    /// Environments that are to die now.
    pub kills: Vec<usize>,
    /// Environments that have just been thawed.
    pub thawed: Vec<usize>,
    /// When faults stopped.
    pub rested: Option<Micros>,
    /// Events so far.
    pub steps: u64,
    /// Hash over everything that happened.
    pub trace: u64,
    /// Requests to the store go through the AWS SDK.
    pub sdk: bool,
    /// What happened, in words; kept only for a replay.
    pub story: Option<Vec<String>>,
    events: BinaryHeap<Reverse<Due>>,
    order: u64,
}

impl World {
    /// A world in which nothing has happened yet.
    pub fn new(config: Config, faults: Faults, plant: Option<Plant>, story: bool) -> Self {
        let seed = config.seed;
        Self {
            now: 0,
            plant,
            faults,
            dice: Draw::new(seed).part(3),
            items: Items::default(),
            objects: Objects::default(),
            targets: Targets::new(&config),
            source: Source::default(),
            environments: Vec::new(),
            check: Checker::new(&config),
            config,
            draining: false,
            spawns: Vec::new(),
            kills: Vec::new(),
            thawed: Vec::new(),
            rested: None,
            steps: 0,
            trace: seed,
            sdk: false,
            story: story.then(Vec::new),
            events: BinaryHeap::new(),
            order: 0,
        }
    }

    /// Lets `action` happen in `after`.
    pub fn later(&mut self, after: Micros, action: impl FnOnce(&mut World) + Send + 'static) {
        self.order += 1;
        let due = Due { at: self.now.saturating_add(after), order: self.order, action: Box::new(action) };
        self.events.push(Reverse(due));
    }

    /// Lets the next thing happen; `false` when nothing is left to happen.
    pub fn step(&mut self) -> bool {
        let Some(Reverse(due)) = self.events.pop() else { return false };
        self.now = due.at;
        self.steps += 1;
        (due.action)(self);
        true
    }

    /// When the next thing happens.
    pub fn next_event(&self) -> Option<Micros> {
        self.events.peek().map(|Reverse(due)| due.at)
    }

    /// Whether the planted mistake is `plant`.
    pub fn planted(&self, plant: Plant) -> bool {
        self.plant == Some(plant)
    }

    /// Adds to the trace and, for a replay, to the story.
    pub fn note(&mut self, tag: u64, words: impl FnOnce() -> String) {
        self.trace = mix(self.trace, mix(self.now, tag));
        if let Some(story) = &mut self.story {
            let line = format!("{:>14}  {}", clock(self.now), words());
            story.push(line);
        }
    }

    /// A fault at `site` of environment `environment`, if one strikes there now.
    pub fn strike(&mut self, environment: usize, site: Site) -> Option<(Fault, Draw)> {
        let struck = self.faults.strike(environment as u32, site, self.now);
        if let Some((fault, _)) = struck {
            self.note(1_000 + fault as u64, || format!("* env {environment}: {}", fault.name()));
        }
        struck
    }
}

/// Days, hours, minutes, seconds of a simulated moment.
pub fn clock(at: Micros) -> String {
    let seconds = at / SECOND;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    let rest = format!("{hours:02}:{minutes:02}:{:02}.{:03}", seconds % 60, at / MS % 1_000);
    if days > 0 { format!("{days}d {rest}") } else { rest }
}

struct CellState<T> {
    value: Option<T>,
    waker: Option<Waker>,
}

/// An answer that is on its way.
pub struct Cell<T>(Arc<Mutex<CellState<T>>>);

impl<T> Clone for Cell<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Cell<T> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(CellState { value: None, waker: None })))
    }
}

impl<T> Cell<T> {
    /// The answer has come.
    pub fn fill(&self, value: T) {
        let waker = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.value = Some(value);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Future for Cell<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match state.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
