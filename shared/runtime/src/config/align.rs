//! Where each character of a YAML value stands in the file.

use granit_parser::ScalarStyle;

use super::place::{Place, TextMap};

/// The file's characters with the place of the next one.
struct Cursor<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    place: Place,
}

impl Cursor<'_> {
    fn peek(&mut self) -> Option<char> {
        self.rest.peek().copied()
    }

    fn next(&mut self) {
        match self.rest.next() {
            Some('\n') => self.place = Place { line: self.place.line + 1, column: 1 },
            Some(_) => self.place.column += 1,
            None => {}
        }
    }

    /// Skips white space up to and into the next line's content. Whether there was any.
    fn skip_space(&mut self) -> bool {
        let mut any = false;
        while self.peek().is_some_and(char::is_whitespace) {
            self.next();
            any = true;
        }
        any
    }

    fn skip_line(&mut self) {
        while self.peek().is_some_and(|c| c != '\n') {
            self.next();
        }
        self.next();
    }
}

/// Walks through `value` and its `source` (as it stands in the file, from `start`) side by side.
///
/// White space of the value stands for white space of the source (indentation, folded lines), escapes for one
/// character. Where the two cannot be matched, characters keep the last place that was known.
pub(super) fn align(value: &str, source: &str, start: Place, style: ScalarStyle) -> TextMap {
    let mut cursor = Cursor { rest: source.chars().peekable(), place: start };
    match style {
        ScalarStyle::Literal | ScalarStyle::Folded => {
            if matches!(cursor.peek(), Some('|' | '>')) {
                cursor.skip_line();
            }
            cursor.skip_space();
        }
        ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => cursor.next(),
        ScalarStyle::Plain => {}
    }
    let mut map = TextMap::default();
    for c in value.chars() {
        if c == '\n' && cursor.peek().is_some_and(char::is_whitespace) {
            map.push(cursor.place);
            cursor.skip_space();
            continue;
        }
        if style == ScalarStyle::DoubleQuoted && cursor.peek() == Some('\\') {
            escaped(&mut cursor, &mut map);
            continue;
        }
        if c == ' ' && matches!(cursor.peek(), Some('\n' | '\r')) {
            map.push(cursor.place);
            cursor.skip_space();
            continue;
        }
        if cursor.peek() == Some(c) {
            map.push(cursor.place);
            cursor.next();
            if style == ScalarStyle::SingleQuoted && c == '\'' {
                cursor.next();
            }
        } else {
            map.push_fixed(cursor.place, 1);
        }
    }
    map
}

/// One character of the value that is written as an escape: `\n`, `\x41`, `\u0041`, `\U00000041`.
fn escaped(cursor: &mut Cursor<'_>, map: &mut TextMap) {
    map.push_fixed(cursor.place, 1);
    cursor.next();
    let digits = match cursor.peek() {
        Some('x') => 2,
        Some('u') => 4,
        Some('U') => 8,
        _ => 0,
    };
    for _ in 0..=digits {
        cursor.next();
    }
}
