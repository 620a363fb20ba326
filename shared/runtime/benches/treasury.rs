//! From the bytes of a Kinesis event to its commit: treasury records of 300 bytes, 500 branches and 10 currencies.
//!
//! `cargo bench -p tidegate-runtime --bench treasury [-- CASE]`
//!
//! One thread, whose CPU time is what is measured. The store is the one in memory and the target a transport within
//! the process that acknowledges at once; sending is listed apart. Every case runs twice: once to hash the bodies that
//! the target gets, once to measure. Memory and start are measured in processes of their own.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use cpu_time::ThreadTime;
use tidegate_core::random::StdRandom;
use tidegate_core::{Clock, Timestamp};
use tidegate_delivery::{HttpFault, HttpRequest, HttpResponse, HttpTransport, Secrets, Sender, SenderPorts};

use tidegate_runtime::{Budget, Counts, PlannedPipeline, Ports, Runtime, RuntimeOptions, StageTimes, config};
use tidegate_source::split_kinesis;
use tidegate_state::memory::{MemoryBlobs, MemoryStore};

const RECORD_BYTES: usize = 300;
const BRANCHES: u64 = 500;
const CURRENCIES: [&str; 10] = ["RUB", "USD", "EUR", "GBP", "CNY", "JPY", "CHF", "TRY", "AED", "INR"];
/// Records of a measured pass.
const RECORDS: u64 = 660_000;
/// Batches before the measurement starts.
const WARM_BATCHES: u64 = 3;
const STARTS: usize = 9;
/// 2026-01-01T00:00:00Z in milliseconds.
const BASE_MILLIS: u64 = 1_767_225_600_000;

struct Case {
    name: &'static str,
    query: &'static str,
    /// A whole line of the pipeline file, or nothing.
    scope: &'static str,
    /// Records per second of event time.
    rate: u64,
}

const WINDOWED: &str = "SELECT window.start AS window_start, branch, currency, sum(amount) AS total, \
    count(*) AS transactions FROM transactions GROUP BY window(ts, '2 seconds'), branch, currency";

const CASES: [Case; 3] = [
    // What one shard takes at most: 1,650 of 2,000 records have a group of their own.
    Case { name: "windows-1k", query: WINDOWED, scope: "", rate: 1_000 },
    Case { name: "windows-10k", query: WINDOWED, scope: "", rate: 10_000 },
    Case {
        name: "reference",
        query: "select from_unixtime(unix_timestamp()) as curr_time, t.branch as branch_name, \
            t.currency as currency_code, sum(amount) as batch_value from transactions t group by t.branch, t.currency",
        scope: "    scope: batch\n",
        rate: 1_000,
    },
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["first-commit"] => {
            block_on(pass(&CASES[0], 1_000, 1, Measure::All));
            println!("committed");
        }
        ["peak-memory", case, batch] => {
            let case = CASES.iter().find(|known| known.name == *case).expect("the bench names its own cases");
            let batch = batch.parse().expect("the bench writes a number");
            block_on(pass(case, batch, RECORDS / batch, Measure::All));
            println!("{}", peak_kb());
        }
        filter => {
            let filter = filter.first().copied().unwrap_or_default();
            for case in CASES.iter().filter(|case| case.name.contains(filter)) {
                [1_000, 6_600].into_iter().for_each(|batch| report(case, batch));
            }
            starts();
        }
    }
}

fn report(case: &Case, batch: u64) {
    let batches = RECORDS / batch;
    let checked = block_on(pass(case, batch, batches, Measure::Hash));
    let found = block_on(pass(case, batch, batches, Measure::Warm));
    // Bytes of a commit vary: deadlines are in them.
    let results = |found: &Found| (found.counts.rows, found.counts.requests, found.counts.windows_closed);
    assert_eq!(results(&checked), results(&found), "both passes do the same");
    let measured = batches - WARM_BATCHES;
    let micros = |time: Duration| time.as_secs_f64() * 1e6 / measured as f64;
    let times = &found.times;
    let committed = found.split + found.lane - times.deliver;
    let share = |time: Duration| 100.0 * time.as_secs_f64() / committed.as_secs_f64();
    let rest = found.lane.saturating_sub(times.decode + times.sql + times.commit + times.deliver);
    println!(
        "{:12} {batch:5}  {:5.2} M records/s  {:7.0} us/batch  split {:2.0} % decode {:2.0} % sql {:2.0} % commit {:2.0} % rest {:2.0} %  \
         + sending {:5.0} us  {:4} rows/batch  commit {:6} B  peak {:3.0} MB  hash {:016x}",
        case.name,
        (measured * batch) as f64 / committed.as_secs_f64() / 1e6,
        micros(committed),
        share(found.split),
        share(times.decode),
        share(times.sql),
        share(times.commit),
        share(rest),
        micros(times.deliver),
        found.counts.rows / batches,
        found.counts.commit_bytes / batches,
        peak_of(case, batch),
        checked.hash,
    );
}

/// From the start of a process to its first commit, binary loaded, pipeline planned, 1,000 records taken.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures with the machine's clock")]
fn starts() {
    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..STARTS {
        let from = Instant::now();
        own_process(&["first-commit"]);
        times.push(from.elapsed());
    }
    times.sort();
    println!(
        "start to first commit of 1,000 records: median {:.1} ms, worst of {STARTS} {:.1} ms",
        times[STARTS / 2].as_secs_f64() * 1e3,
        times[STARTS - 1].as_secs_f64() * 1e3
    );
}

fn own_process(arguments: &[&str]) -> String {
    let program = std::env::current_exe().expect("a running program has a path");
    let ended = Command::new(program).args(arguments).stderr(Stdio::inherit()).output().expect("it starts");
    assert!(ended.status.success(), "{arguments:?}");
    String::from_utf8(ended.stdout).expect("the bench prints text")
}

fn peak_of(case: &Case, batch: u64) -> f64 {
    let printed = own_process(&["peak-memory", case.name, &batch.to_string()]);
    printed.trim().parse::<f64>().expect("the bench prints a number") / 1024.0
}

fn peak_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

#[derive(Clone, Copy, PartialEq)]
enum Measure {
    /// Hash every body.
    Hash,
    /// Leave the first batches out of the times.
    Warm,
    /// Nothing special.
    All,
}

#[derive(Default)]
struct Found {
    counts: Counts,
    times: StageTimes,
    split: Duration,
    lane: Duration,
    hash: u64,
}

async fn pass(case: &Case, batch: u64, batches: u64, measure: Measure) -> Found {
    let clock = Arc::new(CpuClock);
    let target = Arc::new(Acknowledge { hashing: measure == Measure::Hash, hash: AtomicU64::new(0) });
    let runtime = open(case, &clock, &target).await;
    let mut found = Found::default();
    for i in 0..batches {
        let event = event(i * batch, batch, case.rate);
        let from = clock.elapsed();
        let partitions = split_kinesis(&event).expect("the bench's own event");
        let split = clock.elapsed();
        for mut partition in partitions {
            let records = &mut partition.records;
            let report = runtime.run_batch("transactions", &partition.partition, records, Budget::unlimited()).await;
            let report = report.expect("nothing fails here");
            found.counts += &report.counts;
            if measure != Measure::Warm || i >= WARM_BATCHES {
                found.times += &report.times;
            }
        }
        if measure != Measure::Warm || i >= WARM_BATCHES {
            found.lane += clock.elapsed() - split;
            found.split += split - from;
        }
    }
    assert_eq!(found.counts.bad_records + found.counts.late + found.counts.conflicts, 0, "nothing goes wrong");
    found.hash = target.hash.load(Relaxed);
    found
}

async fn open(case: &Case, clock: &Arc<CpuClock>, target: &Arc<Acknowledge>) -> Runtime {
    let text = format!(
        "name: treasury
sources:
  transactions:
    format: json
    columns: {{ branch: string, currency: string, amount: 'decimal(12,2)', ts: timestamp }}
    watermark: {{ column: ts, delay: 1s }}
    partition_key: [branch]
outputs:
  positions:
    query: \"{}\"
{}    target: api
targets:
  api:
    rest:
      url: http://127.0.0.1:9/v1/positions
      method: PUT
      idempotency: header
      batch: {{ rows: 500, bytes: 1MB, format: json_array }}
      concurrency: 4
",
        case.query, case.scope
    );
    let file = config::load("pipeline.yaml", &text, &|_| None).unwrap_or_else(|errors| panic!("{errors}"));
    let pipeline = PlannedPipeline::new(file, None).unwrap_or_else(|errors| panic!("{errors}"));
    let clock: Arc<dyn Clock> = Arc::clone(clock) as _;
    let random: Arc<StdRandom> = Arc::new(StdRandom::seeded(7));
    let sender = Sender::new(SenderPorts {
        http: Arc::clone(target) as _,
        clock: Arc::clone(&clock),
        random: Arc::clone(&random) as _,
        secrets: Arc::new(Secrets::new(Arc::new(|_: &str| None))),
        dead_letters: None,
    });
    let state = tidegate_state::Ports {
        store: Arc::new(MemoryStore::new()),
        blobs: Arc::new(MemoryBlobs::new()),
        clock: Arc::clone(&clock),
        random: Arc::clone(&random) as _,
    };
    let ports = Ports { state, clock, random, streams: None };
    Runtime::open(pipeline, ports, sender, RuntimeOptions::default()).await.expect("an empty state opens")
}

/// CPU time of this thread. The wall clock stands still, so that results are the same in every run.
struct CpuClock;

#[async_trait]
impl Clock for CpuClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(BASE_MILLIS as i64)
    }

    fn elapsed(&self) -> Duration {
        ThreadTime::now().as_duration()
    }

    async fn sleep(&self, _: Duration) {}
}

/// A target that takes everything.
struct Acknowledge {
    hashing: bool,
    hash: AtomicU64,
}

#[async_trait]
impl HttpTransport for Acknowledge {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpFault> {
        if self.hashing {
            let mut hasher = DefaultHasher::new();
            request.body.hash(&mut hasher);
            // Requests of one wave come in any order: the sum does not depend on it.
            self.hash.fetch_add(hasher.finish(), Relaxed);
        }
        Ok(HttpResponse { status: 200, complete: true, ..HttpResponse::default() })
    }
}

/// SplitMix64.
fn random(index: u64) -> u64 {
    let mut z = index.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn record(index: u64, rate: u64, out: &mut Vec<u8>) {
    let draw = random(index);
    let (branch, currency) = (draw % BRANCHES, CURRENCIES[(draw >> 16) as usize % CURRENCIES.len()]);
    let cents = (draw >> 32) % 20_001;
    let sign = if cents < 10_000 { "-" } else { "" };
    let cents = cents.abs_diff(10_000);
    let millis = index * 1000 / rate;
    let (hour, minute) = (millis / 3_600_000 % 24, millis / 60_000 % 60);
    let (second, milli) = (millis / 1000 % 60, millis % 1000);
    out.clear();
    write!(
        out,
        "{{\"branch\":\"branch-{branch:03}\",\"currency\":\"{currency}\",\"amount\":{sign}{}.{:02},\
         \"ts\":\"2026-01-01T{hour:02}:{minute:02}:{second:02}.{milli:03}Z\",\"account\":\"{draw:020}\",\"note\":\"",
        cents / 100,
        cents % 100
    )
    .expect("writing to memory");
    while out.len() < RECORD_BYTES - 2 {
        out.push(b'a' + (out.len() % 26) as u8);
    }
    out.extend_from_slice(b"\"}");
}

/// An event as Lambda hands it over.
fn event(first: u64, records: u64, rate: u64) -> Vec<u8> {
    let mut out = b"{\"Records\":[".to_vec();
    let mut data = Vec::new();
    for i in first..first + records {
        record(i, rate, &mut data);
        let payload = base64_simd::STANDARD.encode_to_string(&data);
        let sequence = format!("49590338271490256608559692538361571095921575989{:09}", 136_588_898 + i);
        let millis = BASE_MILLIS + i * 1000 / rate;
        write!(
            out,
            "{}{{\"kinesis\":{{\"kinesisSchemaVersion\":\"1.0\",\"partitionKey\":\"branch-{:03}\",\
             \"sequenceNumber\":\"{sequence}\",\"data\":\"{payload}\",\
             \"approximateArrivalTimestamp\":{}.{:03}}},\"eventSource\":\"aws:kinesis\",\"eventVersion\":\"1.0\",\
             \"eventID\":\"shardId-000000000006:{sequence}\",\"eventName\":\"aws:kinesis:record\",\
             \"invokeIdentityArn\":\"arn:aws:iam::123456789012:role/lambda-role\",\"awsRegion\":\"eu-west-1\",\
             \"eventSourceARN\":\"arn:aws:kinesis:eu-west-1:123456789012:stream/transactions\"}}",
            if i > first { "," } else { "" },
            random(i) % BRANCHES,
            millis / 1000,
            millis % 1000
        )
        .expect("writing to memory");
    }
    out.extend_from_slice(b"]}");
    out
}
