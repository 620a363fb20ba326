//! Records that kill whoever takes them: the markers that are left, and whether they are enough for a dead letter.

use std::collections::HashMap;

use tidegate_core::Position;
use tidegate_lane::MAX_DEATHS;
use tidegate_state::record::tries::Tries;
use tidegate_state::{Item, ItemKey};

use super::writes::{Content, generation_of, lane_id};
use crate::environment::Environment;
use crate::paths::Path;
use crate::source::Record;
use crate::world::{Micros, SECOND, World};

/// Generation, lane, and the first record.
type Place = (u64, String, String);

/// Markers that were left.
#[derive(Default)]
pub struct Deaths {
    /// Who has taken a single record, when its invocation began, and whether its clock was right.
    alone: HashMap<Place, Vec<(usize, Micros, bool)>>,
    /// The newest marker of a place: records that were taken at once.
    last: HashMap<Place, u64>,
    /// Records that an environment computes a commit of a lane without, because they were given up.
    given_up: HashMap<(usize, u64, String, u64), Vec<Position>>,
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
    // A write may land long after it was sent.
    let taken = (environment, world.began(environment), is_right(&world.environments[environment]));
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
pub fn given_up(
    world: &mut World,
    environment: usize,
    (generation, lane, n): (u64, &str, u64),
    positions: Vec<Position>,
) {
    let place = (environment, generation, lane.to_owned(), n);
    let given_up = &mut world.check.deaths.given_up;
    match positions.is_empty() {
        true => given_up.remove(&place),
        false => given_up.insert(place, positions),
    };
}

/// Whether a clock is as right as clocks are where the last writer wins.
fn is_right(environment: &Environment) -> bool {
    environment.skew.unsigned_abs() < SECOND
}

/// How many environments have ended with a single record, as far as the one that gives it up can know.
fn ended(world: &World, place: &Place, environment: usize) -> usize {
    let Some(alone) = world.check.deaths.alone.get(place) else { return 0 };
    // Where clocks differ by minutes, nobody knows what a deadline means to another.
    let mine_is_right = is_right(&world.environments[environment]);
    let over = |(taker, at, right): &&(usize, Micros, bool)| {
        let known = mine_is_right && *right;
        !world.environments[*taker].alive || !known || world.now >= at + world.config.timeout
    };
    // Who gives it up has marked it as well.
    alone.iter().filter(|(taker, ..)| *taker != environment).filter(over).count()
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
    let given_up = world.check.deaths.given_up.get(&(environment, generation, id.clone(), n)).cloned();
    for record in counted.iter_mut().filter(|record| !record.poison) {
        let letter = format!("d/{label}/{}", record.position);
        let given_up = given_up.iter().flatten().any(|position| *position == record.position);
        if !given_up && !owed.iter().any(|(_, item)| *item == letter) {
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
