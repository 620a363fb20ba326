//! What a sealed ring owes to a target where the last writer wins, while the next generation opens.
//!
//! Nothing in the ring of a generation that has ended refuses a carry commit. So an environment that was stopped between
//! two reads may take over what another one has settled meanwhile, and its row lands on one of the next generation.
//! A sender that was taken over from is waited for; here its time is up before the next one sends.

use crate::invariant::Invariant;
use crate::search::{Model, Steps};

/// Tries of one sender.
const TRIES: u8 = 2;

/// The rules of whoever sends what a sealed ring owes, and of whoever opens the next generation.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Who takes over raises the version of the registry before it sends, and stops where the generation has ended.
    pub announces: bool,
    /// It does so behind its carry commit.
    pub behind_the_commit: bool,
    /// A generation opens on condition that the registry is the one that was read before the lanes were looked at.
    pub opens_on_condition: bool,
}

impl Rules {
    /// The rules as they are.
    pub const RIGHT: Self = Self { announces: true, behind_the_commit: true, opens_on_condition: true };
}

/// The model.
#[derive(Clone, Copy, Debug)]
pub struct SealedSenders {
    /// The rules in force.
    pub rules: Rules,
}

/// What a sender does next.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Next {
    /// It reads the manifest.
    Manifest,
    /// It reads the slots.
    Slots,
    /// It takes the outbox over in a carry commit.
    Carry,
    /// It raises the version of the registry.
    Announce,
    /// It sends.
    Send,
    /// It says in the manifest that its commit is settled.
    Settle,
    /// Nothing.
    End,
}

/// A sender.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Sender {
    next: Next,
    tries: u8,
    /// The manifest and the head as it has read them; then its own commit.
    manifest: u8,
    head: u8,
    carried: bool,
}

/// A state of the world.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    head: u8,
    manifest: u8,
    version: u8,
    senders: [Sender; 2],
    /// The version that the opener has read, and whether it has found everything settled after that.
    read: Option<(u8, bool)>,
    opened: bool,
    /// A row of the next generation stands at the target.
    newer: bool,
    broken: Option<Invariant>,
}

impl Model for SealedSenders {
    type State = State;

    fn initial(&self) -> State {
        let sender = Sender { next: Next::Manifest, tries: TRIES, manifest: 0, head: 0, carried: false };
        State {
            head: 1,
            manifest: 0,
            version: 0,
            senders: [sender; 2],
            read: None,
            opened: false,
            newer: false,
            broken: None,
        }
    }

    fn next(&self, state: &State, steps: &mut Steps<State>) {
        for who in 0..2 {
            self.sender(state, who, steps);
        }
        if !state.opened {
            self.opener(state, steps);
        } else if !state.newer {
            steps.add(State { newer: true, ..*state }, || "a row of the next generation lands".into());
        }
    }

    fn violation(&self, state: &State) -> Option<Invariant> {
        state.broken
    }

    fn done(&self, state: &State) -> bool {
        state.newer
    }
}

impl SealedSenders {
    fn sender(&self, state: &State, who: usize, steps: &mut Steps<State>) {
        let (mut after, old) = (*state, state.senders[who]);
        let sender = &mut after.senders[who];
        match old.next {
            Next::Manifest => {
                (sender.manifest, sender.next) = (state.manifest, Next::Slots);
                steps.add(after, || format!("sender {who} reads the manifest: it stands at {}", state.manifest));
            }
            Next::Slots => {
                let first =
                    if self.rules.announces && !self.rules.behind_the_commit { Next::Announce } else { Next::Carry };
                sender.head = state.head;
                sender.next = if state.head > old.manifest { first } else { Next::End };
                steps.add(after, || format!("sender {who} reads the slots: the head is {}", state.head));
            }
            Next::Carry if state.head == old.head => {
                after.head += 1;
                let sender = &mut after.senders[who];
                (sender.head, sender.carried) = (after.head, true);
                let announces = self.rules.announces && self.rules.behind_the_commit;
                sender.next = if announces { Next::Announce } else { Next::Send };
                steps.add(after, || format!("sender {who} takes the outbox over in commit {}", state.head + 1));
            }
            Next::Carry => {
                sender.tries -= 1;
                sender.next = if sender.tries > 0 { Next::Manifest } else { Next::End };
                steps.add(after, || format!("sender {who} finds its number taken"));
            }
            Next::Announce if state.opened => {
                sender.next = Next::End;
                steps.add(after, || format!("sender {who} finds that the next generation is open, and stops"));
            }
            Next::Announce => {
                sender.next = if old.carried { Next::Send } else { Next::Carry };
                after.version += 1;
                steps.add(after, || format!("sender {who} raises the version of the registry"));
            }
            Next::Send => {
                let earlier = |other: &Sender| other.carried && other.head < old.head;
                let waits = state.senders.iter().any(|other| earlier(other) && other.next != Next::End);
                if !waits {
                    sender.next = Next::Settle;
                    after.broken = state.newer.then_some(Invariant::Order);
                    steps.add(after, || format!("a row of sender {who} lands"));
                }
            }
            Next::Settle => {
                sender.next = Next::End;
                after.manifest = state.manifest.max(old.head);
                steps.add(after, || format!("sender {who} says that commit {} is settled", old.head));
            }
            Next::End => {}
        }
        if old.carried && old.next != Next::End {
            let mut after = *state;
            after.senders[who].next = Next::End;
            steps.add(after, || format!("the time of sender {who} is up"));
        }
    }

    fn opener(&self, state: &State, steps: &mut Steps<State>) {
        match state.read {
            None => {
                let read = Some((state.version, false));
                steps.add(State { read, ..*state }, || format!("the opener reads version {}", state.version));
            }
            Some((version, false)) => {
                let read = (state.manifest >= state.head).then_some((version, true));
                steps.add(State { read, ..*state }, || {
                    let found = if read.is_some() { "nothing is owed" } else { "something is owed" };
                    format!("the opener looks at the lane: {found}")
                });
            }
            Some((version, true)) if version == state.version || !self.rules.opens_on_condition => {
                let after = State { opened: true, version: state.version + 1, ..*state };
                steps.add(after, || "the next generation opens".into());
            }
            Some(_) => {
                steps
                    .add(State { read: None, ..*state }, || "the opener finds another version, and looks again".into());
            }
        }
    }
}
