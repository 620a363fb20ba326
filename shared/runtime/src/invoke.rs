//! Lambda events: event bytes in, response out.
//!
//! The response is a partial failure (`batchItemFailures`) where the event source mapping reads it, and an error that
//! fails the whole batch otherwise. Both are safe: what was committed is skipped when it comes again.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use futures::future::{Either, select};
use serde::Serialize;
use serde_json::Value;
use tidegate_core::{Error, ErrorKind, Generation, LaneId, Result, Sequence};
use tidegate_lane::{Anew, Budget, CloseError, Counts, Reach, Replay, Sent, Undone};
use tidegate_source::{EventKind, PartitionBatch, split_kafka, split_kinesis};

use crate::pipeline::PlannedSource;
use crate::runtime::{Renewal, Runtime};
use crate::view::short_name;

/// Time kept back from the invocation's deadline for answering.
pub const ANSWER_RESERVE: Duration = Duration::from_millis(500);

/// What the event source mapping reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Response {
    /// The first record of each partition that is not done. Empty: everything is.
    #[serde(rename = "batchItemFailures")]
    pub failures: Vec<ItemFailure>,
    /// What a control event has begun.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub renewal: Option<Renewal>,
}

/// A record that is not done; it and what follows it in its partition comes again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ItemFailure {
    /// Kinesis: the sequence number. Kafka: partition and offset.
    #[serde(rename = "itemIdentifier")]
    pub item: ItemIdentifier,
}

/// How an event source names a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum ItemIdentifier {
    /// A Kinesis sequence number.
    Sequence(String),
    /// A Kafka record.
    Kafka {
        /// `topic-partition`.
        partition: String,
        /// Offset.
        offset: u64,
    },
}

/// What an invocation did.
#[derive(Debug)]
pub struct Invocation {
    /// The answer. `Err` fails the whole batch.
    pub answer: Result<Response>,
    /// Counts over all partitions.
    pub counts: Counts,
    /// Partitions that failed, each with its error.
    pub failed: Vec<(String, Error)>,
    /// Sources whose windows over lanes could not be closed now, each with the reason. They are kept.
    pub not_closed: Vec<(String, Error)>,
    /// How far the watermark of the slowest lane of this invocation is behind the clock.
    pub watermark_lag: Option<Duration>,
    /// The state has moved on to another generation: this environment must open it again.
    pub outdated: bool,
}

impl Runtime {
    /// Handles one event. `remaining` is the time to the invocation's deadline.
    pub async fn invoke(&self, event: &[u8], remaining: Duration) -> Invocation {
        let budget = Budget::new(self.elapsed(), remaining.saturating_sub(ANSWER_RESERVE));
        let mut invocation = Invocation {
            answer: Ok(Response::default()),
            counts: Counts::default(),
            failed: Vec::new(),
            not_closed: Vec::new(),
            watermark_lag: None,
            outdated: false,
        };
        // What still waits then, for a store that hangs, is given up: lanes that were at work are loaded again.
        let last = self.ports.clock.sleep(remaining.saturating_sub(ANSWER_RESERVE / 2));
        let given_up = matches!(select(pin!(self.work(event, budget, &mut invocation)), last).await, Either::Right(_));
        if given_up {
            invocation.answer = Err(Error::unavailable("the invocation's time was used up")
                .with_help("nothing is lost: the records come again; look whether the store or a target hangs"));
        }
        // What was sent was sent, also where the work failed later.
        let Sent { requests, retries, repeats, unknown } = self.lanes.take_sent();
        invocation.counts = Counts { requests, retries, repeats, unknown, ..invocation.counts };
        let fenced = |error: &Error| error.kind() == ErrorKind::Fenced;
        invocation.outdated |= invocation.failed.iter().any(|(_, error)| fenced(error));
        invocation.outdated |= invocation.not_closed.iter().any(|(_, error)| fenced(error));
        invocation.outdated |= invocation.answer.as_ref().is_err_and(fenced);
        invocation
    }

    async fn work(&self, event: &[u8], budget: Budget, invocation: &mut Invocation) {
        match Control::of(event) {
            Ok(None) => self.take(event, budget, invocation).await,
            Ok(Some(Control::Tick)) => self.tick(budget, invocation).await,
            Ok(Some(Control::Anew(anew))) => {
                let renewal = self.begin_anew(&anew, budget).await;
                invocation.outdated = true;
                invocation.answer = renewal.map(|renewal| Response { renewal: Some(renewal), ..Response::default() });
            }
            Err(error) => invocation.answer = Err(error),
        }
    }

    /// Takes the records of an event.
    async fn take(&self, event: &[u8], budget: Budget, invocation: &mut Invocation) {
        let (kind, batches) = match split(event) {
            Ok(found) => found,
            Err(error) => {
                invocation.answer = Err(error);
                return;
            }
        };
        let mut failures = Vec::new();
        for mut batch in batches {
            let first = batch.records.iter().map(|record| record.position).min();
            if let Err(undone) = self.run_partition(kind, &mut batch, budget, invocation).await {
                if let Some(first) = undone.first.or(first) {
                    failures.push(failure(kind, &batch, first));
                }
                invocation.failed.push((batch.partition, undone.error));
            }
        }
        invocation.answer = self.answer(kind, failures, &invocation.failed);
    }

    async fn run_partition(
        &self,
        kind: EventKind,
        batch: &mut PartitionBatch,
        budget: Budget,
        invocation: &mut Invocation,
    ) -> Result<(), Undone> {
        if self.elapsed() >= budget.start_before {
            let late = Error::unavailable("the invocation's time was used up before this partition's turn");
            return Err(late
                .with_help("nothing is lost: the records come again; a smaller batch or a longer timeout helps")
                .into());
        }
        let source = self.pipeline().source_for(&batch.origin).ok_or_else(|| {
            Error::invalid(format!("no source of the pipeline is fed by '{}'", batch.origin))
                .with_help("name it in from: of a source")
        })?;
        if kind == EventKind::Kafka {
            refuse_moved_keys(source, &batch.partition)?;
        }
        let partition = if self.pipeline().sources.len() == 1 { batch.partition.clone() } else { qualified(batch) };
        invocation.counts += &self.lanes.adopt(&source.name, &partition, &self.view, budget).await?;
        let report = self.lanes.run_guarded(&source.name, &partition, &mut batch.records, budget).await?;
        let repeated = report.counts.skipped == report.counts.records;
        if source.has_windows_over_lanes() && (report.counts.seals > 0 || repeated) {
            self.close_after_batch(&source.name, budget, invocation).await?;
        }
        invocation.counts += &report.counts;
        if let Some(watermark) = report.watermark {
            let lag = self.ports.clock.now().since(watermark);
            invocation.watermark_lag = Some(invocation.watermark_lag.map_or(lag, |other| other.max(lag)));
        }
        Ok(())
    }

    /// Closes what the batch has made ready. A target that is down stops only the windows that go to it: what the lanes
    /// have sealed is kept and closed later. Only when too much waits, the batch fails, so that the source waits too.
    async fn close_after_batch(&self, source: &str, budget: Budget, invocation: &mut Invocation) -> Result<()> {
        match self.lanes.close_windows(source, &self.view, Reach::Sealed, budget).await {
            Ok(counts) => {
                invocation.counts += &counts;
                Ok(())
            }
            Err(CloseError::Overflow(error)) => Err(error),
            Err(CloseError::Failed(error)) => {
                invocation.not_closed.push((source.to_owned(), error));
                Ok(())
            }
        }
    }

    /// What the scheduled trigger asks for.
    async fn tick(&self, budget: Budget, invocation: &mut Invocation) {
        let compared = self.compare().await;
        let sound = compared.as_ref().is_some_and(Vec::is_empty);
        invocation.failed = compared.unwrap_or_default();
        // On a table that was restored, windows would close under ids that are used.
        let changed = invocation.failed.iter().any(|(_, error)| error.kind() != ErrorKind::Unavailable);
        if !changed {
            match self.lanes.tick(&self.view, self.tick, budget).await {
                Ok(report) => {
                    invocation.counts += &report.counts;
                    invocation.failed.extend(report.failed);
                }
                Err(error) => {
                    invocation.answer = Err(error);
                    return;
                }
            }
        }
        if sound {
            let cleaned = self.clean_up().await;
            invocation.failed.extend(cleaned.err().map(|error| ("garbage".to_owned(), error)));
        }
        invocation.answer = self.answer(EventKind::Kafka, Vec::new(), &invocation.failed);
    }

    /// A partial failure where it is read, an error where it is not.
    fn answer(&self, kind: EventKind, failures: Vec<ItemFailure>, failed: &[(String, Error)]) -> Result<Response> {
        if failed.is_empty() {
            return Ok(Response::default());
        }
        let read = matches!(kind, EventKind::Kinesis);
        if self.pipeline().file.report_item_failures.unwrap_or(read) && failures.len() == failed.len() {
            return Ok(Response { failures, ..Response::default() });
        }
        let worst = failed.iter().find(|(_, error)| error.kind() != ErrorKind::Unavailable);
        let (partition, error) = worst.unwrap_or(&failed[0]);
        Err(Error::new(error.kind(), format!("partition {partition}: {error}")))
    }
}

/// A topic that gains partitions sends a key's rows to another one. Where each partition closes windows by itself, they would be
/// answered once by the old and once by the new one.
fn refuse_moved_keys(source: &PlannedSource, partition: &str) -> Result<()> {
    let name = &source.name;
    match source.partitions.filter(|_| source.keyed) {
        // Not declared: explain says what that means.
        None => Ok(()),
        Some(declared) if partition.parse::<u32>().is_ok_and(|number| number < declared) => Ok(()),
        Some(declared) => Err(Error::invalid(format!(
            "source '{name}': records of partition {partition}, but partitions: {declared} is declared. The topic has gained \
             partitions, so keys have moved, and open windows of partition_key are in the old ones"
        ))
        .with_help(
            "nothing is lost, the topic keeps the records. Declare the new number and begin a new generation with the \
             event reset or repair; without partition_key a topic may gain partitions at any time",
        )),
    }
}

/// A partition's name that says which stream it belongs to: several streams may feed one pipeline.
fn qualified(batch: &PartitionBatch) -> String {
    format!("{}-{}", short_name(&batch.origin), batch.partition)
}

fn split(event: &[u8]) -> Result<(EventKind, Vec<PartitionBatch>)> {
    let kind = match tidegate_source::detect(event) {
        Ok(kind) => kind,
        Err(_) if is_empty(event) => return Ok((EventKind::Kinesis, Vec::new())),
        Err(error) => return Err(error),
    };
    let batches = match kind {
        EventKind::Kinesis => split_kinesis(event)?,
        EventKind::Kafka => split_kafka(event)?,
    };
    Ok((kind, batches))
}

/// An event that is not records.
enum Control {
    /// The scheduled trigger: a schedule of EventBridge, with or without the payload that `template.yaml` gives it.
    Tick,
    /// A person begins a new generation.
    Anew(Anew),
}

/// What a control event may say, for messages.
const CONTROLS: &str = "{\"tidegate\": \"tick\"}, {\"tidegate\": \"reset\"} or {\"tidegate\": \"repair\"}, the last two with \
                        \"generation\": N, the one to end, \"abandon_owed\": true, or \"begin_behind\": {\"LANE\": \"SEQUENCE NUMBER\"}, where wanted";

impl Control {
    fn of(event: &[u8]) -> Result<Option<Self>> {
        // Stream events are large: what cannot be one of these is not parsed.
        if event.len() > MAX_CONTROL_EVENT {
            return Ok(None);
        }
        let Ok(event) = serde_json::from_slice::<Value>(event) else { return Ok(None) };
        if event["source"] == "aws.events" && event["detail-type"] == "Scheduled Event" {
            return Ok(Some(Self::Tick));
        }
        let Some(word) = event.get("tidegate") else { return Ok(None) };
        let unknown = |what: String| Err(Error::invalid(what).with_help(format!("say {CONTROLS}")));
        let fields = event.as_object().into_iter().flatten();
        if let Some((key, _)) = fields
            .into_iter()
            .find(|(key, _)| !["tidegate", "generation", "abandon_owed", "begin_behind"].contains(&key.as_str()))
        {
            return unknown(format!("a control event has no key '{key}'"));
        }
        let abandon = match event.get("abandon_owed") {
            None => false,
            Some(Value::Bool(abandon)) => *abandon,
            Some(other) => return unknown(format!("abandon_owed of a control event is true or false, not {other}")),
        };
        let number = |value: &Value| value.as_u64().and_then(|number| u32::try_from(number).ok());
        let ends = match event.get("generation").map(|value| (value, number(value))) {
            None => None,
            Some((_, Some(number))) => Some(Generation(number)),
            Some((other, None)) => {
                return unknown(format!("generation of a control event is a number of a generation, not {other}"));
            }
        };
        let anew = |replay| -> Result<Option<Self>> {
            let begins = begins(event.get("begin_behind"))?;
            Ok(Some(Self::Anew(Anew { replay, abandon_owed: abandon, begins, ends })))
        };
        match word.as_str() {
            Some("tick") => Ok(Some(Self::Tick)),
            Some("reset") => anew(Replay::Send),
            Some("repair") => anew(Replay::Repair),
            _ => unknown(format!("there is no control event {word}")),
        }
    }
}

/// Lanes and the sequence numbers, as text, behind which they read.
fn begins(field: Option<&Value>) -> Result<BTreeMap<LaneId, Sequence>> {
    let Some(field) = field else { return Ok(BTreeMap::new()) };
    let wrong = || {
        Error::invalid(format!("begin_behind of a control event is a map of lanes to sequence numbers, not {field}"))
            .with_help(
                "write {\"LANE\": \"SEQUENCE NUMBER\"}, both as `tidegate inspect` or the log of the function has them",
            )
    };
    let Value::Object(lanes) = field else { return Err(wrong()) };
    let begin = |(lane, number): (&String, &Value)| {
        Ok((LaneId::from_stored(lane.clone()), number.as_str().ok_or_else(wrong)?.parse()?))
    };
    lanes.iter().map(begin).collect()
}

/// Bytes that a control event has at most: a lane and its number take about 100.
const MAX_CONTROL_EVENT: usize = 16_384;

/// An event without records names no source; there is nothing to do.
fn is_empty(event: &[u8]) -> bool {
    let event: Option<Value> = serde_json::from_slice(event).ok();
    event.is_some_and(|event| event["Records"].as_array().is_some_and(Vec::is_empty))
}

fn failure(kind: EventKind, batch: &PartitionBatch, first: tidegate_core::Position) -> ItemFailure {
    let item = match kind {
        EventKind::Kinesis => ItemIdentifier::Sequence(first.sequence.to_string()),
        EventKind::Kafka => ItemIdentifier::Kafka {
            partition: format!("{}-{}", batch.origin, batch.partition),
            offset: first.sequence.as_u64().unwrap_or(0),
        },
    };
    ItemFailure { item }
}
