//! What is refused, and with which words.

use tidegate_engine::Engine;
use tidegate_engine::spec::Scope;

use crate::support::{output, refused, source, spec, told};

#[test]
fn constructs_over_a_stream() {
    for (sql, words) in [
        ("SELECT branch, count(*) AS c FROM t GROUP BY branch", "scope: batch"),
        ("SELECT sum(amount) AS s FROM t", "scope: batch"),
        ("SELECT * FROM t ORDER BY n", "ORDER BY"),
        ("SELECT * FROM t LIMIT 3", "LIMIT"),
        ("SELECT DISTINCT branch FROM t", "DISTINCT"),
        ("SELECT n, row_number() OVER (ORDER BY n) AS r FROM t", "window functions"),
        ("SELECT a.n FROM t a JOIN t b ON a.n = b.n", "joins"),
        ("SELECT n FROM t UNION ALL SELECT n FROM t", "UNION"),
        ("SELECT n FROM t WHERE n IN (SELECT n FROM t)", "subqueries in expressions"),
        (
            "SELECT count(*) AS c FROM t GROUP BY window(ts, '10 minutes', '1 second')",
            "a row would lie in 600 windows, at most 100 are possible",
        ),
        ("SELECT count(*) AS c FROM t GROUP BY window(ts, '5 minutes', '10 minutes')", "at most its size"),
        (
            "SELECT count(*) AS c FROM t GROUP BY window(ts, '5 minutes', '1 minute', '2 minutes')",
            "smaller than its slide",
        ),
        (
            "SELECT count(*) AS c FROM t GROUP BY window(ts, '2 hours', '1 hour'), window(ts, '3 hours', '1 hour')",
            "one sliding window only",
        ),
        (
            "SELECT count(*) AS c FROM t GROUP BY session_window(ts, '5 minutes')",
            "session_window() is not supported yet",
        ),
        ("SELECT uuid() AS id FROM t", "uuid() is not supported: its values are drawn"),
        ("SELECT n FROM t WHERE rand() < 0.1", "rand() is not supported: its values are drawn"),
        ("SELECT aes_encrypt(branch, 'abcdefghijklmnop') AS x FROM t", "it would be drawn"),
        ("SELECT aes_encrypt(branch, 'abcdefghijklmnop', 'CBC', 'PKCS', '') AS x FROM t", "it would be drawn"),
        ("SELECT n, n FROM t", "two columns of the result are called 'n'"),
        ("SELECT count(*) AS c FROM t GROUP BY window(ts, '2 months')", "is no size of a window"),
        ("SELECT count(*) AS c FROM t GROUP BY window(ts, '-2 seconds')", "positive"),
        ("SELECT count(*) AS c FROM t GROUP BY window(n, '2 seconds')", "needs a timestamp"),
        ("SELECT count(*) AS c FROM t GROUP BY window(ts + INTERVAL '1' SECOND, '2 seconds')", "a computed value"),
        ("SELECT count(*) AS c FROM t GROUP BY window(ts, '2 seconds').start", "grouped by the window itself"),
        ("SELECT count(*) AS c FROM t GROUP BY window(ts, '2 seconds'), ROLLUP (branch)", "not supported yet"),
        (
            "SELECT max(c) AS m FROM (SELECT window(ts, '2 seconds') AS w, count(*) AS c FROM t \
             GROUP BY window(ts, '2 seconds')) GROUP BY w",
            "two aggregations",
        ),
        ("SELECT 1 AS one", "reads no source"),
        ("SELECT amuont FROM t", "did you mean 'amount'?"),
        ("SELECT amount FROM tt", "did you mean 't'?"),
        ("SELEC amount FROM t", "SQL"),
    ] {
        let message = refused(sql);
        assert!(message.contains(words), "{sql}\n{message}");
    }
}

#[test]
fn the_place_of_an_unknown_column() {
    let errors =
        Engine::plan(&spec(&[], vec![output("out", "SELECT n,\n  amuont FROM t", Scope::Stream)])).unwrap_err();
    assert_eq!(errors[0].location, Some((2, 3)), "{}", told(&errors));
}

#[test]
fn the_place_of_a_function_that_is_not_supported() {
    let sql = "SELECT count(*) AS c\nFROM t GROUP BY session_window(ts, '5 minutes')";
    let errors = Engine::plan(&spec(&[], vec![output("out", sql, Scope::Stream)])).unwrap_err();
    assert_eq!(errors[0].location, Some((2, 17)), "{}", told(&errors));
    assert!(errors[0].error.help().is_some_and(|help| help.contains("window(ts, '2 seconds')")), "{}", told(&errors));
}

#[test]
fn several_names_belong_to_a_generator() {
    for (sql, words) in [
        ("SELECT abs(n) AS (p, q) FROM t", "only a generator such as explode(x) can have several names"),
        ("SELECT stack(1, n, n) AS (p, q, r) FROM t", "stack gives 2 columns, 3 are named"),
    ] {
        let message = refused(sql);
        assert!(message.contains(words), "{sql}\n{message}");
    }
}

#[test]
fn a_window_needs_a_watermark() {
    let sql = "SELECT count(*) AS c FROM t GROUP BY window(ts, '2 seconds')";
    let mut spec = spec(&[], vec![output("out", sql, Scope::Stream)]);
    spec.sources[0].watermark = None;
    let message = told(&Engine::plan(&spec).unwrap_err());
    assert!(message.contains("has no watermark") && message.contains("column: ts"), "{message}");
    spec.sources[0].watermark = source().watermark;
    spec.sources[0].watermark.as_mut().unwrap().column = "tss".into();
    let message = told(&Engine::plan(&spec).unwrap_err());
    assert!(message.contains("did you mean 'ts'?"), "{message}");
}
