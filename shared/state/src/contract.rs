//! What every store has to pass. Each function takes a maker of fresh, empty stores and panics where a promise of the
//! port is broken.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;

use crate::ports::{
    BlobStore, Condition, ConditionalStore, Item, ItemKey, PutOutcome, StoreError, TransactOp, TransactOutcome,
};

type Store = Arc<dyn ConditionalStore>;
type Blobs = Arc<dyn BlobStore>;

/// The whole suite for a [`ConditionalStore`].
pub async fn conditional_store<F: Future<Output = Store>>(make: impl Fn() -> F) {
    conditions_decide(make().await).await;
    refusals_change_nothing(make().await).await;
    keys_are_apart(make().await).await;
    items_keep_their_bytes(make().await).await;
    one_of_many_wins(make().await).await;
    a_chain_of_racing_writers_has_no_gap(make().await).await;
    queries_see_all_pages(make().await).await;
    transactions_are_all_or_nothing(make().await).await;
    transactions_only_check(make().await).await;
    transactions_race(make().await).await;
    refusals_are_complete(make().await).await;
    impossible_transactions_are_refused(make().await).await;
    only_the_version_named_is_removed(make().await).await;
    removals_race(make().await).await;
}

/// The whole suite for a [`BlobStore`].
pub async fn blob_store<F: Future<Output = Blobs>>(make: impl Fn() -> F) {
    objects_are_kept(make().await).await;
    objects_are_never_overwritten(make().await).await;
    objects_are_listed_and_deleted(make().await).await;
    wrong_names_are_refused(make().await).await;
}

fn item(version: u64, attempt: u128, data: &str) -> Item {
    Item { version, attempt, data: Bytes::copy_from_slice(data.as_bytes()) }
}

fn key(name: &str) -> ItemKey {
    ItemKey::new(format!("p#1#{name}"), "commit")
}

async fn applied(store: &Store, key: &ItemKey, item: Item, condition: Condition) {
    let outcome = store.put_if(key, item, condition).await.expect("an answer");
    assert_eq!(outcome, PutOutcome::Applied, "{key} {condition:?}");
}

async fn refused(store: &Store, key: &ItemKey, item: Item, condition: Condition, standing: Option<&Item>) {
    match store.put_if(key, item, condition).await.expect("an answer") {
        PutOutcome::Applied => panic!("{key} was written although {condition:?} does not hold"),
        PutOutcome::Refused(old) => assert_eq!(old.as_ref(), standing, "the item that stood in the way"),
    }
}

async fn conditions_decide(store: Store) {
    let key = key("a");
    assert_eq!(store.get(&key).await, Ok(None));
    refused(&store, &key, item(1, 1, "no"), Condition::Version(0), None).await;
    refused(&store, &key, item(1, 1, "no"), Condition::Version(1), None).await;
    applied(&store, &key, item(1, 10, "one"), Condition::Absent).await;
    assert_eq!(store.get(&key).await, Ok(Some(item(1, 10, "one"))));
    applied(&store, &key, item(5, 11, "five"), Condition::Version(1)).await;
    applied(&store, &key, item(6, 12, "six"), Condition::Version(5)).await;
    assert_eq!(store.get(&key).await, Ok(Some(item(6, 12, "six"))));
}

async fn refusals_change_nothing(store: Store) {
    let key = key("a");
    let stored = item(7, 70, "seven");
    applied(&store, &key, stored.clone(), Condition::Absent).await;
    for condition in [Condition::Absent, Condition::Version(6), Condition::Version(8), Condition::Version(0)] {
        refused(&store, &key, item(8, 80, "eight"), condition, Some(&stored)).await;
        assert_eq!(store.get(&key).await, Ok(Some(stored.clone())));
    }
    // The same request again shows the writer its own item.
    refused(&store, &key, stored.clone(), Condition::Absent, Some(&stored)).await;
}

async fn keys_are_apart(store: Store) {
    let keys = [("a", "b"), ("a", "bc"), ("ab", "c"), ("a#1", "b"), ("A", "b"), ("a", "ü"), ("a ", "b"), ("a%", "b")];
    for (i, (partition, sort)) in keys.iter().enumerate() {
        let version = i as u64 + 1;
        applied(&store, &ItemKey::new(*partition, *sort), item(version, 1, sort), Condition::Absent).await;
    }
    for (i, (partition, sort)) in keys.iter().enumerate() {
        let stored = store.get(&ItemKey::new(*partition, *sort)).await.expect("an answer").expect("an item");
        assert_eq!(stored.version, i as u64 + 1, "{partition}/{sort}");
    }
    let sorts: Vec<String> = store.query("a").await.expect("items").into_iter().map(|(key, _)| key.sort).collect();
    assert_eq!(sorts, ["b", "bc", "ü"]);
    assert_eq!(store.query("nothing").await, Ok(Vec::new()));
}

async fn items_keep_their_bytes(store: Store) {
    let all_bytes: Vec<u8> = (0..=255).collect();
    let large = all_bytes.repeat(1300);
    let extremes = [
        Item { version: 0, attempt: 0, data: Bytes::from_static(b"\0") },
        Item { version: i64::MAX as u64, attempt: u128::MAX, data: all_bytes.into() },
        Item { version: 1 << 53, attempt: 1 << 127, data: large.into() },
    ];
    for (i, item) in extremes.into_iter().enumerate() {
        let key = key(&i.to_string());
        applied(&store, &key, item.clone(), Condition::Absent).await;
        assert_eq!(store.get(&key).await, Ok(Some(item.clone())));
        refused(&store, &key, item.clone(), Condition::Absent, Some(&item)).await;
        let next = Item { version: item.version.min(1 << 60) + 1, ..item.clone() };
        applied(&store, &key, next, Condition::Version(item.version)).await;
    }
}

async fn one_of_many_wins(store: Store) {
    let key = key("a");
    let puts = (0..16u128).map(|attempt| store.put_if(&key, item(1, attempt, "x"), Condition::Absent));
    let winners: Vec<usize> = join_all(puts)
        .await
        .into_iter()
        .enumerate()
        .filter(|(_, outcome)| *outcome == Ok(PutOutcome::Applied))
        .map(|(i, _)| i)
        .collect();
    assert_eq!(winners.len(), 1, "writers {winners:?} all created the item");
    let stored = store.get(&key).await.expect("an answer").expect("an item");
    assert_eq!(stored.attempt, winners[0] as u128);
}

async fn a_chain_of_racing_writers_has_no_gap(store: Store) {
    let key = key("a");
    applied(&store, &key, item(0, 0, "x"), Condition::Absent).await;
    let write = |writer: u128| {
        let (store, key) = (store.clone(), key.clone());
        async move {
            let mut won = 0u64;
            while won < 5 {
                let seen = store.get(&key).await.expect("an answer").expect("an item").version;
                let put = store.put_if(&key, item(seen + 1, writer, "x"), Condition::Version(seen)).await;
                won += u64::from(put.expect("an answer") == PutOutcome::Applied);
            }
        }
    };
    join_all((1..=4).map(write)).await;
    assert_eq!(store.get(&key).await.expect("an answer").expect("an item").version, 20);
}

async fn queries_see_all_pages(store: Store) {
    // More than the megabyte that a page of DynamoDB has.
    let data = "x".repeat(60_000);
    for i in 0..40u64 {
        applied(&store, &ItemKey::new("wide", format!("{i:03}")), item(i, 1, &data), Condition::Absent).await;
    }
    let found = store.query("wide").await.expect("items");
    assert_eq!(found.len(), 40);
    for (i, (key, item)) in found.iter().enumerate() {
        assert_eq!((key.sort.as_str(), item.version), (format!("{i:03}").as_str(), i as u64));
    }
}

fn put(key: &ItemKey, item: Item, condition: Condition) -> TransactOp {
    TransactOp::Put { key: key.clone(), item, condition }
}

async fn transactions_are_all_or_nothing(store: Store) {
    let (a, b) = (key("a"), key("b"));
    let stored = item(1, 1, "a1");
    applied(&store, &a, stored.clone(), Condition::Absent).await;
    let ops = vec![put(&b, item(1, 2, "b1"), Condition::Absent), put(&a, item(2, 2, "a2"), Condition::Version(7))];
    match store.transact(ops).await.expect("an answer") {
        TransactOutcome::Applied => panic!("a transaction whose condition does not hold was applied"),
        TransactOutcome::Refused(refusals) => {
            assert_eq!(refusals.len(), 1);
            assert_eq!((refusals[0].op, refusals[0].old.as_ref()), (1, Some(&stored)));
        }
    }
    assert_eq!(store.get(&b).await, Ok(None));
    assert_eq!(store.get(&a).await, Ok(Some(stored)));
    let ops = vec![put(&b, item(1, 3, "b1"), Condition::Absent), put(&a, item(2, 3, "a2"), Condition::Version(1))];
    assert_eq!(store.transact(ops).await, Ok(TransactOutcome::Applied));
    assert_eq!(store.get(&a).await, Ok(Some(item(2, 3, "a2"))));
    assert_eq!(store.get(&b).await, Ok(Some(item(1, 3, "b1"))));
}

async fn transactions_only_check(store: Store) {
    let (a, b) = (key("a"), key("b"));
    applied(&store, &a, item(4, 1, "a"), Condition::Absent).await;
    let check = |condition| TransactOp::Check { key: a.clone(), condition };
    for wrong in [Condition::Absent, Condition::Version(3)] {
        let outcome = store.transact(vec![check(wrong), put(&b, item(1, 2, "b"), Condition::Absent)]).await;
        assert!(matches!(outcome, Ok(TransactOutcome::Refused(_))), "{outcome:?}");
    }
    assert_eq!(store.get(&b).await, Ok(None));
    let ops = vec![check(Condition::Version(4)), put(&b, item(1, 2, "b"), Condition::Absent)];
    assert_eq!(store.transact(ops).await, Ok(TransactOutcome::Applied));
    assert_eq!(store.get(&a).await, Ok(Some(item(4, 1, "a"))));
}

/// Every transaction adds one to both items, so they stay equal.
async fn transactions_race(store: Store) {
    let (a, b) = (key("a"), key("b"));
    applied(&store, &a, item(0, 0, "x"), Condition::Absent).await;
    applied(&store, &b, item(0, 0, "x"), Condition::Absent).await;
    let write = |writer: u128| {
        let (store, a, b) = (store.clone(), a.clone(), b.clone());
        async move {
            let mut won = 0;
            while won < 4 {
                let seen = store.get(&a).await.expect("an answer").expect("an item").version;
                let next = item(seen + 1, writer << 64 | u128::from(seen), "x");
                let ops =
                    vec![put(&a, next.clone(), Condition::Version(seen)), put(&b, next, Condition::Version(seen))];
                match store.transact(ops).await {
                    Ok(TransactOutcome::Applied) => won += 1,
                    Ok(TransactOutcome::Refused(_)) | Err(StoreError::Throttled) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
    };
    join_all((1..=3).map(write)).await;
    for key in [&a, &b] {
        assert_eq!(store.get(key).await.expect("an answer").expect("an item").version, 12);
    }
}

/// Whoever is refused for one item must know whether another was in the way, too.
async fn refusals_are_complete(store: Store) {
    let (a, b, c) = (key("a"), key("b"), key("c"));
    let (first, third) = (item(3, 1, "a"), item(5, 1, "c"));
    applied(&store, &a, first.clone(), Condition::Absent).await;
    applied(&store, &c, third.clone(), Condition::Absent).await;
    let ops = vec![
        put(&a, item(4, 2, "a"), Condition::Version(2)),
        put(&b, item(1, 2, "b"), Condition::Absent),
        put(&c, item(6, 2, "c"), Condition::Version(4)),
    ];
    match store.transact(ops).await.expect("an answer") {
        TransactOutcome::Applied => panic!("a transaction whose conditions do not hold was applied"),
        TransactOutcome::Refused(refusals) => {
            let told: Vec<_> = refusals.iter().map(|refusal| (refusal.op, refusal.old.as_ref())).collect();
            assert_eq!(told, [(0, Some(&first)), (2, Some(&third))]);
        }
    }
}

async fn only_the_version_named_is_removed(store: Store) {
    let (a, b) = (key("a"), key("b"));
    assert_eq!(store.delete_if(&a, 1).await, Ok(PutOutcome::Refused(None)));
    let stored = item(3, 1, "a");
    applied(&store, &a, stored.clone(), Condition::Absent).await;
    applied(&store, &b, item(3, 1, "b"), Condition::Absent).await;
    for wrong in [0, 2, 4] {
        assert_eq!(store.delete_if(&a, wrong).await, Ok(PutOutcome::Refused(Some(stored.clone()))));
        assert_eq!(store.get(&a).await, Ok(Some(stored.clone())));
    }
    assert_eq!(store.delete_if(&a, 3).await, Ok(PutOutcome::Applied));
    assert_eq!(store.get(&a).await, Ok(None));
    assert_eq!(store.query(&a.partition).await, Ok(Vec::new()));
    assert_eq!(store.delete_if(&a, 3).await, Ok(PutOutcome::Refused(None)));
    assert_eq!(store.get(&b).await, Ok(Some(item(3, 1, "b"))));
    applied(&store, &a, item(3, 2, "again"), Condition::Absent).await;
}

/// Of removals and a write on the same version, one takes effect.
async fn removals_race(store: Store) {
    for round in 0..8 {
        let key = key(&round.to_string());
        applied(&store, &key, item(1, 1, "x"), Condition::Absent).await;
        let (removed, removed_too, written) = futures::join!(
            store.delete_if(&key, 1),
            store.delete_if(&key, 1),
            store.put_if(&key, item(2, 2, "y"), Condition::Version(1))
        );
        let winners = [&removed, &removed_too, &written].map(|it| usize::from(*it == Ok(PutOutcome::Applied)));
        assert_eq!(winners.iter().sum::<usize>(), 1, "{removed:?} {removed_too:?} {written:?}");
        assert_eq!(store.get(&key).await.expect("an answer").is_some(), winners[2] == 1);
    }
}

async fn impossible_transactions_are_refused(store: Store) {
    let a = key("a");
    let twice = vec![put(&a, item(1, 1, "x"), Condition::Absent), put(&a, item(2, 1, "x"), Condition::Absent)];
    let many = (0..101).map(|i| put(&ItemKey::new("m", i.to_string()), item(1, 1, "x"), Condition::Absent)).collect();
    for ops in [Vec::new(), twice, many] {
        assert!(matches!(store.transact(ops).await, Err(StoreError::NotApplied(_))));
    }
    assert_eq!(store.get(&a).await, Ok(None));
    assert_eq!(store.query("m").await, Ok(Vec::new()));
}

async fn objects_are_kept(blobs: Blobs) {
    assert_eq!(blobs.get("p/none").await, Ok(None));
    let large: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
    for (name, data) in [("p/lane:1/a", Vec::new()), ("p/lane:1/b%20", b"b".to_vec()), ("p/large", large)] {
        let data = Bytes::from(data);
        blobs.put(name, data.clone()).await.expect("stored");
        assert_eq!(blobs.get(name).await, Ok(Some(data)), "{name}");
    }
}

async fn objects_are_never_overwritten(blobs: Blobs) {
    blobs.put("p/a", Bytes::from_static(b"first")).await.expect("stored");
    blobs.put("p/a", Bytes::from_static(b"second")).await.expect("done already");
    assert_eq!(blobs.get("p/a").await, Ok(Some(Bytes::from_static(b"first"))));
}

async fn objects_are_listed_and_deleted(blobs: Blobs) {
    assert_eq!(blobs.list("p").await, Ok(Vec::new()));
    for name in ["p/x/2", "p/x/1", "p/xy/3", "q/x/4"] {
        blobs.put(name, Bytes::from_static(b"x")).await.expect("stored");
    }
    assert_eq!(blobs.list("p").await, Ok(vec!["p/x/1".into(), "p/x/2".into(), "p/xy/3".into()]));
    assert_eq!(blobs.list("p/x").await, Ok(vec!["p/x/1".into(), "p/x/2".into()]));
    blobs.delete("p/x/1").await.expect("deleted");
    blobs.delete("p/x/1").await.expect("deleted already");
    assert_eq!(blobs.get("p/x/1").await, Ok(None));
    assert_eq!(blobs.list("p/x").await, Ok(vec!["p/x/2".into()]));
}

async fn wrong_names_are_refused(blobs: Blobs) {
    for name in ["", "/a", "a/", "a//b", "../a", "a/../b", "a/.b", "a b", "a\\b", "a\0"] {
        assert!(matches!(blobs.put(name, Bytes::new()).await, Err(StoreError::NotApplied(_))), "{name}");
        assert!(matches!(blobs.get(name).await, Err(StoreError::NotApplied(_))), "{name}");
    }
}

/// The table of a stand-in of DynamoDB, made as the template makes it.
///
/// # Panics
/// When it cannot be made.
#[cfg(feature = "dynamodb")]
pub async fn dynamodb_table(client: &aws_sdk_dynamodb::Client, name: &str) -> crate::dynamodb::DynamoStore {
    use aws_sdk_dynamodb::types::{AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType};

    let key = |name: &str, kind| {
        KeySchemaElement::builder().attribute_name(name).key_type(kind).build().expect("a part of a table")
    };
    let text = |name: &str| {
        AttributeDefinition::builder()
            .attribute_name(name)
            .attribute_type(ScalarAttributeType::S)
            .build()
            .expect("a part of a table")
    };
    client
        .create_table()
        .table_name(name)
        .key_schema(key("pk", KeyType::Hash))
        .key_schema(key("sk", KeyType::Range))
        .attribute_definitions(text("pk"))
        .attribute_definitions(text("sk"))
        .billing_mode(BillingMode::PayPerRequest)
        .send()
        .await
        .expect("a table");
    crate::dynamodb::DynamoStore::new(client.clone(), name)
}
