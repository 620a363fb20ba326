//! Numbers and times as text without the formatting machinery.

use tidegate_core::time::civil_from_days;

/// First and last millisecond that four digits of a year can say.
const FIRST: i64 = -62_167_219_200_000;
const LAST: i64 = 253_402_300_799_999;

const MILLIS_A_DAY: i64 = 86_400_000;

#[inline]
fn two(number: u64) -> [u8; 2] {
    [b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8]
}

/// Appends `number` with exactly `N` digits.
#[inline]
pub fn fixed<const N: usize>(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [b'0'; N];
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&digits);
}

/// Appends `number` in decimal.
#[inline]
pub fn integer(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends a number of hundredths: `-12.05`.
#[inline]
pub fn hundredths(number: i64, out: &mut Vec<u8>) {
    if number < 0 {
        out.push(b'-');
    }
    let number = number.unsigned_abs();
    integer(number / 100, out);
    out.push(b'.');
    out.extend_from_slice(&two(number % 100));
}

/// Appends milliseconds since 1970 as `2026-01-01T00:00:00.000Z`. Years stay within 0 to 9999.
#[inline]
pub fn timestamp(millis: i64, out: &mut Vec<u8>) {
    let millis = millis.clamp(FIRST, LAST);
    let (year, month, day) = civil_from_days(millis.div_euclid(MILLIS_A_DAY));
    let ms = millis.rem_euclid(MILLIS_A_DAY) as u64;
    let seconds = ms / 1000;
    let mut text = *b"0000-00-00T00:00:00.000Z";
    text[0..2].copy_from_slice(&two(year as u64 / 100));
    text[2..4].copy_from_slice(&two(year as u64 % 100));
    text[5..7].copy_from_slice(&two(u64::from(month)));
    text[8..10].copy_from_slice(&two(u64::from(day)));
    text[11..13].copy_from_slice(&two(seconds / 3600));
    text[14..16].copy_from_slice(&two(seconds / 60 % 60));
    text[17..19].copy_from_slice(&two(seconds % 60));
    text[20] = b'0' + (ms % 1000 / 100) as u8;
    text[21..23].copy_from_slice(&two(ms % 100));
    out.extend_from_slice(&text);
}
