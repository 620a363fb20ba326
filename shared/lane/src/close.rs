//! Closing windows over lanes: what the lanes have sealed becomes the results of an output.
//!
//! Anybody may close, at any time, any number of times: the closed floor moves in one transaction with the close lane's
//! slot, on condition that the registry has not changed since the decision.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use tidegate_core::{Error, LaneId, Result, Timestamp};
use tidegate_state::{Closing, Draft, RegistryView, StoredSeal};

use crate::batch::{Task, leave_out};
use crate::budget::Budget;
use crate::decide::{self, LaneProgress};
use crate::lanes::{LaneMemory, Lanes};
use crate::operators::{Close, Operators, StepContext};
use crate::report::Counts;
use crate::view::{Backlog, SourceView};

/// Rounds of one call: each closes windows, seals idle lanes, or has lost a race.
pub const MAX_CLOSE_ROUNDS: u32 = 32;
/// Seals of an output that may wait for a lane that is behind. With more of them the lanes that are ahead wait too.
pub const MAX_WAITING_SEALS: usize = 10_000;
/// Seals of an output from which on closing also removes those that nobody needs any more.
const SEALS_BEFORE_REMOVAL: usize = 256;
/// Rows of seals that are fetched at the same time.
const SEALS_IN_FLIGHT: usize = 16;

/// Why windows were not closed.
#[derive(Debug)]
pub enum CloseError {
    /// They stay sealed until the next call.
    Failed(Error),
    /// They stay sealed, and so much is waiting that the lanes must wait, too.
    Overflow(Error),
}

impl CloseError {
    fn within(self, output: &str) -> Self {
        let place = format!("output {output}");
        match self {
            Self::Failed(error) => Self::Failed(error.within(place)),
            Self::Overflow(error) => Self::Overflow(error.within(place)),
        }
    }
}

impl From<Error> for CloseError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<CloseError> for Error {
    fn from(error: CloseError) -> Self {
        match error {
            CloseError::Failed(error) | CloseError::Overflow(error) => error,
        }
    }
}

/// How far [`Lanes::close_windows`] goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// What the lanes have sealed by themselves: after a micro-batch.
    Sealed,
    /// Lanes that have not begun are registered, and idle ones are sealed: the tick, local runs.
    Idle,
}

/// What closing an output has to do with.
struct Work<'a> {
    source: &'a str,
    output: &'a str,
    view: &'a dyn SourceView,
    reach: Reach,
    budget: Budget,
}

impl<O: Operators> Lanes<O> {
    /// Closes every window of the outputs over lanes of `source` that all its lanes have sealed, and delivers the results.
    ///
    /// # Errors
    /// As for a micro-batch. What was sealed stays where it is; call again.
    /// [`CloseError::Overflow`]: more than [`MAX_WAITING_SEALS`] wait.
    pub async fn close_windows(
        &self,
        source: &str,
        view: &dyn SourceView,
        reach: Reach,
        budget: Budget,
    ) -> Result<Counts, CloseError> {
        let mut counts = Counts::default();
        for output in self.operators.over_lanes(source) {
            let work = Work { source, output: &output, view, reach, budget };
            let closed = self.close_output(&work, &mut counts).await;
            closed.map_err(|error| error.within(&output))?;
        }
        Ok(counts)
    }

    async fn close_output(&self, work: &Work<'_>, counts: &mut Counts) -> Result<(), CloseError> {
        let id = LaneId::close(work.output);
        let mut lost = 0;
        for _ in 0..MAX_CLOSE_ROUNDS {
            if lost >= self.options.max_tries {
                return Err(self.lost_every_race(&id).into());
            }
            let mut memory = self.recall(&id).await?;
            let settled = memory.lane.head().settled || self.settle(&mut memory, false, work.budget, counts).await?;
            if !settled || !self.manifest_of_settled(&mut memory).await? {
                lost += 1;
                continue;
            }
            let registry = self.registry_of_all(work, counts).await?;
            let seals = self.store.seals(work.output).await?;
            let lanes = progress(&registry, work, &seals);
            let floor = registry.floors.get(work.output).copied();
            let Some(to) = decide::closable(&lanes, floor) else {
                self.remember(memory);
                if work.reach == Reach::Idle && self.seal_idle(work, &lanes, floor, counts).await? {
                    continue;
                }
                return check_waiting(&seals, &lanes);
            };
            let to = decide::before_border(to, floor, self.origin.floor(work.output));
            let closing = Closing { output: work.output.to_owned(), floor: to, registry_version: registry.version };
            if !self.commit_closed(&mut memory, work, closing, floor, &seals, counts).await? {
                lost += 1;
                continue;
            }
            if self.settle(&mut memory, true, work.budget, counts).await?
                && self.manifest_of_settled(&mut memory).await?
            {
                self.remember(memory);
            }
            if seals.len() >= SEALS_BEFORE_REMOVAL {
                self.store.remove_seals(work.output).await?;
            }
        }
        Ok(())
    }

    /// The registry, after every partition that the source has was given its lane: one that begins later would find its
    /// windows closed. Where something was closed before, only the tick looks again.
    async fn registry_of_all(&self, work: &Work<'_>, counts: &mut Counts) -> Result<RegistryView> {
        let registry = self.store.registry().await?;
        if work.reach == Reach::Sealed && registry.floors.contains_key(work.output) {
            return Ok(registry);
        }
        let partitions = work.view.partitions(work.source).await?;
        let unknown = |partition: &&String| !registry.lanes.contains(&LaneId::new(work.source, partition));
        let missing: Vec<String> = partitions.iter().filter(unknown).cloned().collect();
        if missing.is_empty() {
            return Ok(registry);
        }
        self.join_missing(work.source, &missing, work.view, work.budget, counts).await?;
        self.store.registry().await
    }

    /// Commits the results of the windows up to `closing.floor`. `false`: somebody else was first.
    async fn commit_closed(
        &self,
        memory: &mut LaneMemory<O::State>,
        work: &Work<'_>,
        closing: Closing,
        floor: Option<Timestamp>,
        seals: &[StoredSeal],
        counts: &mut Counts,
    ) -> Result<bool> {
        let open = seals.iter().filter(|stored| stored.seal.latest_end > floor);
        let rows: Vec<Bytes> = stream::iter(open)
            .map(|stored| self.store.seal_rows(stored))
            .buffered(SEALS_IN_FLIGHT)
            .try_collect()
            .await?;
        let head = memory.lane.head();
        let context = StepContext {
            source: work.source,
            partition: work.output,
            lane: memory.lane.key(),
            n: memory.lane.next_number(),
            now: self.clock.now(),
            sink_lengths: &head.sink_lengths,
        };
        let close = Close { output: work.output, seals: &rows, floor, to: closing.floor };
        let mut closed = self.operators.close(&context, &close).await?;
        if self.origin.floor(work.output) >= Some(closing.floor) {
            leave_out(&mut closed.outbox, &mut closed.counts);
        }
        let draft = Draft {
            positions: head.positions.clone(),
            ranges: head.ranges.clone(),
            watermark: Some(closing.floor),
            sink_lengths: closed.sink_lengths,
            outbox: closed.outbox,
            deadline: self.deadline(work.budget),
            ..Draft::default()
        };
        if !self.judge(memory.lane.commit_close(draft, closing).await?)? {
            // The chain may be as good as before, when only the registry has changed: it is loaded again all the same.
            return Ok(false);
        }
        self.count_commit(memory, counts);
        *counts += &closed.counts;
        self.operators.committed(&memory.lane.head().sink_lengths);
        Ok(true)
    }

    /// Seals lanes that hold the others up and have nothing to read. Whether any lane was sealed.
    async fn seal_idle(
        &self,
        work: &Work<'_>,
        lanes: &[LaneProgress],
        floor: Option<Timestamp>,
        counts: &mut Counts,
    ) -> Result<bool> {
        // What others have sealed waits for the lanes that continue them, which may never get a row that is not late.
        if self.announce_born(work, lanes, counts).await? {
            return Ok(true);
        }
        let mut idle = BTreeSet::new();
        let behind = decide::behind(lanes);
        for lane in &behind {
            if self.is_idle(work, &lane.lane).await? {
                idle.insert(lane.lane.clone());
            }
        }
        // The lanes that are ahead hold nobody up, whether they are idle or not, unless all of them are.
        let ahead = lanes.iter().filter(|lane| !behind.contains(lane)).map(|lane| lane.lane.clone());
        let everybody = idle.len() == behind.len();
        if everybody {
            idle.extend(ahead);
        }
        let Some(goal) = decide::idle_goal(lanes, &idle).filter(|goal| Some(*goal) > floor) else { return Ok(false) };
        let mut sealed = false;
        for lane in behind.iter().filter(|lane| idle.contains(&lane.lane) && lane.sealed < Some(goal)) {
            let partition = lane.lane.partition();
            let report = self.run_lane(work.source, &partition, Task::Advance(goal), work.budget).await?;
            sealed |= report.counts.seals > 0;
            *counts += &report.counts;
        }
        Ok(sealed)
    }

    /// Lanes that have sealed nothing themselves tell the watermark that they began with. Whether any did.
    async fn announce_born(&self, work: &Work<'_>, lanes: &[LaneProgress], counts: &mut Counts) -> Result<bool> {
        let mut sealed = false;
        for lane in lanes.iter().filter(|lane| !lane.announced) {
            let partition = lane.lane.partition();
            let report = self.run_lane(work.source, &partition, Task::Announce, work.budget).await?;
            sealed |= report.counts.seals > 0;
            *counts += &report.counts;
        }
        Ok(sealed)
    }

    /// Whether a lane has nothing to read: the source says so, or it cannot be asked and the lane has been quiet for the
    /// declared time.
    async fn is_idle(&self, work: &Work<'_>, lane: &LaneId) -> Result<bool> {
        let partition = lane.partition();
        let looked = self.look(lane, |head, _| (head.settled, head.positions.get(&partition).copied(), head.deadline));
        let (settled, committed, deadline) = looked.await?;
        if !settled {
            return Ok(false);
        }
        let behind = committed.or(self.origin.begin(lane)?);
        match work.view.backlog(work.source, &partition, behind).await? {
            Backlog::Empty => Ok(true),
            Backlog::Waiting => Ok(false),
            Backlog::Unknown => {
                let quiet = self.operators.idle_after(work.source);
                Ok(quiet.is_some_and(|quiet| deadline.plus(quiet) < self.clock.now()))
            }
        }
    }
}

/// How far the lanes that may still get records have sealed an output.
fn progress(registry: &RegistryView, work: &Work<'_>, seals: &[StoredSeal]) -> Vec<LaneProgress> {
    let sealed = tidegate_state::decide::seals::sealed_through(seals.iter().map(|stored| &stored.seal));
    let floor = registry.floors.get(work.output).copied();
    // What is closed is sealed: a lane that has joined since began behind it.
    let of = |lane: &LaneId| sealed.get(lane).copied().max(floor);
    let progress =
        |lane: &LaneId| LaneProgress { lane: lane.clone(), sealed: of(lane), announced: sealed.contains_key(lane) };
    registry.active(work.source).map(progress).collect()
}

fn check_waiting(seals: &[StoredSeal], lanes: &[LaneProgress]) -> Result<(), CloseError> {
    if seals.len() <= MAX_WAITING_SEALS {
        return Ok(());
    }
    let slowest = lanes.iter().min_by_key(|lane| lane.sealed).map_or_else(String::new, |lane| lane.lane.to_string());
    let waiting = seals.len();
    Err(CloseError::Overflow(
        Error::unavailable(format!(
            "{waiting} sealed parts of windows wait for lane {slowest}, the limit is {MAX_WAITING_SEALS}"
        ))
        .with_help(
            "look why that partition is behind; if it gets no records, let the tick run, or declare watermark.idle",
        ),
    ))
}
