//! The environment: ports, the planned pipeline, and its lanes.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tidegate_core::random::Random;
use tidegate_core::{Clock, Error, Result};
use tidegate_delivery::Sender;
use tidegate_lane::{Anew, BatchReport, Budget, LaneOptions, Lanes, SourceView, TickOptions};
use tidegate_source::Records;
use tidegate_state::{self as state, StateOptions};

use crate::compute::Compute;
use crate::housekeeping::Housekeeping;
use crate::pipeline::PlannedPipeline;
use crate::view::Declared;

/// Everything outside the process, behind ports.
#[derive(Clone)]
pub struct Ports {
    /// Commits.
    pub state: state::Ports,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Tokens and jitter.
    pub random: Arc<dyn Random>,
    /// What asks streams for their partitions, by name or ARN. `None`: no stream can be asked.
    pub streams: Option<Arc<dyn SourceView>>,
}

/// Settings that are not the pipeline's.
#[derive(Clone, Debug, Default)]
pub struct RuntimeOptions {
    /// Ring size and spill limit of new lanes.
    pub state: StateOptions,
    /// Limits of one lane's work.
    pub lanes: LaneOptions,
    /// What a tick counts as resting.
    pub tick: TickOptions,
}

/// What beginning anew has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Renewal {
    /// The number of the new generation.
    pub generation: u32,
    /// Lanes of the old one, which are sealed.
    pub lanes: u64,
    /// Requests that were still owed and were sent.
    pub requests: u64,
    /// The generation that was to end had ended before: nothing was done.
    pub repeated: bool,
}

/// One execution environment: a Lambda environment, or a local run.
pub struct Runtime {
    pub(crate) lanes: Lanes<Compute>,
    pub(crate) ports: Ports,
    pub(crate) view: Declared,
    pub(crate) tick: TickOptions,
    pub(crate) housekeeping: Housekeeping,
}

impl Runtime {
    /// Opens the pipeline's state, creating it on first use.
    pub async fn open(
        pipeline: PlannedPipeline,
        ports: Ports,
        sender: Sender,
        options: RuntimeOptions,
    ) -> Result<Self> {
        let mut state_options = options.state;
        if let Some(ring) = pipeline.file.state.ring {
            state_options.ring = ring;
        }
        if let Some(limit) = pipeline.file.state.inline_limit {
            state_options.inline_limit = limit;
        }
        let store = state::Pipeline::open(ports.state.clone(), &pipeline.file.name, state_options).await?;
        let targets = pipeline.targets.clone();
        let view = Declared::new(&pipeline.file.sources, ports.streams.clone());
        let compute = Compute::new(pipeline, ports.clock.clone());
        let lanes = Lanes::new(compute, store, sender, targets, ports.clock.clone(), options.lanes)?;
        Ok(Self { lanes, ports, view, tick: options.tick, housekeeping: Housekeeping::default() })
    }

    /// The planned pipeline.
    pub fn pipeline(&self) -> &PlannedPipeline {
        &self.lanes.operators().pipeline
    }

    /// The pipeline's state.
    pub fn store(&self) -> &state::Pipeline {
        self.lanes.store()
    }

    /// Time since some fixed moment of this process.
    pub fn elapsed(&self) -> Duration {
        self.ports.clock.elapsed()
    }

    /// Lanes in warm memory.
    pub fn warm_lanes(&self) -> usize {
        self.lanes.warm_lanes()
    }

    /// Ends the generation: seals every lane, delivers what is owed, and opens the next one. This runtime works on the
    /// old one and is of no use afterwards.
    ///
    /// # Errors
    /// Unavailable when a target does not take what is owed and `abandon_owed` is not said: call again. Every step may
    /// be repeated. Invalid where a lane would begin behind what it has read: nothing was done then.
    pub async fn begin_anew(&self, anew: &Anew, budget: Budget) -> Result<Renewal> {
        if self.lanes.has_ended(anew)? {
            let generation = self.lanes.store().generation();
            return Ok(Renewal { generation: generation.0, lanes: 0, requests: 0, repeated: true });
        }
        self.lanes.check_begins(&anew.begins).await?;
        let sealing = self.lanes.seal_generation(budget).await?;
        if let (Some((lane, error)), false) = (sealing.owing.first(), anew.abandon_owed) {
            return Err(Error::unavailable(format!(
                "{} of {} lanes still owe requests to their targets; lane {lane}: {error}",
                sealing.owing.len(),
                sealing.sealed
            ))
            .with_help(
                "nothing is read until this ends: do it again when the target answers, or say --abandon-owed \
                 (abandon_owed: true), and what is owed is never sent",
            ));
        }
        let generation = self.lanes.open_generation(anew).await?;
        Ok(Renewal {
            generation: generation.0,
            lanes: sealing.sealed,
            requests: sealing.counts.requests,
            repeated: false,
        })
    }

    /// One micro-batch: see [`Lanes::run_batch`].
    pub async fn run_batch(
        &self,
        source: &str,
        partition: &str,
        records: &mut Records,
        budget: Budget,
    ) -> Result<BatchReport> {
        self.lanes.run_batch(source, partition, records, budget).await
    }
}
