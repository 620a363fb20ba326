//! Queries on streams: planned once, run per micro-batch.
//!
//! [`Engine::plan`] turns sources, views and outputs into plans. [`Engine::process`] runs all outputs of a source over
//! one micro-batch of one lane and returns rows, the lane's next state and the delta that restores it. Windows whose
//! groups stand in several lanes leave a lane as sealed partial rows; [`Engine::close`] makes results of them.

pub mod dialect;
pub mod spec;

mod adhoc;
mod api;
mod engine;
mod group_json;
mod hashes;
mod lanes;
mod plan;
mod run;
mod segment;
mod state;
mod window;

pub use adhoc::{AdHoc, AdHocError, texts};
pub use api::{
    CloseStep, Closing, LaneState, OpenWindows, OutputCounts, OutputKind, OutputPlan, OutputRows, Part, PlanError,
    RejectedRow, SealedRows, StateLayout, Step,
};
pub use arrow::array::RecordBatch as Rows;
pub use engine::Engine;
pub use segment::{Checkpoint, SegmentOptions, StoredState};
pub use state::event_times;
