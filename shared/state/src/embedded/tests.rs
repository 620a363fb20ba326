use bytes::Bytes;
use futures::executor::block_on;
use tidegate_core::ErrorKind;

use super::*;

fn item(version: u64, bytes: usize) -> Item {
    Item { version, attempt: 1, data: Bytes::from(vec![7; bytes]) }
}

fn open(folder: &Path) -> Result<EmbeddedStore> {
    EmbeddedStore::open(folder, Durability::PowerCut)
}

fn key(sort: &str) -> ItemKey {
    ItemKey::new("p", sort)
}

fn put(store: &EmbeddedStore, sort: &str, bytes: usize) -> Result<PutOutcome, StoreError> {
    block_on(store.put_if(&key(sort), item(1, bytes), Condition::Absent))
}

#[test]
fn two_writers_are_kept_apart() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path()).unwrap();
    let error = open(folder.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
    let text = error.to_string();
    assert!(text.contains(&format!("in use by another process (process {})", std::process::id())), "{text}");
    drop(first);
    open(folder.path()).unwrap();
}

#[test]
fn readers_see_what_is_committed_and_write_nothing() {
    let folder = tempfile::tempdir().unwrap();
    assert!(EmbeddedStore::open_read_only(folder.path()).unwrap().is_none());
    let writer = open(folder.path()).unwrap();
    assert_eq!(put(&writer, "a", 10), Ok(PutOutcome::Applied));
    let reader = EmbeddedStore::open_read_only(folder.path()).unwrap().unwrap();
    assert_eq!(block_on(reader.get(&key("a"))), Ok(Some(item(1, 10))));
    assert_eq!(put(&writer, "b", 20), Ok(PutOutcome::Applied));
    assert_eq!(block_on(reader.get(&key("b"))), Ok(Some(item(1, 20))));
    assert!(matches!(put(&reader, "c", 1), Err(StoreError::NotApplied(_))));
    drop((writer, reader));
    // And when nobody writes.
    let reader = EmbeddedStore::open_read_only(folder.path()).unwrap().unwrap();
    assert_eq!(block_on(reader.query("p")).unwrap().len(), 2);
    // Which does not keep a writer out.
    open(folder.path()).unwrap();
}

#[test]
fn commits_are_as_durable_as_asked() {
    let folder = tempfile::tempdir().unwrap();
    // FULL is 2, NORMAL is 1. The folder says nothing about it: each opening does.
    for (durability, expected) in [(Durability::PowerCut, 2), (Durability::Process, 1), (Durability::PowerCut, 2)] {
        let store = EmbeddedStore::open(&folder.path().join("a/b"), durability).unwrap();
        let found: i64 = store.lock().pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
        assert_eq!(found, expected, "{durability:?}");
    }
}

#[test]
fn a_full_disk_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    assert_eq!(put(&store, "before", 1000), Ok(PutOutcome::Applied));
    store.lock().pragma_update(None, "max_page_count", 20).unwrap();
    let full = put(&store, "large", 1 << 20);
    assert!(matches!(full, Err(StoreError::Full(_))), "{full:?}");
    let ops = vec![TransactOp::Put { key: key("other"), item: item(1, 1 << 20), condition: Condition::Absent }];
    assert!(matches!(block_on(store.transact(ops)), Err(StoreError::Full(_))));
    assert_eq!(block_on(store.get(&key("before"))), Ok(Some(item(1, 1000))));
    assert_eq!(block_on(store.get(&key("large"))), Ok(None));
    store.lock().pragma_update(None, "max_page_count", 1 << 20).unwrap();
    assert_eq!(put(&store, "large", 1 << 20), Ok(PutOutcome::Applied));
    let error = Error::from(StoreError::Full("x".into()));
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.help().unwrap().contains("what was committed is intact"));
}

#[test]
fn a_damaged_file_is_named_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(DATABASE_FILE);
    std::fs::write(&file, vec![b'x'; 10_000]).unwrap();
    for error in [open(folder.path()).unwrap_err(), EmbeddedStore::open_read_only(folder.path()).unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert!(error.to_string().contains("damaged"), "{error}");
    }
    assert_eq!(std::fs::read(&file).unwrap(), vec![b'x'; 10_000]);
}

#[test]
fn a_newer_layout_is_fenced() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    store.lock().pragma_update(None, "user_version", SCHEMA + 1).unwrap();
    drop(store);
    let error = open(folder.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
    assert!(error.to_string().contains("upgrade Tidegate"), "{error}");
}

#[test]
fn a_file_in_place_of_the_folder_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, "x").unwrap();
    let error = open(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("file"), "{error}");
}
