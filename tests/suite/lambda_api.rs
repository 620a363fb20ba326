//! A Lambda Runtime API on 127.0.0.1, and the processor running under it.
//!
//! The protocol is that of the AWS page "Using the Lambda runtime API": `GET .../invocation/next` hands out an event,
//! `POST .../response` and `POST .../error` take the answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::routing::{get, post};
use serde_json::Value;
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::kit::{Process, binary, root};

/// The function's timeout as the tests set it.
const TIMEOUT: Duration = Duration::from_secs(20);

/// What the function answered, or the error that it reported.
pub type Answer = Result<Value, Value>;

struct Event {
    body: Bytes,
    timeout: Duration,
    answer: oneshot::Sender<Answer>,
}

#[derive(Clone)]
struct Api {
    next: Arc<Mutex<mpsc::Receiver<Event>>>,
    waiting: Arc<Mutex<HashMap<String, oneshot::Sender<Answer>>>>,
    count: Arc<std::sync::atomic::AtomicU64>,
}

/// One execution environment: a processor and the Runtime API that feeds it.
pub struct Environment {
    process: Process,
    events: mpsc::Sender<Event>,
    server: tokio::task::JoinHandle<()>,
}

impl Environment {
    /// Starts a processor with `variables`. It loads its state with the first event.
    pub async fn start(variables: &[(&str, &str)]) -> Self {
        Self::run(std::process::Command::new(binary("tidegate-processor")), variables).await
    }

    /// The same with so many kilobytes of address space: whoever asks for more is killed.
    pub async fn start_within(kilobytes: u64, variables: &[(&str, &str)]) -> Self {
        let mut command = std::process::Command::new("bash");
        command
            .args(["-c", "ulimit -c 0 -v \"$0\"; exec \"$1\"", &kilobytes.to_string()])
            .arg(binary("tidegate-processor"));
        Self::run(command, variables).await
    }

    async fn run(mut command: std::process::Command, variables: &[(&str, &str)]) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let (events, next) = mpsc::channel(1);
        let api = Api { next: Arc::new(Mutex::new(next)), waiting: Arc::default(), count: Arc::default() };
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next_event))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .route("/2018-06-01/runtime/init/error", post(|| async { StatusCode::ACCEPTED }))
            .layer(axum::extract::DefaultBodyLimit::max(8 << 20))
            .with_state(api);
        #[expect(clippy::disallowed_methods, reason = "a server beside the test; it is aborted when the test ends")]
        let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("the API serves") });
        command.current_dir(root()).env_clear();
        for (name, value) in [
            ("AWS_LAMBDA_RUNTIME_API", address.as_str()),
            ("AWS_LAMBDA_FUNCTION_NAME", "processor"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1769"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
        ] {
            command.env(name, value);
        }
        command.envs(variables.iter().copied());
        Self { process: Process::start(command), events, server }
    }

    /// Invokes it as an event source mapping does. `Err` holds the function's error.
    pub async fn invoke(&mut self, event: &[u8]) -> Answer {
        self.invoke_within(event, TIMEOUT).await
    }

    /// Invokes it with another timeout.
    pub async fn invoke_within(&mut self, event: &[u8], timeout: Duration) -> Answer {
        let answered = self.hand_over(event, timeout).await;
        self.answer(answered, timeout).await
    }

    /// The answer to what was begun.
    pub async fn end(&mut self, answered: oneshot::Receiver<Answer>) -> Answer {
        self.answer(answered, TIMEOUT).await
    }

    async fn answer(&mut self, answered: oneshot::Receiver<Answer>, timeout: Duration) -> Answer {
        match tokio::time::timeout(timeout + Duration::from_secs(20), answered).await {
            Ok(answer) => answer.expect("the processor answers"),
            Err(_) => panic!("the processor neither answered nor failed (ended: {:?})", self.process.ended()),
        }
    }

    /// Invokes it and does not wait for the answer.
    pub async fn begin(&mut self, event: &[u8]) -> oneshot::Receiver<Answer> {
        self.hand_over(event, TIMEOUT).await
    }

    async fn hand_over(&mut self, event: &[u8], timeout: Duration) -> oneshot::Receiver<Answer> {
        let (answer, answered) = oneshot::channel();
        let event = Event { body: Bytes::copy_from_slice(event), timeout, answer };
        self.events.send(event).await.expect("the API takes the event");
        answered
    }

    /// Stops (`STOP`) or continues (`CONT`) its process.
    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Invokes it with an event that kills it, with a timeout. Whether it is dead.
    pub async fn kills(&mut self, event: &[u8], timeout: Duration) -> bool {
        let mut answered = self.hand_over(event, timeout).await;
        for _ in 0..TIMEOUT.as_millis() / 20 {
            if self.process.ended().is_some() {
                return true;
            }
            if answered.try_recv().is_ok() {
                return false;
            }
            #[expect(clippy::disallowed_methods, reason = "another process is at work")]
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the processor neither answered nor ended");
    }

    /// The line of metrics that the last invocation printed.
    pub fn metrics(&mut self) -> Value {
        serde_json::from_str(&self.process.line()).expect("a metric line is JSON")
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.process.kill();
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn next_event(State(api): State<Api>) -> (HeaderMap, Bytes) {
    let Some(event) = api.next.lock().await.recv().await else {
        return std::future::pending().await;
    };
    let id = format!("request-{}", api.count.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    #[expect(clippy::disallowed_methods, reason = "the Runtime API states deadlines by the machine's clock")]
    let deadline = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970") + event.timeout;
    api.waiting.lock().await.insert(id.clone(), event.answer);
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("lambda-runtime-aws-request-id", id),
        ("lambda-runtime-deadline-ms", deadline.as_millis().to_string()),
        ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:us-east-1:123456789012:function:processor".into()),
        ("lambda-runtime-trace-id", "Root=1-5759e988-bd862e3fe1be46a994272793".into()),
    ] {
        headers.insert(name, HeaderValue::from_str(&value).expect("a header value"));
    }
    (headers, event.body)
}

async fn response(State(api): State<Api>, Path(id): Path<String>, body: Bytes) -> StatusCode {
    answer(&api, &id, Ok(serde_json::from_slice(&body).unwrap_or(Value::Null))).await
}

async fn error(State(api): State<Api>, Path(id): Path<String>, body: Bytes) -> StatusCode {
    answer(&api, &id, Err(serde_json::from_slice(&body).unwrap_or(Value::Null))).await
}

async fn answer(api: &Api, id: &str, answer: Answer) -> StatusCode {
    if let Some(waiting) = api.waiting.lock().await.remove(id) {
        let _ = waiting.send(answer);
    }
    StatusCode::ACCEPTED
}
