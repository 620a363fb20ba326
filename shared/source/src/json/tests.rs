use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int8Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, RecordBatch};
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use tidegate_core::types::{SqlType, parse_columns};
use tidegate_core::{Position, Timestamp};

use super::*;
use crate::schema::{Column, MetadataColumn, TimestampUnit};

fn decoder(ddl: &str) -> JsonDecoder {
    let column = |(name, ty)| Column { name, ty, timestamp_unit: None };
    let columns = parse_columns(ddl).unwrap().into_iter().map(column).collect();
    JsonDecoder::new(SourceSchema { columns, metadata: Vec::new() })
}

fn records<'a>(payloads: impl IntoIterator<Item = &'a [u8]>) -> Records {
    let mut records = Records::new();
    for (i, payload) in (1u64..).zip(payloads) {
        records.push(Position::new(i), None, None, Vec::new(), payload);
    }
    records
}

fn decode(ddl: &str, payloads: &[&str]) -> Decoded {
    decoder(ddl).decode(&records(payloads.iter().map(|p| p.as_bytes())), "0").unwrap()
}

/// A cell as text: `-` for NULL.
fn cell(array: &dyn Array, row: usize) -> String {
    use arrow_schema::DataType as T;
    if array.is_null(row) {
        return "-".to_owned();
    }
    let join = |array: &dyn Array| (0..array.len()).map(|i| cell(array, i)).collect::<Vec<_>>().join(",");
    match array.data_type() {
        T::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        T::Boolean => array.as_boolean().value(row).to_string(),
        T::Int8 => array.as_primitive::<Int8Type>().value(row).to_string(),
        T::Int16 => array.as_primitive::<arrow_array::types::Int16Type>().value(row).to_string(),
        T::Int32 => array.as_primitive::<arrow_array::types::Int32Type>().value(row).to_string(),
        T::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
        T::Float32 => format!("{:?}", array.as_primitive::<Float32Type>().value(row)),
        T::Float64 => format!("{:?}", array.as_primitive::<Float64Type>().value(row)),
        T::Decimal128(..) => array.as_primitive::<arrow_array::types::Decimal128Type>().value_as_string(row),
        T::Date32 => array.as_primitive::<arrow_array::types::Date32Type>().value_as_date(row).unwrap().to_string(),
        T::Timestamp(..) => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
            format!("{}|{}", Timestamp(micros), micros.rem_euclid(1000))
        }
        T::Binary => format!("{:?}", array.as_binary::<i32>().value(row)),
        T::List(_) => format!("[{}]", join(&array.as_list::<i32>().value(row))),
        T::Struct(_) => {
            let columns = array.as_struct().columns().iter();
            format!("({})", columns.map(|column| cell(column, row)).collect::<Vec<_>>().join(","))
        }
        T::Map(..) => {
            let entries = array.as_map().value(row);
            let entry = |i| format!("{}={}", cell(entries.column(0), i), cell(entries.column(1), i));
            format!("{{{}}}", (0..entries.len()).map(entry).collect::<Vec<_>>().join(","))
        }
        other => panic!("no text for {other}"),
    }
}

fn row(batch: &RecordBatch, row: usize) -> Vec<String> {
    batch.columns().iter().map(|column| cell(column, row)).collect()
}

/// What `value` becomes in a column of type `ty`: its text, or the reason why it does not fit.
fn value(ty: &str, value: &str) -> Result<String, String> {
    let decoded = decode(&format!("v {ty}"), &[&format!("{{\"v\":{value}}}")]);
    match decoded.rejected.as_slice() {
        [] => Ok(row(&decoded.batch, 0).remove(0)),
        [rejected] => {
            assert_eq!(decoded.batch.num_rows(), 0);
            Err(rejected.reason.clone())
        }
        more => panic!("{more:?}"),
    }
}

#[track_caller]
fn fits(ty: &str, cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(value(ty, text).as_deref(), Ok(*expected), "{text} as {ty}");
    }
}

#[track_caller]
fn misfits(ty: &str, cases: &[&str]) {
    for text in cases {
        let reason = value(ty, text).expect_err(&format!("{text} must not fit {ty}"));
        assert!(reason.contains("column 'v'") && reason.contains("does not fit"), "{text} as {ty}: {reason}");
    }
}

#[test]
fn whole_numbers() {
    fits("int", &[("1", "1"), ("-2147483648", "-2147483648"), ("-0", "0"), ("null", "-")]);
    misfits("int", &["1.0", "\"1\"", "1.5", "3000000000", "-2147483649", "1e0", "true", "{}", "[1]", "\"\"", "NaN"]);
    fits("bigint", &[("9223372036854775807", "9223372036854775807"), ("-9223372036854775808", "-9223372036854775808")]);
    misfits("bigint", &["9223372036854775808", "-9223372036854775809", "99999999999999999999999", "1.0"]);
    fits("smallint", &[("-32768", "-32768")]);
    misfits("smallint", &["32768"]);
    fits("tinyint", &[("127", "127"), ("-128", "-128"), ("200", "-56"), ("255", "-1")]);
    misfits("tinyint", &["256", "-129"]);
}

#[test]
fn floating_point_numbers() {
    let cases =
        [("1", "1.0"), ("12.34", "12.34"), ("-0.0", "-0.0"), ("-0", "0.0"), ("1e400", "inf"), ("-1e400", "-inf")];
    fits("double", &cases);
    fits("double", &[("\"NaN\"", "NaN"), ("\"Infinity\"", "inf"), ("\"-Infinity\"", "-inf"), ("\"+INF\"", "inf")]);
    fits("double", &[("NaN", "NaN"), ("-Infinity", "-inf"), ("-INF", "-inf"), ("1e-400", "0.0"), ("5e-324", "5e-324")]);
    fits(
        "double",
        &[
            ("9007199254740993", "9007199254740992.0"),
            ("0.1e-6", "1e-7"),
            ("123456789012345678901", "1.2345678901234568e20"),
        ],
    );
    misfits("double", &["\"1.5\"", "\"\"", "true", "[1]", "{}", "\"nan\"", "\"INF\""]);
    fits(
        "float",
        &[("0.1", "0.1"), ("16777217", "16777216.0"), ("\"NaN\"", "NaN"), ("1e39", "inf"), ("Infinity", "inf")],
    );
    misfits("float", &["\"0.1\"", "\"\""]);
}

#[test]
fn booleans_and_texts() {
    fits("boolean", &[("true", "true"), ("false", "false"), ("null", "-")]);
    misfits("boolean", &["\"true\"", "1", "\"\"", "[]"]);
    fits(
        "string",
        &[("12", "12"), ("1.50", "1.50"), ("true", "true"), ("{\"a\": 1}", "{\"a\": 1}"), ("[1, 2]", "[1, 2]")],
    );
    fits(
        "string",
        &[("\"\"", ""), ("null", "-"), ("\"null\"", "null"), ("NaN", "NaN"), ("{ \"b\" :[ ]}", "{ \"b\" :[ ]}")],
    );
    fits(
        "string",
        &[(r#""a\u00e9\n\"\\\/""#, "a\u{e9}\n\"\\/"), (r#""\ud83d\ude00""#, "\u{1F600}"), (r#""\ud83d""#, "?")],
    );
    fits("string", &[("\"\u{1F600}\u{e9}\"", "\u{1F600}\u{e9}")]);
}

#[test]
fn times() {
    let midnight = "2026-01-01T00:00:00.000Z|0";
    fits("timestamp", &[("\"2026-01-01\"", midnight), ("\"2026-01-01 00:00:00\"", midnight), ("1767225600", midnight)]);
    fits(
        "timestamp",
        &[
            ("\"2026-01-01T01:00:00+01:00\"", midnight),
            ("\"2026-01-01T00:00:00.123456789Z\"", "2026-01-01T00:00:00.123Z|456"),
            ("\"2026-01-01T00:00:00\\u002e5Z\"", "2026-01-01T00:00:00.500Z|0"),
            ("-1", "1969-12-31T23:59:59.000Z|0"),
            ("\" 2026-01-01 \"", midnight),
        ],
    );
    misfits("timestamp", &["\"\"", "\"x\"", "1.5", "true", "\"2026-02-30\"", "9223372036854775807", "\"10:00\"", "{}"]);
    fits("timestamp_ntz", &[("\"2026-01-01T00:00:00\"", midnight)]);
    misfits("timestamp_ntz", &["\"2026-01-01T00:00:00Z\"", "1767225600", "\"\""]);
    fits(
        "date",
        &[("\"2026-01-05\"", "2026-01-05"), ("\"2026-1-5\"", "2026-01-05"), ("\"2026-01-05T10:00\"", "2026-01-05")],
    );
    misfits("date", &["\"2026-02-30\"", "\"\"", "5", "\"x\""]);
}

#[test]
fn numbers_count_in_the_columns_unit() {
    for (unit, number) in [
        (TimestampUnit::Seconds, 1_767_225_600_i64),
        (TimestampUnit::Millis, 1_767_225_600_000),
        (TimestampUnit::Micros, 1_767_225_600_000_000),
        (TimestampUnit::Nanos, 1_767_225_600_000_000_999),
    ] {
        let ty = SqlType::parse("struct<t:array<timestamp>>").unwrap();
        let columns = vec![Column { name: "v".into(), ty, timestamp_unit: Some(unit) }];
        let payload = format!("{{\"v\":{{\"t\":[{number}]}}}}");
        let mut decoder = JsonDecoder::new(SourceSchema { columns, metadata: vec![] });
        let decoded = decoder.decode(&records([payload.as_bytes()]), "0").unwrap();
        assert_eq!(row(&decoded.batch, 0), ["([2026-01-01T00:00:00.000Z|0])"], "{unit:?}");
    }
}

#[test]
fn decimals_and_bytes() {
    fits(
        "decimal(12,2)",
        &[("1.005", "1.01"), ("\"1.50\"", "1.50"), ("-1.005", "-1.01"), ("\"1,000\"", "1000.00"), ("12", "12.00")],
    );
    misfits("decimal(12,2)", &["12345678901", "\"\"", "\"x\"", "true", "\"NaN\"", "1e400", "NaN"]);
    fits("binary", &[("\"SGk=\"", "[72, 105]"), ("\"\"", "[]"), ("\"S\\u0047k=\"", "[72, 105]")]);
    misfits("binary", &["\"SGk\"", "\"?\"", "1", "[1]"]);
}

#[test]
fn nested_values() {
    fits("struct<a:int,b:string>", &[("{\"b\":1,\"a\":2,\"c\":{}}", "(2,1)"), ("{}", "(-,-)"), ("null", "-")]);
    misfits("struct<a:int>", &["[]", "\"x\"", "1"]);
    fits("array<int>", &[("[1,null, 3 ]", "[1,-,3]"), ("[]", "[]"), ("null", "-")]);
    misfits("array<int>", &["\"x\"", "{}", "1"]);
    fits(
        "map<string,int>",
        &[("{\"a\":1,\"b\":null,\"a\":2}", "{a=1,b=-,a=2}"), ("{}", "{}"), ("{\"\\u0061\":1}", "{a=1}")],
    );
    misfits("map<string,int>", &["[]", "1"]);
    fits(
        "array<struct<a:array<int>,m:map<string,array<string>>>>",
        &[("[{\"a\":[1]},null,{\"m\":{\"k\":[\"x\",{}]}}]", "[([1],-),-,(-,{k=[x,{}]})]")],
    );
    for (ty, text, reason) in [
        ("struct<a:int>", "{\"a\":\"x\"}", "column 'v.a': \"x\" does not fit int"),
        ("map<string,int>", "{\"b\":\"x\"}", "column 'v['b']': \"x\" does not fit int"),
        ("array<struct<a:int>>", "[{},{\"a\":[1, 2]}]", "column 'v[].a': [1, 2] does not fit int"),
        ("map<int,int>", "{}", "column 'v': {} does not fit map<int,int>"),
    ] {
        assert_eq!(value(ty, text), Err(reason.to_owned()));
    }
}

#[test]
fn keys() {
    let decoded = decode(
        "a int, b string",
        &[
            r#"{"a":1,"b":"x"}"#,
            r#"{"b":"y","a":2}"#,
            r#"{"a":1,"a":2,"b":"x","b":null}"#,
            r#"{"A":1,"B":"x","c":[{"a":5}]}"#,
            r#"{ "\u0061" : 7 , "x" : NaN }"#,
            "{}",
            r#"{"a":null,"a":3}"#,
        ],
    );
    let rows: Vec<_> = (0..decoded.batch.num_rows()).map(|i| row(&decoded.batch, i).join(" ")).collect();
    assert_eq!(rows, ["1 x", "2 y", "2 -", "- -", "7 -", "- -", "3 -"]);
    // The first of two values does not fit: Spark calls the record corrupt as well.
    assert_eq!(decode("a int", &[r#"{"a":"x","a":1}"#]).rejected.len(), 1);
}

#[test]
fn records_that_are_no_objects() {
    for (text, part) in [
        ("null", "no JSON object but null"),
        ("12", "no JSON object but 12"),
        ("\"x\"", "no JSON object"),
        ("[1]", "no JSON object but 1"),
        ("[{\"a\":1},null]", "no JSON object but null"),
        ("{\"a\":01}", "leading zero"),
        ("{\"a\":1", "at its end"),
        ("{\"a\":", "no JSON"),
        ("{'a':1}", "double quotes"),
        ("{\"a\":1} x", "text behind the record"),
        ("{\"a\":1}{\"a\":2}", "text behind"),
        ("{\"a\":1,}", "key in double quotes"),
        ("{\"z\":'x'}", "a value is expected"),
        ("{\"z\":\"\t\"}", "control character"),
        ("[{\"a\":1}", "no JSON"),
        ("\u{feff}{\"a\":1}x", "text behind"),
        ("x", "a value is expected"),
    ] {
        let decoded = decode("a int", &[text]);
        assert_eq!((decoded.batch.num_rows(), decoded.rejected.len()), (0, 1), "{text}");
        assert!(decoded.rejected[0].reason.contains(part), "{text}: {}", decoded.rejected[0].reason);
    }
    let deep = format!("{{\"z\":{}1{}}}", "[".repeat(1000), "]".repeat(1000));
    assert!(decode("a int", &[&deep]).rejected[0].reason.contains("1000 deep"));
    assert!(decode("a int", &[&deep.replacen("[[", "[", 1).replacen("]]", "]", 1)]).rejected.is_empty());
}

#[test]
fn rows_records_and_rejections_are_told_apart() {
    let payloads: [&[u8]; 9] = [
        b"{\"a\":1}",
        b"",
        b" \r\n\t",
        b"[{\"a\":2},{\"a\":3}]",
        b"{\"s\":{\"x\":[1,2]},\"a\":\"bad\"}",
        b"[]",
        b"[{\"a\":4},{\"a\":\"bad\"}]",
        b"{\"a\":\"\xff\"}",
        b"\xef\xbb\xbf{\"a\":5,\"s\":{\"x\":[9]}}",
    ];
    let mut all = records(payloads);
    all.push_undecodable(Position::new(10), None, None, vec![], b"raw", "broken before");
    let decoded = decoder("s struct<x:array<int>>, a int").decode(&all, "0").unwrap();
    let rows: Vec<_> = (0..decoded.batch.num_rows()).map(|i| row(&decoded.batch, i).join(" ")).collect();
    assert_eq!(rows, ["- 1", "- 2", "- 3", "([9]) 5"]);
    assert_eq!(decoded.record_of_row, [0, 3, 3, 8]);
    let rejected: Vec<_> = decoded.rejected.iter().map(|r| (r.record, r.reason.as_str())).collect();
    assert_eq!(rejected[0], (4, "column 'a': \"bad\" does not fit int"));
    assert_eq!(rejected[1].0, 6);
    assert_eq!(rejected[2], (7, "the record is no UTF-8 text: byte 6 is wrong"));
    assert_eq!(rejected[3], (9, "broken before"));
    let many = format!("[{}{{}}]", "{},".repeat(MAX_ROWS_PER_RECORD));
    assert!(decode("a int", &[&many]).rejected[0].reason.contains("100000"));
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(1000));
    assert!(decode("a int", &[&long]).rejected[0].reason.len() < 120);
}

#[test]
fn metadata_columns() {
    let mut all = Records::new();
    let headers = vec![("h".to_owned(), vec![1]), ("h".to_owned(), vec![])];
    all.push(
        Position { sequence: 12u64.into(), sub: 3 },
        Some(Timestamp(5000)),
        Some(b"\xff"),
        headers,
        b"[{\"a\":1},{\"a\":2}]",
    );
    all.push(Position::new(13), None, None, vec![], b"{\"a\":3}");
    let columns = vec![Column { name: "a".into(), ty: SqlType::Int, timestamp_unit: None }];
    let mut decoder = JsonDecoder::new(SourceSchema { columns, metadata: MetadataColumn::ALL.to_vec() });
    let batch = decoder.decode(&all, "shard-1").unwrap().batch;
    assert_eq!(batch.schema(), *decoder.schema());
    let first = ["1", "[255]", "shard-1", "12.3", "1970-01-01T00:00:00.005Z|0", "{h=[1],h=[]}"];
    assert_eq!(row(&batch, 0), first);
    assert_eq!(row(&batch, 1)[1..], first[1..]);
    assert_eq!(row(&batch, 2), ["3", "-", "shard-1", "13", "-", "{}"]);
}

#[test]
fn an_empty_batch_and_no_columns() {
    let decoded = decode("a int, m map<string,struct<x:int>>", &[]);
    assert_eq!((decoded.batch.num_rows(), decoded.batch.num_columns()), (0, 2));
    let mut bare = JsonDecoder::new(SourceSchema { columns: vec![], metadata: vec![] });
    let decoded = bare.decode(&records([&b"{\"a\":1}"[..], b"{"]), "0").unwrap();
    assert_eq!((decoded.batch.num_rows(), decoded.rejected.len()), (1, 1));
}

/// JSON values that often, but not always, fit the columns of [`DDL`].
fn any_value() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        (-1000i64..1000).prop_map(Json::from),
        any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(Json::from),
        (-100_000i32..100_000).prop_map(|n| Json::from(f64::from(n) / 100.0)),
        "\\PC{0,12}".prop_map(Json::from),
        "[\"\\\\\\n\u{0}-\u{1f}a-z]{0,12}".prop_map(Json::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Json::from),
            proptest::collection::hash_map("[ab]", inner, 0..3).prop_map(|map| json!(map)),
        ]
    })
}

const DDL: &str = "i int, l bigint, d double, b boolean, s string, f float";

/// The slow and obvious answer for one column; `None` when the value does not fit.
fn reference(column: &str, value: &Json, written: &str) -> Option<String> {
    Some(match (column, value) {
        (_, Json::Null) => "-".to_owned(),
        ("i", v) => i32::try_from(v.as_i64()?).ok()?.to_string(),
        ("l", v) => v.as_i64()?.to_string(),
        ("d", Json::Number(_)) => format!("{:?}", written.parse::<f64>().ok()?),
        ("f", Json::Number(_)) => format!("{:?}", written.parse::<f32>().ok()?),
        ("d" | "f", Json::String(text)) if text == "NaN" => "NaN".to_owned(),
        ("b", v) => v.as_bool()?.to_string(),
        ("s", Json::String(text)) => text.clone(),
        ("s", _) => written.to_owned(),
        _ => return None,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn equals_a_slow_reading(
        objects in proptest::collection::vec(
            proptest::collection::vec((prop_oneof![Just("i"), Just("l"), Just("d"), Just("b"), Just("s"), Just("f"), Just("x"), Just("other")], any_value()), 0..8),
            1..8,
        ),
        blank in prop_oneof![Just(""), Just(" "), Just("\n\t")],
    ) {
        let mut payloads = Vec::new();
        let mut expected = Vec::new();
        for object in &objects {
            let mut row: std::collections::BTreeMap<&str, Option<String>> = std::collections::BTreeMap::new();
            let mut fits = true;
            let mut text = format!("{blank}{{{blank}");
            for (i, (key, value)) in object.iter().enumerate() {
                let written = value.to_string();
                let comma = if i > 0 { "," } else { "" };
                text += &format!("{comma}{blank}\"{key}\"{blank}:{blank}{written}{blank}");
                let answer = reference(key, value, &written);
                fits &= answer.is_some() || matches!(*key, "x" | "other");
                row.insert(key, answer);
            }
            payloads.push(text + "}" + blank);
            let columns = ["i", "l", "d", "b", "s", "f"].iter();
            expected.push(fits.then(|| columns.map(|c| row.get(c).cloned().flatten().unwrap_or("-".into())).collect::<Vec<_>>()));
        }
        let mut decoder = decoder(DDL);
        let records = records(payloads.iter().map(|p| p.as_bytes()));
        // Twice: what the first time taught must not change the answers.
        for _ in 0..2 {
            let decoded = decoder.decode(&records, "0").unwrap();
            let mut answers: Vec<Option<Vec<String>>> = vec![None; payloads.len()];
            for (i, record) in decoded.record_of_row.iter().enumerate() {
                answers[*record as usize] = Some(row(&decoded.batch, i));
            }
            prop_assert_eq!(&answers, &expected, "{:?}", payloads);
            prop_assert_eq!(decoded.rejected.len(), expected.iter().filter(|e| e.is_none()).count());
        }
    }

    #[test]
    fn never_panics_and_leaves_no_half_rows(
        broken in proptest::collection::vec(prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..30),
            "[\\[\\]{}:,\"\\\\abst0-9.eEn -]{0,40}".prop_map(String::into_bytes),
            (0usize..200, any::<u8>(), any::<bool>()).prop_map(|(at, byte, cut)| {
                let mut text = br#"{"a":[{"x":1.5,"y":["p","q\n"]},null],"b":{"k":{"z":true},"l":null},"s":"t","t":"2026-01-01T00:00:00Z","n":"QUJD","e":12.50}"#.to_vec();
                let at = at.min(text.len() - 1);
                if cut { text.truncate(at) } else { text[at] = byte }
                text
            }),
        ], 0..12),
    ) {
        let ddl = "a array<struct<x:double,y:array<string>>>, b map<string,struct<z:boolean>>, s string, t timestamp, n binary, e decimal(8,2)";
        let good = br#"{"a":[{"x":1.5,"y":["p","q\n"]},null],"b":{"k":{"z":true},"l":null},"s":"t","t":"2026-01-01T00:00:00Z","n":"QUJD","e":12.50}"#;
        let mut payloads: Vec<&[u8]> = Vec::new();
        for payload in &broken {
            payloads.extend([payload.as_slice(), good]);
        }
        let decoded = decoder(ddl).decode(&records(payloads.iter().copied()), "0").unwrap();
        prop_assert_eq!(decoded.record_of_row.len(), decoded.batch.num_rows());
        for (i, record) in decoded.record_of_row.iter().enumerate() {
            if record % 2 == 1 {
                let expected = "[(1.5,[p,q\n]),-] {k=(true),l=-} t 2026-01-01T00:00:00.000Z|0 [65, 66, 67] 12.50";
                prop_assert_eq!(row(&decoded.batch, i).join(" "), expected);
            }
        }
        let good_rows = decoded.record_of_row.iter().filter(|record| *record % 2 == 1).count();
        prop_assert_eq!(good_rows, broken.len());
    }
}
