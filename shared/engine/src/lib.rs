//! Queries on streams: planned once, run per micro-batch.

pub mod dialect;
pub mod spec;
