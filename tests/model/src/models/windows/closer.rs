//! What a closer does, step by step.

use super::{Asked, Closer, LANES, Lane, State, Step, WINDOWS, Windows, lanes};
use crate::invariant::Invariant;
use crate::search::Steps;

impl Windows {
    /// Every step that closer `c` may take.
    pub(super) fn closer(&self, state: &State, c: usize, steps: &mut Steps<State>) {
        let closer = state.closers[c];
        match closer.step {
            Step::Rests => {
                if (state.floor as usize) < WINDOWS {
                    let mut after = *state;
                    after.closers[c] = Closer {
                        step: Step::HasRegistry,
                        closes: state.closes,
                        version: state.version,
                        registered: state.registered(),
                        floor: state.floor,
                        ..Closer::RESTS
                    };
                    steps.add(after, || {
                        format!(
                            "closer {c} reads the registry: lanes {:?}, floor {}",
                            lanes(state.registered()),
                            state.floor
                        )
                    });
                }
            }
            Step::HasRegistry => {
                let mut after = *state;
                let listed = if self.rules.lists_the_source { state.exists } else { closer.registered };
                let held =
                    std::array::from_fn(|i| if state.exists >> i & 1 == 1 { state.lanes[i].produced } else { 0 });
                after.closers[c] = Closer { step: Step::Reads(0), listed, held, ..closer };
                steps.add(after, || format!("closer {c} lists the source: partitions {:?}", lanes(listed)));
            }
            Step::Reads(at) if at as usize == LANES => self.close(state, c, steps),
            Step::Reads(at) => self.read(state, c, at, steps),
            Step::Asked(asked) => self.seal_idle(state, c, asked, steps),
            Step::OwesFloor(floor) => {
                let mut after = *state;
                after.closers[c] = Closer::RESTS;
                after.floor = floor;
                after.version += 1;
                steps.add(after, || format!("closer {c} moves the closed floor to {floor}, a second write"));
            }
        }
    }

    /// Reads one lane's items, or finds out that it is idle.
    fn read(&self, state: &State, c: usize, at: u8, steps: &mut Steps<State>) {
        let closer = state.closers[c];
        let i = at as usize;
        let next = Step::Reads(at + 1);
        let lane = &state.lanes[i];
        if (closer.listed | closer.registered) >> i & 1 == 0 {
            let mut after = *state;
            after.closers[c].step = next;
            steps.add(after, || format!("closer {c} passes over lane {i}, which nobody knows"));
            return;
        }
        let registered = closer.registered >> i & 1 == 1;
        if !registered {
            let mut after = *state;
            after.closers[c] = Closer::RESTS;
            steps.add(after, || format!("closer {c} stops: partition {i} has no lane yet"));
        }
        let of_items = lane.seals.iter().flatten().map(|seal| seal.through).max().unwrap_or(0);
        let through = if self.rules.proof_is_the_item { of_items } else { lane.watermark }.max(closer.floor);
        if registered {
            let mut after = *state;
            let mut rows = [0; WINDOWS];
            for seal in lane.seals.iter().flatten() {
                for (window, sum) in rows.iter_mut().enumerate() {
                    *sum += seal.rows[window];
                }
            }
            after.closers[c].step = next;
            after.closers[c].through[i] = through;
            after.closers[c].rows[i] = rows;
            steps.add(after, || format!("closer {c} reads the items of lane {i}: {rows:?}, sealed through {through}"));
        }
        let goal = state.lanes.iter().filter(|lane| lane.registered).map(|lane| lane.watermark).max().unwrap_or(0);
        let empty = lane.position == lane.produced || !self.rules.idle_asks_the_source;
        let settled = lane.outbox.is_none() || !self.rules.unsettled_is_not_idle;
        let behind = lane.watermark < goal || !lane.registered;
        if !(empty && settled && behind && state.exists >> i & 1 == 1) {
            return;
        }
        let mut after = *state;
        if self.rules.idle_through_own_ring {
            let Lane { registered, position, watermark, .. } = *lane;
            let nothing_waits = lane.position == lane.produced;
            after.closers[c].step = Step::Asked(Asked { lane: at, registered, position, watermark, nothing_waits });
            steps.add(after, || {
                let (position, waiting) = (lane.position, lane.produced - lane.position);
                format!(
                    "closer {c} finds lane {i} idle at position {position}; records waiting in its source: {waiting}"
                )
            });
        } else if registered {
            after.closers[c].step = next;
            after.closers[c].excluded |= 1 << i;
            steps.add(after, || format!("closer {c} finds lane {i} idle and leaves it out"));
        }
    }

    /// Seals an idle lane through the lane's own ring, which registers a lane that is only listed.
    fn seal_idle(&self, state: &State, c: usize, asked: Asked, steps: &mut Steps<State>) {
        let i = asked.lane as usize;
        let mut after = *state;
        after.closers[c].step = Step::Reads(asked.lane);
        let now = &state.lanes[i];
        let settled = now.outbox.is_none() || !self.rules.unsettled_is_not_idle;
        let same = (now.registered, now.position, now.watermark) == (asked.registered, asked.position, asked.watermark);
        let same = same && settled;
        let registry = (state.closers[c].version, state.closers[c].floor);
        if same && !now.registered {
            // The registration changes the registry: this closer begins again.
            let registered = self.register(&mut after, i, registry);
            after.closers[c] = Closer::RESTS;
            steps.add(after, || {
                let result = if registered { "registers" } else { "cannot register" };
                format!("closer {c} {result} the empty lane {i}")
            });
            return;
        }
        if same {
            let goal = state.lanes.iter().filter(|lane| lane.registered).map(|lane| lane.watermark).max().unwrap_or(0);
            self.advance(&mut after.lanes[i], goal);
            if asked.nothing_waits {
                // What comes from now on is late, and rightly so.
                after.lanes[i].own = after.lanes[i].own.max(goal);
            }
            after.closers[c] = Closer::RESTS;
        }
        steps.add(after, || {
            let result = if same { "" } else { ": refused, the lane moved" };
            format!("closer {c} commits a seal into the ring of idle lane {i}{result}")
        });
    }

    fn close(&self, state: &State, c: usize, steps: &mut Steps<State>) {
        let closer = state.closers[c];
        let mut after = *state;
        after.closers[c] = Closer::RESTS;
        let active = closer.registered & !closer.excluded;
        let everyone = (0..LANES).filter(|i| active >> i & 1 == 1).map(|i| closer.through[i]).min();
        let reached = state.lanes.iter().map(|lane| lane.watermark).max().unwrap_or(0);
        let through = match everyone {
            Some(through) => through,
            None if !self.rules.no_lane_no_progress => WINDOWS as u8,
            // Lanes that are left out do not hold anything back (weakened rule); no lane at all is no progress.
            None if closer.excluded != 0 => reached,
            None => closer.floor,
        };
        let known = closer.listed & !closer.registered == 0;
        if through <= closer.floor || !known {
            steps.add(after, || format!("closer {c} has nothing to close"));
            return;
        }
        let unchanged = state.version == closer.version || !self.rules.close_checks_version;
        if state.closes != closer.closes || !unchanged {
            steps.add(after, || format!("the close of {c} is refused: something changed since it read"));
            return;
        }
        after.closes += 1;
        let from = if self.rules.merges_above_the_floor { closer.floor as usize } else { 0 };
        for window in from..through as usize {
            let rows: u8 = (0..LANES).map(|i| closer.rows[i][window]).sum();
            let folded: u8 = state.lanes.iter().map(|lane| lane.folded[window]).sum();
            if after.results[window].is_some() {
                after.break_with(Invariant::WindowOnce);
            }
            if through > reached {
                after.break_with(Invariant::ClosedByRecords);
            }
            if self.waits_on_time(state, &closer, window as u8, through) {
                after.break_with(Invariant::OnTimeCounts);
            }
            if rows != folded {
                after.break_with(Invariant::WindowWhole);
            }
            after.results[window] = Some(rows);
        }
        if self.rules.floor_with_the_close {
            after.floor = through;
            after.version += u8::from(self.rules.floor_raises_version);
        } else {
            after.closers[c].step = Step::OwesFloor(through);
        }
        let floor = if self.rules.floor_with_the_close { " and the floor" } else { "" };
        steps.add(after, || format!("closer {c} commits the results {:?} through {through}{floor}", after.results));
    }

    /// Whether a record of this window waited in the source when the closer listed it, and was not late by its own
    /// partition's order.
    fn waits_on_time(&self, state: &State, closer: &Closer, window: u8, through: u8) -> bool {
        (0..LANES).filter(|i| state.exists >> i & 1 == 1).any(|i| {
            let lane = &state.lanes[i];
            let mut own = lane.own;
            (lane.position..closer.held[i]).any(|at| {
                let time = self.times[i][at as usize];
                let waits = time == window && time >= own && time < through;
                own = own.max(time);
                waits
            })
        })
    }
}
