//! Names for arguments and for items: `mask(x, lowerChar => 'q')`, and `SELECT 1 AS a, a + 1` without a FROM.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Select, SelectItem, Value, VisitMut, VisitorMut,
};

use super::single_name;

/// Functions whose parameters have names.
const PARAMETERS: &[(&str, &[&str])] = &[
    ("mask", &["str", "upperChar", "lowerChar", "digitChar", "otherChar"]),
    ("explode", &["collection"]),
    ("explode_outer", &["collection"]),
    ("posexplode", &["collection"]),
    ("posexplode_outer", &["collection"]),
    ("inline", &["input"]),
    ("inline_outer", &["input"]),
];

/// Puts arguments with names in the places of their parameters.
pub(super) fn positional(expr: &mut Expr) -> Result<(), String> {
    match expr {
        Expr::Function(function) => reorder(function),
        _ => Ok(()),
    }
}

/// The same for a call.
pub(super) fn reorder(function: &mut Function) -> Result<(), String> {
    let FunctionArguments::List(list) = &mut function.args else { return Ok(()) };
    if !list.args.iter().any(|arg| matches!(arg, FunctionArg::Named { .. })) {
        return Ok(());
    }
    let args = list.args.clone();
    let name = single_name(function).unwrap_or_default();
    let Some((_, parameters)) = PARAMETERS.iter().find(|(known, _)| *known == name) else {
        return Err(format!("[NAMED_PARAMETERS_NOT_SUPPORTED] the parameters of {name}() have no names"));
    };
    let mut places: Vec<Option<FunctionArgExpr>> = vec![None; parameters.len()];
    for (i, arg) in args.into_iter().enumerate() {
        let (place, value) = match arg {
            FunctionArg::Unnamed(value) => (i, value),
            FunctionArg::Named { name: given, arg, .. } => {
                let place = parameters.iter().position(|known| known.eq_ignore_ascii_case(&given.value));
                let place = place.ok_or_else(|| {
                    format!(
                        "[UNRECOGNIZED_PARAMETER_NAME] {name}() has no parameter '{given}': {}",
                        parameters.join(", ")
                    )
                })?;
                (place, arg)
            }
            FunctionArg::ExprNamed { .. } => return Err(format!("{name}(): a parameter's name is a word")),
        };
        match places.get_mut(place) {
            Some(free @ None) => *free = Some(value),
            Some(_) => {
                return Err(format!("[DUPLICATE_ROUTINE_PARAMETER_ASSIGNMENT] {name}(): a parameter is given twice"));
            }
            None => return Err(format!("{name}() takes {} arguments", parameters.len())),
        }
    }
    let last = places.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
    let default = |place: usize| FunctionArgExpr::Expr(default_of(&name, place));
    let values = places.into_iter().take(last).enumerate().map(|(i, value)| value.unwrap_or_else(|| default(i)));
    let values = values.map(FunctionArg::Unnamed).collect();
    if let FunctionArguments::List(list) = &mut function.args {
        list.args = values;
    }
    Ok(())
}

/// What a parameter is where a later one is given.
fn default_of(name: &str, place: usize) -> Expr {
    let text = |text: &str| Expr::value(Value::SingleQuotedString(text.to_owned()));
    match (name, place) {
        ("mask", 1) => text("X"),
        ("mask", 2) => text("x"),
        ("mask", 3) => text("n"),
        _ => Expr::value(Value::Null),
    }
}

/// Without a FROM a name can only be that of an item before.
pub(super) fn aliases(select: &mut Select) {
    if !select.from.is_empty() {
        return;
    }
    let mut known: Vec<(String, Expr)> = vec![];
    for item in &mut select.projection {
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else { continue };
        if !known.is_empty() {
            let _ = VisitMut::visit(expr, &mut Earlier { known: &known });
        }
        if let SelectItem::ExprWithAlias { expr, alias } = item {
            known.push((alias.value.clone(), expr.clone()));
        }
    }
}

struct Earlier<'a> {
    known: &'a [(String, Expr)],
}

impl VisitorMut for Earlier<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Identifier(ident) = expr
            && let Some((_, item)) = self.known.iter().rfind(|(name, _)| name.eq_ignore_ascii_case(&ident.value))
        {
            *expr = Expr::Nested(Box::new(item.clone()));
        }
        ControlFlow::Continue(())
    }
}
