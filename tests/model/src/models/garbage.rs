//! Objects in the blob store: spilled deltas, segments of the manifest, and who may delete them.
//!
//! One lane with two slots. Environment A commits deltas that are too large for the item: object first, then the commit
//! that names it. Moving the manifest moves the names from slots to manifest. A compactor merges all segments into one
//! new object. The lane may be split, and its child again: each takes the state over by name. A garbage collector
//! reads the slots and the manifests of all lanes, one after the other, while the others work.
//!
//! What can happen: a put applies late; an environment stands still between its steps.

use crate::invariant::Invariant;
use crate::search::{Model, Steps};

/// Objects that a run may make, the two from the start included.
const MAX_OBJECTS: u8 = 6;

/// Commits of the lane at most.
const MAX_N: u8 = 4;

/// Slots of the ring.
const K: usize = 2;

/// Objects from the start: 0 in the manifest, 1 in the slot of commit 2.
const OLD: u8 = 0b11;

/// The rules of objects.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// An object is written before the commit or manifest that names it.
    pub object_first: bool,
    /// The manifest is replaced on condition of the version that was read.
    pub manifest_compare_and_swap: bool,
    /// A scan reads a lane's slots before its manifest.
    pub slots_before_manifest: bool,
    /// An object is deleted only if two scans found no name of it. Weakened: one scan, of objects that are days old.
    pub two_scans: bool,
    /// A scan during which lanes came or went is repeated: names move from lane to lane only then.
    pub registry_unchanged: bool,
    /// The scans are further apart than any put or attempt lasts.
    pub horizon_outlasts_puts: bool,
}

impl Rules {
    /// The rules as they are.
    pub const RIGHT: Self = Self {
        object_first: true,
        manifest_compare_and_swap: true,
        slots_before_manifest: true,
        two_scans: true,
        registry_unchanged: true,
        horizon_outlasts_puts: true,
    };
}

/// The model.
#[derive(Clone, Copy, Debug)]
pub struct Garbage {
    /// The rules in force.
    pub rules: Rules,
    /// Puts that may apply late.
    pub lost_puts: u8,
    /// How often the lane may be split.
    pub splits: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Manifest {
    version: u8,
    n: u8,
    names: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Memory {
    head: u8,
    slots: [u8; K],
    manifest: Manifest,
}

impl Memory {
    /// What the state is made of: the manifest, and the commits that it does not cover.
    fn names(&self) -> u8 {
        let uncovered = (self.manifest.n + 1..=self.head).map(|n| self.slots[n as usize % K]);
        uncovered.fold(self.manifest.names, |all, slot| all | slot)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Writer {
    Cold,
    Warm(Memory),
    /// Has written an object for its next commit.
    Wrote(Memory, u8),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Compactor {
    Rests,
    Read(Memory),
    /// Has written the merged object.
    Merged(Memory, u8),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Collector {
    Rests,
    /// In scan 1 or 2, after `reads` reads: the splits when it began, the objects in question, and the names seen.
    Scans {
        second: bool,
        splits: u8,
        reads: u8,
        question: u8,
        seen: u8,
    },
    /// Between the scans.
    Waits {
        question: u8,
        passed: bool,
    },
    Deletes {
        question: u8,
    },
}

/// A state of the world.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    objects: u8,
    made: u8,
    head: u8,
    slots: [u8; K],
    manifest: Manifest,
    splits: u8,
    /// Names in the manifests of the child and of the grandchild.
    children: [u8; 2],
    compacted: bool,
    writer: Writer,
    compactor: Compactor,
    collector: Collector,
    late: Option<(u8, u8)>,
    lost_puts: u8,
}

impl State {
    fn memory(&self) -> Memory {
        Memory { head: self.head, slots: self.slots, manifest: self.manifest }
    }

    fn make(&mut self) -> u8 {
        let object = self.made;
        self.made += 1;
        self.objects |= 1 << object;
        object
    }

    /// The ordinary slot condition.
    fn commit(&mut self, n: u8, object: u8) -> bool {
        let fits = n == self.head + 1 && self.splits == 0;
        if fits {
            self.head = n;
            self.slots[n as usize % K] = 1 << object;
        }
        fits
    }
}

fn names(mask: u8) -> Vec<u8> {
    (0..8).filter(|object| mask >> object & 1 == 1).collect()
}

impl Model for Garbage {
    type State = State;

    fn initial(&self) -> State {
        State {
            objects: OLD,
            made: 2,
            head: 2,
            slots: [0b10, 0],
            manifest: Manifest { version: 0, n: 1, names: 0b01 },
            splits: 0,
            children: [0; 2],
            compacted: false,
            writer: Writer::Cold,
            compactor: Compactor::Rests,
            collector: Collector::Rests,
            late: None,
            lost_puts: self.lost_puts,
        }
    }

    fn next(&self, state: &State, steps: &mut Steps<State>) {
        self.writer(state, steps);
        self.compactor(state, steps);
        self.child(state, steps);
        self.collector(state, steps);
        if let Some((n, object)) = state.late {
            let mut after = *state;
            after.late = None;
            let applied = after.commit(n, object);
            steps.add(after, || {
                format!(
                    "the late put of commit {n}, naming object {object}, {}",
                    if applied { "applies" } else { "is refused" }
                )
            });
        }
    }

    fn violation(&self, state: &State) -> Option<Invariant> {
        let named = match state.splits {
            0 => state.slots.iter().fold(state.manifest.names, |all, slot| all | slot),
            splits => state.children[splits as usize - 1],
        };
        (named & !state.objects != 0).then_some(Invariant::NothingReferencedMissing)
    }

    fn done(&self, state: &State) -> bool {
        state.objects.count_ones() < u32::from(state.made)
    }
}

impl Garbage {
    fn writer(&self, state: &State, steps: &mut Steps<State>) {
        match state.writer {
            Writer::Cold => {
                let mut after = *state;
                after.writer = Writer::Warm(state.memory());
                steps.add(after, || {
                    format!("A loads head {}, manifest names {:?}", state.head, names(state.manifest.names))
                });
            }
            Writer::Warm(memory) => {
                let n = memory.head + 1;
                let wraps = n as usize > K + memory.manifest.n as usize;
                if n <= MAX_N && !wraps && state.made < MAX_OBJECTS {
                    let mut after = *state;
                    let object = if self.rules.object_first { after.make() } else { state.made };
                    after.writer = Writer::Wrote(memory, object);
                    steps.add(after, || {
                        let when = if self.rules.object_first { "writes" } else { "will write" };
                        format!("A {when} object {object} for commit {n}")
                    });
                }
                if memory.manifest.n < memory.head {
                    self.move_manifest(state, memory, steps);
                }
            }
            Writer::Wrote(memory, object) => self.put(state, memory, object, steps),
        }
    }

    /// The names of the covered commits move from the slots to the manifest.
    fn move_manifest(&self, state: &State, memory: Memory, steps: &mut Steps<State>) {
        let mut after = *state;
        let names_then = memory.names();
        let next = Manifest { version: state.manifest.version + 1, n: memory.head, names: names_then };
        let stored = state.manifest;
        let swapped = if self.rules.manifest_compare_and_swap {
            stored.version == memory.manifest.version
        } else {
            stored.n < memory.head
        } && state.splits == 0;
        if swapped {
            after.manifest = next;
            after.writer = Writer::Warm(Memory { manifest: next, ..memory });
        } else {
            after.writer = Writer::Cold;
        }
        steps.add(after, || {
            let result = if swapped { "" } else { ": refused" };
            format!("A moves the manifest to {}, naming {:?}{result}", memory.head, names(names_then))
        });
    }

    fn put(&self, state: &State, memory: Memory, object: u8, steps: &mut Steps<State>) {
        let n = memory.head + 1;
        let mut after = *state;
        if after.commit(n, object) {
            let mut slots = memory.slots;
            slots[n as usize % K] = 1 << object;
            after.writer = Writer::Warm(Memory { head: n, slots, ..memory });
            steps.add(after, || format!("A commits {n}, naming object {object}"));
        } else {
            after.writer = Writer::Cold;
            steps.add(after, || format!("A's commit {n} is refused"));
        }
        if state.lost_puts > 0 && state.late.is_none() {
            let mut after = *state;
            after.lost_puts -= 1;
            after.late = Some((n, object));
            after.writer = Writer::Cold;
            steps
                .add(after, || format!("A puts commit {n}, naming object {object}; no answer, it is still on its way"));
        }
    }

    fn compactor(&self, state: &State, steps: &mut Steps<State>) {
        let mut after = *state;
        match state.compactor {
            Compactor::Rests => {
                if state.splits == 0 && state.made < MAX_OBJECTS {
                    after.compactor = Compactor::Read(state.memory());
                    steps.add(after, || format!("B reads the lane: manifest names {:?}", names(state.manifest.names)));
                }
            }
            Compactor::Read(memory) => {
                let needed = memory.names();
                if needed & !state.objects != 0 || state.made >= MAX_OBJECTS {
                    after.compactor = Compactor::Rests;
                    steps.add(after, || "B misses an object and gives up".into());
                } else {
                    let object = after.make();
                    after.compactor = Compactor::Merged(memory, object);
                    steps.add(after, || format!("B merges {:?} into object {object}", names(needed)));
                }
            }
            Compactor::Merged(memory, object) => {
                let same = state.manifest.version == memory.manifest.version;
                let forward = state.manifest.n < memory.head;
                let swapped = (same || (!self.rules.manifest_compare_and_swap && forward)) && state.splits == 0;
                if swapped {
                    after.manifest =
                        Manifest { version: state.manifest.version + 1, n: memory.head, names: 1 << object };
                }
                after.compactor = Compactor::Rests;
                steps.add(after, || {
                    let result = if swapped { "" } else { ": refused" };
                    format!("B moves the manifest to {}, naming object {object} only{result}", memory.head)
                });
            }
        }
    }

    /// Splits, and what the newest lane and the sealed ones do.
    fn child(&self, state: &State, steps: &mut Steps<State>) {
        if state.splits < self.splits {
            let mut after = *state;
            after.splits += 1;
            after.compacted = false;
            after.children[state.splits as usize] = match state.splits {
                0 => state.memory().names(),
                _ => state.children[0],
            };
            let which = if state.splits == 0 { "lane" } else { "child" };
            steps.add(after, || {
                format!("the {which} is split: one transaction seals it and gives its state on by name")
            });
        }
        if state.splits == 0 {
            return;
        }
        let newest = state.splits as usize - 1;
        if !state.compacted && state.made < MAX_OBJECTS && state.children[newest] & !state.objects == 0 {
            let mut after = *state;
            let object = after.make();
            after.compacted = true;
            after.children[newest] = 1 << object;
            steps.add(after, || format!("the newest lane merges its state into object {object}"));
        }
        if state.manifest.names != 0 || state.slots != [0; K] {
            let mut after = *state;
            after.manifest.names = 0;
            after.slots = [0; K];
            steps.add(after, || "the tick drops the names of the sealed lane".into());
        }
        if state.splits == 2 && state.children[0] != 0 {
            let mut after = *state;
            after.children[0] = 0;
            steps.add(after, || "the tick drops the names of the sealed child".into());
        }
    }

    fn collector(&self, state: &State, steps: &mut Steps<State>) {
        let mut after = *state;
        match state.collector {
            Collector::Rests => {
                let young = if self.rules.two_scans { state.objects } else { OLD };
                let question = state.objects & young;
                if question != 0 {
                    after.collector =
                        Collector::Scans { second: false, splits: state.splits, reads: 0, question, seen: 0 };
                    steps.add(after, || format!("the collector begins a scan; objects {:?}", names(question)));
                }
            }
            Collector::Scans { second, splits, reads, question, seen } => {
                let slots = state.slots.iter().fold(0, |all, slot| all | slot);
                // Lanes in the order that serves least: the newest that the registry listed first.
                let (what, read) = match (reads, self.rules.slots_before_manifest) {
                    (0, _) => ("the grandchild", if splits > 1 { state.children[1] } else { 0 }),
                    (1, _) => ("the child", if splits > 0 { state.children[0] } else { 0 }),
                    (2, true) | (3, false) => ("the slots", slots),
                    _ => ("the manifest", state.manifest.names),
                };
                let seen = seen | read;
                let left = question & !seen;
                let again = self.rules.registry_unchanged && splits != state.splits;
                after.collector = match (reads < 3, second || !self.rules.two_scans) {
                    (true, _) => Collector::Scans { second, splits, reads: reads + 1, question, seen },
                    (false, _) if again => {
                        Collector::Scans { second, splits: state.splits, reads: 0, question, seen: 0 }
                    }
                    (false, _) if left == 0 => Collector::Rests,
                    (false, true) => Collector::Deletes { question: left },
                    (false, false) => Collector::Waits { question: left, passed: false },
                };
                let repeats = if reads == 3 && again { "; lanes came meanwhile: the scan is repeated" } else { "" };
                steps.add(after, || format!("the collector reads {what}: {:?}{repeats}", names(read)));
            }
            Collector::Waits { question, passed: false } => {
                after.collector = Collector::Waits { question, passed: true };
                if self.rules.horizon_outlasts_puts {
                    // Whatever was under way is over: applied before, or never.
                    after.late = None;
                    after.writer = if matches!(state.writer, Writer::Wrote(..)) { Writer::Cold } else { state.writer };
                    after.compactor = Compactor::Rests;
                }
                steps.add(after, || "the time between two scans passes".into());
            }
            Collector::Waits { question, passed: true } => {
                after.collector = Collector::Scans { second: true, splits: state.splits, reads: 0, question, seen: 0 };
                steps.add(after, || "the collector begins its second scan".into());
            }
            Collector::Deletes { question } => {
                after.objects &= !question;
                after.collector = Collector::Rests;
                steps.add(after, || format!("the collector deletes objects {:?}", names(question)));
            }
        }
    }
}
