//! What happened, in numbers: per micro-batch, per invocation, per run.

use std::ops::AddAssign;
use std::time::Duration;

use serde::Serialize;
use tidegate_core::Timestamp;

/// Counts of one or many micro-batches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Records that the source delivered.
    pub records: u64,
    /// Of these, records that were committed before and skipped.
    pub skipped: u64,
    /// Of these, records that did not fit their columns, or whose row an expression rejected.
    pub bad_records: u64,
    /// Requests that a repair has computed again and left out: they were sent before.
    pub silent: u64,
    /// Result rows committed for the targets.
    pub rows: u64,
    /// Rows that came too late for their window.
    pub late: u64,
    /// Rows without event time, which belong to no window.
    pub without_event_time: u64,
    /// Windows closed (groups).
    pub windows_closed: u64,
    /// Parts of windows handed over to close lanes.
    pub seals: u64,
    /// Dead letters committed.
    pub dead_letters: u64,
    /// Commits, carry commits included.
    pub commits: u64,
    /// Bytes of these commits as stored.
    pub commit_bytes: u64,
    /// Commits refused because somebody else was first.
    pub conflicts: u64,
    /// Requests sent, retries included.
    pub requests: u64,
    /// Of these, requests that may have been sent before, by whomever.
    pub retries: u64,
    /// Of these, repeats that the target recognised and dropped.
    pub repeats: u64,
    /// Requests that were to be sent once at most and whose outcome is unknown.
    pub unknown: u64,
}

impl AddAssign<&Counts> for Counts {
    fn add_assign(&mut self, other: &Counts) {
        self.records += other.records;
        self.skipped += other.skipped;
        self.bad_records += other.bad_records;
        self.silent += other.silent;
        self.rows += other.rows;
        self.late += other.late;
        self.without_event_time += other.without_event_time;
        self.windows_closed += other.windows_closed;
        self.seals += other.seals;
        self.dead_letters += other.dead_letters;
        self.commits += other.commits;
        self.commit_bytes += other.commit_bytes;
        self.conflicts += other.conflicts;
        self.requests += other.requests;
        self.retries += other.retries;
        self.repeats += other.repeats;
        self.unknown += other.unknown;
    }
}

/// Time spent per stage, for profiles and benchmarks.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct StageTimes {
    /// Reading input and cutting it into records.
    pub read: Duration,
    /// Bytes to Arrow columns.
    pub decode: Duration,
    /// Queries.
    pub sql: Duration,
    /// Rows to requests, and the commit.
    pub commit: Duration,
    /// Sending.
    pub deliver: Duration,
}

impl AddAssign<&StageTimes> for StageTimes {
    fn add_assign(&mut self, other: &StageTimes) {
        self.read += other.read;
        self.decode += other.decode;
        self.sql += other.sql;
        self.commit += other.commit;
        self.deliver += other.deliver;
    }
}

/// What one micro-batch of a lane did.
#[derive(Clone, Debug, Default)]
pub struct BatchReport {
    /// Counts.
    pub counts: Counts,
    /// Time per stage.
    pub times: StageTimes,
    /// The lane's watermark after it.
    pub watermark: Option<Timestamp>,
}
