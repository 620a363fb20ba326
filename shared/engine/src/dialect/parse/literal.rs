//! Literals and calls that Spark writes in a way of its own: `X '1F'`, `TIMESTAMP_NTZ '...'`, `INTERVAL` in all its
//! forms, `trim(BOTH FROM x)`.

use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, DateTimeField, Expr, Ident, Interval, ObjectName, TrimWhereField, TypedString, Value,
    ValueWithSpan,
};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, Word};

/// The units of an interval, without the plural's S.
const UNITS: &[&str] = &[
    "YEAR",
    "QUARTER",
    "MONTH",
    "WEEK",
    "DAY",
    "HOUR",
    "MINUTE",
    "SECOND",
    "MILLISECOND",
    "MICROSECOND",
    "NANOSECOND",
];

/// Reads one of the forms at the parser's place; `None`: something else stands there.
pub(super) fn prefix(parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
    let Token::Word(word) = &parser.peek_token_ref().token else { return None };
    if word.quote_style.is_some() {
        return None;
    }
    match word.value.to_ascii_uppercase().as_str() {
        "X" => bytes(parser).map(Ok),
        "TIMESTAMP_LTZ" => typed(parser, "timestamp").map(Ok),
        "TIMESTAMP_NTZ" => typed(parser, "timestamp_ntz").map(Ok),
        "TIME" => typed(parser, "time").map(Ok),
        "INTERVAL" => interval(parser).map(Ok),
        "TRIM" => trim(parser),
        "CAST" => cast(parser, CastKind::Cast),
        "TRY_CAST" => cast(parser, CastKind::TryCast),
        _ => None,
    }
}

fn string_at(parser: &Parser, place: usize) -> Option<String> {
    match &parser.peek_nth_token_ref(place).token {
        Token::SingleQuotedString(text) | Token::DoubleQuotedString(text) => Some(text.clone()),
        _ => None,
    }
}

fn skip(parser: &mut Parser, tokens: usize) {
    (0..tokens).for_each(|_| drop(parser.next_token()));
}

/// `X 'F0'`; without the space the tokenizer knows it. A missing first digit is 0.
fn bytes(parser: &mut Parser) -> Option<Expr> {
    let digits = string_at(parser, 1)?;
    skip(parser, 2);
    Some(Expr::value(Value::HexStringLiteral(if digits.len() % 2 == 1 { format!("0{digits}") } else { digits })))
}

fn typed(parser: &mut Parser, ty: &str) -> Option<Expr> {
    let text = string_at(parser, 1)?;
    skip(parser, 2);
    Some(Expr::TypedString(TypedString {
        data_type: DataType::Custom(ObjectName::from(vec![Ident::new(ty)]), vec![]),
        value: ValueWithSpan::from(Value::SingleQuotedString(text)),
        uses_odbc_syntax: false,
    }))
}

fn unit_at(parser: &Parser, place: usize) -> Option<String> {
    let Token::Word(Word { value, quote_style: None, .. }) = &parser.peek_nth_token_ref(place).token else {
        return None;
    };
    let upper = value.to_ascii_uppercase();
    let single = upper.strip_suffix('S').unwrap_or(&upper);
    UNITS.contains(&single).then(|| single.to_owned())
}

/// `-'1-1'`, `5`, `+ 2.5`: the text, and how many tokens it takes.
fn count_at(parser: &Parser, place: usize) -> Option<(String, usize)> {
    let (minus, signs) = match parser.peek_nth_token_ref(place).token {
        Token::Minus => (true, 1),
        Token::Plus => (false, 1),
        _ => (false, 0),
    };
    let text = match &parser.peek_nth_token_ref(place + signs).token {
        Token::Number(number, _) => number.clone(),
        _ => string_at(parser, place + signs)?,
    };
    let text = text.trim();
    let text = match (minus, text.strip_prefix('-')) {
        (true, Some(rest)) => rest.to_owned(),
        (true, None) => format!("-{}", text.trim_start_matches('+')),
        (false, _) => text.to_owned(),
    };
    Some((text, signs + 1))
}

/// `INTERVAL '1' DAY`, `INTERVAL '1-1' YEAR TO MONTH`, `INTERVAL 5 days 3 hours`, `INTERVAL '5 days 3 hours'`.
fn interval(parser: &mut Parser) -> Option<Expr> {
    let (text, tokens) = count_at(parser, 1)?;
    let mut place = 1 + tokens;
    let field = |unit: String| DateTimeField::Custom(Ident::new(unit));
    let (value, from, to) = match unit_at(parser, place) {
        None => {
            // Without a unit only a text says one.
            string_at(parser, place - 1)?;
            (text, None, None)
        }
        Some(unit) => {
            place += 1;
            let is_to =
                matches!(&parser.peek_nth_token_ref(place).token, Token::Word(word) if word.keyword == Keyword::TO);
            match unit_at(parser, place + 1).filter(|_| is_to) {
                Some(last) => {
                    place += 2;
                    (text, Some(field(unit)), Some(field(last)))
                }
                None => {
                    let (mut all, mut count) = (format!("{text} {unit}"), 1);
                    while let Some((text, tokens)) = count_at(parser, place)
                        && let Some(unit) = unit_at(parser, place + tokens)
                    {
                        all += &format!(" {text} {unit}");
                        place += tokens + 1;
                        count += 1;
                    }
                    if count == 1 { (text, Some(field(unit)), None) } else { (all, None, None) }
                }
            }
        }
    };
    skip(parser, place);
    Some(Expr::Interval(Interval {
        value: Box::new(Expr::value(Value::SingleQuotedString(value))),
        leading_field: from,
        leading_precision: None,
        last_field: to,
        fractional_seconds_precision: None,
    }))
}

/// `CAST(x AS map<string,int>)`: the type is kept as text, for the reader of types that columns have too.
fn cast(parser: &mut Parser, kind: CastKind) -> Option<Result<Expr, ParserError>> {
    if parser.peek_nth_token_ref(1).token != Token::LParen {
        return None;
    }
    skip(parser, 2);
    Some(cast_in_parentheses(parser, kind))
}

fn cast_in_parentheses(parser: &mut Parser, kind: CastKind) -> Result<Expr, ParserError> {
    let expr = Box::new(parser.parse_expr()?);
    parser.expect_keyword(Keyword::AS)?;
    let (mut ty, mut open, mut word_before) = (String::new(), 0, false);
    loop {
        match parser.peek_token_ref().token {
            Token::LParen => open += 1,
            Token::RParen if open == 0 => break,
            Token::RParen => open -= 1,
            Token::EOF => break,
            _ => {}
        }
        let token = parser.next_token().token;
        let word = matches!(token, Token::Word(_));
        if word && word_before {
            ty.push(' ');
        }
        word_before = word;
        ty.push_str(&token.to_string());
    }
    parser.expect_token(&Token::RParen)?;
    let data_type = DataType::Custom(ObjectName::from(vec![Ident::new(ty)]), vec![]);
    Ok(Expr::Cast { kind, expr, data_type, array: false, format: None })
}

/// `trim(BOTH FROM x)`: with a side, without what to take away.
fn trim(parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
    let keyword = |place: usize| match &parser.peek_nth_token_ref(place).token {
        Token::Word(word) => word.keyword,
        _ => Keyword::NoKeyword,
    };
    if parser.peek_nth_token_ref(1).token != Token::LParen || keyword(3) != Keyword::FROM {
        return None;
    }
    let side = match keyword(2) {
        Keyword::BOTH => TrimWhereField::Both,
        Keyword::LEADING => TrimWhereField::Leading,
        Keyword::TRAILING => TrimWhereField::Trailing,
        _ => return None,
    };
    skip(parser, 4);
    let rest = parser.parse_expr().and_then(|expr| parser.expect_token(&Token::RParen).map(|_| expr));
    Some(rest.map(|expr| Expr::Trim {
        expr: Box::new(expr),
        trim_where: Some(side),
        trim_what: None,
        trim_characters: None,
    }))
}

/// How strongly `<<`, `>>` and `>>>` bind: less than `+`, more than `&`.
const SHIFT: u8 = 26;

/// The binding of a shift at the parser's place.
pub(super) fn shift_precedence(parser: &Parser) -> Option<u8> {
    matches!(parser.peek_token_ref().token, Token::ShiftLeft | Token::ShiftRight).then_some(SHIFT)
}

/// `a << 1`, `a >> 1`, `a >>> 1`: the name of the function, with its tokens taken.
pub(super) fn shift(parser: &mut Parser, left: &Expr) -> Option<Result<Expr, ParserError>> {
    let op = match parser.peek_token_ref().token {
        Token::ShiftLeft => "<<",
        Token::ShiftRight if parser.peek_nth_token_ref(1).token == Token::Gt => ">>>",
        Token::ShiftRight => ">>",
        _ => return None,
    };
    skip(parser, if op == ">>>" { 2 } else { 1 });
    Some(parser.parse_subexpr(SHIFT).map(|right| Expr::BinaryOp {
        left: Box::new(left.clone()),
        op: datafusion::sql::sqlparser::ast::BinaryOperator::Custom(op.to_owned()),
        right: Box::new(right),
    }))
}
