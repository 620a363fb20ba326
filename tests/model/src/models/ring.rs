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

impl<const E: usize, const K: usize> Ring<E, K> {
    fn die(&self, state: &mut State<E, K>, i: usize) {
        state.end_invocation(i, false);
        state.environments[i] = Environment::COLD;
    }

    fn source(&self, state: &State<E, K>, steps: &mut Steps<State<E, K>>) {
        if state.waits_for == NOBODY && state.checkpoint < self.records {
            for hi in state.checkpoint + 1..=(state.checkpoint + self.batch).min(self.records) {
                for i in (0..E).filter(|i| state.environments[*i].step == Step::Idle) {
                    let mut after = *state;
                    after.waits_for = i as u8;
                    let lo = state.checkpoint + 1;
                    let environment = &mut after.environments[i];
                    *environment =
                        Environment { step: Step::Begin, lo, hi, memory: environment.memory, ..Environment::COLD };
                    steps.add(after, || match state.environments[i].memory {
                        Some(memory) => format!(
                            "the source gives records {lo} to {hi} to environment {}, which is warm with head {}",
                            name(i),
                            memory.n
                        ),
                        None => format!("the source gives records {lo} to {hi} to environment {}", name(i)),
                    });
                }
            }
        }
        if state.waits_for != NOBODY && state.faults.give_ups > 0 {
            let mut after = *state;
            after.faults.give_ups -= 1;
            after.waits_for = NOBODY;
            steps.add(after, || {
                format!("the source gives up on environment {}, which works on", name(state.waits_for as usize))
            });
        }
    }

    fn begin_tick(&self, state: &State<E, K>, i: usize, steps: &mut Steps<State<E, K>>) {
        if state.faults.ticks > 0 && state.manifest < state.head() {
            let mut after = *state;
            after.faults.ticks -= 1;
            let memory = state.environments[i].memory;
            after.environments[i] = Environment { step: Step::Begin, tick: true, memory, ..Environment::COLD };
            steps.add(after, || format!("the tick runs on environment {}", name(i)));
        }
    }

    /// A put reaches the store.
    fn wire(&self, state: &State<E, K>, steps: &mut Steps<State<E, K>>) {
        for at in 0..WIRE {
            let Some(put) = state.wire[at] else { continue };
            if at > 0 && state.wire[at] == state.wire[at - 1] {
                continue;
            }
            let mut after = *state;
            after.wire[at] = None;
            let (n, head) = (put.n, state.head());
            let slot = state.slot(n as usize % K);
            let condition = if n as usize <= K { slot == 0 } else { slot as usize == n as usize - K };
            let applied = condition || !self.rules.conditional_put;
            if applied {
                self.apply(&mut after, put);
            }
            let stored = state.commit(n).filter(|_| slot == n);
            let mine = applied
                || stored.is_some_and(|stored| {
                    stored.by == put.commit.by
                        && (stored.current || !self.rules.attempt_token)
                        && put.commit.by != NOBODY
                });
            if put.awaited {
                let environment = &mut after.environments[put.commit.by as usize];
                let manifest = environment.memory.map_or(0, |memory| memory.manifest);
                if mine {
                    let commit = put.commit;
                    environment.memory =
                        Some(Memory { n, position: commit.hi, settled: false, foreign: false, manifest });
                    environment.step = if self.rules.answer_when_settled { Step::Settle } else { Step::Answer };
                } else {
                    environment.memory = None;
                    environment.step = Step::Begin;
                }
            }
            steps.add(after, || {
                let by = if put.commit.by == NOBODY {
                    "nobody any more".into()
                } else {
                    name(put.commit.by as usize).to_string()
                };
                let what = if put.commit.lo > put.commit.hi {
                    format!("carry commit {n} (request {})", put.commit.request)
                } else {
                    format!("commit {n} (records {} to {})", put.commit.lo, put.commit.hi)
                };
                let result = match (applied, mine) {
                    (true, _) if head >= n => "overwrites the slot",
                    (true, _) => "is stored",
                    (false, true) => "is refused, but the slot shows its writer: taken as stored",
                    (false, false) => "is refused",
                };
                let waits = if put.awaited { "" } else { "; nobody waits for the answer" };
                format!("{what} of {by} {result}{waits}")
            });
        }
    }

    fn apply(&self, after: &mut State<E, K>, put: Put) {
        let head = after.head();
        let n = put.n as usize;
        after.broken = if put.n <= head || n > MAX_N {
            Some(Invariant::OneCommitPerNumber)
        } else if put.commit.lo != after.position(head) + 1 {
            Some(Invariant::FoldedOnce)
        } else if n > K && (after.manifest as usize) < n - K {
            Some(Invariant::StateWhole)
        } else {
            None
        };
        if after.broken.is_none() {
            after.commits[n - 1] = Some(put.commit);
        }
    }

    /// Requests that arrive late, and time in which the target forgets.
    fn target(&self, state: &State<E, K>, steps: &mut Steps<State<E, K>>) {
        for request in (1..=MAX_N as u8).filter(|n| state.slow >> n & 1 == 1) {
            let mut after = *state;
            after.slow &= !(1 << request);
            self.arrive(&mut after, request);
            steps.add(after, || format!("the late request {request} reaches the target"));
        }
        let quiet = state.waits_for == NOBODY && state.everyone_rests() && state.slow == 0;
        let settled = state.manifest == state.head() || !self.rules.tick_before_forgetting;
        if state.faults.forgets > 0 && quiet && state.remembered != 0 && settled {
            let mut after = *state;
            after.faults.forgets -= 1;
            after.remembered = 0;
            steps.add(after, || "a long silence: the target forgets the ids it knew".into());
        }
        if !self.rules.slots_stay && state.faults.deletions > 0 {
            for n in (1..=state.head()).filter(|n| *n < state.manifest && state.slot(*n as usize % K) == *n) {
                let mut after = *state;
                after.faults.deletions -= 1;
                after.deleted |= 1 << n;
                steps.add(after, || {
                    format!("slot {}, which holds commit {n} below the manifest, expires", n as usize % K)
                });
            }
        }
    }

    /// A request takes effect, or not.
    fn arrive(&self, after: &mut State<E, K>, request: u8) {
        let Some(commit) = after.commit(request) else {
            after.broken = Some(Invariant::OnePayloadPerId);
            return;
        };
        let known = after.remembered >> request & 1 == 1;
        let applies = match self.target {
            Target::ById => !known,
            Target::Fenced => request > after.last,
            Target::LastWriterWins | Target::None => true,
        };
        if applies {
            let older = request < after.last;
            let keeps_order = match self.target {
                Target::LastWriterWins => true,
                Target::ById | Target::Fenced => self.faults.forgets == 0,
                Target::None => false,
            };
            if older && keeps_order {
                after.broken = Some(Invariant::Order);
            }
            for record in commit.lo..=commit.hi {
                let effects = &mut after.effects[record as usize - 1];
                *effects = (*effects + 1).min(2);
                if *effects > 1 && matches!(self.target, Target::ById | Target::Fenced) {
                    after.broken = after.broken.or(Some(Invariant::EffectOnce));
                }
                if matches!(self.target, Target::LastWriterWins | Target::None) {
                    *effects = 1;
                }
            }
        }
        if self.target == Target::ById {
            after.remembered |= 1 << request;
        }
        after.last = after.last.max(request);
    }

    fn environment(&self, state: &State<E, K>, i: usize, steps: &mut Steps<State<E, K>>) {
        match state.environments[i].step {
            Step::Idle => {}
            Step::Begin => self.begin(state, i, steps),
            Step::Load => self.load(state, i, steps),
            Step::TakeOver => self.take_over(state, i, steps),
            Step::Register => self.register(state, i, steps),
            Step::Settle => self.settle(state, i, steps),
            Step::Decide => self.decide(state, i, steps),
            Step::MoveManifest => self.move_manifest(state, i, steps),
            Step::Wait => self.wait(state, i, steps),
            Step::Answer => self.answer(state, i, steps),
        }
    }

    /// What to do with the memory at hand.
    fn begin(&self, state: &State<E, K>, i: usize, steps: &mut Steps<State<E, K>>) {
        let mut after = *state;
        let environment = &mut after.environments[i];
        let Some(memory) = environment.memory else {
            environment.step = Step::Load;
            environment.head_then = if self.reads == Reads::Stale { 0 } else { state.head() };
            steps.add(after, || format!("{} begins a cold load", name(i)));
            return;
        };
        let owes = memory.n > 0 && !memory.settled;
        let careful = self.target == Target::LastWriterWins && memory.foreign;
        environment.step = if owes && environment.tick && !self.rules.manifest_covers_settled {
            Step::MoveManifest
        } else if owes && careful && self.rules.before_foreign_send == BeforeForeignSend::TakeOver {
            Step::TakeOver
        } else if owes && careful && self.rules.before_foreign_send == BeforeForeignSend::RegisterInSlot {
            Step::Register
        } else if owes && self.rules.settle_before_next {
            Step::Settle
        } else {
            self.after_settling(environment, memory)
        };
        steps.add(after, || {
            let owed = if owes { "not settled" } else { "settled" };
            format!("{} knows head {}, position {}, {owed}", name(i), memory.n, memory.position)
        });
    }

    fn after_settling(&self, environment: &Environment<K>, memory: Memory) -> Step {
        if environment.tick {
            if memory.n > memory.manifest { Step::MoveManifest } else { Step::Answer }
        } else if memory.position >= environment.hi && (self.rules.skip_rule || !memory.foreign) {
            if memory.settled || memory.n == 0 { Step::Answer } else { Step::Settle }
        } else {
            Step::Decide
        }
    }

    fn load(&self, state: &State<E, K>, i: usize, steps: &mut Steps<State<E, K>>) {
        let mut read = state.environments[i];
        if self.reads == Reads::Atomic {
            read.manifest_read = state.manifest;
            read.slots_read = std::array::from_fn(|k| state.slot(k));
        }
        if read.manifest_read != UNREAD && !read.slots_read.contains(&UNREAD) {
            self.loaded(state, i, read, steps);
            return;
        }
        let stale = self.reads == Reads::Stale;
        if read.manifest_read == UNREAD {
            for manifest in (if stale { 0 } else { state.manifest })..=state.manifest {
                let mut after = *state;
                after.environments[i].manifest_read = manifest;
                steps.add(after, || format!("{} reads the manifest: {manifest}", name(i)));
            }
        }
        let next_in_order =
            (0..K).map(|ahead| (read.manifest_read as usize + 1 + ahead) % K).find(|k| read.slots_read[*k] == UNREAD);
        for k in (0..K).filter(|k| read.slots_read[*k] == UNREAD) {
            if self.reads == Reads::InOrder && (read.manifest_read == UNREAD || Some(k) != next_in_order) {
                continue;
            }
            let now = state.slot(k);
            let mut value = now;
            loop {
                let mut after = *state;
                after.environments[i].slots_read[k] = value;
                steps.add(after, || {
                    let old = if value == now { "" } else { " (an old value)" };
                    format!("{} reads slot {k}: {value}{old}", name(i))
                });
                if !stale || value == 0 {
                    break;
                }
                value = value.saturating_sub(K as u8);
            }
        }
    }

    /// Manifest and all slots are read: follow them to the head.
    fn loaded(&self, state: &State<E, K>, i: usize, read: Environment<K>, steps: &mut Steps<State<E, K>>) {
        let mut n = read.manifest_read;
        while read.slots_read[(n as usize + 1) % K] == n + 1 {
            n += 1;
        }
        let mut after = *state;
        let environment = &mut after.environments[i];
        environment.manifest_read = UNREAD;
        environment.slots_read = [UNREAD; K];
        if self.rules.load_checked && read.slots_read.iter().any(|slot| *slot > n) {
            environment.head_then = if self.reads == Reads::Stale { 0 } else { state.head() };
            steps.add(after, || format!("{} finds a slot newer than the head {n}: a torn load, again", name(i)));
            return;
        }
        let manifest = read.manifest_read;
        environment.memory =
            Some(Memory { n, position: state.position(n), settled: n == manifest, foreign: true, manifest });
        environment.step = Step::Begin;
        environment.head_then = 0;
        if n < read.head_then {
            after.broken = Some(Invariant::LoadIsTrue);
        }
        steps.add(after, || format!("{} has loaded head {n} (the newest commit is {})", name(i), state.head()));
    }

    /// A carry commit that makes a foreign head one's own.
    fn take_over(&self, state: &State<E, K>, i: usize, steps: &mut Steps<State<E, K>>) {
        let Some(memory) = state.environments[i].memory else { return };
        let n = memory.n + 1;
        if n as usize > MAX_N {
            return;
        }
        if n as usize > K && (memory.manifest as usize) + K < n as usize {
            // The head itself is not settled: the manifest covers the commit before it.
            self.swap_manifest(state, i, memory.n - 1, steps);
            return;
        }
        let Some(at) = state.wire.iter().position(Option::is_none) else { return };
        let mut after = *state;
        after.new_attempt(i);
        let request = state.commit(memory.n).map_or(0, |commit| commit.request);
        let (lo, hi) = (memory.position + 1, memory.position);
        let commit = Commit { lo, hi, request, by: i as u8, current: true, senders: 1 << i };
        after.wire[at] = Some(Put { n, commit, awaited: true });
        after.environments[i].step = Step::Wait;
        steps.add(after, || format!("{} puts carry commit {n}, which takes over request {request}", name(i)));
    }

    /// The wrong way of taking over: a note in the slot.
    fn register(&self, state: &State<E, K>, i: usize, steps: &mut Steps<State<E, K>>) {
        let Some(memory) = state.environments[i].memory else { return };
        let mut after = *state;
        if state.slot(memory.n as usize % K) == memory.n {
            if let Some(commit) = after.commits[memory.n as usize - 1].as_mut() {
                commit.senders |= 1 << i;
            }
            after.environments[i].step = Step::Settle;
            steps.add(after, || format!("{} writes its deadline into the slot of commit {}", name(i), memory.n));
        } else {
            after.environments[i].memory = None;
            after.environments[i].step = Step::Begin;
            steps.add(after, || format!("{} finds another commit in the slot", name(i)));
        }
    }

    /// Another environment that may still send something older.
    fn in_the_way(&self, state: &State<E, K>, i: usize, n: u8) -> Option<usize> {
        if self.target != Target::LastWriterWins {
            return None;
        }
        let mask = !(1u8 << i);
        let senders = |n: u8| state.commit(n).map_or(0, |commit| commit.senders & mask);
        let waited_for = match self.rules.before_foreign_send {
            BeforeForeignSend::Nothing => 0,
            BeforeForeignSend::WaitForPrevious => senders(n.saturating_sub(1)),
            _ => (1..n).map(senders).fold(0, |all, some| all | some),
        };
        (waited_for != 0).then(|| waited_for.trailing_zeros() as usize)
    }

    fn settle(&self, state: &State<E, K>, i: usize, steps: &mut Steps<State<E, K>>) {
        let environment = state.environments[i];
        let Some(memory) = environment.memory else { return };
        if state.faults.outages > 0 {
            let mut after = *state;
            after.faults.outages -= 1;
            after.end_invocation(i, false);
            if self.rules.drop_unsettled_memory {
                after.environments[i].memory = None;
            }
            steps.add(after, || {
                let memory = if self.rules.drop_unsettled_memory { "drops" } else { "keeps" };
                format!("the target is down: {} answers with an error and {memory} its memory", name(i))
            });
        }
        if let Some(other) = self.in_the_way(state, i, memory.n) {
            let mut after = *state;
            self.die(&mut after, other);
            steps.add(after, || format!("{} waits until the deadline of {} has passed", name(i), name(other)));
            return;
        }
        let committed = state.commit(memory.n).filter(|commit| commit.hi == memory.position);
        let request = committed.map_or(memory.n, |commit| commit.request);
        if state.faults.slow_requests > 0 && state.slow == 0 && committed.is_some() {
            let mut after = *state;
            after.faults.slow_requests -= 1;
            after.slow |= 1 << request;
            steps.add(after, || format!("{} sends request {request}; no answer, it is still on its way", name(i)));
        }
        let mut after = *state;
        self.arrive(&mut after, request);
        let computed_again = !self.rules.committed_bytes && memory.foreign && !environment.tick;
        let other_bytes = computed_again
            && state.commit(request).is_some_and(|commit| (commit.lo, commit.hi) != (environment.lo, environment.hi));
        if committed.is_none() || other_bytes {
            after.broken = Some(Invariant::OnePayloadPerId);
        }
        let environment = &mut after.environments[i];
        let memory = Memory { settled: true, foreign: false, ..memory };
        environment.memory = Some(memory);
        environment.step = self.after_settling(environment, memory);
        steps.add(after, || {
            if other_bytes {
                format!(
                    "{} sends request {request} with records {} to {}",
                    name(i),
                    state.environments[i].lo,
                    state.environments[i].hi
                )
            } else {
                format!("{} sends request {request}", name(i))
            }
        });
    }

    /// Decides the next commit and puts it on the wire.
    fn decide(&self, state: &State<E, K>, i: usize, steps: &mut Steps<State<E, K>>) {
        let environment = state.environments[i];
        let Some(memory) = environment.memory else { return };
        let n = memory.n + 1;
        if n as usize > MAX_N {
            return;
        }
        let wraps = n as usize > K && (memory.manifest as usize) + K < n as usize;
        if wraps && self.rules.manifest_before_wrap {
            self.swap_manifest(state, i, memory.n, steps);
            return;
        }
        let Some(at) = state.wire.iter().position(Option::is_none) else { return };
        let lo = if self.rules.skip_rule { environment.lo.max(memory.position + 1) } else { environment.lo };
        let shortest = if state.faults.prefixes > 0 { lo } else { environment.hi };
        for hi in shortest..=environment.hi {
            let mut after = *state;
            if hi < environment.hi {
                after.faults.prefixes -= 1;
                after.environments[i].hi = hi;
            }
            after.new_attempt(i);
            let commit = Commit { lo, hi, request: n, by: i as u8, current: true, senders: 1 << i };
            after.wire[at] = Some(Put { n, commit, awaited: true });
            after.environments[i].step = Step::Wait;
            steps.add(after, || format!("{} puts commit {n} with records {lo} to {hi}", name(i)));
        }
    }

    fn move_manifest(&self, state: &State<E, K>, i: usize, steps: &mut Steps<State<E, K>>) {
        if let Some(memory) = state.environments[i].memory {
            self.swap_manifest(state, i, memory.n, steps);
        }
    }

    fn swap_manifest(&self, state: &State<E, K>, i: usize, n: u8, steps: &mut Steps<State<E, K>>) {
        let Some(memory) = state.environments[i].memory else { return };
        let mut after = *state;
        let environment = &mut after.environments[i];
        let swapped = state.manifest == memory.manifest || !self.rules.manifest_compare_and_swap;
        if swapped {
            environment.memory = Some(Memory { manifest: n, ..memory });
            environment.step = if environment.tick { Step::Answer } else { environment.step };
            after.manifest = n;
            if (n as usize) + K < state.head() as usize {
                after.broken = Some(Invariant::StateWhole);
            }
        } else {
            environment.memory = None;
            environment.step = Step::Begin;
        }
        steps.add(after, || {
            let result = if swapped { "" } else { ": refused, somebody else moved it" };
            format!("{} moves the manifest from {} to {n}{result}", name(i), state.manifest)
        });
    }

    /// The put of this environment is on the wire; its answer may never come.
    fn wait(&self, state: &State<E, K>, i: usize, steps: &mut Steps<State<E, K>>) {
        if state.faults.lost_puts == 0 {
            return;
        }
        let mine = |put: &Put| put.awaited && put.commit.by == i as u8;
        let Some(put) = state.wire.iter().flatten().copied().find(mine) else { return };
        let mut after = *state;
        after.faults.lost_puts -= 1;
        for put in after.wire.iter_mut().flatten().filter(|put| mine(put)) {
            put.awaited = false;
        }
        let mut repeated = after;
        let environment = &mut after.environments[i];
        if self.rules.unknown_is_no_success {
            environment.memory = None;
            environment.step = Step::Begin;
        } else {
            let manifest = environment.memory.map_or(0, |memory| memory.manifest);
            let position = put.commit.hi;
            environment.memory = Some(Memory { n: put.n, position, settled: false, foreign: false, manifest });
            environment.step = Step::Settle;
        }
        steps.add(after, || {
            let then = if self.rules.unknown_is_no_success { "will load again" } else { "takes it as stored" };
            format!("{} gets no answer for commit {} and {then}", name(i), put.n)
        });
        if let Some(at) = repeated.wire.iter().position(Option::is_none) {
            repeated.wire[at] = Some(put);
            steps.add(repeated, || format!("the SDK of {} repeats the put of commit {}", name(i), put.n));
        }
    }

    fn answer(&self, state: &State<E, K>, i: usize, steps: &mut Steps<State<E, K>>) {
        let environment = state.environments[i];
        let position = environment.memory.map_or(0, |memory| memory.position);
        let done = position.min(environment.hi);
        let mut after = *state;
        let awaited = state.waits_for == i as u8;
        after.end_invocation(i, !self.rules.attempt_token);
        if awaited {
            after.checkpoint = done.max(state.checkpoint);
            let answered = 0..after.checkpoint as usize;
            if answered.clone().any(|record| after.effects[record] == 0) {
                after.broken = Some(Invariant::NothingLost);
            } else if after.checkpoint > after.position(after.head()) {
                after.broken = Some(Invariant::CheckpointCommitted);
            }
        }
        steps.add(after, || match (environment.tick, awaited) {
            (true, _) => format!("the tick on {} is done", name(i)),
            (false, true) => format!("{} answers: done up to record {done}", name(i)),
            (false, false) => format!("{} ends; the source no longer listens", name(i)),
        });
    }
}
