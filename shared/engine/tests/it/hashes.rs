//! Hashes of keys beside the groups: a lane's groups divided among the lanes that continue it.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use bytes::Bytes;
use tidegate_core::{ErrorKind, HashRange, Timestamp};
use tidegate_engine::spec::{EngineSpec, Lanes, Scope};
use tidegate_engine::{Engine, LaneState, Step};

use crate::support::{MemorySegments, Numbers, Row, TINY, batch, lines, output, plan, restored, run, spec, stream};

const TUMBLING: &str = "SELECT window.start AS s, branch, n, sum(amount) AS a, count(*) AS c FROM t \
                        GROUP BY window(ts, '2 seconds'), branch, n";
const SLIDING: &str = "SELECT branch AS b, window.start AS s, max(n) AS m, collect_set(n) AS all FROM t \
                       WHERE amount > -90 GROUP BY branch, window(ts, '3 seconds', '1 second')";

const LOW: HashRange = HashRange { first: 0, last: u128::MAX / 2 };
const HIGH: HashRange = HashRange { first: u128::MAX / 2 + 1, last: u128::MAX };
const HIGH_LOW: HashRange = HashRange { first: u128::MAX / 2 + 1, last: u128::MAX / 4 * 3 };
const HIGH_HIGH: HashRange = HashRange { first: u128::MAX / 4 * 3 + 1, last: u128::MAX };

fn keyed(queries: &[&str]) -> EngineSpec {
    let outputs = queries.iter().enumerate().map(|(i, sql)| output(&format!("o{i}"), sql, Scope::Stream));
    let mut spec = spec(&[], outputs.collect());
    spec.sources[0].lanes = Lanes::Many;
    spec
}

/// Any function of the key will do, as long as both halves and both quarters get keys.
fn hash(branch: Option<&str>) -> u128 {
    match branch {
        None => 7,
        Some("Kazan") => HIGH.first,
        Some("SPB") => HIGH_HIGH.last,
        Some("Novosibirsk") => LOW.last,
        Some(_) => HIGH_LOW.last,
    }
}

fn hashes(rows: &RecordBatch) -> Vec<Option<u128>> {
    let branches = rows.column(1).as_string::<i32>();
    branches.iter().map(|branch| Some(hash(branch))).collect()
}

fn process(engine: &Engine, state: &LaneState, rows: RecordBatch) -> Step {
    let hashes = hashes(&rows);
    run(engine.process_hashed("t", state, rows, Some(&hashes), Timestamp(0))).unwrap()
}

/// A lane: what it holds, and the hashes that it takes.
struct Lane {
    state: LaneState,
    range: HashRange,
}

/// Lanes of one stream, and all results.
struct Running {
    engine: Engine,
    store: Arc<MemorySegments>,
    lanes: Vec<Lane>,
    results: Vec<(usize, String)>,
}

impl Running {
    fn new(engine: Engine) -> Self {
        let store = Arc::new(MemorySegments::default());
        let range = HashRange { first: 0, last: u128::MAX };
        let lanes = vec![Lane { state: restored(&engine, &store, None, &[], &[]), range }];
        Self { engine, store, lanes, results: Vec::new() }
    }

    fn give(&mut self, step: &Step) {
        assert_eq!(step.rejected, []);
        for rows in &step.results {
            assert!(!rows.late);
            self.results.extend(lines(&rows.batch).into_iter().map(|line| (rows.output, line)));
        }
    }

    /// Each lane takes its rows; then it goes on from memory, from a snapshot and a delta, or from a checkpoint.
    fn take(&mut self, rows: &RecordBatch, numbers: &mut Numbers) {
        let hashes = hashes(rows);
        for place in 0..self.lanes.len() {
            let (state, range) = (&self.lanes[place].state.clone(), self.lanes[place].range);
            let mine = (0..rows.num_rows() as u32).filter(|row| range.contains(hashes[*row as usize].unwrap()));
            let mine = take_record_batch(rows, &mine.collect::<UInt32Array>()).unwrap();
            let step = process(&self.engine, state, mine);
            self.give(&step);
            let delta = Bytes::from(step.delta.clone());
            let next = match numbers.below(4) {
                0 => {
                    let before = run(self.engine.whole("t", state)).unwrap();
                    restored(&self.engine, &self.store, Some(&before), &[], &[delta])
                }
                1 => {
                    let stored = run(self.engine.checkpoint("t", &step.next)).unwrap();
                    restored(&self.engine, &self.store, Some(&stored.rest), &stored.segments, &[])
                }
                2 => run(self.engine.checkpoint("t", &step.next)).unwrap().state,
                _ => step.next.clone(),
            };
            self.lanes[place].state = next;
        }
    }

    /// Lanes with `ranges` take the place of `parents`.
    fn continue_by(&mut self, parents: std::ops::Range<usize>, ranges: &[HashRange]) {
        let states: Vec<LaneState> = self.lanes.drain(parents).map(|lane| lane.state).collect();
        let takes: Vec<_> = ranges.iter().copied().map(Some).collect();
        let children = run(self.engine.split_state("t", &states, &takes)).unwrap();
        for (child, range) in children.iter().zip(ranges) {
            let begins = run(self.engine.whole("t", child)).unwrap();
            let state = restored(&self.engine, &self.store, None, &[], &[begins.into()]);
            self.lanes.push(Lane { state, range: *range });
        }
    }

    fn end(mut self) -> Vec<(usize, String)> {
        for place in 0..self.lanes.len() {
            let step = run(self.engine.drain("t", &self.lanes[place].state, Timestamp(0))).unwrap();
            self.give(&step);
        }
        self.results.sort_unstable();
        self.results
    }
}

fn engine() -> Engine {
    let mut engine = plan(&keyed(&[TUMBLING, SLIDING]));
    engine.set_segment_options(TINY);
    engine
}

#[test]
fn results_do_not_depend_on_splits_and_merges() {
    for seed in 0..40 {
        let rows = stream(seed, 600);
        let mut whole = Running::new(engine());
        whole.take(&rows, &mut Numbers(seed));
        let expected = whole.end();
        assert!(expected.len() > 100, "{}", expected.len());
        let mut numbers = Numbers(seed + 1);
        let mut lanes = Running::new(engine());
        // A split, a split of one half, and a merge of quarters that leaves the other half alone: each at any moment.
        let mut moments: Vec<usize> = (0..3).map(|_| numbers.below(600) as usize).collect();
        moments.sort_unstable();
        let mut at = 0;
        for (turn, moment) in moments.into_iter().chain([600]).enumerate() {
            while at < moment {
                let length = (1 + numbers.below(90) as usize).min(moment - at);
                lanes.take(&rows.slice(at, length), &mut numbers);
                at += length;
            }
            match turn {
                0 => lanes.continue_by(0..1, &[LOW, HIGH]),
                1 => lanes.continue_by(1..2, &[HIGH_LOW, HIGH_HIGH]),
                2 => lanes.continue_by(1..3, &[HIGH]),
                _ => {}
            }
        }
        assert_eq!(lanes.end(), expected, "{seed}");
    }
}

#[test]
fn each_child_has_the_groups_that_it_takes() {
    let engine = engine();
    let rows = batch(&[
        (Some(1_500), Some("Kazan"), None, Some(1)),
        (Some(1_500), Some("Kazan"), None, Some(2)),
        (Some(1_500), None, None, Some(1)),
    ]);
    let state = process(&engine, &engine.new_state("t"), rows).next;
    let children = run(engine.split_state("t", &[state], &[Some(LOW), Some(HIGH)])).unwrap();
    let groups = |state: &LaneState| run(engine.open_windows(state)).unwrap()[0].groups;
    assert_eq!(children.iter().map(groups).collect::<Vec<_>>(), [1, 2]);
    assert!(children.iter().all(|child| child.watermark == Some(Timestamp(500_000))));
}

/// Why the rows cannot be divided, when they come with these hashes; `None` in place of the hashes: without any.
fn refused(rows: &[(Row, Option<u128>)], hashed: bool, children: &[Option<HashRange>]) -> String {
    let engine = plan(&keyed(&[TUMBLING]));
    let mut state = engine.new_state("t");
    // In two steps, so that what is known of a key comes together at the split.
    for (row, hash) in rows {
        let hashes = hashed.then_some(std::slice::from_ref(hash));
        state = run(engine.process_hashed("t", &state, batch(&[*row]), hashes, Timestamp(0))).unwrap().next;
    }
    let error = run(engine.split_state("t", &[state.clone()], children)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.help().unwrap().contains("tidegate reset"), "{error}");
    // One child takes all.
    assert_eq!(run(engine.split_state("t", &[state], &children[..1])).unwrap().len(), 1);
    error.to_string()
}

#[test]
fn what_cannot_be_divided_is_refused_with_the_group() {
    let row = |n| (Some(1_500), Some("Kazan"), None, Some(n));
    let halves = [Some(LOW), Some(HIGH)];
    let mixed = refused(&[(row(1), Some(1)), (row(1), Some(2))], true, &halves);
    assert!(mixed.contains("several keys of the stream") && mixed.contains(r#""branch":"Kazan""#), "{mixed}");
    // Two groups of one key.
    let mixed = refused(&[(row(1), Some(1)), (row(2), Some(HIGH.last))], true, &halves);
    assert!(mixed.contains("cannot be divided among several lanes"), "{mixed}");
    let outside = refused(&[(row(1), Some(LOW.last))], true, &[Some(HIGH_LOW), Some(HIGH_HIGH)]);
    assert!(outside.contains("ExplicitHashKey") && outside.contains("Kazan"), "{outside}");
    let unknown = refused(&[(row(1), Some(1)), (row(1), None)], true, &halves);
    assert!(unknown.contains("not known by which key") && unknown.contains("Kazan"), "{unknown}");
    for none in [refused(&[(row(1), Some(1))], false, &halves), refused(&[(row(1), Some(1))], true, &[None, None])] {
        assert!(none.contains("1 groups of windows are open"), "{none}");
    }
}

#[test]
fn state_without_hashes_keeps_its_bytes_and_stays_readable() {
    let engine = plan(&keyed(&[TUMBLING]));
    let rows = |n| batch(&[(Some(1_500), Some("Kazan"), None, Some(n))]);
    let before = run(engine.process("t", &engine.new_state("t"), rows(1), Timestamp(0))).unwrap();
    // The format that readers of before know.
    assert_eq!(before.delta[0], 1);
    let old = Bytes::from(before.delta);
    let state = run(engine.restore("t", None, std::slice::from_ref(&old))).unwrap();
    let after = process(&engine, &state, rows(2));
    assert_eq!(after.delta[0], 2);
    let state = run(engine.restore("t", None, &[old, after.delta.into()])).unwrap();
    let state = run(engine.restore("t", Some(&engine.snapshot("t", &state).unwrap()), &[])).unwrap();
    let error = run(engine.split_state("t", std::slice::from_ref(&state), &[Some(LOW), Some(HIGH)])).unwrap_err();
    assert!(error.message().contains("older version"), "{error}");
    let closed = run(engine.drain("t", &state, Timestamp(0))).unwrap();
    assert_eq!(closed.results[0].batch.num_rows(), 2);
}

#[test]
fn windows_over_lanes_keep_no_hashes() {
    let mut spec = keyed(&["SELECT window.start AS s, n, count(*) AS c FROM t GROUP BY window(ts, '2 seconds'), n"]);
    spec.sources[0].partition_key = vec!["branch".into()];
    let engine = plan(&spec);
    let rows = stream(1, 30);
    let plain = run(engine.process("t", &engine.new_state("t"), rows.clone(), Timestamp(0))).unwrap();
    assert_eq!(process(&engine, &engine.new_state("t"), rows).delta, plain.delta);
}
