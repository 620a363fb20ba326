//! The HTTP port and its real implementation.

use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use tidegate_core::secret::Secret;
use tidegate_core::{Error, Result};

use crate::config::Method;

/// Bytes of an answer's body that are read; the rest is dropped with the connection.
pub const MAX_RESPONSE_BYTES: usize = 64 * 1024;
/// Time to connect, TLS included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Idle connections are closed after so long: below the idle timeout of common load balancers (60 s).
pub const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(45);
/// Idle connections kept for a host: as many as requests can be on their way.
pub const POOL_MAX_IDLE_PER_HOST: usize = 64;
/// The header in which a receiver may say that it knew the id already (`true`).
pub const REPEAT_HEADER: &str = "tidegate-repeat";

/// One attempt.
#[derive(Clone, Debug)]
pub struct HttpRequest {
    /// The method.
    pub method: Method,
    /// The whole URL.
    pub url: String,
    /// Headers without credentials.
    pub headers: Vec<(String, String)>,
    /// The `Authorization` header.
    pub authorization: Option<Secret>,
    /// The body.
    pub body: Bytes,
    /// Time for everything, connection included.
    pub timeout: Duration,
}

/// What came back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpResponse {
    /// Status code.
    pub status: u16,
    /// `Retry-After` as it came.
    pub retry_after: Option<String>,
    /// The receiver says that it knew the id already.
    pub repeat: bool,
    /// The body, at most [`MAX_RESPONSE_BYTES`].
    pub body: Bytes,
    /// The body is all there was.
    pub complete: bool,
}

/// Why nothing came back. Texts hold no credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpFault {
    /// The request did not leave.
    NotConnected(String),
    /// It may have arrived.
    Lost(String),
    /// It may have arrived; there was no whole answer in time.
    TimedOut,
    /// It is no valid request, or the transport cannot be set up.
    Unsendable(String),
}

/// The port to HTTP targets. An implementation makes one attempt and follows no redirect; it never retries.
#[async_trait]
pub trait HttpTransport: Send + Sync {
    /// Makes one attempt. Returns no later than `request.timeout`.
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpFault>;
}

/// HTTP/1.1 with kept-alive connections.
#[derive(Clone, Debug)]
pub struct ReqwestTransport(reqwest::Client);

impl ReqwestTransport {
    /// A client with a connection pool of its own. Proxies of the environment are ignored, so that behaviour
    /// follows from the pipeline file alone.
    pub fn new() -> Result<Self> {
        let client = reqwest::Client::builder()
            .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
            .http1_only()
            .tcp_nodelay(true)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .pool_max_idle_per_host(POOL_MAX_IDLE_PER_HOST)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .build();
        client.map(Self).map_err(|error| Error::internal("the HTTP client cannot be set up").with_source(error))
    }
}

#[async_trait]
impl HttpTransport for ReqwestTransport {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpFault> {
        let method = match request.method {
            Method::Put => reqwest::Method::PUT,
            Method::Post => reqwest::Method::POST,
            Method::Patch => reqwest::Method::PATCH,
        };
        let headers = header_map(&request)?;
        let url = reqwest::Url::parse(&request.url).map_err(|error| HttpFault::Unsendable(error.to_string()))?;
        let sent = self.0.request(method, url).headers(headers).body(request.body).timeout(request.timeout).send();
        let mut response = sent.await.map_err(fault)?;
        let text = |name: HeaderName| response.headers().get(name).and_then(|value| value.to_str().ok());
        let mut answer = HttpResponse {
            status: response.status().as_u16(),
            retry_after: text(RETRY_AFTER).map(str::to_owned),
            repeat: text(HeaderName::from_static(REPEAT_HEADER)).is_some_and(|value| value == "true"),
            body: Bytes::new(),
            complete: true,
        };
        let mut body = BytesMut::new();
        loop {
            match response.chunk().await {
                Ok(None) => break,
                Ok(Some(chunk)) => {
                    let room = MAX_RESPONSE_BYTES - body.len();
                    body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                    if chunk.len() > room {
                        answer.complete = false;
                        break;
                    }
                }
                // The status arrived: what is known counts, even if the body stopped half way.
                Err(_) => {
                    answer.complete = false;
                    break;
                }
            }
        }
        answer.body = body.freeze();
        Ok(answer)
    }
}

fn header_map(request: &HttpRequest) -> Result<HeaderMap, HttpFault> {
    let mut headers = HeaderMap::with_capacity(request.headers.len() + 1);
    for (name, value) in &request.headers {
        let key = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| HttpFault::Unsendable(format!("'{name}' is no header name")))?;
        let value = HeaderValue::from_bytes(value.as_bytes())
            .map_err(|_| HttpFault::Unsendable(format!("header {name} has a control character")))?;
        headers.append(key, value);
    }
    if let Some(secret) = &request.authorization {
        let mut value = HeaderValue::from_bytes(secret.expose().as_bytes())
            .map_err(|_| HttpFault::Unsendable("the secret has a control character, such as a line break".into()))?;
        value.set_sensitive(true);
        headers.insert(reqwest::header::AUTHORIZATION, value);
    }
    Ok(headers)
}

fn fault(error: reqwest::Error) -> HttpFault {
    let connect = error.is_connect();
    let timeout = error.is_timeout();
    let builder = error.is_builder();
    // The URL may hold what should not be logged; its chain of causes does not.
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    match (connect, timeout, builder) {
        (true, _, _) => HttpFault::NotConnected(text),
        (_, true, _) => HttpFault::TimedOut,
        (_, _, true) => HttpFault::Unsendable(text),
        _ => HttpFault::Lost(text),
    }
}
