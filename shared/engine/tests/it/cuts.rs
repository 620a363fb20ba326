//! However a stream is cut, and however state travels, the results are the same.

use tidegate_engine::spec::Scope;

use crate::support::{Carry, TINY, engine, lines, run, run_cut, stream};

const QUERIES: &[&str] = &[
    "SELECT window.start AS s, window.end AS e, branch, sum(amount) AS total, count(*) AS c FROM t \
     GROUP BY window(ts, '2 seconds'), branch",
    "SELECT window(ts, '500 milliseconds').start AS s, count(n) AS c FROM t GROUP BY window(ts, '500 milliseconds')",
    "SELECT w.start AS s, upper(branch) AS b, max(amount) AS m FROM (SELECT window(ts, '1 second') AS w, * FROM t) \
     GROUP BY w, upper(branch)",
    "SELECT window.start AS s, branch, sum(amount) AS total FROM t WHERE n > 10 GROUP BY window(ts, '2 seconds'), branch \
     HAVING sum(amount) > 0 AND branch IS NOT NULL",
    "SELECT window.start AS s, branch, sum(amount) AS total, count(DISTINCT n) AS d FROM t \
     GROUP BY window(ts, '2 seconds', '700 milliseconds', '100 milliseconds'), branch",
    "SELECT w.end AS e, count(*) AS c FROM (SELECT window(ts, '3 seconds', '1 second') AS w, n FROM t) WHERE n > 5 GROUP BY w",
    "SELECT window.start AS s, count(*) AS c FROM t GROUP BY window(ts, '2 seconds', '2 seconds', '-300 milliseconds')",
];

const AGGREGATES: &[&str] = &[
    "sum(amount)",
    "count(*)",
    "count(amount)",
    "avg(amount)",
    "min(amount)",
    "max(branch)",
    "count(DISTINCT n)",
    "sum(DISTINCT n)",
    "median(n)",
    "approx_distinct(n)",
    "bool_and(n > 3)",
    "bool_or(n > 48)",
    "bit_and(n)",
    "bit_xor(n)",
    "first_value(n ORDER BY ts, amount, n)",
    "last_value(n ORDER BY ts, amount, n)",
    "array_agg(n)",
    "array_agg(n ORDER BY ts, amount, n)",
    "mode(n)",
    "percentile_approx(n, 0.9)",
    "avg(cast(amount AS decimal(10,2)))",
    "max_by(branch, n * 1000 + amount)",
    "string_agg(branch, ',')",
    "sum(amount) FILTER (WHERE n > 20)",
];

const CLOSE_AGGREGATES: &[&str] = &[
    "stddev(amount)",
    "var_pop(amount)",
    "corr(amount, n)",
    "skewness(amount)",
    "kurtosis(amount)",
    "covar_samp(amount, n)",
];

fn every_way(sql: &str, compare: impl Fn(&[String], &[String])) {
    let mut engine = engine(sql, Scope::Stream);
    engine.set_segment_options(TINY);
    let made = engine.plans_made();
    let whole = stream(7, 600);
    let expected = lines(&run_cut(&engine, &whole, None, Carry::Memory));
    assert!(expected.len() > 2, "{sql}: {expected:?}");
    for (seed, carry) in [
        (1, Carry::Memory),
        (2, Carry::Snapshot),
        (3, Carry::Deltas),
        (4, Carry::Memory),
        (5, Carry::Segments),
        (6, Carry::Segments),
    ] {
        compare(&expected, &lines(&run_cut(&engine, &whole, Some(seed), carry)));
    }
    assert_eq!(engine.plans_made(), made);
}

#[test]
fn queries_do_not_depend_on_cuts() {
    for sql in QUERIES {
        every_way(sql, |whole, cut| assert_eq!(whole, cut, "{sql}"));
    }
}

#[test]
fn aggregates_do_not_depend_on_cuts() {
    for aggregate in AGGREGATES {
        let sql = format!(
            "SELECT window.start AS s, branch, {aggregate} AS a FROM t GROUP BY window(ts, '2 seconds'), branch"
        );
        every_way(&sql, |whole, cut| assert_eq!(whole, cut, "{aggregate}"));
    }
}

#[test]
fn deviations_do_not_depend_on_cuts_but_for_the_last_digits() {
    for aggregate in CLOSE_AGGREGATES {
        let sql = format!("SELECT window.start AS s, {aggregate} AS a FROM t GROUP BY window(ts, '2 seconds')");
        every_way(&sql, |whole, cut| {
            assert_eq!(whole.len(), cut.len(), "{aggregate}");
            for (a, b) in whole.iter().zip(cut) {
                let number = |line: &str| line.rsplit(" | ").next().unwrap().parse::<f64>().unwrap();
                let (a, b) = (number(a), number(b));
                assert!((a - b).abs() <= a.abs() * 1e-9, "{aggregate}: {a} {b}");
            }
        });
    }
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let sql = "SELECT window.start AS s, branch, count(DISTINCT n) AS d, sum(amount) AS t FROM t \
               GROUP BY window(ts, '2 seconds'), branch";
    let bytes = || {
        let engine = engine(sql, Scope::Stream);
        let mut state = engine.new_state("t");
        let mut all = Vec::new();
        for seed in 0..20 {
            let step = crate::support::process(&engine, &state, stream(seed, 50));
            all.push((step.delta.clone(), crate::support::results(&step, 0, false)));
            state = step.next;
        }
        (all, engine.snapshot("t", &state).unwrap())
    };
    assert_eq!(bytes(), bytes());
}

#[test]
fn long_windows_hold_many_parts() {
    let sql = "SELECT window.start AS s, branch, sum(amount) AS total, count(DISTINCT n) AS d FROM t \
               GROUP BY window(ts, '1 hour'), branch";
    let mut engine = engine(sql, Scope::Stream);
    engine.set_segment_options(TINY);
    let whole = stream(7, 4000);
    let expected = lines(&run_cut(&engine, &whole, None, Carry::Memory));
    assert_eq!(expected.len(), 5);
    for carry in [Carry::Memory, Carry::Deltas, Carry::Segments] {
        assert_eq!(lines(&run_cut(&engine, &whole, Some(1), carry)), expected);
    }
}

#[test]
fn open_windows_count_groups_once() {
    let engine = engine("SELECT branch, count(*) AS c FROM t GROUP BY window(ts, '1 hour'), branch", Scope::Stream);
    let mut state = engine.new_state("t");
    for seed in 0..3 {
        state = crate::support::process(&engine, &state, stream(seed, 100)).next;
    }
    let open = run(engine.open_windows(&state)).unwrap();
    assert_eq!((open[0].windows, open[0].groups), (1, 5));
}
