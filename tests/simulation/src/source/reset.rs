//! A person begins a new generation while batches go on: every ring is sealed, the mapping is stopped, the generation
//! opens, and the source is read again from an earlier place.

use tidegate_core::ErrorKind;
use tidegate_core::position::Sequence;

use super::{FAILURES_BEFORE_MENDING, Partition, Record};
use crate::draw::Draw;
use crate::environment::PartResult;
use crate::fault::{Fault, Site};
use crate::paths::Path;
use crate::world::{Job, MINUTE, MS, SECOND, World};

/// New generations of a schedule at most.
const MOST_RESETS: u32 = 2;
/// Failed steps at rest before a new generation counts as stuck.
const MAX_FAILED_STEPS: u32 = 60;
/// Failed sealings after which what is owed may be given up.
const FAILURES_BEFORE_ABANDONING: u32 = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Table or source were replaced: the guards are asked.
    Look,
    /// Rings are sealed; batches go on.
    Seal,
    /// The next generation opens.
    Open,
}

/// A new generation that is under way.
pub struct Reset {
    step: Step,
    /// The generation that ends.
    ends: u64,
    /// The mapping stands still.
    stopped: bool,
    /// Table or source were replaced: nothing else runs.
    replaced: bool,
    /// The table was restored, and no guard can tell.
    unnoticed: bool,
    failures: u32,
    abandon: bool,
    /// What was sent is not sent again.
    repair: bool,
    /// The last sealing said that lanes owe something.
    owing: bool,
    /// Where each partition is read from.
    from: Vec<usize>,
    /// The generation itself says so; the mapping begins somewhere before.
    named: bool,
    /// The invocation whose answer the person waits for.
    invocation: Option<usize>,
    draw: Draw,
}

impl World {
    pub(super) fn plan_resets(&mut self) {
        for place in 0..MOST_RESETS {
            if let Some(mut draw) = self.faults.has(Fault::NewGeneration, place) {
                let at = draw.below(self.config.span * 5 / 4 + 1);
                self.later(at, move |world| world.begin_reset(draw));
            }
        }
    }

    fn begin_reset(&mut self, mut draw: Draw) {
        if self.source.reset.is_some() || self.source.at_rest {
            return;
        }
        self.note(71, || "a person begins a new generation".into());
        self.source.reset = Some(Reset {
            step: Step::Seal,
            ends: self.check.generation,
            stopped: false,
            replaced: false,
            unnoticed: false,
            failures: 0,
            abandon: false,
            repair: draw.percent(50),
            owing: false,
            from: Vec::new(),
            named: false,
            invocation: None,
            draw,
        });
        self.operate();
    }

    /// Table or source were replaced. `unnoticed`: no guard can tell. `from`: where the source is to be read from.
    pub(super) fn look(&mut self, mut draw: Draw, unnoticed: bool, from: Option<Vec<usize>>) {
        let repair = from.is_none() && draw.percent(50);
        self.source.reset = Some(Reset {
            step: Step::Look,
            ends: self.check.generation,
            stopped: true,
            replaced: true,
            unnoticed,
            failures: 0,
            abandon: false,
            repair,
            owing: false,
            from: from.unwrap_or_default(),
            named: false,
            invocation: None,
            draw,
        });
        self.operate();
    }

    /// Whether a person has replaced something and has not begun anew yet.
    pub(super) fn is_replaced(&self) -> bool {
        self.source.reset.as_ref().is_some_and(|reset| reset.replaced)
    }

    /// Whether no batch may be taken: the next generation is not open yet.
    pub(super) fn stands_still(&self) -> bool {
        self.source.reset.as_ref().is_some_and(|reset| reset.stopped)
    }

    /// Where the next generation begins in each partition, and whether it says so itself.
    pub fn begins_at(&self) -> (Vec<usize>, bool) {
        self.source.reset.as_ref().map(|reset| (reset.from.clone(), reset.named)).unwrap_or_default()
    }

    /// Whether what is owed may be given up.
    pub fn gives_up(&self) -> bool {
        self.source.reset.as_ref().is_some_and(|reset| reset.abandon)
    }

    /// Whether what was sent is not sent again.
    pub fn repairs(&self) -> bool {
        self.source.reset.as_ref().is_some_and(|reset| reset.repair)
    }

    /// A sealing has ended with lanes that owe something.
    pub fn still_owing(&mut self) {
        if let Some(reset) = &mut self.source.reset {
            reset.owing = true;
        }
    }

    /// The next step, as an invocation of its own.
    fn operate(&mut self) {
        let struck = self.faults.strike(800_000, Site::Operator, self.now);
        let Some(reset) = &mut self.source.reset else { return };
        reset.owing = false;
        let job = match reset.step {
            Step::Look => Job::Look,
            Step::Seal => Job::Seal { ends: reset.ends },
            Step::Open => {
                let (ends, abandon, repair) = (reset.ends, reset.abandon, reset.repair);
                let begins = if reset.named { begins(&self.source.partitions, &reset.from) } else { Vec::new() };
                Job::Open { ends, abandon, repair, begins }
            }
        };
        let environment = self.start_environment();
        let number = self.begin(environment, None, job.clone(), Vec::new());
        if let Some(reset) = &mut self.source.reset {
            reset.invocation = Some(number);
        }
        let Some((fault, mut draw)) = struck else { return };
        self.note(1_000 + fault as u64, || format!("* person: {}", fault.name()));
        match fault {
            Fault::OperatorTwice => {
                let other = self.start_environment();
                self.begin(other, None, job, Vec::new());
            }
            Fault::OperatorGivesUp => self.later(draw.spread(MS, 2 * SECOND), move |world| world.kill(environment)),
            _ => {
                let most = self.config.most_skew(20 * MINUTE);
                self.set_skew(environment, draw.within(0, 2 * most) as i64 - most as i64);
            }
        }
    }

    /// A step has ended. `None`: nobody has answered in time.
    pub(super) fn operated(&mut self, number: usize, results: Option<&[PartResult]>) {
        let Some(reset) = &mut self.source.reset else { return };
        if reset.invocation != Some(number) {
            return;
        }
        reset.invocation = None;
        let ok = results.is_some_and(|results| results.iter().all(Result::is_ok));
        let told = |result: &PartResult| matches!(result, Err((ErrorKind::Fenced, why)) if names_it(why));
        let told = results.is_some_and(|results| results.iter().any(told));
        match (reset.step, ok) {
            (Step::Look, true) if !reset.unnoticed => return self.go_on(),
            (Step::Look, ok) if ok || told => {
                reset.step = Step::Seal;
                if told {
                    self.check.path(Path::ReplacementNoticed);
                }
            }
            (Step::Look, _) => self.step_failed(),
            (Step::Seal, true) => self.stop_mapping(),
            (Step::Open, true) => return self.read_again(),
            (_, false) => self.step_failed(),
        }
        if let Some(reset) = &mut self.source.reset {
            let wait = reset.draw.spread(10 * MS, 20 * MINUTE);
            self.later(wait, World::operate);
        }
    }

    fn step_failed(&mut self) {
        let Some(reset) = &mut self.source.reset else { return };
        reset.failures += 1;
        let failures = reset.failures;
        let gives_up = reset.owing && failures > FAILURES_BEFORE_ABANDONING && reset.draw.percent(30);
        // It may be that a ring is not sealed, or owes something again.
        let back = reset.step == Step::Open && reset.draw.percent(50);
        if gives_up && !reset.abandon {
            reset.abandon = true;
            return self.stop_mapping();
        }
        if back {
            reset.step = Step::Seal;
        }
        if failures >= FAILURES_BEFORE_MENDING && !self.source.mended && self.needs_a_person() {
            self.mend();
        }
        if self.source.at_rest && failures > MAX_FAILED_STEPS {
            let why = self.source.last_failure.clone();
            self.check.broken("I9", || format!("no new generation after {failures} failures: {why}"));
        }
    }

    /// Faults have stopped: what has failed until now does not count.
    pub(super) fn be_patient(&mut self) {
        if let Some(reset) = &mut self.source.reset {
            reset.failures = 0;
        }
    }

    /// Nothing is wrong, say the guards.
    fn go_on(&mut self) {
        self.source.reset = None;
        self.start_pollers();
    }

    /// The mapping is stopped. Who waits for an answer hears none.
    pub(super) fn retire_pollers(&mut self) {
        for poller in &mut self.source.pollers {
            poller.retired = true;
        }
    }

    /// No batch is taken any more. Who has begun one goes on with the generation that it knows; who has not is stopped.
    fn stop_mapping(&mut self) {
        self.note(72, || "the mapping is stopped".into());
        self.retire_pollers();
        let undecided: Vec<usize> = (self.source.invocations.iter())
            .filter(|invocation| !invocation.done && !invocation.opened && !invocation.parts.is_empty())
            .map(|invocation| invocation.environment)
            .collect();
        undecided.into_iter().for_each(|environment| self.kill(environment));
        let produced: Vec<usize> = self.source.partitions.iter().map(|partition| partition.produced).collect();
        let ends: Vec<usize> = self.source.partitions.iter().map(|partition| partition.log.len()).collect();
        let parents: Vec<Vec<usize>> = self.source.partitions.iter().map(|p| p.parents.clone()).collect();
        let taken: Vec<usize> = (0..produced.len()).map(|number| self.check.read_of(number)).collect();
        let Some(reset) = &mut self.source.reset else { return };
        (reset.step, reset.stopped) = (Step::Open, true);
        if reset.from.is_empty() {
            let start = reset.draw.percent(40);
            reset.from = produced
                .into_iter()
                .map(|produced| if start { 0 } else { reset.draw.within(0, produced as u64) as usize })
                .collect();
            // Who begins within a partition begins with the first record of what continues it.
            for (child, parents) in parents.iter().enumerate() {
                if parents.iter().any(|parent| reset.from[*parent] < ends[*parent]) {
                    reset.from[child] = 0;
                }
            }
            let whole = parents.iter().all(Vec::is_empty);
            reset.named = whole && !start && !reset.repair && reset.draw.percent(50);
            if reset.named {
                for (number, from) in reset.from.iter_mut().enumerate() {
                    *from = whole_records(&self.source.partitions[number].log, (*from).min(taken[number]));
                }
            }
        }
    }

    /// The next generation is open: the mapping begins where the person wants it to.
    fn read_again(&mut self) {
        let Some(reset) = self.source.reset.take() else { return };
        self.note(73, || format!("the source is read again from {:?}", reset.from));
        self.check.path(Path::SourceReadAgain);
        if reset.named {
            self.check.path(Path::BeginningNamed);
        }
        let mut draw = reset.draw;
        for (partition, from) in self.source.partitions.iter_mut().zip(reset.from) {
            partition.checkpoint = if reset.named { draw.within(0, from as u64) as usize } else { from };
        }
        self.start_pollers();
    }
}

/// The largest number of records up to `most` that splits nothing that the source delivers as one record.
fn whole_records(log: &[Record], most: usize) -> usize {
    let splits = |at: usize| at < log.len() && log[at - 1].position.sequence == log[at].position.sequence;
    (1..=most).rev().find(|at| !splits(*at)).unwrap_or_default()
}

/// What a person names: partitions, and the sequence numbers behind which they are read.
fn begins(partitions: &[Partition], from: &[usize]) -> Vec<(usize, Sequence)> {
    let behind = |(number, from): (usize, &usize)| {
        from.checked_sub(1).map(|last| (number, partitions[number].log[last].position.sequence))
    };
    from.iter().enumerate().filter_map(behind).collect()
}

/// Whether an error tells what was replaced.
fn names_it(why: &str) -> bool {
    why.contains("the state was restored") || why.contains("is another one than its state was made from")
}

/// Whether an invocation has ended because its generation has.
pub fn outlived(result: &PartResult) -> bool {
    matches!(result, Err((ErrorKind::Fenced, message)) if message.contains("moved on"))
}
