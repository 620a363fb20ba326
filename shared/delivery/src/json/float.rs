//! Floating point as Java's `Double.toString` and `Float.toString` write it.

pub(super) fn write_f64(value: f64, out: &mut Vec<u8>) {
    if !value.is_finite() {
        return not_finite(value.is_nan(), value > 0.0, out);
    }
    java(ryu::Buffer::new().format_finite(value).as_bytes(), out);
}

pub(super) fn write_f32(value: f32, out: &mut Vec<u8>) {
    if !value.is_finite() {
        return not_finite(value.is_nan(), value > 0.0, out);
    }
    java(ryu::Buffer::new().format_finite(value).as_bytes(), out);
}

fn not_finite(nan: bool, positive: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(match (nan, positive) {
        (true, _) => b"\"NaN\"".as_slice(),
        (false, true) => b"\"Infinity\"",
        (false, false) => b"\"-Infinity\"",
    });
}

/// Lays out the digits of a shortest text (`1.5`, `15e7`, `1.5e-7`) as Java does: plain from 10^-3 up to 10^7,
/// else with one digit before the point and `E`.
fn java(shortest: &[u8], out: &mut Vec<u8>) {
    let mut digits = [0u8; 24];
    let mut count = 0;
    // Places of the point from the front of `digits`.
    let mut point: i32 = 0;
    let mut seen_point = false;
    let mut exponent = 0i32;
    let mut bytes = shortest.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'-' => out.push(b'-'),
            b'.' => seen_point = true,
            b'e' => {
                let rest = std::str::from_utf8(bytes.as_slice()).unwrap_or("0");
                exponent = rest.parse().unwrap_or(0);
                break;
            }
            digit => {
                if count > 0 || digit != b'0' {
                    digits[count] = digit;
                    count += 1;
                    point += i32::from(!seen_point);
                } else if seen_point {
                    point -= 1;
                }
            }
        }
    }
    while count > 0 && digits[count - 1] == b'0' {
        count -= 1;
    }
    layout(&digits[..count], point + exponent, out);
}

/// `0.DIGITS` times ten to the `point`.
fn layout(digits: &[u8], point: i32, out: &mut Vec<u8>) {
    if digits.is_empty() {
        out.extend_from_slice(b"0.0");
        return;
    }
    let or_zero = |rest: &[u8], out: &mut Vec<u8>| out.extend_from_slice(if rest.is_empty() { b"0" } else { rest });
    match point {
        1..=7 => {
            let whole = usize::try_from(point).expect("1 to 7");
            out.extend_from_slice(&digits[..whole.min(digits.len())]);
            out.extend(std::iter::repeat_n(b'0', whole.saturating_sub(digits.len())));
            out.push(b'.');
            or_zero(digits.get(whole..).unwrap_or(&[]), out);
        }
        -2..=0 => {
            out.extend_from_slice(b"0.");
            out.extend(std::iter::repeat_n(b'0', usize::try_from(-point).expect("0 to 2")));
            out.extend_from_slice(digits);
        }
        _ => {
            out.push(digits[0]);
            out.push(b'.');
            or_zero(&digits[1..], out);
            out.push(b'E');
            super::text::integer(point - 1, out);
        }
    }
}
