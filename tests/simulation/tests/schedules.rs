//! A small part of what `cargo run -p tidegate-simulation --profile simulation -- prove` runs.
//!
//! `TIDEGATE_SCHEDULES=100000` runs more, `TIDEGATE_SEED=7` begins elsewhere.
#![allow(clippy::disallowed_methods, reason = "the budget comes from the environment; time is measured for the report")]
#![allow(clippy::print_stderr, reason = "the report")]

use std::time::{Duration, Instant};

use tidegate_simulation::plant::Plant;
use tidegate_simulation::{Plan, run, suite};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn nothing_is_broken() {
    let started = Instant::now();
    let summary = suite::run_many(number("TIDEGATE_SEED", 0), number("TIDEGATE_SCHEDULES", 150), Duration::MAX);
    eprintln!("{}", summary.print(started.elapsed()));
    assert!(summary.broken.is_empty(), "replay with: cargo run -p tidegate-simulation -- replay SEED");
}

#[test]
fn seeds_that_once_broke_something_hold() {
    for line in include_str!("../regressions.txt").lines().filter(|line| !line.starts_with('#')) {
        let seed = line.split(' ').next().and_then(|seed| seed.parse().ok()).expect("a line begins with a seed");
        assert_eq!(run(&Plan::of(seed)).violation, None, "seed {seed}: {line}");
    }
}

#[test]
fn a_seed_gives_one_trace() {
    assert_eq!(suite::not_deterministic(7_000, 20), Vec::<u64>::new());
    assert_ne!(run(&Plan::of(1)).trace, run(&Plan::of(2)).trace);
}

/// The mistakes that the first schedules find; all of them are planted by `prove`.
#[test]
fn planted_mistakes_are_found() {
    let quick = [
        Plant::SlotConditionIgnored,
        Plant::ManifestConditionIgnored,
        Plant::WritesLost,
        Plant::UnknownAnsweredAsSuccess,
        Plant::OldCommitsExpire,
        Plant::RestoreForgetsLastDelta,
        Plant::LateRowsDropped,
        Plant::NewIdPerAttempt,
        Plant::ErrorsAnsweredAsSuccess,
        Plant::DeadlinesForgotten,
    ];
    for mistake in quick {
        let report = suite::plant(mistake, 0, 100);
        assert!(report.found_after.is_some(), "{} was not found: {}", mistake.name(), mistake.rule());
    }
}

#[test]
fn a_counterexample_can_be_read() {
    let report = suite::plant(Plant::RefusalAnsweredAsSuccess, 0, 100);
    let text = suite::tell(&Plan::of(report.seed).with(Some(Plant::RefusalAnsweredAsSuccess)));
    assert!(text.contains("RefusalAnsweredAsSuccess") && text.contains("=> I"), "{text}");
}
