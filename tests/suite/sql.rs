//! `tidegate sql`: queries over files and over nothing, tables and JSON, and what is said when something is wrong.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use crate::kit::{command, stdout_of, tidegate};

const LINES: &str = "{\"branch\":\"Kazan\",\"amount\":12.5,\"tags\":[\"a\",\"b\"]}\n{\"branch\":\"SPB\",\"amount\":3,\"n\":5}\n\n\
                     {\"branch\":null,\"amount\":1}\n";
const CSV: &str = "id,name,price,day,ok\n1,\"a, b\",1.5,2026-01-01,true\n2,,2,2026-01-02,false\n3,\"two\nlines\",,,\n";

fn file(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("a file is written");
    path.display().to_string()
}

fn fails(arguments: &[&str], words: &[&str]) {
    let output = tidegate(arguments);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    for word in words {
        assert!(text.contains(word), "'{word}' is missing in:\n{text}");
    }
    assert!(!text.contains("panicked"), "{text}");
}

#[test]
fn a_query_over_nothing_prints_a_table() {
    let said = stdout_of(&tidegate(&["sql", "SELECT abs(-1) AS a, 'x' AS long_name, NULL AS n"]));
    assert_eq!(said, "a | long_name | n\n--+-----------+-----\n1 | x         | NULL\n");
    let said = stdout_of(&tidegate(&["sql", "SELECT 7 / 2, X'1f' AS b, 'a\\nb' AS t", "--json"]));
    assert_eq!(said, "{\"(7 / 2)\":3.5,\"b\":\"Hw==\",\"t\":\"a\\nb\"}\n");
}

#[test]
fn json_lines_get_the_columns_that_they_have() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = format!("t={}", file(folder.path(), "t.jsonl", LINES));
    let query = "SELECT typeof(branch) AS b, typeof(amount) AS a, typeof(n) AS n, typeof(tags) AS t FROM t LIMIT 1";
    let said = stdout_of(&tidegate(&["sql", query, "--input", &input, "--json"]));
    assert_eq!(said, "{\"b\":\"string\",\"a\":\"double\",\"n\":\"bigint\",\"t\":\"array<string>\"}\n");
    let query = "SELECT coalesce(branch, '-') AS b, sum(amount) AS s FROM t GROUP BY 1 ORDER BY s";
    let said = stdout_of(&tidegate(&["sql", query, "--input", &input]));
    assert_eq!(said, "b     | s\n------+-----\n-     |  1.0\nSPB   |  3.0\nKazan | 12.5\n");
}

#[test]
fn a_session_time_zone_governs_texts_records_and_results() {
    let folder = tempfile::tempdir().expect("a folder");
    let line = "{\"at\":\"2026-07-01 00:30:00\"}\n";
    let input = format!("t={}", file(folder.path(), "t.jsonl", line));
    let query =
        "SELECT at, cast(at AS date) AS day, hour(at) AS h, unix_seconds(at) AS s, current_timezone() AS z FROM t";
    let given = ["--input", &input, "--columns", "t=at timestamp", "--time-zone", "Europe/Berlin"];
    let said = stdout_of(&tidegate(&[&["sql", query, "--json"][..], &given].concat()));
    let row = "{\"at\":\"2026-07-01T00:30:00.000+02:00\",\"day\":\"2026-07-01\",\"h\":0,\"s\":1782858600,\"z\":\"Europe/Berlin\"}\n";
    assert_eq!(said, row);
    let said = stdout_of(&tidegate(&[&["sql", "SELECT at FROM t"][..], &given].concat()));
    assert!(said.contains("2026-07-01 00:30:00"), "{said}");
    let said =
        stdout_of(&tidegate(&["sql", "SELECT hour(timestamp_seconds(0)) AS h", "--time-zone", "-02:30", "--json"]));
    assert_eq!(said, "{\"h\":21}\n");
    fails(&["sql", "SELECT 1", "--time-zone", "Mars/Base"], &["'Mars/Base' is no time zone", "Europe/Berlin"]);
}

#[test]
fn declared_columns_win_and_what_does_not_fit_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = format!("t={}", file(folder.path(), "t.jsonl", LINES));
    let arguments = ["sql", "SELECT * FROM t", "--input", &input, "--columns", "t=branch string, amount int", "--json"];
    let output = tidegate(&arguments);
    assert_eq!(
        stdout_of(&output),
        "{\"branch\":\"SPB\",\"amount\":3}\n{\"branch\":null,\"amount\":1}\n",
        "12.5 is no int"
    );
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("t.jsonl line 1 is left out") && told.contains("amount"), "{told}");
}

#[test]
fn csv_has_a_head_line_and_types() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = format!("c={}", file(folder.path(), "c.csv", CSV));
    let said = stdout_of(&tidegate(&["sql", "SELECT * FROM c", "--input", &input, "--json"]));
    assert_eq!(
        said,
        "{\"id\":1,\"name\":\"a, b\",\"price\":1.5,\"day\":\"2026-01-01\",\"ok\":true}\n\
         {\"id\":2,\"name\":null,\"price\":2.0,\"day\":\"2026-01-02\",\"ok\":false}\n\
         {\"id\":3,\"name\":\"two\\nlines\",\"price\":null,\"day\":null,\"ok\":null}\n"
    );
    let declared =
        ["sql", "SELECT * FROM c", "--input", &input, "--columns", "c=price decimal(4,2), name int", "--json"];
    let output = tidegate(&declared);
    assert_eq!(stdout_of(&output), "{\"price\":2.00,\"name\":null}\n");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("line 2 is left out: column 'name': 'a, b' does not fit int"), "{told}");
}

#[test]
fn statements_come_from_standard_input() {
    let mut child =
        command(&["sql", "-", "--json"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("tidegate starts");
    let mut input = child.stdin.take().expect("standard input is piped");
    input.write_all(b"SELECT ';' AS a; -- one\nWITH x AS (SELECT 2 AS b) SELECT * FROM x;\n").expect("it is written");
    drop(input);
    let output = child.wait_with_output().expect("tidegate ends");
    assert_eq!(stdout_of(&output), "{\"a\":\";\"}\n{\"b\":2}\n");
}

#[test]
fn functions_are_listed() {
    let all = stdout_of(&tidegate(&["sql", "--functions"]));
    assert!(all.lines().count() > 400 && all.contains("size without sign"), "{all}");
    assert!(!all.contains("hll_sketch_agg"), "{all}");
    let one = stdout_of(&tidegate(&["sql", "--functions", "ABS"]));
    assert_eq!(
        one,
        "abs(x)\n  size without sign; of the smallest integer raises\n  supported: yes\n  SELECT abs(-1)\n    1\n"
    );
    let json = stdout_of(&tidegate(&["sql", "--functions", "hll_sketch_agg", "--json"]));
    assert!(json.contains("\"supported\":\"no\""), "{json}");
    fails(&["sql", "--functions", "absolute_value_of"], &["no built-in function", "--functions lists them"]);
    fails(&["sql", "--functions", "substrin"], &["did you mean 'substring'?"]);
}

#[test]
fn mistakes_have_a_place_and_a_remedy() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = format!("orders={}", file(folder.path(), "o.jsonl", "{\"amount\":1}\n"));
    let bad = format!("c={}", file(folder.path(), "c.csv", "a,b\n1,\"open\n"));
    let none = format!("e={}", file(folder.path(), "e.jsonl", "[1]\n"));
    for (arguments, words) in [
        (&["SELECT abz(-1)"][..], &["Invalid function 'abz'", "Did you mean 'abs'", "line 1: SELECT abz(-1)"][..]),
        (&["SELECT 1;\nSELECT a,\n  amuont FROM (SELECT 1 AS amount, 2 AS a)"], &["line 3:   amuont", "'amount'"]),
        (&["SELECT * FROM order", "--input", &input], &["there is no table 'order'", "did you mean 'orders'?"]),
        (&["SELECT * FROM t"], &["there is no table 't'", "--input NAME=PATH"]),
        (&["SELECT 1 / 0"], &["[DIVIDE_BY_ZERO]", "try_divide"]),
        (&["SELECT 1 +"], &["SQL: ", "found: EOF"]),
        (&["DROP TABLE t"], &["only a query"]),
        (&[" ; "], &["there is no statement", "tidegate sql 'SELECT"]),
        (&["SELECT 1", "--input", "t"], &["NAME=PATH"]),
        (&["SELECT 1", "--input", "t=/nowhere"], &["/nowhere cannot be opened"]),
        (&["SELECT 1", "--input", &input, "--input", &input], &["'orders' twice"]),
        (&["SELECT 1", "--columns", "t=a int"], &["which no --input fills", "--input t=PATH"]),
        (&["SELECT 1", "--input", &input, "--columns", "orders=a nit"], &["--columns orders", "no such type"]),
        (&["SELECT 1", "--input", &bad], &["line 2: a quote is not closed"]),
        (&["SELECT 1", "--input", &none], &["no JSON object", "--columns 'e="]),
        (&["-", "--input", "t=-"], &["standard input cannot hold both"]),
    ] {
        let all: Vec<&str> = ["sql"].iter().chain(arguments).copied().collect();
        fails(&all, words);
    }
}
