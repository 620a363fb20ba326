//! Functions in a FROM: `range(0, 10)`, `explode(x)`, `inline(x)`, `stack(...)`.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, GroupByExpr, Ident, ObjectName, Select, SelectItem, TableAlias, TableFactor,
    TableWithJoins, Value, Values, VisitMut, VisitorMut,
};

use super::{call, lateral, plain_arguments, single_name};

/// A call in a FROM becomes a query that selects the call.
pub(super) fn functions(select: &mut Select) {
    for from in &mut select.from {
        function(&mut from.relation);
        from.joins.iter_mut().for_each(|join| function(&mut join.relation));
    }
}

fn function(factor: &mut TableFactor) {
    let (name, args, alias) = match factor {
        TableFactor::Table { name, args: Some(args), alias, .. } => (name.clone(), args.args.clone(), alias.clone()),
        TableFactor::Function { lateral: false, name, args, alias, .. } => (name.clone(), args.clone(), alias.clone()),
        _ => return,
    };
    let Some(query) = query_of(name.clone(), args) else { return };
    let alias = alias.or_else(|| {
        let name = name.0.last()?.as_ident()?.clone();
        Some(TableAlias { explicit: false, name, columns: vec![], at: None })
    });
    *factor = TableFactor::Derived { lateral: false, subquery: Box::new(query), alias, sample: None };
}

fn query_of(name: ObjectName, args: Vec<FunctionArg>) -> Option<datafusion::sql::sqlparser::ast::Query> {
    let call = lateral::call_of(name, args);
    if lateral::is_generator(&call) {
        return Some(lateral::plain_select(vec![SelectItem::UnnamedExpr(Expr::Function(call))], vec![]));
    }
    if single_name(&call)? != "range" {
        return None;
    }
    let mut args = plain_arguments(&call)?;
    if args.len() == 1 {
        args.insert(0, Expr::value(Value::Number("0".to_owned(), false)));
    }
    let numbers = lateral::function("range_of", args);
    let item = SelectItem::ExprWithAlias { expr: lateral::function("explode", vec![numbers]), alias: Ident::new("id") };
    Some(lateral::plain_select(vec![item], vec![]))
}

/// A view over nothing stands beside one row.
pub(super) fn row_for_views(select: &mut Select) {
    if select.lateral_views.is_empty() || !select.from.is_empty() {
        return;
    }
    let one =
        SelectItem::ExprWithAlias { expr: Expr::value(Value::Boolean(true)), alias: Ident::with_quote('`', "__row") };
    let alias = TableAlias { explicit: true, name: Ident::with_quote('`', "__one"), columns: vec![], at: None };
    let subquery = Box::new(lateral::plain_select(vec![one], vec![]));
    let relation = TableFactor::Derived { lateral: false, subquery, alias: Some(alias), sample: None };
    select.from = vec![TableWithJoins { relation, joins: vec![] }];
}

/// `grouping_id()` is one bit per key, 1 where the key is summed up: the last key is the lowest bit.
pub(super) fn grouping_id(select: &mut Select) {
    let GroupByExpr::Expressions(keys, _) = &select.group_by else { return };
    let sets = keys.iter().flat_map(|key| match key {
        Expr::Cube(sets) | Expr::Rollup(sets) => sets.iter().flatten().cloned().collect(),
        Expr::GroupingSets(sets) => {
            let mut all: Vec<Expr> = vec![];
            for key in sets.iter().flatten().filter(|key| !matches!(key, Expr::Tuple(_))) {
                if !all.contains(key) {
                    all.push(key.clone());
                }
            }
            all
        }
        _ => vec![],
    });
    let keys: Vec<Expr> = sets.collect();
    if !keys.is_empty() {
        let _ = VisitMut::visit(&mut select.projection, &mut GroupingId { keys });
    }
}

struct GroupingId {
    keys: Vec<Expr>,
}

impl VisitorMut for GroupingId {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = &*expr
            && single_name(function).as_deref() == Some("grouping_id")
        {
            let given = plain_arguments(function).filter(|given| !given.is_empty());
            let number = |n: usize| Expr::value(Value::Number(format!("{}L", 1_u64 << n.min(62)), false));
            let keys = given.unwrap_or_else(|| self.keys.clone());
            let last = keys.len().saturating_sub(1);
            let bits = keys.into_iter().enumerate().map(|(i, key)| Expr::BinaryOp {
                left: Box::new(lateral::function("grouping", vec![key])),
                op: BinaryOperator::Multiply,
                right: Box::new(number(last - i)),
            });
            let sum =
                bits.reduce(|a, b| Expr::BinaryOp { left: Box::new(a), op: BinaryOperator::Plus, right: Box::new(b) });
            if let Some(sum) = sum {
                *expr = sum;
            }
        }
        ControlFlow::Continue(())
    }
}

/// Columns of `VALUES` with a literal interval: each cell learns which other ones there are, because all have one type.
pub(super) fn intervals(values: &mut Values) {
    let columns = values.rows.iter().map(|row| row.content.len()).min().unwrap_or_default();
    for at in 0..columns {
        if !values.rows.iter().any(|row| matches!(row.content[at], Expr::Interval(_))) {
            continue;
        }
        let mut column: Vec<Expr> = vec![];
        for cell in values.rows.iter().map(|row| &row.content[at]) {
            if !column.iter().any(|known| counts_alike(known, cell)) {
                column.push(cell.clone());
            }
        }
        for row in &mut values.rows {
            let cell = std::mem::replace(&mut row.content[at], Expr::value(Value::Null));
            row.content[at] = call("cell_of_intervals", std::iter::once(cell).chain(column.clone()).collect());
        }
    }
}

/// Whether two cells are literals that name the same units, or are no intervals.
fn counts_alike(one: &Expr, other: &Expr) -> bool {
    match (one, other) {
        (Expr::Interval(one), Expr::Interval(other)) => {
            one.leading_field.is_some()
                && one.leading_field == other.leading_field
                && one.last_field == other.last_field
        }
        (Expr::Value(_), Expr::Value(_)) => true,
        _ => false,
    }
}
