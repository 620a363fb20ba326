//! Rewrites of the syntax tree that need to know names: letter case, and the column `window`.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, GroupByExpr,
    Ident, ObjectName, ObjectNamePart, Query, Select, SelectItem, SetExpr, TableFactor, Value, VisitMut, VisitorMut,
};

use crate::window::WINDOW;

/// Names that queries may refer to, found in any letter case as Spark does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    spellings: HashMap<String, Vec<String>>,
}

impl Names {
    pub(crate) fn add(&mut self, name: &str) {
        let spellings = self.spellings.entry(name.to_lowercase()).or_default();
        if !spellings.iter().any(|known| known == name) {
            spellings.push(name.to_owned());
        }
    }

    /// The declared spelling, where `name` differs from it by letter case only.
    fn mend(&self, ident: &mut Ident) {
        if let Some(spellings) = self.spellings.get(&ident.value.to_lowercase())
            && !spellings.contains(&ident.value)
        {
            ident.value.clone_from(&spellings[0]);
        }
    }
}

/// Gives every name the spelling that it was declared with.
pub(crate) fn mend_letter_case(query: &mut Query, names: &Names) {
    let mut aliases = Names::default();
    let _ = query.visit(&mut Aliases(&mut aliases));
    let mut all = names.clone();
    for (lower, spellings) in aliases.spellings {
        all.spellings.entry(lower).or_insert(spellings);
    }
    let _ = query.visit(&mut Mend(&all));
}

struct Aliases<'a>(&'a mut Names);

impl VisitorMut for Aliases<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        for table in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.0.add(&table.alias.name.value);
        }
        each_select(&mut query.body, &mut |select| {
            for item in &select.projection {
                if let SelectItem::ExprWithAlias { alias, .. } = item {
                    self.0.add(&alias.value);
                }
            }
        });
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<()> {
        let (TableFactor::Table { alias, .. } | TableFactor::Derived { alias, .. }) = table else {
            return ControlFlow::Continue(());
        };
        if let Some(alias) = alias {
            self.0.add(&alias.name.value);
        }
        ControlFlow::Continue(())
    }
}

struct Mend<'a>(&'a Names);

impl VisitorMut for Mend<'_> {
    type Break = ();

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<()> {
        for part in &mut relation.0 {
            if let ObjectNamePart::Identifier(ident) = part {
                self.0.mend(ident);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(ident) => self.0.mend(ident),
            Expr::CompoundIdentifier(parts) => parts.iter_mut().for_each(|ident| self.0.mend(ident)),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// In a SELECT that groups by `window(...)`, the name `window` means that call, as in Spark.
pub(crate) fn name_windows(query: &mut Query) {
    let _ = query.visit(&mut Windows);
}

struct Windows;

impl VisitorMut for Windows {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::CompoundFieldAccess { root, access_chain } = expr
            && let [AccessExpr::Dot(Expr::Identifier(field))] = access_chain.as_slice()
            && is_window_call(root)
        {
            *expr = field_of((**root).clone(), &field.value.to_lowercase());
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        each_select(&mut query.body, &mut in_select);
        ControlFlow::Continue(())
    }
}

fn each_select(body: &mut SetExpr, visit: &mut impl FnMut(&mut Select)) {
    match body {
        SetExpr::Select(select) => visit(select),
        SetExpr::SetOperation { left, right, .. } => {
            each_select(left, visit);
            each_select(right, visit);
        }
        _ => {}
    }
}

fn in_select(select: &mut Select) {
    let GroupByExpr::Expressions(keys, _) = &select.group_by else { return };
    let Some(call) = keys.iter().find(|key| is_window_call(key)).cloned() else { return };
    let mut replace = Replace { call };
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) = item {
            let name = match &*expr {
                Expr::Identifier(ident) if is_window(ident) => Some(ident.clone()),
                Expr::CompoundIdentifier(parts) if parts.len() == 2 && is_window(&parts[0]) => Some(parts[1].clone()),
                other => is_window_call(other).then(|| Ident::new(WINDOW)),
            };
            if let Some(alias) = name {
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
            }
        }
        let _ = item.visit(&mut replace);
    }
    for expr in select.having.iter_mut().chain(&mut select.qualify) {
        let _ = expr.visit(&mut replace);
    }
}

fn is_window(ident: &Ident) -> bool {
    ident.value.eq_ignore_ascii_case(WINDOW)
}

fn is_window_call(expr: &Expr) -> bool {
    let Expr::Function(function) = expr else { return false };
    matches!(function.name.0.as_slice(), [ObjectNamePart::Identifier(name)] if is_window(name))
}

struct Replace {
    call: Expr,
}

impl VisitorMut for Replace {
    type Break = ();

    // Behind the visit of the children: what it puts in is not visited in turn.
    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(ident) if is_window(ident) => *expr = self.call.clone(),
            Expr::CompoundIdentifier(parts) if parts.len() == 2 && is_window(&parts[0]) => {
                *expr = field_of(self.call.clone(), &parts[1].value.to_lowercase());
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

fn field_of(call: Expr, field: &str) -> Expr {
    let field = Expr::Value(Value::SingleQuotedString(field.to_owned()).into());
    let args = [call, field].into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    Expr::Function(Function {
        name: ObjectName(vec![ObjectNamePart::Identifier(Ident::new("get_field"))]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: vec![] }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}
