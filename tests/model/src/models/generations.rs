//! A new generation of the whole pipeline, begun while environments of the old one are warm.
//!
//! Two source lanes (lane 1 registers late) and a close lane. Warm environments of generation 1 read nothing: only
//! their lane's ring can stop them. The operator seals generation 1 and opens generation 2, which goes on at the sealed
//! positions. The operator may die at any step; the tick does the rest.

use crate::invariant::Invariant;
use crate::search::{Model, Steps};

/// Lanes 0 and 1 of the source, and the close lane.
const LANES: usize = 3;

/// The close lane. Its "records" are the windows it emits.
const CLOSE: usize = 2;

/// Records of a lane.
const RECORDS: u8 = 3;

/// The rules of generations.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The registry goes to phase "sealing" first, which refuses registrations.
    pub phase_first: bool,
    /// Every ring gets a sealing commit.
    pub rings_are_sealed: bool,
    /// The rings of close lanes too.
    pub close_lanes_are_sealed: bool,
    /// The sealing commit settles or carries what is owed.
    pub owed_is_carried: bool,
    /// What the old generation still owes leaves before the new one sends.
    pub old_outbox_first: bool,
}

impl Rules {
    /// The rules as they are.
    pub const RIGHT: Self = Self {
        phase_first: true,
        rings_are_sealed: true,
        close_lanes_are_sealed: true,
        owed_is_carried: true,
        old_outbox_first: true,
    };
}

/// The model.
#[derive(Clone, Copy, Debug)]
pub struct Generations {
    /// The rules in force.
    pub rules: Rules,
    /// How often the operator may die.
    pub deaths: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Lane {
    registered: bool,
    position: u8,
    owed: bool,
    sealed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Operator {
    Rests,
    /// Has raised the registry's phase.
    Announced,
    /// Has listed these lanes, and read their positions.
    Listed(u8, [u8; LANES]),
    Done,
}

/// A state of the world.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    /// Lanes per generation.
    old: [Lane; LANES],
    new: [Lane; LANES],
    sealing: bool,
    opened: bool,
    operator: Operator,
    deaths: u8,
    /// The highest record that took effect, and records in effect, a bit each.
    last: [u8; LANES],
    effects: [u8; LANES],
    broken: Option<Invariant>,
}

impl State {
    fn deliver(&mut self, i: usize, record: u8) {
        let bit = 1 << record;
        if self.effects[i] & bit != 0 {
            self.broken = Some(Invariant::OneGeneration);
        } else if record < self.last[i] {
            self.broken = Some(Invariant::Order);
        }
        self.effects[i] |= bit;
        self.last[i] = self.last[i].max(record);
    }
}

fn name(i: usize) -> &'static str {
    ["lane 0", "lane 1", "the close lane"][i]
}

impl Model for Generations {
    type State = State;

    fn initial(&self) -> State {
        let registered = Lane { registered: true, ..Lane::default() };
        State {
            old: [registered, Lane::default(), registered],
            new: [Lane::default(); LANES],
            sealing: false,
            opened: false,
            operator: Operator::Rests,
            deaths: self.deaths,
            last: [0; LANES],
            effects: [0; LANES],
            broken: None,
        }
    }

    fn next(&self, state: &State, steps: &mut Steps<State>) {
        for i in 0..LANES {
            self.old_generation(state, i, steps);
            self.new_generation(state, i, steps);
        }
        self.operator(state, steps);
    }

    fn violation(&self, state: &State) -> Option<Invariant> {
        state.broken
    }

    fn at_rest(&self, state: &State) -> Option<Invariant> {
        let everything = ((1 << RECORDS) - 1) << 1;
        (state.effects != [everything; LANES]).then_some(Invariant::NothingLost)
    }

    fn done(&self, state: &State) -> bool {
        state.opened && state.new.iter().all(|lane| lane.position == RECORDS && !lane.owed)
    }
}

impl Generations {
    /// A close lane may emit a window only when the source lane 0 is past it.
    fn may_commit(&self, lanes: &[Lane; LANES], i: usize) -> bool {
        let lane = &lanes[i];
        let ready = i != CLOSE || lanes[0].position > lane.position;
        lane.registered && !lane.sealed && !lane.owed && lane.position < RECORDS && ready
    }

    fn old_generation(&self, state: &State, i: usize, steps: &mut Steps<State>) {
        let lane = state.old[i];
        let refused = state.opened || (state.sealing && self.rules.phase_first);
        if !lane.registered && !refused {
            let mut after = *state;
            after.old[i].registered = true;
            steps.add(after, || format!("{} registers in generation 1", name(i)));
        }
        if self.may_commit(&state.old, i) {
            let mut after = *state;
            after.old[i].position += 1;
            after.old[i].owed = true;
            steps.add(after, || format!("generation 1, {}: a warm environment commits {}", name(i), lane.position + 1));
        }
        if lane.owed {
            let mut after = *state;
            after.old[i].owed = false;
            after.deliver(i, lane.position);
            steps.add(after, || format!("generation 1, {}: {} is sent", name(i), lane.position));
        }
    }

    fn new_generation(&self, state: &State, i: usize, steps: &mut Steps<State>) {
        if !state.opened {
            return;
        }
        let lane = state.new[i];
        let clear = !state.old[i].owed || !self.rules.old_outbox_first;
        if self.may_commit(&state.new, i) && clear {
            let mut after = *state;
            after.new[i].position += 1;
            after.new[i].owed = true;
            steps.add(after, || format!("generation 2, {} commits {}", name(i), lane.position + 1));
        }
        if lane.owed {
            let mut after = *state;
            after.new[i].owed = false;
            after.deliver(i, lane.position);
            steps.add(after, || format!("generation 2, {}: {} is sent", name(i), lane.position));
        }
    }

    fn operator(&self, state: &State, steps: &mut Steps<State>) {
        if !matches!(state.operator, Operator::Rests | Operator::Done) && state.deaths > 0 {
            let mut after = *state;
            after.deaths -= 1;
            after.operator = Operator::Rests;
            steps.add(after, || "the operator's command dies; the tick will go on".into());
        }
        let mut after = *state;
        match state.operator {
            Operator::Rests => {
                after.sealing = true;
                after.operator = Operator::Announced;
                steps.add(after, || match (self.rules.phase_first, state.sealing) {
                    (true, false) => "the operator sets the registry to 'sealing generation 1'".into(),
                    (true, true) => "the tick finds a sealing that stopped half way".into(),
                    (false, _) => "the operator begins, without a word to the registry".into(),
                });
            }
            Operator::Announced => {
                let listed = (0..LANES).filter(|i| state.old[*i].registered).fold(0, |all, i| all | 1 << i);
                let positions = std::array::from_fn(|i| state.old[i].position);
                after.operator = Operator::Listed(listed, positions);
                steps.add(after, || format!("the operator lists the lanes, positions {positions:?}"));
            }
            Operator::Listed(listed, positions) => self.seal(state, listed, positions, steps),
            Operator::Done => {}
        }
    }

    fn seal(&self, state: &State, listed: u8, positions: [u8; LANES], steps: &mut Steps<State>) {
        let meant = |i: &usize| {
            listed >> i & 1 == 1 && self.rules.rings_are_sealed && (*i != CLOSE || self.rules.close_lanes_are_sealed)
        };
        let mut left = (0..LANES).filter(meant).filter(|i| !state.old[*i].sealed).peekable();
        if left.peek().is_none() {
            let mut after = *state;
            after.opened = true;
            after.operator = Operator::Done;
            for (i, lane) in after.new.iter_mut().enumerate() {
                lane.registered = true;
                let sealed = meant(&i);
                lane.position = if sealed { state.old[i].position } else { positions[i] };
                if listed >> i & 1 == 0 {
                    lane.position = 0;
                }
            }
            steps.add(after, || {
                let positions: Vec<u8> = after.new.iter().map(|lane| lane.position).collect();
                format!("generation 2 opens at positions {positions:?}")
            });
            return;
        }
        for i in left {
            let mut after = *state;
            after.old[i].sealed = true;
            after.old[i].owed &= self.rules.owed_is_carried;
            steps.add(after, || {
                format!("a sealing commit in the ring of {}, at position {}", name(i), state.old[i].position)
            });
        }
    }
}
