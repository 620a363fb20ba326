use tidegate_core::{Generation, Incarnation, LaneId, RequestIndex, Timestamp};

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

fn entry() -> OutboxEntry {
    OutboxEntry {
        id: EffectId { n: 7, index: RequestIndex::top(2).child(1) },
        target: "api".into(),
        wave: 0,
        rows: 1,
        committed_at: Timestamp(0),
        payload: Bytes::new(),
    }
}

fn address(payload: &HttpPayload) -> Result<Addressed> {
    let (incarnation, generation) = (Incarnation(255), Generation::FIRST);
    let lane = LaneKey { pipeline: "p".into(), incarnation, generation, lane: LaneId::new("orders", "a/b") };
    super::address(payload, &entry(), &lane)
}

#[test]
fn the_id_goes_where_it_belongs() {
    let path = |url| address(&payload(url, BodyFormat::JsonArray, "[]", Idempotency::Path)).unwrap().url;
    assert_eq!(path("http://h/x"), "http://h/x/000000000000000000000000000000ff:1:orders:a%252Fb:7:2.1");
    assert_eq!(path("http://h/x/?q=/1"), "http://h/x/000000000000000000000000000000ff:1:orders:a%252Fb:7:2.1?q=/1");
    let body = |format, rows| {
        let addressed = address(&payload("http://h", format, rows, Idempotency::BodyField("i\"d".into()))).unwrap();
        String::from_utf8(addressed.body.to_vec()).unwrap()
    };
    let field = r#""i\"d":"000000000000000000000000000000ff/1/orders:a%2Fb/7/2.1""#;
    assert_eq!(body(BodyFormat::JsonArray, "[{}]"), format!("{{{field},\"rows\":[{{}}]}}"));
    assert_eq!(body(BodyFormat::JsonObject, "{\"a\":1}"), format!("{{{field},\"a\":1}}"));
    assert_eq!(body(BodyFormat::JsonObject, "{}"), format!("{{{field}}}"));
    let plain = address(&payload("http://h", BodyFormat::JsonArray, "[]", Idempotency::None)).unwrap();
    assert_eq!(plain.headers[1].1, "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945");
}

#[test]
fn a_fence_has_a_lane_and_a_number_that_grows() {
    let fenced = address(&payload("http://h", BodyFormat::JsonArray, "[]", Idempotency::Fenced(412))).unwrap();
    let header = |name| fenced.headers.iter().find(|(other, _)| other == name).unwrap().1.clone();
    assert_eq!(header(FENCE_LANE_HEADER), "000000000000000000000000000000ff/1/orders:a%2Fb/api");
    assert_eq!(header(FENCE_NUMBER_HEADER), "00000000000000000007.0000000002.0000000001");
    let id = |n, index: &str| EffectId { n, index: index.parse().unwrap() };
    let ids =
        [id(7, "2"), id(7, "2.0"), id(7, "2.0.1"), id(7, "2.1"), id(7, "3"), id(7, "10"), id(8, "0"), id(10, "0")];
    let numbers: Vec<String> = ids.iter().map(fence_number).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
}

#[test]
fn shown_urls_hold_neither_query_nor_password() {
    assert_eq!(display_url("https://u:p@h:8080/a/b?token=x#y"), "https://h:8080/a/b");
    assert_eq!(display_url("https://h?x=1/2"), "https://h");
}
