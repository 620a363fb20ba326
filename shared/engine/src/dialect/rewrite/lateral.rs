//! Generators: `LATERAL VIEW explode(x)` and `SELECT explode(x)`.

use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, GroupByExpr, Ident, ObjectName,
    Query, Select, SelectFlavor, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, TableAlias, TableFactor,
    TableWithJoins, Value, VisitMut, VisitorMut, WildcardAdditionalOptions, WindowFrame, WindowFrameBound,
};
use std::ops::ControlFlow;

use super::super::node;
use super::{plain_arguments, single_name};

/// The names of the relations of a FROM.
pub(super) fn relations(select: &Select) -> Vec<String> {
    let factors = select.from.iter().flat_map(|from| {
        std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation))
    });
    factors.filter_map(relation_name).collect()
}

fn relation_name(factor: &TableFactor) -> Option<String> {
    match factor {
        TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
            Some(alias.name.value.clone())
        }
        TableFactor::Table { name, .. } => {
            name.0.last().and_then(|part| part.as_ident()).map(|ident| ident.value.clone())
        }
        _ => None,
    }
}

/// Whether a call is `explode` or `explode_outer`: its argument, and whether rows without items stay.
pub(super) fn generator(function: &Function) -> Option<(Expr, bool)> {
    let outer = match single_name(function)?.as_str() {
        "explode" => false,
        "explode_outer" => true,
        _ => return None,
    };
    let mut args = plain_arguments(function)?;
    (args.len() == 1).then(|| (args.remove(0), outer))
}

fn unnest(arg: Expr, outer: bool) -> Expr {
    let name = if outer { "unnest_outer" } else { "unnest" };
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))],
            clauses: vec![],
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}

/// `SELECT explode(x)` gives a column `col`.
pub(super) fn generators(select: &mut Select) {
    for item in &mut select.projection {
        let (expr, alias) = match item {
            SelectItem::UnnamedExpr(expr) => (expr, Ident::with_quote('`', "col")),
            SelectItem::ExprWithAlias { expr, alias } => (expr, alias.clone()),
            _ => continue,
        };
        if let Expr::Function(function) = expr
            && let Some((arg, outer)) = generator(function)
        {
            *item = SelectItem::ExprWithAlias { expr: unnest(arg, outer), alias };
        }
    }
}

/// Each `LATERAL VIEW` becomes a derived table around the FROM, under the name that the FROM has.
pub(super) fn views(select: &mut Select) -> Result<(), String> {
    for view in std::mem::take(&mut select.lateral_views) {
        let [from] = select.from.as_slice() else {
            return Err("LATERAL VIEW needs a FROM with one table: put a join into a view of its own".into());
        };
        let Some(base) = relation_name(&from.relation).filter(|_| from.joins.is_empty()) else {
            return Err("LATERAL VIEW over a join is not supported: put the join into a view of its own".into());
        };
        let Expr::Function(function) = &view.lateral_view else {
            return Err("LATERAL VIEW needs a generator such as explode(x)".into());
        };
        let Some((arg, outer)) = generator(function) else {
            return Err(format!("LATERAL VIEW supports explode and explode_outer, this is {}", function.name));
        };
        let column = view.lateral_col_alias.first().cloned().unwrap_or_else(|| Ident::with_quote('`', "col"));
        let all = SelectItem::QualifiedWildcard(
            SelectItemQualifiedWildcardKind::ObjectName(ObjectName::from(vec![Ident::with_quote('`', &*base)])),
            WildcardAdditionalOptions::default(),
        );
        let item = SelectItem::ExprWithAlias { expr: unnest(arg, outer || view.outer), alias: column };
        let inner = plain_select(vec![all, item], std::mem::take(&mut select.from));
        let alias = TableAlias {
            explicit: true,
            name: Ident::with_quote('`', &*base),
            columns: vec![],
            at: None,
        };
        let relation =
            TableFactor::Derived { lateral: false, subquery: Box::new(inner), alias: Some(alias), sample: None };
        select.from = vec![TableWithJoins { relation, joins: vec![] }];
        let name = view.lateral_view_name.0.last().and_then(|part| part.as_ident()).map(|ident| ident.value.clone());
        if let Some(name) = name {
            let mut drop = DropQualifier { name };
            let _ = select.projection.visit(&mut drop);
            let _ = select.selection.visit(&mut drop);
            let _ = select.group_by.visit(&mut drop);
            let _ = select.having.visit(&mut drop);
        }
    }
    Ok(())
}

/// Takes the name of a relation off the columns of an expression.
pub(super) fn drop_qualifier(expr: &mut Expr, name: &str) {
    let _ = expr.visit(&mut DropQualifier { name: name.to_owned() });
}

/// Columns of a lateral view stand in the derived table under their own names.
struct DropQualifier {
    name: String,
}

impl VisitorMut for DropQualifier {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::CompoundIdentifier(parts) = expr
            && parts.len() >= 2
            && parts[0].value.eq_ignore_ascii_case(&self.name)
        {
            parts.remove(0);
            if parts.len() == 1 {
                *expr = Expr::Identifier(parts.remove(0));
            }
        }
        ControlFlow::Continue(())
    }
}

fn plain_select(projection: Vec<SelectItem>, from: Vec<TableWithJoins>) -> Query {
    let select = Select {
        select_token: AttachedToken::empty(),
        optimizer_hints: vec![],
        distinct: None,
        select_modifiers: None,
        top: None,
        top_before_distinct: false,
        projection,
        exclude: None,
        into: None,
        from,
        lateral_views: vec![],
        prewhere: None,
        selection: None,
        connect_by: vec![],
        group_by: GroupByExpr::Expressions(vec![], vec![]),
        cluster_by: vec![],
        distribute_by: vec![],
        sort_by: vec![],
        having: None,
        named_window: vec![],
        qualify: None,
        window_before_qualify: false,
        value_table_mode: None,
        flavor: SelectFlavor::Standard,
    };
    Query {
        with: None,
        body: Box::new(SetExpr::Select(Box::new(select))),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: vec![],
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: vec![],
    }
}

/// Frame bounds are plain numbers to DataFusion.
pub(super) fn plain_bounds(frame: &mut WindowFrame) {
    let bounds = std::iter::once(&mut frame.start_bound).chain(frame.end_bound.as_mut());
    for bound in bounds {
        if let WindowFrameBound::Preceding(Some(expr)) | WindowFrameBound::Following(Some(expr)) = bound
            && let Some(number) = node::literal_text(expr)
        {
            **expr = Expr::value(Value::Number(number.to_owned(), false));
        }
    }
}
