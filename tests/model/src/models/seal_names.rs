//! The keys of sealed partials.
//!
//! Two generations, two outputs, two lanes. Each has one partial of a window, and the bytes of all are equal. A put finds
//! an item with equal bytes: it counts as delivered.

use crate::invariant::Invariant;
use crate::search::{Model, Steps};

/// The model: what a key names.
#[derive(Clone, Copy, Debug)]
pub struct SealNames {
    /// The generation.
    pub generation: bool,
    /// The output.
    pub output: bool,
    /// The lane.
    pub lane: bool,
}

/// Delivered partials, and items in the store, a bit each.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    delivered: u8,
    items: u8,
}

impl Model for SealNames {
    type State = State;

    fn initial(&self) -> State {
        State { delivered: 0, items: 0 }
    }

    fn next(&self, state: &State, steps: &mut Steps<State>) {
        for partial in (0..8_u8).filter(|partial| state.delivered >> partial & 1 == 0) {
            let named = u8::from(self.generation) << 2 | u8::from(self.output) << 1 | u8::from(self.lane);
            let item = 1 << (partial & named);
            let repeat = state.items & item != 0;
            let after = State { delivered: state.delivered | 1 << partial, items: state.items | item };
            steps.add(after, || {
                let result = if repeat { ": there is one with equal bytes, taken for a repeat" } else { "" };
                let (generation, output, lane) = (partial >> 2, partial >> 1 & 1, partial & 1);
                format!("generation {generation}, output {output}, lane {lane}: puts its partial{result}")
            });
        }
    }

    fn violation(&self, state: &State) -> Option<Invariant> {
        (state.delivered.count_ones() != state.items.count_ones()).then_some(Invariant::WindowWhole)
    }

    fn done(&self, state: &State) -> bool {
        state.delivered == u8::MAX
    }
}
