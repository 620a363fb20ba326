use proptest::prelude::*;

use super::*;

fn sample() -> HttpPayload {
    HttpPayload {
        method: Method::Put,
        url: "https://h/x?a=1".into(),
        headers: vec![("X-A".into(), "é".into())],
        content_type: "application/json".into(),
        format: BodyFormat::JsonArray,
        idempotency: Idempotency::Header("Idempotency-Key".into()),
        output: "sums".into(),
        rows: Bytes::from_static(b"[{\"a\":1}]"),
    }
}

/// Bytes of version 1 as programs have written them: never to be changed.
#[test]
fn version_1_is_read_for_ever() {
    let http = b"\x01\x01\x00\x0fhttps://h/x?a=1\x01\x03X-A\x02\xc3\xa9\x10application/json\x00\x01\x0fIdempotency-Key\x04sums[{\"a\":1}]";
    assert_eq!(Payload::decode(&Bytes::from_static(http)).unwrap(), Payload::Http(sample()));
    assert_eq!(Payload::Http(sample()).encode(), http.as_slice());
    let lines = b"\x01\x02\x06/a.txt\xac\x02{}\n";
    let expected = LinesPayload { path: Some("/a.txt".into()), offset: 300, lines: Bytes::from_static(b"{}\n") };
    assert_eq!(Payload::decode(&Bytes::from_static(lines)).unwrap(), Payload::Lines(expected.clone()));
    assert_eq!(Payload::Lines(expected).encode(), lines.as_slice());
    let letters = Payload::DeadLetters(Bytes::from_static(b"{}\n"));
    assert_eq!(letters.encode(), b"\x01\x03{}\n".as_slice());
}

/// Bytes of version 2 as programs have written them: never to be changed.
#[test]
fn version_2_is_read_for_ever() {
    for (idempotency, place) in [
        (Idempotency::Fenced(412), b"\x04\x9c\x03".as_slice()),
        (Idempotency::LastWriterWins, b"\x05"),
        (Idempotency::AtMostOnce { offered: false }, b"\x06"),
        (Idempotency::AtMostOnce { offered: true }, b"\x07"),
    ] {
        let front = b"\x02\x01\x00\x0fhttps://h/x?a=1\x01\x03X-A\x02\xc3\xa9\x10application/json\x00";
        let bytes = [front, place, b"\x04sums[{\"a\":1}]"].concat();
        let expected = Payload::Http(HttpPayload { idempotency, ..sample() });
        assert_eq!(Payload::decode(&bytes.clone().into()).unwrap(), expected);
        assert_eq!(expected.encode(), bytes);
    }
}

#[test]
fn newer_and_damaged_ones_are_refused() {
    let error = Payload::decode(&Bytes::from_static(b"\x03\x01")).unwrap_err();
    assert_eq!(error.kind(), tidegate_core::ErrorKind::Fenced);
    let whole = Payload::Http(sample()).encode();
    let start_of_rows = whole.len() - sample().rows.len();
    for end in 0..start_of_rows {
        assert!(Payload::decode(&whole.slice(..end)).is_err(), "{end}");
    }
}

proptest! {
    #[test]
    fn round_trip(
        url in ".*", headers in proptest::collection::vec((".*", ".*"), 0..4), content_type in ".*", output in ".*",
        rows: Vec<u8>, method in 0..3, format in 0..3, id in 0..8, name in ".*",
    ) {
        let payload = Payload::Http(HttpPayload {
            method: [Method::Put, Method::Post, Method::Patch][method as usize],
            url,
            headers,
            content_type,
            format: [BodyFormat::JsonArray, BodyFormat::Ndjson, BodyFormat::JsonObject][format as usize],
            idempotency: match id {
                0 => Idempotency::None,
                1 => Idempotency::Header(name),
                2 => Idempotency::Path,
                3 => Idempotency::Fenced(name.len() as u16),
                4 => Idempotency::LastWriterWins,
                5 | 6 => Idempotency::AtMostOnce { offered: id == 5 },
                _ => Idempotency::BodyField(name),
            },
            output,
            rows: rows.into(),
        });
        prop_assert_eq!(Payload::decode(&payload.encode()).unwrap(), payload);
    }

    #[test]
    fn lines_round_trip(path in proptest::option::of(".+"), offset: u64, lines: Vec<u8>) {
        let payload = Payload::Lines(LinesPayload { path, offset, lines: lines.into() });
        prop_assert_eq!(Payload::decode(&payload.encode()).unwrap(), payload);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        let _ = Payload::decode(&bytes.into());
    }
}
