//! `tidegate run`.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tidegate_core::Result;
use tidegate_delivery::config::LinesTarget;
use tidegate_runtime::Runtime;
use tidegate_runtime::local::{LocalInput, LocalOptions, Progress, Summary};

use crate::args::RunOptions;
use crate::input::open_inputs;
use crate::output::{self, ProgressLine};
use crate::project::{Context, StatePlace, open_runtime, parse_to, plan_run};

/// What a shell expects of a process that Ctrl-C ended.
pub const INTERRUPTED: u8 = 130;

/// Runs a pipeline over its inputs.
pub async fn run(options: RunOptions, context: &Context) -> Result<ExitCode> {
    let dry_run = parse_to(options.to.as_deref());
    let names: Vec<&str> = options.inputs.iter().filter_map(|input| Some(input.split_once('=')?.0)).collect();
    let pipeline = plan_run(&options.pipeline, dry_run.as_ref(), &names, context)?;
    for warning in &pipeline.file.warnings {
        output::note(&format!("warning: {}: {}", warning.key, warning.message));
    }
    let mut inputs = open_inputs(&options.inputs, &pipeline, options.rate, &context.clock)?;
    let place = StatePlace::choose(&pipeline.file.name, options.state.as_deref(), dry_run.as_ref());
    place.check_foreign_file(dry_run.as_ref())?;
    let runtime = open_runtime(pipeline, &place, context).await?;
    let local = LocalOptions { batch_size: options.batch_size as usize, drain: options.drain };
    let line = ProgressLine::new(options.quiet || options.json);
    let started = context.clock.elapsed();
    let mut show = |progress: &Progress| line.show(progress, context.clock.elapsed() - started);
    let ended = run_until_interrupted(&runtime, &mut inputs, local, &mut show).await;
    line.end();
    let summary = ended?;
    let elapsed = context.clock.elapsed() - started;
    let text = if options.json {
        output::summary_json(&summary, elapsed).to_string()
    } else {
        output::summary_text(&summary, elapsed)
    };
    if matches!(dry_run, Some(LinesTarget::Stdout)) {
        output::note(&text);
    } else {
        output::line(&text)?;
    }
    Ok(if summary.stopped { ExitCode::from(INTERRUPTED) } else { ExitCode::SUCCESS })
}

/// Time that a running micro-batch gets after Ctrl-C.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// Runs the inputs; Ctrl-C stops between two commits, with everything settled. A second one, or a batch that does
/// not end in time (an input that waits for its writer), ends the process: nothing is lost by that either.
pub async fn run_until_interrupted(
    runtime: &Runtime,
    inputs: &mut [LocalInput],
    options: LocalOptions,
    observe: &mut (dyn FnMut(&Progress) + Send),
) -> Result<Summary> {
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    #[expect(clippy::disallowed_methods, reason = "a blocking read must not keep Ctrl-C from being heard")]
    let listener = tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_err() {
            return;
        }
        stop.store(true, Ordering::Relaxed);
        let _ = tokio::time::timeout(STOP_GRACE, tokio::signal::ctrl_c()).await;
        output::note("stopped within a micro-batch; the next run takes it up again");
        std::process::exit(INTERRUPTED.into());
    });
    let mut watch = move |progress: &Progress| {
        observe(progress);
        !asked.load(Ordering::Relaxed)
    };
    let ended = runtime.run_local(inputs, options, &mut watch).await;
    listener.abort();
    ended
}
