//! Decisions about objects that nothing refers to.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tidegate_core::{Generation, Timestamp};

use crate::record::garbage::Candidates;

/// The objects of one lane, or the seals of one output, in one generation: what is looked at as a whole.
///
/// `GENERATION/LANE`, or `GENERATION/$seals/OUTPUT`. `None`: not a name that this build makes.
pub fn group(name: &str) -> Option<&str> {
    let segments = if name.split('/').nth(1)? == SEALS { 3 } else { 2 };
    let end = name.match_indices('/').nth(segments - 1)?.0;
    Some(&name[..end])
}

/// The segment that the objects of seals have in place of a lane.
pub const SEALS: &str = "$seals";

/// What a group's name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group<'a> {
    /// Objects of a lane.
    Lane(Generation, &'a str),
    /// Rows of seals of an output, by its encoded name.
    Seals(Generation, &'a str),
}

/// Reads a group's name.
pub fn parse(group: &str) -> Option<Group<'_>> {
    let (generation, rest) = group.split_once('/')?;
    let generation = Generation(generation.parse().ok()?);
    Some(match rest.split_once('/') {
        Some((SEALS, output)) => Group::Seals(generation, output),
        _ => Group::Lane(generation, rest),
    })
}

/// The next `limit` groups behind `cursor`, from the start again at the end.
pub fn next_groups<'a>(groups: &BTreeSet<&'a str>, cursor: &str, limit: usize) -> Vec<&'a str> {
    let behind = groups.iter().filter(|group| **group > cursor);
    let before = groups.iter().filter(|group| **group <= cursor);
    behind.chain(before).take(limit).copied().collect()
}

/// What one scan has found of the groups that it has looked at.
#[derive(Debug, Default)]
pub struct Scan<'a> {
    /// These groups.
    pub groups: BTreeSet<&'a str>,
    /// All objects of these groups, listed before anything else was read.
    pub listed: BTreeSet<&'a str>,
    /// Those that a slot, a manifest or a seal refers to.
    pub referenced: BTreeSet<String>,
}

/// Bounds of one call.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// An object is removed when two scans this far apart have found it unreferenced, and none between them otherwise.
    pub horizon: Duration,
    /// Candidates that are remembered.
    pub candidates: usize,
    /// Objects that are removed.
    pub removed: usize,
}

/// What to do after a scan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sweep {
    /// Remove these.
    pub remove: Vec<String>,
    /// Remember these.
    pub since: BTreeMap<String, Timestamp>,
}

/// Judges a scan at `now`, with what the scans before it have found.
///
/// A name is never used for another object, and whoever writes a reference has put the object shortly before. So what
/// is unreferenced for longer than any write can be under way will never be referenced again.
pub fn sweep(before: &Candidates, scan: &Scan<'_>, now: Timestamp, limits: Limits) -> Sweep {
    let mut sweep = Sweep::default();
    for (name, since) in &before.since {
        let looked_at = group(name).is_some_and(|group| scan.groups.contains(group));
        if !looked_at {
            sweep.since.insert(name.clone(), *since);
        } else if scan.listed.contains(name.as_str()) && !scan.referenced.contains(name) {
            let due = now.since(*since) >= limits.horizon && sweep.remove.len() < limits.removed;
            match due {
                true => sweep.remove.push(name.clone()),
                false => drop(sweep.since.insert(name.clone(), *since)),
            }
        }
    }
    for name in &scan.listed {
        let new = !scan.referenced.contains(*name) && !before.since.contains_key(*name);
        if new && sweep.since.len() < limits.candidates {
            sweep.since.insert((*name).to_owned(), now);
        }
    }
    sweep
}

#[cfg(test)]
mod tests;
