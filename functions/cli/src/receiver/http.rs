//! What the receiver answers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{HeaderMap, Method, Request, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures::future::BoxFuture;
use futures::stream;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tidegate_core::{Clock, Error, Result};
use tidegate_delivery::{FENCE_LANE_HEADER, FENCE_NUMBER_HEADER};
use tokio::sync::{mpsc, oneshot};

use super::body;
use super::faults::{Fate, FaultOptions};
use super::options::{IdPlace, ReceiverOptions};
use super::store::{self, Mark, Settled, Store, StoredRow, Verdict};

/// Bytes of a body at most.
pub const MAX_BODY: usize = 10_000_000;

/// Bytes of an id at most.
pub const MAX_ID: usize = 1024;

/// Time for a client to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// The header of an answer that was given before.
pub const REPEAT_HEADER: &str = "tidegate-repeat";

/// Marks an answer that is never sent: the connection is closed instead.
#[derive(Clone, Copy, Debug)]
pub struct HangUp;

/// What a handler asks the accept loop to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// End the process.
    Stop,
    /// Cut every connection and listen again after a moment.
    Restart(Duration),
}

/// What handlers share.
pub struct App {
    pub options: ReceiverOptions,
    pub store: Mutex<Store>,
    pub faults: Mutex<FaultOptions>,
    pub clock: Arc<dyn Clock>,
    /// The expected `Authorization` header.
    pub authorization: Option<String>,
    /// Work that goes on when its client has hung up.
    pub late: mpsc::Sender<BoxFuture<'static, ()>>,
    pub commands: mpsc::Sender<Command>,
    /// When the last request came, in milliseconds of [`Clock::elapsed`].
    pub last_request: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All routes.
pub fn router(app: Arc<App>) -> Router {
    let admin = Router::new()
        .route("/summary", get(summary))
        .route("/rows", get(rows))
        .route("/faults", post(set_faults).get(faults))
        .route("/shutdown", post(shutdown))
        .fallback(|| async { error(StatusCode::NOT_FOUND, "no such page; see summary, rows, faults, shutdown") });
    Router::new().nest("/_tidegate", admin).fallback(effect).layer(DefaultBodyLimit::max(MAX_BODY)).with_state(app)
}

fn json(status: StatusCode, text: String) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], text).into_response()
}

fn error(status: StatusCode, message: &str) -> Response {
    json(status, serde_json::json!({ "error": message }).to_string())
}

fn broken(error: &Error) -> Response {
    self::error(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string())
}

fn text_of(headers: &HeaderMap, name: &str) -> Result<String, String> {
    let value = headers.get(name).ok_or_else(|| format!("the header {name} is missing"))?;
    value.to_str().map(str::to_owned).map_err(|_| format!("the header {name} is not visible ASCII"))
}

fn hang_up() -> Response {
    let mut response = Response::new(Body::empty());
    response.extensions_mut().insert(HangUp);
    response
}

async fn summary(State(app): State<Arc<App>>) -> Response {
    match lock(&app.store).summary() {
        Ok(summary) => json(StatusCode::OK, summary.to_json().to_string()),
        Err(error) => broken(&error),
    }
}

async fn faults(State(app): State<Arc<App>>) -> Response {
    json(StatusCode::OK, serde_json::json!(*lock(&app.faults)).to_string())
}

async fn set_faults(State(app): State<Arc<App>>, body: Bytes) -> Response {
    let faults = serde_json::from_slice::<FaultOptions>(&body).map_err(|error| error.to_string());
    match faults.and_then(|faults| faults.check().map(|()| faults).map_err(|error| error.to_string())) {
        Ok(faults) => {
            lock(&app.faults).clone_from(&faults);
            json(StatusCode::OK, serde_json::json!(faults).to_string())
        }
        Err(message) => error(StatusCode::BAD_REQUEST, &message),
    }
}

async fn shutdown(State(app): State<Arc<App>>) -> Response {
    // A full queue holds a command that ends this connection anyway.
    let _ = app.commands.try_send(Command::Stop);
    json(StatusCode::OK, "{}".to_owned())
}

#[derive(Deserialize)]
struct Listing {
    #[serde(default)]
    sorted: bool,
    #[serde(default)]
    detail: bool,
}

/// All rows as JSON lines, page by page. Rows that arrive meanwhile may be missing.
async fn rows(State(app): State<Arc<App>>, Query(listing): Query<Listing>) -> Response {
    let pages = stream::try_unfold((app, None::<StoredRow>), move |(app, last)| async move {
        let page = {
            let store = lock(&app.store);
            if listing.sorted { store.sorted_page(last.as_ref()) } else { store.page(last.map_or(0, |row| row.seq)) }
        };
        let page = page.map_err(std::io::Error::other)?;
        let mut text = String::new();
        for row in &page {
            if listing.detail {
                let (seq, id, path) = (row.seq, &row.request_id, &row.path);
                let head = serde_json::json!({ "seq": seq, "id": id, "path": path }).to_string();
                text.push_str(head.trim_end_matches('}'));
                text.push_str(",\"row\":");
                text.push_str(&row.row);
                text.push_str("}\n");
            } else {
                text.push_str(&row.row);
                text.push('\n');
            }
        }
        let last = page.into_iter().last();
        Ok::<_, std::io::Error>(last.map(|last| (Bytes::from(text), (app, Some(last)))))
    });
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(pages)).into_response()
}

/// Any request that is to take effect.
async fn effect(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    match try_effect(&app, request).await {
        Ok(response) => response,
        Err(error) => {
            let _ = lock(&app.store).count("store_errors");
            broken(&error)
        }
    }
}

async fn try_effect(app: &Arc<App>, request: Request<Body>) -> Result<Response> {
    let (head, body) = request.into_parts();
    app.touch();
    let number = lock(&app.store).count("requests")?;
    let body = tokio::select! {
        body = axum::body::to_bytes(body, MAX_BODY) => body,
        () = app.clock.sleep(BODY_TIMEOUT) => return app.refuse(StatusCode::REQUEST_TIMEOUT, "the body did not come"),
    };
    let Ok(body) = body else {
        return app.refuse(StatusCode::PAYLOAD_TOO_LARGE, &format!("the body is larger than {MAX_BODY} bytes"));
    };
    let faults = lock(&app.faults).clone();
    let (delay, lose_answer) = match faults.draw(number) {
        Fate::Handle { delay, lose_answer } => (delay, lose_answer),
        fate => return app.fail(&faults, fate),
    };
    if !matches!(head.method, Method::PUT | Method::POST | Method::PATCH) {
        return app.refuse(StatusCode::METHOD_NOT_ALLOWED, "only PUT, POST and PATCH take effect here");
    }
    if !app.authorized(&head.headers) {
        return app.refuse(StatusCode::UNAUTHORIZED, "the credentials are missing or wrong");
    }
    if app.options.id == IdPlace::LastWriterWins && head.method != Method::PUT {
        return app.refuse(StatusCode::METHOD_NOT_ALLOWED, "only PUT replaces what is at a path");
    }
    let mark = match app.mark(&head.uri, &head.headers, &body) {
        Ok(mark) => mark,
        Err(message) => return app.refuse(StatusCode::BAD_REQUEST, &message),
    };
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let method = head.method.as_str().to_owned();
    let work = Work { mark, method, path, body, lose_answer };
    let Some(delay) = delay else { return app.handle(work) };
    app.handle_late(work, delay).await
}

/// A request that is to be handled.
struct Work {
    mark: Mark,
    method: String,
    path: String,
    body: Bytes,
    lose_answer: bool,
}

impl App {
    fn touch(&self) {
        let now = u64::try_from(self.clock.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_request.store(now, Ordering::Relaxed);
    }

    /// An answer without effect and without memory.
    fn refuse(&self, status: StatusCode, message: &str) -> Result<Response> {
        lock(&self.store).count("refused")?;
        Ok(error(status, message))
    }

    fn fail(&self, faults: &FaultOptions, fate: Fate) -> Result<Response> {
        let count = |name| lock(&self.store).count(name);
        match fate {
            Fate::Restart => {
                count("fault.restart")?;
                // A full queue already holds a restart.
                let _ = self.commands.try_send(Command::Restart(Duration::from_millis(faults.restart_ms)));
                Ok(hang_up())
            }
            Fate::Drop => {
                count("fault.drop")?;
                Ok(hang_up())
            }
            Fate::Lie => {
                count("fault.lie")?;
                Ok(error(StatusCode::OK, "a fault that was asked for: not applied"))
            }
            Fate::Status(status) => {
                count(&format!("fault.fail_{status}"))?;
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let mut response = error(status, "a fault that was asked for: not applied");
                if let Some(seconds) = faults.retry_after.filter(|_| status != StatusCode::INTERNAL_SERVER_ERROR) {
                    response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
                }
                Ok(response)
            }
            Fate::Handle { .. } => Err(Error::internal("a request without a fault was to fail")),
        }
    }

    fn authorized(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
        self.authorization.as_ref().is_none_or(|expected| given == Some(expected.as_bytes()))
    }

    fn mark(&self, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Result<Mark, String> {
        let id = match &self.options.id {
            IdPlace::None => return Ok(Mark::Nothing),
            IdPlace::LastWriterWins => return Ok(Mark::Path),
            IdPlace::Fenced => {
                let (lane, number) = (text_of(headers, FENCE_LANE_HEADER)?, text_of(headers, FENCE_NUMBER_HEADER)?);
                return Ok(Mark::Fence { lane, number });
            }
            IdPlace::Header(name) => text_of(headers, name)?,
            IdPlace::Path => uri.path().rsplit('/').next().unwrap_or_default().to_owned(),
            IdPlace::Body(field) => body::id(body, field)?,
        };
        if id.is_empty() || id.len() > MAX_ID {
            return Err(format!("an id has 1 to {MAX_ID} bytes, this one has {}", id.len()));
        }
        Ok(Mark::Id(id))
    }

    fn handle(&self, work: Work) -> Result<Response> {
        let request = store::Request {
            mark: work.mark,
            sha256: Sha256::digest(&work.body).into(),
            method: work.method,
            path: work.path,
            at: self.clock.now(),
        };
        let mut store = lock(&self.store);
        let (settled, status, answer) = store.settle(&request, self.options.remember, || self.judge(&work.body))?;
        if work.lose_answer {
            store.count("fault.lose_answer")?;
            return Ok(hang_up());
        }
        let mut response = json(StatusCode::from_u16(status).unwrap_or(StatusCode::OK), answer);
        if matches!(settled, Settled::Repeat | Settled::Refused) {
            response.headers_mut().insert(REPEAT_HEADER, header::HeaderValue::from_static("true"));
        }
        Ok(response)
    }

    /// As a server does that is slow to notice that its client is gone: the effect comes in any case.
    async fn handle_late(self: &Arc<Self>, work: Work, delay: Duration) -> Result<Response> {
        lock(&self.store).count("fault.delay")?;
        let (answer, answered) = oneshot::channel();
        let app = Arc::clone(self);
        let late = Box::pin(async move {
            app.clock.sleep(delay).await;
            // The client may be gone; the effect is what counts.
            let _ = answer.send(app.handle(work));
        });
        if self.late.send(late).await.is_err() {
            return Ok(hang_up());
        }
        answered.await.unwrap_or_else(|_| Ok(hang_up()))
    }

    /// Validates a request whose id is new.
    fn judge(&self, body: &[u8]) -> Verdict {
        let refused = |status, message: String| Verdict {
            status,
            answer: serde_json::json!({ "error": message }).to_string(),
            rows: Vec::new(),
        };
        let id_field = match &self.options.id {
            IdPlace::Body(field) => Some(field.as_str()),
            _ => None,
        };
        let rows = match body::rows(body, id_field) {
            Ok(rows) => rows,
            Err(message) => return refused(400, message),
        };
        if self.options.id == IdPlace::LastWriterWins && rows.len() != 1 {
            return refused(400, format!("one row replaces what is at a path, not {}", rows.len()));
        }
        if let Some(limit) = self.options.max_rows.filter(|limit| rows.len() > *limit) {
            return refused(413, format!("{} rows are more than {limit}", rows.len()));
        }
        for (i, row) in rows.iter().enumerate() {
            for rule in &self.options.reject_if {
                if body::field(row, &rule.field).as_deref() == Some(rule.value.as_str()) {
                    return refused(422, format!("row {i}: {} may not be {}", rule.field, rule.value));
                }
            }
        }
        Verdict { status: 200, answer: serde_json::json!({ "accepted": rows.len() }).to_string(), rows }
    }
}
