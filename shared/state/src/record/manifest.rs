//! The manifest: where the state of a lane up to some settled commit lies.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidegate_core::{Error, Generation, Incarnation, Position, Timestamp};

use super::commit::{positions, ranges};
use super::{Checksum, DecodeError, Kind, Payload, StoredPosition, StoredRange};
use crate::range::Range;

/// A manifest as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The pipeline's incarnation.
    pub incarnation: Incarnation,
    /// The pipeline's generation.
    pub generation: Generation,
    /// K: slots of the lane's ring.
    pub ring: u16,
    /// The last commit that it covers. That commit is settled, or carried by the next one.
    pub n: u64,
    /// Checksum of commit n as stored.
    pub checksum: Checksum,
    /// Token of the environment that wrote the manifest.
    pub writer: u128,
    /// Token of the write.
    pub attempt: u128,
    /// Committed position per source partition at n.
    pub positions: BTreeMap<String, Position>,
    /// Where the batch began that last moved a partition's position, at n.
    pub ranges: BTreeMap<String, Range>,
    /// The watermark at n.
    pub watermark: Option<Timestamp>,
    /// Bytes written so far per file target at n.
    pub sink_lengths: BTreeMap<String, u64>,
    /// Hash of the state's layout at n.
    pub fingerprint: [u8; 16],
    /// What `fingerprint` stands for.
    pub layout: Vec<String>,
    /// The state at n.
    pub snapshot: Payload,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    incarnation: [u8; 16],
    generation: u32,
    ring: u16,
    n: u64,
    checksum: Checksum,
    writer: [u8; 16],
    attempt: [u8; 16],
    positions: Vec<(String, StoredPosition)>,
    ranges: Vec<(String, StoredRange)>,
    watermark: Option<i64>,
    sink_lengths: Vec<(String, u64)>,
    fingerprint: [u8; 16],
    layout: Vec<String>,
    snapshot: Payload,
}

impl Manifest {
    /// The stored bytes.
    pub fn encode(&self) -> Result<Bytes, Error> {
        let stored = Stored {
            incarnation: self.incarnation.0.to_be_bytes(),
            generation: self.generation.0,
            ring: self.ring,
            n: self.n,
            checksum: self.checksum,
            writer: self.writer.to_be_bytes(),
            attempt: self.attempt.to_be_bytes(),
            positions: self.positions.iter().map(|(name, at)| (name.clone(), at.into())).collect(),
            ranges: self.ranges.iter().map(|(name, range)| (name.clone(), range.into())).collect(),
            watermark: self.watermark.map(|watermark| watermark.0),
            sink_lengths: self.sink_lengths.iter().map(|(name, length)| (name.clone(), *length)).collect(),
            fingerprint: self.fingerprint,
            layout: self.layout.clone(),
            snapshot: self.snapshot.clone(),
        };
        super::encode(Kind::Manifest, &stored)
    }

    /// The manifest from its stored bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let stored: Stored = super::decode(Kind::Manifest, bytes)?;
        Ok(Self {
            incarnation: Incarnation(u128::from_be_bytes(stored.incarnation)),
            generation: Generation(stored.generation),
            ring: stored.ring,
            n: stored.n,
            checksum: stored.checksum,
            writer: u128::from_be_bytes(stored.writer),
            attempt: u128::from_be_bytes(stored.attempt),
            positions: positions(stored.positions)?,
            ranges: ranges(stored.ranges)?,
            watermark: stored.watermark.map(Timestamp),
            sink_lengths: stored.sink_lengths.into_iter().collect(),
            fingerprint: stored.fingerprint,
            layout: stored.layout,
            snapshot: stored.snapshot,
        })
    }
}
