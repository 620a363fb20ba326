//! From the rewritten syntax tree to typed expressions: Spark's coercion, at the place where types are known.
//!
//! The rewrite of the syntax tree packs every construct whose meaning depends on types into a node (see
//! [`super::node`]). DataFusion plans the node's arguments and hands them over here, with the schema.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef, IntervalUnit};
use datafusion::common::{DFSchema, plan_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::{Case, InList, Like};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr, RawDictionaryExpr, TypePlanner};
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, ExprSchemable, Operator, ScalarUDF, lit};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{BinaryOperator, DataType as SqlDataType};
use tidegate_core::types::SqlType;
use tidegate_core::{Units, Zone};

use super::cast::{self, Mode};
use super::clock::BatchClock;
use super::functions::conversion::CastFunction;
use super::functions::{self, Takes, datetime};
use super::lazy;
use super::node::{self, Op};
use super::operators::Operation;
use super::types::{
    self, Arithmetic, common, common_of, decimal_of, is_decimal, is_float, is_integer, is_numeric, is_string, plain,
    sql_name,
};

/// What all plans of a session share.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The clock that `now()` reads.
    pub clock: BatchClock,
    /// The session time zone.
    pub zone: Zone,
    /// Functions of DataFusion and `datafusion-spark`, by name.
    pub foreign: Arc<HashMap<String, Arc<ScalarUDF>>>,
}

/// Plans expressions against one schema.
pub struct Planner<'a> {
    /// What columns there are.
    pub schema: &'a DFSchema,
    /// The session's part.
    pub shared: &'a Shared,
}

impl ExprPlanner for Shared {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let planner = Planner { schema, shared: self };
        match planner.binary(&expr)? {
            Some(planned) => Ok(PlannerResult::Planned(planned)),
            None => Ok(PlannerResult::Original(expr)),
        }
    }

    fn plan_dictionary_literal(
        &self,
        expr: RawDictionaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawDictionaryExpr>> {
        let Some((op, param)) = node::read(&expr) else { return Ok(PlannerResult::Original(expr)) };
        let planner = Planner { schema, shared: self };
        let args = expr.values.into_iter().skip(1).collect();
        Ok(PlannerResult::Planned(planner.node(op, &param, args)?))
    }
}

/// Spark's names of types.
#[derive(Debug)]
pub struct Types;

impl TypePlanner for Types {
    fn plan_type_field(&self, sql_type: &SqlDataType) -> Result<Option<FieldRef>> {
        let ty = parse_type(&sql_type.to_string())?;
        Ok(Some(Arc::new(datafusion::arrow::datatypes::Field::new("", ty, true))))
    }
}

/// Reads a type as Spark's DDL writes it.
pub fn parse_type(text: &str) -> Result<DataType> {
    let words: Vec<String> = text.split_whitespace().map(str::to_ascii_uppercase).collect();
    if let [first, from, ..] = &words[..]
        && first == "INTERVAL"
    {
        let months = from == "YEAR" || from == "MONTH";
        return Ok(if months { DataType::Interval(IntervalUnit::YearMonth) } else { types::day_time() });
    }
    match SqlType::parse(text) {
        Ok(ty) => Ok(ty.to_arrow()),
        Err(error) => plan_err!("{error}"),
    }
}

fn mismatch(what: &str, types: &[&DataType]) -> DataFusionError {
    let types: Vec<_> = types.iter().map(|ty| format!("\"{}\"", sql_name(ty).to_uppercase())).collect();
    DataFusionError::Plan(format!("[DATATYPE_MISMATCH] {what} cannot work on {}", types.join(" and ")))
}

impl Planner<'_> {
    /// The type of an expression.
    pub fn type_of(&self, expr: &Expr) -> Result<DataType> {
        expr.get_type(self.schema)
    }

    /// The type of an expression and its marks, as a column.
    pub fn field_of(&self, expr: &Expr) -> Result<FieldRef> {
        expr.to_field(self.schema).map(|(_, field)| field)
    }

    /// Casts as `CAST` does. Constants are cast at once; one that does not fit raises when a row comes.
    pub fn cast(&self, expr: Expr, to: &DataType, mode: Mode) -> Result<Expr> {
        let from = self.type_of(&expr)?;
        if &from == to {
            return Ok(expr);
        }
        if types::all_units(&from).is_some()
            && let Some(units) =
                types::units_of(&*self.field_of(&expr)?).filter(|units| types::mark_of(*units).is_some())
        {
            if is_string(to) {
                return self.call("text_of_interval", vec![expr, lit(units.name())]);
            }
            if is_integer(to) && units.is_one() {
                let count = self.call("interval_units", vec![expr])?;
                let count = self.arithmetic(Arithmetic::IntegralDivide, count, lit(units.one()), mode)?;
                return self.cast(count, to, mode);
            }
        }
        if !cast::allowed(&from, to) {
            let (from, to) = (sql_name(&from).to_uppercase(), sql_name(to).to_uppercase());
            return plan_err!("[DATATYPE_MISMATCH.CAST_WITHOUT_SUGGESTION] cannot cast \"{from}\" to \"{to}\"");
        }
        if let Expr::Literal(value, _) = &expr
            && let Ok(array) = cast::cast_in(&value.to_array()?, to, mode, self.shared.zone)
        {
            return Ok(lit(ScalarValue::try_from_array(&array, 0)?));
        }
        if cast::is_plain(&from, to, self.shared.zone) {
            return Ok(Expr::Cast(Cast::new(Box::new(expr), to.clone())));
        }
        Ok(Arc::new(ScalarUDF::from(CastFunction::new(&from, to.clone(), mode, self.shared.zone))).call(vec![expr]))
    }

    /// Casts an argument to what a parameter takes.
    pub fn implicit(&self, expr: Expr, takes: Takes, function: &str) -> Result<Expr> {
        let from = self.type_of(&expr)?;
        let to = match takes.data_type() {
            Some(_) if takes == Takes::Clock && types::is_timestamp(&from) => return Ok(expr),
            Some(to) => to,
            None => plain(&from),
        };
        if !cast::allowed(&from, &to) {
            return Err(mismatch(function, &[&from]));
        }
        self.cast(expr, &to, Mode::Raise)
    }

    /// Casts all to the type that they have in common.
    pub fn unify(&self, what: &str, exprs: Vec<Expr>) -> Result<(DataType, Vec<Expr>)> {
        let all = exprs.iter().map(|expr| self.type_of(expr)).collect::<Result<Vec<_>>>()?;
        let Some(ty) = common_of(&all) else { return Err(mismatch(what, &all.iter().collect::<Vec<_>>())) };
        let exprs = exprs.into_iter().map(|expr| self.cast(expr, &ty, Mode::Raise)).collect::<Result<_>>()?;
        Ok((ty, exprs))
    }

    /// As a condition.
    pub fn condition(&self, expr: Expr) -> Result<Expr> {
        self.implicit(expr, Takes::Bool, "a condition")
    }

    fn node(&self, op: Op, param: &str, mut args: Vec<Expr>) -> Result<Expr> {
        match op {
            Op::Literal => literal(param),
            Op::Cast | Op::TryCast => {
                let mode = if op == Op::Cast { Mode::Raise } else { Mode::Null };
                let to = parse_type(param)?;
                match types::all_units(&to).and_then(|_| Units::parse(param.get("INTERVAL".len()..)?)) {
                    Some(units) => datetime::cast_to_interval(self, args.remove(0), &to, units, mode),
                    None => self.cast(args.remove(0), &to, mode),
                }
            }
            Op::Call => {
                let given = args.clone();
                let planned = self.call(param, args)?;
                let ty = self.type_of(&planned)?;
                let planned = lazy::stopping(param, &given, &ty, planned)?;
                datetime::of_chosen(self, param, &given, &ty, planned)
            }
            Op::Case => {
                let given = args.clone();
                let planned = self.case(param == "else", args)?;
                let ty = self.type_of(&planned)?;
                datetime::of_chosen(self, "case", &given, &ty, planned)
            }
            Op::In | Op::NotIn => {
                let (_, args) = self.unify("IN", args)?;
                let Some((expr, list)) = args.split_first() else { return plan_err!("IN needs a value") };
                let planned = Expr::InList(InList::new(Box::new(expr.clone()), list.to_vec(), op == Op::NotIn));
                lazy::behind_first(&args, &DataType::Boolean, planned)
            }
            Op::Like | Op::NotLike | Op::ILike | Op::NotILike => self.like(op, param, args),
            Op::Negate => self.negate(args.remove(0)),
            Op::Index => {
                let given = args.clone();
                let index = args.pop().ok_or_else(|| DataFusionError::Plan("an index is missing".into()))?;
                let planned = functions::collection::index(self, args.remove(0), index)?;
                let ty = self.type_of(&planned)?;
                lazy::in_turn(&given, &ty, planned)
            }
            Op::Field => functions::collection::field(self, args.remove(0), param),
            Op::Interval => datetime::interval(param, args),
            Op::Distinct => {
                let right = args.remove(1);
                self.compare(Operator::IsDistinctFrom, args.remove(0), right)
            }
            Op::NotDistinct => {
                let right = args.remove(1);
                self.compare(Operator::IsNotDistinctFrom, args.remove(0), right)
            }
        }
    }

    /// A function by name: own ones first, then those of others.
    pub fn call(&self, name: &str, args: Vec<Expr>) -> Result<Expr> {
        if let Some(plan) = functions::find_planned(name) {
            return plan(self, args);
        }
        if let Some(def) = functions::find(name) {
            return functions::plan_call(self, def, args);
        }
        let Some(function) = self.shared.foreign.get(name) else {
            return plan_err!("[UNRESOLVED_ROUTINE] there is no function '{name}'");
        };
        let takes = functions::find_foreign(name);
        let mut typed = Vec::with_capacity(args.len());
        for (i, arg) in args.into_iter().enumerate() {
            let takes = takes.and_then(|takes| takes.get(i).or(takes.last()).copied()).unwrap_or(Takes::Any);
            typed.push(self.implicit(arg, takes, name)?);
        }
        let call = function.call(typed);
        let ty = self.type_of(&call)?;
        // The dialect knows one form of text.
        if ty != DataType::Utf8 && is_string(&ty) {
            return Ok(Expr::Cast(Cast::new(Box::new(call), DataType::Utf8)));
        }
        Ok(call)
    }

    fn case(&self, has_else: bool, args: Vec<Expr>) -> Result<Expr> {
        let pairs = args.len() / 2;
        let (mut conditions, mut values) = (Vec::with_capacity(pairs), Vec::with_capacity(pairs + 1));
        for (i, arg) in args.into_iter().enumerate() {
            if i < pairs * 2 && i % 2 == 0 { conditions.push(self.condition(arg)?) } else { values.push(arg) }
        }
        let (ty, mut values) = self.unify("CASE", values)?;
        let lazy = ty == DataType::Boolean && values.iter().any(lazy::can_raise);
        let otherwise = if has_else { values.pop().map(Box::new) } else { None };
        let branches = conditions.into_iter().map(Box::new).zip(values.into_iter().map(Box::new)).collect();
        let case = Case::new(None, branches, otherwise);
        Ok(if lazy { lazy::case(case) } else { Expr::Case(case) })
    }

    fn like(&self, op: Op, escape: &str, mut args: Vec<Expr>) -> Result<Expr> {
        let mut pattern = self.implicit(args.remove(1), Takes::Text, "LIKE")?;
        let expr = self.implicit(args.remove(0), Takes::Text, "LIKE")?;
        if !escape.is_empty() && escape != "\\" {
            let Expr::Literal(ScalarValue::Utf8(Some(text)), _) = &pattern else {
                return plan_err!("LIKE with ESCAPE needs a constant pattern");
            };
            pattern = lit(escape_with_backslash(text, escape));
        }
        let negated = matches!(op, Op::NotLike | Op::NotILike);
        let ignore_case = matches!(op, Op::ILike | Op::NotILike);
        let sides = [expr.clone(), pattern.clone()];
        let like = Expr::Like(Like::new(negated, Box::new(expr), Box::new(pattern), None, ignore_case));
        lazy::in_turn(&sides, &DataType::Boolean, like)
    }

    /// Unary minus.
    pub fn negate(&self, expr: Expr) -> Result<Expr> {
        let ty = self.type_of(&expr)?;
        match ty {
            _ if is_float(&ty) => Ok(Expr::Negative(Box::new(expr))),
            _ if is_numeric(&ty) => {
                let zero = lit(ScalarValue::new_zero(&ty)?);
                let operation = Operation::new(Arithmetic::Subtract, Mode::Raise, ty);
                Ok(Arc::new(ScalarUDF::from(operation)).call(vec![zero, expr]))
            }
            DataType::Null => Ok(expr),
            _ if is_string(&ty) => self.negate(self.cast(expr, &DataType::Float64, Mode::Raise)?),
            DataType::Duration(_) | DataType::Interval(IntervalUnit::YearMonth) => {
                self.call("interval_negated", vec![expr])
            }
            DataType::Interval(_) => Ok(Expr::Negative(Box::new(expr))),
            _ => Err(mismatch("-", &[&ty])),
        }
    }

    fn binary(&self, raw: &RawBinaryExpr) -> Result<Option<Expr>> {
        let (left, right) = (raw.left.clone(), raw.right.clone());
        let compare = |op| self.compare(op, left.clone(), right.clone()).map(Some);
        let compute = |op| self.arithmetic(op, left.clone(), right.clone(), Mode::Raise).map(Some);
        match raw.op {
            BinaryOperator::Plus => compute(Arithmetic::Add),
            BinaryOperator::Minus => compute(Arithmetic::Subtract),
            BinaryOperator::Multiply => compute(Arithmetic::Multiply),
            BinaryOperator::Divide => compute(Arithmetic::Divide),
            BinaryOperator::Modulo => compute(Arithmetic::Remainder),
            BinaryOperator::MyIntegerDivide => compute(Arithmetic::IntegralDivide),
            BinaryOperator::Eq => compare(Operator::Eq),
            BinaryOperator::NotEq => compare(Operator::NotEq),
            BinaryOperator::Lt => compare(Operator::Lt),
            BinaryOperator::LtEq => compare(Operator::LtEq),
            BinaryOperator::Gt => compare(Operator::Gt),
            BinaryOperator::GtEq => compare(Operator::GtEq),
            BinaryOperator::Spaceship => compare(Operator::IsNotDistinctFrom),
            BinaryOperator::And | BinaryOperator::Or => {
                let op = if raw.op == BinaryOperator::And { Operator::And } else { Operator::Or };
                let (left, right) = (self.condition(left)?, self.condition(right)?);
                let lazy = lazy::can_raise(&right);
                Ok(Some(if lazy { lazy::connect(left, op, right) } else { join(left, op, right) }))
            }
            BinaryOperator::StringConcat => self.node(Op::Call, "concat", vec![left, right]).map(Some),
            BinaryOperator::BitwiseAnd => self.bitwise(Operator::BitwiseAnd, left, right).map(Some),
            BinaryOperator::BitwiseOr => self.bitwise(Operator::BitwiseOr, left, right).map(Some),
            BinaryOperator::BitwiseXor => self.bitwise(Operator::BitwiseXor, left, right).map(Some),
            _ => Ok(None),
        }
    }

    fn bitwise(&self, op: Operator, left: Expr, right: Expr) -> Result<Expr> {
        let (ty, mut args) = self.unify("a bitwise operator", vec![left, right])?;
        if !is_integer(&ty) {
            return Err(mismatch("a bitwise operator", &[&ty]));
        }
        let sides = args.clone();
        let right = args.remove(1);
        // The planner takes `a ^ a` for 0, also where a is NULL.
        let planned = if op == Operator::BitwiseXor {
            self.call("bit_xor_of", vec![args.remove(0), right])?
        } else {
            join(args.remove(0), op, right)
        };
        lazy::in_turn(&sides, &ty, planned)
    }

    /// A comparison, both sides in their common type. The right side is not looked at where the left one is NULL.
    pub fn compare(&self, op: Operator, left: Expr, right: Expr) -> Result<Expr> {
        self.comparison(op, left, right).map(lazy::guarded)
    }

    fn comparison(&self, op: Operator, left: Expr, right: Expr) -> Result<Expr> {
        let (l, r) = (self.type_of(&left)?, self.type_of(&right)?);
        let Some(ty) = common(&l, &r) else { return Err(mismatch(&op.to_string(), &[&l, &r])) };
        // NULL against NULL: any type will do.
        let ty = if ty == DataType::Null { DataType::Boolean } else { ty };
        let (left, right) = (self.cast(left, &ty, Mode::Raise)?, self.cast(right, &ty, Mode::Raise)?);
        if ty == DataType::Float64 && !is_other_than_zero(&left) && !is_other_than_zero(&right) {
            return Ok(join(one_zero(left), op, one_zero(right)));
        }
        Ok(join(left, op, right))
    }

    /// An arithmetic operation with Spark's result type. The right side is not looked at where the left one is NULL.
    pub fn arithmetic(&self, op: Arithmetic, left: Expr, right: Expr, mode: Mode) -> Result<Expr> {
        let null = |side: &Expr| matches!(side, Expr::Literal(value, _) if value.is_null());
        let nothing = null(&left) || null(&right);
        let planned = self.operation(op, left, right, mode)?;
        if nothing {
            return Ok(lit(ScalarValue::try_from(&self.type_of(&planned)?)?));
        }
        let units = types::units_of(&*self.field_of(&planned)?);
        datetime::with_units(self, lazy::guarded(planned), units)
    }

    fn operation(&self, op: Arithmetic, left: Expr, right: Expr, mode: Mode) -> Result<Expr> {
        let (l, r) = (self.type_of(&left)?, self.type_of(&right)?);
        if let Some(planned) = datetime::arithmetic(self, op, (&left, &l), (&right, &r), mode)? {
            return Ok(planned);
        }
        let number = |ty: &DataType, other: &DataType| match ty {
            _ if is_string(ty) && is_integer(other) => DataType::Int64,
            _ if is_string(ty) => DataType::Float64,
            DataType::Null if is_numeric(other) => other.clone(),
            DataType::Null => DataType::Float64,
            other => other.clone(),
        };
        let (lt, rt) = (number(&l, &r), number(&r, &l));
        if !is_numeric(&lt) || !is_numeric(&rt) {
            return Err(mismatch("arithmetic", &[&l, &r]));
        }
        let (left, right) = (self.cast(left, &lt, Mode::Raise)?, self.cast(right, &rt, Mode::Raise)?);
        let exact = !is_float(&lt) && !is_float(&rt);
        if exact && (is_decimal(&lt) || is_decimal(&rt)) {
            return self.decimals(op, left, right, mode);
        }
        let sides = match op {
            Arithmetic::Divide => DataType::Float64,
            Arithmetic::IntegralDivide if exact => DataType::Int64,
            Arithmetic::IntegralDivide => return Err(mismatch("div", &[&l, &r])),
            _ => common(&lt, &rt).unwrap_or(DataType::Float64),
        };
        let out = sides.clone();
        let args = vec![self.cast(left, &sides, Mode::Raise)?, self.cast(right, &sides, Mode::Raise)?];
        Ok(Arc::new(ScalarUDF::from(Operation::new(op, mode, out))).call(args))
    }

    fn decimals(&self, op: Arithmetic, left: Expr, right: Expr, mode: Mode) -> Result<Expr> {
        let (left, l) = self.as_decimal(left)?;
        let (right, r) = self.as_decimal(right)?;
        let operation = Operation::new(op, mode, types::decimal_result(op, l, r));
        Ok(Arc::new(ScalarUDF::from(operation)).call(vec![left, right]))
    }

    /// An integer as the smallest decimal: of its value if it is constant, else of its type.
    fn as_decimal(&self, expr: Expr) -> Result<(Expr, (u8, i8))> {
        let ty = self.type_of(&expr)?;
        let constant = match &expr {
            Expr::Literal(ScalarValue::Int8(Some(v)), _) => Some(i64::from(*v)),
            Expr::Literal(ScalarValue::Int16(Some(v)), _) => Some(i64::from(*v)),
            Expr::Literal(ScalarValue::Int32(Some(v)), _) => Some(i64::from(*v)),
            Expr::Literal(ScalarValue::Int64(Some(v)), _) => Some(*v),
            _ => None,
        };
        let (precision, scale) = match constant {
            Some(value) => (value.unsigned_abs().to_string().len() as u8, 0),
            None => decimal_of(&ty).ok_or_else(|| mismatch("arithmetic", &[&ty]))?,
        };
        let expr = self.cast(expr, &DataType::Decimal128(precision, scale), Mode::Raise)?;
        Ok((expr, (precision, scale)))
    }
}

/// Whether a side is a constant that no zero equals: then the sign of a zero on the other side does not matter.
fn is_other_than_zero(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(ScalarValue::Float64(Some(value)), _) if *value != 0.0)
}

/// Arrow orders -0.0 below 0.0, Spark takes them for equal: adding 0.0 makes one of both.
fn one_zero(expr: Expr) -> Expr {
    match expr {
        Expr::Literal(ScalarValue::Float64(Some(_)), _) => lit(0.0),
        other => join(other, Operator::Plus, lit(0.0)),
    }
}

fn join(left: Expr, op: Operator, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))
}

/// Rewrites a pattern with its own escape character to one with a backslash.
fn escape_with_backslash(pattern: &str, escape: &str) -> String {
    let escape = escape.chars().next().unwrap_or('\\');
    let mut out = String::with_capacity(pattern.len() + 4);
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            _ if c == escape => {
                if let Some(next) = chars.next() {
                    out.push('\\');
                    out.push(next);
                }
            }
            '\\' => out.push_str("\\\\"),
            _ => out.push(c),
        }
    }
    out
}

/// A number as Spark's lexer types it: `1` int or bigint, `1.5` decimal, `1e0` double, and the suffixes.
fn literal(text: &str) -> Result<Expr> {
    let upper = text.to_ascii_uppercase();
    let invalid = || DataFusionError::Plan(format!("[INVALID_NUMERIC_LITERAL] '{text}' is out of range"));
    for (suffix, ty) in [
        ("BD", None),
        ("L", Some(DataType::Int64)),
        ("S", Some(DataType::Int16)),
        ("Y", Some(DataType::Int8)),
        ("F", Some(DataType::Float32)),
        ("D", Some(DataType::Float64)),
    ] {
        let Some(number) = upper.strip_suffix(suffix) else { continue };
        let Some(ty) = ty else { return decimal_literal(number).ok_or_else(invalid) };
        let texts: datafusion::arrow::array::ArrayRef =
            Arc::new(datafusion::arrow::array::StringArray::from(vec![number.to_owned()]));
        let array = cast::cast(&texts, &ty, Mode::Raise).map_err(|_| invalid())?;
        return Ok(lit(ScalarValue::try_from_array(&array, 0)?));
    }
    if upper.contains('E') {
        return upper.parse::<f64>().map(lit).map_err(|_| invalid());
    }
    if upper.contains('.') {
        return decimal_literal(&upper).ok_or_else(invalid);
    }
    if let Ok(value) = upper.parse::<i32>() {
        return Ok(lit(value));
    }
    if let Ok(value) = upper.parse::<i64>() {
        return Ok(lit(value));
    }
    decimal_literal(&upper).ok_or_else(invalid)
}

fn decimal_literal(text: &str) -> Option<Expr> {
    let (mantissa, exponent) = text.split_once('E').unwrap_or((text, "0"));
    let exponent: i32 = exponent.parse().ok()?;
    let unsigned = mantissa.trim_start_matches(['-', '+']);
    let fraction = unsigned.split_once('.').map_or(0, |(_, fraction)| fraction.len() as i32);
    let digits: String = unsigned.chars().filter(char::is_ascii_digit).collect();
    let significant = digits.trim_start_matches('0').len().max(1) as i32;
    let scale = (fraction - exponent).max(0);
    let precision = (significant + (exponent - fraction).max(0)).max(scale);
    if precision > i32::from(types::MAX_PRECISION) {
        return None;
    }
    match cast::text::read_decimal(text, precision as u8, scale as i8) {
        cast::text::Fit::Value(value) => Some(lit(ScalarValue::Decimal128(Some(value), precision as u8, scale as i8))),
        _ => None,
    }
}

impl Planner<'_> {
    /// `like(text, pattern, escape)` as a function.
    pub fn like_call(&self, mut args: Vec<Expr>, ignore_case: bool) -> Result<Expr> {
        if args.len() != 3 {
            return plan_err!("like takes 2 or 3 arguments");
        }
        let Some(Expr::Literal(ScalarValue::Utf8(Some(escape)), _)) = args.pop() else {
            return plan_err!("like needs a constant escape character");
        };
        self.like(if ignore_case { Op::ILike } else { Op::Like }, &escape, args)
    }
}
