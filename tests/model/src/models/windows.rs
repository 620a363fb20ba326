//! Windows over several lanes: registration, seals, idle lanes, the close lane, the closed floor.
//!
//! Two windows: W0 ends at time 1, W1 at time 2. A record has the time 0 (in W0), 1 (in W1) or 2 (after both); its
//! lane's watermark is the largest time seen. Partitions 0 and 1 exist from the start, partition 2 may be added at any
//! time. Two closers work side by side. A lane's commits are taken as atomic: the model `ring` is about those.
//!
//! A lane whose watermark moves seals what ended: the partial rows leave as an item, and after them "sealed through T".
//! A closer reads the registry, lists the source, reads the items lane by lane, and commits the results of the windows
//! that every active lane has sealed, together with the closed floor.

mod closer;

use crate::invariant::Invariant;
use crate::search::{Model, Steps};

/// Partitions of the source.
pub const LANES: usize = 3;

/// Windows; window w ends at time w + 1.
const WINDOWS: usize = 2;

/// Records of one partition at most.
pub const RECORDS: usize = 3;

/// The rules of windows over lanes.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The closer lists the source: a partition with records that has no lane yet keeps windows open.
    pub lists_the_source: bool,
    /// Proof of sealing is the item "sealed through T", not the watermark in the lane's head.
    pub proof_is_the_item: bool,
    /// "Sealed through T" leaves when all partial items of the outbox are acknowledged.
    pub through_leaves_last: bool,
    /// A sealed partial never changes: later rows of its window are late.
    pub seals_never_change: bool,
    /// Idle means that the source was asked and has nothing beyond the committed position.
    pub idle_asks_the_source: bool,
    /// A lane with an unsettled head is not idle.
    pub unsettled_is_not_idle: bool,
    /// An idle lane is sealed through its own ring.
    pub idle_through_own_ring: bool,
    /// Result and closed floor are one transaction.
    pub floor_with_the_close: bool,
    /// The close is on condition that the registry's version is unchanged.
    pub close_checks_version: bool,
    /// Moving the floor raises the registry's version.
    pub floor_raises_version: bool,
    /// Registration is on condition of the version whose floor it copies.
    pub registration_checks_version: bool,
    /// The closer merges the windows above the floor only.
    pub merges_above_the_floor: bool,
    /// The minimum over no active lane is "no progress".
    pub no_lane_no_progress: bool,
    /// Garbage: a seal is deleted only when all its windows are closed.
    pub unclosed_seals_stay: bool,
    /// Garbage: the newest seal of a lane is never deleted.
    pub newest_seal_stays: bool,
}

impl Rules {
    /// The rules as they are.
    pub const RIGHT: Self = Self {
        lists_the_source: true,
        proof_is_the_item: true,
        through_leaves_last: true,
        seals_never_change: true,
        idle_asks_the_source: true,
        unsettled_is_not_idle: true,
        idle_through_own_ring: true,
        floor_with_the_close: true,
        close_checks_version: true,
        floor_raises_version: true,
        registration_checks_version: true,
        merges_above_the_floor: true,
        no_lane_no_progress: true,
        unclosed_seals_stay: true,
        newest_seal_stays: true,
    };
}

/// The model: rules, and what the partitions hold.
#[derive(Clone, Copy, Debug)]
pub struct Windows {
    /// The rules in force.
    pub rules: Rules,
    /// The times of each partition's records, in their order.
    pub times: [&'static [u8]; LANES],
    /// How many of them are there from the start; the others come at any time.
    pub ready: [u8; LANES],
    /// Partitions that exist from the start; the others are added at any time.
    pub exists: u8,
    /// Closers at work.
    pub closers: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
struct Seal {
    rows: [u8; WINDOWS],
    through: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
struct Lane {
    registered: bool,
    /// Version and floor, read before the registration.
    registry_read: Option<(u8, u8)>,
    position: u8,
    produced: u8,
    watermark: u8,
    /// The part of the watermark that is its own: by its records, or by silence when the source was asked.
    own: u8,
    open: [u8; WINDOWS],
    /// Rows ever folded, sealed or not.
    folded: [u8; WINDOWS],
    late: [u8; WINDOWS],
    /// What its head owes: a seal; whether its rows, and its "through", are delivered.
    outbox: Option<(Seal, bool, bool)>,
    /// Delivered items.
    seals: [Option<Seal>; WINDOWS],
    count: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
enum Step {
    Rests,
    /// Has read the close lane's number and the registry.
    HasRegistry,
    /// Has listed the source; reads the items of lane `u8`.
    Reads(u8),
    /// Asked the source about a lane.
    Asked(Asked),
    /// Committed; the floor is not moved yet (only if the rule is weakened).
    OwesFloor(u8),
}

/// A lane as it was when the source was asked about it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
struct Asked {
    lane: u8,
    registered: bool,
    position: u8,
    watermark: u8,
    /// Whether the source had nothing beyond the position. Always so unless the rule is weakened.
    nothing_waits: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
struct Closer {
    step: Step,
    closes: u8,
    version: u8,
    registered: u8,
    floor: u8,
    listed: u8,
    /// What the source held when it was listed, to judge the close by.
    held: [u8; LANES],
    /// Through and rows, as read; `excluded` lanes count as idle without a seal (only if the rule is weakened).
    through: [u8; LANES],
    rows: [[u8; WINDOWS]; LANES],
    excluded: u8,
}

impl Closer {
    const RESTS: Self = Self {
        step: Step::Rests,
        closes: 0,
        version: 0,
        registered: 0,
        floor: 0,
        listed: 0,
        held: [0; LANES],
        through: [0; LANES],
        rows: [[0; WINDOWS]; LANES],
        excluded: 0,
    };
}

/// A state of the world.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct State {
    exists: u8,
    lanes: [Lane; LANES],
    version: u8,
    floor: u8,
    /// Commits of the close lane.
    closes: u8,
    results: [Option<u8>; WINDOWS],
    closers: [Closer; 2],
    broken: Option<Invariant>,
}

impl State {
    fn registered(&self) -> u8 {
        (0..LANES).filter(|i| self.lanes[*i].registered).fold(0, |all, i| all | 1 << i)
    }

    fn break_with(&mut self, invariant: Invariant) {
        self.broken = self.broken.or(Some(invariant));
    }
}

impl Model for Windows {
    type State = State;

    fn initial(&self) -> State {
        let mut lanes = [Lane::default(); LANES];
        for (lane, ready) in lanes.iter_mut().zip(self.ready) {
            lane.produced = ready;
        }
        State {
            exists: self.exists,
            lanes,
            version: 0,
            floor: 0,
            closes: 0,
            results: [None; WINDOWS],
            closers: [Closer::RESTS; 2],
            broken: None,
        }
    }

    fn next(&self, state: &State, steps: &mut Steps<State>) {
        for i in 0..LANES {
            self.partition(state, i, steps);
            if state.exists >> i & 1 == 1 {
                self.lane(state, i, steps);
                self.deliver(state, i, steps);
                self.garbage(state, i, steps);
            }
        }
        for c in 0..self.closers {
            self.closer(state, c, steps);
        }
    }

    fn violation(&self, state: &State) -> Option<Invariant> {
        state.broken.or_else(|| self.is_stuck(state).then_some(Invariant::Drains))
    }

    fn at_rest(&self, state: &State) -> Option<Invariant> {
        for window in 0..WINDOWS {
            let Some(result) = state.results[window] else { return Some(Invariant::Drains) };
            let late: u8 = state.lanes.iter().map(|lane| lane.late[window]).sum();
            let produced = self.times.iter().flat_map(|times| times.iter()).filter(|time| **time as usize == window);
            if (result + late) as usize != produced.count() {
                return Some(Invariant::OneOutcome);
            }
        }
        None
    }

    fn done(&self, state: &State) -> bool {
        state.results.iter().all(Option::is_some)
    }

    fn canonical(&self, mut state: State) -> State {
        if self.closers == 2 && state.closers[1] < state.closers[0] {
            state.closers.swap(0, 1);
        }
        state
    }
}

impl Windows {
    /// All lanes are through with everything, windows are open, and no closer could do anything about it.
    fn is_stuck(&self, state: &State) -> bool {
        let through = |lane: &Lane| lane.seals.iter().flatten().map(|seal| seal.through).max().unwrap_or(0);
        let quiet = (0..LANES).all(|i| {
            let lane = &state.lanes[i];
            lane.position as usize == self.times[i].len() && lane.outbox.is_none()
        });
        let goal = state.lanes.iter().map(|lane| lane.watermark).max().unwrap_or(0);
        let open = (state.floor as usize) < WINDOWS && goal > state.floor;
        let owes_floor = state.closers.iter().any(|closer| matches!(closer.step, Step::OwesFloor(_)));
        let listed = || (0..LANES).filter(|i| state.exists >> i & 1 == 1).map(|i| &state.lanes[i]);
        let may_close = listed().all(|lane| lane.registered && through(lane) > state.floor);
        let may_seal = listed().any(|lane| !lane.registered || lane.watermark < goal);
        quiet && open && !owes_floor && !may_close && !may_seal
    }

    fn partition(&self, state: &State, i: usize, steps: &mut Steps<State>) {
        if state.exists >> i & 1 == 0 {
            let mut after = *state;
            after.exists |= 1 << i;
            steps.add(after, || format!("partition {i} is added to the source"));
        } else if (state.lanes[i].produced as usize) < self.times[i].len() {
            let mut after = *state;
            after.lanes[i].produced += 1;
            let time = self.times[i][state.lanes[i].produced as usize];
            steps.add(after, || format!("partition {i} gets a record of time {time}"));
        }
    }

    /// The lane's own work: registration, then one record per commit.
    fn lane(&self, state: &State, i: usize, steps: &mut Steps<State>) {
        let lane = &state.lanes[i];
        if lane.position == lane.produced {
            return;
        }
        if !lane.registered {
            let mut after = *state;
            if let Some(read) = lane.registry_read {
                let registered = self.register(&mut after, i, read);
                steps.add(after, || {
                    let result = if registered { "" } else { ": refused, the registry changed" };
                    format!("lane {i} registers; closed for it is what ends by {}{result}", read.1)
                });
            } else {
                after.lanes[i].registry_read = Some((state.version, state.floor));
                steps.add(after, || format!("lane {i} reads the registry: floor {}", state.floor));
            }
            return;
        }
        if lane.outbox.is_some() {
            return;
        }
        let mut after = *state;
        let time = self.times[i][lane.position as usize];
        let ended = time < lane.watermark;
        let next = &mut after.lanes[i];
        next.position += 1;
        next.own = next.own.max(time);
        if (time as usize) < WINDOWS {
            let window = time as usize;
            if !ended {
                next.open[window] += 1;
                next.folded[window] += 1;
            } else if self.rules.seals_never_change {
                next.late[window] += 1;
            } else {
                // Into the partial of a window that is sealed already.
                next.folded[window] += 1;
                let seal = next.seals.iter_mut().flatten().find(|seal| seal.through > time);
                if let Some(seal) = seal {
                    seal.rows[window] += 1;
                }
            }
        }
        self.advance(next, time);
        steps.add(after, || {
            let counts = if ended { "late" } else { "folded" };
            format!("lane {i} commits its record of time {time}: {counts}")
        });
    }

    fn register(&self, after: &mut State, i: usize, (version, floor): (u8, u8)) -> bool {
        after.lanes[i].registry_read = None;
        let unchanged = version == after.version || !self.rules.registration_checks_version;
        if unchanged {
            after.lanes[i].registered = true;
            after.lanes[i].watermark = floor;
            after.version += 1;
        }
        unchanged
    }

    /// The watermark moves: what ended is sealed in the same commit.
    fn advance(&self, lane: &mut Lane, time: u8) {
        if time > lane.watermark {
            let mut seal = Seal { rows: [0; WINDOWS], through: time };
            for window in 0..time as usize {
                seal.rows[window] = std::mem::take(&mut lane.open[window]);
            }
            lane.watermark = time;
            lane.outbox = Some((seal, false, false));
        }
    }

    /// The seal leaves as items: rows, then "through".
    fn deliver(&self, state: &State, i: usize, steps: &mut Steps<State>) {
        let Some((seal, rows, through)) = state.lanes[i].outbox else { return };
        if !rows {
            let mut after = *state;
            let lane = &mut after.lanes[i];
            item(lane).rows = seal.rows;
            settle(lane, seal, true, through);
            steps.add(after, || format!("lane {i} delivers its partials {:?} as an item", seal.rows));
        }
        if !through && (rows || !self.rules.through_leaves_last) {
            let mut after = *state;
            let lane = &mut after.lanes[i];
            item(lane).through = seal.through;
            settle(lane, seal, rows, true);
            steps.add(after, || format!("lane {i} delivers 'sealed through {}'", seal.through));
        }
    }

    /// The tick deletes seals that nobody needs.
    fn garbage(&self, state: &State, i: usize, steps: &mut Steps<State>) {
        let lane = &state.lanes[i];
        if lane.outbox.is_some() {
            return;
        }
        let newest = lane.seals.iter().flatten().map(|seal| seal.through).max().unwrap_or(0);
        for at in 0..WINDOWS {
            let Some(seal) = lane.seals[at] else { continue };
            let latest_end =
                (0..WINDOWS).rev().find(|window| seal.rows[*window] > 0).map_or(0, |window| window as u8 + 1);
            let closed = latest_end <= state.floor || !self.rules.unclosed_seals_stay;
            let older = seal.through < newest || !self.rules.newest_seal_stays;
            if closed && older {
                let mut after = *state;
                after.lanes[i].seals[at] = None;
                steps.add(after, || {
                    format!("the tick deletes lane {i}'s seal {:?} through {}", seal.rows, seal.through)
                });
            }
        }
    }
}

fn lanes(mask: u8) -> Vec<usize> {
    (0..LANES).filter(|i| mask >> i & 1 == 1).collect()
}

/// The item that the lane's outbox is being written to.
fn item(lane: &mut Lane) -> &mut Seal {
    lane.seals[lane.count as usize].get_or_insert_default()
}

/// Notes what of the outbox is delivered; an outbox that is delivered in full is settled.
fn settle(lane: &mut Lane, seal: Seal, rows: bool, through: bool) {
    if rows && through {
        lane.outbox = None;
        lane.count += 1;
    } else {
        lane.outbox = Some((seal, rows, through));
    }
}
