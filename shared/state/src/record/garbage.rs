//! What a collection of garbage remembers from one scan to the next.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidegate_core::{Error, Timestamp};

use super::{DecodeError, Kind};

/// Objects that nothing referred to, and since when. Names are without pipeline and incarnation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Candidates {
    /// When each was first found so, with no other finding since.
    pub since: BTreeMap<String, Timestamp>,
    /// The last group of objects that was looked at: the next scan goes on behind it.
    pub cursor: String,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    since: Vec<(String, i64)>,
    cursor: String,
}

impl Candidates {
    /// The stored bytes.
    pub fn encode(&self) -> Result<Bytes, Error> {
        let since = self.since.iter().map(|(name, at)| (name.clone(), at.0)).collect();
        super::encode(Kind::Garbage, &Stored { since, cursor: self.cursor.clone() })
    }

    /// The candidates from their stored bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let Stored { since, cursor } = super::decode(Kind::Garbage, bytes)?;
        Ok(Self { since: since.into_iter().map(|(name, at)| (name, Timestamp(at))).collect(), cursor })
    }
}
