//! One environment's lanes and what it remembers of them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidegate_core::{Clock, CommitNumber, LaneId, Result};
use tidegate_delivery::{Sender, Target};
use tidegate_state::{self as state, Head, Lane, LoadRules};

use crate::operators::{Operators, Stored};
use crate::origin::Origin;
use crate::sent::Sent;

/// Default of [`LaneOptions::max_tries`].
pub const DEFAULT_MAX_TRIES: u32 = 5;

/// Settings of an environment's lanes.
#[derive(Clone, Copy, Debug)]
pub struct LaneOptions {
    /// Tries of one micro-batch that met conflicts or unknown outcomes.
    pub max_tries: u32,
    /// Nobody else can be at work on the state: it is locked for this process. Whoever wrote to it before has ended, so
    /// that only requests on their way are waited for.
    pub alone: bool,
}

impl Default for LaneOptions {
    fn default() -> Self {
        Self { max_tries: DEFAULT_MAX_TRIES, alone: false }
    }
}

/// What is known of a lane between two micro-batches. Kept only while its head is settled.
pub(crate) struct LaneMemory<S> {
    /// The chain.
    pub lane: Lane,
    /// The operators' state after the head. A close lane has none: what it closes is gone from the seals it reads. A
    /// sealed lane has none: nothing is computed with it any more.
    pub state: Option<S>,
}

/// The lanes of one execution environment: a Lambda environment, or a local run.
pub struct Lanes<O: Operators> {
    pub(crate) operators: O,
    pub(crate) store: state::Pipeline,
    pub(crate) sender: Sender,
    pub(crate) targets: BTreeMap<String, Target>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) options: LaneOptions,
    pub(crate) origin: Origin,
    /// When the state was opened.
    pub(crate) opened: Duration,
    memory: Mutex<HashMap<LaneId, LaneMemory<O::State>>>,
    /// Lanes of which this environment has taken a batch.
    met: Mutex<HashSet<LaneId>>,
    /// What was sent and not asked for yet.
    pub(crate) sent: Mutex<Sent>,
}

impl<O: Operators> Lanes<O> {
    /// Lanes of the pipeline that `store` was opened for. `targets`: every target that an outbox may name.
    ///
    /// # Errors
    /// Internal when the generation's origin in the registry is damaged.
    pub fn new(
        operators: O,
        store: state::Pipeline,
        sender: Sender,
        targets: BTreeMap<String, Target>,
        clock: Arc<dyn Clock>,
        options: LaneOptions,
    ) -> Result<Self> {
        let origin = Origin::decode(&store.origin())?;
        let opened = clock.elapsed();
        Ok(Self {
            operators,
            store,
            sender,
            targets,
            clock,
            options,
            origin,
            opened,
            memory: Mutex::default(),
            met: Mutex::default(),
            sent: Mutex::default(),
        })
    }

    /// What is computed.
    pub fn operators(&self) -> &O {
        &self.operators
    }

    /// Whether nobody else can be at work on the state.
    pub fn is_alone(&self) -> bool {
        self.options.alone
    }

    /// The pipeline's state.
    pub fn store(&self) -> &state::Pipeline {
        &self.store
    }

    /// What delivers outboxes.
    pub fn sender(&self) -> &Sender {
        &self.sender
    }

    /// Time since some fixed moment of this process.
    pub fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Lanes in warm memory.
    pub fn warm_lanes(&self) -> usize {
        self.memory().len()
    }

    /// Whether this is the first batch that the environment takes of the lane.
    pub(crate) fn meet(&self, id: &LaneId) -> bool {
        self.met.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone())
    }

    /// What was begun with the lane left no word: the next batch is the first one again.
    pub(crate) fn part(&self, id: &LaneId) {
        self.met.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    fn memory(&self) -> MutexGuard<'_, HashMap<LaneId, LaneMemory<O::State>>> {
        // A panic while the lock was held leaves a map that is whole: entries go in and out in one piece.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lane's memory, warm or loaded. It is taken out: only success puts it back.
    pub(crate) async fn recall(&self, id: &LaneId) -> Result<LaneMemory<O::State>> {
        if let Some(memory) = self.memory().remove(id) {
            return Ok(memory);
        }
        if id.is_close() {
            let loaded = self.store.load(id, LoadRules::default()).await?;
            return Ok(LaneMemory { lane: loaded.lane, state: None });
        }
        let source = id.source();
        let rules = LoadRules { layout: Some(self.operators.layout(source)) };
        let loaded = self.store.load(id, rules).await?;
        if loaded.lane.head().sealed {
            return Ok(LaneMemory { lane: loaded.lane, state: None });
        }
        let deltas: Vec<_> = loaded.deltas.into_iter().filter(|delta| !delta.is_empty()).collect();
        let stored = Stored {
            snapshot: loaded.snapshot.as_deref(),
            segments: &loaded.segments,
            deltas: &deltas,
            store: loaded.lane.segments(),
        };
        let mut state = self.operators.restore(source, stored).await?;
        // A new lane begins behind what is closed: it is late for that.
        let mine = self.operators.over_lanes(source);
        let floor = mine.iter().filter_map(|output| loaded.floors.get(output).copied()).max();
        if let Some(watermark) = loaded.lane.head().watermark.max(floor) {
            state = self.operators.seed(state, watermark);
        }
        Ok(LaneMemory { lane: loaded.lane, state: Some(state) })
    }

    /// What `read` finds in a lane's head and state. A close lane has no state.
    pub async fn look<R>(&self, id: &LaneId, read: impl FnOnce(&Head, Option<&O::State>) -> R) -> Result<R> {
        let memory = self.recall(id).await?;
        let found = read(memory.lane.head(), memory.state.as_ref());
        if memory.lane.head().settled {
            self.remember(memory);
        }
        Ok(found)
    }

    /// The number of the head that is remembered of a lane.
    pub(crate) fn remembered_head(&self, id: &LaneId) -> Option<CommitNumber> {
        self.memory().get(id).map(|memory| memory.lane.head().n)
    }

    /// Drops what is remembered of a lane.
    pub(crate) fn forget(&self, id: &LaneId) {
        self.memory().remove(id);
    }

    /// Puts the memory of a settled lane back.
    pub(crate) fn remember(&self, memory: LaneMemory<O::State>) {
        debug_assert!(memory.lane.head().settled, "memory outlives an invocation only when its outbox is settled");
        self.memory().insert(memory.lane.key().lane.clone(), memory);
    }
}
