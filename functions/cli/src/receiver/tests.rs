//! The receiver through real connections, in this process and in one that is killed.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use serde_json::{Value, json};
use tidegate_core::time::SystemClock;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::store::Summary;
use super::{Receiver, ReceiverOptions};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    options: ReceiverOptions,
}

fn options(args: &str) -> ReceiverOptions {
    Cli::parse_from(["target", "--port", "0"].into_iter().chain(args.split_whitespace())).options
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn repeat(&self) -> bool {
        self.head.to_ascii_lowercase().contains("tidegate-repeat: true")
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// One request on a connection of its own; `None` if the connection ended without an answer.
async fn send(address: SocketAddr, head: &str, body: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let length = body.len();
    let text = format!("{head}\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(text.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().unwrap();
    let body = if head.contains("transfer-encoding: chunked") { dechunk(body) } else { body.to_owned() };
    Some(Answer { status, head: head.to_owned(), body })
}

fn dechunk(mut text: &str) -> String {
    let mut out = String::new();
    while let Some((size, rest)) = text.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        out.push_str(&rest[..size]);
        text = &rest[size + 2..];
    }
    out
}

async fn put(address: SocketAddr, id: &str, body: &str) -> Option<Answer> {
    send(address, &format!("PUT /v1/positions HTTP/1.1\r\nIdempotency-Key: {id}"), body).await
}

async fn ask(address: SocketAddr, page: &str) -> Answer {
    send(address, &format!("GET /_tidegate/{page} HTTP/1.1"), "").await.unwrap()
}

async fn set_faults(address: SocketAddr, faults: Value) {
    let answer = send(address, "POST /_tidegate/faults HTTP/1.1", &faults.to_string()).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// Runs `client` against a receiver, ends the receiver, and returns what it counted.
async fn with_receiver<F: Future<Output = ()>>(args: &str, client: impl FnOnce(SocketAddr) -> F) -> Summary {
    let environment = |name: &str| match name {
        "TOKEN" => Some("sesame".to_owned()),
        "PAIR" => Some("ann:secret".to_owned()),
        _ => None,
    };
    let clock = Arc::new(SystemClock::default());
    let receiver = Receiver::bind(options(args), clock, &environment).await.unwrap();
    let address = receiver.address();
    let (done, stop) = tokio::sync::oneshot::channel();
    let running = receiver.run(async { stop.await.unwrap() });
    let client = async {
        client(address).await;
        done.send(()).unwrap();
    };
    let (summary, ()) = tokio::join!(running, client);
    summary.unwrap()
}

#[tokio::test]
async fn a_repeat_has_no_second_effect() {
    let summary = with_receiver("", |address| async move {
        let body = r#"[{"a":1.10},{"a":2}]"#;
        let first = put(address, "x/1", body).await.unwrap();
        assert_eq!((first.status, first.repeat(), first.body.as_str()), (200, false, r#"{"accepted":2}"#));
        let again = put(address, "x/1", body).await.unwrap();
        assert_eq!((again.status, again.repeat(), again.body), (200, true, first.body));
        assert_eq!(ask(address, "rows").await.body, "{\"a\":1.10}\n{\"a\":2}\n");
        let detail = ask(address, "rows?detail=true").await.body;
        assert!(detail.starts_with(r#"{"seq":1,"id":"x/1","path":"/v1/positions","row":{"a":1.10}}"#), "{detail}");
    })
    .await;
    assert_eq!((summary.get("applied"), summary.get("rows"), summary.get("repeats")), (1, 2, 1));
    assert_eq!(summary.get("conflicts"), 0);
}

#[tokio::test]
async fn the_same_id_with_another_request_is_a_conflict() {
    let summary = with_receiver("", |address| async move {
        put(address, "x", "{}").await.unwrap();
        let other_body = put(address, "x", "{} ").await.unwrap();
        assert_eq!((other_body.status, other_body.repeat()), (422, false));
        assert!(other_body.body.contains("used before"));
        let other_path = send(address, "PUT /other HTTP/1.1\r\nidempotency-key: x", "{}").await.unwrap();
        assert_eq!(other_path.status, 422);
        assert!(put(address, "x", "{}").await.unwrap().repeat());
    })
    .await;
    assert_eq!((summary.get("applied"), summary.get("conflicts"), summary.get("repeats")), (1, 2, 1));
}

#[tokio::test]
async fn a_rejected_id_stays_rejected() {
    let summary = with_receiver("--reject-if branch=Kazan --max-rows 2", |address| async move {
        for (body, status) in [(r#"[{"branch":"Kazan"}]"#, 422), ("[1,2,3]", 413), ("{", 400)] {
            let id = status.to_string();
            let first = put(address, &id, body).await.unwrap();
            assert_eq!((first.status, first.repeat()), (status, false));
            let again = put(address, &id, body).await.unwrap();
            assert_eq!((again.status, again.repeat(), again.body), (status, true, first.body));
            // The id is looked up before the body is validated.
            let other = put(address, &id, r#"[{"branch":"SPB"}]"#).await.unwrap();
            assert_eq!(other.status, 422);
            assert!(other.body.contains("used before"), "{}", other.body);
        }
        assert_eq!(put(address, "ok", r#"[{"branch":"SPB"}]"#).await.unwrap().status, 200);
    })
    .await;
    assert_eq!((summary.get("rejected"), summary.get("conflicts"), summary.get("rows")), (3, 3, 1));
}

#[tokio::test]
async fn ids_travel_where_the_options_say() {
    with_receiver("--id path", |address| async move {
        for repeat in [false, true] {
            let answer = send(address, "PUT /v1/a%2F1?x=1 HTTP/1.1", "{}").await.unwrap();
            assert_eq!((answer.status, answer.repeat()), (200, repeat));
        }
        assert_eq!(send(address, "PUT / HTTP/1.1", "{}").await.unwrap().status, 400);
    })
    .await;
    with_receiver("--id body:request_id", |address| async move {
        let wrapped = r#"{"request_id":"7","rows":[{"a":1},{"a":2}]}"#;
        assert_eq!(send(address, "POST /x HTTP/1.1", wrapped).await.unwrap().status, 200);
        assert!(send(address, "POST /x HTTP/1.1", wrapped).await.unwrap().repeat());
        assert_eq!(send(address, "POST /x HTTP/1.1", "[1]").await.unwrap().status, 400);
        assert_eq!(ask(address, "rows").await.body, "{\"a\":1}\n{\"a\":2}\n");
    })
    .await;
    let summary = with_receiver("--id none", |address| async move {
        send(address, "PATCH /x HTTP/1.1", "[1]").await.unwrap();
        send(address, "PATCH /x HTTP/1.1", "[1]").await.unwrap();
        assert_eq!(send(address, "DELETE /x HTTP/1.1", "").await.unwrap().status, 405);
    })
    .await;
    assert_eq!((summary.get("applied"), summary.get("rows"), summary.get("refused")), (2, 2, 1));
    let summary = with_receiver("", |address| async move {
        assert_eq!(send(address, "PUT /x HTTP/1.1", "{}").await.unwrap().status, 400);
        assert_eq!(put(address, &"x".repeat(2000), "{}").await.unwrap().status, 400);
    })
    .await;
    assert_eq!((summary.get("refused"), summary.get("rejected")), (2, 0));
}

#[tokio::test]
async fn credentials_are_asked_for() {
    for (args, header) in [("--bearer-env TOKEN", "Bearer sesame"), ("--basic-env PAIR", "Basic YW5uOnNlY3JldA==")] {
        let summary = with_receiver(args, |address| async move {
            assert_eq!(put(address, "x", "{}").await.unwrap().status, 401);
            let wrong = "PUT /v1/positions HTTP/1.1\r\nidempotency-key: x\r\nauthorization: Bearer x";
            assert_eq!(send(address, wrong, "{}").await.unwrap().status, 401);
            let right = format!("PUT /v1/positions HTTP/1.1\r\nidempotency-key: x\r\nauthorization: {header}");
            assert_eq!(send(address, &right, "{}").await.unwrap().status, 200);
        })
        .await;
        assert_eq!((summary.get("refused"), summary.get("applied")), (2, 1));
    }
    let clock = Arc::new(SystemClock::default());
    let missing = Receiver::bind(options("--bearer-env NOT_SET"), clock, &|_| None).await.err().unwrap();
    assert!(missing.to_string().contains("NOT_SET"));
}

#[tokio::test]
async fn faults_have_the_effect_they_claim() {
    let summary = with_receiver("--drop 1", |address| async move {
        assert!(put(address, "x", "{}").await.is_none());
        for (fault, status) in [("fail_429", 429), ("fail_500", 500), ("fail_503", 503), ("lie", 200)] {
            set_faults(address, json!({ fault: 1.0, "retry_after": 7 })).await;
            let answer = put(address, "x", "{}").await.unwrap();
            assert_eq!(answer.status, status);
            assert!(answer.json()["error"].is_string());
            assert_eq!(answer.head.contains("retry-after: 7"), status == 429 || status == 503, "{}", answer.head);
        }
        assert_eq!(ask(address, "rows").await.body, "");
        set_faults(address, json!({ "lose_answer": 1.0 })).await;
        assert!(put(address, "x", "{}").await.is_none());
        assert_eq!(ask(address, "rows").await.body, "{}\n");
        set_faults(address, json!({})).await;
        assert!(put(address, "x", "{}").await.unwrap().repeat());
        let summary = ask(address, "summary").await.json();
        assert_eq!(summary["applied"], 1);
        let faults = json!({ "drop": 1, "fail_429": 1, "fail_500": 1, "fail_503": 1, "lie": 1, "lose_answer": 1 });
        assert_eq!(summary["faults"], faults);
        for wrong in
            [json!({ "drop": 2 }), json!({ "dorp": 1 }), json!({ "delay": "1" }), json!({ "restart_every": 0 })]
        {
            let answer = send(address, "POST /_tidegate/faults HTTP/1.1", &wrong.to_string()).await.unwrap();
            assert_eq!(answer.status, 400, "{wrong}");
        }
        assert_eq!(ask(address, "nothing").await.status, 404);
    })
    .await;
    assert_eq!((summary.get("requests"), summary.get("repeats"), summary.get("conflicts")), (7, 1, 0));
}

#[tokio::test]
async fn a_delayed_request_lands_when_its_client_is_gone() {
    let summary = with_receiver("--delay 1:300", |address| async move {
        let impatient = tokio::time::timeout(Duration::from_millis(50), put(address, "x", "{}")).await;
        assert!(impatient.is_err());
        set_faults(address, json!({})).await;
        assert!(!put(address, "x", "{}").await.unwrap().repeat());
        set_faults(address, json!({ "delay": "1:20" })).await;
        assert_eq!(put(address, "y", "{}").await.unwrap().status, 200);
        while ask(address, "summary").await.json()["repeats"] == 0 {}
    })
    .await;
    assert_eq!((summary.get("applied"), summary.get("repeats"), summary.get("fault.delay")), (2, 1, 2));
}

#[tokio::test]
async fn a_restart_cuts_every_connection_and_keeps_the_memory() {
    let summary = with_receiver("--restart-every 3 --restart-ms 100", |address| async move {
        let mut idle = TcpStream::connect(address).await.unwrap();
        put(address, "1", "{}").await.unwrap();
        put(address, "2", "{}").await.unwrap();
        assert!(put(address, "3", "{}").await.is_none());
        let mut byte = [0];
        assert!(matches!(idle.read(&mut byte).await, Ok(0) | Err(_)));
        assert!(TcpStream::connect(address).await.is_err(), "refused while it restarts");
        let mut answer = None;
        while answer.is_none() {
            answer = put(address, "1", "{}").await;
        }
        assert!(answer.unwrap().repeat());
    })
    .await;
    assert_eq!((summary.get("applied"), summary.get("fault.restart")), (2, 1));
}

#[tokio::test]
async fn an_id_may_be_forgotten() {
    let summary = with_receiver("--remember 50ms", |address| async move {
        put(address, "x", "1").await.unwrap();
        tokio::task::yield_now().await;
        let mut second = put(address, "x", "1").await.unwrap();
        while second.repeat() {
            second = put(address, "x", "1").await.unwrap();
        }
        assert_eq!(ask(address, "rows").await.body, "1\n1\n");
    })
    .await;
    assert_eq!((summary.get("applied"), summary.get("forgotten"), summary.get("rows")), (2, 1, 2));
}

#[tokio::test]
async fn listings_are_whole_and_sorted_by_bytes() {
    with_receiver("", |address| async move {
        let rows: Vec<String> = (0..2500).map(|i| format!("\"{}-\u{e9}\"", (i * 7919) % 1250)).collect();
        for (i, rows) in rows.chunks(700).enumerate() {
            put(address, &i.to_string(), &format!("[{}]", rows.join(","))).await.unwrap();
        }
        let listed = ask(address, "rows").await.body;
        assert_eq!(listed.lines().collect::<Vec<_>>(), rows);
        let mut sorted = rows.clone();
        sorted.sort();
        for _ in 0..2 {
            assert_eq!(ask(address, "rows?sorted=true").await.body.lines().collect::<Vec<_>>(), sorted);
        }
    })
    .await;
}

#[tokio::test]
async fn large_and_broken_requests_do_no_harm() {
    let summary = with_receiver("", |address| async move {
        let large = "1".repeat(super::http::MAX_BODY + 1);
        if let Some(answer) = put(address, "large", &large).await {
            assert_eq!(answer.status, 413);
        }
        let mut torn = TcpStream::connect(address).await.unwrap();
        torn.write_all(b"PUT / HTTP/1.1\r\nidempotency-key: t\r\ncontent-length: 9\r\n\r\n[1").await.unwrap();
        drop(torn);
        send(address, "nonsense", "").await;
        assert_eq!(put(address, "x", "{}").await.unwrap().status, 200);
    })
    .await;
    assert_eq!(summary.get("applied"), 1);
}

#[tokio::test]
async fn requests_on_one_connection_and_side_by_side() {
    let summary = with_receiver("", |address| async move {
        let client = |number: usize| async move {
            let mut stream = BufReader::new(TcpStream::connect(address).await.unwrap());
            for i in 0..50 {
                // Two clients share every id: one of the two is the repeat.
                let id = number / 2 * 100 + i;
                let text =
                    format!("PUT /x HTTP/1.1\r\nhost: x\r\nidempotency-key: {id}\r\ncontent-length: 2\r\n\r\n{{}}");
                stream.write_all(text.as_bytes()).await.unwrap();
                let mut line = String::new();
                while !line.ends_with("\r\n\r\n") {
                    assert_ne!(stream.read_line(&mut line).await.unwrap(), 0);
                }
                assert!(line.starts_with("HTTP/1.1 200"), "{line}");
                let mut body = [0; 14];
                stream.read_exact(&mut body).await.unwrap();
            }
        };
        futures::future::join_all((0..16).map(client)).await;
    })
    .await;
    assert_eq!((summary.get("applied"), summary.get("repeats")), (400, 400));
}

#[tokio::test]
async fn it_ends_when_asked_and_when_idle() {
    let run = |args| async move {
        let clock = Arc::new(SystemClock::default());
        let receiver = Receiver::bind(options(args), clock, &|_| None).await.unwrap();
        let address = receiver.address();
        tokio::join!(receiver.run(std::future::pending()), send(address, "POST /_tidegate/shutdown HTTP/1.1", ""))
    };
    let (summary, answer) = run("").await;
    assert_eq!((summary.unwrap(), answer.unwrap().status), (Summary::default(), 200));
    let clock = Arc::new(SystemClock::default());
    let idle = Receiver::bind(options("--idle-exit 20ms"), clock, &|_| None).await.unwrap();
    assert_eq!(idle.run(std::future::pending()).await.unwrap(), Summary::default());
}

#[test]
fn options_are_checked() {
    let wrong =
        ["--drop 2", "--id nowhere", "--delay 5", "--reject-if x", "--id header:", "--remember 5", "--drop NaN"];
    for args in wrong {
        assert!(Cli::try_parse_from(["target"].into_iter().chain(args.split_whitespace())).is_err(), "{args}");
    }
    let delay = options("--delay 0.25:40").faults.delay.unwrap();
    assert_eq!(String::from(delay), "0.25:40");
}

#[test]
fn draws_are_repeatable_and_about_as_frequent_as_told() {
    let faults = options("--fail-503 0.2 --lose-answer 0.1 --fault-seed 5").faults;
    let fates: Vec<_> = (0..10_000).map(|n| faults.draw(n)).collect();
    assert_eq!(fates, (0..10_000).map(|n| faults.draw(n)).collect::<Vec<_>>());
    let failed = fates.iter().filter(|fate| **fate == super::faults::Fate::Status(503)).count();
    assert!((1800..2200).contains(&failed), "{failed}");
    let other = options("--fail-503 0.2 --lose-answer 0.1 --fault-seed 6").faults;
    assert_ne!(fates, (0..10_000).map(|n| other.draw(n)).collect::<Vec<_>>());
}

/// Starts this test program again as a receiver and returns where it listens.
async fn child(store: &Path) -> (tokio::process::Child, SocketAddr) {
    let module = module_path!().split_once("::").unwrap().1;
    let mut child = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", &format!("{module}::a_receiver_in_a_process_of_its_own")])
        .env("TIDEGATE_TEST_STORE", store)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        if let Some((_, address)) = line.split_once("listening on http://") {
            return (child, address.parse().unwrap());
        }
    }
    panic!("the receiver did not start");
}

/// What [`child`] runs: nothing unless the parent says where its store is.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "how the parent says which store to use")]
async fn a_receiver_in_a_process_of_its_own() {
    let Ok(store) = std::env::var("TIDEGATE_TEST_STORE") else { return };
    super::serve(options(&format!("--store {store} --lose-answer 0.2"))).await.unwrap();
}

#[tokio::test]
async fn what_was_answered_survives_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("received.db");
    let mut answered: Vec<(String, String)> = Vec::new();
    let mut next = 0;
    for round in 0..5 {
        let (mut process, address) = child(&store).await;
        for (id, body) in &answered {
            let answer = put(address, id, body).await;
            assert!(answer.is_none_or(|answer| answer.status == 200 && answer.repeat()), "{id}");
        }
        // The process is killed while a client sends.
        let sending = async {
            loop {
                let (id, body) = (format!("r/{next}"), format!("[{next}]"));
                next += 1;
                if put(address, &id, &body).await.is_some() {
                    answered.push((id, body));
                }
            }
        };
        let _ = tokio::time::timeout(Duration::from_millis(40 + 17 * round), sending).await;
        process.start_kill().unwrap();
        process.wait().await.unwrap();
    }
    assert!(answered.len() > 20, "{}", answered.len());
    let (_process, address) = child(&store).await;
    let rows = ask(address, "rows").await.body;
    let rows: Vec<&str> = rows.lines().collect();
    let distinct: std::collections::BTreeSet<_> = rows.iter().collect();
    assert_eq!(distinct.len(), rows.len(), "no row took effect twice");
    for (_, body) in &answered {
        assert!(distinct.contains(&body.trim_matches(['[', ']'])), "{body} is lost");
    }
    assert_eq!(ask(address, "summary").await.json()["conflicts"], 0);
}

#[tokio::test]
async fn a_fence_refuses_what_is_not_newer() {
    let send_as = async |address, lane: &str, number: &str, body: &str| {
        let head = format!("PUT /x HTTP/1.1\r\nTidegate-Fence-Lane: {lane}\r\nTidegate-Fence-Number: {number}");
        let answer = send(address, &head, body).await.unwrap();
        (answer.status, answer.repeat())
    };
    let summary = with_receiver("--id fenced --reject-if a=9", |address| async move {
        let one = async |number: &str, body: &str| send_as(address, "l", number, body).await;
        assert_eq!(one("7.2", r#"[{"a":1}]"#).await, (200, false));
        assert_eq!(one("7.2", r#"[{"a":1}]"#).await, (412, true));
        assert_eq!(one("7.2", r#"[{"a":2}]"#).await, (422, false));
        assert_eq!(one("7.1", r#"[{"a":3}]"#).await, (412, true));
        // What is rejected does not move the fence: it is judged again, and its parts are newer.
        assert_eq!(one("7.3", r#"[{"a":9},{"a":4}]"#).await, (422, false));
        assert_eq!(one("7.3", r#"[{"a":9},{"a":4}]"#).await, (422, false));
        assert_eq!(one("7.3.0", r#"[{"a":9}]"#).await, (422, false));
        assert_eq!(one("7.3.1", r#"[{"a":4}]"#).await, (200, false));
        assert_eq!(one("7.3", r#"[{"a":9},{"a":4}]"#).await, (412, true));
        assert_eq!(send_as(address, "other", "1", r#"[{"a":5}]"#).await, (200, false));
        assert_eq!(put(address, "x", "{}").await.unwrap().status, 400);
        assert_eq!(ask(address, "rows").await.body, "{\"a\":1}\n{\"a\":4}\n{\"a\":5}\n");
        assert_eq!(ask(address, "summary").await.json()["fenced"], 3);
    })
    .await;
    assert_eq!((summary.get("applied"), summary.get("conflicts"), summary.get("rejected")), (3, 1, 3));
}

#[tokio::test]
async fn the_last_writer_of_a_path_wins() {
    let summary = with_receiver("--id last_writer_wins", |address| async move {
        let write = async |head: &str, body: &str| send(address, head, body).await.unwrap().status;
        for body in [r#"{"a":1}"#, r#"{"a":2}"#, r#"{"a":2}"#] {
            assert_eq!(write("PUT /x/1 HTTP/1.1", body).await, 200);
        }
        assert_eq!(write("PUT /x/2 HTTP/1.1", r#"{"a":3}"#).await, 200);
        assert_eq!(write("POST /x/2 HTTP/1.1", r#"{"a":4}"#).await, 405);
        assert_eq!(write("PUT /x/2 HTTP/1.1", r#"[{"a":5},{"a":6}]"#).await, 400);
        assert_eq!(ask(address, "rows").await.body, "{\"a\":2}\n{\"a\":3}\n");
        assert_eq!(ask(address, "summary").await.json()["replaced"], 2);
    })
    .await;
    assert_eq!((summary.get("applied"), summary.get("rows"), summary.get("refused")), (4, 4, 1));
}
