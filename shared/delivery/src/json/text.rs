//! Text of single values.

use tidegate_core::Zone;
use tidegate_core::time::civil_from_days;

/// Appends `text` in quotes, escaped as Jackson does: quote, backslash and control characters below 0x20 only.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let bytes = text.as_bytes();
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    let mut start = 0;
    for (i, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[start..i]);
        start = i + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            8 => out.extend_from_slice(b"\\b"),
            12 => out.extend_from_slice(b"\\f"),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
        }
    }
    out.extend_from_slice(&bytes[start..]);
    out.push(b'"');
}

pub(super) fn integer(value: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// `digits` (with a sign in front if negative) with the point moved `scale` places to the left.
pub(super) fn decimal(digits: &[u8], scale: i8, out: &mut Vec<u8>) {
    let digits = match digits {
        [b'-', rest @ ..] => {
            out.push(b'-');
            rest
        }
        _ => digits,
    };
    if scale <= 0 {
        out.extend_from_slice(digits);
        if digits != b"0" {
            out.extend(std::iter::repeat_n(b'0', usize::from(scale.unsigned_abs())));
        }
        return;
    }
    let scale = usize::from(scale.unsigned_abs());
    if digits.len() > scale {
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        out.extend_from_slice(whole);
        out.push(b'.');
        out.extend_from_slice(fraction);
    } else {
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(b'0', scale - digits.len()));
        out.extend_from_slice(digits);
    }
}

fn padded(value: u32, width: usize, out: &mut Vec<u8>) {
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(value);
    out.extend(std::iter::repeat_n(b'0', width.saturating_sub(digits.len())));
    out.extend_from_slice(digits.as_bytes());
}

fn two(value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(&[b'0' + (value / 10) as u8, b'0' + (value % 10) as u8]);
}

/// `yyyy-MM-dd`; years past 9999 with a plus sign, as Java does.
fn civil(days: i64, out: &mut Vec<u8>) {
    let (year, month, day) = civil_from_days(days);
    if year < 0 {
        out.push(b'-');
    } else if year > 9999 {
        out.push(b'+');
    }
    padded(u32::try_from(year.unsigned_abs()).unwrap_or(u32::MAX), 4, out);
    out.push(b'-');
    two(i64::from(month), out);
    out.push(b'-');
    two(i64::from(day), out);
}

pub(super) fn date(days: i32, out: &mut Vec<u8>) {
    out.push(b'"');
    civil(i64::from(days), out);
    out.push(b'"');
}

/// In a zone with its offset, as Spark's `to_json` writes it: with seconds where it has some.
pub(super) fn timestamp(value: i64, per_second: i64, zone: Option<Zone>, out: &mut Vec<u8>) {
    let instant = value.div_euclid(per_second);
    let offset = zone.map(|zone| zone.offset_at(instant.saturating_mul(1_000_000)));
    let seconds = instant + i64::from(offset.unwrap_or(0));
    let part = value.rem_euclid(per_second);
    // Cut, not rounded: the pattern has three digits.
    let millis = if per_second >= 1000 { part / (per_second / 1000) } else { 0 };
    let of_day = seconds.rem_euclid(86_400);
    out.push(b'"');
    civil(seconds.div_euclid(86_400), out);
    out.push(b'T');
    two(of_day / 3600, out);
    out.push(b':');
    two(of_day / 60 % 60, out);
    out.push(b':');
    two(of_day % 60, out);
    out.push(b'.');
    out.push(b'0' + (millis / 100) as u8);
    two(millis % 100, out);
    match offset {
        None => {}
        Some(0) => out.push(b'Z'),
        Some(offset) => {
            let all = i64::from(offset.unsigned_abs());
            out.push(if offset < 0 { b'-' } else { b'+' });
            two(all / 3600, out);
            out.push(b':');
            two(all / 60 % 60, out);
            if all % 60 != 0 {
                out.push(b':');
                two(all % 60, out);
            }
        }
    }
    out.push(b'"');
}

pub(super) fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    base64_simd::STANDARD.encode_append(bytes, out);
    out.push(b'"');
}
