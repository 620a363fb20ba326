//! Validated targets: what the pipeline file says, with defaults filled in. Holds no secret, only references.

use std::time::Duration;

use tidegate_core::secret::SecretRef;

/// A target that rows are delivered to.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// Somebody's REST API.
    Rest(Box<RestTarget>),
    /// JSON lines: a dry run (`--to`).
    Lines(LinesTarget),
}

/// Where the JSON lines of a dry run go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinesTarget {
    /// Standard output: at least once.
    Stdout,
    /// A file: exactly once, cut back to its committed length after a crash.
    File(String),
}

/// A REST API, one request carrying many rows.
#[derive(Clone, Debug, PartialEq)]
pub struct RestTarget {
    /// URL with `{column}` places, which are filled percent-encoded.
    pub url: Template,
    /// `PUT`, `POST` or `PATCH`.
    pub method: Method,
    /// Extra headers with `{column}` places.
    pub headers: Vec<(String, Template)>,
    /// How the target recognises a repeat.
    pub idempotency: Idempotency,
    /// What the target promises about repeats and rejections.
    pub promise: Promise,
    /// How rows are put together.
    pub batch: Batch,
    /// Requests on their way at a time (1 to 64). Default 1.
    pub concurrency: usize,
    /// Columns whose rows must stay in order. `None`: the output's own group keys if it has some, else all rows.
    pub key: Option<Vec<String>>,
    /// `false`: the target says that order does not matter. Default `true`.
    pub ordered: bool,
    /// Columns by which the rows of one micro-batch are sorted before they are cut into requests.
    pub order_by: Vec<String>,
    /// At most so many requests in so long, per environment.
    pub rate_limit: Option<RateLimit>,
    /// Credentials, added when a request is sent.
    pub auth: Auth,
    /// Retries of passing faults.
    pub retry: Retry,
    /// What counts as success.
    pub success: Success,
    /// What happens to a row that the target rejects for its content.
    pub on_reject: OnReject,
    /// What happens when the retries of a passing fault are used up.
    pub on_exhausted: OnExhausted,
    /// Time for one attempt, connection included. Default 10 s.
    pub timeout: Duration,
}

impl RestTarget {
    /// Whether a rejection may be acted on although an earlier attempt may have taken effect: the target promises that
    /// it has not, a second effect changes nothing, or there never was an attempt of unknown outcome.
    pub fn rejections_decide(&self) -> bool {
        self.promise.rejections_are_final
            || matches!(self.idempotency, Idempotency::LastWriterWins | Idempotency::AtMostOnce { .. })
    }
}

/// Text with `{column}` places. `{{` and `}}` stand for braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Text and columns in turn.
    pub parts: Vec<TemplatePart>,
}

/// A part of a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplatePart {
    /// Fixed text.
    Text(String),
    /// The value of a column.
    Column(String),
}

/// HTTP methods that targets take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// PUT.
    Put,
    /// POST.
    Post,
    /// PATCH.
    Patch,
}

/// How the target recognises a repeat, or why it need not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Idempotency {
    /// By the id, in this header. Default `Idempotency-Key`.
    Header(String),
    /// By the id, as the last segment of the URL's path.
    Path,
    /// By the id, in this field of the body: of the object itself (`json_object`), or of an object
    /// `{FIELD: id, "rows": [...]}` around the array (`json_array`).
    BodyField(String),
    /// By a number that grows within a lane: the target refuses what is not newer, with this status.
    Fenced(u16),
    /// Not at all: the row replaces what is at its URL, so a repeat changes nothing.
    LastWriterWins,
    /// Not at all: at least once.
    None,
    /// Not at all: at most once. Only who has committed a request may send it, until its outcome is unknown.
    AtMostOnce {
        /// A request that is known not to have taken effect, and that nobody may send before it is committed again.
        /// Never so in the settings of a target.
        offered: bool,
    },
}

impl Idempotency {
    /// Whether the target remembers the ids of requests.
    pub fn remembers_ids(&self) -> bool {
        matches!(self, Self::Header(_) | Self::Path | Self::BodyField(_))
    }

    /// Whether nothing at the target keeps a repeat from taking effect.
    pub fn repeats_count(&self) -> bool {
        matches!(self, Self::None | Self::AtMostOnce { .. })
    }

    /// Whether each request has to be settled before the next one leaves, whatever its keys are.
    pub fn one_at_a_time(&self) -> bool {
        matches!(self, Self::Fenced(_))
    }
}

/// What the target promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// How long it remembers ids. Default 24 h.
    pub remembers_ids: Duration,
    /// `true`: it looks an id up before it validates, and a rejected id stays rejected.
    pub rejections_are_final: bool,
}

/// How rows become requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Rows in a request at most (1 to 10,000). Default 500.
    pub rows: usize,
    /// Bytes of a body at most. Default 1 MB. One row may exceed it only if it is alone, up to 5 MB.
    pub bytes: usize,
    /// The body.
    pub format: BodyFormat,
}

/// The shape of a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFormat {
    /// `[{...},{...}]`
    JsonArray,
    /// One object a line.
    Ndjson,
    /// One object: one row a request.
    JsonObject,
}

/// `requests` per `per`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests.
    pub requests: u32,
    /// In so long.
    pub per: Duration,
}

/// Credentials of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// None.
    None,
    /// `Authorization: Bearer ...`
    Bearer(SecretRef),
    /// `Authorization: Basic ...`
    Basic {
        /// User name.
        user: String,
        /// Password.
        password: SecretRef,
    },
}

/// Retries of passing faults: full jitter, exponential, `Retry-After` respected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// No new attempt after so long. Default 60 s; the invocation's deadline may come first.
    pub max_elapsed: Duration,
    /// Attempts at most, the first included. Default 10.
    pub max_attempts: u32,
    /// First pause at most. Default 100 ms.
    pub initial_backoff: Duration,
    /// Longest pause. Default 10 s.
    pub max_backoff: Duration,
}

/// What counts as success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Success {
    /// Status codes. Empty: every 2xx.
    pub status: Vec<u16>,
    /// A field of a JSON body that must be absent, null, false or empty: a target that answers 200 with an error inside.
    pub error_field: Option<String>,
}

/// What happens to a row that the target rejects for its content (400, 413, 422).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnReject {
    /// The batch is narrowed down to the guilty rows, which become dead letters. Default.
    DeadLetter,
    /// The lane stops.
    Block,
}

/// What happens when the retries of a passing fault are used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExhausted {
    /// The invocation fails, the source delivers again. Default.
    Block,
    /// The request becomes a dead letter, if its outcome is known not to be success.
    DeadLetter,
}
