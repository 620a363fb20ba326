//! Windows over lanes.

use super::{Case, breaks, holds};
use crate::invariant::Invariant;
use crate::models::windows::{Rules, Windows};

/// Partitions 0 and 1 from the start, partition 2 later. Some records are there from the start.
const BASE: Windows =
    Windows { rules: Rules::RIGHT, times: [&[0, 2], &[0, 2], &[0, 2]], ready: [1, 1, 0], exists: 0b011, closers: 1 };

/// Two partitions.
const TWO: Windows = Windows { times: [&[0, 2], &[0, 2], &[]], ready: [2, 1, 0], exists: 0b011, ..BASE };

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        holds("windows", "two lanes, two closers", Windows { closers: 2, ..TWO }),
        holds(
            "windows",
            "a backfill: everything waits from the start",
            Windows { ready: [2, 2, 2], exists: 0b111, ..BASE },
        ),
        holds("windows", "two lanes and one that comes later", BASE),
        holds(
            "windows",
            "windows one by one, rows out of order",
            Windows { times: [&[0, 1, 2], &[1, 0, 2], &[]], ready: [1, 1, 0], exists: 0b111, ..BASE },
        ),
        holds("windows", "one that comes later, two closers", Windows { closers: 2, ..BASE }),
    ];
    let weak = |name, invariant, change: fn(&mut Rules), world: Windows| {
        let mut world = world;
        change(&mut world.rules);
        breaks("windows", name, invariant, world)
    };
    cases.extend([
        weak(
            "lanes are known by their first commit only",
            Invariant::OnTimeCounts,
            |r| r.lists_the_source = false,
            TWO,
        ),
        weak("a watermark in a head is proof of sealing", Invariant::WindowWhole, |r| r.proof_is_the_item = false, TWO),
        weak(
            "'sealed through' side by side with partials",
            Invariant::WindowWhole,
            |r| r.through_leaves_last = false,
            TWO,
        ),
        weak(
            "late rows go into sealed partials",
            Invariant::WindowWhole,
            |r| r.seals_never_change = false,
            Windows { times: [&[0, 2, 0], &[0, 2], &[]], ..TWO },
        ),
        weak("no commits means idle", Invariant::OnTimeCounts, |r| r.idle_asks_the_source = false, TWO),
        weak(
            "a lane with an unsettled head is idle",
            Invariant::WindowWhole,
            |r| r.unsettled_is_not_idle = false,
            Windows { times: [&[0, 2], &[0, 1], &[]], ready: [2, 2, 0], ..TWO },
        ),
        weak("idle lanes are left out, not sealed", Invariant::WindowWhole, |r| r.idle_through_own_ring = false, TWO),
        weak("close and floor are two writes", Invariant::OneOutcome, |r| r.floor_with_the_close = false, BASE),
        weak("the close does not check the version", Invariant::WindowWhole, |r| r.close_checks_version = false, BASE),
        weak("the floor does not raise the version", Invariant::OneOutcome, |r| r.floor_raises_version = false, BASE),
        weak(
            "registration copies a floor that it does not check",
            Invariant::OneOutcome,
            |r| r.registration_checks_version = false,
            BASE,
        ),
        weak(
            "windows below the floor are merged again",
            Invariant::WindowOnce,
            |r| r.merges_above_the_floor = false,
            Windows { times: [&[0, 1, 2], &[0, 1, 2], &[]], ready: [3, 3, 0], ..TWO },
        ),
        weak(
            "the minimum over no lane is infinite",
            Invariant::ClosedByRecords,
            |r| r.no_lane_no_progress = false,
            Windows { exists: 0, ready: [0; 3], ..BASE },
        ),
        weak(
            "seals are deleted before their windows are closed",
            Invariant::WindowWhole,
            |r| r.unclosed_seals_stay = false,
            Windows { times: [&[0, 1, 1, 2], &[0, 1, 2], &[]], ready: [3, 3, 0], ..TWO },
        ),
        weak(
            "the newest seal of a lane is deleted",
            Invariant::Drains,
            |r| r.newest_seal_stays = false,
            Windows { times: [&[0, 2], &[0, 1, 2], &[]], ready: [2, 3, 0], ..TWO },
        ),
    ]);
    cases
}
