//! The source and its event source mappings: logs of records, pollers, batches that come again in other pieces.

use tidegate_core::{ErrorKind, Position, Sequence, Timestamp};
use tidegate_source::Records;

use crate::draw::Draw;
use crate::environment::{EPOCH, PartResult};
use crate::fault::{Fault, Site};
use crate::plant::{self, Plant};
use crate::world::{HOUR, Job, MINUTE, MS, Micros, SECOND, Spawn, World};

/// The source's name.
pub const SOURCE: &str = "s";
/// Failed invocations at rest before it counts as stuck.
pub const MAX_FAILURES_AT_REST: u32 = 60;
/// Failed invocations at rest before a person looks, where one must.
const FAILURES_BEFORE_MENDING: u32 = 20;

/// A record of the log.
#[derive(Clone, Debug)]
pub struct Record {
    /// Where it stands.
    pub position: Position,
    /// Its event time in microseconds since the start of the schedule.
    pub event: i64,
    /// Its key.
    pub key: u64,
    /// Its value.
    pub value: i64,
    /// How the target of its row takes it: 0 fine, 1 never, 2 sometimes.
    pub refusal: u8,
    /// It cannot be decoded.
    pub poison: bool,
    /// The query leaves it out.
    pub filtered: bool,
    /// When it is produced.
    at: Micros,
}

/// A partition of the source.
pub struct Partition {
    /// Its name.
    pub name: String,
    /// All of its records, in order; some are yet to come.
    pub log: Vec<Record>,
    /// How many are there.
    pub produced: usize,
    /// What the mapping holds to be done.
    pub checkpoint: usize,
}

/// A poller of the mapping: it owns partitions and has one invocation at a time.
struct Poller {
    partitions: Vec<usize>,
    next: Vec<usize>,
    busy: bool,
    /// Batches that it still takes; `None`: no end.
    left: Option<u32>,
    failures: u32,
    /// What it tries again as it was.
    again: Option<Vec<(usize, usize, usize)>>,
    /// A smaller batch for the next tries.
    limit: Option<usize>,
    draw: Draw,
}

struct Invocation {
    environment: usize,
    poller: Option<usize>,
    parts: Vec<(usize, usize, usize)>,
    heard: bool,
    done: bool,
    reads: u64,
    fired: usize,
    disturbances: u64,
    refusals: u64,
    warm: bool,
}

/// Partitions, pollers, invocations.
#[derive(Default)]
pub struct Source {
    /// The partitions.
    pub partitions: Vec<Partition>,
    pollers: Vec<Poller>,
    invocations: Vec<Invocation>,
    /// The next version is being rolled out.
    pub deployed: bool,
    /// Faults have stopped.
    pub at_rest: bool,
    /// A person has looked after lanes that had stopped.
    pub mended: bool,
    /// Failed invocations since then.
    pub failures_at_rest: u32,
    /// How the last job that is no batch ended: whether all of it was done.
    pub last_job: Option<bool>,
    /// The last failure at rest, in words.
    pub last_failure: String,
    /// Kinds of errors that invocations ended with.
    pub errors: Vec<(ErrorKind, String)>,
}

impl Source {
    /// The names of the partitions.
    pub fn names(&self) -> Vec<String> {
        self.partitions.iter().map(|partition| partition.name.clone()).collect()
    }

    /// A partition's name and a piece of its log as an event brings it.
    pub fn records(&self, partition: usize, from: usize, to: usize) -> (String, Records) {
        let partition = &self.partitions[partition];
        let mut records = Records::with_capacity(to - from, 48 * (to - from));
        for record in &partition.log[from..to] {
            let arrival = Some(Timestamp(EPOCH + record.at as i64));
            records.push(record.position, arrival, None, Vec::new(), &record.encode());
        }
        (partition.name.clone(), records)
    }

    /// Whether everything was produced and is held to be done.
    pub fn finished(&self) -> bool {
        self.partitions.iter().all(|p| p.produced == p.log.len() && p.checkpoint == p.log.len())
    }
}

impl Record {
    /// When it is produced.
    pub fn at(&self) -> Micros {
        self.at
    }

    /// The payload: four numbers and flags; a poisoned one is cut short.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(32);
        bytes.extend_from_slice(&self.event.to_le_bytes());
        bytes.extend_from_slice(&self.key.to_le_bytes());
        bytes.extend_from_slice(&self.value.to_le_bytes());
        bytes.push(self.refusal);
        bytes.push(u8::from(self.filtered));
        if self.poison {
            bytes.truncate(7);
        }
        bytes
    }
}

impl World {
    /// Fills the logs and sets the pollers up.
    pub fn set_up(&mut self) {
        let late = self.faults.has(Fault::LatePartition, 0).is_some();
        let idle = self.faults.has(Fault::IdlePartition, 0).is_some();
        let sparse = self.faults.has(Fault::SparsePositions, 0).is_some();
        let aggregated = self.faults.has(Fault::AggregatedRecords, 0).is_some();
        let poison = if self.faults.has(Fault::PoisonRecords, 0).is_some() { 12 } else { 0 };
        let refused = if self.faults.has(Fault::RejectedRows, 0).is_some() { 15 } else { 0 };
        self.config.skew = self.faults.has(Fault::ClockSkew, 0).is_some();
        let mut draw = Draw::new(self.config.seed).part(2);
        for number in 0..self.config.partitions {
            let mut log = Vec::with_capacity(self.config.records);
            let mut at = 0;
            let gap = 2 * self.config.span / self.config.records as u64;
            let mut position = Position::new(if sparse { draw.within(5, 9) } else { 0 });
            for place in 0..self.config.records {
                at += draw.below(gap + 1);
                if idle && number == 0 && place == self.config.records / 2 {
                    at += self.config.span;
                }
                position = next_position(position, sparse, aggregated, &mut draw);
                let lag = if late && number == 0 { 3 * self.config.window } else { 0 };
                let pace = place as i64 * self.config.window / 3 + draw.below(self.config.window as u64) as i64;
                log.push(Record {
                    position,
                    event: pace - lag - if draw.percent(6) { 2 * self.config.window } else { 0 },
                    key: draw.below(self.config.keys),
                    value: draw.below(1_000) as i64,
                    refusal: if draw.percent(refused) { draw.within(1, 2) as u8 } else { 0 },
                    poison: draw.percent(poison),
                    filtered: draw.percent(8),
                    at,
                });
            }
            for record in &log {
                self.later(record.at, move |world| world.produce(number));
            }
            self.source.partitions.push(Partition { name: format!("p{number}"), log, produced: 0, checkpoint: 0 });
        }
        self.start_pollers();
        if self.config.tick > 0 {
            self.later(self.config.tick, World::tick);
        }
    }

    fn start_pollers(&mut self) {
        let all: Vec<usize> = (0..self.config.partitions).collect();
        let groups = if self.config.several_partitions { vec![all] } else { all.chunks(1).map(<[_]>::to_vec).collect() };
        for partitions in groups {
            let next = partitions.iter().map(|p| self.source.partitions[*p].checkpoint).collect();
            self.add_poller(partitions, next, None);
        }
    }

    fn add_poller(&mut self, partitions: Vec<usize>, next: Vec<usize>, left: Option<u32>) {
        let number = self.source.pollers.len();
        let draw = Draw::new(self.config.seed).part(500 + number as u64);
        let poller = Poller { partitions, next, busy: false, left, failures: 0, again: None, limit: None, draw };
        self.source.pollers.push(poller);
        self.later(MS, move |world| world.poll(number));
    }

    fn produce(&mut self, partition: usize) {
        self.source.partitions[partition].produced += 1;
        for number in 0..self.source.pollers.len() {
            let poller = &mut self.source.pollers[number];
            if poller.partitions.contains(&partition) && !poller.busy && poller.left != Some(0) {
                let wait = poller.draw.spread(MS, 2 * SECOND);
                self.later(wait, move |world| world.poll(number));
            }
        }
    }

    fn poll(&mut self, number: usize) {
        let batch = self.config.batch;
        let poller = &mut self.source.pollers[number];
        if poller.busy || poller.left == Some(0) {
            return;
        }
        let mut parts = Vec::new();
        for (place, partition) in poller.partitions.iter().enumerate() {
            let from = poller.next[place];
            let most = poller.limit.unwrap_or_else(|| poller.draw.within(1, batch as u64) as usize);
            let to = (from + most.max(1)).min(self.source.partitions[*partition].produced);
            if from < to {
                parts.push((*partition, from, to));
            }
        }
        let parts = poller.again.take().unwrap_or(parts);
        if parts.is_empty() {
            return;
        }
        poller.busy = true;
        if let Some(left) = &mut poller.left {
            *left -= 1;
        }
        self.invoke(number, parts);
    }

    /// The mapping invokes the function with a batch, and whatever goes wrong about that.
    fn invoke(&mut self, poller: usize, parts: Vec<(usize, usize, usize)>) {
        let struck = self.faults.strike(500_000 + poller as u32, Site::Invoke, self.now);
        let fresh = matches!(struck, Some((Fault::ColdStart, _)));
        let environment = self.place(fresh);
        let invocation = self.begin(environment, Some(poller), Job::Batch(parts.clone()), parts.clone());
        let Some((fault, mut draw)) = struck else { return };
        self.note(1_000 + fault as u64, || format!("* mapping: {}", fault.name()));
        match fault {
            Fault::InvokedTwice => {
                let other = self.place(false);
                self.begin(other, None, Job::Batch(parts.clone()), parts);
            }
            Fault::StormOfColdStarts => {
                for _ in 0..draw.within(2, 3) {
                    let other = self.place(true);
                    self.begin(other, None, Job::Batch(parts.clone()), parts.clone());
                }
            }
            Fault::TwoInOneEnvironment => {
                self.begin(environment, None, Job::Batch(parts.clone()), parts);
            }
            Fault::OldBatchAgain => {
                let old: Vec<_> = parts
                    .iter()
                    .map(|(p, from, to)| {
                        let start = from.saturating_sub(draw.below(6) as usize);
                        (*p, start, (start + 1 + draw.below(6) as usize).min(*to))
                    })
                    .collect();
                let other = self.place(draw.percent(50));
                self.begin(other, None, Job::Batch(old.clone()), old);
            }
            Fault::OverlappingOwners => {
                let partitions: Vec<usize> = parts.iter().map(|(p, _, _)| *p).collect();
                let next = partitions.iter().map(|p| self.source.partitions[*p].checkpoint).collect();
                self.add_poller(partitions, next, Some(draw.within(1, 4) as u32));
            }
            Fault::DeployOfNext => self.source.deployed = true,
            Fault::RetriedAfterTimeout => {
                let gives_up = draw.spread(50 * MS, 10 * SECOND);
                self.later(gives_up, move |world| world.deaf(invocation));
            }
            _ => {}
        }
    }

    /// An environment for an invocation: an idle one, or a new one.
    fn place(&mut self, fresh: bool) -> usize {
        let idle: Vec<usize> = (0..self.environments.len())
            .filter(|i| {
                let environment = &self.environments[*i];
                environment.alive && !environment.frozen && environment.busy == 0
            })
            .collect();
        if fresh || idle.is_empty() {
            return self.start_environment();
        }
        let chosen = self.dice.pick(&idle);
        // Environments are given up without a word now and then.
        if self.dice.percent(6) && !self.config.calm {
            self.kill(chosen);
            return self.start_environment();
        }
        chosen
    }

    fn begin(
        &mut self,
        environment: usize,
        poller: Option<usize>,
        job: Job,
        parts: Vec<(usize, usize, usize)>,
    ) -> usize {
        let number = self.source.invocations.len();
        let alone = self.source.invocations.iter().rev().take(12).all(|other| other.done);
        let warm = self.check.is_warm(environment, &parts) && alone;
        self.environments[environment].busy += 1;
        let reads = self.environments[environment].reads;
        let fired = self.faults.fired.len();
        self.source.invocations.push(Invocation {
            environment,
            poller,
            parts: parts.clone(),
            heard: false,
            done: false,
            reads,
            fired,
            disturbances: self.check.disturbances,
            refusals: self.environments[environment].refusals,
            warm,
        });
        self.note(51, || format!("invocation {number}: env {environment}, {}", words(&job)));
        self.spawns.push(Spawn { environment, invocation: number, job });
        self.later(self.config.timeout, move |world| world.timed_out(number));
        number
    }

    /// The function's time is up: what still runs is killed, unless it is frozen and goes on as a zombie later.
    fn timed_out(&mut self, invocation: usize) {
        let Invocation { environment, done, .. } = self.source.invocations[invocation];
        if done {
            return;
        }
        if self.environments[environment].alive && !self.environments[environment].frozen {
            self.kill(environment);
        }
        self.deaf(invocation);
    }

    /// The mapping gives up waiting for an answer.
    fn deaf(&mut self, invocation: usize) {
        if std::mem::replace(&mut self.source.invocations[invocation].heard, true) {
            return;
        }
        if let Some(poller) = self.source.invocations[invocation].poller {
            let parts = self.source.invocations[invocation].parts.clone();
            self.failed(poller, parts);
        }
        if self.source.invocations[invocation].parts.is_empty() {
            self.source.last_job = Some(false);
        }
    }

    /// An invocation has answered.
    pub fn finished(&mut self, number: usize, results: Vec<PartResult>) {
        let alone = number + 1 == self.source.invocations.len();
        let invocation = &mut self.source.invocations[number];
        invocation.done = true;
        let (environment, poller, parts) = (invocation.environment, invocation.poller, invocation.parts.clone());
        let heard = std::mem::replace(&mut invocation.heard, true);
        let calm = invocation.fired == self.faults.fired.len()
            && invocation.disturbances == self.check.disturbances
            && invocation.refusals == self.environments[invocation.environment].refusals;
        let warm = invocation.warm;
        let reads = self.environments[environment].reads - invocation.reads;
        let busy = &mut self.environments[environment].busy;
        *busy = busy.saturating_sub(1);
        let mut results = results;
        plant::answered(self, &mut results);
        self.note(52 + results.iter().filter(|r| r.is_err()).count() as u64, || {
            format!("invocation {number} ends: {}", outcome(&results))
        });
        for result in &results {
            if let Err((kind, message)) = result {
                self.source.last_failure.clone_from(message);
                self.source.errors.push((*kind, message.clone()));
            }
        }
        if parts.is_empty() {
            let done = results.iter().all(Result::is_ok);
            self.source.last_job = Some(done);
            return;
        }
        for (part, result) in parts.iter().zip(&results) {
            let ok = result.is_ok();
            crate::check::answered(self, environment, *part, ok, calm && alone, warm.then_some(reads));
        }
        let gone = |poller: &usize| self.source.at_rest && self.source.pollers[*poller].left == Some(0);
        if let Some(poller) = poller.filter(|poller| !heard && !gone(poller)) {
            self.hear(poller, parts, &results);
        }
    }

    /// The mapping hears how an invocation ended.
    fn hear(&mut self, number: usize, parts: Vec<(usize, usize, usize)>, results: &[PartResult]) {
        let struck = self.faults.strike(500_000 + number as u32, Site::Answer, self.now).map(|(fault, _)| fault);
        if let Some(fault) = struck {
            self.note(1_000 + fault as u64, || format!("* mapping: {}", fault.name()));
        }
        let all = results.len() == parts.len() && results.iter().all(Result::is_ok);
        if struck == Some(Fault::AnswerOfInvocationLost) || (struck.is_some() && !all) {
            return self.failed(number, parts);
        }
        let mut left = Vec::new();
        for (place, (partition, from, to)) in parts.iter().enumerate() {
            let ok = results.get(place).is_some_and(Result::is_ok);
            if ok && (all || self.config.partial) {
                self.advance(number, *partition, *to);
            } else {
                left.push((*partition, *from, *to));
            }
        }
        if left.is_empty() {
            let poller = &mut self.source.pollers[number];
            (poller.busy, poller.failures, poller.limit) = (false, 0, None);
            let wait = poller.draw.spread(MS, SECOND);
            self.later(wait, move |world| world.poll(number));
        } else {
            self.failed(number, left);
        }
    }

    fn advance(&mut self, number: usize, partition: usize, to: usize) {
        let poller = &mut self.source.pollers[number];
        if let Some(place) = poller.partitions.iter().position(|p| *p == partition) {
            poller.next[place] = to;
        }
        self.source.partitions[partition].checkpoint = to;
        crate::check::checkpoint(self, partition, to);
    }

    /// The mapping tries again, later, as it was or in other pieces.
    fn failed(&mut self, number: usize, parts: Vec<(usize, usize, usize)>) {
        if self.source.at_rest {
            self.source.failures_at_rest += 1;
            let due = self.source.failures_at_rest >= FAILURES_BEFORE_MENDING && !self.source.mended;
            if due && self.needs_a_person() {
                self.mend();
            }
            if self.source.failures_at_rest > MAX_FAILURES_AT_REST {
                let why = self.source.last_failure.clone();
                self.check.broken("I9", || format!("the source is not done after {MAX_FAILURES_AT_REST} failures: {why}"));
                return;
            }
        }
        let struck = self.faults.strike(500_000 + number as u32, Site::Retry, self.now).map(|(fault, _)| fault);
        if let Some(fault) = struck {
            self.note(1_000 + fault as u64, || format!("* mapping: {}", fault.name()));
        }
        let poller = &mut self.source.pollers[number];
        poller.busy = false;
        poller.failures += 1;
        let size = parts.iter().map(|(_, from, to)| to - from).max().unwrap_or(1);
        match struck {
            Some(Fault::RetryCutSmaller) => poller.limit = Some(poller.draw.within(1, size as u64) as usize),
            Some(Fault::RetryCutLarger) => poller.limit = Some(size + poller.draw.within(1, 4) as usize),
            Some(_) => poller.limit = Some(size.div_ceil(2)),
            None => poller.again = Some(parts),
        }
        let wait = poller.draw.spread(100 * MS, MINUTE << poller.failures.min(4));
        self.later(wait, move |world| world.poll(number));
    }

    fn tick(&mut self) {
        if self.source.at_rest {
            return;
        }
        let struck = self.faults.strike(900_000, Site::Tick, self.now).map(|(fault, _)| fault);
        let times = match struck {
            Some(Fault::TickMissed) => 0,
            Some(_) => 2,
            None => 1,
        };
        for _ in 0..times {
            let environment = self.place(times == 2);
            self.begin(environment, None, Job::Tick, Vec::new());
        }
        self.later(self.config.tick, World::tick);
    }

    /// Starts a job that is no batch, in a new environment.
    pub fn begin_job(&mut self, job: Job) {
        self.source.last_job = None;
        let environment = self.start_environment();
        self.begin(environment, None, job, Vec::new());
    }

    /// Faults stop. What is frozen goes on, and one owner per partition goes on from the checkpoint.
    pub fn come_to_rest(&mut self) {
        self.note(61, || "faults stop".into());
        self.faults.heal();
        self.targets.heal();
        self.source.at_rest = true;
        for number in 0..self.environments.len() {
            self.environments[number].skew = 0;
            self.thaw(number);
        }
        for poller in &mut self.source.pollers {
            poller.left = Some(0);
        }
        self.start_pollers();
    }

    /// Whether a lane has stopped until a person looks, and why that is right: or `None`.
    pub fn needs_a_person(&self) -> bool {
        let last = |kind| self.source.errors.iter().any(|(other, _)| *other == kind);
        last(ErrorKind::Invalid)
    }

    /// What a person does then.
    pub fn mend(&mut self) {
        self.source.mended = true;
        self.check.path(crate::paths::Path::MendedByPerson);
        self.note(62, || "a person mends the targets".into());
        self.targets.mend();
        for target in self.config.targets.values_mut() {
            if let tidegate_delivery::Target::Rest(rest) = target {
                rest.promise.remembers_ids = std::time::Duration::from_micros(1_000_000 * HOUR);
            }
        }
        for number in 0..self.environments.len() {
            self.kill(number);
        }
    }

    /// Whether the plant is one that answers too early.
    pub fn answers_early(&self) -> bool {
        self.planted(Plant::ErrorsAnsweredAsSuccess)
    }
}

fn next_position(position: Position, sparse: bool, aggregated: bool, draw: &mut Draw) -> Position {
    if aggregated && draw.percent(40) {
        return Position { sub: position.sub + 1, ..position };
    }
    let number = position.sequence.to_string();
    if sparse && draw.percent(20) && number.len() < 50 {
        // One more digit: the number before it ends in anything.
        let digits = format!("{}{number}", draw.within(1, 9));
        return Position { sequence: Sequence::from_decimal(digits.as_bytes()).unwrap_or_default(), sub: 0 };
    }
    let bytes = position.sequence.to_be_bytes();
    let mut low = [0; 16];
    low.copy_from_slice(&bytes[16..]);
    let step = if sparse { draw.within(1, 60) } else { 1 };
    let next = u128::from_be_bytes(low).checked_add(u128::from(step));
    let mut all = bytes;
    match next {
        Some(next) => all[16..].copy_from_slice(&next.to_be_bytes()),
        None => {
            all[15] += 1;
            all[16..].fill(0);
        }
    }
    Position { sequence: Sequence::from_be_bytes(all), sub: 0 }
}

fn words(job: &Job) -> String {
    match job {
        Job::Batch(parts) => {
            let parts: Vec<String> =
                parts.iter().map(|(p, from, to)| format!("p{p} records {from} to {}", to.saturating_sub(1))).collect();
            parts.join(", ")
        }
        Job::Tick => "tick".into(),
        Job::Drain => "close everything".into(),
    }
}

fn outcome(results: &[PartResult]) -> String {
    let texts: Vec<String> = results
        .iter()
        .map(|result| match result {
            Ok(()) => "done".to_owned(),
            Err((kind, message)) => format!("{kind:?}: {}", message.lines().next().unwrap_or_default()),
        })
        .collect();
    texts.join("; ")
}
