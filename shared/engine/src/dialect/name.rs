//! The names that Spark gives to columns without an alias.

use datafusion::sql::sqlparser::ast::Expr;

/// Spark's name of an unaliased select item: `sum(amount)`, `count(1)`, `(a + b)`. Letter case as written.
pub fn spark_name(expr: &Expr) -> String {
    match expr {
        Expr::Identifier(ident) => ident.value.clone(),
        Expr::CompoundIdentifier(parts) => parts.last().map(|ident| ident.value.clone()).unwrap_or_default(),
        other => other.to_string(),
    }
}
