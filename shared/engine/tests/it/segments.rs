//! State in segments: what is fetched and when, and what becomes of them.

use std::sync::Arc;

use tidegate_core::{ErrorKind, Segment, Timestamp};
use tidegate_engine::spec::Scope;
use tidegate_engine::{Engine, LaneState, SegmentOptions};

use crate::support::{MemorySegments, Row, batch, engine, process, restored, results, run};

const SQL: &str = "SELECT window.start AS s, n, count(*) AS c FROM t GROUP BY window(ts, '10 seconds'), n";

/// About 40 bytes a row: one group each.
const SMALL: SegmentOptions = SegmentOptions { flush: 2_000, piece: 4_000, width: 4, merge: 1 << 20, resident: 0 };

struct Lane {
    engine: Engine,
    store: Arc<MemorySegments>,
    state: LaneState,
    segments: Vec<Segment>,
    rest: usize,
}

impl Lane {
    fn new(options: SegmentOptions) -> Self {
        let mut engine = engine(SQL, Scope::Stream);
        engine.set_segment_options(options);
        let store = Arc::new(MemorySegments::default());
        let state = restored(&engine, &store, None, &[], &[]);
        Self { engine, store, state, segments: Vec::new(), rest: 0 }
    }

    /// A row at each of `groups` in the window that begins at `second`. Results of what it closes.
    fn take(&mut self, second: i64, groups: std::ops::Range<i64>) -> Vec<String> {
        let rows: Vec<Row> = groups.map(|n| (Some(second * 1_000), None, None, Some(n))).collect();
        let step = process(&self.engine, &self.state, batch(&rows));
        let closed = results(&step, 0, false);
        self.state = step.next;
        closed
    }

    fn checkpoint(&mut self) -> Vec<u8> {
        let checkpoint = run(self.engine.checkpoint("t", &self.state)).unwrap();
        (self.state, self.segments, self.rest) = (checkpoint.state, checkpoint.segments, checkpoint.rest.len());
        checkpoint.rest
    }

    fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.length).sum()
    }
}

#[test]
fn small_state_stays_in_the_manifest() {
    let mut lane = Lane::new(SMALL);
    lane.take(0, 0..10);
    lane.checkpoint();
    assert_eq!((lane.segments.len(), lane.store.fetched()), (0, 0));
    assert!(lane.rest < 2_000, "{}", lane.rest);
}

#[test]
fn a_batch_that_closes_nothing_fetches_nothing() {
    let mut lane = Lane::new(SMALL);
    for round in 0..3 {
        lane.take(0, round * 200..(round + 1) * 200);
        let rest = lane.checkpoint();
        // Neither does a restart.
        lane.state = restored(&lane.engine, &lane.store, Some(&rest), &lane.segments, &[]);
        assert!(lane.rest < 100, "{}", lane.rest);
    }
    assert!(lane.segments.len() >= 6, "{}", lane.segments.len());
    // The same groups again, and others, in this window and the next one.
    lane.take(5, 100..300);
    lane.take(10, 0..50);
    assert_eq!(lane.store.fetched(), 0);
    let closed = lane.take(12, 0..1);
    assert_eq!(closed.len(), 600);
    assert_eq!(
        (&closed[99][..], &closed[100][..]),
        ("1970-01-01T00:00:00Z | 99 | 1", "1970-01-01T00:00:00Z | 100 | 2")
    );
    assert_eq!(lane.store.fetched(), lane.segments.len());
    // What is over leaves the manifest without being fetched.
    lane.checkpoint();
    assert_eq!((lane.segments.len(), lane.store.fetched()), (0, 0));
}

#[test]
fn a_window_fetches_the_pieces_that_hold_it() {
    let mut lane = Lane::new(SMALL);
    // Windows of 100 groups, about one piece each. The watermark behind them is at 69 s.
    let rows: Vec<Row> = (0..800).map(|i| (Some(i / 100 * 10_000), None, None, Some(i))).collect();
    let step = process(&lane.engine, &lane.state, batch(&rows));
    assert_eq!(results(&step, 0, false).len(), 600);
    lane.state = step.next;
    lane.checkpoint();
    let pieces = lane.segments.len();
    assert!(pieces >= 2, "{pieces}");
    assert_eq!(lane.take(75, 0..1).len(), 100);
    let fetched = lane.store.fetched();
    assert!(0 < fetched && fetched < pieces, "{fetched} of {pieces}");
}

#[test]
fn runs_are_merged_and_groups_counted_once() {
    let mut lane = Lane::new(SMALL);
    let mut largest = 0;
    for _ in 0..40 {
        lane.take(0, 0..100);
        lane.checkpoint();
        largest = largest.max(lane.bytes());
    }
    // 40 runs of about 4 KB without merging. Three of each of three levels at most.
    assert!(largest < 12 * 5_000, "{largest}");
    let closed = lane.take(20, 0..1);
    assert_eq!(closed.len(), 100);
    assert!(closed.iter().all(|row| row.ends_with(" | 40")), "{closed:?}");
}

#[test]
fn rows_in_memory_are_bounded() {
    let all = |resident| {
        let mut lane = Lane::new(SegmentOptions { resident, ..SMALL });
        lane.take(0, 0..1_000);
        lane.checkpoint();
        lane.take(20, 0..1);
        lane.store.fetched()
    };
    assert_eq!(all(1 << 20), 0);
    let (none, half) = (all(0), all(16_000));
    assert!(0 < half && half < none, "{half} {none}");
}

#[test]
fn a_segment_that_is_gone_is_a_conflict() {
    let mut lane = Lane::new(SMALL);
    lane.take(0, 0..100);
    lane.checkpoint();
    lane.store.remove_all();
    lane.take(5, 0..100);
    let late = batch(&[(Some(30_000), None, None, Some(1))]);
    let error = run(lane.engine.process("t", &lane.state, late, Timestamp(0))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(run(lane.engine.whole("t", &lane.state)).unwrap_err().kind(), ErrorKind::Conflict);
}

#[test]
fn a_whole_state_needs_no_segments() {
    let mut lane = Lane::new(SMALL);
    lane.take(0, 0..100);
    lane.checkpoint();
    lane.take(1, 50..150);
    assert!(lane.engine.snapshot("t", &lane.state).is_err(), "a part is in segments");
    let bytes = run(lane.engine.whole("t", &lane.state)).unwrap();
    let alone = run(lane.engine.restore("t", Some(&bytes), &[])).unwrap();
    let step = process(&lane.engine, &alone, batch(&[(Some(30_000), None, None, Some(1))]));
    let closed = results(&step, 0, false);
    assert_eq!(closed.len(), 150);
    assert!(closed[50].ends_with("| 50 | 2"), "{}", closed[50]);
}

#[test]
fn segments_of_another_query_or_damaged_ones_are_refused() {
    let mut lane = Lane::new(SMALL);
    lane.take(0, 0..100);
    lane.checkpoint();
    for about in [&[][..], &[9; 28], &lane.segments[0].about.clone()[..27], &[1, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]] {
        let mut segments = lane.segments.clone();
        segments[0].about = about.to_vec().into();
        let stored = tidegate_engine::StoredState { segments: &segments, store: Arc::clone(&lane.store) as _ };
        assert!(run(lane.engine.restore_stored("t", None, stored, &[])).is_err(), "{about:?}");
    }
    let other =
        engine("SELECT window.start AS s, n, sum(n) AS c FROM t GROUP BY window(ts, '10 seconds'), n", Scope::Stream);
    let state = restored(&other, &lane.store, None, &lane.segments, &[]);
    let error =
        run(other.process("t", &state, batch(&[(Some(30_000), None, None, Some(1))]), Timestamp(0))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
}

#[test]
fn open_groups_are_counted_without_fetching() {
    let mut lane = Lane::new(SMALL);
    lane.take(0, 0..300);
    lane.checkpoint();
    lane.take(5, 100..400);
    let rest = lane.checkpoint();
    lane.take(5, 380..410);
    let open = |engine: &Engine, state: &LaneState| {
        let open = run(engine.open_windows(state)).unwrap().remove(0);
        (open.windows, open.groups, open.at_most)
    };
    // Groups 100 to 300 lie in both runs; 380 to 400 in memory, too.
    assert_eq!(open(&lane.engine, &lane.state), (1, 630, true));
    let cold = restored(&lane.engine, &lane.store, Some(&rest), &lane.segments, &[]);
    assert_eq!((open(&lane.engine, &cold), lane.store.fetched()), ((1, 600, true), 0));
    // Segments of before do not say how many groups they hold: they are fetched.
    let of_before = |segment: &Segment| {
        let mut about = segment.about.to_vec();
        about.truncate(about.len() - 8);
        about[0] = 1;
        Segment { about: about.into(), ..segment.clone() }
    };
    let old: Vec<Segment> = lane.segments.iter().map(of_before).collect();
    let old = restored(&lane.engine, &lane.store, Some(&rest), &old, &[]);
    assert_eq!(open(&lane.engine, &old), (1, 400, false));
    assert_eq!(lane.store.fetched(), lane.segments.len());
    // They stay as they are until they are merged.
    let next = run(lane.engine.checkpoint("t", &old)).unwrap().segments;
    assert!(next.iter().all(|segment| segment.about[0] == 1));
    // A part of a run's windows is over.
    lane.take(30, 0..10);
    assert_eq!(open(&lane.engine, &lane.state), (1, 10, false));
}
