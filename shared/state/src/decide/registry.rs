//! Decisions about the registry: who may join, and what may be closed.

use std::collections::BTreeMap;

use tidegate_core::{LaneId, Timestamp};

use crate::ports::{Item, Refusal};
use crate::record::registry::{Phase, Registered, Registry};

/// What a refused transaction over slots and then the registry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// A slot was in the way, whatever the registry says: its place, and what is in it if it was told.
    Slot(usize, Option<Item>),
    /// Only the registry was in the way: it has changed. The newer one if it was told.
    Registry(Option<Item>),
}

/// Sorts the refusals of such a transaction over `slots` slots. Stores name every condition that did not hold, so slots
/// that are not named were free, and no delivery of this transaction has taken effect or ever will.
pub fn refused(slots: usize, refusals: Vec<Refusal>) -> Refused {
    let mut registry = None;
    for Refusal { op, old } in refusals {
        if op < slots {
            return Refused::Slot(op, old);
        }
        registry = old;
    }
    Refused::Registry(registry)
}

/// What to do about a change of the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Write this one, on condition that the registry is still the one judged.
    Write(Registry),
    /// What the decision was made from is outdated: load again, decide again.
    Outdated,
    /// Nobody may do this now.
    Fenced(String),
    /// The caller breaks a rule of the protocol.
    Wrong(String),
}

/// A lane that was never registered and wants to make its first commit.
#[derive(Clone, Copy, Debug)]
pub struct Newcomer<'a> {
    /// The lane.
    pub lane: &'a LaneId,
    /// K: slots of its ring.
    pub ring: u16,
    /// The floors when it was loaded. Its first commit was decided from them: rows of windows that are closed are late.
    pub floors: &'a BTreeMap<String, Timestamp>,
}

/// Whether a lane may register.
pub fn register(registry: &Registry, newcomer: Newcomer<'_>) -> Change {
    if registry.lanes.contains_key(newcomer.lane) || registry.floors != *newcomer.floors {
        return Change::Outdated;
    }
    if let Some(why) = not_open(registry) {
        return Change::Fenced(why);
    }
    let mut registry = registry.clone();
    registry.lanes.insert(newcomer.lane.clone(), Registered { ring: newcomer.ring, first: 1 });
    Change::Write(registry)
}

/// What a close commit closes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closing {
    /// The output, by its name in the pipeline file.
    pub output: String,
    /// Windows that end at or before this are closed by the commit.
    pub floor: Timestamp,
    /// The registry that the decision was made from.
    pub registry_version: u64,
}

/// Whether `lane` may close `closing`. `ring`: of the lane, which registers if it is not listed yet.
pub fn close(registry: &Registry, version: u64, lane: &LaneId, ring: u16, closing: &Closing) -> Change {
    if *lane != LaneId::close(&closing.output) {
        return Change::Wrong(format!("lane {lane} cannot close output {}", closing.output));
    }
    if version != closing.registry_version {
        return Change::Outdated;
    }
    if let Some(why) = not_open(registry) {
        return Change::Fenced(why);
    }
    let before = registry.floors.get(&closing.output);
    if before.is_some_and(|before| closing.floor <= *before) {
        return Change::Wrong(format!(
            "output {} is closed up to {}, it cannot be closed up to {}",
            closing.output,
            before.copied().unwrap_or_default(),
            closing.floor
        ));
    }
    let mut registry = registry.clone();
    registry.lanes.entry(lane.clone()).or_insert(Registered { ring, first: 1 });
    registry.floors.insert(closing.output.clone(), closing.floor);
    Change::Write(registry)
}

/// Whether `lane` may be sealed for good, without children.
pub fn finish(registry: &Registry, lane: &LaneId) -> Change {
    if lane.is_close() || !registry.lanes.contains_key(lane) {
        return Change::Wrong(format!("lane {lane} is no lane of a source that can be finished"));
    }
    if registry.finished.contains(lane) {
        return Change::Outdated;
    }
    if let Some(why) = not_open(registry) {
        return Change::Fenced(why);
    }
    let mut registry = registry.clone();
    registry.finished.insert(lane.clone());
    Change::Write(registry)
}

/// Whether `parents` may end and `children` may go on in their place.
pub fn reshard(registry: &Registry, parents: &[LaneId], children: &[LaneId], entry: Registered) -> Change {
    if let Some(stranger) = parents.iter().find(|lane| lane.is_close() || !registry.lanes.contains_key(*lane)) {
        return Change::Wrong(format!("lane {stranger} is no lane of a source that can be split or merged"));
    }
    let ended = parents.iter().any(|lane| registry.finished.contains(lane));
    if ended || children.iter().any(|lane| registry.lanes.contains_key(lane)) {
        return Change::Outdated;
    }
    if let Some(why) = not_open(registry) {
        return Change::Fenced(why);
    }
    let mut registry = registry.clone();
    registry.finished.extend(parents.iter().cloned());
    registry.lanes.extend(children.iter().map(|lane| (lane.clone(), entry)));
    Change::Write(registry)
}

/// Why the registry takes no lanes and closes nothing, if so.
fn not_open(registry: &Registry) -> Option<String> {
    match registry.phase {
        Phase::Open => None,
        Phase::Sealing { next } => Some(format!(
            "generation {} is being sealed, generation {next} opens when that is done",
            registry.generation
        )),
    }
}

#[cfg(test)]
mod tests;
