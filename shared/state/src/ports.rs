//! The two ports to where state is kept, and what a store promises.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use tidegate_core::Error;

/// Where an item lives: a partition (the unit of throughput and of [`ConditionalStore::query`]) and a place in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ItemKey {
    /// The partition key.
    pub partition: String,
    /// The sort key.
    pub sort: String,
}

impl ItemKey {
    /// The item `sort` of `partition`.
    pub fn new(partition: impl Into<String>, sort: impl Into<String>) -> Self {
        Self { partition: partition.into(), sort: sort.into() }
    }
}

impl fmt::Display for ItemKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.partition, self.sort)
    }
}

/// What is stored under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What conditions compare. At most `i64::MAX`.
    pub version: u64,
    /// The token of the write that put it here: how a writer knows its own write again.
    pub attempt: u128,
    /// The record, opaque to the store.
    pub data: Bytes,
}

/// What must be true for a write to take effect. An unconditional write does not exist on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// Nothing is stored under the key.
    Absent,
    /// The stored item has exactly this version.
    Version(u64),
}

impl Condition {
    /// Whether the condition holds for what is stored.
    pub fn holds(self, stored: Option<&Item>) -> bool {
        match (self, stored) {
            (Self::Absent, None) => true,
            (Self::Version(wanted), Some(item)) => item.version == wanted,
            _ => false,
        }
    }
}

/// The answer to [`ConditionalStore::put_if`].
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutOutcome {
    /// The item is stored, durably.
    Applied,
    /// The condition did not hold and nothing changed. The item that stood in the way, if the store told: `None`
    /// means "absent or not told", so never conclude anything from it.
    ///
    /// It may be the writer's own item, when a client repeated a request whose answer was lost.
    Refused(Option<Item>),
}

/// One step of [`ConditionalStore::transact`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactOp {
    /// Put `item` under `key` if `condition` holds.
    Put {
        /// Where.
        key: ItemKey,
        /// What.
        item: Item,
        /// If.
        condition: Condition,
    },
    /// Write nothing, but let the transaction fail unless `condition` holds.
    Check {
        /// Where.
        key: ItemKey,
        /// If.
        condition: Condition,
    },
}

impl TransactOp {
    /// The key it is about.
    pub fn key(&self) -> &ItemKey {
        match self {
            Self::Put { key, .. } | Self::Check { key, .. } => key,
        }
    }

    /// The condition it makes.
    pub fn condition(&self) -> Condition {
        match self {
            Self::Put { condition, .. } | Self::Check { condition, .. } => *condition,
        }
    }
}

/// One condition of a transaction that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The place of the operation in the transaction.
    pub op: usize,
    /// What stood in the way, with the reservations of [`PutOutcome::Refused`].
    pub old: Option<Item>,
}

/// The answer to [`ConditionalStore::transact`].
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactOutcome {
    /// Everything is stored.
    Applied,
    /// At least one condition did not hold; nothing changed.
    Refused(Vec<Refusal>),
}

/// What went wrong with a request to a store, grouped by what may have happened to the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// Too many requests, or another transaction was at work on the item. This answer changed nothing, but an
    /// earlier delivery of the same request may have: repeat it with the same attempt token, after a pause.
    Throttled,
    /// Nothing was changed by this answer and repeating is useless until somebody acts (no permission, no table).
    NotApplied(String),
    /// A write may have taken effect, may yet take effect, or may never do so.
    Unknown(String),
    /// The item does not fit, in bytes; nothing changed.
    TooLarge {
        /// Size of the item.
        bytes: u64,
        /// Size that the store takes.
        limit: u64,
    },
    /// No space is left; nothing changed.
    Full(String),
    /// What is stored cannot be read any more.
    Damaged(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Throttled => f.write_str("the store is throttling requests"),
            Self::NotApplied(why) => write!(f, "the store refused the request: {why}"),
            Self::Unknown(why) => write!(f, "the store did not answer clearly: {why}"),
            Self::TooLarge { bytes, limit } => {
                write!(f, "an item of {bytes} bytes does not fit into the store, which takes {limit}")
            }
            Self::Full(why) => write!(f, "no space is left in the store: {why}"),
            Self::Damaged(why) => write!(f, "the stored state is damaged: {why}"),
        }
    }
}

impl std::error::Error for StoreError {}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        match error {
            StoreError::Throttled => Self::unavailable(message)
                .with_help("it passes by itself; if it does not, look at the table's capacity and at hot keys"),
            StoreError::Unknown(_) => Self::unavailable(message).with_help("the batch is taken again from the source"),
            StoreError::NotApplied(_) => {
                Self::unavailable(message).with_help("check that the table or folder exists and that it may be used")
            }
            StoreError::TooLarge { .. } => Self::invalid(message).with_help("use smaller batches"),
            StoreError::Full(_) => {
                Self::unavailable(message).with_help("free some space and start again; what was committed is intact")
            }
            StoreError::Damaged(_) => Self::internal(message)
                .with_help("keep a copy of the state, then restore it or start a new state folder"),
        }
    }
}

/// A store of small items with conditional writes.
///
/// Every implementation promises, and the suite in `contract` checks:
/// - **Atomic.** `put_if` compares and writes as one step, `transact` does so over all its keys, which differ.
/// - **Durable.** What was answered with `Applied` survives the process.
/// - **Linearizable per key.** A `get` or `query` that starts after a write was answered sees that write or a later
///   one; never a stale copy. No snapshot over several items is promised.
/// - **Honest.** A write whose fate is not known is [`StoreError::Unknown`], never success and never "not applied".
///   It may take effect later, even after further writes to the key; its condition is judged then.
/// - **Complete refusals.** A refused transaction names every condition that did not hold.
/// - **At least once inside.** A client may deliver one request several times, so a refusal may show the
///   writer's own item.
#[async_trait]
pub trait ConditionalStore: Send + Sync {
    /// The item under `key`, strongly consistent.
    async fn get(&self, key: &ItemKey) -> Result<Option<Item>, StoreError>;

    /// Stores `item` under `key` if `condition` holds.
    async fn put_if(&self, key: &ItemKey, item: Item, condition: Condition) -> Result<PutOutcome, StoreError>;

    /// All items of a partition by sort key, every page of them, each strongly consistent.
    async fn query(&self, partition: &str) -> Result<Vec<(ItemKey, Item)>, StoreError>;

    /// All puts if all conditions hold, otherwise nothing. Between 1 and [`MAX_TRANSACT_OPS`] operations, no key twice.
    async fn transact(&self, ops: Vec<TransactOp>) -> Result<TransactOutcome, StoreError>;

    /// Removes the item under `key` if it has exactly this version. Refused, with what is there, in any other case,
    /// also where nothing is there.
    ///
    /// For garbage only, and never part of safety: it may take effect late, so nothing may be wrong if the item
    /// stays, is removed twice, or is put again and then removed. Slots, manifests and registries are never removed.
    async fn delete_if(&self, key: &ItemKey, version: u64) -> Result<PutOutcome, StoreError>;
}

/// Operations that one transaction may have: what DynamoDB takes.
pub const MAX_TRANSACT_OPS: usize = 100;

/// Refuses transactions that no store takes: empty, too many operations, a key twice.
pub(crate) fn check_transaction(ops: &[TransactOp]) -> Result<(), StoreError> {
    let keys: std::collections::BTreeSet<_> = ops.iter().map(TransactOp::key).collect();
    if ops.is_empty() || ops.len() > MAX_TRANSACT_OPS || keys.len() != ops.len() {
        return Err(StoreError::NotApplied(format!(
            "a transaction has 1 to {MAX_TRANSACT_OPS} operations on different keys, this one has {} on {}",
            ops.len(),
            keys.len()
        )));
    }
    Ok(())
}

/// A store of immutable objects.
///
/// A key names its content: it holds the content's hash, so two writers of one key write the same bytes.
/// - `put` is done when the object is durable, or when an object of that name is there already. It never overwrites.
/// - `get` after `put` sees the object. `list` may lag.
/// - Keys are segments of `[A-Za-z0-9$._:%=-]`, joined by `/`.
#[async_trait]
pub trait BlobStore: Send + Sync {
    /// Stores an object.
    async fn put(&self, key: &str, data: Bytes) -> Result<(), StoreError>;

    /// Reads an object.
    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError>;

    /// Names of all objects below `prefix` (whole segments), in order.
    async fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError>;

    /// Removes an object; one that is not there is fine.
    async fn delete(&self, key: &str) -> Result<(), StoreError>;
}

/// Refuses names that could leave a folder or that some store does not take.
pub(crate) fn check_blob_key(key: &str) -> Result<(), StoreError> {
    let good = |segment: &str| {
        !segment.is_empty()
            && !segment.starts_with('.')
            && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"$._:%=-".contains(&b))
    };
    if key.split('/').all(good) { Ok(()) } else { Err(StoreError::NotApplied(format!("'{key}' is no object name"))) }
}
