//! Decisions about seals: when one counts as delivered, how far a lane is sealed, which ones are garbage.

use std::collections::BTreeMap;

use tidegate_core::{Incarnation, LaneId, Timestamp};

use super::{Answer, Doubt, Verdict, foreign};
use crate::ports::{Item, StoreError};
use crate::record::DecodeError;
use crate::record::seal::{Seal, SealItem};

/// Judges an answer about the put of a seal whose bytes in the outbox have `hash`.
///
/// `Committed` and `AlreadyCommitted`: it is stored. `Conflict`: another payload is stored under its id.
pub fn seal(incarnation: Incarnation, hash: &[u8; 32], answer: Answer, may_repeat: bool) -> Verdict {
    match answer {
        Answer::Applied => Verdict::Committed,
        Answer::Refused(Some(item)) | Answer::Read { slot: Some(item), .. } => stored(incarnation, hash, &item),
        Answer::Refused(None) => Verdict::Read(Doubt::Refused),
        Answer::Failed(StoreError::Throttled) if may_repeat => Verdict::Repeat,
        Answer::Failed(StoreError::Throttled) => Verdict::Read(Doubt::Unknown("it kept throttling requests".into())),
        Answer::Failed(StoreError::Unknown(why)) => Verdict::Read(Doubt::Unknown(why)),
        Answer::Failed(error) => Verdict::Failed(error),
        Answer::Read { slot: None, doubt: Doubt::Unknown(why) } => Verdict::Unknown(why),
        // It was there: somebody has removed it as garbage in between.
        Answer::Read { slot: None, doubt: Doubt::Refused } => Verdict::Unknown("what was in the way is gone".into()),
    }
}

fn stored(incarnation: Incarnation, hash: &[u8; 32], item: &Item) -> Verdict {
    match SealItem::decode(&item.data) {
        Ok(found) if found.incarnation != incarnation => Verdict::Fenced(foreign(found.incarnation)),
        Ok(found) if found.hash == *hash => Verdict::AlreadyCommitted,
        Ok(_) => Verdict::Conflict,
        Err(newer @ DecodeError::Newer { .. }) => Verdict::Fenced(newer.to_string()),
        Err(damaged @ DecodeError::Damaged(_)) => Verdict::Failed(StoreError::Damaged(damaged.to_string())),
    }
}

/// How far each lane has sealed: the largest `through` among its seals. A lane without one is not listed.
pub fn sealed_through<'a>(seals: impl IntoIterator<Item = &'a Seal>) -> BTreeMap<LaneId, Timestamp> {
    let mut through = BTreeMap::new();
    for seal in seals {
        if let Some(at) = seal.through {
            let known = through.entry(seal.lane.clone()).or_insert(at);
            *known = at.max(*known);
        }
    }
    through
}

/// The places of those seals of one output that nobody needs any more once it is closed up to `floor`: their windows
/// are closed, and another seal of the same lane tells how far that lane is sealed.
///
/// A seal that comes back later, since a request was slow, is as harmless as it was before: the closer takes no rows
/// of closed windows, and the newest seal of its lane is still there.
pub fn garbage_seals(seals: &[&Seal], floor: Timestamp) -> Vec<usize> {
    let mut newest: BTreeMap<&LaneId, (Timestamp, u64, u32)> = BTreeMap::new();
    for seal in seals {
        let Some(through) = seal.through else { continue };
        let place = (through, seal.n, seal.part);
        let known = newest.entry(&seal.lane).or_insert(place);
        *known = place.max(*known);
    }
    let garbage = |seal: &Seal| {
        let closed = seal.latest_end.is_none_or(|end| end <= floor);
        let proof = seal.through.is_some_and(|through| newest.get(&seal.lane) == Some(&(through, seal.n, seal.part)));
        closed && !proof
    };
    (0..seals.len()).filter(|i| garbage(seals[*i])).collect()
}

#[cfg(test)]
mod tests;
