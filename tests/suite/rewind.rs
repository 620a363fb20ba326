//! New generations: everything is read again, and sent again or not.

use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};

use crate::aws::{processor, resources};
use crate::kit::{Dice, Receiver, command, root, stdout_of};
use crate::lambda::kafka;
use crate::lanes::{naive, pipeline, records, rows, spread};
use crate::stand_in::StandIn;

fn tidegate(receiver: &str, arguments: &[&str]) -> Output {
    command(arguments).env("LANES_URL", receiver).output().expect("tidegate starts")
}

fn run(receiver: &str, pipeline: &str, inputs: &[String], state: &str, rest: &[&str]) -> Value {
    let mut arguments = vec!["run", pipeline, "--json", "--batch-size", "37", "--state", state];
    arguments.extend(inputs.iter().flat_map(|input| ["--input", input.as_str()]));
    arguments.extend(rest);
    serde_json::from_str(&stdout_of(&tidegate(receiver, &arguments))).expect("the summary is JSON")
}

/// The first half of each input, as files of their own.
fn halves(inputs: &[String], folder: &Path) -> Vec<String> {
    let half = |(i, input): (usize, &String)| {
        let (_, path) = input.split_once('=').expect("s=PATH");
        let text = std::fs::read_to_string(path).expect("the input is there");
        let lines: Vec<&str> = text.lines().collect();
        let path = folder.join(format!("half-{i}.jsonl"));
        std::fs::write(&path, lines[..lines.len() / 2].join("\n") + "\n").expect("half of it is written");
        format!("s={}", path.display())
    };
    inputs.iter().enumerate().map(half).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_builds_the_state_again_and_sends_nothing_twice() {
    for inputs in [1, 3] {
        let folder = tempfile::tempdir().expect("a folder");
        let pipeline = pipeline(folder.path());
        let mut dice = Dice(21);
        let all = records(800, &mut dice);
        let inputs = spread(&all, inputs, folder.path(), &mut dice);
        let receiver = Receiver::start(&folder.path().join("r.db"), &[]);
        let state = folder.path().join("state").display().to_string();
        let first = run(&receiver.url, &pipeline, &halves(&inputs, folder.path()), &state, &[]);
        assert!(first["open_groups"].as_u64() > Some(0), "{first}");
        let sent = receiver.summary().await["requests"].clone();
        // Twice: the second repair begins before the first one has read anything.
        for generation in [2, 3] {
            let text = stdout_of(&tidegate("", &["rewind", &pipeline, "--repair", "--state", &state, "--json"]));
            let renewal: Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!(renewal["generation"], generation, "{renewal}");
        }
        let summary = run(&receiver.url, &pipeline, &inputs, &state, &["--drain"]);
        assert_eq!(
            (&summary["counts"]["skipped"], &summary["counts"]["records"]),
            (&json!(0), &json!(800)),
            "{summary}"
        );
        assert!(summary["counts"]["silent"].as_u64() > Some(0), "{summary}");
        assert!(receiver.summary().await["requests"].as_u64() > sent.as_u64());
        assert_eq!(rows(receiver.rows().await.into_iter()), naive(&all), "{} inputs", inputs.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_sends_everything_again_under_new_ids() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipeline = pipeline(folder.path());
    let mut dice = Dice(22);
    let all = records(300, &mut dice);
    let inputs = spread(&all, 2, folder.path(), &mut dice);
    let receiver = Receiver::start(&folder.path().join("r.db"), &[]);
    let state = folder.path().join("state").display().to_string();
    run(&receiver.url, &pipeline, &inputs, &state, &["--drain"]);
    let text = stdout_of(&tidegate("", &["reset", &pipeline, "--state", &state]));
    assert!(text.contains("generation 2 is open") && text.contains("under new ids"), "{text}");
    // Another query, whose state has another layout: refused before the reset, taken after it.
    let other = std::fs::read_to_string(&pipeline).expect("the pipeline").replace("'2 seconds'", "'4 seconds'");
    std::fs::write(&pipeline, other).expect("the pipeline is changed");
    run(&receiver.url, &pipeline, &inputs, &state, &["--drain"]);
    let summary = receiver.summary().await;
    assert_eq!((&summary["conflicts"], &summary["repeats"]), (&json!(0), &json!(0)), "{summary}");
    let total = |rows: &[(u64, char, i64, u64)]| rows.iter().map(|(.., count)| count).sum::<u64>();
    assert_eq!(total(&rows(receiver.rows().await.into_iter())), 600);
}

#[test]
fn what_is_owed_stops_a_reset_until_a_person_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipeline = pipeline(folder.path());
    let text = std::fs::read_to_string(&pipeline).expect("the pipeline");
    let text = text.replace("idempotency: header", "idempotency: header, retry: { max_elapsed: 1s }");
    std::fs::write(&pipeline, text).expect("the pipeline is changed");
    let mut dice = Dice(23);
    let inputs = spread(&records(300, &mut dice), 1, folder.path(), &mut dice);
    let state = folder.path().join("state").display().to_string();
    let nowhere = "http://127.0.0.1:9";
    let stopped = tidegate(nowhere, &["run", &pipeline, "--input", &inputs[0], "--state", &state, "--quiet"]);
    assert_eq!(stopped.status.code(), Some(1), "{}", String::from_utf8_lossy(&stopped.stderr));
    let refused = tidegate(nowhere, &["reset", &pipeline, "--state", &state]);
    let text = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{text}");
    assert!(text.contains("still owe requests") && text.contains("--abandon-owed"), "{text}");
    stdout_of(&tidegate(nowhere, &["reset", &pipeline, "--state", &state, "--abandon-owed"]));
    let none = tidegate(nowhere, &["reset", &pipeline, "--state", &folder.path().join("none").display().to_string()]);
    assert_eq!(none.status.code(), Some(2));
    assert!(!folder.path().join("none").exists(), "nothing is created");
}

#[tokio::test(flavor = "multi_thread")]
async fn warm_environments_go_on_in_the_new_generation() {
    let folder = tempfile::tempdir().expect("a folder");
    let receiver = Receiver::start(&folder.path().join("r.db"), &[]);
    let Some(aws) = StandIn::start(&root()) else { return };
    resources(&aws.url).await;
    let file = pipeline(folder.path());
    let text = std::fs::read_to_string(&file)
        .expect("the pipeline")
        .replace("format: json", "format: json\n    partitions: 1");
    std::fs::write(&file, text).expect("the pipeline is changed");
    let start = async || processor(&aws.url, &file, &[("LANES_URL", &receiver.url)]).await;
    let (mut one, mut other) = (start().await, start().await);
    let all = records(300, &mut Dice(24));
    let lines: Vec<String> = all.iter().map(|record| record.line()).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let event = |from: usize, to: usize| kafka(&[(0, from, &lines[from..to])]);
    one.invoke(&event(0, 100)).await.expect("the first batch");
    other.invoke(&event(100, 150)).await.expect("the second batch");
    let wrong = one.invoke(br#"{"tidegate":"repairs"}"#).await.expect_err("no such event");
    assert!(wrong["errorMessage"].as_str().is_some_and(|text| text.contains("repair\"}")), "{wrong}");
    let begun = one.invoke(br#"{"tidegate":"repair"}"#).await.expect("a new generation");
    assert_eq!(begun["generation"], 2, "{begun}");
    // The other environment finds out with its next batch, and opens the state again for the one after it.
    let fenced = other.invoke(&event(150, 200)).await.expect_err("it works on the old generation");
    assert!(fenced["errorType"].as_str().is_some_and(|kind| kind.contains("Fenced")), "{fenced}");
    // The mapping was set back to the start.
    for (from, to) in [(0, 80), (80, 170), (170, 300)] {
        let environment = if from == 80 { &mut one } else { &mut other };
        environment.invoke(&event(from, to)).await.expect("a batch of the new generation");
    }
    let newest = all.iter().map(|record| record.at).max().unwrap_or(0);
    let ended: Vec<_> = naive(&all).into_iter().filter(|(at, ..)| at + 4_000 <= newest).collect();
    assert_eq!(rows(receiver.rows().await.into_iter()), ended);
    // Once more, from offset 80 on, which the old generation must have read.
    for (event, words) in [
        (r#"{"tidegate":"repair","begin_behind":{"s:0":"300"}}"#, "has read up to 299"),
        (r#"{"tidegate":"repair","begin_behind":{"s:0":79}}"#, "is a map of lanes to sequence numbers"),
        (r#"{"tidegate":"repair","begin_behind":{"s:1":"79"}}"#, "the pipeline has no lane s:1"),
    ] {
        let wrong = one.invoke(event.as_bytes()).await.expect_err("it is refused").to_string();
        assert!(wrong.contains(words), "{event}: {wrong}");
    }
    let begun = one.invoke(br#"{"tidegate":"repair","begin_behind":{"s:0":"79"}}"#).await.expect("a new generation");
    assert_eq!(begun["generation"], 3, "{begun}");
    // Who asks for it again, with the generation that was to end, gets the same answer; a later one is not there yet.
    let again = one.invoke(br#"{"tidegate":"reset","generation":2}"#).await.expect("it has ended");
    assert_eq!((&again["generation"], &again["repeated"]), (&json!(3), &json!(true)), "{again}");
    for (event, words) in [
        (r#"{"tidegate":"reset","generation":4}"#, "the pipeline is at generation 3"),
        (r#"{"tidegate":"reset","generation":"3"}"#, "is a number of a generation"),
    ] {
        let wrong = one.invoke(event.as_bytes()).await.expect_err("it is refused").to_string();
        assert!(wrong.contains(words), "{event}: {wrong}");
    }
    // The mapping was set back further than that.
    one.invoke(&event(60, 300)).await.expect("a batch of the new generation");
    assert_eq!(rows(receiver.rows().await.into_iter()), ended);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_gains_partitions_is_noticed() {
    let Some(aws) = StandIn::start(&root()) else { return };
    resources(&aws.url).await;
    let folder = tempfile::tempdir().expect("a folder");
    let receiver = Receiver::start(&folder.path().join("r.db"), &[]);
    let file = pipeline(folder.path());
    let text = std::fs::read_to_string(&file).expect("the pipeline");
    let environment = async |partitions: u32| {
        let keyed = format!("format: json\n    partition_key: [k]\n    partitions: {partitions}");
        std::fs::write(&file, text.replace("format: json", &keyed)).expect("the pipeline is changed");
        processor(&aws.url, &file, &[("LANES_URL", &receiver.url)]).await
    };
    let lines: Vec<String> = records(90, &mut Dice(5)).iter().map(|record| record.line()).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let done = Ok(json!({ "batchItemFailures": [] }));
    let mut two = environment(2).await;
    assert_eq!(two.invoke(&kafka(&[(0, 0, &lines[..30]), (1, 0, &lines[30..60])])).await, done);
    // A key that was in partition 0 or 1 may be in this one now.
    let error = two.invoke(&kafka(&[(2, 0, &lines[60..])])).await.expect_err("a third partition").to_string();
    assert!(error.contains("records of partition 2, but partitions: 2 is declared"), "{error}");
    // Its open windows would stay where they are, so another number alone does not help.
    let mut three = environment(3).await;
    let error = three.invoke(&kafka(&[(0, 30, &lines[60..])])).await.expect_err("state of two partitions").to_string();
    assert!(error.contains("keys over 3 partitions") && error.contains("keys over 2 partitions"), "{error}");
    let renewed = three.invoke(br#"{"tidegate":"reset"}"#).await.expect("a new generation");
    assert_eq!(renewed["generation"], 2, "{renewed}");
    let again = kafka(&[(0, 0, &lines[..30]), (1, 0, &lines[30..60]), (2, 0, &lines[60..])]);
    assert_eq!(three.invoke(&again).await, done);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewind_to_a_time_sends_the_windows_from_there_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipeline = pipeline(folder.path());
    let mut dice = Dice(24);
    let all = records(600, &mut dice);
    let inputs = spread(&all, 2, folder.path(), &mut dice);
    let state = folder.path().join("state").display().to_string();
    let receiver = Receiver::start(&folder.path().join("r.db"), &[]);
    run(&receiver.url, &pipeline, &inputs, &state, &["--drain"]);
    let sent = rows(receiver.rows().await.into_iter());
    assert_eq!(sent, naive(&all));
    // Ten seconds behind the first record, into another target.
    let shadow = Receiver::start(&folder.path().join("shadow.db"), &[]);
    let mut arguments = vec!["rewind", &pipeline, "--replay", "--to", "2026-01-01T01:00:10+01:00", "--state", &state];
    arguments.extend(inputs.iter().flat_map(|input| ["--input", input.as_str()]));
    let text = stdout_of(&tidegate("", &arguments));
    assert!(text.contains("from the first record at or behind 2026-01-01T00:00:10"), "{text}");
    let summary = run(&shadow.url, &pipeline, &inputs, &state, &["--drain"]);
    assert!(summary["counts"]["skipped"].as_u64() > Some(100), "{summary}");
    let behind =
        |rows: Vec<(u64, char, i64, u64)>| -> Vec<_> { rows.into_iter().filter(|row| row.0 >= 10_000).collect() };
    assert_eq!(behind(rows(shadow.rows().await.into_iter())), behind(sent));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewind_to_a_position_leaves_out_what_stands_before_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipeline = pipeline(folder.path());
    let mut dice = Dice(25);
    let all = records(400, &mut dice);
    let inputs = spread(&all, 1, folder.path(), &mut dice);
    let state = folder.path().join("state").display().to_string();
    let receiver = Receiver::start(&folder.path().join("r.db"), &[]);
    run(&receiver.url, &pipeline, &halves(&inputs, folder.path()), &state, &[]);
    let rewind = |to: &str, rest: &[&str]| {
        tidegate("", &[&["rewind", &pipeline, "--repair", "--to", to, "--state", &state], rest].concat())
    };
    for (to, words) in [
        ("s:0=201", "has read up to 200, and the records between would be left out"),
        ("s:1=5", "the pipeline has no lane s:1"),
        ("yesterday", "--to 'yesterday' is no place to begin at"),
        ("s:0=x", "--to 's:0=x' is no place to begin at"),
        ("2026-01-01T00:00:00Z", "name them as for `tidegate run`"),
    ] {
        let refused = rewind(to, &[]);
        let text = String::from_utf8_lossy(&refused.stderr);
        assert!(refused.status.code() != Some(0) && text.contains(words), "{to}: {text}");
    }
    // What was refused has begun nothing. Line 100 lies in the sixth second; the windows from there on are whole.
    let text = stdout_of(&rewind("s:0=100", &["--json"]));
    assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON")["generation"], 2, "{text}");
    let summary = run(&receiver.url, &pipeline, &inputs, &state, &["--drain"]);
    assert_eq!((&summary["counts"]["skipped"], &summary["counts"]["records"]), (&json!(100), &json!(400)), "{summary}");
    assert_eq!(rows(receiver.rows().await.into_iter()), naive(&all), "each window once, also those that were open");
}
