//! Windows over several lanes, through the command line: however the records are spread over inputs and cut into
//! micro-batches, the results are those of a naive fold over all of them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::kit::{Dice, Process, Receiver, command, stdout_of, tidegate};

/// The first record's event time: 2026-01-01 00:00 UTC, in milliseconds.
const START: u64 = 1_767_225_600_000;
/// Windows of 2 seconds, in milliseconds.
pub const WINDOW: u64 = 2_000;
/// Kills of a run over several lanes.
const KILLS: u64 = 8;

pub struct Record {
    pub key: char,
    pub value: i64,
    /// Milliseconds behind [`START`].
    pub at: u64,
}

impl Record {
    /// The record as the pipelines of these tests read it.
    pub fn line(&self) -> String {
        format!(r#"{{"k":"{}","v":{},"ms":{}}}"#, self.key, self.value, START + self.at)
    }
}

/// `count` records at 20 a second of event time, at most a second out of order.
pub fn records(count: u64, dice: &mut Dice) -> Vec<Record> {
    let record = |i: u64| Record {
        key: char::from(b'a' + dice.below(4) as u8),
        value: dice.below(100) as i64 - 50,
        at: i * 50 + dice.below(1_000),
    };
    (0..count).map(record).collect()
}

/// The sums of all windows, as rows of the output, sorted.
pub fn naive(records: &[Record]) -> Vec<(u64, char, i64, u64)> {
    let mut sums: BTreeMap<(u64, char), (i64, u64)> = BTreeMap::new();
    for record in records {
        let sum = sums.entry((record.at / WINDOW * WINDOW, record.key)).or_default();
        *sum = (sum.0 + record.value, sum.1 + 1);
    }
    sums.into_iter().map(|((window, key), (total, count))| (window, key, total, count)).collect()
}

pub fn rows(lines: impl Iterator<Item = String>) -> Vec<(u64, char, i64, u64)> {
    let mut rows: Vec<_> = lines
        .map(|line| {
            let row: Value = serde_json::from_str(&line).expect("a row is JSON");
            let at = row["at"].as_i64().expect("a number of seconds").unsigned_abs() * 1000;
            let key = row["k"].as_str().and_then(|key| key.chars().next()).expect("a key");
            (at - START, key, row["total"].as_i64().expect("a sum"), row["n"].as_u64().expect("a count"))
        })
        .collect();
    rows.sort_unstable();
    rows
}

/// Writes the records, spread at random over `inputs` files; the first one gets most of them.
pub fn spread(records: &[Record], inputs: u64, folder: &Path, dice: &mut Dice) -> Vec<String> {
    let mut texts = vec![String::new(); inputs as usize];
    for record in records {
        let place = if dice.below(3) > 0 { 0 } else { dice.below(inputs) };
        writeln!(texts[place as usize], "{}", record.line()).expect("writing to a string");
    }
    let write = |(i, text): (usize, String)| {
        let path = folder.join(format!("input-{inputs}-{i}.jsonl"));
        std::fs::write(&path, text).expect("an input is written");
        format!("s={}", path.display())
    };
    texts.into_iter().enumerate().map(write).collect()
}

/// A pipeline over one source `s`, whose target is at `LANES_URL`.
pub fn pipeline(folder: &Path) -> String {
    let text = "name: lanes
sources:
  s:
    format: json
    columns: { k: string, v: bigint, ms: { type: timestamp, unit: ms } }
    watermark: { column: ms, delay: 2s }
outputs:
  sums:
    query: |
      SELECT unix_timestamp(window.start) AS at, k, sum(v) AS total, count(*) AS n
      FROM s GROUP BY window(ms, '2 seconds'), k
    target: api
targets:
  api: { rest: { url: '${LANES_URL:-http://127.0.0.1:9}/rows', method: PUT, idempotency: header } }
";
    let path = folder.join("pipeline.yaml");
    std::fs::write(&path, text).expect("a pipeline is written");
    path.display().to_string()
}

fn arguments<'a>(pipeline: &'a str, inputs: &'a [String], rest: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["run", pipeline, "--drain", "--json"];
    for input in inputs {
        arguments.extend(["--input", input]);
    }
    arguments.extend(rest);
    arguments
}

#[test]
fn spread_and_cuts_do_not_matter() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipeline = pipeline(folder.path());
    let mut dice = Dice(5);
    let records = records(2_500, &mut dice);
    let expected = naive(&records);
    for (inputs, batch) in [(1, "170"), (2, "40"), (3, "300"), (5, "33")] {
        let inputs = spread(&records, inputs, folder.path(), &mut dice);
        let (to, state) = (folder.path().join("rows.jsonl"), folder.path().join("state"));
        let _ = (std::fs::remove_file(&to), std::fs::remove_dir_all(&state));
        let (to, state) = (to.display().to_string(), state.display().to_string());
        let rest = ["--to", &to, "--state", &state, "--batch-size", batch];
        let summary = stdout_of(&tidegate(&arguments(&pipeline, &inputs, &rest)));
        let summary: Value = serde_json::from_str(&summary).expect("the summary is JSON");
        assert_eq!(summary["counts"]["late"], 0, "{summary}");
        let text = std::fs::read_to_string(&to).expect("rows were written");
        assert_eq!(rows(text.lines().map(str::to_owned)), expected, "{} inputs, batches of {batch}", inputs.len());
    }
}

#[test]
fn closing_alone_and_closing_together_do_not_follow_each_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipeline = pipeline(folder.path());
    let mut dice = Dice(6);
    let inputs = spread(&records(200, &mut dice), 2, folder.path(), &mut dice);
    let state = folder.path().join("state").display().to_string();
    let to = folder.path().join("rows.jsonl").display().to_string();
    let rest = ["--state", &state, "--to", &to];
    stdout_of(&tidegate(&arguments(&pipeline, &inputs[..1], &rest)));
    let refused = tidegate(&arguments(&pipeline, &inputs, &rest));
    let text = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{text}");
    assert!(text.contains("closed over lanes"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_between_lanes_lose_and_double_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipeline = pipeline(folder.path());
    let mut dice = Dice(7);
    let records = records(6_000, &mut dice);
    let inputs = spread(&records, 3, folder.path(), &mut dice);
    let faults = ["--fail-429", "0.03", "--fail-503", "0.04", "--lose-answer", "0.06", "--drop", "0.04"];
    let receiver = Receiver::start(&folder.path().join("receiver.db"), &faults);
    let state = folder.path().join("state").display().to_string();
    let rest = ["--state", &state, "--batch-size", "50"];
    let all = arguments(&pipeline, &inputs, &rest);
    let mut killed = 0;
    for _ in 0..KILLS {
        let mut run = command(&all);
        run.env("LANES_URL", &receiver.url).stderr(Stdio::null());
        let mut run = Process::start(run);
        #[expect(clippy::disallowed_methods, reason = "a real process runs meanwhile")]
        tokio::time::sleep(Duration::from_millis(60 + dice.below(400))).await;
        killed += u64::from(run.ended().is_none());
        run.kill();
    }
    let mut ended = false;
    for _ in 0..20 {
        let output = command(&all).env("LANES_URL", &receiver.url).output().expect("tidegate starts");
        match output.status.code() {
            Some(0) => ended = true,
            Some(1) => continue,
            _ => panic!("{}", String::from_utf8_lossy(&output.stderr)),
        }
        break;
    }
    assert!(ended, "the run did not end well in 20 tries");
    assert!(killed > KILLS / 2, "only {killed} runs were killed before the end");
    let summary = receiver.summary().await;
    println!("{killed} kills; {} repeats at the receiver", summary["repeats"]);
    assert_eq!(summary["conflicts"], 0, "one id must never carry two bodies");
    assert_eq!(rows(receiver.rows().await.into_iter()), naive(&records));
}
