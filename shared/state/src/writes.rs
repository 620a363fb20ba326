//! Writes that are judged by a slot: one conditional put, or one transaction of slots and the registry. What `decide`
//! says, done.

use tidegate_core::{Error, Result};

use crate::decide::registry::{self, Change, Refused};
use crate::decide::{self, Answer, Claim, Doubt, Verdict};
use crate::keys;
use crate::pipeline::{Known, Shared};
use crate::ports::{Condition, Item, ItemKey, PutOutcome, StoreError, TransactOp, TransactOutcome};
use crate::retry::{self, MAX_THROTTLED_TRIES};

/// Changes of the registry by others that one write waits out.
pub const MAX_REGISTRY_RACES: u32 = 32;

/// An item, where it goes, and what must be there.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub key: ItemKey,
    pub item: Item,
    pub condition: Condition,
}

/// What became of a write.
#[derive(Debug)]
pub(crate) enum Written {
    /// Judged by a slot.
    Judged(Verdict),
    /// Nothing was written and never will be: the registry is not the one that the write was decided from.
    RegistryChanged,
}

impl Shared {
    fn claim(&self, item: &Item) -> Claim {
        Claim { incarnation: self.incarnation, n: item.version, attempt: item.attempt }
    }

    /// Carries out what `decide` says about one conditional put: repeats it with the same attempt, or settles a
    /// doubt with one read.
    pub(crate) async fn put_with(&self, slot: Slot, decide: impl Fn(Claim, Answer, bool) -> Verdict) -> Verdict {
        let Slot { key, item, condition } = slot;
        let claim = self.claim(&item);
        let mut tries = 0;
        loop {
            tries += 1;
            let answer = match self.ports.store.put_if(&key, item.clone(), condition).await {
                Ok(PutOutcome::Applied) => Answer::Applied,
                Ok(PutOutcome::Refused(old)) => Answer::Refused(old),
                Err(error) => Answer::Failed(error),
            };
            match decide(claim, answer, tries < MAX_THROTTLED_TRIES) {
                Verdict::Repeat => retry::pause(&self.ports, tries).await,
                Verdict::Read(doubt) => return self.settle_doubt(&key, claim, doubt, decide).await,
                verdict => return verdict,
            }
        }
    }

    async fn settle_doubt(
        &self,
        key: &ItemKey,
        claim: Claim,
        doubt: Doubt,
        decide: impl Fn(Claim, Answer, bool) -> Verdict,
    ) -> Verdict {
        match self.ports.store.get(key).await {
            Ok(slot) => decide(claim, Answer::Read { slot, doubt }, false),
            Err(error) => match doubt {
                Doubt::Refused => Verdict::Unknown(format!("a refusal could not be explained: {error}")),
                Doubt::Unknown(why) => Verdict::Unknown(why),
            },
        }
    }

    /// One transaction: `slots` (at least one, all of the same attempt), and the registry as `judge` wants it. A
    /// registry that has changed is judged again.
    pub(crate) async fn put_with_registry(
        &self,
        slots: &[Slot],
        judge: impl Fn(&Known) -> Result<Change>,
    ) -> Result<Written> {
        let (mut tries, mut races, mut fresh) = (0, 0, false);
        loop {
            let known = self.known();
            let registry = match judge(&known)? {
                Change::Write(registry) => registry,
                Change::Outdated => return Ok(Written::RegistryChanged),
                Change::Fenced(why) => return Ok(Written::Judged(Verdict::Fenced(why))),
                // What is known may be old.
                Change::Wrong(_) if !fresh => {
                    self.refresh().await?;
                    fresh = true;
                    continue;
                }
                Change::Wrong(why) => return Err(Error::internal(why)),
            };
            let next = Known { version: known.version + 1, registry };
            let ops = operations(slots, self.registry_slot(&next, slots[0].item.attempt)?);
            tries += 1;
            // The slot that tells whether this write was it: all of them are written together.
            let mut witness = 0;
            let answer = match self.ports.store.transact(ops).await {
                Ok(TransactOutcome::Applied) => Answer::Applied,
                Ok(TransactOutcome::Refused(refusals)) => match registry::refused(slots.len(), refusals) {
                    Refused::Slot(op, old) => {
                        witness = op;
                        Answer::Refused(old)
                    }
                    Refused::Registry(newer) => {
                        races += 1;
                        self.lost_race(newer, races).await?;
                        continue;
                    }
                },
                Err(error) => Answer::Failed(error),
            };
            let witness = &slots[witness];
            let claim = self.claim(&witness.item);
            let verdict = match decide::commit(claim, answer, tries < MAX_THROTTLED_TRIES) {
                Verdict::Repeat => {
                    retry::pause(&self.ports, tries).await;
                    continue;
                }
                Verdict::Read(doubt) => self.settle_doubt(&witness.key, claim, doubt, decide::commit).await,
                verdict => verdict,
            };
            if matches!(verdict, Verdict::Committed | Verdict::AlreadyCommitted) {
                self.learn(next)?;
            }
            return Ok(Written::Judged(verdict));
        }
    }

    /// `next` into the registry's place, if the one before it is there.
    fn registry_slot(&self, next: &Known, attempt: u128) -> Result<Slot> {
        let item = Item { version: next.version, attempt, data: next.registry.encode()? };
        let condition = Condition::Version(next.version - 1);
        Ok(Slot { key: keys::registry(&self.name), item, condition })
    }

    /// Somebody has changed the registry first: take over that one and go on.
    async fn lost_race(&self, registry: Option<Item>, races: u32) -> Result<()> {
        self.check_races(races)?;
        retry::pause(&self.ports, races.min(3)).await;
        match registry {
            Some(item) => self.learn(self.decode_registry(&item)?)?,
            None => self.refresh().await?,
        };
        Ok(())
    }

    fn check_races(&self, races: u32) -> Result<()> {
        if races <= MAX_REGISTRY_RACES {
            return Ok(());
        }
        Err(Error::unavailable(format!("the registry was changed by others {races} times in a row"))
            .with_help("many lanes start, or many windows close, at the same time; it passes by itself"))
    }

    /// Changes the registry alone. `judge` sees it strongly read, also one of another generation, and returns `None` when
    /// there is nothing to do: so a change whose answer was lost is recognised, whoever made it. The registry at the end.
    pub(crate) async fn change_registry(&self, judge: impl Fn(&Known) -> Result<Option<Change>>) -> Result<Known> {
        let attempt = self.ports.random.next_u128();
        let mut races = 0;
        loop {
            let known = self.read_any_generation().await?;
            let registry = match judge(&known)? {
                None => return Ok(known),
                Some(Change::Write(registry)) => registry,
                Some(Change::Outdated) => {
                    return Err(Error::unavailable("the registry was changed by others").with_help("try again"));
                }
                Some(Change::Fenced(why)) => return Err(Error::new(tidegate_core::ErrorKind::Fenced, why)),
                Some(Change::Wrong(why)) => return Err(Error::invalid(why)),
            };
            let next = Known { version: known.version + 1, registry };
            let Slot { key, item, condition } = self.registry_slot(&next, attempt)?;
            match self.ports.store.put_if(&key, item, condition).await {
                Ok(PutOutcome::Applied) => return Ok(next),
                Ok(PutOutcome::Refused(_)) | Err(StoreError::Throttled | StoreError::Unknown(_)) => {}
                Err(error) => return Err(error.into()),
            }
            races += 1;
            self.check_races(races)?;
            retry::pause(&self.ports, races.min(6)).await;
        }
    }
}

fn operations(slots: &[Slot], registry: Slot) -> Vec<TransactOp> {
    let put = |Slot { key, item, condition }| TransactOp::Put { key, item, condition };
    slots.iter().cloned().chain([registry]).map(put).collect()
}
