//! What `tidegate target` can be told.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tidegate_core::Error;
use tidegate_core::units::parse_duration;

use super::faults::FaultOptions;

/// Options of the reference receiver.
#[derive(Clone, Debug, clap::Args)]
pub struct ReceiverOptions {
    /// Port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 8090)]
    pub port: u16,

    /// File that keeps ids and rows over restarts [default: memory only]
    #[arg(long, value_name = "FILE")]
    pub store: Option<PathBuf>,

    /// How a repeat is recognised: by an id in header:NAME, path (last segment) or body:FIELD; by the numbers of
    /// Tidegate-Fence-Lane and Tidegate-Fence-Number (fenced); not at all, a row replaces what is at its path
    /// (last_writer_wins) or is added (none)
    #[arg(long, value_name = "PLACE", default_value = "header:Idempotency-Key")]
    pub id: IdPlace,

    /// Forget an id after so long, for example 24h [default: never]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub remember: Option<Duration>,

    /// Refuse requests with a row whose FIELD equals VALUE, with 422; may be repeated
    #[arg(long, value_name = "FIELD=VALUE")]
    pub reject_if: Vec<RejectRule>,

    /// Refuse requests with more rows, with 413
    #[arg(long, value_name = "N")]
    pub max_rows: Option<usize>,

    /// Ask for `Authorization: Bearer TOKEN`, TOKEN from this environment variable
    #[arg(long, value_name = "NAME", conflicts_with = "basic_env")]
    pub bearer_env: Option<String>,

    /// Ask for basic authentication, `user:password` from this environment variable
    #[arg(long, value_name = "NAME")]
    pub basic_env: Option<String>,

    /// End after so long without a request [default: never]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub idle_exit: Option<Duration>,

    /// End when standard input ends: with the process that started it
    #[arg(long)]
    pub until_input_ends: bool,

    /// Print for machines
    #[arg(long)]
    pub json: bool,

    /// Faults
    #[command(flatten)]
    pub faults: FaultOptions,
}

/// Where a request's id travels, or how else a repeat is recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdPlace {
    /// In this header.
    Header(String),
    /// As the last segment of the path.
    Path,
    /// In this field of the body's object.
    Body(String),
    /// A number that is not newer than the last one of its lane is refused.
    Fenced,
    /// Every request takes effect: its row replaces what is at its path.
    LastWriterWins,
    /// Nowhere: every request takes effect.
    None,
}

impl FromStr for IdPlace {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.split_once(':') {
            Some(("header", name)) if !name.is_empty() => Ok(Self::Header(name.to_owned())),
            Some(("body", field)) if !field.is_empty() => Ok(Self::Body(field.to_owned())),
            None if text == "path" => Ok(Self::Path),
            None if text == "fenced" => Ok(Self::Fenced),
            None if text == "last_writer_wins" => Ok(Self::LastWriterWins),
            None if text == "none" => Ok(Self::None),
            _ => Err(Error::invalid(format!("'{text}' is no place for an id"))
                .with_help("write header:Idempotency-Key, path, body:FIELD, fenced, last_writer_wins or none")),
        }
    }
}

/// Rows whose field equals the value are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectRule {
    /// The field of the row.
    pub field: String,
    /// Its value: a string's content, or the JSON text of anything else.
    pub value: String,
}

impl FromStr for RejectRule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.split_once('=') {
            Some((field, value)) if !field.is_empty() => Ok(Self { field: field.to_owned(), value: value.to_owned() }),
            _ => Err(Error::invalid(format!("'{text}' is no rule")).with_help("write FIELD=VALUE")),
        }
    }
}
