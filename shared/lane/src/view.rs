//! What is known of a source's partitions, as a port.

use async_trait::async_trait;
use tidegate_core::{HashRange, Position, Result};

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

/// A partition and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descent {
    /// Its name, as lanes name it.
    pub partition: String,
    /// What it was split from or merged of; these may be older than what the source still knows. Empty: it is a first one.
    pub parents: Vec<String>,
    /// The hashes of keys whose records it takes; `None` where its source has none, or does not tell.
    pub hashes: Option<HashRange>,
}

/// What the sources of a pipeline say about their partitions.
#[async_trait]
pub trait SourceView: Send + Sync {
    /// Names of all partitions that the source has now, as lanes name them.
    async fn partitions(&self, source: &str) -> Result<Vec<String>>;

    /// Whether `partition` has records behind `after` (`None`: from its first one). `after` stands at the end of what the
    /// source delivers as one record: commits do not cut an aggregated one.
    async fn backlog(&self, source: &str, partition: &str, after: Option<Position>) -> Result<Backlog>;

    /// Every partition that `partitions` names, with those that it continues: what it was split from or merged of. Empty
    /// where the partitions of a source have no parents, or it cannot be asked.
    async fn lineage(&self, source: &str) -> Result<Vec<Descent>> {
        let _ = source;
        Ok(Vec::new())
    }

    /// What tells this stream from one that was made under the same name after it was deleted. `None`: unknown.
    async fn identity(&self, source: &str) -> Result<Option<String>> {
        let _ = source;
        Ok(None)
    }
}
