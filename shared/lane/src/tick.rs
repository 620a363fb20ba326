//! The tick: what has to happen when no records come. Running it twice, late, never, or beside a batch is harmless: all
//! it does are the same conditional writes and the same repeats that any environment may make.

use std::time::Duration;

use tidegate_core::{Error, LaneId, Result};
use tidegate_state::Phase;

use crate::batch::Task;
use crate::budget::Budget;
use crate::close::Reach;
use crate::lanes::Lanes;
use crate::operators::Operators;
use crate::report::Counts;
use crate::view::{Backlog, SourceView};

/// Default of [`TickOptions::rest_after`].
pub const DEFAULT_REST_AFTER: Duration = Duration::from_secs(120);

/// Settings of a tick.
#[derive(Clone, Copy, Debug)]
pub struct TickOptions {
    /// How long after its writer's deadline a head counts as resting. A younger one may be at work: settling it would
    /// only make its writer load the lane again.
    pub rest_after: Duration,
}

impl Default for TickOptions {
    fn default() -> Self {
        Self { rest_after: DEFAULT_REST_AFTER }
    }
}

/// What a tick did.
#[derive(Debug, Default)]
pub struct TickReport {
    /// Counts over all lanes.
    pub counts: Counts,
    /// Lanes that were looked at.
    pub lanes: u64,
    /// Of these, lanes whose head was settled into the manifest.
    pub rested: u64,
    /// What failed, by lane or source. The others went on.
    pub failed: Vec<(String, Error)>,
    /// The time was used up before every lane had its turn; the next tick begins with another lane.
    pub cut_short: bool,
}

impl<O: Operators> Lanes<O> {
    /// Resumes what is owed, settles resting heads into their manifests, moves the watermark of silent lanes, closes
    /// windows over lanes and removes seals that nobody needs.
    pub async fn tick(&self, view: &dyn SourceView, options: TickOptions, budget: Budget) -> Result<TickReport> {
        let registry = self.store.registry().await?;
        let mut report = TickReport::default();
        if registry.phase != Phase::Open {
            return self.tick_sealing(report, budget).await;
        }
        let mut lanes: Vec<&LaneId> = registry.lanes.iter().filter(|lane| !registry.finished.contains(*lane)).collect();
        if !lanes.is_empty() {
            // A tick that never has time for all of them must not always begin with the same ones.
            let start = self.clock.now().as_millis().unsigned_abs() % lanes.len() as u64;
            lanes.rotate_left(start as usize);
        }
        for lane in lanes {
            if self.elapsed() >= budget.start_before {
                report.cut_short = true;
                return Ok(report);
            }
            report.lanes += 1;
            match self.tick_lane(lane, view, options, budget, &mut report.counts).await {
                Ok(rested) => report.rested += u64::from(rested),
                Err(error) => report.failed.push((lane.to_string(), error)),
            }
        }
        for source in self.operators.sources() {
            if self.elapsed() >= budget.start_before {
                report.cut_short = true;
                return Ok(report);
            }
            match self.close_and_clean(&source, view, budget).await {
                Ok(counts) => report.counts += &counts,
                Err(error) => report.failed.push((source, error)),
            }
        }
        Ok(report)
    }

    /// A new generation was begun. Nothing is read until it is open; who has begun it says how.
    async fn tick_sealing(&self, mut report: TickReport, budget: Budget) -> Result<TickReport> {
        let sealing = self.seal_generation(budget).await?;
        report.counts = sealing.counts;
        report.lanes = sealing.sealed;
        report.failed.extend(sealing.owing.into_iter().map(|(lane, error)| (lane.to_string(), error)));
        let waits = Error::unavailable("a new generation was begun and is not open: nothing is read until it is")
            .with_help("repeat what has begun it: `tidegate reset`, `tidegate rewind`, or the event reset or repair");
        report.failed.push(("generation".into(), waits));
        Ok(report)
    }

    async fn close_and_clean(&self, source: &str, view: &dyn SourceView, budget: Budget) -> Result<Counts> {
        let counts = self.close_windows(source, view, Reach::Idle, budget).await?;
        for output in self.operators.over_lanes(source) {
            self.store.remove_seals(&output).await?;
        }
        Ok(counts)
    }

    /// Whether the lane's head was settled into the manifest.
    async fn tick_lane(
        &self,
        lane: &LaneId,
        view: &dyn SourceView,
        options: TickOptions,
        budget: Budget,
        counts: &mut Counts,
    ) -> Result<bool> {
        if let Some(head) = self.store.covered_head(lane).await? {
            // Nothing is owed. What this environment remembers of the lane is good only if it is this head.
            if self.remembered_head(lane) != Some(head) {
                self.forget(lane);
            }
            if !lane.is_close() {
                self.advance_silent(lane, view, budget, counts).await?;
            }
            return Ok(false);
        }
        // What this environment remembers may be old: others have worked since.
        self.forget(lane);
        let (resting, covered) = {
            let memory = self.recall(lane).await?;
            let head = memory.lane.head();
            let resting = head.n > 0 && head.deadline.plus(options.rest_after) < self.clock.now();
            let covered = memory.lane.manifest_number() == head.n;
            if head.settled {
                self.remember(memory);
            }
            (resting, covered)
        };
        if !resting {
            return Ok(false);
        }
        if !covered {
            *counts += &self.rest(lane, budget).await?;
        }
        if !lane.is_close() {
            self.advance_silent(lane, view, budget, counts).await?;
        }
        Ok(!covered)
    }

    /// Moves the watermark of a lane that was silent for the declared time to the largest event time that it has seen.
    async fn advance_silent(
        &self,
        lane: &LaneId,
        view: &dyn SourceView,
        budget: Budget,
        counts: &mut Counts,
    ) -> Result<()> {
        let Some(source) =
            self.operators.sources().into_iter().find(|source| LaneId::new(source, "").source() == lane.source())
        else {
            return Ok(());
        };
        let Some(silence) = self.operators.idle_after(&source) else { return Ok(()) };
        let partition = lane.partition();
        let found = self.look(lane, |head, state| {
            let newest = state.and_then(|state| self.operators.newest(&source, state));
            (head.deadline, head.watermark, newest, head.positions.get(&partition).copied())
        });
        let (deadline, watermark, newest, committed) = found.await?;
        let Some(newest) = newest.filter(|newest| Some(*newest) > watermark) else { return Ok(()) };
        if deadline.plus(silence) >= self.clock.now() {
            return Ok(());
        }
        if view.backlog(&source, &partition, committed.or(self.origin.begin(lane)?)).await? == Backlog::Waiting {
            return Ok(());
        }
        let report = self.run_lane(&source, &partition, Task::Advance(newest), budget).await?;
        *counts += &report.counts;
        Ok(())
    }
}
