//! A target that recognises nothing, and a request that is to take effect at most once.
//!
//! One request. Commit 1 owes it; the environment that made the commit may send it. The other one, if there is one, may load
//! the lane at any moment: the source has given up on the first, or has called twice. An environment that stops comes
//! back cold.

use crate::invariant::Invariant;
use crate::search::{Model, Steps};

/// The rules of a request that is sent at most once.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Who loads a request that is not offered drops it.
    pub loader_drops: bool,
    /// Who takes up an offered request commits it once more before it is sent.
    pub taken_up_by_commit: bool,
    /// A request of unknown outcome is neither sent again nor offered.
    pub unknown_is_final: bool,
    /// What certainly did not take effect is offered when its environment stops.
    pub offered_when_refused: bool,
    /// Who has offered a request does not send it any more.
    pub offer_ends_permission: bool,
    /// A put without an answer is not a success: the lane is loaded again.
    pub unknown_put_is_loaded: bool,
}

impl Rules {
    /// The rules as they are.
    pub const RIGHT: Self = Self {
        loader_drops: true,
        taken_up_by_commit: true,
        unknown_is_final: true,
        offered_when_refused: true,
        offer_ends_permission: true,
        unknown_put_is_loaded: true,
    };
}

/// The model.
#[derive(Clone, Copy, Debug)]
pub struct AtMostOnce<const E: usize> {
    /// The rules in force.
    pub rules: Rules,
    /// Times that an environment dies.
    pub deaths: u8,
    /// Requests and puts whose answer is lost.
    pub lost: u8,
    /// Times that the target refuses the request.
    pub refusals: u8,
}

/// What the head says about the request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
enum Mark {
    /// Who made the commit may send it.
    Owned,
    /// Nobody may send it before it is committed again.
    Offered,
    /// It is not owed.
    Gone,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
enum Step {
    Cold,
    Loaded,
    Send,
    Refused,
    Over,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
struct Environment {
    step: Step,
    /// The head that it knows, and what that says.
    n: u8,
    mark: Mark,
}

impl Environment {
    const COLD: Self = Self { step: Step::Cold, n: 0, mark: Mark::Gone };
}

/// A state of the world.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State<const E: usize> {
    n: u8,
    mark: Mark,
    environments: [Environment; E],
    on_its_way: u8,
    applied: u8,
    deaths: u8,
    lost: u8,
    refusals: u8,
}

fn name(i: usize) -> char {
    char::from(b'A' + i as u8)
}

impl<const E: usize> Model for AtMostOnce<E> {
    type State = State<E>;

    fn initial(&self) -> State<E> {
        let mut environments = [Environment::COLD; E];
        environments[0] = Environment { step: Step::Send, n: 1, mark: Mark::Owned };
        let (deaths, lost, refusals) = (self.deaths, self.lost, self.refusals);
        State { n: 1, mark: Mark::Owned, environments, on_its_way: 0, applied: 0, deaths, lost, refusals }
    }

    fn next(&self, state: &State<E>, steps: &mut Steps<State<E>>) {
        if state.on_its_way > 0 {
            let mut after = *state;
            after.on_its_way -= 1;
            steps.add(after, || "a request on its way is lost".into());
            after.applied += 1;
            steps.add(after, || "a request on its way takes effect".into());
        }
        for i in 0..E {
            let environment = state.environments[i];
            if state.deaths > 0 && !matches!(environment.step, Step::Cold | Step::Over) {
                let mut after = *state;
                after.deaths -= 1;
                after.environments[i] = Environment::COLD;
                steps.add(after, || format!("environment {} dies", name(i)));
            }
            match environment.step {
                Step::Cold => {
                    let mut after = *state;
                    after.environments[i] = Environment { step: Step::Loaded, n: state.n, mark: state.mark };
                    steps.add(after, || format!("{} loads head {}: {:?}", name(i), state.n, state.mark));
                }
                Step::Loaded => self.loaded(state, i, steps),
                Step::Send => self.send(state, i, steps),
                Step::Refused => self.refused(state, i, steps),
                Step::Over => {}
            }
        }
    }

    fn violation(&self, state: &State<E>) -> Option<Invariant> {
        (state.applied > 1).then_some(Invariant::EffectOnce)
    }

    fn at_rest(&self, state: &State<E>) -> Option<Invariant> {
        if !self.done(state) {
            return Some(Invariant::Drains);
        }
        // Only a death, a lost answer or two environments at once make an outcome unknown.
        let calm = E == 1 && state.deaths == self.deaths && state.lost == self.lost;
        (calm && state.applied == 0).then_some(Invariant::NothingLost)
    }

    fn done(&self, state: &State<E>) -> bool {
        state.on_its_way == 0 && state.environments.iter().all(|environment| environment.step == Step::Over)
    }
}

impl<const E: usize> AtMostOnce<E> {
    /// Environment `i` puts the commit behind the head that it knows; behind it, it goes on with `then`.
    fn put(&self, state: &State<E>, i: usize, mark: Mark, then: Step, steps: &mut Steps<State<E>>) {
        let n = state.environments[i].n + 1;
        let mut after = *state;
        if state.n >= n {
            after.environments[i] = Environment::COLD;
            steps.add(after, || format!("commit {n} of {} is refused", name(i)));
            if state.lost > 0 && !self.rules.unknown_put_is_loaded {
                after.lost -= 1;
                after.environments[i] = Environment { step: then, n, mark };
                steps.add(after, || format!("commit {n} of {} is refused, the answer is lost", name(i)));
            }
            return;
        }
        (after.n, after.mark) = (n, mark);
        after.environments[i] = Environment { step: then, n, mark };
        steps.add(after, || format!("{} puts commit {n}: {mark:?}", name(i)));
        if state.lost > 0 {
            after.lost -= 1;
            after.environments[i] = Environment::COLD;
            steps.add(after, || format!("{} puts commit {n}: {mark:?}; the answer is lost", name(i)));
        }
    }

    fn loaded(&self, state: &State<E>, i: usize, steps: &mut Steps<State<E>>) {
        let mut after = *state;
        match state.environments[i].mark {
            Mark::Gone => {
                after.environments[i].step = Step::Over;
                steps.add(after, || format!("{} finds nothing owed", name(i)));
            }
            Mark::Offered if self.rules.taken_up_by_commit => self.put(state, i, Mark::Owned, Step::Send, steps),
            Mark::Owned if self.rules.loader_drops => self.put(state, i, Mark::Gone, Step::Over, steps),
            Mark::Offered | Mark::Owned => {
                after.environments[i].step = Step::Send;
                steps.add(after, || format!("{} takes the request as its own", name(i)));
            }
        }
    }

    fn send(&self, state: &State<E>, i: usize, steps: &mut Steps<State<E>>) {
        let mut after = *state;
        after.applied += 1;
        after.environments[i].step = Step::Over;
        steps.add(after, || format!("{} sends the request: it takes effect", name(i)));
        if state.refusals > 0 {
            let mut after = *state;
            after.refusals -= 1;
            after.environments[i].step = Step::Refused;
            steps.add(after, || format!("{} sends the request: it is refused", name(i)));
        }
        if state.lost > 0 {
            let mut after = *state;
            after.lost -= 1;
            after.on_its_way += 1;
            after.environments[i].step = if self.rules.unknown_is_final { Step::Over } else { Step::Refused };
            steps.add(after, || format!("{} sends the request and gets no answer", name(i)));
        }
    }

    /// It certainly did not take effect: again, or it stops.
    fn refused(&self, state: &State<E>, i: usize, steps: &mut Steps<State<E>>) {
        let mut after = *state;
        after.environments[i].step = Step::Send;
        steps.add(after, || format!("{} tries again", name(i)));
        if self.rules.offered_when_refused {
            let then = if self.rules.offer_ends_permission { Step::Cold } else { Step::Send };
            self.put(state, i, Mark::Offered, then, steps);
        } else {
            after.environments[i] = Environment::COLD;
            steps.add(after, || format!("{} stops", name(i)));
        }
    }
}
