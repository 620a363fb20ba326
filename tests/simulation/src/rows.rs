//! Rows as the targets see them: flat JSON objects, cut out of bodies and read by field.

/// The row of a record, a late row, or a window: the text that every target is to get.
pub fn text(id: &str, key: u64, value: i64, count: u64, refusal: u8) -> String {
    format!("{{\"row\":\"{id}\",\"k\":{key},\"v\":{value},\"c\":{count},\"x\":{refusal}}}")
}

/// The rows of a body: what starts with a field `row`. An id in the body is left out.
pub fn split(body: &str) -> Vec<String> {
    let mut rows = Vec::new();
    let mut rest = body;
    while let Some(start) = rest.find("\"row\":") {
        let end = rest[start..].find('}').map_or(rest.len(), |end| start + end + 1);
        rows.push(format!("{{{}", &rest[start..end]));
        rest = &rest[end..];
    }
    rows
}

/// The text of a field.
pub fn text_field(json: &str, field: &str) -> Option<String> {
    let start = json.find(&format!("\"{field}\":\""))? + field.len() + 4;
    let mut text = String::new();
    let mut escaped = false;
    for c in json[start..].chars() {
        match c {
            _ if escaped => {
                text.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return Some(text),
            c => text.push(c),
        }
    }
    None
}

/// The number of a field.
pub fn number_field(json: &str, field: &str) -> Option<i64> {
    let start = json.find(&format!("\"{field}\":"))? + field.len() + 3;
    let end = json[start..].find([',', '}']).map_or(json.len(), |end| start + end);
    json[start..end].trim().parse().ok()
}

/// Whether a target refuses a row for its content: 1 always, 2 while it is strict.
pub fn refused(row: &str, strict: bool) -> bool {
    match number_field(row, "x") {
        Some(1) => true,
        Some(2) => strict,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_out_as_they_went_in() {
        let (a, b) = (text("r/p0/1", 2, -5, 1, 0), text("w/p0/1000/2", 2, 7, 3, 2));
        assert_eq!(split(&format!("[{a},{b}]")), [a.clone(), b.clone()]);
        assert_eq!(split(&format!("{{\"id\":\"i/1\",\"rows\":[{a}]}}")), vec![a.clone()]);
        assert_eq!(split(&a.replacen('{', "{\"id\":\"x\",", 1)), vec![a.clone()]);
        assert_eq!(text_field(&a, "row").unwrap(), "r/p0/1");
        assert_eq!((number_field(&b, "v"), number_field(&b, "x")), (Some(7), Some(2)));
        assert_eq!((refused(&a, true), refused(&b, false), refused(&b, true)), (false, false, true));
        assert_eq!(text_field("{\"payload\":\"{\\\"row\\\":1}\"}", "payload").unwrap(), "{\"row\":1}");
    }
}
