//! Records that kill whoever takes them: the markers that are left, and whether they are enough for a dead letter.

use std::collections::HashMap;

use tidegate_lane::MAX_DEATHS;
use tidegate_state::record::tries::Tries;
use tidegate_state::{Item, ItemKey};

use super::writes::{Content, generation_of, lane_id};
use crate::paths::Path;
use crate::source::Record;
use crate::world::World;

/// Generation, lane, and the first record.
type Place = (u64, String, String);

/// Markers that were left.
#[derive(Default)]
pub struct Deaths {
    /// Who has taken a single record, once for each time.
    alone: HashMap<Place, Vec<usize>>,
    /// The newest marker of a place: records that were taken at once, deaths before it.
    last: HashMap<Place, (u64, u32)>,
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
    let deaths = &mut world.check.deaths;
    let before = deaths.last.insert(place.clone(), (tries.records, tries.deaths));
    let alone = deaths.alone.entry(place).or_default();
    if tries.records == 1 {
        alone.push(environment);
    }
    if before.is_some_and(|(before, _)| before > tries.records) {
        world.check.path(Path::SmallerPiece);
    }
}

/// The records of a commit as they count: those that it declares to be deadly are dead letters. Such a record
/// was taken alone three times before.
pub fn declared(world: &mut World, lane: usize, environment: usize, records: &[Record], owed: &Content) -> Vec<Record> {
    let watch = &world.check.lanes[lane];
    let mut counted = records.to_vec();
    let (generation, id) = (watch.generation, watch.id.clone());
    let (name, label) = (watch.name.clone(), watch.label(&world.source.partitions[watch.partition].name));
    for record in &mut counted {
        let letter = format!("d/{label}/{}", record.position);
        let place = (generation, id.clone(), record.position.to_string());
        // A repair keeps no letter of what was sent before.
        let last = world.check.deaths.last.get(&place);
        let silently = owed.is_empty() && last.is_some_and(|last| last.0 == 1 && last.1 >= MAX_DEATHS);
        if record.poison || !silently && !owed.iter().any(|(_, item)| *item == letter) {
            continue;
        }
        record.deadly = true;
        let alone = world.check.deaths.alone.get(&place).cloned().unwrap_or_default();
        // Who is at work still cannot be told from who was killed. The one that commits marks it as well.
        let ended = alone.len() - usize::from(alone.contains(&environment));
        if ended < MAX_DEATHS as usize {
            world.check.broken("I7", || format!("{name}: {letter} after it was taken {ended} times"));
        } else {
            world.check.path(Path::DeadlyBecameLetter);
        }
    }
    counted
}
