//! Kinesis data streams, asked for their shards: which there are, and whether one has records behind a position.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::Builder;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::timeout::TimeoutConfig;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::primitives::DateTimeFormat;
use aws_sdk_kinesis::types::{HashKeyRange, Shard, ShardIteratorType};
use tidegate_core::error::chain;
use tidegate_core::{Error, HashRange, Position, Result};
use tidegate_runtime::{Backlog, Descent, SourceView};

/// Connecting to Kinesis takes at most this.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// One delivery of a request takes at most this.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// A request with all its deliveries takes at most this.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(6);
/// Deliveries of one request.
const MAX_ATTEMPTS: u32 = 3;
/// First pause between deliveries. A shard answers five reads a second.
const BACKOFF_BASE: Duration = Duration::from_millis(200);
/// Longest pause between deliveries.
const BACKOFF_CAP: Duration = Duration::from_secs(1);
/// Shards of a stream at most. An account has 20,000 in its largest region.
const MAX_SHARDS: usize = 20_000;
/// Shards in one answer: the largest number that Kinesis takes.
const SHARDS_PER_PAGE: i32 = 10_000;
/// Answers that are read for one list. Kinesis may give fewer shards in one than it was asked for.
const MAX_PAGES: usize = 100;
/// Iterators that are followed over stretches of a shard that hold nothing. Past them the shard counts as not read up.
const MAX_HOPS: u32 = 10;

/// The service is busy with this shard or stream, nothing is wrong.
const THROTTLED: [&str; 5] = [
    "ProvisionedThroughputExceededException",
    "LimitExceededException",
    "KMSThrottlingException",
    "ThrottlingException",
    "ResourceInUseException",
];
const NOT_FOUND: &str = "ResourceNotFoundException";

/// Sets timeouts and retries. The SDK's own only limit connecting, and pause for a second.
pub fn tuned(config: Builder) -> Builder {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(OPERATION_TIMEOUT)
        .build();
    let retries = RetryConfig::standard()
        .with_max_attempts(MAX_ATTEMPTS)
        .with_initial_backoff(BACKOFF_BASE)
        .with_max_backoff(BACKOFF_CAP);
    config.timeout_config(timeouts).retry_config(retries)
}

/// Streams by name or ARN.
pub struct KinesisStreams {
    client: Client,
}

impl KinesisStreams {
    /// Make the client's configuration with [`tuned`].
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// All shards that still hold records, or may: closed ones included.
    async fn shards(&self, stream: &str) -> Result<Vec<Shard>> {
        let (name, arn) = named(stream);
        let mut shards: Vec<Shard> = Vec::new();
        let mut token: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let call = self.client.list_shards();
            // A token stands for the stream and the size of a page; naming them again is an error.
            let call = match token {
                Some(token) => call.next_token(token),
                None => call.set_stream_name(name.clone()).set_stream_arn(arn.clone()).max_results(SHARDS_PER_PAGE),
            };
            let page = call.send().await.map_err(|error| Failure::of(&error).error("ListShards", stream))?;
            shards.extend(page.shards.unwrap_or_default());
            token = page.next_token;
            if token.is_none() || shards.len() > MAX_SHARDS {
                break;
            }
        }
        match token {
            None if shards.len() <= MAX_SHARDS => Ok(shards),
            _ => Err(Error::invalid(format!(
                "stream {stream}: its list of shards has no end within {MAX_SHARDS} shards and {MAX_PAGES} pages"
            ))),
        }
    }

    /// Where reading begins. `None`: the shard is gone with all its records.
    async fn iterator(&self, stream: &str, shard: &str, after: Option<Position>) -> Result<Option<Place>> {
        let (name, arn) = named(stream);
        let call = self.client.get_shard_iterator().set_stream_name(name).set_stream_arn(arn).shard_id(shard);
        let call = match after {
            Some(position) => call
                .shard_iterator_type(ShardIteratorType::AfterSequenceNumber)
                .starting_sequence_number(position.sequence.to_string()),
            None => call.shard_iterator_type(ShardIteratorType::TrimHorizon),
        };
        match call.send().await {
            Ok(found) => Ok(found.shard_iterator.map(Place::At)),
            Err(error) => match Failure::of(&error) {
                Failure::Throttled(_) => Ok(Some(Place::Busy)),
                // Either the shard is older than the stream's retention, or there is no such stream.
                Failure::NotFound(_) => match self.shards(stream).await?.iter().any(|other| other.shard_id == shard) {
                    true => Ok(Some(Place::Busy)),
                    false => Ok(None),
                },
                other => Err(other.error("GetShardIterator", &format!("{stream}, shard {shard}"))),
            },
        }
    }
}

/// Where the next read of a shard begins.
enum Place {
    At(String),
    /// It could not be found out now.
    Busy,
}

/// A stream's name, and its ARN where that is known. Every call takes both.
fn named(stream: &str) -> (Option<String>, Option<String>) {
    match stream.strip_prefix("arn:").and_then(|arn| arn.split_once(":stream/")) {
        Some((_, name)) => (Some(name.to_owned()), Some(stream.to_owned())),
        None => (Some(stream.to_owned()), None),
    }
}

/// The hashes of keys that a shard takes. `None`: no numbers.
fn hashes(range: &HashKeyRange) -> Option<HashRange> {
    let number = |text: &str| text.parse().ok();
    Some(HashRange { first: number(range.starting_hash_key())?, last: number(range.ending_hash_key())? })
}

/// What one read of a shard says.
#[derive(Debug, PartialEq, Eq)]
enum Read {
    Done(Backlog),
    /// Nothing here, but this was not its end.
    Follow,
}

/// `behind`: how far the read is behind the shard's newest record; `next`: whether the shard goes on.
fn judge(records: usize, behind: Option<i64>, next: bool) -> Read {
    match (records, behind, next) {
        (1.., ..) => Read::Done(Backlog::Waiting),
        // The end of a closed shard.
        (0, _, false) | (0, Some(0), true) => Read::Done(Backlog::Empty),
        (0, _, true) => Read::Follow,
    }
}

#[async_trait]
impl SourceView for KinesisStreams {
    async fn partitions(&self, stream: &str) -> Result<Vec<String>> {
        Ok(self.shards(stream).await?.into_iter().map(|shard| shard.shard_id).collect())
    }

    async fn backlog(&self, stream: &str, shard: &str, after: Option<Position>) -> Result<Backlog> {
        let mut iterator = match self.iterator(stream, shard, after).await? {
            Some(Place::At(iterator)) => iterator,
            Some(Place::Busy) => return Ok(Backlog::Waiting),
            None => return Ok(Backlog::Empty),
        };
        let (_, arn) = named(stream);
        for _ in 0..MAX_HOPS {
            let call = self.client.get_records().shard_iterator(iterator).set_stream_arn(arn.clone()).limit(1);
            let read = match call.send().await {
                Ok(read) => read,
                Err(error) => match Failure::of(&error) {
                    // Somebody reads this shard as fast as it can be read: it is not idle as far as is known.
                    Failure::Throttled(_) => return Ok(Backlog::Waiting),
                    other => return Err(other.error("GetRecords", &format!("{stream}, shard {shard}"))),
                },
            };
            match judge(read.records.len(), read.millis_behind_latest, read.next_shard_iterator.is_some()) {
                Read::Done(backlog) => return Ok(backlog),
                Read::Follow => iterator = read.next_shard_iterator.unwrap_or_default(),
            }
        }
        Ok(Backlog::Waiting)
    }

    async fn lineage(&self, stream: &str) -> Result<Vec<Descent>> {
        let descent = |shard: Shard| Descent {
            hashes: shard.hash_key_range().and_then(hashes),
            partition: shard.shard_id,
            parents: [shard.parent_shard_id, shard.adjacent_parent_shard_id].into_iter().flatten().collect(),
        };
        Ok(self.shards(stream).await?.into_iter().map(descent).collect())
    }

    /// When the stream was created, to the second: a stream cannot be deleted and created again within one.
    async fn identity(&self, stream: &str) -> Result<Option<String>> {
        let (name, arn) = named(stream);
        let call = self.client.describe_stream_summary().set_stream_name(name).set_stream_arn(arn);
        let answer = call.send().await.map_err(|error| Failure::of(&error).error("DescribeStreamSummary", stream))?;
        let Some(summary) = answer.stream_description_summary else { return Ok(None) };
        let created = aws_sdk_kinesis::primitives::DateTime::from_secs(summary.stream_creation_timestamp.secs());
        let created = created.fmt(DateTimeFormat::DateTime);
        created.map(|created| Some(format!("created {created}"))).map_err(|error| {
            Error::invalid(format!("stream {stream}: its time of creation cannot be read")).with_source(error)
        })
    }
}

/// What a refused or lost request means.
#[derive(Debug)]
enum Failure {
    /// Too many requests; nothing is known.
    Throttled(String),
    /// No such stream or shard.
    NotFound(String),
    /// The service says no.
    Refused(String),
    /// No answer, or one of a broken service.
    Lost(String),
}

impl Failure {
    fn of<E, R>(error: &SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug,
    {
        let text = || chain(error);
        match error {
            SdkError::ConstructionFailure(_) => Self::Refused(text()),
            SdkError::ServiceError(answer) => {
                let (code, message) = (answer.err().code(), answer.err().message());
                let said: Vec<&str> = code.into_iter().chain(message).collect();
                Self::by_code(code.unwrap_or_default(), said.join(": "))
            }
            _ => Self::Lost(text()),
        }
    }

    fn by_code(code: &str, text: String) -> Self {
        match code {
            NOT_FOUND => Self::NotFound(text),
            code if THROTTLED.contains(&code) => Self::Throttled(text),
            "" | "InternalFailureException" | "InternalFailure" | "ServiceUnavailable" => Self::Lost(text),
            _ => Self::Refused(text),
        }
    }

    fn error(self, call: &str, what: &str) -> Error {
        match self {
            Self::Throttled(text) => Error::unavailable(format!("{call} of {what}: throttled: {text}")),
            Self::Lost(text) => Error::unavailable(format!("{call} of {what}: {text}")),
            Self::NotFound(text) => Error::invalid(format!("{call} of {what}: there is no such stream: {text}"))
                .with_help("from: of the source names the stream, by its name or ARN, in the function's region"),
            Self::Refused(text) => Error::invalid(format!("{call} of {what}: refused: {text}"))
                .with_help(format!("the function's role needs kinesis:{call} on the stream; a position that the stream does not know may mean that it was deleted and created again")),
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_core::ErrorKind;

    use super::*;

    #[test]
    fn a_shard_is_empty_only_if_its_end_was_seen() {
        let cases = [
            ((1, Some(0), true), Read::Done(Backlog::Waiting)),
            ((1, Some(0), false), Read::Done(Backlog::Waiting)),
            ((0, Some(0), true), Read::Done(Backlog::Empty)),
            ((0, Some(5_000), false), Read::Done(Backlog::Empty)),
            ((0, Some(5_000), true), Read::Follow),
            ((0, None, true), Read::Follow),
        ];
        for ((records, behind, next), expected) in cases {
            assert_eq!(judge(records, behind, next), expected, "{records} {behind:?} {next}");
        }
    }

    #[test]
    fn passing_faults_are_no_reason_to_call_a_person() {
        let cases = [
            ("ProvisionedThroughputExceededException", ErrorKind::Unavailable),
            ("LimitExceededException", ErrorKind::Unavailable),
            ("InternalFailure", ErrorKind::Unavailable),
            ("", ErrorKind::Unavailable),
            ("ResourceNotFoundException", ErrorKind::Invalid),
            ("AccessDeniedException", ErrorKind::Invalid),
            ("InvalidArgumentException", ErrorKind::Invalid),
        ];
        for (code, kind) in cases {
            let error = Failure::by_code(code, code.to_owned()).error("GetRecords", "s");
            assert_eq!(error.kind(), kind, "{code}");
        }
    }

    #[test]
    fn ranges_are_decimal_numbers() {
        let range = |first: &str, last: &str| {
            let built = HashKeyRange::builder().starting_hash_key(first).ending_hash_key(last).build();
            hashes(&built.expect("both ends"))
        };
        let all = HashRange { first: 0, last: u128::MAX };
        assert_eq!(range("0", "340282366920938463463374607431768211455"), Some(all));
        assert_eq!(range("0", "340282366920938463463374607431768211456"), None);
        assert_eq!(range("", "1"), None);
    }

    #[test]
    fn streams_go_by_name_or_arn() {
        let arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/orders";
        assert_eq!(named(arn), (Some("orders".to_owned()), Some(arn.to_owned())));
        assert_eq!(named("orders"), (Some("orders".to_owned()), None));
    }
}
