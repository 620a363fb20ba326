//! Where things are stored. Every slot has a partition key of its own, so that no lane is bound to the
//! throughput of one partition.

use tidegate_core::{Generation, LaneId, LaneKey};

use crate::ports::ItemKey;
use crate::record::seal::{Seal, SealItem};

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

/// The partition of an output's seals.
pub(crate) fn seals(pipeline: &str, generation: Generation, output: &str) -> String {
    format!("{}#{generation}#seals#{}", safe(pipeline), safe(output))
}

/// Where a seal lies. The number has all its digits, so that a lane's seals are in order.
pub(crate) fn seal(pipeline: &str, generation: Generation, seal: &Seal) -> ItemKey {
    let Seal { lane, n, part, .. } = seal;
    ItemKey::new(seals(pipeline, generation, &seal.output), format!("{lane}#{n:020}#{part}"))
}

/// Name of an object that holds the rows of a seal.
pub(crate) fn seal_blob(pipeline: &str, item: &SealItem, hash: &[u8; 32]) -> String {
    let Seal { lane, n, part, output, .. } = &item.seal;
    let (pipeline, output) = (safe(pipeline), safe(output));
    let seals = format!("{pipeline}/{}/{}/$seals/{output}/{lane}/{n}/{part}", item.incarnation, item.generation);
    format!("{seals}/{}", hex(hash))
}

fn hex(hash: &[u8; 32]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Name of an object: the attempt keeps writers apart, the hash makes the name stand for the content.
pub(crate) fn blob(lane: &LaneKey, n: u64, attempt: u128, hash: &[u8; 32]) -> String {
    let LaneKey { pipeline, incarnation, generation, lane } = lane;
    format!("{}/{incarnation}/{generation}/{lane}/{n}/{attempt:032x}/{}", safe(pipeline), hex(hash))
}
