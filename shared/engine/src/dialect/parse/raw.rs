//! Raw strings: `r'a\n'` holds a backslash and an `n`.

use std::borrow::Cow;

/// The text with raw strings written as plain ones.
pub(super) fn without_raw_strings(sql: &str) -> Cow<'_, str> {
    if !["r'", "r\"", "R'", "R\""].iter().any(|start| sql.contains(start)) {
        return Cow::Borrowed(sql);
    }
    let mut out = String::with_capacity(sql.len() + 8);
    let mut quote: Option<(char, bool)> = None;
    let mut before = ' ';
    let mut chars = sql.chars().peekable();
    while let Some(c) = chars.next() {
        match quote {
            Some((end, raw)) => {
                out.push(c);
                if c == '\\' && end != '`' {
                    if raw {
                        out.push('\\');
                    } else {
                        out.extend(chars.next());
                    }
                } else if c == end {
                    quote = None;
                }
            }
            None if matches!(c, 'r' | 'R')
                && !before.is_alphanumeric()
                && before != '_'
                && chars.peek().is_some_and(|next| matches!(next, '\'' | '"')) =>
            {
                quote = chars.next().map(|start| (start, true));
                out.extend(quote.map(|(start, _)| start));
            }
            None => {
                if matches!(c, '\'' | '"' | '`') {
                    quote = Some((c, false));
                }
                out.push(c);
            }
        }
        before = c;
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backslashes_are_doubled_in_raw_strings_only() {
        assert_eq!(without_raw_strings(r"SELECT r'a\n', 'b\n'"), r"SELECT 'a\\n', 'b\n'");
        assert_eq!(without_raw_strings(r"SELECT 'r\'', bar'x'"), r"SELECT 'r\'', bar'x'");
    }
}
