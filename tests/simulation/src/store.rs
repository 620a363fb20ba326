//! The simulated store: items with conditional writes, and everything that can happen to a request on its way.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use tidegate_state::{
    Condition, ConditionalStore, Item, ItemKey, PutOutcome, Refusal, StoreError, TransactOp, TransactOutcome,
};

use crate::config::Config;
use crate::draw::Draw;
use crate::environment;
use crate::fault::{Fault, Faults, Site};
use crate::plant::{self, Plant};
use crate::world::{Cell, HOUR, MINUTE, MS, Micros, SECOND, Shared, World};

/// What is stored.
#[derive(Clone, Default)]
pub struct Items {
    /// Which table it is: a restored copy is another one.
    pub table: u32,
    partitions: HashMap<String, BTreeMap<String, Item>>,
    /// Each item as it was one write before: for planted stale reads.
    before: HashMap<ItemKey, Option<Item>>,
}

impl Items {
    /// The item under `key`.
    pub fn get(&self, key: &ItemKey) -> Option<&Item> {
        self.partitions.get(&key.partition)?.get(&key.sort)
    }

    /// The item under `key`, one write ago.
    pub fn stale(&self, key: &ItemKey) -> Option<&Item> {
        self.before.get(key).map_or_else(|| self.get(key), Option::as_ref)
    }

    /// Stores an item.
    pub fn put(&mut self, key: &ItemKey, item: Item) {
        let before = self.partitions.entry(key.partition.clone()).or_default().insert(key.sort.clone(), item);
        self.before.insert(key.clone(), before);
    }

    /// Removes an item.
    pub fn remove(&mut self, key: &ItemKey) {
        if let Some(items) = self.partitions.get_mut(&key.partition) {
            items.remove(&key.sort);
        }
    }

    fn query(&self, partition: &str) -> Vec<(ItemKey, Item)> {
        let items = self.partitions.get(partition).into_iter().flatten();
        items.map(|(sort, item)| (ItemKey::new(partition, sort), item.clone())).collect()
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.partitions.values().map(BTreeMap::len).sum()
    }

    /// How many seals there are of generations before `generation`.
    pub fn seals_before(&self, generation: u64) -> usize {
        let before = |name: &String| (1..generation).any(|old| name.starts_with(&format!("p#{old}#seals#")));
        self.partitions.iter().filter(|(name, _)| before(name)).map(|(_, items)| items.len()).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A write, of one item or of several.
#[derive(Clone)]
pub(crate) enum Write {
    Put(ItemKey, Item, Condition),
    Transact(Vec<TransactOp>),
}

/// What a write was answered.
#[derive(Clone, Debug)]
pub(crate) enum Wrote {
    Put(PutOutcome),
    Transact(TransactOutcome),
}

pub(crate) type Answer = Result<Wrote, StoreError>;

impl Wrote {
    fn without_old_items(self) -> Self {
        match self {
            Self::Put(PutOutcome::Refused(_)) => Self::Put(PutOutcome::Refused(None)),
            Self::Transact(TransactOutcome::Refused(refusals)) => {
                let refusals = refusals.into_iter().map(|refusal| Refusal { old: None, ..refusal }).collect();
                Self::Transact(TransactOutcome::Refused(refusals))
            }
            applied => applied,
        }
    }

    /// The old items as an environment of `version` reads them.
    fn seen_by(self, version: u8) -> Self {
        let read = |item: Item| environment::as_read(version, item);
        match self {
            Self::Put(PutOutcome::Refused(old)) => Self::Put(PutOutcome::Refused(old.map(read))),
            Self::Transact(TransactOutcome::Refused(refusals)) => {
                let seen = refusals.into_iter().map(|refusal| Refusal { old: refusal.old.map(read), ..refusal });
                Self::Transact(TransactOutcome::Refused(seen.collect()))
            }
            applied => applied,
        }
    }

    fn applied(&self) -> bool {
        matches!(self, Self::Put(PutOutcome::Applied) | Self::Transact(TransactOutcome::Applied))
    }
}

impl World {
    fn apply(&mut self, environment: usize, write: &Write) -> Wrote {
        if self.environments[environment].table != self.items.table {
            // It goes to the table that was replaced.
            return Wrote::Put(PutOutcome::Applied);
        }
        match write {
            Write::Put(key, item, condition) => Wrote::Put(self.apply_put(environment, key, item, *condition)),
            Write::Transact(ops) => Wrote::Transact(self.apply_transaction(environment, ops)),
        }
    }

    fn apply_put(&mut self, environment: usize, key: &ItemKey, item: &Item, condition: Condition) -> PutOutcome {
        let old = self.items.get(key).cloned();
        if !plant::holds(self, key, item, condition, old.as_ref()) {
            self.check.refused(environment, key);
            self.environments[environment].refusals += 1;
            crate::check::count_refusal(self, environment, key, item, old.as_ref());
            self.note(11, || format!("  store: env {environment} refused at {key} (wanted {})", item.version));
            return PutOutcome::Refused(old);
        }
        if plant::loses_write(self, key) {
            return PutOutcome::Applied;
        }
        self.take_in(environment, key, item);
        PutOutcome::Applied
    }

    /// A write takes effect.
    fn take_in(&mut self, environment: usize, key: &ItemKey, item: &Item) {
        self.note(12 + item.version, || format!("  store: {key} = {} by env {environment}", item.version));
        self.items.put(key, item.clone());
        self.environments[environment].writes += 1;
        crate::check::wrote(self, environment, key, item);
        plant::after_write(self, key);
    }

    fn apply_transaction(&mut self, environment: usize, ops: &[TransactOp]) -> TransactOutcome {
        let mut refused = Vec::new();
        for (op, step) in ops.iter().enumerate() {
            let old = self.items.get(step.key());
            if !step.condition().holds(old) {
                refused.push(Refusal { op, old: old.cloned() });
            }
        }
        if self.planted(Plant::RegistryConditionIgnored) {
            refused.retain(|refusal| refusal.op == 0);
        }
        if self.planted(Plant::TransactionsAreNotAtomic) && !refused.is_empty() && refused.iter().all(|r| r.op > 0) {
            if let TransactOp::Put { key, item, .. } = &ops[0] {
                self.take_in(environment, key, item);
            }
            return TransactOutcome::Refused(refused);
        }
        if !refused.is_empty() {
            crate::check::count_refused_transaction(self, ops, &refused);
            self.note(13, || format!("  store: env {environment} refused a transaction at {}", ops[0].key()));
            return TransactOutcome::Refused(refused);
        }
        crate::check::replaced(self, ops);
        for op in ops {
            if let TransactOp::Put { key, item, .. } = op {
                self.take_in(environment, key, item);
            }
        }
        self.check.replaced_all();
        TransactOutcome::Applied
    }

    /// Sends a write on its way.
    fn send_write(&mut self, environment: usize, write: Write) -> Cell<Answer> {
        let cell = Cell::default();
        let site = if matches!(write, Write::Put(..)) { Site::StorePut } else { Site::StoreTransact };
        let struck = self.strike(environment, site);
        let (there, back) = (self.latency(environment), self.latency(environment));
        let Some((fault, mut draw)) = struck else {
            self.deliver(environment, write, there, back, &cell, Ok);
            return cell;
        };
        self.send_faulty(environment, write, (fault, &mut draw), (there, back), &cell);
        cell
    }

    fn send_faulty(
        &mut self,
        environment: usize,
        write: Write,
        (fault, draw): (Fault, &mut Draw),
        (there, back): (Micros, Micros),
        cell: &Cell<Answer>,
    ) {
        let timeout = draw.within(SECOND, 10 * SECOND);
        let unknown = |_| Err(StoreError::Unknown("no answer in time".into()));
        let bytes = match &write {
            Write::Put(_, item, _) => item.data.len() as u64,
            Write::Transact(_) => 0,
        };
        let instead = |world: &mut World, error: StoreError, after| {
            let cell = cell.clone();
            world.later(after, move |_| cell.fill(Err(error)));
        };
        match fault {
            Fault::PutLostBefore | Fault::TransactLostBefore => {
                instead(self, StoreError::Unknown("no answer in time".into()), timeout);
            }
            Fault::Put500NotApplied | Fault::Put503 => {
                instead(self, StoreError::Unknown("500 Internal Server Error".into()), there + back);
            }
            Fault::PutLostAfter | Fault::TransactLostAfter => {
                self.deliver(environment, write, there, timeout, cell, unknown);
            }
            Fault::Put500Applied => self.deliver(environment, write, there, back, cell, unknown),
            Fault::PutLandsSecondsLater | Fault::PutLandsHoursLater | Fault::TransactLandsLater => {
                let longest = if fault == Fault::PutLandsSecondsLater { MINUTE } else { 6 * HOUR };
                let lands = timeout + draw.spread(SECOND, longest);
                instead(self, StoreError::Unknown("no answer in time".into()), timeout);
                self.later(lands, move |world| {
                    let wrote = world.apply(environment, &write);
                    world.check.landed_late(wrote.applied());
                });
            }
            Fault::PutThrottled | Fault::TransactConflict => instead(self, StoreError::Throttled, there + back),
            Fault::PutThrottledAfterApply => {
                self.deliver(environment, write, there, back + timeout, cell, |_| Err(StoreError::Throttled));
            }
            Fault::PutAnswerLost | Fault::TransactAnswerLost => {
                let first = write.clone();
                self.later(there, move |world| drop(world.apply(environment, &first)));
                self.deliver(environment, write, there + timeout, back, cell, Ok);
            }
            Fault::PutTwice => {
                let again = write.clone();
                self.deliver(environment, write, there, back, cell, Ok);
                let lands = there + draw.spread(MS, 10 * MINUTE);
                self.later(lands, move |world| {
                    drop(world.apply(environment, &again));
                    world.check.disturbances += 1;
                });
            }
            Fault::PutOldItemMissing | Fault::TransactOldItemsMissing => {
                self.deliver(environment, write, there, back, cell, |answer| Ok(answer.without_old_items()));
            }
            Fault::PutTooLarge => instead(self, StoreError::TooLarge { bytes, limit: bytes - 1 }, there + back),
            Fault::PutExpiredSignature => {
                instead(self, StoreError::NotApplied("the signature has expired".into()), there + back);
            }
            _ => {
                let slow = draw.spread(100 * MS, 20 * SECOND);
                self.deliver(environment, write, there + slow, back, cell, Ok);
            }
        }
    }

    fn deliver(
        &mut self,
        environment: usize,
        write: Write,
        there: Micros,
        back: Micros,
        cell: &Cell<Answer>,
        answer: impl FnOnce(Wrote) -> Answer + Send + 'static,
    ) {
        let cell = cell.clone();
        self.later(there, move |world| {
            let wrote = world.apply(environment, &write);
            world.later(back, move |_| cell.fill(answer(wrote)));
        });
    }

    /// How long a request needs in one direction.
    pub fn latency(&mut self, environment: usize) -> Micros {
        let dice = &mut self.environments[environment].dice;
        if dice.percent(4) { dice.within(20 * MS, 400 * MS) } else { dice.within(300, 9 * MS) }
    }

    fn send_read(&mut self, environment: usize, key: ItemKey) -> Cell<Result<Option<Item>, StoreError>> {
        let cell = Cell::default();
        self.environments[environment].reads += 1;
        let (mut there, back) = (self.latency(environment), self.latency(environment));
        let answer = cell.clone();
        match self.strike(environment, Site::StoreRead) {
            Some((Fault::ReadTimedOut, mut draw)) => {
                let error = StoreError::Unknown("no answer in time".into());
                self.later(draw.within(SECOND, 5 * SECOND), move |_| answer.fill(Err(error)));
                return cell;
            }
            Some((Fault::ReadThrottled, _)) => {
                self.later(there + back, move |_| answer.fill(Err(StoreError::Throttled)));
                return cell;
            }
            Some((_, mut draw)) => there += draw.spread(20 * MS, 10 * SECOND),
            None => {}
        }
        self.later(there, move |world| {
            let item = plant::read(world, environment, &key);
            let version = world.environments[environment].version;
            let item = item.map(|item| environment::as_read(version, item));
            world.later(back, move |_| answer.fill(Ok(item)));
        });
        cell
    }

    fn send_query(&mut self, environment: usize, partition: String) -> Cell<Vec<(ItemKey, Item)>> {
        let cell = Cell::default();
        self.environments[environment].reads += 1;
        let (there, back) = (self.latency(environment), self.latency(environment));
        let pause = match self.strike(environment, Site::StoreQuery) {
            Some((_, mut draw)) => draw.spread(MS, 10 * SECOND),
            None => 0,
        };
        let answer = cell.clone();
        let version = self.environments[environment].version;
        self.later(there, move |world| {
            let first = world.items.query(&partition);
            let half = first.len() / 2;
            // The second page is read later than the first one.
            world.later(pause + back, move |world| {
                let from = first.get(half).map(|(key, _)| key.clone());
                let rest = world.items.query(&partition);
                let mut items: Vec<_> = first.into_iter().take(half).collect();
                items.extend(rest.into_iter().filter(|(key, _)| from.as_ref().is_none_or(|from| key >= from)));
                let items = plant::query(world, items);
                answer.fill(items.into_iter().map(|(key, item)| (key, environment::as_read(version, item))).collect());
            });
        });
        cell
    }
}

/// The simulated store by itself: nothing is slow and nothing goes wrong. To compare it with other ones.
pub struct Alone(World);

impl Default for Alone {
    fn default() -> Self {
        let mut world = World::new(Config::draw(0), Faults::draw(0, true, None), None, false);
        world.start_environment();
        Self(world)
    }
}

impl Alone {
    /// As [`ConditionalStore::get`].
    pub fn get(&self, key: &ItemKey) -> Option<Item> {
        self.0.items.get(key).cloned()
    }

    /// As [`ConditionalStore::put_if`].
    pub fn put_if(&mut self, key: &ItemKey, item: &Item, condition: Condition) -> PutOutcome {
        self.0.apply_put(0, key, item, condition)
    }

    /// As [`ConditionalStore::query`].
    pub fn query(&self, partition: &str) -> Vec<(ItemKey, Item)> {
        self.0.items.query(partition)
    }

    /// As [`ConditionalStore::transact`].
    pub fn transact(&mut self, ops: &[TransactOp]) -> TransactOutcome {
        self.0.apply_transaction(0, ops)
    }

    /// As [`ConditionalStore::delete_if`].
    pub fn delete_if(&mut self, key: &ItemKey, version: u64) -> PutOutcome {
        self.0.apply_delete(key, version)
    }
}

/// The store as one environment sees it.
pub struct StorePort {
    /// The world.
    pub world: Shared,
    /// Whose requests these are.
    pub environment: usize,
}

impl StorePort {
    async fn write(&self, write: Write) -> Answer {
        environment::struck(&self.world, self.environment).await;
        let (cell, copy) = {
            let mut world = self.world.lock();
            let copy = world.plant.is_some().then(|| write.clone());
            (world.send_write(self.environment, write), copy)
        };
        let mut answer = cell.await;
        if let Some(write) = copy {
            answer = plant::answer(&mut self.world.lock(), &write, answer);
        }
        let version = {
            let mut world = self.world.lock();
            let environment = &mut world.environments[self.environment];
            environment.unknown += u64::from(matches!(answer, Err(StoreError::Unknown(_))));
            environment.version
        };
        Ok(answer?.seen_by(version))
    }

    fn version(&self) -> u8 {
        self.world.lock().environments[self.environment].version
    }
}

#[async_trait]
impl ConditionalStore for StorePort {
    async fn get(&self, key: &ItemKey) -> Result<Option<Item>, StoreError> {
        environment::struck(&self.world, self.environment).await;
        let cell = self.world.lock().send_read(self.environment, key.clone());
        cell.await
    }

    async fn put_if(&self, key: &ItemKey, item: Item, condition: Condition) -> Result<PutOutcome, StoreError> {
        let item = environment::as_written(self.version(), item);
        match self.write(Write::Put(key.clone(), item, condition)).await? {
            Wrote::Put(outcome) => Ok(outcome),
            Wrote::Transact(_) => Err(StoreError::Damaged("a put was answered as a transaction".into())),
        }
    }

    async fn query(&self, partition: &str) -> Result<Vec<(ItemKey, Item)>, StoreError> {
        environment::struck(&self.world, self.environment).await;
        let cell = self.world.lock().send_query(self.environment, partition.to_owned());
        Ok(cell.await)
    }

    async fn transact(&self, ops: Vec<TransactOp>) -> Result<TransactOutcome, StoreError> {
        let version = self.version();
        let ops = ops.into_iter().map(|op| match op {
            TransactOp::Put { key, item, condition } => {
                TransactOp::Put { key, item: environment::as_written(version, item), condition }
            }
            check => check,
        });
        match self.write(Write::Transact(ops.collect())).await? {
            Wrote::Transact(outcome) => Ok(outcome),
            Wrote::Put(PutOutcome::Applied) => Ok(TransactOutcome::Applied),
            Wrote::Put(_) => Err(StoreError::Damaged("a transaction was answered as a put".into())),
        }
    }

    async fn delete_if(&self, key: &ItemKey, version: u64) -> Result<PutOutcome, StoreError> {
        environment::struck(&self.world, self.environment).await;
        let cell = Cell::default();
        {
            let mut world = self.world.lock();
            let (mut there, back) = (world.latency(self.environment), world.latency(self.environment));
            let struck = world.strike(self.environment, Site::StoreDelete);
            let late = struck.is_some();
            if let Some((_, mut draw)) = struck {
                there += draw.spread(MS, HOUR);
            }
            let (key, gone) = (key.clone(), cell.clone());
            if late {
                let unknown = StoreError::Unknown("no answer in time".into());
                world.later(5 * SECOND, move |_| gone.fill(Err(unknown)));
                let environment = self.environment;
                world.later(there, move |world| {
                    if world.environments[environment].table == world.items.table {
                        drop(world.apply_delete(&key, version));
                    }
                });
            } else {
                let environment = self.environment;
                world.later(there, move |world| {
                    if world.environments[environment].table != world.items.table {
                        return;
                    }
                    let answer = world.apply_delete(&key, version);
                    world.later(back, move |_| gone.fill(Ok(answer)));
                });
            }
        }
        cell.await
    }
}

impl World {
    fn apply_delete(&mut self, key: &ItemKey, version: u64) -> PutOutcome {
        let old = self.items.get(key).cloned();
        if old.as_ref().is_none_or(|old| old.version != version) {
            return PutOutcome::Refused(old);
        }
        self.note(14, || format!("  store: {key} is removed"));
        crate::check::removed(self, key);
        self.items.remove(key);
        PutOutcome::Applied
    }
}
