//! The skip rule and the order of one partition.
//!
//! An event source mapping with a parallelization factor above 1 gives records of one shard to several invocations,
//! each in order of its keys, but interleaved by number. The position of a lane is one number.

use crate::invariant::Invariant;
use crate::search::{Model, Steps};

/// Records in the shard.
const RECORDS: u8 = 6;

/// The model and its one assumption.
#[derive(Clone, Copy, Debug)]
pub struct Interleaved {
    /// Records of one partition come in one order: the factor is 1.
    pub one_order: bool,
}

/// A state of the world.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    position: u8,
    /// Records folded, and records answered as done, a bit each.
    folded: u8,
    answered: u8,
    /// The batch of each invocation.
    batches: [u8; 2],
}

impl Model for Interleaved {
    type State = State;

    fn initial(&self) -> State {
        State { position: 0, folded: 0, answered: 0, batches: [0; 2] }
    }

    fn next(&self, state: &State, steps: &mut Steps<State>) {
        for i in 0..2_usize {
            if state.batches[i] == 0 {
                // Keys with even numbers go to invocation 0, the others to invocation 1; with one order, to 0 alone.
                let mine = |record: &u8| !self.one_order && *record as usize % 2 == i || self.one_order && i == 0;
                let waiting: Vec<u8> =
                    (1..=RECORDS).filter(mine).filter(|record| state.answered >> (record - 1) & 1 == 0).collect();
                for length in 1..=waiting.len().min(2) {
                    let mut after = *state;
                    after.batches[i] = waiting[..length].iter().fold(0, |all, record| all | 1 << (record - 1));
                    steps.add(after, || format!("invocation {i} gets records {:?}", &waiting[..length]));
                }
            } else {
                let mut after = *state;
                let batch = state.batches[i];
                let fresh: Vec<u8> =
                    (1..=RECORDS).filter(|r| batch >> (r - 1) & 1 == 1 && *r > state.position).collect();
                for record in &fresh {
                    after.folded |= 1 << (record - 1);
                    after.position = *record;
                }
                after.answered |= batch;
                after.batches[i] = 0;
                steps.add(after, || {
                    format!("invocation {i} folds {fresh:?}, skips what is at or below {}, answers", state.position)
                });
            }
        }
    }

    fn violation(&self, state: &State) -> Option<Invariant> {
        (state.answered & !state.folded != 0).then_some(Invariant::NothingLost)
    }

    fn done(&self, state: &State) -> bool {
        state.answered == (1 << RECORDS) - 1
    }
}
