//! Decimals: exact, rounded half up to the column's scale, as in Spark.

use crate::scan::Number;

/// Largest precision of a decimal column.
const MAX_DIGITS: usize = 38;

/// `10^n` for `n` up to 38.
const POWERS: [i128; MAX_DIGITS + 1] = {
    let mut powers = [1i128; MAX_DIGITS + 1];
    let mut i = 1;
    while i <= MAX_DIGITS {
        powers[i] = powers[i - 1] * 10;
        i += 1;
    }
    powers
};

/// The unscaled value of a JSON number for `decimal(precision, scale)`; `None` when it is too large.
/// `text` is the number as it stands in the record.
#[inline]
pub(crate) fn from_number(number: &Number, text: &[u8], precision: u8, scale: u8) -> Option<i128> {
    let shift = i64::from(number.exponent) + i64::from(scale);
    if !number.exact || !(-18..=18).contains(&shift) {
        return from_text(text, precision, scale);
    }
    let value = i128::from(number.mantissa);
    let value = if shift >= 0 {
        value * POWERS[shift as usize]
    } else {
        // Both fit 64 bits here, where a division is cheap.
        let power = POWERS[(-shift) as usize] as u64;
        let (quotient, rest) = (number.mantissa / power, number.mantissa % power);
        i128::from(quotient) + i128::from(rest >= power - rest)
    };
    within(value, number.negative, precision)
}

#[inline]
fn within(value: i128, negative: bool, precision: u8) -> Option<i128> {
    (value < POWERS[usize::from(precision)]).then_some(if negative { -value } else { value })
}

/// The unscaled value of a text in the grammar of Java's `BigDecimal`, commas left out: `-1,000.5e3`.
pub(crate) fn from_text(text: &[u8], precision: u8, scale: u8) -> Option<i128> {
    let parts = Parts::read(text)?;
    // Digits of the value that stand before the cut at `scale`.
    let kept = parts.count as i64 + parts.exponent + i64::from(scale);
    let mut value = 0i128;
    let mut rounding = None;
    let mut place = 0i64;
    for digit in parts.digits() {
        if place >= kept {
            rounding = Some(digit);
            break;
        }
        if value >= POWERS[MAX_DIGITS - 1] {
            return None;
        }
        value = value * 10 + i128::from(digit);
        place += 1;
    }
    if kept < 0 {
        return Some(0);
    }
    if value > 0 {
        let zeros = usize::try_from(kept - place).ok().filter(|zeros| *zeros <= MAX_DIGITS)?;
        value = value.checked_mul(POWERS[zeros])?;
    }
    value += i128::from(rounding.is_some_and(|digit| digit >= 5));
    within(value, parts.negative, precision)
}

/// A decimal text taken apart: its digits without leading zeros, and the power of ten behind the last one.
struct Parts<'a> {
    negative: bool,
    text: &'a [u8],
    count: usize,
    exponent: i64,
}

impl<'a> Parts<'a> {
    fn read(text: &'a [u8]) -> Option<Self> {
        let (negative, rest) = match text.first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let split = rest.iter().position(|b| matches!(b, b'e' | b'E'));
        let (digits, power) = split.map_or((rest, None), |at| (&rest[..at], Some(&rest[at + 1..])));
        let mut seen = false;
        let mut point = false;
        let (mut count, mut exponent) = (0usize, 0i64);
        for byte in digits {
            match byte {
                b'0'..=b'9' => {
                    seen = true;
                    exponent -= i64::from(point);
                    count += usize::from(count > 0 || *byte != b'0');
                }
                b'.' if !point => point = true,
                b',' => {}
                _ => return None,
            }
        }
        let power = power.map_or(Some(0), power_of_ten)?;
        seen.then_some(Self { negative, text: digits, count, exponent: exponent + power })
    }

    fn digits(&self) -> impl Iterator<Item = u8> {
        let digits = self.text.iter().filter(|b| b.is_ascii_digit()).map(|b| b - b'0');
        digits.skip_while(|digit| *digit == 0)
    }
}

fn power_of_ten(text: &[u8]) -> Option<i64> {
    let text: Vec<u8> = text.iter().copied().filter(|b| *b != b',').collect();
    std::str::from_utf8(&text).ok()?.parse::<i32>().ok().map(i64::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan;
    use proptest::prelude::*;

    fn number(text: &str, precision: u8, scale: u8) -> Option<i128> {
        let number = scan::number(text.as_bytes(), 0).unwrap();
        from_number(&number, text.as_bytes(), precision, scale)
    }

    #[test]
    fn rounds_half_up() {
        for (text, expected) in [
            ("1.005", Some(101)),
            ("-1.005", Some(-101)),
            ("1.004999999999999999999999999", Some(100)),
            ("0.005", Some(1)),
            ("0.0049", Some(0)),
            ("1e-400", Some(0)),
            ("5e-3", Some(1)),
            ("12e3", Some(1_200_000)),
            ("9999999999.994", Some(999_999_999_999)),
            ("9999999999.995", None),
            ("1e400", None),
            ("0e400", Some(0)),
            ("0.000000000000000000000000000000000000000000000", Some(0)),
            ("-0", Some(0)),
        ] {
            assert_eq!(number(text, 12, 2), expected, "{text}");
            assert_eq!(from_text(text.as_bytes(), 12, 2), expected, "{text} as text");
        }
        assert_eq!(number("99999999999999999999999999999999999999", 38, 0), Some(POWERS[38] - 1));
        assert_eq!(number("99999999999999999999999999999999999999.5", 38, 0), None);
        assert_eq!(number("0.1", 38, 38), Some(POWERS[37]));
    }

    #[test]
    fn texts_as_java_reads_them() {
        for (text, expected) in [
            ("1,000.50", Some(100_050)),
            ("+1.5", Some(150)),
            (".5", Some(50)),
            ("1.", Some(100)),
            ("1e1", Some(1000)),
            ("1E+1", Some(1000)),
            ("", None),
            ("-", None),
            (".", None),
            (" 1", None),
            ("1x", None),
            ("1.2.3", None),
            ("1e", None),
            ("NaN", None),
        ] {
            assert_eq!(from_text(text.as_bytes(), 12, 2), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn quick_agrees_with_slow(text in "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,22})?(e-?[0-9]{1,2})?", scale in 0u8..=20) {
            prop_assert_eq!(number(&text, 38, scale), from_text(text.as_bytes(), 38, scale));
        }

        #[test]
        fn never_panics(text in "[-+0-9.,eE]{0,60}", precision in 1u8..=38, scale in 0u8..=38) {
            let _ = from_text(text.as_bytes(), precision, scale.min(precision));
        }
    }
}
