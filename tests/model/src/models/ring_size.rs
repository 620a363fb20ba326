//! The ring's size K changes in the configuration while a lane lives.
//!
//! Version 1 of the pipeline was set up with four slots, version 2 says two. Both are alive during a deployment.

use crate::invariant::Invariant;
use crate::search::{Model, Steps};

/// Slots in the version that created the lane.
const CREATED: u8 = 4;

/// Slots in the other version.
const CHANGED: u8 = 2;

/// Commits in a run.
const MAX_N: u8 = 8;

/// The model and its one rule.
#[derive(Clone, Copy, Debug)]
pub struct RingSize {
    /// K is fixed when the lane is created, stored in manifest and commits, and checked by every load.
    pub size_is_stored: bool,
}

/// A state of the world.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    slots: [u8; CREATED as usize],
    manifest: u8,
    /// Heads in the memories of the two versions.
    memory: [Option<u8>; 2],
    /// How often each number was given.
    given: [u8; MAX_N as usize],
}

impl Model for RingSize {
    type State = State;

    fn initial(&self) -> State {
        State { slots: [0; 4], manifest: 0, memory: [None; 2], given: [0; 8] }
    }

    fn next(&self, state: &State, steps: &mut Steps<State>) {
        for (version, size) in [CREATED, if self.size_is_stored { CREATED } else { CHANGED }].into_iter().enumerate() {
            let Some(head) = state.memory[version] else {
                let mut head = state.manifest;
                while state.slots[((head + 1) % size) as usize] == head + 1 {
                    head += 1;
                }
                let mut after = *state;
                after.memory[version] = Some(head);
                steps.add(after, || format!("version {} loads with {size} slots: head {head}", version + 1));
                continue;
            };
            let n = head + 1;
            if n <= MAX_N && state.manifest + size >= n {
                let slot = (n % size) as usize;
                let held = state.slots[slot];
                let fits = if n <= size { held == 0 } else { held + size == n };
                let mut after = *state;
                if fits {
                    after.slots[slot] = n;
                    after.given[n as usize - 1] += 1;
                    after.memory[version] = Some(n);
                } else {
                    after.memory[version] = None;
                }
                steps.add(after, || {
                    let result = if fits { "" } else { ": refused" };
                    format!("version {} puts commit {n} into slot {slot}{result}", version + 1)
                });
            }
            if state.manifest < head {
                let mut after = *state;
                after.manifest = head;
                steps.add(after, || format!("version {} moves the manifest to {head}", version + 1));
            }
        }
    }

    fn violation(&self, state: &State) -> Option<Invariant> {
        state.given.iter().any(|given| *given > 1).then_some(Invariant::OneCommitPerNumber)
    }

    fn done(&self, state: &State) -> bool {
        state.given == [1; 8]
    }
}
