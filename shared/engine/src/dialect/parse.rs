//! From text to a syntax tree that DataFusion plans with Spark's meaning.

use datafusion::sql::sqlparser::ast::{Query, Statement};
use datafusion::sql::sqlparser::dialect::SparkSqlDialect;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use tidegate_core::Error;

/// A text that is no query.
#[derive(Debug)]
pub struct ParseError {
    /// What is wrong.
    pub error: Error,
    /// Line and column within the text, counted from 1, where known.
    pub location: Option<(usize, usize)>,
}

impl From<ParseError> for Error {
    fn from(error: ParseError) -> Self {
        error.error
    }
}

/// Reads one query of Spark's SQL. The tree that it returns is rewritten for DataFusion: unaliased select items
/// have the names that Spark gives them.
pub fn parse_query(sql: &str) -> Result<Query, ParseError> {
    let mut parser = Parser::new(&SparkSqlDialect {}).try_with_sql(sql).map_err(refused)?;
    let statement = parser.parse_statement().map_err(refused)?;
    match statement {
        Statement::Query(query) => Ok(*query),
        other => Err(ParseError {
            error: Error::invalid(format!("only a query is accepted here, this is: {other}"))
                .with_help("write a SELECT"),
            location: None,
        }),
    }
}

fn refused(error: ParserError) -> ParseError {
    let message = match error {
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => message,
        ParserError::RecursionLimitExceeded => "it is nested too deeply".to_owned(),
    };
    let (message, location) = split_location(&message);
    ParseError { error: Error::invalid(format!("SQL: {message}")), location }
}

/// The parser writes the place at the end of its messages: ` at Line: 1, Column: 8`.
fn split_location(message: &str) -> (String, Option<(usize, usize)>) {
    let Some((front, rest)) = message.rsplit_once(" at Line: ") else { return (message.to_owned(), None) };
    let Some((line, column)) = rest.split_once(", Column: ") else { return (message.to_owned(), None) };
    match (line.trim().parse(), column.trim().parse()) {
        (Ok(line), Ok(column)) => (front.to_owned(), Some((line, column))),
        _ => (message.to_owned(), None),
    }
}
