//! Reading JSON text byte by byte: strings, numbers, and values that nobody wants.
//!
//! Strict like Jackson with Spark's defaults: no comments, no trailing commas, no leading zeros, no control
//! characters inside strings, only JSON's escapes. The bare words `NaN` and `Infinity` are numbers, as in Spark.
//! Single quotes are not accepted.

/// How deep arrays and objects may be nested, counted from the record; Jackson's limit in Spark.
pub const MAX_JSON_DEPTH: usize = 1000;

/// The longest number in bytes; Jackson's limit in Spark.
pub(crate) const MAX_NUMBER_BYTES: usize = 1000;

/// Text that is no JSON: where, and what is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Syntax {
    pub at: usize,
    pub what: &'static str,
}

#[cold]
pub(crate) fn syntax<T>(at: usize, what: &'static str) -> Result<T, Syntax> {
    Err(Syntax { at, what })
}

/// Index of the first byte at or behind `i` that is no blank.
#[inline]
pub(crate) fn blanks(b: &[u8], mut i: usize) -> usize {
    while let Some(byte) = b.get(i) {
        // One comparison settles the usual case.
        if *byte > b' ' || !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
            break;
        }
        i += 1;
    }
    i
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = ONES << 7;

/// Index of the first quote, backslash or control byte at or behind `i`; the length of `b` when there is none.
#[inline]
pub(crate) fn string_stop(b: &[u8], mut i: usize) -> usize {
    // Most strings are short: two words settle them.
    for _ in 0..2 {
        let Some(chunk) = b.get(i..).and_then(|rest| rest.first_chunk::<8>()) else { return short_stop(b, i) };
        let hits = stops(chunk);
        if hits != 0 {
            return i + hits.trailing_zeros() as usize / 8;
        }
        i += 8;
    }
    long_stop(b, i)
}

/// One flag for each byte at which a string stops. The lowest flag is exact; those above it may be wrong by a borrow
/// and must not be looked at.
#[inline]
fn stops(chunk: &[u8; 8]) -> u64 {
    let x = u64::from_le_bytes(*chunk);
    let quote = x ^ (ONES * u64::from(b'"'));
    let backslash = x ^ (ONES * u64::from(b'\\'));
    let hits = (quote.wrapping_sub(ONES) & !quote)
        | (backslash.wrapping_sub(ONES) & !backslash)
        | (x.wrapping_sub(ONES * 0x20) & !x);
    hits & HIGHS
}

#[inline]
fn is_stop(byte: u8) -> bool {
    (byte == b'"') | (byte == b'\\') | (byte < 0x20)
}

fn long_stop(b: &[u8], mut i: usize) -> usize {
    // Without early exits inside a block the compiler uses vector instructions.
    while let Some(block) = b.get(i..).and_then(|rest| rest.first_chunk::<64>()) {
        if block.iter().fold(false, |any, byte| any | is_stop(*byte)) {
            break;
        }
        i += 64;
    }
    while let Some(chunk) = b.get(i..).and_then(|rest| rest.first_chunk::<8>()) {
        let hits = stops(chunk);
        if hits != 0 {
            return i + hits.trailing_zeros() as usize / 8;
        }
        i += 8;
    }
    short_stop(b, i)
}

fn short_stop(b: &[u8], i: usize) -> usize {
    b[i..].iter().position(|byte| is_stop(*byte)).map_or(b.len(), |offset| i + offset)
}

/// A string's text as it stands between its quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Text {
    pub start: usize,
    pub end: usize,
    pub escaped: bool,
}

impl Text {
    /// The bytes between the quotes, escapes not resolved.
    #[inline]
    pub fn raw<'a>(&self, b: &'a [u8]) -> &'a [u8] {
        &b[self.start..self.end]
    }

    /// The text with escapes resolved; `scratch` is used only if there are any.
    #[inline]
    pub fn resolve<'a>(&self, b: &'a [u8], scratch: &'a mut Vec<u8>) -> &'a [u8] {
        if !self.escaped {
            return self.raw(b);
        }
        scratch.clear();
        unescape(self.raw(b), scratch);
        scratch
    }
}

/// Reads the string whose opening quote stands just before `i`. The index behind the closing quote is `end + 1`.
#[inline]
pub(crate) fn string(b: &[u8], start: usize) -> Result<Text, Syntax> {
    let end = string_stop(b, start);
    match b.get(end) {
        Some(b'"') => Ok(Text { start, end, escaped: false }),
        _ => string_slow(b, start, end),
    }
}

fn string_slow(b: &[u8], start: usize, mut i: usize) -> Result<Text, Syntax> {
    loop {
        match b.get(i) {
            Some(b'"') => return Ok(Text { start, end: i, escaped: true }),
            Some(b'\\') => match b.get(i + 1) {
                Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => i += 2,
                Some(b'u') if b.get(i + 2..i + 6).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)) => i += 6,
                _ => return syntax(i, "an escape that JSON does not know"),
            },
            Some(_) => return syntax(i, "a control character inside a string"),
            None => return syntax(i, "a string without its closing quote"),
        }
        i = string_stop(b, i);
    }
}

/// Appends `raw` with its escapes resolved. Half a surrogate pair becomes `?`, as Java writes it.
/// `raw` must have passed [`string`].
pub(crate) fn unescape(raw: &[u8], out: &mut Vec<u8>) {
    let mut i = 0;
    while i < raw.len() {
        let Some(offset) = memchr::memchr(b'\\', &raw[i..]) else {
            out.extend_from_slice(&raw[i..]);
            return;
        };
        out.extend_from_slice(&raw[i..i + offset]);
        i += offset;
        let simple = match raw.get(i + 1) {
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => {
                i = unescape_unicode(raw, i, out);
                continue;
            }
            Some(other) => *other,
            None => return,
        };
        out.push(simple);
        i += 2;
    }
}

fn unescape_unicode(raw: &[u8], i: usize, out: &mut Vec<u8>) -> usize {
    let first = hex4(raw, i + 2);
    let (code, next) = match first {
        0xD800..0xDC00 if raw.get(i + 6..i + 8) == Some(b"\\u") => match hex4(raw, i + 8) {
            second @ 0xDC00..0xE000 => (0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00), i + 12),
            _ => (first, i + 6),
        },
        _ => (first, i + 6),
    };
    let char = char::from_u32(code).unwrap_or('?');
    out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
    next
}

fn hex4(raw: &[u8], at: usize) -> u32 {
    let digits = raw.get(at..at + 4).unwrap_or_default();
    digits.iter().fold(0, |sum, d| sum << 4 | (*d as char).to_digit(16).unwrap_or(0))
}

/// A number as it stands in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number {
    pub end: usize,
    /// Neither a point nor an exponent.
    pub integer: bool,
    pub negative: bool,
    /// All digits as one whole number; meaningless unless `exact`.
    pub mantissa: u64,
    /// The value is `mantissa * 10^exponent`.
    pub exponent: i32,
    /// The digits fit the mantissa.
    pub exact: bool,
}

/// Digits that a `u64` always holds.
const MANTISSA_DIGITS: usize = 19;

/// Reads a number that starts at `start`.
#[inline]
pub(crate) fn number(b: &[u8], start: usize) -> Result<Number, Syntax> {
    let negative = b.get(start) == Some(&b'-');
    let first = start + usize::from(negative);
    let (mut i, mut mantissa) = digits(b, first, 0);
    let whole = i - first;
    if whole == 0 {
        return syntax(start, "a value is expected");
    }
    if whole > 1 && b[first] == b'0' {
        return syntax(start, "a number with a leading zero");
    }
    let mut exponent = 0;
    let mut count = whole;
    let mut integer = true;
    if b.get(i) == Some(&b'.') {
        integer = false;
        let from = i + 1;
        (i, mantissa) = digits(b, from, mantissa);
        if i == from {
            return syntax(i, "a digit is expected behind the point");
        }
        count += i - from;
        exponent = -i32::try_from(i - from).unwrap_or(i32::MAX);
    }
    if matches!(b.get(i), Some(b'e' | b'E')) {
        integer = false;
        let (end, value) = exponent_of(b, i + 1)?;
        i = end;
        exponent = exponent.saturating_add(value);
    }
    if i - start > MAX_NUMBER_BYTES {
        return syntax(start, "a number of more than 1000 characters");
    }
    Ok(Number { end: i, integer, negative, mantissa, exponent, exact: count <= MANTISSA_DIGITS })
}

#[inline]
fn digits(b: &[u8], mut i: usize, mut value: u64) -> (usize, u64) {
    while let Some(digit) = b.get(i).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
        value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
        i += 1;
    }
    (i, value)
}

fn exponent_of(b: &[u8], mut i: usize) -> Result<(usize, i32), Syntax> {
    let negative = b.get(i) == Some(&b'-');
    if matches!(b.get(i), Some(b'-' | b'+')) {
        i += 1;
    }
    let from = i;
    let mut value = 0i32;
    while let Some(digit) = b.get(i).filter(|byte| byte.is_ascii_digit()) {
        value = value.saturating_mul(10).saturating_add(i32::from(digit - b'0'));
        i += 1;
    }
    if i == from {
        return syntax(i, "a digit is expected in the exponent");
    }
    Ok((i, if negative { -value } else { value }))
}

/// Numbers that JSON does not know and Spark takes. Returns the value and the index behind it.
#[cold]
pub(crate) fn odd_number(b: &[u8], i: usize) -> Option<(f64, usize)> {
    const WORDS: [(&[u8], f64); 6] = [
        (b"NaN", f64::NAN),
        (b"Infinity", f64::INFINITY),
        (b"+INF", f64::INFINITY),
        (b"+Infinity", f64::INFINITY),
        (b"-INF", f64::NEG_INFINITY),
        (b"-Infinity", f64::NEG_INFINITY),
    ];
    let (word, value) = WORDS.iter().find(|(word, _)| b.get(i..).is_some_and(|rest| rest.starts_with(word)))?;
    Some((*value, i + word.len()))
}

/// Reads `true`, `false` or `null` at `i`.
#[inline]
pub(crate) fn word(b: &[u8], i: usize, word: &'static [u8]) -> Result<usize, Syntax> {
    if b.get(i..i + word.len()) == Some(word) { Ok(i + word.len()) } else { syntax(i, "a value is expected") }
}

/// Reads `"key" :` at `i`, which must be its opening quote. Returns the key and the index behind the colon.
#[inline]
pub(crate) fn key(b: &[u8], i: usize) -> Result<(Text, usize), Syntax> {
    if b.get(i) != Some(&b'"') {
        return syntax(i, "a key in double quotes is expected");
    }
    let key = string(b, i + 1)?;
    let i = blanks(b, key.end + 1);
    if b.get(i) != Some(&b':') {
        return syntax(i, "a colon is expected behind a key");
    }
    Ok((key, i + 1))
}

/// Index behind the value that starts at or behind `i`, at `depth` open arrays and objects.
pub(crate) fn skip(b: &[u8], i: usize, depth: usize) -> Result<usize, Syntax> {
    let i = blanks(b, i);
    match b.get(i) {
        Some(b'"') => Ok(string(b, i + 1)?.end + 1),
        Some(b'{' | b'[') => skip_nested(b, i, depth),
        _ => skip_scalar(b, i),
    }
}

fn skip_scalar(b: &[u8], i: usize) -> Result<usize, Syntax> {
    match b.get(i) {
        Some(b'"') => Ok(string(b, i + 1)?.end + 1),
        Some(b't') => word(b, i, b"true"),
        Some(b'f') => word(b, i, b"false"),
        Some(b'n') => word(b, i, b"null"),
        Some(b'0'..=b'9') => Ok(number(b, i)?.end),
        _ => match odd_number(b, i) {
            Some((_, end)) => Ok(end),
            None => Ok(number(b, i)?.end),
        },
    }
}

/// One bit for each open level: set for an object. No recursion, so depth costs no stack.
struct Levels {
    bits: [u64; MAX_JSON_DEPTH.div_ceil(64)],
    open: usize,
}

impl Levels {
    fn push(&mut self, object: bool) {
        let (place, bit) = (self.open / 64, 1 << (self.open % 64));
        if object {
            self.bits[place] |= bit;
        } else {
            self.bits[place] &= !bit;
        }
        self.open += 1;
    }

    fn in_object(&self) -> bool {
        let top = self.open - 1;
        self.bits[top / 64] >> (top % 64) & 1 == 1
    }
}

fn skip_nested(b: &[u8], mut i: usize, depth: usize) -> Result<usize, Syntax> {
    let mut levels = Levels { bits: [0; MAX_JSON_DEPTH.div_ceil(64)], open: 0 };
    loop {
        // At the start of a value.
        i = blanks(b, i);
        match b.get(i) {
            Some(open @ (b'{' | b'[')) => {
                if depth + levels.open >= MAX_JSON_DEPTH {
                    return syntax(i, "arrays and objects nested more than 1000 deep");
                }
                let object = *open == b'{';
                levels.push(object);
                i = blanks(b, i + 1);
                if b.get(i) != Some(if object { &b'}' } else { &b']' }) {
                    if object {
                        i = key(b, i)?.1;
                    }
                    continue;
                }
            }
            _ => i = skip_scalar(b, i)?,
        }
        // Behind a value, or at the bracket that closes an empty one.
        loop {
            i = blanks(b, i);
            match (b.get(i), levels.in_object()) {
                (Some(b','), true) => {
                    i = key(b, blanks(b, i + 1))?.1;
                    break;
                }
                (Some(b','), false) => {
                    i += 1;
                    break;
                }
                (Some(b'}'), true) | (Some(b']'), false) => {
                    i += 1;
                    levels.open -= 1;
                    if levels.open == 0 {
                        return Ok(i);
                    }
                }
                (_, true) => return syntax(i, "a comma or a closing brace is expected"),
                (_, false) => return syntax(i, "a comma or a closing bracket is expected"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn skips(text: &str) -> Option<usize> {
        skip(text.as_bytes(), 0, 0).ok()
    }

    #[test]
    fn skips_values_whole() {
        for text in ["1", "-0.5e+10", "\"a\\\"b\"", "{}", "[]", "[ 1 , {\"a\" : [ ] , \"b\":null}]", "NaN", "-Infinity"]
        {
            assert_eq!(skips(text), Some(text.len()), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_json() {
        for text in [
            "01",
            "-",
            "1.",
            ".5",
            "1e",
            "+1",
            "[1,]",
            "{\"a\":1,}",
            "{a:1}",
            "'a'",
            "tru",
            "\"a",
            "\"\\x\"",
            "[1 2]",
            "{\"a\" 1}",
            "[}",
            "{]",
            "\"\\u12g4\"",
            "\"\n\"",
            "",
        ] {
            assert_eq!(skips(text), None, "{text}");
        }
    }

    #[test]
    fn depth_is_limited_and_costs_no_stack() {
        let fits = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
        assert_eq!(skips(&fits), Some(2000));
        assert_eq!(skips(&format!("[{fits}]")), None);
        assert_eq!(skips(&"[".repeat(1_000_000)), None);
    }

    #[test]
    fn unescapes_as_java_does() {
        let mut out = Vec::new();
        unescape(br#"a\n\/\u00e9\ud83d\ude00\ud83dx\ude00"#, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "a\n/\u{e9}\u{1F600}?x?");
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json(text in "[ \\[\\]{}:,\"\\\\a0-9.eEtrufalsn-]{0,24}") {
            let ours = skip(text.as_bytes(), 0, 0).ok().filter(|end| blanks(text.as_bytes(), *end) == text.len());
            let theirs = serde_json::from_str::<serde_json::Value>(&text);
            // A number too large for serde_json's f64 is still a number.
            let out_of_range = theirs.as_ref().is_err_and(|e| e.to_string().contains("out of range"));
            prop_assert!(out_of_range || ours.is_some() == theirs.is_ok());
        }

        #[test]
        fn finds_the_stop(bytes in proptest::collection::vec(prop_oneof![1 => Just(b'"'), 1 => Just(b'\\'), 1 => any::<u8>(), 150 => 35u8..91], 0..300)) {
            let plain = bytes.iter().position(|b| matches!(b, b'"' | b'\\' | 0..0x20)).unwrap_or(bytes.len());
            prop_assert_eq!(string_stop(&bytes, 0), plain);
        }
    }
}
