//! The pipeline as [`Operators`]: decode, run the queries, turn rows into requests.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tidegate_core::{Clock, Error, HashRange, Result, Timestamp};
use tidegate_engine::{Checkpoint, LaneState, SealedRows, StoredState};
use tidegate_lane::{Built, Close, Closed, Counts, Operators, Sealed, StageTimes, StepContext, Stored, Work};
use tidegate_source::{Decoded, JsonDecoder, Records};
use tidegate_state::{LaneLimit, Layout, Snapshot};

use crate::outbox::{self, BatchContext};
use crate::pipeline::{PlannedPipeline, PlannedSource};

/// A planned pipeline and what it learns while it runs.
pub struct Compute {
    pub(crate) pipeline: PlannedPipeline,
    clock: Arc<dyn Clock>,
    decoders: Mutex<HashMap<String, JsonDecoder>>,
    /// Committed lengths of dry-run files, over all lanes.
    sink_lengths: Mutex<BTreeMap<String, u64>>,
}

impl Compute {
    /// Decoders are made here, once per source.
    pub fn new(pipeline: PlannedPipeline, clock: Arc<dyn Clock>) -> Self {
        let zone = pipeline.file.session_time_zone;
        let decoder = |source: &PlannedSource| JsonDecoder::new(source.schema.clone()).in_zone(zone);
        let decoders = pipeline.sources.iter().map(|source| (source.name.clone(), decoder(source)));
        let decoders = Mutex::new(decoders.collect());
        Self { pipeline, clock, decoders, sink_lengths: Mutex::default() }
    }

    /// The committed length of a file, as far as any lane has told.
    pub(crate) fn sink_length(&self, path: &str) -> u64 {
        lock(&self.sink_lengths).get(path).copied().unwrap_or(0)
    }

    fn named(&self, sealed: SealedRows) -> Sealed {
        Sealed {
            output: self.pipeline.outputs[sealed.output].name.clone(),
            through: sealed.through,
            latest_end: sealed.latest_end,
            rows: sealed.rows.unwrap_or_default().into(),
        }
    }

    /// For each row the hash of its key, where the source's lanes close windows by key and its stream goes by hashes.
    fn hashes(source: &PlannedSource, records: &Records, decoded: &Decoded) -> Option<Vec<Option<u128>>> {
        // Partitions of a declared number are never split.
        if !source.keyed || source.partitions.is_some() || !records.is_hashed() {
            return None;
        }
        let mut last = None;
        let of = |record: &u32| match last {
            Some((known, hash)) if known == *record => hash,
            _ => {
                let hash = records.hash(*record as usize);
                last = Some((*record, hash));
                hash
            }
        };
        Some(decoded.record_of_row.iter().map(of).collect())
    }

    fn planned(&self, source: &str) -> Result<&PlannedSource> {
        let planned = self.pipeline.source(source);
        planned.ok_or_else(|| Error::invalid(format!("the pipeline has no source '{source}'")))
    }

    fn decode(&self, source: &str, partition: &str, records: &Records) -> Result<Decoded> {
        let mut decoders = lock(&self.decoders);
        let decoder = decoders.get_mut(source).expect("every source has a decoder");
        decoder.decode(records, partition)
    }
}

#[async_trait]
impl Operators for Compute {
    type State = LaneState;

    fn sources(&self) -> Vec<String> {
        self.pipeline.sources.iter().map(|source| source.name.clone()).collect()
    }

    fn lane_limit(&self, source: &str) -> Option<LaneLimit> {
        self.pipeline.source(source).map(|planned| planned.lane_limit)
    }

    fn layout(&self, source: &str) -> Layout {
        let layout = self.pipeline.layout(source);
        Layout { fingerprint: layout.hash, lines: layout.operators }
    }

    async fn restore(&self, source: &str, stored: Stored<'_>) -> Result<LaneState> {
        let Stored { snapshot, segments, deltas, store } = stored;
        let stored = StoredState { segments, store };
        self.pipeline.engine.restore_stored(source, snapshot, stored, deltas).await
    }

    async fn checkpoint(&self, source: &str, state: &LaneState) -> Result<(Snapshot, LaneState)> {
        let Checkpoint { rest, segments, state } = self.pipeline.engine.checkpoint(source, state).await?;
        Ok((Snapshot { rest: rest.into(), segments }, state))
    }

    async fn whole(&self, source: &str, state: &LaneState) -> Result<Bytes> {
        Ok(self.pipeline.engine.whole(source, state).await?.into())
    }

    fn watermark(&self, state: &LaneState) -> Option<Timestamp> {
        state.watermark
    }

    async fn step(&self, context: &StepContext<'_>, state: &LaneState, work: Work<'_>) -> Result<Built<LaneState>> {
        let (source, engine) = (self.planned(context.source)?, &self.pipeline.engine);
        let started = self.clock.elapsed();
        let mut times = StageTimes::default();
        let (mut step, records, decoded) = match work {
            Work::Records(records) => {
                let decoded = self.decode(&source.name, context.partition, records)?;
                times.decode = self.clock.elapsed() - started;
                let batch = decoded.batch.clone();
                let hashes = Self::hashes(source, records, &decoded);
                let step = engine.process_hashed(&source.name, state, batch, hashes.as_deref(), context.now).await?;
                (step, Some(records), Some(decoded))
            }
            Work::Drain => (engine.drain(&source.name, state, context.now).await?, None, None),
            Work::Advance(to) => (engine.advance(&source.name, state, to, context.now).await?, None, None),
            Work::Nothing => {
                let (next, sink_lengths) = (state.clone(), context.sink_lengths.clone());
                let nothing = (Bytes::new(), Vec::new(), Vec::new(), Counts::default());
                let (delta, outbox, sealed, counts) = nothing;
                return Ok(Built { next, delta, outbox, sealed, sink_lengths, counts, times });
            }
        };
        times.sql = self.clock.elapsed() - started - times.decode;
        let batch = BatchContext { step: context, source, records, decoded: decoded.as_ref() };
        let (outbox, sink_lengths, counts) = outbox::build(self, &step, &batch)?;
        let sealed = std::mem::take(&mut step.sealed).into_iter().map(|sealed| self.named(sealed)).collect();
        let delta = std::mem::take(&mut step.delta).into();
        Ok(Built { next: step.next, delta, outbox, sealed, sink_lengths, counts, times })
    }

    fn over_lanes(&self, source: &str) -> Vec<String> {
        let places = self.pipeline.source(source).map_or(&[][..], |planned| &planned.over_lanes);
        places.iter().map(|place| self.pipeline.outputs[*place].name.clone()).collect()
    }

    fn seed(&self, mut state: LaneState, watermark: Timestamp) -> LaneState {
        self.pipeline.engine.seed_watermark(&mut state, watermark);
        state
    }

    async fn close(&self, context: &StepContext<'_>, close: &Close<'_>) -> Result<Closed> {
        let source = self.planned(context.source)?;
        let place = self.pipeline.outputs.iter().position(|output| output.name == close.output);
        let place = place.ok_or_else(|| Error::internal(format!("there is no output '{}'", close.output)))?;
        let engine = &self.pipeline.engine;
        let step = engine.close(place, close.seals, close.floor, close.to, context.now).await?;
        let batch = BatchContext { step: context, source, records: None, decoded: None };
        let (outbox, sink_lengths, counts) =
            outbox::build_rows(self, &step.results, &step.rejected, &[step.counts], &batch)?;
        Ok(Closed { outbox, sink_lengths, counts })
    }

    async fn divide(
        &self,
        source: &str,
        parents: &[LaneState],
        children: &[Option<HashRange>],
    ) -> Result<Vec<LaneState>> {
        self.pipeline.engine.split_state(source, parents, children).await
    }

    fn newest(&self, _: &str, state: &LaneState) -> Option<Timestamp> {
        state.newest
    }

    fn idle_after(&self, source: &str) -> Option<Duration> {
        let declared = self.pipeline.file.sources.iter().find(|declared| declared.name == source)?;
        declared.watermark.as_ref()?.idle
    }

    fn committed(&self, sink_lengths: &BTreeMap<String, u64>) {
        if sink_lengths.is_empty() {
            return;
        }
        let mut shared = lock(&self.sink_lengths);
        for (path, length) in sink_lengths {
            let longest = shared.entry(path.clone()).or_insert(0);
            *longest = (*longest).max(*length);
        }
    }
}

/// Locks; a panic while the lock was held leaves data that is dropped or reloaded anyway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
