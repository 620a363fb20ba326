//! `tidegate inspect`.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use tidegate_core::{Error, Result};
use tidegate_runtime::inspect as inspection;
use tidegate_state::embedded::EmbeddedStore;
use tidegate_state::folder::FolderBlobs;

use crate::args::InspectOptions;
use crate::output;
use crate::project::{Context, plan_file};

/// Shows what a state folder holds, also while a run writes to it.
pub async fn inspect(options: &InspectOptions, context: &Context) -> Result<ExitCode> {
    let pipeline = plan_file(&options.pipeline, None, context)?;
    let folder = options.state.clone().unwrap_or_else(|| Path::new(".tidegate").join(&pipeline.file.name));
    let none = || {
        Error::invalid(format!("the folder {} holds no state of pipeline {}", folder.display(), pipeline.file.name))
            .with_help("name the folder that `tidegate run --state` was given")
    };
    let store = EmbeddedStore::open_read_only(&folder)?.ok_or_else(none)?;
    let ports = tidegate_state::Ports {
        store: Arc::new(store),
        blobs: Arc::new(FolderBlobs::new(folder.join("blobs"))),
        clock: Arc::clone(&context.clock),
        random: Arc::clone(&context.random),
    };
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
