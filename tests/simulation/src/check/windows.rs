//! Windows over lanes: what was handed over, what was closed, and whether the one was ready for the other.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_core::{LaneId, Position, Timestamp};
use tidegate_state::record::commit::Commit;
use tidegate_state::record::registry::Registry;
use tidegate_state::record::seal::{Seal, SealItem};
use tidegate_state::record::{Payload, checksum};
use tidegate_state::{Item, ItemKey};

use super::families;
use super::writes::Content;
use crate::environment::EPOCH;
use crate::operators::{OVER_LANES, WindowSum, label, sealed_windows};
use crate::paths::Path;
use crate::rows;
use crate::world::World;

/// A lane's part of a window: lane, start, key, sum, count.
type Part = (usize, i64, u64, i64, u64);

/// What was seen of the windows of one output.
#[derive(Clone, Default)]
pub struct Windows {
    /// Windows that end at or before this are closed.
    pub floor: Option<i64>,
    registered: BTreeSet<String>,
    /// Lanes that have ended.
    finished: BTreeSet<String>,
    /// The floor when a lane was registered.
    began: BTreeMap<String, Option<i64>>,
    /// How far the stored seals of a lane reach.
    stored: BTreeMap<String, i64>,
    /// What was handed over by commits and is not closed.
    waiting: Vec<Part>,
    /// Committed seals: name in the outbox by lane and number.
    names: BTreeMap<(String, u64), String>,
}

impl Windows {
    /// Whether everything that was handed over is closed.
    pub fn is_closed(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How far a lane is sealed: by its seals, or by what was closed when it began.
    fn reached(&self, id: &str) -> Option<i64> {
        self.stored.get(id).copied().max(self.began.get(id).copied().flatten())
    }

    /// Whether a partition has its lane.
    pub fn is_registered(&self, partition: &str) -> bool {
        self.registered.contains(LaneId::new(crate::source::SOURCE, partition).as_str())
    }
}

pub(super) fn plain(at: Timestamp) -> i64 {
    at.0 - EPOCH
}

/// What a seal in an outbox is called here: everything that it says.
pub fn name(generation: u64, seal: &Seal) -> String {
    let Seal { lane, n, part, through, latest_end, .. } = seal;
    let (through, end) = (through.map(plain), latest_end.map(plain));
    format!("s/{generation}/{lane}/{n}/{part} through {through:?} latest {end:?} {:?}", sealed_windows(&seal.rows))
}

/// What the seal of commit `n` must be called.
pub fn expected_name(
    (generation, lane, n): (u64, &str, u64),
    window: i64,
    through: i64,
    windows: &[WindowSum],
) -> String {
    let end = windows.iter().map(|(start, ..)| start + window).max();
    format!("s/{generation}/{lane}/{n}/0 through {:?} latest {end:?} {windows:?}", Some(through))
}

/// A commit of a lane hands windows over.
pub fn handed_over(world: &mut World, lane: usize, n: u64, windows: &[WindowSum], name: &str) {
    let window = world.config.window;
    let watch = &world.check.lanes[lane];
    let (generation, id) = (watch.generation, watch.id.clone());
    let seals = world.check.windows.entry(generation).or_default();
    seals.names.insert((id, n), name.to_owned());
    let floor = seals.floor;
    seals.waiting.extend(windows.iter().map(|(start, key, sum, count)| (lane, *start, *key, *sum, *count)));
    if let Some((start, key, ..)) = windows.iter().find(|(start, ..)| Some(start + window) <= floor) {
        let lane = watch_name(world, lane);
        world.check.broken("I7", || format!("{lane}: commit {n} adds to window {start} of key {key}, which is closed"));
    }
    if windows.is_empty() {
        world.check.path(Path::SealWithoutRows);
    }
}

fn watch_name(world: &World, lane: usize) -> String {
    world.check.lanes[lane].name.clone()
}

/// A seal is stored.
pub fn stored(world: &mut World, key: &ItemKey, item: &Item) {
    let found = match SealItem::decode(&item.data) {
        Ok(found) => found,
        Err(error) => return world.check.broken("I10", || format!("{key}: {error}")),
    };
    let id = found.seal.lane.as_str().to_owned();
    let generation = super::writes::generation_of(key);
    let check = &mut world.check;
    let windows = check.windows.entry(generation).or_default();
    let Some(known) = windows.names.get(&(id.clone(), found.seal.n)).cloned() else {
        return check.broken("I6", || format!("{key} is stored, but no commit owes it"));
    };
    if let Payload::Inline(rows) = &found.rows {
        let said = name(generation, &Seal { rows: rows.clone(), ..found.seal.clone() });
        if said != known {
            return check.broken("I5", || format!("{said} is stored, {known} was committed"));
        }
    }
    if let Some(through) = found.seal.through {
        let reached = windows.stored.entry(id).or_insert(plain(through));
        *reached = plain(through).max(*reached);
    }
    if let Some(owed) = check.owed.get_mut(&known) {
        owed.applied += 1;
    }
    check.path(Path::SealStored);
}

/// The registry was written.
pub fn registry(world: &mut World, registry: &Registry) {
    let check = &mut world.check;
    let floor = registry.floors.get(OVER_LANES).map(|floor| plain(*floor));
    let sealing = check.sealing;
    let windows = check.windows.entry(registry.generation.0.into()).or_default();
    let before = std::mem::replace(&mut windows.floor, floor);
    let (mut behind, mut began) = (0, Vec::new());
    windows.finished.extend(registry.finished.iter().map(|lane| lane.as_str().to_owned()));
    for lane in registry.lanes.keys().filter(|lane| !lane.is_close()) {
        if windows.registered.insert(lane.as_str().to_owned()) {
            windows.began.insert(lane.as_str().to_owned(), floor);
            behind += u32::from(floor.is_some());
            began.push(lane.partition());
        }
    }
    began.iter().for_each(|partition| families::began(world, registry.generation.0.into(), partition));
    let check = &mut world.check;
    (0..behind).for_each(|_| check.path(Path::LaneBeginsBehindFloor));
    if floor < before || (sealing && floor != before) {
        check.broken("I2", || format!("the closed floor goes from {before:?} to {floor:?}, sealing: {sealing}"));
    }
}

/// A commit of the close lane, before the registry that belongs to it: what it closes was sealed by everybody, and
/// is the sum of what they handed over.
pub fn closes(world: &mut World, commit: &Commit, owed: &Content) {
    let (window, generation) = (world.config.window, u64::from(commit.generation.0));
    // One that came later may begin behind what is closed.
    let names = world.source.names(0);
    let mut all = world.source.names(world.now);
    let over = families::passed_over(world);
    all.retain(|partition| !over.contains(partition));
    let check = &mut world.check;
    let windows = check.windows.entry(generation).or_default();
    let (Some(to), floor) = (commit.watermark.map(plain), windows.floor) else {
        return check.broken("I4", || format!("close commit {} closes nothing", commit.n));
    };
    for partition in &all {
        let id = LaneId::new(crate::source::SOURCE, partition).as_str().to_owned();
        let (sealed, registered) = (windows.reached(&id), windows.registered.contains(&id));
        if (!registered && !names.contains(partition)) || windows.finished.contains(&id) {
            continue;
        }
        if !registered || sealed < Some(to) {
            let n = commit.n;
            return check
                .broken("I7", || format!("close commit {n} closes up to {to}, {id} is sealed up to {sealed:?}"));
        }
    }
    let mut sums: BTreeMap<(i64, u64), (i64, u64)> = BTreeMap::new();
    for (_, start, key, sum, count) in windows.waiting.iter().filter(|(_, start, ..)| start + window <= to) {
        let entry = sums.entry((*start, *key)).or_default();
        *entry = (entry.0 + sum, entry.1 + count);
    }
    let border = check.silence.get(&generation).and_then(|silence| silence.floor);
    let silent = Some(to) <= border;
    let crosses = !silent && floor < border;
    let early = sums.keys().find(|(start, _)| Some(start + window) <= floor).copied();
    let all = label("all", generation);
    let mut wanted: Vec<(Option<usize>, String)> = sums
        .into_iter()
        .map(|((start, key), (sum, count))| {
            (Some(1), rows::text(&format!("w/{all}/{start}/{key}"), key, sum, count, 0))
        })
        .collect();
    if silent {
        wanted.clear();
    }
    let mut found = owed.clone();
    wanted.sort();
    found.sort();
    if wanted != found || early.is_some() || crosses {
        let n = commit.n;
        return check.broken("I8", || format!("close commit {n} owes {found:?}, expected {wanted:?}"));
    }
    windows.waiting.retain(|(_, start, ..)| start + window > to);
    check.path(if silent { Path::SilentClose } else { Path::ClosedOverLanes });
}

/// A commit without records moves a lane's watermark: to what the lane has seen, or to what others have sealed; never
/// past a lane that has something to read, and only if the lane has nothing to read itself, where the source can be
/// asked.
pub fn advanced(world: &mut World, (lane, environment): (usize, usize), commit: &Commit, before: Option<i64>) {
    let Some(to) = commit.watermark.map(plain).filter(|to| Some(*to) > before) else {
        world.check.path(Path::LaneJoinedWithoutRecords);
        return;
    };
    let watch = &world.check.lanes[lane];
    let (name, newest, generation) = (watch.name.clone(), watch.reference.newest(), watch.generation);
    if Some(to) <= newest {
        world.check.path(Path::SilentLaneAdvanced);
    } else if left_silence(world, lane, to)
        || world.draining && Some(to) <= newest.map(|newest| newest + world.config.window)
    {
        return;
    } else {
        world.check.path(Path::IdleLaneAdvanced);
        let Some(windows) = world.check.windows.get(&generation) else { return };
        let furthest = windows.stored.values().copied().max();
        if Some(to) > furthest {
            return world.check.broken("I2", || {
                format!(
                    "{name}: the watermark goes to {to}, it has seen {newest:?}, nobody has sealed past {furthest:?}"
                )
            });
        }
        let passed = (0..world.check.lanes.len()).find(|number| {
            let other = &world.check.lanes[*number];
            // What it has committed holds nobody up, whether others have heard of it or not.
            let reached = windows.reached(&other.id).max(other.reference.watermark());
            let behind = other.generation == generation && !other.sealed && reached < Some(to);
            *number != lane && behind && waiting(world, *number, environment).is_some()
        });
        if let Some(other) = passed {
            let other = world.check.lanes[other].name.clone();
            return world.check.broken("I2", || format!("{name}: the watermark goes to {to}, {other} is not so far"));
        }
    }
    if let Some(position) = waiting(world, lane, environment) {
        world.check.broken("I7", || format!("{name}: is called idle although record {position} waits"));
    }
}

/// Whether a repair takes the lane's watermark to where it was when the windows up to there were sent.
fn left_silence(world: &World, lane: usize, to: i64) -> bool {
    let watch = &world.check.lanes[lane];
    let silence =
        world.check.silence.get(&watch.generation).and_then(|silence| silence.partitions.get(&watch.partition));
    silence.is_some_and(|(_, watermark)| Some(to) <= watermark.map(plain))
}

/// A record of a lane that waits for so long that everybody who asks the source must have heard of it.
fn waiting(world: &World, lane: usize, environment: usize) -> Option<Position> {
    let watch = &world.check.lanes[lane];
    let partition = world.source.partitions.get(watch.partition)?;
    let record = partition.log[..partition.produced].get(watch.end())?;
    let asked = world.environments[environment].asked.unwrap_or(world.now);
    let long = record.at() + world.config.timeout + crate::world::MINUTE < world.now && record.at() < asked;
    (world.config.asks && long).then_some(record.position)
}

/// A seal was refused at its place.
pub fn refused(world: &mut World, item: &Item, old: &Item) {
    let same = checksum(&item.data) == checksum(&old.data);
    world.check.path(Path::SealStoredAgain);
    if !same {
        let (Ok(mine), Ok(other)) = (SealItem::decode(&item.data), SealItem::decode(&old.data)) else { return };
        if mine.hash != other.hash {
            world.check.broken("I5", || format!("{:?} meets {:?}", mine.seal, other.seal));
        }
    }
}
