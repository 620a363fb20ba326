//! One lane: its ring of slots, its manifest, cold loads, sending, the kinds of target, and the tick.
//!
//! Two or three environments may hold the lane at the same time. The source waits for one of them; it may give up on
//! it and call another one with the same records cut differently, while the first one works on.
//!
//! What can happen: an environment dies at any step; a put applies late, twice, or its answer is lost; a request
//! reaches the target late; reads of a load see different moments (and old ones, if [`Reads::Stale`]); the target is
//! down; the target forgets ids while the lane rests; the tick runs at any moment on any environment.
//!
//! The rules are numbered as in `docs/protocol.md`.

mod environment;
mod world;

use crate::invariant::Invariant;
use crate::search::{Model, Steps};

/// Commit numbers that a model run may use.
const MAX_N: usize = 6;

/// Records of the source at most.
const MAX_RECORDS: usize = 4;

/// Puts on the wire at once.
const WIRE: usize = 2;

/// No environment, or one whose invocation is over.
const NOBODY: u8 = 9;

/// Not read yet.
const UNREAD: u8 = 255;

/// The rules of a lane. A known-wrong variant has one of them weakened.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// 1. Commit n is put on condition that slot n mod K is absent (first round) or holds n-K.
    pub conditional_put: bool,
    /// 2. n+1 only after every request of n is acknowledged, or carried by n+1.
    pub settle_before_next: bool,
    /// 3. The manifest is written before n would pass manifest + K.
    pub manifest_before_wrap: bool,
    /// 3. The manifest covers settled commits only.
    pub manifest_covers_settled: bool,
    /// 3. The manifest is replaced on condition of the version that was read.
    pub manifest_compare_and_swap: bool,
    /// 4. No slot is deleted and none expires.
    pub slots_stay: bool,
    /// 5. A refused put counts as mine only if the slot shows this very attempt.
    pub attempt_token: bool,
    /// 6. A put without an answer is not a success.
    pub unknown_is_no_success: bool,
    /// 7. A load that finds a slot newer than its head is repeated.
    pub load_checked: bool,
    /// 8. The memory of a lane whose outbox is not settled is dropped.
    pub drop_unsettled_memory: bool,
    /// 9. What is sent are the bytes that were committed.
    pub committed_bytes: bool,
    /// 11. Records at or below the committed position are skipped.
    pub skip_rule: bool,
    /// 13. Success is answered only when the outbox is settled.
    pub answer_when_settled: bool,
    /// A resting head is settled by the tick before the target may forget its ids.
    pub tick_before_forgetting: bool,
    /// What a cold loader does before it sends a foreign head to a last-writer-wins target.
    pub before_foreign_send: BeforeForeignSend,
}

/// How somebody who loaded an unsettled head keeps out of the way of its writer, at a last-writer-wins target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BeforeForeignSend {
    /// The rule: a carry commit that takes the head over, then the deadlines of all earlier writers, then sending.
    TakeOver,
    /// Wrong: waits for the deadline of the writer of the commit before.
    WaitForPrevious,
    /// Wrong: waits for the deadlines of all earlier writers, without a commit of its own.
    WaitForAll,
    /// Wrong: writes its deadline into the slot instead of a new commit.
    RegisterInSlot,
    /// Wrong: sends at once.
    Nothing,
}

impl Rules {
    /// The rules as they are.
    pub const RIGHT: Self = Self {
        conditional_put: true,
        settle_before_next: true,
        manifest_before_wrap: true,
        manifest_covers_settled: true,
        manifest_compare_and_swap: true,
        slots_stay: true,
        attempt_token: true,
        unknown_is_no_success: true,
        load_checked: true,
        drop_unsettled_memory: true,
        committed_bytes: true,
        skip_rule: true,
        answer_when_settled: true,
        tick_before_forgetting: true,
        before_foreign_send: BeforeForeignSend::TakeOver,
    };
}

/// What the target promises.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// Drops an id that it remembers.
    ById,
    /// Refuses a number that is not larger than the last.
    Fenced,
    /// Applies everything; the last one stays.
    LastWriterWins,
    /// Applies everything, adds it up.
    None,
}

/// How the reads of a load fit together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reads {
    /// All at one moment.
    Atomic,
    /// Manifest, then the slots after it, one by one; others work in between.
    InOrder,
    /// Manifest and slots one by one in any order.
    AnyOrder,
    /// As `AnyOrder`, and each may show an old value. Weaker than what the store must offer.
    Stale,
}

/// How often each fault may strike.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Faults {
    /// The source gives up on an invocation, which runs on.
    pub give_ups: u8,
    /// An environment dies.
    pub deaths: u8,
    /// A put gets no answer, or the SDK repeats it.
    pub lost_puts: u8,
    /// A request gets no answer and reaches the target later.
    pub slow_requests: u8,
    /// The target forgets all ids while the lane rests.
    pub forgets: u8,
    /// Time runs out and a prefix of the batch is committed.
    pub prefixes: u8,
    /// The target is down for one request; the handler fails and its environment stays warm.
    pub outages: u8,
    /// The tick runs.
    pub ticks: u8,
    /// An old slot is deleted (only if `slots_stay` is weakened).
    pub deletions: u8,
}

/// The model: rules, and the world that they have to stand.
#[derive(Clone, Copy, Debug)]
pub struct Ring<const E: usize, const K: usize> {
    /// The rules in force.
    pub rules: Rules,
    /// What the target promises.
    pub target: Target,
    /// How loads read.
    pub reads: Reads,
    /// How often each fault may strike.
    pub faults: Faults,
    /// Records in the source.
    pub records: u8,
    /// Records in one batch at most.
    pub batch: u8,
}

/// What a commit says, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
struct Commit {
    /// First and last record folded. `lo` > `hi`: a carry commit.
    lo: u8,
    hi: u8,
    /// The number under which its outbox was first committed.
    request: u8,
    /// The environment that wrote it.
    by: u8,
    /// Whether the attempt that wrote it is still the writer's newest.
    current: bool,
    /// Environments that may still send this outbox: a bit each, gone with the invocation's deadline.
    senders: u8,
}

/// A put on its way.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
struct Put {
    n: u8,
    commit: Commit,
    /// Whether its environment waits for the answer.
    awaited: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
enum Step {
    Idle,
    Begin,
    Load,
    TakeOver,
    Register,
    Settle,
    Decide,
    MoveManifest,
    Wait,
    Answer,
}

/// What an environment remembers of the lane.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
struct Memory {
    n: u8,
    position: u8,
    settled: bool,
    /// Whether somebody else may be sending this head.
    foreign: bool,
    manifest: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
struct Environment<const K: usize> {
    step: Step,
    memory: Option<Memory>,
    /// The records of its invocation. None for the tick.
    lo: u8,
    hi: u8,
    tick: bool,
    manifest_read: u8,
    slots_read: [u8; K],
    /// The head when its load began, to judge the load by.
    head_then: u8,
}

impl<const K: usize> Environment<K> {
    const COLD: Self = Self {
        step: Step::Idle,
        memory: None,
        lo: 0,
        hi: 0,
        tick: false,
        manifest_read: UNREAD,
        slots_read: [UNREAD; K],
        head_then: 0,
    };
}

/// A state of the world.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State<const E: usize, const K: usize> {
    /// The source has been told 'done' up to here.
    checkpoint: u8,
    /// The environment that the source waits for.
    waits_for: u8,
    faults: Faults,
    environments: [Environment<K>; E],
    /// All commits ever made. Slot k holds the newest n with n mod K = k.
    commits: [Option<Commit>; MAX_N],
    deleted: u8,
    manifest: u8,
    wire: [Option<Put>; WIRE],
    /// Requests on their way to the target, a bit each.
    slow: u8,
    /// Ids that the target remembers, a bit each.
    remembered: u8,
    last: u8,
    /// Effects of each record, up to 2.
    effects: [u8; MAX_RECORDS],
    broken: Option<Invariant>,
}

impl<const E: usize, const K: usize> State<E, K> {
    fn head(&self) -> u8 {
        self.commits.iter().take_while(|commit| commit.is_some()).count() as u8
    }

    /// The number that slot `k` holds; 0 if it is absent.
    fn slot(&self, k: usize) -> u8 {
        let newest = (1..=self.head()).rev().find(|n| *n as usize % K == k).unwrap_or(0);
        if self.deleted >> newest & 1 == 1 { 0 } else { newest }
    }

    fn commit(&self, n: u8) -> Option<Commit> {
        if n == 0 { None } else { self.commits[n as usize - 1] }
    }

    fn position(&self, n: u8) -> u8 {
        self.commit(n).map_or(0, |commit| commit.hi)
    }

    fn everyone_rests(&self) -> bool {
        self.environments.iter().all(|environment| environment.step == Step::Idle)
    }

    fn everywhere(&mut self, mut change: impl FnMut(&mut Commit)) {
        self.commits.iter_mut().flatten().for_each(&mut change);
        self.wire.iter_mut().flatten().for_each(|put| change(&mut put.commit));
    }

    /// Environment `i` begins a new attempt: its older ones are no longer its own.
    fn new_attempt(&mut self, i: usize) {
        self.everywhere(|commit| {
            if commit.by == i as u8 {
                commit.current = false;
            }
        });
    }

    /// The invocation of environment `i` is over: nothing of it is sent from now on.
    fn end_invocation(&mut self, i: usize, keep_writer: bool) {
        for put in self.wire.iter_mut().flatten().filter(|put| put.commit.by == i as u8) {
            put.awaited = false;
        }
        self.new_attempt(i);
        self.everywhere(|commit| {
            commit.senders &= !(1 << i);
            if commit.by == i as u8 && !keep_writer {
                commit.by = NOBODY;
            }
        });
        let environment = &mut self.environments[i];
        let memory = environment.memory;
        *environment = Environment { memory, ..Environment::COLD };
        if self.waits_for == i as u8 {
            self.waits_for = NOBODY;
        }
    }
}

/// The words for a range of records.
fn records(lo: u8, hi: u8) -> String {
    if lo == hi { format!("record {lo}") } else { format!("records {lo} to {hi}") }
}

fn name(i: usize) -> char {
    (b'A' + i as u8) as char
}

impl<const E: usize, const K: usize> Model for Ring<E, K> {
    type State = State<E, K>;

    fn initial(&self) -> State<E, K> {
        State {
            checkpoint: 0,
            waits_for: NOBODY,
            faults: self.faults,
            environments: [Environment::COLD; E],
            commits: [None; MAX_N],
            deleted: 0,
            manifest: 0,
            wire: [None; WIRE],
            slow: 0,
            remembered: 0,
            last: 0,
            effects: [0; MAX_RECORDS],
            broken: None,
        }
    }

    fn next(&self, state: &State<E, K>, steps: &mut Steps<State<E, K>>) {
        self.source(state, steps);
        self.wire(state, steps);
        self.target(state, steps);
        for i in 0..E {
            if state.environments[i].step == Step::Idle {
                self.begin_tick(state, i, steps);
                continue;
            }
            if state.faults.deaths > 0 {
                let mut after = *state;
                after.faults.deaths -= 1;
                self.die(&mut after, i);
                steps.add(after, || format!("environment {} dies", name(i)));
            }
            self.environment(state, i, steps);
        }
    }

    fn violation(&self, state: &State<E, K>) -> Option<Invariant> {
        state.broken
    }

    fn at_rest(&self, state: &State<E, K>) -> Option<Invariant> {
        let numbers_left = (state.head() as usize) < MAX_N;
        (state.checkpoint < self.records && numbers_left).then_some(Invariant::Drains)
    }

    fn done(&self, state: &State<E, K>) -> bool {
        state.checkpoint == self.records
    }

    fn canonical(&self, mut state: State<E, K>) -> State<E, K> {
        // Environments are alike: the smaller one goes first.
        for at in (1..E).rev() {
            for i in 0..at {
                if state.environments[i + 1] < state.environments[i] {
                    state.environments.swap(i, i + 1);
                    let (one, two) = (i as u8, i as u8 + 1);
                    let other = |by: u8| {
                        if by == one {
                            two
                        } else if by == two {
                            one
                        } else {
                            by
                        }
                    };
                    state.waits_for = other(state.waits_for);
                    state.everywhere(|commit| {
                        commit.by = other(commit.by);
                        let (low, high) = (commit.senders >> one & 1, commit.senders >> two & 1);
                        commit.senders = commit.senders & !(0b11 << one) | low << two | high << one;
                    });
                }
            }
        }
        if state.wire[1] < state.wire[0] {
            state.wire.swap(0, 1);
        }
        state
    }
}
