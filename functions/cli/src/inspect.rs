//! `tidegate inspect`.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use tidegate_core::{Error, LaneId, Result};
use tidegate_runtime::inspect as inspection;
use tidegate_state::embedded::EmbeddedStore;
use tidegate_state::folder::FolderBlobs;
use tidegate_state::{Pipeline, StateOptions};

use crate::args::InspectOptions;
use crate::output;
use crate::project::{Context, load_file, plan_run};

/// Shows what a state folder holds, also while a run writes to it.
pub async fn inspect(options: &InspectOptions, context: &Context) -> Result<ExitCode> {
    let name = load_file(&options.pipeline, context)?.name;
    let folder = options.state.clone().unwrap_or_else(|| Path::new(".tidegate").join(&name));
    let none = || {
        Error::invalid(format!("the folder {} holds no state of pipeline {name}", folder.display()))
            .with_help("name the folder that `tidegate run --state` was given")
    };
    let store = EmbeddedStore::open_read_only(&folder)?.ok_or_else(none)?;
    let ports = tidegate_state::Ports {
        store: Arc::new(store),
        blobs: Arc::new(FolderBlobs::new(folder.join("blobs"))),
        clock: Arc::clone(&context.clock),
        random: Arc::clone(&context.random),
    };
    // The lanes that are there tell how many inputs the runs had.
    let lanes = match Pipeline::open_existing(ports.clone(), &name, StateOptions::default()).await? {
        Some(state) => state.lanes().await?,
        None => return Err(none()),
    };
    let inputs: Vec<&str> = lanes.iter().filter(|lane| !lane.is_close()).map(LaneId::source).collect();
    let pipeline = plan_run(&options.pipeline, None, &inputs, context)?;
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
