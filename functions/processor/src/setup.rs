//! From settings to a runtime: AWS clients, ports, the planned pipeline.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::timeout::TimeoutConfig;
use tidegate_core::random::StdRandom;
use tidegate_core::{Clock, Error, Result};
use tidegate_delivery::aws_secrets::AwsSecrets;
use tidegate_delivery::sqs::SqsDeadLetters;
use tidegate_delivery::{
    CachedSecrets, DEFAULT_SECRET_TTL, DeadLetterFile, DeadLetterStore, ReqwestTransport, Secrets, Sender, SenderPorts,
};
use tidegate_runtime::config::{self, DeadLetters};
use tidegate_runtime::{PipelineFile, PlannedPipeline, Ports, Runtime, RuntimeOptions, TickOptions};
use tidegate_state::dynamodb::{self, DynamoStore};
use tidegate_state::s3::S3Blobs;

use crate::kinesis::{self, KinesisStreams};
use crate::settings::Settings;

/// Prefix of every object in the bucket.
const BLOB_PREFIX: &str = "tidegate/";
/// How long an answer of S3, SQS, Secrets Manager or SSM is waited for, and how long with the SDK's own repeats. The
/// largest objects are snapshots. DynamoDB is given less, see `dynamodb::tuned`.
const AWS_CONNECT: Duration = Duration::from_secs(2);
const AWS_ATTEMPT: Duration = Duration::from_secs(10);
const AWS_OPERATION: Duration = Duration::from_secs(30);

/// Logs are JSON lines on standard error; `RUST_LOG` chooses what.
pub fn start_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,aws_config=warn"));
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_current_span(false)
        .init();
}

/// One line on standard output, which Lambda passes to CloudWatch. Nobody can be told when that fails.
pub fn print_line(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Opens the pipeline's state and makes it ready to run.
pub async fn runtime(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Runtime> {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(AWS_CONNECT)
        .operation_attempt_timeout(AWS_ATTEMPT)
        .operation_timeout(AWS_OPERATION)
        .build();
    let aws = aws_config::from_env().timeout_config(timeouts).load().await;
    let s3 = aws_sdk_s3::Client::from_conf(
        aws_sdk_s3::config::Builder::from(&aws).force_path_style(settings.path_style()).build(),
    );
    let file = load_file(settings, &s3).await?;
    let pipeline = PlannedPipeline::new(file, None).map_err(Error::from)?.of_topics();
    let random = Arc::new(StdRandom::from_os());
    let sender = Sender::new(SenderPorts {
        http: Arc::new(ReqwestTransport::new()?),
        clock: Arc::clone(&clock),
        random: random.clone(),
        secrets: Arc::new(CachedSecrets::new(secrets(settings, &aws), Arc::clone(&clock), DEFAULT_SECRET_TTL)),
        dead_letters: dead_letters(settings, &pipeline.file, &aws),
    });
    let table = dynamodb::tuned(aws_sdk_dynamodb::config::Builder::from(&aws)).build();
    let state = tidegate_state::Ports {
        store: Arc::new(DynamoStore::new(aws_sdk_dynamodb::Client::from_conf(table), &settings.table)),
        blobs: Arc::new(S3Blobs::new(s3, &settings.bucket, BLOB_PREFIX)),
        clock: Arc::clone(&clock),
        random: random.clone(),
    };
    let streams = kinesis::tuned(aws_sdk_kinesis::config::Builder::from(&aws)).build();
    let streams = Arc::new(KinesisStreams::new(aws_sdk_kinesis::Client::from_conf(streams)));
    let rest_after = settings.rest_after.unwrap_or(TickOptions::default().rest_after);
    let options = RuntimeOptions { tick: TickOptions { rest_after }, ..RuntimeOptions::default() };
    Runtime::open(pipeline, Ports { state, clock, random, streams: Some(streams) }, sender, options).await
}

/// The pipeline file: beside the function's code, or an object in S3.
async fn load_file(settings: &Settings, s3: &aws_sdk_s3::Client) -> Result<PipelineFile> {
    let name = &settings.pipeline;
    let unreadable = || {
        Error::invalid(format!("the pipeline file {name} cannot be read"))
            .with_help("TIDEGATE_PIPELINE names a file of the function's package, or s3://BUCKET/KEY")
    };
    let text = match name.strip_prefix("s3://").and_then(|path| path.split_once('/')) {
        None => std::fs::read_to_string(name).map_err(|error| unreadable().with_source(error))?,
        Some((bucket, key)) => {
            let object = s3.get_object().bucket(bucket).key(key).send().await;
            let object = object.map_err(|error| unreadable().with_source(error.into_service_error()))?;
            let bytes = object.body.collect().await.map_err(|error| unreadable().with_source(error))?;
            String::from_utf8(bytes.to_vec()).map_err(|error| unreadable().with_source(error))?
        }
    };
    config::load(name, &text, &|variable| settings.environment.get(variable).cloned()).map_err(Error::from)
}

fn secrets(settings: &Settings, aws: &SdkConfig) -> Secrets {
    let environment = settings.environment.clone();
    let store = AwsSecrets::new(aws_sdk_secretsmanager::Client::new(aws), aws_sdk_ssm::Client::new(aws));
    Secrets::new(Arc::new(move |name: &str| environment.get(name).cloned())).with_aws(Arc::new(store))
}

/// The queue of the pipeline file, else that of the environment. `None`: a dead letter stops its lane.
fn dead_letters(settings: &Settings, file: &PipelineFile, aws: &SdkConfig) -> Option<Arc<dyn DeadLetterStore>> {
    let queue = match &file.dead_letters {
        Some(DeadLetters::File(path)) => return Some(Arc::new(DeadLetterFile { path: path.clone() })),
        Some(DeadLetters::Sqs(queue)) => Some(queue),
        None => settings.dead_letter_queue.as_ref(),
    };
    Some(Arc::new(SqsDeadLetters::new(aws_sdk_sqs::Client::new(aws), queue?)))
}
