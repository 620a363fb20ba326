//! One invocation from event to response, and the local run: the only crate that sees all the others.
//!
//! The way of a micro-batch (see ARCHITECTURE.md): [`config`] reads the pipeline file, [`pipeline`] plans it once,
//! [`compute`] decodes, runs the queries and builds requests, `tidegate_lane` takes that through the protocol,
//! [`runtime`] holds both together, [`invoke`] answers Lambda events, [`local`] drives files and generators.

mod columns;
pub mod compute;
pub mod config;
pub mod explain;
mod housekeeping;
pub mod inspect;
pub mod invoke;
pub mod local;
pub mod metrics;
mod outbox;
pub mod pipeline;
pub mod runtime;
mod view;

pub use config::{ConfigErrors, PipelineFile};
pub use pipeline::PlannedPipeline;
pub use runtime::{Ports, Runtime, RuntimeOptions};
pub use tidegate_lane::{
    Anew, Backlog, BatchReport, Budget, Counts, Descent, LaneOptions, Replay, SourceView, StageTimes, TickOptions,
};
