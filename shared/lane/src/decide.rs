//! What may be closed, as pure functions.

use std::collections::BTreeSet;

use tidegate_core::{HashRange, LaneId, Timestamp};

use crate::view::Descent;

/// How far a lane that may still get records is with the windows of an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneProgress {
    /// The lane.
    pub lane: LaneId,
    /// It adds nothing more to windows that end at or before this. `None`: nothing is known yet.
    pub sealed: Option<Timestamp>,
    /// Something that it has sealed itself is there. A lane that continues others begins without.
    pub announced: bool,
}

/// Up to where an output can be closed: what every lane has sealed, if that is beyond what is closed already. Without
/// lanes there is no progress.
pub fn closable(lanes: &[LaneProgress], floor: Option<Timestamp>) -> Option<Timestamp> {
    let sealed: Option<Vec<Timestamp>> = lanes.iter().map(|lane| lane.sealed).collect();
    sealed?.into_iter().min().filter(|to| Some(*to) > floor)
}

/// How far one commit closes: not across `border`, behind which windows are sent.
pub fn before_border(to: Timestamp, floor: Option<Timestamp>, border: Option<Timestamp>) -> Timestamp {
    border.filter(|border| Some(*border) > floor).map_or(to, |border| to.min(border))
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

/// Partitions that end together, and all that continue them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Family {
    /// Those that have a lane, in the order of their names.
    pub parents: Vec<String>,
    /// Every partition that continues one of them, in the order of their names.
    pub children: Vec<String>,
}

/// The next family on the way from lanes to `partition`: the oldest ancestors of it that have a lane, with everything that
/// continues them. `None`: no ancestor has a lane.
///
/// A partition that had no records has no lane. What it continues may have one: then it must come to its share first.
pub fn next_family(lineage: &[Descent], partition: &str, has_lane: &impl Fn(&str) -> bool) -> Option<Family> {
    let mut child = partition;
    let mut looked_at = BTreeSet::from([partition]);
    // Upwards from the partition, as long as one of the parents on the way has no lane and an ancestor with one.
    while let Some(orphan) = (parents_of(lineage, child).iter().map(String::as_str)).find(|parent| {
        !has_lane(parent) && !looked_at.contains(parent) && descends(lineage, parent, &looked_at, has_lane)
    }) {
        looked_at.insert(orphan);
        child = orphan;
    }
    let parents: BTreeSet<&str> =
        parents_of(lineage, child).iter().map(String::as_str).filter(|parent| has_lane(parent)).collect();
    if parents.is_empty() {
        return None;
    }
    let continues = |descent: &&Descent| descent.parents.iter().any(|parent| parents.contains(parent.as_str()));
    let mut children: BTreeSet<&str> = BTreeSet::new();
    for descent in lineage.iter().filter(continues) {
        children.insert(&descent.partition);
    }
    // A merged partition has a second parent, which ends with the first.
    let of_children = children.iter().flat_map(|child| parents_of(lineage, child)).map(String::as_str);
    let all: BTreeSet<&str> = of_children.filter(|parent| has_lane(parent)).collect();
    let owned = |names: BTreeSet<&str>| names.into_iter().map(str::to_owned).collect();
    Some(Family { parents: owned(all), children: owned(children) })
}

fn parents_of<'a>(lineage: &'a [Descent], partition: &str) -> &'a [String] {
    let found = lineage.iter().find(|descent| descent.partition == partition);
    found.map_or(&[][..], |descent| descent.parents.as_slice())
}

/// Whether something that `partition` continues, directly or not, has a lane. `passed` are not looked at again.
fn descends(lineage: &[Descent], partition: &str, passed: &BTreeSet<&str>, has_lane: &impl Fn(&str) -> bool) -> bool {
    let (mut looked_at, mut next) = (passed.clone(), vec![partition]);
    while let Some(name) = next.pop() {
        for parent in parents_of(lineage, name) {
            if has_lane(parent) {
                return true;
            }
            if looked_at.insert(parent.as_str()) {
                next.push(parent);
            }
        }
    }
    false
}

/// The hashes that each of `partitions` takes, as far as the source tells.
pub fn hashes(lineage: &[Descent], partitions: &[String]) -> Vec<Option<HashRange>> {
    let of = |partition: &String| lineage.iter().find(|descent| descent.partition == *partition)?.hashes;
    partitions.iter().map(of).collect()
}

/// Whether something that continues `partition`, directly or not, has a lane.
pub fn is_continued(lineage: &[Descent], partition: &str, has_lane: &impl Fn(&str) -> bool) -> bool {
    let (mut looked_at, mut next) = (BTreeSet::new(), vec![partition]);
    while let Some(name) = next.pop() {
        for descent in lineage.iter().filter(|descent| descent.parents.iter().any(|parent| parent == name)) {
            if has_lane(&descent.partition) {
                return true;
            }
            if looked_at.insert(descent.partition.as_str()) {
                next.push(&descent.partition);
            }
        }
    }
    false
}

/// `partitions`, each behind those of them that it continues.
pub fn oldest_first(lineage: &[Descent], partitions: &[String]) -> Vec<String> {
    let mut waiting: BTreeSet<&str> = partitions.iter().map(String::as_str).collect();
    let mut ordered = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let behind = |name: &str| {
            let found = lineage.iter().find(|descent| descent.partition == name);
            found.is_some_and(|descent| descent.parents.iter().any(|parent| waiting.contains(parent.as_str())))
        };
        let mut ready: Vec<&str> = waiting.iter().copied().filter(|name| !behind(name)).collect();
        if ready.is_empty() {
            // A circle: the source contradicts itself. Any order is as good.
            ready = waiting.iter().copied().collect();
        }
        for name in ready {
            waiting.remove(name);
            ordered.push(name.to_owned());
        }
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `child<parent,parent` each.
    fn lineage(text: &str) -> Vec<Descent> {
        let one = |word: &str| {
            let (partition, parents) = word.split_once('<').unwrap_or((word, ""));
            let parents = parents.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
            Descent { partition: partition.to_owned(), parents, hashes: None }
        };
        text.split_whitespace().map(one).collect()
    }

    #[test]
    fn families_come_one_generation_after_the_other() {
        let split_of_split = "a b<a c<a d<b e<b";
        for (shards, partition, lanes, expected) in [
            ("a b", "b", "a", None),
            ("a b<a c<a", "b", "", None),
            ("a b<a c<a", "c", "a", Some(("a", "b c"))),
            ("a b c<a,b", "c", "a b", Some(("a b", "c"))),
            // A parent that never had a record has no lane.
            ("a b c<a,b", "c", "b", Some(("b", "c"))),
            (split_of_split, "e", "a", Some(("a", "b c"))),
            (split_of_split, "e", "a b c", Some(("b", "d e"))),
            // A parent that the source does not list any more.
            ("b<a c<a", "b", "a", Some(("a", "b c"))),
            ("a b<a c<a d<b,c", "d", "a", Some(("a", "b c"))),
            // Half of a split is merged with another one before it had a record: it must have its share by then.
            ("a x b<a c<a d<c,x", "d", "a x", Some(("a", "b c"))),
            ("a x b<a c<a d<x,c", "d", "a x", Some(("a", "b c"))),
            ("a x b<a c<a d<c,x", "d", "b c x", Some(("c x", "d"))),
            ("a x c<a d<c,x", "d", "x", Some(("x", "d"))),
            // A circle: the source contradicts itself.
            ("a<b b<a x c<a,x", "c", "x", Some(("x", "c"))),
            ("x a<b,x b<a", "a", "x", Some(("x", "a"))),
        ] {
            let has_lane = |name: &str| lanes.split_whitespace().any(|lane| lane == name);
            let found = next_family(&lineage(shards), partition, &has_lane);
            let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
            let expected =
                expected.map(|(parents, children)| Family { parents: words(parents), children: words(children) });
            assert_eq!(found, expected, "{shards}, {partition}, lanes {lanes}");
        }
    }

    #[test]
    fn what_continues_a_partition_is_found_over_generations() {
        for (shards, partition, lanes, expected) in [
            ("a b", "a", "a b", false),
            ("a b<a c<a", "a", "", false),
            ("a b<a c<a", "a", "c", true),
            ("a b<a c<a", "b", "a c", false),
            ("a b<a c<a d<b e<b", "a", "e", true),
            ("a b c<a,b", "b", "c", true),
            ("a<b b<a", "a", "", false),
        ] {
            let has_lane = |name: &str| lanes.split_whitespace().any(|lane| lane == name);
            assert_eq!(
                is_continued(&lineage(shards), partition, &has_lane),
                expected,
                "{shards}, {partition}, {lanes}"
            );
        }
    }

    #[test]
    fn parents_join_before_their_children() {
        for (shards, partitions, expected) in [
            ("a b<a c<a d<b e<b", "e c b a", "a b c e"),
            ("b<a c<a", "c b", "b c"),
            ("a b", "b a", "a b"),
            ("a<b b<a", "a b", "a b"),
        ] {
            let partitions: Vec<String> = partitions.split_whitespace().map(str::to_owned).collect();
            assert_eq!(oldest_first(&lineage(shards), &partitions).join(" "), expected, "{shards}");
        }
    }

    type At = Option<i64>;

    fn lanes(sealed: &[At]) -> Vec<LaneProgress> {
        let lane = |(i, at): (usize, &At)| LaneProgress {
            lane: LaneId::new("s", &i.to_string()),
            sealed: at.map(Timestamp),
            announced: true,
        };
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
