//! Aggregates: Spark's names over DataFusion's, and own ones where those differ.

use std::sync::Arc;

use datafusion::logical_expr::AggregateUDF;
use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, Value,
};

use crate::dialect::node::{self, Op};
use crate::dialect::rewrite::{IGNORE_NULLS, call};

/// Aggregates that the session gets on top of DataFusion's.
pub fn all() -> Vec<Arc<AggregateUDF>> {
    datafusion_spark::all_default_aggregate_functions()
        .into_iter()
        .filter(|function| function.name() != "avg")
        .collect()
}

/// Spark's name, DataFusion's name.
const NAMES: &[(&str, &str)] = &[
    ("mean", "avg"),
    ("variance", "var_samp"),
    ("std", "stddev"),
    ("every", "bool_and"),
    ("some", "bool_or"),
    ("any", "bool_or"),
    ("first", "first_value"),
    ("any_value", "first_value"),
    ("last", "last_value"),
    ("array_agg", "collect_list"),
    ("approx_count_distinct", "approx_distinct"),
    ("listagg", "string_agg"),
];

/// Aggregates of numbers.
const NUMERIC: &[&str] = &["sum", "avg", "var_samp", "var_pop", "stddev", "stddev_samp", "stddev_pop", "try_sum"];

/// Gives an aggregate the name and the arguments that DataFusion knows. `None`: it goes on as it is.
pub fn rewrite(name: &str, function: &mut Function) -> Option<Expr> {
    if name == "count_if" {
        let condition = take_argument(function, 0)?;
        let one = node::make(Op::Literal, "1", vec![]);
        set_argument(function, 0, node::make(Op::Case, "", vec![condition, one]));
        rename(function, "count");
        return Some(Expr::Function(function.clone()));
    }
    let known = NAMES.iter().find(|(spark, _)| *spark == name).map_or(name, |(_, known)| *known);
    if known != name {
        rename(function, known);
    }
    if known == "first_value" || known == "last_value" {
        ignore_nulls_flag(function);
    }
    if NUMERIC.contains(&known)
        && let Some(arg) = take_argument(function, 0)
    {
        set_argument(function, 0, call("numeric_argument", vec![arg]));
    }
    (known != name || NUMERIC.contains(&known)).then(|| Expr::Function(function.clone()))
}

fn rename(function: &mut Function, name: &str) {
    function.name = ObjectName::from(vec![Ident::new(name)]);
}

fn argument(function: &mut Function, at: usize) -> Option<&mut Expr> {
    let FunctionArguments::List(list) = &mut function.args else { return None };
    match list.args.get_mut(at)? {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    }
}

fn take_argument(function: &mut Function, at: usize) -> Option<Expr> {
    argument(function, at).map(|expr| std::mem::replace(expr, Expr::value(Value::Null)))
}

fn set_argument(function: &mut Function, at: usize, to: Expr) {
    if let Some(expr) = argument(function, at) {
        *expr = to;
    }
}

/// `first(x, true)` ignores nulls.
fn ignore_nulls_flag(function: &mut Function) {
    let flag = match argument(function, 1) {
        Some(Expr::Value(value)) => match value.value {
            Value::Boolean(flag) => flag,
            _ => return,
        },
        _ => return,
    };
    if let FunctionArguments::List(list) = &mut function.args {
        list.args.truncate(1);
    }
    if flag {
        function.null_treatment = Some(IGNORE_NULLS);
    }
}
