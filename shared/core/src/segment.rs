//! Pieces of a lane's state that lie in objects of their own, as a port.
//!
//! A state that is larger than one manifest should carry is kept in segments. A segment never changes: what is merged
//! or has ended leaves the list of segments that the next manifest names, and a garbage collection removes the object.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Result;

/// Where a segment lies, and what its maker says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Token of the write that stored it.
    pub attempt: u128,
    /// SHA-256 of the stored object.
    pub hash: [u8; 32],
    /// Bytes of its content.
    pub length: u64,
    /// What its maker needs to know without fetching it, in the maker's encoding.
    pub about: Bytes,
}

/// The segments of one lane.
#[async_trait]
pub trait Segments: Send + Sync + fmt::Debug {
    /// Stores `content`. Nothing refers to it until a manifest names the segment; a segment that none ever names is
    /// garbage.
    ///
    /// # Errors
    /// Unavailable: a passing fault.
    async fn put(&self, content: Bytes, about: Bytes) -> Result<Segment>;

    /// The content, checked against its hash.
    ///
    /// # Errors
    /// Conflict when the object is gone: somebody else has merged it away, so the memory that names it is old.
    /// Unavailable: a passing fault. Internal: not what was stored.
    async fn get(&self, segment: &Segment) -> Result<Bytes>;
}
