//! Pieces of a lane's state in objects of their own.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tidegate_core::{Error, ErrorKind, LaneKey, Result, Segment, Segments};

use crate::blobs::{self, FetchError};
use crate::keys;
use crate::pipeline::Shared;

/// Segments that a manifest names at most. One takes about 100 bytes in it, and an item has 400 KB.
pub const MAX_SEGMENTS: usize = 2_048;

/// A state as bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// What does not lie in segments.
    pub rest: Bytes,
    /// The segments, in the order of their maker.
    pub segments: Vec<Segment>,
}

impl From<Bytes> for Snapshot {
    fn from(rest: Bytes) -> Self {
        Self { rest, segments: Vec::new() }
    }
}

impl Snapshot {
    pub(crate) fn check(&self) -> Result<()> {
        let count = self.segments.len();
        if count <= MAX_SEGMENTS {
            return Ok(());
        }
        let mib = self.segments.iter().map(|segment| segment.length).sum::<u64>() >> 20;
        Err(Error::invalid(format!(
            "the state takes {mib} MiB in {count} segments, the limit is {MAX_SEGMENTS} segments"
        ))
        .with_help("use more partitions, shorter windows or a shorter delay of the watermark"))
    }
}

/// The segments of one lane in the blob store.
pub(crate) struct LaneSegments {
    pub shared: Arc<Shared>,
    pub key: LaneKey,
}

impl fmt::Debug for LaneSegments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LaneSegments({})", self.key.lane)
    }
}

#[async_trait]
impl Segments for LaneSegments {
    async fn put(&self, content: Bytes, about: Bytes) -> Result<Segment> {
        let (ports, attempt) = (&self.shared.ports, self.shared.ports.random.next_u128());
        let stored = blobs::store(ports, &content, |hash| keys::segment(&self.key, attempt, hash)).await;
        let hash = stored.map_err(|e| e.within(format!("lane {}: a segment of its state", self.key.lane)))?;
        Ok(Segment { attempt, hash, length: content.len() as u64, about })
    }

    async fn get(&self, segment: &Segment) -> Result<Bytes> {
        let key = keys::segment(&self.key, segment.attempt, &segment.hash);
        match blobs::read(&self.shared.ports, &key, &segment.hash).await {
            Ok(content) => Ok(content),
            Err(FetchError::Failed(error)) => Err(error),
            Err(FetchError::Missing(key)) => {
                Err(Error::new(ErrorKind::Conflict, format!("object {key}, a segment of the state, is missing"))
                    .with_help("somebody may have merged it away; if this lasts, restore the bucket from a backup"))
            }
        }
    }
}
