//! The command line as a user meets it: what it prints, and what it says when something is wrong.

use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::kit::{command, root, stdout_of, tidegate};

const PIPELINE: &str = "examples/treasury/pipeline.yaml";

fn stderr_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("a file is written");
    path.display().to_string()
}

/// A pipeline that counts events; `query` is its only output.
fn pipeline(query: &str) -> String {
    format!(
        "name: events\nsources:\n  events:\n    format: json\n    columns: {{ k: string, v: int, ts: timestamp }}\n    \
         watermark: {{ column: ts, delay: 1s }}\n    partition_key: [k]\noutputs:\n  out:\n    query: |\n      \
         {query}\n    mode: append\n    target: api\ntargets:\n  api:\n    rest:\n      url: http://127.0.0.1:9/rows\n      \
         method: PUT\n      retry: {{ max_elapsed: 300ms, max_attempts: 2 }}\n"
    )
}

/// The one dry run that keeps its state below `state`.
fn dry_run_folder(state: &Path) -> std::path::PathBuf {
    let mut folders = std::fs::read_dir(state.join("dry-run")).expect("a dry run keeps a state");
    folders.next().expect("a folder").expect("a folder").path()
}

fn fails(arguments: &[&str], code: i32, words: &[&str]) -> String {
    let output = tidegate(arguments);
    let text = stderr_of(&output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    for word in words {
        assert!(text.contains(word), "'{word}' is missing in:\n{text}");
    }
    assert!(!text.contains("panicked"), "{text}");
    text
}

/// Keys and payloads in a session time zone; windows and watermarks are instants.
#[test]
fn a_session_time_zone_reaches_records_and_payloads() {
    let folder = tempfile::tempdir().expect("a folder");
    let query = "SELECT window.start AS w, cast(ts AS date) AS day, count(*) AS n FROM events \
                 GROUP BY window(ts, '1 hour'), cast(ts AS date)";
    let text = format!("session_time_zone: Europe/Berlin\n{}", pipeline(query));
    let path = write(folder.path(), "pipeline.yaml", &text);
    // The second clock reads 02:30 after it was put back: the text means the first time it did.
    let lines = "{\"ts\":\"2026-10-25 00:30:00\"}\n{\"ts\":\"2026-10-25 02:30:00\"}\n{\"ts\":\"2026-10-25T02:30:00+01:00\"}\n\
                 {\"ts\":\"2026-10-26 00:00:00\"}\n";
    let input = format!("events={}", write(folder.path(), "lines.jsonl", lines));
    let said = stdout_of(&tidegate(&["run", &path, "--input", &input, "--to", "-", "--drain"]));
    let row = |w: &str, day: &str| format!("{{\"output\":\"out\",\"w\":\"{w}\",\"day\":\"{day}\",\"n\":1}}");
    for row in [
        row("2026-10-25T00:00:00.000+02:00", "2026-10-25"),
        row("2026-10-25T02:00:00.000+02:00", "2026-10-25"),
        row("2026-10-25T02:00:00.000+01:00", "2026-10-25"),
    ] {
        assert!(said.contains(&row), "{row} is missing in:\n{said}");
    }
}

#[test]
fn check_and_explain_speak_of_the_example() {
    let checked = stdout_of(&tidegate(&["check", PIPELINE]));
    assert!(checked.contains("is sound"), "{checked}");
    let explained = stdout_of(&tidegate(&["explain", PIPELINE]));
    for words in
        ["by_id", "exactly once", "windows of 2s by branch, currency", "cost per million records", "a month at rest"]
    {
        assert!(explained.contains(words), "'{words}' is missing in:\n{explained}");
    }
    let json: Value = serde_json::from_str(&stdout_of(&tidegate(&["explain", PIPELINE, "--json"]))).expect("JSON");
    assert_eq!(json["targets"][0]["level"], "by_id");
    // 43,800 ticks: requests 0.00876, 20 ms of 1.769 GB each 0.02066, a read of the registry 0.005475; 2 reads of a lane.
    let cents = |name: &str| (json["cost"][name].as_f64().unwrap_or_default() * 1e4).round();
    assert_eq!((cents("ticks"), cents("ticks_of_a_lane")), (349.0, 110.0), "{}", json["cost"]);
}

#[test]
fn a_new_pipeline_runs_as_it_stands() {
    let folder = tempfile::tempdir().expect("a folder");
    let made = folder.path().join("orders");
    let said = stdout_of(&tidegate(&["new", made.to_str().expect("UTF-8")]));
    assert!(said.contains("tidegate run"), "{said}");
    let input = format!("events={}", made.join("events.jsonl").display());
    let file = made.join("pipeline.yaml");
    let output = tidegate(&["run", file.to_str().expect("UTF-8"), "--input", &input, "--to", "-", "--drain"]);
    let rows: Vec<Value> =
        stdout_of(&output).lines().map(|line| serde_json::from_str(line).expect("a row is JSON")).collect();
    assert_eq!(rows.len(), 4, "{rows:?}");
    assert_eq!(rows[0]["output"], "per_minute");
    assert!(stderr_of(&output).contains("done: 5 records"), "{}", stderr_of(&output));
    fails(&["new", made.to_str().expect("UTF-8")], 2, &["cannot be created"]);
}

#[test]
fn mistakes_in_the_file_are_shown_with_their_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let text =
        pipeline("SELECT k, vv FROM events").replace("method: PUT", "metod: PUT").replace("delay: 1s", "delay: 1");
    let file = write(folder.path(), "p.yaml", &text);
    fails(&["check", &file], 2, &["metod", "method", "delay", "unit", "p.yaml:"]);
    let file = write(folder.path(), "q.yaml", &pipeline("SELECT k, vv FROM events"));
    fails(&["check", &file], 2, &["q.yaml:11:", "vv", "help"]);
    let file = write(folder.path(), "r.yaml", &pipeline("SELECT k, count(*) AS n FROM events GROUP BY k"));
    fails(&["check", &file], 2, &["window", "scope: batch"]);
    let file = write(folder.path(), "s.yaml", "name: [\n");
    fails(&["check", &file], 2, &["s.yaml"]);
    fails(&["check", "/nowhere/p.yaml"], 2, &["cannot be read"]);
    let file = write(folder.path(), "t.yaml", &pipeline("SELEC k FROM events"));
    fails(&["check", &file], 2, &["t.yaml:11:"]);
}

#[test]
fn bad_records_become_dead_letters_with_position_and_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = write(folder.path(), "p.yaml", &pipeline("SELECT k, 10 / v AS x FROM events"));
    let lines =
        "{\"k\":\"a\",\"v\":2}\nnot json\n\n{\"k\":\"b\",\"v\":\"x\"}\n{\"k\":\"c\",\"v\":0}\n{\"k\":\"d\",\"v\":5}\n";
    let input = format!("events={}", write(folder.path(), "in.jsonl", lines));
    let (state, to) = (folder.path().join("state"), folder.path().join("out.jsonl"));
    let output = command(&["run", &file, "--input", &input, "--json"])
        .arg("--state")
        .arg(&state)
        .arg("--to")
        .arg(&to)
        .output()
        .expect("tidegate starts");
    let summary: Value = serde_json::from_str(&stdout_of(&output)).expect("the summary is JSON");
    assert_eq!(summary["counts"]["dead_letters"], 3, "{summary}");
    let rows = std::fs::read_to_string(&to).expect("rows");
    assert_eq!(rows, "{\"output\":\"out\",\"k\":\"a\",\"x\":5.0}\n{\"output\":\"out\",\"k\":\"d\",\"x\":2.0}\n");
    let letters = std::fs::read_to_string(dry_run_folder(&state).join("dead_letters.jsonl")).expect("dead letters");
    let letters: Vec<Value> = letters.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let positions: Vec<&str> = letters.iter().filter_map(|letter| letter["position"].as_str()).collect();
    assert_eq!(positions, ["2", "4", "5"], "{letters:?}");
    assert_eq!(letters[0]["payload"], "not json");
    assert!(letters[1]["reason"].as_str().expect("a reason").contains('v'), "{letters:?}");
    assert!(letters[2]["reason"].as_str().expect("a reason").contains("DIVIDE_BY_ZERO"), "{letters:?}");
}

#[test]
fn a_target_that_is_down_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = write(folder.path(), "p.yaml", &pipeline("SELECT k, v FROM events"));
    let input = format!("events={}", write(folder.path(), "in.jsonl", "{\"k\":\"a\",\"v\":2}\n"));
    let state = folder.path().join("state").display().to_string();
    let arguments = ["run", &file, "--input", &input, "--state", &state];
    for _ in 0..2 {
        fails(&arguments, 1, &["api", "nothing is lost"]);
    }
    let inspected = stdout_of(&tidegate(&["inspect", &file, "--state", &state, "--json"]));
    let inspected: Value = serde_json::from_str(&inspected).expect("JSON");
    assert_eq!(inspected["lanes"][0]["outbox"]["requests"], 1, "{inspected}");
    assert_eq!(inspected["lanes"][0]["settled"], false, "{inspected}");
}

#[test]
fn two_processes_on_one_state_folder_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = write(folder.path(), "p.yaml", &pipeline("SELECT k, v FROM events"));
    let state = folder.path().join("state").display().to_string();
    let mut first = command(&["run", &file, "--input", "events=-", "--state", &state])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("tidegate starts");
    for _ in 0..200 {
        if folder.path().join("state/state.db").exists() {
            break;
        }
        #[expect(clippy::disallowed_methods, reason = "another process starts meanwhile")]
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let input = format!("events={}", write(folder.path(), "in.jsonl", "{\"k\":\"a\",\"v\":2}\n"));
    let second = tidegate(&["run", &file, "--input", &input, "--state", &state]);
    drop(first.stdin.take());
    let ended = first.wait().expect("the first run ends");
    assert_eq!(second.status.code(), Some(3), "{}", stderr_of(&second));
    assert!(stderr_of(&second).contains("process"), "{}", stderr_of(&second));
    assert!(ended.success(), "the first run goes on undisturbed");
}

#[test]
fn state_of_a_newer_version_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = write(folder.path(), "p.yaml", &pipeline("SELECT k, v FROM events"));
    let input = format!("events={}", write(folder.path(), "in.jsonl", "{\"k\":\"a\",\"v\":2}\n"));
    let state = folder.path().join("state");
    let to = folder.path().join("out.jsonl").display().to_string();
    let arguments = ["run", &file, "--input", &input, "--to", &to, "--state", state.to_str().expect("UTF-8")];
    stdout_of(&tidegate(&arguments));
    let database = rusqlite::Connection::open(dry_run_folder(&state).join("state.db")).expect("the state is SQLite");
    // The first byte of every record is its format version.
    let changed = database
        .execute("UPDATE items SET data = CAST(X'63' || substr(data, 2) AS BLOB)", [])
        .expect("items have data");
    assert!(changed > 0);
    drop(database);
    fails(&arguments, 3, &["newer", "pgrade"]);
}

#[test]
fn an_empty_input_and_an_unknown_source_are_no_crash() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = write(folder.path(), "p.yaml", &pipeline("SELECT k, v FROM events"));
    let input = write(folder.path(), "in.jsonl", "");
    let output = tidegate(&["run", &file, "--input", &format!("events={input}"), "--to", "-"]);
    assert_eq!(stdout_of(&output), "");
    assert!(stderr_of(&output).contains("0 records"));
    fails(&["run", &file, "--input", "event=x", "--to", "-"], 2, &["no source 'event'", "events"]);
    fails(&["run", &file, "--input", "events", "--to", "-"], 2, &["SOURCE=PATH"]);
    fails(&["run", &file, "--input", "events=/nowhere", "--to", "-"], 2, &["cannot be opened"]);
    fails(&["run", &file, "--input", "events=gen:treasury?speed=1", "--to", "-"], 2, &["speed", "rate"]);
}

#[test]
fn a_dry_run_does_not_overwrite_what_it_did_not_write() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = write(folder.path(), "p.yaml", &pipeline("SELECT k, v FROM events"));
    let input = format!("events={}", write(folder.path(), "in.jsonl", "{\"k\":\"a\",\"v\":2}\n"));
    let precious = write(folder.path(), "precious.txt", "mine\n");
    let state = folder.path().join("state").display().to_string();
    let run = ["run", &file, "--input", &input, "--state", &state, "--to", &precious];
    fails(&run, 2, &["precious.txt", "not empty"]);
    assert_eq!(std::fs::read_to_string(&precious).expect("the file is there"), "mine\n");
    // Two files of one pipeline each get everything.
    for name in ["one.jsonl", "two.jsonl", "two.jsonl"] {
        let to = folder.path().join(name).display().to_string();
        stdout_of(&tidegate(&["run", &file, "--input", &input, "--state", &state, "--to", &to]));
        assert_eq!(std::fs::read_to_string(&to).expect("rows").lines().count(), 1, "{name}");
    }
}

#[test]
fn the_demo_delivers_every_sum_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().join("demo").display().to_string();
    let said =
        stdout_of(&tidegate(&["demo", "treasury", "--fast", "--faults", "--duration", "30s", "--state", &state]));
    assert!(said.contains("240 sums expected from the records: 0 missing, 0 doubled, 0 wrong"), "{said}");
}

#[test]
fn examples_are_sound() {
    for entry in std::fs::read_dir(root().join("examples")).expect("examples") {
        let file = entry.expect("an example").path().join("pipeline.yaml");
        stdout_of(&tidegate(&["check", file.to_str().expect("UTF-8")]));
    }
}
