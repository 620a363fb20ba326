//! Random schedules of several lanes whose windows meet in a close lane, over a store that fails: lanes join, end and are
//! split meanwhile. Every record must be in exactly one result, or late. The seed of a failing schedule is printed;
//! `TIDEGATE_SEED=7 cargo test -p tidegate-state --test together` runs that one alone.
#![allow(clippy::disallowed_methods, reason = "the seed comes from the environment")]
#![allow(clippy::print_stderr, reason = "the report")]

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tidegate_core::outbox::SEALS;
use tidegate_core::random::StdRandom;
use tidegate_core::{EffectId, LaneId, OutboxEntry, Position, RequestIndex, Timestamp};
use tidegate_state::decide::seals::sealed_through;
use tidegate_state::faults::FaultyStore;
use tidegate_state::memory::{MemoryBlobs, MemoryStore};
use tidegate_state::{
    Child, Closing, CommitOutcome, Condition, ConditionalStore, Draft, Item, ItemKey, Lane, LaneLimit, LoadRules,
    ManifestOutcome, Pipeline, Ports, PutOutcome, RegistryView, Seal, StateOptions, StoreError, StoredSeal, TransactOp,
    TransactOutcome,
};

mod schedule;

use schedule::*;

/// Length of a window; event times are small numbers.
const WINDOW: i64 = 4;
/// The event time of what makes every window end.
const END: i64 = 100;

/// A mistake that is planted in the store or in the writers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    None,
    /// Transactions do not look at the registry's version.
    IgnoresRegistry,
    /// Transactions put the slots and forget the registry.
    HalfTransactions,
    /// Seals are answered with success and lost.
    LosesSeals,
    /// Reads of the registry show it as it was one write before.
    StaleRegistry,
    /// A new lane begins with no watermark, whatever is closed.
    IgnoresFloors,
    /// The closer does not wait for lanes that have sealed nothing.
    SkipsSilentLanes,
    /// A parent's open windows go to both children.
    InheritsTwice,
    /// A parent's open windows go to no child.
    InheritsNothing,
    /// The proof of sealing leaves before the rows.
    ProofFirst,
}

struct Store {
    store: MemoryStore,
    bug: Mutex<Bug>,
    before: Mutex<Option<Item>>,
}

fn is_registry(key: &ItemKey) -> bool {
    key.sort == "registry"
}

impl Store {
    fn bug(&self) -> Bug {
        *self.bug.lock().unwrap()
    }
}

#[async_trait]
impl ConditionalStore for Store {
    async fn get(&self, key: &ItemKey) -> Result<Option<Item>, StoreError> {
        if self.bug() == Bug::StaleRegistry && is_registry(key) {
            let before = self.before.lock().unwrap().clone();
            if before.is_some() {
                return Ok(before);
            }
        }
        self.store.get(key).await
    }

    async fn put_if(&self, key: &ItemKey, item: Item, condition: Condition) -> Result<PutOutcome, StoreError> {
        if self.bug() == Bug::LosesSeals && key.partition.contains("#seals#") && item.attempt.is_multiple_of(4) {
            return Ok(PutOutcome::Applied);
        }
        self.store.put_if(key, item, condition).await
    }

    async fn query(&self, partition: &str) -> Result<Vec<(ItemKey, Item)>, StoreError> {
        self.store.query(partition).await
    }

    async fn transact(&self, ops: Vec<TransactOp>) -> Result<TransactOutcome, StoreError> {
        let mut honest = Vec::new();
        let mut registry = None;
        for op in ops {
            match op {
                TransactOp::Put { key, item, .. } if is_registry(&key) && self.bug() == Bug::IgnoresRegistry => {
                    let stored = self.store.get(&key).await?.expect("it was created");
                    honest.push(TransactOp::Put { key, item, condition: Condition::Version(stored.version) });
                }
                TransactOp::Put { key, .. } if is_registry(&key) && self.bug() == Bug::HalfTransactions => {}
                TransactOp::Put { key, item, condition } if is_registry(&key) => {
                    registry = self.store.get(&key).await?;
                    honest.push(TransactOp::Put { key, item, condition });
                }
                op => honest.push(op),
            }
        }
        let outcome = self.store.transact(honest).await?;
        if outcome == TransactOutcome::Applied && registry.is_some() {
            *self.before.lock().unwrap() = registry;
        }
        Ok(outcome)
    }

    async fn delete_if(&self, key: &ItemKey, version: u64) -> Result<PutOutcome, StoreError> {
        self.store.delete_if(key, version).await
    }
}

/// A partition of the source: event times by position, from 1.
#[derive(Clone, Debug)]
struct Partition {
    times: Vec<i64>,
    children: Vec<String>,
    /// Whether the source lists it yet.
    born: bool,
}

#[derive(Default)]
struct World {
    partitions: BTreeMap<String, Partition>,
    /// Payload per effect id.
    effects: BTreeMap<(LaneId, EffectId), Bytes>,
    broken: Option<String>,
}

impl World {
    fn send(&mut self, lane: &LaneId, entry: &OutboxEntry) {
        let id = (lane.clone(), entry.id.clone());
        let first = self.effects.entry(id).or_insert_with(|| entry.payload.clone());
        if *first != entry.payload {
            self.broken = Some(format!("I5: effect {:?} of {lane} has two payloads", entry.id));
        }
    }

    /// The source gets a partition that has no parent.
    fn grow(&mut self) {
        let children: BTreeSet<String> = self.partitions.values().flat_map(|p| p.children.iter().cloned()).collect();
        let mut roots = self.partitions.iter_mut().filter(|(name, _)| !children.contains(*name));
        if let Some((_, root)) = roots.find(|(_, root)| !root.born) {
            root.born = true;
        }
    }

    fn listed(&self) -> Vec<String> {
        self.partitions.iter().filter(|(_, partition)| partition.born).map(|(name, _)| name.clone()).collect()
    }
}

/// Two bytes per open record: the end of its window, and which record it is.
type Rows = Vec<(i64, u8)>;

fn encode(rows: &[(i64, u8)]) -> Bytes {
    rows.iter().flat_map(|(end, record)| [*end as u8, *record]).collect()
}

fn decode(bytes: &[u8]) -> Rows {
    bytes.chunks(2).map(|pair| (i64::from(pair[0]), pair[1])).collect()
}

/// The number of a record over all partitions.
fn record(partition: &str, position: u64) -> u8 {
    partition.parse::<u8>().expect("a number") * 16 + position as u8
}

fn window_end(time: i64) -> i64 {
    (time.div_euclid(WINDOW) + 1) * WINDOW
}

fn position(lane: &Lane, partition: &str) -> u64 {
    lane.head().positions.get(partition).and_then(|at| at.sequence.as_u64()).unwrap_or(0)
}

struct Writer {
    pipeline: Pipeline,
    bug: Bug,
    /// Kept from batch to batch, if it is a warm one.
    memory: Option<BTreeMap<LaneId, Known>>,
    world: Rc<RefCell<World>>,
    random: Rc<RefCell<StdRng>>,
}

/// A lane, its open rows, and the floor that it was loaded with.
type Known = (Lane, Rows, Option<Timestamp>);

/// Only what a writer may meet: it gives up, and somebody tries again.
type Broken = Option<()>;

impl Writer {
    fn below(&self, n: usize) -> usize {
        self.random.borrow_mut().random_range(0..n)
    }

    async fn run(mut self, steps: usize) {
        for _ in 0..steps {
            let listed = self.world.borrow().listed();
            let partition = &listed[self.below(listed.len())];
            let done = match self.below(6) {
                0 => self.close().await,
                1 => self.split(partition).await,
                2 if self.below(3) == 0 => {
                    self.world.borrow_mut().grow();
                    Some(())
                }
                2 if self.below(2) == 0 => self.pipeline.remove_seals("sums").await.ok().map(drop),
                _ => {
                    let size = self.below(3) + 1;
                    self.batch(partition, size as u64).await
                }
            };
            if done.is_none()
                && let Some(memory) = &mut self.memory
            {
                memory.clear();
            }
            Turn::default().await;
        }
    }

    async fn recall(&mut self, id: &LaneId) -> Option<Known> {
        if let Some(known) = self.memory.as_mut().and_then(|memory| memory.remove(id)) {
            return Some(known);
        }
        let loaded = self.pipeline.load(id, LoadRules::default()).await.ok()?;
        let mut rows = loaded.snapshot.as_deref().map(decode).unwrap_or_default();
        for delta in loaded.deltas.iter().filter(|delta| !delta.is_empty()) {
            apply(&mut rows, delta);
        }
        let mut lane = loaded.lane;
        self.settle(&mut lane, &rows).await?;
        Some((lane, rows, loaded.floors.into_values().max()))
    }

    fn remember(&mut self, id: LaneId, lane: Lane, rows: Rows, floor: Option<Timestamp>) {
        if let Some(memory) = &mut self.memory {
            memory.insert(id, (lane, rows, floor));
        }
    }

    /// The next records of a partition, as the source would deliver them.
    async fn batch(&mut self, partition: &str, size: u64) -> Broken {
        let id = LaneId::new("s", partition);
        // A partition with a parent is begun by the split alone.
        let registered = self.pipeline.registry().await.ok()?.lanes.contains(&id);
        let inherits =
            self.world.borrow().partitions.values().any(|other| other.children.iter().any(|c| c == partition));
        if inherits && !registered {
            return Some(());
        }
        let (mut lane, mut rows, floor) = self.recall(&id).await?;
        let times = self.world.borrow().partitions[partition].times.clone();
        let first = position(&lane, partition);
        let last = (first + size).min(times.len() as u64);
        if first == last || lane.head().sealed {
            self.remember(id, lane, rows, floor);
            return Some(());
        }
        let before = match lane.head().n {
            0 if self.bug != Bug::IgnoresFloors => floor,
            _ => lane.head().watermark,
        };
        let (mut late, mut delta) = (Rows::new(), Rows::new());
        let mut watermark = before;
        for at in first..last {
            let time = times[at as usize];
            let row = (window_end(time), record(partition, at + 1));
            let is_late = before.is_some_and(|before| row.0 <= before.0);
            if is_late {
                late.push(row)
            } else {
                delta.push(row)
            }
            watermark = watermark.max(Some(Timestamp(time)));
        }
        rows.extend(&delta);
        let draft = self.draft(&lane, partition, last, before, watermark, &mut rows, late, delta);
        self.commit(&mut lane, draft, &rows).await?;
        self.settle(&mut lane, &rows).await?;
        self.remember(id, lane, rows, floor);
        Some(())
    }

    /// A commit that seals the windows that have ended. Rows are sealed in one part, the proof in another, later wave.
    #[expect(clippy::too_many_arguments, reason = "it is a step of one test")]
    fn draft(
        &self,
        lane: &Lane,
        partition: &str,
        last: u64,
        before: Option<Timestamp>,
        watermark: Option<Timestamp>,
        rows: &mut Rows,
        late: Rows,
        delta: Rows,
    ) -> Draft {
        let n = lane.next_number();
        let through = watermark.map(|watermark| watermark.0.div_euclid(WINDOW) * WINDOW);
        let passed = through.is_some_and(|through| before.is_none_or(|before| before.0 < through));
        let sealed: Rows = rows.iter().copied().filter(|(end, _)| through.is_some_and(|t| *end <= t)).collect();
        rows.retain(|row| !sealed.contains(row));
        let entry = |index: u32, target: &str, wave: u16, payload: Bytes| OutboxEntry {
            id: EffectId { n, index: RequestIndex::top(index) },
            target: target.into(),
            wave,
            rows: 1,
            committed_at: Timestamp(0),
            payload,
        };
        let seal = |part: u32, through: Option<i64>, rows: &Rows| {
            let seal = Seal {
                output: "sums".into(),
                lane: lane.key().lane.clone(),
                n,
                part,
                through: through.map(Timestamp),
                latest_end: rows.iter().map(|(end, _)| Timestamp(*end)).max(),
                rows: encode(rows),
            };
            seal.encode().expect("a seal")
        };
        let mut outbox = Vec::new();
        if !late.is_empty() {
            outbox.push(entry(0, "late", 0, encode(&late)));
        }
        if !sealed.is_empty() {
            outbox.push(entry(1, SEALS, 1, seal(0, None, &sealed)));
        }
        if passed {
            outbox.push(entry(2, SEALS, 2, seal(1, through, &Rows::new())));
        }
        if self.bug == Bug::ProofFirst {
            outbox.reverse();
        }
        let mut positions = lane.head().positions.clone();
        positions.insert(partition.to_owned(), Position::new(last));
        // Behind the new rows, what leaves the state: windows up to this.
        let mut change = delta;
        change.push((through.unwrap_or(-1).max(-1), 255));
        Draft { positions, watermark, delta: encode(&change), outbox, ..Draft::default() }
    }

    async fn settle(&self, lane: &mut Lane, rows: &Rows) -> Broken {
        while !lane.head().settled {
            if self.below(8) == 0 {
                return None;
            }
            if self.below(8) == 0 {
                let head = lane.head().clone();
                let draft = Draft {
                    positions: head.positions,
                    ranges: head.ranges,
                    watermark: head.watermark,
                    outbox: head.outbox,
                    carry: true,
                    ..Draft::default()
                };
                self.commit(lane, draft, rows).await?;
                continue;
            }
            for entry in lane.head().outbox.clone() {
                Turn::default().await;
                match entry.target.as_str() {
                    SEALS => drop(self.pipeline.put_seal(&entry.payload).await.map_err(|e| self.note(&e)).ok()?),
                    _ => self.world.borrow_mut().send(&lane.key().lane, &entry),
                }
            }
            lane.settled();
        }
        if lane.manifest_due() || self.below(10) == 0 { self.manifest(lane, rows).await } else { Some(()) }
    }

    fn note(&self, error: &tidegate_core::Error) {
        if error.kind() == tidegate_core::ErrorKind::Internal {
            self.world.borrow_mut().broken = Some(error.to_string());
        }
    }

    async fn manifest(&self, lane: &mut Lane, rows: &Rows) -> Broken {
        let outcome = lane.write_manifest(encode(rows)).await.ok()?;
        matches!(outcome, ManifestOutcome::Written | ManifestOutcome::Unchanged).then_some(())
    }

    /// `rows`: the state after the commit. A manifest that is due covers the head, so it needs the state before.
    async fn commit(&self, lane: &mut Lane, draft: Draft, rows: &Rows) -> Broken {
        let rows_before = rows.clone();
        let carry = draft.carry;
        match lane.commit(draft.clone(), LaneLimit::Many).await.map_err(|e| self.note(&e)).ok()? {
            CommitOutcome::Committed | CommitOutcome::AlreadyCommitted => Some(()),
            // Only a carry commit changes no state, so only there the state at hand is that of the head.
            CommitOutcome::ManifestDue if carry => {
                self.manifest(lane, &rows_before).await?;
                let outcome = lane.commit(draft, LaneLimit::Many).await.ok()?;
                matches!(outcome, CommitOutcome::Committed | CommitOutcome::AlreadyCommitted).then_some(())
            }
            _ => None,
        }
    }

    async fn close(&mut self) -> Broken {
        let id = LaneId::close("sums");
        let (mut lane, none, _) = self.recall(&id).await?;
        let view = self.pipeline.registry().await.ok()?;
        let seals = self.pipeline.seals("sums").await.map_err(|e| self.note(&e)).ok()?;
        let floor = view.floors.get("sums").map_or(-1, |floor| floor.0);
        let through = self.closable(&view, &seals, floor);
        let Some(through) = through.filter(|through| *through > floor) else {
            self.remember(id, lane, none, None);
            return Some(());
        };
        let mut rows = Rows::new();
        for seal in seals.iter().filter(|stored| stored.seal.latest_end.is_some_and(|end| end.0 > floor)) {
            rows.extend(decode(&self.pipeline.seal_rows(seal).await.map_err(|e| self.note(&e)).ok()?));
        }
        rows.retain(|(end, _)| *end > floor && *end <= through);
        rows.sort_unstable();
        let entry = OutboxEntry {
            id: EffectId { n: lane.next_number(), index: RequestIndex::top(0) },
            target: "results".into(),
            wave: 0,
            rows: 1,
            committed_at: Timestamp(0),
            payload: encode(&rows),
        };
        let outbox = if rows.is_empty() { Vec::new() } else { vec![entry] };
        let draft = Draft { watermark: Some(Timestamp(through)), outbox, ..Draft::default() };
        let closing = Closing { output: "sums".into(), floor: Timestamp(through), registry_version: view.version };
        match lane.commit_close(draft, closing).await.map_err(|e| self.note(&e)).ok()? {
            CommitOutcome::Committed | CommitOutcome::AlreadyCommitted => {}
            CommitOutcome::Conflict if !lane.is_spoiled() => {
                self.remember(id, lane, none, None);
                return Some(());
            }
            _ => return None,
        }
        self.settle(&mut lane, &none).await?;
        self.remember(id, lane, none, None);
        Some(())
    }

    /// Through where every lane has sealed, if all partitions have a lane.
    fn closable(&self, view: &RegistryView, seals: &[StoredSeal], floor: i64) -> Option<i64> {
        let listed = self.world.borrow().listed();
        if !listed.iter().all(|partition| view.lanes.contains(&LaneId::new("s", partition))) {
            return None;
        }
        let through = sealed_through(seals.iter().map(|stored| &stored.seal));
        let of_lane = |lane: &LaneId| through.get(lane).map(|at| at.0);
        let active = view.active("s");
        match self.bug {
            Bug::SkipsSilentLanes => active.filter_map(of_lane).min(),
            _ => active.map(|lane| of_lane(lane).unwrap_or(floor)).min(),
        }
    }

    /// Splits a partition whose end was reached.
    async fn split(&mut self, partition: &str) -> Broken {
        let Partition { times, children, .. } = self.world.borrow().partitions[partition].clone();
        let id = LaneId::new("s", partition);
        if children.is_empty() {
            return Some(());
        }
        // From some moment on the source lists them.
        for child in &children {
            self.world.borrow_mut().partitions.get_mut(child)?.born = true;
        }
        let (lane, rows, floor) = self.recall(&id).await?;
        if position(&lane, partition) < times.len() as u64 || lane.head().sealed {
            self.remember(id, lane, rows, floor);
            return Some(());
        }
        let snapshot = |first: bool| match self.bug {
            Bug::InheritsTwice => encode(&rows),
            Bug::InheritsNothing => Bytes::new(),
            _ if first => encode(&rows),
            _ => Bytes::new(),
        };
        let born = children.iter().enumerate().map(|(i, child)| Child {
            partition: child.clone(),
            snapshot: snapshot(i == 0),
            ..Child::default()
        });
        let born: Vec<Child> = born.collect();
        let outcome =
            self.pipeline.reshard("s", &mut [lane], born, Timestamp(0)).await.map_err(|e| self.note(&e)).ok()?;
        matches!(outcome, CommitOutcome::Committed | CommitOutcome::AlreadyCommitted).then_some(())
    }
}

/// New rows, then what has left.
fn apply(rows: &mut Rows, delta: &[u8]) {
    for (end, what) in decode(delta) {
        match what {
            255 if end == 255 => {}
            255 => rows.retain(|row| row.0 > end),
            what => rows.push((end, what)),
        }
    }
}

/// One to three partitions, some of them new after a while, and one of them is split, once or twice over. Their last
/// records end every window.
fn source(random: &mut StdRng) -> BTreeMap<String, Partition> {
    let mut partitions = BTreeMap::new();
    let count = random.random_range(1..=3u8);
    let mut next = count + 1;
    let mut todo: Vec<(u8, bool, i64)> = (1..=count).map(|i| (i, i == 1 || random.random_bool(0.5), 0)).collect();
    while let Some((name, born, from)) = todo.pop() {
        let mut time = from;
        let mut times: Vec<i64> = Vec::new();
        for _ in 0..random.random_range(1..=8) {
            time += random.random_range(0..=3);
            times.push((time - random.random_range(0..=3)).max(0));
        }
        let splits = name == 1 || (name > count && random.random_bool(0.3));
        let mut children = Vec::new();
        if splits && next < 12 {
            for _ in 0..random.random_range(1..=2) {
                children.push(next.to_string());
                todo.push((next, false, time));
                next += 1;
            }
        }
        if children.is_empty() {
            times.push(END);
        }
        partitions.insert(name.to_string(), Partition { times, children, born });
    }
    partitions
}

fn run(seed: u64, bug: Bug) -> Result<usize, String> {
    let mut random = StdRng::seed_from_u64(seed);
    let inner = Store { store: MemoryStore::new(), bug: Mutex::new(bug), before: Mutex::default() };
    let store = Arc::new(FaultyStore::new(inner));
    let rate = [0.0, 0.05, 0.15][random.random_range(0..3)];
    let mut faults = StdRng::seed_from_u64(seed ^ 2);
    store.choose(move |request| fault(&mut faults, request, rate));
    let blobs: Arc<MemoryBlobs> = Arc::default();
    let ports = |salt: u64| Ports {
        store: Arc::new(Turns(store.clone())),
        blobs: blobs.clone(),
        clock: Arc::new(TurnClock),
        random: Arc::new(StdRandom::seeded(seed.wrapping_mul(31).wrapping_add(salt))),
    };
    let options = StateOptions {
        ring: random.random_range(3..=5),
        inline_limit: if random.random_bool(0.3) { 280 } else { 10_000 },
        load_concurrency: 3,
    };
    let partitions = source(&mut random);
    let world = Rc::new(RefCell::new(World { partitions, ..World::default() }));
    let shared_random = Rc::new(RefCell::new(StdRng::seed_from_u64(seed ^ 3)));
    let writers = (0..random.random_range(1..=4u64)).map(|i| {
        let memory = random.random_bool(0.6).then(BTreeMap::new);
        let (world, random, options, ports) = (world.clone(), shared_random.clone(), options.clone(), ports(i));
        Box::pin(async move {
            if let Ok(pipeline) = Pipeline::open(ports, "p", options).await {
                Writer { pipeline, bug, memory, world, random }.run(40).await;
            }
        }) as Pin<Box<dyn Future<Output = ()>>>
    });
    let writers: Vec<_> = writers.collect();
    schedule(writers, &store, &mut random);
    store.heal();
    while block_on(store.land()) {}
    *store.inner().bug.lock().unwrap() = Bug::None;
    block_on(finish(ports(99), options, &world))
}

/// After faults and mistakes have stopped, one writer finishes the source; then everything must add up.
async fn finish(ports: Ports, options: StateOptions, world: &Rc<RefCell<World>>) -> Result<usize, String> {
    let random = Rc::new(RefCell::new(StdRng::seed_from_u64(5)));
    for _ in 0..400 {
        let pipeline = Pipeline::open(ports.clone(), "p", options.clone()).await.map_err(|e| e.to_string())?;
        let random = random.clone();
        let bug = Bug::None;
        Writer { pipeline: pipeline.clone(), bug, memory: Some(BTreeMap::new()), world: world.clone(), random }
            .run(20)
            .await;
        let view = pipeline.registry().await.map_err(|e| e.to_string())?;
        let closed = view.floors.get("sums").is_some_and(|floor| floor.0 == END / WINDOW * WINDOW);
        let partitions = world.borrow().partitions.clone();
        if closed && all_is_read(&pipeline, &partitions).await {
            return add_up(pipeline, world).await;
        }
    }
    Err(world.borrow().broken.clone().unwrap_or_else(|| "I9: not everything is closed".into()))
}

async fn all_is_read(pipeline: &Pipeline, partitions: &BTreeMap<String, Partition>) -> bool {
    for (name, partition) in partitions {
        let loaded = pipeline.load(&LaneId::new("s", name), LoadRules::default()).await;
        if loaded.map_or(0, |loaded| position(&loaded.lane, name)) < partition.times.len() as u64 {
            return false;
        }
    }
    true
}

async fn add_up(pipeline: Pipeline, world: &Rc<RefCell<World>>) -> Result<usize, String> {
    // The closer's last outbox, and late rows whose lane rests.
    for lane in pipeline.lanes().await.map_err(|e| e.to_string())? {
        let loaded = pipeline.load(&lane, LoadRules::default()).await.map_err(|e| e.to_string())?;
        for entry in loaded.lane.head().outbox.iter().filter(|entry| entry.target != SEALS) {
            world.borrow_mut().send(&lane, entry);
        }
    }
    let world = world.borrow();
    if let Some(broken) = &world.broken {
        return Err(broken.clone());
    }
    let mut seen = BTreeMap::new();
    let mut windows = BTreeSet::new();
    for ((lane, id), payload) in &world.effects {
        let rows = decode(payload);
        let ends: BTreeSet<i64> = rows.iter().map(|(end, _)| *end).collect();
        if lane.is_close() && ends.into_iter().any(|end| !windows.insert(end)) {
            return Err(format!("I8: a window was emitted again by {id:?}"));
        }
        for row in rows {
            *seen.entry(row).or_insert(0u32) += 1;
        }
    }
    let mut expected = Vec::new();
    for (name, partition) in &world.partitions {
        // The records that end every window belong to one that stays open.
        let closing = partition.times.iter().enumerate().filter(|(_, time)| **time < END);
        expected.extend(closing.map(|(at, time)| (window_end(*time), record(name, at as u64 + 1))));
    }
    expected.sort_unstable();
    if seen.iter().any(|(_, times)| *times != 1) || !seen.keys().eq(&expected) {
        return Err(format!("I7: expected {expected:?}, found {seen:?}"));
    }
    Ok(windows.len())
}

#[test]
fn every_record_is_in_one_result_or_late() {
    if let Some(seed) = std::env::var("TIDEGATE_SEED").ok().and_then(|seed| seed.parse().ok()) {
        run(seed, Bug::None).unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
        return;
    }
    let schedules: u64 = std::env::var("TIDEGATE_SCHEDULES").ok().and_then(|n| n.parse().ok()).unwrap_or(200);
    let mut windows = 0;
    for seed in 0..schedules {
        windows += run(seed, Bug::None).unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
    }
    eprintln!("{schedules} schedules, {windows} windows");
}

/// Whatever is decided from the registry is checked by a transaction.
#[test]
fn stale_reads_of_the_registry_are_harmless() {
    for seed in 0..60 {
        run(seed, Bug::StaleRegistry).unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
    }
}

#[test]
fn planted_bugs_are_found() {
    for bug in [
        Bug::IgnoresRegistry,
        Bug::HalfTransactions,
        Bug::LosesSeals,
        Bug::IgnoresFloors,
        Bug::SkipsSilentLanes,
        Bug::InheritsTwice,
        Bug::InheritsNothing,
        Bug::ProofFirst,
    ] {
        let found = (0..3000).find_map(|seed| {
            // A planted bug may also run into an assertion.
            match std::panic::catch_unwind(|| run(seed, bug)) {
                Ok(Ok(_)) => None,
                Ok(Err(broken)) => Some((seed, broken)),
                Err(_) => Some((seed, "an assertion".to_owned())),
            }
        });
        let (seed, broken) = found.unwrap_or_else(|| panic!("{bug:?} was not found"));
        eprintln!("{bug:?}: seed {seed}: {}", &broken[..broken.len().min(160)]);
    }
}
