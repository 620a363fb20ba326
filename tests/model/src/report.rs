//! Runs all cases and prints one closing table.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::cases::{self, Case, Expect, MAX_STATES_WRONG};
use crate::search::{Outcome, THREADS};

/// Distinct states that the right rules must reach together, unless told otherwise.
pub const STATES: u64 = 30_000_000;

/// States that a case of the right rules gets at least, however small the total.
const MIN_STATES: u64 = 50_000;

/// After so many states some must have its work done, or the search has proven nothing.
const MUST_BE_DONE: u64 = 6_000_000;

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Distinct states that the right rules visit together. Models that are exhausted earlier give what is left to
    /// the larger ones.
    pub states: u64,
    /// Only cases whose model or name contains one of these words; empty for all.
    pub only: Vec<String>,
    /// Print every counterexample.
    pub stories: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { states: STATES, only: Vec::new(), stories: false }
    }
}

impl Options {
    /// Options from the words of a command line and the value of `TIDEGATE_MODEL_STATES`.
    ///
    /// # Errors
    ///
    /// A sentence for an unknown option, or for a number that is none.
    pub fn parse(arguments: impl Iterator<Item = String>, states: Option<String>) -> Result<Self, String> {
        let mut options = Self::default();
        let number = |text: &str| {
            text.replace('_', "").parse().map_err(|_| format!("'{text}' is not a number of states, such as 100000000"))
        };
        if let Some(text) = states {
            options.states = number(&text)?;
        }
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--states" => options.states = number(&arguments.next().unwrap_or_default())?,
                "--stories" => options.stories = true,
                other if other.starts_with('-') => {
                    return Err(format!("unknown option {other}. Known: --states N, --stories, words to select cases"));
                }
                _ => options.only.push(argument),
            }
        }
        Ok(options)
    }

    fn selects(&self, case: &Case) -> bool {
        self.only.is_empty() || self.only.iter().any(|word| case.model.contains(word) || case.name.contains(word))
    }
}

/// One line of the table.
struct Line {
    model: &'static str,
    name: &'static str,
    outcome: Outcome,
    took: Duration,
    verdict: String,
    fine: bool,
}

/// Runs the selected cases, printing through `print`. `now` is a clock that only moves forward.
///
/// Returns whether every case showed what it must and the right rules reached the number of states asked for.
pub fn run(options: &Options, now: &(dyn Fn() -> Duration + Sync), print: &mut dyn FnMut(&str)) -> bool {
    let (wrong, mut right): (Vec<Case>, Vec<Case>) =
        cases::all().into_iter().filter(|case| options.selects(case)).partition(|case| case.expect != Expect::Holds);
    let began = now();
    let mut lines = Vec::new();
    let mut visited = 0;
    // Small models first, so that the large ones know what is left for them.
    let count = right.len() as u64;
    for (at, case) in right.drain(..).enumerate() {
        let share = options.states.saturating_sub(visited) / (count - at as u64);
        let line = judge(&case, share.max(MIN_STATES), now);
        visited += line.outcome.states;
        lines.push(line);
    }
    lines.extend(judge_wrong(wrong, now));
    for line in &lines {
        if let Some(story) = line.outcome.story.as_ref().filter(|_| options.stories || !line.fine) {
            print(&format!("{}: {}\n{story}", line.model, line.name));
        }
    }
    print(&table(&lines));
    let enough = visited >= options.states || !options.only.is_empty();
    print(&sums(&lines, options, now().saturating_sub(began)));
    enough && lines.iter().all(|line| line.fine)
}

fn judge_wrong(wrong: Vec<Case>, now: &(dyn Fn() -> Duration + Sync)) -> Vec<Line> {
    let queue: Mutex<VecDeque<(usize, Case)>> = Mutex::new(wrong.into_iter().enumerate().collect());
    let lines = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let Some((at, case)) = queue.lock().expect("no panic").pop_front() else { break };
                    let line = judge(&case, MAX_STATES_WRONG, now);
                    lines.lock().expect("no panic").push((at, line));
                }
            });
        }
    });
    let mut lines = lines.into_inner().expect("no panic");
    lines.sort_by_key(|(at, _)| *at);
    lines.into_iter().map(|(_, line)| line).collect()
}

fn judge(case: &Case, max_states: u64, now: &(dyn Fn() -> Duration + Sync)) -> Line {
    let began = now();
    let outcome = case.run(max_states);
    let broken = outcome.story.as_ref().map(|story| story.broken);
    let (verdict, fine) = match (case.expect, broken) {
        (Expect::Holds, None) if outcome.done == 0 && (outcome.exhaustive || outcome.states >= MUST_BE_DONE) => {
            ("NOTHING WAS DONE in any state".to_owned(), false)
        }
        (Expect::Holds, None) if outcome.exhaustive => ("holds in every state".to_owned(), true),
        (Expect::Holds, None) => ("holds so far".to_owned(), true),
        (Expect::Holds, Some(broken)) => (format!("BROKEN: {broken:?}"), false),
        (Expect::Breaks(wanted), Some(broken)) if wanted == broken => {
            let steps = outcome.story.as_ref().map_or(0, |story| story.steps.len());
            (format!("breaks {broken:?} in {steps} steps"), true)
        }
        (Expect::Breaks(wanted), Some(broken)) => (format!("BREAKS {broken:?}, not {wanted:?}"), false),
        (Expect::Breaks(wanted), None) => (format!("SURVIVES, should break {wanted:?}"), false),
    };
    Line { model: case.model, name: case.name, outcome, took: now().saturating_sub(began), verdict, fine }
}

fn table(lines: &[Line]) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{:<12} {:<62} {:>12} {:>8}  verdict", "model", "world, or rule weakened", "states", "time");
    for line in lines {
        let _ = writeln!(
            text,
            "{:<12} {:<62} {:>12} {:>7.1}s  {}",
            line.model,
            line.name,
            grouped(line.outcome.states),
            line.took.as_secs_f64(),
            line.verdict
        );
    }
    text
}

fn sums(lines: &[Line], options: &Options, took: Duration) -> String {
    let right = lines.iter().filter(|line| line.verdict.starts_with("holds"));
    let (mut states, mut steps, mut cases, mut exhaustive) = (0, 0, 0, 0);
    for line in right {
        states += line.outcome.states;
        steps += line.outcome.steps;
        cases += 1;
        exhaustive += u32::from(line.outcome.exhaustive);
    }
    let wrong = lines.iter().filter(|line| line.verdict.starts_with("breaks")).count();
    let failed = lines.iter().filter(|line| !line.fine).count();
    format!(
        "right rules: {} distinct states (asked for {}), {} steps, {cases} worlds, {exhaustive} of them in every state\n\
         known-wrong rules: {wrong} refuted\nnot as they must be: {failed}\ntime: {:.0} s\n",
        grouped(states),
        grouped(options.states),
        grouped(steps),
        took.as_secs_f64()
    )
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The program and the test: the table on standard output; 2 for options that are none, 1 where something is refuted that
/// should hold, or holds that should be refuted.
#[allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people: the table is its product")]
#[allow(clippy::disallowed_methods, reason = "the outside of this program: its clock and its environment")]
pub fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1), std::env::var("TIDEGATE_MODEL_STATES").ok()) {
        Ok(options) => options,
        Err(sentence) => {
            eprintln!("{sentence}");
            return ExitCode::from(2);
        }
    };
    let began = Instant::now();
    let fine = run(&options, &|| began.elapsed(), &mut |text| println!("{text}"));
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
