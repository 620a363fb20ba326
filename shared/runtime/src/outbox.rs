//! From a micro-batch's result to what its commit owes: requests and dead letters.

use std::collections::BTreeMap;

use tidegate_core::{Error, OutboxEntry, Position, Result};
use tidegate_delivery::config::{LinesTarget, Target};
use tidegate_delivery::json::{self, RowWriter};
use tidegate_delivery::{DeadLetter, PlanContext, Planned};
use tidegate_engine::{OutputCounts, OutputRows, RejectedRow, Step};
use tidegate_lane::{Counts, StepContext};
use tidegate_source::{Decoded, RecordRef, Records};

use crate::compute::Compute;
use crate::config::OnBadRecord;
use crate::pipeline::{PlannedSource, Route};

/// The micro-batch that a commit is built from.
pub(crate) struct BatchContext<'a> {
    pub step: &'a StepContext<'a>,
    pub source: &'a PlannedSource,
    /// `None` where no records are taken (drain).
    pub records: Option<&'a Records>,
    pub decoded: Option<&'a Decoded>,
}

/// Outbox, committed lengths of files, counts.
pub(crate) type Built = (Vec<OutboxEntry>, BTreeMap<String, u64>, Counts);

/// Builds the outbox of the commit after the lane's head.
pub(crate) fn build(compute: &Compute, step: &Step, context: &BatchContext<'_>) -> Result<Built> {
    build_rows(compute, &step.results, &step.rejected, &step.counts, context)
}

/// Builds the outbox of a commit that delivers `results`.
pub(crate) fn build_rows(
    compute: &Compute,
    results: &[OutputRows],
    rejected: &[RejectedRow],
    counts: &[OutputCounts],
    context: &BatchContext<'_>,
) -> Result<Built> {
    let mut builder = Builder {
        compute,
        context,
        entries: Vec::new(),
        letters: Vec::new(),
        sink_lengths: context.step.sink_lengths.clone(),
        waves: BTreeMap::new(),
        counts: Counts::default(),
    };
    builder.bad_records()?;
    builder.rejected_rows(rejected);
    for rows in results {
        builder.rows(rows)?;
    }
    for count in counts {
        builder.counts.late += count.late;
        builder.counts.without_event_time += count.filtered_no_event_time;
        builder.counts.windows_closed += count.windows_closed;
    }
    builder.finish()
}

struct Builder<'a> {
    compute: &'a Compute,
    context: &'a BatchContext<'a>,
    entries: Vec<OutboxEntry>,
    letters: Vec<DeadLetter>,
    sink_lengths: BTreeMap<String, u64>,
    /// The next free wave of each target.
    waves: BTreeMap<String, u16>,
    counts: Counts,
}

impl Builder<'_> {
    /// Records that do not fit their columns.
    fn bad_records(&mut self) -> Result<()> {
        let (Some(records), Some(decoded)) = (self.context.records, self.context.decoded) else { return Ok(()) };
        for rejected in &decoded.rejected {
            let record = records.get(rejected.record as usize);
            self.counts.bad_records += 1;
            match self.context.source.on_bad_record {
                OnBadRecord::Skip => {}
                OnBadRecord::Fail => return Err(bad_record(self.context, &record, &rejected.reason)),
                OnBadRecord::DeadLetter => {
                    let letter = self.letter(Some(&record), None, rejected.reason.clone());
                    self.letters.push(letter);
                }
            }
        }
        Ok(())
    }

    /// Rows for which an expression raised.
    fn rejected_rows(&mut self, rejected: &[RejectedRow]) {
        for rejected in rejected {
            self.counts.bad_records += 1;
            let record = rejected.row.and_then(|row| self.record_of_row(row));
            let output = self.compute.pipeline.outputs[rejected.output].name.clone();
            let mut letter = self.letter(record.as_ref(), Some(output), rejected.reason.clone());
            letter.expression = Some(rejected.expression.clone()).filter(|text| !text.is_empty());
            if let Some(group) = &rejected.group {
                letter.payload = group.clone().into();
            }
            self.letters.push(letter);
        }
    }

    fn record_of_row(&self, row: u32) -> Option<RecordRef<'_>> {
        let record = *self.context.decoded?.record_of_row.get(row as usize)?;
        Some(self.context.records?.get(record as usize))
    }

    fn letter(&self, record: Option<&RecordRef<'_>>, output: Option<String>, reason: String) -> DeadLetter {
        DeadLetter {
            source: Some(self.context.source.name.clone()),
            partition: Some(self.context.step.partition.to_owned()),
            position: record.map(|record| record.position.to_string()),
            output,
            reason,
            expression: None,
            payload: record.map(|record| record.payload.to_vec()).unwrap_or_default().into(),
        }
    }

    fn rows(&mut self, rows: &OutputRows) -> Result<()> {
        let output = &self.compute.pipeline.outputs[rows.output];
        let route = if rows.late { output.late.as_ref() } else { Some(&output.route) };
        let Some(route) = route.filter(|_| rows.batch.num_rows() > 0) else { return Ok(()) };
        let batch = json::in_zone(&rows.batch, self.compute.pipeline.file.session_time_zone)?;
        let rows = &OutputRows { batch, ..*rows };
        let planned = self.plan(route, rows)?;
        if !rows.late {
            self.counts.rows += rows.batch.num_rows() as u64;
        }
        for (row, reason) in &planned.rejected {
            let mut letter = self.letter(None, Some(route.label.clone()), reason.clone());
            let mut json = Vec::new();
            RowWriter::new(&rows.batch)?.write(*row as usize, &mut json);
            letter.payload = json.into();
            self.letters.push(letter);
        }
        if let Target::Lines(LinesTarget::File(path)) = &route.target {
            self.sink_lengths.insert(path.clone(), planned.sink_length);
        }
        self.waves.insert(route.target_name.clone(), planned.next_wave);
        self.entries.extend(planned.entries);
        Ok(())
    }

    fn plan(&self, route: &Route, rows: &OutputRows) -> Result<Planned> {
        let sink_length = match &route.target {
            Target::Lines(LinesTarget::File(path)) => {
                self.sink_lengths.get(path).copied().unwrap_or(0).max(self.compute.sink_length(path))
            }
            Target::Lines(LinesTarget::Stdout) | Target::Rest(_) => 0,
        };
        let context = PlanContext {
            lane: self.context.step.lane,
            n: self.context.step.n,
            first_index: self.entries.len() as u32,
            first_wave: self.waves.get(&route.target_name).copied().unwrap_or(0),
            target: &route.target_name,
            output: &route.label,
            now: self.context.step.now,
            key_columns: &route.key_columns,
            sink_length,
        };
        tidegate_delivery::plan(&route.target, &context, &rows.batch)
    }

    fn finish(mut self) -> Result<Built> {
        self.counts.dead_letters = self.letters.len() as u64;
        let first = self.entries.len() as u32;
        let StepContext { lane, n, now, .. } = *self.context.step;
        let letters = tidegate_delivery::dead_letter_entries(lane, n, first, now, &self.letters)?;
        self.entries.extend(letters);
        Ok((self.entries, self.sink_lengths, self.counts))
    }
}

fn bad_record(context: &BatchContext<'_>, record: &RecordRef<'_>, reason: &str) -> Error {
    let position: Position = record.position;
    Error::invalid(format!(
        "source '{}', partition {}, position {position}: {reason}",
        context.source.name, context.step.partition
    ))
    .with_help("mend the producer; on_bad_record: dead_letter would put such records aside and go on")
}
