//! Windows over several lanes: sealing, closing, and state that moves between lanes.

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use bytes::Bytes;
use tidegate_core::{ErrorKind, Timestamp};
use tidegate_engine::spec::{EngineSpec, Lanes, Scope};
use tidegate_engine::{CloseStep, Closing, Engine, LaneState, OutputKind, SealedRows, Step};

use crate::support::{
    Carry, Numbers, Row, batch, engine, lines, output, plan, process, results, run, run_cut, spec, stream,
};

/// Sources of several lanes that nobody groups by the partition key of.
fn over_lanes(outputs: &[(&str, &str)]) -> EngineSpec {
    let outputs = outputs.iter().map(|(name, sql)| output(name, sql, Scope::Stream)).collect();
    let mut spec = spec(&[], outputs);
    spec.sources[0].lanes = Lanes::Many;
    spec.sources[0].partition_key = vec!["n".into()];
    spec
}

fn many(sql: &str) -> Engine {
    plan(&over_lanes(&[("out", sql)]))
}

const SQL: &str = "SELECT window.start AS s, branch, sum(n) AS t FROM t GROUP BY window(ts, '2 seconds'), branch";
/// Its groups stand in one lane each when the source is partitioned by `n`.
const LOCAL: &str = "SELECT window.start AS s, n, count(*) AS c FROM t GROUP BY window(ts, '2 seconds'), n";

fn row(ms: i64, branch: &'static str, n: i64) -> Row {
    (Some(ms), Some(branch), None, Some(n))
}

fn ms(at: i64) -> Timestamp {
    Timestamp(at * 1000)
}

fn advance(engine: &Engine, state: &LaneState, to: Timestamp) -> Step {
    run(engine.advance("t", state, to, Timestamp(0))).unwrap()
}

fn close(engine: &Engine, seals: &[Bytes], floor: Option<Timestamp>, to: Timestamp) -> CloseStep {
    run(engine.close(0, seals, floor, to, Timestamp(0))).unwrap()
}

fn rows_of(step: &Step) -> Vec<Bytes> {
    step.sealed.iter().filter_map(|seal| seal.rows.clone()).map(Bytes::from).collect()
}

fn result_lines(step: &CloseStep) -> Vec<String> {
    step.results.iter().flat_map(|rows| lines(&rows.batch)).collect()
}

#[test]
fn who_closes_depends_on_keys_and_lanes() {
    for (partition_key, lanes, sql, closing, local) in [
        (&["n"][..], Lanes::One, SQL, Closing::Lane, false),
        (&["n"], Lanes::Many, SQL, Closing::OverLanes, false),
        (&["n"], Lanes::Many, LOCAL, Closing::Lane, true),
        (&["branch"], Lanes::Many, SQL, Closing::Lane, true),
        (&["branch", "n"], Lanes::Many, SQL, Closing::OverLanes, false),
        (&[], Lanes::Many, SQL, Closing::OverLanes, false),
        (&[], Lanes::One, SQL, Closing::Lane, false),
    ] {
        let mut spec = over_lanes(&[("out", sql)]);
        spec.sources[0].lanes = lanes;
        spec.sources[0].partition_key = partition_key.iter().map(|&column| column.into()).collect();
        let engine = plan(&spec);
        let OutputKind::Windowed { closing: found, lane_local, .. } = engine.outputs()[0].kind else { panic!() };
        assert_eq!((found, lane_local), (closing, local), "{partition_key:?} {lanes:?} {sql}");
        assert_eq!(engine.seal_layout(0).is_some(), closing == Closing::OverLanes);
    }
}

#[test]
fn one_lane_and_many_have_the_same_bytes_but_not_the_same_layout() {
    let (one, many) = (engine(SQL, Scope::Stream), many(SQL));
    // A lane that closed windows by itself cannot go on as one of many: they would be closed twice.
    assert_ne!(one.fingerprint("t"), many.fingerprint("t"));
    assert_eq!(many.seal_layout(0), Some(many.fingerprint("t")));
    let rows = stream(3, 40);
    let step = |engine: &Engine| process(engine, &engine.new_state("t"), rows.clone());
    assert_eq!(step(&one).delta, step(&many).delta);
}

#[test]
fn a_step_seals_what_the_watermark_passes() {
    let engine = many(SQL);
    let first = process(&engine, &engine.new_state("t"), batch(&[row(1_500, "b", 1), row(1_600, "a", 2)]));
    // The first watermark tells the closer that the lane is there.
    assert_eq!(first.sealed, [SealedRows { output: 0, through: ms(600), latest_end: None, rows: None }]);
    // No end of a window between 0.6 s and 1.9 s.
    let second = process(&engine, &first.next, batch(&[row(2_900, "a", 4)]));
    assert_eq!(second.sealed, []);
    let third = process(&engine, &second.next, batch(&[row(4_500, "a", 8), row(1_999, "b", 16)]));
    let [seal] = third.sealed.as_slice() else { panic!("{:?}", third.sealed) };
    assert_eq!((seal.through, seal.latest_end), (ms(3_500), Some(ms(2_000))));
    assert!(third.results.is_empty());
    assert_eq!((third.counts[0].windows_closed, third.counts[0].rows_out), (0, 0));
    // Sealed rows have left the state, and what comes for them now is late.
    assert_eq!(run(engine.open_windows(&third.next)).unwrap()[0].earliest, Some(ms(2_000)));
    let fourth = process(&engine, &third.next, batch(&[row(1_000, "a", 32), row(2_000, "a", 64)]));
    assert_eq!(fourth.counts[0].late, 1);
    let done = close(&engine, &rows_of(&third), None, ms(3_500));
    assert_eq!(result_lines(&done), ["1970-01-01T00:00:00Z | a | 2", "1970-01-01T00:00:00Z | b | 17"]);
    assert_eq!((done.counts.windows_closed, done.counts.rows_out), (1, 2));
}

#[test]
fn a_restored_lane_does_not_seal_again() {
    let engine = many(SQL);
    let first = process(&engine, &engine.new_state("t"), batch(&[row(1_500, "a", 1)]));
    let second = process(&engine, &first.next, batch(&[row(3_500, "a", 2)]));
    assert_eq!(rows_of(&second).len(), 1);
    let deltas = [first.delta.clone().into(), second.delta.clone().into()];
    let restored = run(engine.restore("t", None, &deltas)).unwrap();
    let third = advance(&engine, &restored, ms(4_000));
    let [seal] = third.sealed.as_slice() else { panic!("{:?}", third.sealed) };
    assert_eq!(result_lines(&close(&engine, &rows_of(&third), None, ms(4_000))), ["1970-01-01T00:00:02Z | a | 2"]);
    assert_eq!(seal.latest_end, Some(ms(4_000)));
    // The step that sealed, done again from the same state, gives the same bytes.
    let restored = run(engine.restore("t", None, &deltas[..1])).unwrap();
    let again = process(&engine, &restored, batch(&[row(3_500, "a", 2)]));
    assert_eq!((again.sealed, again.delta), (second.sealed, second.delta));
}

#[test]
fn advancing_closes_and_seals_without_records() {
    let engine = plan(&over_lanes(&[("out", SQL), ("local", LOCAL)]));
    let step = process(&engine, &engine.new_state("t"), batch(&[row(1_500, "a", 7)]));
    let next = advance(&engine, &step.next, ms(2_000));
    // What was seen is not what the watermark was raised to: silence must not raise it further and further.
    assert_eq!((next.next.watermark, next.next.newest), (Some(ms(2_000)), Some(ms(1_500))));
    assert_eq!(results(&next, 1, false), ["1970-01-01T00:00:00Z | 7 | 1"]);
    assert_eq!(next.sealed.iter().map(|seal| (seal.output, seal.through)).collect::<Vec<_>>(), [(0, ms(2_000))]);
    assert!(run(engine.open_windows(&next.next)).unwrap().iter().all(|open| open.windows == 0));
    for to in [0, 1_999, 2_000] {
        let nothing = advance(&engine, &next.next, ms(to));
        assert_eq!(nothing.next.watermark, Some(ms(2_000)));
        assert!(nothing.results.is_empty() && nothing.sealed.is_empty());
    }
    let empty = advance(&engine, &next.next, ms(4_000));
    assert_eq!(empty.sealed, [SealedRows { output: 0, through: ms(4_000), latest_end: None, rows: None }]);
    let restored = run(engine.restore("t", None, &[step.delta.into(), next.delta.into(), empty.delta.into()])).unwrap();
    assert_eq!((restored.watermark, restored.newest), (Some(ms(4_000)), Some(ms(1_500))));
    let snapshot = engine.snapshot("t", &restored).unwrap();
    assert_eq!(run(engine.restore("t", Some(&snapshot), &[])).unwrap().newest, Some(ms(1_500)));
    assert!(run(engine.open_windows(&restored)).unwrap().iter().all(|open| open.windows == 0));
}

#[test]
fn draining_seals_through_the_last_window() {
    let engine = many(SQL);
    let step = process(&engine, &engine.new_state("t"), batch(&[row(100, "a", 1), row(2_500, "a", 2)]));
    let last = run(engine.drain("t", &step.next, Timestamp(0))).unwrap();
    let [seal] = last.sealed.as_slice() else { panic!("{:?}", last.sealed) };
    assert_eq!((seal.through, seal.latest_end, last.next.watermark), (ms(4_000), Some(ms(4_000)), Some(ms(4_000))));
    let again = run(engine.drain("t", &last.next, Timestamp(0))).unwrap();
    assert!(again.sealed.is_empty() && again.results.is_empty());
}

#[test]
fn a_seeded_lane_counts_closed_windows_as_late() {
    let engine = many(SQL);
    let mut state = engine.new_state("t");
    engine.seed_watermark(&mut state, ms(4_000));
    engine.seed_watermark(&mut state, ms(3_000));
    assert_eq!((state.watermark, state.newest), (Some(ms(4_000)), None));
    let step = process(&engine, &state, batch(&[row(3_999, "a", 1), row(4_000, "a", 2)]));
    assert_eq!((step.counts[0].late, step.next.watermark), (1, Some(ms(4_000))));
    assert_eq!(step.sealed, []);
    let mut spec = over_lanes(&[("out", "SELECT n FROM t")]);
    spec.sources[0].watermark = None;
    let engine = plan(&spec);
    let mut state = engine.new_state("t");
    engine.seed_watermark(&mut state, ms(4_000));
    assert_eq!((state.watermark, state.newest), (None, None));
    assert_eq!(advance(&engine, &state, ms(4_000)).next.watermark, None);
}

/// Seals of windows that begin at 0, 2 and 4 s, of two lanes; one seal holds two windows.
fn three_windows(engine: &Engine) -> Vec<Bytes> {
    let rows = |n| batch(&[row(100, "a", n), row(2_100, "a", 10 * n), row(4_100, "b", 100 * n)]);
    let mut seals = Vec::new();
    for (n, stops) in [(1, &[6_000][..]), (2, &[4_000, 6_000])] {
        let mut step = process(engine, &engine.new_state("t"), rows(n));
        seals.extend(rows_of(&step));
        for to in stops {
            step = advance(engine, &step.next, ms(*to));
            seals.extend(rows_of(&step));
        }
    }
    assert_eq!(seals.len(), 5);
    seals
}

#[test]
fn a_close_takes_the_windows_behind_the_floor() {
    let engine = many(SQL);
    let seals = three_windows(&engine);
    let all = ["1970-01-01T00:00:00Z | a | 3", "1970-01-01T00:00:02Z | a | 30", "1970-01-01T00:00:04Z | b | 300"];
    for (floor, to, windows) in [
        (None, 1_999, 0..0),
        (None, 2_000, 0..1),
        (None, 5_999, 0..2),
        (Some(1_999), 4_000, 0..2),
        (Some(2_000), 4_000, 1..2),
        (Some(2_000), 6_000, 1..3),
        (Some(5_999), 90_000, 2..3),
        (Some(6_000), 90_000, 3..3),
        (Some(6_000), 2_000, 3..3),
    ] {
        let step = close(&engine, &seals, floor.map(ms), ms(to));
        assert_eq!(result_lines(&step), all[windows.clone()], "{floor:?} {to}");
        let count = windows.len() as u64;
        assert_eq!((step.counts.windows_closed, step.counts.rows_out), (count, count), "{floor:?} {to}");
        assert_eq!(step.results.is_empty(), windows.is_empty());
    }
    assert!(close(&engine, &[], None, ms(2_000)).results.is_empty());
}

#[test]
fn having_sees_all_lanes() {
    let sql = "SELECT window.end AS e, branch, sum(n) / count(*) AS per FROM t \
               GROUP BY window(ts, '2 seconds'), branch HAVING sum(n) > 20";
    let engine = many(sql);
    let step = close(&engine, &three_windows(&engine), None, ms(6_000));
    assert_eq!(result_lines(&step), ["1970-01-01T00:00:04Z | a | 15.0", "1970-01-01T00:00:06Z | b | 150.0"]);
    assert_eq!((step.counts.windows_closed, step.counts.rows_out), (3, 2));
}

#[test]
fn a_group_that_raises_is_told_once_and_the_others_go_on() {
    let sql =
        "SELECT window.start AS s, branch, 90 / (sum(n) - 30) AS x FROM t GROUP BY window(ts, '2 seconds'), branch";
    let engine = many(sql);
    let mut seals = three_windows(&engine);
    for _ in 0..seals.len() {
        seals.rotate_left(1);
        let step = close(&engine, &seals, None, ms(6_000));
        assert_eq!(step.counts.rows_out, 2);
        let [rejected] = step.rejected.as_slice() else { panic!("{:?}", step.rejected) };
        assert!(rejected.reason.starts_with("[DIVIDE_BY_ZERO]"), "{rejected:?}");
        assert_eq!(rejected.group.as_deref(), Some(r#"{"__window_start":"1970-01-01T00:00:02Z","branch":"a"}"#));
        assert!(rejected.expression.contains("90"), "{rejected:?}");
    }
}

#[test]
fn sums_that_overflow_are_told_when_the_window_closes() {
    let engine = many(SQL);
    let seals = |n| {
        let step = process(&engine, &engine.new_state("t"), batch(&[row(100, "a", n), row(200, "b", 1)]));
        rows_of(&advance(&engine, &step.next, ms(2_000)))
    };
    let step = close(&engine, &[seals(i64::MAX), seals(1)].concat(), None, ms(2_000));
    assert_eq!(result_lines(&step), ["1970-01-01T00:00:00Z | b | 2"]);
    assert_eq!(step.rejected.len(), 1);
    assert!(step.rejected[0].reason.contains("OVERFLOW"), "{:?}", step.rejected);
}

#[test]
fn foreign_and_damaged_seals_are_refused() {
    let engine = many(SQL);
    let seals = three_windows(&engine);
    let refused = |engine: &Engine, output: usize, bytes: Bytes| {
        run(engine.close(output, &[bytes], None, ms(9_000), Timestamp(0))).unwrap_err()
    };
    let whole = &seals[0];
    for length in 0..whole.len() {
        assert!(refused(&engine, 0, whole.slice(..length)).message().contains("output 'out'"), "{length}");
    }
    let changed = |at: usize, by: u8| {
        let mut bytes = whole.to_vec();
        bytes[at] += by;
        Bytes::from(bytes)
    };
    assert_eq!(refused(&engine, 0, changed(0, 1)).kind(), ErrorKind::Internal);
    let newer = refused(&engine, 0, changed(0, 2));
    assert!(newer.message().contains("format") && newer.kind() == ErrorKind::Fenced, "{newer}");
    assert_eq!(refused(&engine, 0, changed(1, 1)).kind(), ErrorKind::Fenced);
    let longer = Bytes::from([whole, &b"x"[..]].concat());
    assert!(refused(&engine, 0, longer).message().contains("too many"));
    let other = many(&SQL.replace("sum(n)", "max(n)"));
    assert_eq!(refused(&other, 0, whole.clone()).kind(), ErrorKind::Fenced);
    let local = plan(&over_lanes(&[("local", LOCAL), ("rows", "SELECT n FROM t")]));
    for output in 0..3 {
        assert_eq!(refused(&local, output, whole.clone()).kind(), ErrorKind::Internal, "{output}");
        assert_eq!(local.seal_layout(output), None);
    }
}

/// Aggregates whose result does not depend on the order of the rows.
const EXACT: &[&str] = &[
    "sum(n)",
    "count(*)",
    "count(amount)",
    "sum(cast(amount AS decimal(10,2)))",
    "avg(cast(amount AS decimal(10,2)))",
    "avg(n)",
    "min(amount)",
    "max(branch)",
    "count(DISTINCT n)",
    "sum(DISTINCT n)",
    "median(n)",
    "approx_distinct(n)",
    "bool_and(n > 3)",
    "bit_xor(n)",
    "first_value(n ORDER BY ts, amount, n)",
    "last_value(n ORDER BY ts, amount, n)",
    "array_agg(n ORDER BY ts, amount, n)",
    "sum(n) FILTER (WHERE n > 20)",
];

/// Runs `whole` over `lanes` lanes: rows go to any lane, steps are cut anywhere, state travels any way, lanes without
/// rows are advanced or not, and windows are closed now and then. Returns the results in the order of closing.
fn run_over(engine: &Engine, whole: &RecordBatch, lanes: usize, seed: u64) -> RecordBatch {
    let mut numbers = Numbers(seed);
    let mut world =
        World { engine, lanes: vec![Lane::new(engine); lanes], seals: Vec::new(), floor: None, results: Vec::new() };
    let mut at = 0;
    while at < whole.num_rows() {
        let length = (whole.num_rows() - at).min(1 + numbers.below(120) as usize);
        let mut spread: Vec<Vec<u32>> = vec![Vec::new(); lanes];
        (at..at + length).for_each(|row| spread[numbers.below(lanes as u64) as usize].push(row as u32));
        at += length;
        for (lane, rows) in spread.into_iter().enumerate().filter(|(_, rows)| !rows.is_empty()) {
            let rows = take_record_batch(whole, &UInt32Array::from(rows)).unwrap();
            let step = process(engine, &world.lanes[lane].state, rows);
            assert_eq!(step.counts[0].late, 0);
            world.commit(lane, step, numbers.below(3));
        }
        if numbers.below(3) == 0 {
            let lane = numbers.below(lanes as u64) as usize;
            world.advance(lane);
        }
        if numbers.below(3) == 0 {
            world.close(&mut numbers);
        }
    }
    for lane in 0..lanes {
        let step = run(engine.drain("t", &world.lanes[lane].state, Timestamp(0))).unwrap();
        world.commit(lane, step, 0);
    }
    (0..lanes).for_each(|lane| world.advance(lane));
    world.close(&mut numbers);
    concat_batches(&engine.outputs()[0].schema, &world.results).unwrap()
}

#[derive(Clone)]
struct Lane {
    state: LaneState,
    deltas: Vec<Bytes>,
    through: Option<Timestamp>,
}

impl Lane {
    fn new(engine: &Engine) -> Self {
        Self { state: engine.new_state("t"), deltas: Vec::new(), through: None }
    }
}

struct World<'a> {
    engine: &'a Engine,
    lanes: Vec<Lane>,
    seals: Vec<(Bytes, Timestamp)>,
    floor: Option<Timestamp>,
    results: Vec<RecordBatch>,
}

impl World<'_> {
    fn commit(&mut self, lane: usize, step: Step, carry: u64) {
        assert!(step.results.is_empty() && step.rejected.is_empty());
        let lane = &mut self.lanes[lane];
        for seal in step.sealed {
            assert!(lane.through < Some(seal.through));
            assert!(seal.latest_end.is_none_or(|end| end <= seal.through && lane.through < Some(end)));
            assert_eq!(seal.rows.is_some(), seal.latest_end.is_some());
            lane.through = Some(seal.through);
            self.seals.extend(seal.rows.map(|rows| (Bytes::from(rows), seal.latest_end.unwrap())));
        }
        lane.deltas.push(step.delta.into());
        let watermark = step.next.watermark;
        lane.state = match carry {
            0 => step.next,
            1 => run(self.engine.restore("t", None, &lane.deltas)).unwrap(),
            _ => {
                let bytes = self.engine.snapshot("t", &step.next).unwrap();
                run(self.engine.restore("t", Some(&bytes), &[])).unwrap()
            }
        };
        assert_eq!(lane.state.watermark, watermark);
    }

    fn advance(&mut self, lane: usize) {
        let Some(to) = self.lanes.iter().filter_map(|lane| lane.state.watermark).max() else { return };
        let step = advance(self.engine, &self.lanes[lane].state, to);
        self.commit(lane, step, 0);
    }

    fn close(&mut self, numbers: &mut Numbers) {
        let Some(to) = self.lanes.iter().map(|lane| lane.through).min().unwrap() else { return };
        if Some(to) <= self.floor {
            return;
        }
        for i in (1..self.seals.len()).rev() {
            self.seals.swap(i, numbers.below(i as u64 + 1) as usize);
        }
        let seals: Vec<Bytes> = self.seals.iter().map(|(bytes, _)| bytes.clone()).collect();
        let step = close(self.engine, &seals, self.floor, to);
        assert_eq!(step.rejected, []);
        self.results.extend(step.results.into_iter().map(|rows| rows.batch));
        self.floor = Some(to);
        if numbers.below(2) == 0 {
            self.seals.retain(|(_, end)| *end > to);
        }
    }
}

#[test]
fn results_do_not_depend_on_lanes_cuts_and_the_order_of_seals() {
    for (i, aggregate) in EXACT.iter().enumerate() {
        let sql = format!(
            "SELECT window.start AS s, branch, {aggregate} AS a FROM t GROUP BY window(ts, '2 seconds'), branch \
             HAVING count(*) > 3"
        );
        let (single, many) = (engine(&sql, Scope::Stream), many(&sql));
        let made = many.plans_made();
        for seed in 0..2 {
            let whole = stream(100 + seed, 600);
            let expected = lines(&run_cut(&single, &whole, None, Carry::Memory));
            assert!(expected.len() > 10, "{expected:?}");
            for lanes in 1..=5 {
                let seed = 1000 * i as u64 + 10 * seed + lanes as u64;
                assert_eq!(lines(&run_over(&many, &whole, lanes, seed)), expected, "{aggregate} seed {seed}");
            }
        }
        assert_eq!(many.plans_made(), made);
    }
}

#[test]
fn sliding_windows_do_not_depend_on_lanes_and_cuts() {
    let sql = "SELECT window.start AS s, branch, sum(n) AS t FROM t \
               GROUP BY window(ts, '3 seconds', '1 second', '250 milliseconds'), branch";
    let (single, many) = (engine(sql, Scope::Stream), many(sql));
    for seed in 0..3 {
        let whole = stream(200 + seed, 500);
        let expected = lines(&run_cut(&single, &whole, None, Carry::Memory));
        assert!(expected.len() > 10, "{expected:?}");
        for lanes in 1..=4 {
            assert_eq!(lines(&run_over(&many, &whole, lanes, seed)), expected, "{lanes} lanes, seed {seed}");
        }
    }
}

#[test]
fn the_order_of_seals_does_not_matter_to_anything() {
    let sql = "SELECT window.start AS s, array_agg(n) AS all, sum(amount / 3) AS a, first_value(branch) AS f FROM t \
               GROUP BY window(ts, '2 seconds')";
    let engine = many(sql);
    let mut seals: Vec<Bytes> = (0..6)
        .flat_map(|seed| {
            let step = process(&engine, &engine.new_state("t"), stream(seed, 200));
            let last = run(engine.drain("t", &step.next, Timestamp(0))).unwrap();
            [rows_of(&step), rows_of(&last)].concat()
        })
        .collect();
    let expected = result_lines(&close(&engine, &seals, None, Timestamp(i64::MAX)));
    assert!(expected.len() > 1);
    let mut numbers = Numbers(5);
    for _ in 0..20 {
        for i in (1..seals.len()).rev() {
            seals.swap(i, numbers.below(i as u64 + 1) as usize);
        }
        assert_eq!(result_lines(&close(&engine, &seals, None, Timestamp(i64::MAX))), expected);
    }
}

#[test]
fn sealed_rows_do_not_depend_on_cuts_and_the_order_of_rows() {
    let engine = many(&SQL.replace("2 seconds", "1 hour"));
    let whole = stream(9, 400);
    let sealed = |whole: &RecordBatch, cut: usize, restored: bool| {
        let mut state = engine.new_state("t");
        for at in (0..whole.num_rows()).step_by(cut) {
            state = process(&engine, &state, whole.slice(at, cut.min(whole.num_rows() - at))).next;
            if restored {
                let bytes = engine.snapshot("t", &state).unwrap();
                state = run(engine.restore("t", Some(&bytes), &[])).unwrap();
            }
        }
        run(engine.drain("t", &state, Timestamp(0))).unwrap().sealed
    };
    let expected = sealed(&whole, 400, false);
    assert_eq!(expected.len(), 1);
    for (cut, restored) in [(7, false), (50, true), (399, false)] {
        assert_eq!(sealed(&whole, cut, restored), expected, "{cut}");
    }
    let reversed = take_record_batch(&whole, &(0..400).rev().collect::<UInt32Array>()).unwrap();
    assert_eq!(sealed(&reversed, 90, false), expected);
}

fn open(engine: &Engine, state: &LaneState) -> Vec<(u64, u64)> {
    run(engine.open_windows(state)).unwrap().iter().map(|open| (open.windows, open.groups)).collect()
}

#[test]
fn state_goes_to_the_first_child() {
    let engine = plan(&over_lanes(&[("out", SQL), ("again", SQL)]));
    let a = process(&engine, &engine.new_state("t"), batch(&[row(1_500, "a", 1), row(1_600, "b", 2)])).next;
    let b = process(&engine, &engine.new_state("t"), batch(&[row(2_800, "a", 4), row(1_900, "a", 8)])).next;
    for (parents, children, groups) in [
        (vec![a.clone()], 2, [(1, 2), (1, 2)]),
        (vec![a.clone(), b.clone()], 1, [(2, 3), (2, 3)]),
        (vec![b.clone(), a.clone()], 3, [(2, 3), (2, 3)]),
        (vec![], 2, [(0, 0), (0, 0)]),
    ] {
        let split = run(engine.split_state("t", &parents, &vec![None; children])).unwrap();
        assert_eq!(split.len(), children);
        assert_eq!(open(&engine, &split[0]), groups);
        let watermark = parents.iter().filter_map(|parent| parent.watermark).max();
        for (i, child) in split.iter().enumerate() {
            assert_eq!(child.watermark, watermark);
            assert!(i == 0 || open(&engine, child) == [(0, 0), (0, 0)]);
        }
    }
    assert!(run(engine.split_state("t", std::slice::from_ref(&a), &[])).is_err());
    assert!(run(engine.split_state("other", &[a], &[None])).is_err());
}

#[test]
fn windows_that_a_merge_ends_are_sealed_by_the_next_step() {
    let engine = many(SQL);
    let behind = process(&engine, &engine.new_state("t"), batch(&[row(1_500, "a", 1)])).next;
    let ahead = process(&engine, &engine.new_state("t"), batch(&[row(3_500, "a", 2)])).next;
    let merged = run(engine.split_state("t", &[behind, ahead], &[None])).unwrap().remove(0);
    assert_eq!(merged.watermark, Some(ms(2_500)));
    // It survives the snapshot that a new lane begins with.
    let bytes = engine.snapshot("t", &merged).unwrap();
    let merged = run(engine.restore("t", Some(&bytes), &[])).unwrap();
    let steps = [
        advance(&engine, &merged, ms(0)),
        process(&engine, &merged, batch(&[])),
        process(&engine, &merged, batch(&[row(1_000, "a", 4), row(2_000, "b", 8)])),
    ];
    for step in steps {
        let [seal] = step.sealed.as_slice() else { panic!("{:?}", step.sealed) };
        assert_eq!((seal.through, seal.latest_end), (ms(2_500), Some(ms(2_000))));
        assert_eq!(result_lines(&close(&engine, &rows_of(&step), None, ms(2_500))), ["1970-01-01T00:00:00Z | a | 1"]);
        // Restoring from the snapshot and the step's delta does not bring it back.
        let restored = run(engine.restore("t", Some(&bytes), &[step.delta.into()])).unwrap();
        assert_eq!(run(engine.open_windows(&restored)).unwrap()[0].earliest, Some(ms(2_000)));
    }
}
