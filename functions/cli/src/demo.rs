//! `tidegate demo`: a reference scenario in one command, with a receiver in a process of its own.
//!
//! The demo's records are made from a seed. At the end what the receiver holds is compared with sums that are
//! computed here from the same records, without the engine.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};

use serde_json::Value;
use tidegate_core::{Error, Result};
use tidegate_runtime::local::{LocalInput, LocalOptions, Progress};
use tidegate_runtime::{PlannedPipeline, Runtime, config};

use crate::args::DemoOptions;
use crate::generator::Generator;
use crate::input::open_inputs;
use crate::output;
use crate::project::{Context, StatePlace, open_runtime};
use crate::run::{INTERRUPTED, run_until_interrupted};

const PIPELINE: &str = include_str!("../../../examples/treasury/pipeline.yaml");

/// Transactions a second, as in the scenario.
const RATE: u64 = 100;

/// Records of a micro-batch: half a second of them.
const BATCH: usize = 50;

/// Written when a demo has run to its end: the next one starts anew.
const ENDED: &str = "ended";

/// Shows a reference scenario.
pub async fn demo(options: DemoOptions, context: &Context) -> Result<ExitCode> {
    if options.name != "treasury" {
        return Err(Error::invalid(format!("there is no demo '{}'", options.name)).with_help("demos: treasury"));
    }
    prepare(&options.state)?;
    let records = (options.duration.as_secs_f64() * RATE as f64).ceil() as u64;
    let pace = if options.fast { "fast" } else { "real" };
    let spec = format!("treasury?rate={RATE}&records={records}&seed=7&pace={pace}");
    let receiver = Receiver::start(&options)?;
    output::line(&format!(
        "receiver: {} (a process of its own; keeps what it got in {})",
        receiver.url,
        options.state.display()
    ))?;
    output::line(&format!(
        "{records} transactions at {RATE} a second, summed per branch and currency every 2 seconds. Ctrl-C or kill -9 at \
         any moment, and run it again: it goes on where it was.\n"
    ))?;
    let runtime = open(&options, &receiver.url, context).await?;
    let mut inputs = open_inputs(&[format!("transactions=gen:{spec}")], runtime.pipeline(), None, &context.clock)?;
    let stopped = watch(&runtime, &mut inputs).await?;
    if stopped {
        output::line("\nstopped between two commits; run the same command again to go on")?;
        receiver.stop().await?;
        return Ok(ExitCode::from(INTERRUPTED));
    }
    let sound = compare(&receiver, &Generator::parse(&spec)?).await?;
    receiver.stop().await?;
    std::fs::write(options.state.join(ENDED), "").map_err(|error| folder_error(&options.state, error))?;
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::from(4) })
}

/// Makes the demo's folder. One whose demo has ended is emptied.
fn prepare(folder: &Path) -> Result<()> {
    if folder.join(ENDED).exists() {
        std::fs::remove_dir_all(folder).map_err(|error| folder_error(folder, error))?;
    }
    std::fs::create_dir_all(folder).map_err(|error| folder_error(folder, error))
}

fn folder_error(folder: &Path, error: std::io::Error) -> Error {
    Error::unavailable(format!("the folder {} cannot be used", folder.display())).with_source(error)
}

async fn open(options: &DemoOptions, url: &str, context: &Context) -> Result<Runtime> {
    let environment = |name: &str| (name == "TREASURY_URL").then(|| url.to_owned());
    let mut file = config::load("examples/treasury/pipeline.yaml", PIPELINE, &environment).map_err(Error::from)?;
    file.sources.iter_mut().for_each(|source| source.partitions = Some(1));
    let pipeline = PlannedPipeline::new(file, None).map_err(Error::from)?;
    open_runtime(pipeline, &StatePlace::Folder(options.state.join("state")), context).await
}

/// Runs to the end and prints a line whenever windows have closed. `true`: stopped by Ctrl-C.
async fn watch(runtime: &Runtime, inputs: &mut [LocalInput]) -> Result<bool> {
    let mut rows = 0;
    let mut show = |progress: &Progress| {
        let counts = &progress.counts;
        if counts.rows > rows {
            let watermark = progress.watermark.map(|watermark| watermark.to_string()).unwrap_or_default();
            output::note(&format!(
                "watermark {watermark}: {:>3} sums delivered, {:>5} in all, {} requests, {} retries",
                counts.rows - rows,
                counts.rows,
                counts.requests,
                counts.retries
            ));
            rows = counts.rows;
        }
    };
    let options = LocalOptions { batch_size: BATCH, drain: true };
    Ok(run_until_interrupted(runtime, inputs, options, &mut show).await?.stopped)
}

/// Sums in cents and counts per window start, branch and currency.
type Sums = BTreeMap<(String, String, String), (i64, u64)>;

/// Compares what the receiver holds with the sums of the generator's records.
async fn compare(receiver: &Receiver, generator: &Generator) -> Result<bool> {
    let expected = expected_sums(generator)?;
    let mut got = Sums::new();
    let (mut doubled, mut shown) = (0u64, Vec::new());
    for line in receiver.get("/_tidegate/rows").await?.lines() {
        let row: Value = serde_json::from_str(line)
            .map_err(|error| Error::internal("the receiver's answer is not JSON").with_source(error))?;
        if shown.len() < 4 {
            shown.push(line.to_owned());
        }
        let text = |field: &str| row[field].as_str().unwrap_or_default().to_owned();
        let key = (text("window_start"), text("branch"), text("currency"));
        let sum = (cents(&row["total"].to_string()), row["transactions"].as_u64().unwrap_or(0));
        doubled += u64::from(got.insert(key, sum).is_some());
    }
    let missing = expected.keys().filter(|key| !got.contains_key(*key)).count();
    let wrong = got.iter().filter(|(key, sum)| expected.get(*key) != Some(*sum)).count();
    let summary: Value = serde_json::from_str(&receiver.get("/_tidegate/summary").await?)
        .map_err(|error| Error::internal("the receiver's answer is not JSON").with_source(error))?;
    output::line("\nthe receiver's first rows:")?;
    for line in shown {
        output::line(&format!("  {line}"))?;
    }
    output::line(&format!(
        "\nthe receiver got {} requests, of which {} were repeats that took no second effect",
        summary["requests"], summary["repeats"]
    ))?;
    output::line(&format!(
        "{} sums expected from the records: {missing} missing, {doubled} doubled, {wrong} wrong",
        expected.len()
    ))?;
    Ok(missing == 0 && doubled == 0 && wrong == 0)
}

fn expected_sums(generator: &Generator) -> Result<Sums> {
    let mut sums = Sums::new();
    let mut line = Vec::new();
    for index in 0..generator.records().unwrap_or(0) {
        line.clear();
        generator.record(index, &mut line);
        let record: Value = serde_json::from_slice(&line)
            .map_err(|error| Error::internal("a generated record is not JSON").with_source(error))?;
        let text = |field: &str| record[field].as_str().unwrap_or_default();
        let start = window_start(text("ts"));
        let sum = sums.entry((start, text("branch").to_owned(), text("currency").to_owned())).or_insert((0, 0));
        sum.0 += cents(&record["amount"].to_string());
        sum.1 += 1;
    }
    Ok(sums)
}

/// The start of the 2-second window of `2026-01-01T00:00:03.120Z`: the even second.
fn window_start(ts: &str) -> String {
    let second: u32 = ts.get(17..19).and_then(|digits| digits.parse().ok()).unwrap_or(0);
    format!("{}{:02}.000Z", ts.get(..17).unwrap_or_default(), second / 2 * 2)
}

/// `-12.3` as -1230.
fn cents(amount: &str) -> i64 {
    let (sign, digits) = amount.strip_prefix('-').map_or((1, amount), |rest| (-1, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let number = |text: &str| text.parse::<i64>().unwrap_or(0);
    sign * (number(whole) * 100 + number(&format!("{fraction:0<2}")))
}

/// The receiver's process.
struct Receiver {
    process: Child,
    /// Kept open: the receiver writes its summary here when it ends.
    _output: BufReader<ChildStdout>,
    url: String,
    client: reqwest::Client,
}

impl Receiver {
    fn start(options: &DemoOptions) -> Result<Self> {
        let failed = |error: std::io::Error| Error::unavailable("the receiver cannot be started").with_source(error);
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command.args(["target", "--port", "0", "--json", "--until-input-ends", "--store"]);
        command.arg(options.state.join("receiver.db"));
        if options.faults {
            command.args(["--fail-429", "0.05", "--fail-503", "0.05", "--lose-answer", "0.1", "--drop", "0.05"]);
        }
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(failed)?;
        let stdout = process.stdout.take().ok_or_else(|| Error::internal("the receiver has no standard output"))?;
        let mut output = BufReader::new(stdout);
        let mut line = String::new();
        output.read_line(&mut line).map_err(failed)?;
        let url =
            serde_json::from_str::<Value>(&line).ok().and_then(|value| Some(value["listening"].as_str()?.to_owned()));
        let Some(url) = url else {
            let _ = process.kill();
            let _ = process.wait();
            return Err(Error::unavailable("the receiver did not start; its message stands above"));
        };
        let client = reqwest::Client::builder()
            .no_proxy()
            .build()
            .map_err(|error| Error::internal("no HTTP client can be made").with_source(error))?;
        Ok(Self { process, _output: output, url, client })
    }

    async fn get(&self, path: &str) -> Result<String> {
        let failed = |error: reqwest::Error| Error::unavailable("the receiver does not answer").with_source(error);
        let answer = self.client.get(format!("{}{path}", self.url)).send().await.map_err(failed)?;
        answer.text().await.map_err(failed)
    }

    async fn stop(mut self) -> Result<()> {
        let asked = self.client.post(format!("{}/_tidegate/shutdown", self.url)).send().await;
        if asked.is_err() {
            let _ = self.process.kill();
        }
        self.process
            .wait()
            .map(|_| ())
            .map_err(|error| Error::unavailable("the receiver did not end").with_source(error))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cents_and_windows() {
        assert_eq!([cents("-12.3"), cents("0.05"), cents("7"), cents("-0.50")], [-1230, 5, 700, -50]);
        assert_eq!(window_start("2026-01-01T00:00:03.120Z"), "2026-01-01T00:00:02.000Z");
    }
}
