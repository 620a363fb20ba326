//! Functions that take a lambda: Spark's names over DataFusion's.

use datafusion::sql::sqlparser::ast::{Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments};

const NAMES: &[(&str, &str)] =
    &[("transform", "array_transform"), ("filter", "array_filter"), ("exists", "array_any_match")];

/// DataFusion's name of a call with a lambda of one parameter.
pub(super) fn known_as(name: &str, function: &Function) -> Option<&'static str> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let [_, FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Lambda(_)))] = list.args.as_slice() else { return None };
    NAMES.iter().find(|(spark, _)| *spark == name).map(|(_, known)| *known)
}
