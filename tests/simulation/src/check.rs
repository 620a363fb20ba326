//! The invariants, checked on what is seen at the ports: every write that took effect, every effect at a target, every
//! answer of an invocation.
//!
//! | Id | Invariant |
//! |---|---|
//! | I1 | one payload per (generation, lane, n); the chain of checksums is intact; n has no gaps; a sealed ring takes no records |
//! | I2 | positions, watermark, manifest, format and registry never go back |
//! | I3 | the source's checkpoint is never past the committed position |
//! | I4 | every record is folded exactly once: outbox and state equal the naive evaluator over the committed cuts |
//! | I5 | every effect id has one payload for ever |
//! | I6 | an effect was committed before, and takes effect as often and in the order that the level of its target says |
//! | I7 | every row is in exactly one of effect and dead letter |
//! | I8 | a window is owed once and never changes |
//! | I9 | when faults stop, everything drains within a bound |
//! | I10 | nothing referenced is missing, nothing grows without bound |
//! | I11 | with one writer and no faults there is no conflict |
//! | I12 | a warm, uncontended batch reads nothing but segments of windows that end |
//! | I13 | an unknown outcome is never success: n+1 or an answer only when n is settled or carried |

use std::collections::{BTreeMap, HashMap, HashSet};

use tidegate_core::{Position, Timestamp};
use tidegate_delivery::config::{Idempotency, RestTarget};
use tidegate_state::{Item, ItemKey, record};

use crate::config::{Config, Level, TARGETS};
use crate::operators::{State, label};
use crate::paths::Path;
use crate::reference::Reference;
use crate::rows;
use crate::world::{Micros, World};

mod cuts;
mod deaths;
mod families;
mod gaps;
mod levels;
mod restore;
mod windows;
mod writes;

pub use deaths::unread;
pub use families::replaced;
pub use gaps::end_of;
pub use levels::{leaves, reported};
pub use restore::{Seen, identity, outlived, restored};
pub use writes::{count_refusal, count_refused_transaction, removed, wrote};

/// What was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The invariant.
    pub id: &'static str,
    /// How.
    pub what: String,
}

/// Something that a commit owes: a row for a target, or a dead letter.
struct Owed {
    /// Place in [`TARGETS`]; `None`: a dead letter for a record that could not be decoded.
    target: Option<usize>,
    lane: usize,
    n: u64,
    /// Order within the commit.
    place: usize,
    key: i64,
    since: Micros,
    environment: usize,
    applied: u32,
    lettered: u32,
    /// It is sent at most once, and nobody waits for it any more.
    given_up: bool,
}

impl Owed {
    fn done(&self) -> bool {
        self.applied > 0 || self.lettered > 0 || self.given_up
    }
}

/// What was seen of a lane.
#[derive(Clone)]
struct LaneWatch {
    generation: u64,
    /// As keys name it.
    id: String,
    /// As reports name it.
    name: String,
    partition: usize,
    head: u64,
    checksum: record::Checksum,
    positions: BTreeMap<String, Position>,
    watermark: Option<Timestamp>,
    format: u8,
    carries: u32,
    sealed: bool,
    writer: Option<usize>,
    /// What the head owes.
    outstanding: Vec<String>,
    /// Everything that is not done yet, with the number of the commit that first owed it.
    open: Vec<(u64, String)>,
    /// Where it begins in the log.
    start: usize,
    /// The number of its first commit.
    first: u64,
    /// Records of the log taken up to each commit.
    ends: Vec<usize>,
    manifest: (u64, u64),
    reference: Reference,
    /// What it has read is of a source that was there before.
    outlived: bool,
    /// Records that its newest batch has passed over.
    gap: Option<(usize, usize)>,
}

/// What a repair does not send again.
#[derive(Clone, Default)]
struct Silence {
    /// By partition: the committed position and the watermark of the generation before.
    partitions: HashMap<usize, (Position, Option<Timestamp>)>,
    /// The closed floor.
    floor: Option<i64>,
}

impl LaneWatch {
    /// Records of the log taken so far, or passed over by the generation.
    fn end(&self) -> usize {
        self.ends.last().copied().unwrap_or(self.start)
    }

    /// A partition as rows name it.
    fn label(&self, partition: &str) -> String {
        label(partition, self.generation)
    }
}

/// Where an order is kept: lane, target, and the key if order is kept per key.
type Sequence = (usize, usize, Option<i64>);

/// Watches one schedule.
pub struct Checker {
    /// The first thing that was broken.
    pub violation: Option<Violation>,
    /// How often each way of recovery was taken.
    pub paths: Vec<u64>,
    /// Writes that land when nobody waits for them any more.
    pub disturbances: u64,
    /// The generation that is open.
    pub generation: u64,
    /// No lane may be added and nothing closed: rings are being sealed.
    sealing: bool,
    /// Lanes are just being replaced by others: what the children begin with.
    born: Option<Vec<Reference>>,
    /// What a generation does not send again.
    silence: HashMap<u64, Silence>,
    /// Where a generation begins in each partition.
    starts: HashMap<u64, Vec<usize>>,
    /// Generations that name these places themselves.
    named: HashSet<u64>,
    calm: bool,
    lanes: Vec<LaneWatch>,
    by_name: HashMap<(u64, String), usize>,
    registry: Option<(u64, usize)>,
    owed: HashMap<String, Owed>,
    latest: HashMap<Sequence, (u64, usize)>,
    warm: HashMap<(usize, usize), (u64, u64)>,
    /// Environments whose last try of a partition has failed.
    failed: HashSet<(usize, usize)>,
    cache: HashMap<(usize, ItemKey), Option<Item>>,
    /// By generation.
    windows: BTreeMap<u64, windows::Windows>,
    /// Items of generations that were given up.
    abandoned: HashSet<String>,
    /// Generations that ended, whatever was owed.
    given_up: HashSet<u64>,
    /// When the table was restored.
    restored: Option<Micros>,
    /// The newest generation that was ever open.
    newest: u64,
    deaths: deaths::Deaths,
    levels: levels::Levels,
    sequences: [Option<bool>; 3],
}

impl Checker {
    /// Nothing was seen yet.
    pub fn new(config: &Config) -> Self {
        let rest = |target: usize| config.rest(TARGETS[target]);
        Self {
            violation: None,
            paths: vec![0; Path::ALL.len()],
            disturbances: 0,
            generation: 1,
            sealing: false,
            born: None,
            silence: HashMap::new(),
            starts: HashMap::new(),
            named: HashSet::new(),
            calm: config.calm,
            lanes: Vec::new(),
            by_name: HashMap::new(),
            registry: None,
            owed: HashMap::new(),
            latest: HashMap::new(),
            warm: HashMap::new(),
            failed: HashSet::new(),
            cache: HashMap::new(),
            windows: BTreeMap::new(),
            abandoned: HashSet::new(),
            given_up: HashSet::new(),
            restored: None,
            newest: 1,
            deaths: deaths::Deaths::default(),
            levels: levels::Levels::new(config),
            sequences: std::array::from_fn(|t| rest(t).and_then(|rest| sequence(rest, t))),
        }
    }

    /// Notes that something is broken; the first one counts.
    pub fn broken(&mut self, id: &'static str, what: impl FnOnce() -> String) {
        if self.violation.is_none() {
            self.violation = Some(Violation { id, what: what() });
        }
    }

    /// Counts a way of recovery.
    pub fn path(&mut self, path: Path) {
        self.paths[path as usize] += 1;
    }

    /// A conditional write was refused.
    pub fn refused(&mut self, environment: usize, key: &ItemKey) {
        if self.calm {
            self.broken("I11", || format!("env {environment} was refused at {key} without faults and other writers"));
        }
    }

    /// A write landed when nobody waited for it any more.
    pub fn landed_late(&mut self, applied: bool) {
        self.disturbances += 1;
        self.path(if applied { Path::LateWriteTookEffect } else { Path::LateWriteRefused });
    }

    /// What a reader with a planted cache sees.
    pub fn cached(&mut self, environment: usize, key: &ItemKey, found: Option<Item>) -> Option<Item> {
        self.cache.entry((environment, key.clone())).or_insert(found).clone()
    }

    /// A step for commit `n` starts from `state`.
    pub fn state(&mut self, generation: u64, lane: &str, n: u64, state: &State) {
        let Some(lane) = self.by_name.get(&(generation, lane.to_owned())).map(|lane| &self.lanes[*lane]) else {
            let untouched = State { watermark: state.watermark, ..State::default() };
            if n > 1 || *state != untouched {
                self.broken("I4", || format!("a step for commit {n} of a lane that has none"));
            }
            return;
        };
        // A new lane begins at a watermark that its first commit will tell.
        let empty = State { watermark: state.watermark, ..State::default() };
        let expected = match n.checked_sub(lane.first + 1) {
            Some(place) => lane.reference.states.get(place as usize),
            None => Some(&empty),
        };
        if expected != Some(state) {
            let name = lane.name.clone();
            let expected = format!("{expected:?}");
            self.broken("I4", || format!("{name}: commit {n} is computed from {state:?}, expected {expected}"));
        }
    }

    /// A dead letter is kept.
    pub fn letter(&mut self, _: Micros, line: &str) {
        let name = letter_name(line);
        let Some(owed) = self.owed.get_mut(&name) else {
            return self.broken("I6", || format!("a dead letter that no commit owes: {line}"));
        };
        owed.lettered += 1;
        if owed.lettered == 1 && owed.target.is_some() {
            self.path(Path::RowBecameDeadLetter);
        }
        let owed = &self.owed[&name];
        if owed.lettered > 1 {
            self.path(Path::LetterKeptAgain);
        }
        let owed = &self.owed[&name];
        if owed.lettered == 1 {
            self.not_newest(&name);
        }
        let owed = &self.owed[&name];
        let replaced = owed.target.is_some_and(|target| self.levels.of(target) == Level::LastWriterWins);
        let again = self.is_of_before(owed.since);
        if owed.applied > 0 && !replaced && !again {
            self.broken("I7", || format!("{name} takes effect and is a dead letter"));
        }
    }

    /// Whether the open generation does not send again what was sent.
    pub fn is_repair(&self) -> bool {
        self.silence.contains_key(&self.generation)
    }

    /// Whether a partition has its lane.
    pub fn is_registered(&self, partition: &str) -> bool {
        self.windows.get(&self.generation).is_some_and(|windows| windows.is_registered(partition))
    }

    /// An environment may have dropped what it knew.
    pub fn cool(&mut self, environment: usize) {
        self.warm.retain(|(other, _), _| *other != environment);
    }

    /// Whether an environment should know the lanes of a batch by heart.
    pub fn is_warm(&self, environment: usize, parts: &[(usize, usize, usize)]) -> bool {
        !parts.is_empty()
            && parts.iter().all(|(partition, _, _)| {
                let lane = self.lane_of(*partition);
                let known = self.warm.get(&(environment, *partition));
                lane.is_some_and(|lane| known == Some(&(lane.head, lane.manifest.1)))
            })
    }

    /// The lane of a partition in the generation that is open.
    fn lane_of(&self, partition: usize) -> Option<&LaneWatch> {
        self.lanes.iter().find(|lane| lane.partition == partition && lane.generation == self.generation)
    }

    /// Whether all of these partitions have lanes in the open generation.
    pub fn has_lanes(&self, partitions: &[usize]) -> bool {
        partitions.iter().all(|partition| self.lane_of(*partition).is_some())
    }

    /// Where the open generation begins in a partition.
    pub fn begin_of(&self, partition: usize) -> usize {
        self.start_of(self.generation, partition)
    }

    /// Up to where the open generation has read a partition, counted from the first record.
    pub fn read_of(&self, partition: usize) -> usize {
        let lane = self.lane_of(partition).filter(|lane| !lane.outlived && !lane.positions.is_empty());
        let left_out = if self.named.contains(&self.generation) { self.begin_of(partition) } else { 0 };
        lane.map_or(left_out, LaneWatch::end)
    }

    fn start_of(&self, generation: u64, partition: usize) -> usize {
        self.starts.get(&generation).and_then(|starts| starts.get(partition)).copied().unwrap_or_default()
    }

    fn lane(&mut self, config: &Config, generation: u64, id: &str) -> usize {
        if let Some(known) = self.by_name.get(&(generation, id.to_owned())) {
            return *known;
        }
        let partition = id.rsplit(':').next().unwrap_or(id);
        let name = label(partition, generation);
        let partition = partition.trim_start_matches('p').parse().unwrap_or(usize::MAX);
        let start = self.start_of(generation, partition);
        let lane = self.lanes.len();
        self.lanes.push(LaneWatch {
            generation,
            id: id.to_owned(),
            name,
            partition,
            head: 0,
            checksum: Default::default(),
            positions: BTreeMap::new(),
            watermark: None,
            format: 0,
            carries: 0,
            sealed: false,
            writer: None,
            outstanding: Vec::new(),
            open: Vec::new(),
            start,
            first: 1,
            ends: Vec::new(),
            manifest: (0, 0),
            reference: Reference::new(config),
            outlived: false,
            gap: None,
        });
        self.by_name.insert((generation, id.to_owned()), lane);
        lane
    }
}

/// How the order of a target is kept: `None` not at all, else whether per key.
fn sequence(rest: &RestTarget, target: usize) -> Option<bool> {
    if matches!(rest.idempotency, Idempotency::Fenced(_)) {
        return Some(false);
    }
    let keyed = rest.key.is_some() || TARGETS[target] == "sums";
    rest.ordered.then_some(keyed && rest.concurrency > 1)
}

fn letter_name(line: &str) -> String {
    match rows::text_field(line, "payload") {
        Some(row) if row.starts_with("{\"row\"") => row,
        _ => {
            let field = |name| rows::text_field(line, name).unwrap_or_default();
            format!("d/{}/{}", field("partition"), field("position"))
        }
    }
}

/// The mapping holds everything before `to` to be done.
pub fn checkpoint(world: &mut World, partition: usize, to: usize) {
    if !committed(world, partition, to) {
        world.check.broken("I3", || format!("p{partition}: the checkpoint is at {to}, which is not committed"));
    }
}

/// Whether all records of a partition before `to` are committed.
pub fn committed(world: &World, partition: usize, to: usize) -> bool {
    let check = &world.check;
    to <= check.start_of(check.generation, partition)
        || check.lane_of(partition).is_some_and(|lane| !lane.outlived && lane.end() >= to)
}

/// An invocation has answered for a part of its batch. `calm`: nobody and nothing disturbed it. `reads`: how often it
/// has read, if it should have known the lane by heart.
pub fn answered(
    world: &mut World,
    environment: usize,
    (partition, from, to): (usize, usize, usize),
    ok: bool,
    calm: bool,
    reads: Option<u64>,
) {
    if !ok {
        world.check.warm.remove(&(environment, partition));
        if !world.source.partitions[partition].parents.is_empty() {
            // It may have looked at what the partition continues.
            world.check.cool(environment);
        }
        world.check.failed.insert((environment, partition));
        return;
    }
    gaps::succeeded(world, partition, from, to);
    if !committed(world, partition, to) {
        return world.check.broken("I13", || format!("p{partition}: success, but record {} is not committed", to - 1));
    }
    let check = &mut world.check;
    if to <= check.begin_of(partition) {
        // The generation leaves it out: that says nothing of what its lane owes.
        check.warm.remove(&(environment, partition));
        return;
    }
    let Some(watch) = check.lane_of(partition) else { return };
    let n = watch.first + watch.ends.iter().take_while(|end| **end < to).count() as u64;
    // Who is told by a fence that somebody is further may answer: what that one owes is committed.
    let carried =
        |item: &String| watch.head > n && watch.writer != Some(environment) && watch.outstanding.contains(item);
    let undone = |item: &String| !check.owed[item].done() && !check.is_once(item) && !carried(item);
    let waiting = watch.open.iter().find(|(owed, item)| *owed <= n && undone(item));
    if let Some((owed, item)) = waiting {
        let (owed, item) = (*owed, item.clone());
        return check.broken("I13", || format!("p{partition}: success, but {item} of commit {owed} is not settled"));
    }
    let known = (watch.head, watch.manifest.1);
    let counts = |item: &String| {
        let owed = &check.owed[item];
        owed.lettered == 0 && owed.target.is_some_and(|target| check.levels.counts_repeats(target))
    };
    let (head, manifest) = (watch.head, watch.manifest.0);
    // What the batch has committed was sent by it, too.
    let mine = watch.ends.iter().rev().nth(1).is_none_or(|before| *before <= from);
    let uncovered =
        mine && manifest < head && watch.writer == Some(environment) && watch.outstanding.iter().any(counts);
    if check.failed.remove(&(environment, partition)) {
        check.path(Path::ColdAfterFailure);
    }
    if !calm {
        check.warm.remove(&(environment, partition));
        return;
    }
    if uncovered {
        return check.broken("I6", || {
            format!("p{partition}: commit {head} is settled, the manifest stays at {manifest}: a cold start repeats it")
        });
    }
    check.warm.insert((environment, partition), known);
    match reads {
        Some(0) => check.path(Path::WarmBatch),
        Some(reads) => check.broken("I12", || format!("p{partition}: a warm batch made {reads} reads")),
        None => {}
    }
}

/// Everything has come to rest.
pub fn at_rest(world: &mut World) {
    let (lanes, generation) = (world.check.lanes.len(), world.check.generation);
    // Seals of generations that have ended stay; nobody reads them.
    let items = world.items.len() - world.items.seals_before(generation);
    // The registry, what the collector remembers; slots, manifest, marker and newest seal of each lane.
    // A lane without commits may have a marker.
    let markers = world.source.partitions.len() * generation as usize;
    let bound = 2 + lanes * (usize::from(world.config.ring) + 2) + lanes + markers;
    for number in 0..lanes {
        let watch = &world.check.lanes[number];
        let name = watch.name.clone();
        if watch.generation < generation && !watch.sealed {
            return world.check.broken("I1", || format!("{name}: its generation has ended, its ring is not sealed"));
        }
        if watch.partition == usize::MAX || watch.generation < generation {
            continue;
        }
        if !watch.reference.is_closed() {
            return world.check.broken("I9", || format!("{name}: windows stay open"));
        }
        let all = world.source.partitions[watch.partition].log.len();
        if watch.end() != all {
            return world.check.broken("I9", || format!("{name}: {all} records, not all are committed"));
        }
    }
    if !world.check.windows.get(&generation).is_none_or(windows::Windows::is_closed) {
        return world.check.broken("I9", || "windows over lanes stay open".into());
    }
    // Of a commit what it changes and what it owes; a manifest; a seal; a mark per generation.
    let (objects, most) = (world.objects.len(), 2 * items + generation as usize);
    if objects > most {
        return world.check.broken("I10", || format!("{objects} objects are stored, {most} are enough"));
    }
    if items > bound {
        return world.check.broken("I10", || format!("{items} items are stored, {bound} are enough"));
    }
    let check = &mut world.check;
    check.newest_stand();
    let given_up = |item: &String| check.abandoned.contains(item);
    let lost = check
        .owed
        .iter()
        .filter(|(item, owed)| !owed.done() && !given_up(item))
        .map(|(item, owed)| (owed.n, item))
        .min();
    if let Some((n, item)) = lost {
        let item = item.clone();
        return check.broken("I6", || format!("{item} of commit {n} never took effect"));
    }
    check.path(Path::DrainedAtRest);
}
