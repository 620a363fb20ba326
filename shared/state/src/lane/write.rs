//! How a lane's writes are carried out: what `decide` says, done.

use tidegate_core::{Error, LaneKey, Result};

use super::{Lane, LaneLimit, MAX_REGISTRY_RACES};
use crate::decide::{self, Answer, Claim, Doubt, Verdict};
use crate::keys;
use crate::pipeline::Known;
use crate::ports::{Condition, Item, ItemKey, PutOutcome, Refusal, TransactOp, TransactOutcome};
use crate::retry::{self, MAX_THROTTLED_TRIES};

impl Lane {
    fn slot_key(&self, n: u64) -> ItemKey {
        let slot = u16::try_from(n % u64::from(self.ring)).expect("smaller than the ring, which is a u16");
        keys::slot(&self.key, slot)
    }

    pub(super) async fn put(&self, item: Item) -> Verdict {
        let ring = u64::from(self.ring);
        let n = item.version;
        let condition = if n > ring { Condition::Version(n - ring) } else { Condition::Absent };
        self.put_with(self.slot_key(n), item, condition, decide::commit).await
    }

    /// Carries out what `decide` says about one conditional put: repeats it with the same attempt, or settles a
    /// doubt with one read.
    pub(super) async fn put_with(
        &self,
        key: ItemKey,
        item: Item,
        condition: Condition,
        decide: impl Fn(Claim, Answer, bool) -> Verdict,
    ) -> Verdict {
        let claim = self.claim(&item);
        let mut tries = 0;
        loop {
            tries += 1;
            let answer = match self.shared.ports.store.put_if(&key, item.clone(), condition).await {
                Ok(PutOutcome::Applied) => Answer::Applied,
                Ok(PutOutcome::Refused(old)) => Answer::Refused(old),
                Err(error) => Answer::Failed(error),
            };
            match decide(claim, answer, tries < MAX_THROTTLED_TRIES) {
                Verdict::Repeat => retry::pause(&self.shared.ports, tries).await,
                Verdict::Read(doubt) => return self.settle_doubt(&key, claim, doubt, decide).await,
                verdict => return verdict,
            }
        }
    }

    fn claim(&self, item: &Item) -> Claim {
        Claim { incarnation: self.key.incarnation, n: item.version, attempt: item.attempt }
    }

    async fn settle_doubt(
        &self,
        key: &ItemKey,
        claim: Claim,
        doubt: Doubt,
        decide: impl Fn(Claim, Answer, bool) -> Verdict,
    ) -> Verdict {
        match self.shared.ports.store.get(key).await {
            Ok(slot) => decide(claim, Answer::Read { slot, doubt }, false),
            Err(error) => match doubt {
                Doubt::Refused => Verdict::Unknown(format!("a refusal could not be explained: {error}")),
                Doubt::Unknown(why) => Verdict::Unknown(why),
            },
        }
    }

    /// The first commit: registers the lane and fills its first slot, or does neither.
    pub(super) async fn register(&self, item: Item, limit: LaneLimit) -> Result<Verdict> {
        let (claim, slot) = (self.claim(&item), self.slot_key(item.version));
        let (mut tries, mut races) = (0, 0);
        loop {
            let known = self.shared.known();
            check_limit(&known, &self.key, limit)?;
            if known.registry.lanes.contains_key(&self.key.lane) {
                return Ok(Verdict::Conflict);
            }
            let mut registry = known.registry.clone();
            registry.lanes.insert(self.key.lane.clone(), self.ring);
            let entry = Item { version: known.version + 1, attempt: item.attempt, data: registry.encode()? };
            let ops = vec![
                TransactOp::Put { key: slot.clone(), item: item.clone(), condition: Condition::Absent },
                TransactOp::Put {
                    key: keys::registry(&self.shared.name),
                    item: entry,
                    condition: Condition::Version(known.version),
                },
            ];
            tries += 1;
            let answer = match self.shared.ports.store.transact(ops).await {
                Ok(TransactOutcome::Applied) => Answer::Applied,
                Ok(TransactOutcome::Refused(refusals)) => match slot_refusal(refusals) {
                    Ok(old) => Answer::Refused(old),
                    Err(registry) => {
                        races += 1;
                        self.lost_race(registry, races).await?;
                        continue;
                    }
                },
                Err(error) => Answer::Failed(error),
            };
            let verdict = match decide::commit(claim, answer, tries < MAX_THROTTLED_TRIES) {
                Verdict::Repeat => {
                    retry::pause(&self.shared.ports, tries).await;
                    continue;
                }
                Verdict::Read(doubt) => self.settle_doubt(&slot, claim, doubt, decide::commit).await,
                verdict => verdict,
            };
            if verdict == Verdict::Committed {
                self.shared.learn(Known { version: known.version + 1, registry })?;
            }
            return Ok(verdict);
        }
    }

    /// Another lane was registered first: take over its registry and go on.
    async fn lost_race(&self, registry: Option<Item>, races: u32) -> Result<()> {
        if races > MAX_REGISTRY_RACES {
            return Err(self.within(
                Error::unavailable(format!("the lane could not be registered in {races} tries"))
                    .with_help("many lanes start at the same time; it passes by itself"),
            ));
        }
        retry::pause(&self.shared.ports, races.min(3)).await;
        match registry {
            Some(item) => self.shared.learn(self.shared.decode_registry(&item)?)?,
            None => self.shared.refresh().await?,
        };
        Ok(())
    }
}

/// What a refused registration says about the slot; if nothing, what it says about the registry.
fn slot_refusal(refusals: Vec<Refusal>) -> Result<Option<Item>, Option<Item>> {
    let mut registry = None;
    for Refusal { op, old } in refusals {
        match op {
            0 => return Ok(old),
            _ => registry = old,
        }
    }
    Err(registry)
}

pub(super) fn check_limit(known: &Known, key: &LaneKey, limit: LaneLimit) -> Result<()> {
    if limit == LaneLimit::Many {
        return Ok(());
    }
    let other = known.registry.lanes.keys().find(|lane| lane.source() == key.lane.source() && **lane != key.lane);
    other.map_or(Ok(()), |other| {
        Err(Error::invalid(format!(
            "source {} has a second lane, {}, beside {other}: its windows group by columns that several \
             partitions share, which would give a wrong answer per partition",
            key.lane.source(),
            key.lane
        ))
        .with_help("put every column of partition_key into GROUP BY, or read a source with one partition"))
    })
}
