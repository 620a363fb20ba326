//! The environment: ports, the planned pipeline, and the warm memory of its lanes.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidegate_core::random::Random;
use tidegate_core::{Clock, LaneId, Result};
use tidegate_delivery::Sender;
use tidegate_engine::LaneState;
use tidegate_source::JsonDecoder;
use tidegate_state::{self as state, Lane, StateOptions};

use crate::pipeline::PlannedPipeline;

/// Everything outside the process, behind ports.
#[derive(Clone)]
pub struct Ports {
    /// Commits.
    pub state: state::Ports,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Tokens and jitter.
    pub random: Arc<dyn Random>,
}

/// Settings that are not the pipeline's.
#[derive(Clone, Debug)]
pub struct RuntimeOptions {
    /// Ring size and spill limit of new lanes.
    pub state: StateOptions,
    /// Tries of one micro-batch that met conflicts or unknown outcomes. Default 5.
    pub max_tries: u32,
}

impl Default for RuntimeOptions {
    fn default() -> Self {
        Self { state: StateOptions::default(), max_tries: 5 }
    }
}

/// What is known of a lane between two micro-batches. Kept only while its head is settled.
pub(crate) struct LaneMemory {
    /// The chain.
    pub lane: Lane,
    /// The operators' state after the head.
    pub state: LaneState,
}

/// One execution environment: a Lambda environment, or a local run.
pub struct Runtime {
    pub(crate) pipeline: PlannedPipeline,
    pub(crate) store: state::Pipeline,
    pub(crate) sender: Sender,
    pub(crate) ports: Ports,
    pub(crate) options: RuntimeOptions,
    pub(crate) decoders: Mutex<HashMap<String, JsonDecoder>>,
    pub(crate) memory: Mutex<HashMap<LaneId, LaneMemory>>,
    /// Committed lengths of dry-run files, over all lanes.
    pub(crate) sink_lengths: Mutex<BTreeMap<String, u64>>,
}

impl Runtime {
    /// Opens the pipeline's state, creating it on first use.
    pub async fn open(
        pipeline: PlannedPipeline,
        ports: Ports,
        sender: Sender,
        options: RuntimeOptions,
    ) -> Result<Self> {
        let mut state_options = options.state.clone();
        if let Some(ring) = pipeline.file.state.ring {
            state_options.ring = ring;
        }
        if let Some(limit) = pipeline.file.state.inline_limit {
            state_options.inline_limit = limit;
        }
        let store = state::Pipeline::open(ports.state.clone(), &pipeline.file.name, state_options).await?;
        let decoders =
            pipeline.sources.iter().map(|source| (source.name.clone(), JsonDecoder::new(source.schema.clone())));
        let decoders = Mutex::new(decoders.collect());
        Ok(Self {
            pipeline,
            store,
            sender,
            ports,
            options,
            decoders,
            memory: Mutex::new(HashMap::new()),
            sink_lengths: Mutex::new(BTreeMap::new()),
        })
    }

    /// The planned pipeline.
    pub fn pipeline(&self) -> &PlannedPipeline {
        &self.pipeline
    }

    /// The pipeline's state.
    pub fn store(&self) -> &state::Pipeline {
        &self.store
    }

    /// Time since some fixed moment of this process.
    pub fn elapsed(&self) -> Duration {
        self.ports.clock.elapsed()
    }

    /// Lanes in warm memory.
    pub fn warm_lanes(&self) -> usize {
        lock(&self.memory).len()
    }
}

/// Locks; a panic while the lock was held leaves data that is dropped or reloaded anyway.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
