use proptest::prelude::*;
use tidegate_core::random::StdRandom;

use super::*;

proptest! {
    #[test]
    fn no_window_holds_more_than_the_limit(requests in 1u32..5, per in 1u64..1000, gaps in proptest::collection::vec(0u64..300, 1..60)) {
        let pace = Pace::default();
        let limit = RateLimit { requests, per: Duration::from_millis(per) };
        let mut now = Duration::ZERO;
        let mut starts = Vec::new();
        for gap in gaps {
            now += Duration::from_millis(gap);
            let start = pace.take(Some(limit), now, Duration::MAX).unwrap();
            prop_assert!(start >= now);
            starts.push(start);
        }
        starts.sort();
        for window in starts.windows(requests as usize + 1) {
            prop_assert!(window[requests as usize] - window[0] >= limit.per);
        }
    }

    #[test]
    fn pauses_are_bounded(failures in 1u32..200, seed: u64) {
        let retry = Retry {
            max_elapsed: Duration::from_secs(60),
            max_attempts: 10,
            initial_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(10),
        };
        let random = StdRandom::seeded(seed);
        let bound = Duration::from_millis(100 * 2u64.pow((failures - 1).min(10))).min(retry.max_backoff);
        prop_assert!(pause(&retry, failures, None, &random) <= bound);
        prop_assert!(pause(&retry, failures, Some(Duration::from_secs(30)), &random) == Duration::from_secs(30));
    }
}

#[test]
fn a_place_after_the_latest_moment_is_not_taken() {
    let pace = Pace::default();
    let limit = Some(RateLimit { requests: 1, per: Duration::from_secs(10) });
    let at = Duration::from_secs;
    assert_eq!(pace.take(limit, at(0), at(5)), Some(at(0)));
    assert_eq!(pace.take(limit, at(1), at(5)), None);
    assert_eq!(pace.take(limit, at(1), at(20)), Some(at(10)));
    pace.pause_until(at(100));
    assert_eq!(pace.take(None, at(30), at(50)), None);
    assert_eq!(pace.take(None, at(30), at(200)), Some(at(100)));
}
