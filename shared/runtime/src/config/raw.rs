//! The pipeline file as it is written: every key, nothing checked but its own value.
//!
//! The comments here are the descriptions of the JSON Schema. `docs/pipeline.md` says the same in full.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use tidegate_delivery::config::{BodyFormat, Method, OnExhausted, OnReject};

use super::declare::{choice, section};
use super::read::{At, Count, Flag, Key, Lasting, Named, Read, Reader, Size, Text};
pub(super) use super::secrets::Auth;
use super::validated::{Format, MetadataColumn, OnBadRecord, OutputScope, TimestampUnit};
use super::yaml::{Kind, Node};

/// A day in milliseconds.
const DAY: u64 = 86_400_000;

section! {
    /// A Tidegate pipeline: streams in, SQL, rows delivered exactly once.
    Pipeline {
        /// The pipeline's name: letters, digits, '_' and '-'. Part of every key of its state.
        required name: String,
        /// Streams, by the name that SQL calls them.
        required sources: Named<Source>,
        /// Named queries, by the name that SQL calls them. A view may use any other view.
        optional views: Named<Text>,
        /// The time zone in which dates and wall-clock times are read and written: a name such as Europe/Berlin, or an
        /// offset such as +02:00. Default UTC.
        optional session_time_zone: String,
        /// Queries whose rows are delivered, by name. At least one.
        required outputs: Named<Output>,
        /// Receivers of rows, by the name that outputs call them.
        required targets: Named<Target>,
        /// Where records and rows go that cannot be used or delivered.
        optional dead_letters: DeadLetters,
        /// Whether the event source mapping reads partial-failure responses (ReportBatchItemFailures).
        optional report_item_failures: Flag,
        /// Settings of the state store.
        optional state: State,
    }
    later { "lookups": "lookup tables", }
}

section! {
    /// A stream of records.
    Source {
        /// How a record's bytes are read.
        required format: FormatWord,
        /// Columns and their types as in Spark's DDL: a map, or one text such as 'branch string, amount decimal(12,2)'.
        required columns: Columns,
        /// The stream or topic that feeds the source, by name or ARN.
        optional from: String,
        /// Event time. Windows need it.
        optional watermark: Watermark,
        /// How many partitions the stream has: 1, or as many as the topic has. Not for a Kinesis stream, which is asked.
        optional partitions: Count<1, 10_000>,
        /// The columns by which the producers partition the stream.
        optional partition_key: Vec<At<String>>,
        /// What happens to a record that does not fit the columns. Default dead_letter.
        optional on_bad_record: OnBadRecordWord,
        /// Columns that describe the record instead of its content.
        optional metadata: Vec<At<MetadataWord>>,
    }
    later { "schema_registry": "schema registries", }
}

choice! {
    /// How a record's bytes are read.
    FormatWord: Format { "json" => Format::Json, }
    later {
        "csv": "records are JSON for now", "avro": "records are JSON for now",
        "protobuf": "records are JSON for now", "raw": "records are JSON for now",
    }
}

choice! {
    /// What happens to a record that does not fit.
    OnBadRecordWord: OnBadRecord {
        "dead_letter" => OnBadRecord::DeadLetter, "skip" => OnBadRecord::Skip, "fail" => OnBadRecord::Fail,
    }
}

choice! {
    /// A metadata column.
    MetadataWord: MetadataColumn {
        "_key" => MetadataColumn::Key, "_partition" => MetadataColumn::Partition,
        "_position" => MetadataColumn::Position, "_arrival" => MetadataColumn::Arrival,
        "_headers" => MetadataColumn::Headers,
    }
}

choice! {
    /// The unit of a timestamp that arrives as a number.
    UnitWord: TimestampUnit {
        "s" => TimestampUnit::Seconds, "ms" => TimestampUnit::Millis,
        "us" => TimestampUnit::Micros, "ns" => TimestampUnit::Nanos,
    }
}

section! {
    /// Event time, and how far behind the newest record the watermark follows.
    Watermark {
        /// A column of type timestamp.
        required column: String,
        /// The watermark is the largest event time seen less this.
        required delay: Lasting<0, { 30 * DAY }>,
        /// A partition that is silent for so long holds up nobody.
        optional idle: Lasting<1_000, { 7 * DAY }>,
    }
}

section! {
    /// A column with more than a type.
    LongColumn {
        /// The type, as in Spark's DDL.
        required r#type: String,
        /// The unit of numbers in a timestamp column. Default s.
        optional unit: UnitWord,
    }
}

/// A column: its type, or a map with `type`.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub ty: Option<At<String>>,
    pub unit: Option<At<UnitWord>>,
}

impl Read for Column {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        if matches!(node.kind, Kind::Mapping(_)) {
            let long = LongColumn::read(node, reader)?;
            return Some(Self { ty: long.r#type, unit: long.unit });
        }
        if node.is_null() && cut(reader.last()) {
            let help = "put the type before in quotes, or every column on a line of its own";
            reader.wrong(node, "this is the rest of a type: inside { } YAML cuts at commas", help);
            return None;
        }
        let value = String::read(node, reader)?;
        let ty = At { value, place: node.place, width: node.width, key: reader.key() };
        Some(Self { ty: Some(ty), unit: None })
    }
}

/// Whether a column's name is the rest of a type that YAML cut: `2)`.
pub(super) fn cut(name: &str) -> bool {
    name.matches([')', '>']).count() > name.matches(['(', '<']).count()
}

impl JsonSchema for Column {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Column".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "string", "description": "The type, as in Spark's DDL." },
            generator.subschema_for::<LongColumn>(),
        ] })
    }
}

/// Columns as a map or as one DDL text.
#[derive(Clone, Debug)]
pub(super) enum Columns {
    Ddl(Text),
    Map(Named<Column>),
}

impl Read for Columns {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        match &node.kind {
            Kind::Mapping(_) => Named::read(node, reader).map(Self::Map),
            _ if node.is_null() => {
                reader.wanted(node, "a map or a text of columns", "{ NAME: TYPE } or a text 'NAME TYPE, NAME TYPE'")
            }
            Kind::Scalar(_) => Text::read(node, reader).map(Self::Ddl),
            _ => reader.wanted(node, "a map or a text of columns", "{ NAME: TYPE } or a text 'NAME TYPE, NAME TYPE'"),
        }
    }
}

impl JsonSchema for Columns {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Columns".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            generator.subschema_for::<Named<Column>>(), { "type": "string", "minLength": 1 },
        ] })
    }
}

section! {
    /// A query whose rows are delivered.
    Output {
        /// The query, in the dialect of Spark.
        required query: Text,
        /// How results change. Default append: a row is delivered once and never changed.
        optional mode: ModeWord,
        /// Instead of mode: 'batch' lets the query see one micro-batch at a time.
        optional scope: ScopeWord,
        /// Name of the target.
        required target: String,
        /// Where rows go that come too late for their window. Default: they are counted and dropped.
        optional late: Late,
        /// Columns by which the rows of one micro-batch are sorted before they are cut into requests.
        optional order_by: Vec<At<String>>,
    }
}

choice! {
    /// How results change.
    ModeWord: () { "append" => (), }
    later {
        "update": "an output appends rows that never change",
        "complete": "an output appends rows that never change",
    }
}

choice! {
    /// What a query sees.
    ScopeWord: OutputScope { "batch" => OutputScope::Batch, }
}

section! {
    /// Late rows as an output of their own.
    Late {
        /// Name of the target for late rows.
        required target: String,
    }
}

section! {
    /// A receiver of rows.
    Target {
        /// Somebody's REST API.
        required rest: Box<Rest>,
    }
    later {
        "postgres": "PostgreSQL targets", "mysql": "MySQL targets", "kinesis": "Kinesis targets", "s3": "S3 targets",
        "kafka": "Kafka targets", "dynamodb": "DynamoDB targets", "sqs": "SQS targets", "sns": "SNS targets",
        "redis": "Redis targets", "valkey": "Valkey targets", "cassandra": "Cassandra targets", "file": "file targets",
        "firehose": "Firehose targets", "eventbridge": "EventBridge targets", "lambda": "Lambda targets",
        "opensearch": "OpenSearch targets", "delta": "Delta targets", "iceberg": "Iceberg targets",
    }
}

section! {
    /// A REST API: one request carries many rows.
    Rest {
        /// Absolute http or https URL. {column} is filled from the row, percent-encoded.
        required url: String,
        /// HTTP method. Default POST.
        optional method: MethodWord,
        /// Extra headers. {column} is filled from the row. Credentials belong in auth.
        optional headers: Named<String>,
        /// How the target recognises a repeat. Default header (Idempotency-Key).
        optional idempotency: Idempotency,
        /// How long the target remembers ids. Default 24h.
        optional remembers_ids: Lasting<60_000, { 365 * DAY }>,
        /// final: the target looks an id up before it validates, and a rejected id stays rejected. Default unknown.
        optional rejections: RejectionsWord,
        /// How rows become requests.
        optional batch: Batch,
        /// Requests on their way at a time. Default 1.
        optional concurrency: Count<1, 64>,
        /// Columns whose rows stay in order. Default: the output's group keys, else all rows are one sequence.
        optional key: Vec<At<String>>,
        /// false: order does not matter to the target. Default true.
        optional ordered: Flag,
        /// At most so many requests in so long.
        optional rate_limit: RateLimit,
        /// Credentials, by reference.
        optional auth: Auth,
        /// Retries of passing faults.
        optional retry: Retry,
        /// What counts as success. Default: every status from 200 to 299.
        optional success: Success,
        /// What happens to a row that the target rejects for its content. Default dead_letter.
        optional on_reject: OnRejectWord,
        /// What happens when the retries of a passing fault are used up. Default block.
        optional on_exhausted: OnExhaustedWord,
        /// Time for one attempt, connection included. Default 10s.
        optional timeout: Lasting<100, 300_000>,
    }
}

choice! {
    /// HTTP method.
    MethodWord: Method { "PUT" => Method::Put, "POST" => Method::Post, "PATCH" => Method::Patch, }
    later { "DELETE": "rows are sent with PUT, POST or PATCH", "GET": "rows are sent with PUT, POST or PATCH", }
}

choice! {
    /// What the target says about rejections.
    RejectionsWord: bool { "final" => true, "unknown" => false, }
}

choice! {
    /// What happens to a rejected row.
    OnRejectWord: OnReject { "dead_letter" => OnReject::DeadLetter, "block" => OnReject::Block, }
}

choice! {
    /// What happens when retries are used up.
    OnExhaustedWord: OnExhausted { "block" => OnExhausted::Block, "dead_letter" => OnExhausted::DeadLetter, }
}

/// How the target recognises a repeat, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Travel {
    Header,
    Path,
    Fenced,
    LastWriterWins,
    None,
}

choice! {
    /// How the target recognises a repeat.
    TravelWord: Travel {
        "header" => Travel::Header, "path" => Travel::Path, "fenced" => Travel::Fenced,
        "last_writer_wins" => Travel::LastWriterWins, "none" => Travel::None,
    }
}

choice! {
    /// How often a request is sent whose outcome is unknown. The value: at most once.
    TimesWord: bool { "at_least_once" => false, "at_most_once" => true, }
}

section! {
    /// How the target recognises a repeat, with what there is to say about it: exactly one of these.
    NamedIdempotency {
        /// In the header of this name.
        optional header: String,
        /// In this field of the body.
        optional body: String,
        /// The target refuses numbers that are not newer, with this status: 409 or 412.
        optional fenced: Count<409, 412>,
        /// The target cannot. Rows arrive at least once, or at most once.
        optional none: TimesWord,
    }
}

/// How the target recognises a repeat.
#[derive(Clone, Debug)]
pub(super) enum Idempotency {
    Word(Travel),
    Header(At<String>),
    Body(At<String>),
    Fenced(At<Count<409, 412>>),
    None(bool),
}

impl Read for Idempotency {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        if !matches!(node.kind, Kind::Mapping(_)) {
            return TravelWord::read(node, reader).map(|word| Self::Word(word.0));
        }
        let named = NamedIdempotency::read(node, reader)?;
        let help = "write { header: NAME }, { body: FIELD }, { fenced: STATUS } or { none: at_most_once }";
        reader.exactly_one(node, NamedIdempotency::KEYS, help)?;
        let by_id = named.header.map(Self::Header).or(named.body.map(Self::Body));
        by_id.or(named.fenced.map(Self::Fenced)).or(named.none.map(|times| Self::None(times.value.0)))
    }
}

impl JsonSchema for Idempotency {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Idempotency".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            generator.subschema_for::<TravelWord>(), generator.subschema_for::<NamedIdempotency>(),
        ] })
    }
}

section! {
    /// How rows become requests.
    Batch {
        /// Rows in a request at most. Default 500.
        optional rows: Count<1, 10_000>,
        /// Bytes of a body at most. Default 1MB.
        optional bytes: Size<1_000, 5_000_000>,
        /// The body. Default json_array.
        optional format: BodyWord,
    }
}

choice! {
    /// The shape of a body.
    BodyWord: BodyFormat {
        "json_array" => BodyFormat::JsonArray, "ndjson" => BodyFormat::Ndjson, "json_object" => BodyFormat::JsonObject,
    }
}

section! {
    /// At most so many requests in so long.
    RateLimit {
        /// Requests.
        required requests: Count<1, 1_000_000>,
        /// In so long.
        required per: Lasting<100, DAY>,
        /// Who shares the limit. Default environment: each Lambda environment has it for itself.
        optional scope: RateScopeWord,
    }
}

choice! {
    /// Who shares a rate limit.
    RateScopeWord: () { "environment" => (), }
    later {
        "all": "each Lambda environment counts for itself; divide the limit by the number of environments \
                (shards, or partitions, that run at a time)",
    }
}

section! {
    /// Retries of passing faults: exponential pauses with jitter; Retry-After is respected.
    Retry {
        /// No new attempt after so long. Default 60s.
        optional max_elapsed: Lasting<0, 900_000>,
        /// Attempts at most, the first included. Default 10.
        optional max_attempts: Count<1, 100>,
        /// The first pause at most. Default 100ms.
        optional initial_backoff: Lasting<1, 60_000>,
        /// The longest pause. Default 10s.
        optional max_backoff: Lasting<1, 300_000>,
    }
}

section! {
    /// What counts as success.
    Success {
        /// Status codes. Default: every status from 200 to 299.
        optional status: Codes,
        /// A field of a JSON body that must be absent, null, false or empty.
        optional error_field: String,
    }
}

/// Status codes, at least one.
#[derive(Clone, Debug)]
pub(super) struct Codes(pub Vec<At<Count<200, 499>>>);

impl Read for Codes {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        if matches!(&node.kind, Kind::Sequence(items) if items.is_empty()) {
            reader.wrong(node, "no status would be success", "list codes such as [200, 201], or remove 'status'");
            return None;
        }
        Vec::read(node, reader).map(Self)
    }
}

impl JsonSchema for Codes {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Codes".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "minItems": 1, "items": generator.subschema_for::<Count<200, 499>>() })
    }
}

section! {
    /// Where dead letters go: exactly one of the two.
    DeadLetterKeys {
        /// A file of JSON lines.
        optional file: String,
        /// The URL of an SQS queue.
        optional sqs: String,
    }
    later { "s3": "dead letters in S3", "dynamodb": "dead letters in DynamoDB", "kinesis": "dead letters in Kinesis", }
}

/// Where dead letters go.
#[derive(Clone, Debug)]
pub(super) enum DeadLetters {
    File(At<String>),
    Sqs(At<String>),
}

impl Read for DeadLetters {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let keys = DeadLetterKeys::read(node, reader)?;
        reader.exactly_one(node, DeadLetterKeys::KEYS, "write { file: PATH } or { sqs: QUEUE_URL }")?;
        keys.file.map(Self::File).or(keys.sqs.map(Self::Sqs))
    }
}

impl JsonSchema for DeadLetters {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "DeadLetters".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = DeadLetterKeys::json_schema(generator);
        schema.insert("minProperties".to_owned(), 1.into());
        schema.insert("maxProperties".to_owned(), 1.into());
        schema
    }
}

section! {
    /// Settings of the state store.
    State {
        /// Commits kept per lane. Fixed once the pipeline has state. Default 64.
        optional ring: Count<16, 64>,
        /// Bytes of a commit kept in its item; a larger one goes to the blob store.
        optional inline_limit: Size<1_000, 300_000>,
    }
}
