//! Spark's SQL dialect: what a Spark user writes means here what it means there.
//!
//! The way of a query: [`parse_query`] (syntax, then rewrites of the syntax tree), then planning by a session that
//! [`Dialect::install`] has prepared (types, functions). `plan` gives every expression its type by Spark's rules,
//! `cast` and `operators` compute, `functions` holds one file per group of Spark's documentation.

pub mod cast;
pub mod clock;
pub mod error;
pub mod functions;
pub mod lazy;
pub mod name;
pub mod node;
pub mod operators;
pub mod parse;
pub mod plan;
pub mod reference;
pub mod rewrite;
pub mod types;

use std::collections::HashMap;
use std::sync::Arc;

pub use clock::BatchClock;
use datafusion::execution::SessionStateBuilder;
use datafusion::logical_expr::{HigherOrderUDF, ScalarUDF};
use datafusion::prelude::SessionConfig;
pub use name::spark_name;
pub use parse::{ParseError, parse_query, parse_query_over, parse_query_with, statements};
pub use rewrite::Kind;
use tidegate_core::Zone;

/// The dialect as a part of a session.
#[derive(Clone, Debug)]
pub struct Dialect {
    /// The time that `now()` and its relatives answer; the engine sets it once per micro-batch.
    pub clock: BatchClock,
    /// The session time zone: where dates and wall-clock times become instants and back.
    pub zone: Zone,
}

impl Default for Dialect {
    fn default() -> Self {
        Self { clock: BatchClock::default(), zone: Zone::UTC }
    }
}

impl Dialect {
    /// A dialect whose clock stands at the epoch, in UTC.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds functions, expression planners and options to a session.
    /// Call it after `with_default_features()`: what it adds wins over what stands there.
    pub fn install(&self, mut builder: SessionStateBuilder) -> SessionStateBuilder {
        let mut foreign: HashMap<String, Arc<ScalarUDF>> = HashMap::new();
        let all = datafusion::functions::all_default_functions()
            .into_iter()
            .chain(datafusion::functions_nested::all_default_nested_functions())
            .chain(datafusion_spark::all_default_scalar_functions());
        for function in all {
            for alias in function.aliases() {
                foreign.insert(alias.clone(), Arc::clone(&function));
            }
            foreign.insert(function.name().to_owned(), function);
        }
        let shared = plan::Shared { clock: self.clock.clone(), zone: self.zone, foreign: Arc::new(foreign) };
        builder.expr_planners().get_or_insert_with(Vec::new).insert(0, Arc::new(shared));
        *builder.type_planner() = Some(Arc::new(plan::Types));
        builder
            .scalar_functions()
            .get_or_insert_with(Vec::new)
            .extend(datafusion_spark::all_default_scalar_functions());
        builder.aggregate_functions().get_or_insert_with(Vec::new).extend(functions::aggregate::all());
        let fold = HigherOrderUDF::new_from_impl(functions::collection::fold::Fold::default());
        builder.higher_order_functions().get_or_insert_with(Vec::new).push(Arc::new(fold));
        let config = builder.config().get_or_insert_with(SessionConfig::new);
        let options = config.options_mut();
        options.sql_parser.enable_ident_normalization = false;
        options.sql_parser.map_string_types_to_utf8view = false;
        options.sql_parser.default_null_ordering = "nulls_min".to_owned();
        options.execution.enable_ansi_mode = true;
        options.execution.time_zone = Some("UTC".to_owned());
        builder
    }
}
