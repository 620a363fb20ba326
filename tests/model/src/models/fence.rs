//! A fenced target: it refuses a number that is not larger than the last, per key or per lane.
//!
//! A lane commits n = 1 to 3; each commit has two requests, of two keys. Then the shard is split and a child goes on.
//! What the target refuses counts as applied before.

use crate::invariant::Invariant;
use crate::search::{Model, Steps};

/// Commits of the parent.
const PARENT: u8 = 3;

/// The rules of fenced targets.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// A child's first number is larger than every number of its parents.
    pub child_above_parents: bool,
    /// Requests travel side by side only where the fence is per key.
    pub side_by_side_only_per_key: bool,
}

impl Rules {
    /// The rules as they are.
    pub const RIGHT: Self = Self { child_above_parents: true, side_by_side_only_per_key: true };
}

/// The model.
#[derive(Clone, Copy, Debug)]
pub struct Fence {
    /// The rules in force.
    pub rules: Rules,
    /// Whether the target keeps the last number per key, or one per lane.
    pub per_key: bool,
}

/// A state of the world.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    /// The newest commit; 0 before the first.
    n: u8,
    child: bool,
    /// Requests of commit n that the sender still owes, and those on their way, a bit each.
    owed: u8,
    travelling: u8,
    /// Requests of the commits so far that took effect, by order of commits.
    applied: u8,
    commits: u8,
    /// The last number and index that the target knows, per key or for all.
    last: [(u8, u8); 2],
    resends: u8,
    broken: Option<Invariant>,
}

impl Model for Fence {
    type State = State;

    fn initial(&self) -> State {
        State {
            n: 0,
            child: false,
            owed: 0,
            travelling: 0,
            applied: 0,
            commits: 0,
            last: [(0, 0); 2],
            resends: 2,
            broken: None,
        }
    }

    fn next(&self, state: &State, steps: &mut Steps<State>) {
        if state.owed == 0 && state.travelling == 0 {
            if state.applied != 0b11 && state.commits > 0 {
                let mut after = *state;
                after.broken = Some(Invariant::NothingLost);
                steps.add(after, || format!("commit {} counts as settled", state.n));
                return;
            }
            if state.commits < PARENT || (state.child && state.commits < PARENT + 2) {
                let mut after = *state;
                after.n += 1;
                after.commits += 1;
                after.owed = 0b11;
                after.applied = 0;
                steps.add(after, || format!("the {} commits {}", if state.child { "child" } else { "lane" }, after.n));
            } else if !state.child {
                let mut after = *state;
                after.child = true;
                after.n = if self.rules.child_above_parents { state.n } else { 0 };
                steps.add(after, || format!("the shard is split; the child's first number will be {}", after.n + 1));
            }
            return;
        }
        let may_be_two = self.per_key || !self.rules.side_by_side_only_per_key;
        for index in 0..2_u8 {
            let bit = 1 << index;
            let first = state.owed & (bit - 1) == 0 && state.travelling == 0;
            if state.owed & bit != 0 && (may_be_two || first) {
                let mut after = *state;
                after.owed &= !bit;
                after.travelling |= bit;
                steps.add(after, || format!("request {}/{index} is sent", state.n));
            }
            if state.travelling & bit != 0 {
                self.arrive(state, index, steps);
            }
        }
    }

    fn violation(&self, state: &State) -> Option<Invariant> {
        state.broken
    }

    fn at_rest(&self, state: &State) -> Option<Invariant> {
        (!self.done(state)).then_some(Invariant::Drains)
    }

    fn done(&self, state: &State) -> bool {
        state.commits == PARENT + 2 && state.owed == 0 && state.travelling == 0
    }
}

impl Fence {
    fn arrive(&self, state: &State, index: u8, steps: &mut Steps<State>) {
        let mut after = *state;
        let bit = 1 << index;
        let key = if self.per_key { index as usize } else { 0 };
        let number = (state.n, index);
        let applied = number > state.last[key];
        if applied {
            after.last[key] = number;
            if state.applied & bit != 0 {
                after.broken = Some(Invariant::EffectOnce);
            }
            after.applied |= bit;
        }
        if state.resends > 0 {
            let mut lost = after;
            lost.resends -= 1;
            steps.add(lost, || format!("request {}/{index} arrives, its answer is lost: it is sent again", state.n));
        }
        after.travelling &= !bit;
        steps.add(after, || {
            let result = if applied { "applied" } else { "refused, taken as applied before" };
            format!("request {}/{index} arrives: {result}", state.n)
        });
    }
}
