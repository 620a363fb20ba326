//! Row by row, per micro-batch, views, names.

use tidegate_core::Timestamp;
use tidegate_engine::spec::Scope;
use tidegate_engine::{Engine, OutputKind, Part};

use crate::support::{batch, engine, output, plan, process, results, run, spec, stream, told};

#[test]
fn stateless_rows() {
    let engine = engine("SELECT branch AS b, amount * 2 AS double FROM t WHERE n > 1", Scope::Stream);
    assert_eq!(engine.outputs()[0].kind, OutputKind::Stateless);
    let rows = [(None, Some("a"), Some(1.5), Some(2)), (None, Some("b"), None, Some(3)), (None, None, None, Some(1))];
    let step = process(&engine, &engine.new_state("t"), batch(&rows));
    assert_eq!(results(&step, 0, false), ["a | 3.0", "b | NULL"]);
    assert_eq!(step.counts[0].rows_out, 2);
}

#[test]
fn one_micro_batch_at_a_time() {
    let sql = "SELECT branch, sum(amount) AS total FROM t GROUP BY branch ORDER BY branch LIMIT 2";
    let engine = engine(sql, Scope::Batch);
    assert_eq!(engine.outputs()[0].kind, OutputKind::BatchAggregate);
    let rows =
        [(None, Some("b"), Some(1.5), None), (None, Some("a"), Some(1.0), None), (None, Some("b"), Some(2.0), None)];
    let mut state = engine.new_state("t");
    for _ in 0..3 {
        let step = process(&engine, &state, batch(&rows));
        assert_eq!(results(&step, 0, false), ["a | 1.0", "b | 3.5"]);
        state = step.next;
    }
    let max = crate::support::engine("SELECT max(n) AS m, min(n) AS l FROM t", Scope::Batch);
    for n in [5, 3, 4] {
        let step = process(&max, &max.new_state("t"), batch(&[(None, None, None, Some(n))]));
        assert_eq!(results(&step, 0, false), [format!("{n} | {n}")]);
    }
}

#[test]
fn a_micro_batch_may_be_read_twice() {
    let engine = engine("SELECT n FROM t UNION ALL SELECT n + 1 AS n FROM t", Scope::Batch);
    let step = process(&engine, &engine.new_state("t"), batch(&[(None, None, None, Some(1))]));
    let mut rows = results(&step, 0, false);
    rows.sort();
    assert_eq!(rows, ["1", "2"]);
}

#[test]
fn views_in_any_order() {
    let views =
        [("doubled", "SELECT ts, branch, amount * 2 AS amount FROM kept"), ("kept", "SELECT * FROM t WHERE n > 0")];
    let sql =
        "SELECT window.start AS s, branch, sum(amount) AS total FROM doubled GROUP BY window(ts, '2 seconds'), branch";
    let engine = plan(&spec(&views, vec![output("out", sql, Scope::Stream)]));
    assert_eq!(engine.outputs()[0].uses, ["doubled", "kept", "t"]);
    let OutputKind::Windowed { group_keys, lane_local, .. } = &engine.outputs()[0].kind else { panic!() };
    assert_eq!((group_keys.as_slice(), *lane_local), (&["branch".to_owned()][..], true));
    let rows = [(Some(1), Some("a"), Some(1.0), Some(1)), (Some(2), Some("a"), Some(5.0), Some(0))];
    let step = process(&engine, &engine.new_state("t"), batch(&rows));
    let last = run(engine.drain("t", &step.next, Timestamp(0))).unwrap();
    assert_eq!(results(&last, 0, false), ["1970-01-01T00:00:00Z | a | 2.0"]);
}

#[test]
fn the_time_of_a_window_is_its_last_moment() {
    let sql = "SELECT window_time(window) AS w, count(*) AS c FROM t GROUP BY window(ts, '2 seconds')";
    let engine = engine(sql, Scope::Stream);
    let step = process(&engine, &engine.new_state("t"), batch(&[(Some(1), None, None, None)]));
    let last = run(engine.drain("t", &step.next, Timestamp(0))).unwrap();
    assert_eq!(results(&last, 0, false), ["1970-01-01T00:00:01.999999Z | 1"]);
}

#[test]
fn lane_local_needs_every_partition_key_unchanged() {
    let kind = |sql: &str| match &engine(sql, Scope::Stream).outputs()[0].kind {
        OutputKind::Windowed { lane_local, .. } => *lane_local,
        other => panic!("{other:?}"),
    };
    assert!(kind("SELECT b, count(*) AS c FROM (SELECT ts, branch AS b FROM t) GROUP BY window(ts, '2 seconds'), b"));
    assert!(!kind("SELECT upper(branch) AS b, count(*) AS c FROM t GROUP BY window(ts, '2 seconds'), upper(branch)"));
    assert!(!kind("SELECT count(*) AS c FROM t GROUP BY window(ts, '2 seconds')"));
}

#[test]
fn circles_and_broken_views_are_told_once() {
    let views =
        [("a", "SELECT * FROM b"), ("b", "SELECT * FROM a"), ("c", "SELECT nonsense FROM t"), ("d", "SELECT * FROM c")];
    let outputs =
        vec![output("x", "SELECT * FROM d", Scope::Stream), output("y", "SELECT * FROM nowhere", Scope::Stream)];
    let errors = Engine::plan(&spec(&views, outputs)).unwrap_err();
    let parts: Vec<_> = errors.iter().map(|e| e.part.clone()).collect();
    let view = |name: &str| Part::View(name.into());
    assert_eq!(parts, [view("a"), view("b"), view("c"), Part::Output("y".into())].as_slice(), "{}", told(&errors));
}

#[test]
fn names_in_any_letter_case() {
    let engine = engine("SELECT Branch, Sum(AMOUNT) AS Total FROM T GROUP BY BRANCH HAVING total > 1", Scope::Batch);
    let step = process(&engine, &engine.new_state("t"), batch(&[(None, Some("a"), Some(2.0), None)]));
    assert_eq!(results(&step, 0, false), ["a | 2.0"]);
    assert_eq!(engine.outputs()[0].schema.field(1).name(), "Total");
}

#[test]
fn steps_can_move_between_threads() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let engine = engine("SELECT * FROM t", Scope::Stream);
    let state = engine.new_state("t");
    let step = run(is_send(engine.process("t", &state, stream(1, 10), Timestamp(0)))).unwrap();
    assert_eq!(step.counts[0].rows_out, 10);
}

#[test]
fn the_clock_stands_still_within_a_micro_batch() {
    let sql = "select from_unixtime(unix_timestamp()) as curr_time, t.branch as branch_name, sum(amount) as batch_value \
               from t group by t.branch";
    let engine = engine(sql, Scope::Batch);
    let rows = [(None, Some("a"), Some(1.5), None), (None, Some("a"), Some(2.0), None)];
    for (now, time) in [(1_767_225_600, "2026-01-01 00:00:00"), (1_767_225_601, "2026-01-01 00:00:01")] {
        let step = run(engine.process("t", &engine.new_state("t"), batch(&rows), Timestamp(now * 1_000_000))).unwrap();
        assert_eq!(results(&step, 0, false), [format!("{time} | a | 3.5")]);
    }
}

#[test]
fn rows_without_event_time_are_in_no_window_of_any_query() {
    let rows = [(None, None, None, Some(1)), (Some(2_500), None, None, Some(2))];
    let window = "{start: 1970-01-01T00:00:02Z, end: 1970-01-01T00:00:04Z}";
    for (sql, scope, expected) in [
        ("SELECT window(ts, '2 seconds') AS w, n FROM t", Scope::Stream, format!("{window} | 2")),
        ("SELECT window, count(*) AS c FROM t GROUP BY window(ts, '2 seconds')", Scope::Batch, format!("{window} | 1")),
    ] {
        let engine = engine(sql, scope);
        let step = process(&engine, &engine.new_state("t"), batch(&rows));
        assert_eq!(results(&step, 0, false), [expected]);
    }
}
