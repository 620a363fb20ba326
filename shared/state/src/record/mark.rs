//! Marks: objects that say that a generation was once open. They lie outside the store of items, so that they outlive
//! a restore of it.

use bytes::Bytes;
use tidegate_core::{Error, Generation, Incarnation};

use super::{DecodeError, Kind};

/// What a mark holds. Whose it is, its name says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MarkRecord {
    /// Marks of other incarnations that were there before it.
    pub before: Vec<(Incarnation, Generation)>,
}

impl MarkRecord {
    /// The stored bytes.
    pub fn encode(&self) -> Result<Bytes, Error> {
        let before: Vec<([u8; 16], u32)> =
            self.before.iter().map(|(whose, which)| (whose.0.to_be_bytes(), which.0)).collect();
        super::encode(Kind::Mark, &before)
    }

    /// The mark from its stored bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let before: Vec<([u8; 16], u32)> = super::decode(Kind::Mark, bytes)?;
        let mark = |(incarnation, generation)| (Incarnation(u128::from_be_bytes(incarnation)), Generation(generation));
        Ok(Self { before: before.into_iter().map(mark).collect() })
    }
}
