//! Breadth-first search over every order of steps of a model.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use foldhash::quality::FixedState;

use crate::invariant::Invariant;
use crate::seen::Seen;

/// Threads of one search.
pub const THREADS: usize = 2;

/// States that a thread takes at once. The seen-set has room for what [`THREADS`] blocks may add at least.
const BLOCK: usize = 1 << 12;

/// Steps that may leave one state.
const MAX_STEPS: usize = 64;

/// A part of the protocol with the world around it.
pub trait Model: Sync {
    /// Everything that a step can read or change. Small: millions are held at once.
    type State: Clone + Hash + Send;

    /// Where it begins.
    fn initial(&self) -> Self::State;

    /// Every step that is possible now, faults included.
    fn next(&self, state: &Self::State, steps: &mut Steps<Self::State>);

    /// The invariant that this state breaks.
    fn violation(&self, state: &Self::State) -> Option<Invariant>;

    /// The invariant that this state breaks as a state without a further step.
    fn at_rest(&self, _state: &Self::State) -> Option<Invariant> {
        None
    }

    /// Whether the work is done here. A search that reaches no such state has proven nothing.
    fn done(&self, state: &Self::State) -> bool;

    /// One representative of all states that differ only by the names of environments.
    fn canonical(&self, state: Self::State) -> Self::State {
        state
    }
}

/// The steps that leave a state.
pub struct Steps<S> {
    states: Vec<S>,
    words: Vec<String>,
    tell: bool,
}

impl<S> Steps<S> {
    fn new(tell: bool) -> Self {
        Self { states: Vec::with_capacity(MAX_STEPS), words: Vec::new(), tell }
    }

    /// Adds the state after a step. The words are made only for a counterexample.
    pub fn add(&mut self, state: S, words: impl FnOnce() -> String) {
        self.states.push(state);
        if self.tell {
            self.words.push(words());
        }
    }
}

/// What a search found.
#[derive(Debug)]
pub struct Outcome {
    /// Distinct states visited.
    pub states: u64,
    /// Steps taken between them.
    pub steps: u64,
    /// States in which the work is done.
    pub done: u64,
    /// Whether every reachable state was visited.
    pub exhaustive: bool,
    /// The shortest way to a broken invariant.
    pub story: Option<Story>,
}

/// A counterexample: the shortest one there is.
#[derive(Debug)]
pub struct Story {
    /// What is broken at its end.
    pub broken: Invariant,
    /// The steps in plain words.
    pub steps: Vec<String>,
}

impl std::fmt::Display for Story {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (number, step) in self.steps.iter().enumerate() {
            writeln!(f, "  {:>3}. {step}", number + 1)?;
        }
        writeln!(f, "       => {:?} ({}): {}", self.broken, self.broken.id(), self.broken.broken())
    }
}

fn fingerprint<S: Hash>(state: &S) -> u64 {
    FixedState::with_seed(0x7469_6465).hash_one(state).max(1)
}

/// Visits states on [`THREADS`] threads until all are seen, `max_states` is reached or an invariant breaks. The
/// counterexample is then searched again by [`explain`], which keeps the way.
pub fn search<M: Model>(model: &M, max_states: u64) -> Outcome {
    let mut seen = Seen::default();
    let mut level = vec![vec![model.canonical(model.initial())]];
    seen.insert(fingerprint(&level[0][0]));
    let counters = Counters::new(1);
    while !level.is_empty() && !counters.stopped(max_states) {
        let work = Mutex::new(std::mem::take(&mut level));
        let found = Mutex::new(Vec::new());
        while !work.lock().expect("no panic").is_empty() && !counters.stopped(max_states) {
            std::thread::scope(|scope| {
                for _ in 0..THREADS {
                    scope.spawn(|| expand(model, &seen, &work, &found, &counters, max_states));
                }
            });
            if seen.is_full(counters.states.load(Ordering::Relaxed)) {
                seen.grow();
            }
        }
        let rest = work.into_inner().expect("no panic");
        level = found.into_inner().expect("no panic");
        level.extend(rest);
    }
    if counters.broken.load(Ordering::Relaxed) {
        return explain(model, max_states.saturating_mul(4));
    }
    counters.outcome(level.is_empty(), None)
}

struct Counters {
    states: AtomicU64,
    steps: AtomicU64,
    done: AtomicU64,
    broken: AtomicBool,
}

impl Counters {
    fn new(states: u64) -> Self {
        Self {
            states: AtomicU64::new(states),
            steps: AtomicU64::new(0),
            done: AtomicU64::new(0),
            broken: AtomicBool::new(false),
        }
    }

    fn stopped(&self, max_states: u64) -> bool {
        self.broken.load(Ordering::Relaxed) || self.states.load(Ordering::Relaxed) >= max_states
    }

    fn outcome(&self, exhaustive: bool, story: Option<Story>) -> Outcome {
        Outcome {
            states: self.states.load(Ordering::Relaxed),
            steps: self.steps.load(Ordering::Relaxed),
            done: self.done.load(Ordering::Relaxed),
            exhaustive,
            story,
        }
    }
}

type Blocks<S> = Mutex<Vec<Vec<S>>>;

/// One thread's part of a level: takes blocks until none is left, or until the seen-set has to grow.
fn expand<M: Model>(
    model: &M,
    seen: &Seen,
    work: &Blocks<M::State>,
    found: &Blocks<M::State>,
    counters: &Counters,
    max_states: u64,
) {
    let mut steps = Steps::new(false);
    let mut fresh = Vec::with_capacity(BLOCK);
    while !counters.stopped(max_states) && !seen.is_full(counters.states.load(Ordering::Relaxed)) {
        let Some(block) = work.lock().expect("no panic").pop() else { break };
        let (mut new, mut taken, mut done) = (0, 0, 0);
        for state in &block {
            steps.states.clear();
            model.next(state, &mut steps);
            assert!(steps.states.len() <= MAX_STEPS, "a state has {} steps, at most {MAX_STEPS}", steps.states.len());
            taken += steps.states.len() as u64;
            done += u64::from(model.done(state));
            if steps.states.is_empty() && model.at_rest(state).is_some() {
                counters.broken.store(true, Ordering::Relaxed);
            }
            for next in steps.states.drain(..) {
                let next = model.canonical(next);
                if !seen.insert(fingerprint(&next)) {
                    continue;
                }
                new += 1;
                if model.violation(&next).is_some() {
                    counters.broken.store(true, Ordering::Relaxed);
                }
                fresh.push(next);
                if fresh.len() == BLOCK {
                    found.lock().expect("no panic").push(std::mem::replace(&mut fresh, Vec::with_capacity(BLOCK)));
                }
            }
        }
        counters.states.fetch_add(new, Ordering::Relaxed);
        counters.steps.fetch_add(taken, Ordering::Relaxed);
        counters.done.fetch_add(done, Ordering::Relaxed);
    }
    if !fresh.is_empty() {
        found.lock().expect("no panic").push(fresh);
    }
}

/// The same search on one thread with the way to every state kept: for rules that are known to be wrong, and to tell
/// the story of a violation that [`search`] met. States are taken as they are, so that an environment keeps its name
/// through the story.
pub fn explain<M: Model>(model: &M, max_states: u64) -> Outcome {
    let counters = Counters::new(1);
    let initial = model.initial();
    let mut from: HashMap<u64, u64, FixedState> = HashMap::default();
    from.insert(fingerprint(&initial), 0);
    let mut level = vec![initial];
    let mut steps = Steps::new(false);
    while !level.is_empty() {
        let mut fresh = Vec::new();
        for state in level {
            let parent = fingerprint(&state);
            steps.states.clear();
            model.next(&state, &mut steps);
            counters.steps.fetch_add(steps.states.len() as u64, Ordering::Relaxed);
            counters.done.fetch_add(u64::from(model.done(&state)), Ordering::Relaxed);
            if steps.states.is_empty()
                && let Some(broken) = model.at_rest(&state)
            {
                return counters.outcome(false, Some(tell(model, &from, parent, broken)));
            }
            for next in steps.states.drain(..) {
                let print = fingerprint(&next);
                if from.contains_key(&print) {
                    continue;
                }
                from.insert(print, parent);
                counters.states.fetch_add(1, Ordering::Relaxed);
                if let Some(broken) = model.violation(&next) {
                    return counters.outcome(false, Some(tell(model, &from, print, broken)));
                }
                fresh.push(next);
            }
            if counters.states.load(Ordering::Relaxed) >= max_states {
                return counters.outcome(false, None);
            }
        }
        level = fresh;
    }
    counters.outcome(true, None)
}

/// Walks from the beginning to the state with this fingerprint and writes down the words.
fn tell<M: Model>(model: &M, from: &HashMap<u64, u64, FixedState>, end: u64, broken: Invariant) -> Story {
    let mut way = Vec::new();
    let mut at = end;
    while from[&at] != 0 {
        way.push(at);
        at = from[&at];
    }
    let mut state = model.initial();
    let mut words = Vec::new();
    for wanted in way.into_iter().rev() {
        let mut steps = Steps::new(true);
        model.next(&state, &mut steps);
        let at = steps.states.iter().position(|next| fingerprint(next) == wanted).expect("models have no hidden state");
        words.push(steps.words.swap_remove(at));
        state = steps.states.swap_remove(at);
    }
    Story { broken, steps: words }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts two numbers up to a limit, one step at a time.
    struct Pair {
        limit: u8,
        forbidden: Option<(u8, u8)>,
        end: Option<Invariant>,
    }

    impl Model for Pair {
        type State = (u8, u8);

        fn initial(&self) -> (u8, u8) {
            (0, 0)
        }

        fn next(&self, &(one, two): &(u8, u8), steps: &mut Steps<(u8, u8)>) {
            if one < self.limit {
                steps.add((one + 1, two), || format!("one: {}", one + 1));
            }
            if two < self.limit {
                steps.add((one, two + 1), || format!("two: {}", two + 1));
            }
        }

        fn violation(&self, state: &(u8, u8)) -> Option<Invariant> {
            (self.forbidden == Some(*state)).then_some(Invariant::Order)
        }

        fn at_rest(&self, _: &(u8, u8)) -> Option<Invariant> {
            self.end
        }

        fn done(&self, state: &(u8, u8)) -> bool {
            *state == (self.limit, self.limit)
        }
    }

    #[test]
    fn every_state_is_visited_once_by_both_searches() {
        let pair = Pair { limit: 200, forbidden: None, end: None };
        for outcome in [search(&pair, u64::MAX), explain(&pair, u64::MAX)] {
            assert_eq!((outcome.states, outcome.steps, outcome.done), (201 * 201, 2 * 200 * 201, 1));
            assert!(outcome.exhaustive && outcome.story.is_none());
        }
    }

    #[test]
    fn a_counterexample_is_the_shortest_and_is_told_in_order() {
        let pair = Pair { limit: 9, forbidden: Some((1, 2)), end: None };
        let story = search(&pair, u64::MAX).story.expect("a violation");
        assert_eq!((story.steps.len(), story.broken), (3, Invariant::Order));
        assert!(story.to_string().contains("  1. ") && story.to_string().contains("=> Order (I6): "));
    }

    #[test]
    fn what_is_wrong_at_rest_is_found() {
        let pair = Pair { limit: 2, forbidden: None, end: Some(Invariant::Drains) };
        assert_eq!(search(&pair, u64::MAX).story.map(|story| story.steps.len()), Some(4));
    }

    #[test]
    fn a_search_that_is_cut_off_says_so() {
        let pair = Pair { limit: 200, forbidden: None, end: None };
        assert!(!search(&pair, 1000).exhaustive && !explain(&pair, 1000).exhaustive);
    }
}
