//! What each level of a target promises, through the command line: runs that are killed, and a receiver that fails, loses
//! answers and takes its time.

use std::fmt::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::kit::{Dice, Process, Receiver, command, stdout_of};

const FAULTS: [&str; 10] =
    ["--fail-503", "0.05", "--fail-500", "0.03", "--lose-answer", "0.05", "--drop", "0.03", "--delay", "0.05:200"];

/// Time for one request. No request of a killed run is on its way for longer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How many different keys the rows have.
const KEYS: u64 = 7;

/// A pipeline whose rows are its records, at a target of a level.
struct Setting {
    folder: tempfile::TempDir,
    receiver: Receiver,
    records: u64,
}

impl Setting {
    /// `id`: how the receiver recognises repeats. `target`: further lines of the target.
    fn new(id: &str, target: &str, records: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let pipeline = format!(
            "name: levels\nsources:\n  s: {{ format: json, columns: {{ k: bigint, v: bigint }} }}\n\
             outputs:\n  o: {{ query: 'SELECT k, v FROM s', target: api }}\ntargets:\n  api:\n    rest:\n      \
             timeout: {}s\n      retry: {{ max_attempts: 4, initial_backoff: 5ms, max_backoff: 20ms }}\n{target}",
            TIMEOUT.as_secs()
        );
        std::fs::write(folder.path().join("pipeline.yaml"), pipeline).expect("the pipeline is written");
        let mut input = String::new();
        for v in 0..records {
            writeln!(input, "{{\"k\":{},\"v\":{v}}}", v % KEYS).expect("writing to a string");
        }
        std::fs::write(folder.path().join("input.jsonl"), input).expect("the input is written");
        let arguments: Vec<&str> = ["--id", id].into_iter().chain(FAULTS).collect();
        let receiver = Receiver::start(&folder.path().join("receiver.db"), &arguments);
        Self { folder, receiver, records }
    }

    fn path(&self, name: &str) -> String {
        let path: &Path = self.folder.path();
        path.join(name).to_str().expect("UTF-8").to_owned()
    }

    fn run(&self) -> std::process::Command {
        let input = format!("s={}", self.path("input.jsonl"));
        let mut run = command(&["run", &self.path("pipeline.yaml"), "--json", "--batch-size", "20"]);
        run.args(["--input", &input, "--state", &self.path("state")]).env("API_URL", &self.receiver.url);
        run
    }

    /// Runs that are killed `kills` times, some time behind `start`, and then one or more to the end. Returns the number
    /// of those that were killed at work.
    async fn killed(&self, kills: u64, start: Duration) -> u64 {
        let mut dice = Dice(self.records + kills);
        let rate = (self.records / kills).to_string();
        let mut killed = 0;
        for _ in 0..kills {
            let mut run = self.run();
            run.args(["--rate", &rate]).stderr(Stdio::null());
            let mut run = Process::start(run);
            pause(start + Duration::from_millis(50 + dice.below(900))).await;
            killed += u64::from(run.ended().is_none());
            run.kill();
        }
        for _ in 0..40 {
            let output = self.run().output().expect("tidegate starts");
            match output.status.code() {
                Some(0) => {
                    let summary = self.receiver.summary().await;
                    println!("{killed} kills; receiver {summary}; last run: {}", stdout_of(&output));
                    return killed;
                }
                // A receiver that fails too often.
                Some(1) => {}
                _ => panic!("{}", String::from_utf8_lossy(&output.stderr)),
            }
        }
        panic!("the run did not end well in 40 tries");
    }

    /// The numbers of all rows that took effect, in that order.
    async fn numbers(&self) -> Vec<u64> {
        let number = |line: String| {
            let row: Value = serde_json::from_str(&line).expect("a row is JSON");
            row["v"].as_u64().expect("a number")
        };
        self.receiver.rows_in_order().await.into_iter().map(number).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fence_lets_everything_through_once_and_in_order() {
    let target = "      url: ${API_URL}/v1\n      idempotency: fenced\n      batch: { rows: 3 }\n";
    let setting = Setting::new("fenced", target, 3_000);
    assert!(setting.killed(6, Duration::ZERO).await > 2);
    let numbers = setting.numbers().await;
    assert!(numbers.iter().copied().eq(0..3_000), "{} rows", numbers.len());
    let summary = setting.receiver.summary().await;
    assert!(summary["fenced"].as_u64() > Some(0), "lost answers make repeats: {summary}");
    assert_eq!(summary["conflicts"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_rows_stay_where_the_last_writer_wins() {
    let target = "      url: ${API_URL}/v1/{k}\n      idempotency: last_writer_wins\n      concurrency: 4\n";
    let setting = Setting::new("last_writer_wins", target, 1_500);
    assert!(setting.killed(4, TIMEOUT).await > 1);
    let mut numbers = setting.numbers().await;
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(1_500 - KEYS..1_500), "{numbers:?}");
    let summary = setting.receiver.summary().await;
    let writes = summary["replaced"].as_u64().expect("a count") + KEYS;
    assert!(writes > 1_500, "lost answers make repeats: {summary}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_arrives_twice_at_most_once() {
    let target = "      url: ${API_URL}/v1\n      idempotency: { none: at_most_once }\n      batch: { rows: 3 }\n";
    let setting = Setting::new("none", target, 3_000);
    assert!(setting.killed(6, Duration::ZERO).await > 2);
    let mut numbers = setting.numbers().await;
    // A request of a killed run may land behind those of the next one.
    numbers.sort_unstable();
    assert!(numbers.is_sorted_by(|a, b| a < b), "a row came twice");
    assert!(numbers.len() > 2_000, "only what has an unknown outcome may be missing: {} rows", numbers.len());
    assert!(numbers.len() < 3_000, "lost answers leave nothing unknown: {} rows", numbers.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_missing_at_least_once() {
    let target = "      url: ${API_URL}/v1\n      idempotency: none\n      batch: { rows: 3 }\n";
    let setting = Setting::new("none", target, 3_000);
    assert!(setting.killed(6, Duration::ZERO).await > 2);
    let mut numbers = setting.numbers().await;
    assert!(numbers.len() > 3_000, "lost answers make repeats: {} rows", numbers.len());
    numbers.sort_unstable();
    numbers.dedup();
    assert!(numbers.into_iter().eq(0..3_000));
}

#[test]
fn explain_names_the_level_and_what_it_promises() {
    for (target, wanted) in [
        (
            "url: http://h/x, idempotency: header",
            "level      by_id: exactly once: a repeat carries the same Idempotency-Key",
        ),
        ("url: http://h/x, remembers_ids: 1h", "it remembers ids for 1h, but streams keep records for 1d at least"),
        ("url: http://h/x, idempotency: { fenced: 409 }", "level      fenced: exactly once, in order within a lane"),
        ("url: 'http://h/{k}', idempotency: last_writer_wins", "level      last_writer_wins: right at rest"),
        ("url: 'http://h/{k}', idempotency: last_writer_wins", "lands late still replaces a newer row"),
        ("url: 'http://h/{k}', idempotency: last_writer_wins", "rows of one URL may come from several partitions of s"),
        ("url: http://h/x, idempotency: none", "level      none: at least once"),
        ("url: http://h/x, idempotency: { none: at_most_once }", "level      none: at most once"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pipeline.yaml");
        let pipeline = format!(
            "name: levels\nsources:\n  s: {{ format: json, columns: {{ k: bigint, v: bigint }} }}\n\
             outputs:\n  o: {{ query: 'SELECT k, v FROM s', target: api }}\ntargets:\n  api: {{ rest: {{ {target} }} }}\n"
        );
        std::fs::write(&path, pipeline).expect("the pipeline is written");
        let text = stdout_of(&command(&["explain"]).arg(&path).output().expect("tidegate starts"));
        assert!(text.contains(wanted), "{target}: {wanted}\n{text}");
    }
}

async fn pause(duration: Duration) {
    #[expect(clippy::disallowed_methods, reason = "a real process runs meanwhile")]
    tokio::time::sleep(duration).await;
}
