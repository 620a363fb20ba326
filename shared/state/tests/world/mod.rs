//! A lane over the memory store with scripted faults.
#![allow(dead_code, reason = "each suite takes what it needs")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tidegate_core::random::StdRandom;
use tidegate_core::{Clock, EffectId, LaneId, OutboxEntry, Position, RequestIndex, Timestamp};
use tidegate_state::faults::FaultyStore;
use tidegate_state::memory::{MemoryBlobs, MemoryStore};
use tidegate_state::{
    CommitOutcome, Draft, Item, Lane, LaneLimit, LoadRules, Loaded, ManifestOutcome, Pipeline, Ports, Range,
    StateOptions,
};

pub struct NoWait;

#[async_trait]
impl Clock for NoWait {
    fn now(&self) -> Timestamp {
        Timestamp(0)
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }

    async fn sleep(&self, _: Duration) {}
}

pub struct World {
    pub store: Arc<FaultyStore<MemoryStore>>,
    pub blobs: Arc<MemoryBlobs>,
    pub options: StateOptions,
}

impl World {
    pub fn new(ring: u16, inline_limit: usize) -> Self {
        let store = Arc::new(FaultyStore::new(MemoryStore::new()));
        let options = StateOptions { ring, inline_limit, ..StateOptions::default() };
        Self { store, blobs: Arc::default(), options }
    }

    pub fn ports(&self, seed: u64) -> Ports {
        Ports {
            store: self.store.clone(),
            blobs: self.blobs.clone(),
            clock: Arc::new(NoWait),
            random: Arc::new(StdRandom::seeded(seed)),
        }
    }

    pub async fn open(&self, seed: u64) -> Pipeline {
        Pipeline::open(self.ports(seed), "p", self.options.clone()).await.unwrap()
    }

    pub async fn load(&self, seed: u64) -> Loaded {
        self.open(seed).await.load(&id(), LoadRules::default()).await.unwrap()
    }

    /// A warm lane with `n` settled commits.
    pub async fn warm(&self, n: u64) -> Lane {
        let mut lane = self.load(1).await.lane;
        for _ in 0..n {
            let n = lane.next_number();
            committed(&mut lane, draft(n)).await;
            if lane.manifest_due() {
                assert_eq!(lane.write_manifest(Bytes::new()).await.unwrap(), ManifestOutcome::Written);
            }
        }
        self.store.take_counters();
        lane
    }

    pub fn slot(&self, n: u64) -> Item {
        let items = self.store.inner().items();
        let found = items.into_iter().find(|(key, item)| key.sort == "commit" && item.version == n);
        found.unwrap().1
    }
}

pub fn id() -> LaneId {
    LaneId::new("s", "0")
}

pub fn draft(n: u64) -> Draft {
    Draft {
        positions: [("0".to_owned(), Position::new(n))].into(),
        delta: Bytes::from(format!("delta {n}")),
        ..Draft::default()
    }
}

pub fn range(after: Option<u64>, first: u64) -> BTreeMap<String, Range> {
    [("0".to_owned(), Range { after: after.map(Position::new), first: Position::new(first) })].into()
}

pub fn owing(n: u64, payload: &[u8]) -> Draft {
    let entry = OutboxEntry {
        id: EffectId { n, index: RequestIndex::top(0) },
        target: "t".into(),
        wave: 0,
        rows: 1,
        committed_at: Timestamp(5),
        payload: Bytes::copy_from_slice(payload),
    };
    Draft { outbox: vec![entry], ..draft(n) }
}

pub fn carry(lane: &Lane) -> Draft {
    let head = lane.head().clone();
    Draft { positions: head.positions, ranges: head.ranges, outbox: head.outbox, carry: true, ..Draft::default() }
}

pub async fn commit(lane: &mut Lane, draft: Draft) -> CommitOutcome {
    lane.commit(draft, LaneLimit::Many).await.unwrap()
}

pub async fn committed(lane: &mut Lane, draft: Draft) {
    assert_eq!(commit(lane, draft).await, CommitOutcome::Committed);
}
