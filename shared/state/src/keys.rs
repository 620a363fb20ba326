//! Where things are stored. Every slot has a partition key of its own, so that no lane is bound to the
//! throughput of one partition.

use tidegate_core::{Generation, Incarnation, LaneId, LaneKey};

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

/// What an environment leaves behind when it is killed.
pub(crate) fn tries(lane: &LaneKey) -> ItemKey {
    ItemKey::new(lane_part(lane, "tries"), "tries")
}

/// The partition of an output's seals.
pub(crate) fn seals(pipeline: &str, generation: Generation, output: &str) -> String {
    seals_of_encoded(pipeline, generation, &safe(output))
}

/// The same for an output's name as it stands in keys.
pub(crate) fn seals_of_encoded(pipeline: &str, generation: Generation, output: &str) -> String {
    format!("{}#{generation}#seals#{output}", safe(pipeline))
}

/// What a collection of garbage remembers.
pub(crate) fn garbage(pipeline: &str) -> ItemKey {
    ItemKey::new(format!("{}#garbage", safe(pipeline)), "garbage")
}

/// Where the objects of lanes and seals lie.
pub(crate) fn objects(pipeline: &str, incarnation: Incarnation) -> String {
    format!("{}/{incarnation}", safe(pipeline))
}

/// Where a seal lies. The number has all its digits, so that a lane's seals are in order.
pub(crate) fn seal(pipeline: &str, generation: Generation, seal: &Seal) -> ItemKey {
    let Seal { lane, n, part, .. } = seal;
    ItemKey::new(seals(pipeline, generation, &seal.output), format!("{lane}#{n:020}#{part}"))
}

/// Name of an object that holds the rows of a seal. Each put of the seal has one of its own, so that the object of one
/// that was lost can be removed while another is under way.
pub(crate) fn seal_blob(pipeline: &str, item: &SealItem, attempt: u128, hash: &[u8; 32]) -> String {
    let Seal { lane, n, part, output, .. } = &item.seal;
    let (pipeline, output) = (safe(pipeline), safe(output));
    let seals = format!("{pipeline}/{}/{}/$seals/{output}/{lane}/{n}/{part}", item.incarnation, item.generation);
    format!("{seals}/{attempt:032x}/{}", hex(hash))
}

/// Where the marks of a pipeline's generations lie.
pub(crate) fn marks(pipeline: &str) -> String {
    format!("{}/$generations", safe(pipeline))
}

/// The mark of one generation.
pub(crate) fn mark(pipeline: &str, incarnation: Incarnation, generation: Generation) -> String {
    format!("{}/{incarnation}/{generation}", marks(pipeline))
}

/// Whose mark an object below `prefix` is.
pub(crate) fn marked(prefix: &str, name: &str) -> Option<(Incarnation, Generation)> {
    let (incarnation, generation) = name.strip_prefix(prefix)?.strip_prefix('/')?.split_once('/')?;
    Some((Incarnation(u128::from_str_radix(incarnation, 16).ok()?), Generation(generation.parse().ok()?)))
}

fn hex(hash: &[u8; 32]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Name of an object that holds a segment of a lane's state.
pub(crate) fn segment(lane: &LaneKey, attempt: u128, hash: &[u8; 32]) -> String {
    let LaneKey { pipeline, incarnation, generation, lane } = lane;
    format!("{}/{incarnation}/{generation}/{lane}/segment/{attempt:032x}/{}", safe(pipeline), hex(hash))
}

/// Name of an object: the attempt keeps writers apart, the hash makes the name stand for the content.
pub(crate) fn blob(lane: &LaneKey, n: u64, attempt: u128, hash: &[u8; 32]) -> String {
    let LaneKey { pipeline, incarnation, generation, lane } = lane;
    format!("{}/{incarnation}/{generation}/{lane}/{n}/{attempt:032x}/{}", safe(pipeline), hex(hash))
}
