//! From a logical plan with one aggregation on a window to the plans of its steps.

use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, internal_datafusion_err};
use datafusion::error::{DataFusionError, Result as PlanResult};
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, Projection};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use tidegate_core::{Error, Zone};

use super::layout::{describe, layout_of};
use super::sliding::SLIDING_START;
use super::stream::{source_column, window_of};
use crate::api::{Closing, OutputKind};
use crate::hashes::KeyColumns;
use crate::run::input::InputExec;
use crate::run::window::WindowQuery;
use crate::spec::{Lanes, SourceSpec};
use crate::state::WindowColumn;
use crate::window::{Shape, WINDOW_START, WindowOfStart, WindowStart, window_of_start};

/// What late rows of sliding windows call the start of the window that they missed.
const LATE_START: &str = "window_start";

/// The aggregation of a windowed output, as its author wrote it.
#[derive(Debug)]
pub(crate) struct WindowedAggregate {
    /// Which group key is the window.
    key: usize,
    /// Its size, slide and offset.
    shape: Shape,
    pub(crate) kind: OutputKind,
    closing: Closing,
    /// The columns of `partition_key`, where lanes close by it: in the source, and among the group keys.
    hashed: Option<(Vec<usize>, Vec<usize>)>,
    /// Group keys beside the window and aggregates, as SQL without qualifiers.
    keys: Vec<String>,
    aggregates: Vec<String>,
}

/// Checks that an aggregation is one on a window of the source's event time.
pub(crate) fn recognise(aggregate: &Aggregate, source: &SourceSpec) -> Result<WindowedAggregate, Error> {
    let invalid = |e: &DataFusionError| Error::invalid(e.strip_backtrace());
    if aggregate.group_expr.iter().any(|key| matches!(key, Expr::GroupingSet(_))) {
        return Err(Error::invalid("GROUPING SETS, ROLLUP and CUBE over a stream are not supported yet")
            .with_help("write one output per set of keys"));
    }
    let mut found = None;
    for (i, key) in aggregate.group_expr.iter().enumerate() {
        let Some((shape, time)) = window_of(key, &aggregate.input).map_err(|e| invalid(&e))? else { continue };
        if found.replace((i, shape, time)).is_some() {
            return Err(Error::invalid("an aggregation can have one window only"));
        }
    }
    let Some((key, shape, time)) = found else { return Err(without_window(aggregate)) };
    let Some(watermark) = &source.watermark else {
        return Err(Error::invalid(format!(
            "source '{}' has no watermark, so no window would ever close",
            source.name
        ))
        .with_help(format!(
            "add 'watermark: {{ column: {}, delay: 5s }}' to the source",
            time.as_deref().unwrap_or("ts")
        )));
    };
    if time.as_ref() != Some(&watermark.column) {
        let given = time.map_or_else(|| "a computed value".to_owned(), |column| format!("column '{column}'"));
        return Err(Error::invalid(format!(
            "the window is on {given}, the watermark on column '{}'",
            watermark.column
        ))
        .with_help(format!("write window({}, ...), unchanged from the source", watermark.column)));
    }
    let others = || aggregate.group_expr.iter().enumerate().filter(move |(i, _)| *i != key).map(|(_, key)| key);
    let plain: Vec<String> = others().filter_map(|key| source_column(key, &aggregate.input)).collect();
    let lane_local =
        !source.partition_key.is_empty() && source.partition_key.iter().all(|column| plain.contains(column));
    let closing = if lane_local || source.lanes == Lanes::One { Closing::Lane } else { Closing::OverLanes };
    Ok(WindowedAggregate {
        key,
        shape,
        closing,
        hashed: (lane_local && closing == Closing::Lane).then(|| key_columns(aggregate, source)).flatten(),
        kind: OutputKind::Windowed {
            size: Duration::from_micros(shape.size.unsigned_abs()),
            slide: Duration::from_micros(shape.slide.unsigned_abs()),
            group_keys: others().map(|key| key.qualified_name().1).collect(),
            lane_local,
            closing,
        },
        keys: others().map(|key| source_column(key, &aggregate.input).unwrap_or_else(|| unqualified(key))).collect(),
        aggregates: aggregate.aggr_expr.iter().map(unqualified).collect(),
    })
}

/// Where the columns of `partition_key` stand.
fn key_columns(aggregate: &Aggregate, source: &SourceSpec) -> Option<(Vec<usize>, Vec<usize>)> {
    let keys: Vec<_> = aggregate.group_expr.iter().map(|key| source_column(key, &aggregate.input)).collect();
    let place = |column: &String| {
        let key = keys.iter().position(|key| key.as_ref() == Some(column))?;
        Some((source.schema.index_of(column).ok()?, key))
    };
    source.partition_key.iter().map(place).collect()
}

fn without_window(aggregate: &Aggregate) -> Error {
    let by_bound = aggregate.group_expr.iter().any(|key| key.to_string().contains("window("));
    if by_bound {
        return Error::invalid("a stream is grouped by the window itself, not by something computed from it")
            .with_help("write GROUP BY window(ts, '2 seconds') and use window.start in SELECT");
    }
    let sessions = aggregate.group_expr.iter().any(|key| key.to_string().contains("session_window"));
    if sessions {
        return Error::invalid("session windows are not supported yet")
            .with_help("use a tumbling window: GROUP BY window(ts, '2 seconds')");
    }
    let what = if aggregate.aggr_expr.is_empty() { "GROUP BY" } else { "an aggregate" };
    Error::invalid(format!("{what} without a window would never have a final result over a stream")).with_help(
        "add 'scope: batch' to the output to aggregate each micro-batch by itself, \
         or group by window(ts, '2 seconds')",
    )
}

fn unqualified(expr: &Expr) -> String {
    let plain = expr.clone().unalias().transform(|expr| {
        Ok(match expr {
            Expr::Column(column) => Transformed::yes(Expr::Column(Column::new_unqualified(column.name))),
            other => Transformed::no(other),
        })
    });
    plain.map_or_else(|_| expr.to_string(), |plain| plain.data.to_string())
}

impl WindowedAggregate {
    /// The plan with the window's start as the group key, which groups fast, and the window put together behind the
    /// aggregation.
    pub(crate) fn with_start_as_key(&self, plan: LogicalPlan) -> PlanResult<LogicalPlan> {
        let rewritten = plan.transform_up(|node| match node {
            LogicalPlan::Aggregate(aggregate) => self.rewrite(aggregate).map(Transformed::yes),
            other => other.recompute_schema().map(Transformed::yes),
        })?;
        Ok(rewritten.data)
    }

    fn rewrite(&self, aggregate: Aggregate) -> PlanResult<LogicalPlan> {
        let key = aggregate.group_expr[self.key].clone().unalias();
        let start = match &key {
            Expr::ScalarFunction(_) if window_of_start(&key).is_some() => {
                Expr::Column(Column::new_unqualified(SLIDING_START))
            }
            Expr::ScalarFunction(call) => WindowStart::udf(self.shape).call(vec![call.args[0].clone()]),
            // A window that a view computed.
            column => get_field(column.clone(), "start"),
        };
        let mut keys = aggregate.group_expr.clone();
        keys[self.key] = start.alias(WINDOW_START);
        let inner = Aggregate::try_new(Arc::clone(&aggregate.input), keys, aggregate.aggr_expr.clone())?;
        let columns = aggregate.schema.iter().enumerate().map(|(i, (qualifier, field))| {
            if i == self.key {
                let start = Expr::Column(Column::new_unqualified(WINDOW_START));
                WindowOfStart::udf(self.shape).call(vec![start]).alias_qualified(qualifier.cloned(), field.name())
            } else {
                Expr::Column(Column::new(qualifier.cloned(), field.name()))
            }
        });
        let columns = columns.collect();
        Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(LogicalPlan::Aggregate(inner)))?))
    }

    /// Takes the physical plan apart. `late` keeps late rows. Returns the schema of late rows and the line for the
    /// fingerprint, too.
    pub(crate) fn take_apart(
        &self,
        output: &str,
        plan: &Arc<dyn ExecutionPlan>,
        late: bool,
        zone: Zone,
        source: &SchemaRef,
    ) -> PlanResult<(WindowQuery, Option<SchemaRef>, String)> {
        let (raw, top) = aggregate_of(plan)
            .ok_or_else(|| internal_datafusion_err!("the aggregation is missing from the physical plan"))?;
        let input = raw.input();
        let rows = input.schema();
        let partial = form(&raw, AggregateMode::Partial, &rows)?;
        let state = partial.schema();
        let reduce = form(&raw, AggregateMode::PartialReduce, &state)?;
        let finish = form(&raw, AggregateMode::Final, &state)?;
        let above = replaced(plan, &top, finish.schema())?;
        let window = WindowColumn { column: self.key, shape: self.shape };
        check_state(&state, window)?;
        let late_columns = if late { Some(late_columns(&rows)?) } else { None };
        let late_schema = late_columns.as_ref().map(|(_, schema)| Arc::clone(schema));
        let mut layout = describe(output, self.shape, &self.keys, &self.aggregates, &partial, &state);
        // What a lane closed by itself is not in the registry: the two ways of closing cannot follow each other.
        if self.closing == Closing::OverLanes {
            layout.push_str(", closed over lanes");
        }
        // Keys such as days mean something else in another zone.
        if zone != Zone::UTC {
            layout.push_str(&format!(", time zone {zone}"));
        }
        let query = WindowQuery {
            below: (!is_whole_source(input)).then(|| Arc::clone(input)),
            time: event_time(&raw.group_expr().expr()[self.key].0),
            keys: raw.group_expr().expr().len(),
            partial: Arc::new(partial),
            reduce: Arc::new(reduce),
            finish: Arc::new(finish),
            above,
            window,
            late: late_columns,
            closing: self.closing,
            hashed: (self.hashed.clone()).and_then(|(of, among)| KeyColumns::new(of, among, source, state)),
            layout: layout_of(vec![layout.clone()]),
        };
        Ok((query, late_schema, layout))
    }
}

/// Columns of late rows: those that the query reads, and of sliding windows the start of the one that has ended, as
/// `window_start`.
fn late_columns(rows: &SchemaRef) -> PlanResult<(Vec<usize>, SchemaRef)> {
    let mine = |name: &str| name.starts_with("__") && name != SLIDING_START;
    let columns: Vec<usize> = (0..rows.fields().len()).filter(|i| !mine(rows.field(*i).name())).collect();
    let named = rows.project(&columns)?;
    let taken = named.column_with_name(LATE_START).is_some();
    let fields = named.fields().iter().map(|field| match field.name().as_str() {
        SLIDING_START if !taken => field.as_ref().clone().with_name(LATE_START),
        _ => field.as_ref().clone(),
    });
    Ok((columns, Arc::new(Schema::new(fields.collect::<Vec<_>>()))))
}

/// What a window's start is computed from, where that can be told.
fn event_time(start: &Arc<dyn PhysicalExpr>) -> Arc<dyn PhysicalExpr> {
    match start.downcast_ref::<ScalarFunctionExpr>() {
        Some(call) if call.name() == WINDOW_START => Arc::clone(&call.args()[0]),
        _ => Arc::clone(start),
    }
}

/// Whether a plan is the leaf itself. It may still drop columns, so it is run then, too.
fn is_whole_source(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.downcast_ref::<InputExec>().is_some_and(InputExec::is_whole)
}

/// The aggregation that reads raw rows, and the topmost one that belongs to it.
fn aggregate_of(plan: &Arc<dyn ExecutionPlan>) -> Option<(AggregateExec, Arc<dyn ExecutionPlan>)> {
    let mut top = None;
    let mut at = Arc::clone(plan);
    loop {
        if let Some(aggregate) = at.downcast_ref::<AggregateExec>() {
            let top = Arc::clone(top.get_or_insert_with(|| Arc::clone(&at)));
            if matches!(
                aggregate.mode(),
                AggregateMode::Single | AggregateMode::SinglePartitioned | AggregateMode::Partial
            ) {
                return Some((aggregate.clone(), top));
            }
        }
        let child = Arc::clone(*at.children().first()?);
        at = child;
    }
}

fn form(raw: &AggregateExec, mode: AggregateMode, input: &SchemaRef) -> PlanResult<AggregateExec> {
    let first = mode == AggregateMode::Partial;
    let keys = if first { raw.group_expr().clone() } else { raw.group_expr().as_final() };
    let filters = if first { raw.filter_expr().to_vec() } else { vec![None; raw.aggr_expr().len()] };
    let leaf = Arc::new(InputExec::new(Arc::clone(input)));
    AggregateExec::try_new(mode, keys, raw.aggr_expr().to_vec(), filters, leaf, raw.input().schema())
}

/// The plan above `node`, reading rows of `schema` in its place. `None` where nothing stands above it.
fn replaced(
    plan: &Arc<dyn ExecutionPlan>,
    node: &Arc<dyn ExecutionPlan>,
    schema: SchemaRef,
) -> PlanResult<Option<Arc<dyn ExecutionPlan>>> {
    if Arc::ptr_eq(plan, node) {
        return Ok(None);
    }
    let leaf: Arc<dyn ExecutionPlan> = Arc::new(InputExec::new(schema));
    let above = Arc::clone(plan).transform_up(|at| {
        Ok(if Arc::ptr_eq(&at, node) { Transformed::yes(Arc::clone(&leaf)) } else { Transformed::no(at) })
    })?;
    Ok(Some(above.data))
}

fn check_state(state: &SchemaRef, window: WindowColumn) -> PlanResult<()> {
    match state.field(window.column).data_type() {
        DataType::Timestamp(..) => Ok(()),
        other => Err(internal_datafusion_err!("the window's start is stored as {other}")),
    }
}

/// The lowest aggregation of a plan over a micro-batch and the plan above it: errors of rows stay apart from errors
/// of groups. Plans with several leaves stay whole.
pub(crate) fn stages(plan: &Arc<dyn ExecutionPlan>) -> PlanResult<Vec<Arc<dyn ExecutionPlan>>> {
    let mut lowest = None;
    let mut at = Arc::clone(plan);
    loop {
        if at.downcast_ref::<AggregateExec>().is_some() {
            lowest = Some(Arc::clone(&at));
        }
        let child = match at.children().as_slice() {
            [] => break,
            [child] => Arc::clone(child),
            _ => return Ok(vec![Arc::clone(plan)]),
        };
        at = child;
    }
    let Some(lowest) = lowest else { return Ok(vec![Arc::clone(plan)]) };
    let above = replaced(plan, &lowest, lowest.schema())?;
    Ok(std::iter::once(lowest).chain(above).collect())
}
