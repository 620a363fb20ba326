//! `tidegate reset` and `tidegate rewind`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use chrono::DateTime;
use tidegate_core::{Error, LaneId, Result, Sequence, Timestamp};
use tidegate_runtime::local::begins_at;
use tidegate_runtime::{Anew, Budget, PlannedPipeline, Replay};

use crate::args::{ResetOptions, RewindOptions};
use crate::input::open_inputs;
use crate::output;
use crate::project::{Context, StatePlace, found_lanes, load_file, open_runtime, plan_run};

/// Where a new generation reads.
enum Beginning {
    Start,
    Time(Timestamp),
    Behind(BTreeMap<LaneId, Sequence>),
}

impl Beginning {
    /// What `--to` says, given once or, for positions, several times.
    fn parse(given: &[String]) -> Result<Self> {
        let wrong = |text: &str| {
            Error::invalid(format!("--to '{text}' is no place to begin at")).with_help(
                "write --to start, --to 2026-01-01T12:00:00Z, or --to LANE=POSITION once per lane, for example --to s:0=1200",
            )
        };
        let mut behind = BTreeMap::new();
        for text in given {
            if let Some((lane, position)) = text.split_once('=') {
                let position = position.parse().map_err(|_| wrong(text))?;
                behind.insert(LaneId::from_stored(lane.to_owned()), position);
            } else if given.len() > 1 {
                return Err(wrong(text));
            } else if text == "start" {
                return Ok(Self::Start);
            } else {
                let time = DateTime::parse_from_rfc3339(text).map_err(|_| wrong(text))?;
                return Ok(Self::Time(Timestamp(time.timestamp_micros())));
            }
        }
        Ok(Self::Behind(behind))
    }

    async fn lanes(
        self,
        pipeline: &PlannedPipeline,
        inputs: &[String],
        context: &Context,
    ) -> Result<BTreeMap<LaneId, Sequence>> {
        match self {
            Self::Start => Ok(BTreeMap::new()),
            Self::Behind(lanes) => Ok(lanes),
            Self::Time(_) if inputs.is_empty() => Err(Error::invalid("an event time is looked for in the inputs")
                .with_help("name them as for `tidegate run`: --input SOURCE=PATH")),
            Self::Time(time) => {
                let mut inputs = open_inputs(inputs, pipeline, None, &context.clock)?;
                begins_at(pipeline, &mut inputs, time).await
            }
        }
    }

    fn told(&self) -> String {
        match self {
            Self::Start => "from the start".to_owned(),
            Self::Time(time) => format!("from the first record at or behind {time}"),
            Self::Behind(lanes) => {
                let lanes: Vec<String> = lanes.iter().map(|(lane, at)| format!("{lane} behind {at}")).collect();
                format!("{}, others from the start", lanes.join(", "))
            }
        }
    }
}

/// `tidegate rewind`.
pub async fn rewind(options: &RewindOptions, context: &Context) -> Result<ExitCode> {
    let replay = if options.repair { Replay::Repair } else { Replay::Send };
    let beginning = Beginning::parse(&options.to)?;
    begin_anew(&options.reset, (replay, beginning, &options.inputs), context).await
}

/// `tidegate reset`.
pub async fn reset(options: &ResetOptions, context: &Context) -> Result<ExitCode> {
    begin_anew(options, (Replay::Send, Beginning::Start, &[]), context).await
}

/// Begins a new generation of the state in a folder.
async fn begin_anew(
    options: &ResetOptions,
    (replay, beginning, inputs): (Replay, Beginning, &[String]),
    context: &Context,
) -> Result<ExitCode> {
    let name = load_file(&options.pipeline, context)?.name;
    let folder = options.state.clone().unwrap_or_else(|| Path::new(".tidegate").join(&name));
    let lanes = found_lanes(&folder, &name, context).await?;
    let sources: Vec<&str> = lanes.iter().filter(|lane| !lane.is_close()).map(LaneId::source).collect();
    let pipeline = plan_run(&options.pipeline, None, &sources, context)?;
    let told = beginning.told();
    let begins = beginning.lanes(&pipeline, inputs, context).await?;
    let runtime = open_runtime(pipeline, &StatePlace::Folder(folder), context).await?;
    let anew = Anew { replay, abandon_owed: options.abandon_owed, begins, ends: None };
    let renewal = runtime.begin_anew(&anew, Budget::unlimited()).await?;
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
             the next run reads its inputs {told}; {next}",
            renewal.generation, renewal.lanes, renewal.requests
        )
    };
    output::line(&text)?;
    Ok(ExitCode::SUCCESS)
}
