//! Lanes that end, and lanes that continue them.

use tidegate_core::HashRange;
use tidegate_state::record::commit::Commit;
use tidegate_state::{ItemKey, TransactOp};

use super::writes::{generation_of, lane_id};
use super::{Checker, windows};
use crate::environment;
use crate::operators;
use crate::paths::Path;
use crate::reference::Reference;
use crate::world::World;

/// A transaction is about to take effect: if it replaces lanes by others, what the new ones begin with is worked out.
pub fn replaced(world: &mut World, ops: &[TransactOp]) {
    let commits: Vec<(&ItemKey, Commit)> = ops
        .iter()
        .filter_map(|op| match op {
            TransactOp::Put { key, item, .. } if key.sort == "commit" => {
                Some((key, Commit::decode(&environment::plain(item.clone()).data).ok()?))
            }
            _ => None,
        })
        .collect();
    let children: Vec<&(&ItemKey, Commit)> = commits.iter().filter(|(_, commit)| commit.birth).collect();
    if children.is_empty() {
        return;
    }
    let check = &mut world.check;
    let parents = commits.iter().filter(|(_, commit)| commit.sealed);
    let mut places: Vec<usize> =
        parents.filter_map(|(key, _)| check.by_name.get(&(generation_of(key), lane_id(key))).copied()).collect();
    places.sort_unstable();
    for place in &places {
        let watch = &check.lanes[*place];
        let produced = world.source.partitions[watch.partition].produced;
        let (name, end, head) = (watch.name.clone(), watch.end(), watch.head);
        if end < produced {
            return check.broken("I7", || format!("{name} ends although record {end} waits"));
        }
        if children.iter().any(|(_, child)| child.n <= head + 1) {
            return check.broken("I1", || format!("what continues {name} does not begin behind its commit {head}"));
        }
    }
    let mut references: Vec<&mut Reference> = (check.lanes.iter_mut().enumerate())
        .filter(|(place, _)| places.contains(place))
        .map(|(_, watch)| &mut watch.reference)
        .collect();
    let ranges: Vec<_> = children
        .iter()
        .map(|(key, _)| lane_id(key).rsplit(':').next().and_then(|name| world.source.hashes(name)))
        .collect();
    let takes = |range: &Option<HashRange>, key| range.is_some_and(|range| range.contains(operators::hash(key)));
    let heir = |key| ranges.iter().position(|range| takes(range, key)).unwrap_or_default();
    let mut born = Reference::divide(&world.config, &mut references, children.len(), heir);
    let inherits = born.iter().any(|child| !child.is_closed());
    let divided = born.iter().filter(|child| !child.is_closed()).count() > 1;
    born.reverse();
    check.born = Some(born);
    check.path(if children.len() > 1 { Path::LaneSplit } else { Path::LanesMerged });
    if inherits {
        check.path(Path::WindowsInherited);
    }
    if divided {
        check.path(Path::WindowsDivided);
    }
}

impl Checker {
    /// The transaction has taken effect.
    pub fn replaced_all(&mut self) {
        if self.born.take().is_some_and(|left| !left.is_empty()) {
            self.broken("I4", || "lanes were replaced in part".into());
        }
    }

    /// The first commit of a lane that continues others.
    pub(super) fn birth(&mut self, lane: usize, commit: &Commit, owes: bool) {
        let Some(reference) = self.born.as_mut().and_then(Vec::pop) else {
            return self.broken("I4", || format!("commit {} continues nothing", commit.n));
        };
        let watch = &mut self.lanes[lane];
        let name = watch.name.clone();
        watch.reference = reference;
        watch.ends.push(watch.start);
        let reached = watch.reference.watermark();
        let said = commit.watermark.map(windows::plain);
        if reached != said || owes || !commit.positions.is_empty() {
            self.broken("I4", || format!("{name} begins with watermark {said:?}, not {reached:?}, or owes something"));
        }
    }
}

/// A lane was registered by its own first commit: what it continues has no lane, or one that never took a record.
pub(super) fn began(world: &mut World, generation: u64, partition: &str) {
    let Some(number) = world.source.partitions.iter().position(|known| known.name == partition) else { return };
    let parents = &world.source.partitions[number].parents;
    let lanes = world.check.lanes.iter().filter(|lane| lane.generation == generation);
    let (mut leaves, mut continues) = (false, false);
    for lane in lanes {
        leaves |= parents.contains(&lane.partition) && lane.end() > lane.start;
        continues |= lane.partition == number && lane.first > 1;
    }
    if leaves && !continues {
        world.check.broken("I4", || format!("{partition} begins without what it continues"));
    }
}

/// Partitions that the open generation has passed over: nothing is left of them, and what continues them has begun.
pub(super) fn passed_over(world: &World) -> Vec<String> {
    let partitions = &world.source.partitions;
    let mut begun: Vec<bool> = partitions.iter().map(|partition| world.check.is_registered(&partition.name)).collect();
    // Whoever continues another one stands behind it.
    for number in (0..partitions.len()).rev() {
        if begun[number] {
            partitions[number].parents.iter().for_each(|parent| begun[*parent] = true);
        }
    }
    let over = |number: &usize| {
        let partition = &partitions[*number];
        begun[*number]
            && !world.check.is_registered(&partition.name)
            && world.check.begin_of(*number) == partition.log.len()
    };
    (0..partitions.len()).filter(over).map(|number| partitions[number].name.clone()).collect()
}
