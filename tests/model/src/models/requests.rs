//! An outbox of several requests, some of them rejected: decisions as carry commits, splits, dead letters.
//!
//! Commit 1 owes two requests: `0` with rows 1 and 2, and `1` with row 3. The target rejects request `0` as a whole,
//! and row 2 also when it comes alone. A rejected request is split into halves `0.0` and `0.1`, or its rows become dead
//! letters; two versions of the code may choose differently. Environment A made commit 1; the others load it.
//!
//! What can happen: environments die and load again; puts apply late; requests arrive late; the target changes its mind
//! about request `0` (a deployment with another limit).

use crate::invariant::Invariant;
use crate::search::{Model, Steps};

/// Commits in a run.
const MAX_N: usize = 6;

/// Requests, one bit each.
const WHOLE: u8 = 1;
const HALF_0: u8 = 2;
const HALF_1: u8 = 4;
const OTHER: u8 = 8;
const DEAD: [u8; 3] = [16, 32, 64];

/// The ids that hold each row.
const ROWS: [u8; 3] = [WHOLE | HALF_0, WHOLE | HALF_1, OTHER];

/// The rules of rejections.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// 10. What is made of a rejected request is decided before it is acted on.
    pub decision: Decision,
    /// The target looks an id up before it validates, and a rejected id stays rejected.
    pub final_rejections: bool,
    /// Without that promise: only the first attempt of the environment that committed the request decides; after any
    /// other rejection the lane stops.
    pub first_attempt_decides: bool,
    /// Whoever loads an unsettled head writes a carry commit before it sends.
    pub take_over: bool,
}

/// How a decision is written down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// The rule: a carry commit n+1 under the ordinary slot condition.
    CarryCommit,
    /// Wrong: not at all.
    AtSendTime,
    /// Wrong: the outbox in slot n is replaced.
    InPlace {
        /// Only if slot n still holds the outbox that was read, not just number n.
        compares_outbox: bool,
        /// Only if slot n+1 does not exist, checked in the same write.
        checks_next: bool,
        /// The checksum in n+1 covers the outbox of n.
        chain_covers_outbox: bool,
        /// A takeover is refused if slot n changed since it was read.
        takeover_checks: bool,
    },
}

impl Rules {
    /// The rules as they are, for a target that promises final rejections.
    pub const RIGHT: Self = Self {
        decision: Decision::CarryCommit,
        final_rejections: true,
        first_attempt_decides: false,
        take_over: false,
    };
    /// The rules as they are, for a target that does not promise final rejections.
    pub const NOT_FINAL: Self =
        Self { final_rejections: false, first_attempt_decides: true, take_over: true, ..Self::RIGHT };
}

/// How often each fault may strike.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Faults {
    /// The target changes its mind about request `0`.
    pub flips: u8,
    /// An environment dies, and loads again.
    pub deaths: u8,
    /// A put gets no answer and applies later.
    pub lost_puts: u8,
    /// A request gets no answer and arrives later.
    pub slow_requests: u8,
}

/// The model.
#[derive(Clone, Copy, Debug)]
pub struct Requests<const E: usize> {
    /// The rules in force.
    pub rules: Rules,
    /// How often each fault may strike.
    pub faults: Faults,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
struct Commit {
    owes: u8,
    /// How often its outbox was replaced in place.
    version: u8,
    /// The version of the commit before that its checksum was made of.
    chained: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
enum Step {
    Load,
    TakeOver,
    Send,
    Decide,
    Settled,
    End,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
struct Environment {
    step: Step,
    n: u8,
    version: u8,
    /// What it still has to send.
    pending: u8,
    rejected: u8,
    /// What nobody but this environment can have sent, and it did not yet.
    fresh: u8,
}

impl Environment {
    const COLD: Self = Self { step: Step::Load, n: 0, version: 0, pending: 0, rejected: 0, fresh: 0 };
}

/// A put that nobody waits for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
struct LatePut {
    n: u8,
    version: u8,
    owes: u8,
    in_place: bool,
}

/// A state of the world.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct State<const E: usize> {
    head: u8,
    commits: [Commit; MAX_N],
    environments: [Environment; E],
    faults: Faults,
    late: Option<LatePut>,
    slow: u8,
    /// What the target accepted, dead letters included.
    accepted: u8,
    /// What the target rejected once.
    refused: u8,
    /// What it rejects now.
    rejects: u8,
    /// A later batch is committed: everything owed counts as settled.
    moved_on: bool,
    /// The lane stopped with an alarm.
    stopped: bool,
}

fn name(i: usize) -> char {
    (b'A' + i as u8) as char
}

fn words(ids: u8) -> String {
    let names = [
        "0 (rows 1, 2)",
        "0.0 (row 1)",
        "0.1 (row 2)",
        "1 (row 3)",
        "dead letter of row 1",
        "dead letter of row 2",
        "dead letter of row 3",
    ];
    let listed: Vec<&str> =
        names.iter().enumerate().filter(|(bit, _)| ids >> bit & 1 == 1).map(|(_, name)| *name).collect();
    if listed.is_empty() { "nothing".into() } else { listed.join(", ") }
}

fn bits(ids: u8) -> impl Iterator<Item = u8> {
    (0..8).map(|bit| 1 << bit).filter(move |id| ids & id != 0)
}

/// What a decision may make of rejected requests: halves, or dead letters of all rows.
fn decisions(rejected: u8) -> impl Iterator<Item = u8> {
    let dead = |ids: u8| (0..3).filter(|row| ids & ROWS[*row] != 0).fold(0, |all, row| all | DEAD[row]);
    let split = if rejected & WHOLE != 0 { HALF_0 | HALF_1 | dead(rejected & !WHOLE) } else { dead(rejected) };
    let letters = dead(rejected);
    [split, letters].into_iter().take(if split == letters { 1 } else { 2 })
}

impl<const E: usize> Model for Requests<E> {
    type State = State<E>;

    fn initial(&self) -> State<E> {
        let none = Commit { owes: 0, version: 0, chained: 0 };
        let mut commits = [none; MAX_N];
        commits[0].owes = WHOLE | OTHER;
        let mut environments = [Environment::COLD; E];
        environments[0] =
            Environment { step: Step::Send, n: 1, pending: WHOLE | OTHER, fresh: WHOLE | OTHER, ..Environment::COLD };
        State {
            head: 1,
            commits,
            environments,
            faults: self.faults,
            late: None,
            slow: 0,
            accepted: 0,
            refused: 0,
            rejects: WHOLE | HALF_1,
            moved_on: false,
            stopped: false,
        }
    }

    fn next(&self, state: &State<E>, steps: &mut Steps<State<E>>) {
        self.world(state, steps);
        for i in 0..E {
            let environment = state.environments[i];
            if environment.step == Step::End {
                continue;
            }
            if state.faults.deaths > 0 && environment.step != Step::Load {
                let mut after = *state;
                after.faults.deaths -= 1;
                after.environments[i] = Environment::COLD;
                steps.add(after, || format!("{} dies; another environment takes its place", name(i)));
            }
            match environment.step {
                Step::Load => self.load(state, i, steps),
                Step::TakeOver => self.take_over(state, i, steps),
                Step::Send => self.send(state, i, steps),
                Step::Decide => self.decide(state, i, steps),
                Step::Settled => self.settled(state, i, steps),
                Step::End => {}
            }
        }
    }

    fn violation(&self, state: &State<E>) -> Option<Invariant> {
        let accepted = state.accepted;
        for (row, dead) in ROWS.into_iter().zip(DEAD) {
            if (accepted & row).count_ones() > 1 {
                return Some(Invariant::EffectOnce);
            }
            if accepted & row != 0 && accepted & dead != 0 {
                return Some(Invariant::OneOutcome);
            }
            if state.moved_on && accepted & (row | dead) == 0 {
                return Some(Invariant::NothingLost);
            }
        }
        let chained = (1..state.head as usize).all(|n| state.commits[n].chained == state.commits[n - 1].version);
        (self.chain_covers_outbox() && !chained).then_some(Invariant::ChainIntact)
    }

    fn at_rest(&self, state: &State<E>) -> Option<Invariant> {
        let out_of_numbers = state.head as usize == MAX_N;
        (!state.moved_on && !state.stopped && !out_of_numbers).then_some(Invariant::Drains)
    }

    fn done(&self, state: &State<E>) -> bool {
        state.moved_on
    }

    fn canonical(&self, mut state: State<E>) -> State<E> {
        state.environments.sort_unstable();
        state
    }
}

impl<const E: usize> Requests<E> {
    fn chain_covers_outbox(&self) -> bool {
        !matches!(self.rules.decision, Decision::InPlace { chain_covers_outbox: false, .. })
    }

    fn world(&self, state: &State<E>, steps: &mut Steps<State<E>>) {
        if state.faults.flips > 0 {
            let mut after = *state;
            after.faults.flips -= 1;
            after.rejects ^= WHOLE;
            let now = if after.rejects & WHOLE == 0 { "accepts" } else { "rejects" };
            steps.add(after, || format!("a deployment at the target: it now {now} request 0"));
        }
        if let Some(put) = state.late {
            let mut after = *state;
            after.late = None;
            let applied = if put.in_place {
                self.replace(&mut after, put.n, put.version, put.owes)
            } else {
                Self::commit(&mut after, put.n, put.owes, put.version)
            };
            steps.add(after, || {
                format!(
                    "the late put of {} owing {} {}",
                    put.n,
                    words(put.owes),
                    if applied { "applies" } else { "is refused" }
                )
            });
        }
        for id in bits(state.slow) {
            let mut after = *state;
            after.slow &= !id;
            let accepted = self.arrive(&mut after, id);
            steps.add(after, || format!("the late request {} arrives and is {}", words(id), verdict(accepted)));
        }
    }

    /// The ordinary slot condition: n follows the head.
    fn commit(after: &mut State<E>, n: u8, owes: u8, chained: u8) -> bool {
        let follows = n == after.head + 1 && n as usize <= MAX_N && !after.moved_on;
        if follows {
            after.head = n;
            after.commits[n as usize - 1] = Commit { owes, version: 0, chained };
        }
        follows
    }

    /// The wrong way: another outbox in slot n.
    fn replace(&self, after: &mut State<E>, n: u8, version: u8, owes: u8) -> bool {
        let Decision::InPlace { compares_outbox, checks_next, .. } = self.rules.decision else { return false };
        let commit = &mut after.commits[n as usize - 1];
        let same = commit.version == version || !compares_outbox;
        let alone = (after.head == n && !after.moved_on) || !checks_next;
        if same && alone {
            *commit = Commit { owes, version: commit.version + 1, ..*commit };
        }
        same && alone
    }

    fn arrive(&self, after: &mut State<E>, id: u8) -> bool {
        let letter = DEAD.contains(&id);
        let accepted = if letter {
            true
        } else if self.rules.final_rejections {
            after.accepted & id != 0 || (after.refused | after.rejects) & id == 0
        } else {
            after.rejects & id == 0
        };
        if accepted {
            after.accepted |= id;
        } else {
            after.refused |= id;
        }
        accepted
    }

    fn load(&self, state: &State<E>, i: usize, steps: &mut Steps<State<E>>) {
        let mut after = *state;
        let environment = &mut after.environments[i];
        if state.moved_on {
            environment.step = Step::End;
            steps.add(after, || format!("{} loads a settled head", name(i)));
            return;
        }
        let commit = state.commits[state.head as usize - 1];
        let step = if self.rules.take_over { Step::TakeOver } else { Step::Send };
        *environment =
            Environment { step, n: state.head, version: commit.version, pending: commit.owes, rejected: 0, fresh: 0 };
        steps.add(after, || format!("{} loads commit {}, which owes {}", name(i), state.head, words(commit.owes)));
    }

    fn take_over(&self, state: &State<E>, i: usize, steps: &mut Steps<State<E>>) {
        let environment = state.environments[i];
        let n = environment.n + 1;
        let mut after = *state;
        let stored = state.commits[environment.n as usize - 1];
        let checks = !matches!(self.rules.decision, Decision::InPlace { takeover_checks: false, .. });
        let unchanged = stored.version == environment.version || !checks;
        let taken = unchanged && Self::commit(&mut after, n, environment.pending, environment.version);
        after.environments[i] =
            if taken { Environment { step: Step::Send, n, version: 0, ..environment } } else { Environment::COLD };
        steps.add(after, || {
            let result = if taken { "" } else { ": refused" };
            format!("{} takes over with carry commit {n}, owing {}{result}", name(i), words(environment.pending))
        });
    }

    fn send(&self, state: &State<E>, i: usize, steps: &mut Steps<State<E>>) {
        let environment = state.environments[i];
        for id in bits(environment.pending) {
            if state.faults.slow_requests > 0 && !DEAD.contains(&id) && state.slow & id == 0 {
                let mut after = *state;
                after.faults.slow_requests -= 1;
                after.slow |= id;
                after.environments[i].fresh &= !id;
                steps.add(after, || format!("{} sends {}; no answer, it is still on its way", name(i), words(id)));
            }
            let mut after = *state;
            let accepted = self.arrive(&mut after, id);
            let first = environment.fresh & id != 0;
            let decides = !self.rules.first_attempt_decides || first;
            let next = &mut after.environments[i];
            next.pending &= !id;
            next.fresh &= !id;
            if !accepted && !decides {
                next.step = Step::End;
                after.stopped = true;
            } else {
                if !accepted {
                    next.rejected |= id;
                }
                if next.pending == 0 {
                    next.step = if next.rejected == 0 { Step::Settled } else { Step::Decide };
                }
            }
            steps.add(after, || {
                let alarm = if accepted || decides { "" } else { "; this proves nothing: the lane stops" };
                format!("{} sends {}: {}{alarm}", name(i), words(id), verdict(accepted))
            });
        }
    }

    fn decide(&self, state: &State<E>, i: usize, steps: &mut Steps<State<E>>) {
        let environment = state.environments[i];
        let n = environment.n + 1;
        for owes in decisions(environment.rejected) {
            let mut after = *state;
            let sends = Environment { step: Step::Send, pending: owes, rejected: 0, fresh: owes, ..environment };
            match self.rules.decision {
                Decision::AtSendTime => {
                    after.environments[i] = sends;
                    steps.add(after, || format!("{} decides for itself: {}", name(i), words(owes)));
                    continue;
                }
                Decision::CarryCommit => {
                    let written = Self::commit(&mut after, n, owes, environment.version);
                    after.environments[i] =
                        if written { Environment { n, version: 0, ..sends } } else { Environment::COLD };
                    let result = if written { "" } else { ": refused" };
                    steps.add(after, || format!("{} decides in carry commit {n}: {}{result}", name(i), words(owes)));
                }
                Decision::InPlace { .. } => {
                    let written = self.replace(&mut after, environment.n, environment.version, owes);
                    let version = after.commits[environment.n as usize - 1].version;
                    after.environments[i] = if written { Environment { version, ..sends } } else { Environment::COLD };
                    let result = if written { "" } else { ": refused" };
                    steps.add(after, || {
                        format!("{} replaces the outbox of commit {}: {}{result}", name(i), environment.n, words(owes))
                    });
                }
            }
            if state.faults.lost_puts > 0 && state.late.is_none() {
                let mut after = *state;
                after.faults.lost_puts -= 1;
                let in_place = self.rules.decision != Decision::CarryCommit;
                let n = if in_place { environment.n } else { n };
                after.late = Some(LatePut { n, version: environment.version, owes, in_place });
                after.environments[i] = Environment::COLD;
                steps.add(after, || {
                    format!("{} decides: {}; the put gets no answer and is still on its way", name(i), words(owes))
                });
            }
        }
    }

    fn settled(&self, state: &State<E>, i: usize, steps: &mut Steps<State<E>>) {
        let environment = state.environments[i];
        let n = environment.n + 1;
        let mut after = *state;
        let written = Self::commit(&mut after, n, 0, environment.version);
        after.moved_on |= written;
        after.environments[i] =
            if written { Environment { step: Step::End, ..Environment::COLD } } else { Environment::COLD };
        let result = if written { "" } else { ": refused" };
        steps.add(after, || format!("{} commits {n}, the next batch{result}", name(i)));
    }
}

fn verdict(accepted: bool) -> &'static str {
    if accepted { "accepted" } else { "rejected" }
}
