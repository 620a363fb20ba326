//! Several statements in one text.

/// Cuts a text at the semicolons between statements; those in strings, names and comments stay. Each statement comes
/// with the number of lines in front of it; what holds nothing but blanks and comments is left out.
pub fn statements(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let (mut start, mut empty) = (0, true);
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            ';' => {
                if !empty {
                    found.push(&text[start..at]);
                }
                (start, empty) = (at + 1, true);
            }
            '\'' | '"' | '`' => {
                empty = false;
                let raw = c != '`' && is_raw(&text[start..at]);
                while let Some((_, inner)) = chars.next() {
                    if inner == '\\' && c != '`' && !raw {
                        chars.next();
                    } else if inner == c {
                        break;
                    }
                }
            }
            '-' if chars.next_if(|(_, next)| *next == '-').is_some() => {
                while chars.next_if(|(_, next)| *next != '\n').is_some() {}
            }
            '/' if chars.next_if(|(_, next)| *next == '*').is_some() => skip_comment(&mut chars),
            c => empty &= c.is_whitespace(),
        }
    }
    if !empty {
        found.push(&text[start..]);
    }
    let lines_before = |part: &str| {
        let offset = part.as_ptr() as usize - text.as_ptr() as usize;
        text[..offset].matches('\n').count()
    };
    found.into_iter().map(|part| (lines_before(part), part)).collect()
}

/// Whether a quote behind this text opens a raw string.
fn is_raw(before: &str) -> bool {
    let mut back = before.chars().rev();
    matches!(back.next(), Some('r' | 'R')) && back.next().is_none_or(|c| !c.is_alphanumeric() && c != '_')
}

/// Comments may stand in comments.
fn skip_comment(chars: &mut std::iter::Peekable<std::str::CharIndices<'_>>) {
    let mut depth = 1;
    while depth > 0 {
        match chars.next() {
            Some((_, '*')) if chars.next_if(|(_, next)| *next == '/').is_some() => depth -= 1,
            Some((_, '/')) if chars.next_if(|(_, next)| *next == '*').is_some() => depth += 1,
            Some(_) => {}
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn semicolons_between_statements_cut() {
        let text = "SELECT ';', r'\\', `a;b` -- c;d\n;\n/* x; /* ; */ */ ;\n SELECT '\\';', 2";
        let parts = statements(text);
        assert_eq!(parts.len(), 2, "{parts:?}");
        assert_eq!(parts[0], (0, "SELECT ';', r'\\', `a;b` -- c;d\n"));
        assert_eq!(parts[1], (2, "\n SELECT '\\';', 2"));
        assert_eq!(statements(" ; -- nothing\n"), []);
    }
}
