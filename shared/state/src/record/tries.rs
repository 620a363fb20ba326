//! How far an environment had come with a lane when it began something.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidegate_core::Error;

use super::{DecodeError, Kind};

/// What was under way in a lane.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tries {
    /// The position of the first record that it took, as text; empty where all were committed. The number of the head would
    /// not do: who takes an outbox over raises it.
    pub first: String,
    /// Records that were taken at once; 0: it ended, well or with an error.
    pub records: u64,
    /// Environments that have ended there with a single record.
    pub deaths: u32,
}

impl Tries {
    /// The stored bytes.
    pub fn encode(&self) -> Result<Bytes, Error> {
        super::encode(Kind::Tries, self)
    }

    /// From the stored bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        super::decode(Kind::Tries, bytes)
    }
}
