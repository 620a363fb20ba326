//! The registry: one item per pipeline that names its incarnation, generation and lanes, and how far each output is
//! closed.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidegate_core::{Error, Generation, Incarnation, LaneId, Timestamp};

use super::{DecodeError, Kind, raw_bytes};

/// A registry as it is stored. Every change raises the version of its item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registry {
    /// Minted when the pipeline's state was created.
    pub incarnation: Incarnation,
    /// The generation whose lanes are listed.
    pub generation: Generation,
    /// Whether lanes may be added and windows closed.
    pub phase: Phase,
    /// Registered lanes, finished ones included.
    pub lanes: BTreeMap<LaneId, Registered>,
    /// Lanes that are sealed for good: nothing is ever committed to them again.
    pub finished: BTreeSet<LaneId>,
    /// Per output over lanes: windows that end at or before this are closed.
    pub floors: BTreeMap<String, Timestamp>,
    /// What each source was when it was first read: a topic id, a creation time.
    pub sources: BTreeMap<String, String>,
    /// What the generation was opened with, in words of whoever opened it.
    pub origin: Bytes,
}

/// What the registry says about a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// K: slots of its ring.
    pub ring: u16,
    /// The number of its first commit: 1, or more for a lane that has inherited from others.
    pub first: u64,
}

/// Whether a pipeline takes new lanes and closes windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It does.
    Open,
    /// It does not: every ring is being sealed, then the next generation opens.
    Sealing {
        /// The generation that opens.
        next: Generation,
    },
}

/// Format 1.
#[derive(Deserialize)]
struct Stored1 {
    incarnation: [u8; 16],
    generation: u32,
    lanes: Vec<(String, u16)>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    incarnation: [u8; 16],
    generation: u32,
    sealing: Option<u32>,
    lanes: Vec<(String, Registered)>,
    finished: Vec<String>,
    floors: Vec<(String, i64)>,
    sources: Vec<(String, String)>,
    #[serde(with = "raw_bytes")]
    origin: Bytes,
}

impl From<Stored1> for Stored {
    fn from(old: Stored1) -> Self {
        let lanes = old.lanes.into_iter().map(|(lane, ring)| (lane, Registered { ring, first: 1 }));
        Self {
            incarnation: old.incarnation,
            generation: old.generation,
            sealing: None,
            lanes: lanes.collect(),
            finished: Vec::new(),
            floors: Vec::new(),
            sources: Vec::new(),
            origin: Bytes::new(),
        }
    }
}

impl Registry {
    /// A registry without lanes.
    pub fn new(incarnation: Incarnation, generation: Generation) -> Self {
        Self {
            incarnation,
            generation,
            phase: Phase::Open,
            lanes: BTreeMap::new(),
            finished: BTreeSet::new(),
            floors: BTreeMap::new(),
            sources: BTreeMap::new(),
            origin: Bytes::new(),
        }
    }

    /// The stored bytes.
    pub fn encode(&self) -> Result<Bytes, Error> {
        let stored = Stored {
            incarnation: self.incarnation.0.to_be_bytes(),
            generation: self.generation.0,
            sealing: match self.phase {
                Phase::Open => None,
                Phase::Sealing { next } => Some(next.0),
            },
            lanes: self.lanes.iter().map(|(lane, entry)| (lane.as_str().to_owned(), *entry)).collect(),
            finished: self.finished.iter().map(|lane| lane.as_str().to_owned()).collect(),
            floors: self.floors.iter().map(|(output, floor)| (output.clone(), floor.0)).collect(),
            sources: self.sources.clone().into_iter().collect(),
            origin: self.origin.clone(),
        };
        super::encode(Kind::Registry, &stored)
    }

    /// The registry from its stored bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let body = super::unframe(Kind::Registry, bytes)?;
        let stored: Stored = match super::format_of(Kind::Registry, bytes)? {
            1 => super::decode_body::<Stored1>(&body)?.into(),
            _ => super::decode_body(&body)?,
        };
        Ok(Self {
            incarnation: Incarnation(u128::from_be_bytes(stored.incarnation)),
            generation: Generation(stored.generation),
            phase: stored.sealing.map_or(Phase::Open, |next| Phase::Sealing { next: Generation(next) }),
            lanes: stored.lanes.into_iter().map(|(lane, entry)| (LaneId::from_stored(lane), entry)).collect(),
            finished: stored.finished.into_iter().map(LaneId::from_stored).collect(),
            floors: stored.floors.into_iter().map(|(output, floor)| (output, Timestamp(floor))).collect(),
            sources: stored.sources.into_iter().collect(),
            origin: stored.origin,
        })
    }
}
