//! `kill -9` at random moments of a run against a receiver that fails, and the receiver's content afterwards.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::kit::{Dice, Process, Receiver, command, stdout_of, tidegate};

/// Runs that are killed. `TIDEGATE_KILLS=200` asks for more.
const KILLS: u64 = 12;

/// Records for each kill, so that runs are killed between their commits and not only before their first one.
const RECORDS_A_KILL: u64 = 2_000;
/// 400 seconds of events.
const MIN_RECORDS: u64 = 40_000;

fn kills() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a developer asks for more kills")]
    let asked = std::env::var("TIDEGATE_KILLS").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(KILLS)
}

fn records() -> u64 {
    MIN_RECORDS.max(kills() * RECORDS_A_KILL)
}

/// Some records are out of order, some broken.
fn input() -> String {
    format!("transactions=gen:treasury?rate=100&records={}&seed=11&disorder=900ms&bad=0.002", records())
}

/// Slow enough that the kills hit the run, whatever their number.
fn rate() -> String {
    (records() / (kills() / 2).max(1)).to_string()
}

fn run_arguments<'a>(input: &'a str, state: &'a str, batch: &'a str) -> Vec<&'a str> {
    vec![
        "run",
        "examples/treasury/pipeline.yaml",
        "--input",
        input,
        "--state",
        state,
        "--batch-size",
        batch,
        "--drain",
        "--json",
    ]
}

/// What the receiver holds after an undisturbed run, sorted.
async fn undisturbed(folder: &Path) -> Vec<String> {
    let receiver = Receiver::start(&folder.join("calm.db"), &[]);
    let state = folder.join("calm");
    let mut calm = command(&run_arguments(&input(), state.to_str().expect("UTF-8"), "500"));
    let output = calm.env("TREASURY_URL", &receiver.url).output().expect("tidegate starts");
    stdout_of(&output);
    let rows = receiver.rows().await;
    assert!(rows.len() > 3000, "{} rows", rows.len());
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_run_loses_and_doubles_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let expected = undisturbed(folder.path()).await;
    let faults =
        ["--fail-429", "0.03", "--fail-500", "0.02", "--fail-503", "0.03", "--lose-answer", "0.05", "--drop", "0.03"];
    let receiver = Receiver::start(&folder.path().join("faulty.db"), &faults);
    let state = folder.path().join("killed");
    let (input, rate) = (input(), rate());
    let arguments = run_arguments(&input, state.to_str().expect("UTF-8"), "500");
    let mut dice = Dice(42);
    let (mut killed, mut finished) = (0, false);
    while killed < kills() && !finished {
        let mut run = command(&arguments);
        run.args(["--rate", &rate]).env("TREASURY_URL", &receiver.url).stderr(Stdio::null());
        let mut run = Process::start(run);
        // From before the state is opened to well into the run.
        pause(Duration::from_millis(20 + dice.below(700))).await;
        match run.ended() {
            None => killed += 1,
            // A receiver that fails too often ends a run with a passing fault; the next one goes on.
            Some(done) => finished = done,
        }
        run.kill();
    }
    let summary = finish(&arguments, &receiver).await;
    let rows = receiver.rows().await;
    let receiver_summary = receiver.summary().await;
    println!(
        "{killed} kills; {} requests reached the receiver, {} repeats, {} with another body, faults {}; last run: {summary}",
        receiver_summary["requests"],
        receiver_summary["repeats"],
        receiver_summary["conflicts"],
        receiver_summary["faults"]
    );
    assert!(killed >= kills().min(10), "only {killed} runs were killed before the end");
    assert_eq!(receiver_summary["conflicts"], 0, "one id must never carry two bodies");
    assert_same(&rows, &expected);
}

/// Runs to the end; a receiver that fails may need several tries.
async fn finish(arguments: &[&str], receiver: &Receiver) -> String {
    for _ in 0..20 {
        let output = command(arguments).env("TREASURY_URL", &receiver.url).output().expect("tidegate starts");
        match output.status.code() {
            Some(0) => return stdout_of(&output),
            Some(1) => {}
            _ => panic!("{}", String::from_utf8_lossy(&output.stderr)),
        }
    }
    panic!("the run did not end well in 20 tries");
}

fn assert_same(rows: &[String], expected: &[String]) {
    let missing: Vec<&String> = expected.iter().filter(|row| rows.binary_search(row).is_err()).take(5).collect();
    let extra: Vec<&String> = rows.iter().filter(|row| expected.binary_search(row).is_err()).take(5).collect();
    assert!(rows == expected, "{} rows, expected {}; missing {missing:?}, extra {extra:?}", rows.len(), expected.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_dry_run_leaves_one_whole_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = folder.path().join("input.jsonl");
    let lines = stdout_of(&tidegate(&["generate", "treasury?rate=100&records=60000&seed=3&disorder=900ms"]));
    std::fs::write(&input, lines).expect("the input is written");
    let input = format!("transactions={}", input.display());
    let run = |name: &str| {
        let (state, to) = (folder.path().join(name), folder.path().join(format!("{name}.jsonl")));
        let mut run = command(&["run", "examples/treasury/pipeline.yaml", "--batch-size", "200", "--drain", "--json"]);
        run.args(["--input", &input, "--state"]).arg(&state).arg("--to").arg(&to).stderr(Stdio::null());
        (run, to)
    };
    let (mut calm, calm_file) = run("calm");
    stdout_of(&calm.output().expect("tidegate starts"));
    let mut dice = Dice(7);
    let mut killed = 0;
    for _ in 0..kills() {
        let mut process = Process::start(run("killed").0);
        pause(Duration::from_millis(20 + dice.below(300))).await;
        killed += u64::from(process.ended().is_none());
        process.kill();
    }
    let (mut last, killed_file) = run("killed");
    stdout_of(&last.output().expect("tidegate starts"));
    assert!(killed > 0, "no run was killed");
    let read = |path| std::fs::read(path).expect("the file is there");
    assert!(read(&killed_file) == read(&calm_file), "the files differ after {killed} kills");
}

async fn pause(duration: Duration) {
    #[expect(clippy::disallowed_methods, reason = "a real process runs meanwhile")]
    tokio::time::sleep(duration).await;
}
