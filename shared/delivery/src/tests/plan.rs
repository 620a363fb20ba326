use proptest::prelude::*;

use super::*;

fn plan_rest(target: RestTarget, rows: &RecordBatch, keys: &[String]) -> Planned {
    crate::plan(&Target::Rest(Box::new(target)), &context(&lane(), keys), rows).unwrap()
}

#[test]
fn rows_are_batched_by_count_and_bytes() {
    let batch = rows(&[Some("a"), None, Some("c")]);
    let planned = plan_rest(rest("http://h/x"), &batch, &[]);
    let bodies: Vec<_> = planned.entries.iter().map(body).collect();
    assert_eq!(bodies, [r#"[{"k":"a","n":0,"x":0.0},{"k":null,"n":1,"x":0.5}]"#, r#"[{"k":"c","n":2,"x":1.0}]"#]);
    assert_eq!(planned.entries.iter().map(|e| (e.wave, e.rows)).collect::<Vec<_>>(), [(0, 2), (1, 1)]);
    assert_eq!(planned.next_wave, 2);
    let mut small = rest("http://h/x");
    small.batch = Batch { rows: 100, bytes: 30, format: BodyFormat::Ndjson };
    let planned = plan_rest(small, &batch, &[]);
    assert_eq!(planned.entries.len(), 3);
    assert_eq!(body(&planned.entries[0]), "{\"k\":\"a\",\"n\":0,\"x\":0.0}\n");
    let mut object = rest("http://h/x");
    object.batch.format = BodyFormat::JsonObject;
    assert_eq!(plan_rest(object, &batch, &[]).entries.len(), 3);
}

#[test]
fn an_empty_batch_owes_nothing() {
    let planned = plan_rest(rest("http://h/x"), &rows(&[]), &[]);
    assert!(planned.entries.is_empty() && planned.rejected.is_empty());
}

#[test]
fn a_huge_row_is_rejected() {
    let huge = "x".repeat(MAX_ROW_BYTES);
    let planned = plan_rest(rest("http://h/x"), &rows(&[Some("a"), Some(&huge), Some("b")]), &[]);
    assert_eq!(planned.rejected.len(), 1);
    assert_eq!(planned.rejected[0].0, 1);
    assert_eq!(planned.entries[0].rows, 2);
}

#[test]
fn order_by_sorts_stably_with_nulls_first() {
    let mut target = rest("http://h/x");
    target.batch.rows = 10;
    target.order_by = vec!["k".into()];
    let planned = plan_rest(target, &rows(&[Some("b"), Some("a"), None, Some("a")]), &[]);
    let numbers: Vec<_> = serde_json::from_str::<Vec<serde_json::Value>>(&body(&planned.entries[0]))
        .unwrap()
        .iter()
        .map(|row| row["n"].as_i64().unwrap())
        .collect();
    assert_eq!(numbers, [2, 1, 3, 0]);
}

#[test]
fn templates_fill_and_refuse() {
    let mut target = rest("http://h/x/{k}?q={k}");
    target.ordered = false;
    target.headers = vec![("X-K".into(), template("is {k}"))];
    let batch = rows(&[Some("a/b?c"), Some(".."), None, Some(""), Some("a\r\nEvil: 1"), Some("a/b?c")]);
    let planned = plan_rest(target, &batch, &[]);
    assert_eq!(planned.entries.len(), 1);
    assert_eq!(planned.entries[0].rows, 2);
    let http = http_of(&planned.entries[0]);
    assert_eq!(http.url, "http://h/x/a%2Fb%3Fc?q=a%2Fb%3Fc");
    assert_eq!(http.headers, [("X-K".into(), "is a/b?c".into())]);
    assert_eq!(planned.rejected.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [1, 2, 3, 4]);
    for (url, wrong) in [("{k}", "scheme"), ("http://{k}/x", "scheme"), ("http://h/{nope}", "no column")] {
        let target = Target::Rest(Box::new(rest(url)));
        let error = crate::plan(&target, &context(&lane(), &[]), &batch).unwrap_err();
        assert!(error.to_string().contains(wrong), "{error}");
    }
    let mut target = rest("http://h/x");
    target.headers = vec![("content-length".into(), template("1"))];
    assert!(crate::plan(&Target::Rest(Box::new(target)), &context(&lane(), &[]), &batch).is_err());
}

#[test]
fn waves_keep_keys_apart() {
    let mut target = rest("http://h/x");
    target.concurrency = 8;
    target.key = Some(vec!["k".into()]);
    let batch = rows(&["a", "b", "c", "d", "a", "e", "f", "g"].map(Some));
    let waves = |target: RestTarget| plan_rest(target, &batch, &[]).entries.iter().map(|e| e.wave).collect::<Vec<_>>();
    assert_eq!(waves(target.clone()), [0, 0, 1, 0]);
    target.ordered = false;
    assert_eq!(waves(target.clone()), [0, 0, 0, 0]);
    target.ordered = true;
    target.key = None;
    assert_eq!(waves(target), [0, 1, 2, 3]);
}

#[test]
fn lines_carry_their_offset() {
    let target = Target::Lines(LinesTarget::File("/tmp/never".into()));
    let key = lane();
    let ctx = PlanContext { sink_length: 100, ..context(&key, &[]) };
    let planned = crate::plan(&target, &ctx, &rows(&[Some("a"), None])).unwrap();
    let payload::Payload::Lines(lines) = payload::Payload::decode(&planned.entries[0].payload).unwrap() else {
        panic!()
    };
    assert_eq!(lines.offset, 100);
    assert_eq!(planned.sink_length, 100 + lines.lines.len() as u64);
    assert!(lines.lines.starts_with(br#"{"output":"sums","k":"a","n":0,"x":0.0}"#));
}

proptest! {
    #[test]
    fn no_value_changes_the_structure_of_a_url(values in proptest::collection::vec("\\PC{0,6}|[./%?#&=\\\\ :@]{0,6}|\\.\\.?|%2[eE]", 1..8)) {
        let mut target = rest("http://h:80/x/{k}/y?a={k}&b=1");
        target.ordered = false;
        let keys: Vec<_> = values.iter().map(|value| Some(value.as_str())).collect();
        let planned = plan_rest(target, &rows(&keys), &[]);
        for entry in &planned.entries {
            let url = reqwest::Url::parse(&http_of(entry).url).unwrap();
            prop_assert_eq!(url.host_str(), Some("h"));
            let segments: Vec<_> = url.path_segments().unwrap().collect();
            prop_assert_eq!((segments.len(), segments[0], segments[2]), (3, "x", "y"));
            let value = percent_encoding::percent_decode_str(segments[1]).decode_utf8().unwrap().into_owned();
            prop_assert!(values.contains(&value));
            let pairs: Vec<_> = url.query().unwrap().split('&').collect();
            prop_assert_eq!((pairs.len(), pairs[1]), (2, "b=1"));
            prop_assert!(url.fragment().is_none());
        }
        let sent: u32 = planned.entries.iter().map(|entry| entry.rows).sum();
        prop_assert_eq!(sent as usize + planned.rejected.len(), values.len());
    }

    #[test]
    fn no_value_adds_a_header(value in "(?s).{0,12}|[a\r\n\0: ]{0,8}") {
        let mut target = rest("http://h/x");
        target.headers = vec![("X-K".into(), template("{k}"))];
        let planned = plan_rest(target, &rows(&[Some(&value)]), &[]);
        for entry in &planned.entries {
            for (_, value) in http_of(entry).headers {
                prop_assert!(reqwest::header::HeaderValue::from_bytes(value.as_bytes()).is_ok());
            }
        }
    }

    #[test]
    fn no_key_is_overtaken(keys in proptest::collection::vec("[a-d]", 0..40), size in 1usize..6, concurrency in 1usize..5, per_key_url: bool, url_column in "k|n") {
        let mut target = rest(&if per_key_url { format!("http://h/{{{url_column}}}") } else { "http://h/x".into() });
        target.batch.rows = size;
        target.concurrency = concurrency;
        target.key = Some(vec!["k".into()]);
        let batch = rows(&keys.iter().map(|key| Some(key.as_str())).collect::<Vec<_>>());
        let planned = plan_rest(target.clone(), &batch, &[]);
        prop_assert_eq!(&planned, &plan_rest(target, &batch, &[]), "deterministic");
        let mut entries = planned.entries.clone();
        let ids: std::collections::HashSet<_> = entries.iter().map(|entry| entry.id.clone()).collect();
        prop_assert_eq!(ids.len(), entries.len());
        entries.sort_by_key(|entry| entry.wave);
        let mut seen: BTreeMap<String, (i64, u16)> = BTreeMap::new();
        let mut count = 0;
        for entry in &entries {
            let mut here = std::collections::BTreeSet::new();
            for row in serde_json::from_str::<Vec<serde_json::Value>>(&body(entry)).unwrap() {
                let (key, number) = (row["k"].as_str().unwrap().to_owned(), row["n"].as_i64().unwrap());
                if let Some((before, wave)) = seen.insert(key.clone(), (number, entry.wave)) {
                    prop_assert!(before < number);
                    prop_assert!(wave < entry.wave || here.contains(&key), "a key is in two requests of a wave");
                }
                here.insert(key);
                count += 1;
            }
        }
        prop_assert_eq!(count, keys.len());
    }
}

#[test]
fn rows_of_one_url_stay_in_order_where_the_last_writer_wins() {
    let mut target = rest("http://h/x/{k}");
    target.method = Method::Put;
    target.idempotency = Idempotency::LastWriterWins;
    target.batch = Batch { rows: 1, bytes: 1_000_000, format: BodyFormat::JsonObject };
    // The group keys may be finer than the URL: they do not count.
    let keys = ["k".to_owned(), "n".to_owned()];
    for concurrency in [1, 4] {
        target.concurrency = concurrency;
        let rows = rows(&["a", "b", "a", "a", "c", "b"].map(Some));
        let lane = lane();
        let planned =
            crate::plan(&Target::Rest(Box::new(target.clone())), &context(&lane, &keys), &rows).unwrap().entries;
        let waves: Vec<u16> = planned.iter().map(|entry| entry.wave).collect();
        assert_eq!(waves, [0, 0, 1, 2, 0, 1]);
        assert_eq!(http_of(&planned[2]).url, "http://h/x/a");
    }
}
