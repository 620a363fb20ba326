//! Splits and merges.

use super::{Case, breaks, holds};
use crate::invariant::Invariant;
use crate::models::resharding::{Resharding, Rules, Shard};

const SPLIT: [Shard; 3] =
    [Shard { parents: 0, keys: &[0, 1] }, Shard { parents: 0b001, keys: &[0] }, Shard { parents: 0b001, keys: &[1] }];

/// A split beside a shard that stays.
const SPLIT_BESIDE: [Shard; 4] = [
    Shard { parents: 0, keys: &[0] },
    Shard { parents: 0b001, keys: &[0] },
    Shard { parents: 0b001, keys: &[0] },
    Shard { parents: 0, keys: &[1, 1] },
];

const MERGE: [Shard; 3] =
    [Shard { parents: 0, keys: &[0, 0] }, Shard { parents: 0, keys: &[1] }, Shard { parents: 0b011, keys: &[0, 1] }];

/// Shard 1 ends without a record, and its children begin.
const SPLIT_OF_SPLIT: [Shard; 5] = [
    Shard { parents: 0, keys: &[0, 1] },
    Shard { parents: 0b001, keys: &[] },
    Shard { parents: 0b001, keys: &[1] },
    Shard { parents: 0b010, keys: &[0] },
    Shard { parents: 0b010, keys: &[] },
];

/// A split, and the merge of its children.
const SPLIT_AND_MERGE: [Shard; 4] = [
    Shard { parents: 0, keys: &[0, 1] },
    Shard { parents: 0b001, keys: &[0] },
    Shard { parents: 0b001, keys: &[1] },
    Shard { parents: 0b110, keys: &[0, 1] },
];

const OVER: Resharding = Resharding { rules: Rules::RIGHT, shards: &SPLIT, local: false };
const LOCAL: Resharding = Resharding { local: true, ..OVER };

pub(super) fn cases() -> Vec<Case> {
    let right = |name, world| holds("resharding", name, world);
    let mut cases = vec![
        right("split, windows over lanes", OVER),
        right("split, lane-local windows", LOCAL),
        right("split beside another shard", Resharding { shards: &SPLIT_BESIDE, ..OVER }),
        right("merge, windows over lanes", Resharding { shards: &MERGE, ..OVER }),
        right("merge, lane-local windows", Resharding { shards: &MERGE, ..LOCAL }),
        right("split of a split, windows over lanes", Resharding { shards: &SPLIT_OF_SPLIT, ..OVER }),
        right("split of a split, lane-local windows", Resharding { shards: &SPLIT_OF_SPLIT, ..LOCAL }),
        right("split and merge, windows over lanes", Resharding { shards: &SPLIT_AND_MERGE, ..OVER }),
        right("split and merge, lane-local windows", Resharding { shards: &SPLIT_AND_MERGE, ..LOCAL }),
    ];
    let weak = |name, invariant, change: fn(&mut Rules), world: Resharding| {
        let mut world = world;
        change(&mut world.rules);
        breaks("resharding", name, invariant, world)
    };
    cases.extend([
        weak(
            "each child is created at its first batch",
            Invariant::WindowWhole,
            |r| r.all_children_at_once = false,
            OVER,
        ),
        weak("parents are not sealed", Invariant::WindowWhole, |r| r.parents_are_sealed = false, OVER),
        weak(
            "parents may have moved since they were read",
            Invariant::WindowWhole,
            |r| r.parents_unchanged = false,
            OVER,
        ),
        weak("parents are not read to their end", Invariant::NothingLost, |r| r.parents_exhausted = false, OVER),
        weak("parents' outboxes are not settled", Invariant::NothingLost, |r| r.parents_settled = false, LOCAL),
        weak(
            "a parent without a lane counts as none",
            Invariant::FoldedOnce,
            |r| r.ancestors_first = false,
            Resharding { shards: &SPLIT_OF_SPLIT, ..OVER },
        ),
        weak("dedup state is split by a hash of our own", Invariant::FoldedOnce, |r| r.dedup_to_all = false, OVER),
        weak("window partials go to both children", Invariant::WindowWhole, |r| r.partials_to_one = false, OVER),
        weak(
            "groups of lane-local windows go to the first child",
            Invariant::WindowOnce,
            |r| r.groups_by_key = false,
            LOCAL,
        ),
        weak(
            "groups of lane-local windows go to both children",
            Invariant::WindowOnce,
            |r| (r.groups_by_key, r.partials_to_one) = (false, false),
            LOCAL,
        ),
        weak(
            "a merged lane takes the smaller watermark",
            Invariant::WindowOnce,
            |r| r.largest_watermark = false,
            Resharding { shards: &MERGE, ..LOCAL },
        ),
        weak(
            "the tick seals finished shards for good",
            Invariant::WindowWhole,
            |r| r.finished_by_resharding = false,
            OVER,
        ),
        weak(
            "an idle child's lane is created by a closer",
            Invariant::FoldedOnce,
            |r| r.children_by_resharding = false,
            OVER,
        ),
        weak("the closer merges living lanes only", Invariant::WindowWhole, |r| r.merges_sealed_lanes = false, OVER),
    ]);
    cases
}
