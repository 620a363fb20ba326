//! The invariants, checked on what is seen at the ports: every write that took effect, every effect at a target, every
//! answer of an invocation.
//!
//! | Id | Invariant |
//! |---|---|
//! | I1 | one payload per (generation, lane, n); the chain of checksums is intact; n has no gaps |
//! | I2 | positions, watermark, manifest, format and registry never go back |
//! | I3 | the source's checkpoint is never past the committed position |
//! | I4 | every record is folded exactly once: outbox and state equal the naive evaluator over the committed cuts |
//! | I5 | every effect id has one payload for ever |
//! | I6 | an effect was committed before, takes effect once at a target that knows ids, and in order per lane |
//! | I7 | every row is in exactly one of effect and dead letter |
//! | I8 | a window is owed once and never changes |
//! | I9 | when faults stop, everything drains within a bound |
//! | I10 | nothing referenced is missing, nothing grows without bound |
//! | I11 | with one writer and no faults there is no conflict |
//! | I12 | a warm, uncontended batch reads nothing |
//! | I13 | an unknown outcome is never success: n+1 or an answer only when n is settled or carried |

use std::collections::{BTreeMap, HashMap};

use tidegate_core::{Position, Timestamp};
use tidegate_delivery::config::{Idempotency, RestTarget};
use tidegate_delivery::payload::Payload as Request;
use tidegate_state::record::commit::{Commit, StoredEntry};
use tidegate_state::record::manifest::Manifest;
use tidegate_state::record::registry::Registry;
use tidegate_state::record::{self, Payload};
use tidegate_state::{Item, ItemKey};

use crate::config::{Config, TARGETS};
use crate::environment;
use crate::operators::State;
use crate::paths::Path;
use crate::reference::Reference;
use crate::rows;
use crate::world::{HOUR, Micros, World};

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
}

impl Owed {
    fn done(&self) -> bool {
        self.applied > 0 || self.lettered > 0
    }
}

/// What was seen of a lane.
struct LaneWatch {
    name: String,
    partition: usize,
    head: u64,
    checksum: record::Checksum,
    positions: BTreeMap<String, Position>,
    watermark: Option<Timestamp>,
    format: u8,
    carries: u32,
    writer: Option<usize>,
    /// What the head owes.
    outstanding: Vec<String>,
    /// Everything that is not done yet, with the number of the commit that first owed it.
    open: Vec<(u64, String)>,
    /// Records of the log taken up to each commit.
    ends: Vec<usize>,
    /// Environments that filled the windows that are open.
    manifest: (u64, u64),
    reference: Reference,
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
    calm: bool,
    lanes: Vec<LaneWatch>,
    by_name: HashMap<String, usize>,
    registry: Option<(u64, usize)>,
    owed: HashMap<String, Owed>,
    latest: HashMap<Sequence, (u64, usize)>,
    warm: HashMap<(usize, usize), (u64, u64)>,
    cache: HashMap<(usize, ItemKey), Option<Item>>,
    by_id: [bool; 3],
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
            calm: config.calm,
            lanes: Vec::new(),
            by_name: HashMap::new(),
            registry: None,
            owed: HashMap::new(),
            latest: HashMap::new(),
            warm: HashMap::new(),
            cache: HashMap::new(),
            by_id: std::array::from_fn(|t| rest(t).is_some_and(|r| r.idempotency != Idempotency::None)),
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
    pub fn state(&mut self, lane: &str, n: u64, state: &State) {
        let Some(lane) = self.by_name.get(lane).map(|lane| &self.lanes[*lane]) else {
            if n > 1 || *state != State::default() {
                self.broken("I4", || format!("a step for commit {n} of a lane that has none"));
            }
            return;
        };
        let empty = State::default();
        let expected = if n > 1 { lane.reference.states.get(n as usize - 2) } else { Some(&empty) };
        if expected != Some(state) {
            let name = lane.name.clone();
            let expected = format!("{expected:?}");
            self.broken("I4", || format!("{name}: commit {n} is computed from {state:?}, expected {expected}"));
        }
    }

    /// A request takes effect.
    pub fn effect(&mut self, now: Micros, target: usize, rows: &[String]) {
        if rows.is_empty() {
            self.broken("I6", || format!("a request without rows takes effect at {}", TARGETS[target]));
        }
        for row in rows {
            self.effect_of(now, target, row);
        }
    }

    fn effect_of(&mut self, now: Micros, target: usize, row: &str) {
        let Some(owed) = self.owed.get_mut(row) else {
            return self.broken("I6", || format!("{row} takes effect at {} but no commit owes it", TARGETS[target]));
        };
        owed.applied += 1;
        let (lane, n, place, key) = (owed.lane, owed.n, owed.place, owed.key);
        let (applied, lettered, wanted, age) = (owed.applied, owed.lettered, owed.target, now - owed.since);
        let text = || format!("{row} of commit {n} at {}", TARGETS[target]);
        if wanted != Some(target) {
            self.broken("I6", || format!("{} is meant for another target", text()));
        }
        if age > HOUR {
            self.path(Path::EffectAfterHours);
        }
        if applied > 1 {
            match self.by_id[target] {
                true => self.broken("I6", || format!("{} takes effect twice", text())),
                false => self.path(Path::EffectAgainAtNone),
            }
        }
        if lettered > 0 {
            self.broken("I7", || format!("{} takes effect and is a dead letter", text()));
        }
        if applied == 1
            && self.by_id[target]
            && let Some(per_key) = self.sequences[target]
        {
            let sequence = (lane, target, per_key.then_some(key));
            let latest = self.latest.entry(sequence).or_default();
            let before = std::mem::replace(latest, (n, place).max(*latest));
            if (n, place) < before {
                self.broken("I6", || format!("{} takes effect after a row of commit {}", text(), before.0));
            }
        }
    }

    /// A dead letter is kept.
    pub fn letter(&mut self, _: Micros, line: &str) {
        let name = letter_name(line);
        let Some(owed) = self.owed.get_mut(&name) else {
            return self.broken("I6", || format!("a dead letter that no commit owes: {line}"));
        };
        owed.lettered += 1;
        if owed.lettered > 1 {
            self.path(Path::LetterKeptAgain);
        }
        let owed = &self.owed[&name];
        if owed.applied > 0 {
            self.broken("I7", || format!("{name} takes effect and is a dead letter"));
        }
    }

    /// Whether an environment should know the lanes of a batch by heart.
    pub fn is_warm(&self, environment: usize, parts: &[(usize, usize, usize)]) -> bool {
        !parts.is_empty()
            && parts.iter().all(|(partition, _, _)| {
                let lane = self.lanes.iter().find(|lane| lane.partition == *partition);
                let known = self.warm.get(&(environment, *partition));
                lane.is_some_and(|lane| known == Some(&(lane.head, lane.manifest.1)))
            })
    }

    fn lane(&mut self, config: &Config, id: &str) -> usize {
        if let Some(known) = self.by_name.get(id) {
            return *known;
        }
        let name = id.rsplit(':').next().unwrap_or(id).to_owned();
        let partition = name.trim_start_matches('p').parse().unwrap_or(usize::MAX);
        let lane = self.lanes.len();
        self.lanes.push(LaneWatch {
            name,
            partition,
            head: 0,
            checksum: Default::default(),
            positions: BTreeMap::new(),
            watermark: None,
            format: 0,
            carries: 0,
            writer: None,
            outstanding: Vec::new(),
            open: Vec::new(),
            ends: Vec::new(),
            manifest: (0, 0),
            reference: Reference::new(config),
        });
        self.by_name.insert(id.to_owned(), lane);
        lane
    }
}

/// How the order of a target is kept: `None` not at all, else whether per key.
fn sequence(rest: &RestTarget, target: usize) -> Option<bool> {
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

/// A write took effect.
pub fn wrote(world: &mut World, environment: usize, key: &ItemKey, item: &Item) {
    let format = if item.data.first().is_some_and(|format| *format > 100) { 2 } else { 1 };
    let plain = environment::plain(item.clone());
    match key.sort.as_str() {
        "commit" => slot(world, environment, key, &plain, format),
        "manifest" => manifest(world, environment, key, &plain, format),
        "registry" => registry(world, &plain),
        _ => {}
    }
}

/// An item was removed.
pub fn removed(world: &mut World, key: &ItemKey) {
    if matches!(key.sort.as_str(), "commit" | "manifest" | "registry") {
        world.check.broken("I10", || format!("{key} is removed"));
    }
}

fn lane_id(key: &ItemKey) -> String {
    key.partition.split('#').nth(2).unwrap_or_default().to_owned()
}

fn slot(world: &mut World, environment: usize, key: &ItemKey, item: &Item, format: u8) {
    let commit = match Commit::decode(&item.data) {
        Ok(commit) => commit,
        Err(error) => return world.check.broken("I1", || format!("{key}: {error}")),
    };
    let config = world.config.clone();
    let lane = world.check.lane(&config, &lane_id(key));
    let content = contents(world, &lane_id(key), &commit);
    check_chain(&mut world.check, lane, &commit, item, format);
    let owed = match content {
        Ok(content) => content,
        Err(why) => return world.check.broken("I10", || format!("commit {}: {why}", commit.n)),
    };
    count_commit(world, lane, environment, &commit, format);
    check_settled(&mut world.check, lane, &commit, &owed);
    if commit.carry {
        let watch = &mut world.check.lanes[lane];
        let end = watch.ends.last().copied().unwrap_or_default();
        watch.ends.push(end);
        watch.reference.remember();
    } else {
        check_cut(world, lane, environment, &commit, &owed);
    }
    let check = &mut world.check;
    let outstanding: Vec<String> = owed.into_iter().map(|(_, name)| name).collect();
    let watch = &mut check.lanes[lane];
    watch.outstanding = outstanding;
    watch.head = commit.n;
    watch.checksum = record::checksum(&item.data);
    watch.positions = commit.positions;
    watch.watermark = commit.watermark;
    watch.format = format;
    watch.carries = if commit.carry { watch.carries + 1 } else { 0 };
    watch.writer = Some(environment);
    let owed = &check.owed;
    watch.open.retain(|(_, name)| !owed[name].done());
}

fn check_chain(check: &mut Checker, lane: usize, commit: &Commit, item: &Item, format: u8) {
    let watch = &check.lanes[lane];
    let (name, n, head) = (watch.name.clone(), commit.n, watch.head);
    if n != head + 1 || n != item.version {
        return check.broken("I1", || format!("{name}: commit {n} is written as version {} on head {head}", item.version));
    }
    if head > 0 && commit.previous != watch.checksum {
        return check.broken("I1", || format!("{name}: commit {n} does not carry the checksum of the one before it"));
    }
    if commit.ring == 0 || commit.attempt != item.attempt {
        return check.broken("I1", || format!("{name}: commit {n} is not what its item says"));
    }
    let back = watch.positions.iter().any(|(partition, at)| commit.positions.get(partition).is_none_or(|new| new < at));
    if back || commit.watermark < watch.watermark {
        return check.broken("I2", || format!("{name}: commit {n} goes back"));
    }
    if format < watch.format {
        check.broken("I2", || format!("{name}: commit {n} replaces a newer format"));
    }
}

/// Everything in a commit's outbox: target and name.
type Content = Vec<(Option<usize>, String)>;

fn contents(world: &World, lane: &str, commit: &Commit) -> Result<Content, String> {
    let mut content = Vec::new();
    for entry in &commit.outbox {
        let bytes = payload(world, lane, commit, entry)?;
        match Request::decode(&bytes).map_err(|error| error.to_string())? {
            Request::Http(http) => {
                let body = String::from_utf8_lossy(&http.rows).into_owned();
                let rows = rows::split(&body);
                if rows.len() != entry.entry.rows as usize {
                    return Err(format!("a request says {} rows and has {}", entry.entry.rows, rows.len()));
                }
                let target = TARGETS.iter().position(|name| *name == entry.entry.target);
                content.extend(rows.into_iter().map(|row| (target, row)));
            }
            Request::DeadLetters(lines) => {
                let text = String::from_utf8_lossy(&lines).into_owned();
                content.extend(text.lines().map(|line| (None, letter_name(line))));
            }
            Request::Lines(_) => return Err("a dry run's lines".into()),
        }
    }
    Ok(content)
}

fn payload(world: &World, lane: &str, commit: &Commit, entry: &StoredEntry) -> Result<bytes::Bytes, String> {
    let part = match &entry.payload {
        Payload::Inline(bytes) => return Ok(bytes.clone()),
        Payload::Blob(part) => part,
    };
    let mut name = format!("p/{}/{}/{lane}/{}/{:032x}/", commit.incarnation, commit.generation, commit.n, commit.attempt);
    for byte in part.hash {
        name.push_str(&format!("{byte:02x}"));
    }
    let object = world.objects.get(&name).ok_or_else(|| format!("object {name} is not there"))?;
    let inner = object.get(6..object.len() - 8).unwrap_or_default();
    let content = zstd::decode_all(inner).map_err(|error| format!("object {name}: {error}"))?;
    let range = part.offset as usize..(part.offset + part.length) as usize;
    content.get(range).map(|bytes| bytes.to_vec().into()).ok_or_else(|| format!("object {name} is too short"))
}

fn count_commit(world: &mut World, lane: usize, environment: usize, commit: &Commit, format: u8) {
    let check = &mut world.check;
    let watch = &check.lanes[lane];
    let (writer, carries, before) = (watch.writer, watch.carries, watch.format);
    let ring = u64::from(commit.ring);
    let spilled = matches!(commit.delta, Payload::Blob(_))
        || commit.outbox.iter().any(|entry| matches!(entry.payload, Payload::Blob(_)));
    let deepest = commit.outbox.iter().map(|entry| entry.entry.id.index.path().len()).max().unwrap_or(0);
    let other = writer.is_some_and(|writer| writer != environment);
    let mut took = |path, yes: bool| {
        if yes {
            check.path(path);
        }
    };
    took(Path::HandOver, other);
    took(Path::RingWrapped, commit.n > ring);
    took(Path::RingWrappedManyTimes, commit.n > 4 * ring);
    took(Path::CommitSpilled, spilled);
    took(Path::CarryCommit, commit.carry);
    took(Path::CarryByAnother, commit.carry && other);
    took(Path::CarryOfCarry, commit.carry && carries == 1);
    took(Path::CarryChain, commit.carry && carries == 2);
    took(Path::RequestHalved, commit.carry && deepest == 2);
    took(Path::RequestQuartered, commit.carry && deepest > 2);
    took(Path::CommitOfNextVersion, before == 1 && format == 2);
}

/// Rule 2: what the head owes is done, or carried.
fn check_settled(check: &mut Checker, lane: usize, commit: &Commit, owed: &Content) {
    let watch = &check.lanes[lane];
    let name = watch.name.clone();
    for item in &watch.outstanding {
        let carried = commit.carry && owed.iter().any(|(_, other)| other == item);
        if !carried && !check.owed[item].done() {
            let item = item.clone();
            let n = commit.n;
            return check.broken("I13", || format!("{name}: commit {n} follows although {item} is not settled"));
        }
    }
    if commit.carry {
        let strange = owed.iter().find(|(_, item)| !watch.outstanding.contains(item));
        if let Some((_, item)) = strange {
            let (item, n) = (item.clone(), commit.n);
            check.broken("I4", || format!("{name}: carry commit {n} owes {item}, which the head did not"));
        }
    }
}

/// I4: what the commit owes is what the naive evaluator makes of the records that it takes.
fn check_cut(world: &mut World, lane: usize, environment: usize, commit: &Commit, owed: &Content) {
    let now = world.now;
    let watch = &mut world.check.lanes[lane];
    let Some(partition) = world.source.partitions.get(watch.partition) else {
        return world.check.broken("I4", || "a lane without partition".into());
    };
    let from = watch.ends.last().copied().unwrap_or_default();
    let position = commit.positions.get(&partition.name);
    let to = partition.log[..partition.produced].iter().take_while(|r| position.is_some_and(|at| r.position <= *at)).count();
    let records = &partition.log[from..to.max(from)];
    let expected = watch.reference.cut(&partition.name, records, records.is_empty());
    watch.ends.push(to.max(from));
    let mut wanted: Vec<(Option<usize>, String)> =
        expected.rows.into_iter().map(|(target, row)| (Some(target), row)).collect();
    wanted.extend(expected.letters.into_iter().map(|letter| (None, letter)));
    let mut found = owed.clone();
    wanted.sort();
    found.sort();
    let name = watch.name.clone();
    if wanted != found {
        let missing: Vec<&String> = wanted.iter().filter(|w| !found.contains(w)).map(|(_, row)| row).collect();
        let extra: Vec<&String> = found.iter().filter(|f| !wanted.contains(f)).map(|(_, row)| row).collect();
        let n = commit.n;
        let text = format!("{name}: commit {n} lacks {missing:?} and has {extra:?} too much");
        return world.check.broken("I4", || text);
    }
    for (place, (target, item)) in owed.iter().enumerate() {
        let key = rows::number_field(item, "k").unwrap_or_default();
        let owed = Owed {
            target: *target,
            lane,
            n: commit.n,
            place,
            key,
            since: now,
            environment,
            applied: 0,
            lettered: 0,
        };
        let check = &mut world.check;
        match target {
            None => check.path(Path::PoisonBecameDeadLetter),
            Some(1) => check.path(Path::WindowClosed),
            Some(2) => check.path(Path::LateRow),
            _ => {}
        }
        check.lanes[lane].open.push((commit.n, item.clone()));
        if check.owed.insert(item.clone(), owed).is_some() {
            check.broken("I8", || format!("{name}: {item} is owed twice"));
        }
    }
}

fn manifest(world: &mut World, environment: usize, key: &ItemKey, item: &Item, _: u8) {
    let manifest = match Manifest::decode(&item.data) {
        Ok(manifest) => manifest,
        Err(error) => return world.check.broken("I2", || format!("{key}: {error}")),
    };
    let config = world.config.clone();
    let lane = world.check.lane(&config, &lane_id(key));
    let check = &mut world.check;
    let watch = &mut check.lanes[lane];
    let (n, head) = (manifest.n, watch.head);
    let before = std::mem::replace(&mut watch.manifest, (n, item.version));
    let name = watch.name.clone();
    let (carries, writer) = (watch.carries, watch.writer);
    let unsettled = watch.open.iter().find(|(owed, item)| {
        *owed <= n && n == head && watch.outstanding.contains(item) && !check.owed[item].done()
    });
    let unsettled = unsettled.map(|(_, item)| item.clone());
    if n < before.0 || item.version <= before.1 || n > head {
        check.broken("I2", || format!("{name}: the manifest goes from {before:?} to {n}, the head is {head}"));
    }
    if let Some(item) = unsettled {
        check.broken("I13", || format!("{name}: the manifest calls {n} settled although {item} is not"));
    }
    let mut took = |path, yes: bool| {
        if yes {
            check.path(path);
        }
    };
    took(Path::ManifestSpilled, matches!(manifest.snapshot, Payload::Blob(_)));
    took(Path::ManifestFirst, before.0 == 0);
    took(Path::ManifestAtHead, n == head);
    took(Path::ManifestBehindCarry, carries > 0 && n < head);
    took(Path::ManifestByAnother, writer != Some(environment));
}

fn registry(world: &mut World, item: &Item) {
    let Ok(registry) = Registry::decode(&item.data) else {
        return world.check.broken("I2", || "the registry cannot be read".into());
    };
    let check = &mut world.check;
    let lanes = registry.lanes.len();
    let before = check.registry.replace((item.version, lanes));
    if before.is_some_and(|(version, count)| item.version != version + 1 || lanes < count) {
        check.broken("I2", || format!("the registry goes from {before:?} to version {}, {lanes} lanes", item.version));
    }
}

/// The mapping holds everything before `to` to be done.
pub fn checkpoint(world: &mut World, partition: usize, to: usize) {
    if !committed(world, partition, to) {
        world.check.broken("I3", || format!("p{partition}: the checkpoint is at {to}, which is not committed"));
    }
}

fn committed(world: &World, partition: usize, to: usize) -> bool {
    let lane = world.check.lanes.iter().find(|lane| lane.partition == partition);
    to == 0 || lane.is_some_and(|lane| lane.ends.last().is_some_and(|end| *end >= to))
}

/// An invocation has answered for a part of its batch. `calm`: nobody and nothing disturbed it. `reads`: how often it
/// has read, if it should have known the lane by heart.
pub fn answered(
    world: &mut World,
    environment: usize,
    (partition, _, to): (usize, usize, usize),
    ok: bool,
    calm: bool,
    reads: Option<u64>,
) {
    if !ok {
        world.check.warm.remove(&(environment, partition));
        return;
    }
    if !committed(world, partition, to) {
        return world.check.broken("I13", || format!("p{partition}: success, but record {} is not committed", to - 1));
    }
    let check = &mut world.check;
    let Some(watch) = check.lanes.iter().find(|lane| lane.partition == partition) else { return };
    let n = 1 + watch.ends.iter().take_while(|end| **end < to).count() as u64;
    let waiting = watch.open.iter().find(|(owed, item)| *owed <= n && !check.owed[item].done());
    if let Some((owed, item)) = waiting {
        let (owed, item) = (*owed, item.clone());
        return check.broken("I13", || format!("p{partition}: success, but {item} of commit {owed} is not settled"));
    }
    let known = (watch.head, watch.manifest.1);
    if !calm {
        check.warm.remove(&(environment, partition));
        return;
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
    let lanes = world.check.lanes.len();
    let items = world.items.len();
    let bound = 1 + lanes * (usize::from(world.config.ring) + 1);
    for number in 0..lanes {
        let watch = &world.check.lanes[number];
        let name = watch.name.clone();
        if !watch.reference.is_closed() {
            return world.check.broken("I9", || format!("{name}: windows stay open"));
        }
        let all = world.source.partitions[watch.partition].log.len();
        if watch.ends.last() != Some(&all) {
            return world.check.broken("I9", || format!("{name}: {all} records, not all are committed"));
        }
    }
    if items > bound {
        return world.check.broken("I10", || format!("{items} items are stored, {bound} are enough"));
    }
    let check = &mut world.check;
    let lost = check.owed.iter().filter(|(_, owed)| !owed.done()).map(|(item, owed)| (owed.n, item)).min();
    if let Some((n, item)) = lost {
        let item = item.clone();
        return check.broken("I6", || format!("{item} of commit {n} never took effect"));
    }
    check.path(Path::DrainedAtRest);
}
