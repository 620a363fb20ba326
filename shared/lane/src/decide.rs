//! What may be closed, as pure functions.

use std::collections::BTreeSet;

use tidegate_core::{LaneId, Timestamp};

/// How far a lane that may still get records is with the windows of an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneProgress {
    /// The lane.
    pub lane: LaneId,
    /// It adds nothing more to windows that end at or before this. `None`: nothing is known yet.
    pub sealed: Option<Timestamp>,
}

/// Up to where an output can be closed: what every lane has sealed, if that is beyond what is closed already. Without
/// lanes there is no progress.
pub fn closable(lanes: &[LaneProgress], floor: Option<Timestamp>) -> Option<Timestamp> {
    let sealed: Option<Vec<Timestamp>> = lanes.iter().map(|lane| lane.sealed).collect();
    sealed?.into_iter().min().filter(|to| Some(*to) > floor)
}

/// The lanes that hold the others up: they have sealed less than the one that is furthest.
pub fn behind(lanes: &[LaneProgress]) -> Vec<&LaneProgress> {
    let furthest = lanes.iter().filter_map(|lane| lane.sealed).max();
    lanes.iter().filter(|lane| furthest.is_some() && lane.sealed < furthest).collect()
}

/// Up to where the `idle` ones among the lanes may be sealed: as far as the slowest of the others. Where all are idle, as
/// far as the furthest, and never beyond what was seen.
pub fn idle_goal(lanes: &[LaneProgress], idle: &BTreeSet<LaneId>) -> Option<Timestamp> {
    let busy: Vec<Option<Timestamp>> =
        lanes.iter().filter(|lane| !idle.contains(&lane.lane)).map(|lane| lane.sealed).collect();
    match busy.is_empty() {
        true => lanes.iter().filter_map(|lane| lane.sealed).max(),
        false => busy.into_iter().min().flatten(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type At = Option<i64>;

    fn lanes(sealed: &[At]) -> Vec<LaneProgress> {
        let lane =
            |(i, at): (usize, &At)| LaneProgress { lane: LaneId::new("s", &i.to_string()), sealed: at.map(Timestamp) };
        sealed.iter().enumerate().map(lane).collect()
    }

    fn idle(places: &[usize]) -> BTreeSet<LaneId> {
        places.iter().map(|i| LaneId::new("s", &i.to_string())).collect()
    }

    #[test]
    fn the_slowest_lane_decides() {
        let cases: [(&[At], At, At); 6] = [
            (&[], None, None),
            (&[Some(5), Some(3)], None, Some(3)),
            (&[Some(5), Some(3)], Some(3), None),
            (&[Some(5), Some(3)], Some(2), Some(3)),
            (&[Some(5), None], None, None),
            (&[Some(4)], Some(9), None),
        ];
        for (sealed, floor, expected) in cases {
            let found = closable(&lanes(sealed), floor.map(Timestamp));
            assert_eq!(found, expected.map(Timestamp), "{sealed:?} {floor:?}");
        }
    }

    #[test]
    fn only_lanes_that_hold_others_up_are_behind() {
        let cases: [(&[At], &[usize]); 4] =
            [(&[], &[]), (&[None, None], &[]), (&[Some(2), None, Some(5), Some(5)], &[0, 1]), (&[Some(5)], &[])];
        for (sealed, expected) in cases {
            let lanes = lanes(sealed);
            let found: BTreeSet<LaneId> = behind(&lanes).into_iter().map(|lane| lane.lane.clone()).collect();
            assert_eq!(found, idle(expected), "{sealed:?}");
        }
    }

    #[test]
    fn idle_lanes_follow_the_slowest_busy_one() {
        let cases: [(&[At], &[usize], At); 6] = [
            (&[Some(2), Some(5), Some(9)], &[0], Some(5)),
            (&[Some(2), Some(5), Some(9)], &[0, 1], Some(9)),
            (&[Some(2), Some(5), Some(9)], &[0, 1, 2], Some(9)),
            (&[Some(2), None, Some(9)], &[0], None),
            (&[None, None], &[0, 1], None),
            (&[None, Some(7)], &[0], Some(7)),
        ];
        for (sealed, places, expected) in cases {
            assert_eq!(idle_goal(&lanes(sealed), &idle(places)), expected.map(Timestamp), "{sealed:?} {places:?}");
        }
    }
}
