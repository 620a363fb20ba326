//! Shards are split and merged while lanes hold keyed state and an open window.
//!
//! Rows have one of two keys. Each lane drops keys that it knows (dedup state), and counts rows per key in one window.
//! A lane's watermark may pass the window's end at any moment. Lane-local windows are emitted by the lane, and their groups
//! go to the child that takes their key; windows over lanes are emitted by the close lane from items. Two environments
//! may carry out the same resharding.
//!
//! A lane's own commits are taken as atomic: the model `ring` is about those.

use crate::invariant::Invariant;
use crate::search::{Model, Steps};

/// Shards at most.
const SHARDS: usize = 5;

/// Keys.
const KEYS: usize = 2;

/// The rules of resharding.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// One transaction creates all children. Weakened: each child at its first batch.
    pub all_children_at_once: bool,
    /// That transaction seals the parents.
    pub parents_are_sealed: bool,
    /// It is on condition that the parents' slots are as they were read.
    pub parents_unchanged: bool,
    /// Every parent is read to its end first.
    pub parents_exhausted: bool,
    /// Every parent's outbox is settled first.
    pub parents_settled: bool,
    /// A parent without a lane is resharded from its own parents first.
    pub ancestors_first: bool,
    /// Dedup state goes to all children. Weakened: by a hash of our own.
    pub dedup_to_all: bool,
    /// Window partials over lanes go to exactly one child.
    pub partials_to_one: bool,
    /// A group of a lane-local window goes to the child that takes its key. Weakened: where partials over lanes go.
    pub groups_by_key: bool,
    /// A child's watermark is the largest of its parents'. Weakened: the smallest.
    pub largest_watermark: bool,
    /// A finished shard with children is sealed by the resharding alone. Weakened: by the tick, for good.
    pub finished_by_resharding: bool,
    /// The lane of a shard with parents is created by the resharding alone. Weakened: when a closer finds it idle.
    pub children_by_resharding: bool,
    /// The closer merges the items of sealed lanes too.
    pub merges_sealed_lanes: bool,
}

impl Rules {
    /// The rules as they are.
    pub const RIGHT: Self = Self {
        all_children_at_once: true,
        parents_are_sealed: true,
        parents_unchanged: true,
        parents_exhausted: true,
        parents_settled: true,
        ancestors_first: true,
        dedup_to_all: true,
        partials_to_one: true,
        groups_by_key: true,
        largest_watermark: true,
        finished_by_resharding: true,
        children_by_resharding: true,
        merges_sealed_lanes: true,
    };
}

/// A shard of the source: a bit per parent, and the keys of its records in their order.
#[derive(Clone, Copy, Debug)]
pub struct Shard {
    /// A bit per parent; 0 for a shard from the start.
    pub parents: u8,
    /// The keys of its records.
    pub keys: &'static [u8],
}

/// The model.
#[derive(Clone, Copy, Debug)]
pub struct Resharding {
    /// The rules in force.
    pub rules: Rules,
    /// The shards, parents first.
    pub shards: &'static [Shard],
    /// Whether the window is lane-local.
    pub local: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
enum Item {
    None,
    Owed,
    Delivered,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
struct Lane {
    exists: bool,
    sealed: bool,
    n: u8,
    position: u8,
    /// Keys known, a bit each.
    dedup: u8,
    /// Rows of the open window per key.
    open: [u8; KEYS],
    /// Keys whose row the outbox owes, a bit each.
    owes: u8,
    /// The item of the window, and its rows.
    item: Item,
    rows: [u8; KEYS],
    /// The watermark has passed the window's end.
    passed: bool,
    /// Its window closes through the close lane.
    meets: bool,
}

impl Lane {
    const NONE: Self = Self {
        exists: false,
        sealed: false,
        n: 0,
        position: 0,
        dedup: 0,
        open: [0; KEYS],
        owes: 0,
        item: Item::None,
        rows: [0; KEYS],
        passed: false,
        meets: false,
    };

    fn settled(&self) -> bool {
        self.owes == 0 && self.item != Item::Owed
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
enum Resharder {
    Rests,
    /// Will create `child`; knows its parents as they were.
    Loaded {
        child: u8,
        parents: [Lane; 2],
    },
}

/// A state of the world.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct State {
    lanes: [Lane; SHARDS],
    resharders: [Resharder; 2],
    /// Rows that passed the dedup, and their effects, per key.
    folded: [u8; KEYS],
    effects: [u8; KEYS],
    /// The window, per key: rows counted into it, late rows, results, and how often a result was emitted.
    counted: [u8; KEYS],
    late: [u8; KEYS],
    result: [u8; KEYS],
    emitted: [u8; KEYS],
    closed: bool,
    broken: Option<Invariant>,
}

impl State {
    fn emit(&mut self, rows: [u8; KEYS]) {
        for key in (0..KEYS).filter(|key| rows[*key] > 0) {
            self.result[key] += rows[key];
            self.emitted[key] += 1;
            if self.emitted[key] > 1 {
                self.broken = self.broken.or(Some(Invariant::WindowOnce));
            }
        }
    }

    fn deliver(&mut self, i: usize) {
        let lane = &mut self.lanes[i];
        if lane.item == Item::Owed {
            lane.item = Item::Delivered;
        }
        let owes = std::mem::take(&mut lane.owes);
        for key in (0..KEYS).filter(|key| owes >> key & 1 == 1) {
            self.effects[key] += 1;
        }
    }
}

impl Model for Resharding {
    type State = State;

    fn initial(&self) -> State {
        let mut lanes = [Lane::NONE; SHARDS];
        for (lane, shard) in lanes.iter_mut().zip(self.shards) {
            lane.exists = shard.parents == 0;
            lane.meets = !self.local && lane.exists;
        }
        State {
            lanes,
            resharders: [Resharder::Rests; 2],
            folded: [0; KEYS],
            effects: [0; KEYS],
            counted: [0; KEYS],
            late: [0; KEYS],
            result: [0; KEYS],
            emitted: [0; KEYS],
            closed: false,
            broken: None,
        }
    }

    fn next(&self, state: &State, steps: &mut Steps<State>) {
        for i in 0..self.shards.len() {
            self.lane(state, i, steps);
            self.wrong_seals(state, i, steps);
        }
        self.close(state, steps);
        for r in 0..state.resharders.len() {
            self.reshard(state, r, steps);
        }
    }

    fn violation(&self, state: &State) -> Option<Invariant> {
        let over = |counts: &[u8; KEYS]| counts.iter().any(|count| *count > 1);
        match state.broken {
            None if over(&state.folded) => Some(Invariant::FoldedOnce),
            None if over(&state.effects) => Some(Invariant::EffectOnce),
            broken => broken,
        }
    }

    fn at_rest(&self, state: &State) -> Option<Invariant> {
        let unread = (0..self.shards.len()).any(|i| (state.lanes[i].position as usize) < self.shards[i].keys.len());
        let all = |key: usize| {
            self.shards.iter().flat_map(|shard| shard.keys).filter(|other| **other as usize == key).count()
        };
        if unread || state.effects.iter().any(|effects| *effects != 1) {
            return Some(Invariant::NothingLost);
        }
        let whole = (0..KEYS).all(|key| (state.result[key] + state.late[key]) as usize == all(key));
        (!whole).then_some(Invariant::OneOutcome)
    }

    fn done(&self, state: &State) -> bool {
        let read = (0..self.shards.len()).all(|i| state.lanes[i].position as usize == self.shards[i].keys.len());
        read && state.effects == [1; KEYS] && state.result.iter().any(|result| *result > 0)
    }

    fn canonical(&self, mut state: State) -> State {
        state.resharders.sort_unstable();
        state
    }
}

impl Resharding {
    fn lane(&self, state: &State, i: usize, steps: &mut Steps<State>) {
        let lane = state.lanes[i];
        if !lane.exists || lane.sealed {
            return;
        }
        if !lane.settled() {
            let mut after = *state;
            after.deliver(i);
            steps.add(after, || format!("lane {i} delivers what commit {} owes", lane.n));
            return;
        }
        if let Some(key) = self.shards[i].keys.get(lane.position as usize) {
            let key = *key as usize;
            let mut after = *state;
            let next = &mut after.lanes[i];
            next.n += 1;
            next.position += 1;
            let known = lane.dedup >> key & 1 == 1;
            next.dedup |= 1 << key;
            if !known {
                next.owes |= 1 << key;
                after.folded[key] += 1;
            }
            if lane.passed {
                after.late[key] += 1;
            } else {
                after.lanes[i].open[key] += 1;
                after.counted[key] += 1;
            }
            steps.add(after, || {
                let repeat = if known { "a repeat" } else { "new" };
                let late = if lane.passed { ", late for the window" } else { "" };
                format!("lane {i} commits a row of key {key}: {repeat}{late}")
            });
        }
        if !lane.passed {
            let mut after = *state;
            self.pass(&mut after, i);
            after.lanes[i].n += 1;
            steps
                .add(after, || format!("the watermark of lane {i} passes the window's end; its rows: {:?}", lane.open));
        }
    }

    /// The window ends for lane `i`: an item for the closer, or the result itself.
    fn pass(&self, after: &mut State, i: usize) {
        let lane = &mut after.lanes[i];
        lane.passed = true;
        let rows = std::mem::take(&mut lane.open);
        if lane.meets {
            lane.item = Item::Owed;
            lane.rows = rows;
        } else {
            after.emit(rows);
        }
    }

    fn close(&self, state: &State, steps: &mut Steps<State>) {
        let lanes = || state.lanes.iter().filter(|lane| lane.exists);
        let mut active = lanes().filter(|lane| !lane.sealed && lane.meets).peekable();
        if state.closed || active.peek().is_none() || !active.all(|lane| lane.item == Item::Delivered) {
            return;
        }
        let merged =
            lanes().filter(|lane| lane.item == Item::Delivered && (!lane.sealed || self.rules.merges_sealed_lanes));
        let mut rows = [0; KEYS];
        for lane in merged {
            (0..KEYS).for_each(|key| rows[key] += lane.rows[key]);
        }
        let mut after = *state;
        after.closed = true;
        after.emit(rows);
        // Rows of lanes that emitted their window themselves are in `result` already.
        let rest = (0..KEYS).any(|key| after.result[key] != after.counted[key]);
        let open = lanes().any(|lane| lane.exists && !lane.sealed && !lane.passed);
        if rest && !open {
            after.broken = after.broken.or(Some(Invariant::WindowWhole));
        }
        steps.add(after, || format!("the closer has all items and emits {rows:?}"));
    }

    /// What the weakened rules allow.
    fn wrong_seals(&self, state: &State, i: usize, steps: &mut Steps<State>) {
        let lane = state.lanes[i];
        let parents = self.shards[i].parents;
        let exhausted = lane.position as usize == self.shards[i].keys.len();
        let has_children = self.shards.iter().any(|shard| shard.parents >> i & 1 == 1);
        if !self.rules.finished_by_resharding
            && (lane.exists && !lane.sealed && exhausted && has_children && lane.settled() && !lane.passed)
        {
            let mut after = *state;
            let sealed = &mut after.lanes[i];
            sealed.sealed = true;
            sealed.n += 1;
            sealed.item = Item::Delivered;
            sealed.rows = lane.open;
            steps.add(after, || format!("the tick seals the finished shard {i} for good; its item: {:?}", lane.open));
        }
        if !self.rules.children_by_resharding && parents != 0 && !lane.exists {
            let mut after = *state;
            after.lanes[i] = Lane { exists: true, n: 1, meets: !self.local, ..Lane::NONE };
            steps.add(after, || format!("a closer finds shard {i} empty and seals it, which creates its lane"));
        }
    }

    fn parents(&self, child: usize) -> Vec<usize> {
        (0..SHARDS).filter(|i| self.shards[child].parents >> i & 1 == 1).collect()
    }

    fn reshard(&self, state: &State, r: usize, steps: &mut Steps<State>) {
        let Resharder::Loaded { child, parents } = state.resharders[r] else {
            for child in (0..self.shards.len()).filter(|i| self.shards[*i].parents != 0) {
                self.begin(state, r, child, steps);
            }
            return;
        };
        let child = child as usize;
        let known = self.parents(child);
        let owes = known.iter().any(|i| !state.lanes[*i].settled() && !state.lanes[*i].sealed);
        if owes && self.rules.parents_settled {
            let mut after = *state;
            known.iter().filter(|i| !state.lanes[**i].sealed).for_each(|i| after.deliver(*i));
            steps.add(after, || format!("resharder {r} settles what {known:?} owe"));
            return;
        }
        let mut after = *state;
        after.resharders[r] = Resharder::Rests;
        let same = known.iter().zip(parents).all(|(i, then)| state.lanes[*i].n == then.n);
        let first = !state.lanes[child].exists;
        if first && (same || !self.rules.parents_unchanged) {
            self.create(&mut after, child, &known, parents);
            steps.add(after, || {
                let made: Vec<usize> =
                    (0..SHARDS).filter(|i| after.lanes[*i].exists && !state.lanes[*i].exists).collect();
                let sealed = if self.rules.parents_are_sealed { "seals" } else { "leaves" };
                format!("resharder {r}: one transaction {sealed} lanes {known:?} and creates lanes {made:?}")
            });
        } else {
            steps.add(after, || format!("the transaction of resharder {r} is refused"));
        }
    }

    fn begin(&self, state: &State, r: usize, child: usize, steps: &mut Steps<State>) {
        if state.lanes[child].exists {
            return;
        }
        let known = self.parents(child);
        let mut after = *state;
        if !known.iter().all(|i| state.lanes[*i].exists) {
            let any = known.iter().any(|i| state.lanes[*i].exists);
            if !self.rules.ancestors_first && !any && !self.shards[child].keys.is_empty() {
                after.lanes[child] = Lane { exists: true, meets: !self.local, ..Lane::NONE };
                steps.add(after, || format!("resharder {r} finds no lane of {known:?}: shard {child} begins afresh"));
            }
            return;
        }
        let exhausted = known.iter().all(|i| state.lanes[*i].position as usize == self.shards[*i].keys.len());
        let open = known.iter().all(|i| !state.lanes[*i].sealed);
        let step_by_step = !self.rules.all_children_at_once || !self.rules.finished_by_resharding;
        if (exhausted || !self.rules.parents_exhausted) && (open || step_by_step) {
            let mut parents = [Lane::NONE; 2];
            known.iter().zip(&mut parents).for_each(|(i, parent)| *parent = state.lanes[*i]);
            after.resharders[r] = Resharder::Loaded { child: child as u8, parents };
            steps.add(after, || format!("resharder {r} has records of shard {child}, loads lanes {known:?}"));
        }
    }

    /// The one of several shards that rows of `key` come to, or to what continues it.
    fn owner(&self, shards: &[usize], key: usize) -> usize {
        let has = |shard: usize| self.shards[shard].keys.iter().any(|other| *other as usize == key);
        let heirs = |shard: usize| (0..self.shards.len()).filter(move |i| self.shards[*i].parents >> shard & 1 == 1);
        let own = shards.iter().find(|shard| has(**shard));
        *own.or_else(|| shards.iter().find(|shard| heirs(**shard).any(has))).unwrap_or(&shards[0])
    }

    /// The transaction: parents sealed, children with the inherited state.
    fn create(&self, after: &mut State, child: usize, known: &[usize], parents: [Lane; 2]) {
        let parents = &parents[..known.len()];
        if self.rules.parents_are_sealed {
            for i in known {
                let parent = &mut after.lanes[*i];
                parent.sealed = true;
                parent.n += 1;
                parent.owes = 0;
                if parent.item == Item::Owed {
                    parent.item = Item::None;
                }
            }
        }
        let siblings: Vec<usize> =
            (0..self.shards.len()).filter(|i| self.shards[*i].parents == self.shards[child].parents).collect();
        let passed = if self.rules.largest_watermark {
            parents.iter().any(|parent| parent.passed)
        } else {
            parents.iter().all(|parent| parent.passed)
        };
        let splits = siblings.len() > 1;
        let mut open = [0; KEYS];
        for parent in parents {
            (0..KEYS).for_each(|key| open[key] += parent.open[key]);
        }
        let dedup = parents.iter().fold(0, |all, parent| all | parent.dedup);
        let owners: [usize; KEYS] = std::array::from_fn(|key| self.owner(&siblings, key));
        for (place, i) in siblings.into_iter().enumerate() {
            if !self.rules.all_children_at_once && i != child {
                continue;
            }
            let by_key = self.local && splits && self.rules.groups_by_key;
            let keep = |key: usize| match (self.rules.all_children_at_once, self.rules.partials_to_one) {
                (true, _) if by_key => owners[key] == i,
                // Each child on its own: what the source routes to it.
                (false, _) => key == place,
                (true, true) => place == 0,
                (true, false) => true,
            };
            after.lanes[i] = Lane {
                exists: true,
                n: parents.iter().map(|parent| parent.n).max().unwrap_or(0) + 1,
                // A hash of our own sends key 0 to the second child, the source sends it to the first.
                dedup: if self.rules.dedup_to_all || !splits { dedup } else { dedup & (0b10 >> place) },
                open: std::array::from_fn(|key| if keep(key) { open[key] } else { 0 }),
                meets: !self.local,
                ..Lane::NONE
            };
            if passed {
                self.pass(after, i);
            }
        }
    }
}
