//! The commit: everything that one micro-batch changes in a lane, as one item.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidegate_core::{EffectId, Error, Generation, Incarnation, OutboxEntry, Position, RequestIndex, Timestamp};

use super::{Checksum, DecodeError, Kind, Payload, StoredPosition, StoredRange};
use crate::range::Range;

/// A commit as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The pipeline's incarnation.
    pub incarnation: Incarnation,
    /// The pipeline's generation.
    pub generation: Generation,
    /// Its number in the lane.
    pub n: u64,
    /// K: slots of the lane's ring.
    pub ring: u16,
    /// Checksum of commit n-1 as stored; that of the lane's name for the first one.
    pub previous: Checksum,
    /// Token of the environment that wrote it.
    pub writer: u128,
    /// Token of this very write.
    pub attempt: u128,
    /// When its writer stops sending.
    pub deadline: Timestamp,
    /// Whether it carries over what n-1 owes.
    pub carry: bool,
    /// Whether the lane takes no records from here on. What follows may only carry.
    pub sealed: bool,
    /// Whether it is the first commit of a lane that goes on where others ended: its delta is a snapshot.
    pub birth: bool,
    /// Committed position per source partition.
    pub positions: BTreeMap<String, Position>,
    /// Where the batch began that last moved a partition's position.
    pub ranges: BTreeMap<String, Range>,
    /// The lane's watermark.
    pub watermark: Option<Timestamp>,
    /// Bytes written so far per file target.
    pub sink_lengths: BTreeMap<String, u64>,
    /// Hash of the state's layout.
    pub fingerprint: [u8; 16],
    /// What `fingerprint` stands for; only where it differs from that of n-1.
    pub layout: Option<Vec<String>>,
    /// The change of state.
    pub delta: Payload,
    /// What the commit owes, in order.
    pub outbox: Vec<StoredEntry>,
}

/// An outbox entry whose payload may lie in an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEntry {
    /// The entry, without payload.
    pub entry: OutboxEntry,
    /// The payload.
    pub payload: Payload,
}

impl StoredEntry {
    /// An entry whose payload is in the record.
    pub fn inline(entry: &OutboxEntry) -> Self {
        let payload = Payload::Inline(entry.payload.clone());
        Self { entry: OutboxEntry { payload: Bytes::new(), ..entry.clone() }, payload }
    }
}

// Numbers that are random are arrays: as varints they would grow.
#[derive(Serialize, Deserialize)]
struct Stored {
    incarnation: [u8; 16],
    generation: u32,
    n: u64,
    ring: u16,
    previous: Checksum,
    writer: [u8; 16],
    attempt: [u8; 16],
    deadline: i64,
    carry: bool,
    positions: Vec<(String, StoredPosition)>,
    ranges: Vec<(String, StoredRange)>,
    watermark: Option<i64>,
    sink_lengths: Vec<(String, u64)>,
    fingerprint: [u8; 16],
    layout: Option<Vec<String>>,
    targets: Vec<String>,
    delta: Payload,
    outbox: Vec<Entry>,
}

/// Format 2. A commit without its flags is still written in format 1, so that builds on both sides of a deployment can
/// follow each other.
#[derive(Serialize, Deserialize)]
struct Stored2 {
    commit: Stored,
    sealed: bool,
    birth: bool,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    n: u64,
    index: Vec<u32>,
    // Place in `targets`: thousands of requests share a few names.
    target: u32,
    wave: u16,
    rows: u32,
    committed_at: i64,
    payload: Payload,
}

impl Commit {
    /// The stored bytes.
    pub fn encode(&self) -> Result<Bytes, Error> {
        let mut targets: Vec<String> = Vec::new();
        let outbox = self.outbox.iter().map(|stored| entry(stored, &mut targets)).collect();
        let stored = Stored {
            incarnation: self.incarnation.0.to_be_bytes(),
            generation: self.generation.0,
            n: self.n,
            ring: self.ring,
            previous: self.previous,
            writer: self.writer.to_be_bytes(),
            attempt: self.attempt.to_be_bytes(),
            deadline: self.deadline.0,
            carry: self.carry,
            positions: self.positions.iter().map(|(name, at)| (name.clone(), at.into())).collect(),
            ranges: self.ranges.iter().map(|(name, range)| (name.clone(), range.into())).collect(),
            watermark: self.watermark.map(|watermark| watermark.0),
            sink_lengths: self.sink_lengths.iter().map(|(name, length)| (name.clone(), *length)).collect(),
            fingerprint: self.fingerprint,
            layout: self.layout.clone(),
            targets,
            delta: self.delta.clone(),
            outbox,
        };
        let (sealed, birth) = (self.sealed, self.birth);
        match sealed || birth {
            false => super::encode_as(Kind::Commit, 1, &stored),
            true => super::encode(Kind::Commit, &Stored2 { commit: stored, sealed, birth }),
        }
    }

    /// The commit from its stored bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let body = super::unframe(Kind::Commit, bytes)?;
        let (stored, sealed, birth) = match super::format_of(Kind::Commit, bytes)? {
            1 => (super::decode_body::<Stored>(&body)?, false, false),
            _ => {
                let Stored2 { commit, sealed, birth } = super::decode_body(&body)?;
                (commit, sealed, birth)
            }
        };
        let targets = stored.targets;
        let outbox = stored.outbox.into_iter().map(|entry| stored_entry(entry, &targets));
        Ok(Self {
            incarnation: Incarnation(u128::from_be_bytes(stored.incarnation)),
            generation: Generation(stored.generation),
            n: stored.n,
            ring: stored.ring,
            previous: stored.previous,
            writer: u128::from_be_bytes(stored.writer),
            attempt: u128::from_be_bytes(stored.attempt),
            deadline: Timestamp(stored.deadline),
            carry: stored.carry,
            sealed,
            birth,
            positions: positions(stored.positions)?,
            ranges: ranges(stored.ranges)?,
            watermark: stored.watermark.map(Timestamp),
            sink_lengths: stored.sink_lengths.into_iter().collect(),
            fingerprint: stored.fingerprint,
            layout: stored.layout,
            delta: stored.delta,
            outbox: outbox.collect::<Result<_, _>>()?,
        })
    }
}

pub(super) fn positions(stored: Vec<(String, StoredPosition)>) -> Result<BTreeMap<String, Position>, DecodeError> {
    stored.into_iter().map(|(name, at)| Ok((name, at.try_into()?))).collect()
}

pub(super) fn ranges(stored: Vec<(String, StoredRange)>) -> Result<BTreeMap<String, Range>, DecodeError> {
    stored.into_iter().map(|(name, range)| Ok((name, range.try_into()?))).collect()
}

fn entry(stored: &StoredEntry, targets: &mut Vec<String>) -> Entry {
    let StoredEntry { entry, payload } = stored;
    let place = targets.iter().position(|name| *name == entry.target).unwrap_or_else(|| {
        targets.push(entry.target.clone());
        targets.len() - 1
    });
    Entry {
        n: entry.id.n,
        index: entry.id.index.path().to_vec(),
        target: u32::try_from(place).expect("fewer targets than entries, and those fit"),
        wave: entry.wave,
        rows: entry.rows,
        committed_at: entry.committed_at.0,
        payload: payload.clone(),
    }
}

fn stored_entry(stored: Entry, targets: &[String]) -> Result<StoredEntry, DecodeError> {
    let damaged = |why: &str| DecodeError::Damaged(why.into());
    let target = targets.get(stored.target as usize).ok_or_else(|| damaged("a request without target"))?.clone();
    let index = RequestIndex::from_path(stored.index).ok_or_else(|| damaged("a request without index"))?;
    let entry = OutboxEntry {
        id: EffectId { n: stored.n, index },
        target,
        wave: stored.wave,
        rows: stored.rows,
        committed_at: Timestamp(stored.committed_at),
        payload: Bytes::new(),
    };
    Ok(StoredEntry { entry, payload: stored.payload })
}
