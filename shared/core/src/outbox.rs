//! What a commit owes its targets.

use bytes::Bytes;

use crate::id::EffectId;
use crate::time::Timestamp;

/// The name under which dead letters stand in an outbox, beside the targets of the pipeline file.
/// It cannot clash: names in pipeline files do not start with `$`.
pub const DEAD_LETTERS: &str = "$dead_letters";

/// The name under which sealed partial windows stand in an outbox: what a lane hands over to the close lane of an
/// output. They go to the committed state, not to a target.
pub const SEALS: &str = "$seals";

/// One request that a commit owes a target, as bytes that are never recomputed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxEntry {
    /// The id under which it takes effect once. It keeps the number of the commit that first owed it.
    pub id: EffectId,
    /// The target's name in the pipeline file, or [`DEAD_LETTERS`].
    pub target: String,
    /// Requests of a smaller wave are settled before one of a larger wave leaves; within a wave they may
    /// travel side by side.
    pub wave: u16,
    /// Rows that it carries (at least 1).
    pub rows: u32,
    /// When it was first committed: the start of the target's memory of its id.
    pub committed_at: Timestamp,
    /// The request in the encoding of the target's kind. Holds no credentials.
    pub payload: Bytes,
}
