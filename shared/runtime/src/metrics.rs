//! One line per invocation in CloudWatch's embedded metric format.

use std::time::Duration;

use serde_json::{Map, Value, json};
use tidegate_core::Timestamp;

use crate::invoke::Invocation;

/// The namespace of every metric.
pub const NAMESPACE: &str = "Tidegate";

/// The metric line of an invocation: one JSON object, no line break.
///
/// Format: "Specification: Embedded metric format" in the CloudWatch user guide. The dimension is the pipeline.
pub fn embedded_metrics(pipeline: &str, invocation: &Invocation, duration: Duration, now: Timestamp) -> String {
    let counts = &invocation.counts;
    let mut metrics: Vec<(&str, &str, f64)> = [
        ("Records", counts.records),
        ("SkippedRecords", counts.skipped),
        ("Rows", counts.rows),
        ("LateRows", counts.late),
        ("DeadLetters", counts.dead_letters),
        ("Requests", counts.requests),
        ("Retries", counts.retries),
        ("Repeats", counts.repeats),
        ("UnknownOutcomes", counts.unknown),
        ("Commits", counts.commits),
        ("Conflicts", counts.conflicts),
        ("NotClosed", invocation.not_closed.len() as u64),
        ("FailedPartitions", invocation.failed.len() as u64),
    ]
    .into_iter()
    .map(|(name, value)| (name, "Count", value as f64))
    .collect();
    metrics.push(("CommitBytes", "Bytes", counts.commit_bytes as f64));
    metrics.push(("Duration", "Milliseconds", duration.as_secs_f64() * 1000.0));
    if let Some(lag) = invocation.watermark_lag {
        metrics.push(("WatermarkLag", "Milliseconds", lag.as_secs_f64() * 1000.0));
    }
    let definitions: Vec<Value> = metrics.iter().map(|(name, unit, _)| json!({ "Name": name, "Unit": unit })).collect();
    let mut line = Map::new();
    line.insert(
        "_aws".into(),
        json!({
            "Timestamp": now.as_millis(),
            "CloudWatchMetrics": [{ "Namespace": NAMESPACE, "Dimensions": [["Pipeline"]], "Metrics": definitions }],
        }),
    );
    line.insert("Pipeline".into(), pipeline.into());
    for (name, _, value) in metrics {
        line.insert(name.into(), json!(value));
    }
    Value::Object(line).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Counts;
    use crate::invoke::Response;

    #[test]
    fn each_declared_metric_has_its_value() {
        let counts = Counts { records: 7, late: 1, ..Counts::default() };
        let invocation = Invocation {
            answer: Ok(Response::default()),
            counts,
            failed: Vec::new(),
            not_closed: Vec::new(),
            watermark_lag: Some(Duration::from_millis(1500)),
            outdated: false,
        };
        let line = embedded_metrics("p", &invocation, Duration::from_millis(3), Timestamp::from_millis(42));
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["_aws"]["Timestamp"], 42);
        for metric in value["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().unwrap() {
            assert!(value[metric["Name"].as_str().unwrap()].is_number(), "{metric}");
        }
        assert_eq!(value["Records"], 7.0);
        assert_eq!(value["WatermarkLag"], 1500.0);
    }
}
