//! The DynamoDB store, through the real SDK client, against an emulator of DynamoDB's semantics behind HTTP.
#![allow(clippy::disallowed_methods, reason = "the emulator runs beside the test")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Builder, Credentials, Region};
use bytes::Bytes;
use tidegate_core::random::StdRandom;
use tidegate_core::time::SystemClock;
use tidegate_core::{LaneId, Position};
use tidegate_state::dynamodb::{DynamoStore, MAX_ITEM, tuned};
use tidegate_state::memory::MemoryBlobs;
use tidegate_state::{
    CommitOutcome, Condition, ConditionalStore, Draft, Item, ItemKey, LaneLimit, LoadRules, ManifestOutcome, Pipeline,
    Ports, StateOptions, StoreError, contract,
};

async fn emulator() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let database = dynoxide::Database::memory().unwrap();
    tokio::spawn(async move { dynoxide::server::serve_on(listener, database).await });
    address
}

fn config(address: SocketAddr) -> Builder {
    let builder = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(format!("http://{address}"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .http_client(aws_smithy_http_client::Builder::new().build_http());
    tuned(builder)
}

#[tokio::test]
async fn passes_the_contract() {
    let client = Client::from_conf(config(emulator().await).build());
    let next = AtomicU32::new(0);
    contract::conditional_store(|| async {
        let name = format!("table-{}", next.fetch_add(1, Ordering::Relaxed));
        Arc::new(contract::dynamodb_table(&client, &name).await) as Arc<dyn ConditionalStore>
    })
    .await;
}

#[tokio::test]
async fn a_lane_lives_in_it() {
    let client = Client::from_conf(config(emulator().await).build());
    let ports = Ports {
        store: Arc::new(contract::dynamodb_table(&client, "state").await),
        blobs: Arc::new(MemoryBlobs::new()),
        clock: Arc::new(SystemClock::default()),
        random: Arc::new(StdRandom::seeded(1)),
    };
    let options = StateOptions { ring: 4, ..StateOptions::default() };
    let pipeline = Pipeline::open(ports.clone(), "p", options.clone()).await.unwrap();
    let id = LaneId::new("orders", "0");
    let mut lane = pipeline.load(&id, LoadRules::default()).await.unwrap().lane;
    for n in 1..=20u64 {
        let draft = Draft {
            positions: [("0".to_owned(), Position::new(n))].into(),
            delta: Bytes::from(vec![n as u8; 10]),
            ..Draft::default()
        };
        assert_eq!(lane.commit(draft, LaneLimit::Single).await.unwrap(), CommitOutcome::Committed);
        if lane.manifest_due() {
            let snapshot = Bytes::from(n.to_string());
            assert_eq!(lane.write_manifest(snapshot).await.unwrap(), ManifestOutcome::Written);
        }
    }
    let again = Pipeline::open(ports, "p", options).await.unwrap();
    assert_eq!(again.incarnation(), pipeline.incarnation());
    let loaded = again.load(&id, LoadRules::default()).await.unwrap();
    assert_eq!(loaded.lane.head().n, 20);
    assert_eq!(loaded.lane.manifest_number(), 20);
    let other = LaneId::new("orders", "1");
    let mut other = again.load(&other, LoadRules::default()).await.unwrap().lane;
    let error = other.commit(Draft::default(), LaneLimit::Single).await.unwrap_err();
    assert_eq!(error.kind(), tidegate_core::ErrorKind::Invalid);
}

fn item(bytes: usize) -> Item {
    Item { version: 1, attempt: 1, data: vec![0; bytes].into() }
}

#[tokio::test]
async fn errors_say_what_may_have_happened() {
    let address = emulator().await;
    let client = Client::from_conf(config(address).build());
    let key = ItemKey::new("a", "b");
    let missing = DynamoStore::new(client.clone(), "no-such-table");
    assert!(matches!(missing.get(&key).await, Err(StoreError::NotApplied(_))));
    assert!(matches!(missing.put_if(&key, item(1), Condition::Absent).await, Err(StoreError::NotApplied(_))));
    let store = contract::dynamodb_table(&client, "state").await;
    let large = store.put_if(&key, item(MAX_ITEM), Condition::Absent).await;
    assert!(matches!(large, Err(StoreError::TooLarge { .. })), "{large:?}");
}

#[tokio::test]
async fn silence_is_unknown() {
    // A listener that accepts and never answers.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let timeouts = TimeoutConfig::builder()
        .operation_attempt_timeout(Duration::from_millis(50))
        .operation_timeout(Duration::from_millis(200))
        .build();
    let config = config(listener.local_addr().unwrap()).timeout_config(timeouts);
    let store = DynamoStore::new(Client::from_conf(config.build()), "state");
    let key = ItemKey::new("a", "b");
    let put = store.put_if(&key, item(1), Condition::Absent).await;
    assert!(matches!(put, Err(StoreError::Unknown(_))), "{put:?}");
    drop(listener);
    let put = store.put_if(&key, item(1), Condition::Absent).await;
    assert!(matches!(put, Err(StoreError::Unknown(_))), "{put:?}");
}
