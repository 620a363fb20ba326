//! Numbers in the forms of `to_char` and `to_number`: `$99,999.99S`, and of `format_number`: `#,##0.00`.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Decimal128Array, StringBuilder};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, lit};
use datafusion::scalar::ScalarValue;

use super::super::Call;
use super::number::{fixed, grouped};
use super::{MAX_TEXT, text, too_long};
use crate::dialect::cast::text::{Fit, read_decimal};
use crate::dialect::cast::write_value;
use crate::dialect::error::RowError;
use crate::dialect::plan::Planner;

/// A form of numbers.
#[derive(Clone, Debug, Default, PartialEq)]
struct Form {
    /// Digits and separators before the point: `0`, `9`, `,`.
    whole: Vec<char>,
    /// Digits behind the point.
    fraction: usize,
    point: bool,
    dollar: bool,
    /// `S` or `MI`, in front or behind.
    sign: Option<Sign>,
    brackets: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Sign {
    Front { plus: bool },
    Behind { plus: bool },
}

impl Form {
    fn read(text: &str) -> Option<Self> {
        let upper = text.to_ascii_uppercase();
        let mut form = Self::default();
        let mut rest = upper.as_str();
        while let Some(c) = rest.chars().next() {
            let started = form.point || !form.whole.is_empty();
            let sign = |plus| if started { Sign::Behind { plus } } else { Sign::Front { plus } };
            let mut width = 1;
            match c {
                '0' | '9' if form.point => form.fraction += 1,
                '0' | '9' => form.whole.push(c),
                ',' | 'G' if !form.point => form.whole.push(','),
                '.' | 'D' if !form.point => form.point = true,
                '$' if !form.dollar => form.dollar = true,
                'S' if form.sign.is_none() => form.sign = Some(sign(true)),
                'M' if rest.starts_with("MI") && form.sign.is_none() => {
                    form.sign = Some(sign(false));
                    width = 2;
                }
                'P' if rest == "PR" => {
                    form.brackets = true;
                    width = 2;
                }
                _ => return None,
            }
            rest = &rest[width..];
        }
        (form.digits() + form.fraction > 0).then_some(form)
    }

    fn digits(&self) -> usize {
        self.whole.iter().filter(|c| **c != ',').count()
    }

    fn decimal(&self) -> DataType {
        let precision = (self.digits() + self.fraction).clamp(1, 38);
        DataType::Decimal128(precision as u8, self.fraction.min(38) as i8)
    }

    /// The number as plain text; `None` where it has another form.
    fn plain(&self, given: &str) -> Option<String> {
        let mut rest = given.trim();
        let mut negative = false;
        if self.brackets && rest.starts_with('<') {
            rest = rest.strip_prefix('<')?.strip_suffix('>')?;
            negative = true;
        }
        match self.sign {
            Some(Sign::Front { plus }) => {
                negative = rest.starts_with('-');
                rest = rest.trim_start_matches(|c| c == '-' || plus && c == '+');
            }
            Some(Sign::Behind { plus }) => {
                negative = rest.ends_with('-');
                rest = rest.trim_end_matches(|c| c == '-' || plus && c == '+');
            }
            None => {}
        }
        if self.dollar {
            rest = rest.strip_prefix('$')?;
        }
        let (whole, fraction) = rest.split_once('.').map_or((rest, None), |(a, b)| (a, Some(b)));
        let fraction = fraction.unwrap_or_default();
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if fraction.len() > self.fraction || !digits(fraction) || whole.len() + fraction.len() == 0 {
            return None;
        }
        let form: String = self.whole.iter().collect();
        let (mut groups, forms) = (whole.split(',').rev().peekable(), form.split(',').rev());
        for form in forms {
            let Some(group) = groups.next() else { break };
            let last = groups.peek().is_none();
            let fits = if last { group.len() <= form.len() } else { group.len() == form.len() };
            if !fits || !digits(group) {
                return None;
            }
        }
        if groups.next().is_some() {
            return None;
        }
        let sign = if negative { "-" } else { "" };
        Some(format!("{sign}{}.{fraction}0", whole.replace(',', "")))
    }

    /// A plain number in this form; one with too many digits as `#`.
    fn write(&self, plain: &str) -> String {
        let (negative, plain) = plain.strip_prefix('-').map_or((false, plain), |rest| (true, rest));
        let (whole, fraction) = plain.split_once('.').unwrap_or((plain, ""));
        let whole = whole.trim_start_matches('0');
        let fraction = fraction.trim_end_matches('0');
        let fits = whole.len() <= self.digits() && fraction.len() <= self.fraction;
        let whole = if whole.is_empty() && self.digits() > 0 && self.point { "0" } else { whole };
        let mut digits = format!("{whole:>width$}", width = self.digits()).chars().collect::<Vec<_>>().into_iter();
        let (mut out, mut started, mut zeros) = (String::new(), false, false);
        for place in &self.whole {
            if !fits {
                out.push(if *place == ',' { ' ' } else { '#' });
                continue;
            }
            let digit = if *place == ',' { None } else { digits.next() };
            zeros |= *place == '0';
            match digit {
                Some(' ') => out.push(if zeros { '0' } else { ' ' }),
                Some(digit) => {
                    started = true;
                    out.push(digit);
                }
                None => out.push(if started || zeros { ',' } else { ' ' }),
            }
        }
        if self.point {
            out.push('.');
            let given = fraction.chars().chain(std::iter::repeat('0'));
            out.extend(given.take(self.fraction).map(|c| if fits { c } else { '#' }));
        }
        // Signs stand directly before the first digit.
        let blanks = out.len() - out.trim_start_matches(' ').len();
        let mut front = String::new();
        match self.sign {
            Some(Sign::Front { plus }) => front.push_str(if negative { "-" } else { if plus { "+" } else { " " } }),
            Some(Sign::Behind { plus }) => out.push(if negative { '-' } else { if plus { '+' } else { ' ' } }),
            None if self.brackets && negative => {
                front.push('<');
                out.push('>');
            }
            // Without a place for it the sign is left out.
            None => {}
        }
        if self.dollar {
            front.push('$');
        }
        out.insert_str(blanks, &front);
        out
    }
}

fn form_of(expr: Option<&Expr>) -> Result<(Form, String)> {
    let Some(Expr::Literal(ScalarValue::Utf8(Some(text)), _)) = expr else {
        return plan_err!("the form of a number is a constant such as '99,999.99'");
    };
    match Form::read(text) {
        Some(form) => Ok((form, text.clone())),
        None => plan_err!("[INVALID_FORMAT] '{text}' is no form of numbers"),
    }
}

/// `to_number(text, form)`
pub(super) fn to_number(planner: &Planner<'_>, args: &[Expr], raise: bool) -> Result<Expr> {
    let name = if raise { "to_number" } else { "try_to_number" };
    let [value, form] = args else { return plan_err!("{name} takes 2 arguments") };
    let (form, shape) = form_of(Some(form))?;
    let value = planner.implicit(value.clone(), super::super::Takes::Text, name)?;
    let run: super::super::Run = if raise { |call| numbers(call, true) } else { |call| numbers(call, false) };
    Ok(super::super::call(planner, name, run, form.decimal(), vec![value, lit(shape)]))
}

fn numbers(call: &Call<'_>, raise: bool) -> Result<ArrayRef> {
    let DataType::Decimal128(precision, scale) = call.out else { return plan_err!("a decimal is expected") };
    let mut values = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        if !call.complete(row) {
            values.push(None);
            continue;
        }
        let (given, form) = (text(call, 0, row), text(call, 1, row));
        let plain = Form::read(form).and_then(|form| form.plain(given));
        let value = plain.and_then(|plain| match read_decimal(&plain, *precision, *scale) {
            Fit::Value(value) => Some(value),
            _ => None,
        });
        if value.is_none() && raise {
            let message = format!("'{given}' does not have the form '{form}': try_to_number gives NULL instead");
            return Err(RowError::new("INVALID_FORMAT.MISMATCH_INPUT", message).into());
        }
        values.push(value);
    }
    Ok(Arc::new(values.into_iter().collect::<Decimal128Array>().with_precision_and_scale(*precision, *scale)?))
}

/// `to_char(value, form)`: of numbers, dates and bytes.
pub(super) fn to_char(planner: &Planner<'_>, args: Vec<Expr>) -> Result<Expr> {
    let [value, form] = super::super::conditional::exactly::<2>("to_char", args)?;
    let ty = planner.type_of(&value)?;
    if matches!(ty, DataType::Date32 | DataType::Timestamp(_, _)) {
        return planner.call("date_format", vec![value, form]);
    }
    if ty == DataType::Binary {
        let Expr::Literal(ScalarValue::Utf8(Some(form)), _) = &form else {
            return plan_err!("to_char of bytes needs a constant form");
        };
        return match form.to_ascii_lowercase().as_str() {
            "base64" => planner.call("base64", vec![value]),
            "hex" => planner.call("hex", vec![value]),
            "utf-8" => planner.call("decode", vec![value, lit("utf-8")]),
            _ => plan_err!("[INVALID_PARAMETER_VALUE.BINARY_FORMAT] to_char knows base64, hex and utf-8, not {form}"),
        };
    }
    form_of(Some(&form))?;
    let run: super::super::Run = |call| {
        let mut builder = StringBuilder::new();
        for row in 0..call.rows {
            match Form::read(if call.complete(row) { text(call, 1, row) } else { "" }) {
                Some(form) => {
                    let mut plain = String::new();
                    write_value(&mut plain, &call.args[0], row, call.zone)?;
                    builder.append_value(form.write(&plain));
                }
                None => builder.append_null(),
            }
        }
        Ok(Arc::new(builder.finish()))
    };
    Ok(super::super::call(planner, "to_char", run, DataType::Utf8, vec![value, form]))
}

/// `format_number(value, '#,##0.00')`: Java's pattern of decimals.
pub(super) fn pattern(call: &Call<'_>) -> Result<ArrayRef> {
    let mut builder = StringBuilder::new();
    for row in 0..call.rows {
        if !call.complete(row) {
            builder.append_null();
            continue;
        }
        let form = text(call, 1, row);
        let mut plain = String::new();
        write_value(&mut plain, &call.args[0], row, call.zone)?;
        let (whole, fraction) = form.split_once('.').unwrap_or((form, ""));
        let (most, least) = (fraction.len(), fraction.matches('0').count());
        let value: f64 = plain.parse().unwrap_or(f64::NAN);
        if most > MAX_TEXT {
            return Err(too_long(most).into());
        }
        let exact = call.args[0].data_type() == &DataType::Float64;
        let rounded = match exact {
            true if !value.is_finite() => {
                builder.append_value(if value.is_nan() { "NaN" } else { if value > 0.0 { "∞" } else { "-∞" } });
                continue;
            }
            true if value.abs() < 1e17 => format!("{value:.most$}"),
            true => fixed(&format!("{value}"), most, false),
            false => fixed(&plain, most, false),
        };
        let (digits, rest) = rounded.split_once('.').unwrap_or((&rounded, ""));
        let kept = rest.trim_end_matches('0').len().max(least);
        let digits = if whole.contains(',') { grouped(digits) } else { digits.to_owned() };
        builder.append_value(if kept == 0 { digits } else { format!("{digits}.{}", &rest[..kept]) });
    }
    Ok(Arc::new(builder.finish()))
}

#[cfg(test)]
mod tests {
    use super::Form;

    #[test]
    fn numbers_are_written_in_their_form() {
        for (form, number, wanted) in [
            ("999", "454", "454"),
            ("99G999D9S", "-12454.8", "12,454.8-"),
            ("$99.99", "78.12", "$78.12"),
            ("00999", "45", "00045"),
            ("9,999", "12", "   12"),
            ("99", "123", "##"),
        ] {
            assert_eq!(Form::read(form).unwrap().write(number), wanted, "{form} {number}");
        }
    }

    #[test]
    fn texts_of_another_form_are_no_numbers() {
        let plain = |form, text| Form::read(form).unwrap().plain(text);
        assert_eq!(plain("99,999.9S", "12,454.8-").as_deref(), Some("-12454.80"));
        assert_eq!(plain("99,999", "1245,4"), None);
        assert_eq!(plain("999", "4544"), None);
        assert_eq!(Form::read("9x9"), None);
    }
}
