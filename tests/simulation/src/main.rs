//! Replays, shrinks and runs schedules.
#![allow(clippy::print_stdout, reason = "this program's output")]

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use tidegate_simulation::plant::Plant;
use tidegate_simulation::{Plan, run, suite};

/// A fifth of the time goes into allocations of a few bytes.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Deterministic simulation of a whole pipeline. See docs/proof.md.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs schedules and prints what was covered.
    Run {
        /// How many.
        #[arg(long, default_value_t = 10_000)]
        schedules: u64,
        /// The first seed.
        #[arg(long, default_value_t = 0)]
        first: u64,
    },
    /// Runs schedules, some of them twice, and plants mistakes; fails where less is covered than a proof asks for.
    Prove {
        /// How many.
        #[arg(long, default_value_t = 1_000_000)]
        schedules: u64,
        /// The first seed.
        #[arg(long, default_value_t = 0)]
        first: u64,
        /// Schedules that are run twice.
        #[arg(long, default_value_t = 2_000)]
        twice: u64,
        /// Seconds that the schedules may take; what must be covered is in proportion to what was run. Those through the
        /// SDK may take a fifth of them.
        #[arg(long, default_value_t = 86_400)]
        seconds: u64,
    },
    /// Runs schedules through the client of the AWS SDK.
    #[cfg(feature = "sdk")]
    Sdk {
        /// How many.
        #[arg(long, default_value_t = 20_000)]
        schedules: u64,
        /// The first seed.
        #[arg(long, default_value_t = 0)]
        first: u64,
        /// Seconds that they may take.
        #[arg(long, default_value_t = 240)]
        seconds: u64,
    },
    /// Runs one schedule again and tells what happens.
    Replay {
        /// Its seed.
        seed: u64,
        /// A planted mistake.
        #[arg(long, value_parser = mistake)]
        plant: Option<Plant>,
    },
    /// Makes a broken schedule small and tells it.
    Shrink {
        /// Its seed.
        seed: u64,
        /// A planted mistake.
        #[arg(long, value_parser = mistake)]
        plant: Option<Plant>,
    },
    /// Plants mistakes and shows which schedule finds each.
    Plants {
        /// Only this one, with its counterexample.
        #[arg(long, value_parser = mistake)]
        plant: Option<Plant>,
        /// Schedules for each at most.
        #[arg(long, default_value_t = suite::PLANT_BUDGET)]
        budget: u64,
        /// The first seed.
        #[arg(long, default_value_t = 0)]
        first: u64,
    },
}

/// Of so many schedules of a proof one more goes through the client of the AWS SDK.
#[cfg(feature = "sdk")]
const SDK_SHARE: u64 = 50;

/// Schedules that are run twice through it.
#[cfg(feature = "sdk")]
const SDK_TWICE: u64 = 20;

/// Some schedules through the client of the AWS SDK. What is wrong.
#[cfg(feature = "sdk")]
fn through_the_sdk(first: u64, schedules: u64, most: Duration) -> Vec<String> {
    let like = suite::through_the_sdk();
    let summary = suite::run_as(&like, first, schedules, most);
    let different = suite::not_deterministic_as(&like, first, SDK_TWICE);
    let (count, twice) = (summary.schedules, different.len());
    println!("{count} schedules through the AWS SDK, {SDK_TWICE} of them twice, {twice} with another trace\n");
    let mut wrong: Vec<String> =
        different.iter().map(|seed| format!("seed {seed} has two traces through the SDK")).collect();
    wrong.extend(summary.broken.iter().map(|(seed, what)| format!("seed {seed} broke {what} through the SDK")));
    wrong
}

fn mistake(name: &str) -> Result<Plant, String> {
    let found = Plant::ALL.iter().find(|plant| plant.name().eq_ignore_ascii_case(name));
    found.copied().ok_or_else(|| format!("no planted mistake is called {name}"))
}

#[allow(clippy::disallowed_methods, reason = "real time is printed, nothing simulated sees it")]
fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run { schedules, first } => {
            let started = std::time::Instant::now();
            let summary = suite::run_many(first, schedules, Duration::MAX);
            println!("{}", summary.print(started.elapsed()));
            if summary.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Command::Prove { schedules, first, twice, seconds } => {
            let mut wrong = Vec::new();
            let (reports, text) = suite::plants(first, suite::PLANT_BUDGET);
            println!("{text}");
            let survivors = reports.iter().filter(|report| report.found_after.is_none());
            wrong.extend(survivors.map(|report| format!("planted and not found: {}", report.plant.name())));
            let different = suite::not_deterministic(first, twice);
            println!("{twice} schedules run twice, {} with another trace\n", different.len());
            wrong.extend(different.iter().map(|seed| format!("seed {seed} has two traces")));
            #[cfg(feature = "sdk")]
            wrong.extend(through_the_sdk(first, schedules / SDK_SHARE, Duration::from_secs(seconds / 5)));
            let started = std::time::Instant::now();
            let summary = suite::run_many(first, schedules, Duration::from_secs(seconds));
            println!("{}", summary.print(started.elapsed()));
            wrong.extend(summary.missing(suite::Wanted::default()));
            wrong.extend(summary.broken.keys().map(|seed| format!("seed {seed} broke an invariant")));
            wrong.iter().for_each(|why| println!("WRONG {why}"));
            if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        #[cfg(feature = "sdk")]
        Command::Sdk { schedules, first, seconds } => {
            let started = std::time::Instant::now();
            let summary = suite::run_as(&suite::through_the_sdk(), first, schedules, Duration::from_secs(seconds));
            println!("{}", summary.print(started.elapsed()));
            if summary.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Command::Replay { seed, plant } => {
            let outcome = run(&Plan { story: true, ..Plan::of(seed).with(plant) });
            outcome.story.iter().for_each(|line| println!("{line}"));
            println!("trace {:016x}", outcome.trace);
            match outcome.violation {
                Some(violation) => println!("=> {}: {}", violation.id, violation.what),
                None => println!("=> nothing is broken"),
            }
            ExitCode::SUCCESS
        }
        Command::Shrink { seed, plant } => {
            println!("{}", suite::tell(&Plan::of(seed).with(plant)));
            ExitCode::SUCCESS
        }
        Command::Plants { plant: Some(one), budget, first } => {
            let report = suite::plant(one, first, budget);
            println!("{report:?}");
            if report.found_after.is_some() {
                println!("{}", suite::tell(&Plan::of(report.seed).with(Some(one))));
            }
            ExitCode::SUCCESS
        }
        Command::Plants { plant: None, budget, first } => {
            let (reports, text) = suite::plants(first, budget);
            println!("{text}");
            let all = reports.iter().all(|report| report.found_after.is_some());
            if all { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
    }
}
