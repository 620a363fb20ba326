//! Decisions about generations, sources that are not what they were, and state that is older than its marks.

use bytes::Bytes;
use tidegate_core::{Error, ErrorKind, Generation, Incarnation, Result};

use super::registry::Change;
use crate::record::registry::{Phase, Registry};

/// A mark in the blob store: a generation of an incarnation was once open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The incarnation.
    pub incarnation: Incarnation,
    /// The generation.
    pub generation: Generation,
    /// Marks of other incarnations that were there before it.
    pub before: Vec<(Incarnation, Generation)>,
}

/// What the marks say about a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guarded {
    /// It is the newest one.
    Fine,
    /// It is new and has no mark yet.
    Unmarked,
    /// It is older than a mark.
    Older(String),
}

/// Compares a registry with the marks.
pub fn guard(incarnation: Incarnation, generation: Generation, marks: &[Mark]) -> Guarded {
    let (own, others): (Vec<&Mark>, Vec<&Mark>) = marks.iter().partition(|mark| mark.incarnation == incarnation);
    let newest = own.iter().map(|mark| mark.generation).max();
    if let Some(newest) = newest.filter(|newest| *newest > generation) {
        return Guarded::Older(format!("it is of generation {generation}, generation {newest} was open already"));
    }
    for other in others {
        let replaced = other.before.iter().any(|(old, until)| *old == incarnation && generation <= *until);
        if replaced {
            return Guarded::Older(format!(
                "it is of incarnation {incarnation}, which {} has replaced",
                other.incarnation
            ));
        }
    }
    if newest == Some(generation) { Guarded::Fine } else { Guarded::Unmarked }
}

/// Whether a new generation may begin after `mine`. `None`: it has begun, under a number that no mark has.
pub fn begin(registry: &Registry, mine: Generation, marks: &[Mark]) -> Result<Option<Change>> {
    if registry.generation != mine {
        return Err(moved_on(registry));
    }
    let marked = marks.iter().filter(|mark| mark.incarnation == registry.incarnation).map(|mark| mark.generation);
    let last = marked.chain([mine]).max().unwrap_or(mine);
    let next = last.0.checked_add(1).ok_or_else(|| Error::internal("there are no more numbers of generations"))?;
    if matches!(registry.phase, Phase::Sealing { next: named } if named.0 >= next) {
        return Ok(None);
    }
    // A copy of the table that was made while rings were sealed names a number that was open since.
    let phase = Phase::Sealing { next: Generation(next) };
    Ok(Some(Change::Write(Registry { phase, ..registry.clone() })))
}

/// Whether the next generation after `mine` may open. All rings are sealed. `None`: it is open.
pub fn open(registry: &Registry, mine: Generation, origin: &Bytes) -> Result<Option<Change>> {
    match registry.phase {
        _ if registry.generation != mine => Ok(None),
        Phase::Open => Err(Error::invalid(format!("no generation was begun after generation {mine}"))),
        Phase::Sealing { next } => {
            let fresh = Registry { origin: origin.clone(), ..Registry::new(registry.incarnation, next) };
            Ok(Some(Change::Write(fresh)))
        }
    }
}

/// Raises the version of the registry of generation `mine`, and nothing else. `None`: it has ended.
pub fn announce(registry: &Registry, mine: Generation) -> Option<Change> {
    (registry.generation == mine).then(|| Change::Write(registry.clone()))
}

/// Takes up what a source is, if nothing is known of it in generation `mine`.
pub fn identify(registry: &Registry, mine: Generation, source: &str, identity: &str) -> Option<Change> {
    if registry.generation != mine || registry.sources.contains_key(source) {
        return None;
    }
    let mut registry = registry.clone();
    registry.sources.insert(source.to_owned(), identity.to_owned());
    Some(Change::Write(registry))
}

fn moved_on(registry: &Registry) -> Error {
    Error::new(ErrorKind::Fenced, format!("the pipeline has moved on to generation {}", registry.generation))
        .with_help("this process works on state that was replaced: start it again")
}

#[cfg(test)]
mod tests;
