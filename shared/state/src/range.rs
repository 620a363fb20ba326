//! Which records a commit took of a partition, and what that says about one that comes later.

use tidegate_core::Position;

/// Where the batch that last moved a partition's position began.
///
/// Together with the committed position it is the range of that batch: nothing between `after` and `first` was in it,
/// and nothing behind `after` was in a batch before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The committed position before that batch. `None`: it was the first one of the partition.
    pub after: Option<Position>,
    /// The smallest position that the batch took.
    pub first: Position,
}

/// Whether a record at `position` lies at or below `committed` and yet was in no committed batch.
///
/// It is a proof that the batches of one partition were interleaved, or that the source left records out and came
/// back to them: skipping such a record would lose it. `false` proves nothing: a record between `first` and
/// `committed`, or at or below `after`, may have been committed or not.
pub fn lies_in_gap(range: &Range, committed: Position, position: Position) -> bool {
    position <= committed && position < range.first && range.after.is_none_or(|after| position > after)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// What happens, the batches in turn, the record that is found.
    type Case = (&'static str, &'static [&'static [u64]], Option<u64>);

    /// Takes batches in turn, by the rules of a lane. The first record found in a gap, and what was committed.
    fn run(batches: &[&[u64]]) -> (Option<u64>, BTreeSet<u64>) {
        let mut head: Option<(Range, Position)> = None;
        let mut taken = BTreeSet::new();
        for batch in batches {
            let in_gap = |number: &&u64| {
                head.is_some_and(|(range, committed)| lies_in_gap(&range, committed, Position::new(**number)))
            };
            if let Some(found) = batch.iter().find(in_gap) {
                return (Some(*found), taken);
            }
            let after = head.map(|(_, committed)| committed);
            let new: Vec<u64> =
                batch.iter().copied().filter(|number| after.is_none_or(|at| Position::new(*number) > at)).collect();
            if let (Some(first), Some(last)) = (new.iter().min(), new.iter().max()) {
                head = Some((Range { after, first: Position::new(*first) }, Position::new(*last)));
            }
            taken.extend(new);
        }
        (None, taken)
    }

    #[test]
    fn only_interleaved_batches_are_found() {
        let cases: [Case; 11] = [
            ("in order", &[&[1, 2], &[3, 4], &[5]], None),
            ("not dense", &[&[10, 20], &[35, 90], &[91]], None),
            ("a duplicate", &[&[1, 2], &[3, 4], &[3, 4]], None),
            ("cut again, smaller", &[&[1, 2, 3, 4], &[1, 2], &[3, 4], &[5]], None),
            ("cut again, larger", &[&[1, 2], &[1, 2, 3, 4], &[3, 4, 5, 6]], None),
            ("an old batch", &[&[1, 2], &[3, 4], &[5, 6], &[1, 2]], None),
            ("overlapping, not in order", &[&[2, 1], &[3, 5, 4, 2], &[6, 5]], None),
            ("a block that was overtaken", &[&[1, 2], &[5, 6], &[3, 4]], Some(3)),
            ("the first block was overtaken", &[&[5, 6], &[3, 4]], Some(3)),
            ("every other record", &[&[1, 2], &[4, 6, 8], &[3, 5, 7]], Some(3)),
            ("in the middle of a batch", &[&[1, 2], &[6, 7], &[2, 7, 5, 8]], Some(5)),
        ];
        for (name, batches, expected) in cases {
            assert_eq!(run(batches).0, expected, "{name}");
        }
    }

    #[test]
    fn places_inside_an_aggregated_record_count() {
        let at = |sequence: u64, sub| Position { sub, ..Position::new(sequence) };
        let range = Range { after: Some(at(1, 1)), first: at(1, 3) };
        let found = [at(1, 0), at(1, 1), at(1, 2), at(1, 3), at(2, 0)].map(|it| lies_in_gap(&range, at(1, 9), it));
        assert_eq!(found, [false, false, true, false, false]);
    }

    proptest! {
        /// However a source that keeps its order cuts, repeats and goes back, it is never accused and nothing is lost.
        #[test]
        fn a_source_in_order_is_never_accused(
            numbers in proptest::collection::btree_set(0..1000u64, 1..60),
            cuts in proptest::collection::vec((0..60usize, 1..20usize), 0..40),
        ) {
            let numbers: Vec<u64> = numbers.into_iter().collect();
            let mut batches: Vec<&[u64]> = Vec::new();
            let mut next = 0;
            for (back, length) in cuts {
                // At the first record that is not committed, or before it: never behind it.
                let from = next.min(numbers.len() - 1).saturating_sub(back / 4);
                let to = (from + length).min(numbers.len());
                batches.push(&numbers[from..to]);
                next = next.max(to);
            }
            let (found, taken) = run(&batches);
            prop_assert_eq!(found, None);
            prop_assert!(taken.iter().eq(&numbers[..next]));
        }
    }
}
