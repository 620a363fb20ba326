//! One schedule: a seed in, what happened out. One thread, no real time, no randomness but the seed's.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use crate::check::{self, Violation};
use crate::config::Config;
use crate::draw::Draw;
use crate::environment::{self, Memory};
use crate::fault::{Faults, Fired};
use crate::paths::Path;
use crate::plant::{GARBAGE_HORIZON, Plant};
use crate::world::{HOUR, Job, Micros, SECOND, Shared, Spawn, World};

/// Events of one schedule at most: more means that something goes round in circles.
pub const MAX_EVENTS: u64 = 400_000;
/// Times that a job is tried at rest.
pub const MAX_JOB_TRIES: u32 = 12;

/// Time that passes before each job at rest.
const QUIET: Micros = 3 * HOUR;

/// What to run.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// The planted mistake.
    pub plant: Option<Plant>,
    /// The faults that may fire; `None`: all that are drawn.
    pub only: Option<BTreeSet<u64>>,
    /// A layout in place of the drawn one.
    pub config: Option<Config>,
    /// Whether to keep what happened in words.
    pub story: bool,
    /// Whether requests to the store go through the AWS SDK, if that is built in.
    pub sdk: bool,
}

impl Plan {
    /// The schedule of a seed.
    pub fn of(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    /// With a mistake.
    #[must_use]
    pub fn with(mut self, plant: Option<Plant>) -> Self {
        self.plant = plant;
        self
    }
}

/// What came of a schedule.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was broken, if anything.
    pub violation: Option<Violation>,
    /// The faults that were fired.
    pub fired: Vec<Fired>,
    /// How often each way of recovery was taken.
    pub paths: Vec<u64>,
    /// Simulated time until faults stopped. What follows is mostly waiting.
    pub time: Micros,
    /// Events.
    pub events: u64,
    /// Hash over everything that happened.
    pub trace: u64,
    /// What happened, in words.
    pub story: Vec<String>,
}

struct TaskWaker {
    task: usize,
    queued: AtomicBool,
    ready: Arc<Mutex<Vec<usize>>>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.ready.lock().unwrap_or_else(PoisonError::into_inner).push(self.task);
        }
    }
}

struct Task {
    environment: usize,
    future: Pin<Box<dyn Future<Output = ()>>>,
    waker: Arc<TaskWaker>,
}

/// Polls what environments do, in an order that the seed decides.
struct Executor {
    world: Shared,
    memories: Vec<Memory>,
    tasks: Vec<Option<Task>>,
    ready: Arc<Mutex<Vec<usize>>>,
    /// Tasks of frozen environments that have been woken.
    parked: Vec<usize>,
    draw: Draw,
}

impl Executor {
    fn take_ready(&self) -> Vec<usize> {
        std::mem::take(&mut *self.ready.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Starts and ends what the world asks for, and polls until nobody can go on.
    fn settle(&mut self) {
        loop {
            let (spawns, kills, thawed) = {
                let mut world = self.world.lock();
                let world = &mut *world;
                (std::mem::take(&mut world.spawns), std::mem::take(&mut world.kills), std::mem::take(&mut world.thawed))
            };
            for environment in kills {
                self.kill(environment);
            }
            for spawn in spawns {
                self.spawn(spawn);
            }
            for environment in thawed {
                self.unpark(environment);
            }
            let mut ready = self.take_ready();
            if ready.is_empty() {
                return;
            }
            while !ready.is_empty() {
                let next = ready.swap_remove(self.draw.below(ready.len() as u64) as usize);
                self.poll(next);
            }
        }
    }

    fn spawn(&mut self, Spawn { environment, invocation, job }: Spawn) {
        while self.memories.len() <= environment {
            self.memories.push(Memory::default());
        }
        if !self.world.lock().environments[environment].alive {
            return;
        }
        let task = self.tasks.len();
        let waker = Arc::new(TaskWaker { task, queued: AtomicBool::new(true), ready: self.ready.clone() });
        let memory = self.memories[environment].clone();
        let future = Box::pin(environment::run(self.world.clone(), environment, memory, invocation, job));
        self.tasks.push(Some(Task { environment, future, waker }));
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }

    fn kill(&mut self, environment: usize) {
        let mut lost = 0;
        for task in &mut self.tasks {
            if task.as_ref().is_some_and(|task| task.environment == environment) {
                *task = None;
                lost += 1;
            }
        }
        if lost > 0 {
            self.world.lock().check.path(Path::EnvironmentLostMidway);
        }
        if let Some(memory) = self.memories.get_mut(environment) {
            *memory = Memory::default();
        }
    }

    fn unpark(&mut self, environment: usize) {
        let tasks = &self.tasks;
        let belongs = |task: &usize| tasks[*task].as_ref().is_some_and(|task| task.environment == environment);
        let (awake, parked) = self.parked.iter().partition(|task| belongs(task));
        self.parked = parked;
        let awake: Vec<usize> = awake;
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).extend(awake);
    }

    fn poll(&mut self, number: usize) {
        let Some(task) = self.tasks[number].as_mut() else { return };
        if self.world.lock().environments[task.environment].frozen {
            self.parked.push(number);
            return;
        }
        task.waker.queued.store(false, Ordering::Relaxed);
        let waker = Waker::from(task.waker.clone());
        let done = task.future.as_mut().poll(&mut Context::from_waker(&waker));
        let alive = self.world.lock().environments[task.environment].alive;
        if done == Poll::Ready(()) || !alive {
            self.tasks[number] = None;
        }
    }

    /// Lets things happen until nothing is left to happen, something is broken, or too much has happened.
    fn run(&mut self) {
        loop {
            self.settle();
            let mut world = self.world.lock();
            if world.check.violation.is_some() || !world.step() {
                return;
            }
            if world.steps > MAX_EVENTS {
                world.check.broken("I9", || format!("{MAX_EVENTS} events and no end"));
            }
        }
    }

    fn broken(&self) -> bool {
        self.world.lock().check.violation.is_some()
    }

    /// Runs a job in a new environment until it succeeds.
    fn job(&mut self, job: &Job) {
        for _ in 0..MAX_JOB_TRIES {
            self.world.lock().begin_job(job.clone());
            self.run();
            if self.broken() || self.world.lock().source.last_job == Some(true) {
                return;
            }
            let mut world = self.world.lock();
            if world.needs_a_person() && !world.source.mended {
                world.mend();
            }
        }
        let mut world = self.world.lock();
        let why = world.source.last_failure.clone();
        world.check.broken("I9", || format!("{job:?} does not succeed at rest: {why}"));
    }
}

/// Runs a schedule.
pub fn run(plan: &Plan) -> Outcome {
    let config = plan.config.clone().unwrap_or_else(|| Config::draw(plan.seed));
    let faults = Faults::draw(plan.seed, config.calm, plan.only.clone());
    let draw = Draw::new(plan.seed).part(9);
    let mut world = World::new(config, faults, plan.plant, plan.story);
    world.sdk = plan.sdk;
    #[cfg(feature = "sdk")]
    crate::sdk::begin(plan.seed);
    world.set_up();
    // Faults stop when all records were produced and some more time has passed.
    let last = world.source.partitions.iter().flat_map(|p| p.log.last()).map(|record| record.at()).max().unwrap_or(0);
    // Without faults nobody else is to be at work when the last batch is.
    let soonest = if world.config.calm { HOUR } else { SECOND };
    let rest = last + world.dice.spread(soonest, 10 * HOUR);
    world.later(rest, World::come_to_rest);
    let world = Shared::new(world);
    let ready = Arc::new(Mutex::new(Vec::new()));
    let mut executor =
        Executor { world: world.clone(), memories: Vec::new(), tasks: Vec::new(), ready, parked: Vec::new(), draw };
    executor.run();
    if !executor.broken() {
        finish(&mut executor);
    }
    drop(executor);
    outcome(&world)
}

/// What is done when the source has nothing left: the tick settles what rests, everything is closed and settled.
fn finish(executor: &mut Executor) {
    if !executor.world.lock().source.finished() {
        let mut world = executor.world.lock();
        let why = world.source.last_failure.clone();
        return world.check.broken("I9", || format!("the source is not done at rest: {why}"));
    }
    let garbage = GARBAGE_HORIZON + QUIET;
    for (wait, job) in [(QUIET, Job::Tick), (QUIET, Job::Drain), (QUIET, Job::Tick), (garbage, Job::Tick)] {
        // A head rests, a lane is silent, and an object is garbage only after some time.
        executor.world.lock().later(wait, |_| {});
        executor.run();
        executor.job(&job);
        if executor.broken() {
            return;
        }
    }
    check::at_rest(&mut executor.world.lock());
}

fn outcome(world: &Shared) -> Outcome {
    let mut world = world.lock();
    let world = &mut *world;
    Outcome {
        violation: world.check.violation.take(),
        fired: std::mem::take(&mut world.faults.fired),
        paths: std::mem::take(&mut world.check.paths),
        time: world.rested.unwrap_or(world.now),
        events: world.steps,
        trace: world.trace,
        story: world.story.take().unwrap_or_default(),
    }
}
