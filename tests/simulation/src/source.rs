//! The source and its event source mappings: logs of records, pollers, batches that come again in other pieces.

use tidegate_core::{ErrorKind, HashRange, Position, Timestamp};
use tidegate_lane::{Backlog, Descent};
use tidegate_source::Records;

use crate::draw::Draw;
use crate::environment::{ANSWER_RESERVE, EPOCH};
use crate::paths::Path;
use crate::plant::{self, Plant};
use crate::world::{HOUR, Job, MS, Micros, SECOND, World};

/// The source's name.
pub const SOURCE: &str = "s";
/// Failed invocations at rest before it counts as stuck.
pub const MAX_FAILURES_AT_REST: u32 = 60;
/// And for each record that kills.
const MAX_FAILURES_PER_DEADLY: u32 = 20;
/// Failures in a row before a person looks, where one must.
const FAILURES_BEFORE_MENDING: u32 = 12;

mod gaps;
mod logs;
mod mapping;
mod reset;
mod restore;
mod storms;

pub use gaps::is_gap;
pub use reset::outlived;

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
    /// It kills whoever takes it.
    pub deadly: bool,
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
    /// When the source gets it.
    pub born: Micros,
    /// What it was split from or merged of.
    pub parents: Vec<usize>,
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
    /// The mapping was stopped: it takes nothing and hears nothing.
    retired: bool,
    draw: Draw,
}

struct Invocation {
    environment: usize,
    began: Micros,
    poller: Option<usize>,
    parts: Vec<(usize, usize, usize)>,
    heard: bool,
    done: bool,
    /// It has opened the pipeline, of whatever generation.
    opened: bool,
    /// The generation when it began.
    generation: u64,
    reads: u64,
    fired: usize,
    disturbances: u64,
    refusals: u64,
    writes: u64,
    unknown: u64,
    /// Everything was committed before it began.
    skippable: bool,
    warm: bool,
}

/// Partitions, pollers, invocations.
#[derive(Default)]
pub struct Source {
    /// The partitions.
    pub partitions: Vec<Partition>,
    pollers: Vec<Poller>,
    invocations: Vec<Invocation>,
    /// A new generation that is under way.
    reset: Option<reset::Reset>,
    /// Children may be delivered before what they continue is done.
    early: bool,
    /// A copy of the table.
    copy: Option<restore::Copy>,
    /// How often it was deleted and created again.
    created: u32,
    /// Batches of one partition are given out side by side.
    parallel: bool,
    /// Batches are given up, and come again later or never.
    discards: bool,
    /// Storms at one record, to come and under way.
    storms: Vec<storms::Storm>,
    /// It says which keys a child of a split takes.
    tells_hashes: bool,
    /// The last generation that may have read batches in another order.
    mixed: Option<u64>,
    /// A planted mistake about positions.
    pub tampered: Option<Plant>,
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
    /// What tells it from one of the same name before or after it.
    pub fn identity(&self) -> String {
        format!("stream {}", self.created + 1)
    }

    /// The names of the partitions that there are.
    pub fn names(&self, now: Micros) -> Vec<String> {
        self.partitions.iter().filter(|partition| partition.born <= now).map(|p| p.name.clone()).collect()
    }

    /// A partition's name and a piece of its log as an event brings it.
    pub fn records(&self, partition: usize, from: usize, to: usize) -> (String, Records) {
        let partition = &self.partitions[partition];
        let tampered = self.tampered;
        let mut records = Records::with_capacity(to - from, 48 * (to - from));
        for (place, record) in partition.log[from..to].iter().enumerate() {
            let arrival = Some(Timestamp(EPOCH + record.at as i64));
            let position = plant::position(tampered, record.position, place);
            records.push(position, arrival, None, Vec::new(), &record.encode());
        }
        (partition.name.clone(), records)
    }

    /// Whether a partition has records behind a position.
    pub fn backlog(&self, name: &str, after: Option<Position>, asks: bool) -> Backlog {
        if !asks {
            return Backlog::Unknown;
        }
        let partition = self.partitions.iter().find(|partition| partition.name == name);
        let last = partition.and_then(|p| p.log[..p.produced].last()).map(|record| record.position);
        if last > after { Backlog::Waiting } else { Backlog::Empty }
    }

    /// Where the partitions come from that there are.
    pub fn lineage(&self, now: Micros) -> Vec<Descent> {
        let name = |number: &usize| self.partitions[*number].name.clone();
        let born = self.partitions.iter().filter(|partition| partition.born <= now);
        born.map(|p| Descent {
            partition: p.name.clone(),
            parents: p.parents.iter().map(name).collect(),
            hashes: self.hashes(&p.name),
        })
        .collect()
    }

    /// The keys that a child of a split takes, as hashes: those that continue the same partitions share all there are.
    /// `None`: the source does not tell.
    pub fn hashes(&self, name: &str) -> Option<HashRange> {
        let partition = self.partitions.iter().find(|p| p.name == name).filter(|_| self.tells_hashes)?;
        let mut family = self.partitions.iter().filter(|p| p.parents == partition.parents);
        let (size, place) = (family.clone().count() as u128, family.position(|p| p.name == name)? as u128);
        let slice = u128::MAX / size;
        let last = if place + 1 == size { u128::MAX } else { (place + 1) * slice - 1 };
        Some(HashRange { first: place * slice, last })
    }

    /// Whether a partition's records may be delivered: those that it continues are done.
    fn is_ready(&self, partition: usize) -> bool {
        self.partitions[partition].parents.iter().all(|parent| {
            let parent = &self.partitions[*parent];
            parent.checkpoint == parent.log.len()
        })
    }

    /// Whether an environment works on a batch of a partition that begins at or below `committed`.
    pub fn offered_at_or_below(&self, environment: usize, partition: usize, committed: Option<Position>) -> bool {
        let Some(committed) = committed else { return false };
        let working = self.invocations.iter().rev().take(8).filter(|i| i.environment == environment && !i.done);
        working.flat_map(|invocation| &invocation.parts).any(|(other, from, to)| {
            let log = &self.partitions[partition].log;
            *other == partition && from < to && log[*from].position <= committed
        })
    }

    /// An invocation has opened the pipeline.
    pub fn opened(&mut self, invocation: usize) {
        self.invocations[invocation].opened = true;
    }

    /// Whether everything was produced and is held to be done.
    pub fn finished(&self) -> bool {
        self.reset.is_none() && self.partitions.iter().all(|p| p.produced == p.log.len() && p.checkpoint == p.log.len())
    }
}

impl World {
    /// Until when an environment is at work, at most. `None`: it is not.
    pub fn deadline(&self, environment: usize) -> Option<Micros> {
        let running = |invocation: &&Invocation| invocation.environment == environment && !invocation.done;
        let began = self.source.invocations.iter().rev().find(running)?.began;
        // It begins nothing in the time that it keeps back for its answer.
        Some(began + self.config.timeout - ANSWER_RESERVE.as_micros() as Micros)
    }

    /// The position that the open generation begins behind.
    pub fn beginning(&self, partition: &str) -> Option<Position> {
        let number = self.source.partitions.iter().position(|known| known.name == partition)?;
        let begin = self.check.begin_of(number);
        let log = &self.source.partitions[number].log;
        begin.checked_sub(1).and_then(|last| log.get(last)).map(|record| record.position)
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
        bytes.push(u8::from(self.deadly));
        if self.poison {
            bytes.truncate(7);
        }
        bytes
    }
}

impl World {
    fn start_pollers(&mut self) {
        let all: Vec<usize> = (0..self.source.partitions.len()).collect();
        let groups =
            if self.config.several_partitions { vec![all] } else { all.chunks(1).map(<[_]>::to_vec).collect() };
        for partitions in groups {
            let next = partitions.iter().map(|p| self.source.partitions[*p].checkpoint).collect();
            self.add_poller(partitions, next, None);
        }
    }

    fn add_poller(&mut self, partitions: Vec<usize>, next: Vec<usize>, left: Option<u32>) {
        let number = self.source.pollers.len();
        let draw = Draw::new(self.config.seed).part(500 + number as u64);
        let poller =
            Poller { partitions, next, busy: false, left, failures: 0, again: None, limit: None, retired: false, draw };
        self.source.pollers.push(poller);
        self.later(MS, move |world| world.poll(number));
    }

    fn produce(&mut self, partition: usize) {
        self.source.partitions[partition].produced += 1;
        for number in 0..self.source.pollers.len() {
            let poller = &mut self.source.pollers[number];
            if poller.partitions.contains(&partition) && !poller.busy && poller.left != Some(0) && !poller.retired {
                let wait = poller.draw.spread(MS, 2 * SECOND);
                self.later(wait, move |world| world.poll(number));
            }
        }
    }

    /// Starts a job that is no batch, in a new environment.
    pub fn begin_job(&mut self, job: Job) {
        self.source.last_job = None;
        self.draining |= matches!(job, Job::Drain);
        let environment = self.start_environment();
        self.begin(environment, None, job, Vec::new());
    }

    /// Faults stop. What is frozen goes on, and one owner per partition goes on from the checkpoint.
    pub fn come_to_rest(&mut self) {
        self.note(61, || "faults stop".into());
        self.rested = Some(self.now);
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
        self.be_patient();
        self.take_up_discarded();
        if !self.stands_still() {
            self.start_pollers();
        }
    }

    /// Whether a lane has stopped until a person looks, and why that is right: or `None`.
    pub fn needs_a_person(&self) -> bool {
        let last = |kind| self.source.errors.iter().any(|(other, _)| *other == kind);
        last(ErrorKind::Invalid)
    }

    /// What a person does then.
    pub fn mend(&mut self) {
        self.source.mended = true;
        self.check.path(Path::MendedByPerson);
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
}
