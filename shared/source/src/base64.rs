//! Base64 with padding, appended to a buffer.

/// Appends the bytes of `text`, read strictly and fast.
#[inline]
fn append(text: &[u8], out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let done = base64_simd::STANDARD.decode_append(text, out).is_ok();
    if !done {
        out.truncate(start);
    }
    done
}

/// Appends the bytes of `text`; what Jackson forgives is forgiven: blanks between groups, bits behind the last byte,
/// several texts in a row. On failure nothing was appended.
#[inline]
pub(crate) fn append_lenient(text: &[u8], out: &mut Vec<u8>) -> bool {
    append(text, out) || append_slowly(text, out)
}

#[cold]
fn append_slowly(text: &[u8], out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let mut rest = text;
    while let Some(at) = rest.iter().position(|b| *b > b' ') {
        rest = &rest[at..];
        match group(rest, out) {
            Some(used) => rest = &rest[used..],
            None => {
                out.truncate(start);
                return false;
            }
        }
    }
    true
}

/// One group of four characters; how many of `text` were used.
fn group(text: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let group: &[u8; 4] = text.first_chunk()?;
    let data = match group {
        [_, _, b'=', b'='] => 2,
        [_, _, _, b'='] => 3,
        _ => 4,
    };
    let mut bits = 0u32;
    for (i, byte) in group.iter().enumerate() {
        bits = bits << 6 | if i < data { sextet(*byte)? } else { 0 };
    }
    out.extend_from_slice(&bits.to_be_bytes()[1..data]);
    Some(4)
}

fn sextet(byte: u8) -> Option<u32> {
    let value = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict_and_lenient() {
        for (text, strict, lenient) in [
            ("SGVsbG8=", Some("Hello"), Some("Hello")),
            ("", Some(""), Some("")),
            ("SGVs bG8=", None, Some("Hello")),
            ("SGVsbG9=", None, Some("Hello")),
            ("SGk=SGk=", None, Some("HiHi")),
            ("SGk", None, None),
            ("SGk?", None, None),
            ("====", None, None),
        ] {
            let (mut a, mut b) = (b"x".to_vec(), b"x".to_vec());
            assert_eq!(append(text.as_bytes(), &mut a).then_some(&a[1..]), strict.map(str::as_bytes), "{text}");
            assert_eq!(
                append_lenient(text.as_bytes(), &mut b).then_some(&b[1..]),
                lenient.map(str::as_bytes),
                "{text}"
            );
            assert_eq!(a[0], b'x');
        }
    }
}
