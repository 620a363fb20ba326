//! What the fingerprint of stored state depends on.

use tidegate_engine::StateLayout;
use tidegate_engine::spec::Scope;

use crate::support::{engine, output, plan, process, run, spec, stream};

fn layout(sql: &str) -> StateLayout {
    engine(sql, Scope::Stream).fingerprint("t")
}

const SQL: &str = "SELECT window.start AS s, branch, sum(amount) AS total, count(DISTINCT n) AS d, avg(amount) AS a \
                   FROM t GROUP BY window(ts, '2 seconds'), branch";

#[test]
fn layouts_are_pinned() {
    let line = "out: format 1, window 2s, keys [branch], aggregates [sum(amount) (Float64), \
                distinct_count(n) (Int64), avg(amount) (Float64)], columns [Timestamp(µs, \"UTC\"), Utf8, Float64, \
                List(Int64), Boolean, UInt64, Float64]";
    assert_eq!(layout(SQL).operators, [line]);
}

#[test]
fn what_matters_and_what_does_not() {
    let base = layout(SQL);
    for same in [
        SQL.replace("AS total", "AS sum"),
        SQL.replace("FROM t ", "FROM t WHERE n > 3 ").replace("avg(amount) AS a", "avg(amount) + 1 AS a"),
        SQL.replace("FROM t ", "FROM (SELECT * FROM t) AS x "),
    ] {
        assert_eq!(layout(&same), base, "{same}");
    }
    for other in [
        SQL.replace("2 seconds", "4 seconds"),
        SQL.replace("sum(amount)", "sum(n)"),
        SQL.replace("sum(amount)", "max(amount)"),
        SQL.replace(", branch\n", "").replace(", branch,", ",").replace("), branch", ")"),
    ] {
        assert_ne!(layout(&other).hash, base.hash, "{other}");
    }
}

#[test]
fn the_order_of_outputs_does_not_matter() {
    let a = output("a", SQL, Scope::Stream);
    let b = output("b", &SQL.replace("2 seconds", "1 second"), Scope::Stream);
    let one = plan(&spec(&[], vec![a.clone(), b.clone()]));
    let two = plan(&spec(&[], vec![b, a]));
    assert_eq!(one.fingerprint("t"), two.fingerprint("t"));
    let step = process(&one, &one.new_state("t"), stream(1, 100));
    let bytes = one.snapshot("t", &step.next).unwrap();
    let moved = run(two.restore("t", Some(&bytes), &[])).unwrap();
    assert_eq!(two.snapshot("t", &moved).unwrap(), bytes);
    assert!(plan(&spec(&[], vec![])).fingerprint("t").operators.is_empty());
}

#[test]
fn damaged_bytes_are_an_error() {
    let engine = engine(SQL, Scope::Stream);
    let step = process(&engine, &engine.new_state("t"), stream(1, 100));
    let bytes = engine.snapshot("t", &step.next).unwrap();
    for length in 0..bytes.len() {
        assert!(run(engine.restore("t", Some(&bytes[..length]), &[])).is_err(), "{length}");
    }
    let mut newer = bytes.clone();
    newer[0] += 2;
    assert!(run(engine.restore("t", Some(&newer), &[])).unwrap_err().message().contains("format"));
}
