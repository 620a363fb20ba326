//! Expressions that raise for a row or a group.

use tidegate_core::Timestamp;
use tidegate_engine::spec::Scope;

use crate::support::{batch, engine, process, results, run};

#[test]
fn bad_rows_are_rejected_and_the_rest_goes_on() {
    let engine = engine("SELECT n, cast(branch AS int) AS number FROM t", Scope::Stream);
    let rows: Vec<_> = (0..100).map(|i| (None, Some(if i % 40 == 7 { "x" } else { "12" }), None, Some(i))).collect();
    let step = process(&engine, &engine.new_state("t"), batch(&rows));
    assert_eq!(step.rejected.iter().map(|r| r.row.unwrap()).collect::<Vec<_>>(), [7, 47, 87]);
    assert_eq!(step.counts[0].rows_out, 97);
    assert!(step.rejected[0].reason.starts_with("[CAST_INVALID_INPUT]"), "{:?}", step.rejected[0]);
    assert!(step.rejected[0].expression.contains("branch"), "{:?}", step.rejected[0]);
}

#[test]
fn bad_rows_below_and_in_an_aggregation() {
    let sql = "SELECT window.start AS s, sum(cast(branch AS int)) AS total FROM t GROUP BY window(ts, '2 seconds')";
    let engine = engine(sql, Scope::Stream);
    let rows = [(Some(1), Some("1"), None, None), (Some(2), Some("x"), None, None), (Some(3), Some("2"), None, None)];
    let step = process(&engine, &engine.new_state("t"), batch(&rows));
    assert_eq!(step.rejected.iter().map(|r| r.row).collect::<Vec<_>>(), [Some(1)]);
    let last = run(engine.drain("t", &step.next, Timestamp(0))).unwrap();
    assert_eq!(results(&last, 0, false), ["1970-01-01T00:00:00Z | 3"]);
}

#[test]
fn bad_groups_are_rejected_alone() {
    let sql =
        "SELECT branch, cast(max(branch) AS int) AS v, count(*) AS c FROM t GROUP BY window(ts, '2 seconds'), branch";
    let engine = engine(sql, Scope::Stream);
    let mut state = engine.new_state("t");
    for at in [1, 2] {
        let rows =
            [(Some(at), Some("7"), None, None), (Some(at), Some("x"), None, None), (Some(at), Some("8"), None, None)];
        state = process(&engine, &state, batch(&rows)).next;
    }
    let last = run(engine.drain("t", &state, Timestamp(0))).unwrap();
    assert_eq!(results(&last, 0, false), ["7 | 7 | 2", "8 | 8 | 2"]);
    assert_eq!(last.rejected.len(), 1);
    let group = last.rejected[0].group.as_deref().unwrap();
    assert!(group.contains("\"branch\":\"x\""), "{group}");
}

#[test]
fn a_micro_batch_aggregate_tells_rows_from_groups() {
    let engine =
        engine("SELECT branch, sum(cast(branch AS int)) AS total FROM t GROUP BY branch ORDER BY branch", Scope::Batch);
    let rows = [(None, Some("1"), None, None), (None, Some("x"), None, None), (None, Some("2"), None, None)];
    let step = process(&engine, &engine.new_state("t"), batch(&rows));
    assert_eq!(step.rejected.iter().map(|r| r.row).collect::<Vec<_>>(), [Some(1)]);
    assert_eq!(results(&step, 0, false), ["1 | 1", "2 | 2"]);
}

#[test]
fn a_batch_of_bad_rows_only() {
    let engine = engine("SELECT cast(branch AS int) AS n FROM t", Scope::Stream);
    let rows = vec![(None, Some("x"), None, None); 50];
    let step = process(&engine, &engine.new_state("t"), batch(&rows));
    assert_eq!((step.rejected.len(), step.results.len()), (50, 0));
}
