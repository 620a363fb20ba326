//! The registry: one item per pipeline that names its incarnation, generation and lanes.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidegate_core::{Error, Generation, Incarnation, LaneId};

use super::{DecodeError, Kind};

/// A registry as it is stored. Every change raises the version of its item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registry {
    /// Minted when the pipeline's state was created.
    pub incarnation: Incarnation,
    /// The generation whose lanes are listed.
    pub generation: Generation,
    /// Registered lanes, and the number of slots of each one's ring.
    pub lanes: BTreeMap<LaneId, u16>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    incarnation: [u8; 16],
    generation: u32,
    lanes: Vec<(String, u16)>,
}

impl Registry {
    /// The stored bytes.
    pub fn encode(&self) -> Result<Bytes, Error> {
        let stored = Stored {
            incarnation: self.incarnation.0.to_be_bytes(),
            generation: self.generation.0,
            lanes: self.lanes.iter().map(|(lane, ring)| (lane.as_str().to_owned(), *ring)).collect(),
        };
        super::encode(Kind::Registry, &stored)
    }

    /// The registry from its stored bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let stored: Stored = super::decode(Kind::Registry, bytes)?;
        Ok(Self {
            incarnation: Incarnation(u128::from_be_bytes(stored.incarnation)),
            generation: Generation(stored.generation),
            lanes: stored.lanes.into_iter().map(|(lane, ring)| (LaneId::from_stored(lane), ring)).collect(),
        })
    }
}
