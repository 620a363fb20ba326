//! Schedules on one thread: every request to the store is a point where another writer may go on.
#![allow(dead_code, reason = "each suite takes what it needs")]

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use rand::Rng;
use rand::rngs::StdRng;
use tidegate_core::{Clock, Timestamp};
use tidegate_state::faults::{Fault, FaultyStore, Request};
use tidegate_state::{Condition, ConditionalStore, Item, ItemKey, PutOutcome, StoreError, TransactOp, TransactOutcome};

/// Lets the others go on, once.
#[derive(Default)]
pub struct Turn(bool);

impl Future for Turn {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Puts a turn before and after each request.
pub struct Turns<S>(pub Arc<FaultyStore<S>>);

#[async_trait]
impl<S: ConditionalStore> ConditionalStore for Turns<S> {
    async fn get(&self, key: &ItemKey) -> Result<Option<Item>, StoreError> {
        Turn::default().await;
        let answer = self.0.get(key).await;
        Turn::default().await;
        answer
    }

    async fn put_if(&self, key: &ItemKey, item: Item, condition: Condition) -> Result<PutOutcome, StoreError> {
        Turn::default().await;
        let answer = self.0.put_if(key, item, condition).await;
        Turn::default().await;
        answer
    }

    async fn query(&self, partition: &str) -> Result<Vec<(ItemKey, Item)>, StoreError> {
        self.0.query(partition).await
    }

    async fn transact(&self, ops: Vec<TransactOp>) -> Result<TransactOutcome, StoreError> {
        Turn::default().await;
        let answer = self.0.transact(ops).await;
        Turn::default().await;
        answer
    }

    async fn delete_if(&self, key: &ItemKey, version: u64) -> Result<PutOutcome, StoreError> {
        Turn::default().await;
        let answer = self.0.delete_if(key, version).await;
        Turn::default().await;
        answer
    }
}

pub struct TurnClock;

#[async_trait]
impl Clock for TurnClock {
    fn now(&self) -> Timestamp {
        Timestamp(0)
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }

    async fn sleep(&self, _: Duration) {
        Turn::default().await;
    }
}

pub fn fault(random: &mut StdRng, request: Request<'_>, rate: f64) -> Option<Fault> {
    if !random.random_bool(rate) {
        return None;
    }
    let faults: &[Fault] = match request {
        Request::Get(_) | Request::Query(_) => &[Fault::TimeoutBefore, Fault::Throttled],
        _ => &[
            Fault::TimeoutBefore,
            Fault::TimeoutAfter,
            Fault::LostAnswer,
            Fault::Twice,
            Fault::Delayed,
            Fault::Throttled,
            Fault::OldItemMissing,
        ],
    };
    Some(faults[random.random_range(0..faults.len())])
}

/// How often somebody may go on in one schedule.
const STEPS: usize = 20_000;

/// Polls a random writer, again and again; in between, late writes land.
pub fn schedule<S: ConditionalStore>(
    mut writers: Vec<Pin<Box<dyn Future<Output = ()>>>>,
    store: &FaultyStore<S>,
    random: &mut StdRng,
) {
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..STEPS {
        if writers.is_empty() {
            return;
        }
        if random.random_range(0..40) == 0 {
            block_on(store.land());
        }
        let chosen = random.random_range(0..writers.len());
        if writers[chosen].as_mut().poll(&mut context).is_ready() {
            drop(writers.swap_remove(chosen));
        } else if random.random_range(0..4000) == 0 {
            // Killed in the middle of whatever it does.
            drop(writers.swap_remove(chosen));
        }
    }
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
}
