//! Rewrites of the syntax tree: from what Spark's SQL says to what DataFusion plans, and nodes for the rest.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::OnceLock;

use datafusion::arrow::datatypes::DataType;
use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, CastKind, CeilFloorKind, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, GroupByExpr, Ident, NullTreatment, ObjectName, ObjectNamePart, OrderByKind, Query, Select,
    SelectItem, SetExpr, Subscript, TableFactor, TrimWhereField, UnaryOperator, Value, Visit, VisitMut, Visitor,
    VisitorMut, WindowType,
};

use super::functions;
use super::name::spark_name;
use super::node::{self, Op};
use super::types::is_integer;

mod date;
mod lambda;
mod lateral;
mod named;
mod refusal;
mod table;
mod window;

pub use refusal::Refusal;

/// Rewrites a query in place. `names` are the columns and tables that are known, in their own letter case.
pub fn rewrite(query: &mut Query, names: &[(&str, Kind)]) -> Result<(), Refusal> {
    let mut known = Known::default();
    for (name, kind) in names {
        known.add(name);
        known.kinds.insert(name.to_lowercase(), *kind);
    }
    let _ = Visit::visit(&*query, &mut Aliases { known: &mut known });
    let mut rewrite = Rewrite { known };
    match VisitMut::visit(query, &mut rewrite) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(refusal) => Err(refusal),
    }
}

/// What must be known of a column before it has a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `date`
    Date,
    /// Whole numbers.
    Integer,
    /// `map<k,v>`
    Map,
    /// Anything else, tables, and names that columns of several kinds have.
    Other,
}

impl Kind {
    /// The kind of a type.
    pub fn of(ty: &DataType) -> Self {
        match ty {
            DataType::Date32 => Self::Date,
            DataType::Map(_, _) => Self::Map,
            _ if is_integer(ty) => Self::Integer,
            _ => Self::Other,
        }
    }
}

/// Names by their lower-case form.
#[derive(Default)]
struct Known {
    exact: HashSet<String>,
    by_lower: HashMap<String, String>,
    kinds: HashMap<String, Kind>,
}

impl Known {
    fn add(&mut self, name: &str) {
        self.exact.insert(name.to_owned());
        self.by_lower.entry(name.to_lowercase()).or_insert_with(|| name.to_owned());
    }

    /// The kind of a column.
    fn kind(&self, expr: &Expr) -> Kind {
        let name = match expr {
            Expr::Identifier(ident) => &ident.value,
            Expr::CompoundIdentifier(parts) => match parts.last() {
                Some(last) => &last.value,
                None => return Kind::Other,
            },
            _ => return Kind::Other,
        };
        self.kinds.get(&name.to_lowercase()).copied().unwrap_or(Kind::Other)
    }

    fn settle(&self, ident: &mut Ident) {
        if self.exact.contains(&ident.value) {
            return;
        }
        if let Some(name) = self.by_lower.get(&ident.value.to_lowercase()) {
            ident.value.clone_from(name);
        }
    }
}

/// Collects the names that the query itself gives.
struct Aliases<'a> {
    known: &'a mut Known,
}

impl Visitor for Aliases<'_> {
    type Break = ();

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        for item in &select.projection {
            match item {
                SelectItem::ExprWithAlias { alias, .. } => self.known.add(&alias.value),
                SelectItem::ExprWithAliases { aliases, .. } => {
                    aliases.iter().for_each(|alias| self.known.add(&alias.value));
                }
                _ => {}
            }
        }
        for view in &select.lateral_views {
            view.lateral_col_alias.iter().for_each(|alias| self.known.add(&alias.value));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } = factor
        {
            self.known.add(&alias.name.value);
            alias.columns.iter().for_each(|column| self.known.add(&column.name.value));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.known.add(&cte.alias.name.value);
        }
        ControlFlow::Continue(())
    }
}

struct Rewrite {
    known: Known,
}

impl VisitorMut for Rewrite {
    type Break = Refusal;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Refusal> {
        order_by_ordinals(query);
        if let SetExpr::Values(values) = &mut *query.body {
            table::intervals(values);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Refusal> {
        match self.select(select) {
            Ok(()) => ControlFlow::Continue(()),
            Err(message) => ControlFlow::Break(message.into()),
        }
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Refusal> {
        match named::positional(expr) {
            Ok(()) => ControlFlow::Continue(()),
            Err(message) => ControlFlow::Break(message.into()),
        }
    }

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<Refusal> {
        for part in &mut relation.0 {
            if let ObjectNamePart::Identifier(ident) = part {
                self.known.settle(ident);
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Refusal> {
        let taken = std::mem::replace(expr, Expr::value(Value::Null));
        match self.expression(taken) {
            Ok(rewritten) => {
                *expr = rewritten;
                ControlFlow::Continue(())
            }
            Err(refusal) => ControlFlow::Break(refusal),
        }
    }
}

/// `ORDER BY 2` names the second item of the SELECT.
fn order_by_ordinals(query: &mut Query) {
    let SetExpr::Select(select) = &*query.body else { return };
    let Some(order_by) = &mut query.order_by else { return };
    let OrderByKind::Expressions(sorts) = &mut order_by.kind else { return };
    for sort in sorts {
        if let Some(item) = ordinal(&sort.expr, &select.projection) {
            sort.expr = item;
        }
    }
}

/// The select item that a bare number names.
fn ordinal(expr: &Expr, projection: &[SelectItem]) -> Option<Expr> {
    let Expr::Value(value) = expr else { return None };
    let Value::Number(text, false) = &value.value else { return None };
    let position: usize = text.parse().ok()?;
    match projection.get(position.checked_sub(1)?)? {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr.clone()),
        _ => None,
    }
}

impl Rewrite {
    fn select(&self, select: &mut Select) -> Result<(), String> {
        if let GroupByExpr::Expressions(keys, _) = &mut select.group_by {
            for key in keys.iter_mut() {
                if let Some(item) = ordinal(key, &select.projection) {
                    *key = item;
                }
            }
        }
        named::aliases(select);
        table::functions(select);
        let relations = lateral::relations(select);
        for item in &mut select.projection {
            let SelectItem::UnnamedExpr(expr) = item else { continue };
            let Some(alias) = self.alias_of(expr, &relations) else { continue };
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: Ident::with_quote('`', alias) };
        }
        window::window_column(select);
        table::grouping_id(select);
        lateral::generators(select, &self.known)?;
        table::row_for_views(select);
        lateral::views(select, &self.known)
    }

    /// The name that an unaliased item needs; `None` where DataFusion gives the same.
    fn alias_of(&self, expr: &Expr, relations: &[String]) -> Option<String> {
        match expr {
            Expr::Identifier(ident) => {
                let mut known = ident.clone();
                self.known.settle(&mut known);
                (known.value != ident.value).then(|| ident.value.clone())
            }
            Expr::CompoundIdentifier(parts)
                if parts.len() == 2 && relations.iter().any(|name| name.eq_ignore_ascii_case(&parts[0].value)) =>
            {
                let mut known = parts[1].clone();
                self.known.settle(&mut known);
                (known.value != parts[1].value).then(|| parts[1].value.clone())
            }
            Expr::Function(call) if lateral::is_generator(call) => None,
            other => {
                let mut other = other.clone();
                for relation in relations {
                    lateral::drop_qualifier(&mut other, relation);
                }
                let _ = VisitMut::visit(&mut other, &mut date::Sums { known: &self.known });
                Some(spark_name(&other))
            }
        }
    }

    fn expression(&self, expr: Expr) -> Result<Expr, Refusal> {
        Ok(match expr {
            Expr::Identifier(mut ident) => {
                self.known.settle(&mut ident);
                Expr::Identifier(ident)
            }
            Expr::CompoundIdentifier(mut parts) => {
                parts.iter_mut().for_each(|part| self.known.settle(part));
                Expr::CompoundIdentifier(parts)
            }
            Expr::Nested(inner) => *inner,
            Expr::Value(value) => match value.value {
                Value::Number(text, long) => node::make(Op::Literal, &(text + if long { "L" } else { "" }), vec![]),
                Value::DoubleQuotedString(text) => Expr::value(Value::SingleQuotedString(text)),
                Value::SingleQuotedRawStringLiteral(text) | Value::DoubleQuotedRawStringLiteral(text) => {
                    Expr::value(Value::SingleQuotedString(text))
                }
                _ => Expr::Value(value),
            },
            Expr::UnaryOp { op, expr } => unary(op, *expr),
            Expr::BinaryOp { left, op: BinaryOperator::Custom(op), right } => shift(&op, *left, *right),
            Expr::Cast { kind, expr, data_type, .. } => {
                let op = if matches!(kind, CastKind::TryCast | CastKind::SafeCast) { Op::TryCast } else { Op::Cast };
                node::make(op, &data_type.to_string(), vec![*expr])
            }
            Expr::TypedString(typed) => {
                let text = typed.value.value.into_string().unwrap_or_default();
                let literal = Expr::value(Value::SingleQuotedString(text));
                if typed.data_type.to_string().eq_ignore_ascii_case("time") {
                    return Ok(call("time_literal", vec![literal]));
                }
                node::make(Op::Cast, &typed.data_type.to_string(), vec![literal])
            }
            Expr::Case { .. } => case(expr),
            Expr::InList { expr, list, negated } => {
                let args = std::iter::once(*expr).chain(list).collect();
                node::make(if negated { Op::NotIn } else { Op::In }, "", args)
            }
            Expr::Between { expr, negated, low, high } => between(*expr, negated, *low, *high),
            Expr::Like { .. } | Expr::ILike { .. } | Expr::RLike { .. } => like(expr)?,
            Expr::IsDistinctFrom(a, b) => node::make(Op::Distinct, "", vec![*a, *b]),
            Expr::IsNotDistinctFrom(a, b) => node::make(Op::NotDistinct, "", vec![*a, *b]),
            Expr::CompoundFieldAccess { root, access_chain } => access(*root, access_chain)?,
            Expr::Interval(interval) => {
                let unit = interval.leading_field.as_ref().map(ToString::to_string).unwrap_or_default();
                let unit = match &interval.last_field {
                    Some(last) => format!("{unit} TO {last}"),
                    None => unit,
                };
                node::make(Op::Interval, &unit, vec![*interval.value])
            }
            Expr::Tuple(items) => structure(items),
            Expr::Struct { values, .. } => structure(values),
            Expr::IsUnknown(inner) => Expr::IsNull(inner),
            Expr::IsNotUnknown(inner) => Expr::IsNotNull(inner),
            Expr::Function(function) => {
                let name = function.name.clone();
                self.function(function).map_err(|refusal| refusal.at(&name))?
            }
            other => special_form(other),
        })
    }

    fn function(&self, mut function: Function) -> Result<Expr, Refusal> {
        if let Some(WindowType::WindowSpec(spec)) = &mut function.over
            && let Some(frame) = &mut spec.window_frame
        {
            lateral::plain_bounds(frame);
        }
        let Some(name) = single_name(&function) else { return Ok(Expr::Function(function)) };
        if let Some(refusal) = refusal::of(&name) {
            return Err(refusal);
        }
        if let Some(call) = lambda::call(&name, &function)? {
            return Ok(call);
        }
        if name == "window" {
            window::time_as_timestamp(&mut function);
            return Ok(Expr::Function(function));
        }
        if let Some(aggregate) = functions::aggregate::rewrite(&name, &mut function) {
            return Ok(aggregate);
        }
        let plain = function.over.is_none()
            && function.filter.is_none()
            && function.within_group.is_empty()
            && function.null_treatment.is_none();
        if plain
            && is_scalar(&name)
            && let Some(mut args) = plain_arguments(&function)
        {
            unit_argument(&name, &mut args);
            return Ok(node::make(Op::Call, &name, args));
        }
        Ok(Expr::Function(function))
    }
}

/// The lower-case name of a function without a qualifier.
pub fn single_name(function: &Function) -> Option<String> {
    match function.name.0.as_slice() {
        [ObjectNamePart::Identifier(ident)] => Some(ident.value.to_lowercase()),
        _ => None,
    }
}

/// The arguments of a call that has nothing but plain ones.
pub fn plain_arguments(function: &Function) -> Option<Vec<Expr>> {
    match &function.args {
        FunctionArguments::None => Some(vec![]),
        FunctionArguments::List(list) if list.duplicate_treatment.is_none() && list.clauses.is_empty() => list
            .args
            .iter()
            .map(|arg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) if !matches!(expr, Expr::Lambda(_)) => {
                    Some(expr.clone())
                }
                _ => None,
            })
            .collect(),
        _ => None,
    }
}

/// Whether calls of this name are planned as scalars by the dialect.
fn is_scalar(name: &str) -> bool {
    static SCALARS: OnceLock<HashSet<String>> = OnceLock::new();
    let scalars = SCALARS.get_or_init(|| {
        let all = datafusion::functions::all_default_functions()
            .into_iter()
            .chain(datafusion::functions_nested::all_default_nested_functions())
            .chain(datafusion_spark::all_default_scalar_functions());
        let mut names: HashSet<String> = functions::names().map(str::to_owned).collect();
        for function in all {
            names.extend(function.aliases().iter().cloned());
            names.insert(function.name().to_owned());
        }
        names
    });
    scalars.contains(name)
}

/// A call that is planned with types.
pub fn call(name: &str, args: Vec<Expr>) -> Expr {
    node::make(Op::Call, name, args)
}

fn text(value: &str) -> Expr {
    Expr::value(Value::SingleQuotedString(value.to_owned()))
}

/// `timestampdiff(MINUTE, a, b)`: the unit is a word.
fn unit_argument(name: &str, args: &mut [Expr]) {
    let units = ["timestampdiff", "timestampadd", "datediff", "date_diff", "dateadd", "date_add"];
    if units.contains(&name)
        && let [Expr::Identifier(unit), _, _] = args
    {
        let word = unit.value.clone();
        args[0] = text(&word);
    }
}

/// `struct(a, x AS b)`: fields have the names of columns, of `AS`, or `col1` and so on.
fn structure(values: Vec<Expr>) -> Expr {
    let mut args = Vec::with_capacity(values.len() * 2);
    for (i, value) in values.into_iter().enumerate() {
        let (name, value) = match value {
            Expr::Named { expr, name } => (name.value, *expr),
            Expr::Identifier(ident) => (ident.value.clone(), Expr::Identifier(ident)),
            Expr::CompoundIdentifier(parts) => {
                (parts.last().map(|part| part.value.clone()).unwrap_or_default(), Expr::CompoundIdentifier(parts))
            }
            other => (format!("col{}", i + 1), other),
        };
        args.push(text(&name));
        args.push(value);
    }
    call("named_struct", args)
}

fn unary(op: UnaryOperator, inner: Expr) -> Expr {
    match op {
        UnaryOperator::Minus => match node::literal_text(&inner) {
            Some(number) if !number.starts_with('-') => node::make(Op::Literal, &format!("-{number}"), vec![]),
            _ => node::make(Op::Negate, "", vec![inner]),
        },
        UnaryOperator::Plus => inner,
        UnaryOperator::BangNot => Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(inner) },
        UnaryOperator::BitwiseNot => call("bitwise_not", vec![inner]),
        other => Expr::UnaryOp { op: other, expr: Box::new(inner) },
    }
}

fn shift(op: &str, left: Expr, right: Expr) -> Expr {
    let name = match op {
        "<<" => "shiftleft",
        ">>" => "shiftright",
        _ => "shiftrightunsigned",
    };
    call(name, vec![left, right])
}

fn case(expr: Expr) -> Expr {
    let Expr::Case { operand, conditions, else_result, .. } = expr else { return expr };
    let mut args = Vec::with_capacity(conditions.len() * 2 + 1);
    for when in conditions {
        args.push(match &operand {
            Some(operand) => {
                Expr::BinaryOp { left: operand.clone(), op: BinaryOperator::Eq, right: Box::new(when.condition) }
            }
            None => when.condition,
        });
        args.push(when.result);
    }
    let param = if else_result.is_some() { "else" } else { "" };
    args.extend(else_result.map(|expr| *expr));
    node::make(Op::Case, param, args)
}

fn between(expr: Expr, negated: bool, low: Expr, high: Expr) -> Expr {
    let compare = |op, bound| Expr::BinaryOp { left: Box::new(expr.clone()), op, right: Box::new(bound) };
    let (low, high) = (compare(BinaryOperator::GtEq, low), compare(BinaryOperator::LtEq, high));
    let both = Expr::BinaryOp { left: Box::new(low), op: BinaryOperator::And, right: Box::new(high) };
    negate_if(negated, both)
}

fn negate_if(negated: bool, expr: Expr) -> Expr {
    if negated { Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(expr) } } else { expr }
}

fn like(expr: Expr) -> Result<Expr, String> {
    let (negated, any, ignore_case, expr, pattern, escape) = match expr {
        Expr::Like { negated, any, expr, pattern, escape_char } => (negated, any, false, expr, pattern, escape_char),
        Expr::ILike { negated, any, expr, pattern, escape_char } => (negated, any, true, expr, pattern, escape_char),
        Expr::RLike { negated, expr, pattern, .. } => {
            return Ok(negate_if(negated, call("rlike", vec![*expr, *pattern])));
        }
        other => return Ok(other),
    };
    let escape = escape.and_then(|value| value.value.into_string()).unwrap_or_default();
    let op = match (ignore_case, negated) {
        (false, false) => Op::Like,
        (false, true) => Op::NotLike,
        (true, false) => Op::ILike,
        (true, true) => Op::NotILike,
    };
    // LIKE ANY (p, q) holds if one of them does, LIKE ALL if each does. Lists were packed as structs.
    let (patterns, join) = match *pattern {
        Expr::Dictionary(fields) if any && fields.len() > 1 => {
            (fields.into_iter().skip(2).step_by(2).map(|field| *field.value).collect(), BinaryOperator::Or)
        }
        one => match all_of(&one) {
            Some(patterns) => (patterns, BinaryOperator::And),
            None => (vec![one], BinaryOperator::Or),
        },
    };
    let one = |pattern| node::make(op, &escape, vec![(*expr).clone(), pattern]);
    let all = patterns.into_iter().map(one).reduce(|a, b| Expr::BinaryOp {
        left: Box::new(a),
        op: join.clone(),
        right: Box::new(b),
    });
    all.ok_or_else(|| "LIKE needs a pattern".to_owned())
}

/// The patterns of `ALL (p, q)`.
fn all_of(pattern: &Expr) -> Option<Vec<Expr>> {
    let Expr::Function(function) = pattern else { return None };
    let FunctionArguments::List(list) = &function.args else { return None };
    let pattern = |arg: &FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    };
    (single_name(function)? == "all").then(|| list.args.iter().map(pattern).collect())?
}

fn access(root: Expr, chain: Vec<AccessExpr>) -> Result<Expr, String> {
    let mut expr = root;
    for step in chain {
        expr = match step {
            AccessExpr::Subscript(Subscript::Index { index }) => node::make(Op::Index, "", vec![expr, index]),
            AccessExpr::Dot(Expr::Identifier(field)) => node::make(Op::Field, &field.value, vec![expr]),
            AccessExpr::Dot(other) => return Err(format!("'.{other}' is no field")),
            AccessExpr::Subscript(other) => return Err(format!("'[{other}]' is no index")),
        };
    }
    Ok(expr)
}

/// Functions with a syntax of their own.
fn special_form(expr: Expr) -> Expr {
    match expr {
        Expr::Extract { field, expr, .. } => call("date_part", vec![text(&field.to_string()), *expr]),
        Expr::Ceil { expr, field } => rounding("ceil", *expr, field),
        Expr::Floor { expr, field } => rounding("floor", *expr, field),
        Expr::Position { expr, r#in } => call("locate", vec![*expr, *r#in]),
        Expr::Substring { expr, substring_from, substring_for, .. } => {
            let rest = substring_from.into_iter().chain(substring_for).map(|expr| *expr);
            call("substring", std::iter::once(*expr).chain(rest).collect())
        }
        Expr::Trim { trim_where, trim_what, expr, trim_characters } => {
            let name = match trim_where {
                Some(TrimWhereField::Leading) => "ltrim_of",
                Some(TrimWhereField::Trailing) => "rtrim_of",
                _ => "btrim",
            };
            let what = trim_what.map(|expr| *expr).or_else(|| trim_characters?.into_iter().next());
            call(name, std::iter::once(*expr).chain(what).collect())
        }
        Expr::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
            let args = [*expr, *overlay_what, *overlay_from].into_iter();
            call("overlay", args.chain(overlay_for.map(|expr| *expr)).collect())
        }
        other => other,
    }
}

fn rounding(name: &str, expr: Expr, kind: CeilFloorKind) -> Expr {
    match kind {
        CeilFloorKind::DateTimeField(_) => call(name, vec![expr]),
        CeilFloorKind::Scale(scale) => {
            let scale = node::make(Op::Literal, &scale.value.to_string(), vec![]);
            call(name, vec![expr, scale])
        }
    }
}

/// `IGNORE NULLS` for aggregates.
pub const IGNORE_NULLS: NullTreatment = NullTreatment::IgnoreNulls;
