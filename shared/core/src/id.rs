//! Names of things that live longer than a process: incarnations, generations, lanes, commits, effects.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// A random id minted when a pipeline's state is first created. 32 hex digits as text.
///
/// Two pipelines, or one whose state was deleted, never share effect ids.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Incarnation(pub u128);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Incarnation({self})")
    }
}

/// A number in every lane key and effect id; raised on purpose only (rewind, replay, re-created source).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Generation(pub u32);

impl Generation {
    /// The generation that a new pipeline starts with.
    pub const FIRST: Self = Self(1);
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a commit within its lane. The first one is 1; 0 stands for "nothing committed yet".
pub type CommitNumber = u64;

/// The unit of order, state and exactly-once: `source:partition`, for example
/// `transactions:shardId-000000000000` or `orders:orders-3`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneId(String);

impl LaneId {
    /// The lane of `partition` of `source`. Bytes outside `[A-Za-z0-9._-]` are percent-encoded, so that the
    /// id is safe in keys, headers and URLs.
    pub fn new(source: &str, partition: &str) -> Self {
        let mut text = String::with_capacity(source.len() + partition.len() + 1);
        encode(source, &mut text);
        text.push(':');
        encode(partition, &mut text);
        Self(text)
    }

    /// The close lane of an output: where windows over several lanes become results. `$close:OUTPUT`, with the output
    /// encoded; no lane of a source has this id, since `$` is encoded there.
    pub fn close(output: &str) -> Self {
        let mut text = String::with_capacity(CLOSE.len() + output.len());
        text.push_str(CLOSE);
        encode(output, &mut text);
        Self(text)
    }

    /// Whether it is the close lane of some output.
    pub fn is_close(&self) -> bool {
        self.0.starts_with(CLOSE)
    }

    /// A lane id that was read back from storage.
    pub fn from_stored(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the partition, as it was before it was encoded.
    pub fn partition(&self) -> String {
        let encoded = self.0.split_once(':').map_or("", |(_, partition)| partition);
        let mut bytes = Vec::with_capacity(encoded.len());
        let mut rest = encoded.bytes();
        while let Some(byte) = rest.next() {
            let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
            bytes.push(match byte {
                b'%' => (digit().unwrap_or(0) * 16 + digit().unwrap_or(0)) as u8,
                byte => byte,
            });
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The (encoded) name of the source: what stands before the colon.
    pub fn source(&self) -> &str {
        self.0.split_once(':').map_or(self.0.as_str(), |(source, _)| source)
    }
}

/// What the ids of close lanes begin with.
const CLOSE: &str = "$close:";

fn encode(text: &str, out: &mut String) {
    use fmt::Write;
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' => out.push(byte as char),
            _ => write!(out, "%{byte:02X}").expect("writing to a string"),
        }
    }
}

impl fmt::Display for LaneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a lane's commits live: everything of an effect id but the number and the index.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LaneKey {
    /// The pipeline's name.
    pub pipeline: String,
    /// The pipeline's incarnation.
    pub incarnation: Incarnation,
    /// The pipeline's generation.
    pub generation: Generation,
    /// The lane.
    pub lane: LaneId,
}

/// The place of a request within its commit's outbox: `3`, or `3.0` and `3.1` after a split of `3`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestIndex(Vec<u32>);

impl RequestIndex {
    /// The `i`-th request of a commit.
    pub fn top(i: u32) -> Self {
        Self(vec![i])
    }

    /// The `i`-th part of this request after a split.
    #[must_use]
    pub fn child(&self, i: u32) -> Self {
        let mut path = self.0.clone();
        path.push(i);
        Self(path)
    }

    /// The path from the outermost request inwards. Never empty.
    pub fn path(&self) -> &[u32] {
        &self.0
    }

    /// An index from its path; `None` when the path is empty.
    pub fn from_path(path: Vec<u32>) -> Option<Self> {
        (!path.is_empty()).then_some(Self(path))
    }
}

impl fmt::Display for RequestIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, part) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(".")?;
            }
            part.fmt(f)?;
        }
        Ok(())
    }
}

impl FromStr for RequestIndex {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.split('.')
            .map(str::parse)
            .collect::<std::result::Result<Vec<u32>, _>>()
            .ok()
            .and_then(Self::from_path)
            .ok_or_else(|| Error::invalid(format!("'{text}' is no request index such as 3 or 3.0")))
    }
}

/// The id under which a request takes effect once: `incarnation/generation/lane/n/index` when written with
/// [`EffectId::with_lane`]. The commit number is that of the commit that first owed the request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EffectId {
    /// The commit that first owed the request.
    pub n: CommitNumber,
    /// Its place in that commit's outbox.
    pub index: RequestIndex,
}

impl EffectId {
    /// The whole id as text, safe in headers and URL paths.
    pub fn with_lane(&self, lane: &LaneKey) -> String {
        format!("{}/{}/{}/{}/{}", lane.incarnation, lane.generation, lane.lane, self.n, self.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effect_ids_are_safe_text() {
        let key = LaneKey {
            pipeline: "p".into(),
            incarnation: Incarnation(255),
            generation: Generation::FIRST,
            lane: LaneId::new("orders", "a/b c-3"),
        };
        let id = EffectId { n: 7, index: RequestIndex::top(2).child(1) };
        assert_eq!(id.with_lane(&key), format!("{:032x}/1/orders:a%2Fb%20c-3/7/2.1", 255));
        assert_eq!((key.lane.source(), key.lane.partition().as_str()), ("orders", "a/b c-3"));
        assert_eq!(LaneId::new("s", "Zürich%2F:x").partition(), "Zürich%2F:x");
    }

    #[test]
    fn close_lanes_are_apart_from_the_lanes_of_sources() {
        let close = LaneId::close("a/b");
        assert_eq!((close.as_str(), close.source(), close.is_close()), ("$close:a%2Fb", "$close", true));
        let odd = LaneId::new("$close", "a/b");
        assert!(odd != close && !odd.is_close());
        assert_eq!(LaneId::from_stored(close.as_str()), close);
    }

    #[test]
    fn request_index_reads_what_it_writes() {
        let index: RequestIndex = "3.0.1".parse().unwrap();
        assert_eq!(index.path(), [3, 0, 1]);
        assert_eq!(index.to_string(), "3.0.1");
        assert!("".parse::<RequestIndex>().is_err());
        assert!("a".parse::<RequestIndex>().is_err());
    }
}
