//! Functions that take a lambda. DataFusion's take lambdas of one parameter: more of them become fields of one.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, LambdaFunction, LambdaFunctionParameter,
    LambdaSyntax, OneOrManyWithParens, UnaryOperator, VisitMut, VisitorMut,
};

use super::super::node::{self, Op};
use super::{call as scalar, lateral};

/// The parameter that stands for several.
const ENTRY: &str = "__entry";

/// Spark's function of a lambda, planned with DataFusion's; `None` for other functions.
pub(super) fn call(name: &str, function: &Function) -> Result<Option<Expr>, String> {
    let FunctionArguments::List(list) = &function.args else { return Ok(None) };
    let mut args: Vec<Expr> = Vec::with_capacity(list.args.len());
    for arg in &list.args {
        let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = arg else { return Ok(None) };
        args.push(expr.clone());
    }
    let Some(Expr::Lambda(lambda)) = args.last().cloned() else { return Ok(None) };
    args.pop();
    let params: Vec<Ident> = match &lambda.params {
        OneOrManyWithParens::One(param) => vec![param.name.clone()],
        OneOrManyWithParens::Many(params) => params.iter().map(|param| param.name.clone()).collect(),
    };
    let over = |name: &str, from: Expr, lambda| lateral::function(name, vec![from, Expr::Lambda(lambda)]);
    let entries = |map: &Expr| scalar("map_entries", vec![map.clone()]);
    Ok(Some(match (name, args.as_slice(), params.len()) {
        ("transform", [list], 1) => over("array_transform", list.clone(), lambda),
        ("filter", [list], 1) => over("array_filter", list.clone(), lambda),
        ("exists", [list], 1) => over("array_any_match", list.clone(), lambda),
        ("forall", [list], 1) => {
            let not = |expr| Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(expr) };
            let body = Box::new(not(*lambda.body.clone()));
            not(over("array_any_match", list.clone(), LambdaFunction { body, ..lambda }))
        }
        ("transform", [list], 2) => {
            let rows = scalar("with_positions", vec![list.clone()]);
            over("array_transform", rows, of_entry(lambda, &params, &["col", "pos"]))
        }
        ("filter", [list], 2) => {
            let rows = scalar("with_positions", vec![list.clone()]);
            let kept = over("array_filter", rows, of_entry(lambda, &params, &["col", "pos"]));
            over("array_transform", kept, field_of("col"))
        }
        ("array_sort", [list], 2) => {
            let pairs = scalar("item_pairs", vec![list.clone()]);
            let verdicts = over("array_transform", pairs, of_entry(lambda, &params, &["1", "2"]));
            scalar("ordered_by", vec![list.clone(), verdicts])
        }
        ("map_zip_with", [left, right], 3) => {
            let rows = scalar("zip_maps", vec![left.clone(), right.clone()]);
            let keys = over("array_transform", rows.clone(), field_of("key"));
            let entry = of_entry(lambda, &params, &["key", "value1", "value2"]);
            scalar("map_from_arrays", vec![keys, over("array_transform", rows, entry)])
        }
        ("transform_values", [map], 2) => {
            let values = over("array_transform", entries(map), of_entry(lambda, &params, &["key", "value"]));
            scalar("map_from_arrays", vec![scalar("map_keys", vec![map.clone()]), values])
        }
        ("transform_keys", [map], 2) => {
            let keys = over("array_transform", entries(map), of_entry(lambda, &params, &["key", "value"]));
            scalar("map_from_arrays", vec![keys, scalar("map_values", vec![map.clone()])])
        }
        ("map_filter", [map], 2) => {
            let kept = over("array_filter", entries(map), of_entry(lambda, &params, &["key", "value"]));
            scalar("map_from_entries", vec![kept])
        }
        ("zip_with", [left, right], 2) => {
            let pairs = scalar("zip_rows", vec![left.clone(), right.clone()]);
            over("array_transform", pairs, of_entry(lambda, &params, &["1", "2"]))
        }
        ("aggregate" | "reduce", [list, start], 2) => {
            lateral::function("array_fold", vec![list.clone(), start.clone(), Expr::Lambda(lambda)])
        }
        ("aggregate" | "reduce", [list, start, merge @ Expr::Lambda(_)], 1) => {
            let sum = lateral::function("array_fold", vec![list.clone(), start.clone(), merge.clone()]);
            let finished = over("array_transform", scalar("array", vec![sum]), lambda);
            scalar("get", vec![finished, node::make(Op::Literal, "0", vec![])])
        }
        _ => return Err(format!("{name} with a lambda of {} parameters is not supported yet", params.len())),
    }))
}

/// `entry -> entry.field`
fn field_of(field: &str) -> LambdaFunction {
    let entry = Expr::Identifier(Ident::with_quote('`', ENTRY));
    LambdaFunction {
        params: entry_parameter(),
        body: Box::new(node::make(Op::Field, field, vec![entry])),
        syntax: LambdaSyntax::Arrow,
    }
}

fn entry_parameter() -> OneOrManyWithParens<LambdaFunctionParameter> {
    OneOrManyWithParens::One(LambdaFunctionParameter { name: Ident::with_quote('`', ENTRY), data_type: None })
}

/// The lambda over structs: its parameters are fields.
fn of_entry(mut lambda: LambdaFunction, params: &[Ident], fields: &[&str]) -> LambdaFunction {
    let mut rename = Rename { params, fields };
    let _ = VisitMut::visit(&mut *lambda.body, &mut rename);
    lambda.params = entry_parameter();
    lambda
}

struct Rename<'a> {
    params: &'a [Ident],
    fields: &'a [&'a str],
}

impl VisitorMut for Rename<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Identifier(ident) = expr
            && let Some(place) = self.params.iter().position(|param| param.value.eq_ignore_ascii_case(&ident.value))
        {
            *expr = node::make(Op::Field, self.fields[place], vec![Expr::Identifier(Ident::with_quote('`', ENTRY))]);
        }
        ControlFlow::Continue(())
    }
}
