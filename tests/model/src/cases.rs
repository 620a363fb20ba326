//! What is searched.
#![allow(clippy::too_many_lines, reason = "lists of cases, no logic")]

use crate::invariant::Invariant;
use crate::search::{Model, Outcome, explain, search};

mod garbage;
mod requests;
mod resharding;
mod ring;
mod small;
mod windows;

/// States that the search for one counterexample may visit.
pub const MAX_STATES_WRONG: u64 = 8_000_000;

/// What a case must show.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expect {
    /// No violation.
    Holds,
    /// This invariant breaks.
    Breaks(Invariant),
}

/// One search.
pub struct Case {
    /// The file in `models`.
    pub model: &'static str,
    /// The world, or the rule that is weakened.
    pub name: &'static str,
    /// What it must show.
    pub expect: Expect,
    run: Box<dyn Fn(u64) -> Outcome + Send + Sync>,
}

impl Case {
    /// Runs the search over at most `max_states` states.
    #[must_use]
    pub fn run(&self, max_states: u64) -> Outcome {
        (self.run)(max_states)
    }
}

fn holds<M: Model + Send + 'static>(model: &'static str, name: &'static str, world: M) -> Case {
    Case { model, name, expect: Expect::Holds, run: Box::new(move |max_states| search(&world, max_states)) }
}

fn breaks<M: Model + Send + 'static>(model: &'static str, name: &'static str, invariant: Invariant, world: M) -> Case {
    let expect = Expect::Breaks(invariant);
    Case { model, name, expect, run: Box::new(move |max_states| explain(&world, max_states)) }
}

/// All cases, in the order of the table: small models first.
#[must_use]
pub fn all() -> Vec<Case> {
    [small::cases(), requests::cases(), resharding::cases(), garbage::cases(), windows::cases(), ring::cases()]
        .into_iter()
        .flatten()
        .collect()
}
