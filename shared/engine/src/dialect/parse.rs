//! From text to a syntax tree that DataFusion plans with Spark's meaning.

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Query, Statement};
use datafusion::sql::sqlparser::dialect::{Dialect, Precedence};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, Word};
use tidegate_core::Error;

use super::rewrite::{self, Kind};

mod literal;
mod raw;
mod split;

pub use split::statements;

/// How deep expressions and queries may be nested.
pub const MAX_DEPTH: usize = 64;

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

impl ParseError {
    fn new(message: impl Into<String>) -> Self {
        Self { error: Error::invalid(message), location: None }
    }
}

/// Reads one query of Spark's SQL. The tree that it returns is rewritten for DataFusion: unaliased select items
/// have the names that Spark gives them. Names are taken in the letter case that is written.
pub fn parse_query(sql: &str) -> Result<Query, ParseError> {
    parse_query_with(sql, &[])
}

/// The same for a query over columns with `names` (fields of structs included): a name in another letter case is
/// taken for the one that is known, as Spark does; columns of the result keep the letter case of the query.
pub fn parse_query_with(sql: &str, names: &[&str]) -> Result<Query, ParseError> {
    parse_query_over(sql, &names.iter().map(|name| (*name, Kind::Other)).collect::<Vec<_>>())
}

/// The same for columns whose kind is known: some constructs depend on it before types are.
pub fn parse_query_over(sql: &str, names: &[(&str, Kind)]) -> Result<Query, ParseError> {
    let plain = raw::without_raw_strings(sql);
    let tokens = Tokenizer::new(&Spark, &plain)
        .tokenize_with_location()
        .map_err(|error| refused(&ParserError::TokenizerError(error.to_string())))?;
    let mut parser =
        Parser::new(&Spark).with_recursion_limit(MAX_DEPTH).with_tokens_with_locations(join_suffixes(tokens));
    let statement = parser.parse_statement().map_err(|error| refused(&error))?;
    while parser.consume_token(&Token::SemiColon) {}
    if parser.peek_token_ref().token != Token::EOF {
        let found = parser.peek_token();
        let location = (found.span.start.line as usize, found.span.start.column as usize);
        let error = Error::invalid(format!("SQL: one query is expected, it goes on with '{found}'"));
        return Err(ParseError { error, location: Some(location) });
    }
    let Statement::Query(query) = statement else {
        return Err(ParseError::new(format!("only a query is accepted here, this is: {statement}")));
    };
    let mut query = *query;
    rewrite::rewrite(&mut query, names).map_err(|refusal| {
        let mut error = Error::invalid(refusal.message);
        if let Some(help) = refusal.help {
            error = error.with_help(help);
        }
        ParseError { error, location: refusal.location }
    })?;
    Ok(query)
}

/// The suffixes that type a number.
const SUFFIXES: &[&str] = &["BD", "D", "F", "S", "Y", "L"];

/// Joins numbers with the suffix that stands directly behind them: `1.5BD`.
fn join_suffixes(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut joined: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    for token in tokens {
        if let (Some(TokenWithSpan { token: Token::Number(number, _), .. }), Token::Word(word)) =
            (joined.last_mut(), &token.token)
            && word.quote_style.is_none()
            && SUFFIXES.contains(&word.value.to_ascii_uppercase().as_str())
        {
            number.push_str(&word.value);
            continue;
        }
        joined.push(token);
    }
    name_exists(&mut joined);
    joined
}

/// `exists(list, x -> ...)` is a function, `EXISTS (SELECT ...)` is not.
fn name_exists(tokens: &mut [TokenWithSpan]) {
    let solid: Vec<usize> = (0..tokens.len()).filter(|at| !matches!(tokens[*at].token, Token::Whitespace(_))).collect();
    for place in solid.windows(3) {
        let is_query = match &tokens[place[2]].token {
            Token::Word(word) => ["select", "with", "values"].contains(&word.value.to_lowercase().as_str()),
            Token::LParen => true,
            _ => false,
        };
        let opens = tokens[place[1]].token == Token::LParen;
        if let Token::Word(word) = &mut tokens[place[0]].token
            && word.value.eq_ignore_ascii_case("exists")
            && opens
            && !is_query
        {
            *word = Word { value: word.value.clone(), quote_style: Some('`'), keyword: Keyword::NoKeyword };
        }
    }
}

fn refused(error: &ParserError) -> ParseError {
    let message = match error {
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => message.clone(),
        ParserError::RecursionLimitExceeded => format!("it is nested deeper than {MAX_DEPTH}"),
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

/// Spark's syntax.
#[derive(Debug)]
struct Spark;

impl Dialect for Spark {
    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '`'
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_'
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphanumeric() || ch == '_'
    }

    fn supports_string_literal_backslash_escape(&self) -> bool {
        true
    }

    fn supports_string_literal_concatenation(&self) -> bool {
        true
    }

    fn allow_extract_custom(&self) -> bool {
        true
    }

    fn supports_interval_options(&self) -> bool {
        true
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn supports_group_by_with_modifier(&self) -> bool {
        true
    }

    fn supports_lambda_functions(&self) -> bool {
        true
    }

    fn supports_select_wildcard_except(&self) -> bool {
        true
    }

    fn supports_struct_literal(&self) -> bool {
        true
    }

    fn supports_nested_comments(&self) -> bool {
        true
    }

    fn supports_select_item_multi_column_alias(&self) -> bool {
        true
    }

    fn supports_long_type_as_bigint(&self) -> bool {
        true
    }

    fn supports_values_as_table_factor(&self) -> bool {
        true
    }

    fn supports_bang_not_operator(&self) -> bool {
        true
    }

    fn supports_cte_without_as(&self) -> bool {
        true
    }

    fn supports_named_fn_args_with_rarrow_operator(&self) -> bool {
        true
    }

    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        literal::prefix(parser)
    }

    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        literal::shift_precedence(parser).map(Ok)
    }

    fn parse_infix(&self, parser: &mut Parser, expr: &Expr, _: u8) -> Option<Result<Expr, ParserError>> {
        if let Some(shift) = literal::shift(parser, expr) {
            return Some(shift);
        }
        if !parser.parse_keyword(Keyword::DIV) {
            return None;
        }
        let binding = self.prec_value(Precedence::MulDivModOp);
        Some(parser.parse_subexpr(binding).map(|right| Expr::BinaryOp {
            left: Box::new(expr.clone()),
            op: BinaryOperator::MyIntegerDivide,
            right: Box::new(right),
        }))
    }
}
