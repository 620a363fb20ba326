//! A target that stores the lane's position with the rows: a database with transactions.
//!
//! Three records; batches are cut differently each time. The database keeps aggregates over what one transaction gave
//! it, so that a row that comes in two different cuts counts twice. Two environments work on the lane.

use crate::invariant::Invariant;
use crate::search::{Model, Steps};

/// Records in the source.
const RECORDS: u8 = 4;

/// Commits in a run.
const MAX_N: usize = 5;

/// The rules of this target.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The outbox is committed before the database is touched.
    pub outbox_first: bool,
    /// The commit holds the bytes that it owes, not just the position.
    pub bytes_in_outbox: bool,
    /// The database transaction checks and stores the commit's number.
    pub number_with_rows: bool,
}

impl Rules {
    /// The rules as they are.
    pub const RIGHT: Self = Self { outbox_first: true, bytes_in_outbox: true, number_with_rows: true };
}

/// The model.
#[derive(Clone, Copy, Debug)]
pub struct Transaction {
    /// The rules in force.
    pub rules: Rules,
    /// How often an environment may die.
    pub deaths: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
enum Step {
    Rests,
    /// Has a batch up to this record.
    Has(u8),
    /// Knows the head, and that it is not settled; the batch.
    Owes(u8, u8),
    /// Knows a settled head; the batch.
    Knows(u8, u8),
    /// Wrote to the database first (only if the rule is weakened); the batch.
    Wrote(u8, u8),
}

/// A state of the world.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct State {
    commits: [(u8, u8); MAX_N],
    head: u8,
    /// The database: times that each record counts, and its number or position.
    counted: [u8; RECORDS as usize],
    number: u8,
    checkpoint: u8,
    environments: [Step; 2],
    deaths: u8,
    broken: Option<Invariant>,
}

impl State {
    fn position(&self) -> u8 {
        if self.head == 0 { 0 } else { self.commits[self.head as usize - 1].1 }
    }

    fn count(&mut self, lo: u8, hi: u8) {
        for record in lo..=hi {
            let counted = &mut self.counted[record as usize - 1];
            *counted = (*counted + 1).min(2);
            if *counted > 1 {
                self.broken = Some(Invariant::EffectOnce);
            }
        }
    }
}

impl Model for Transaction {
    type State = State;

    fn initial(&self) -> State {
        State {
            commits: [(0, 0); MAX_N],
            head: 0,
            counted: [0; RECORDS as usize],
            number: 0,
            checkpoint: 0,
            environments: [Step::Rests; 2],
            deaths: self.deaths,
            broken: None,
        }
    }

    fn next(&self, state: &State, steps: &mut Steps<State>) {
        for i in 0..2 {
            let step = state.environments[i];
            if step != Step::Rests && state.deaths > 0 {
                let mut after = *state;
                after.deaths -= 1;
                after.environments[i] = Step::Rests;
                steps.add(after, || format!("environment {i} dies"));
            }
            match step {
                Step::Rests => {
                    for hi in state.checkpoint + 1..=RECORDS {
                        let mut after = *state;
                        after.environments[i] = Step::Has(hi);
                        let lo = state.checkpoint + 1;
                        steps.add(after, || format!("environment {i} gets records {lo} to {hi}"));
                    }
                }
                Step::Has(hi) => {
                    let mut after = *state;
                    let next = if self.rules.outbox_first { Step::Owes } else { Step::Knows };
                    after.environments[i] = next(state.head, hi);
                    steps.add(after, || {
                        format!("environment {i} loads head {}, position {}", state.head, state.position())
                    });
                }
                Step::Owes(head, hi) => self.settle(state, i, head, hi, steps),
                Step::Knows(head, hi) => self.commit(state, i, head, hi, steps),
                Step::Wrote(head, hi) => {
                    let mut after = *state;
                    let lo = state.position() + 1;
                    let fits = head == state.head && (head as usize) < MAX_N;
                    if fits {
                        after.commits[head as usize] = (lo, hi);
                        after.head += 1;
                        after.checkpoint = after.checkpoint.max(hi);
                    }
                    after.environments[i] = Step::Rests;
                    steps
                        .add(after, || format!("environment {i} commits {} in the ring, after the database", head + 1));
                }
            }
        }
    }

    fn violation(&self, state: &State) -> Option<Invariant> {
        let answered = || (0..state.checkpoint as usize).any(|record| state.counted[record] == 0);
        state.broken.or_else(|| answered().then_some(Invariant::NothingLost))
    }

    fn at_rest(&self, state: &State) -> Option<Invariant> {
        (state.checkpoint < RECORDS && (state.head as usize) < MAX_N).then_some(Invariant::Drains)
    }

    fn done(&self, state: &State) -> bool {
        state.checkpoint == RECORDS
    }

    fn canonical(&self, mut state: State) -> State {
        state.environments.sort_unstable();
        state
    }
}

impl Transaction {
    /// The database transaction of the head: rows and number together.
    fn settle(&self, state: &State, i: usize, head: u8, hi: u8, steps: &mut Steps<State>) {
        let mut after = *state;
        let wanted = head > 0 && (state.number < head || !self.rules.number_with_rows);
        if wanted && self.rules.bytes_in_outbox {
            let (lo, hi) = state.commits[head as usize - 1];
            after.count(lo, hi);
            after.number = head;
        }
        after.environments[i] = Step::Knows(head, hi);
        steps.add(after, || match (wanted, self.rules.bytes_in_outbox) {
            (false, _) => format!("environment {i} finds commit {head} in the database"),
            (true, true) => format!("environment {i} writes commit {head} to the database"),
            (true, false) => format!("environment {i} has no bytes of commit {head} to send"),
        });
    }

    fn commit(&self, state: &State, i: usize, head: u8, hi: u8, steps: &mut Steps<State>) {
        let position = if head == 0 { 0 } else { state.commits[head as usize - 1].1 };
        let mut after = *state;
        if position >= hi {
            after.checkpoint = after.checkpoint.max(hi);
            after.environments[i] = Step::Rests;
            steps.add(after, || format!("environment {i} answers: done up to {hi}"));
            return;
        }
        let lo = position + 1;
        if !self.rules.outbox_first {
            // The database decides by position alone.
            if state.number < hi {
                after.count(lo, hi);
                after.number = hi;
            }
            after.environments[i] = Step::Wrote(head, hi);
            steps.add(after, || {
                format!("environment {i} writes records {lo} to {hi} to the database, before its commit")
            });
            return;
        }
        let fits = head == state.head && (head as usize) < MAX_N;
        if fits {
            after.commits[head as usize] = (lo, hi);
            after.head += 1;
        }
        after.environments[i] = match (fits, self.rules.bytes_in_outbox) {
            (true, true) => Step::Owes(head + 1, hi),
            // Without bytes in the commit, this environment alone can write them.
            (true, false) => {
                let mut written = after;
                written.count(lo, hi);
                written.number = head + 1;
                written.environments[i] = Step::Knows(head + 1, hi);
                steps.add(written, || format!("environment {i} commits {} and writes it to the database", head + 1));
                Step::Knows(head + 1, hi)
            }
            (false, _) => Step::Has(hi),
        };
        if !self.rules.bytes_in_outbox && fits {
            if state.deaths > 0 {
                after.deaths -= 1;
                after.environments[i] = Step::Rests;
                steps.add(after, || format!("environment {i} commits {} and dies before the database", head + 1));
            }
            return;
        }
        steps.add(after, || {
            let result = if fits { "" } else { ": refused" };
            format!("environment {i} commits {} with records {lo} to {hi}{result}", head + 1)
        });
    }
}
