//! What an environment does, step by step.

use super::{
    BeforeForeignSend, Commit, Environment, MAX_N, Memory, Put, Reads, Ring, State, Step, Target, UNREAD, name, records,
};
use crate::invariant::Invariant;
use crate::search::Steps;

impl<const E: usize, const K: usize> Ring<E, K> {
    /// Every step that environment `i` may take.
    pub(super) fn environment(&self, state: &State<E, K>, i: usize, steps: &mut Steps<State<E, K>>) {
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
                    "{} sends request {request} with {}",
                    name(i),
                    records(state.environments[i].lo, state.environments[i].hi)
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
            steps.add(after, || format!("{} puts commit {n} with {}", name(i), records(lo, hi)));
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
