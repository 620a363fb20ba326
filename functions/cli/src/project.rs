//! From the command line to a runtime: environment, pipeline file, state folder, ports.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidegate_core::random::{Random, StdRandom};
use tidegate_core::time::SystemClock;
use tidegate_core::{Clock, Error, LaneId, Result};
use tidegate_delivery::config::{LinesTarget, Target};
use tidegate_delivery::{
    DeadLetterFile, DeadLetterStderr, DeadLetterStore, ReqwestTransport, Secrets, Sender, SenderPorts,
};
use tidegate_runtime::config::DeadLetters;
use tidegate_runtime::{LaneOptions, PipelineFile, PlannedPipeline, Ports, Runtime, RuntimeOptions, config};
use tidegate_state::embedded::{DATABASE_FILE, Durability, EmbeddedStore};
use tidegate_state::folder::FolderBlobs;
use tidegate_state::memory::{MemoryBlobs, MemoryStore};
use tidegate_state::{Pipeline, StateOptions};

/// The process's surroundings, read once.
pub struct Context {
    /// Environment variables.
    pub environment: Arc<HashMap<String, String>>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The random source.
    pub random: Arc<dyn Random>,
}

impl Context {
    /// Reads the environment.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub fn from_process() -> Self {
        Self {
            environment: Arc::new(std::env::vars().collect()),
            clock: Arc::new(SystemClock::default()),
            random: Arc::new(StdRandom::from_os()),
        }
    }
}

/// Where a run keeps its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatePlace {
    /// A folder.
    Folder(PathBuf),
    /// Nowhere: it ends with the process.
    Memory,
}

impl StatePlace {
    /// The place that the options ask for; see `tidegate run --help`. Each file of a dry run has a state of its own.
    pub fn choose(pipeline: &str, folder: Option<&Path>, dry_run: Option<&LinesTarget>) -> Self {
        let root = folder.map_or_else(|| Path::new(".tidegate").join(pipeline), Path::to_owned);
        match dry_run {
            None => Self::Folder(root),
            Some(LinesTarget::Stdout) if folder.is_none() => Self::Memory,
            Some(LinesTarget::Stdout) => Self::Folder(root.join("dry-run").join("stdout")),
            Some(LinesTarget::File(file)) => Self::Folder(root.join("dry-run").join(folder_name(file))),
        }
    }

    /// A file of a dry run that holds something this state knows nothing of is not overwritten.
    pub fn check_foreign_file(&self, dry_run: Option<&LinesTarget>) -> Result<()> {
        let (Self::Folder(folder), Some(LinesTarget::File(file))) = (self, dry_run) else { return Ok(()) };
        let filled = std::fs::metadata(file).is_ok_and(|found| found.len() > 0);
        if filled && !folder.join(DATABASE_FILE).exists() {
            return Err(Error::invalid(format!(
                "{file} is not empty and no earlier dry run of this pipeline wrote it"
            ))
            .with_help("name another file, or delete this one"));
        }
        Ok(())
    }
}

/// A file's name and a hash of its whole path, fit for a folder's name.
fn folder_name(file: &str) -> String {
    let path = std::path::absolute(file).unwrap_or_else(|_| file.into());
    // FNV-1a, 32 bit (Fowler, Noll, Vo): tells files of one name apart.
    let hash = path
        .display()
        .to_string()
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let safe = |c: char| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '_' };
    format!("{}-{hash:08x}", name.chars().map(safe).take(60).collect::<String>())
}

/// Reads and validates a pipeline file.
pub fn load_file(path: &Path, context: &Context) -> Result<PipelineFile> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| {
        Error::invalid(format!("{name} cannot be read"))
            .with_source(error)
            .with_help("name a pipeline file; `tidegate new FOLDER` starts one")
    })?;
    let environment = Arc::clone(&context.environment);
    config::load(&name, &text, &move |name| environment.get(name).cloned()).map_err(Error::from)
}

/// Reads, validates and plans a pipeline file.
pub fn plan_file(path: &Path, dry_run: Option<&LinesTarget>, context: &Context) -> Result<PlannedPipeline> {
    PlannedPipeline::new(load_file(path, context)?, dry_run).map_err(Error::from)
}

/// As [`plan_file`], for a run over `inputs` (a source's name for each): each is a partition of its source.
pub fn plan_run(
    path: &Path,
    dry_run: Option<&LinesTarget>,
    inputs: &[&str],
    context: &Context,
) -> Result<PlannedPipeline> {
    let mut file = load_file(path, context)?;
    for source in &mut file.sources {
        let partitions = inputs.iter().filter(|name| **name == source.name).count();
        source.partitions = Some(u32::try_from(partitions.max(1)).unwrap_or(u32::MAX));
    }
    PlannedPipeline::new(file, dry_run).map_err(Error::from)
}

/// The lanes of the state in a folder. It is not created, and may be in use.
pub async fn found_lanes(folder: &Path, pipeline: &str, context: &Context) -> Result<Vec<LaneId>> {
    match existing_ports(folder, context)? {
        Some(ports) => match Pipeline::open_existing(ports, pipeline, StateOptions::default()).await? {
            Some(state) => state.lanes().await,
            None => Err(no_state(folder, pipeline)),
        },
        None => Err(no_state(folder, pipeline)),
    }
}

/// What reads the state in a folder, also while a run writes to it. `None`: there is none.
pub fn existing_ports(folder: &Path, context: &Context) -> Result<Option<tidegate_state::Ports>> {
    let Some(store) = EmbeddedStore::open_read_only(folder)? else { return Ok(None) };
    Ok(Some(tidegate_state::Ports {
        store: Arc::new(store),
        blobs: Arc::new(FolderBlobs::new(folder.join("blobs"))),
        clock: Arc::clone(&context.clock),
        random: Arc::clone(&context.random),
    }))
}

/// There is nothing to look at.
pub fn no_state(folder: &Path, pipeline: &str) -> Error {
    Error::invalid(format!("the folder {} holds no state of pipeline {pipeline}", folder.display()))
        .with_help("name the folder that `tidegate run --state` was given")
}

/// Opens a pipeline's state and makes it ready to run.
pub async fn open_runtime(pipeline: PlannedPipeline, place: &StatePlace, context: &Context) -> Result<Runtime> {
    // The folder is locked, and memory is nobody else's.
    let lanes = LaneOptions { alone: true, ..LaneOptions::default() };
    let (store, folder) = match place {
        StatePlace::Folder(folder) => {
            let store = EmbeddedStore::open(folder, durability(&pipeline))?;
            (open_ports(Arc::new(store), Arc::new(FolderBlobs::new(folder.join("blobs"))), context), Some(folder))
        }
        StatePlace::Memory => (open_ports(Arc::new(MemoryStore::new()), Arc::new(MemoryBlobs::new()), context), None),
    };
    let to_file = |path: String| Arc::new(DeadLetterFile { path }) as Arc<dyn DeadLetterStore>;
    let dead_letters = match (&pipeline.file.dead_letters, folder) {
        (Some(DeadLetters::File(path)), _) => to_file(path.clone()),
        (Some(DeadLetters::Sqs(_)) | None, Some(folder)) => {
            to_file(folder.join("dead_letters.jsonl").display().to_string())
        }
        (Some(DeadLetters::Sqs(_)) | None, None) => Arc::new(DeadLetterStderr),
    };
    let environment = Arc::clone(&context.environment);
    let sender = Sender::new(SenderPorts {
        http: Arc::new(ReqwestTransport::new()?),
        clock: Arc::clone(&context.clock),
        random: Arc::clone(&context.random),
        secrets: Arc::new(Secrets::new(Arc::new(move |name: &str| environment.get(name).cloned()))),
        dead_letters: Some(dead_letters),
    });
    Runtime::open(pipeline, store, sender, RuntimeOptions { lanes, ..RuntimeOptions::default() }).await
}

/// Targets remember ids: no commit whose requests may have left may be lost. A dry run writes to this machine only.
fn durability(pipeline: &PlannedPipeline) -> Durability {
    let dry = pipeline.targets.values().all(|target| matches!(target, Target::Lines(_)));
    if dry { Durability::Process } else { Durability::PowerCut }
}

fn open_ports(
    store: Arc<dyn tidegate_state::ConditionalStore>,
    blobs: Arc<dyn tidegate_state::BlobStore>,
    context: &Context,
) -> Ports {
    let (clock, random) = (Arc::clone(&context.clock), Arc::clone(&context.random));
    let state = tidegate_state::Ports { store, blobs, clock: Arc::clone(&clock), random: Arc::clone(&random) };
    Ports { state, clock, random, streams: None }
}

/// What `--to` says.
pub fn parse_to(to: Option<&str>) -> Option<LinesTarget> {
    to.map(|to| if to == "-" { LinesTarget::Stdout } else { LinesTarget::File(to.to_owned()) })
}
