//! Committed state: the ring of commits of each lane, its manifest, the registry of a pipeline, and the stores
//! that hold them.
//!
//! [`Pipeline`] opens the registry and loads lanes. A loaded [`Lane`] is the memory of one lane's chain; a warm
//! [`Lane::commit`] is one conditional write and no read. Anything but success makes that memory worthless: the lane
//! refuses further work and has to be loaded again.
//!
//! This crate is the only one that talks to SQLite, DynamoDB and S3.

pub mod decide;
pub mod faults;
pub mod memory;
pub mod ports;
pub mod record;

mod blobs;
mod garbage;
mod generations;
mod keys;
mod lane;
mod load;
mod options;
mod pipeline;
mod probe;
mod range;
mod reshard;
mod retry;
mod seals;
mod segments;
mod tries;
mod writes;

#[cfg(feature = "contract-tests")]
pub mod contract;
#[cfg(feature = "dynamodb")]
pub mod dynamodb;
#[cfg(feature = "embedded")]
pub mod embedded;
#[cfg(feature = "embedded")]
pub mod folder;
#[cfg(feature = "s3")]
pub mod s3;

pub use decide::registry::Closing;
pub use garbage::{Collected, DEFAULT_GARBAGE_HORIZON};
pub use generations::Opening;
pub use lane::{CommitOutcome, Draft, Head, Lane, LaneLimit, ManifestOutcome};
pub use load::{LaneReport, Layout, LoadRules, Loaded};
pub use options::{Ports, StateOptions};
pub use pipeline::{Pipeline, RegistryView};
pub use ports::{
    BlobStore, Condition, ConditionalStore, Item, ItemKey, PutOutcome, Refusal, StoreError, TransactOp, TransactOutcome,
};
pub use range::{Range, lies_in_gap};
pub use record::registry::Phase;
pub use record::seal::Seal;
pub use record::tries::Tries;
pub use reshard::Child;
pub use seals::{SealOutcome, StoredSeal};
pub use segments::{MAX_SEGMENTS, Snapshot};
