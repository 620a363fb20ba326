//! Base64, Base32 and URLs.

use crate::dialect::error::RowError;

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub(super) fn base64(bytes: &[u8]) -> String {
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

pub(super) fn unbase64(text: &str) -> Result<Vec<u8>, RowError> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut word, mut bits) = (0_u32, 0);
    for byte in text.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'=') {
        // Java's reader of MIME skips what is no base64.
        let Some(value) = BASE64.iter().position(|known| *known == byte) else { continue };
        word = word << 6 | value as u32;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((word >> bits) as u8);
            word &= (1 << bits) - 1;
        }
    }
    Ok(out)
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

pub(super) fn unbase32(text: &str) -> Result<Vec<u8>, RowError> {
    let mut out = Vec::with_capacity(text.len() / 8 * 5);
    let (mut word, mut bits) = (0_u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let value = BASE32.iter().position(|known| *known == byte.to_ascii_uppercase());
        let wrong = || RowError::new("CONVERSION_INVALID_INPUT", format!("'{text}' is no Base32"));
        word = word << 5 | value.ok_or_else(wrong)? as u32;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            out.push((word >> bits) as u8);
            word &= (1 << bits) - 1;
        }
    }
    Ok(out)
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
