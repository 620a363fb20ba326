//! The table is an older copy: what was seen of it goes back, what has happened outside of it does not.

use std::collections::{BTreeMap, HashMap};

use tidegate_state::ItemKey;
use tidegate_state::record::registry::Registry;

use super::{LaneWatch, windows};
use crate::environment;
use crate::source::SOURCE;
use crate::world::{Micros, World};

/// What was known of the table at one moment.
pub struct Seen {
    generation: u64,
    sealing: bool,
    registry: Option<(u64, usize)>,
    lanes: Vec<LaneWatch>,
    by_name: HashMap<(u64, String), usize>,
    windows: BTreeMap<u64, windows::Windows>,
}

impl super::Checker {
    /// What is known of the table now.
    pub fn seen(&self) -> Seen {
        Seen {
            generation: self.generation,
            sealing: self.sealing,
            registry: self.registry,
            lanes: self.lanes.clone(),
            by_name: self.by_name.clone(),
            windows: self.windows.clone(),
        }
    }

    /// Whether the table was restored: what was decided before may be decided again.
    pub fn is_restored(&self) -> bool {
        self.restored.is_some()
    }

    /// Whether something was committed before the table was restored: the copy may owe it once more.
    pub(super) fn is_of_before(&self, since: Micros) -> bool {
        self.restored.is_some_and(|restored| since <= restored)
    }
}

/// The table is what it was. Whether it is of the generation that was open: then no mark tells of it.
pub fn restored(world: &mut World, seen: Seen) -> bool {
    let now = world.now;
    let check = &mut world.check;
    let (known, newest) = (seen.lanes.len(), check.generation);
    for (place, lane) in check.lanes.iter_mut().enumerate() {
        match seen.lanes.get(place) {
            Some(before) => *lane = before.clone(),
            None => {
                // There never was such a lane.
                (lane.generation, lane.sealed) = (0, true);
                lane.outstanding.clear();
                lane.open.clear();
            }
        }
    }
    let lost = check.owed.iter().filter(|(_, owed)| {
        let gone = owed.lane >= known || owed.n > check.lanes[owed.lane].head;
        gone && !owed.done()
    });
    let lost: Vec<String> = lost.map(|(item, _)| item.clone()).collect();
    check.abandoned.extend(lost);
    check.given_up.extend(0..=newest);
    check.restored = Some(now);
    check.generation = seen.generation;
    (check.registry, check.sealing) = (seen.registry, seen.sealing);
    (check.by_name, check.windows) = (seen.by_name, seen.windows);
    check.warm.clear();
    check.failed.clear();
    newest == seen.generation
}

/// Another source is in the place of what lanes have read.
pub fn outlived(world: &mut World) {
    world.check.lanes.iter_mut().for_each(|lane| lane.outlived = true);
}

/// What the registry says that the source is.
pub fn identity(world: &World) -> Option<String> {
    let item = world.items.get(&ItemKey::new("p#registry", "registry"))?;
    let registry = Registry::decode(&environment::plain(item.clone()).data).ok()?;
    registry.sources.get(SOURCE).cloned()
}
