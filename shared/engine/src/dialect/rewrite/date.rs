//! Dates plus and minus whole numbers: Spark names them after functions.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, UnaryOperator, Value, VisitorMut};

use super::{Kind, Known, lateral, single_name};

/// Functions that give a date.
const DATES: &[&str] = &[
    "add_months",
    "current_date",
    "curdate",
    "date",
    "date_add",
    "date_from_unix_date",
    "date_sub",
    "last_day",
    "make_date",
    "next_day",
    "to_date",
    "trunc",
];

/// Writes `dt + 1` as `date_add(dt, 1)`.
pub(super) struct Sums<'a> {
    pub(super) known: &'a Known,
}

impl Sums<'_> {
    fn is_date(&self, expr: &Expr) -> bool {
        match expr {
            Expr::Nested(inner) => self.is_date(inner),
            Expr::TypedString(typed) => typed.data_type.to_string().eq_ignore_ascii_case("date"),
            Expr::Cast { data_type, .. } => data_type.to_string().eq_ignore_ascii_case("date"),
            Expr::Function(call) => single_name(call).is_some_and(|name| DATES.contains(&name.as_str())),
            other => self.known.kind(other) == Kind::Date,
        }
    }

    fn is_integer(&self, expr: &Expr) -> bool {
        match expr {
            Expr::Nested(inner) => self.is_integer(inner),
            Expr::Value(value) => {
                matches!(&value.value, Value::Number(text, _) if text.bytes().all(|byte| byte.is_ascii_digit()))
            }
            Expr::UnaryOp { op: UnaryOperator::Minus, expr } => self.is_integer(expr),
            Expr::BinaryOp { left, op: BinaryOperator::Modulo, right } => {
                self.is_integer(left) && self.is_integer(right)
            }
            other => self.known.kind(other) == Kind::Integer,
        }
    }
}

impl VisitorMut for Sums<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let Expr::BinaryOp { left, op, right } = expr else { return ControlFlow::Continue(()) };
        let (name, date, days) = match op {
            BinaryOperator::Plus if self.is_date(left) && self.is_integer(right) => ("date_add", left, right),
            BinaryOperator::Plus if self.is_integer(left) && self.is_date(right) => ("date_add", right, left),
            BinaryOperator::Minus if self.is_date(left) && self.is_integer(right) => ("date_sub", left, right),
            _ => return ControlFlow::Continue(()),
        };
        *expr = lateral::function(name, vec![(**date).clone(), (**days).clone()]);
        ControlFlow::Continue(())
    }
}
