//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use tidegate_core::units::parse_duration;

use crate::receiver::ReceiverOptions;

/// Streaming SQL with exactly-once effects.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, about, after_help = EXIT_CODES)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes:\n  0    done\n  1    a passing fault: run it again\n  2    the command, the \
pipeline file or the data needs a person\n  3    the state belongs to another process or a newer version\n  4    a broken \
invariant or damaged state\n  130  stopped by Ctrl-C between two commits";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a pipeline over files, standard input or generators
    Run(RunOptions),
    /// Show a reference scenario: starts a receiver, generates, runs, compares
    Demo(DemoOptions),
    /// Check a pipeline file
    Check(CheckOptions),
    /// Print plan, lanes, state, guarantees and the price of a pipeline
    Explain(ExplainOptions),
    /// Run a query in the dialect over files, or over nothing
    Sql(SqlOptions),
    /// Show the state of a pipeline, also while it runs
    Inspect(InspectOptions),
    /// Begin anew: the next run reads its inputs from the start and sends everything again, under new ids
    Reset(ResetOptions),
    /// Read the inputs from the start again: --repair sends only what was not sent before, --replay everything
    Rewind(RewindOptions),
    /// Start a new pipeline from a template
    New(NewOptions),
    /// Write the records of a generator to standard output
    Generate(GenerateOptions),
    /// Run the reference REST receiver
    Target(ReceiverOptions),
}

/// `tidegate run`.
#[derive(Debug, Args)]
pub struct RunOptions {
    /// The pipeline file
    pub pipeline: PathBuf,

    /// Records of a source: a file of JSON lines (gzip or not), `-` for standard input, or gen:SPEC
    /// (gen:treasury?rate=100&records=1000)
    #[arg(long = "input", value_name = "SOURCE=PATH", required = true)]
    pub inputs: Vec<String>,

    /// Records of a micro-batch
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub batch_size: u32,

    /// Records a second at most [default: as fast as possible]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,

    /// Folder that keeps offsets and windows [default: .tidegate/PIPELINE; dry runs: a folder in it per file, and none
    /// at all with --to - alone]
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,

    /// Dry run: JSON lines to standard output (-) or to a file instead of the targets, with a state of its own
    #[arg(long, value_name = "-|FILE")]
    pub to: Option<String>,

    /// At the end of the inputs, close the windows that the watermark has not reached
    #[arg(long)]
    pub drain: bool,

    /// Print the summary as one JSON object
    #[arg(long)]
    pub json: bool,

    /// No progress bar
    #[arg(long)]
    pub quiet: bool,
}

/// `tidegate demo`.
#[derive(Debug, Args)]
pub struct DemoOptions {
    /// The scenario: treasury
    #[arg(default_value = "treasury")]
    pub name: String,

    /// How much event time to replay
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = parse_duration)]
    pub duration: Duration,

    /// Replay as fast as possible instead of in real time
    #[arg(long)]
    pub fast: bool,

    /// Let the receiver answer 429, 503, lose answers and hang up
    #[arg(long)]
    pub faults: bool,

    /// Folder that keeps the demo's state and what the receiver got
    #[arg(long, value_name = "DIR", default_value = ".tidegate/demo-treasury")]
    pub state: PathBuf,
}

/// `tidegate check`.
#[derive(Debug, Args)]
pub struct CheckOptions {
    /// The pipeline file
    pub pipeline: PathBuf,
    /// Print for machines
    #[arg(long)]
    pub json: bool,
}

/// `tidegate explain`.
#[derive(Debug, Args)]
pub struct ExplainOptions {
    /// The pipeline file
    pub pipeline: PathBuf,
    /// Records of a micro-batch that the price assumes
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub batch_size: u32,
    /// Bytes of a commit that the price assumes
    #[arg(long, value_name = "N", default_value_t = 4000)]
    pub commit_bytes: u32,
    /// Print for machines
    #[arg(long)]
    pub json: bool,
}

/// `tidegate sql`.
#[derive(Debug, Args)]
pub struct SqlOptions {
    /// The query, or several with semicolons between them; `-` reads them from standard input
    #[arg(required_unless_present = "functions")]
    pub query: Option<String>,

    /// List the functions and operators that there are, or show the one called NAME
    #[arg(long, value_name = "NAME", num_args = 0..=1, conflicts_with_all = ["query", "inputs", "columns"])]
    pub functions: Option<Option<String>>,

    /// A table: a file of JSON lines, CSV (.csv) or tab-separated values (.tsv) with a head line, gzip or not; `-` for
    /// JSON lines on standard input
    #[arg(long = "input", value_name = "NAME=PATH")]
    pub inputs: Vec<String>,

    /// Columns of a table, such as 'orders=id bigint, at timestamp' [default: inferred from all its lines]
    #[arg(long = "columns", value_name = "NAME=COLUMNS")]
    pub columns: Vec<String>,

    /// The session time zone: a name such as Europe/Berlin, or an offset such as +02:00 [default: UTC]
    #[arg(long, value_name = "ZONE", allow_hyphen_values = true)]
    pub time_zone: Option<String>,

    /// Print one JSON object a row instead of a table
    #[arg(long)]
    pub json: bool,
}

/// `tidegate inspect`.
#[derive(Debug, Args)]
pub struct InspectOptions {
    /// The pipeline file
    pub pipeline: PathBuf,
    /// The state folder [default: .tidegate/PIPELINE]
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Print for machines
    #[arg(long)]
    pub json: bool,
}

/// `tidegate reset`.
#[derive(Debug, Args)]
pub struct ResetOptions {
    /// The pipeline file
    pub pipeline: PathBuf,
    /// The state folder [default: .tidegate/PIPELINE]
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Go on although targets do not take what is owed: it is never sent
    #[arg(long)]
    pub abandon_owed: bool,
    /// Print for machines
    #[arg(long)]
    pub json: bool,
}

/// `tidegate rewind`.
#[derive(Debug, Args)]
pub struct RewindOptions {
    /// What is begun anew
    #[command(flatten)]
    pub reset: ResetOptions,
    /// Where reading begins: at the start, at an event time (2026-01-01T12:00:00Z; needs --input), or behind a position,
    /// once per lane, as `tidegate inspect` prints both
    #[arg(long, value_name = "start|TIME|LANE=POSITION", default_value = "start")]
    pub to: Vec<String>,
    /// The inputs in which an event time is looked for, as for `tidegate run`
    #[arg(long = "input", value_name = "SOURCE=PATH")]
    pub inputs: Vec<String>,
    /// Build the state again and send nothing that was sent before
    #[arg(long, required_unless_present = "replay", conflicts_with = "replay")]
    pub repair: bool,
    /// Send everything again, under new ids
    #[arg(long)]
    pub replay: bool,
}

/// `tidegate new`.
#[derive(Debug, Args)]
pub struct NewOptions {
    /// The folder to create; its name becomes the pipeline's
    pub folder: PathBuf,
}

/// `tidegate generate`.
#[derive(Debug, Args)]
pub struct GenerateOptions {
    /// The generator: treasury?rate=100&records=1000&seed=7
    pub spec: String,
    /// Print its columns, as a pipeline file takes them, instead of records
    #[arg(long)]
    pub columns: bool,
}
