//! Planning: sources, views and outputs to the plans that run.

pub(crate) mod layout;
pub(crate) mod mistake;
pub(crate) mod session;
pub(crate) mod sliding;
pub(crate) mod stream;
mod windowed;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::logical_expr::LogicalPlan;
use tidegate_core::Error;

use self::mistake::{mistake, mistakes};
use self::session::Session;
use crate::api::{OutputKind, OutputPlan, Part, PlanError};
use crate::dialect::Dialect;
use crate::engine::{Engine, Query, SourcePlan};
use crate::run::finish_now;
use crate::run::rows::RowsQuery;
use crate::segment::SegmentOptions;
use crate::spec::{EngineSpec, OutputSpec, Scope, SourceSpec};

/// Plans everything, or tells every mistake.
pub(crate) fn plan(spec: &EngineSpec) -> Result<Engine, Vec<PlanError>> {
    let dialect = Dialect { zone: spec.zone, ..Dialect::new() };
    let mut errors = names(spec);
    errors.extend(spec.sources.iter().filter_map(watermark_mistake));
    let mut session = Session::new(&dialect, spec);
    errors.extend(session.add_views(&spec.views));
    let mut planned = Vec::new();
    for (place, output) in spec.outputs.iter().enumerate() {
        match plan_output(&mut session, spec, output) {
            Ok(Some(output)) => planned.push((place, output)),
            Ok(None) => {}
            Err(mut found) => errors.append(&mut found),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(assemble(spec, session, dialect, planned))
}

/// One output as planned, with the line of its state where it has some.
struct Planned {
    plan: OutputPlan,
    query: Query,
    layout: Option<String>,
}

fn assemble(spec: &EngineSpec, session: Session, dialect: Dialect, planned: Vec<(usize, Planned)>) -> Engine {
    let mut sources = BTreeMap::new();
    for source in &spec.sources {
        let reads = |output: &Planned| output.plan.source == source.name;
        let outputs = planned.iter().filter(|(_, output)| reads(output)).map(|(place, _)| *place).collect();
        let mut windows: Vec<(&str, usize, String)> = planned
            .iter()
            .filter(|(_, output)| reads(output))
            .filter_map(|(place, output)| Some((output.plan.name.as_str(), *place, output.layout.clone()?)))
            .collect();
        // By name, so that the order of outputs in the file does not matter to stored state.
        windows.sort();
        let layout = layout::layout_of(windows.iter().map(|(_, _, line)| line.clone()).collect());
        let windows: Vec<usize> = windows.into_iter().map(|(_, place, _)| place).collect();
        let schemas = planned.iter().filter_map(|(place, output)| match &output.query {
            Query::Window(query) => Some((*place, query.state_schemas())),
            Query::Rows(_) => None,
        });
        let schemas: BTreeMap<usize, _> = schemas.collect();
        let schemas = windows.iter().filter_map(|place| schemas.get(place).cloned()).collect();
        let watermark = source.watermark.as_ref().and_then(|watermark| {
            let delay = i64::try_from(watermark.delay.as_micros()).unwrap_or(i64::MAX);
            Some((source.schema.index_of(&watermark.column).ok()?, delay))
        });
        let plan = SourcePlan {
            name: source.name.as_str().into(),
            schema: Arc::clone(&source.schema),
            watermark,
            outputs,
            windows,
            layout,
            schemas,
        };
        sources.insert(source.name.clone(), plan);
    }
    let (outputs, queries) = planned.into_iter().map(|(_, output)| (output.plan, output.query)).unzip();
    Engine {
        outputs,
        queries,
        sources,
        runner: session.runner(),
        clock: dialect.clock,
        turn: tokio::sync::Mutex::new(()),
        plans_made: session.plans_made(),
        segments: SegmentOptions::default(),
    }
}

/// `None`: it uses a broken view, which is told already.
fn plan_output(
    session: &mut Session,
    spec: &EngineSpec,
    output: &OutputSpec,
) -> Result<Option<Planned>, Vec<PlanError>> {
    let part = Part::Output(output.name.clone());
    let fail = |error: Error| vec![mistake(&part, error)];
    let Some((plan, uses)) = session.logical(&part, &output.sql)? else { return Ok(None) };
    let plan = sliding::spread(plan, output.scope == Scope::Stream).map_err(|e| mistakes(&part, &e))?;
    let scans = stream::scans(&plan).map_err(|e| mistakes(&part, &e))?;
    let distinct: BTreeSet<&str> = scans.iter().map(String::as_str).collect();
    let aggregate = match output.scope {
        Scope::Stream => stream::only_aggregate(&plan).map_err(fail)?,
        Scope::Batch => None,
    };
    let source = match distinct.into_iter().collect::<Vec<_>>().as_slice() {
        [] => return Err(fail(Error::invalid("the query reads no source").with_help(known_sources(spec)))),
        [one] => spec.sources.iter().find(|source| source.name == *one),
        several => {
            let message =
                format!("the query reads several sources ({}); joins are not supported yet", several.join(", "));
            return Err(fail(Error::invalid(message).with_help("read one source per output")));
        }
    };
    let source = source.ok_or_else(|| fail(Error::internal("a scan of no source")))?;
    let planned = match aggregate {
        Some(aggregate) => {
            let windowed = windowed::recognise(&aggregate, source).map_err(fail)?;
            windowed_output(session, output, source, &windowed, plan)
        }
        None => rows_output(session, output, source, plan),
    };
    let mut planned = planned.map_err(|e| mistakes(&part, &e))?;
    planned.plan.uses = uses;
    Ok(Some(planned))
}

fn windowed_output(
    session: &mut Session,
    output: &OutputSpec,
    source: &SourceSpec,
    windowed: &windowed::WindowedAggregate,
    plan: LogicalPlan,
) -> datafusion::error::Result<Planned> {
    let plan = session.physical(&windowed.with_start_as_key(plan)?)?;
    let (query, late_schema, layout) =
        windowed.take_apart(&output.name, &plan, output.late, session.zone, &source.schema)?;
    let plan = OutputPlan {
        name: output.name.clone(),
        source: source.name.clone(),
        schema: plan.schema(),
        kind: windowed.kind.clone(),
        late_schema,
        uses: Vec::new(),
        warnings: Vec::new(),
    };
    Ok(Planned { plan, query: Query::Window(Box::new(query)), layout: Some(layout) })
}

fn rows_output(
    session: &mut Session,
    output: &OutputSpec,
    source: &SourceSpec,
    plan: LogicalPlan,
) -> datafusion::error::Result<Planned> {
    let plan = session.physical(&stream::without_timeless_rows(plan)?)?;
    let kind = match output.scope {
        Scope::Stream => OutputKind::Stateless,
        Scope::Batch => OutputKind::BatchAggregate,
    };
    let mut warnings = Vec::new();
    if output.late {
        warnings.push("no row can be late here: only windowed aggregations have late rows".to_owned());
    }
    let stages = match output.scope {
        Scope::Stream => vec![Arc::clone(&plan)],
        Scope::Batch => windowed::stages(&plan)?,
    };
    let plan = OutputPlan {
        name: output.name.clone(),
        source: source.name.clone(),
        schema: plan.schema(),
        kind,
        late_schema: None,
        uses: Vec::new(),
        warnings,
    };
    Ok(Planned { plan, query: Query::Rows(RowsQuery { stages }), layout: None })
}

fn known_sources(spec: &EngineSpec) -> String {
    let names: Vec<&str> = spec.sources.iter().map(|source| source.name.as_str()).collect();
    format!("sources are {}", names.join(", "))
}

/// Names that two things have.
fn names(spec: &EngineSpec) -> Vec<PlanError> {
    let sources = spec.sources.iter().map(|source| (Part::Source(source.name.clone()), &source.name));
    let views = spec.views.iter().map(|view| (Part::View(view.name.clone()), &view.name));
    let mut seen = BTreeSet::new();
    sources
        .chain(views)
        .filter(|(_, name)| !seen.insert(name.to_lowercase()))
        .map(|(part, name)| mistake(&part, Error::invalid(format!("two sources or views are called '{name}'"))))
        .collect()
}

fn watermark_mistake(source: &SourceSpec) -> Option<PlanError> {
    let watermark = source.watermark.as_ref()?;
    let names: Vec<&str> = source.schema.fields().iter().map(|field| field.name().as_str()).collect();
    let error = match source.schema.field_with_name(&watermark.column) {
        Ok(field) if matches!(field.data_type(), DataType::Timestamp(TimeUnit::Microsecond, Some(_))) => return None,
        Ok(field) => Error::invalid(format!(
            "the watermark's column '{}' must be a timestamp, it is {}",
            watermark.column,
            field.data_type()
        )),
        Err(_) => {
            let error = Error::invalid(format!("the watermark's column '{}' does not exist", watermark.column));
            match mistake::did_you_mean(&watermark.column, &names) {
                Some(name) => error.with_help(format!("did you mean '{name}'?")),
                None => error.with_help(format!("columns are {}", names.join(", "))),
            }
        }
    };
    Some(mistake(&Part::Source(source.name.clone()), error))
}

/// Planning never waits for anything outside the process.
fn now<F: Future>(work: F) -> F::Output {
    finish_now(work)
}
