//! What a person sees: standard output and error, the log, the progress line.

use std::io::{ErrorKind, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use tidegate_core::{Error, Result};
use tidegate_runtime::local::{Progress, Summary};

/// Logs go to standard error; `RUST_LOG` chooses what.
pub fn start_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().init();
}

/// One line on standard output. A reader that goes away is an ordinary end.
pub fn line(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::unavailable("standard output cannot be written").with_source(error))
        }
        _ => Ok(()),
    }
}

/// One line on standard error. Nobody can be told when that fails.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// An error, on standard error.
pub fn error(error: &Error) {
    note(&format!("error: {error}"));
}

/// The progress line of a run: on a terminal only.
pub struct ProgressLine(ProgressBar);

impl ProgressLine {
    /// A new line; `quiet` shows nothing.
    pub fn new(quiet: bool) -> Self {
        let bar = ProgressBar::new_spinner();
        if quiet || !std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        } else {
            bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        }
        bar.set_style(
            ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()),
        );
        Self(bar)
    }

    /// Shows how far the run has come.
    pub fn show(&self, progress: &Progress, elapsed: Duration) {
        if self.0.is_hidden() {
            return;
        }
        let counts = &progress.counts;
        let watermark = progress.watermark.map_or_else(|| "none".to_owned(), |watermark| watermark.to_string());
        self.0.set_message(format!(
            "{} records, {}/s, watermark {watermark}, {} requests, {} dead letters",
            counts.records,
            rate(counts.records, elapsed),
            counts.requests,
            counts.dead_letters
        ));
        self.0.tick();
    }

    /// Removes the line.
    pub fn end(&self) {
        self.0.finish_and_clear();
    }
}

fn rate(records: u64, elapsed: Duration) -> u64 {
    (records as f64 / elapsed.as_secs_f64().max(1e-6)) as u64
}

/// The closing summary for people.
pub fn summary_text(summary: &Summary, elapsed: Duration) -> String {
    let counts = &summary.progress.counts;
    let fresh = counts.records - counts.skipped.min(counts.records);
    let mut lines = vec![format!(
        "{} {fresh} records in {:.2} s ({}/s)",
        if summary.stopped { "stopped after" } else { "done:" },
        elapsed.as_secs_f64(),
        rate(fresh, elapsed)
    )];
    lines.push(format!(
        "  {} rows in {} requests ({} retries, {} repeats recognised), {} commits, {} bytes",
        counts.rows, counts.requests, counts.retries, counts.repeats, counts.commits, counts.commit_bytes
    ));
    if counts.bad_records + counts.dead_letters > 0 {
        lines.push(format!("  {} bad records, {} dead letters", counts.bad_records, counts.dead_letters));
    }
    if counts.unknown > 0 {
        lines.push(format!("  {} requests of unknown outcome, which are not sent again", counts.unknown));
    }
    if counts.late + counts.without_event_time > 0 {
        lines.push(format!("  {} late rows, {} rows without event time", counts.late, counts.without_event_time));
    }
    if let Some(watermark) = summary.progress.watermark {
        lines.push(format!("  watermark {watermark}"));
    }
    if summary.open_groups > 0 {
        lines.push(format!(
            "  {}{} groups of open windows stay in the state until the watermark passes their end (--drain closes them)",
            if summary.open_groups_at_most { "at most " } else { "" },
            summary.open_groups
        ));
    }
    lines.join("\n")
}

/// The closing summary for machines.
pub fn summary_json(summary: &Summary, elapsed: Duration) -> Value {
    let times = &summary.progress.times;
    json!({
        "stopped": summary.stopped,
        "seconds": elapsed.as_secs_f64(),
        "counts": summary.progress.counts,
        "watermark": summary.progress.watermark.map(|watermark| watermark.to_string()),
        "open_groups": summary.open_groups,
        "open_groups_at_most": summary.open_groups_at_most,
        "stage_seconds": {
            "read": times.read.as_secs_f64(),
            "decode": times.decode.as_secs_f64(),
            "sql": times.sql.as_secs_f64(),
            "commit": times.commit.as_secs_f64(),
            "deliver": times.deliver.as_secs_f64(),
        },
    })
}
