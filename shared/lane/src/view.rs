//! What is known of a source's partitions, as a port.

use async_trait::async_trait;
use tidegate_core::{Position, Result};

/// What a source says when it is asked whether a partition has records behind a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backlog {
    /// There is nothing behind the position now.
    Empty,
    /// There is something.
    Waiting,
    /// The source cannot be asked.
    Unknown,
}

/// What the sources of a pipeline say about their partitions.
#[async_trait]
pub trait SourceView: Send + Sync {
    /// Names of all partitions that the source has now, as lanes name them.
    async fn partitions(&self, source: &str) -> Result<Vec<String>>;

    /// Whether `partition` has records behind `after` (`None`: from its first one). `after` stands at the end of what the
    /// source delivers as one record: commits do not cut an aggregated one.
    async fn backlog(&self, source: &str, partition: &str, after: Option<Position>) -> Result<Backlog>;

    /// The partitions that `partition` continues: what it was split from or merged of. Empty where partitions have no
    /// parents, or the source does not know them any more.
    async fn parents(&self, source: &str, partition: &str) -> Result<Vec<String>> {
        let _ = (source, partition);
        Ok(Vec::new())
    }

    /// What tells this stream from one that was made under the same name after it was deleted. `None`: unknown.
    async fn identity(&self, source: &str) -> Result<Option<String>> {
        let _ = source;
        Ok(None)
    }
}
