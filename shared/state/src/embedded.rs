//! State in a local folder: items in SQLite, for local runs.
//!
//! - One process writes. A lock file keeps a second one out with a clear message; the lock goes with the process,
//!   however it ends.
//! - Others may read while it writes ([`EmbeddedStore::open_read_only`]).
//! - A committed item survives what [`Durability`] says. What is there is consistent in any case.
//! - A full disk changes nothing, and a damaged file is reported as such.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, TransactionBehavior, params};
use tidegate_core::{Error, ErrorKind, Result};

use crate::ports::{
    Condition, ConditionalStore, Item, ItemKey, PutOutcome, Refusal, StoreError, TransactOp, TransactOutcome,
    check_transaction,
};

/// The database in the state folder.
pub const DATABASE_FILE: &str = "state.db";
/// The lock of the one process that writes.
pub const LOCK_FILE: &str = "state.lock";

/// Layout of the tables. A newer one is refused.
const SCHEMA: i64 = 1;
/// How long a statement waits for another connection, which is only ever busy for the moment of a checkpoint.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes that an item may have.
const MAX_ITEM: usize = 64 << 20;

const CREATE: &str = "
    CREATE TABLE items (
        partition TEXT NOT NULL,
        sort TEXT NOT NULL,
        version INTEGER NOT NULL,
        attempt BLOB NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (partition, sort)
    );
    PRAGMA user_version = 1;";

/// What a committed item survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// A power cut: one fsync per commit. Needed where requests leave this machine: a lost commit's number would be
    /// used again, and its ids would carry other requests.
    PowerCut,
    /// A killed process. A power cut may take the newest commits with it, and what they have written to files as well.
    Process,
}

impl Durability {
    /// SQLite's setting for a database with a write-ahead log.
    fn synchronous(self) -> &'static str {
        match self {
            Self::PowerCut => "FULL",
            Self::Process => "NORMAL",
        }
    }
}

/// A [`ConditionalStore`] in a state folder.
#[derive(Debug)]
pub struct EmbeddedStore {
    connection: Mutex<Connection>,
    folder: PathBuf,
    // Held for as long as the store lives. `None` in a read-only store.
    _lock: Option<File>,
}

impl EmbeddedStore {
    /// Opens the folder for writing and creates it where there is none.
    ///
    /// # Errors
    /// Fenced when another process has the folder open for writing, or a newer build wrote it; Internal when it is
    /// damaged.
    pub fn open(folder: &Path, durability: Durability) -> Result<Self> {
        create(folder, durability).map_err(|e| unusable(folder).with_source(e))?;
        let lock = lock(folder)?;
        let mut connection = Connection::open(folder.join(DATABASE_FILE)).map_err(|e| opening(folder, e))?;
        prepare(&mut connection, folder, durability)?;
        Ok(Self { connection: Mutex::new(connection), folder: folder.to_owned(), _lock: Some(lock) })
    }

    /// Opens the folder for reading, next to a process that writes or alone. `None` when there is no state in it.
    /// Every write is answered with [`StoreError::NotApplied`].
    pub fn open_read_only(folder: &Path) -> Result<Option<Self>> {
        let file = folder.join(DATABASE_FILE);
        if !file.exists() {
            return Ok(None);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&file, flags).map_err(|e| opening(folder, e))?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(|e| opening(folder, e))?;
        if schema(&connection, folder)? == 0 {
            return Ok(None);
        }
        Ok(Some(Self { connection: Mutex::new(connection), folder: folder.to_owned(), _lock: None }))
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, error: rusqlite::Error) -> StoreError {
        classify(&self.folder, error)
    }

    /// Runs `work` in a transaction that is undone unless it succeeds.
    fn write<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<(T, bool)>) -> Result<T, StoreError> {
        let mut connection = self.lock();
        let failed = |e| classify(&self.folder, e);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let (answer, keep) = work(&transaction).map_err(failed)?;
        if keep { transaction.commit() } else { transaction.rollback() }.map_err(failed)?;
        Ok(answer)
    }
}

fn unusable(folder: &Path) -> Error {
    Error::invalid(format!("state folder {} cannot be used", folder.display()))
        .with_help("check that it exists, that it may be written, and that the disk has space")
}

/// Makes the folder. SQLite makes sure of the files in it, not of the folder's own name.
fn create(folder: &Path, durability: Durability) -> std::io::Result<()> {
    let folder = std::path::absolute(folder)?;
    let missing: Vec<&Path> = folder.ancestors().take_while(|ancestor| !ancestor.exists()).collect();
    std::fs::create_dir_all(&folder)?;
    if durability == Durability::PowerCut && cfg!(unix) {
        for parent in missing.iter().filter_map(|made| made.parent()) {
            File::open(parent)?.sync_all()?;
        }
    }
    Ok(())
}

fn lock(folder: &Path) -> Result<File> {
    let path = folder.join(LOCK_FILE);
    let at = |e: std::io::Error| unusable(folder).with_source(e);
    let mut file = File::options().create(true).read(true).write(true).truncate(false).open(&path).map_err(at)?;
    match file.try_lock() {
        Ok(()) => {
            // Only a hint for the message below, so a failure does not matter.
            let _ = file.set_len(0).and_then(|()| file.rewind());
            let _ = write!(file, "{}", std::process::id());
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.take(20).read_to_string(&mut holder);
            let who = if holder.is_empty() { String::new() } else { format!(" (process {})", holder.trim()) };
            let message = format!("state folder {} is in use by another process{who}", folder.display());
            Err(Error::new(ErrorKind::Fenced, message)
                .with_help("wait until it ends, stop it, or give this run another state folder"))
        }
        Err(TryLockError::Error(error)) => Err(at(error)),
    }
}

fn prepare(connection: &mut Connection, folder: &Path, durability: Durability) -> Result<()> {
    let failed = |e| opening(folder, e);
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    if schema(connection, folder)? == 0 {
        connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
        let create = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        create.execute_batch(CREATE).map_err(failed)?;
        create.commit().map_err(failed)?;
    }
    connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
    connection.pragma_update(None, "synchronous", durability.synchronous()).map_err(failed)
}

fn schema(connection: &Connection, folder: &Path) -> Result<i64> {
    let version: i64 =
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(|e| opening(folder, e))?;
    if version <= SCHEMA {
        return Ok(version);
    }
    Err(Error::new(
        ErrorKind::Fenced,
        format!(
            "state written by a newer version (format {version}, this build reads up to {SCHEMA}): upgrade Tidegate"
        ),
    )
    .within(format!("state folder {}", folder.display())))
}

fn opening(folder: &Path, error: rusqlite::Error) -> Error {
    match classify(folder, error) {
        StoreError::NotApplied(why) => unusable(folder).with_source(why),
        error => error.into(),
    }
}

fn classify(folder: &Path, error: rusqlite::Error) -> StoreError {
    let text = format!("{}: {error}", folder.display());
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full(text),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Damaged(text),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Throttled,
        Some(ErrorCode::SystemIoFailure) => StoreError::Unknown(text),
        _ => StoreError::NotApplied(text),
    }
}

fn select(connection: &Connection, key: &ItemKey) -> rusqlite::Result<Option<Item>> {
    let mut find =
        connection.prepare_cached("SELECT version, attempt, data FROM items WHERE partition = ?1 AND sort = ?2")?;
    find.query_row(params![key.partition, key.sort], |row| item(row, 0)).optional()
}

fn item(row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<Item> {
    let attempt: [u8; 16] = row.get(first + 1)?;
    let data: Vec<u8> = row.get(first + 2)?;
    Ok(Item {
        version: row.get::<_, i64>(first)?.cast_unsigned(),
        attempt: u128::from_be_bytes(attempt),
        data: data.into(),
    })
}

/// One statement that compares and writes. Whether it wrote.
fn put(connection: &Connection, key: &ItemKey, item: &Item, condition: Condition) -> rusqlite::Result<bool> {
    let version = item.version.cast_signed();
    let (attempt, data): ([u8; 16], &[u8]) = (item.attempt.to_be_bytes(), &item.data);
    let changed = match condition {
        Condition::Absent => connection
            .prepare_cached(
                "INSERT INTO items (partition, sort, version, attempt, data) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT DO NOTHING",
            )?
            .execute(params![key.partition, key.sort, version, attempt, data])?,
        Condition::Version(wanted) => connection
            .prepare_cached(
                "UPDATE items SET version = ?3, attempt = ?4, data = ?5
                 WHERE partition = ?1 AND sort = ?2 AND version = ?6",
            )?
            .execute(params![key.partition, key.sort, version, attempt, data, wanted.cast_signed()])?,
    };
    Ok(changed == 1)
}

fn check_size(item: &Item) -> Result<(), StoreError> {
    match item.data.len() <= MAX_ITEM {
        true => Ok(()),
        false => Err(StoreError::TooLarge { bytes: item.data.len() as u64, limit: MAX_ITEM as u64 }),
    }
}

#[async_trait]
impl ConditionalStore for EmbeddedStore {
    async fn get(&self, key: &ItemKey) -> Result<Option<Item>, StoreError> {
        select(&self.lock(), key).map_err(|e| self.failed(e))
    }

    async fn put_if(&self, key: &ItemKey, item: Item, condition: Condition) -> Result<PutOutcome, StoreError> {
        check_size(&item)?;
        // The process holds the writer's lock and this thread the connection: nobody writes between the two.
        let connection = self.lock();
        if put(&connection, key, &item, condition).map_err(|e| self.failed(e))? {
            return Ok(PutOutcome::Applied);
        }
        select(&connection, key).map(PutOutcome::Refused).map_err(|e| self.failed(e))
    }

    async fn query(&self, partition: &str) -> Result<Vec<(ItemKey, Item)>, StoreError> {
        let connection = self.lock();
        let rows = || -> rusqlite::Result<Vec<(ItemKey, Item)>> {
            let mut find = connection
                .prepare_cached("SELECT sort, version, attempt, data FROM items WHERE partition = ?1 ORDER BY sort")?;
            let rows = find
                .query_map([partition], |row| Ok((ItemKey::new(partition, row.get::<_, String>(0)?), item(row, 1)?)))?;
            rows.collect()
        };
        rows().map_err(|e| self.failed(e))
    }

    async fn transact(&self, ops: Vec<TransactOp>) -> Result<TransactOutcome, StoreError> {
        check_transaction(&ops)?;
        for op in &ops {
            if let TransactOp::Put { item, .. } = op {
                check_size(item)?;
            }
        }
        self.write(|connection| {
            let mut refused = Vec::new();
            for (op, step) in ops.iter().enumerate() {
                let done = match step {
                    TransactOp::Put { key, item, condition } => put(connection, key, item, *condition)?,
                    TransactOp::Check { key, condition } => condition.holds(select(connection, key)?.as_ref()),
                };
                if !done {
                    refused.push(Refusal { op, old: select(connection, step.key())? });
                }
            }
            let applied = refused.is_empty();
            Ok((if applied { TransactOutcome::Applied } else { TransactOutcome::Refused(refused) }, applied))
        })
    }

    async fn delete_if(&self, key: &ItemKey, version: u64) -> Result<PutOutcome, StoreError> {
        let connection = self.lock();
        let removed = || -> rusqlite::Result<usize> {
            let mut delete =
                connection.prepare_cached("DELETE FROM items WHERE partition = ?1 AND sort = ?2 AND version = ?3")?;
            delete.execute(params![key.partition, key.sort, version.cast_signed()])
        };
        if removed().map_err(|e| self.failed(e))? == 1 {
            return Ok(PutOutcome::Applied);
        }
        select(&connection, key).map(PutOutcome::Refused).map_err(|e| self.failed(e))
    }
}

#[cfg(test)]
mod tests;
