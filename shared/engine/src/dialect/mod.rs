//! Spark's SQL dialect: what a Spark user writes means here what it means there.
//!
//! The way of a query: [`parse_query`] (syntax, then rewrites of the syntax tree), then planning by a session that
//! [`Dialect::install`] has prepared (types, functions, analyzer rules).

pub mod clock;
pub mod error;
pub mod name;
pub mod parse;

pub use clock::BatchClock;
pub use name::spark_name;
pub use parse::{ParseError, parse_query};

use datafusion::execution::SessionStateBuilder;

/// The dialect as a part of a session.
#[derive(Clone, Debug, Default)]
pub struct Dialect {
    /// The time that `now()` and its relatives answer; the engine sets it once per micro-batch.
    pub clock: BatchClock,
}

impl Dialect {
    /// A dialect whose clock stands at the epoch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds functions, expression planners, analyzer rules and options to a session.
    /// Call it after `with_default_features()`: what it adds wins over what stands there.
    pub fn install(&self, builder: SessionStateBuilder) -> SessionStateBuilder {
        builder
    }
}
