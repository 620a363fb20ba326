//! `window` as a column of a query that groups by a window.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident, Select,
    SelectItem, Value, VisitMut, VisitorMut,
};

use super::{call, single_name};

/// The time of a window may be a text: `window('2026-01-01', '5 minutes')`.
pub(super) fn time_as_timestamp(function: &mut Function) {
    let FunctionArguments::List(list) = &mut function.args else { return };
    if let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(time))) = list.args.first_mut() {
        let given = std::mem::replace(time, Expr::value(Value::Null));
        *time = call("time_of_window", vec![given]);
    }
}

/// `window` and `window.start` mean the window that the query groups by.
pub(super) fn window_column(select: &mut Select) {
    let GroupByExpr::Expressions(keys, _) = &select.group_by else { return };
    let Some((name, window)) = keys.iter().find_map(|key| match key {
        Expr::Function(function) => {
            let name = single_name(function)?;
            ["window", "session_window"].contains(&name.as_str()).then(|| (name, key.clone()))
        }
        _ => None,
    }) else {
        return;
    };
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr @ Expr::Identifier(_)) = item
            && let Expr::Identifier(ident) = &*expr
            && ident.value.eq_ignore_ascii_case(&name)
        {
            let alias = Ident::with_quote('`', ident.value.clone());
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
        }
    }
    let mut columns = WindowColumns { name, window };
    let _ = VisitMut::visit(&mut select.projection, &mut columns);
    let _ = VisitMut::visit(&mut select.having, &mut columns);
}

struct WindowColumns {
    name: String,
    window: Expr,
}

impl VisitorMut for WindowColumns {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(ident) if ident.value.eq_ignore_ascii_case(&self.name) => *expr = self.window.clone(),
            Expr::CompoundIdentifier(parts) if parts.len() == 2 && parts[0].value.eq_ignore_ascii_case(&self.name) => {
                let field = AccessExpr::Dot(Expr::Identifier(Ident::new(parts[1].value.to_lowercase())));
                let root = Box::new(self.window.clone());
                *expr = Expr::CompoundFieldAccess { root, access_chain: vec![field] };
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
