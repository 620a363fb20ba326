//! One lane's micro-batch: load or reuse its memory, settle what is owed, skip what is committed, decode, run the
//! queries, commit, deliver.

use std::time::Duration;

use tidegate_core::{Error, ErrorKind, LaneId, Position, Result};
use tidegate_delivery::repeats_count;
use tidegate_engine::Step;
use tidegate_source::{Decoded, Records};
use tidegate_state::{CommitOutcome, Draft, Head, Layout, LoadRules, ManifestOutcome, Range, lies_in_gap};

use crate::outbox::{self, BatchContext};
use crate::pipeline::PlannedSource;
use crate::report::{BatchReport, Counts};
use crate::runtime::{LaneMemory, Runtime, lock};

/// Until when work may go on, as [`Clock::elapsed`](tidegate_core::Clock::elapsed) of the process.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// No new micro-batch starts after this.
    pub start_before: Duration,
    /// Everything must have ended by this.
    pub end_before: Duration,
}

impl Budget {
    /// Share of the remaining time after which no new work starts, in percent.
    const NEW_WORK_PERCENT: u32 = 60;

    /// A budget of `remaining` from `now` on; new work starts within its first 60 %.
    pub fn new(now: Duration, remaining: Duration) -> Self {
        Self { start_before: now + remaining * Self::NEW_WORK_PERCENT / 100, end_before: now + remaining }
    }

    /// Practically no limit: local runs.
    pub fn unlimited() -> Self {
        let far = Duration::from_secs(1 << 40);
        Self { start_before: far, end_before: far }
    }
}

/// What to run on a lane.
pub(crate) enum Work<'a> {
    /// A micro-batch.
    Records(&'a mut Records),
    /// Close every open window: the end of a finite input.
    Drain,
}

impl Runtime {
    /// Takes `records` of `partition` through the pipeline. When it returns, all of them are committed and every
    /// request that they caused is settled; a repeated call with the same records does nothing.
    ///
    /// # Errors
    /// `Unavailable`: a passing fault; call again with the same records. Others need a person.
    pub async fn run_batch(
        &self,
        source: &str,
        partition: &str,
        records: &mut Records,
        budget: Budget,
    ) -> Result<BatchReport> {
        self.run_lane(source, partition, Work::Records(records), budget).await
    }

    /// Closes every open window of a lane.
    pub async fn drain(&self, source: &str, partition: &str, budget: Budget) -> Result<BatchReport> {
        self.run_lane(source, partition, Work::Drain, budget).await
    }

    pub(crate) async fn run_lane(
        &self,
        source: &str,
        partition: &str,
        mut work: Work<'_>,
        budget: Budget,
    ) -> Result<BatchReport> {
        let id = LaneId::new(source, partition);
        let planned = self
            .pipeline
            .source(source)
            .ok_or_else(|| Error::invalid(format!("the pipeline has no source '{source}'")))?;
        let mut total = Counts::default();
        if let Work::Records(records) = &work {
            total.records = records.len() as u64;
        }
        for _ in 0..self.options.max_tries {
            let memory = self.recall(&id).await?;
            match self.try_lane(planned, partition, memory, &mut work, budget, &mut total).await {
                Ok(Some(mut report)) => {
                    report.counts = total;
                    return Ok(report);
                }
                Ok(None) => total.conflicts += 1,
                Err(error) => return Err(error.within(format_args!("lane {id}"))),
            }
        }
        Err(Error::unavailable(format!("lane {id}: other writers were first {} times", self.options.max_tries))
            .with_help("the source delivers again; if this lasts, look for a second function on the same stream"))
    }

    /// The lane's memory, warm or loaded. It is taken out: only success puts it back.
    pub(crate) async fn recall(&self, id: &LaneId) -> Result<LaneMemory> {
        if let Some(memory) = lock(&self.memory).remove(id) {
            return Ok(memory);
        }
        let source = id.source();
        let layout = self.pipeline.engine.fingerprint(source);
        let rules = LoadRules { layout: Some(Layout { fingerprint: layout.hash, lines: layout.operators }) };
        let loaded = self.store.load(id, rules).await?;
        let deltas: Vec<_> = loaded.deltas.into_iter().filter(|delta| !delta.is_empty()).collect();
        let state = self.pipeline.engine.restore(source, loaded.snapshot.as_deref(), &deltas).await?;
        Ok(LaneMemory { lane: loaded.lane, state })
    }

    /// Puts the memory of a settled lane back.
    pub(crate) fn remember(&self, memory: LaneMemory) {
        debug_assert!(memory.lane.head().settled, "memory outlives an invocation only when its outbox is settled");
        lock(&self.memory).insert(memory.lane.key().lane.clone(), memory);
    }

    /// One try of a micro-batch. `None`: somebody else was first, or the outcome is unknown; load again, decide again.
    async fn try_lane(
        &self,
        source: &PlannedSource,
        partition: &str,
        mut memory: LaneMemory,
        work: &mut Work<'_>,
        budget: Budget,
        counts: &mut Counts,
    ) -> Result<Option<BatchReport>> {
        if !memory.lane.head().settled && !self.settle(&mut memory, false, budget, counts).await? {
            return Ok(None);
        }
        if !self.manifest_of_settled(&mut memory).await? {
            return Ok(None);
        }
        let watermark = memory.state.watermark;
        let mut report = BatchReport { watermark, ..BatchReport::default() };
        let started = self.elapsed();
        let now = self.ports.clock.now();
        let (mut step, decoded) = match work {
            Work::Records(records) => {
                refuse_gaps(memory.lane.head(), partition, records)?;
                let before = records.len();
                records.skip_through(memory.lane.head().positions.get(partition).copied());
                counts.skipped += (before - records.len()) as u64;
                if records.is_empty() {
                    self.remember(memory);
                    return Ok(Some(report));
                }
                let decoded = self.decode(source, partition, records)?;
                report.times.decode = self.elapsed() - started;
                let batch = decoded.batch.clone();
                let step = self.pipeline.engine.process(&source.name, &memory.state, batch, now).await?;
                (step, Some(decoded))
            }
            Work::Drain => (self.pipeline.engine.drain(&source.name, &memory.state, now).await?, None),
        };
        report.times.sql = self.elapsed() - started - report.times.decode;
        let built_from = self.elapsed();
        let records = match work {
            Work::Records(records) => Some(&**records),
            Work::Drain => None,
        };
        let context = BatchContext { source, partition, records, decoded: decoded.as_ref(), now };
        let (draft, batch_counts) = self.draft(&memory, &mut step, &context, budget)?;
        let Some(()) = self.commit(&mut memory, draft, source, counts).await? else { return Ok(None) };
        *counts += &batch_counts;
        self.note_sink_lengths(&memory);
        report.times.commit = self.elapsed() - built_from;
        report.watermark = step.next.watermark;
        memory.state = step.next;
        let sending = self.elapsed();
        if !self.settle(&mut memory, true, budget, counts).await? {
            return Ok(None);
        }
        report.times.deliver = self.elapsed() - sending;
        if self.manifest_of_settled(&mut memory).await? {
            self.remember(memory);
        }
        Ok(Some(report))
    }

    fn decode(&self, source: &PlannedSource, partition: &str, records: &Records) -> Result<Decoded> {
        let mut decoders = lock(&self.decoders);
        let decoder = decoders.get_mut(&source.name).expect("every source has a decoder");
        decoder.decode(records, partition)
    }

    /// Everything that the micro-batch changes, as one commit.
    fn draft(
        &self,
        memory: &LaneMemory,
        step: &mut Step,
        context: &BatchContext<'_>,
        budget: Budget,
    ) -> Result<(Draft, Counts)> {
        let head = memory.lane.head();
        let (outbox, sink_lengths, counts) = outbox::build(self, &memory.lane, step, context)?;
        let (mut positions, mut ranges) = (head.positions.clone(), head.ranges.clone());
        let taken = context.records.and_then(|records| Some((first_position(records)?, records.last_position()?)));
        if let Some((first, last)) = taken {
            let after = positions.insert(context.partition.to_owned(), last);
            ranges.insert(context.partition.to_owned(), Range { after, first });
        }
        let layout = self.pipeline.engine.fingerprint(&context.source.name);
        let remaining = budget.end_before.saturating_sub(self.elapsed());
        let draft = Draft {
            positions,
            ranges,
            watermark: step.next.watermark,
            sink_lengths,
            delta: std::mem::take(&mut step.delta).into(),
            outbox,
            deadline: context.now.plus(remaining),
            carry: false,
            fingerprint: layout.hash,
            layout: layout.operators,
        };
        Ok((draft, counts))
    }

    /// One conditional write. `None`: somebody else was first, or the outcome is unknown; the memory is stale.
    async fn commit(
        &self,
        memory: &mut LaneMemory,
        draft: Draft,
        source: &PlannedSource,
        counts: &mut Counts,
    ) -> Result<Option<()>> {
        match memory.lane.commit(draft, source.lane_limit).await? {
            CommitOutcome::Committed | CommitOutcome::AlreadyCommitted => {
                counts.commits += 1;
                counts.commit_bytes += memory.lane.head_bytes() as u64;
                Ok(Some(()))
            }
            CommitOutcome::Conflict | CommitOutcome::Unknown(_) => Ok(None),
            CommitOutcome::Fenced(why) => Err(Error::new(ErrorKind::Fenced, why)),
            CommitOutcome::ManifestDue => Err(Error::internal("the manifest was left behind")),
        }
    }

    /// Committed lengths of files are shared by all lanes that write to them.
    fn note_sink_lengths(&self, memory: &LaneMemory) {
        let committed = &memory.lane.head().sink_lengths;
        if !committed.is_empty() {
            let mut shared = lock(&self.sink_lengths);
            for (path, length) in committed {
                let longest = shared.entry(path.clone()).or_insert(0);
                *longest = (*longest).max(*length);
            }
        }
    }

    /// Moves the manifest up before the ring is full. `false`: somebody else moved it; the memory is stale.
    pub(crate) async fn manifest_if_due(&self, memory: &mut LaneMemory) -> Result<bool> {
        if !memory.lane.manifest_due() { Ok(true) } else { self.write_manifest(memory).await }
    }

    /// Moves the manifest up to the settled head when it is due, and at once where a cold start that sends the head
    /// again would have an effect: it cannot know that the head is settled, and the target does not know the requests.
    async fn manifest_of_settled(&self, memory: &mut LaneMemory) -> Result<bool> {
        let head = memory.lane.head();
        let covered = memory.lane.manifest_number() == head.n;
        if !covered && repeats_count(&head.outbox, &self.pipeline.targets) {
            return self.write_manifest(memory).await;
        }
        self.manifest_if_due(memory).await
    }

    /// Moves the manifest up to the settled head.
    pub(crate) async fn write_manifest(&self, memory: &mut LaneMemory) -> Result<bool> {
        let source = memory.lane.key().lane.source().to_owned();
        let snapshot = self.pipeline.engine.snapshot(&source, &memory.state)?;
        match memory.lane.write_manifest(snapshot.into()).await? {
            ManifestOutcome::Written | ManifestOutcome::Unchanged => Ok(true),
            ManifestOutcome::Conflict | ManifestOutcome::Unknown(_) => Ok(false),
        }
    }

    /// Settles a lane's head into the manifest, so that nobody sends it again: the end of a local run.
    pub async fn rest(&self, source: &str, partition: &str, budget: Budget) -> Result<()> {
        let id = LaneId::new(source, partition);
        for _ in 0..self.options.max_tries {
            let mut memory = self.recall(&id).await?;
            let mut counts = Counts::default();
            let settled = memory.lane.head().settled || self.settle(&mut memory, false, budget, &mut counts).await?;
            let covered = memory.lane.manifest_number() == memory.lane.head().n;
            if settled && (covered || self.write_manifest(&mut memory).await?) {
                self.remember(memory);
                return Ok(());
            }
        }
        Err(Error::unavailable(format!("lane {id}: other writers were first {} times", self.options.max_tries)))
    }
}

/// The smallest position, wherever it stands.
fn first_position(records: &Records) -> Option<Position> {
    records.iter().map(|record| record.position).min()
}

/// Records that would be skipped although no commit has ever taken them.
///
/// Two pollers that share a partition's records out (`ParallelizationFactor` above 1) move its position past records
/// of each other. The skip rule would lose them without a word.
fn refuse_gaps(head: &Head, partition: &str, records: &Records) -> Result<()> {
    let (Some(range), Some(committed)) = (head.ranges.get(partition), head.positions.get(partition)) else {
        return Ok(());
    };
    let mut positions = records.iter().map(|record| record.position);
    let Some(lost) = positions.find(|position| lies_in_gap(range, *committed, *position)) else { return Ok(()) };
    Err(Error::invalid(format!(
        "partition {partition}, position {lost}: everything up to {committed} is committed, but no commit has taken \
         this record: the event source mapping has ParallelizationFactor > 1 or skipped records"
    ))
    .with_help("set it to 1; the lane stops so that nothing is lost"))
}
