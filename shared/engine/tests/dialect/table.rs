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
    let lines = [r#"{"branch":"SPB","currency":"USD","amount":1.5}"#, r#"{"branch":"SPB","currency":"USD","amount":2}"#];
    let input = batch(&schema, &lines.map(Json::parse));
    let answer = run(&dialect, &REFERENCE.replace("treasury_stream", "t"), input).await.unwrap();
    let row = r#"{"curr_time":"2026-01-01 00:00:00","branch_name":"SPB","currency_code":"USD","batch_value":3.5}"#;
    assert_eq!(answer.rows, [row]);
}
