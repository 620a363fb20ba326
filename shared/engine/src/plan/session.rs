//! The planner's session: names, functions and options, and the views in the order of their use.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::catalog::{MemorySchemaProvider, SchemaProvider};
use datafusion::datasource::ViewTable;
use datafusion::error::Result as PlanResult;
use datafusion::execution::context::SessionConfig;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::Optimizer;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{self, Query};
use tidegate_core::{Error, Zone};

use super::mistake::{did_you_mean, mistake, mistakes};
use super::now;
use crate::api::{Part, PlanError};
use crate::dialect::{Dialect, Kind, parse_query_over};
use crate::run::Runner;
use crate::run::input::SourceTable;
use crate::spec::{EngineSpec, ViewSpec};
use crate::window::Window;

/// Rows per batch between the nodes of a plan: DataFusion's own default.
const BATCH_ROWS: usize = 8192;

/// Optimizer rules that would tear an aggregation apart into shapes whose state cannot be kept.
const UNWANTED_RULES: &[&str] =
    &["single_distinct_aggregation_to_group_by", "extract_leaf_expressions", "push_down_leaf_projections"];

pub(crate) struct Session {
    state: SessionState,
    tables: Arc<MemorySchemaProvider>,
    /// Columns, fields of structs, sources and views, as they were declared.
    names: BTreeMap<String, Kind>,
    /// What each table is made of, itself included: views and sources.
    uses: BTreeMap<String, BTreeSet<String>>,
    broken: BTreeSet<String>,
    plans_made: u64,
    /// The session time zone.
    pub(crate) zone: Zone,
}

impl Session {
    pub(crate) fn new(dialect: &Dialect, spec: &EngineSpec) -> Self {
        let state = state(dialect);
        let tables = Arc::new(MemorySchemaProvider::new());
        if let Some(catalog) = state.catalog_list().catalog("tidegate") {
            // The catalog was made just now, in memory.
            let _ = catalog.register_schema("public", Arc::clone(&tables) as Arc<dyn SchemaProvider>);
        }
        let mut session = Self {
            state,
            tables,
            names: BTreeMap::new(),
            uses: BTreeMap::new(),
            broken: BTreeSet::new(),
            plans_made: 0,
            zone: dialect.zone,
        };
        for source in &spec.sources {
            session.names.insert(source.name.clone(), Kind::Other);
            source.schema.fields().iter().for_each(|field| session.add_names(field.name(), field.data_type()));
            session.uses.insert(source.name.clone(), BTreeSet::from([source.name.clone()]));
            // A name that is taken is told by the caller.
            let _ =
                session.tables.register_table(source.name.clone(), Arc::new(SourceTable(Arc::clone(&source.schema))));
        }
        session.names.extend(spec.views.iter().map(|view| (view.name.clone(), Kind::Other)));
        session
    }

    fn add_names(&mut self, name: &str, ty: &DataType) {
        add_names(&mut self.names, name, ty);
    }

    pub(crate) fn runner(&self) -> Runner {
        Runner::new(self.state.config().clone(), Arc::clone(self.state.runtime_env()))
    }

    pub(crate) fn plans_made(&self) -> u64 {
        self.plans_made
    }

    /// Plans views, each behind those that it uses, whatever their order.
    pub(crate) fn add_views(&mut self, views: &[ViewSpec]) -> Vec<PlanError> {
        let mut errors = Vec::new();
        let mut waiting: Vec<(&ViewSpec, BTreeSet<String>)> = Vec::new();
        let names: BTreeSet<&str> = views.iter().map(|view| view.name.as_str()).collect();
        for view in views {
            let part = Part::View(view.name.clone());
            match self.parse(&part, &view.sql) {
                Ok(query) => {
                    let reads = self.tables_of(&query);
                    waiting.push((view, reads.into_iter().filter(|t| names.contains(t.as_str())).collect()));
                }
                Err(found) => {
                    self.broken.insert(view.name.clone());
                    errors.extend(found);
                }
            }
        }
        while !waiting.is_empty() {
            let unplanned: BTreeSet<String> = waiting.iter().map(|(view, ..)| view.name.clone()).collect();
            let (ready, rest): (Vec<_>, Vec<_>) =
                waiting.into_iter().partition(|(_, reads)| reads.is_disjoint(&unplanned));
            if ready.is_empty() {
                errors.extend(self.cycles(&rest));
                break;
            }
            for (view, _) in ready {
                errors.extend(self.add_view(view));
            }
            waiting = rest;
        }
        errors.sort_by_key(|error| {
            views.iter().position(|view| matches!(&error.part, Part::View(name) if *name == view.name))
        });
        errors
    }

    fn cycles(&mut self, rest: &[(&ViewSpec, BTreeSet<String>)]) -> Vec<PlanError> {
        let reads = |name: &str| rest.iter().find(|(view, ..)| view.name == name).map(|(_, reads)| reads);
        let reaches = |from: &str| {
            let mut seen = BTreeSet::new();
            let mut next: Vec<&String> = reads(from).into_iter().flatten().collect();
            while let Some(name) = next.pop() {
                if seen.insert(name.as_str()) {
                    next.extend(reads(name).into_iter().flatten());
                }
            }
            seen
        };
        let in_circle: Vec<&str> =
            rest.iter().map(|(view, ..)| view.name.as_str()).filter(|name| reaches(name).contains(name)).collect();
        self.broken.extend(rest.iter().map(|(view, ..)| view.name.clone()));
        in_circle
            .iter()
            .map(|name| {
                let error = Error::invalid(format!("views use each other in a circle: {}", in_circle.join(", ")))
                    .with_help("let one of them read a source instead");
                mistake(&Part::View((*name).to_owned()), error)
            })
            .collect()
    }

    fn add_view(&mut self, view: &ViewSpec) -> Vec<PlanError> {
        let part = Part::View(view.name.clone());
        // Read anew: the columns of the views that it uses are known now.
        match self.logical(&part, &view.sql) {
            Ok(Some((plan, uses))) => {
                plan.schema().fields().iter().for_each(|field| self.add_names(field.name(), field.data_type()));
                let mut uses: BTreeSet<String> = uses.into_iter().collect();
                uses.insert(view.name.clone());
                self.uses.insert(view.name.clone(), uses);
                let table = Arc::new(ViewTable::new(plan, None));
                // A name that is taken is told by the caller.
                let _ = self.tables.register_table(view.name.clone(), table);
                Vec::new()
            }
            Ok(None) => {
                self.broken.insert(view.name.clone());
                Vec::new()
            }
            Err(errors) => {
                self.broken.insert(view.name.clone());
                errors
            }
        }
    }

    /// The plan of a query and all sources and views that it uses. `None` when it uses a broken view.
    pub(crate) fn logical(
        &mut self,
        part: &Part,
        sql: &str,
    ) -> Result<Option<(LogicalPlan, Vec<String>)>, Vec<PlanError>> {
        let query = self.parse(part, sql)?;
        self.logical_of(part, query)
    }

    fn parse(&self, part: &Part, sql: &str) -> Result<Query, Vec<PlanError>> {
        let names: Vec<(&str, Kind)> = self.names.iter().map(|(name, kind)| (name.as_str(), *kind)).collect();
        parse_query_over(sql, &names)
            .map_err(|error| vec![PlanError { part: part.clone(), location: error.location, error: error.error }])
    }

    fn tables_of(&self, query: &Query) -> BTreeSet<String> {
        let references = self.state.resolve_table_references(&statement(query.clone())).unwrap_or_default();
        references.into_iter().map(|reference| reference.table().to_owned()).collect()
    }

    fn logical_of(&mut self, part: &Part, query: Query) -> Result<Option<(LogicalPlan, Vec<String>)>, Vec<PlanError>> {
        let tables = self.tables_of(&query);
        if tables.iter().any(|table| self.broken.contains(table)) {
            return Ok(None);
        }
        let unknown: Vec<PlanError> = tables
            .iter()
            .filter(|table| !self.uses.contains_key(*table))
            .map(|table| {
                let known: Vec<&str> = self.uses.keys().map(String::as_str).collect();
                let error = Error::invalid(format!("there is no source or view '{table}'"));
                let help = did_you_mean(table, &known).map_or_else(
                    || format!("sources and views are {}", known.join(", ")),
                    |name| format!("did you mean '{name}'?"),
                );
                mistake(part, error.with_help(help))
            })
            .collect();
        if !unknown.is_empty() {
            return Err(unknown);
        }
        let plan = now(self.state.statement_to_plan(statement(query))).map_err(|e| mistakes(part, &e))?;
        self.plans_made += 1;
        let uses: BTreeSet<String> = tables.iter().flat_map(|table| self.uses[table].iter().cloned()).collect();
        Ok(Some((plan, uses.into_iter().collect())))
    }

    /// Optimises a plan and makes it runnable.
    pub(crate) fn physical(&self, plan: &LogicalPlan) -> PlanResult<Arc<dyn ExecutionPlan>> {
        now(self.state.create_physical_plan(plan))
    }
}

/// A planner's session with the dialect, without tables.
pub(crate) fn state(dialect: &Dialect) -> SessionState {
    let mut config = SessionConfig::new()
        .with_target_partitions(1)
        .with_batch_size(BATCH_ROWS)
        .with_default_catalog_and_schema("tidegate", "public")
        .with_create_default_catalog_and_schema(true)
        .with_information_schema(false);
    let options = config.options_mut();
    options.sql_parser.enable_ident_normalization = false;
    options.sql_parser.map_string_types_to_utf8view = false;
    options.sql_parser.collect_spans = true;
    // A partial aggregation must aggregate: its rows are stored.
    options.execution.skip_partial_aggregation_probe_rows_threshold = usize::MAX;
    let mut optimizer = Optimizer::new();
    optimizer.rules.retain(|rule| !UNWANTED_RULES.contains(&rule.name()));
    let builder =
        SessionStateBuilder::new().with_config(config).with_default_features().with_optimizer_rules(optimizer.rules);
    let mut builder = dialect.install(builder);
    builder.scalar_functions().get_or_insert_default().push(Arc::new(Window::udf()));
    builder.build()
}

/// Adds a column and the fields below it to the names that are known.
pub(crate) fn add_names(names: &mut BTreeMap<String, Kind>, name: &str, ty: &DataType) {
    let kind = Kind::of(ty);
    let known = names.entry(name.to_owned()).or_insert(kind);
    if *known != kind {
        *known = Kind::Other;
    }
    match ty {
        DataType::Struct(fields) => fields.iter().for_each(|field| add_names(names, field.name(), field.data_type())),
        DataType::List(item) | DataType::Map(item, _) => add_names(names, item.name(), item.data_type()),
        _ => {}
    }
}

fn statement(query: Query) -> Statement {
    Statement::Statement(Box::new(ast::Statement::Query(Box::new(query))))
}
