//! `tidegate sql`: a query in the dialect, over files or over nothing.

mod csv;
mod functions;
mod infer;
mod table;
mod tables;

use std::io::Read;
use std::process::ExitCode;

use tidegate_core::{Error, Result, Zone};
use tidegate_delivery::json::{self, RowWriter};
use tidegate_engine::dialect::statements;
use tidegate_engine::{AdHoc, AdHocError};

use crate::args::SqlOptions;
use crate::output;
use crate::project::Context;

/// The longest text of statements on standard input, in bytes.
const MAX_STATEMENTS: u64 = 16 << 20;

/// Runs the statements one after the other; the first that fails ends the command.
pub async fn sql(options: SqlOptions, context: &Context) -> Result<ExitCode> {
    if let Some(name) = &options.functions {
        functions::print(name.as_deref(), options.json)?;
        return Ok(ExitCode::SUCCESS);
    }
    let query = match options.query.as_deref().unwrap_or_default() {
        "-" => from_standard_input(&options)?,
        query => query.to_owned(),
    };
    let found = statements(&query);
    if found.is_empty() {
        return Err(Error::invalid("there is no statement").with_help("write a query: tidegate sql 'SELECT 1 + 1'"));
    }
    let mut adhoc = AdHoc::new(context.clock.now()).in_zone(zone(options.time_zone.as_deref())?);
    tables::open(&options, &mut adhoc).await?;
    for (place, (lines, statement)) in found.into_iter().enumerate() {
        let rows = adhoc.run(statement).await.map_err(|error| explained(error, statement, lines))?;
        if options.json {
            let writer = RowWriter::new(&json::in_zone(&rows, adhoc.zone())?)?;
            for row in 0..rows.num_rows() {
                let mut line = Vec::new();
                writer.write(row, &mut line);
                output::line(&String::from_utf8_lossy(&line))?;
            }
        } else {
            if place > 0 {
                output::line("")?;
            }
            table::print(&rows, adhoc.zone())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn zone(name: Option<&str>) -> Result<Zone> {
    let Some(name) = name else { return Ok(Zone::UTC) };
    Zone::parse(name).ok_or_else(|| {
        Error::invalid(format!("'{name}' is no time zone"))
            .with_help("write a name of the tz database such as Europe/Berlin, or an offset such as +02:00")
    })
}

fn from_standard_input(options: &SqlOptions) -> Result<String> {
    if options.inputs.iter().any(|input| input.ends_with("=-")) {
        return Err(Error::invalid("standard input cannot hold both the query and a table")
            .with_help("write the query as an argument, or the table to a file"));
    }
    let mut text = String::new();
    let read = std::io::stdin().lock().take(MAX_STATEMENTS + 1).read_to_string(&mut text);
    read.map_err(|error| Error::invalid("standard input cannot be read as UTF-8").with_source(error))?;
    if text.len() as u64 > MAX_STATEMENTS {
        return Err(Error::invalid(format!("standard input holds more than {MAX_STATEMENTS} bytes of statements"))
            .with_help("run it in parts"));
    }
    Ok(text)
}

/// The error with its place, and the line that it stands in.
fn explained(error: AdHocError, statement: &str, lines_before: usize) -> Error {
    let AdHocError { error, location } = error;
    let Some((line, column)) = location else { return error };
    let shown = statement.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let mark = " ".repeat(column.saturating_sub(1));
    let place = format!("  line {}: {shown}\n  line {}: {mark}^", lines_before + line, lines_before + line);
    let placed = Error::new(error.kind(), format!("{}\n{place}", error.message()));
    match error.help() {
        Some(help) => placed.with_help(help),
        None => placed,
    }
}
