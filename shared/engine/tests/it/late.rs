//! Watermark, late rows, rows without event time.

use tidegate_core::Timestamp;
use tidegate_engine::spec::Scope;

use crate::support::{batch, engine, output, plan, process, results, run, spec};

const SQL: &str = "SELECT window.start AS s, count(*) AS c FROM t WHERE n > 0 GROUP BY window(ts, '2 seconds')";

#[test]
fn late_is_judged_by_the_watermark_that_the_batch_found() {
    let engine = engine(SQL, Scope::Stream);
    let first = process(&engine, &engine.new_state("t"), batch(&[(Some(1_500), None, None, Some(1))]));
    assert_eq!(first.next.watermark, Some(Timestamp(500_000)));
    // 5 s moves the watermark to 4 s; the row of 100 ms behind it in the same batch still counts.
    let rows = [(Some(5_000), None, None, Some(1)), (Some(100), None, None, Some(1))];
    let second = process(&engine, &first.next, batch(&rows));
    assert_eq!(results(&second, 0, false), ["1970-01-01T00:00:00Z | 2"]);
    assert_eq!((second.counts[0].late, second.counts[0].windows_closed, second.counts[0].rows_out), (0, 1, 1));
    // Now its window is closed. A late row that the query drops is not counted.
    let rows = [
        (Some(200), Some("a"), Some(1.5), Some(1)),
        (Some(300), None, None, Some(0)),
        (Some(3_999), None, None, Some(1)),
        (Some(4_000), None, None, Some(1)),
    ];
    let third = process(&engine, &second.next, batch(&rows));
    assert_eq!(third.counts[0].late, 2);
    let schema = engine.outputs()[0].late_schema.clone().unwrap();
    assert_eq!(schema.fields().iter().map(|f| f.name().as_str()).collect::<Vec<_>>(), ["ts"]);
    assert_eq!(results(&third, 0, true), ["1970-01-01T00:00:00.200Z", "1970-01-01T00:00:03.999Z"]);
    assert_eq!(run(engine.open_windows(&third.next)).unwrap()[0].windows, 1);
    assert_eq!(run(engine.open_windows(&third.next)).unwrap()[0].earliest, Some(Timestamp(4_000_000)));
}

#[test]
fn a_row_is_late_for_each_sliding_window_by_itself() {
    let sql = "SELECT window.start AS s, count(*) AS c FROM t GROUP BY window(ts, '2 seconds', '1 second')";
    let engine = engine(sql, Scope::Stream);
    let first = process(&engine, &engine.new_state("t"), batch(&[(Some(4_000), None, None, Some(1))]));
    assert_eq!(first.next.watermark, Some(Timestamp(3_000_000)));
    // 2.5 s lies in the windows from 1 s and from 2 s: the first one has ended at 3 s. Without time it lies in none.
    let rows = [(Some(2_500), None, None, Some(1)), (Some(900), None, None, Some(1)), (None, None, None, Some(1))];
    let second = process(&engine, &first.next, batch(&rows));
    assert_eq!((second.counts[0].late, second.counts[0].filtered_no_event_time), (3, 1));
    let schema = engine.outputs()[0].late_schema.clone().unwrap();
    assert_eq!(schema.fields().last().unwrap().name(), "window_start");
    let last = run(engine.drain("t", &second.next, Timestamp(0))).unwrap();
    let rows = ["1970-01-01T00:00:02Z | 1", "1970-01-01T00:00:03Z | 1", "1970-01-01T00:00:04Z | 1"];
    assert_eq!(results(&last, 0, false), rows);
}

#[test]
fn rows_that_the_query_drops_move_the_watermark() {
    let engine = engine(SQL, Scope::Stream);
    let rows = [(Some(100), None, None, Some(1)), (Some(9_000), None, None, Some(0))];
    let step = process(&engine, &engine.new_state("t"), batch(&rows));
    assert_eq!(step.next.watermark, Some(Timestamp(8_000_000)));
    assert_eq!(results(&step, 0, false), ["1970-01-01T00:00:00Z | 1"]);
}

#[test]
fn rows_without_event_time_belong_to_no_window() {
    let engine = engine(SQL, Scope::Stream);
    let rows = [(None, None, None, Some(1)), (Some(100), None, None, Some(1)), (None, None, None, Some(0))];
    let step = process(&engine, &engine.new_state("t"), batch(&rows));
    assert_eq!((step.counts[0].filtered_no_event_time, step.counts[0].late), (1, 0));
    let last = run(engine.drain("t", &step.next, Timestamp(0))).unwrap();
    assert_eq!(results(&last, 0, false), ["1970-01-01T00:00:00Z | 1"]);
}

#[test]
fn the_watermark_never_goes_back_and_is_cut_to_milliseconds() {
    let engine = engine(SQL, Scope::Stream);
    let first = process(&engine, &engine.new_state("t"), batch(&[(Some(7_000), None, None, Some(1))]));
    let second = process(&engine, &first.next, batch(&[(Some(6_500), None, None, Some(1))]));
    assert_eq!(second.next.watermark, Some(Timestamp(6_000_000)));
    let empty = process(&engine, &second.next, batch(&[]));
    assert_eq!(empty.next.watermark, second.next.watermark);
    assert!(empty.results.is_empty());
}

#[test]
fn drained_windows_do_not_open_again() {
    let engine = engine(SQL, Scope::Stream);
    let step = process(&engine, &engine.new_state("t"), batch(&[(Some(100), None, None, Some(1))]));
    let last = run(engine.drain("t", &step.next, Timestamp(0))).unwrap();
    assert_eq!(last.next.watermark, Some(Timestamp(2_000_000)));
    let again = process(&engine, &last.next, batch(&[(Some(200), None, None, Some(1))]));
    assert_eq!(again.counts[0].late, 1);
    let restored = run(engine.restore("t", None, &[step.delta.into(), last.delta.into()])).unwrap();
    assert_eq!(run(engine.open_windows(&restored)).unwrap()[0].windows, 0);
}

#[test]
fn late_rows_without_a_late_output_are_only_counted() {
    let mut spec = spec(&[], vec![output("out", SQL, Scope::Stream)]);
    spec.outputs[0].late = false;
    let engine = plan(&spec);
    assert!(engine.outputs()[0].late_schema.is_none());
    let first = process(&engine, &engine.new_state("t"), batch(&[(Some(9_000), None, None, Some(1))]));
    let second = process(&engine, &first.next, batch(&[(Some(1), None, None, Some(1))]));
    assert_eq!((second.counts[0].late, second.results.len()), (1, 0));
}
