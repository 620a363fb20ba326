//! Records that kill whoever takes them: the markers that are left, and whether they are enough for a dead letter.

use std::collections::HashMap;

use tidegate_core::Position;
use tidegate_lane::MAX_DEATHS;
use tidegate_state::record::tries::Tries;
use tidegate_state::{Item, ItemKey};

use super::writes::{Content, generation_of, lane_id};
use crate::paths::Path;
use crate::source::Record;
use crate::world::{Micros, World};

/// Generation, lane, and the first record.
type Place = (u64, String, String);

/// Markers that were left.
#[derive(Default)]
pub struct Deaths {
    /// Who has taken a single record, and until when it is at work at most.
    alone: HashMap<Place, Vec<(usize, Micros)>>,
    /// The newest marker of a place: records that were taken at once.
    last: HashMap<Place, u64>,
    /// Records that an environment computes a commit of a lane without, because they count as deadly.
    unread: HashMap<(usize, u64, String, u64), Vec<Position>>,
}

/// A marker was written.
pub fn marked(world: &mut World, environment: usize, key: &ItemKey, item: &Item) {
    let tries = match Tries::decode(&item.data) {
        Ok(tries) => tries,
        Err(error) => return world.check.broken("I10", || format!("{key}: {error}")),
    };
    if tries.records == 0 {
        return;
    }
    let place = (generation_of(key), lane_id(key), tries.first);
    // A write may land long after it was sent: then nobody is at work any more.
    let taken = (environment, world.deadline(environment).unwrap_or(world.now));
    let deaths = &mut world.check.deaths;
    let before = deaths.last.insert(place.clone(), tries.records);
    if tries.records == 1 {
        deaths.alone.entry(place).or_default().push(taken);
    }
    if before.is_some_and(|before| before > tries.records) {
        world.check.path(Path::SmallerPiece);
    }
}

/// An environment computes commit `n` of a lane without the records at `positions`.
pub fn unread(
    world: &mut World,
    environment: usize,
    (generation, lane, n): (u64, &str, u64),
    positions: Vec<Position>,
) {
    let place = (environment, generation, lane.to_owned(), n);
    let unread = &mut world.check.deaths.unread;
    match positions.is_empty() {
        true => unread.remove(&place),
        false => unread.insert(place, positions),
    };
}

/// How many environments have ended with a single record, as far as the one that gives it up can know.
fn ended(world: &World, place: &Place, environment: usize) -> usize {
    let Some(alone) = world.check.deaths.alone.get(place) else { return 0 };
    // Who gives it up has marked it as well.
    let others = alone.iter().filter(|(taker, _)| *taker != environment);
    // Where clocks differ by minutes, nobody knows what a deadline means to another.
    let is_right = |environment: usize| world.environments[environment].right;
    let known = is_right(environment) && others.clone().all(|(taker, _)| is_right(*taker));
    let over = |(taker, until): &&(usize, Micros)| !known || !world.environments[*taker].alive || world.now >= *until;
    others.filter(over).count()
}

/// The records of a commit as they count: those that it declares to be deadly are dead letters. Such a record
/// was taken alone three times before, by environments that have ended.
///
/// Where the commit repeats what was sent before, it owes no letters: then the step that it comes from says which.
pub fn declared(
    world: &mut World,
    lane: usize,
    (environment, n): (usize, u64),
    records: &[Record],
    owed: &Content,
) -> Vec<Record> {
    let watch = &world.check.lanes[lane];
    let mut counted = records.to_vec();
    let (generation, id) = (watch.generation, watch.id.clone());
    let (name, label) = (watch.name.clone(), watch.label(&world.source.partitions[watch.partition].name));
    let unread = world.check.deaths.unread.get(&(environment, generation, id.clone(), n)).cloned();
    for record in counted.iter_mut().filter(|record| !record.poison) {
        let letter = format!("d/{label}/{}", record.position);
        let unread = unread.iter().flatten().any(|position| *position == record.position);
        if !unread && !owed.iter().any(|(_, item)| *item == letter) {
            continue;
        }
        record.deadly = true;
        let ended = ended(world, &(generation, id.clone(), record.position.to_string()), environment);
        if ended < MAX_DEATHS as usize {
            world.check.broken("I7", || format!("{name}: {letter} after {ended} have ended with it"));
        } else {
            world.check.path(Path::DeadlyBecameLetter);
        }
    }
    counted
}
