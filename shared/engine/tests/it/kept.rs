//! The limit of what aggregates keep of a group.

use arrow::array::RecordBatch;
use tidegate_core::Timestamp;
use tidegate_engine::dialect::functions::aggregate::kept::{MAX_BYTES, MAX_VALUES};
use tidegate_engine::spec::Scope;
use tidegate_engine::{Engine, RejectedRow};

use crate::support::{Row, batch, engine, output, plan, process, results, run, spec};

/// Rows of one window: `numbers` of the branch `large` and three of `small`.
fn rows(numbers: std::ops::Range<usize>) -> RecordBatch {
    let row = |branch, n| -> Row { (Some(1), Some(branch), Some(n as f64), Some(n)) };
    let large = numbers.map(|n| row("large", n as i64));
    batch(&large.chain([1, 2, 3].map(|n| row("small", n))).collect::<Vec<_>>())
}

/// The results and the rejected groups of micro-batches, the state restored from a snapshot after each of them.
fn closed(engine: &Engine, batches: &[RecordBatch]) -> (Vec<String>, Vec<RejectedRow>) {
    let mut state = engine.new_state("t");
    for rows in batches {
        let step = process(engine, &state, rows.clone());
        assert_eq!(step.rejected, []);
        let bytes = engine.snapshot("t", &step.next).unwrap();
        state = run(engine.restore("t", Some(&bytes), &[])).unwrap();
    }
    let last = run(engine.drain("t", &state, Timestamp(0))).unwrap();
    (results(&last, 0, false), last.rejected)
}

fn windowed(aggregate: &str) -> String {
    format!("SELECT branch, {aggregate} AS v FROM t GROUP BY window(ts, '2 seconds'), branch")
}

#[test]
fn a_group_at_the_limit_has_its_result_and_one_beyond_it_is_rejected_alone() {
    let half = MAX_VALUES / 2;
    for (aggregate, name, at_limit, small) in [
        ("size(collect_list(n))", "collect_list", MAX_VALUES.to_string(), "3"),
        ("count(DISTINCT n)", "count(DISTINCT)", MAX_VALUES.to_string(), "3"),
        ("percentile(n, 1.0)", "percentile", format!("{}.0", MAX_VALUES - 1), "3.0"),
        ("size(array_agg(DISTINCT n))", "array_agg", MAX_VALUES.to_string(), "3"),
        ("sum(DISTINCT n)", "sum(DISTINCT)", (MAX_VALUES * (MAX_VALUES - 1) / 2).to_string(), "6"),
        ("kurtosis(DISTINCT n) IS NULL", "kurtosis(DISTINCT)", "false".to_owned(), "false"),
    ] {
        let engine = engine(&windowed(aggregate), Scope::Stream);
        // 3 more rows of `small` in each micro-batch: lists of them are twice as long.
        let doubled = if aggregate.contains("collect_list") { "6" } else { small };
        let (results, rejected) = closed(&engine, &[rows(0..half), rows(half..MAX_VALUES)]);
        assert_eq!(results, [format!("large | {at_limit}"), format!("small | {doubled}")], "{aggregate}");
        assert_eq!(rejected, []);
        let (results, rejected) = closed(&engine, &[rows(0..half), rows(half..MAX_VALUES + 1)]);
        assert_eq!(results, [format!("small | {doubled}")], "{aggregate}");
        let [one] = rejected.as_slice() else { panic!("{rejected:?}") };
        assert!(one.reason.starts_with("[COLLECTION_SIZE_LIMIT_EXCEEDED]"), "{one:?}");
        assert!(one.reason.contains(&format!("{name} keeps at most 100000 values")), "{one:?}");
        assert!(one.group.as_deref().is_some_and(|group| group.contains(r#""branch":"large""#)), "{one:?}");
    }
}

#[test]
fn values_that_come_again_count_once_for_distinct_aggregates() {
    let engine = engine(&windowed("count(DISTINCT n)"), Scope::Stream);
    let again = rows(0..MAX_VALUES - 1);
    let (results, rejected) = closed(&engine, &[again.clone(), again.clone(), again]);
    assert_eq!(rejected, []);
    assert_eq!(results, [format!("large | {}", MAX_VALUES - 1), "small | 3".to_owned()]);
}

#[test]
fn the_state_of_a_group_beyond_the_limit_is_small() {
    let aggregates = "collect_list(n) AS a, count(DISTINCT n) AS b, stddev(DISTINCT n) AS c, \
                      listagg(n, ',') WITHIN GROUP (ORDER BY amount) AS d";
    let sql = format!("SELECT branch, {aggregates} FROM t GROUP BY window(ts, '2 seconds'), branch");
    let engine = engine(&sql, Scope::Stream);
    let below = process(&engine, &engine.new_state("t"), rows(0..MAX_VALUES / 2));
    let beyond = process(&engine, &engine.new_state("t"), rows(0..MAX_VALUES + 1));
    let size = |step: &tidegate_engine::Step| engine.snapshot("t", &step.next).unwrap().len();
    assert!(size(&below) > 1_000_000, "{}", size(&below));
    assert!(size(&beyond) < 5_000, "{}", size(&beyond));
    // It stays beyond the limit, whatever comes.
    let (_, rejected) = closed(&engine, &[rows(0..MAX_VALUES + 1), rows(0..1), rows(1..2)]);
    assert_eq!(rejected.len(), 1, "{rejected:?}");
}

#[test]
fn texts_have_a_limit_in_bytes() {
    // Of 96 bytes each, and 4 for the length.
    let engine = engine(&windowed("length(listagg(repeat('x', 96)))"), Scope::Stream);
    let fit = MAX_BYTES / 100;
    let (results, rejected) = closed(&engine, &[rows(0..fit)]);
    assert_eq!(results, [format!("large | {}", fit * 96), "small | 288".to_owned()]);
    assert_eq!(rejected, []);
    let (results, rejected) = closed(&engine, &[rows(0..fit), rows(0..1)]);
    assert_eq!(results, ["small | 576"]);
    assert!(rejected[0].reason.contains("listagg keeps at most"), "{rejected:?}");
}

#[test]
fn a_micro_batch_by_itself_has_the_limit_too() {
    let sql = "SELECT branch, size(collect_list(n)) AS a, count(DISTINCT n) AS b FROM t GROUP BY branch";
    let engine = plan(&spec(&[], vec![output("out", sql, Scope::Batch)]));
    let step = process(&engine, &engine.new_state("t"), rows(0..MAX_VALUES + 1));
    assert_eq!(results(&step, 0, false), ["small | 3 | 3"]);
    let [one] = step.rejected.as_slice() else { panic!("{:?}", step.rejected.len()) };
    assert!(one.row.is_none() && one.group.as_deref().is_some_and(|group| group.contains("large")), "{one:?}");
}
