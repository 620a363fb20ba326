//! No function panics, whatever it is given: the templates of `tests/spark/grammar.py` over the ends of every type.

use std::collections::BTreeSet;

use tidegate_engine::AdHoc;

use crate::examples::NOW;
use crate::json::Json;
use crate::typed::{lines, run};

/// Per type of the grammar what stands in its place: largest, smallest, and odd values.
const ENDS: &[(&str, [&str; 3])] = &[
    ("TI", ["127Y", "-128Y", "0Y"]),
    ("SI", ["32767S", "-32768S", "-1S"]),
    ("I", ["2147483647", "(-2147483648)", "-1"]),
    ("L", ["9223372036854775807L", "(-9223372036854775808L)", "-1L"]),
    ("F", ["cast('Infinity' AS float)", "cast(-3.4028234663852886E38 AS float)", "cast('NaN' AS float)"]),
    ("D", ["1.7976931348623157E308D", "cast('-Infinity' AS double)", "cast('NaN' AS double)"]),
    (
        "M",
        ["cast(9999999999.99 AS decimal(12,2))", "cast(-9999999999.99 AS decimal(12,2))", "cast(0 AS decimal(12,2))"],
    ),
    (
        "W",
        [
            "cast(9999999999999999999999999999.9999999999 AS decimal(38,10))",
            "cast(-9999999999999999999999999999.9999999999 AS decimal(38,10))",
            "cast(0.0000000001 AS decimal(38,10))",
        ],
    ),
    ("S", ["repeat('😀e\u{301}', 40)", "''", "'İ\\0ß%s\\\\'"]),
    ("B", ["true", "false", "true"]),
    ("BIN", ["X'FFFFFFFFFFFFFFFFFF'", "X''", "X'C3'"]),
    ("DT", ["date_from_unix_date(2147483647)", "date_from_unix_date(-2147483648)", "DATE '0001-01-01'"]),
    (
        "TS",
        [
            "timestamp_micros(9223372036854775807L)",
            "timestamp_micros(-9223372036854775807L - 1L)",
            "TIMESTAMP '0001-01-01 00:00:00'",
        ],
    ),
    (
        "NTZ",
        [
            "cast(timestamp_micros(9223372036854775807L) AS timestamp_ntz)",
            "cast(timestamp_micros(-9223372036854775807L - 1L) AS timestamp_ntz)",
            "TIMESTAMP_NTZ '9999-12-31 23:59:59.999999'",
        ],
    ),
    ("YM", ["make_ym_interval(0, 2147483647)", "make_ym_interval(0, -2147483647)", "make_ym_interval(0, 0)"]),
    (
        "DS",
        [
            "INTERVAL '106751991 04:00:54.775807' DAY TO SECOND",
            "INTERVAL '-106751991 04:00:54.775807' DAY TO SECOND",
            "INTERVAL '0' DAY",
        ],
    ),
    ("AI", ["array(2147483647, NULL, -2147483648)", "cast(array() AS array<int>)", "array(0)"]),
    ("AS", ["array('', NULL, '😀')", "cast(array() AS array<string>)", "array('%')"]),
    ("MP", ["map('', 2147483647)", "cast(map() AS map<string,int>)", "map('k', cast(NULL AS int))"]),
    (
        "ST",
        ["named_struct('a', 2147483647, 'b', '')", "named_struct('a', -1, 'b', '😀')", "named_struct('a', 0, 'b', '')"],
    ),
];

/// What stands for a place of several types, one after the other.
const OF_SEVERAL: &[(&str, &[&str])] = &[
    ("T", &["TS", "DT", "DS", "W"]),
    ("T2", &["S", "NTZ"]),
    ("Q", &["D", "TS"]),
    ("N", &["L", "W", "D", "TI"]),
    ("N2", &["L", "TI"]),
    ("N3", &["L", "W"]),
    ("K", &["I"]),
    ("K2", &["I"]),
    ("M2", &["M"]),
];
const CONSTANTS: &[(&str, &str)] =
    &[("U", "MONTH"), ("Z", "'Australia/Lord_Howe'"), ("FMT", "'yyyy-MM-dd'"), ("P", "'(a|b)*'")];

/// A template with a row's columns in its places; `turn` chooses among several types.
fn filled(template: &str, turn: usize) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, (mark, behind))) = rest.split_once('{').and_then(|(a, b)| Some((a, b.split_once('}')?))) {
        let several = OF_SEVERAL.iter().find(|(known, _)| *known == mark).map(|(_, kinds)| kinds[turn % kinds.len()]);
        let constant = CONSTANTS.iter().find(|(known, _)| *known == mark).map(|(_, text)| (*text).to_owned());
        out.push_str(before);
        out.push_str(&constant.unwrap_or_else(|| format!("c_{}", several.unwrap_or(mark).to_lowercase())));
        rest = behind;
    }
    out + rest
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "the counts are shown with --nocapture")]
async fn no_function_panics_at_the_ends_of_its_types() {
    let templates: BTreeSet<String> = lines("TIDEGATE_TYPED_CASES", "typed")
        .iter()
        .map(|case| case.get("f"))
        .filter(|f| *f != &Json::Null)
        .map(|f| f.text().to_owned())
        .collect();
    assert!(templates.len() > 500, "{} templates", templates.len());
    let (mut asked, mut answered, mut raised, mut panics) = (0, 0, 0, Vec::new());
    for end in 0..3 {
        let columns: Vec<String> =
            ENDS.iter().map(|(kind, ends)| format!("{} AS c_{}", ends[end], kind.to_lowercase())).collect();
        let row = run(&AdHoc::new(NOW), &format!("SELECT {}", columns.join(", "))).await.expect("a row");
        let mut adhoc = AdHoc::new(NOW);
        adhoc.add("t", row);
        for template in &templates {
            for turn in 0..4 {
                let expression = filled(template, turn);
                if turn > 0 && expression == filled(template, turn - 1) {
                    break;
                }
                asked += 1;
                match run(&adhoc, &format!("SELECT {expression} AS c FROM t")).await {
                    Ok(_) => answered += 1,
                    Err(message) if message == "panics" => panics.push(format!("row {end}: {expression}")),
                    // Most that do not answer raise, with a class in brackets.
                    Err(message) => raised += usize::from(message.starts_with('[')),
                }
            }
        }
    }
    println!("{answered} of {asked} expressions answer, {raised} raise");
    assert!(
        answered * 2 > asked && answered + raised > asked * 9 / 10,
        "{answered} answer and {raised} raise of {asked}"
    );
    assert!(panics.is_empty(), "{} of {asked} expressions panic:\n{}", panics.len(), panics.join("\n"));
}
