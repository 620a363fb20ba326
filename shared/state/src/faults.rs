//! A store that fails on purpose, around any other store; and one that counts.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::ports::{Condition, ConditionalStore, Item, ItemKey, PutOutcome, StoreError, TransactOp, TransactOutcome};

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is lost on its way: unknown to the caller, never applied.
    TimeoutBefore,
    /// It is carried out, the answer is lost: unknown to the caller.
    TimeoutAfter,
    /// It is carried out, the answer is lost, and the client delivers it again by itself: the caller gets the second
    /// answer.
    LostAnswer,
    /// It is delivered twice; the caller gets the first answer.
    Twice,
    /// Unknown to the caller; carried out when [`FaultyStore::land`] is called.
    Delayed,
    /// Refused because of throttling.
    Throttled,
    /// Carried out, but a refusal does not tell what stood in the way.
    OldItemMissing,
    /// Refused because the item is too large.
    TooLarge,
    /// Refused because there is no space.
    Full,
}

/// What a fault may be fired at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// A `get`.
    Get(&'a ItemKey),
    /// A `put_if`.
    Put(&'a ItemKey),
    /// A `query`.
    Query(&'a str),
    /// A `transact`.
    Transact(&'a [TransactOp]),
    /// A `delete_if`.
    Delete(&'a ItemKey),
}

/// What a store has been asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// `get` requests.
    pub gets: u64,
    /// `query` requests.
    pub queries: u64,
    /// `put_if` requests.
    pub puts: u64,
    /// `transact` requests.
    pub transacts: u64,
    /// `delete_if` requests.
    pub deletes: u64,
    /// Bytes of data in items that were read.
    pub bytes_read: u64,
    /// Bytes of data in items that were to be written.
    pub bytes_written: u64,
}

enum Late {
    Put(ItemKey, Item, Condition),
    Transact(Vec<TransactOp>),
    Delete(ItemKey, u64),
}

type Chooser = Box<dyn FnMut(Request<'_>) -> Option<Fault> + Send>;

#[derive(Default)]
struct Inner {
    script: VecDeque<Option<Fault>>,
    chooser: Option<Chooser>,
    late: VecDeque<Late>,
    counters: Counters,
}

/// Counts requests to `S` and makes some of them fail. Reads are never stale.
pub struct FaultyStore<S> {
    store: S,
    inner: Mutex<Inner>,
}

impl<S: ConditionalStore> FaultyStore<S> {
    /// Around `store`, without faults.
    pub fn new(store: S) -> Self {
        Self { store, inner: Mutex::default() }
    }

    /// The faults of the next writes, one each; `None` lets one pass.
    pub fn script(&self, faults: impl IntoIterator<Item = Option<Fault>>) {
        self.lock().script.extend(faults);
    }

    /// Asks `chooser` about every request for which nothing is scripted. Reads take `TimeoutBefore` and `Throttled`.
    pub fn choose(&self, chooser: impl FnMut(Request<'_>) -> Option<Fault> + Send + 'static) {
        self.lock().chooser = Some(Box::new(chooser));
    }

    /// No faults from now on. Delayed writes stay delayed.
    pub fn heal(&self) {
        let mut inner = self.lock();
        inner.chooser = None;
        inner.script.clear();
    }

    /// Carries out the oldest delayed write; whether there was one.
    pub async fn land(&self) -> bool {
        let late = self.lock().late.pop_front();
        // Nobody hears the answer.
        match late {
            None => return false,
            Some(Late::Put(key, item, condition)) => drop(self.store.put_if(&key, item, condition).await),
            Some(Late::Transact(ops)) => drop(self.store.transact(ops).await),
            Some(Late::Delete(key, version)) => drop(self.store.delete_if(&key, version).await),
        }
        true
    }

    /// What was asked since the last call.
    pub fn take_counters(&self) -> Counters {
        std::mem::take(&mut self.lock().counters)
    }

    /// The store inside.
    pub fn inner(&self) -> &S {
        &self.store
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fault(&self, request: Request<'_>, count: impl FnOnce(&mut Counters)) -> Option<Fault> {
        let mut inner = self.lock();
        count(&mut inner.counters);
        let write = matches!(request, Request::Put(_) | Request::Transact(_) | Request::Delete(_));
        if write && let Some(fault) = inner.script.pop_front() {
            return fault;
        }
        inner.chooser.as_mut().and_then(|choose| choose(request))
    }

    fn read_fault(&self, request: Request<'_>, count: impl FnOnce(&mut Counters)) -> Result<(), StoreError> {
        match self.fault(request, count) {
            Some(Fault::TimeoutBefore) => Err(unknown()),
            Some(Fault::Throttled) => Err(StoreError::Throttled),
            _ => Ok(()),
        }
    }
}

fn unknown() -> StoreError {
    StoreError::Unknown("no answer in time".into())
}

/// Faults that answer without a word from the store.
fn refused(fault: Option<Fault>, bytes: u64) -> Result<(), StoreError> {
    match fault {
        Some(Fault::TimeoutBefore) => Err(unknown()),
        Some(Fault::Throttled) => Err(StoreError::Throttled),
        Some(Fault::TooLarge) => Err(StoreError::TooLarge { bytes, limit: bytes.saturating_sub(1) }),
        Some(Fault::Full) => Err(StoreError::Full("no space".into())),
        _ => Ok(()),
    }
}

fn put_bytes(ops: &[TransactOp]) -> u64 {
    let bytes = |op: &TransactOp| match op {
        TransactOp::Put { item, .. } => item.data.len() as u64,
        TransactOp::Check { .. } => 0,
    };
    ops.iter().map(bytes).sum()
}

#[async_trait]
impl<S: ConditionalStore> ConditionalStore for FaultyStore<S> {
    async fn get(&self, key: &ItemKey) -> Result<Option<Item>, StoreError> {
        self.read_fault(Request::Get(key), |c| c.gets += 1)?;
        let item = self.store.get(key).await?;
        self.lock().counters.bytes_read += item.as_ref().map_or(0, |item| item.data.len() as u64);
        Ok(item)
    }

    async fn put_if(&self, key: &ItemKey, item: Item, condition: Condition) -> Result<PutOutcome, StoreError> {
        let bytes = item.data.len() as u64;
        let fault = self.fault(Request::Put(key), |c| {
            c.puts += 1;
            c.bytes_written += bytes;
        });
        refused(fault, bytes)?;
        if fault == Some(Fault::Delayed) {
            self.lock().late.push_back(Late::Put(key.clone(), item, condition));
            return Err(unknown());
        }
        let first = self.store.put_if(key, item.clone(), condition).await?;
        match fault {
            Some(Fault::TimeoutAfter) => Err(unknown()),
            Some(Fault::LostAnswer) => self.store.put_if(key, item, condition).await,
            Some(Fault::Twice) => {
                let _ = self.store.put_if(key, item, condition).await?;
                Ok(first)
            }
            Some(Fault::OldItemMissing) if first != PutOutcome::Applied => Ok(PutOutcome::Refused(None)),
            _ => Ok(first),
        }
    }

    async fn query(&self, partition: &str) -> Result<Vec<(ItemKey, Item)>, StoreError> {
        self.read_fault(Request::Query(partition), |c| c.queries += 1)?;
        let items = self.store.query(partition).await?;
        self.lock().counters.bytes_read += items.iter().map(|(_, item)| item.data.len() as u64).sum::<u64>();
        Ok(items)
    }

    async fn transact(&self, ops: Vec<TransactOp>) -> Result<TransactOutcome, StoreError> {
        let bytes = put_bytes(&ops);
        let fault = self.fault(Request::Transact(&ops), |c| {
            c.transacts += 1;
            c.bytes_written += bytes;
        });
        refused(fault, bytes)?;
        if fault == Some(Fault::Delayed) {
            self.lock().late.push_back(Late::Transact(ops));
            return Err(unknown());
        }
        let first = self.store.transact(ops.clone()).await?;
        match (fault, first) {
            (Some(Fault::TimeoutAfter), _) => Err(unknown()),
            (Some(Fault::LostAnswer), _) => self.store.transact(ops).await,
            (Some(Fault::Twice), first) => {
                let _ = self.store.transact(ops).await?;
                Ok(first)
            }
            (Some(Fault::OldItemMissing), TransactOutcome::Refused(refusals)) => Ok(TransactOutcome::Refused(
                refusals.into_iter().map(|refusal| crate::Refusal { old: None, ..refusal }).collect(),
            )),
            (_, first) => Ok(first),
        }
    }

    async fn delete_if(&self, key: &ItemKey, version: u64) -> Result<PutOutcome, StoreError> {
        let fault = self.fault(Request::Delete(key), |c| c.deletes += 1);
        refused(fault, 0)?;
        if fault == Some(Fault::Delayed) {
            self.lock().late.push_back(Late::Delete(key.clone(), version));
            return Err(unknown());
        }
        let first = self.store.delete_if(key, version).await?;
        match fault {
            Some(Fault::TimeoutAfter) => Err(unknown()),
            Some(Fault::LostAnswer) => self.store.delete_if(key, version).await,
            Some(Fault::Twice) => {
                let _ = self.store.delete_if(key, version).await?;
                Ok(first)
            }
            Some(Fault::OldItemMissing) if first != PutOutcome::Applied => Ok(PutOutcome::Refused(None)),
            _ => Ok(first),
        }
    }
}
