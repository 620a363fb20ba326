//! The manifest: where the state of a lane up to some settled commit lies.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidegate_core::{Error, Generation, Incarnation, Position, Segment, Timestamp};

use super::commit::{positions, ranges};
use super::{Checksum, DecodeError, Kind, Payload, StoredPosition, StoredRange, raw_bytes};
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
    /// The state at n, without what lies in segments.
    pub snapshot: Payload,
    /// Objects with the rest of the state at n, in the order of their maker.
    pub segments: Vec<Segment>,
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

/// Format 2. A manifest without segments is still written in format 1.
#[derive(Serialize, Deserialize)]
struct Stored2 {
    manifest: Stored,
    segments: Vec<StoredSegment>,
}

#[derive(Serialize, Deserialize)]
struct StoredSegment {
    attempt: [u8; 16],
    hash: [u8; 32],
    length: u64,
    #[serde(with = "raw_bytes")]
    about: Bytes,
}

impl From<&Segment> for StoredSegment {
    fn from(segment: &Segment) -> Self {
        let Segment { attempt, hash, length, about } = segment.clone();
        Self { attempt: attempt.to_be_bytes(), hash, length, about }
    }
}

impl From<StoredSegment> for Segment {
    fn from(stored: StoredSegment) -> Self {
        let StoredSegment { attempt, hash, length, about } = stored;
        Self { attempt: u128::from_be_bytes(attempt), hash, length, about }
    }
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
        match self.segments.as_slice() {
            [] => super::encode_as(Kind::Manifest, 1, &stored),
            segments => {
                let segments = segments.iter().map(StoredSegment::from).collect();
                super::encode(Kind::Manifest, &Stored2 { manifest: stored, segments })
            }
        }
    }

    /// The manifest from its stored bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let body = super::unframe(Kind::Manifest, bytes)?;
        let (stored, segments) = match super::format_of(Kind::Manifest, bytes)? {
            1 => (super::decode_body::<Stored>(&body)?, Vec::new()),
            _ => {
                let Stored2 { manifest, segments } = super::decode_body(&body)?;
                (manifest, segments)
            }
        };
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
            segments: segments.into_iter().map(Segment::from).collect(),
        })
    }
}
