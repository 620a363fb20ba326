//! Where things are stored. Every slot has a partition key of its own, so that no lane is bound to the
//! throughput of one partition.

use tidegate_core::{LaneId, LaneKey};

use crate::ports::ItemKey;

/// A pipeline's name, safe as a part of keys.
fn safe(name: &str) -> String {
    // The part before the colon is the encoded name.
    LaneId::new(name, "").source().to_owned()
}

pub(crate) fn registry(pipeline: &str) -> ItemKey {
    ItemKey::new(format!("{}#registry", safe(pipeline)), "registry")
}

fn lane_part(lane: &LaneKey, part: impl std::fmt::Display) -> String {
    format!("{}#{}#{}#{part}", safe(&lane.pipeline), lane.generation, lane.lane)
}

pub(crate) fn slot(lane: &LaneKey, slot: u16) -> ItemKey {
    ItemKey::new(lane_part(lane, slot), "commit")
}

pub(crate) fn manifest(lane: &LaneKey) -> ItemKey {
    ItemKey::new(lane_part(lane, "manifest"), "manifest")
}

/// Name of an object: the attempt keeps writers apart, the hash makes the name stand for the content.
pub(crate) fn blob(lane: &LaneKey, n: u64, attempt: u128, hash: &[u8; 32]) -> String {
    use std::fmt::Write;
    let mut key =
        format!("{}/{}/{}/{}/{n}/{attempt:032x}/", safe(&lane.pipeline), lane.incarnation, lane.generation, lane.lane);
    for byte in hash {
        write!(key, "{byte:02x}").expect("writing to a string");
    }
    key
}
