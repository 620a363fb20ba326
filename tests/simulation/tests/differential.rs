//! The simulated store against an emulator of DynamoDB, which the real SDK client talks to: the same random requests, the
//! same answers.
//!
//! One difference is known and left out: a transaction of checks alone, sent again within ten minutes, gets its first
//! answer from DynamoDB. The protocol has none: each of its transactions puts an item with a token of its own.
//!
//! `TIDEGATE_DIFFERENTIAL=200000` sends more of them, `TIDEGATE_SEED=7` others.
#![allow(
    clippy::disallowed_methods,
    reason = "the emulator runs beside the test; the budget comes from the environment"
)]
#![allow(clippy::print_stderr, reason = "the report")]

use std::net::SocketAddr;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use tidegate_simulation::Alone;
use tidegate_simulation::draw::Draw;
use tidegate_state::dynamodb::{DynamoStore, tuned};
use tidegate_state::{Condition, ConditionalStore, Item, ItemKey, TransactOp, contract};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

async fn emulator() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let database = dynoxide::Database::memory().unwrap();
    tokio::spawn(async move { dynoxide::server::serve_on(listener, database).await });
    address
}

async fn store() -> DynamoStore {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(format!("http://{}", emulator().await))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .http_client(aws_smithy_http_client::Builder::new().build_http());
    let client = Client::from_conf(tuned(config).build());
    contract::dynamodb_table(&client, "table").await
}

fn key(draw: &mut Draw) -> ItemKey {
    ItemKey::new(format!("p{}", draw.below(3)), format!("s{}", draw.below(3)))
}

fn item(draw: &mut Draw) -> Item {
    let mut data: Vec<u8> = Vec::new();
    data.resize_with(draw.within(9, 40) as usize, || draw.number() as u8);
    // The first byte of an item is its format, which the simulated world looks at.
    data[0] = 1;
    let attempt = u128::from(draw.number()) << 64 | u128::from(draw.number());
    Item { version: draw.below(4), attempt, data: data.into() }
}

fn condition(draw: &mut Draw) -> Condition {
    if draw.percent(40) { Condition::Absent } else { Condition::Version(draw.below(4)) }
}

fn transaction(draw: &mut Draw) -> Vec<TransactOp> {
    let mut ops: Vec<TransactOp> = Vec::new();
    for _ in 0..draw.within(1, 4) {
        let key = key(draw);
        if ops.iter().any(|op| *op.key() == key) {
            continue;
        }
        let condition = condition(draw);
        // Never checks alone: the client's token of a transaction is made of its content, and a put is never the same.
        ops.push(match ops.is_empty() || draw.percent(60) {
            true => TransactOp::Put { key, item: item(draw), condition },
            false => TransactOp::Check { key, condition },
        });
    }
    ops
}

#[tokio::test]
async fn the_simulated_store_answers_as_dynamodb_does() {
    let (requests, seed) = (number("TIDEGATE_DIFFERENTIAL", 1_500), number("TIDEGATE_SEED", 0));
    let (real, mut simulated, mut draw) = (store().await, Alone::default(), Draw::new(seed));
    let (mut different, mut applied) = (Vec::new(), 0);
    for request in 0..requests {
        let (said, expected, what) = match draw.below(10) {
            0..4 => {
                let (key, item, condition) = (key(&mut draw), item(&mut draw), condition(&mut draw));
                let what = format!("put {key} {condition:?}");
                let expected = simulated.put_if(&key, &item, condition);
                (
                    format!("{:?}", real.put_if(&key, item, condition).await),
                    format!("{:?}", Ok::<_, ()>(expected)),
                    what,
                )
            }
            4..7 => {
                let ops = transaction(&mut draw);
                let (expected, what) = (simulated.transact(&ops), format!("transact {ops:?}"));
                (format!("{:?}", real.transact(ops).await), format!("{:?}", Ok::<_, ()>(expected)), what)
            }
            7 => {
                let (key, version) = (key(&mut draw), draw.below(4));
                let expected = simulated.delete_if(&key, version);
                let said = format!("{:?}", real.delete_if(&key, version).await);
                (said, format!("{:?}", Ok::<_, ()>(expected)), format!("delete {key} {version}"))
            }
            8 => {
                let key = key(&mut draw);
                let expected = format!("{:?}", Ok::<_, ()>(simulated.get(&key)));
                (format!("{:?}", real.get(&key).await), expected, format!("get {key}"))
            }
            _ => {
                let partition = format!("p{}", draw.below(3));
                let expected = format!("{:?}", Ok::<_, ()>(simulated.query(&partition)));
                (format!("{:?}", real.query(&partition).await), expected, format!("query {partition}"))
            }
        };
        applied += u64::from(said.contains("Applied"));
        if said != expected {
            different.push(format!("request {request}, {what}: DynamoDB {said}, simulated {expected}"));
        }
    }
    eprintln!("{requests} requests, {applied} took effect, {} answers differ", different.len());
    assert!(applied > requests / 20, "the requests were hardly ever good for anything");
    assert!(different.is_empty(), "{}", different[..different.len().min(5)].join("\n"));
}
