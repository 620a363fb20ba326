//! `tidegate inspect`.

use std::path::Path;
use std::process::ExitCode;

use tidegate_core::{Error, LaneId, Result};
use tidegate_runtime::inspect as inspection;

use crate::args::InspectOptions;
use crate::output;
use crate::project::{Context, existing_ports, found_lanes, load_file, no_state, plan_run};

/// Shows what a state folder holds, also while a run writes to it.
pub async fn inspect(options: &InspectOptions, context: &Context) -> Result<ExitCode> {
    let name = load_file(&options.pipeline, context)?.name;
    let folder = options.state.clone().unwrap_or_else(|| Path::new(".tidegate").join(&name));
    let none = || no_state(&folder, &name);
    // The lanes that are there tell how many inputs the runs had.
    let lanes = found_lanes(&folder, &name, context).await?;
    let inputs: Vec<&str> = lanes.iter().filter(|lane| !lane.is_close()).map(LaneId::source).collect();
    let pipeline = plan_run(&options.pipeline, None, &inputs, context)?;
    let ports = existing_ports(&folder, context)?.ok_or_else(none)?;
    let found = inspection::inspect(&pipeline, ports).await?.ok_or_else(none)?;
    let text = if options.json {
        serde_json::to_string_pretty(&found)
            .map_err(|error| Error::internal("the inspection cannot be written as JSON").with_source(error))?
    } else {
        found.to_string().trim_end().to_owned()
    };
    output::line(&text)?;
    Ok(ExitCode::SUCCESS)
}
