//! The leaf of every plan: rows that are handed in anew for each run.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::memory::MemoryStream;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, SendableRecordBatchStream,
};

/// The rows of one run. They travel in the task context, so that a plan is never changed to run it.
#[derive(Debug)]
pub(crate) struct RunInput(pub(crate) Vec<RecordBatch>);

/// Yields the rows of the run, cut to the columns that the plan needs.
#[derive(Debug)]
pub(crate) struct InputExec {
    projection: Option<Vec<usize>>,
    properties: Arc<PlanProperties>,
}

impl InputExec {
    /// A leaf whose rows have `schema`.
    pub(crate) fn new(schema: SchemaRef) -> Self {
        Self::projected(schema, None)
    }

    /// Whether the leaf hands on all columns.
    pub(crate) fn is_whole(&self) -> bool {
        self.projection.is_none()
    }

    fn projected(schema: SchemaRef, projection: Option<Vec<usize>>) -> Self {
        // No statistics and no order are promised: they would be folded into the plan.
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative);
        Self { projection, properties: Arc::new(properties) }
    }
}

impl DisplayAs for InputExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Input: columns=[")?;
        for (i, field) in self.properties.equivalence_properties().schema().fields().iter().enumerate() {
            write!(f, "{}{}", if i > 0 { ", " } else { "" }, field.name())?;
        }
        f.write_str("]")
    }
}

impl ExecutionPlan for InputExec {
    fn name(&self) -> &'static str {
        "InputExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, _: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = context
            .session_config()
            .get_extension::<RunInput>()
            .ok_or_else(|| internal_datafusion_err!("a plan was started without rows"))?;
        let stream = MemoryStream::try_new(input.0.clone(), self.schema(), self.projection.clone())?;
        Ok(Box::pin(stream))
    }
}

/// A source as a table of the planner.
#[derive(Debug)]
pub(crate) struct SourceTable(pub(crate) SchemaRef);

#[async_trait]
impl TableProvider for SourceTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(match projection {
            Some(columns) => InputExec::projected(Arc::new(self.0.project(columns)?), Some(columns.clone())),
            None => InputExec::new(self.schema()),
        }))
    }
}
