use super::*;
use crate::tests::{retry_after as answer_after, status, with_body};

fn meaning(answer: Result<HttpResponse, HttpFault>, success: &Success) -> &'static str {
    match classify(&answer, success, Timestamp(0)) {
        Meaning::Success => "success",
        Meaning::Passing { refused: true, .. } => "refused",
        Meaning::Passing { refused: false, .. } => "unknown",
        Meaning::Rejected(_) => "rejected",
        Meaning::Unauthorized(_) => "unauthorized",
        Meaning::NeedsAttention(_) => "attention",
    }
}

#[test]
fn statuses() {
    let usual = Success { status: Vec::new(), error_field: None };
    for (wanted, statuses) in [
        ("success", vec![200, 201, 202, 204, 299]),
        ("rejected", vec![400, 413, 422]),
        ("refused", vec![425, 429, 503]),
        ("unknown", vec![408, 409, 412, 500, 502, 504, 599]),
        ("unauthorized", vec![401]),
        ("attention", vec![301, 302, 304, 307, 308, 402, 403, 404, 405, 406, 407, 410, 411, 415, 451, 600]),
    ] {
        for code in statuses {
            assert_eq!(meaning(status(code), &usual), wanted, "{code}");
        }
    }
    let listed = Success { status: vec![200, 409], error_field: None };
    assert_eq!(meaning(status(204), &listed), "attention");
    assert_eq!(meaning(status(409), &listed), "success");
    for fault in [HttpFault::TimedOut, HttpFault::Lost("x".into()), HttpFault::NotConnected("x".into())] {
        assert_eq!(meaning(Err(fault), &usual), "unknown");
    }
    assert_eq!(meaning(Err(HttpFault::Unsendable("x".into())), &usual), "attention");
}

#[test]
fn errors_inside_a_success() {
    let success = Success { status: Vec::new(), error_field: Some("result.error".into()) };
    for (wanted, body) in [
        ("success", ""),
        ("success", " \r\n"),
        ("success", "{}"),
        ("success", r#"{"result":{"error":null}}"#),
        ("success", r#"{"result":{"error":false}}"#),
        ("success", r#"{"result":{"error":""}}"#),
        ("success", r#"{"result":{"error":[]}}"#),
        ("success", r#"[{"result":{}},{"result":{"error":{}}}]"#),
        ("unknown", r#"{"result":{"error":"no"}}"#),
        ("unknown", r#"{"result.error":1}"#),
        ("unknown", r#"[{"result":{}},{"result":{"error":true}}]"#),
        ("unknown", "<html>sign in</html>"),
        ("unknown", r#"{"result":"#),
    ] {
        assert_eq!(meaning(with_body(200, body), &success), wanted, "{body}");
    }
}

#[test]
fn retry_after_in_both_forms() {
    let success = Success { status: Vec::new(), error_field: None };
    let after = |value: &str| match classify(&answer_after(429, value), &success, Timestamp(0)) {
        Meaning::Passing { retry_after, .. } => retry_after,
        other => panic!("{other:?}"),
    };
    assert_eq!(after("120"), Some(Duration::from_secs(120)));
    assert_eq!(after("Thu, 01 Jan 1970 00:01:00 GMT"), Some(Duration::from_secs(60)));
    assert_eq!(after("Wed, 31 Dec 1969 00:00:00 GMT"), None);
    assert_eq!(after("soon"), None);
    assert_eq!(after("-1"), None);
}

#[test]
fn answers_are_quoted_on_one_short_line() {
    let success = Success { status: Vec::new(), error_field: None };
    let body = format!("a\n b\u{7}{}", "é".repeat(1000));
    let Meaning::Rejected(text) = classify(&with_body(400, &body), &success, Timestamp(0)) else { panic!() };
    assert!(text.starts_with("answered 400: a b"), "{text}");
    assert!(text.chars().count() < 330 && !text.contains(['\n', '\u{7}']));
}
