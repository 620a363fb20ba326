//! The decisions of the protocol as pure functions: observed facts in, what to do out. No I/O.

use tidegate_core::Incarnation;

use crate::ports::{Item, StoreError};
use crate::record::commit::Commit;
use crate::record::manifest::Manifest;
use crate::record::{self, DecodeError};

pub mod garbage;
pub mod generations;
pub mod registry;
pub mod seals;

/// Who tries to commit what.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// The pipeline's incarnation.
    pub incarnation: Incarnation,
    /// The number that the commit wants.
    pub n: u64,
    /// The token of the write.
    pub attempt: u128,
}

/// What a store said about a commit's slot.
#[derive(Debug)]
pub enum Answer {
    /// The item is there.
    Applied,
    /// The condition did not hold; what stood in the way if it was told.
    Refused(Option<Item>),
    /// No usable answer.
    Failed(StoreError),
    /// A strongly consistent read, made after an answer that left the outcome open for the reason given.
    Read {
        /// What is in the slot.
        slot: Option<Item>,
        /// The answer before.
        doubt: Doubt,
    },
}

/// What a read of the slot has to settle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// A refusal that did not tell what stood in the way.
    Refused,
    /// An unknown outcome, as the store described it.
    Unknown(String),
}

/// What to do about a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is committed by this very request.
    Committed,
    /// It was committed by an earlier delivery of this request.
    AlreadyCommitted,
    /// Somebody else has the slot: reload and decide again.
    Conflict,
    /// This writer may not write any more.
    Fenced(String),
    /// Nobody can say: reload at the next try; never success.
    Unknown(String),
    /// Pause, then send the same request with the same attempt.
    Repeat,
    /// Read the slot once to settle the doubt.
    Read(Doubt),
    /// It has failed for a reason that a reload does not mend.
    Failed(StoreError),
}

/// Judges an answer about a commit's slot. `may_repeat`: tries and time are left for another delivery.
pub fn commit(claim: Claim, answer: Answer, may_repeat: bool) -> Verdict {
    match answer {
        Answer::Applied => Verdict::Committed,
        Answer::Refused(None) => Verdict::Read(Doubt::Refused),
        Answer::Refused(Some(old)) => occupied(claim, &old),
        Answer::Failed(StoreError::Throttled) if may_repeat => Verdict::Repeat,
        // An earlier delivery may have had its answer lost before the throttling began.
        Answer::Failed(StoreError::Throttled) => Verdict::Read(Doubt::Unknown("it kept throttling requests".into())),
        Answer::Failed(StoreError::Unknown(why)) => Verdict::Read(Doubt::Unknown(why)),
        Answer::Failed(error) => Verdict::Failed(error),
        Answer::Read { slot: Some(item), .. } if item.attempt == claim.attempt => Verdict::AlreadyCommitted,
        // The slot has moved to n or beyond by another hand. Whether n was ours does not matter: the chain tells.
        Answer::Read { slot: Some(item), .. } if item.version >= claim.n => occupied(claim, &item),
        Answer::Read { doubt: Doubt::Unknown(why), .. } => Verdict::Unknown(why),
        Answer::Read { slot: Some(item), .. } => occupied(claim, &item),
        Answer::Read { slot: None, .. } => Verdict::Conflict,
    }
}

/// The verdict about a manifest's write: as for a commit, but what stands in the way is always a conflict, since
/// nothing but another write of the manifest can have put it there.
pub fn manifest(claim: Claim, answer: Answer, may_repeat: bool) -> Verdict {
    match answer {
        Answer::Refused(Some(old)) if old.attempt == claim.attempt => Verdict::AlreadyCommitted,
        Answer::Refused(Some(_)) => Verdict::Conflict,
        Answer::Read { slot: Some(item), .. } if item.attempt == claim.attempt => Verdict::AlreadyCommitted,
        Answer::Read { slot: Some(item), .. } if item.version >= claim.n => Verdict::Conflict,
        Answer::Read { doubt: Doubt::Unknown(why), .. } => Verdict::Unknown(why),
        Answer::Read { .. } => Verdict::Conflict,
        Answer::Failed(StoreError::Damaged(why)) => Verdict::Failed(StoreError::Damaged(why)),
        answer => commit(claim, answer, may_repeat),
    }
}

/// What a foreign-looking item in the slot means.
fn occupied(claim: Claim, item: &Item) -> Verdict {
    if item.attempt == claim.attempt {
        return Verdict::AlreadyCommitted;
    }
    match Commit::decode(&item.data) {
        Ok(commit) if commit.incarnation != claim.incarnation => Verdict::Fenced(foreign(commit.incarnation)),
        Ok(_) => Verdict::Conflict,
        Err(newer @ DecodeError::Newer { .. }) => Verdict::Fenced(newer.to_string()),
        Err(damaged @ DecodeError::Damaged(_)) => Verdict::Failed(StoreError::Damaged(damaged.to_string())),
    }
}

fn foreign(other: Incarnation) -> String {
    format!("the state was written by another incarnation of the pipeline ({other})")
}

/// A slot or a manifest as it was read.
#[derive(Clone, Debug)]
pub struct Stored<T> {
    /// The version of its item.
    pub version: u64,
    /// Checksum of its bytes.
    pub checksum: record::Checksum,
    /// Stored bytes.
    pub bytes: usize,
    /// What it says.
    pub record: T,
}

/// What a cold load has read.
#[derive(Debug)]
pub struct LoadFacts {
    /// The incarnation that the registry names.
    pub incarnation: Incarnation,
    /// K as the registry, or for a new lane the configuration, says it.
    pub ring: u16,
    /// The number of the lane's first commit: 1 unless it goes on where others ended.
    pub first: u64,
    /// Whether the registry lists the lane.
    pub registered: bool,
    /// Checksum that the first commit carries for the one before it.
    pub genesis: record::Checksum,
    /// The manifest.
    pub manifest: Option<Stored<Manifest>>,
    /// All slots, by place.
    pub slots: Vec<Option<Stored<Commit>>>,
}

/// What a cold load has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadVerdict {
    /// The head; 0 when nothing was ever committed.
    Head(u64),
    /// The parts belong to different moments: read again.
    Torn(String),
    /// Another incarnation, or a writer that this one may not follow.
    Fenced(String),
    /// The state contradicts itself.
    Broken(String),
}

/// Judges what a cold load has read.
///
/// The manifest was read before all slots, and slots only ever move forward, so a slot may be newer than the head
/// that is found by walking from the manifest: then the load is torn. It can never be older.
pub fn load(facts: &LoadFacts) -> LoadVerdict {
    if let Some(verdict) = check_identity(facts) {
        return verdict;
    }
    let covered = covered(facts);
    let mut head = covered;
    while holds(facts, head + 1) {
        head += 1;
    }
    for (place, slot) in facts.slots.iter().enumerate() {
        let Some(slot) = slot else { continue };
        if slot.version > head {
            return LoadVerdict::Torn(format!("slot {place} holds commit {}, the head is {head}", slot.version));
        }
    }
    if head < facts.first {
        // Nothing was found; `check_identity` has seen that nothing is missed.
        return LoadVerdict::Head(0);
    }
    check_chain(facts, covered, head).map_or(LoadVerdict::Head(head), LoadVerdict::Broken)
}

/// The commit up to which the manifest covers; without one, the number before the lane's first.
pub fn covered(facts: &LoadFacts) -> u64 {
    facts.manifest.as_ref().map_or(facts.first - 1, |manifest| manifest.record.n)
}

/// The commit `n`, if its slot holds it.
pub fn slot_of(facts: &LoadFacts, n: u64) -> Option<&Stored<Commit>> {
    let place = usize::try_from(n % u64::from(facts.ring)).ok()?;
    facts.slots.get(place)?.as_ref().filter(|slot| slot.version == n)
}

fn holds(facts: &LoadFacts, n: u64) -> bool {
    slot_of(facts, n).is_some()
}

fn check_identity(facts: &LoadFacts) -> Option<LoadVerdict> {
    let manifest = facts.manifest.iter().map(|m| (m.record.incarnation, m.record.ring, "the manifest".to_owned()));
    let slots = facts.slots.iter().flatten();
    let commits = slots.map(|s| (s.record.incarnation, s.record.ring, format!("commit {}", s.record.n)));
    for (incarnation, ring, what) in manifest.chain(commits) {
        if incarnation != facts.incarnation {
            return Some(LoadVerdict::Fenced(format!("{what}: {}", foreign(incarnation))));
        }
        if ring != facts.ring {
            let why = format!("{what} belongs to a ring of {ring} slots, the lane has {}", facts.ring);
            return Some(LoadVerdict::Broken(why));
        }
    }
    for (place, slot) in facts.slots.iter().enumerate() {
        let Some(slot) = slot else { continue };
        let n = slot.record.n;
        if slot.record.birth != (n == facts.first && n > 1) {
            return Some(LoadVerdict::Broken(format!("commit {n} and the lane's first number {} differ", facts.first)));
        }
        if n != slot.version || n < facts.first || n % u64::from(facts.ring) != place as u64 {
            return Some(LoadVerdict::Broken(format!("slot {place} holds commit {n} as version {}", slot.version)));
        }
    }
    let found = facts.manifest.is_some() || facts.slots.iter().any(Option::is_some);
    match (facts.registered, found) {
        (true, false) => Some(LoadVerdict::Broken("the lane is registered but its commits are gone".into())),
        // The registry was read first, so the lane may have been registered since.
        (false, true) => Some(LoadVerdict::Torn("the lane was not registered when the load began".into())),
        _ => None,
    }
}

/// Every slot that must be there is there, and each commit carries the checksum of the one before it.
fn check_chain(facts: &LoadFacts, covered: u64, head: u64) -> Option<String> {
    let ring = u64::from(facts.ring);
    let first = head.saturating_sub(ring - 1).max(facts.first);
    for n in first..=head {
        let Some(commit) = slot_of(facts, n) else {
            return Some(format!("commit {n} is missing, the head is {head}"));
        };
        if n == covered && facts.manifest.as_ref().is_some_and(|m| m.checksum_of_commit() != commit.checksum) {
            return Some(format!("the manifest was made from another commit {n} than the one stored"));
        }
        let before = match slot_of(facts, n - 1) {
            _ if n == facts.first => facts.genesis,
            Some(before) => before.checksum,
            None if n - 1 == covered => match &facts.manifest {
                Some(manifest) => manifest.checksum_of_commit(),
                None => continue,
            },
            None => continue,
        };
        if commit.record.previous != before {
            return Some(format!("commit {n} does not follow the stored commit {}", n - 1));
        }
    }
    None
}

impl Stored<Manifest> {
    fn checksum_of_commit(&self) -> record::Checksum {
        self.record.checksum
    }
}

#[cfg(test)]
mod tests;
