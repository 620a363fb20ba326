//! A pipeline file after validation: plain data, every default filled in, no secret inside.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidegate_core::Zone;
use tidegate_core::types::SqlType;
use tidegate_delivery::config::Target;

use super::errors::{ConfigErrors, Mistake};
use super::place::{Place, TextMap};

/// A pipeline file that holds together. Made by [`load`](super::load) only.
#[derive(Clone, Debug)]
pub struct PipelineFile {
    /// The pipeline's name. It is part of every key of its state.
    pub name: String,
    /// Streams, in the order of the file.
    pub sources: Vec<Source>,
    /// Named queries, in the order of the file.
    pub views: Vec<View>,
    /// The session time zone of all queries, and of timestamps in records that name no zone.
    pub session_time_zone: Zone,
    /// Queries whose rows are delivered, in the order of the file. At least one.
    pub outputs: Vec<Output>,
    /// Targets by name. Those that no output uses are included.
    pub targets: BTreeMap<String, Target>,
    /// Where dead letters go. `None`: the file does not say.
    pub dead_letters: Option<DeadLetters>,
    /// Whether the event source mapping reads partial-failure responses. `None`: the file does not say.
    pub report_item_failures: Option<bool>,
    /// Settings of the state store.
    pub state: StateSettings,
    /// What is allowed but looks like a slip: a target or a view that nothing uses.
    pub warnings: Vec<Mistake>,
    /// The file's name, as it stands in messages.
    pub file_name: String,
    /// The file's text, for source lines in messages.
    pub text: Arc<str>,
    /// Place and width of every value, by the path of its key: `targets.api.rest.url`, `outputs.sums.order_by.0`.
    pub places: BTreeMap<String, (Place, usize)>,
}

/// A stream of records.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Its name in SQL.
    pub name: String,
    /// Where its name stands.
    pub place: Place,
    /// How a record's bytes are read.
    pub format: Format,
    /// Declared columns, in order.
    pub columns: Vec<Column>,
    /// Metadata columns, in the order of the file. They stand behind the declared ones.
    pub metadata: Vec<MetadataColumn>,
    /// The stream, topic or ARN that feeds it. `None`: the only source of the pipeline takes every event.
    pub from: Option<String>,
    /// Its event time.
    pub watermark: Option<Watermark>,
    /// How many partitions it has. `None`: the stream is asked.
    pub partitions: Option<u32>,
    /// Columns by which the producers partition. Empty: unknown.
    pub partition_key: Vec<String>,
    /// What happens to a record that does not fit the columns.
    pub on_bad_record: OnBadRecord,
}

/// How a record's bytes are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a record.
    Json,
}

/// A declared column.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: SqlType,
    /// The unit of numbers in a timestamp column. `None` for other types.
    pub timestamp_unit: Option<TimestampUnit>,
}

/// The unit of a timestamp that arrives as a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimestampUnit {
    /// Seconds, as in Spark.
    #[default]
    Seconds,
    /// Milliseconds.
    Millis,
    /// Microseconds.
    Micros,
    /// Nanoseconds.
    Nanos,
}

/// A column that describes the record instead of its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataColumn {
    /// `_key`: the record's key (`binary`).
    Key,
    /// `_partition`: shard id or partition number (`string`).
    Partition,
    /// `_position`: sequence number or offset, in decimal (`string`).
    Position,
    /// `_arrival`: when the stream took the record (`timestamp`).
    Arrival,
    /// `_headers`: Kafka headers (`map<string,binary>`).
    Headers,
}

impl MetadataColumn {
    /// Every metadata column.
    pub const ALL: [Self; 5] = [Self::Key, Self::Partition, Self::Position, Self::Arrival, Self::Headers];

    /// Its name in SQL and in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Key => "_key",
            Self::Partition => "_partition",
            Self::Position => "_position",
            Self::Arrival => "_arrival",
            Self::Headers => "_headers",
        }
    }
}

/// Event time, and how far behind the newest record the watermark follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watermark {
    /// A column of type `timestamp`.
    pub column: String,
    /// The watermark is the largest event time seen less this.
    pub delay: Duration,
    /// A lane that is silent for so long holds up nobody. `None`: a silent lane is waited for.
    pub idle: Option<Duration>,
}

/// What happens to a record that does not fit the columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnBadRecord {
    /// It becomes a dead letter.
    #[default]
    DeadLetter,
    /// It is counted and dropped.
    Skip,
    /// The lane stops.
    Fail,
}

/// SQL, and where it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlText {
    /// The SQL, values of the environment filled in.
    pub text: String,
    /// From the SQL to the file.
    pub map: TextMap,
}

impl SqlText {
    /// The place in the file of `line` and `column` (1-based, in characters) of the SQL.
    pub fn place(&self, line: usize, column: usize) -> Place {
        self.map.place(&self.text, line, column)
    }

    /// Where the SQL begins.
    pub fn start(&self) -> Place {
        self.map.start()
    }
}

/// A named query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Its name in SQL.
    pub name: String,
    /// Where its name stands.
    pub place: Place,
    /// The query.
    pub sql: SqlText,
}

/// A query whose rows are delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// Where its name stands.
    pub place: Place,
    /// The query.
    pub sql: SqlText,
    /// What the query sees.
    pub scope: OutputScope,
    /// Name of the target; it exists.
    pub target: String,
    /// Name of the target for rows that came too late for their window; it exists.
    pub late_target: Option<String>,
    /// Columns by which the rows of one micro-batch are sorted before they are cut into requests.
    pub order_by: Vec<String>,
}

/// What a query sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputScope {
    /// The stream; rows are appended and never changed (`mode: append`).
    Stream,
    /// One micro-batch (`scope: batch`).
    Batch,
}

/// Where dead letters go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeadLetters {
    /// A file of JSON lines.
    File(String),
    /// The URL of an SQS queue.
    Sqs(String),
}

/// Settings of the state store. `None`: the store's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateSettings {
    /// Commits kept per lane.
    pub ring: Option<u16>,
    /// Bytes of a commit kept in its item; more goes to the blob store.
    pub inline_limit: Option<usize>,
}

impl PipelineFile {
    /// The target `name` with the rows of `output` sorted as the output asks. `None`: there is no such target.
    pub fn target_for(&self, output: &Output, name: &str) -> Option<Target> {
        let mut target = self.targets.get(name)?.clone();
        if let Target::Rest(rest) = &mut target {
            rest.order_by.clone_from(&output.order_by);
        }
        Some(target)
    }

    /// A mistake about the value of `key` (`targets.api.rest.url`), found after loading.
    /// A key that is not in the file is shown at the nearest one above it.
    pub fn mistake(&self, key: &str, message: impl Into<String>) -> Mistake {
        let mut nearest = key;
        loop {
            if let Some((place, width)) = self.places.get(nearest) {
                return Mistake::new(*place, key, message).with_width(*width);
            }
            match nearest.rsplit_once('.') {
                Some((above, _)) => nearest = above,
                None => return Mistake { key: key.to_owned(), ..Mistake::of_file(message) },
            }
        }
    }

    /// Mistakes that were found after loading (SQL errors), shown like those of the file itself.
    pub fn mistakes(&self, mistakes: Vec<Mistake>) -> ConfigErrors {
        ConfigErrors::new(&self.file_name, Arc::clone(&self.text), mistakes)
    }

    /// The warnings, shown like mistakes.
    pub fn render_warnings(&self) -> String {
        self.mistakes(self.warnings.clone()).to_string()
    }
}
