//! The DynamoDB and S3 stores, through the real SDK clients, against MiniStack, a stand-in of another make than the
//! emulator of `dynamodb.rs`. Skipped where it cannot be installed; in CI that is a failure.
#![allow(clippy::print_stdout, reason = "says when it is skipped")]

#[path = "../../../tests/suite/stand_in.rs"]
mod stand_in;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use bytes::Bytes;
use stand_in::StandIn;
use tidegate_core::random::StdRandom;
use tidegate_core::time::SystemClock;
use tidegate_core::{LaneId, Position};
use tidegate_state::dynamodb::tuned;
use tidegate_state::s3::S3Blobs;
use tidegate_state::{
    BlobStore, CommitOutcome, ConditionalStore, Draft, LaneLimit, LoadRules, ManifestOutcome, Pipeline, Ports,
    StateOptions, contract,
};

const BUCKET: &str = "large";

fn start() -> Option<StandIn> {
    StandIn::start(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
}

fn dynamo(url: &str) -> aws_sdk_dynamodb::Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(url)
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .http_client(aws_smithy_http_client::Builder::new().build_http());
    aws_sdk_dynamodb::Client::from_conf(tuned(config).build())
}

async fn bucket(url: &str) -> aws_sdk_s3::Client {
    use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(url)
        .force_path_style(true)
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .http_client(aws_smithy_http_client::Builder::new().build_http());
    let client = aws_sdk_s3::Client::from_conf(config.build());
    client.create_bucket().bucket(BUCKET).send().await.unwrap();
    client
}

#[tokio::test]
async fn dynamodb_passes_the_contract() {
    let Some(server) = start() else { return };
    let client = dynamo(&server.url);
    let next = AtomicU32::new(0);
    contract::conditional_store(|| async {
        let name = format!("table-{}", next.fetch_add(1, Ordering::Relaxed));
        Arc::new(contract::dynamodb_table(&client, &name).await) as Arc<dyn ConditionalStore>
    })
    .await;
}

#[tokio::test]
async fn s3_passes_the_contract() {
    let Some(server) = start() else { return };
    let client = bucket(&server.url).await;
    let next = AtomicU32::new(0);
    contract::blob_store(|| async {
        let prefix = format!("store-{}/", next.fetch_add(1, Ordering::Relaxed));
        Arc::new(S3Blobs::new(client.clone(), BUCKET, prefix)) as Arc<dyn BlobStore>
    })
    .await;
}

#[tokio::test]
async fn a_lane_spills_into_the_bucket() {
    let Some(server) = start() else { return };
    let s3 = bucket(&server.url).await;
    let ports = Ports {
        store: Arc::new(contract::dynamodb_table(&dynamo(&server.url), "state").await),
        blobs: Arc::new(S3Blobs::new(s3.clone(), BUCKET, "tidegate/")),
        clock: Arc::new(SystemClock::default()),
        random: Arc::new(StdRandom::seeded(1)),
    };
    let options = StateOptions { ring: 4, inline_limit: 1_000, ..StateOptions::default() };
    let pipeline = Pipeline::open(ports.clone(), "p", options.clone()).await.unwrap();
    let id = LaneId::new("orders", "0");
    let mut lane = pipeline.load(&id, LoadRules::default()).await.unwrap().lane;
    // Does not compress.
    let mut noise = 1u64;
    let mut delta = Vec::new();
    for n in 1..=6u64 {
        delta.clear();
        while delta.len() < 300_000 {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            delta.extend_from_slice(&noise.to_be_bytes()[..4]);
        }
        let draft = Draft {
            positions: [("0".to_owned(), Position::new(n))].into(),
            delta: Bytes::from(delta.clone()),
            ..Draft::default()
        };
        assert_eq!(lane.commit(draft, LaneLimit::Single).await.unwrap(), CommitOutcome::Committed);
        if lane.manifest_due() {
            let snapshot = Bytes::from(delta.clone());
            assert_eq!(lane.write_manifest(snapshot).await.unwrap(), ManifestOutcome::Written);
        }
    }
    let objects = s3.list_objects_v2().bucket(BUCKET).prefix("tidegate/").send().await.unwrap();
    assert!(objects.contents().len() >= 6, "{} objects", objects.contents().len());
    let again = Pipeline::open(ports, "p", options).await.unwrap();
    let loaded = again.load(&id, LoadRules::default()).await.unwrap();
    assert_eq!(loaded.lane.head().n, 6);
    let newest = loaded.deltas.last().map_or(loaded.snapshot.as_ref(), Some);
    assert_eq!(newest.map(Bytes::as_ref), Some(&delta[..]));
}
