//! Lambda events: event bytes in, response out.
//!
//! The response is a partial failure (`batchItemFailures`) where the event source mapping reads it, and an error that
//! fails the whole batch otherwise. Both are safe: what was committed is skipped when it comes again.

use std::time::Duration;

use serde::Serialize;
use tidegate_core::{Error, ErrorKind, Result};
use tidegate_lane::{Budget, Counts};
use tidegate_source::{EventKind, PartitionBatch, split_kafka, split_kinesis};

use crate::runtime::Runtime;

/// Time kept back from the invocation's deadline for answering.
pub const ANSWER_RESERVE: Duration = Duration::from_millis(500);

/// What the event source mapping reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Response {
    /// The first record of each partition that is not done. Empty: everything is.
    #[serde(rename = "batchItemFailures")]
    pub failures: Vec<ItemFailure>,
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
    /// How far the watermark of the slowest lane of this invocation is behind the clock.
    pub watermark_lag: Option<Duration>,
}

impl Runtime {
    /// Handles one event. `remaining` is the time to the invocation's deadline.
    pub async fn invoke(&self, event: &[u8], remaining: Duration) -> Invocation {
        let budget = Budget::new(self.elapsed(), remaining.saturating_sub(ANSWER_RESERVE));
        let mut invocation = Invocation {
            answer: Ok(Response::default()),
            counts: Counts::default(),
            failed: Vec::new(),
            watermark_lag: None,
        };
        let (kind, batches) = match split(event) {
            Ok(found) => found,
            Err(error) => {
                invocation.answer = Err(error);
                return invocation;
            }
        };
        let mut failures = Vec::new();
        for mut batch in batches {
            let first = batch.records.iter().map(|record| record.position).min();
            if let Err(error) = self.run_partition(&mut batch, budget, &mut invocation).await {
                if let Some(first) = first {
                    failures.push(failure(kind, &batch, first));
                }
                invocation.failed.push((batch.partition, error));
            }
        }
        invocation.answer = self.answer(kind, failures, &invocation.failed);
        invocation
    }

    async fn run_partition(
        &self,
        batch: &mut PartitionBatch,
        budget: Budget,
        invocation: &mut Invocation,
    ) -> Result<()> {
        if self.elapsed() >= budget.start_before {
            return Err(Error::unavailable("the invocation's time was used up before this partition's turn")
                .with_help("nothing is lost: the records come again; a smaller batch or a longer timeout helps"));
        }
        let source = self.pipeline().source_for(&batch.origin).ok_or_else(|| {
            Error::invalid(format!("no source of the pipeline is fed by '{}'", batch.origin))
                .with_help("name it in from: of a source")
        })?;
        let partition = if self.pipeline().sources.len() == 1 { batch.partition.clone() } else { qualified(batch) };
        let report = self.lanes.run_batch(&source.name, &partition, &mut batch.records, budget).await?;
        invocation.counts += &report.counts;
        if let Some(watermark) = report.watermark {
            let lag = self.ports.clock.now().since(watermark);
            invocation.watermark_lag = Some(invocation.watermark_lag.map_or(lag, |other| other.max(lag)));
        }
        Ok(())
    }

    /// A partial failure where it is read, an error where it is not.
    fn answer(&self, kind: EventKind, failures: Vec<ItemFailure>, failed: &[(String, Error)]) -> Result<Response> {
        if failed.is_empty() {
            return Ok(Response::default());
        }
        let read = matches!(kind, EventKind::Kinesis);
        if self.pipeline().file.report_item_failures.unwrap_or(read) && failures.len() == failed.len() {
            return Ok(Response { failures });
        }
        let worst = failed.iter().find(|(_, error)| error.kind() != ErrorKind::Unavailable);
        let (partition, error) = worst.unwrap_or(&failed[0]);
        Err(Error::new(error.kind(), format!("partition {partition}: {error}")))
    }
}

/// A partition's name that says which stream it belongs to: several streams may feed one pipeline.
fn qualified(batch: &PartitionBatch) -> String {
    let stream = batch.origin.rsplit(['/', ':']).next().unwrap_or(&batch.origin);
    format!("{stream}-{}", batch.partition)
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

/// An event without records names no source; there is nothing to do.
fn is_empty(event: &[u8]) -> bool {
    let event: Option<serde_json::Value> = serde_json::from_slice(event).ok();
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
