//! Objects and their garbage.

use super::{Case, breaks, holds};
use crate::invariant::Invariant;
use crate::models::garbage::{Garbage, Rules};

pub(super) fn cases() -> Vec<Case> {
    let world = |rules| Garbage { rules, lost_puts: 1, splits: 2 };
    let missing = Invariant::NothingReferencedMissing;
    let weak = |name, rules| breaks("garbage", name, missing, world(rules));
    let rules = Rules::RIGHT;
    vec![
        holds("garbage", "spills, compaction, one split", Garbage { lost_puts: 0, splits: 1, ..world(rules) }),
        holds("garbage", "spills, compaction, late puts", Garbage { splits: 0, ..world(rules) }),
        holds("garbage", "spills, compaction, a split of a split, late puts", world(rules)),
        weak("a commit names an object that is not written yet", Rules { object_first: false, ..rules }),
        breaks(
            "garbage",
            "the manifest only has to move forward",
            missing,
            Garbage { splits: 0, ..world(Rules { manifest_compare_and_swap: false, ..rules }) },
        ),
        breaks(
            "garbage",
            "a scan reads the manifest before the slots",
            missing,
            Garbage { splits: 0, ..world(Rules { slots_before_manifest: false, two_scans: false, ..rules }) },
        ),
        weak("one scan of old objects, beside a split", Rules { two_scans: false, registry_unchanged: false, ..rules }),
        weak("two scans, lanes may come during each of them", Rules { registry_unchanged: false, ..rules }),
        weak("scans closer together than a put lasts", Rules { horizon_outlasts_puts: false, ..rules }),
    ]
}
