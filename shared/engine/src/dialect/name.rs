//! The names that Spark gives to columns without an alias.

use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, CeilFloorKind, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, Ident, LambdaFunction, OneOrManyWithParens, Subscript, UnaryOperator, Value, VisitMut,
    VisitorMut,
};

/// Spark's name of an unaliased select item: `sum(amount)`, `count(1)`, `(a + b)`. Letter case as written.
/// Names of tables in front of columns are expected to be gone.
pub fn spark_name(expr: &Expr) -> String {
    match expr {
        Expr::CompoundIdentifier(parts) => parts.last().map(|ident| ident.value.clone()).unwrap_or_default(),
        // A cast of a column keeps the column's name.
        Expr::Cast { expr: inner, .. } => match &**inner {
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => spark_name(inner),
            _ => text(expr),
        },
        other => text(other),
    }
}

fn list(exprs: &[Expr]) -> String {
    exprs.iter().map(text).collect::<Vec<_>>().join(", ")
}

fn text(expr: &Expr) -> String {
    match expr {
        Expr::Identifier(ident) => ident.value.clone(),
        Expr::CompoundIdentifier(parts) => parts.iter().map(|part| part.value.as_str()).collect::<Vec<_>>().join("."),
        Expr::Nested(inner) => text(inner),
        Expr::Value(value) => literal(&value.value),
        Expr::TypedString(typed) => {
            let value = typed.value.value.clone().into_string().unwrap_or_default();
            format!("{} '{value}'", typed.data_type)
        }
        Expr::BinaryOp { left, op, right } => binary(left, op, right),
        Expr::UnaryOp { op, expr } => unary(op, expr),
        Expr::Cast { expr, data_type, kind, .. } => {
            let cast = kind.to_owned();
            let name = match cast {
                datafusion::sql::sqlparser::ast::CastKind::TryCast => "TRY_CAST",
                _ => "CAST",
            };
            format!("{name}({} AS {})", text(expr), data_type.to_string().to_uppercase())
        }
        Expr::IsNull(_) | Expr::IsNotNull(_) | Expr::IsUnknown(_) | Expr::IsNotUnknown(_) => null_test(expr),
        Expr::IsTrue(inner) => format!("({} = true)", text(inner)),
        Expr::IsFalse(inner) => format!("({} = false)", text(inner)),
        Expr::IsDistinctFrom(a, b) => format!("(NOT ({} <=> {}))", text(a), text(b)),
        Expr::IsNotDistinctFrom(a, b) => format!("({} <=> {})", text(a), text(b)),
        Expr::InList { expr, list: items, negated } => {
            not_if(*negated, format!("({} IN ({}))", text(expr), list(items)))
        }
        Expr::Between { expr, negated, low, high } => {
            not_if(*negated, format!("between({}, {}, {})", text(expr), text(low), text(high)))
        }
        Expr::Like { negated, expr, pattern, .. } => {
            not_if_bare(*negated, format!("{} LIKE {}", text(expr), text(pattern)))
        }
        Expr::ILike { negated, expr, pattern, .. } => {
            not_if_bare(*negated, format!("ilike({}, {})", text(expr), text(pattern)))
        }
        Expr::RLike { negated, expr, pattern, .. } => {
            not_if_bare(*negated, format!("RLIKE({}, {})", text(expr), text(pattern)))
        }
        Expr::Case { .. } => case(expr),
        Expr::CompoundFieldAccess { root, access_chain } => {
            let mut out = text(root);
            for step in access_chain {
                out += &match step {
                    AccessExpr::Dot(field) => format!(".{}", text(field)),
                    AccessExpr::Subscript(Subscript::Index { index }) => format!("[{}]", text(index)),
                    AccessExpr::Subscript(other) => format!("[{other}]"),
                };
            }
            out
        }
        Expr::Function(function) => call(function),
        Expr::Named { expr, name } => format!("{} AS {}", text(expr), name.value),
        Expr::Struct { values, .. } => format!("struct({})", list(values)),
        Expr::Tuple(items) => tuple(items),
        other => special_form(other),
    }
}

/// `(a, 1)` is written as what it stands for: a struct with names.
fn tuple(items: &[Expr]) -> String {
    let field = |(i, item): (usize, &Expr)| match item {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => format!("{}, {}", spark_name(item), text(item)),
        other => format!("col{}, {}", i + 1, text(other)),
    };
    format!("named_struct({})", items.iter().enumerate().map(field).collect::<Vec<_>>().join(", "))
}

fn null_test(expr: &Expr) -> String {
    match expr {
        Expr::IsNull(inner) | Expr::IsUnknown(inner) => format!("({} IS NULL)", text(inner)),
        Expr::IsNotNull(inner) | Expr::IsNotUnknown(inner) => format!("({} IS NOT NULL)", text(inner)),
        other => other.to_string(),
    }
}

fn case(expr: &Expr) -> String {
    let Expr::Case { operand, conditions, else_result, .. } = expr else { return expr.to_string() };
    let mut out = String::from("CASE");
    for when in conditions {
        let condition = match operand {
            Some(operand) => format!("({} = {})", text(operand), text(&when.condition)),
            None => text(&when.condition),
        };
        out += &format!(" WHEN {condition} THEN {}", text(&when.result));
    }
    if let Some(otherwise) = else_result {
        out += &format!(" ELSE {}", text(otherwise));
    }
    out + " END"
}

fn special_form(expr: &Expr) -> String {
    match expr {
        Expr::Extract { field, expr, .. } => format!("extract({field} FROM {})", text(expr)),
        Expr::Ceil { expr, field } => rounding("CEIL", "ceil", expr, field),
        Expr::Floor { expr, field } => rounding("FLOOR", "floor", expr, field),
        Expr::Position { expr, r#in } => format!("locate({}, {}, 1)", text(expr), text(r#in)),
        Expr::Substring { expr, substring_from, substring_for, shorthand, .. } => {
            let length = substring_for.as_ref().map_or_else(|| "2147483647".into(), |expr| text(expr));
            let from = substring_from.as_ref().map(|expr| text(expr)).unwrap_or_default();
            let name = if *shorthand { "substr" } else { "substring" };
            format!("{name}({}, {from}, {length})", text(expr))
        }
        Expr::Trim { trim_where, trim_what, expr, .. } => {
            use datafusion::sql::sqlparser::ast::TrimWhereField;
            let side = match trim_where {
                Some(TrimWhereField::Leading) => "LEADING",
                Some(TrimWhereField::Trailing) => "TRAILING",
                _ => "BOTH",
            };
            match trim_what {
                Some(what) => format!("TRIM({side} {} FROM {})", text(what), text(expr)),
                None => format!("trim({})", text(expr)),
            }
        }
        Expr::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
            let length = overlay_for.as_ref().map_or_else(|| "-1".into(), |expr| text(expr));
            format!("overlay({}, {}, {}, {length})", text(expr), text(overlay_what), text(overlay_from))
        }
        Expr::Interval(interval) => {
            let unit = interval.leading_field.as_ref().map(ToString::to_string).unwrap_or_default();
            let value = text(&interval.value);
            match &interval.last_field {
                Some(last) => format!("INTERVAL '{value}' {unit} TO {last}"),
                None => format!("INTERVAL '{value}' {}", unit.trim_end_matches(['S', 's'])),
            }
        }
        other => other.to_string(),
    }
}

fn rounding(plain: &str, scaled: &str, expr: &Expr, kind: &CeilFloorKind) -> String {
    match kind {
        CeilFloorKind::DateTimeField(_) => format!("{plain}({})", text(expr)),
        CeilFloorKind::Scale(scale) => format!("{scaled}({}, {})", text(expr), scale.value),
    }
}

fn not_if(negated: bool, inner: String) -> String {
    if negated { format!("(NOT {inner})") } else { inner }
}

fn not_if_bare(negated: bool, inner: String) -> String {
    if negated { format!("(NOT {inner})") } else { inner }
}

fn literal(value: &Value) -> String {
    match value {
        Value::Number(text, _) => {
            let plain = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() && !matches!(c, 'e' | 'E'));
            if plain.contains(['e', 'E']) || text.ends_with(['D', 'd']) && !text.to_ascii_uppercase().ends_with("BD") {
                let mut out = String::new();
                super::cast::text::write_double(&mut out, plain.parse().unwrap_or(f64::NAN));
                return out;
            }
            if let Some(fraction) = plain.strip_prefix('.') {
                return format!("0.{fraction}");
            }
            plain.to_owned()
        }
        Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => text.clone(),
        Value::Boolean(value) => value.to_string(),
        Value::Null => "NULL".into(),
        Value::HexStringLiteral(text) => format!("X'{}'", text.to_uppercase()),
        other => other.clone().into_string().unwrap_or_else(|| other.to_string()),
    }
}

fn binary(left: &Expr, op: &BinaryOperator, right: &Expr) -> String {
    let (left, right) = (text(left), text(right));
    match op {
        BinaryOperator::NotEq => format!("(NOT ({left} = {right}))"),
        BinaryOperator::MyIntegerDivide => format!("({left} div {right})"),
        BinaryOperator::StringConcat => format!("concat({left}, {right})"),
        BinaryOperator::Plus | BinaryOperator::Minus if right.starts_with("INTERVAL ") => {
            format!("{left} {op} {right}")
        }
        BinaryOperator::Spaceship => format!("({left} <=> {right})"),
        other => format!("({left} {other} {right})"),
    }
}

fn unary(op: &UnaryOperator, expr: &Expr) -> String {
    match op {
        UnaryOperator::Minus => match expr {
            Expr::Value(_) => format!("-{}", text(expr)),
            _ => format!("(- {})", text(expr)),
        },
        UnaryOperator::Plus => format!("(+ {})", text(expr)),
        UnaryOperator::Not | UnaryOperator::BangNot => format!("(NOT {})", text(expr)),
        UnaryOperator::BitwiseNot => format!("~{}", text(expr)),
        other => format!("{other}{}", text(expr)),
    }
}

fn call(function: &Function) -> String {
    let name = function.name.to_string().to_lowercase().replace('`', "");
    let mut distinct = "";
    let args: Vec<String> = match &function.args {
        FunctionArguments::List(args) => {
            if args.duplicate_treatment == Some(DuplicateTreatment::Distinct) {
                distinct = "DISTINCT ";
            }
            args.args.iter().map(argument).collect()
        }
        _ => vec![],
    };
    // The window is a column of its own name.
    if name == "window" || name == "session_window" {
        return name;
    }
    let args = match (name.as_str(), args.as_slice()) {
        ("from_json", [_, schema]) if schema.trim_start().to_ascii_lowercase().starts_with("map<") => {
            return "entries".to_owned();
        }
        ("from_json", [json, ..]) => json.clone(),
        ("count", [star]) if star == "*" => "1".to_owned(),
        ("first" | "last" | "first_value" | "last_value" | "any_value", [value, _]) => value.clone(),
        (_, given) if default_of(&name, given.len()).is_some() => {
            format!("{}, {}", args.join(", "), default_of(&name, given.len()).unwrap_or_default())
        }
        _ => format!("{distinct}{}", args.join(", ")),
    };
    let mut out = match name.as_str() {
        "if" => format!("(IF({args}))"),
        "isnull" => format!("({args} IS NULL)"),
        "isnotnull" => format!("({args} IS NOT NULL)"),
        _ if TYPES.contains(&name.as_str()) => args,
        _ if UPPER.contains(&name.as_str()) => format!("{}({args})", name.to_uppercase()),
        "array_agg" => format!("collect_list({args})"),
        _ => format!("{name}({args})"),
    };
    if let Some(filter) = &function.filter {
        out += &format!(" FILTER (WHERE {})", text(filter));
    }
    out
}

/// Types as functions: their name does not show.
const TYPES: &[&str] = &[
    "bigint",
    "binary",
    "boolean",
    "date",
    "decimal",
    "double",
    "float",
    "int",
    "smallint",
    "string",
    "timestamp",
    "tinyint",
];

/// Functions that Spark writes in capitals.
const UPPER: &[&str] = &[
    "acos", "acosh", "asin", "asinh", "atan", "atanh", "atan2", "cbrt", "cos", "cosh", "cot", "csc", "degrees", "e",
    "exp", "expm1", "hypot", "log10", "log1p", "log2", "pi", "power", "radians", "sec", "signum", "sin", "sinh",
    "sqrt", "tan", "tanh",
];

/// What Spark writes for a last argument that is left out.
fn default_of(name: &str, given: usize) -> Option<&'static str> {
    match (name, given) {
        ("round" | "bround", 1) => Some("0"),
        ("sort_array", 1) => Some("true"),
        ("split", 2) => Some("-1"),
        ("regexp_instr", 2) => Some("0"),
        ("percentile", 2) => Some("1"),
        ("lpad" | "rpad", 2) => Some(" "),
        ("unix_timestamp" | "to_unix_timestamp" | "from_unixtime", 1) => Some("yyyy-MM-dd HH:mm:ss"),
        ("regexp_replace", 3) | ("locate" | "position", 2) | ("regexp_extract", 2) => Some("1"),
        _ => None,
    }
}

fn argument(arg: &FunctionArg) -> String {
    match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Lambda(lambda))) => lambda_text(lambda),
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => text(expr),
        FunctionArg::Unnamed(FunctionArgExpr::Wildcard) => "*".into(),
        other => other.to_string(),
    }
}

/// The name of every parameter of a lambda.
const PARAMETER: &str = "namedlambdavariable()";

fn lambda_text(lambda: &LambdaFunction) -> String {
    let params: Vec<&str> = match &lambda.params {
        OneOrManyWithParens::One(param) => vec![param.name.value.as_str()],
        OneOrManyWithParens::Many(params) => params.iter().map(|param| param.name.value.as_str()).collect(),
    };
    let mut body = lambda.body.clone();
    let _ = VisitMut::visit(&mut *body, &mut Parameters { params: &params });
    format!("lambdafunction({}, {})", text(&body), vec![PARAMETER; params.len()].join(", "))
}

struct Parameters<'a> {
    params: &'a [&'a str],
}

impl VisitorMut for Parameters<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> std::ops::ControlFlow<()> {
        if let Expr::Identifier(ident) = expr
            && self.params.iter().any(|param| param.eq_ignore_ascii_case(&ident.value))
        {
            *ident = Ident::new(PARAMETER);
        }
        std::ops::ControlFlow::Continue(())
    }
}
