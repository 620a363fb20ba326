//! `tidegate check` and `tidegate explain`.

use std::process::ExitCode;

use serde_json::json;
use tidegate_core::{Error, Result};
use tidegate_runtime::explain::{CostAssumptions, explain as explain_pipeline};

use crate::args::{CheckOptions, ExplainOptions};
use crate::output;
use crate::project::{Context, plan_file};

/// Says whether a pipeline file holds together, its queries included.
pub fn check(options: &CheckOptions, context: &Context) -> Result<ExitCode> {
    let planned = plan_file(&options.pipeline, None, context);
    if options.json {
        let answer = match &planned {
            Ok(_) => json!({ "ok": true }),
            Err(error) => json!({ "ok": false, "error": error.to_string() }),
        };
        output::line(&answer.to_string())?;
        return Ok(if planned.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(2) });
    }
    let planned = planned?;
    let explanation = explain_pipeline(&planned, CostAssumptions::default());
    output::line(&format!(
        "{}: pipeline {} is sound: {} sources, {} views, {} outputs, {} targets",
        options.pipeline.display(),
        planned.file.name,
        planned.sources.len(),
        planned.file.views.len(),
        planned.outputs.len(),
        planned.targets.len()
    ))?;
    for warning in explanation.warnings {
        output::line(&format!("warning: {warning}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints what a pipeline will do, what it promises and what it costs.
pub fn explain(options: &ExplainOptions, context: &Context) -> Result<ExitCode> {
    let planned = plan_file(&options.pipeline, None, context)?;
    let assumptions = CostAssumptions {
        batch_records: f64::from(options.batch_size.max(1)),
        commit_bytes: f64::from(options.commit_bytes.max(1)),
        ..CostAssumptions::default()
    };
    let explanation = explain_pipeline(&planned, assumptions);
    let text = if options.json {
        serde_json::to_string_pretty(&explanation)
            .map_err(|error| Error::internal("the explanation cannot be written as JSON").with_source(error))?
    } else {
        explanation.to_string().trim_end().to_owned()
    };
    output::line(&text)?;
    Ok(ExitCode::SUCCESS)
}
