//! Rows that are re-keyed through a stream: two upstream lanes, receiving lanes that are split and merged.
//!
//! Each upstream commit has two rows, of two keys. `PutRecords` may throttle some of them, which are sent again; a cold
//! reader may send a whole outbox again. The stream keeps every copy. The receiver drops repeats by what it remembers of
//! each upstream lane.

use crate::invariant::Invariant;
use crate::search::{Model, Steps};

/// Upstream lanes.
const UPSTREAM: usize = 2;

/// Rows of a commit.
const ROWS: u8 = 2;

/// Shards of the stream: one, its two children, and the one they are merged into.
const SHARDS: usize = 4;

/// What a receiving lane remembers of an upstream lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Remembers {
    /// The rule: the last n and the indexes of it seen so far.
    Indexes,
    /// Wrong: the last n; rows of it are repeats.
    NumberClosed,
    /// Wrong: the last n; rows of it are new.
    NumberOpen,
    /// Wrong: the largest (n, index).
    Largest,
}

/// The rules of an exchange.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// What is remembered of each upstream lane.
    pub remembers: Remembers,
    /// It is copied to both children of a split.
    pub copied_at_split: bool,
    /// It is united when lanes are merged. Weakened: one parent's memory is taken.
    pub united_at_merge: bool,
    /// The watermark is the minimum over the upstream lanes.
    pub smallest_watermark: bool,
}

impl Rules {
    /// The rules as they are.
    pub const RIGHT: Self =
        Self { remembers: Remembers::Indexes, copied_at_split: true, united_at_merge: true, smallest_watermark: true };
}

/// The model.
#[derive(Clone, Copy, Debug)]
pub struct Exchange {
    /// The rules in force.
    pub rules: Rules,
    /// Upstream lanes in use.
    pub upstream: usize,
    /// Commits of each upstream lane.
    pub commits: u8,
    /// How often a part of the rows is throttled.
    pub throttles: u8,
    /// How often a whole outbox is sent again.
    pub resends: u8,
    /// How far the stream is resharded: 0 not, 1 split, 2 merged again.
    pub reshards: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Seen {
    n: u8,
    indexes: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Row {
    upstream: u8,
    n: u8,
    index: u8,
}

/// A state of the world.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct State {
    /// The commit that each upstream lane delivers, and the rows of it that are acknowledged.
    upstream: [(u8, u8); UPSTREAM],
    throttles: u8,
    resends: u8,
    stage: u8,
    /// What each shard holds beyond what its lane has read.
    shards: [Vec<Row>; SHARDS],
    lanes: [Option<[Seen; UPSTREAM]>; SHARDS],
    /// Times that each row was folded, by upstream lane.
    folded: [[u8; 8]; UPSTREAM],
    broken: Option<Invariant>,
}

impl Model for Exchange {
    type State = State;

    fn initial(&self) -> State {
        let mut lanes = [None; SHARDS];
        lanes[0] = Some([Seen::default(); UPSTREAM]);
        State {
            upstream: [(1, 0); UPSTREAM],
            throttles: self.throttles,
            resends: self.resends,
            stage: 0,
            shards: Default::default(),
            lanes,
            folded: [[0; 8]; UPSTREAM],
            broken: None,
        }
    }

    fn next(&self, state: &State, steps: &mut Steps<State>) {
        for lane in 0..self.upstream {
            self.send(state, lane, steps);
        }
        if state.stage < self.reshards {
            let mut after = state.clone();
            after.stage += 1;
            steps.add(after, || format!("the stream is {}", if state.stage == 0 { "split" } else { "merged again" }));
        }
        for shard in 0..SHARDS {
            self.receive(state, shard, steps);
            self.inherit(state, shard, steps);
        }
    }

    fn violation(&self, state: &State) -> Option<Invariant> {
        let twice = state.folded.iter().flatten().any(|folded| *folded > 1);
        state.broken.or(twice.then_some(Invariant::FoldedOnce))
    }

    fn at_rest(&self, state: &State) -> Option<Invariant> {
        let rows = (self.commits * ROWS) as usize;
        let all = (0..self.upstream).all(|lane| state.folded[lane][..rows].iter().all(|folded| *folded == 1));
        (!all).then_some(Invariant::NothingLost)
    }

    fn done(&self, state: &State) -> bool {
        self.at_rest(state).is_none()
    }
}

fn listed(rows: u8) -> Vec<u8> {
    (0..ROWS).filter(|index| rows >> index & 1 == 1).collect()
}

impl Exchange {
    fn send(&self, state: &State, lane: usize, steps: &mut Steps<State>) {
        let (n, acked) = state.upstream[lane];
        if n > self.commits {
            return;
        }
        let all = (1 << ROWS) - 1;
        let pending = all & !acked;
        if pending == 0 {
            let mut after = state.clone();
            after.upstream[lane] = (n + 1, 0);
            steps.add(after, || format!("upstream lane {lane} commits {}", n + 1));
            if state.resends > 0 {
                let mut after = state.clone();
                after.resends -= 1;
                after.upstream[lane].1 = 0;
                steps.add(after, || format!("a cold reader of upstream lane {lane} sends outbox {n} again"));
            }
            return;
        }
        for landing in 1..=all {
            let part = landing != pending;
            if landing & !pending != 0 || (part && state.throttles == 0) {
                continue;
            }
            let mut after = state.clone();
            after.throttles -= u8::from(part);
            after.upstream[lane].1 |= landing;
            for index in listed(landing) {
                let shard = [0, 1 + index as usize, 3][state.stage as usize];
                after.shards[shard].push(Row { upstream: lane as u8, n, index });
            }
            steps.add(after, || {
                let rest = if part { "; the rest is throttled" } else { "" };
                format!("upstream lane {lane} puts rows {:?} of commit {n}{rest}", listed(landing))
            });
        }
    }

    fn receive(&self, state: &State, shard: usize, steps: &mut Steps<State>) {
        let (Some(memory), Some(row)) = (state.lanes[shard], state.shards[shard].first()) else { return };
        let seen = memory[row.upstream as usize];
        let bit = 1 << row.index;
        let largest = 8 - seen.indexes.leading_zeros() as u8;
        let new = match self.rules.remembers {
            Remembers::Indexes => row.n > seen.n || row.n == seen.n && seen.indexes & bit == 0,
            Remembers::NumberClosed => row.n > seen.n,
            Remembers::NumberOpen => row.n >= seen.n,
            Remembers::Largest => row.n > seen.n || row.n == seen.n && row.index >= largest,
        };
        let row = *row;
        let mut after = state.clone();
        after.shards[shard].remove(0);
        let of_all = memory[..self.upstream].iter().map(|seen| seen.n);
        let watermark = if self.rules.smallest_watermark { of_all.min() } else { of_all.max() }.unwrap_or(0);
        if new {
            let indexes = if row.n > seen.n { bit } else { seen.indexes | bit };
            let memory = after.lanes[shard].get_or_insert_default();
            memory[row.upstream as usize] = Seen { n: row.n, indexes };
            after.folded[row.upstream as usize][((row.n - 1) * ROWS + row.index) as usize] += 1;
            if row.n < watermark {
                after.broken = Some(Invariant::OnTimeCounts);
            }
        }
        steps.add(after, || {
            let what = if !new {
                "a repeat"
            } else if row.n < watermark {
                "late"
            } else {
                "folded"
            };
            format!(
                "the lane of shard {shard} reads row {} of commit {} of lane {}: {what}",
                row.index, row.n, row.upstream
            )
        });
    }

    /// The lane of a child, when its parents are read to their end.
    fn inherit(&self, state: &State, shard: usize, steps: &mut Steps<State>) {
        let parents: &[usize] = [&[][..], &[0], &[0], &[1, 2]][shard];
        let begun = state.stage as usize > [0, 0, 0, 1][shard] && shard > 0;
        let exhausted = parents.iter().all(|parent| state.lanes[*parent].is_some() && state.shards[*parent].is_empty());
        if state.lanes[shard].is_some() || !begun || !exhausted {
            return;
        }
        let mut memory = [Seen::default(); UPSTREAM];
        for parent in parents.iter().filter_map(|parent| state.lanes[*parent]) {
            for (all, one) in memory.iter_mut().zip(parent) {
                *all = match one.n.cmp(&all.n) {
                    std::cmp::Ordering::Greater => one,
                    std::cmp::Ordering::Equal if self.rules.united_at_merge => {
                        Seen { n: one.n, indexes: all.indexes | one.indexes }
                    }
                    _ => *all,
                };
            }
        }
        if shard < 3 && !self.rules.copied_at_split {
            // Only the first child gets it.
            memory = if shard == 1 { memory } else { [Seen::default(); UPSTREAM] };
        }
        let mut after = state.clone();
        after.lanes[shard] = Some(memory);
        steps.add(after, || format!("lanes {parents:?} are read to their end: the lane of shard {shard} begins"));
    }
}
