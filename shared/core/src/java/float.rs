//! Floating point as Java 17 writes it (`Double.toString`, `Float.toString`), which is what Spark writes.
//!
//! Java up to 18 does not always write the shortest digits that read back as the same number: `2e23` is
//! `1.9999999999999998E23`, and integers above 2^53 may have a digit too many. The digits are generated here in
//! the way that yields the same texts: one by one until they tell the number from its neighbours, with the
//! comparisons made in 32, 64 or unbounded bits as Java makes them, overflows included.

use std::cmp::Ordering;

use super::big::Big;

/// Appends a double: `1.0E10`, `100.0`, `NaN`, `-Infinity`.
pub fn write_f64(value: f64, out: &mut Vec<u8>) {
    let bits = value.to_bits();
    let (exponent, fraction) = ((bits >> 52) as i32 & 0x7ff, bits & ((1 << 52) - 1));
    if exponent == 0x7ff {
        return not_finite(fraction != 0, value > 0.0, out);
    }
    if value.is_sign_negative() {
        out.push(b'-');
    }
    match (exponent, fraction) {
        (0, 0) => out.extend_from_slice(b"0.0"),
        (0, _) => {
            let shift = fraction.leading_zeros() as i32 - 11;
            digits(1 - shift - 1023, fraction << shift, 53 - shift, out);
        }
        _ => digits(exponent - 1023, fraction | 1 << 52, 53, out),
    }
}

/// Appends a float.
pub fn write_f32(value: f32, out: &mut Vec<u8>) {
    let bits = value.to_bits();
    let (exponent, fraction) = ((bits >> 23) as i32 & 0xff, bits & ((1 << 23) - 1));
    if exponent == 0xff {
        return not_finite(fraction != 0, value > 0.0, out);
    }
    if value.is_sign_negative() {
        out.push(b'-');
    }
    match (exponent, fraction) {
        (0, 0) => out.extend_from_slice(b"0.0"),
        (0, _) => {
            let shift = fraction.leading_zeros() as i32 - 8;
            digits(1 - shift - 127, u64::from(fraction << shift) << 29, 24 - shift, out);
        }
        _ => digits(exponent - 127, u64::from(fraction | 1 << 23) << 29, 24, out),
    }
}

fn not_finite(nan: bool, positive: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(match (nan, positive) {
        (true, _) => b"NaN".as_slice(),
        (false, true) => b"Infinity",
        (false, false) => b"-Infinity",
    });
}

/// The constant of Java's estimate, with its digits.
#[expect(clippy::approx_constant, reason = "the same estimate gives the same digits")]
const JAVA_LOG10_2: f64 = 0.301029995663981;

/// Bits that 5^n takes, as Java estimates them.
fn bits_of_power(n: i32) -> i32 {
    match n {
        0 => 0,
        1..=26 => 64 - 5u64.pow(n.unsigned_abs()).leading_zeros() as i32,
        _ => n * 3,
    }
}

/// Writes `fraction / 2^52 * 2^exponent`; bit 52 of `fraction` is set, its `precision` highest bits are significant.
fn digits(exponent: i32, fraction: u64, precision: i32, out: &mut Vec<u8>) {
    let trailing = fraction.trailing_zeros() as i32;
    let used = 53 - trailing;
    let fractional = (used - exponent - 1).max(0);
    if fractional == 0 && exponent <= 62 {
        return whole(exponent, fraction, precision, out);
    }
    // An estimate of log10; one too large shows as a leading zero.
    let mantissa = f64::from_bits(1023 << 52 | fraction & ((1 << 52) - 1));
    let log = (mantissa - 1.5) * 0.289529654 + 0.176091259 + f64::from(exponent) * JAVA_LOG10_2;
    let mut decimal = log.floor() as i32;
    let b5 = (-decimal).max(0);
    let s5 = decimal.max(0);
    let mut b2 = b5 + fractional + exponent;
    let mut s2 = s5 + fractional;
    let mut m2 = b2 - precision;
    b2 -= used - 1;
    let common = b2.min(s2);
    b2 -= common;
    s2 -= common;
    m2 -= common + i32::from(used == 1);
    if m2 < 0 {
        b2 -= m2;
        s2 -= m2;
        m2 = 0;
    }
    let size = (used + b2 + bits_of_power(b5)).max(s2 + 1 + bits_of_power(s5 + 1));
    let fraction = fraction >> trailing;
    let start = Start { fraction, b5, b2, s5, s2, m2 };
    let mut buffer = [0; MAX_DIGITS];
    let count = if size < 32 {
        generate::<i32>(&start, &mut decimal, &mut buffer)
    } else if size < 64 {
        generate::<i64>(&start, &mut decimal, &mut buffer)
    } else {
        generate::<Big>(&start, &mut decimal, &mut buffer)
    };
    layout(&buffer[..count], decimal + 1, out);
}

/// A whole number below 2^63. Digits that its precision does not reach are rounded off.
fn whole(exponent: i32, fraction: u64, precision: i32, out: &mut Vec<u8>) {
    let mut value = if exponent >= 52 { fraction << (exponent - 52) } else { fraction >> (52 - exponent) };
    let spare = exponent - precision - 1;
    let drop = if spare > 1 { (f64::from(spare) * std::f64::consts::LOG10_2) as u32 } else { 0 };
    if drop > 0 {
        let unit = 10u64.pow(drop);
        value = value / unit + u64::from(value % unit >= unit / 2);
    }
    let mut buffer = itoa::Buffer::new();
    let text = buffer.format(value).as_bytes();
    layout(text, text.len() as i32 + drop as i32, out);
}

/// Digits that are generated at most.
const MAX_DIGITS: usize = 32;

/// `b / s` is the number over a power of ten, `m` half the distance to its neighbours:
/// `b = fraction * 5^b5 * 2^b2`, `s = 5^s5 * 2^s2`, `m = 5^b5 * 2^m2`.
struct Start {
    fraction: u64,
    b5: i32,
    b2: i32,
    s5: i32,
    s2: i32,
    m2: i32,
}

/// Numbers that digits are generated with.
pub(super) trait Number: Sized {
    /// `factor * 5^five * 2^two`.
    fn of(factor: u64, five: i32, two: i32) -> Self;
    /// Ten times itself.
    fn times_ten(&mut self);
    /// Takes the digit `self / unit` and goes on with ten times the rest.
    fn digit(&mut self, unit: &Self) -> u8;
    /// Is what is left below `m`; is it within `m` of the next digit?
    fn ends(&self, m: &Self, tens: &Self) -> (bool, bool);
    /// Twice what is left against the next digit.
    fn half(&self, tens: &Self) -> Ordering;
}

macro_rules! native {
    ($type:ty) => {
        impl Number for $type {
            fn of(factor: u64, five: i32, two: i32) -> Self {
                ((factor as Self).wrapping_mul((5 as Self).wrapping_pow(five.unsigned_abs()))).wrapping_shl(two as u32)
            }

            fn times_ten(&mut self) {
                *self = self.wrapping_mul(10);
            }

            fn digit(&mut self, unit: &Self) -> u8 {
                let digit = *self / unit;
                *self = (*self % unit).wrapping_mul(10);
                digit as u8
            }

            fn ends(&self, m: &Self, tens: &Self) -> (bool, bool) {
                // An overflown m is larger than everything.
                if *m > 0 { (self < m, self.wrapping_add(*m) > *tens) } else { (true, true) }
            }

            fn half(&self, tens: &Self) -> Ordering {
                self.wrapping_shl(1).wrapping_sub(*tens).cmp(&0)
            }
        }
    };
}

native!(i32);
native!(i64);

fn generate<N: Number>(start: &Start, decimal: &mut i32, out: &mut [u8; MAX_DIGITS]) -> usize {
    let mut b = N::of(start.fraction, start.b5, start.b2);
    let unit = N::of(1, start.s5, start.s2);
    let mut tens = N::of(1, start.s5, start.s2);
    tens.times_ten();
    let mut m = N::of(1, start.b5, start.m2);
    let mut count = 0;
    let first = b.digit(&unit);
    m.times_ten();
    let (mut low, mut high) = b.ends(&m, &tens);
    if first == 0 && !high {
        *decimal -= 1;
    } else {
        out[0] = b'0' + first;
        count = 1;
    }
    // With an exponent there is always a digit behind the point.
    if *decimal < -3 || *decimal >= 8 {
        (low, high) = (false, false);
    }
    while !low && !high && count < MAX_DIGITS {
        out[count] = b'0' + b.digit(&unit);
        count += 1;
        m.times_ten();
        (low, high) = b.ends(&m, &tens);
    }
    let up = high
        && (!low
            || match b.half(&tens) {
                Ordering::Greater => true,
                Ordering::Equal => out[count - 1] & 1 == 1,
                Ordering::Less => false,
            });
    if up {
        round_up(&mut out[..count], decimal);
    }
    count
}

fn round_up(digits: &mut [u8], decimal: &mut i32) {
    for digit in digits.iter_mut().rev() {
        if *digit < b'9' {
            *digit += 1;
            return;
        }
        *digit = b'0';
    }
    if let Some(first) = digits.first_mut() {
        *first = b'1';
        *decimal += 1;
    }
}

/// Writes `0.DIGITS` times ten to the `point`: plain from 10^-3 up to 10^7, else with `E`.
fn layout(digits: &[u8], point: i32, out: &mut Vec<u8>) {
    let zeros = digits.iter().rev().take_while(|digit| **digit == b'0').count();
    let digits = &digits[..digits.len() - zeros];
    let or_zero = |rest: &[u8], out: &mut Vec<u8>| out.extend_from_slice(if rest.is_empty() { b"0" } else { rest });
    match point {
        1..=7 => {
            let whole = usize::try_from(point).unwrap_or_default();
            out.extend_from_slice(&digits[..whole.min(digits.len())]);
            out.extend(std::iter::repeat_n(b'0', whole.saturating_sub(digits.len())));
            out.push(b'.');
            or_zero(digits.get(whole..).unwrap_or(&[]), out);
        }
        -2..=0 => {
            out.extend_from_slice(b"0.");
            out.extend(std::iter::repeat_n(b'0', point.unsigned_abs() as usize));
            out.extend_from_slice(digits);
        }
        _ => {
            out.push(digits.first().copied().unwrap_or(b'0'));
            out.push(b'.');
            or_zero(digits.get(1..).unwrap_or(&[]), out);
            out.push(b'E');
            out.extend_from_slice(itoa::Buffer::new().format(point - 1).as_bytes());
        }
    }
}
