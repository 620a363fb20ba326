//! Vocabulary of Tidegate: what every other crate speaks in.
//!
//! Ids, positions, event time, column types, outbox entries, errors grouped by what the caller must do,
//! and the ports through which anything outside the process is reached. This crate imports no sibling.

pub mod error;
pub mod hash;
pub mod id;
pub mod interval;
pub mod java;
pub mod outbox;
pub mod position;
pub mod random;
pub mod secret;
pub mod segment;
pub mod time;
pub mod types;
pub mod units;
pub mod zone;

pub use error::{Error, ErrorKind, Result};
pub use hash::HashRange;
pub use id::{CommitNumber, EffectId, Generation, Incarnation, LaneId, LaneKey, RequestIndex};
pub use interval::Units;
pub use outbox::OutboxEntry;
pub use position::{Position, Sequence};
pub use segment::{Segment, Segments};
pub use time::{Clock, Timestamp};
pub use zone::Zone;
