//! `tidegate reset` and `tidegate rewind`.

use std::path::Path;
use std::process::ExitCode;

use tidegate_core::{Error, LaneId, Result};
use tidegate_runtime::{Budget, Replay};

use crate::args::{ResetOptions, RewindOptions};
use crate::output;
use crate::project::{Context, StatePlace, found_lanes, load_file, open_runtime, plan_run};

/// Reads from the start again.
pub async fn rewind(options: &RewindOptions, context: &Context) -> Result<ExitCode> {
    let replay = if options.repair { Replay::Repair } else { Replay::Send };
    begin_anew(&options.reset, replay, context).await
}

/// Begins a new generation of the state in a folder.
pub async fn begin_anew(options: &ResetOptions, replay: Replay, context: &Context) -> Result<ExitCode> {
    let name = load_file(&options.pipeline, context)?.name;
    let folder = options.state.clone().unwrap_or_else(|| Path::new(".tidegate").join(&name));
    let lanes = found_lanes(&folder, &name, context).await?;
    let inputs: Vec<&str> = lanes.iter().filter(|lane| !lane.is_close()).map(LaneId::source).collect();
    let pipeline = plan_run(&options.pipeline, None, &inputs, context)?;
    let runtime = open_runtime(pipeline, &StatePlace::Folder(folder), context).await?;
    let renewal = runtime.begin_anew(replay, options.abandon_owed, Budget::unlimited()).await?;
    let text = if options.json {
        serde_json::to_string(&renewal)
            .map_err(|error| Error::internal("the answer cannot be written as JSON").with_source(error))?
    } else {
        let next = match replay {
            Replay::Send => "everything is sent again, under new ids",
            Replay::Repair => "what was sent before is computed and not sent again",
        };
        format!(
            "generation {} is open: {} lanes of the one before are sealed, {} owed requests were sent\n\
             the next run reads its inputs from the start; {next}",
            renewal.generation, renewal.lanes, renewal.requests
        )
    };
    output::line(&text)?;
    Ok(ExitCode::SUCCESS)
}
