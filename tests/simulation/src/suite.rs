//! Many schedules: run on two threads, counted, and printed.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::fault::Fault;
use crate::paths::Path;
use crate::plant::Plant;
use crate::shrink;
use crate::simulation::{Plan, run};
use crate::world::SECOND;

/// Threads that run schedules side by side, each of them alone with its own.
pub const THREADS: usize = 2;
/// Broken schedules after which a run ends.
pub const MAX_BROKEN: usize = 20;
/// Within so many schedules a planted mistake must be found.
pub const PLANT_BUDGET: u64 = 10_000;

const KINDS: usize = Fault::ALL.len();

/// What many schedules came to.
#[derive(Clone)]
pub struct Summary {
    /// Schedules.
    pub schedules: u64,
    /// Schedules without any fault.
    pub calm: u64,
    /// Simulated seconds.
    pub seconds: u64,
    /// Events.
    pub events: u64,
    /// Times that each kind of fault was fired.
    pub fired: Vec<u64>,
    /// Schedules in which two kinds of faults were fired together.
    pub pairs: Vec<u32>,
    /// Times that each way of recovery was taken.
    pub paths: Vec<u64>,
    /// What was broken, by seed.
    pub broken: BTreeMap<u64, String>,
}

impl Default for Summary {
    fn default() -> Self {
        Self {
            schedules: 0,
            calm: 0,
            seconds: 0,
            events: 0,
            fired: vec![0; KINDS],
            pairs: vec![0; KINDS * KINDS],
            paths: vec![0; Path::ALL.len()],
            broken: BTreeMap::new(),
        }
    }
}

impl Summary {
    fn add_run(&mut self, plan: &Plan) {
        let (seed, outcome) = (plan.seed, run(plan));
        self.schedules += 1;
        self.seconds += outcome.time / SECOND;
        self.events += outcome.events;
        let mut kinds: Vec<usize> = outcome.fired.iter().map(|fired| fired.fault as usize).collect();
        kinds.iter().for_each(|kind| self.fired[*kind] += 1);
        kinds.sort_unstable();
        kinds.dedup();
        self.calm += u64::from(kinds.is_empty());
        for (place, first) in kinds.iter().enumerate() {
            for second in &kinds[place + 1..] {
                self.pairs[first * KINDS + second] += 1;
            }
        }
        for (count, more) in self.paths.iter_mut().zip(&outcome.paths) {
            *count += more;
        }
        if let Some(violation) = outcome.violation {
            self.broken.insert(seed, format!("{}: {}", violation.id, violation.what));
        }
    }

    fn add(&mut self, other: Self) {
        self.schedules += other.schedules;
        self.calm += other.calm;
        self.seconds += other.seconds;
        self.events += other.events;
        let sums = [(&mut self.fired, other.fired), (&mut self.paths, other.paths)];
        for (mine, theirs) in sums {
            mine.iter_mut().zip(theirs).for_each(|(count, more)| *count += more);
        }
        self.pairs.iter_mut().zip(other.pairs).for_each(|(count, more)| *count += more);
        self.broken.extend(other.broken);
    }

    /// Simulated years.
    pub fn years(&self) -> f64 {
        self.seconds as f64 / (365.25 * 86_400.0)
    }

    /// Pairs of kinds of faults that were fired together, and how many there are.
    pub fn pairs_covered(&self) -> (usize, usize) {
        (self.pairs.iter().filter(|count| **count > 0).count(), KINDS * (KINDS - 1) / 2)
    }

    /// Everything as text. `took`: real time.
    pub fn print(&self, took: Duration) -> String {
        let mut text = String::new();
        let rate = self.schedules as f64 / took.as_secs_f64().max(0.001);
        let (pairs, all) = self.pairs_covered();
        let mut line = |words: String| writeln!(text, "{words}").expect("writing to a string");
        line(format!("schedules        {:>12}  ({rate:.0} a second, {} without faults)", self.schedules, self.calm));
        line(format!("simulated time   {:>12.1}  years", self.years()));
        line(format!("events           {:>12}", self.events));
        line(format!("pairs of faults  {pairs:>12}  of {all}"));
        line(format!("\nfaults fired ({KINDS} kinds), and the rule that each attacks"));
        for (fault, count) in Fault::ALL.iter().zip(&self.fired) {
            line(format!("  {:<26} {count:>12}  {}", fault.name(), fault.rule()));
        }
        line(format!("\nways of recovery ({})", Path::ALL.len()));
        for (path, count) in Path::ALL.iter().zip(&self.paths) {
            line(format!("  {count:>12}  {}", path.words()));
        }
        for (seed, what) in &self.broken {
            line(format!("\nseed {seed} broke {what}"));
        }
        text
    }
}

/// What a proof asks for, per million schedules.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Times that each kind of fault is fired.
    pub faults: u64,
    /// Times that each way of recovery is taken.
    pub paths: u64,
    /// Simulated years.
    pub years: f64,
    /// Pairs of kinds of faults fired together, in percent.
    pub pairs: usize,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { faults: 10_000, paths: 100, years: 200.0, pairs: 99 }
    }
}

impl Summary {
    /// What is missing of `wanted`, for as many schedules as there were.
    pub fn missing(&self, wanted: Wanted) -> Vec<String> {
        let share = |count: u64| count * self.schedules / 1_000_000;
        let mut missing = Vec::new();
        for (fault, count) in Fault::ALL.iter().zip(&self.fired) {
            if *count < share(wanted.faults) {
                missing.push(format!("{} was fired {count} times only", fault.name()));
            }
        }
        for (path, count) in Path::ALL.iter().zip(&self.paths) {
            if *count < share(wanted.paths) {
                missing.push(format!("this way was taken {count} times only: {}", path.words()));
            }
        }
        let years = wanted.years * self.schedules as f64 / 1e6;
        if self.years() < years {
            missing.push(format!("{:.1} years were simulated, not {years:.1}", self.years()));
        }
        let (pairs, all) = self.pairs_covered();
        // Few schedules cannot have all pairs.
        if self.schedules >= 100_000 && pairs * 100 < all * wanted.pairs {
            missing.push(format!("{pairs} of {all} pairs of faults were fired together"));
        }
        missing
    }
}

/// Runs `count` schedules from `first` on, fewer if they would take longer than `most`.
pub fn run_many(first: u64, count: u64, most: Duration) -> Summary {
    run_as(&Plan::default(), first, count, most)
}

/// Schedules whose requests to the store go through the client of the AWS SDK.
pub fn through_the_sdk() -> Plan {
    Plan { sdk: true, ..Plan::default() }
}

/// The same, with everything but the seed as `like` says.
#[allow(clippy::disallowed_methods, reason = "threads and real time are for running, nothing simulated sees them")]
pub fn run_as(like: &Plan, first: u64, count: u64, most: Duration) -> Summary {
    let started = std::time::Instant::now();
    let next = AtomicU64::new(first);
    let total = Mutex::new(Summary::default());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let mut mine = Summary::default();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count || mine.broken.len() >= MAX_BROKEN || started.elapsed() >= most {
                        break;
                    }
                    mine.add_run(&Plan { seed, ..like.clone() });
                }
                total.lock().expect("no thread panics while it adds").add(mine);
            });
        }
    });
    total.into_inner().expect("no thread panics while it adds")
}

/// What became of a planted mistake.
#[derive(Clone, Debug)]
pub struct PlantReport {
    /// The mistake.
    pub plant: Plant,
    /// How many schedules found it first; `None`: none did.
    pub found_after: Option<u64>,
    /// The invariant that it broke.
    pub broke: String,
    /// The schedule that found it.
    pub seed: u64,
}

/// Plants a mistake and runs schedules from `first` on until one breaks.
pub fn plant(mistake: Plant, first: u64, budget: u64) -> PlantReport {
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let best: Mutex<Option<(u64, String)>> = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= budget {
                        return;
                    }
                    let outcome = run(&Plan::of(first + number).with(Some(mistake)));
                    if let Some(violation) = outcome.violation {
                        stop.store(true, Ordering::Relaxed);
                        let mut best = best.lock().expect("no thread panics while it notes");
                        if best.as_ref().is_none_or(|(known, _)| number < *known) {
                            *best = Some((number, format!("{}: {}", violation.id, violation.what)));
                        }
                    }
                }
            });
        }
    });
    let best = best.into_inner().expect("no thread panics while it notes");
    let seed = first + best.as_ref().map_or(0, |(number, _)| *number);
    let found_after = best.as_ref().map(|(number, _)| number + 1);
    PlantReport { plant: mistake, found_after, broke: best.map(|(_, what)| what).unwrap_or_default(), seed }
}

/// Every planted mistake in turn, as text, and those that survived.
pub fn plants(first: u64, budget: u64) -> (Vec<PlantReport>, String) {
    let reports: Vec<PlantReport> = Plant::ALL.iter().map(|mistake| plant(*mistake, first, budget)).collect();
    let mut found: Vec<u64> = reports.iter().filter_map(|report| report.found_after).collect();
    found.sort_unstable();
    let mut text = format!(
        "planted mistakes: {} of {} found; schedules until found: median {}, most {}\n",
        found.len(),
        reports.len(),
        found.get(found.len() / 2).copied().unwrap_or_default(),
        found.last().copied().unwrap_or_default()
    );
    for report in &reports {
        let after = report.found_after.map_or("not found".to_owned(), |after| format!("{after:>6}"));
        let broke = report.broke.split(':').next().unwrap_or_default();
        let line = format!("  {:<28} {after:>9}  {broke:<4} {}", report.plant.name(), report.plant.rule());
        writeln!(text, "{line}").expect("writing to a string");
    }
    (reports, text)
}

/// A counterexample that a reader can follow: the smallest schedule that breaks the same invariant, told in words.
pub fn tell(plan: &Plan) -> String {
    let Some((small, outcome)) = shrink::shrink(plan) else {
        return format!("seed {}: nothing is broken\n", plan.seed);
    };
    let mut text = format!("seed {}", plan.seed);
    if let Some(mistake) = plan.plant {
        write!(text, ", planted: {} (breaks: {})", mistake.name(), mistake.rule()).expect("writing to a string");
    }
    let faults: Vec<&str> = outcome.fired.iter().map(|fired| fired.fault.name()).collect();
    let config = small.config.as_ref();
    let records = config.map_or(String::new(), |c| format!(", {} partitions of {} records", c.partitions, c.records));
    writeln!(text, "\n{} events, faults: [{}]{records}\n", outcome.events, faults.join(", ")).expect("to a string");
    for line in &outcome.story {
        writeln!(text, "{line}").expect("writing to a string");
    }
    if let Some(violation) = outcome.violation {
        writeln!(text, "\n=> {}: {}", violation.id, violation.what).expect("writing to a string");
    }
    text
}

/// Seeds of `first..first + count` that do not give the same trace twice.
pub fn not_deterministic(first: u64, count: u64) -> Vec<u64> {
    not_deterministic_as(&Plan::default(), first, count)
}

/// The same, with everything but the seed as `like` says.
pub fn not_deterministic_as(like: &Plan, first: u64, count: u64) -> Vec<u64> {
    let run = |seed: &u64| run(&Plan { seed: *seed, ..like.clone() }).trace;
    (first..first + count).filter(|seed| run(seed) != run(seed)).collect()
}
