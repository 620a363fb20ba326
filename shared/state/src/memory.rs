//! Stores in memory, for tests and for runs that keep nothing.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use crate::ports::{
    BlobStore, Condition, ConditionalStore, Item, ItemKey, PutOutcome, Refusal, StoreError, TransactOp,
    TransactOutcome, check_blob_key, check_transaction,
};

/// A [`ConditionalStore`] in memory. Several handles share it through an `Arc`.
#[derive(Debug, Default)]
pub struct MemoryStore {
    items: Mutex<BTreeMap<ItemKey, Item>>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Everything that is stored.
    pub fn items(&self) -> BTreeMap<ItemKey, Item> {
        lock(&self.items).clone()
    }

    /// Puts or removes an item without any condition: how tests damage state.
    pub fn force(&self, key: ItemKey, item: Option<Item>) {
        match item {
            Some(item) => lock(&self.items).insert(key, item),
            None => lock(&self.items).remove(&key),
        };
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl ConditionalStore for MemoryStore {
    async fn get(&self, key: &ItemKey) -> Result<Option<Item>, StoreError> {
        Ok(lock(&self.items).get(key).cloned())
    }

    async fn put_if(&self, key: &ItemKey, item: Item, condition: Condition) -> Result<PutOutcome, StoreError> {
        let mut items = lock(&self.items);
        let old = items.get(key);
        if !condition.holds(old) {
            return Ok(PutOutcome::Refused(old.cloned()));
        }
        items.insert(key.clone(), item);
        Ok(PutOutcome::Applied)
    }

    async fn query(&self, partition: &str) -> Result<Vec<(ItemKey, Item)>, StoreError> {
        let first = ItemKey::new(partition, "");
        let items = lock(&self.items);
        let found = items.range(first..).take_while(|(key, _)| key.partition == partition);
        Ok(found.map(|(key, item)| (key.clone(), item.clone())).collect())
    }

    async fn transact(&self, ops: Vec<TransactOp>) -> Result<TransactOutcome, StoreError> {
        check_transaction(&ops)?;
        let mut items = lock(&self.items);
        let refused: Vec<Refusal> = ops
            .iter()
            .enumerate()
            .filter(|(_, op)| !op.condition().holds(items.get(op.key())))
            .map(|(i, op)| Refusal { op: i, old: items.get(op.key()).cloned() })
            .collect();
        if !refused.is_empty() {
            return Ok(TransactOutcome::Refused(refused));
        }
        for op in ops {
            if let TransactOp::Put { key, item, .. } = op {
                items.insert(key, item);
            }
        }
        Ok(TransactOutcome::Applied)
    }

    async fn delete_if(&self, key: &ItemKey, version: u64) -> Result<PutOutcome, StoreError> {
        let mut items = lock(&self.items);
        let old = items.get(key);
        if !Condition::Version(version).holds(old) {
            return Ok(PutOutcome::Refused(old.cloned()));
        }
        items.remove(key);
        Ok(PutOutcome::Applied)
    }
}

/// A [`BlobStore`] in memory.
#[derive(Debug, Default)]
pub struct MemoryBlobs {
    objects: Mutex<BTreeMap<String, Bytes>>,
}

impl MemoryBlobs {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces or removes an object: how tests damage state.
    pub fn force(&self, key: &str, data: Option<Bytes>) {
        match data {
            Some(data) => lock(&self.objects).insert(key.to_owned(), data),
            None => lock(&self.objects).remove(key),
        };
    }
}

#[async_trait]
impl BlobStore for MemoryBlobs {
    async fn put(&self, key: &str, data: Bytes) -> Result<(), StoreError> {
        check_blob_key(key)?;
        lock(&self.objects).entry(key.to_owned()).or_insert(data);
        Ok(())
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        check_blob_key(key)?;
        Ok(lock(&self.objects).get(key).cloned())
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        check_blob_key(prefix)?;
        let below = format!("{prefix}/");
        Ok(lock(&self.objects).keys().filter(|key| key.starts_with(&below)).cloned().collect())
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        check_blob_key(key)?;
        lock(&self.objects).remove(key);
        Ok(())
    }
}
