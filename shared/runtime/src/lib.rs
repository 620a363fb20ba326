//! One invocation from event to response, and the local run: the only crate that sees all the others.
//!
//! The way of a micro-batch (see ARCHITECTURE.md): [`config`] reads the pipeline file, [`pipeline`] plans it once,
//! [`runtime`] holds ports and warm lanes, [`lane`] takes one lane's records from decode to settled commit,
//! [`settle`] delivers an outbox and commits what was decided about rejections, [`invoke`] answers Lambda events,
//! [`local`] drives files and generators.

pub mod config;
pub mod explain;
pub mod inspect;
pub mod invoke;
pub mod lane;
pub mod local;
pub mod metrics;
mod outbox;
pub mod pipeline;
pub mod report;
pub mod runtime;
pub mod settle;

pub use config::{ConfigErrors, PipelineFile};
pub use pipeline::PlannedPipeline;
pub use report::{BatchReport, Counts, StageTimes};
pub use runtime::{Ports, Runtime, RuntimeOptions};
