//! Shared parts of the tests: a clock that is moved by sleeping, a scripted transport, targets and rows.

mod http;
mod plan;
mod send;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use async_trait::async_trait;
use tidegate_core::random::StdRandom;
use tidegate_core::secret::{Secret, SecretRef, SecretStore};
use tidegate_core::{Clock, Generation, Incarnation, LaneId, LaneKey, OutboxEntry, Result, Timestamp};

use crate::config::*;
use crate::*;

/// Time passes only by sleeping.
#[derive(Default)]
pub(crate) struct ManualClock(AtomicU64);

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_767_225_600_000).plus(self.elapsed())
    }

    fn elapsed(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::SeqCst))
    }

    async fn sleep(&self, duration: Duration) {
        self.0.fetch_add(duration.as_micros() as u64, Ordering::SeqCst);
    }
}

/// Answers in turn; the last one for ever.
pub(crate) struct Script {
    answers: Mutex<VecDeque<Result<HttpResponse, HttpFault>>>,
    pub(crate) seen: Mutex<Vec<HttpRequest>>,
}

impl Script {
    pub(crate) fn new(answers: impl IntoIterator<Item = Result<HttpResponse, HttpFault>>) -> Arc<Self> {
        Arc::new(Self { answers: Mutex::new(answers.into_iter().collect()), seen: Mutex::default() })
    }
}

#[async_trait]
impl HttpTransport for Script {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpFault> {
        self.seen.lock().unwrap().push(request);
        let mut answers = self.answers.lock().unwrap();
        if answers.len() > 1 { answers.pop_front().unwrap() } else { answers.front().unwrap().clone() }
    }
}

pub(crate) fn status(status: u16) -> Result<HttpResponse, HttpFault> {
    Ok(HttpResponse { status, complete: true, ..HttpResponse::default() })
}

pub(crate) fn with_body(status: u16, body: &str) -> Result<HttpResponse, HttpFault> {
    Ok(HttpResponse { status, body: body.to_owned().into(), complete: true, ..HttpResponse::default() })
}

pub(crate) fn retry_after(status: u16, value: &str) -> Result<HttpResponse, HttpFault> {
    Ok(HttpResponse { status, retry_after: Some(value.into()), complete: true, ..HttpResponse::default() })
}

pub(crate) struct OneSecret;

#[async_trait]
impl SecretStore for OneSecret {
    async fn fetch(&self, _: &SecretRef) -> Result<Secret> {
        Ok(Secret::new("hunter2"))
    }
}

#[derive(Default)]
pub(crate) struct Kept(pub(crate) Mutex<Vec<u8>>);

#[async_trait]
impl DeadLetterStore for Kept {
    async fn keep(&self, lines: &[u8]) -> Result<()> {
        self.0.lock().unwrap().extend_from_slice(lines);
        Ok(())
    }
}

pub(crate) fn ports(http: Arc<dyn HttpTransport>) -> SenderPorts {
    SenderPorts {
        http,
        clock: Arc::new(ManualClock::default()),
        random: Arc::new(StdRandom::seeded(7)),
        secrets: Arc::new(OneSecret),
        dead_letters: None,
    }
}

pub(crate) fn lane() -> LaneKey {
    LaneKey {
        pipeline: "p".into(),
        incarnation: Incarnation(255),
        generation: Generation::FIRST,
        lane: LaneId::new("orders", "a/b-3"),
    }
}

pub(crate) fn template(text: &str) -> Template {
    let mut parts = Vec::new();
    for (i, piece) in text.split(['{', '}']).enumerate() {
        match i % 2 {
            0 if piece.is_empty() => {}
            0 => parts.push(TemplatePart::Text(piece.into())),
            _ => parts.push(TemplatePart::Column(piece.into())),
        }
    }
    Template { parts }
}

pub(crate) fn rest(url: &str) -> RestTarget {
    RestTarget {
        url: template(url),
        method: Method::Post,
        headers: Vec::new(),
        idempotency: Idempotency::Header("Idempotency-Key".into()),
        promise: Promise { remembers_ids: Duration::from_secs(86_400), rejections_are_final: true },
        batch: Batch { rows: 2, bytes: 1_000_000, format: BodyFormat::JsonArray },
        concurrency: 1,
        key: None,
        ordered: true,
        order_by: Vec::new(),
        rate_limit: None,
        auth: Auth::None,
        retry: Retry {
            max_elapsed: Duration::from_secs(60),
            max_attempts: 10,
            initial_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(10),
        },
        success: Success { status: Vec::new(), error_field: None },
        on_reject: OnReject::DeadLetter,
        on_exhausted: OnExhausted::Block,
        timeout: Duration::from_secs(10),
    }
}

pub(crate) fn context<'a>(lane: &'a LaneKey, keys: &'a [String]) -> PlanContext<'a> {
    PlanContext {
        lane,
        n: 7,
        first_index: 0,
        first_wave: 0,
        target: "api",
        output: "sums",
        now: Timestamp::from_millis(1_767_225_600_000),
        key_columns: keys,
        sink_length: 0,
    }
}

/// Columns `k` (text), `n` (bigint, the row's number), `x` (double).
pub(crate) fn rows(keys: &[Option<&str>]) -> RecordBatch {
    let numbers = Int64Array::from_iter_values(0..keys.len() as i64);
    let x = Float64Array::from_iter_values((0..keys.len()).map(|i| i as f64 / 2.0));
    RecordBatch::try_from_iter([
        ("k", Arc::new(StringArray::from(keys.to_vec())) as ArrayRef),
        ("n", Arc::new(numbers)),
        ("x", Arc::new(x)),
    ])
    .unwrap()
}

pub(crate) fn http_of(entry: &OutboxEntry) -> payload::HttpPayload {
    match payload::Payload::decode(&entry.payload).unwrap() {
        payload::Payload::Http(http) => http,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn body(entry: &OutboxEntry) -> String {
    String::from_utf8(http_of(entry).rows.to_vec()).unwrap()
}

pub(crate) fn targets(target: RestTarget) -> BTreeMap<String, Target> {
    BTreeMap::from([("api".into(), Target::Rest(Box::new(target)))])
}

pub(crate) fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
