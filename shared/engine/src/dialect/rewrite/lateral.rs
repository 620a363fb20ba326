//! Generators: `LATERAL VIEW explode(x)` and `SELECT explode(x)`.

use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    ExceptSelectItem, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments,
    GroupByExpr, Ident, LateralView, ObjectName, Query, Select, SelectFlavor, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, TableAlias, TableFactor, TableWithJoins, Value, VisitMut, VisitorMut,
    WildcardAdditionalOptions, WindowFrame, WindowFrameBound,
};
use std::ops::ControlFlow;

use super::super::node::{self, Op};
use super::{Kind, Known, plain_arguments, single_name};

/// The names of the relations of a FROM.
pub(super) fn relations(select: &Select) -> Vec<String> {
    let factors = select
        .from
        .iter()
        .flat_map(|from| std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation)));
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

const GENERATORS: &[&str] =
    &["explode", "explode_outer", "posexplode", "posexplode_outer", "stack", "json_tuple", "inline", "inline_outer"];

/// Whether a call gives several rows.
pub(super) fn is_generator(function: &Function) -> bool {
    single_name(function).is_some_and(|name| GENERATORS.contains(&name.as_str()))
}

/// A call that gives several rows.
struct Generator {
    /// The array whose items are the rows.
    rows: Expr,
    /// Whether a row without items stays.
    outer: bool,
    /// The fields that an item has; none if it is one column itself.
    fields: Vec<String>,
}

/// Reads a generator that shall give `width` columns, if that is known.
fn generator(function: &Function, width: Option<usize>, known: &Known) -> Result<Option<Generator>, String> {
    let Some(name) = single_name(function).filter(|_| is_generator(function)) else { return Ok(None) };
    let mut function = function.clone();
    super::named::reorder(&mut function)?;
    let function = &function;
    let Some(mut args) = plain_arguments(function).filter(|args| !args.is_empty()) else {
        return Err(format!("{name} needs an argument"));
    };
    let (plain, outer) = match name.strip_suffix("_outer") {
        Some(plain) => (plain, true),
        None => (name.as_str(), false),
    };
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let (rows, fields) = match plain {
        "explode" if is_map(&args[0], known) || width == Some(2) => {
            (self::function("map_entries", args), names(&["key", "value"]))
        }
        "explode" => (args.remove(0), vec![]),
        "posexplode" => {
            let map = is_map(&args[0], known) || width == Some(3);
            let fields = if map { names(&["pos", "key", "value"]) } else { names(&["pos", "col"]) };
            (self::function("with_positions", args), fields)
        }
        "stack" => stack(args)?,
        "json_tuple" => {
            let fields = (0..args.len() - 1).map(|i| format!("c{i}")).collect();
            (self::function("array", vec![self::function("json_tuple", args)]), fields)
        }
        _ => {
            let fields = struct_fields(&args[0]).ok_or("inline needs array(struct(...)), written out")?;
            (args.remove(0), fields)
        }
    };
    Ok(Some(Generator { rows, outer, fields }))
}

fn is_map(expr: &Expr, known: &Known) -> bool {
    const MAPS: &[&str] = &["map", "map_concat", "map_filter", "map_from_arrays", "map_from_entries", "str_to_map"];
    match expr {
        Expr::Function(call) => single_name(call).is_some_and(|name| MAPS.contains(&name.as_str())),
        other => known.kind(other) == Kind::Map,
    }
}

/// `stack(2, a, b, c, d)`: two rows of two columns.
fn stack(mut args: Vec<Expr>) -> Result<(Expr, Vec<String>), String> {
    let count = match args.remove(0) {
        Expr::Value(value) => match value.value {
            Value::Number(text, _) => text.parse::<usize>().ok().filter(|count| *count > 0),
            _ => None,
        },
        _ => None,
    };
    let count = count.ok_or("stack needs a constant count of rows")?;
    let width = args.len().div_ceil(count).max(1);
    args.resize(width * count, Expr::value(Value::Null));
    let fields: Vec<String> = (0..width).map(|i| format!("col{i}")).collect();
    let row = |values: &[Expr]| {
        let pairs = fields.iter().zip(values).flat_map(|(name, value)| [super::text(name), value.clone()]);
        function("named_struct", pairs.collect())
    };
    let rows = args.chunks(width).map(row).collect();
    Ok((function("array", rows), fields))
}

/// The names of the fields in `array(struct(a AS p, b AS q), ...)`.
fn struct_fields(expr: &Expr) -> Option<Vec<String>> {
    let Expr::Function(call) = expr else { return None };
    match plain_arguments(call)?.first()? {
        Expr::Struct { values, .. } => Some(
            values
                .iter()
                .enumerate()
                .map(|(i, value)| match value {
                    Expr::Named { name, .. } => name.value.clone(),
                    Expr::Identifier(ident) => ident.value.clone(),
                    _ => format!("col{}", i + 1),
                })
                .collect(),
        ),
        _ => None,
    }
}

/// A call of plain arguments.
pub(super) fn function(name: &str, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    Expr::Function(call_of(ObjectName::from(vec![Ident::new(name)]), args))
}

pub(super) fn call_of(name: ObjectName, args: Vec<FunctionArg>) -> Function {
    Function {
        name,
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: vec![] }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    }
}

fn unnest(arg: Expr, outer: bool) -> Expr {
    function(if outer { "unnest_outer" } else { "unnest" }, vec![arg])
}

/// `SELECT explode(x)` gives a column `col`; a generator of several columns is taken for a `LATERAL VIEW`.
pub(super) fn generators(select: &mut Select, known: &Known) -> Result<(), String> {
    lateral_factors(select);
    let mut items = Vec::with_capacity(select.projection.len());
    for item in std::mem::take(&mut select.projection) {
        let (expr, aliases) = match &item {
            SelectItem::UnnamedExpr(expr) => (expr, vec![]),
            SelectItem::ExprWithAlias { expr, alias } => (expr, vec![alias.clone()]),
            SelectItem::ExprWithAliases { expr, aliases } => (expr, aliases.clone()),
            _ => {
                items.push(item);
                continue;
            }
        };
        let several = matches!(item, SelectItem::ExprWithAliases { .. });
        let width = several.then_some(aliases.len());
        let found = match expr {
            Expr::Function(call) => generator(call, width, known)?.map(|found| (call, found)),
            _ => None,
        };
        let Some((call, found)) = found else {
            if several {
                return Err(format!("only a generator such as explode(x) can have several names, {expr} is none"));
            }
            items.push(item);
            continue;
        };
        let count = found.fields.len().max(1);
        if several && aliases.len() != count {
            return Err(format!("{} gives {count} columns, {} are named", call.name, aliases.len()));
        }
        if found.fields.is_empty() {
            let alias = aliases.into_iter().next().unwrap_or_else(|| Ident::with_quote('`', "col"));
            items.push(SelectItem::ExprWithAlias { expr: unnest(found.rows, found.outer), alias });
            continue;
        }
        let inner = |field: &String| Ident::with_quote('`', format!("__generated_{field}"));
        select.lateral_views.push(LateralView {
            lateral_view: Expr::Function(call.clone()),
            lateral_view_name: ObjectName::from(vec![Ident::new("__generated")]),
            lateral_col_alias: found.fields.iter().map(inner).collect(),
            outer: false,
        });
        items.extend(found.fields.iter().enumerate().map(|(i, field)| SelectItem::ExprWithAlias {
            expr: Expr::Identifier(inner(field)),
            alias: match aliases.get(i) {
                Some(alias) if aliases.len() == count => alias.clone(),
                _ => Ident::with_quote('`', field.clone()),
            },
        }));
    }
    select.projection = items;
    Ok(())
}

/// `FROM t, LATERAL explode(x)` is a `LATERAL VIEW`.
fn lateral_factors(select: &mut Select) {
    let mut views = vec![];
    select.from.retain(|from| {
        let TableFactor::Function { lateral: true, name, args, alias, .. } = &from.relation else { return true };
        let call = call_of(name.clone(), args.clone());
        if !is_generator(&call) || !from.joins.is_empty() {
            return true;
        }
        let name = alias.as_ref().map_or_else(|| Ident::new("__lateral"), |alias| alias.name.clone());
        views.push(LateralView {
            lateral_view: Expr::Function(call),
            lateral_view_name: ObjectName::from(vec![name]),
            lateral_col_alias: alias
                .iter()
                .flat_map(|alias| &alias.columns)
                .map(|column| column.name.clone())
                .collect(),
            outer: false,
        });
        false
    });
    select.lateral_views.extend(views);
}

/// The name of an item while its fields are taken out.
const ITEM: &str = "__item";

/// Each `LATERAL VIEW` becomes a derived table around the FROM, under the name that the FROM has.
pub(super) fn views(select: &mut Select, known: &Known) -> Result<(), String> {
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
        let width = Some(view.lateral_col_alias.len()).filter(|width| *width > 0);
        let Some(found) = generator(function, width, known)? else {
            return Err(format!("LATERAL VIEW needs a generator such as explode(x), {} is none", function.name));
        };
        let fields = &found.fields;
        let count = fields.len().max(1);
        if width.is_some_and(|width| width != count) {
            return Err(format!("{} gives {count} columns, {} are named", function.name, view.lateral_col_alias.len()));
        }
        let name = |i: usize| {
            let given = view.lateral_col_alias.get(i).cloned();
            given.unwrap_or_else(|| Ident::with_quote('`', fields.get(i).map_or("col", String::as_str)))
        };
        let alone = fields.is_empty();
        let item = if alone { name(0) } else { Ident::with_quote('`', ITEM) };
        let column = SelectItem::ExprWithAlias { expr: unnest(found.rows, found.outer || view.outer), alias: item };
        wrap(select, &base, vec![all_of(&base, None), column]);
        if !alone {
            let item = || Expr::Identifier(Ident::with_quote('`', ITEM));
            let of = |(i, field): (usize, &String)| SelectItem::ExprWithAlias {
                expr: node::make(Op::Field, field, vec![item()]),
                alias: name(i),
            };
            let columns = std::iter::once(all_of(&base, Some(ITEM))).chain(fields.iter().enumerate().map(of));
            let columns = columns.collect();
            wrap(select, &base, columns);
        }
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

/// All columns of a relation, but one.
fn all_of(base: &str, but: Option<&str>) -> SelectItem {
    let except = |name| ExceptSelectItem { first_element: Ident::with_quote('`', name), additional_elements: vec![] };
    let options = WildcardAdditionalOptions { opt_except: but.map(except), ..WildcardAdditionalOptions::default() };
    let base = ObjectName::from(vec![Ident::with_quote('`', base)]);
    SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(base), options)
}

/// The FROM becomes a query of `columns` over what it was, under the same name.
fn wrap(select: &mut Select, base: &str, columns: Vec<SelectItem>) {
    let inner = plain_select(columns, std::mem::take(&mut select.from));
    let alias = TableAlias { explicit: true, name: Ident::with_quote('`', base), columns: vec![], at: None };
    let relation = TableFactor::Derived { lateral: false, subquery: Box::new(inner), alias: Some(alias), sample: None };
    select.from = vec![TableWithJoins { relation, joins: vec![] }];
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

pub(super) fn plain_select(projection: Vec<SelectItem>, from: Vec<TableWithJoins>) -> Query {
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
