//! The event's bytes as they came, past the Lambda library's own JSON reading.
//!
//! An event of 6 MB is read once, by `tidegate_source`. The layer takes the body out of the invocation, keeps it under
//! the request id, and leaves `null` behind for the library to read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use lambda_runtime::LambdaInvocation;
use tower::{Layer, Service};

/// Bodies of invocations that are under way, by request id.
#[derive(Clone, Default)]
pub struct Bodies(Arc<Mutex<HashMap<String, Bytes>>>);

impl Bodies {
    /// The body of an invocation; empty if there is none.
    pub fn take(&self, request_id: &str) -> Bytes {
        self.lock().remove(request_id).unwrap_or_default()
    }

    fn put(&self, request_id: &str, body: Bytes) {
        self.lock().insert(request_id.to_owned(), body);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts bodies aside.
#[derive(Clone)]
pub struct BodyLayer(pub Bodies);

impl<S> Layer<S> for BodyLayer {
    type Service = BodyService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        BodyService { bodies: self.0.clone(), inner }
    }
}

/// See [`BodyLayer`].
#[derive(Clone)]
pub struct BodyService<S> {
    bodies: Bodies,
    inner: S,
}

impl<S: Service<LambdaInvocation>> Service<LambdaInvocation> for BodyService<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut invocation: LambdaInvocation) -> Self::Future {
        let body = std::mem::replace(&mut invocation.body, Bytes::from_static(b"null"));
        self.bodies.put(&invocation.context.request_id, body);
        self.inner.call(invocation)
    }
}
