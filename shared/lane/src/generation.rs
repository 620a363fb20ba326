//! Beginning anew: a new generation of the whole pipeline, so that no id is ever used for two payloads.
//!
//! Warm writers read nothing. So first every ring is sealed, which fences them; only then the new generation opens. Every
//! step may be repeated by anybody: the tick goes on with a sealing that stopped half way.

use std::collections::BTreeMap;

use tidegate_core::{Error, ErrorKind, Generation, LaneId, Result, Sequence};
use tidegate_state::{CommitOutcome, LoadRules, Opening};

use crate::budget::Budget;
use crate::lanes::{LaneMemory, Lanes};
use crate::operators::Operators;
use crate::origin::Origin;
use crate::report::Counts;

/// What a new generation does with records that the old one has taken, when they come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// Everything is sent again, under new ids.
    Send,
    /// State is built from them; what was sent is not sent again.
    Repair,
}

/// How a new generation begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anew {
    /// What it does with records that the old one has taken.
    pub replay: Replay,
    /// Open it also where lanes still owe something, which is never sent then.
    pub abandon_owed: bool,
    /// Lanes that read behind a sequence number instead of from the start.
    pub begins: BTreeMap<LaneId, Sequence>,
    /// The generation that is to end. Where it has ended, this was asked for before, and nothing is done. `None`: the one
    /// that is open, so that asking twice begins two.
    pub ends: Option<Generation>,
}

impl From<Replay> for Anew {
    /// From the start, when everything that is owed was sent.
    fn from(replay: Replay) -> Self {
        Self { replay, abandon_owed: false, begins: BTreeMap::new(), ends: None }
    }
}

/// What a sealing did.
#[derive(Debug, Default)]
pub struct Sealing {
    /// Counts over all lanes.
    pub counts: Counts,
    /// Lanes whose ring is sealed now.
    pub sealed: u64,
    /// Lanes that still owe something, each with the reason. They are sealed; the new generation waits for them.
    pub owing: Vec<(LaneId, Error)>,
}

impl<O: Operators> Lanes<O> {
    /// Whether the generation that `anew` is to end has ended, as far as this environment knows. One that does not know
    /// is fenced by [`Self::seal_generation`].
    ///
    /// # Errors
    /// Invalid for a generation that was never open.
    pub fn has_ended(&self, anew: &Anew) -> Result<bool> {
        let open = self.store.generation();
        match anew.ends {
            Some(ends) if ends > open => {
                Err(Error::invalid(format!("generation {ends} cannot be ended: the pipeline is at generation {open}"))
                    .with_help("name the generation that is open, or none"))
            }
            ends => Ok(ends.is_some_and(|ends| ends < open)),
        }
    }

    /// Begins a new generation: no lane registers and no window closes from here on. Then seals every lane and delivers
    /// what it owes. May be called again, also after a part of it has failed.
    ///
    /// # Errors
    /// Unavailable: a passing fault; call again.
    pub async fn seal_generation(&self, budget: Budget) -> Result<Sealing> {
        self.store.begin_generation().await?;
        let mut sealing = Sealing::default();
        for lane in self.store.lanes().await? {
            self.forget(&lane);
            self.seal_ring(&lane, budget, &mut sealing.counts).await.map_err(|e| e.within(format!("lane {lane}")))?;
            sealing.sealed += 1;
            if let Err(error) = self.settle_sealed(&lane, budget, &mut sealing.counts).await {
                sealing.owing.push((lane, error));
            }
        }
        Ok(sealing)
    }

    /// Opens the generation that was begun. This environment works on the old one: it has to be made anew.
    ///
    /// # Errors
    /// Unavailable when a lane is not sealed or still owes something: see [`Self::seal_generation`]. Invalid where a lane
    /// would begin behind what it has read, or is none.
    pub async fn open_generation(&self, anew: &Anew) -> Result<Generation> {
        let mut origin = match anew.replay {
            Replay::Send => Origin::default(),
            Replay::Repair => self.sent_so_far().await?,
        };
        self.check_begins(&anew.begins).await?;
        anew.begins.iter().for_each(|(lane, begin)| origin.begin_behind(lane, begin));
        let opening = Opening { origin: origin.encode()?, abandon_owed: anew.abandon_owed };
        Ok(self.store.open_generation(&opening).await?.generation())
    }

    /// Where a new generation begins behind the end of the old one, records would be left out that nobody has taken.
    ///
    /// # Errors
    /// Invalid for such a lane, and for one that is none.
    pub async fn check_begins(&self, begins: &BTreeMap<LaneId, Sequence>) -> Result<()> {
        if begins.is_empty() {
            return Ok(());
        }
        let lanes = self.store.inspect().await?;
        for (lane, begin) in begins {
            // What this generation leaves out itself, the next one may leave out, too.
            if self.origin.begin(lane)?.is_some_and(|left_out| left_out.sequence >= *begin) {
                continue;
            }
            let found = lanes.iter().find(|report| report.lane == *lane && !lane.is_close());
            let Some(report) = found else {
                let names: Vec<&str> =
                    lanes.iter().filter(|report| !report.lane.is_close()).map(|report| report.lane.as_str()).collect();
                return Err(Error::invalid(format!("the pipeline has no lane {lane} that could begin somewhere"))
                    .with_help(format!("its lanes are: {}", names.join(", "))));
            };
            let read = report.head.positions.get(&lane.partition()).map(|position| position.sequence);
            if read.is_none_or(|read| read < *begin) {
                let read = read.map_or_else(|| "nothing".to_owned(), |read| format!("up to {read}"));
                return Err(Error::invalid(format!(
                    "lane {lane} cannot begin behind {begin}: it has read {read}, and the records between would be left out"
                ))
                .with_help("begin at or before what it has read; `tidegate inspect` prints it"));
            }
        }
        Ok(())
    }

    /// What the generation that ends has sent or leaves owed.
    async fn sent_so_far(&self) -> Result<Origin> {
        let mut origin = self.origin.renewed();
        origin.add_floors(&self.store.registry().await?);
        for report in self.store.inspect().await? {
            if !report.lane.is_close() {
                origin.add_lane(&report.lane, &report.head)?;
            }
        }
        Ok(origin)
    }

    async fn seal_ring(&self, lane: &LaneId, budget: Budget, counts: &mut Counts) -> Result<()> {
        for _ in 0..self.options.max_tries {
            let mut memory = self.without_state(lane).await?;
            let head = memory.lane.head();
            if head.sealed || head.n == 0 {
                return Ok(());
            }
            let owed = if head.settled { Vec::new() } else { head.outbox.clone() };
            match memory.lane.seal(owed, self.deadline(budget)).await? {
                CommitOutcome::Committed | CommitOutcome::AlreadyCommitted => {
                    self.count_commit(&memory, counts);
                    return Ok(());
                }
                CommitOutcome::Conflict | CommitOutcome::Unknown(_) => {}
                CommitOutcome::Fenced(why) => return Err(Error::new(ErrorKind::Fenced, why)),
                CommitOutcome::ManifestDue => self.make_room(lane).await?,
            }
        }
        Err(self.lost_every_race(lane))
    }

    /// Moves the manifest up where the ring is full. Others may still commit, so the manifest needs the lane's state.
    async fn make_room(&self, lane: &LaneId) -> Result<()> {
        let mut memory = self.recall(lane).await?;
        self.write_manifest(&mut memory).await?;
        Ok(())
    }

    async fn settle_sealed(&self, lane: &LaneId, budget: Budget, counts: &mut Counts) -> Result<()> {
        for _ in 0..self.options.max_tries {
            let mut memory = self.without_state(lane).await?;
            let settled = memory.lane.head().settled || self.settle(&mut memory, false, budget, counts).await?;
            // Only a manifest tells others that a head without successor is settled. Nobody restores a state from it: the
            // ring takes no records any more.
            if settled && (memory.lane.head().outbox.is_empty() || self.write_manifest(&mut memory).await?) {
                return Ok(());
            }
        }
        Err(self.lost_every_race(lane))
    }

    /// A lane of a generation that ends: its state is not needed any more, and may have another layout than the plan's.
    async fn without_state(&self, lane: &LaneId) -> Result<LaneMemory<O::State>> {
        let loaded = self.store.load(lane, LoadRules::default()).await?;
        Ok(LaneMemory { lane: loaded.lane, state: None })
    }
}
