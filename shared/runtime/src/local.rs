//! Local runs: files, standard input and generators, cut into micro-batches, on the same path as Lambda events.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tidegate_core::{Error, LaneId, Position, Result, Sequence, Timestamp};
use tidegate_delivery::config::{LinesTarget, Target};
use tidegate_engine::{OpenWindows, event_times};
use tidegate_lane::{Backlog, Budget, Counts, Operators, Reach, SourceView, StageTimes};
use tidegate_source::{Decoded, JsonDecoder, Records};

use crate::pipeline::PlannedPipeline;
use crate::runtime::Runtime;

/// Where a local run's records come from.
#[async_trait]
pub trait Input: Send {
    /// Drops everything up to and including `committed` (`None`: nothing is committed).
    async fn skip_to(&mut self, committed: Option<Position>) -> Result<()>;

    /// Puts the next micro-batch of at most `rows` records into `records`, which is empty. Leaves it empty at the end.
    async fn next(&mut self, rows: usize, records: &mut Records) -> Result<()>;
}

/// An input and the lane that it feeds.
pub struct LocalInput {
    /// The source.
    pub source: String,
    /// The partition of it: `0` for the first input of a source.
    pub partition: String,
    /// The records.
    pub input: Box<dyn Input>,
}

/// Settings of a local run.
#[derive(Clone, Copy, Debug)]
pub struct LocalOptions {
    /// Records of a micro-batch.
    pub batch_size: usize,
    /// Whether windows that the watermark has not reached are closed at the end.
    pub drain: bool,
}

/// How far a run has come; handed to the observer after each micro-batch.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Counts so far.
    pub counts: Counts,
    /// Time per stage so far.
    pub times: StageTimes,
    /// Watermark of the lane that was last at work.
    pub watermark: Option<Timestamp>,
}

/// How a run ended.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// What was done.
    pub progress: Progress,
    /// It was told to stop before the end of its inputs.
    pub stopped: bool,
    /// Groups of windows that stay open in the state.
    pub open_groups: u64,
    /// Whether that is an upper bound: a group may stand in several segments, and these are not fetched.
    pub open_groups_at_most: bool,
}

/// Where reading has to begin so that everything from an event time on is read: for each lane the position before the
/// first record at or behind `time`. A lane whose first record is that is left out: it is read from the start.
///
/// # Errors
/// Invalid for a source without watermark: its records have no event time.
pub async fn begins_at(
    pipeline: &PlannedPipeline,
    inputs: &mut [LocalInput],
    time: Timestamp,
) -> Result<BTreeMap<LaneId, Sequence>> {
    let mut begins = BTreeMap::new();
    for LocalInput { source, partition, input } in inputs {
        let begin = begin_at(pipeline, source, partition, input.as_mut(), time).await;
        if let Some(begin) = begin.map_err(|error| error.within(format!("source '{source}'")))? {
            begins.insert(LaneId::new(source, partition), begin.sequence);
        }
    }
    Ok(begins)
}

/// Records that are looked at together for their event time.
const LOOKED_AT: usize = 10_000;

async fn begin_at(
    pipeline: &PlannedPipeline,
    source: &str,
    partition: &str,
    input: &mut dyn Input,
    time: Timestamp,
) -> Result<Option<Position>> {
    let declared = pipeline.file.sources.iter().find(|declared| declared.name == source);
    let (Some(planned), Some(watermark)) = (pipeline.source(source), declared.and_then(|d| d.watermark.as_ref()))
    else {
        return Err(Error::invalid("its records have no event time: it declares no watermark")
            .with_help("begin at a position, LANE=POSITION"));
    };
    let mut decoder = JsonDecoder::new(planned.schema.clone());
    let (mut before, mut records) = (None, Records::with_capacity(LOOKED_AT, LOOKED_AT * 64));
    input.skip_to(None).await?;
    loop {
        records.clear();
        input.next(LOOKED_AT, &mut records).await?;
        if records.is_empty() {
            return Ok(before);
        }
        let decoded = decoder.decode(&records, partition)?;
        let first = first_at(&decoded, &watermark.column, time)?;
        let last = first.map_or(records.len(), |record| record);
        before = records.iter().take(last).last().map(|record| record.position).or(before);
        if first.is_some() {
            return Ok(before);
        }
    }
}

/// The first record whose event time is `time` or later.
fn first_at(decoded: &Decoded, column: &str, time: Timestamp) -> Result<Option<usize>> {
    let times = event_times(&decoded.batch, column)?;
    let row = times.iter().position(|at| at.is_some_and(|at| at >= time));
    Ok(row.map(|row| decoded.record_of_row[row] as usize))
}

/// The inputs of a run as the partitions of their sources. One is idle when it has ended.
struct Inputs {
    partitions: Vec<(String, String)>,
    ended: Mutex<HashSet<(String, String)>>,
}

impl Inputs {
    fn new(inputs: &[LocalInput]) -> Self {
        let partitions = inputs.iter().map(|input| (input.source.clone(), input.partition.clone()));
        Self { partitions: partitions.collect(), ended: Mutex::default() }
    }

    fn ended(&self) -> MutexGuard<'_, HashSet<(String, String)>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, source: &str, partition: &str) {
        self.ended().insert((source.to_owned(), partition.to_owned()));
    }
}

#[async_trait]
impl SourceView for Inputs {
    async fn partitions(&self, source: &str) -> Result<Vec<String>> {
        Ok(self.partitions.iter().filter(|(of, _)| of == source).map(|(_, partition)| partition.clone()).collect())
    }

    async fn backlog(&self, source: &str, partition: &str, _after: Option<Position>) -> Result<Backlog> {
        let place = (source.to_owned(), partition.to_owned());
        // An input of an earlier run that is not read now gives nothing more.
        let ended = self.ended().contains(&place) || !self.partitions.contains(&place);
        Ok(if ended { Backlog::Empty } else { Backlog::Waiting })
    }
}

impl Runtime {
    /// Runs every input to its end, in turn, one micro-batch at a time. `observe` is called between commits; the run
    /// stops there, with everything settled, when it answers `false`.
    pub async fn run_local(
        &self,
        inputs: &mut [LocalInput],
        options: LocalOptions,
        observe: &mut (dyn FnMut(&Progress) -> bool + Send),
    ) -> Result<Summary> {
        let budget = Budget::unlimited();
        if self.lanes.is_alone() {
            self.remove_garbage().await;
        }
        self.cut_back_files().await?;
        let mut summary = Summary::default();
        for input in inputs.iter_mut() {
            let lane = LaneId::new(&input.source, &input.partition);
            // The batch that is owed is sent before the first new record is read.
            summary.progress.counts += &self.lanes.resume(&lane, budget).await?;
            let committed = self.lanes.look(&lane, |head, _| head.positions.get(&input.partition).copied()).await?;
            input.input.skip_to(committed).await?;
        }
        let view = Inputs::new(inputs);
        self.close_local(&view, &mut summary.progress.counts).await?;
        self.take_inputs(inputs, options, observe, &view, &mut summary).await?;
        if options.drain && !summary.stopped {
            for input in inputs.iter() {
                let report = self.lanes.drain(&input.source, &input.partition, budget).await?;
                summary.progress.counts += &report.counts;
            }
        }
        self.close_local(&view, &mut summary.progress.counts).await?;
        self.lanes.sender().sync_lines()?;
        for input in inputs.iter() {
            let lane = LaneId::new(&input.source, &input.partition);
            self.lanes.rest(&lane, budget).await?;
            for open in self.open_windows(&lane).await? {
                summary.open_groups += open.groups;
                summary.open_groups_at_most |= open.at_most;
            }
        }
        for lane in self.store().lanes().await?.iter().filter(|lane| lane.is_close()) {
            self.lanes.rest(lane, budget).await?;
        }
        Ok(summary)
    }

    async fn take_inputs(
        &self,
        inputs: &mut [LocalInput],
        options: LocalOptions,
        observe: &mut (dyn FnMut(&Progress) -> bool + Send),
        view: &Inputs,
        summary: &mut Summary,
    ) -> Result<()> {
        let mut records = Records::new();
        let mut ended = vec![false; inputs.len()];
        while let Some(turn) = ended.iter().position(|ended| !ended) {
            for (input, ended) in inputs.iter_mut().zip(&mut ended).skip(turn).filter(|(_, ended)| !**ended) {
                let started = self.elapsed();
                records.clear();
                input.input.next(options.batch_size, &mut records).await?;
                summary.progress.times.read += self.elapsed() - started;
                if records.is_empty() {
                    *ended = true;
                    view.end(&input.source, &input.partition);
                    self.close_local(view, &mut summary.progress.counts).await?;
                    continue;
                }
                let report =
                    self.lanes.run_batch(&input.source, &input.partition, &mut records, Budget::unlimited()).await?;
                summary.progress.counts += &report.counts;
                if report.counts.seals > 0 {
                    self.close_local(view, &mut summary.progress.counts).await?;
                }
                summary.progress.times += &report.times;
                summary.progress.watermark = report.watermark;
                if !observe(&summary.progress) {
                    summary.stopped = true;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Closes the windows over lanes of all sources.
    async fn close_local(&self, view: &Inputs, counts: &mut Counts) -> Result<()> {
        for source in self.pipeline().sources.iter().filter(|source| source.has_windows_over_lanes()) {
            *counts += &self.lanes.close_windows(&source.name, view, Reach::Idle, Budget::unlimited()).await?;
        }
        Ok(())
    }

    /// Nobody else is at work and nothing is under way: what nothing refers to now never will be. Where it fails, the
    /// objects stay until the next run.
    async fn remove_garbage(&self) {
        for _ in 0..2 {
            if self.store().collect_garbage(Duration::ZERO).await.is_err() {
                return;
            }
        }
    }

    async fn open_windows(&self, lane: &LaneId) -> Result<Vec<OpenWindows>> {
        match self.lanes.look(lane, |_, state| state.cloned()).await? {
            Some(state) => self.pipeline().engine.open_windows(&state).await,
            None => Ok(Vec::new()),
        }
    }

    /// Cuts the files of a dry run back to what is committed: what a killed run wrote beyond is written again.
    async fn cut_back_files(&self) -> Result<()> {
        let paths: Vec<String> = self
            .pipeline()
            .targets
            .values()
            .filter_map(|target| match target {
                Target::Lines(LinesTarget::File(path)) => Some(path.clone()),
                Target::Lines(LinesTarget::Stdout) | Target::Rest(_) => None,
            })
            .collect();
        if paths.is_empty() {
            return Ok(());
        }
        for id in self.store().lanes().await? {
            self.lanes.look(&id, |head, _| self.lanes.operators().committed(&head.sink_lengths)).await?;
        }
        for path in paths {
            let committed = self.lanes.operators().sink_length(&path);
            self.lanes.sender().open_lines(&LinesTarget::File(path), committed)?;
        }
        Ok(())
    }
}
