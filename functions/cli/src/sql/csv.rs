//! CSV as Spark reads it with a head line: quotes `"`, in them `""` or `\"`; an empty field is NULL, `""` is empty.

/// A field: `None` where nothing stands.
pub type Field = Option<String>;

/// What a text holds of a record.
#[derive(Debug, PartialEq, Eq)]
pub enum Split {
    /// All fields.
    Fields(Vec<Field>),
    /// A quoted field goes on in the next line.
    Open,
}

/// Cuts the text of one record into fields.
pub fn split(text: &str, separator: char) -> Split {
    let (mut fields, mut field) = (Vec::new(), String::new());
    let (mut quoted, mut open) = (false, false);
    let mut chars = text.chars().peekable();
    let end = |field: &mut String, quoted: &mut bool| {
        let text = std::mem::take(field);
        let given = std::mem::take(quoted) || !text.is_empty();
        given.then_some(text)
    };
    while let Some(c) = chars.next() {
        match c {
            '"' if open && chars.next_if_eq(&'"').is_some() => field.push('"'),
            '"' if open => open = false,
            '"' if field.is_empty() && !quoted => (open, quoted) = (true, true),
            '\\' if open => match chars.next() {
                Some(next @ ('"' | '\\')) => field.push(next),
                next => {
                    field.push(c);
                    field.extend(next);
                }
            },
            c if c == separator && !open => fields.push(end(&mut field, &mut quoted)),
            c => field.push(c),
        }
    }
    if open {
        return Split::Open;
    }
    fields.push(end(&mut field, &mut quoted));
    Split::Fields(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Vec<Field> {
        match split(text, ',') {
            Split::Fields(fields) => fields,
            Split::Open => panic!("{text} is open"),
        }
    }

    #[test]
    fn quotes_hold_separators_and_quotes() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(fields("a,\"b,c\",,\"\""), [some("a"), some("b,c"), None, some("")]);
        assert_eq!(fields("\"say \"\"hi\"\"\",\"a\\\"b\",x\"y"), [some("say \"hi\""), some("a\"b"), some("x\"y")]);
        assert_eq!(fields(""), [None]);
        assert_eq!(split("1,\"two", ','), Split::Open);
    }
}
