//! Seals: partial windows that a lane hands over to the close lane of an output, as immutable items.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidegate_core::{Error, Generation, Incarnation, LaneId, Timestamp};

use super::{DecodeError, Kind, Payload, raw_bytes};

/// What one lane hands over to the close lane of one output. It is what stands in an outbox, and never changes.
#[derive(Clone, PartialEq, Eq)]
pub struct Seal {
    /// The output, by its name in the pipeline file.
    pub output: String,
    /// The lane that hands over.
    pub lane: LaneId,
    /// The commit of that lane that first owed the seal.
    pub n: u64,
    /// Its place among the seals of this commit for this output.
    pub part: u32,
    /// When this seal is stored, the lane has handed over all its rows of windows that end at or before this. `None` in
    /// all but the last part, which leaves in a later wave.
    pub through: Option<Timestamp>,
    /// The latest end of a window that `rows` belong to; `None` without rows.
    pub latest_end: Option<Timestamp>,
    /// Partial rows in the engine's encoding.
    pub rows: Bytes,
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { output, lane, n, part, through, latest_end, rows } = self;
        let bytes = rows.len();
        write!(f, "Seal({output} {lane} {n}.{part} through {through:?} latest end {latest_end:?} {bytes} bytes)")
    }
}

#[derive(Serialize, Deserialize)]
struct Stored {
    output: String,
    lane: String,
    n: u64,
    part: u32,
    through: Option<i64>,
    latest_end: Option<i64>,
    #[serde(with = "raw_bytes")]
    rows: Bytes,
}

impl Seal {
    /// The bytes for an outbox.
    pub fn encode(&self) -> Result<Bytes, Error> {
        let stored = Stored {
            output: self.output.clone(),
            lane: self.lane.as_str().to_owned(),
            n: self.n,
            part: self.part,
            through: self.through.map(|through| through.0),
            latest_end: self.latest_end.map(|end| end.0),
            rows: self.rows.clone(),
        };
        super::encode(Kind::Seal, &stored)
    }

    /// The seal from the bytes of an outbox.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let stored: Stored = super::decode(Kind::Seal, bytes)?;
        Ok(Self {
            output: stored.output,
            lane: LaneId::from_stored(stored.lane),
            n: stored.n,
            part: stored.part,
            through: stored.through.map(Timestamp),
            latest_end: stored.latest_end.map(Timestamp),
            rows: stored.rows,
        })
    }
}

/// A seal as an item of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealItem {
    /// The pipeline's incarnation: seals of another one are never merged.
    pub incarnation: Incarnation,
    /// The pipeline's generation.
    pub generation: Generation,
    /// SHA-256 of the bytes in the outbox.
    pub hash: [u8; 32],
    /// The seal, without rows.
    pub seal: Seal,
    /// The rows.
    pub rows: Payload,
}

#[derive(Serialize, Deserialize)]
struct StoredItem {
    incarnation: [u8; 16],
    generation: u32,
    hash: [u8; 32],
    output: String,
    lane: String,
    n: u64,
    part: u32,
    through: Option<i64>,
    latest_end: Option<i64>,
    rows: Payload,
}

impl SealItem {
    /// The stored bytes.
    pub fn encode(&self) -> Result<Bytes, Error> {
        let stored = StoredItem {
            incarnation: self.incarnation.0.to_be_bytes(),
            generation: self.generation.0,
            hash: self.hash,
            output: self.seal.output.clone(),
            lane: self.seal.lane.as_str().to_owned(),
            n: self.seal.n,
            part: self.seal.part,
            through: self.seal.through.map(|through| through.0),
            latest_end: self.seal.latest_end.map(|end| end.0),
            rows: self.rows.clone(),
        };
        super::encode(Kind::SealItem, &stored)
    }

    /// The item from its stored bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let stored: StoredItem = super::decode(Kind::SealItem, bytes)?;
        Ok(Self {
            incarnation: Incarnation(u128::from_be_bytes(stored.incarnation)),
            generation: Generation(stored.generation),
            hash: stored.hash,
            seal: Seal {
                output: stored.output,
                lane: LaneId::from_stored(stored.lane),
                n: stored.n,
                part: stored.part,
                through: stored.through.map(Timestamp),
                latest_end: stored.latest_end.map(Timestamp),
                rows: Bytes::new(),
            },
            rows: stored.rows,
        })
    }
}
