//! Conversion functions: `cast`, the names of types as functions, `typeof`.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::plan_err;
use datafusion::common::tree_node::TreeNode;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility, lit};

use tidegate_core::Zone;

use super::Gives::Type;
use super::Takes::{Any, Text};
use super::{Def, Planned};
use crate::dialect::cast::{self, Mode};
use crate::dialect::plan::{Planner, parse_type};
use crate::dialect::types::{sql_name, sql_name_of};

/// Functions with a kernel of their own.
pub const FUNCTIONS: &[Def] =
    &[Def::new(&["type_of_value"], &[Any, Text], Type(Text), |call| Ok(Arc::clone(&call.args[1])))];

/// Functions that plan themselves.
pub const PLANNED: &[Planned] = &[
    (&["bigint"], |p, args| to(p, "bigint", args)),
    (&["binary"], |p, args| to(p, "binary", args)),
    (&["boolean"], |p, args| to(p, "boolean", args)),
    (&["date"], |p, args| to(p, "date", args)),
    (&["decimal"], |p, args| to(p, "decimal", args)),
    (&["double"], |p, args| to(p, "double", args)),
    (&["float"], |p, args| to(p, "float", args)),
    (&["int"], |p, args| to(p, "int", args)),
    (&["smallint"], |p, args| to(p, "smallint", args)),
    (&["string"], |p, args| to(p, "string", args)),
    (&["timestamp"], |p, args| to(p, "timestamp", args)),
    (&["tinyint"], |p, args| to(p, "tinyint", args)),
    (&["typeof"], |p, args| {
        let [arg] = super::conditional::exactly::<1>("typeof", args)?;
        let name = lit(sql_name_of(&*p.field_of(&arg)?));
        // An aggregate stays, so that the query is one of groups.
        let aggregates = arg.exists(|part| Ok(matches!(part, Expr::AggregateFunction(_) | Expr::WindowFunction(_))))?;
        if aggregates { p.call("type_of_value", vec![arg, name]) } else { Ok(name) }
    }),
    (&["numeric_argument"], numeric_argument),
];

fn to(planner: &Planner<'_>, ty: &str, mut args: Vec<Expr>) -> Result<Expr> {
    if args.len() != 1 {
        return plan_err!("{ty}() takes one argument");
    }
    planner.cast(args.remove(0), &parse_type(ty)?, Mode::Raise)
}

/// What aggregates of numbers take: text is read as double.
fn numeric_argument(planner: &Planner<'_>, mut args: Vec<Expr>) -> Result<Expr> {
    let arg = args.remove(0);
    match planner.type_of(&arg)? {
        DataType::Utf8 | DataType::Null => planner.cast(arg, &DataType::Float64, Mode::Raise),
        _ => Ok(arg),
    }
}

/// `CAST` and `TRY_CAST` where Arrow's own kernel differs from Spark.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CastFunction {
    to: DataType,
    mode: Mode,
    zone: Zone,
    raises: bool,
    signature: Signature,
}

impl CastFunction {
    /// A cast from one type to another in a session time zone.
    pub fn new(from: &DataType, to: DataType, mode: Mode, zone: Zone) -> Self {
        let raises = mode == Mode::Raise && cast::can_fail(from, &to);
        Self { to, mode, zone, raises, signature: Signature::any(1, Volatility::Immutable) }
    }

    /// Whether some values raise.
    pub fn can_raise(&self) -> bool {
        self.raises
    }
}

impl ScalarUDFImpl for CastFunction {
    fn name(&self) -> &'static str {
        match self.mode {
            Mode::Raise => "cast",
            Mode::Null => "try_cast",
        }
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        Ok(format!("{}({} AS {})", self.name(), args[0].schema_name(), sql_name(&self.to)))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.to.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        cast::cast_value(&args.args[0], &self.to, self.mode, self.zone)
    }
}
