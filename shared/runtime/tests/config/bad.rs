use std::fs;

use super::{expect_file, folder, load, mistakes_of, with_rest};

#[test]
fn every_bad_file_is_refused_with_its_messages() {
    let mut files: Vec<_> = fs::read_dir(folder().join("bad")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    assert!(files.len() >= 12, "{files:?}");
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        expect_file(&path.with_extension("txt"), &mistakes_of(&text));
    }
}

/// Lines below `rest:`, and what the messages must say.
const REST: [(&str, &str); 42] = [
    ("url: ftp://x/", "no http or https URL"),
    ("url: /relative", "no http or https URL"),
    ("url: https:///path", "names no host"),
    ("url: https://{host}/x", "host cannot come from a column"),
    ("url: https://h/{a", "'{' without '}'"),
    ("url: https://h/a}", "'}' without '{'"),
    ("url: https://h/{}", "no column name"),
    ("url: https://h/a b", "no spaces"),
    ("url: https://h/#x", "never sent"),
    ("url: https://h/\n      method: DELETE", "'DELETE' is not supported yet"),
    ("url: https://h/\n      method: put", "did you mean 'PUT'"),
    ("url: https://h/\n      headers: { Authorization: x }", "credentials cannot stand in headers"),
    ("url: https://h/\n      headers: { Host: x }", "sets this header itself"),
    ("url: https://h/\n      headers: { \"a b\": x }", "no header name"),
    ("url: https://h/\n      headers: { A: \"x\\ny\" }", "control character"),
    ("url: https://h/\n      headers: { idempotency-key: x }", "carries the request's id"),
    ("url: https://h/\n      idempotency: { header: A, body: b }", "exactly one of header, body"),
    ("url: https://h/\n      idempotency: { body: rows }", "where the rows themselves stand"),
    ("url: https://h/\n      batch: { format: ndjson }\n      idempotency: { body: id }", "no place for a field"),
    ("url: https://h/\n      batch: { format: json_object, rows: 5 }", "one row into a request"),
    ("url: https://h/\n      batch: { rows: 0 }", "'0' is outside of 1 to 10,000"),
    ("url: https://h/\n      batch: { rows: 10001 }", "'10001' is outside of 1 to 10,000"),
    ("url: https://h/\n      batch: { rows: \"5\" }", "remove the quotes"),
    ("url: https://h/\n      batch: { bytes: 6MB }", "outside of 1KB to 5MB"),
    ("url: https://h/\n      batch: { bytes: 5 }", "unit is missing"),
    ("url: https://h/\n      timeout: 10", "unit is missing"),
    ("url: https://h/\n      timeout: 10m", "outside of 100ms to 5m"),
    ("url: https://h/\n      rate_limit: { requests: 1, per: 1s, scope: all }", "'all' is not supported yet"),
    ("url: https://h/\n      retry: { initial_backoff: 5s, max_backoff: 1s }", "shorter than the first one (5s)"),
    ("url: https://h/\n      remembers_ids: 1m\n      retry: { max_elapsed: 1m }", "longer than retries go on"),
    ("url: https://h/\n      success: { status: [429] }", "passing fault"),
    ("url: https://h/\n      success: { status: [] }", "no status would be success"),
    ("url: https://h/\n      idempotency: { fenced: 410 }", "410 does not say that a number is too old"),
    ("url: https://h/\n      idempotency: { none: sometimes }", "'sometimes' is not known"),
    ("url: https://h/\n      idempotency: fenced\n      concurrency: 2", "one request at a time"),
    ("url: https://h/\n      idempotency: { fenced: 409 }\n      ordered: false", "are an order"),
    ("url: https://h/{{x}}\n      idempotency: last_writer_wins", "the URL names no column"),
    ("url: https://h/{a}\n      idempotency: last_writer_wins\n      method: POST", "only PUT replaces what is there"),
    (
        "url: https://h/{a}\n      idempotency: last_writer_wins\n      batch: { format: ndjson }",
        "a request is one row",
    ),
    ("url: https://h/{a}\n      idempotency: last_writer_wins\n      batch: { rows: 5 }", "one row into a request"),
    ("url: https://h/{a}\n      idempotency: last_writer_wins\n      ordered: false", "order decides what stays"),
    ("url: https://h/{a}\n      idempotency: last_writer_wins\n      key: [a]", "the URL is the key"),
];

#[test]
fn targets_are_checked() {
    for (rest, wanted) in REST {
        let messages = mistakes_of(&with_rest(&format!("      {rest}\n")));
        assert!(messages.contains(wanted), "{rest}\n{messages}");
        assert_eq!(messages.matches("pipeline.yaml:").count(), 1, "one mistake only: {rest}\n{messages}");
        assert!(messages.contains("  help: "), "{rest}\n{messages}");
    }
}

#[test]
fn secrets_are_refused_and_never_shown() {
    let token = "sk-live-4242";
    for auth in [
        "auth: sk-live-4242",
        "auth: { bearer: sk-live-4242 }",
        "auth: { bearer: \"sk-live-4242\", bearr: sk-live-4242 }",
        "auth: { bearer: { token: sk-live-4242 } }",
        "auth: { bearer: { sk-live-4242 } }",
        "auth: { bearer: [sk-live-4242] }",
        "auth: { basic: { user: me, password: sk-live-4242 }, x: 1 }",
        "auth: { bearer: ${TOKEN} }",
        "auth:\n        bearer: |\n          sk-live-4242\n          sk-live-4242\n        x: 1",
        "auth: { bearer: sk-live-4242",
        "auth: 'sk-live-4242",
        "auth:\n        bearer:\n          'sk-live-4242\n",
        "auth:\n        bearer: |\n         \tsk-live-4242\n",
        "url: 'https://me:sk-live-4242@h/",
        "password: sk-live-4242",
        "headers: { Authorization: Bearer sk-live-4242 }",
        "idempotency: none, password: 'sk-live-4242",
    ] {
        let messages = mistakes_of(&with_rest(&format!("      url: https://h/\n      {auth}\n")));
        assert!(!messages.contains(token), "{auth}\n{messages}");
    }
    let messages = mistakes_of(&with_rest("      url: https://me:sk-live-4242@h/\n"));
    assert!(messages.contains("credentials cannot stand in a URL") && !messages.contains(token), "{messages}");
    let messages = mistakes_of(&with_rest("      url: https://h/\n      auth: { bearer: { secret: a, env: b } }\n"));
    assert!(messages.contains("exactly one of secret, env, file, ssm"), "{messages}");
}

#[test]
fn broken_yaml_says_where() {
    for (text, place, wanted) in [
        ("", "pipeline.yaml: ", "the file is empty"),
        ("# nothing\n", "pipeline.yaml: ", "the file is empty"),
        ("---\n", "pipeline.yaml: ", "the file is empty"),
        ("null\n", "pipeline.yaml: ", "the file is empty"),
        ("- a\n", "pipeline.yaml:1:1: ", "a map is expected here, not a list"),
        ("hello\n", "pipeline.yaml:1:1: ", "a map is expected here, not a value"),
        ("name: p\nsources:\n\ts: 1\n", "pipeline.yaml:3:", "tab"),
        ("name: 'p\n", "pipeline.yaml:", "quote"),
        ("name: {p\n", "pipeline.yaml:", "'{' is opened and never closed"),
        ("name: p\n sources: 1\n", "pipeline.yaml:2:", "this is no YAML"),
        ("name: *nope\n", "pipeline.yaml:1:7", "no anchor of this name"),
        ("name: p\n---\nname: q\n", "pipeline.yaml:2:1", "a second document begins here"),
        ("name: p\nname: q\n", "pipeline.yaml:2:1: ", "twice, first on line 1"),
        ("name: !secret p\n", "pipeline.yaml:1:", "YAML tags"),
        ("<<: { name: p }\n", "pipeline.yaml:1:1: ", "merge keys"),
        ("? [a]\n: b\n", "pipeline.yaml:1:", "a key must be text"),
        ("name: &a [*a]\n", "pipeline.yaml:1:", "cannot repeat itself"),
    ] {
        let messages = mistakes_of(text);
        assert!(messages.contains(place) && messages.contains(wanted), "{text:?}\n{messages}");
    }
}

#[test]
fn hostile_files_are_bounded() {
    let huge = "#".repeat(1_000_001);
    assert!(mistakes_of(&huge).contains("has 1000001 bytes"));
    let deep = format!("name: {}{}", "[".repeat(500), "]".repeat(500));
    assert!(mistakes_of(&deep).contains("deep in each other"));
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..9 {
        let item = format!("*a{}", i - 1);
        laughs += &format!("a{i}: &a{i} [{}]\n", [item.as_str(); 10].join(", "));
    }
    assert!(mistakes_of(&laughs).contains("anchors repeat too much"));
    let mut chain = "a0: &a0 [x]\n".to_owned();
    for i in 1..100 {
        chain += &format!("a{i}: &a{i} [*a{}]\n", i - 1);
    }
    assert!(mistakes_of(&chain).contains("anchors repeat too much"));
    let many: String = (0..200).map(|i| format!("k{i}: 1\n")).collect();
    assert!(mistakes_of(&many).ends_with("more\n"));
    let long = format!("name: p\nx: {}\n", "y".repeat(100_000));
    assert!(mistakes_of(&long).lines().all(|line| line.len() < 400));
}

#[test]
fn cut_files_never_panic() {
    let whole = fs::read_to_string(folder().join("good/every_key.yaml")).unwrap();
    for end in (0..whole.len()).filter(|end| whole.is_char_boundary(*end)) {
        if let Err(errors) = load(&whole[..end]) {
            assert!(!errors.mistakes().is_empty(), "cut at {end}");
        }
    }
}

/// Each character in turn is replaced by one that means something in YAML.
#[test]
fn damaged_files_never_panic() {
    let whole = fs::read_to_string(folder().join("good/every_key.yaml")).unwrap();
    let damage: Vec<char> = "{}[]:,'\"|>&*!$#-?%@`\t\n\\\u{0}\u{7f}\u{e9}".chars().collect();
    for (i, (at, c)) in whole.char_indices().enumerate() {
        let damaged = format!("{}{}{}", &whole[..at], damage[i % damage.len()], &whole[at + c.len_utf8()..]);
        match load(&damaged) {
            Ok(file) => drop(file.render_warnings()),
            Err(errors) => assert!(errors.to_string().contains("pipeline.yaml"), "{damaged}"),
        }
    }
}
