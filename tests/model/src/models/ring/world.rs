//! What happens around the environments: the source, the store, the target.

use super::{Environment, MAX_N, Memory, NOBODY, Put, Ring, State, Step, Target, WIRE, name, records};
use crate::invariant::Invariant;
use crate::search::Steps;

impl<const E: usize, const K: usize> Ring<E, K> {
    pub(super) fn die(&self, state: &mut State<E, K>, i: usize) {
        state.end_invocation(i, false);
        state.environments[i] = Environment::COLD;
    }

    pub(super) fn source(&self, state: &State<E, K>, steps: &mut Steps<State<E, K>>) {
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
                            "the source gives {} to environment {}, which is warm with head {}",
                            records(lo, hi),
                            name(i),
                            memory.n
                        ),
                        None => format!("the source gives {} to environment {}", records(lo, hi), name(i)),
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

    pub(super) fn begin_tick(&self, state: &State<E, K>, i: usize, steps: &mut Steps<State<E, K>>) {
        if state.faults.ticks > 0 && state.manifest < state.head() {
            let mut after = *state;
            after.faults.ticks -= 1;
            let memory = state.environments[i].memory;
            after.environments[i] = Environment { step: Step::Begin, tick: true, memory, ..Environment::COLD };
            steps.add(after, || format!("the tick runs on environment {}", name(i)));
        }
    }

    /// A put reaches the store.
    pub(super) fn wire(&self, state: &State<E, K>, steps: &mut Steps<State<E, K>>) {
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
                    format!("commit {n} ({})", records(put.commit.lo, put.commit.hi))
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
    pub(super) fn target(&self, state: &State<E, K>, steps: &mut Steps<State<E, K>>) {
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
    pub(super) fn arrive(&self, after: &mut State<E, K>, request: u8) {
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
}
