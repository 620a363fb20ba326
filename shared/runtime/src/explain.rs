//! What a pipeline will do and what it promises, before it runs: `tidegate explain`.

use std::fmt::{self, Write as _};
use std::time::Duration;

use serde::Serialize;
use tidegate_core::units::format_duration;
use tidegate_delivery::config::{Idempotency, LinesTarget, OnExhausted, OnReject, RestTarget, Target, TemplatePart};
use tidegate_engine::OutputKind;
use tidegate_lane::CLOCK_SKEW;
use tidegate_state::LaneLimit;

use crate::pipeline::{PlannedPipeline, column_list};

/// How long streams keep records at least: Kinesis unless told otherwise, Kafka as a rule longer.
const SHORTEST_RETENTION: Duration = Duration::from_secs(24 * 3600);

/// List prices in US dollars, us-east-1, November 2026.
mod price {
    /// A million DynamoDB write request units (1 KB each).
    pub const WRITE_UNITS: f64 = 0.625;
    /// A million DynamoDB read request units (4 KB each, strongly consistent).
    pub const READ_UNITS: f64 = 0.125;
    /// A million Lambda requests.
    pub const INVOCATIONS: f64 = 0.20;
    /// A gigabyte-second of an arm64 function.
    pub const GB_SECOND: f64 = 0.000_013_333_4;
}

/// What the estimate of costs assumes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CostAssumptions {
    /// Records of a micro-batch.
    pub batch_records: f64,
    /// Bytes of a commit as stored.
    pub commit_bytes: f64,
    /// Milliseconds of an invocation, the target's answers included.
    pub invocation_ms: f64,
    /// Memory of the function in GB.
    pub memory_gb: f64,
}

impl Default for CostAssumptions {
    fn default() -> Self {
        Self { batch_records: 1000.0, commit_bytes: 4000.0, invocation_ms: 30.0, memory_gb: 1.769 }
    }
}

/// The estimate, per million records, in US dollars.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Cost {
    /// What it assumes.
    pub assumptions: CostAssumptions,
    /// Commits in DynamoDB.
    pub commits: f64,
    /// Lambda invocations.
    pub invocations: f64,
    /// Lambda's time.
    pub compute: f64,
    /// All of it. The stream and the target are not in it.
    pub total: f64,
    /// A month of ticks, one a minute, however much arrives.
    pub ticks: f64,
    /// What a month of ticks reads of one resting lane.
    pub ticks_of_a_lane: f64,
}

/// Minutes of a month: 730 hours.
const TICKS: f64 = 43_800.0;
/// Milliseconds of a tick over resting lanes, as assumed.
const TICK_MS: f64 = 20.0;
/// Reads of a tick per resting lane.
const TICK_READS: f64 = 2.0;

impl Cost {
    /// The estimate under `assumptions`.
    pub fn estimate(assumptions: CostAssumptions) -> Self {
        let batches = 1e6 / assumptions.batch_records;
        let units = (assumptions.commit_bytes / 1024.0).ceil();
        let commits = batches * units * price::WRITE_UNITS / 1e6;
        let invocations = batches * price::INVOCATIONS / 1e6;
        let compute = batches * assumptions.invocation_ms / 1000.0 * assumptions.memory_gb * price::GB_SECOND;
        let ticks = TICKS
            * (price::INVOCATIONS / 1e6
                + TICK_MS / 1000.0 * assumptions.memory_gb * price::GB_SECOND
                + price::READ_UNITS / 1e6);
        let ticks_of_a_lane = TICKS * TICK_READS * price::READ_UNITS / 1e6;
        Self {
            assumptions,
            commits,
            invocations,
            compute,
            total: commits + invocations + compute,
            ticks,
            ticks_of_a_lane,
        }
    }
}

/// What `tidegate explain` prints.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The pipeline's name.
    pub pipeline: String,
    /// Its streams.
    pub sources: Vec<SourceExplanation>,
    /// Its outputs.
    pub outputs: Vec<OutputExplanation>,
    /// Its targets.
    pub targets: Vec<TargetExplanation>,
    /// What it costs.
    pub cost: Cost,
    /// What looks like a slip or needs attention.
    pub warnings: Vec<String>,
}

/// A stream.
#[derive(Clone, Debug, Serialize)]
pub struct SourceExplanation {
    /// Its name.
    pub name: String,
    /// What feeds it.
    pub from: Option<String>,
    /// Its columns, as in DDL.
    pub columns: String,
    /// Its event time, in words.
    pub watermark: String,
    /// How many lanes it may have, and why.
    pub lanes: String,
}

/// An output.
#[derive(Clone, Debug, Serialize)]
pub struct OutputExplanation {
    /// Its name.
    pub name: String,
    /// What it reads.
    pub reads: Vec<String>,
    /// What its query is: rows pass through, an aggregate over one micro-batch, or windows.
    pub plan: String,
    /// What it keeps between micro-batches.
    pub state: String,
    /// Its columns and their types.
    pub columns: Vec<(String, String)>,
    /// Where its rows go.
    pub target: String,
    /// Where rows go that came too late.
    pub late_target: Option<String>,
}

/// A target.
#[derive(Clone, Debug, Serialize)]
pub struct TargetExplanation {
    /// Its name.
    pub name: String,
    /// Method and URL, or the file.
    pub address: String,
    /// The level of its promise: `by_id`, `none`, ...
    pub level: &'static str,
    /// What follows from it.
    pub guarantee: String,
    /// How requests are cut, ordered and retried.
    pub delivery: Vec<String>,
}

/// Explains `pipeline`.
pub fn explain(pipeline: &PlannedPipeline, assumptions: CostAssumptions) -> Explanation {
    let mut warnings: Vec<String> =
        pipeline.file.warnings.iter().map(|warning| format!("{}: {}", warning.key, warning.message)).collect();
    for plan in pipeline.engine.outputs() {
        warnings.extend(plan.warnings.iter().map(|warning| format!("outputs.{}: {warning}", plan.name)));
    }
    let targets: Vec<TargetExplanation> =
        pipeline.targets.iter().map(|(name, target)| explain_target(pipeline, name, target, &mut warnings)).collect();
    Explanation {
        pipeline: pipeline.file.name.clone(),
        sources: explain_sources(pipeline),
        outputs: explain_outputs(pipeline),
        targets,
        cost: Cost::estimate(assumptions),
        warnings,
    }
}

/// Lanes of a source that closes windows by key and may be a topic.
const UNDECLARED: &str = "one per partition, each closes the windows of its keys; declare partitions: N of a Kafka topic, so \
                          that one which gains partitions is noticed";

fn explain_sources(pipeline: &PlannedPipeline) -> Vec<SourceExplanation> {
    let explain = |(declared, planned): (&crate::config::Source, &crate::pipeline::PlannedSource)| {
        let watermark = declared.watermark.as_ref().map_or_else(
            || "none: no windows".to_owned(),
            |watermark| {
                format!("largest {} seen in the lane, less {}", watermark.column, format_duration(watermark.delay))
            },
        );
        let lanes = match planned.lane_limit {
            LaneLimit::Many if planned.has_windows_over_lanes() => "one per partition; windows close when the slowest \
                                                                    one has reached their end"
                .to_owned(),
            LaneLimit::Many if planned.keyed && planned.partitions.is_none() => UNDECLARED.to_owned(),
            LaneLimit::Many => "one per partition".to_owned(),
            LaneLimit::Single => "one only, as declared by partitions: 1".to_owned(),
        };
        SourceExplanation {
            name: declared.name.clone(),
            from: declared.from.clone(),
            columns: column_list(&declared.columns),
            watermark,
            lanes,
        }
    };
    pipeline.file.sources.iter().zip(&pipeline.sources).map(explain).collect()
}

fn explain_outputs(pipeline: &PlannedPipeline) -> Vec<OutputExplanation> {
    let plans = pipeline.engine.outputs().iter().zip(&pipeline.file.outputs);
    plans
        .map(|(plan, output)| {
            let (what, state) = match &plan.kind {
                OutputKind::Stateless => ("row by row".to_owned(), "none".to_owned()),
                OutputKind::BatchAggregate => ("an aggregate over each micro-batch".to_owned(), "none".to_owned()),
                OutputKind::Windowed { size, slide, group_keys, .. } => (
                    format!(
                        "windows of {}{} by {}, appended when the watermark reaches their end",
                        format_duration(*size),
                        if slide == size { String::new() } else { format!(" every {}", format_duration(*slide)) },
                        if group_keys.is_empty() { "nothing else".to_owned() } else { group_keys.join(", ") }
                    ),
                    "a partial aggregate per open window and group".to_owned(),
                ),
            };
            OutputExplanation {
                name: plan.name.clone(),
                reads: plan.uses.clone(),
                plan: what,
                state,
                columns: plan
                    .schema
                    .fields()
                    .iter()
                    .map(|field| (field.name().clone(), tidegate_core::types::spark_name_of(field)))
                    .collect(),
                target: output.target.clone(),
                late_target: output.late_target.clone(),
            }
        })
        .collect()
}

fn explain_target(
    pipeline: &PlannedPipeline,
    name: &str,
    target: &Target,
    warnings: &mut Vec<String>,
) -> TargetExplanation {
    match target {
        Target::Lines(LinesTarget::Stdout) => TargetExplanation {
            name: name.to_owned(),
            address: "standard output".into(),
            level: "none",
            guarantee: "at least once: a terminal cannot drop a repeat".into(),
            delivery: Vec::new(),
        },
        Target::Lines(LinesTarget::File(path)) => TargetExplanation {
            name: name.to_owned(),
            address: path.clone(),
            level: "transaction",
            guarantee: "exactly once: the file is cut back to its committed length after a crash".into(),
            delivery: Vec::new(),
        },
        Target::Rest(rest) => explain_rest(pipeline, name, rest, warnings),
    }
}

fn explain_rest(
    pipeline: &PlannedPipeline,
    name: &str,
    rest: &RestTarget,
    warnings: &mut Vec<String>,
) -> TargetExplanation {
    let memory = format_duration(rest.promise.remembers_ids);
    let (level, guarantee) = match &rest.idempotency {
        Idempotency::Header(header) => ("by_id", format!("exactly once: a repeat carries the same {header}")),
        Idempotency::Path => ("by_id", "exactly once: a repeat goes to the same path".to_owned()),
        Idempotency::BodyField(field) => {
            ("by_id", format!("exactly once: a repeat carries the same {field} in its body"))
        }
        Idempotency::Fenced(status) => (
            "fenced",
            format!("exactly once, in order within a lane: the target refuses (with {status}) what is not newer"),
        ),
        Idempotency::LastWriterWins => {
            warnings.extend(last_writer_warnings(pipeline, name, rest));
            (
                "last_writer_wins",
                format!(
                    "right at rest, if clocks differ by less than {} and no request takes effect after its deadline; a \
                     repeat replaces a row by itself",
                    format_duration(CLOCK_SKEW)
                ),
            )
        }
        Idempotency::None => {
            warnings.push(format!("targets.{name}: no idempotency: a retry may take effect twice"));
            ("none", "at least once: the target cannot recognise a repeat".to_owned())
        }
        Idempotency::AtMostOnce { .. } => {
            warnings.push(format!(
                "targets.{name}: at most once: a request whose outcome is unknown is never sent again, and its rows may \
                 be missing"
            ));
            ("none", "at most once: only what certainly did not take effect is sent again".to_owned())
        }
    };
    if rest.idempotency.remembers_ids() && rest.promise.remembers_ids < SHORTEST_RETENTION {
        warnings.push(format!(
            "targets.{name}: it remembers ids for {memory}, but streams keep records for {} at least: after a longer \
             outage the lane stops, and a person has to look what took effect",
            format_duration(SHORTEST_RETENTION)
        ));
    }
    let guarantee = if level == "by_id" {
        format!("{guarantee}, for as long as the target remembers it ({memory})")
    } else {
        guarantee
    };
    if rest.on_reject == OnReject::DeadLetter && !rest.rejections_decide() {
        warnings.push(format!(
            "targets.{name}: rejections: unknown: a rejection after a try with unknown outcome stops the lane"
        ));
    }
    TargetExplanation {
        name: name.to_owned(),
        address: format!("{} {}", method(rest), template(rest)),
        level,
        guarantee,
        delivery: delivery_lines(pipeline, name, rest, warnings),
    }
}

/// What still breaks the order of writes to one resource.
fn last_writer_warnings(pipeline: &PlannedPipeline, name: &str, rest: &RestTarget) -> Vec<String> {
    let mut warnings = vec![format!(
        "targets.{name}: the last writer wins: a request that timed out and lands late still replaces a newer row"
    )];
    let in_url = |column: &String| rest.url.parts.contains(&TemplatePart::Column(column.clone()));
    for (i, (plan, output)) in pipeline.engine.outputs().iter().zip(&pipeline.file.outputs).enumerate() {
        // Windows over lanes have one close lane.
        let over_lanes = pipeline.sources.iter().any(|source| source.over_lanes.contains(&i));
        let goes_there = output.target == name && !over_lanes || output.late_target.as_deref() == Some(name);
        let sources = pipeline.file.sources.iter().filter(|source| plan.uses.contains(&source.name));
        let spread: Vec<&str> = sources
            .filter(|source| source.partitions != Some(1))
            .filter(|source| source.partition_key.is_empty() || !source.partition_key.iter().all(in_url))
            .map(|source| source.name.as_str())
            .collect();
        if goes_there && !spread.is_empty() {
            warnings.push(format!(
                "targets.{name}: rows of one URL may come from several partitions of {} (output {}), which keep no order \
                 among each other; put the columns of partition_key into the URL",
                spread.join(", "),
                output.name
            ));
        }
    }
    warnings
}

fn delivery_lines(
    pipeline: &PlannedPipeline,
    name: &str,
    rest: &RestTarget,
    warnings: &mut Vec<String>,
) -> Vec<String> {
    let mut lines = vec![format!(
        "up to {} rows or {} bytes a request, {:?}",
        rest.batch.rows, rest.batch.bytes, rest.batch.format
    )];
    let unordered = |route: &crate::pipeline::Route| {
        rest.key.is_none() && route.target_name == name && route.key_columns.is_empty()
    };
    let routes = pipeline.outputs.iter().flat_map(|output| std::iter::once(&output.route).chain(&output.late));
    let serial: Vec<&str> = routes.filter(|route| unordered(route)).map(|route| route.label.as_str()).collect();
    if rest.concurrency > 1 && rest.ordered && !serial.is_empty() {
        warnings.push(format!(
            "targets.{name}: concurrency {} is not used for {}: nothing says which rows may overtake each other; \
             name the columns whose rows stay in order (key: [...]) or say ordered: false",
            rest.concurrency,
            serial.join(", ")
        ));
    }
    let order = match (&rest.key, rest.ordered) {
        _ if rest.idempotency == Idempotency::LastWriterWins => "rows of the same URL in order".to_owned(),
        _ if rest.idempotency.one_at_a_time() => "all rows of a lane in order".to_owned(),
        (_, false) => "in any order".to_owned(),
        (Some(key), true) => format!("rows with the same {} in order", key.join(", ")),
        (None, true) => "rows with the same group keys in order".to_owned(),
    };
    lines.push(format!("up to {} requests at a time, {order}", rest.concurrency));
    lines.push(format!(
        "passing faults: up to {} attempts within {}, then {}",
        rest.retry.max_attempts,
        format_duration(rest.retry.max_elapsed),
        match rest.on_exhausted {
            OnExhausted::Block => "the invocation fails and the source delivers again",
            OnExhausted::DeadLetter => "a dead letter",
        }
    ));
    lines.push(match rest.on_reject {
        OnReject::DeadLetter => "rejected rows: narrowed down, then dead letters".to_owned(),
        OnReject::Block => "rejected rows: the lane stops".to_owned(),
    });
    lines
}

fn method(rest: &RestTarget) -> &'static str {
    match rest.method {
        tidegate_delivery::config::Method::Put => "PUT",
        tidegate_delivery::config::Method::Post => "POST",
        tidegate_delivery::config::Method::Patch => "PATCH",
    }
}

fn template(rest: &RestTarget) -> String {
    let mut text = String::new();
    for part in &rest.url.parts {
        match part {
            TemplatePart::Text(fixed) => text.push_str(fixed),
            TemplatePart::Column(column) => {
                let _ = write!(text, "{{{column}}}");
            }
        }
    }
    text
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "pipeline {}", self.pipeline)?;
        for source in &self.sources {
            writeln!(f, "\nsource {}", source.name)?;
            if let Some(from) = &source.from {
                writeln!(f, "  from       {from}")?;
            }
            writeln!(f, "  columns    {}", source.columns)?;
            writeln!(f, "  watermark  {}", source.watermark)?;
            writeln!(f, "  lanes      {}", source.lanes)?;
        }
        for output in &self.outputs {
            writeln!(f, "\noutput {}", output.name)?;
            writeln!(f, "  reads      {}", output.reads.join(", "))?;
            writeln!(f, "  plan       {}", output.plan)?;
            writeln!(f, "  state      {}", output.state)?;
            let columns: Vec<String> = output.columns.iter().map(|(name, ty)| format!("{name} {ty}")).collect();
            writeln!(f, "  columns    {}", columns.join(", "))?;
            writeln!(f, "  target     {}", output.target)?;
            if let Some(late) = &output.late_target {
                writeln!(f, "  late rows  {late}")?;
            }
        }
        for target in &self.targets {
            writeln!(f, "\ntarget {}", target.name)?;
            writeln!(f, "  address    {}", target.address)?;
            writeln!(f, "  level      {}: {}", target.level, target.guarantee)?;
            for line in &target.delivery {
                writeln!(f, "  delivery   {line}")?;
            }
        }
        self.cost.fmt(f)?;
        for warning in &self.warnings {
            writeln!(f, "\nwarning: {warning}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let a = &self.assumptions;
        let batches = 1e6 / a.batch_records;
        writeln!(f, "\ncost per million records (us-east-1 list prices; stream and target not included)")?;
        writeln!(
            f,
            "  commits    ${:.5}  {batches:.0} batches of {:.0} x {:.0} WRU ({:.0} bytes) x ${} per million",
            self.commits,
            a.batch_records,
            (a.commit_bytes / 1024.0).ceil(),
            a.commit_bytes,
            price::WRITE_UNITS
        )?;
        writeln!(
            f,
            "  requests   ${:.5}  {batches:.0} invocations x ${:.2} per million",
            self.invocations,
            price::INVOCATIONS
        )?;
        writeln!(
            f,
            "  compute    ${:.5}  {batches:.0} x {:.0} ms x {:.3} GB x ${:.10} per GB-s",
            self.compute,
            a.invocation_ms,
            a.memory_gb,
            price::GB_SECOND
        )?;
        writeln!(f, "  total      ${:.5}", self.total)?;
        writeln!(
            f,
            "\ncost of a month at rest\n  ticks      ${:.3}  {TICKS:.0}, one a minute, of {TICK_MS:.0} ms each\n  lanes      ${:.3}  \
             for each: {TICK_READS:.0} reads a tick x ${} per million",
            self.ticks,
            self.ticks_of_a_lane,
            price::READ_UNITS
        )
    }
}
