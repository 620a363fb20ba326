//! Against a real HTTP server on this machine.

use std::collections::HashMap;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tidegate_core::time::SystemClock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

#[derive(Clone, Debug)]
enum Action {
    Answer(u16, &'static str, &'static str),
    DropEarly,
    DropLate,
    Dribble,
    Hang,
    HalfBody,
}

struct Seen {
    head: String,
    body: String,
}

/// The behaviour of a server: what it does with the n-th request that it has read.
type Behave<'a> = &'a dyn Fn(usize, &Seen) -> Action;

/// Runs `work` beside a server that behaves as told; returns what the server has read.
async fn with_server<T>(behave: Behave<'_>, work: impl AsyncFnOnce(String) -> T) -> (T, Vec<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Mutex::new(Vec::new());
    let serve = async {
        let mut connections = FuturesUnordered::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => connections.push(connection(accepted.unwrap().0, behave, &seen)),
                Some(_) = connections.next() => {}
            }
        }
    };
    let result = tokio::select! {
        result = work(format!("http://{address}")) => result,
        () = serve => unreachable!(),
    };
    (result, seen.into_inner().unwrap())
}

async fn connection(mut stream: TcpStream, behave: Behave<'_>, seen: &Mutex<Vec<Seen>>) -> std::io::Result<()> {
    loop {
        let mut bytes = Vec::new();
        let head_end = loop {
            if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
        };
        let head = String::from_utf8(bytes[..head_end].to_vec()).unwrap();
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:").map(|n| n.trim().to_owned()))
            .map_or(0, |n| n.parse::<usize>().unwrap());
        while bytes.len() < head_end + length {
            if stream.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
        }
        let request = Seen { head, body: String::from_utf8(bytes[head_end..].to_vec()).unwrap() };
        let number = seen.lock().unwrap().len();
        let action = behave(number, &request);
        seen.lock().unwrap().push(request);
        match action {
            Action::Answer(status, headers, body) => {
                let answer = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n{body}", body.len());
                stream.write_all(answer.as_bytes()).await?;
            }
            Action::DropEarly | Action::DropLate => return Ok(()),
            Action::Dribble => {
                for byte in b"HTTP/1.1 200 OK\r\n".iter().cycle() {
                    stream.write_all(&[*byte]).await?;
                    SystemClock::default().sleep(Duration::from_millis(20)).await;
                }
            }
            Action::Hang => SystemClock::default().sleep(Duration::from_secs(60)).await,
            Action::HalfBody => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await?;
                return Ok(());
            }
        }
    }
}

fn real_ports() -> SenderPorts {
    SenderPorts { clock: Arc::new(SystemClock::default()), ..ports(Arc::new(ReqwestTransport::new().unwrap())) }
}

fn quick(url: &str) -> RestTarget {
    let mut target = rest(url);
    target.retry.initial_backoff = Duration::from_millis(1);
    target.retry.max_backoff = Duration::from_millis(2);
    target.retry.max_attempts = 3;
    target.timeout = Duration::from_millis(300);
    target
}

const CTX: DeliveryContext = DeliveryContext { deadline: Duration::from_secs(30), first_attempt: true };

fn plan_rows(target: &RestTarget, keys: &[&str]) -> Vec<OutboxEntry> {
    let keys: Vec<_> = keys.iter().map(|key| Some(*key)).collect();
    crate::plan(&Target::Rest(Box::new(target.clone())), &context(&lane(), &[]), &rows(&keys)).unwrap().entries
}

fn once(behave: Behave<'_>, change: impl Fn(&mut RestTarget)) -> (DeliveryReport, Vec<Seen>) {
    run(with_server(behave, async |url: String| {
        let mut target = quick(&format!("{url}/v1/{{k}}"));
        change(&mut target);
        let entries = plan_rows(&target, &["a b"]);
        Sender::new(real_ports()).deliver(&lane(), &entries, &targets(target), CTX).await
    }))
}

#[test]
fn a_plain_success() {
    let (report, seen) = once(&|_, _| Action::Answer(201, "Tidegate-Repeat: true\r\n", ""), |_| {});
    assert!(report.settled());
    assert_eq!((report.counts.requests, report.counts.repeats), (1, 1));
    let head = seen[0].head.to_ascii_lowercase();
    assert!(seen[0].head.starts_with("POST /v1/a%20b HTTP/1.1"), "{head}");
    for header in [
        "idempotency-key: 0000",
        "tidegate-content-sha256: ",
        "content-type: application/json",
        "user-agent: tidegate/",
    ] {
        assert!(head.contains(header), "{header}: {head}");
    }
    assert_eq!(seen[0].body, r#"[{"k":"a b","n":0,"x":0.0}]"#);
}

#[test]
fn faults_pass() {
    for fault in [
        Action::Answer(500, "", "oops"),
        Action::Answer(429, "Retry-After: 0\r\n", ""),
        Action::DropEarly,
        Action::DropLate,
        Action::Dribble,
        Action::Hang,
    ] {
        let behave = |n: usize, _: &Seen| if n == 0 { fault.clone() } else { Action::Answer(200, "", "{}") };
        let (report, seen) = once(&behave, |_| {});
        assert!(report.settled(), "{fault:?}: {report:?}");
        assert_eq!(seen.len(), 2, "{fault:?}");
        assert_eq!(seen[0].body, seen[1].body);
        let key = |seen: &Seen| seen.head.lines().find(|l| l.starts_with("idempotency-key")).map(str::to_owned);
        assert_eq!(key(&seen[0]), key(&seen[1]));
    }
}

#[test]
fn faults_that_stay_block_the_lane() {
    for fault in [Action::Answer(503, "", ""), Action::DropLate, Action::Hang] {
        let (report, seen) = once(&|_, _| fault.clone(), |target| target.on_exhausted = OnExhausted::Block);
        assert!(matches!(report.outcomes[0], Outcome::Blocked { kind: BlockKind::Passing, .. }), "{report:?}");
        assert_eq!(seen.len(), 3);
    }
}

#[test]
fn nobody_listens() {
    let address = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let target = quick(&format!("http://{address}/x"));
    let entries = plan_rows(&target, &["a"]);
    let report = run(Sender::new(real_ports()).deliver(&lane(), &entries, &targets(target), CTX));
    let Outcome::Blocked { kind: BlockKind::Passing, message } = &report.outcomes[0] else { panic!("{report:?}") };
    assert!(message.contains("no connection"), "{message}");
}

#[test]
fn a_lying_target_is_no_success() {
    let lie = |_: usize, _: &Seen| Action::Answer(200, "", r#"{"status":"ok","errors":["disk full"]}"#);
    let (report, _) = once(&lie, |target| target.success.error_field = Some("errors".into()));
    let Outcome::Blocked { kind: BlockKind::Passing, message } = &report.outcomes[0] else { panic!("{report:?}") };
    assert!(message.contains("disk full"), "{message}");
    let (report, _) = once(&|_, _| Action::HalfBody, |target| target.success.error_field = Some("errors".into()));
    assert!(!report.settled());
    let (report, _) = once(&|_, _| Action::HalfBody, |_| {});
    assert!(report.settled(), "the status alone says success");
}

#[test]
fn redirects_are_not_followed() {
    let (report, seen) = once(&|_, _| Action::Answer(307, "Location: /elsewhere\r\n", ""), |_| {});
    assert!(matches!(report.outcomes[0], Outcome::Blocked { kind: BlockKind::NeedsAttention, .. }));
    assert_eq!(seen.len(), 1);
}

#[test]
fn poison_is_narrowed_down_to_its_rows() {
    let applied = Mutex::new(HashMap::<String, String>::new());
    let behave = |_: usize, seen: &Seen| {
        let id = seen.head.lines().find(|line| line.starts_with("idempotency-key")).unwrap().to_owned();
        if seen.body.contains("poison") {
            assert!(!applied.lock().unwrap().contains_key(&id));
            return Action::Answer(422, "", "row 3 is bad");
        }
        let other = applied.lock().unwrap().insert(id, seen.body.clone());
        assert!(other.is_none_or(|other| other == seen.body), "one id, two bodies");
        Action::Answer(200, "", "")
    };
    let keys: Vec<String> =
        (0..50).map(|i| if i == 17 || i == 40 { format!("poison{i}") } else { format!("good \"}}],[{i}") }).collect();
    let kept = Arc::new(Kept::default());
    let (rounds, _) = run(with_server(&behave, async |url: String| {
        let mut target = quick(&url);
        target.batch.rows = 20;
        let mut ports = real_ports();
        ports.dead_letters = Some(kept.clone());
        let sender = Sender::new(ports);
        let mut owed = plan_rows(&target, &keys.iter().map(String::as_str).collect::<Vec<_>>());
        let targets = targets(target);
        for round in 0..20 {
            let report = sender.deliver(&lane(), &owed, &targets, CTX).await;
            let carry = carry(&lane(), &owed, &targets, &report.outcomes, Timestamp(0)).unwrap();
            assert!(carry.blocked.is_empty(), "{:?}", carry.blocked);
            owed = carry.outbox;
            if owed.is_empty() {
                return round;
            }
        }
        panic!("not narrowed down")
    }));
    assert!(rounds <= 12, "{rounds}");
    let mut arrived: Vec<i64> = applied
        .into_inner()
        .unwrap()
        .values()
        .flat_map(|body| serde_json::from_str::<Vec<serde_json::Value>>(body).unwrap())
        .map(|row| row["n"].as_i64().unwrap())
        .collect();
    arrived.sort_unstable();
    assert_eq!(arrived, (0..50).filter(|n| *n != 17 && *n != 40).collect::<Vec<_>>());
    let letters = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
    let letters: Vec<serde_json::Value> = letters.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(letters.len(), 2);
    assert!(letters[0]["payload"].as_str().unwrap().contains("poison17"));
    assert!(letters[0]["reason"].as_str().unwrap().contains("row 3 is bad"));
    assert_ne!(letters[0]["id"], letters[1]["id"]);
}
