//! How a rewritten construct travels through DataFusion's planner.
//!
//! DataFusion lets an extension plan binary operators with the schema at hand, but not casts, `CASE`, literals or
//! calls. It does for dictionary literals, which Spark's syntax does not have. So the rewrite of the syntax tree
//! packs such a construct into a dictionary literal: its first entry names the operation and a parameter, the
//! other entries are the arguments.

use datafusion::logical_expr::Expr;
use datafusion::logical_expr::planner::RawDictionaryExpr;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{DictionaryField, Expr as Ast, Ident, Value};

/// An operation whose meaning depends on types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// A number; the parameter is its text.
    Literal,
    /// `CAST`; the parameter is the type.
    Cast,
    /// `TRY_CAST`; the parameter is the type.
    TryCast,
    /// A call; the parameter is the function's name in lower case.
    Call,
    /// `CASE` with conditions and values in turn; the parameter is `else` if a last value follows.
    Case,
    /// `IN` a list.
    In,
    /// `NOT IN` a list.
    NotIn,
    /// `LIKE`; the parameter is the escape character.
    Like,
    /// `NOT LIKE`
    NotLike,
    /// `ILIKE`
    ILike,
    /// `NOT ILIKE`
    NotILike,
    /// Unary minus.
    Negate,
    /// `a[0]`, `m['k']`
    Index,
    /// `s.a`; the parameter is the field.
    Field,
    /// `INTERVAL`; the parameter is the unit.
    Interval,
    /// `IS DISTINCT FROM`
    Distinct,
    /// `IS NOT DISTINCT FROM`
    NotDistinct,
}

const NAMES: &[(Op, &str)] = &[
    (Op::Literal, "literal"),
    (Op::Cast, "cast"),
    (Op::TryCast, "try_cast"),
    (Op::Call, "call"),
    (Op::Case, "case"),
    (Op::In, "in"),
    (Op::NotIn, "not in"),
    (Op::Like, "like"),
    (Op::NotLike, "not like"),
    (Op::ILike, "ilike"),
    (Op::NotILike, "not ilike"),
    (Op::Negate, "negate"),
    (Op::Index, "index"),
    (Op::Field, "field"),
    (Op::Interval, "interval"),
    (Op::Distinct, "distinct"),
    (Op::NotDistinct, "not distinct"),
];

/// No name in SQL begins like this.
const MARK: char = '\u{1}';

/// Packs a construct.
pub fn make(op: Op, param: &str, args: Vec<Ast>) -> Ast {
    let name = NAMES.iter().find(|(known, _)| *known == op).map_or("", |(_, name)| *name);
    let field = |key: String, value: Ast| DictionaryField { key: Ident::with_quote('`', key), value: Box::new(value) };
    let head = field(format!("{MARK}{name}"), Ast::value(Value::SingleQuotedString(param.to_owned())));
    let rest = args.into_iter().map(|arg| field(String::new(), arg));
    Ast::Dictionary(std::iter::once(head).chain(rest).collect())
}

/// The number that a literal node holds.
pub fn literal_text(ast: &Ast) -> Option<&str> {
    let Ast::Dictionary(fields) = ast else { return None };
    let head = fields.first()?;
    let is_literal = head.key.value.strip_prefix(MARK) == Some("literal");
    match &*head.value {
        Ast::Value(value) if is_literal => match &value.value {
            Value::SingleQuotedString(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

/// Operation and parameter of a planned node; `None` for a dictionary of another origin.
pub fn read(raw: &RawDictionaryExpr) -> Option<(Op, String)> {
    let name = text(raw.keys.first()?)?;
    let name = name.strip_prefix(MARK)?;
    let op = NAMES.iter().find(|(_, known)| *known == name)?.0;
    Some((op, text(raw.values.first()?)?.to_owned()))
}

fn text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(ScalarValue::Utf8(Some(text)), _) => Some(text),
        _ => None,
    }
}
