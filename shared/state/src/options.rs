//! What a pipeline's state is reached through, and how it is laid out.

use std::sync::Arc;

use tidegate_core::random::Random;
use tidegate_core::{Clock, Error, Result};

use crate::ports::{BlobStore, ConditionalStore};

/// The outside, as far as state needs it. Cheap to clone.
#[derive(Clone)]
pub struct Ports {
    /// Small items.
    pub store: Arc<dyn ConditionalStore>,
    /// Large bytes.
    pub blobs: Arc<dyn BlobStore>,
    /// For pauses and for the writer's deadline.
    pub clock: Arc<dyn Clock>,
    /// For tokens and jitter.
    pub random: Arc<dyn Random>,
}

impl std::fmt::Debug for Ports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ports")
    }
}

/// Default of [`StateOptions::ring`].
pub const DEFAULT_RING: u16 = 64;
/// Default of [`StateOptions::inline_limit`]: below the 400 KB that a DynamoDB item may have, keys included.
pub const DEFAULT_INLINE_LIMIT: usize = 300_000;
/// Default of [`StateOptions::load_concurrency`].
pub const DEFAULT_LOAD_CONCURRENCY: usize = 16;
/// Slots that a ring may have.
pub const MAX_RING: u16 = 1024;

/// How the state of new lanes is laid out, and how large an item may become.
#[derive(Clone, Debug)]
pub struct StateOptions {
    /// K: slots of a new lane's ring, 2 to 1024. A lane keeps the K that it was created with.
    pub ring: u16,
    /// Bytes that a stored commit or manifest may have. What is larger goes to the blob store. Above 10 KB an object
    /// in S3 is cheaper than a large DynamoDB item, but it costs a second round trip.
    pub inline_limit: usize,
    /// Requests that a cold load has in flight.
    pub load_concurrency: usize,
}

impl Default for StateOptions {
    fn default() -> Self {
        Self { ring: DEFAULT_RING, inline_limit: DEFAULT_INLINE_LIMIT, load_concurrency: DEFAULT_LOAD_CONCURRENCY }
    }
}

impl StateOptions {
    pub(crate) fn check(&self) -> Result<()> {
        if !(2..=MAX_RING).contains(&self.ring) {
            return Err(Error::invalid(format!("a ring of {} slots is not possible", self.ring))
                .with_help(format!("use 2 to {MAX_RING}")));
        }
        if self.inline_limit == 0 || self.load_concurrency == 0 {
            return Err(Error::invalid("the inline limit and the concurrency of loads must be at least 1"));
        }
        Ok(())
    }
}
