//! Pauses between tries, through the clock port.

use std::time::Duration;

use tidegate_core::random::Random;

use crate::options::Ports;
use crate::ports::StoreError;

/// Tries of one request that is throttled.
pub(crate) const MAX_THROTTLED_TRIES: u32 = 8;
/// First pause; it doubles with each try.
pub(crate) const BACKOFF_BASE: Duration = Duration::from_millis(25);
/// Longest pause.
pub(crate) const BACKOFF_CAP: Duration = Duration::from_secs(2);

/// Waits before the try after `tries` tries: half of the pause is random, so that writers do not march in step.
pub(crate) async fn pause(ports: &Ports, tries: u32) {
    ports.clock.sleep(backoff(ports.random.as_ref(), tries)).await;
}

fn backoff(random: &dyn Random, tries: u32) -> Duration {
    let full = BACKOFF_BASE.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(BACKOFF_CAP);
    let half = full / 2;
    half + half.mul_f64((random.next_u64() >> 11) as f64 / (1u64 << 53) as f64)
}

/// Repeats a read that is throttled, with pauses, within bounds.
pub(crate) async fn read<T, F>(ports: &Ports, mut request: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut tries = 0;
    loop {
        tries += 1;
        match request().await {
            // A read with an unknown outcome is only a read without an answer.
            Err(StoreError::Throttled | StoreError::Unknown(_)) if tries < MAX_THROTTLED_TRIES => {
                pause(ports, tries).await;
            }
            answer => return answer,
        }
    }
}
