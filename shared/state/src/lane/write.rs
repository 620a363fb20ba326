//! How a lane's writes are carried out: what `decide` says, done.

use tidegate_core::{Error, LaneKey, Result};

use super::{Lane, LaneLimit, MAX_REGISTRY_RACES};
use crate::decide::registry::{self, Change, Closing, Newcomer, Refused};
use crate::decide::{self, Answer, Claim, Doubt, Verdict};
use crate::keys;
use crate::pipeline::Known;
use crate::ports::{Condition, Item, ItemKey, PutOutcome, TransactOp, TransactOutcome};
use crate::retry::{self, MAX_THROTTLED_TRIES};

/// What became of a write.
pub(super) enum Written {
    /// Judged by the slot.
    Judged(Verdict),
    /// Nothing was written and never will be: the registry is not the one that the commit was decided from.
    RegistryChanged,
}

impl Lane {
    fn slot_key(&self, n: u64) -> ItemKey {
        let slot = u16::try_from(n % u64::from(self.ring)).expect("smaller than the ring, which is a u16");
        keys::slot(&self.key, slot)
    }

    pub(super) async fn put(&self, item: Item) -> Verdict {
        let (key, condition) = (self.slot_key(item.version), self.slot_condition(&item));
        self.put_with(key, item, condition, decide::commit).await
    }

    /// What a commit's slot must hold: the commit one round before, or nothing in the first round.
    fn slot_condition(&self, item: &Item) -> Condition {
        let before = item.version.checked_sub(u64::from(self.ring)).filter(|before| *before > 0);
        before.map_or(Condition::Absent, Condition::Version)
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
    pub(super) async fn register(&self, item: Item, limit: LaneLimit) -> Result<Written> {
        let newcomer = Newcomer { lane: &self.key.lane, ring: self.ring, floors: &self.floors };
        let judge = |known: &Known| {
            check_limit(known, &self.key, limit)?;
            Ok(registry::register(&known.registry, newcomer))
        };
        // Whoever meets an outdated load has to load again.
        match self.put_with_registry(item, judge).await? {
            Written::RegistryChanged => Ok(Written::Judged(Verdict::Conflict)),
            written => Ok(written),
        }
    }

    /// A close commit: fills its slot and raises the floor, or does neither.
    pub(super) async fn close(&self, item: Item, closing: &Closing) -> Result<Written> {
        self.put_with_registry(item, |known| Ok(self.judge_close(known, closing))).await
    }

    pub(super) fn judge_close(&self, known: &Known, closing: &Closing) -> Change {
        registry::close(&known.registry, known.version, &self.key.lane, self.ring, closing)
    }

    /// One transaction: the commit into its slot, and the registry as `judge` wants it. A registry that has changed is
    /// judged again.
    async fn put_with_registry(&self, item: Item, judge: impl Fn(&Known) -> Result<Change>) -> Result<Written> {
        let (claim, slot, condition) = (self.claim(&item), self.slot_key(item.version), self.slot_condition(&item));
        let (mut tries, mut races) = (0, 0);
        loop {
            let known = self.shared.known();
            let registry = match judge(&known)? {
                Change::Write(registry) => registry,
                Change::Outdated => return Ok(Written::RegistryChanged),
                Change::Fenced(why) => return Ok(Written::Judged(Verdict::Fenced(why))),
                Change::Wrong(why) => return Err(self.within(Error::internal(why))),
            };
            let entry = Item { version: known.version + 1, attempt: item.attempt, data: registry.encode()? };
            let ops = vec![
                TransactOp::Put { key: slot.clone(), item: item.clone(), condition },
                TransactOp::Put {
                    key: keys::registry(&self.shared.name),
                    item: entry,
                    condition: Condition::Version(known.version),
                },
            ];
            tries += 1;
            let answer = match self.shared.ports.store.transact(ops).await {
                Ok(TransactOutcome::Applied) => Answer::Applied,
                Ok(TransactOutcome::Refused(refusals)) => match registry::refused(refusals) {
                    Refused::Slot(old) => Answer::Refused(old),
                    Refused::Registry(newer) => {
                        races += 1;
                        self.lost_race(newer, races).await?;
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
            return Ok(Written::Judged(verdict));
        }
    }

    /// Somebody has changed the registry first: take over that one and go on.
    async fn lost_race(&self, registry: Option<Item>, races: u32) -> Result<()> {
        if races > MAX_REGISTRY_RACES {
            return Err(self.within(
                Error::unavailable(format!("the registry was changed by others {races} times in a row"))
                    .with_help("many lanes start, or many windows close, at the same time; it passes by itself"),
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
