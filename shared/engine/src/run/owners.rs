//! Which of several lanes that continue others takes a group.

use arrow::array::RecordBatch;
use tidegate_core::{Error, HashRange};

use super::window::WindowQuery;
use crate::api::OutputPlan;
use crate::group_json::row_json;
use crate::hashes::KeyHash;

/// A group that no lane can be given, and why.
#[derive(Debug)]
pub(crate) enum Homeless {
    /// Nothing is known of the hashes of the output's keys, or of what a lane takes.
    NoHashes,
    /// Of a row of this group the hash is not known.
    Unknown(String),
    /// Rows of this group's key have several hashes.
    Mixed(String),
    /// No lane takes the hash of this group.
    Outside(String),
}

impl WindowQuery {
    /// For each of the partial rows the place of the child that takes the rows of its group.
    pub(crate) fn owners(&self, rows: &RecordBatch, children: &[Option<HashRange>]) -> Result<Vec<usize>, Homeless> {
        let ranges: Option<Vec<HashRange>> = children.iter().copied().collect();
        let (Some(hashed), Some(ranges)) = (&self.hashed, ranges) else { return Err(Homeless::NoHashes) };
        if !hashed.are_in(rows) {
            return Err(Homeless::NoHashes);
        }
        let group = |row: usize| {
            let keys = rows.slice(row, 1).project(&(0..self.keys).collect::<Vec<_>>());
            keys.map_or_else(|_| String::new(), |keys| row_json(&keys))
        };
        let owner = |(row, hash)| match hash {
            KeyHash::Unknown => Err(Homeless::Unknown(group(row))),
            KeyHash::Mixed => Err(Homeless::Mixed(group(row))),
            KeyHash::One(hash) => {
                ranges.iter().position(|range| range.contains(hash)).ok_or_else(|| Homeless::Outside(group(row)))
            }
        };
        hashed.read(rows).into_iter().enumerate().map(owner).collect()
    }
}

impl Homeless {
    /// What a person reads. `open` groups of the output are open.
    pub(crate) fn error(self, output: &OutputPlan, open: usize) -> Error {
        let OutputPlan { name, source, .. } = output;
        let why = match self {
            Self::NoHashes => "nothing tells which lane will get the rows of which group".to_owned(),
            Self::Unknown(group) => format!(
                "of rows of the group {group} it is not known by which key they came: they were committed by an \
                 older version, or stand in an aggregated record with another key"
            ),
            Self::Mixed(group) => format!(
                "rows of the group {group} came with several keys of the stream: partition_key of source '{source}' is \
                 not what its producers partition by, or they use ExplicitHashKey"
            ),
            Self::Outside(group) => format!(
                "no lane takes the key by which rows of the group {group} came: producers of source '{source}' use \
                 ExplicitHashKey"
            ),
        };
        Error::invalid(format!(
            "output '{name}': {open} groups of windows are open that each lane closes by itself, and the state cannot be \
             divided among several lanes: {why}"
        ))
        .with_help(
            "nothing is lost, the source delivers again. Without partition_key windows are closed over all lanes, and \
             partitions may always be split; `tidegate reset` begins a new generation",
        )
    }
}
