//! How far an environment had come with a lane when it began something.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidegate_core::{Error, Timestamp};

use super::{DecodeError, Kind};

/// What was under way in a lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tries {
    /// The position of the first record that it took, as text; empty where all were committed. The number of the head would
    /// not do: who takes an outbox over raises it.
    pub first: String,
    /// Records that were taken at once; 0: it ended, well or with an error.
    pub records: u64,
    /// Environments that have ended there with a single record.
    pub deaths: u32,
    /// Until when one of those that were counted may be at work still: the latest of their deadlines, and of this one's.
    pub until: Timestamp,
}

/// As format 1 has it, and as the head of format 2.
#[derive(Serialize, Deserialize)]
struct Stored {
    first: String,
    records: u64,
    deaths: u32,
}

/// Format 2: with the deadlines.
#[derive(Serialize, Deserialize)]
struct Stored2 {
    tries: Stored,
    /// Microseconds since 1970.
    until: i64,
}

impl Tries {
    /// The stored bytes, in format 1 where there is no deadline.
    pub fn encode(&self) -> Result<Bytes, Error> {
        let tries = Stored { first: self.first.clone(), records: self.records, deaths: self.deaths };
        match self.until {
            Timestamp(0) => super::encode_as(Kind::Tries, 1, &tries),
            Timestamp(until) => super::encode(Kind::Tries, &Stored2 { tries, until }),
        }
    }

    /// From the stored bytes, of either format.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let Stored2 { tries, until } = match super::format_of(Kind::Tries, bytes)? {
            1 => Stored2 { tries: super::decode(Kind::Tries, bytes)?, until: 0 },
            _ => super::decode(Kind::Tries, bytes)?,
        };
        Ok(Self { first: tries.first, records: tries.records, deaths: tries.deaths, until: Timestamp(until) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_are_read() {
        let with = |until| Tries { first: "7".into(), records: 1, deaths: 2, until: Timestamp(until) };
        for (tries, format) in [(with(0), 1), (with(1_767_225_600_000_000), 2)] {
            let bytes = tries.encode().unwrap();
            assert_eq!(bytes[0], format);
            assert_eq!(Tries::decode(&bytes).unwrap(), tries);
        }
    }
}
