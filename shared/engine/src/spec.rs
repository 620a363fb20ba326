//! What a pipeline asks of the engine: sources, views and outputs, as data.

use std::time::Duration;

use arrow::datatypes::SchemaRef;
use tidegate_core::Zone;

/// Everything that is planned together.
#[derive(Clone, Debug)]
pub struct EngineSpec {
    /// Streams that queries read.
    pub sources: Vec<SourceSpec>,
    /// Named queries, in the order of the file. A view may use views that stand before or after it.
    pub views: Vec<ViewSpec>,
    /// Queries whose rows are delivered.
    pub outputs: Vec<OutputSpec>,
    /// The session time zone of all queries.
    pub zone: Zone,
}

/// A stream.
#[derive(Clone, Debug)]
pub struct SourceSpec {
    /// Its name in SQL.
    pub name: String,
    /// Its columns, metadata columns (`_partition`, ...) included. All nullable.
    pub schema: SchemaRef,
    /// Its event time.
    pub watermark: Option<WatermarkSpec>,
    /// What the producers partition by.
    pub partition_key: Vec<String>,
    /// How many lanes may read it at the same time.
    pub lanes: Lanes,
}

/// How many lanes may read a source at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lanes {
    /// One, or each by itself: what a lane closes is final.
    #[default]
    One,
    /// Several. Windows whose groups stand in more than one of them are closed over all lanes.
    Many,
}

/// Event time and how far behind the newest record the watermark follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatermarkSpec {
    /// A column of type `timestamp`.
    pub column: String,
    /// The watermark is the largest event time seen less this.
    pub delay: Duration,
}

/// A named query.
#[derive(Clone, Debug)]
pub struct ViewSpec {
    /// Its name in SQL.
    pub name: String,
    /// The query.
    pub sql: String,
}

/// A query whose rows are delivered.
#[derive(Clone, Debug)]
pub struct OutputSpec {
    /// Its name.
    pub name: String,
    /// The query.
    pub sql: String,
    /// What the query sees.
    pub scope: Scope,
    /// Whether rows that came too late for their window are kept for the late output.
    pub late: bool,
}

/// What a query sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The stream: aggregates need a window, and results are appended when it closes.
    Stream,
    /// One micro-batch of one partition (`foreachBatch` in Spark).
    Batch,
}
