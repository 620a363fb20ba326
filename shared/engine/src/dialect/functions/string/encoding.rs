//! Base64, Base32 and URLs.

use crate::dialect::error::RowError;

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Bytes of a line: 76 characters, as MIME has it.
const LINE: usize = 57;

/// In lines, as Spark writes it.
pub(super) fn base64(bytes: &[u8]) -> String {
    bytes.chunks(LINE).map(base64_line).collect::<Vec<_>>().join("\r\n")
}

/// In one line.
pub(in super::super) fn base64_line(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let index = (word >> (18 - 6 * i)) & 63;
            out.push(if i <= chunk.len() { char::from(BASE64[index as usize]) } else { '=' });
        }
    }
    out
}

/// Reads as Java's reader of MIME does: what is no Base64 is skipped, the last group must be whole.
pub(super) fn unbase64(text: &str) -> Result<Vec<u8>, RowError> {
    let wrong = || RowError::new("CONVERSION_INVALID_INPUT", format!("'{text}' is no Base64"));
    let mut digits = text.bytes().filter(|byte| *byte == b'=' || BASE64.contains(byte)).peekable();
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut word, mut bits, mut count) = (0_u32, 0, 0);
    while let Some(byte) = digits.next_if(|byte| *byte != b'=') {
        let value = BASE64.iter().position(|known| *known == byte).ok_or_else(wrong)?;
        word = word << 6 | value as u32;
        bits += 6;
        count += 1;
        if bits >= 8 {
            bits -= 8;
            out.push((word >> bits) as u8);
            word &= (1 << bits) - 1;
        }
    }
    let pads = digits.count();
    match (count % 4, pads) {
        (0 | 2 | 3, 0) | (2, 2) | (3, 1) => Ok(out),
        _ => Err(wrong()),
    }
}

/// Whether a text is Base64 without anything else in it but blanks; padding may be missing.
pub(super) fn is_base64(text: &str) -> bool {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let body = digits.iter().take_while(|byte| **byte != b'=').count();
    let pads = digits.len() - body;
    digits[..body].iter().all(|byte| BASE64.contains(byte))
        && digits[body..].iter().all(|byte| *byte == b'=')
        && matches!((body % 4, pads), (0 | 2 | 3, 0) | (2, 2) | (3, 1))
}

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

pub(super) fn base32(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(5) * 8);
    for chunk in bytes.chunks(5) {
        let word = chunk.iter().fold(0_u64, |word, byte| word << 8 | u64::from(*byte)) << (8 * (5 - chunk.len()));
        let digits = (chunk.len() * 8).div_ceil(5);
        for i in 0..8 {
            let index = (word >> (35 - 5 * i)) & 31;
            out.push(if i < digits { char::from(BASE32[index as usize]) } else { '=' });
        }
    }
    out
}

/// What is no Base32 is skipped; the first `=` ends the text.
pub(super) fn unbase32(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() / 8 * 5);
    let (mut word, mut bits, mut count) = (0_u32, 0, 0);
    for byte in text.bytes().take_while(|byte| *byte != b'=') {
        let Some(value) = BASE32.iter().position(|known| *known == byte.to_ascii_uppercase()) else { continue };
        word = word << 5 | value as u32;
        bits += 5;
        count += 1;
        if bits >= 8 {
            bits -= 8;
            out.push((word >> bits) as u8);
        }
    }
    // Spark makes a byte of a digit that is left over as well, with the bits before it.
    if count % 8 == 1 {
        out.push((word >> 2) as u8);
    }
    out
}

/// Whether Java's `URI` takes a text.
pub(super) fn is_uri(text: &str) -> bool {
    let head = text.find([':', '/', '?', '#']);
    if let Some(at) = head.filter(|at| text[*at..].starts_with(':')) {
        let (scheme, rest) = (&text[..at], &text[at + 1..]);
        let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.chars().all(known) || rest.is_empty() {
            return false;
        }
    }
    let mut bytes = text.char_indices();
    let hex = |at: usize| text.as_bytes().get(at).is_some_and(u8::is_ascii_hexdigit);
    bytes.all(|(at, c)| match c {
        '%' => hex(at + 1) && hex(at + 2),
        _ if c.is_ascii() => c.is_ascii_alphanumeric() || "-_.!~*'();/?:@&=+$,[]#".contains(c),
        _ => !c.is_control() && !c.is_whitespace(),
    }) && text.matches('#').count() <= 1
}

/// Text in a character set; `Err` names a set that is not known, `Ok(None)` is a character that it does not have.
pub(super) fn to_charset(text: &str, charset: &str) -> Result<Option<Vec<u8>>, RowError> {
    let limited = |limit: u32| {
        let byte = |c: char| (u32::from(c) < limit).then_some(u32::from(c) as u8);
        text.chars().map(byte).collect::<Option<Vec<u8>>>()
    };
    Ok(match charset.to_ascii_uppercase().as_str() {
        "UTF-8" => Some(text.as_bytes().to_vec()),
        "US-ASCII" => limited(128),
        "ISO-8859-1" => limited(256),
        "UTF-16BE" => Some(text.encode_utf16().flat_map(u16::to_be_bytes).collect()),
        "UTF-16LE" => Some(text.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        "UTF-16" if text.is_empty() => Some(vec![]),
        "UTF-16" => Some([0xfe, 0xff].into_iter().chain(text.encode_utf16().flat_map(u16::to_be_bytes)).collect()),
        "UTF-32" => Some(text.chars().flat_map(|c| u32::from(c).to_be_bytes()).collect()),
        _ => return Err(unknown_charset(charset)),
    })
}

/// The reverse of [`to_charset`].
pub(super) fn from_charset(bytes: &[u8], charset: &str) -> Result<Option<String>, RowError> {
    let utf16 = |bytes: &[u8], read: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| read([pair[0], pair[1]])).collect();
        if bytes.len().is_multiple_of(2) { String::from_utf16(&units).ok() } else { None }
    };
    Ok(match charset.to_ascii_uppercase().as_str() {
        "UTF-8" => std::str::from_utf8(bytes).ok().map(str::to_owned),
        "US-ASCII" => bytes.is_ascii().then(|| bytes.iter().map(|byte| char::from(*byte)).collect()),
        "ISO-8859-1" => Some(bytes.iter().map(|byte| char::from(*byte)).collect()),
        "UTF-16BE" => utf16(bytes, u16::from_be_bytes),
        "UTF-16LE" => utf16(bytes, u16::from_le_bytes),
        "UTF-16" => match bytes {
            [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
            [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
            all => utf16(all, u16::from_be_bytes),
        },
        "UTF-32" => {
            let word = |four: &[u8]| char::from_u32(u32::from_be_bytes([four[0], four[1], four[2], four[3]]));
            let text = bytes.chunks_exact(4).map(word).collect::<Option<String>>();
            text.filter(|_| bytes.len().is_multiple_of(4))
        }
        _ => return Err(unknown_charset(charset)),
    })
}

fn unknown_charset(charset: &str) -> RowError {
    let known = "UTF-8, US-ASCII, ISO-8859-1, UTF-16, UTF-16BE, UTF-16LE, UTF-32";
    RowError::new("INVALID_PARAMETER_VALUE.CHARSET", format!("'{charset}' is no character set: {known} are"))
}

pub(super) fn url_decode(text: &str) -> Result<String, RowError> {
    let wrong = || RowError::new("CANNOT_DECODE_URL", format!("'{text}' is no encoded URL"));
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let mut digit = || (bytes.next().map(char::from)).and_then(|c| c.to_digit(16)).ok_or_else(wrong);
                out.push((digit()? * 16 + digit()?) as u8);
            }
            other => out.push(other),
        }
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}
