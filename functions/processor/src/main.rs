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
    let runtime = setup::runtime(&settings?, Arc::clone(&clock)).await?;
    let bodies = Bodies::default();
    let handler = |event: LambdaEvent<()>| handle(&runtime, clock.as_ref(), &bodies, event);
    lambda_runtime::Runtime::new(service_fn(handler)).layer(BodyLayer(bodies.clone())).run().await
}

async fn handle(
    runtime: &Runtime,
    clock: &dyn Clock,
    bodies: &Bodies,
    event: LambdaEvent<()>,
) -> Result<Response, Diagnostic> {
    let started = clock.elapsed();
    let body = bodies.take(&event.context.request_id);
    let deadline = Timestamp::from_millis(i64::try_from(event.context.deadline).unwrap_or(i64::MAX));
    let invocation = runtime.invoke(&body, deadline.since(clock.now())).await;
    let pipeline = &runtime.pipeline().file.name;
    setup::print_line(&metrics::embedded_metrics(pipeline, &invocation, clock.elapsed() - started, clock.now()));
    report(pipeline, &invocation);
    invocation.answer.map_err(|error| Diagnostic {
        error_type: format!("Tidegate.{:?}", error.kind()),
        error_message: error.to_string(),
    })
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
