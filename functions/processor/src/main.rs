//! The Lambda function: Kinesis and Kafka events in, requests to targets out.
//!
//! The environment is read once into [`settings::Settings`]; an invocation is handed to `tidegate_runtime`.

mod body;
mod kinesis;
mod settings;
mod setup;

use std::process::ExitCode;
use std::sync::Arc;

use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use tidegate_core::{Clock, Error, ErrorKind, Timestamp};
use tidegate_runtime::invoke::{Invocation, Response};
use tidegate_runtime::{Runtime, metrics};
use tokio::sync::Mutex;

use body::{Bodies, BodyLayer};
use settings::Settings;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    setup::start_logging();
    match serve(Settings::from_process()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %error, "the function cannot start");
            ExitCode::FAILURE
        }
    }
}

async fn serve(settings: Result<Settings, Error>) -> Result<(), lambda_runtime::Error> {
    let clock: Arc<dyn Clock> = Arc::new(tidegate_core::time::SystemClock::default());
    let environment = Environment::open(settings?, clock).await?;
    let bodies = Bodies::default();
    let handler = |event: LambdaEvent<()>| handle(&environment, &bodies, event);
    lambda_runtime::Runtime::new(service_fn(handler)).layer(BodyLayer(bodies.clone())).run().await
}

/// The execution environment: what is opened once, and again when the state has moved on to a new generation.
struct Environment {
    settings: Settings,
    clock: Arc<dyn Clock>,
    runtime: Mutex<Option<Arc<Runtime>>>,
}

impl Environment {
    async fn open(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let environment = Self { settings, clock, runtime: Mutex::new(None) };
        environment.runtime().await?;
        Ok(environment)
    }

    async fn runtime(&self) -> Result<Arc<Runtime>, Error> {
        let mut runtime = self.runtime.lock().await;
        if let Some(runtime) = &*runtime {
            return Ok(Arc::clone(runtime));
        }
        let opened = Arc::new(setup::runtime(&self.settings, Arc::clone(&self.clock)).await?);
        *runtime = Some(Arc::clone(&opened));
        Ok(opened)
    }

    /// The next event opens the state again.
    async fn close(&self) {
        self.runtime.lock().await.take();
    }
}

async fn handle(environment: &Environment, bodies: &Bodies, event: LambdaEvent<()>) -> Result<Response, Diagnostic> {
    let clock = environment.clock.as_ref();
    let started = clock.elapsed();
    let runtime = environment.runtime().await.map_err(diagnostic)?;
    let body = bodies.take(&event.context.request_id);
    let deadline = Timestamp::from_millis(i64::try_from(event.context.deadline).unwrap_or(i64::MAX));
    let invocation = runtime.invoke(&body, deadline.since(clock.now())).await;
    let pipeline = &runtime.pipeline().file.name;
    setup::print_line(&metrics::embedded_metrics(pipeline, &invocation, clock.elapsed() - started, clock.now()));
    report(pipeline, &invocation);
    if invocation.outdated {
        environment.close().await;
    }
    invocation.answer.map_err(diagnostic)
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn diagnostic(error: Error) -> Diagnostic {
    Diagnostic { error_type: format!("Tidegate.{:?}", error.kind()), error_message: error.to_string() }
}

/// What failed, for the log. A passing fault is a warning: the source delivers again.
fn report(pipeline: &str, invocation: &Invocation) {
    for (partition, error) in &invocation.failed {
        match error.kind() {
            ErrorKind::Unavailable => tracing::warn!(pipeline, partition, error = %error, "partition not done"),
            _ => tracing::error!(pipeline, partition, error = %error, "partition needs attention"),
        }
    }
    for (source, error) in &invocation.not_closed {
        tracing::warn!(pipeline, source, error = %error, "windows are sealed but not closed yet");
    }
    if let (Err(error), true) = (&invocation.answer, invocation.failed.is_empty()) {
        tracing::error!(pipeline, error = %error, "event refused");
    }
}
