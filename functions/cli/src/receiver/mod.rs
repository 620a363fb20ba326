//! The reference REST receiver (`tidegate target`): what an exactly-once target has to do, and a way to see it fail.
//!
//! It remembers ids durably, looks an id up before it validates, keeps a rejected id rejected, and shows what it
//! received. Told to, it answers 429 and 5xx, loses answers, hangs up, delays, restarts and lies.
//!
//! Requests: `PUT`, `POST` and `PATCH` on any path but `/_tidegate/`. Bodies: a JSON array of rows, JSON lines,
//! one row, or `{"ID_FIELD": id, "rows": [...]}`. A row is kept as the text that came in.

mod body;
mod faults;
mod http;
mod options;
mod server;
mod store;
#[cfg(test)]
mod tests;

use std::io::Write;

use tidegate_core::time::SystemClock;
use tidegate_core::{Error, Result};

pub use options::ReceiverOptions;
pub use server::Receiver;

/// Runs the receiver until Ctrl-C, SIGTERM, `POST /_tidegate/shutdown` or `--idle-exit`.
///
/// Prints one line as soon as it listens, and what it received when it ends.
pub async fn serve(options: ReceiverOptions) -> Result<()> {
    let (json, with_input) = (options.json, options.until_input_ends);
    let clock = std::sync::Arc::new(SystemClock::default());
    let receiver = Receiver::bind(options, clock, &environment).await?;
    let address = format!("http://{}", receiver.address());
    let line =
        if json { serde_json::json!({ "listening": address }).to_string() } else { format!("listening on {address}") };
    print_line(&line)?;
    let summary = receiver.run(told_to_end(with_input)).await?;
    print_line(&if json { summary.to_json().to_string() } else { summary.to_string() })
}

/// Reads the variable that holds the credentials the receiver asks for.
#[expect(clippy::disallowed_methods, reason = "one variable, read once before the receiver listens")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn print_line(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(|error| Error::unavailable("standard output cannot be written").with_source(error))
}

async fn told_to_end(with_input: bool) {
    if with_input {
        tokio::select! {
            () = interrupted() => {}
            () = input_ends() => {}
        }
    } else {
        interrupted().await;
    }
}

/// Ends when standard input does.
#[expect(clippy::disallowed_methods, reason = "a blocking read must not keep the server from ending otherwise")]
async fn input_ends() {
    let (ended, wait) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        let _ = ended.send(());
    });
    let _ = wait.await;
}

/// Ends when the process is asked to end.
async fn interrupted() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
