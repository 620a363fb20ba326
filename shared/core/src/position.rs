//! Where a record stands in its partition. Positions are numbers and are compared as numbers.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// An unsigned 256-bit number: wide enough for Kinesis sequence numbers, which have up to 56 decimal digits
/// (about 186 bits). Kafka offsets and line numbers fit as well.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Sequence {
    high: u128,
    low: u128,
}

impl Sequence {
    /// The smallest number.
    pub const ZERO: Self = Self { high: 0, low: 0 };

    /// Reads decimal digits; `None` for anything else, for an empty text and past 256 bits.
    pub fn from_decimal(digits: &[u8]) -> Option<Self> {
        let (head, rest) = digits.split_at(digits.len() % 16);
        if digits.is_empty() || !head.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let mut value = Self::from(head.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')));
        // 16 digits at a time: one wide multiplication per chunk.
        for chunk in rest.chunks_exact(16) {
            let (high, low) = chunk.split_at(8);
            let part = eight_digits(high.try_into().ok()?)? * 100_000_000 + eight_digits(low.try_into().ok()?)?;
            value = value.mul_add(10u64.pow(16), part)?;
        }
        Some(value)
    }

    fn mul_add(self, factor: u64, addend: u64) -> Option<Self> {
        const MASK: u128 = u64::MAX as u128;
        let mut limbs = [self.low & MASK, self.low >> 64, self.high & MASK, self.high >> 64];
        let mut carry = u128::from(addend);
        for limb in &mut limbs {
            let product = *limb * u128::from(factor) + carry;
            *limb = product & MASK;
            carry = product >> 64;
        }
        (carry == 0).then_some(Self { high: limbs[3] << 64 | limbs[2], low: limbs[1] << 64 | limbs[0] })
    }

    fn div_rem(self, divisor: u64) -> (Self, u64) {
        const MASK: u128 = u64::MAX as u128;
        let mut limbs = [self.high >> 64, self.high & MASK, self.low >> 64, self.low & MASK];
        let mut remainder = 0u128;
        for limb in &mut limbs {
            let value = remainder << 64 | *limb;
            *limb = value / u128::from(divisor);
            remainder = value % u128::from(divisor);
        }
        (Self { high: limbs[0] << 64 | limbs[1], low: limbs[2] << 64 | limbs[3] }, remainder as u64)
    }

    /// The number as 32 big-endian bytes.
    pub fn to_be_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&self.high.to_be_bytes());
        bytes[16..].copy_from_slice(&self.low.to_be_bytes());
        bytes
    }

    /// The number from 32 big-endian bytes.
    pub fn from_be_bytes(bytes: [u8; 32]) -> Self {
        let (high, low) = bytes.split_at(16);
        Self {
            high: u128::from_be_bytes(high.try_into().expect("16 bytes")),
            low: u128::from_be_bytes(low.try_into().expect("16 bytes")),
        }
    }

    /// The number as `u64`, where it fits (Kafka offsets, line numbers).
    pub fn as_u64(self) -> Option<u64> {
        (self.high == 0).then_some(self.low)?.try_into().ok()
    }
}

/// The number that eight decimal digits stand for, read as one word: pairs, then fours, then all of them are joined.
fn eight_digits(text: [u8; 8]) -> Option<u64> {
    let word = u64::from_le_bytes(text);
    // Each byte is 0x30 to 0x39: its high half is 3, also after 6 was added.
    let high = 0xf0f0_f0f0_f0f0_f0f0;
    let threes = 0x3030_3030_3030_3030;
    if word & high != threes || (word + 0x0606_0606_0606_0606) & high != threes {
        return None;
    }
    let ones = word & 0x0f0f_0f0f_0f0f_0f0f;
    let pairs = (ones * 10 + (ones >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    Some((fours * 10_000 + (fours >> 32)) & 0xffff_ffff)
}

impl From<u64> for Sequence {
    fn from(value: u64) -> Self {
        Self { high: 0, low: value.into() }
    }
}

impl FromStr for Sequence {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::from_decimal(text.as_bytes())
            .ok_or_else(|| Error::invalid(format!("'{text}' is no position: decimal digits are expected")))
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut chunks = Vec::with_capacity(5);
        let mut value = *self;
        loop {
            let (rest, chunk) = value.div_rem(10u64.pow(18));
            chunks.push(chunk);
            value = rest;
            if value == Self::ZERO {
                break;
            }
        }
        let mut text = chunks.pop().unwrap_or(0).to_string();
        for chunk in chunks.iter().rev() {
            text.push_str(&format!("{chunk:018}"));
        }
        f.pad_integral(true, "", &text)
    }
}

impl fmt::Debug for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where a record stands: the source's number, and the place inside an aggregated record (KPL) if there is one.
///
/// What is committed of a partition is the half-open range `(.., position]`: the next record to take is the
/// first one whose position is larger.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Position {
    /// Kinesis sequence number, Kafka offset, or 1-based line number.
    pub sequence: Sequence,
    /// Place of a user record inside an aggregated Kinesis record; 0 otherwise.
    pub sub: u64,
}

impl Position {
    /// The position of a record that is not part of an aggregated one.
    pub fn new(sequence: impl Into<Sequence>) -> Self {
        Self { sequence: sequence.into(), sub: 0 }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sub {
            0 => self.sequence.fmt(f),
            sub => write!(f, "{}.{sub}", self.sequence),
        }
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn kinesis_numbers_compare_as_numbers() {
        let small: Sequence = "9".parse().unwrap();
        let large: Sequence = "49590338271490256608559692538361571095921575989136588898".parse().unwrap();
        assert!(small < large);
        assert_eq!(large.to_string(), "49590338271490256608559692538361571095921575989136588898");
        assert!("".parse::<Sequence>().is_err());
        assert!("-1".parse::<Sequence>().is_err());
        assert!("9".repeat(78).parse::<Sequence>().is_err());
        for at in 0..40 {
            for wrong in ["/", ":", "a", " ", "\u{e9}"] {
                let mut text = "7".repeat(40);
                text.replace_range(at..=at, wrong);
                assert!(text.parse::<Sequence>().is_err(), "{text}");
            }
        }
    }

    proptest! {
        #[test]
        fn text_and_bytes_round_trip(high: u128, low: u128) {
            let value = Sequence { high, low };
            prop_assert_eq!(value.to_string().parse::<Sequence>().unwrap(), value);
            prop_assert_eq!(Sequence::from_be_bytes(value.to_be_bytes()), value);
        }

        #[test]
        fn small_numbers_keep_their_order(a: u64, b: u64) {
            prop_assert_eq!(Sequence::from(a).cmp(&Sequence::from(b)), a.cmp(&b));
            prop_assert_eq!(Sequence::from(a).as_u64(), Some(a));
        }
    }
}
