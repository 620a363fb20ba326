//! Records that a lane has passed over, because the mapping gave its batches side by side or gave one up.

use tidegate_state::record::commit::Commit;

use crate::paths::Path;
use crate::world::World;

/// Where the records begin that a commit took of a partition's log, between `from` and `to`.
pub fn taken(world: &mut World, lane: usize, commit: &Commit, (from, to): (usize, usize)) -> usize {
    if !world.source.mixed_batches(world.check.lanes[lane].generation) || to <= from {
        return from;
    }
    let watch = &mut world.check.lanes[lane];
    let partition = &world.source.partitions[watch.partition];
    let Some(range) = commit.ranges.get(&partition.name) else { return from };
    let passed = partition.log[from..to].iter().take_while(|record| record.position < range.first).count();
    watch.gap = (passed > 0).then_some((from, from + passed));
    if passed > 0 {
        world.check.path(Path::RecordsPassedOver);
    }
    from + passed
}

/// An invocation has answered with success for records that the newest batch of their lane has passed over.
pub(super) fn succeeded(world: &mut World, partition: usize, from: usize, to: usize) {
    let gap = world.check.lane_of(partition).and_then(|lane| lane.gap);
    if let Some((first, _)) = gap.filter(|(first, end)| from < *end && to > *first) {
        world.check.broken("I3", || format!("p{partition}: success, but record {first} was passed over and is lost"));
    }
}

/// How many records of a partition are committed or passed over.
pub fn end_of(world: &World, partition: usize) -> usize {
    world.check.lane_of(partition).map_or(0, super::LaneWatch::end).max(world.check.begin_of(partition))
}
