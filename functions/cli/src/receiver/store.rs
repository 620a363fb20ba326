//! What the receiver remembers: ids with their answers, rows, counters. One transaction per effect.
//!
//! SQLite with a write-ahead log and `synchronous = NORMAL`: what was answered survives the end of the process,
//! however it ends. A loss of power may take the last answers back; this is a receiver for tests.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use tidegate_core::{Error, Result, Timestamp};

/// Rows that one page of a listing holds at most.
pub const PAGE_ROWS: usize = 1000;

/// How long another process on the same file is waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS requests (
        id TEXT PRIMARY KEY, sha256 BLOB NOT NULL, method TEXT NOT NULL, path TEXT NOT NULL,
        status INTEGER NOT NULL, answer TEXT NOT NULL, first_at INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS rows (
        seq INTEGER PRIMARY KEY, request_id TEXT NOT NULL, path TEXT NOT NULL, row TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS fences (
        lane TEXT PRIMARY KEY, number TEXT NOT NULL, sha256 BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS resources (path TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID;
";

/// A request that reached the receiver whole.
#[derive(Clone, Debug)]
pub struct Request {
    /// What a repeat of it is recognised by.
    pub mark: Mark,
    /// SHA-256 of the body.
    pub sha256: [u8; 32],
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// When it came.
    pub at: Timestamp,
}

/// What a repeat of a request is recognised by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Its id.
    Id(String),
    /// The number of a request in its lane; later ones are larger, byte by byte.
    Fence {
        /// The lane.
        lane: String,
        /// The number.
        number: String,
    },
    /// Nothing: its row replaces what is at its path.
    Path,
    /// Nothing: its rows are added.
    Nothing,
}

impl Mark {
    /// How the rows of the request are listed.
    fn as_text(&self) -> String {
        match self {
            Self::Id(id) => id.clone(),
            Self::Fence { lane, number } => format!("{lane}/{number}"),
            Self::Path | Self::Nothing => String::new(),
        }
    }
}

/// What the receiver makes of a request that it does not know yet.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// 200, or why the rows are refused.
    pub status: u16,
    /// The body of the answer.
    pub answer: String,
    /// The rows that take effect.
    pub rows: Vec<String>,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It took effect.
    Applied,
    /// It was refused for its content, and so is every repeat.
    Rejected,
    /// It was known: the first answer again, no second effect.
    Repeat,
    /// Its id is known with another body, method or path: no effect.
    Conflict,
    /// Its number is not newer than the last one of its lane: no effect.
    Refused,
}

/// The memory.
#[derive(Debug)]
pub struct Store(Connection);

fn failed(error: rusqlite::Error) -> Error {
    Error::unavailable("the receiver's store failed").with_source(error)
}

fn count(connection: &Connection, name: &str, by: u64) -> Result<u64> {
    connection
        .prepare_cached("INSERT INTO counters VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET n = n + ?2 RETURNING n")
        .and_then(|mut statement| statement.query_row(params![name, by], |row| row.get(0)))
        .map_err(failed)
}

impl Store {
    /// Opens or creates the store in `path`; without one it lives in memory.
    pub fn open(path: Option<&Path>) -> Result<Self> {
        let connection = match path {
            Some(path) => Connection::open(path),
            None => Connection::open_in_memory(),
        };
        let place = path.map_or("memory".to_owned(), |path| path.display().to_string());
        let prepared = connection.and_then(|connection| {
            connection.busy_timeout(BUSY_TIMEOUT)?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "NORMAL")?;
            connection.execute_batch(SCHEMA)?;
            Ok(connection)
        });
        prepared.map(Self).map_err(|error| {
            Error::invalid(format!("{place} cannot be opened as the receiver's store"))
                .with_source(error)
                .with_help("name a file in a folder that exists and can be written, made by this command")
        })
    }

    /// Adds 1 to a counter and returns it.
    pub fn count(&mut self, name: &str) -> Result<u64> {
        count(&self.0, name, 1)
    }

    /// Looks the id up; `judge` validates only what is not known. Returns what became of the request and the answer.
    pub fn settle(
        &mut self,
        request: &Request,
        remember: Option<Duration>,
        judge: impl FnOnce() -> Verdict,
    ) -> Result<(Settled, u16, String)> {
        let transaction = self.0.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let settled = match known(&transaction, request, remember)? {
            Some((Settled::Repeat, status, answer)) => {
                count(&transaction, "repeats", 1)?;
                (Settled::Repeat, status, answer)
            }
            Some((Settled::Refused, status, answer)) => {
                count(&transaction, "fenced", 1)?;
                (Settled::Refused, status, answer)
            }
            Some(conflict) => {
                count(&transaction, "conflicts", 1)?;
                conflict
            }
            None => apply(&transaction, request, judge())?,
        };
        transaction.commit().map_err(failed)?;
        Ok(settled)
    }

    /// All counters.
    pub fn summary(&self) -> Result<Summary> {
        let mut statement = self.0.prepare_cached("SELECT name, n FROM counters").map_err(failed)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed)?;
        rows.collect::<Result<_, _>>().map(Summary).map_err(failed)
    }

    /// The next page of rows behind `after`, in the order of application.
    pub fn page(&self, after: i64) -> Result<Vec<StoredRow>> {
        self.rows(
            "SELECT seq, request_id, path, row FROM rows WHERE seq > ?1 ORDER BY seq LIMIT ?2",
            params![after, PAGE_ROWS],
        )
    }

    /// The next page of rows behind `after`, sorted by their bytes. The first call builds an index.
    pub fn sorted_page(&self, after: Option<&StoredRow>) -> Result<Vec<StoredRow>> {
        match after {
            None => {
                self.0.execute_batch("CREATE INDEX IF NOT EXISTS rows_sorted ON rows (row)").map_err(failed)?;
                self.rows("SELECT seq, request_id, path, row FROM rows ORDER BY row, seq LIMIT ?1", params![PAGE_ROWS])
            }
            Some(last) => self.rows(
                "SELECT seq, request_id, path, row FROM rows WHERE (row, seq) > (?1, ?2) \
                 ORDER BY row, seq LIMIT ?3",
                params![last.row, last.seq, PAGE_ROWS],
            ),
        }
    }

    fn rows(&self, sql: &str, params: &[&dyn rusqlite::ToSql]) -> Result<Vec<StoredRow>> {
        let mut statement = self.0.prepare_cached(sql).map_err(failed)?;
        let rows = statement
            .query_map(params, |row| {
                Ok(StoredRow { seq: row.get(0)?, request_id: row.get(1)?, path: row.get(2)?, row: row.get(3)? })
            })
            .map_err(failed)?;
        rows.collect::<Result<_, _>>().map_err(failed)
    }
}

/// What the memory says about a request; `None` if its id is new or forgotten.
fn known(
    transaction: &Transaction<'_>,
    request: &Request,
    remember: Option<Duration>,
) -> Result<Option<(Settled, u16, String)>> {
    let id = match &request.mark {
        Mark::Id(id) => id,
        Mark::Fence { lane, number } => return fenced(transaction, request, lane, number),
        Mark::Path | Mark::Nothing => return Ok(None),
    };
    let found = transaction
        .prepare_cached("SELECT sha256, method, path, status, answer, first_at FROM requests WHERE id = ?1")
        .and_then(|mut statement| {
            statement
                .query_row([id], |row| {
                    let same = row.get::<_, [u8; 32]>(0)? == request.sha256
                        && row.get_ref(1)?.as_str()? == request.method
                        && row.get_ref(2)?.as_str()? == request.path;
                    Ok((same, row.get(3)?, row.get(4)?, Timestamp(row.get(5)?)))
                })
                .optional()
        })
        .map_err(failed)?;
    let Some((same, status, answer, first_at)) = found else { return Ok(None) };
    if remember.is_some_and(|remember| request.at.since(first_at) > remember) {
        count(transaction, "forgotten", 1)?;
        return Ok(None);
    }
    if same {
        return Ok(Some((Settled::Repeat, status, answer)));
    }
    let message = format!("id {id} was used before with another body, method or path");
    Ok(Some((Settled::Conflict, 422, serde_json::json!({ "error": message }).to_string())))
}

/// The status that refuses a number which is not newer.
pub const FENCE_STATUS: u16 = 412;

/// What the fence says about a request; `None` if its number is newer than the last one.
fn fenced(
    transaction: &Transaction<'_>,
    request: &Request,
    lane: &str,
    number: &str,
) -> Result<Option<(Settled, u16, String)>> {
    let last = transaction
        .prepare_cached("SELECT number, sha256 FROM fences WHERE lane = ?1")
        .and_then(|mut statement| {
            statement.query_row([lane], |row| Ok((row.get::<_, String>(0)?, row.get::<_, [u8; 32]>(1)?))).optional()
        })
        .map_err(failed)?;
    let Some((last, sha256)) = last.filter(|(last, _)| number <= last.as_str()) else { return Ok(None) };
    let error = |message: String| serde_json::json!({ "error": message }).to_string();
    if number == last && sha256 != request.sha256 {
        let message = format!("number {number} of {lane} was used before with another body");
        return Ok(Some((Settled::Conflict, 422, error(message))));
    }
    Ok(Some((Settled::Refused, FENCE_STATUS, error(format!("number {number} is not newer than {last} of {lane}")))))
}

fn apply(transaction: &Transaction<'_>, request: &Request, verdict: Verdict) -> Result<(Settled, u16, String)> {
    let settled = if verdict.status == 200 { Settled::Applied } else { Settled::Rejected };
    let insert =
        || {
            if let Mark::Id(id) = &request.mark {
                transaction
                    .prepare_cached("INSERT OR REPLACE INTO requests VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?
                    .execute(params![
                        id,
                        request.sha256,
                        request.method,
                        request.path,
                        verdict.status,
                        verdict.answer,
                        request.at.0
                    ])?;
            }
            if settled == Settled::Applied {
                let mut statement =
                    transaction.prepare_cached("INSERT INTO rows (request_id, path, row) VALUES (?1, ?2, ?3)")?;
                for row in &verdict.rows {
                    statement.execute(params![request.mark.as_text(), request.path, row])?;
                }
                // A rejected number is not remembered: its repeat is judged again, and a part of it is newer.
                if let Mark::Fence { lane, number } = &request.mark {
                    transaction
                        .prepare_cached("INSERT OR REPLACE INTO fences VALUES (?1, ?2, ?3)")?
                        .execute(params![lane, number, request.sha256])?;
                }
            }
            Ok(())
        };
    insert().map_err(failed)?;
    if settled == Settled::Applied && request.mark == Mark::Path {
        replace(transaction, &request.path)?;
    }
    if settled == Settled::Applied {
        count(transaction, "applied", 1)?;
        count(transaction, "rows", verdict.rows.len() as u64)?;
    } else {
        count(transaction, "rejected", 1)?;
    }
    Ok((settled, verdict.status, verdict.answer))
}

/// The newest row of a path takes the place of the one before.
fn replace(transaction: &Transaction<'_>, path: &str) -> Result<()> {
    let newest = transaction.last_insert_rowid();
    let swap = || {
        let before: Option<i64> = transaction
            .prepare_cached("SELECT seq FROM resources WHERE path = ?1")?
            .query_row([path], |row| row.get(0))
            .optional()?;
        if let Some(before) = before {
            transaction.prepare_cached("DELETE FROM rows WHERE seq = ?1")?.execute([before])?;
        }
        transaction
            .prepare_cached("INSERT OR REPLACE INTO resources VALUES (?1, ?2)")?
            .execute(params![path, newest])?;
        Ok(before.is_some())
    };
    if swap().map_err(failed)? {
        count(transaction, "replaced", 1)?;
    }
    Ok(())
}

/// A row that took effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRow {
    /// Place in the order of application, from 1.
    pub seq: i64,
    /// The id of its request, or lane and number; empty if it had neither.
    pub request_id: String,
    /// Path and query of its request.
    pub path: String,
    /// The row as it came in.
    pub row: String,
}

/// What the receiver counted since its store was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary(BTreeMap<String, u64>);

impl Summary {
    /// One counter: `requests`, `applied`, `rows`, `rejected`, `repeats`, `fenced`, `replaced`, `conflicts`,
    /// `forgotten`, `refused`, `store_errors`, or `fault.NAME`.
    pub fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// The form of `GET /_tidegate/summary`.
    pub fn to_json(&self) -> serde_json::Value {
        let faults: serde_json::Map<_, _> = self
            .0
            .iter()
            .filter_map(|(name, n)| Some((name.strip_prefix("fault.")?.to_owned(), (*n).into())))
            .collect();
        serde_json::json!({
            "requests": self.get("requests"),
            "applied": self.get("applied"),
            "rows": self.get("rows"),
            "repeats": self.get("repeats"),
            "fenced": self.get("fenced"),
            "replaced": self.get("replaced"),
            "conflicts": self.get("conflicts"),
            "rejected": self.get("rejected"),
            "forgotten": self.get("forgotten"),
            "refused": self.get("refused"),
            "store_errors": self.get("store_errors"),
            "faults": faults,
        })
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "received {} requests: {} applied", self.get("requests"), self.get("applied"))?;
        write!(f, " with {} rows, {} repeats without effect", self.get("rows"), self.get("repeats"))?;
        for (name, what) in [("fenced", "refused by the fence"), ("replaced", "rows replaced")] {
            if self.get(name) > 0 {
                write!(f, ", {} {what}", self.get(name))?;
            }
        }
        write!(f, ", {} rejected, {} conflicts", self.get("rejected"), self.get("conflicts"))?;
        for (name, n) in &self.0 {
            if let Some(fault) = name.strip_prefix("fault.") {
                write!(f, "\n  fault {fault}: {n}")?;
            }
        }
        Ok(())
    }
}
