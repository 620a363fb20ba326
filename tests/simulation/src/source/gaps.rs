//! A mapping that is set up as it must not be: batches of one partition side by side, or given up.

use super::Source;
use crate::draw::Draw;
use crate::fault::Fault;
use crate::paths::Path;
use crate::world::{HOUR, Job, MS, World};

/// Of 100 schedules with such a fault, those that it happens in.
const SHARE: u64 = 12;
/// Of 100 batches, those that the next one is given out beside, and failures after which one is given up.
const OFTEN: u64 = 25;

impl Source {
    /// Whether the mapping gives out batches in another order.
    fn mixes_batches(&self) -> bool {
        self.parallel || self.discards
    }

    /// Whether batches of a generation may have been given out in another order. What was under way when the mapping was
    /// mended ends later.
    pub fn mixed_batches(&self, generation: u64) -> bool {
        self.mixes_batches() || self.mixed.is_some_and(|last| generation <= last)
    }
}

impl World {
    pub(super) fn plan_gaps(&mut self) {
        let whole = self.source.partitions.iter().all(|partition| partition.parents.is_empty());
        let mut has = |fault| whole && self.faults.has_rarely(fault, 0, SHARE).is_some();
        let (parallel, discards) = (has(Fault::ParallelBatches), has(Fault::DiscardedBatches));
        (self.source.parallel, self.source.discards) = (parallel, discards);
    }

    /// The next batches of the same partitions are given out beside these.
    pub(super) fn give_out_next(&mut self, parts: &[(usize, usize, usize)]) {
        if !self.source.parallel || self.source.at_rest || !self.dice.percent(OFTEN) {
            return;
        }
        let batch = self.config.batch;
        let next =
            |(p, _, to): &(usize, usize, usize)| (*p, *to, (to + batch).min(self.source.partitions[*p].produced));
        let next: Vec<_> = parts.iter().map(next).filter(|(_, from, to)| from < to).collect();
        if !next.is_empty() {
            let other = self.place(true);
            self.begin(other, None, Job::Batch(next.clone()), next);
        }
    }

    /// Whether the mapping gives a failed batch up. Somebody gives it out again later.
    pub(super) fn gives_batch_up(&mut self, number: usize, parts: &[(usize, usize, usize)]) -> bool {
        if !self.source.discards || self.source.at_rest || !self.dice.percent(OFTEN) {
            return false;
        }
        self.note(91, || "the mapping gives a batch up".into());
        self.check.path(Path::BatchGivenUp);
        for (partition, _, to) in parts {
            self.pass(number, *partition, *to);
        }
        let (parts, generation) = (parts.to_vec(), self.check.generation);
        let later = self.dice.spread(MS, HOUR);
        self.later(later, move |world| {
            if world.check.generation == generation && !world.stands_still() && world.source.discards {
                let environment = world.place(false);
                world.begin(environment, None, Job::Batch(parts.clone()), parts);
            }
        });
        true
    }

    /// A lane says that records were passed over: a person mends the mapping and begins anew.
    pub(super) fn gap_was_refused(&mut self) {
        self.check.path(Path::GapRefused);
        if self.source.reset.is_some() || !self.source.mixes_batches() {
            return;
        }
        self.note(92, || "a person mends the mapping".into());
        self.retire_pollers();
        (self.source.parallel, self.source.discards) = (false, false);
        self.source.mixed = Some(self.check.generation);
        let from = vec![0; self.source.partitions.len()];
        self.look(Draw::new(self.config.seed).part(700), true, Some(from));
    }

    /// What was given up and never taken is read at rest.
    pub(super) fn take_up_discarded(&mut self) {
        if !self.source.discards {
            return;
        }
        for number in 0..self.source.partitions.len() {
            let end = crate::check::end_of(self, number);
            let partition = &mut self.source.partitions[number];
            partition.checkpoint = partition.checkpoint.min(end);
        }
    }
}

/// Whether a lane has refused records that were passed over.
pub fn is_gap(why: &str) -> bool {
    why.contains("no commit has taken this record")
}
