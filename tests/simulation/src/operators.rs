//! The computation of the simulated pipeline: a small native fold in the place of SQL.
//!
//! Three outputs: a row per record, sums per key and tumbling window, and rows that came too late for their window.
//! Records that cannot be decoded become dead letters. State has compact bytes of its own.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use bytes::Bytes;
use tidegate_core::{Error, HashRange, OutboxEntry, Position, Result, Timestamp};
use tidegate_delivery::{DeadLetter, PlanContext, Target};
use tidegate_lane::{Built, Close, Closed, Counts, Operators, Sealed, StageTimes, StepContext, Stored, Work};
use tidegate_source::RecordRef;
use tidegate_state::{LaneLimit, Layout, Snapshot};

use crate::config::{Config, TARGETS};
use crate::draw::mix;
use crate::environment::EPOCH;
use crate::fault::Site;
use crate::plant::Plant;
use crate::segments::Held;
use crate::source::SOURCE;
use crate::world::{Cell, Shared};

/// The output that is closed over lanes where the layout says so.
pub const OVER_LANES: &str = "sums";

/// A lane's state. Times are microseconds since the start of the schedule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The watermark.
    pub watermark: Option<i64>,
    /// The largest event time that was seen.
    pub newest: Option<i64>,
    /// Open windows.
    pub windows: Windows,
    /// Records folded so far.
    pub folded: u64,
    /// Exclusive or over a hash of each of them.
    pub digest: u64,
}

/// What identifies a record in [`State::digest`].
pub fn digest(position: Position, event: i64, value: i64) -> u64 {
    let bytes = position.sequence.to_be_bytes();
    let word = |at: usize| u64::from_be_bytes(std::array::from_fn(|i| bytes[at + i]));
    mix(mix(word(24), word(16)), mix(position.sub, mix(event as u64, value as u64)))
}

/// Windows: start and key to sum and count.
pub type Windows = BTreeMap<(i64, u64), (i64, u64)>;

/// What tells which child of a split a key goes to.
pub fn hash(key: u64) -> u128 {
    u128::from(mix(key, 77)) << 64
}

/// Numbers of a delta before its windows.
const HEAD: usize = 6;

/// A change of state, and a state as bytes.
#[derive(Default)]
pub(crate) struct Delta {
    pub watermark: Option<i64>,
    pub newest: Option<i64>,
    pub folded: u64,
    pub digest: u64,
    pub windows: Windows,
}

impl Delta {
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(8 * HEAD + 32 * self.windows.len());
        let mut put = |value: i64| out.extend_from_slice(&value.to_le_bytes());
        for time in [self.watermark, self.newest] {
            put(i64::from(time.is_some()));
            put(time.unwrap_or_default());
        }
        put(self.folded as i64);
        put(self.digest as i64);
        for ((start, key), (sum, count)) in &self.windows {
            [*start, *key as i64, *sum, *count as i64].into_iter().for_each(&mut put);
        }
        out.into()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let numbers: Vec<i64> =
            bytes.chunks_exact(8).map(|word| i64::from_le_bytes(word.try_into().unwrap_or_default())).collect();
        if numbers.len() < HEAD || !(numbers.len() - HEAD).is_multiple_of(4) || !bytes.len().is_multiple_of(8) {
            return Err(Error::internal("a delta of the simulation is damaged"));
        }
        // Padding is windows without rows.
        let windows = numbers[HEAD..].chunks_exact(4).filter(|w| w[3] > 0);
        let windows = windows.map(|w| ((w[0], w[1] as u64), (w[2], w[3] as u64)));
        Ok(Self {
            watermark: (numbers[0] == 1).then_some(numbers[1]),
            newest: (numbers[2] == 1).then_some(numbers[3]),
            folded: numbers[4] as u64,
            digest: numbers[5] as u64,
            windows: windows.collect(),
        })
    }
}

impl State {
    /// Restoring, merging and going on are this one operation.
    fn apply(&mut self, delta: &Delta, window: i64) -> Windows {
        for (place, (sum, count)) in &delta.windows {
            let entry = self.windows.entry(*place).or_default();
            *entry = (entry.0 + sum, entry.1 + count);
        }
        self.folded += delta.folded;
        self.digest ^= delta.digest;
        self.watermark = self.watermark.max(delta.watermark);
        self.newest = self.newest.max(delta.newest);
        let Some(watermark) = self.watermark else { return BTreeMap::new() };
        let open = self.windows.split_off(&(watermark - window + 1, 0));
        std::mem::replace(&mut self.windows, open)
    }
}

/// Start, key, sum and count of a window.
pub type WindowSum = (i64, u64, i64, u64);

/// The windows in the rows of a seal.
pub fn sealed_windows(rows: &[u8]) -> Vec<WindowSum> {
    let windows = Delta::decode(rows).map(|delta| delta.windows).unwrap_or_default();
    windows.into_iter().map(|((start, key), (sum, count))| (start, key, sum, count)).collect()
}

/// What a partition is called in rows. In another generation the same records make other rows.
pub fn label(partition: &str, generation: u64) -> String {
    if generation > 1 { format!("{partition}@{generation}") } else { partition.to_owned() }
}

fn windows(of: &str, closed: Windows) -> Vec<OutRow> {
    let row =
        |((start, key), (value, count))| OutRow { id: format!("w/{of}/{start}/{key}"), key, value, count, refusal: 0 };
    closed.into_iter().map(row).collect()
}

struct OutRow {
    id: String,
    key: u64,
    value: i64,
    count: u64,
    refusal: u8,
}

#[derive(Default)]
struct Output {
    rows: [Vec<OutRow>; 3],
    letters: Vec<DeadLetter>,
}

/// The computation.
pub struct Fold {
    world: Shared,
    environment: usize,
    window: i64,
    delay: i64,
    over_lanes: bool,
    padding: usize,
    flush: usize,
    idle_after: Option<Duration>,
    targets: BTreeMap<String, Target>,
    schema: SchemaRef,
    group_keys: Vec<String>,
}

impl Fold {
    /// The computation of a schedule, as `environment` runs it.
    pub fn new(world: Shared, environment: usize, config: &Config) -> Self {
        let number = |name| Field::new(name, DataType::Int64, false);
        let fields = vec![Field::new("row", DataType::Utf8, false), number("k"), number("v"), number("c"), number("x")];
        Self {
            world,
            environment,
            window: config.window,
            delay: config.delay,
            over_lanes: config.over_lanes,
            padding: config.padding,
            flush: config.flush,
            idle_after: config.idle_after.map(Duration::from_micros),
            targets: config.targets.clone(),
            schema: Arc::new(Schema::new(fields)),
            group_keys: vec!["k".into()],
        }
    }

    fn planted(&self, plant: Plant) -> bool {
        self.world.lock().planted(plant)
    }

    /// What a step waits for before it is computed: some records take long. One that was given up does not.
    fn weight(&self, context: &StepContext<'_>, work: Work<'_>) -> Option<Cell<()>> {
        let Work::Records(records) = work else { return None };
        let read = records.iter().filter(|record| record.fault.is_none()).map(|record| record.position);
        self.world.lock().weight(self.environment, context.partition, read)
    }

    fn compute(&self, context: &StepContext<'_>, state: &State, work: Work<'_>) -> (Delta, Output) {
        let (mut delta, mut out) = (Delta::default(), Output::default());
        let partition = &label(context.partition, context.lane.generation.0.into());
        match work {
            Work::Records(records) => {
                for record in records.iter() {
                    // A record that somebody has given up is read no more.
                    let readable = record.fault.is_none();
                    let payload = if readable { record.payload } else { &[] };
                    self.take(partition, record.position, payload, state, &mut delta, &mut out);
                }
            }
            Work::Drain => {
                delta.watermark = state.windows.keys().map(|(start, _)| start + self.window).max();
            }
            Work::Advance(to) => delta.watermark = Some(to.0 - EPOCH),
            Work::Nothing => {}
        }
        (delta, out)
    }

    fn take(
        &self,
        partition: &str,
        position: Position,
        payload: &[u8],
        state: &State,
        delta: &mut Delta,
        out: &mut Output,
    ) {
        let word = |at: usize| payload.get(at..at + 8).and_then(|w| w.try_into().ok()).map(i64::from_le_bytes);
        let (Some(event), Some(key), Some(value), Some([refusal, filtered])) =
            (word(0), word(8), word(16), payload.get(24..26).and_then(|flags| <[u8; 2]>::try_from(flags).ok()))
        else {
            delta.folded += 1;
            out.letters.push(DeadLetter {
                source: Some(SOURCE.into()),
                partition: Some(partition.into()),
                position: Some(position.to_string()),
                reason: "too short".into(),
                ..DeadLetter::default()
            });
            return;
        };
        let key = key as u64;
        delta.folded += 1;
        delta.digest ^= digest(position, event, value);
        delta.watermark = delta.watermark.max(Some(event - self.delay));
        delta.newest = delta.newest.max(Some(event));
        if filtered == 1 {
            return;
        }
        let row = |kind: &str| OutRow { id: format!("{kind}/{partition}/{position}"), key, value, count: 1, refusal };
        out.rows[0].push(row("r"));
        let start = event.div_euclid(self.window) * self.window;
        if state.watermark.is_some_and(|watermark| start + self.window <= watermark) {
            out.rows[2].push(row("l"));
        } else {
            let entry = delta.windows.entry((start, key)).or_default();
            *entry = (entry.0 + value, entry.1 + 1);
        }
    }

    /// What the lane hands over when its watermark has passed the end of a window.
    fn seal(&self, before: &State, next: &State, closed: Windows) -> Option<Sealed> {
        let end = |watermark: i64| watermark.div_euclid(self.window) * self.window;
        let through = end(next.watermark?);
        if closed.is_empty() && before.watermark.is_some_and(|before| end(before) >= through) {
            return None;
        }
        let latest_end = closed.keys().map(|(start, _)| Timestamp(EPOCH + start + self.window)).max();
        let windows = if self.planted(Plant::SealsLoseRows) { BTreeMap::new() } else { closed };
        let ahead = if self.planted(Plant::SealsSayTooMuch) { 2 * self.window } else { 0 };
        let rows = if windows.is_empty() { Bytes::new() } else { Delta { windows, ..Delta::default() }.encode() };
        let latest_end = latest_end.filter(|_| !rows.is_empty());
        Some(Sealed { output: OVER_LANES.into(), through: Timestamp(EPOCH + through + ahead), latest_end, rows })
    }

    fn build(&self, context: &StepContext<'_>, out: &Output) -> Result<Vec<OutboxEntry>> {
        let mut entries: Vec<OutboxEntry> = Vec::new();
        for (name, rows) in TARGETS.iter().zip(&out.rows) {
            if rows.is_empty() {
                continue;
            }
            let planning = PlanContext {
                lane: context.lane,
                n: context.n,
                first_index: entries.len() as u32,
                first_wave: 0,
                target: name,
                output: name,
                now: context.now,
                key_columns: if *name == "sums" { &self.group_keys } else { &[] },
                sink_length: 0,
            };
            entries.extend(tidegate_delivery::plan(&self.targets[*name], &planning, &self.batch(rows)?)?.entries);
        }
        let first = entries.len() as u32;
        let (lane, n, now) = (context.lane, context.n, context.now);
        entries.extend(tidegate_delivery::dead_letter_entries(lane, n, first, now, &out.letters)?);
        Ok(entries)
    }

    fn batch(&self, rows: &[OutRow]) -> Result<RecordBatch> {
        let numbers = |value: fn(&OutRow) -> i64| -> ArrayRef {
            Arc::new(rows.iter().map(|row| Some(value(row))).collect::<Int64Array>())
        };
        let ids: ArrayRef = Arc::new(rows.iter().map(|row| Some(row.id.as_str())).collect::<StringArray>());
        let columns = vec![
            ids,
            numbers(|row| row.key as i64),
            numbers(|row| row.value),
            numbers(|row| row.count as i64),
            numbers(|row| i64::from(row.refusal)),
        ];
        RecordBatch::try_new(self.schema.clone(), columns)
            .map_err(|error| Error::internal("rows do not fit their columns").with_source(error))
    }
}

/// Whether a record kills whoever takes it. One that was given up is not looked at.
fn is_deadly(record: &RecordRef<'_>) -> bool {
    record.fault.is_none() && record.payload.get(26) == Some(&1)
}

#[async_trait]
impl Operators for Fold {
    type State = Held;

    fn sources(&self) -> Vec<String> {
        vec![SOURCE.into()]
    }

    fn lane_limit(&self, source: &str) -> Option<LaneLimit> {
        (source == SOURCE).then_some(LaneLimit::Many)
    }

    fn layout(&self, _: &str) -> Layout {
        Layout { fingerprint: [7; 16], lines: vec!["sums: sum, count per key and window".into()] }
    }

    async fn restore(&self, _: &str, stored: Stored<'_>) -> Result<Held> {
        let Stored { snapshot, segments, deltas, store } = stored;
        let mut state = State::default();
        let snapshot = snapshot.filter(|_| !self.planted(Plant::RestoreForgetsSnapshot));
        if let Some(snapshot) = snapshot {
            // A lane that continues others may begin with windows that have ended: its next step closes them.
            let Delta { watermark, newest, folded, digest, windows } = Delta::decode(snapshot)?;
            state = State { watermark, newest, windows, folded, digest };
        }
        let segments = &segments
            [..segments.len() - usize::from(self.planted(Plant::RestoreForgetsSegment) && !segments.is_empty())];
        let forgets_open = self.planted(Plant::SegmentsBringBackWhatEnded);
        let mut held = Held::restore(state, segments, store, forgets_open).await?;
        let state = &mut held.state;
        let count = deltas.len() - usize::from(self.planted(Plant::RestoreForgetsLastDelta) && !deltas.is_empty());
        for delta in &deltas[..count] {
            state.apply(&Delta::decode(delta)?, self.window);
        }
        if let (true, Some(last)) = (self.planted(Plant::RestoreAppliesDeltaTwice), deltas.last()) {
            state.apply(&Delta::decode(last)?, self.window);
        }
        Ok(held)
    }

    async fn checkpoint(&self, source: &str, held: &Held) -> Result<(Snapshot, Held)> {
        let (rest, segments, held) = held.checkpoint(self.flush).await?;
        Ok((Snapshot { rest: self.whole(source, &rest.into()).await?, segments }, held))
    }

    async fn whole(&self, _: &str, held: &Held) -> Result<Bytes> {
        let State { watermark, newest, windows, folded, digest } = held.state.clone();
        let mut bytes = Delta { watermark, newest, folded, digest, windows }.encode().to_vec();
        for number in 0..self.padding as u64 / 32 {
            // A window without rows, and nothing that compression could make small.
            for word in [mix(number, 1), mix(number, 2), mix(number, 3), 0] {
                bytes.extend(word.to_le_bytes());
            }
        }
        Ok(bytes.into())
    }

    fn watermark(&self, held: &Held) -> Option<Timestamp> {
        held.state.watermark.map(|watermark| Timestamp(EPOCH + watermark))
    }

    async fn step(&self, context: &StepContext<'_>, held: &Held, work: Work<'_>) -> Result<Built<Held>> {
        let state = &held.state;
        let killed = {
            let mut world = self.world.lock();
            world.check.state(context.lane.generation.0.into(), context.lane.lane.as_str(), context.n, state);
            let mut deadly = false;
            if let Work::Records(records) = work {
                deadly = records.iter().any(|record| is_deadly(&record));
                let given_up = |record: &RecordRef<'_>| record.fault.is_some_and(|why| why.contains("have died"));
                let positions = records.iter().filter(given_up).map(|record| record.position).collect();
                let place = (context.lane.generation.0.into(), context.lane.lane.as_str(), context.n);
                crate::check::unread(&mut world, self.environment, place, positions);
            }
            let struck = world.strike(self.environment, Site::Step).is_some() || deadly;
            if struck {
                world.kill(self.environment);
            }
            struck
        };
        if killed {
            pending::<()>().await;
        }
        if let Some(done) = self.weight(context, work) {
            done.await;
        }
        let (delta, mut out) = self.compute(context, state, work);
        let mut next = state.clone();
        let closed = next.apply(&delta, self.window);
        let mut sealed = Vec::new();
        if self.over_lanes {
            sealed.extend(self.seal(state, &next, closed));
        } else {
            out.rows[1] = windows(&label(context.partition, context.lane.generation.0.into()), closed);
        }
        if self.planted(Plant::LateRowsDropped) {
            out.rows[2].clear();
        }
        if self.planted(Plant::PoisonFailsTheBatch) && !out.letters.is_empty() {
            return Err(Error::data("a record cannot be decoded"));
        }
        let mut outbox = self.build(context, &out)?;
        if self.planted(Plant::WavesIgnored) {
            outbox.iter_mut().for_each(|entry| entry.wave = 0);
        }
        let (delta, next) = (delta.encode(), held.follow(next).await?);
        let counts = Counts { late: out.rows[2].len() as u64, ..Counts::default() };
        let sink_lengths = context.sink_lengths.clone();
        Ok(Built { next, delta, outbox, sealed, sink_lengths, counts, times: StageTimes::default() })
    }

    fn over_lanes(&self, _: &str) -> Vec<String> {
        if self.over_lanes { vec![OVER_LANES.into()] } else { Vec::new() }
    }

    fn seed(&self, mut held: Held, watermark: Timestamp) -> Held {
        if !self.planted(Plant::NewLaneBeginsAnywhere) {
            held.state.watermark = held.state.watermark.max(Some(watermark.0 - EPOCH));
        }
        held
    }

    async fn close(&self, context: &StepContext<'_>, close: &Close<'_>) -> Result<Closed> {
        let mut merged = State::default();
        for rows in close.seals {
            merged.apply(&Delta::decode(rows)?, self.window);
        }
        let (floor, to) = (close.floor.map(|floor| floor.0 - EPOCH), close.to.0 - EPOCH);
        let closes = |start: i64| Some(start + self.window) > floor && start + self.window <= to;
        merged.windows.retain(|(start, _), _| closes(*start));
        let mut out = Output::default();
        out.rows[1] = windows(&label("all", context.lane.generation.0.into()), merged.windows);
        let sink_lengths = context.sink_lengths.clone();
        Ok(Closed { outbox: self.build(context, &out)?, sink_lengths, counts: Counts::default() })
    }

    async fn divide(&self, _: &str, parents: &[Held], children: &[Option<HashRange>]) -> Result<Vec<Held>> {
        let mut first = State::default();
        for Held { state: parent, .. } in parents {
            for (place, (sum, count)) in &parent.windows {
                let entry = first.windows.entry(*place).or_default();
                *entry = (entry.0 + sum, entry.1 + count);
            }
            first.folded += parent.folded;
            first.digest ^= parent.digest;
            first.watermark = first.watermark.max(parent.watermark);
            first.newest = first.newest.max(parent.newest);
        }
        let (watermark, newest) = (first.watermark, first.newest);
        let mut other = State { watermark, newest, ..State::default() };
        if self.planted(Plant::ChildrenInheritTwice) {
            other.windows = first.windows.clone();
        }
        if self.planted(Plant::ChildrenInheritNothing) {
            first.windows.clear();
        }
        let windows = first.windows.clone();
        let mut heirs: Vec<State> =
            std::iter::once(first).chain(std::iter::repeat(other)).take(children.len()).collect();
        if let Some(ranges) = children.iter().copied().collect::<Option<Vec<HashRange>>>()
            && !self.planted(Plant::ChildrenInheritTwice)
        {
            let swapped = usize::from(self.planted(Plant::ChildrenInheritOfOthers));
            for (place, heir) in heirs.iter_mut().enumerate() {
                let range = ranges[(place + swapped) % ranges.len()];
                heir.windows = windows.clone();
                heir.windows.retain(|(_, key), _| range.contains(hash(*key)));
            }
        }
        Ok(heirs.into_iter().map(Held::from).collect())
    }

    fn newest(&self, _: &str, Held { state, .. }: &Held) -> Option<Timestamp> {
        let seen = match self.planted(Plant::SilenceRunsAhead) {
            true => state.watermark.map(|watermark| watermark + self.delay),
            false => state.newest,
        };
        seen.map(|newest| Timestamp(EPOCH + newest))
    }

    fn idle_after(&self, _: &str) -> Option<Duration> {
        self.idle_after
    }
}
