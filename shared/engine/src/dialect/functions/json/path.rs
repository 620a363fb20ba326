//! `get_json_object`: a path such as `$.a.b[0]` into a JSON text.

/// The values that `[*]` stands for: a list of several, or the one.
fn every(json: &str, before: &str, behind: &str) -> Option<String> {
    let list = raw(json, before)?;
    if !list.starts_with('[') || !well_formed(list) {
        return None;
    }
    let path = format!("${behind}");
    let found: Vec<String> = items(list)
        .into_iter()
        .filter_map(|item| match behind.split_once("[*]") {
            Some((before, behind)) => every(item, &format!("${before}"), behind),
            None => raw(item, &path).map(compact),
        })
        .collect();
    match found.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        several => Some(format!("[{}]", several.join(","))),
    }
}

/// What a path finds: texts without quotes, other values as they are written; `None` if there is nothing or null.
pub fn get(json: &str, path: &str) -> Option<String> {
    match path.split_once("[*]") {
        Some((before, behind)) => every(json, before, behind),
        None => render(raw(json, path)?),
    }
}

/// The value at a path, as it is written.
fn raw<'a>(json: &'a str, path: &str) -> Option<&'a str> {
    let mut at = skip(json.trim_start(), 0);
    let mut text = json.trim_start();
    let mut rest = path.strip_prefix('$')?;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('[') {
            let (inside, left) = after.split_once(']')?;
            text = match inside.strip_prefix('\'').and_then(|name| name.strip_suffix('\'')) {
                Some(name) => member(&text[at..], name)?,
                None => item(&text[at..], inside.parse().ok()?)?,
            };
            rest = left;
        } else {
            let after = rest.strip_prefix('.')?;
            let end = after.find(['.', '[']).unwrap_or(after.len());
            text = member(&text[at..], &after[..end])?;
            rest = &after[end..];
        }
        at = 0;
    }
    let value = &text[at..];
    let end = value_end(value)?;
    Some(&value[..end])
}

fn skip(text: &str, from: usize) -> usize {
    from + text[from..].bytes().take_while(u8::is_ascii_whitespace).count()
}

/// Where the value that begins here ends.
fn value_end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    match bytes.first()? {
        b'"' => string_end(text),
        b'{' | b'[' => {
            let mut depth = 0_usize;
            let mut at = 0;
            while at < bytes.len() {
                match bytes[at] {
                    b'"' => at += string_end(&text[at..])? - 1,
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => {
                        depth -= 1;
                        if depth == 0 {
                            return Some(at + 1);
                        }
                    }
                    _ => {}
                }
                at += 1;
            }
            None
        }
        _ => {
            let end = text.find([',', '}', ']', ' ', '\n', '\t', '\r']).unwrap_or(text.len());
            let word = &text[..end];
            let known = ["true", "false", "null"].contains(&word) || word.parse::<f64>().is_ok();
            known.then_some(end)
        }
    }
}

fn string_end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 1,
            b'"' => return Some(at + 1),
            _ => {}
        }
        at += 1;
    }
    None
}

fn member<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut at = skip(text.strip_prefix('{')?, 0) + 1;
    loop {
        let end = at + string_end(text.get(at..).filter(|rest| rest.starts_with('"'))?)?;
        let key = unescape(&text[at + 1..end - 1])?;
        at = skip(text, end);
        text[at..].strip_prefix(':')?;
        at = skip(text, at + 1);
        if key == name {
            return Some(&text[at..]);
        }
        at = skip(text, at + value_end(&text[at..])?);
        text[at..].strip_prefix(',')?;
        at = skip(text, at + 1);
    }
}

fn item(text: &str, index: usize) -> Option<&str> {
    let mut at = skip(text.strip_prefix('[')?, 0) + 1;
    for _ in 0..index {
        at = skip(text, at + value_end(&text[at..])?);
        text[at..].strip_prefix(',')?;
        at = skip(text, at + 1);
    }
    if text[at..].starts_with(']') { None } else { Some(&text[at..]) }
}

fn render(value: &str) -> Option<String> {
    match value.as_bytes().first()? {
        b'"' => unescape(&value[1..value.len() - 1]),
        b'{' | b'[' => Some(compact(value)),
        _ if value == "null" => None,
        _ if value == "true" || value == "false" => Some(value.to_owned()),
        _ if value.contains(['.', 'e', 'E']) => {
            let mut out = String::new();
            crate::dialect::cast::text::write_double(&mut out, value.parse().ok()?);
            Some(out)
        }
        _ => Some(value.to_owned()),
    }
}

/// Without the blanks between tokens.
fn compact(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut quoted = false;
    let mut escaped = false;
    for c in value.chars() {
        if quoted {
            quoted = escaped || c != '"';
            escaped = c == '\\' && !escaped;
            out.push(c);
        } else if !c.is_ascii_whitespace() {
            quoted = c == '"';
            out.push(c);
        }
    }
    out
}

fn unescape(text: &str) -> Option<String> {
    if !text.contains('\\') {
        return Some(text.to_owned());
    }
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let plain = match c {
            '\\' => match chars.next()? {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                'b' => '\u{8}',
                'f' => '\u{c}',
                'u' => {
                    let digits: String = chars.by_ref().take(4).collect();
                    units.push(u16::from_str_radix(&digits, 16).ok()?);
                    continue;
                }
                other => other,
            },
            other => other,
        };
        units.extend(plain.encode_utf16(&mut [0; 2]).iter());
    }
    Some(String::from_utf16_lossy(&units))
}

/// Whether a text is one JSON value and nothing else.
pub fn well_formed(text: &str) -> bool {
    scan(text.as_bytes(), 0, 0) == Some(text.len())
}

/// How deep values may nest.
const MAX_DEPTH: usize = 128;

fn blanks(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(u8::is_ascii_whitespace) {
        at += 1;
    }
    at
}

/// The end of the value that begins at `at`.
fn scan(bytes: &[u8], at: usize, depth: usize) -> Option<usize> {
    if depth > MAX_DEPTH {
        return None;
    }
    let (close, object) = match bytes.get(at)? {
        b'{' => (b'}', true),
        b'[' => (b']', false),
        _ => return value_end(std::str::from_utf8(&bytes[at..]).ok()?).map(|end| at + end),
    };
    let mut at = blanks(bytes, at + 1);
    if bytes.get(at) == Some(&close) {
        return Some(at + 1);
    }
    loop {
        if object {
            let rest = std::str::from_utf8(bytes.get(at..)?).ok().filter(|rest| rest.starts_with('"'))?;
            at = blanks(bytes, at + string_end(rest)?);
            if bytes.get(at) != Some(&b':') {
                return None;
            }
            at = blanks(bytes, at + 1);
        }
        at = blanks(bytes, scan(bytes, at, depth + 1)?);
        match bytes.get(at)? {
            b',' => at = blanks(bytes, at + 1),
            end if *end == close => return Some(at + 1),
            _ => return None,
        }
    }
}

/// The members of a well-formed object, values as they are written.
pub fn entries(text: &str) -> Vec<(String, &str)> {
    let bytes = text.as_bytes();
    let mut all = vec![];
    let mut at = blanks(bytes, 1);
    while bytes.get(at) == Some(&b'"') {
        let Some(end) = string_end(&text[at..]) else { break };
        let key = unescape(&text[at + 1..at + end - 1]).unwrap_or_default();
        let start = blanks(bytes, blanks(bytes, at + end) + 1);
        let Some(end) = scan(bytes, start, 0) else { break };
        all.push((key, &text[start..end]));
        at = blanks(bytes, blanks(bytes, end) + 1);
    }
    all
}

/// The items of a well-formed array, as they are written.
pub fn items(text: &str) -> Vec<&str> {
    let bytes = text.as_bytes();
    let mut all = vec![];
    let mut at = blanks(bytes, 1);
    while let Some(end) = scan(bytes, at, 0) {
        all.push(&text[at..end]);
        at = blanks(bytes, blanks(bytes, end) + 1);
    }
    all
}

/// A string without its quotes, anything else as it is written.
pub fn text_of(value: &str) -> String {
    match value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inside) => unescape(inside).unwrap_or_default(),
        None => value.to_owned(),
    }
}
