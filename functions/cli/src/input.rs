//! Inputs of a local run: files, standard input, generators.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tidegate_core::{Clock, Error, Position, Result};
use tidegate_runtime::PlannedPipeline;
use tidegate_runtime::local::{Input, LocalInput};
use tidegate_source::{LineReader, Records};

use crate::args::GenerateOptions;
use crate::generator::Generator;

/// What `--input SOURCE=PATH` says, in the order given. Several inputs of one source become lanes of it.
pub fn open_inputs(
    specs: &[String],
    pipeline: &PlannedPipeline,
    rate: Option<u32>,
    clock: &Arc<dyn Clock>,
) -> Result<Vec<LocalInput>> {
    let mut lanes: HashMap<String, u32> = HashMap::new();
    let mut inputs = Vec::with_capacity(specs.len());
    for spec in specs {
        let (source, path) = spec.split_once('=').ok_or_else(|| {
            Error::invalid(format!("--input '{spec}' does not say which source it feeds"))
                .with_help("write --input SOURCE=PATH, for example --input transactions=transactions.jsonl")
        })?;
        if pipeline.source(source).is_none() {
            let names: Vec<&str> = pipeline.sources.iter().map(|source| source.name.as_str()).collect();
            return Err(Error::invalid(format!("--input '{spec}': the pipeline has no source '{source}'"))
                .with_help(format!("its sources are: {}", names.join(", "))));
        }
        let input: Box<dyn Input> = match path.strip_prefix("gen:") {
            Some(generator) => Box::new(GeneratorInput::new(Generator::parse(generator)?, Arc::clone(clock))),
            None => Box::new(LineInput(LineReader::new(open(path)?))),
        };
        let input = match rate {
            Some(rate) => Box::new(Paced::new(input, rate, Arc::clone(clock))) as Box<dyn Input>,
            None => input,
        };
        let lane = lanes.entry(source.to_owned()).or_insert(0);
        inputs.push(LocalInput { source: source.to_owned(), partition: lane.to_string(), input });
        *lane += 1;
    }
    Ok(inputs)
}

fn open(path: &str) -> Result<Box<dyn Read + Send>> {
    if path == "-" {
        return Ok(Box::new(std::io::stdin()));
    }
    let file = File::open(path)
        .map_err(|error| Error::invalid(format!("input {path} cannot be opened")).with_source(error))?;
    Ok(Box::new(file))
}

/// Lines of a file or of standard input. Positions are line numbers.
struct LineInput(LineReader<Box<dyn Read + Send>>);

#[async_trait]
impl Input for LineInput {
    async fn skip_to(&mut self, committed: Option<Position>) -> Result<()> {
        committed.map_or(Ok(()), |position| self.0.skip_to(position))
    }

    async fn next(&mut self, rows: usize, records: &mut Records) -> Result<()> {
        self.0.read(rows, records).map(|_| ())
    }
}

/// How long a generator in real time gathers records for a micro-batch.
const GATHER: Duration = Duration::from_millis(500);

/// Records of a generator. Positions are record numbers, from 1.
struct GeneratorInput {
    generator: Generator,
    clock: Arc<dyn Clock>,
    next: u64,
    /// The moment, on the process's clock, at which record 0 would have been due.
    started: Option<Duration>,
    line: Vec<u8>,
}

impl GeneratorInput {
    fn new(generator: Generator, clock: Arc<dyn Clock>) -> Self {
        Self { generator, clock, next: 0, started: None, line: Vec::with_capacity(512) }
    }

    /// Waits as the generator's pace asks; returns the end (excluded) of the records that are due by then.
    async fn wait_until_due(&mut self, end: u64) -> u64 {
        if self.generator.due(end).is_zero() || self.next >= end {
            return end;
        }
        let now = self.clock.elapsed();
        let started = *self.started.get_or_insert(now.saturating_sub(self.generator.due(self.next)));
        let full = started + self.generator.due(end - 1);
        let first = started + self.generator.due(self.next);
        let until = full.min(first.max(now + GATHER));
        if until > now {
            self.clock.sleep(until - now).await;
        }
        let mut due = self.next + 1;
        while due < end && started + self.generator.due(due) <= until {
            due += 1;
        }
        due
    }
}

#[async_trait]
impl Input for GeneratorInput {
    async fn skip_to(&mut self, committed: Option<Position>) -> Result<()> {
        self.next = committed.and_then(|position| position.sequence.as_u64()).unwrap_or(0);
        Ok(())
    }

    async fn next(&mut self, rows: usize, records: &mut Records) -> Result<()> {
        let end = self.next.saturating_add(rows as u64).min(self.generator.records().unwrap_or(u64::MAX));
        let end = self.wait_until_due(end).await;
        for index in self.next..end {
            self.line.clear();
            self.generator.record(index, &mut self.line);
            records.push(Position::new(index + 1), None, None, Vec::new(), &self.line);
        }
        self.next = self.next.max(end);
        Ok(())
    }
}

/// Holds an input back to so many records a second, in pieces of at most a tenth of a second.
struct Paced {
    input: Box<dyn Input>,
    rate: u32,
    clock: Arc<dyn Clock>,
    started: Option<Duration>,
    taken: u64,
}

impl Paced {
    fn new(input: Box<dyn Input>, rate: u32, clock: Arc<dyn Clock>) -> Self {
        Self { input, rate, clock, started: None, taken: 0 }
    }
}

#[async_trait]
impl Input for Paced {
    async fn skip_to(&mut self, committed: Option<Position>) -> Result<()> {
        self.input.skip_to(committed).await
    }

    async fn next(&mut self, rows: usize, records: &mut Records) -> Result<()> {
        let now = self.clock.elapsed();
        let started = *self.started.get_or_insert(now);
        let piece = rows.min((self.rate as usize / 10).max(1));
        let due = started + Duration::from_secs_f64((self.taken + piece as u64) as f64 / f64::from(self.rate));
        if due > now {
            self.clock.sleep(due - now).await;
        }
        self.input.next(piece, records).await?;
        self.taken += records.len() as u64;
        Ok(())
    }
}

/// `tidegate generate`.
pub fn generate(options: &GenerateOptions) -> Result<()> {
    let generator = Generator::parse(&options.spec)?;
    if options.columns {
        return crate::output::line(generator.columns());
    }
    let mut out = BufWriter::with_capacity(1 << 20, std::io::stdout().lock());
    crate::generator::write_all(&generator, &mut out)?;
    out.flush().map_err(|error| Error::unavailable("standard output cannot be written").with_source(error))
}
