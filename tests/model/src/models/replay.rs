//! What a new generation sends: repair and replay.
//!
//! Records 1 to 6, the time of each is its number. Windows of two: window k ends at time 2k + 2. Batches are cut
//! differently in the two generations. The old generation is sealed at some position.
//!
//! A repair begins at record 1 and sends what the old generation did not send. A replay begins anywhere and sends
//! everything, under new ids.

use crate::invariant::Invariant;
use crate::search::{Model, Steps};

/// Records.
const RECORDS: u8 = 6;

/// Windows.
const WINDOWS: u8 = 3;

/// The rules of repair and replay.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// What keeps a window of a repair silent.
    pub silent_windows: Silence,
    /// A repair sends no row up to the old committed position. Weakened: decided per commit.
    pub silent_rows_by_position: bool,
    /// A replay sends under new ids.
    pub new_ids: bool,
    /// A start inside an open window is refused.
    pub starts_between_windows: bool,
}

/// What keeps a window of a repair silent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Silence {
    /// The rule: it ends at or below the old watermark.
    OldWatermark,
    /// Wrong: the commit that closes it ends at or below the old position.
    CommitEnd,
    /// Wrong: the commit that closes it begins below the old position.
    CommitStart,
}

impl Rules {
    /// The rules as they are.
    pub const RIGHT: Self = Self {
        silent_windows: Silence::OldWatermark,
        silent_rows_by_position: true,
        new_ids: true,
        starts_between_windows: true,
    };
}

/// The model.
#[derive(Clone, Copy, Debug)]
pub struct Replay {
    /// The rules in force.
    pub rules: Rules,
    /// A repair, else a replay.
    pub repair: bool,
}

/// A state of the world.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    second: bool,
    position: u8,
    n: u8,
    /// The old generation's position, and the first record of the new one.
    old: u8,
    start: u8,
    /// Rows and windows in effect, a bit each.
    rows: u8,
    windows: u8,
    /// The old generation's commits: first and last record.
    sent: [(u8, u8); RECORDS as usize],
    broken: Option<Invariant>,
}

fn ends(window: u8) -> u8 {
    2 * window + 2
}

impl Model for Replay {
    type State = State;

    fn initial(&self) -> State {
        State {
            second: false,
            position: 0,
            n: 0,
            old: 0,
            start: 1,
            rows: 0,
            windows: 0,
            sent: [(0, 0); RECORDS as usize],
            broken: None,
        }
    }

    fn next(&self, state: &State, steps: &mut Steps<State>) {
        for hi in state.position + 1..=(state.position + 2).min(RECORDS) {
            self.commit(state, hi, steps);
        }
        if state.second || state.position == 0 {
            return;
        }
        let starts = if self.repair { 1..=1 } else { 1..=state.position };
        for start in starts {
            // Window k holds the times 2k and 2k + 1.
            if self.rules.starts_between_windows && start != 1 && start % 2 == 1 {
                continue;
            }
            let mut after = *state;
            after.second = true;
            after.old = state.position;
            after.position = start - 1;
            after.start = start;
            after.n = 0;
            if !self.repair {
                (after.rows, after.windows) = (0, 0);
            }
            steps.add(after, || {
                let what = if self.repair { "a repair" } else { "a replay into a shadow target" };
                format!("generation 1 is sealed at {}; {what} begins at record {start}", state.position)
            });
        }
    }

    fn violation(&self, state: &State) -> Option<Invariant> {
        state.broken
    }

    fn at_rest(&self, state: &State) -> Option<Invariant> {
        let rows = (state.start..=RECORDS).all(|record| state.rows >> record & 1 == 1) || !state.second;
        let windows = (0..WINDOWS).all(|w| ends(w) <= state.start || state.windows >> w & 1 == 1);
        (!(rows && windows)).then_some(Invariant::NothingLost)
    }

    fn done(&self, state: &State) -> bool {
        state.second && state.position == RECORDS
    }
}

impl Replay {
    fn commit(&self, state: &State, hi: u8, steps: &mut Steps<State>) {
        let lo = state.position + 1;
        let mut after = *state;
        after.position = hi;
        after.n += 1;
        let at = after.n as usize - 1;
        if !state.second {
            after.sent[at] = (lo, hi);
        } else if !self.repair && !self.rules.new_ids && !matches!(state.sent[at], (0, 0)) && state.sent[at] != (lo, hi)
        {
            after.broken = Some(Invariant::OnePayloadPerId);
        }
        let silent = state.second && self.repair;
        let quiet_row = |record: u8| {
            silent && if self.rules.silent_rows_by_position { record <= state.old } else { hi <= state.old }
        };
        let quiet_window = |window: u8| {
            silent
                && match self.rules.silent_windows {
                    Silence::OldWatermark => ends(window) <= state.old,
                    Silence::CommitEnd => hi <= state.old,
                    Silence::CommitStart => lo <= state.old,
                }
        };
        let rows: Vec<u8> = (lo..=hi).filter(|record| !quiet_row(*record)).collect();
        // A window without a record is none.
        let begun = |window: u8| 2 * window + 1 >= state.start;
        let closed = (0..WINDOWS).filter(|w| begun(*w) && state.position < ends(*w) && ends(*w) <= hi);
        let windows: Vec<u8> = closed.filter(|window| !quiet_window(*window)).collect();
        for row in &rows {
            if after.rows >> row & 1 == 1 {
                after.broken = after.broken.or(Some(Invariant::EffectOnce));
            }
            after.rows |= 1 << row;
        }
        for window in &windows {
            if after.windows >> window & 1 == 1 {
                after.broken = after.broken.or(Some(Invariant::WindowOnce));
            }
            if state.second && state.start > 2 * window && state.start != 1 {
                after.broken = after.broken.or(Some(Invariant::WindowWhole));
            }
            after.windows |= 1 << window;
        }
        steps.add(after, || {
            let generation = if state.second { 2 } else { 1 };
            format!(
                "generation {generation}, commit {}: records {lo} to {hi}; sends rows {rows:?}, windows {windows:?}",
                after.n
            )
        });
    }
}
