//! One micro-batch of a lane: load or reuse its memory, settle what is owed, skip what is committed, compute, commit,
//! deliver.

use bytes::Bytes;
use tidegate_core::outbox::SEALS;
use tidegate_core::{EffectId, Error, ErrorKind, LaneId, OutboxEntry, Position, RequestIndex, Result, Timestamp};
use tidegate_delivery::repeats_count;
use tidegate_source::Records;
use tidegate_state::{
    CommitOutcome, Draft, Head, Lane, LaneLimit, ManifestOutcome, Phase, Range, Seal, Snapshot, lies_in_gap,
};

use crate::budget::Budget;
use crate::lanes::{LaneMemory, Lanes};
use crate::operators::{Built, Operators, Sealed, StepContext, Work};
use crate::origin::SilentUntil;
use crate::report::{BatchReport, Counts};

/// What is asked of a lane.
pub(crate) enum Task<'a> {
    /// A micro-batch; what is committed already is taken out of it.
    Records(&'a mut Records),
    /// Close every open window.
    Drain,
    /// Raise the watermark to this, without records.
    Advance(Timestamp),
    /// Tell the close lanes how far the lane is, which began with a watermark and has sealed nothing yet.
    Announce,
    /// Make the first commit, without records, if there is none: the lane is waited for from now on.
    Join,
}

impl<O: Operators> Lanes<O> {
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
        self.run_lane(source, partition, Task::Records(records), budget).await
    }

    /// Closes every open window of a lane.
    pub async fn drain(&self, source: &str, partition: &str, budget: Budget) -> Result<BatchReport> {
        self.run_lane(source, partition, Task::Drain, budget).await
    }

    pub(crate) async fn run_lane(
        &self,
        source: &str,
        partition: &str,
        task: Task<'_>,
        budget: Budget,
    ) -> Result<BatchReport> {
        let place = Place { source, partition, limit: self.lane_limit(source)?, silent: false };
        match self.origin.until(&LaneId::new(source, partition), partition)? {
            None => self.run_task(place, task, budget).await,
            Some(until) => self.run_behind_silence(place, until, task, budget).await,
        }
    }

    /// A task of a lane that repeats what an older generation has sent. What is silent comes first, in commits of its
    /// own.
    async fn run_behind_silence(
        &self,
        place: Place<'_>,
        until: SilentUntil,
        task: Task<'_>,
        budget: Budget,
    ) -> Result<BatchReport> {
        let silent = Place { silent: true, ..place };
        let (mut before, mut taken) = (Counts::default(), 0);
        if let Task::Records(records) = &task {
            let within = records.iter().take_while(|record| record.position <= until.position).count();
            if within == records.len() {
                return self.run_task(silent, task, budget).await;
            }
            if within > 0 {
                let mut first = (*records).clone();
                first.truncate(within);
                let report = self.run_task(silent, Task::Records(&mut first), budget).await?;
                // They come again in the whole batch, and are skipped there.
                taken = report.counts.records - report.counts.skipped;
                before = Counts { records: 0, skipped: 0, ..report.counts };
            }
        }
        let to = match (&task, until.watermark) {
            (Task::Advance(to), Some(watermark)) => Some(watermark.min(*to)),
            // Nothing is read yet, or not to the end.
            (Task::Join | Task::Announce, _) => None,
            (_, watermark) => watermark,
        };
        if let Some(to) = to {
            before += &self.run_task(silent, Task::Advance(to), budget).await?.counts;
        }
        let mut report = self.run_task(place, task, budget).await?;
        report.counts += &before;
        report.counts.skipped = report.counts.skipped.saturating_sub(taken);
        Ok(report)
    }

    async fn run_task(&self, place: Place<'_>, mut task: Task<'_>, budget: Budget) -> Result<BatchReport> {
        let id = LaneId::new(place.source, place.partition);
        let mut total = Counts::default();
        if let Task::Records(records) = &task {
            total.records = records.len() as u64;
        }
        let mut lost = None;
        for _ in 0..self.options.max_tries {
            let memory = self.recall(&id).await?;
            match self.try_lane(place, memory, &mut task, budget, &mut total).await {
                Ok(Some(mut report)) => {
                    report.counts = total;
                    return Ok(report);
                }
                Ok(None) => total.conflicts += 1,
                // A piece of the state is gone: the memory that names it is old.
                Err(error) if error.kind() == ErrorKind::Conflict => {
                    total.conflicts += 1;
                    lost = Some(error.within(format_args!("lane {id}")));
                }
                Err(error) => return Err(error.within(format_args!("lane {id}"))),
            }
        }
        Err(lost.map_or_else(|| self.lost_every_race(&id), |error| error.as_kind(ErrorKind::Unavailable)))
    }

    fn lane_limit(&self, source: &str) -> Result<LaneLimit> {
        let limit = self.operators.lane_limit(source);
        limit.ok_or_else(|| Error::invalid(format!("the pipeline has no source '{source}'")))
    }

    pub(crate) fn lost_every_race(&self, id: &LaneId) -> Error {
        Error::unavailable(format!("lane {id}: other writers were first {} times", self.options.max_tries))
            .with_help("the source delivers again; if this lasts, look for a second function on the same stream")
    }

    /// One try of a task. `None`: somebody else was first, or the outcome is unknown; load again, decide again.
    async fn try_lane(
        &self,
        place: Place<'_>,
        mut memory: LaneMemory<O::State>,
        task: &mut Task<'_>,
        budget: Budget,
        counts: &mut Counts,
    ) -> Result<Option<BatchReport>> {
        if !memory.lane.head().settled && !self.settle(&mut memory, false, budget, counts).await? {
            return Ok(None);
        }
        if !self.manifest_of_settled(&mut memory).await? {
            return Ok(None);
        }
        let mut report = BatchReport { watermark: memory.lane.head().watermark, ..BatchReport::default() };
        let started = self.elapsed();
        let announces = matches!(task, Task::Announce);
        let work = match task {
            Task::Records(records) => {
                if !self.leaves_new(place, &memory, records, counts).await? {
                    self.remember(memory);
                    return Ok(Some(report));
                }
                Work::Records(records)
            }
            Task::Drain => Work::Drain,
            Task::Advance(to) if report.watermark >= Some(*to) => {
                self.remember(memory);
                return Ok(Some(report));
            }
            Task::Advance(to) => Work::Advance(*to),
            Task::Announce => match report.watermark {
                Some(watermark) => Work::Advance(watermark),
                None => {
                    self.remember(memory);
                    return Ok(Some(report));
                }
            },
            Task::Join if memory.lane.head().n > 0 => {
                self.remember(memory);
                return Ok(Some(report));
            }
            Task::Join => Work::Nothing,
        };
        let Some(state) = memory.state.as_ref() else { return Err(self.sealed_lane().await) };
        let mut built = self.step(place, &memory.lane, state, work, announces).await?;
        if place.silent {
            leave_out(&mut built.outbox, &mut built.counts);
        }
        let draft = self.draft(place, &memory.lane, &mut built, work, budget)?;
        let Built { next, counts: batch_counts, times, sealed, .. } = built;
        let seals = sealed.len() as u64;
        if !self.commit(&mut memory, draft, place.limit, counts).await? {
            return Ok(None);
        }
        *counts += &batch_counts;
        counts.seals += seals;
        self.operators.committed(&memory.lane.head().sink_lengths);
        report.times = times;
        report.times.commit = self.elapsed().saturating_sub(started + times.decode + times.sql);
        report.watermark = self.operators.watermark(&next);
        memory.state = Some(next);
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

    /// Takes out of `records` what is committed, or left out by this generation. `false`: nothing is left, and the
    /// generation goes on.
    async fn leaves_new(
        &self,
        place: Place<'_>,
        memory: &LaneMemory<O::State>,
        records: &mut Records,
        counts: &mut Counts,
    ) -> Result<bool> {
        let (head, before) = (memory.lane.head(), records.len());
        records.skip_through(self.origin.begin(&memory.lane.key().lane)?);
        if let Err(gap) = refuse_gaps(head, place.partition, records) {
            // In a new generation older records come again. Who still works on the old one must hear of it.
            self.store.registry().await?;
            return Err(gap);
        }
        records.skip_through(head.positions.get(place.partition).copied());
        counts.skipped += (before - records.len()) as u64;
        if records.is_empty() {
            // Nothing is written that a sealed ring would refuse, and in a new generation these records count again. So
            // the registry is asked: it fences whoever works on one that has ended.
            self.store.registry().await?;
        }
        Ok(!records.is_empty())
    }

    /// Why a lane takes no records any more.
    async fn sealed_lane(&self) -> Error {
        match self.store.registry().await {
            Err(moved_on) => moved_on,
            Ok(registry) if registry.phase != Phase::Open => Error::unavailable(
                "a new generation was begun and is not open yet",
            )
            .with_help("repeat what has begun it: `tidegate reset`, `tidegate rewind`, or the event reset or repair"),
            Ok(_) => Error::new(ErrorKind::Fenced, "the lane has ended: its partition was split or merged").with_help(
                "records behind its end should not exist; look whether the stream was deleted and created again",
            ),
        }
    }

    async fn step(
        &self,
        place: Place<'_>,
        lane: &Lane,
        state: &O::State,
        work: Work<'_>,
        announces: bool,
    ) -> Result<Built<O::State>> {
        let context = StepContext {
            source: place.source,
            partition: place.partition,
            lane: lane.key(),
            n: lane.next_number(),
            now: self.clock.now(),
            sink_lengths: &lane.head().sink_lengths,
        };
        let mut built = self.operators.step(&context, state, work).await?;
        if announces {
            self.announce(place.source, &mut built);
        }
        Ok(built)
    }

    /// Every output over lanes hears how far the lane is, also where no window has ended.
    fn announce(&self, source: &str, built: &mut Built<O::State>) {
        let Some(through) = self.operators.watermark(&built.next) else { return };
        for output in self.operators.over_lanes(source) {
            if built.sealed.iter().all(|sealed| sealed.output != output) {
                built.sealed.push(Sealed { output, through, latest_end: None, rows: Bytes::new() });
            }
        }
    }

    /// Everything that the micro-batch changes, as one commit.
    fn draft(
        &self,
        place: Place<'_>,
        lane: &Lane,
        built: &mut Built<O::State>,
        work: Work<'_>,
        budget: Budget,
    ) -> Result<Draft> {
        let head = lane.head();
        let mut outbox = std::mem::take(&mut built.outbox);
        self.add_seals(lane, &built.sealed, &mut outbox)?;
        let (mut positions, mut ranges) = (head.positions.clone(), head.ranges.clone());
        let taken = match work {
            Work::Records(records) => first_position(records).zip(records.last_position()),
            Work::Drain | Work::Advance(_) | Work::Nothing => None,
        };
        if let Some((first, last)) = taken {
            let after = positions.insert(place.partition.to_owned(), last);
            ranges.insert(place.partition.to_owned(), Range { after, first });
        }
        let layout = self.operators.layout(place.source);
        Ok(Draft {
            positions,
            ranges,
            watermark: self.operators.watermark(&built.next),
            sink_lengths: std::mem::take(&mut built.sink_lengths),
            delta: std::mem::take(&mut built.delta),
            outbox,
            deadline: self.deadline(budget),
            carry: false,
            fingerprint: layout.fingerprint,
            layout: layout.lines,
        })
    }

    /// What the lane hands over to close lanes leaves it like every other effect. It is behind the requests, so that their
    /// indexes do not depend on it.
    fn add_seals(&self, lane: &Lane, sealed: &[Sealed], outbox: &mut Vec<OutboxEntry>) -> Result<()> {
        let (n, committed_at) = (lane.next_number(), self.clock.now());
        for sealed in sealed {
            let seal = Seal {
                output: sealed.output.clone(),
                lane: lane.key().lane.clone(),
                n,
                part: 0,
                through: Some(sealed.through),
                latest_end: sealed.latest_end,
                rows: sealed.rows.clone(),
            };
            outbox.push(OutboxEntry {
                id: EffectId { n, index: RequestIndex::top(outbox.len() as u32) },
                target: SEALS.to_owned(),
                wave: 0,
                rows: 1,
                committed_at,
                payload: seal.encode()?,
            });
        }
        Ok(())
    }

    /// When this environment stops sending what it commits now.
    pub(crate) fn deadline(&self, budget: Budget) -> Timestamp {
        self.clock.now().plus(budget.end_before.saturating_sub(self.elapsed()))
    }

    /// One conditional write. `false`: somebody else was first, or the outcome is unknown; the memory is stale.
    pub(crate) async fn commit(
        &self,
        memory: &mut LaneMemory<O::State>,
        draft: Draft,
        limit: LaneLimit,
        counts: &mut Counts,
    ) -> Result<bool> {
        let committed = self.judge(memory.lane.commit(draft, limit).await?)?;
        if committed {
            self.count_commit(memory, counts);
        }
        Ok(committed)
    }

    pub(crate) fn count_commit(&self, memory: &LaneMemory<O::State>, counts: &mut Counts) {
        counts.commits += 1;
        counts.commit_bytes += memory.lane.head_bytes() as u64;
    }

    /// Whether it is committed. `false`: somebody else was first, or the outcome is unknown.
    pub(crate) fn judge(&self, outcome: CommitOutcome) -> Result<bool> {
        match outcome {
            CommitOutcome::Committed | CommitOutcome::AlreadyCommitted => Ok(true),
            CommitOutcome::Conflict | CommitOutcome::Unknown(_) => Ok(false),
            CommitOutcome::Fenced(why) => Err(Error::new(ErrorKind::Fenced, why)),
            CommitOutcome::ManifestDue => Err(Error::internal("the manifest was left behind")),
        }
    }

    /// Moves the manifest up before the ring is full. `false`: somebody else moved it; the memory is stale.
    pub(crate) async fn manifest_if_due(&self, memory: &mut LaneMemory<O::State>) -> Result<bool> {
        if !memory.lane.manifest_due() { Ok(true) } else { self.write_manifest(memory).await }
    }

    /// Moves the manifest up to the settled head when it is due, and at once where a cold start that sends the head
    /// again would have an effect: it cannot know that the head is settled, and the target does not know the requests.
    pub(crate) async fn manifest_of_settled(&self, memory: &mut LaneMemory<O::State>) -> Result<bool> {
        let head = memory.lane.head();
        let covered = memory.lane.manifest_number() == head.n;
        if !covered && repeats_count(&head.outbox, &self.targets) {
            return self.write_manifest(memory).await;
        }
        self.manifest_if_due(memory).await
    }

    /// Moves the manifest up to the settled head.
    pub(crate) async fn write_manifest(&self, memory: &mut LaneMemory<O::State>) -> Result<bool> {
        let source = memory.lane.key().lane.source().to_owned();
        let (snapshot, next) = match &memory.state {
            Some(state) => match self.operators.checkpoint(&source, state).await {
                Ok((snapshot, next)) => (snapshot, Some(next)),
                Err(error) if error.kind() == ErrorKind::Conflict => return Ok(false),
                Err(error) => return Err(error.within(format_args!("lane {}", memory.lane.key().lane))),
            },
            None => (Snapshot::default(), None),
        };
        match memory.lane.write_manifest(snapshot).await? {
            ManifestOutcome::Written => {
                memory.state = next;
                Ok(true)
            }
            ManifestOutcome::Unchanged => Ok(true),
            ManifestOutcome::Conflict | ManifestOutcome::Unknown(_) => Ok(false),
        }
    }

    /// Settles a lane's head into the manifest, so that nobody sends it again: the end of a local run, the tick.
    pub async fn rest(&self, id: &LaneId, budget: Budget) -> Result<Counts> {
        let mut counts = Counts::default();
        for _ in 0..self.options.max_tries {
            let mut memory = self.recall(id).await?;
            let settled = memory.lane.head().settled || self.settle(&mut memory, false, budget, &mut counts).await?;
            let covered = memory.lane.manifest_number() == memory.lane.head().n;
            if settled && (covered || self.write_manifest(&mut memory).await?) {
                self.remember(memory);
                return Ok(counts);
            }
        }
        Err(self.lost_every_race(id))
    }
}

/// What was sent before is not owed again.
pub(crate) fn leave_out(outbox: &mut Vec<OutboxEntry>, counts: &mut Counts) {
    counts.silent += outbox.len() as u64;
    (counts.rows, counts.dead_letters) = (0, 0);
    outbox.clear();
}

/// The lane's source and partition.
#[derive(Clone, Copy)]
struct Place<'a> {
    source: &'a str,
    partition: &'a str,
    limit: LaneLimit,
    /// What the task causes was sent before.
    silent: bool,
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
