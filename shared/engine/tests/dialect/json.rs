//! A small reader of JSON that keeps numbers as they are written.

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads a text.
    pub fn parse(text: &str) -> Json {
        let mut at = text;
        value(&mut at)
    }

    /// A member of an object; `Null` without it.
    pub fn get(&self, name: &str) -> &Json {
        match self {
            Json::Object(fields) => fields.iter().rfind(|(key, _)| key == name).map_or(&Json::Null, |(_, value)| value),
            _ => &Json::Null,
        }
    }

    /// The text of a string.
    pub fn text(&self) -> &str {
        match self {
            Json::Text(text) | Json::Number(text) => text,
            _ => "",
        }
    }

    /// The items of a list.
    pub fn items(&self) -> &[Json] {
        match self {
            Json::List(items) => items,
            _ => &[],
        }
    }
}

fn eat(at: &mut &str, wanted: char) -> bool {
    *at = at.trim_start();
    match at.strip_prefix(wanted) {
        Some(rest) => {
            *at = rest;
            true
        }
        None => false,
    }
}

fn value(at: &mut &str) -> Json {
    *at = at.trim_start();
    match at.chars().next() {
        Some('{') => {
            eat(at, '{');
            let mut fields = vec![];
            while !eat(at, '}') {
                eat(at, ',');
                *at = at.trim_start();
                let key = string(at);
                eat(at, ':');
                fields.push((key, value(at)));
            }
            Json::Object(fields)
        }
        Some('[') => {
            eat(at, '[');
            let mut items = vec![];
            while !eat(at, ']') {
                eat(at, ',');
                items.push(value(at));
            }
            Json::List(items)
        }
        Some('"') => Json::Text(string(at)),
        _ => {
            let end = at.find([',', '}', ']', ' ', '\n']).unwrap_or(at.len());
            let word = &at[..end];
            *at = &at[end..];
            match word {
                "null" => Json::Null,
                "true" => Json::Bool(true),
                "false" => Json::Bool(false),
                number => Json::Number(number.to_owned()),
            }
        }
    }
}

fn string(at: &mut &str) -> String {
    let mut units: Vec<u16> = vec![];
    let mut chars = at[1..].char_indices();
    while let Some((place, c)) = chars.next() {
        let c = match c {
            '"' => {
                *at = &at[place + 2..];
                return String::from_utf16_lossy(&units);
            }
            '\\' => match chars.next().expect("an escape").1 {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                'b' => '\u{8}',
                'f' => '\u{c}',
                'u' => {
                    let digits: String = (0..4).map(|_| chars.next().expect("a digit").1).collect();
                    units.push(u16::from_str_radix(&digits, 16).expect("hex digits"));
                    continue;
                }
                other => other,
            },
            other => other,
        };
        units.extend(c.encode_utf16(&mut [0; 2]).iter());
    }
    panic!("a string without end")
}
