//! The local stores pass the contract.

use std::sync::Arc;

use tidegate_state::embedded::{Durability, EmbeddedStore};
use tidegate_state::faults::FaultyStore;
use tidegate_state::folder::FolderBlobs;
use tidegate_state::memory::{MemoryBlobs, MemoryStore};
use tidegate_state::{BlobStore, ConditionalStore, contract};

#[tokio::test]
async fn memory() {
    contract::conditional_store(|| async { Arc::new(MemoryStore::new()) as Arc<dyn ConditionalStore> }).await;
    contract::blob_store(|| async { Arc::new(MemoryBlobs::new()) as Arc<dyn BlobStore> }).await;
}

#[tokio::test]
async fn faulty_without_faults() {
    contract::conditional_store(|| async {
        Arc::new(FaultyStore::new(MemoryStore::new())) as Arc<dyn ConditionalStore>
    })
    .await;
}

#[tokio::test]
async fn embedded() {
    let folder = tempfile::tempdir().unwrap();
    let next = std::sync::atomic::AtomicU32::new(0);
    contract::conditional_store(|| async {
        let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let store = EmbeddedStore::open(&folder.path().join(number.to_string()), Durability::Process).unwrap();
        Arc::new(store) as Arc<dyn ConditionalStore>
    })
    .await;
}

#[tokio::test]
async fn folder() {
    let folder = tempfile::tempdir().unwrap();
    let next = std::sync::atomic::AtomicU32::new(0);
    contract::blob_store(|| async {
        let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Arc::new(FolderBlobs::new(folder.path().join(number.to_string()))) as Arc<dyn BlobStore>
    })
    .await;
}
