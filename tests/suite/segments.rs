//! State that is larger than a manifest carries, through the command line: a run that ends in between, one that goes on, and the
//! end of the window.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use serde_json::Value;

use crate::kit::{stdout_of, tidegate};

/// Groups of one window. A group takes 32 bytes of state.
const KEYS: u64 = 60_000;
const RECORDS: u64 = 100_000;

const PIPELINE: &str = "name: keys
sources:
  s:
    format: json
    columns: { k: bigint, v: bigint, ts: { type: timestamp, unit: ms } }
    watermark: { column: ts, delay: 1s }
outputs:
  sums:
    query: SELECT k, sum(v) AS total, count(*) AS n FROM s GROUP BY window(ts, '1 day'), k
    target: api
targets:
  api: { rest: { url: 'http://127.0.0.1:9/rows', method: PUT, idempotency: header } }
";

fn key(record: u64) -> u64 {
    record * 2_654_435_761 % KEYS
}

/// Files below a folder.
fn objects(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("read").path());
    entries.map(|path| if path.is_dir() { objects(&path) } else { 1 }).sum()
}

#[test]
fn a_large_state_lies_in_segments() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("pipeline.yaml"), PIPELINE).expect("the pipeline is written");
    let (mut text, mut expected) = (String::new(), BTreeMap::<u64, (u64, u64)>::new());
    for i in 0..RECORDS {
        writeln!(text, r#"{{"k":{},"v":{},"ts":{}}}"#, key(i), i % 7, 1_767_225_600_000 + i * 100).expect("a string");
        let sum = expected.entry(key(i)).or_default();
        *sum = (sum.0 + i % 7, sum.1 + 1);
    }
    let half = text.lines().take(RECORDS as usize * 2 / 3).fold(String::new(), |text, line| text + line + "\n");
    std::fs::write(path("half.jsonl"), half).expect("the input is written");
    std::fs::write(path("all.jsonl"), text).expect("the input is written");
    let run = |input: &str, more: &[&str]| -> Value {
        let (pipeline, input, to, state) =
            (path("pipeline.yaml"), format!("s={}", path(input)), path("out.jsonl"), path("state"));
        let fixed =
            ["run", &pipeline, "--input", &input, "--to", &to, "--state", &state, "--batch-size", "700", "--json"];
        serde_json::from_str(&stdout_of(&tidegate(&[&fixed[..], more].concat()))).expect("JSON")
    };
    let first = run("half.jsonl", &[]);
    assert!(first["open_groups"].as_u64() > Some(KEYS / 2), "{first}");
    // What was written was still in memory.
    assert_eq!(first["open_groups_at_most"], false, "{first}");
    let dry = std::fs::read_dir(path("state/dry-run")).expect("states of dry runs").next().expect("one").expect("read");
    let state = dry.path().display().to_string();
    let seen = stdout_of(&tidegate(&["inspect", &path("pipeline.yaml"), "--state", &state, "--json"]));
    let seen: Value = serde_json::from_str(&seen).expect("JSON");
    assert!(seen["lanes"][0]["segments"].as_u64() > Some(0), "{seen}");
    let open = &seen["lanes"][0]["open_windows"][0];
    assert!(open["at_most"] == true && open["groups"].as_u64() >= first["open_groups"].as_u64(), "{seen}");
    let second = run("all.jsonl", &["--drain"]);
    assert_eq!(second["counts"]["records"].as_u64(), Some(RECORDS - RECORDS * 2 / 3), "{second}");
    // What the end of the window has left behind is removed by the next run.
    assert!(objects(&dry.path().join("blobs")) > 0);
    run("all.jsonl", &[]);
    assert_eq!(objects(&dry.path().join("blobs")), 0);
    let out = std::fs::read_to_string(path("out.jsonl")).expect("the results");
    let number = |row: &Value, name: &str| row[name].as_u64().expect("a number");
    let mut found = BTreeMap::new();
    for line in out.lines() {
        let row: Value = serde_json::from_str(line).expect("JSON");
        let before = found.insert(number(&row, "k"), (number(&row, "total"), number(&row, "n")));
        assert_eq!(before, None, "{line}");
    }
    assert_eq!(found, expected);
}
