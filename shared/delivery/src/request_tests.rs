use super::*;
use crate::config::Method;

fn payload(url: &str, format: BodyFormat, rows: &'static str, idempotency: Idempotency) -> HttpPayload {
    HttpPayload {
        method: Method::Post,
        url: url.into(),
        headers: vec![],
        content_type: "application/json".into(),
        format,
        idempotency,
        output: "o".into(),
        rows: Bytes::from_static(rows.as_bytes()),
    }
}

#[test]
fn the_id_goes_where_it_belongs() {
    let id = "00ff/1/orders:a%2Fb/7/2.1";
    let path = |url| address(&payload(url, BodyFormat::JsonArray, "[]", Idempotency::Path), id).unwrap().url;
    assert_eq!(path("http://h/x"), "http://h/x/00ff:1:orders:a%252Fb:7:2%2E1".replace("%2E", "."));
    assert_eq!(path("http://h/x/?q=/1"), "http://h/x/00ff:1:orders:a%252Fb:7:2.1?q=/1");
    let body = |format, rows| {
        let addressed = address(&payload("http://h", format, rows, Idempotency::BodyField("i\"d".into())), id).unwrap();
        String::from_utf8(addressed.body.to_vec()).unwrap()
    };
    let field = r#""i\"d":"00ff/1/orders:a%2Fb/7/2.1""#;
    assert_eq!(body(BodyFormat::JsonArray, "[{}]"), format!("{{{field},\"rows\":[{{}}]}}"));
    assert_eq!(body(BodyFormat::JsonObject, "{\"a\":1}"), format!("{{{field},\"a\":1}}"));
    assert_eq!(body(BodyFormat::JsonObject, "{}"), format!("{{{field}}}"));
    let plain = address(&payload("http://h", BodyFormat::JsonArray, "[]", Idempotency::None), id).unwrap();
    assert_eq!(plain.headers[1].1, "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945");
}

#[test]
fn shown_urls_hold_neither_query_nor_password() {
    assert_eq!(display_url("https://u:p@h:8080/a/b?token=x#y"), "https://h:8080/a/b");
    assert_eq!(display_url("https://h?x=1/2"), "https://h");
}
