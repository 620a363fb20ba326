//! Answers that were asked of Spark one by one: expression, value, type.

use tidegate_engine::dialect::Dialect;

use crate::json::Json;
use crate::session::{batch, run, schema};

const REFERENCE: &str = "select from_unixtime(unix_timestamp()) as curr_time, t.branch as branch_name, \
     t.currency as currency_code, sum(amount) as batch_value from treasury_stream t group by t.branch, t.currency";

#[tokio::test]
async fn the_reference_query_runs_as_it_stands() {
    let dialect = Dialect::new();
    dialect.clock.set(1_767_225_600_000_000);
    let schema = schema("branch string, currency string, amount double");
    let lines =
        [r#"{"branch":"SPB","currency":"USD","amount":1.5}"#, r#"{"branch":"SPB","currency":"USD","amount":2}"#];
    let input = batch(&schema, &lines.map(Json::parse));
    let answer = run(&dialect, &REFERENCE.replace("treasury_stream", "t"), input).await.unwrap();
    let row = r#"{"curr_time":"2026-01-01 00:00:00","branch_name":"SPB","currency_code":"USD","batch_value":3.5}"#;
    assert_eq!(answer.rows, [row]);
}

/// Expression, value, type: the table of answers that a bare DataFusion gives differently.
const ANSWERS: &[(&str, &str, &str)] = &[
    ("7/2", "3.5", "double"),
    ("7 div 2 + 1", "4", "bigint"),
    ("cast(10 as decimal(10,2)) / cast(3 as decimal(10,2))", "3.3333333333333", "decimal(23,13)"),
    ("round(2.5)", "3", "decimal(2,0)"),
    ("floor(2.7D)", "2", "bigint"),
    ("ceil(-2.7D)", "-2", "bigint"),
    ("round(1.005D, 2)", "1.01", "double"),
    ("array(5, 6)[0]", "5", "int"),
    ("substring('hello', 0, 3)", "\"hel\"", "string"),
    ("substring('hello', -3, 2)", "\"ll\"", "string"),
    ("concat('a', null)", "null", "string"),
    ("regexp_replace('a1b2', '[0-9]', '#')", "\"a#b#\"", "string"),
    (r"'a_b' like 'a\_b'", "true", "boolean"),
    ("'a_b' like 'a/_b' escape '/'", "true", "boolean"),
    ("ln(0)", "null", "double"),
    ("sqrt(-1)", "\"NaN\"", "double"),
    ("cast(timestamp'2026-01-01 10:11:12.345' as string)", "\"2026-01-01 10:11:12.345\"", "string"),
    ("cast(1e10 as string)", "\"1.0E10\"", "string"),
    ("cast(timestamp'2026-01-01' as bigint)", "1767225600", "bigint"),
    ("date_format(timestamp'2026-01-01 10:11:12', 'yyyy-MM-dd HH:mm')", "\"2026-01-01 10:11\"", "string"),
    ("array_contains(array(1, null), 2)", "null", "boolean"),
    ("greatest(1, null)", "1", "int"),
    ("-7 % 5", "-2", "int"),
    ("named_struct('a', 1).a", "1", "int"),
    ("'abc' rlike 'b'", "true", "boolean"),
    ("1 <=> null", "false", "boolean"),
    ("try_divide(1, 0)", "null", "double"),
    ("1.5BD + 1L", "2.5", "decimal(3,1)"),
    ("-0.0D = 0.0D", "true", "boolean"),
    ("cast(-0.0D + i as double) < 0", "null", "boolean"),
    ("'3' * 2", "6", "bigint"),
    ("conv('-10', 10, 16)", "\"FFFFFFFFFFFFFFF6\"", "string"),
    ("floor(1.5)", "1", "decimal(2,0)"),
    ("initcap('a-b c')", "\"A-b C\"", "string"),
];

/// Answers of Spark to what its documentation has no example of.
#[tokio::test]
async fn keys_of_all_lengths_encrypt() {
    let dialect = Dialect::new();
    let input = batch(&schema("i int"), &[Json::Null]);
    for (expression, value) in [
        ("hex(aes_encrypt('', '0000111122223333', 'ECB'))", "\"A2B86E759170DE0DDA876438211908C0\""),
        (
            "hex(aes_encrypt('Spark', '000011112222333344445555', 'GCM', 'NONE', '123456789012', 'a'))",
            "\"313233343536373839303132132B22D2FEF14BE6AEF523E4E4628E77547AED83E2\"",
        ),
        (
            "hex(aes_encrypt('Spark SQL is long enough', '000011112222333344445555', 'CBC', 'PKCS', '1234567890123456'))",
            "\"313233343536373839303132333435369FE193048089BE3EB7D332AB8DABB3403E642BF242E616AB07C28DF0D71B07F4\"",
        ),
        ("try_aes_decrypt('x', '12')", "null"),
        ("try_aes_decrypt('x', '0000111122223333', 'CTR')", "null"),
    ] {
        let answer = run(&dialect, &format!("SELECT {expression} AS x FROM t"), input.clone()).await;
        let answer = answer.unwrap_or_else(|error| panic!("{expression}: {error}"));
        assert_eq!(answer.rows, [format!("{{\"x\":{value}}}")], "{expression}");
    }
}

#[tokio::test]
async fn the_answers_of_the_table() {
    let dialect = Dialect::new();
    let input = batch(&schema("i int"), &[Json::Null]);
    for (expression, value, ty) in ANSWERS {
        let answer = run(&dialect, &format!("SELECT {expression} AS x FROM t"), input.clone()).await;
        let answer = answer.unwrap_or_else(|error| panic!("{expression}: {error}"));
        assert_eq!(answer.rows, [format!("{{\"x\":{value}}}")], "{expression}");
        assert_eq!(answer.schema[0].1, *ty, "{expression}");
    }
}

#[tokio::test]
async fn rows_raise_with_the_class_of_spark() {
    use tidegate_engine::dialect::error::{Fault, classify};
    let dialect = Dialect::new();
    let schema = schema("i int, l bigint, d double, m decimal(4,2), a array<int>, s string");
    let line = r#"{"i":2147483647,"l":9223372036854775807,"d":0,"m":0,"a":[1],"s":"x"}"#;
    for (expression, class) in [
        ("i + 1", "ARITHMETIC_OVERFLOW"),
        ("l * 2", "ARITHMETIC_OVERFLOW"),
        ("1e0 / d", "DIVIDE_BY_ZERO"),
        ("m / m", "DIVIDE_BY_ZERO"),
        ("i % 0", "REMAINDER_BY_ZERO"),
        ("i div 0", "DIVIDE_BY_ZERO"),
        ("a[1]", "INVALID_ARRAY_INDEX"),
        ("cast(s as int)", "CAST_INVALID_INPUT"),
        ("aes_decrypt(s, '123')", "INVALID_PARAMETER_VALUE.AES_KEY_LENGTH"),
        ("aes_decrypt(s, '0000111122223333')", "INVALID_PARAMETER_VALUE.AES_CRYPTO_ERROR"),
        ("aes_encrypt(s, '0000111122223333', 'CTR', 'NONE', '1')", "UNSUPPORTED_FEATURE.AES_MODE"),
        ("aes_encrypt(s, '0000111122223333', 'GCM', 'NONE', '123')", "INVALID_PARAMETER_VALUE.AES_IV_LENGTH"),
        ("aes_encrypt(s, '0000111122223333', 'ECB', 'PKCS', '123')", "UNSUPPORTED_FEATURE.AES_MODE_IV"),
        (
            "aes_encrypt(s, '0000111122223333', 'CBC', 'PKCS', '1234567890123456', 'aad')",
            "UNSUPPORTED_FEATURE.AES_MODE_AAD",
        ),
        ("sum(l) + max(l)", "ARITHMETIC_OVERFLOW"),
        ("make_dt_interval(106751991, 5)", "INTERVAL_ARITHMETIC_OVERFLOW"),
        ("(SELECT sum(make_ym_interval(0, n)) FROM VALUES (2147483647), (1) AS u(n))", "INTERVAL_ARITHMETIC_OVERFLOW"),
        ("(SELECT avg(make_dt_interval(n)) FROM VALUES (106751990), (2) AS u(n))", "INTERVAL_ARITHMETIC_OVERFLOW"),
    ] {
        let input = batch(&schema, &[Json::parse(line)]);
        let error = run(&dialect, &format!("SELECT {expression} AS x FROM t"), input).await.unwrap_err();
        match classify(&error) {
            Fault::Row(row) => assert_eq!(row.class, class, "{expression}"),
            Fault::Plan => panic!("{expression}: {error}"),
        }
    }
}

/// Query and rows.
const QUERIES: &[(&str, &[&str])] = &[
    ("SELECT stack(2, 1, 'a', 2, 'b') AS (p, q)", &[r#"{"p":1,"q":"a"}"#, r#"{"p":2,"q":"b"}"#]),
    ("SELECT explode(map(1, 'x')) AS (k, v)", &[r#"{"k":1,"v":"x"}"#]),
    ("SELECT explode(array(1, 2)) AS (p)", &[r#"{"p":1}"#, r#"{"p":2}"#]),
    ("SELECT posexplode(array(10, 20)) AS (i, v)", &[r#"{"i":0,"v":10}"#, r#"{"i":1,"v":20}"#]),
    ("SELECT posexplode(map(1, 2)) AS (a, b, c)", &[r#"{"a":0,"b":1,"c":2}"#]),
    ("SELECT inline(array(struct(1, 'a'))) AS (p, q)", &[r#"{"p":1,"q":"a"}"#]),
    (r#"SELECT json_tuple('{"a":1,"b":2}', 'a', 'b') AS (p, q)"#, &[r#"{"p":"1","q":"2"}"#]),
    (
        "SELECT k, count(*) AS c FROM (SELECT explode(map(1, 'x', 2, 'y')) AS (k, V)) GROUP BY k ORDER BY K",
        &[r#"{"k":1,"c":1}"#, r#"{"k":2,"c":1}"#],
    ),
    (
        "SELECT cast(date'2021-01-03' - d AS string) AS x, cast(-(date'2021-01-03' - d) AS string) AS y, \
                cast(date'2021-01-03' - d AS bigint) AS z, typeof(g) AS t, cast(g AS string) AS u \
         FROM (SELECT d, date'2021-01-03' - d AS g FROM VALUES (date'2021-01-01') AS a(d))",
        &[r#"{"x":"INTERVAL '2' DAY","y":"INTERVAL '-2' DAY","z":2,"t":"interval day","u":"INTERVAL '2' DAY"}"#],
    ),
    ("SELECT try_sum(make_ym_interval(0, v)) IS NULL AS x FROM VALUES (2147483647), (1) AS u(v)", &[r#"{"x":true}"#]),
    ("SELECT try_avg(make_ym_interval(0, v)) IS NULL AS x FROM VALUES (2147483647), (1) AS u(v)", &[r#"{"x":true}"#]),
    (
        "SELECT cast(try_sum(make_dt_interval(v)) AS string) AS x FROM VALUES (106751990), (1) AS u(v)",
        &[r#"{"x":"INTERVAL '106751991 00:00:00' DAY TO SECOND"}"#],
    ),
    (
        "SELECT cast(try_avg(v) AS string) AS x FROM VALUES (9e27BD), (9e27BD) AS u(v)",
        &[r#"{"x":"9000000000000000000000000000.0000"}"#],
    ),
    (
        "SELECT cast(make_dt_interval(106751991, 4, 0, 54.775807) AS string) AS x",
        &[r#"{"x":"INTERVAL '106751991 04:00:54.775807' DAY TO SECOND"}"#],
    ),
];

#[tokio::test]
async fn queries_that_were_asked_of_spark_one_by_one() {
    let dialect = Dialect::new();
    for (query, rows) in QUERIES {
        let input = batch(&schema("i int"), &[]);
        let answer = run(&dialect, query, input).await.unwrap_or_else(|error| panic!("{query}: {error}"));
        assert_eq!(answer.rows, *rows, "{query}");
    }
}

#[tokio::test]
async fn orders_put_nulls_where_spark_does() {
    let dialect = Dialect::new();
    let lines = [r#"{"i":2}"#, r#"{"i":null}"#, r#"{"i":1}"#].map(Json::parse);
    for (order, wanted) in [
        ("i", ["null", "1", "2"]),
        ("i DESC", ["2", "1", "null"]),
        ("i NULLS LAST", ["1", "2", "null"]),
        ("i DESC NULLS FIRST", ["null", "2", "1"]),
    ] {
        let input = batch(&schema("i int"), &lines);
        let answer = run(&dialect, &format!("SELECT i FROM t ORDER BY {order}"), input).await.unwrap();
        assert_eq!(answer.rows, wanted.map(|i| format!("{{\"i\":{i}}}")), "{order}");
    }
}

#[tokio::test]
async fn lists_in_an_order() {
    let dialect = Dialect::new();
    let lines = [r#"{"i":2,"s":"b"}"#, r#"{"i":3,"s":null}"#, r#"{"i":1,"s":"a"}"#].map(Json::parse);
    let input = batch(&schema("i int, s string"), &lines);
    let answer = run(&dialect, "SELECT array_agg(s ORDER BY i DESC) AS x FROM t", input).await.unwrap();
    assert_eq!(answer.rows, [r#"{"x":["b","a"]}"#]);
}

#[tokio::test]
async fn conditions_guard_what_they_stand_before() {
    let dialect = Dialect::new();
    let lines = [r#"{"i":6,"j":0}"#, r#"{"i":6,"j":3}"#, r#"{"i":6,"j":null}"#].map(Json::parse);
    for (condition, wanted) in [
        ("j <> 0 AND i / j > 1", ["false", "true", "null"]),
        ("j = 0 OR i / j > 1", ["true", "true", "null"]),
        ("if(j = 0, false, i / j > 1)", ["false", "true", "null"]),
        ("CASE WHEN j = 0 THEN true ELSE i / j > 1 END", ["true", "true", "null"]),
    ] {
        let input = batch(&schema("i int, j int"), &lines);
        let answer = run(&dialect, &format!("SELECT {condition} AS x FROM t"), input.clone()).await.unwrap();
        assert_eq!(answer.rows, wanted.map(|x| format!("{{\"x\":{x}}}")), "{condition}");
        let filtered = run(&dialect, &format!("SELECT j FROM t WHERE {condition}"), input).await.unwrap();
        assert_eq!(filtered.rows.len(), wanted.iter().filter(|x| **x == "true").count(), "{condition}");
    }
}
