//! Whether a commit is what the naive evaluator makes of the records that it takes.

use tidegate_state::record::commit::Commit;

use super::writes::{self, Content};
use super::{Checker, Silence, deaths, gaps, windows};
use crate::environment::EPOCH;
use crate::operators::WindowSum;
use crate::paths::Path;
use crate::source::{Record, SOURCE};
use crate::world::World;

/// I4: what the commit owes is what the naive evaluator makes of the records that it takes.
pub fn check(world: &mut World, lane: usize, environment: usize, commit: &Commit, owed: &Content) {
    let generation = world.check.lanes[lane].generation;
    let floor = world.check.windows.get(&generation).and_then(|windows| windows.floor);
    let watch = &mut world.check.lanes[lane];
    let Some(partition) = world.source.partitions.get(watch.partition) else {
        return world.check.broken("I4", || "a lane without partition".into());
    };
    let from = watch.end();
    if from > partition.log.len() {
        let name = watch.name.clone();
        return world.check.broken("I4", || format!("{name}: goes on in a source that is another one now"));
    }
    let position = commit.positions.get(&partition.name);
    let to =
        partition.log[..partition.produced].iter().take_while(|r| position.is_some_and(|at| r.position <= *at)).count();
    let first = gaps::taken(world, lane, commit, (from, to));
    let partition = &world.source.partitions[world.check.lanes[lane].partition];
    let records = partition.log[first..to.max(first)].to_vec();
    let records = &deaths::declared(world, lane, (environment, commit.n), &records, owed);
    let partition = &world.source.partitions[world.check.lanes[lane].partition];
    let watch = &mut world.check.lanes[lane];
    if commit.n == 1 && world.config.over_lanes {
        watch.reference.begin(floor);
    }
    let Some(silent) = is_silent(&world.check, lane, commit, records) else {
        let (name, n) = (world.check.lanes[lane].name.clone(), commit.n);
        return world.check.broken("I4", || format!("{name}: commit {n} is silent in part"));
    };
    let watch = &mut world.check.lanes[lane];
    let (before, watermark) = (watch.reference.watermark(), commit.watermark.map(|at| at.0 - EPOCH));
    let idle = records.is_empty();
    let mut expected = watch.reference.cut(&watch.label(&partition.name), records, watermark);
    if silent {
        (expected.rows, expected.letters) = (Vec::new(), Vec::new());
    }
    let reached = watch.reference.watermark();
    watch.ends.push(to.max(from));
    let mut wanted: Vec<(Option<usize>, String)> =
        expected.rows.into_iter().map(|(target, row)| (Some(target), row)).collect();
    wanted.extend(expected.letters.into_iter().map(|letter| (None, letter)));
    let id = format!("{SOURCE}:{}", partition.name);
    let called = |through: i64, parts: &[WindowSum]| {
        windows::expected_name((generation, &id, commit.n), world.config.window, through, parts)
    };
    let mut seal = expected.sealed.map(|(through, parts)| (called(through, &parts), parts));
    // A lane that has sealed nothing by itself may say how far it is, also where no window has ended.
    let announced = watermark.filter(|_| idle && world.config.over_lanes).map(|through| called(through, &[]));
    let announced = announced.filter(|name| seal.is_none() && owed.iter().any(|(_, found)| found == name));
    let announces = announced.is_some();
    seal = seal.or(announced.map(|name| (name, Vec::new())));
    wanted.extend(seal.iter().map(|(name, _)| (None, name.clone())));
    let (name, n, across) = (watch.name.clone(), commit.n, expected.across);
    if let Some(how) = differs(wanted, owed.clone()) {
        return world.check.broken("I4", || format!("{name}: commit {n} {how}"));
    }
    if reached != watermark {
        return world.check.broken("I4", || format!("{name}: commit {n} has watermark {watermark:?}, not {reached:?}"));
    }
    count(&mut world.check, generation, silent, across);
    writes::owe(world, lane, environment, commit, owed);
    if let Some((name, parts)) = seal {
        windows::handed_over(world, lane, commit.n, &parts, &name);
    }
    if announces {
        world.check.path(Path::LaneAnnounced);
    } else if idle && !silent {
        windows::advanced(world, (lane, environment), commit, before);
    }
}

fn count(check: &mut Checker, generation: u64, silent: bool, across: u64) {
    if silent {
        check.path(Path::SilentCommit);
    } else if check.silence.contains_key(&generation) {
        check.path(Path::SpokenAfterSilence);
    }
    for _ in 0..across {
        check.path(Path::WindowAcrossCommits);
    }
}

fn differs(mut wanted: Content, mut found: Content) -> Option<String> {
    wanted.sort();
    found.sort();
    if wanted == found {
        return None;
    }
    let missing: Vec<&String> = wanted.iter().filter(|w| !found.contains(w)).map(|(_, row)| row).collect();
    let extra: Vec<&String> = found.iter().filter(|f| !wanted.contains(f)).map(|(_, row)| row).collect();
    Some(format!("lacks {missing:?} and has {extra:?} too much"))
}

/// What was sent up to the end of a generation.
pub fn silence_after(check: &Checker, was: u64) -> Silence {
    let mut silence = check.silence.get(&was).cloned().unwrap_or_default();
    silence.floor = silence.floor.max(check.windows.get(&was).and_then(|windows| windows.floor));
    for lane in check.lanes.iter().filter(|lane| lane.generation == was && lane.partition != usize::MAX) {
        let Some(position) = lane.positions.values().next() else { continue };
        let known = silence.partitions.entry(lane.partition).or_insert((*position, None));
        *known = (known.0.max(*position), known.1.max(lane.watermark));
    }
    silence
}

/// Whether a commit repeats what was sent before. `None`: it does so in part, which is not allowed.
fn is_silent(check: &Checker, lane: usize, commit: &Commit, records: &[Record]) -> Option<bool> {
    let watch = &check.lanes[lane];
    let silence = check.silence.get(&watch.generation).and_then(|silence| silence.partitions.get(&watch.partition));
    let Some((until, watermark)) = silence else { return Some(false) };
    if records.is_empty() {
        return Some(commit.watermark <= *watermark);
    }
    let within = records.iter().filter(|record| record.position <= *until).count();
    if within == 0 {
        // Windows up to the old watermark were closed before, in silence.
        return (watch.watermark >= *watermark).then_some(false);
    }
    (within == records.len()).then_some(true)
}
