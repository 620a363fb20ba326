use super::*;

const FAR: DeliveryContext = DeliveryContext { deadline: Duration::from_secs(1_000_000), first_attempt: true };

fn entries(target: &RestTarget, count: usize) -> Vec<OutboxEntry> {
    let keys = vec![Some("a"); count];
    crate::plan(&Target::Rest(Box::new(target.clone())), &context(&lane(), &[]), &rows(&keys)).unwrap().entries
}

fn deliver(target: RestTarget, script: &Arc<Script>, count: usize, ctx: DeliveryContext) -> (DeliveryReport, Duration) {
    let ports = ports(script.clone());
    let clock = ports.clock.clone();
    let entries = entries(&target, count);
    let report = run(Sender::new(ports).deliver(&lane(), &entries, &targets(target), ctx));
    (report, clock.elapsed())
}

fn kind(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Acknowledged => "acknowledged",
        Outcome::Rejected { .. } => "rejected",
        Outcome::GivenUp { .. } => "given up",
        Outcome::Blocked { kind: BlockKind::Passing, .. } => "passing",
        Outcome::Blocked { kind: BlockKind::NeedsAttention, .. } => "attention",
        Outcome::NotTried => "not tried",
        Outcome::Unknown { .. } => "unknown",
    }
}

fn kinds(report: &DeliveryReport) -> Vec<&'static str> {
    report.outcomes.iter().map(kind).collect()
}

#[test]
fn a_request_carries_id_hash_and_credentials() {
    let mut target = rest("http://h/x");
    target.auth = Auth::Basic { user: "u".into(), password: SecretRef::Env("P".into()) };
    let script = Script::new([status(200)]);
    let (report, _) = deliver(target.clone(), &script, 1, FAR);
    assert!(report.settled());
    let seen = script.seen.lock().unwrap();
    let header = |name: &str| seen[0].headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone()).unwrap();
    assert_eq!(header("Idempotency-Key"), format!("{:032x}/1/orders:a%2Fb-3/7/0", 255));
    assert_eq!(header(CONTENT_HASH_HEADER).len(), 64);
    assert_eq!(header("Content-Type"), "application/json");
    assert_eq!(seen[0].authorization.as_ref().unwrap().expose(), "Basic dTpodW50ZXIy");
    let stored = format!("{:?}", entries(&target, 1));
    assert!(!stored.contains("hunter2") && !stored.contains("dTpodW50ZXIy"));
}

#[test]
fn passing_faults_are_retried_and_then_block() {
    let answers = [status(500), Err(HttpFault::TimedOut), Err(HttpFault::Lost("x".into())), status(409), status(200)];
    let (report, _) = deliver(rest("http://h/x"), &Script::new(answers), 1, FAR);
    assert_eq!(kinds(&report), ["acknowledged"]);
    assert_eq!((report.counts.requests, report.counts.retries), (5, 4));
    let script = Script::new([status(500)]);
    let (report, _) = deliver(rest("http://h/x"), &script, 5, FAR);
    assert_eq!(kinds(&report), ["passing", "not tried", "not tried"]);
    assert_eq!(report.counts.requests, 10);
}

#[test]
fn retry_after_is_respected() {
    let (report, took) = deliver(rest("http://h/x"), &Script::new([retry_after(429, "7"), status(200)]), 1, FAR);
    assert!(report.settled());
    assert!(took >= Duration::from_secs(7) && took < Duration::from_secs(8), "{took:?}");
    let date = "Thu, 01 Jan 2026 00:00:20 GMT";
    let (report, took) = deliver(rest("http://h/x"), &Script::new([retry_after(503, date), status(200)]), 1, FAR);
    assert!(report.settled());
    assert!(took >= Duration::from_secs(20) && took < Duration::from_secs(21), "{took:?}");
    // Longer than the budget: no waiting in vain.
    let (report, took) = deliver(rest("http://h/x"), &Script::new([retry_after(429, "3600")]), 1, FAR);
    assert_eq!(kinds(&report), ["passing"]);
    assert!(took < Duration::from_secs(1));
}

#[test]
fn the_deadline_ends_everything() {
    let ctx = DeliveryContext { deadline: Duration::from_secs(1), first_attempt: true };
    let mut target = rest("http://h/x");
    target.on_exhausted = OnExhausted::DeadLetter;
    target.retry.max_attempts = 1000;
    let script = Script::new([status(429)]);
    let (report, took) = deliver(target.clone(), &script, 3, ctx);
    assert_eq!(kinds(&report), ["passing", "not tried"]);
    assert!(took <= Duration::from_secs(1), "{took:?}");
    assert!(script.seen.lock().unwrap().iter().all(|request| request.timeout <= Duration::from_secs(1)));
    let ctx = DeliveryContext { deadline: Duration::ZERO, first_attempt: true };
    assert_eq!(kinds(&deliver(target, &Script::new([status(200)]), 3, ctx).0), ["not tried", "not tried"]);
}

#[test]
fn only_known_refusals_become_dead_letters_on_exhaustion() {
    let mut target = rest("http://h/x");
    target.on_exhausted = OnExhausted::DeadLetter;
    target.retry.max_attempts = 3;
    let outcome = |answers: Vec<_>, first_attempt| {
        let ctx = DeliveryContext { first_attempt, ..FAR };
        kinds(&deliver(target.clone(), &Script::new(answers), 1, ctx).0)[0]
    };
    assert_eq!(outcome(vec![status(429), status(503)], true), "given up");
    assert_eq!(outcome(vec![status(429)], false), "passing", "an earlier attempt may have timed out");
    assert_eq!(outcome(vec![Err(HttpFault::TimedOut), status(429)], true), "passing");
    assert_eq!(outcome(vec![Err(HttpFault::NotConnected("refused".into()))], true), "passing");
    assert_eq!(outcome(vec![status(500)], true), "passing");
}

#[test]
fn rejections_say_what_they_prove() {
    let mut target = rest("http://h/x");
    target.promise.rejections_are_final = false;
    let proves = |target: &RestTarget, answers: Vec<_>, first_attempt| {
        let ctx = DeliveryContext { first_attempt, ..FAR };
        match deliver(target.clone(), &Script::new(answers), 1, ctx).0.outcomes.remove(0) {
            Outcome::Rejected { proves_not_applied, .. } => proves_not_applied,
            other => panic!("{other:?}"),
        }
    };
    assert!(proves(&target, vec![status(422)], true));
    assert!(!proves(&target, vec![status(422)], false));
    assert!(!proves(&target, vec![Err(HttpFault::TimedOut), status(422)], true));
    target.promise.rejections_are_final = true;
    assert!(proves(&target, vec![Err(HttpFault::TimedOut), status(422)], false));
    target.on_reject = OnReject::Block;
    assert_eq!(kinds(&deliver(target, &Script::new([status(422)]), 1, FAR).0), ["attention"]);
}

#[test]
fn messages_hold_no_secret() {
    let mut target = rest("http://user:pass@h/x?token=abc");
    target.auth = Auth::Bearer(SecretRef::Env("T".into()));
    let (report, _) = deliver(target, &Script::new([with_body(401, "bad token hunter2")]), 1, FAR);
    let Outcome::Blocked { kind: BlockKind::NeedsAttention, message } = &report.outcomes[0] else { panic!() };
    assert!(message.contains("http://h/x") && message.contains("credentials"), "{message}");
    for secret in ["hunter2", "abc", "pass"] {
        assert!(!message.contains(secret), "{message}");
    }
}

/// A secret that was changed: what is known is old, what is kept is new.
struct Rotated {
    kept: &'static str,
    asked_again: AtomicU64,
}

#[async_trait]
impl SecretStore for Rotated {
    async fn fetch(&self, _: &SecretRef) -> Result<Secret> {
        Ok(Secret::new("old"))
    }

    async fn fetch_again(&self, _: &SecretRef) -> Result<Secret> {
        self.asked_again.fetch_add(1, Ordering::SeqCst);
        Ok(Secret::new(self.kept))
    }
}

/// Takes requests that come with `Bearer new`.
#[derive(Default)]
struct Guarded(Mutex<Vec<String>>);

#[async_trait]
impl HttpTransport for Guarded {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpFault> {
        let authorization = request.authorization.unwrap().expose().to_owned();
        let answer = if authorization == "Bearer new" { status(200) } else { with_body(401, &authorization) };
        self.0.lock().unwrap().push(authorization);
        answer
    }
}

#[test]
fn a_secret_is_fetched_again_once_after_a_401() {
    let mut target = rest("http://h/x");
    target.auth = Auth::Bearer(SecretRef::Ssm("token".into()));
    target.concurrency = 3;
    target.ordered = false;
    for (kept, expected) in [("new", "acknowledged"), ("old", "attention"), ("wrong", "attention")] {
        let guarded = Arc::new(Guarded::default());
        let rotated = Arc::new(Rotated { kept, asked_again: AtomicU64::new(0) });
        let mut ports = ports(guarded.clone());
        ports.secrets = rotated.clone();
        let entries = entries(&target, 10);
        assert!(entries.len() >= 4);
        let report = run(Sender::new(ports).deliver(&lane(), &entries, &targets(target.clone()), FAR));
        assert_eq!(kinds(&report)[0], expected, "{kept}");
        assert_eq!(report.settled(), kept == "new", "{kept}");
        assert_eq!(rotated.asked_again.load(Ordering::SeqCst), 1, "{kept}");
        let seen = guarded.0.lock().unwrap();
        assert!(seen.iter().filter(|sent| *sent == "Bearer old").count() <= 3, "{seen:?}");
        if let Outcome::Blocked { message, .. } = &report.outcomes[0] {
            assert!(message.contains("401") && !message.contains("old") && !message.contains("wrong"), "{message}");
        }
    }
}

#[test]
fn every_attempt_pays_the_rate_limit() {
    let mut target = rest("http://h/x");
    target.rate_limit = Some(RateLimit { requests: 1, per: Duration::from_secs(10) });
    target.retry.max_elapsed = Duration::from_secs(600);
    let (report, took) = deliver(target, &Script::new([status(500), status(500), status(200)]), 4, FAR);
    assert!(report.settled());
    assert_eq!(report.counts.requests, 4);
    assert!(took >= Duration::from_secs(30), "{took:?}");
}

#[test]
fn side_by_side_stops_at_a_block() {
    let mut target = rest("http://h/x");
    target.ordered = false;
    target.concurrency = 4;
    let script = Script::new([status(404)]);
    let (report, _) = deliver(target, &script, 40, FAR);
    assert_eq!(kinds(&report).iter().filter(|kind| **kind == "attention").count(), 4);
    assert_eq!(script.seen.lock().unwrap().len(), 4);
}

#[test]
fn an_unknown_target_or_no_place_for_dead_letters_blocks() {
    let script = Script::new([status(200)]);
    let mut owed = entries(&rest("http://h/x"), 1);
    owed[0].target = "gone".into();
    owed.extend(dead_letter_entries(&lane(), 7, 1, Timestamp(0), &[DeadLetter::default()]).unwrap());
    let report = run(Sender::new(ports(script)).deliver(&lane(), &owed, &BTreeMap::new(), FAR));
    assert_eq!(kinds(&report), ["attention", "attention"]);
}

#[test]
fn a_dry_run_file_is_exactly_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out").to_str().unwrap().to_owned();
    let lines = LinesTarget::File(path.clone());
    let target = Target::Lines(lines.clone());
    let key = lane();
    let ctx = context(&key, &[]);
    let first = crate::plan(&target, &ctx, &rows(&[Some("a")])).unwrap();
    let second_ctx = PlanContext { sink_length: first.sink_length, ..ctx };
    let second = crate::plan(&target, &second_ctx, &rows(&[Some("b")])).unwrap();
    let targets = BTreeMap::from([("api".to_owned(), target)]);
    let sender = || Sender::new(ports(Script::new([status(200)])));
    let deliver =
        |sender: &Sender, entries: &[OutboxEntry]| kinds(&run(sender.deliver(&key, entries, &targets, FAR)))[0];
    let one = sender();
    one.open_lines(&lines, 0).unwrap();
    assert_eq!(deliver(&one, &first.entries), "acknowledged");
    assert_eq!(deliver(&one, &first.entries), "acknowledged");
    assert_eq!(deliver(&one, &second.entries), "acknowledged");
    let whole = std::fs::read(&path).unwrap();
    assert_eq!(whole.len() as u64, second.sink_length);
    // A crash after a torn write behind the committed length.
    std::fs::write(&path, [&whole[..], b"torn"].concat()).unwrap();
    let two = sender();
    two.open_lines(&lines, second.sink_length).unwrap();
    assert_eq!(deliver(&two, &second.entries), "acknowledged");
    assert_eq!(std::fs::read(&path).unwrap(), whole);
    std::fs::write(&path, b"x").unwrap();
    assert_eq!(deliver(&two, &second.entries), "attention");
}

#[test]
fn what_a_fence_refuses_was_applied_before() {
    let mut target = rest("http://h/x");
    target.idempotency = Idempotency::Fenced(409);
    let script = Script::new([Err(HttpFault::TimedOut), status(409), status(200)]);
    let (report, _) = deliver(target.clone(), &script, 3, FAR);
    assert_eq!(kinds(&report), ["acknowledged", "acknowledged"]);
    assert_eq!((report.counts.requests, report.counts.repeats), (3, 1));
    let number = |i: usize| {
        let seen = script.seen.lock().unwrap();
        seen[i].headers.iter().find(|(name, _)| name == FENCE_NUMBER_HEADER).unwrap().1.clone()
    };
    assert_eq!(number(0), number(1));
    assert!(number(1) < number(2));
    // Any other status keeps its meaning.
    assert_eq!(kinds(&deliver(target, &Script::new([status(412)]), 1, FAR).0), ["passing"]);
}

#[test]
fn a_fence_takes_one_request_at_a_time() {
    let mut target = rest("http://h/x");
    (target.idempotency, target.concurrency, target.ordered) = (Idempotency::Fenced(412), 8, false);
    let waves: Vec<u16> = entries(&target, 5).iter().map(|entry| entry.wave).collect();
    assert_eq!(waves, [0, 1, 2]);
    // A part of a rejected request would be older than what left before it.
    let (report, _) = deliver(target, &Script::new([status(422), status(200)]), 5, FAR);
    assert_eq!(kinds(&report), ["rejected", "not tried", "not tried"]);
}

#[test]
fn at_most_once_repeats_only_what_did_not_take_effect() {
    let outcome = |answers: Vec<_>| {
        let mut target = rest("http://h/x");
        target.idempotency = Idempotency::AtMostOnce { offered: false };
        let (report, _) = deliver(target, &Script::new(answers), 1, DeliveryContext { first_attempt: false, ..FAR });
        (kinds(&report)[0], report.counts.requests, report.counts.unknown)
    };
    assert_eq!(outcome(vec![status(503), status(429), status(200)]), ("acknowledged", 3, 0));
    assert_eq!(outcome(vec![Err(HttpFault::NotConnected("x".into())), status(200)]), ("acknowledged", 2, 0));
    for unknown in [Err(HttpFault::TimedOut), Err(HttpFault::Lost("x".into())), status(500), status(409), status(408)] {
        assert_eq!(outcome(vec![status(503), unknown, status(200)]), ("unknown", 2, 1));
    }
    assert_eq!(outcome(vec![status(503)]), ("passing", 10, 0));
    assert_eq!(outcome(vec![status(404)]), ("attention", 1, 0));
    let rejected = outcome(vec![status(503), status(422)]);
    assert_eq!(rejected, ("rejected", 2, 0));
}

#[test]
fn what_was_offered_is_not_sent() {
    let mut target = rest("http://h/x");
    target.idempotency = Idempotency::AtMostOnce { offered: true };
    let script = Script::new([status(200)]);
    assert_eq!(kinds(&deliver(target, &script, 3, FAR).0), ["not tried", "not tried"]);
    assert!(script.seen.lock().unwrap().is_empty());
}
