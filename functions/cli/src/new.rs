//! `tidegate new`: a pipeline that runs as it stands.

use std::path::Path;
use std::process::ExitCode;

use tidegate_core::{Error, Result};

use crate::args::NewOptions;
use crate::output;

const PIPELINE: &str = include_str!("../templates/pipeline.yaml");
const RECORDS: &str = include_str!("../templates/events.jsonl");

/// Creates a folder with a pipeline file and some records.
pub fn scaffold(options: &NewOptions) -> Result<ExitCode> {
    let folder = &options.folder;
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let valid = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.chars().all(valid) {
        return Err(Error::invalid(format!("'{}' cannot be a pipeline's name", folder.display()))
            .with_help("begin with a letter, then letters, digits, - and _"));
    }
    std::fs::create_dir(folder).map_err(|error| {
        Error::invalid(format!("the folder {} cannot be created", folder.display())).with_source(error)
    })?;
    write(&folder.join("pipeline.yaml"), &PIPELINE.replace("NAME", name))?;
    write(&folder.join("events.jsonl"), RECORDS)?;
    let shown = folder.display();
    output::line(&format!(
        "created {shown}/pipeline.yaml and {shown}/events.jsonl\n\ntry it:\n  \
         tidegate run {shown}/pipeline.yaml --input events={shown}/events.jsonl --to - --drain"
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text)
        .map_err(|error| Error::unavailable(format!("{} cannot be written", path.display())).with_source(error))
}
