//! A pipeline file, planned: schemas, decoders, engine and targets. Made once per environment.

use std::collections::BTreeMap;

use tidegate_core::Result;
use tidegate_core::types::SqlType;
use tidegate_delivery::config::{LinesTarget, Target};
use tidegate_engine::spec::{EngineSpec, Lanes, OutputSpec, Scope, SourceSpec, ViewSpec, WatermarkSpec};
use tidegate_engine::{Closing, Engine, OutputKind, OutputPlan, Part, PlanError, StateLayout};
use tidegate_source::{self as source, SourceSchema};
use tidegate_state::LaneLimit;

use crate::columns;
use crate::config::{self, ConfigErrors, Mistake, OnBadRecord, OutputScope, PipelineFile};

/// The name of the target that stands for all others in a dry run.
pub const DRY_RUN_TARGET: &str = "$lines";

/// A pipeline that is ready to run.
pub struct PlannedPipeline {
    /// The file that it was made from.
    pub file: PipelineFile,
    /// Every query, planned.
    pub engine: Engine,
    /// Streams, in the order of the file.
    pub sources: Vec<PlannedSource>,
    /// Outputs, in the order of the file and of [`Engine::outputs`].
    pub outputs: Vec<PlannedOutput>,
    /// Every target that an outbox may name.
    pub targets: BTreeMap<String, Target>,
    of_topics: bool,
}

/// A stream that is ready to be decoded.
pub struct PlannedSource {
    /// Its name in SQL.
    pub name: String,
    /// The stream or topic that feeds it, by name or ARN.
    pub from: Option<String>,
    /// Its columns.
    pub schema: SourceSchema,
    /// What happens to a record that does not fit.
    pub on_bad_record: OnBadRecord,
    /// How many lanes it may have.
    pub lane_limit: LaneLimit,
    /// Outputs whose windows are closed over its lanes, by place.
    pub over_lanes: Vec<usize>,
    /// Whether lanes close windows by themselves, because all rows of a key come to one of them.
    pub keyed: bool,
    /// The declared number of partitions.
    pub partitions: Option<u32>,
}

impl PlannedSource {
    /// Whether its windows are closed over several lanes.
    pub fn has_windows_over_lanes(&self) -> bool {
        !self.over_lanes.is_empty()
    }
}

/// An output and where its rows go.
pub struct PlannedOutput {
    /// Its name.
    pub name: String,
    /// Where its rows go.
    pub route: Route,
    /// Where rows go that came too late for their window.
    pub late: Option<Route>,
}

/// The way of rows to a target.
pub struct Route {
    /// What dry runs call the rows.
    pub label: String,
    /// The target's name in outboxes.
    pub target_name: String,
    /// The target, with the output's order of rows.
    pub target: Target,
    /// Columns whose rows must stay in order, as far as the query tells.
    pub key_columns: Vec<String>,
}

impl PlannedPipeline {
    /// The same for topics, whose partitions are what keys are hashed to: their number becomes a part of the layout of
    /// state that is kept by key. With another number a key's rows come to another lane, beside the windows that are
    /// open in the old one.
    #[must_use]
    pub fn of_topics(self) -> Self {
        Self { of_topics: true, ..self }
    }

    /// The layout of the state of a source's lanes.
    pub fn layout(&self, source: &str) -> StateLayout {
        let layout = self.engine.fingerprint(source);
        let keyed = self.source(source).filter(|source| source.keyed && self.of_topics);
        match keyed.and_then(|source| source.partitions) {
            Some(partitions) => layout.with(format!("{source}: keys over {partitions} partitions")),
            None => layout,
        }
    }

    /// Plans every query of `file`. `dry_run` replaces every target.
    pub fn new(file: PipelineFile, dry_run: Option<&LinesTarget>) -> Result<Self, ConfigErrors> {
        let schemas: Vec<SourceSchema> = file.sources.iter().map(source_schema).collect();
        let spec = engine_spec(&file, &schemas);
        let engine = Engine::plan(&spec).map_err(|errors| to_mistakes(&file, errors))?;
        let mut sources = Vec::with_capacity(file.sources.len());
        for (declared, schema) in file.sources.iter().zip(schemas) {
            sources.push(PlannedSource {
                name: declared.name.clone(),
                from: declared.from.clone(),
                schema,
                on_bad_record: declared.on_bad_record,
                lane_limit: lane_limit(engine.outputs(), &declared.name),
                over_lanes: over_lanes(engine.outputs(), &declared.name),
                keyed: closed_by_key(engine.outputs(), &declared.name),
                partitions: declared.partitions,
            });
        }
        let outputs = file
            .outputs
            .iter()
            .zip(engine.outputs())
            .map(|(output, plan)| planned_output(&file, output, plan, dry_run));
        let outputs: Vec<PlannedOutput> = outputs.collect();
        let mistakes = columns::mistakes(&file, &outputs, engine.outputs());
        if !mistakes.is_empty() {
            return Err(file.mistakes(mistakes));
        }
        let targets = match dry_run {
            Some(lines) => BTreeMap::from([(DRY_RUN_TARGET.to_owned(), Target::Lines(lines.clone()))]),
            None => file.targets.clone(),
        };
        Ok(Self { file, engine, sources, outputs, targets, of_topics: false })
    }

    /// The source that `origin` (stream ARN or topic) feeds.
    pub fn source_for(&self, origin: &str) -> Option<&PlannedSource> {
        let named = self.sources.iter().find(|source| source.from.as_deref().is_some_and(|from| feeds(from, origin)));
        let only = match self.sources.as_slice() {
            [source] if source.from.is_none() => Some(source),
            _ => None,
        };
        named.or(only)
    }

    /// The source called `name`.
    pub fn source(&self, name: &str) -> Option<&PlannedSource> {
        self.sources.iter().find(|source| source.name == name)
    }
}

/// Whether `from` of the pipeline file (name or ARN) means `origin` (ARN or topic).
fn feeds(from: &str, origin: &str) -> bool {
    let name = |text: &str| text.rsplit(['/', ':']).next().unwrap_or(text).to_owned();
    if from.starts_with("arn:") && origin.starts_with("arn:") { from == origin } else { name(from) == name(origin) }
}

fn source_schema(declared: &config::Source) -> SourceSchema {
    let columns = declared.columns.iter().map(|column| source::Column {
        name: column.name.clone(),
        ty: column.ty.clone(),
        timestamp_unit: column.timestamp_unit.map(|unit| match unit {
            config::TimestampUnit::Seconds => source::TimestampUnit::Seconds,
            config::TimestampUnit::Millis => source::TimestampUnit::Millis,
            config::TimestampUnit::Micros => source::TimestampUnit::Micros,
            config::TimestampUnit::Nanos => source::TimestampUnit::Nanos,
        }),
    });
    let metadata = declared.metadata.iter().map(|column| match column {
        config::MetadataColumn::Key => source::MetadataColumn::Key,
        config::MetadataColumn::Partition => source::MetadataColumn::Partition,
        config::MetadataColumn::Position => source::MetadataColumn::Position,
        config::MetadataColumn::Arrival => source::MetadataColumn::Arrival,
        config::MetadataColumn::Headers => source::MetadataColumn::Headers,
    });
    SourceSchema { columns: columns.collect(), metadata: metadata.collect() }
}

fn engine_spec(file: &PipelineFile, schemas: &[SourceSchema]) -> EngineSpec {
    let sources = file.sources.iter().zip(schemas).map(|(declared, schema)| SourceSpec {
        name: declared.name.clone(),
        schema: schema.arrow(),
        watermark: declared
            .watermark
            .as_ref()
            .map(|watermark| WatermarkSpec { column: watermark.column.clone(), delay: watermark.delay }),
        partition_key: declared.partition_key.clone(),
        lanes: if declared.partitions == Some(1) { Lanes::One } else { Lanes::Many },
    });
    let views = file.views.iter().map(|view| ViewSpec { name: view.name.clone(), sql: view.sql.text.clone() });
    let outputs = file.outputs.iter().map(|output| OutputSpec {
        name: output.name.clone(),
        sql: output.sql.text.clone(),
        scope: match output.scope {
            OutputScope::Stream => Scope::Stream,
            OutputScope::Batch => Scope::Batch,
        },
        late: output.late_target.is_some(),
    });
    EngineSpec {
        sources: sources.collect(),
        views: views.collect(),
        outputs: outputs.collect(),
        zone: file.session_time_zone,
    }
}

/// A window that one lane closes, although groups may stand in several, needs all rows in one lane.
fn lane_limit(outputs: &[OutputPlan], source: &str) -> LaneLimit {
    let needs_one = outputs
        .iter()
        .filter(|output| output.source == source)
        .any(|output| matches!(output.kind, OutputKind::Windowed { lane_local: false, closing: Closing::Lane, .. }));
    if needs_one { LaneLimit::Single } else { LaneLimit::Many }
}

/// Whether lanes close windows by themselves because all rows of a group come to one of them.
fn closed_by_key(outputs: &[OutputPlan], source: &str) -> bool {
    let by_key =
        |kind: &OutputKind| matches!(kind, OutputKind::Windowed { lane_local: true, closing: Closing::Lane, .. });
    outputs.iter().any(|output| output.source == source && by_key(&output.kind))
}

fn over_lanes(outputs: &[OutputPlan], source: &str) -> Vec<usize> {
    let over = |output: &OutputPlan| {
        output.source == source && matches!(output.kind, OutputKind::Windowed { closing: Closing::OverLanes, .. })
    };
    (0..outputs.len()).filter(|place| over(&outputs[*place])).collect()
}

fn planned_output(
    file: &PipelineFile,
    output: &config::Output,
    plan: &OutputPlan,
    dry_run: Option<&LinesTarget>,
) -> PlannedOutput {
    let key_columns = match &plan.kind {
        OutputKind::Windowed { group_keys, .. } => {
            let delivered = |key: &&String| plan.schema.column_with_name(key).is_some();
            group_keys.iter().filter(delivered).cloned().collect()
        }
        OutputKind::Stateless | OutputKind::BatchAggregate => Vec::new(),
    };
    let route = |name: &str, label: String, key_columns: Vec<String>| match dry_run {
        Some(lines) => {
            Route { label, target_name: DRY_RUN_TARGET.to_owned(), target: Target::Lines(lines.clone()), key_columns }
        }
        None => Route {
            label,
            target_name: name.to_owned(),
            target: file.target_for(output, name).expect("validation proved that the target exists"),
            key_columns,
        },
    };
    PlannedOutput {
        name: output.name.clone(),
        route: route(&output.target, output.name.clone(), key_columns),
        late: output.late_target.as_ref().map(|name| {
            let mut late = route(name, format!("{}.late", output.name), Vec::new());
            // `order_by` names columns of the results; late rows have others.
            if let Target::Rest(rest) = &mut late.target {
                rest.order_by.clear();
            }
            late
        }),
    }
}

fn to_mistakes(file: &PipelineFile, errors: Vec<PlanError>) -> ConfigErrors {
    let mistakes = errors.into_iter().map(|found| {
        let (key, sql) = match &found.part {
            Part::Source(name) => (format!("sources.{name}"), None),
            Part::View(name) => {
                (format!("views.{name}"), file.views.iter().find(|view| view.name == *name).map(|view| &view.sql))
            }
            Part::Output(name) => (
                format!("outputs.{name}.query"),
                file.outputs.iter().find(|output| output.name == *name).map(|output| &output.sql),
            ),
        };
        let message = found.error.message().to_owned();
        let mut mistake = match (sql, found.location) {
            (Some(sql), Some((line, column))) => Mistake::new(sql.place(line, column), key, message),
            (Some(sql), None) => Mistake::new(sql.start(), key, message),
            (None, _) => match file.sources.iter().find(|source| found.part == Part::Source(source.name.clone())) {
                Some(source) => Mistake::new(source.place, key, message),
                None => Mistake::of_file(message),
            },
        };
        if let Some(help) = found.error.help() {
            mistake = mistake.with_help(help);
        }
        mistake
    });
    file.mistakes(mistakes.collect())
}

/// The types of a source's columns in Spark's words, for messages and `explain`.
pub fn column_list(columns: &[config::Column]) -> String {
    let one = |column: &config::Column| format!("{} {}", column.name, type_name(&column.ty));
    columns.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn type_name(ty: &SqlType) -> String {
    ty.to_string()
}

#[cfg(test)]
mod tests {
    use super::feeds;

    #[test]
    fn a_source_is_found_by_name_or_arn() {
        let arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/orders";
        assert!(feeds("orders", arn));
        assert!(feeds(arn, arn));
        assert!(feeds("orders", "orders"));
        assert!(!feeds("order", arn));
        assert!(!feeds("arn:aws:kinesis:us-east-1:123456789012:stream/orders", arn));
    }
}
