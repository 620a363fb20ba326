//! The event source mapping: polls, invokes, hears how it went, tries again. And the tick.

use tidegate_core::ErrorKind;

use super::gaps::is_gap;
use super::{FAILURES_BEFORE_MENDING, Invocation, MAX_FAILURES_AT_REST, MAX_FAILURES_PER_DEADLY};
use crate::config::Level;
use crate::environment::PartResult;
use crate::fault::{Fault, Site};
use crate::paths::Path;
use crate::plant;
use crate::world::{Job, MINUTE, MS, SECOND, Spawn, World};

impl World {
    pub(super) fn poll(&mut self, number: usize) {
        let batch = self.config.batch;
        let early = self.source.early;
        let ready: Vec<bool> = (0..self.source.partitions.len()).map(|number| self.source.is_ready(number)).collect();
        let poller = &mut self.source.pollers[number];
        if poller.busy || poller.left == Some(0) || poller.retired {
            return;
        }
        let mut parts = Vec::new();
        for (place, partition) in poller.partitions.iter().enumerate() {
            let from = poller.next[place];
            let early = early && self.check.has_lanes(&self.source.partitions[*partition].parents);
            if !ready[*partition] && !early {
                continue;
            }
            let most = poller.limit.unwrap_or_else(|| poller.draw.within(1, batch as u64) as usize);
            let to = (from + most.max(1)).min(self.source.partitions[*partition].produced);
            if from < to {
                parts.push((*partition, from, to));
            }
        }
        let parts = match poller.again.take() {
            Some(again) => again,
            None => self.break_storm(parts),
        };
        if parts.is_empty() {
            return;
        }
        let poller = &mut self.source.pollers[number];
        poller.busy = true;
        if let Some(left) = &mut poller.left {
            *left -= 1;
        }
        self.invoke(number, parts);
    }

    /// The mapping invokes the function with a batch, and whatever goes wrong about that.
    fn invoke(&mut self, poller: usize, parts: Vec<(usize, usize, usize)>) {
        let struck = self.faults.strike(500_000 + poller as u32, Site::Invoke, self.now);
        let fresh = matches!(struck, Some((Fault::ColdStart, _)));
        let environment = self.place(fresh);
        let invocation = self.begin(environment, Some(poller), Job::Batch(parts.clone()), parts.clone());
        self.give_out_next(&parts);
        let Some((fault, mut draw)) = struck else { return };
        self.note(1_000 + fault as u64, || format!("* mapping: {}", fault.name()));
        match fault {
            Fault::InvokedTwice => {
                let other = self.place(false);
                self.begin(other, None, Job::Batch(parts.clone()), parts);
            }
            Fault::StormOfColdStarts => {
                for _ in 0..draw.within(2, 3) {
                    let other = self.place(true);
                    self.begin(other, None, Job::Batch(parts.clone()), parts.clone());
                }
            }
            Fault::TwoInOneEnvironment => {
                self.begin(environment, None, Job::Batch(parts.clone()), parts);
            }
            Fault::OldBatchAgain => {
                let old: Vec<_> = parts
                    .iter()
                    .map(|(p, from, to)| {
                        // Not of before the generation: the mapping was set to where that begins.
                        let first = self.check.begin_of(*p).min(*from);
                        let start = from.saturating_sub(draw.below(6) as usize).max(first);
                        (*p, start, (start + 1 + draw.below(6) as usize).min(*to))
                    })
                    .collect();
                let other = self.place(draw.percent(50));
                self.begin(other, None, Job::Batch(old.clone()), old);
            }
            Fault::OverlappingOwners => {
                let partitions: Vec<usize> = parts.iter().map(|(p, _, _)| *p).collect();
                let next = partitions.iter().map(|p| self.source.partitions[*p].checkpoint).collect();
                self.add_poller(partitions, next, Some(draw.within(1, 4) as u32));
            }
            Fault::DeployOfNext => self.source.deployed = true,
            Fault::RetriedAfterTimeout => {
                let gives_up = draw.spread(50 * MS, 10 * SECOND);
                self.later(gives_up, move |world| world.deaf(invocation));
            }
            _ => {}
        }
    }

    /// An environment for an invocation: an idle one, or a new one.
    pub(super) fn place(&mut self, fresh: bool) -> usize {
        let idle: Vec<usize> = (0..self.environments.len())
            .filter(|i| {
                let environment = &self.environments[*i];
                let replaced = self.source.at_rest && self.source.deployed && environment.version == 1;
                environment.alive && !environment.frozen && environment.busy == 0 && !replaced
            })
            .collect();
        if fresh || idle.is_empty() {
            return self.start_environment();
        }
        let chosen = self.dice.pick(&idle);
        // Environments are given up without a word now and then.
        if self.dice.percent(6) && !self.config.calm {
            self.kill(chosen);
            return self.start_environment();
        }
        chosen
    }

    pub(super) fn begin(
        &mut self,
        environment: usize,
        poller: Option<usize>,
        job: Job,
        parts: Vec<(usize, usize, usize)>,
    ) -> usize {
        let number = self.source.invocations.len();
        let alone = self.source.invocations.iter().rev().take(12).all(|other| other.done);
        // Windows over lanes are looked at after a batch.
        // Where nothing is left to commit, the registry is asked.
        let repair = self.check.is_repair();
        let fresh = parts.iter().all(|(partition, from, to)| {
            // A repair cuts a batch in two.
            !crate::check::committed(self, *partition, if repair { from + 1 } else { *to })
        });
        let scans = plant::garbage_scans_of_a_batch(self.plant) > 0;
        let warm = !scans && self.check.is_warm(environment, &parts) && alone && !self.config.over_lanes && fresh;
        self.environments[environment].busy += 1;
        self.environments[environment].ticks = matches!(job, Job::Tick);
        let reads = self.environments[environment].reads;
        let fired = self.faults.fired.len();
        self.source.invocations.push(Invocation {
            environment,
            began: self.now,
            poller,
            parts: parts.clone(),
            heard: false,
            done: false,
            opened: false,
            generation: self.check.generation,
            reads,
            fired,
            disturbances: self.check.disturbances,
            refusals: self.environments[environment].refusals,
            writes: self.environments[environment].writes,
            unknown: self.environments[environment].unknown,
            skippable: parts.iter().all(|(partition, _, to)| crate::check::committed(self, *partition, *to)),
            warm,
        });
        self.note(51, || format!("invocation {number}: env {environment}, {}", words(&job)));
        self.spawns.push(Spawn { environment, invocation: number, job });
        self.later(self.config.timeout, move |world| world.timed_out(number));
        number
    }

    /// The function's time is up: what still runs is killed, unless it is frozen and goes on as a zombie later.
    fn timed_out(&mut self, invocation: usize) {
        let Invocation { environment, done, .. } = self.source.invocations[invocation];
        if done {
            return;
        }
        if self.environments[environment].alive && !self.environments[environment].frozen {
            self.check.path(Path::InvocationKilledByTime);
            self.kill(environment);
        }
        self.deaf(invocation);
    }

    /// The mapping gives up waiting for an answer.
    fn deaf(&mut self, invocation: usize) {
        if std::mem::replace(&mut self.source.invocations[invocation].heard, true) {
            return;
        }
        if let Some(poller) = self.heard_by(invocation) {
            let parts = self.source.invocations[invocation].parts.clone();
            self.failed(poller, parts);
        }
        if self.source.invocations[invocation].parts.is_empty() {
            self.source.last_job = Some(false);
            self.operated(invocation, None);
        }
    }

    /// An invocation has answered.
    pub fn finished(&mut self, number: usize, results: Vec<PartResult>) {
        let alone = number + 1 == self.source.invocations.len();
        let invocation = &mut self.source.invocations[number];
        invocation.done = true;
        let (environment, parts) = (invocation.environment, invocation.parts.clone());
        let heard = std::mem::replace(&mut invocation.heard, true);
        let calm = invocation.fired == self.faults.fired.len()
            && invocation.disturbances == self.check.disturbances
            && invocation.refusals == self.environments[invocation.environment].refusals;
        let warm = invocation.warm;
        let reads = self.environments[environment].reads - invocation.reads;
        let busy = &mut self.environments[environment].busy;
        *busy = busy.saturating_sub(1);
        let alone = alone && *busy == 0;
        let mut results = results;
        plant::answered(self, &mut results);
        self.count_answer(number, heard, &results);
        self.note(52 + results.iter().filter(|r| r.is_err()).count() as u64, || {
            format!("invocation {number} ends: {}", outcome(&results))
        });
        let mut gap = false;
        for result in &results {
            if let Err((kind, message)) = result {
                gap |= is_gap(message);
                self.source.last_failure.clone_from(message);
                self.source.errors.push((*kind, message.clone()));
            }
        }
        if parts.is_empty() {
            self.check.cool(environment);
            self.source.last_job = Some(results.iter().all(Result::is_ok));
            if !heard {
                self.operated(number, Some(&results));
            }
            return;
        }
        // Who works on a generation that has ended answers nobody: its poller was stopped before.
        let current = self.source.invocations[number].generation == self.check.generation;
        for (part, result) in parts.iter().zip(&results).filter(|_| current) {
            let ok = result.is_ok();
            // A part that failed has asked what became of its lane.
            let reads = (warm && results.iter().all(Result::is_ok)).then_some(reads);
            crate::check::answered(self, environment, *part, ok, calm && alone, reads);
        }
        if gap && current {
            self.gap_was_refused();
        }
        let gone = |poller: &usize| self.source.at_rest && self.source.pollers[*poller].left == Some(0);
        if let Some(poller) = self.heard_by(number).filter(|poller| !heard && !gone(poller)) {
            self.hear(poller, parts, &results);
        }
    }

    /// Who waits for the answer of an invocation.
    fn heard_by(&self, invocation: usize) -> Option<usize> {
        self.source.invocations[invocation].poller.filter(|poller| !self.source.pollers[*poller].retired)
    }

    fn count_answer(&mut self, number: usize, heard: bool, results: &[PartResult]) {
        let invocation = &self.source.invocations[number];
        let refused = self.environments[invocation.environment].refusals > invocation.refusals;
        let batch = !invocation.parts.is_empty();
        let environment = &self.environments[invocation.environment];
        let wrote = environment.writes > invocation.writes;
        let unknown = environment.unknown > invocation.unknown;
        let skippable = invocation.skippable;
        let beside = self.source.invocations.iter().rev().take(8).any(|other| !other.done && !other.parts.is_empty());
        let check = &mut self.check;
        let ok = results.iter().filter(|result| result.is_ok()).count();
        let mut took = |path, yes: bool| {
            if yes {
                check.path(path);
            }
        };
        took(Path::AnswerNobodyHears, heard);
        took(Path::PartOfEventDone, batch && ok > 0 && ok < results.len());
        took(Path::DoneInSpiteOfConflict, batch && ok == results.len() && refused);
        took(Path::TickBesideBatch, !batch && beside);
        took(Path::DoneInSpiteOfUnknown, batch && ok == results.len() && unknown);
        took(Path::BatchSkipped, batch && ok == results.len() && skippable);
        took(Path::BatchDoneByAnother, batch && ok == results.len() && !skippable && !wrote);
        took(Path::TickFoundNothing, !batch && ok == results.len() && !wrote);
        for result in results {
            let Err((kind, message)) = result else { continue };
            took(Path::InvocationUnavailable, *kind == ErrorKind::Unavailable);
            took(Path::InvocationNeedsPerson, *kind == ErrorKind::Invalid);
            took(Path::InvocationFenced, *kind == ErrorKind::Fenced);
            took(Path::GenerationOutlived, super::outlived(result));
            took(Path::DeadlyWaits, message.contains("one of them may be at work until"));
            took(Path::ChildCameTooEarly, message.contains("continues another one"));
        }
    }

    /// The mapping hears how an invocation ended.
    fn hear(&mut self, number: usize, parts: Vec<(usize, usize, usize)>, results: &[PartResult]) {
        let struck = self.faults.strike(500_000 + number as u32, Site::Answer, self.now).map(|(fault, _)| fault);
        if let Some(fault) = struck {
            self.note(1_000 + fault as u64, || format!("* mapping: {}", fault.name()));
        }
        let all = results.len() == parts.len() && results.iter().all(Result::is_ok);
        if struck == Some(Fault::AnswerOfInvocationLost) || (struck.is_some() && !all) {
            return self.failed(number, parts);
        }
        let mut left = Vec::new();
        for (place, (partition, from, to)) in parts.iter().enumerate() {
            let ok = results.get(place).is_some_and(Result::is_ok);
            if ok && !all && !self.config.partial {
                self.check.path(Path::EventFailedAsWhole);
            }
            if ok && (all || self.config.partial) {
                self.advance(number, *partition, *to);
            } else {
                left.push((*partition, *from, *to));
            }
        }
        if left.is_empty() {
            let poller = &mut self.source.pollers[number];
            (poller.busy, poller.failures, poller.limit) = (false, 0, None);
            let wait = poller.draw.spread(MS, SECOND);
            self.later(wait, move |world| world.poll(number));
        } else {
            self.failed(number, left);
        }
    }

    /// The mapping goes on behind `to`. Where it was before.
    pub(super) fn pass(&mut self, number: usize, partition: usize, to: usize) -> usize {
        let poller = &mut self.source.pollers[number];
        if let Some(place) = poller.partitions.iter().position(|p| *p == partition) {
            poller.next[place] = to;
        }
        std::mem::replace(&mut self.source.partitions[partition].checkpoint, to)
    }

    fn advance(&mut self, number: usize, partition: usize, to: usize) {
        let before = self.pass(number, partition, to);
        if to < before {
            self.check.path(Path::CheckpointWentBack);
        }
        crate::check::checkpoint(self, partition, to);
        if self.source.partitions.iter().any(|child| child.parents.contains(&partition)) {
            // What continues it may be delivered now.
            for number in 0..self.source.pollers.len() {
                self.later(SECOND, move |world| world.poll(number));
            }
        }
    }

    /// Whether something that a partition continues has records that are not committed.
    fn waits_for_parents(&self, partition: usize) -> bool {
        let undone = |parent: &usize| {
            let all = self.source.partitions[*parent].log.len();
            !crate::check::committed(self, *parent, all) || self.waits_for_parents(*parent)
        };
        self.source.partitions[partition].parents.iter().any(undone)
    }

    /// Failed invocations at rest before the source counts as stuck.
    fn most_failures_at_rest(&self) -> u32 {
        // Where the last writer wins, many come while earlier senders are waited for. A deadly record kills in pieces.
        let waits = self.config.levels().contains(&Level::LastWriterWins);
        let deadly = self.source.partitions.iter().flat_map(|p| &p.log).filter(|record| record.deadly).count() as u32;
        MAX_FAILURES_AT_REST * if waits { 4 } else { 1 } + MAX_FAILURES_PER_DEADLY * deadly
    }

    /// The mapping tries again, later, as it was or in other pieces.
    fn failed(&mut self, number: usize, parts: Vec<(usize, usize, usize)>) {
        let failures = self.source.pollers[number].failures + 1;
        if failures >= FAILURES_BEFORE_MENDING && !self.source.mended && self.needs_a_person() {
            self.mend();
        }
        // While rings are sealed, batches fail; the person's steps are counted instead. What comes before its parents are
        // done fails as long as they are not; theirs are counted.
        let waits = parts.iter().any(|(partition, ..)| self.waits_for_parents(*partition));
        // Where the last writer wins, whoever takes over waits for the deadline of those before: once for each batch.
        let batches = self.source.partitions.iter().map(|partition| partition.log.len() as u64 + 2).sum::<u64>();
        let passed = self.rested.is_some_and(|rested| self.now > rested + 2 * batches * self.config.timeout);
        let awaits = !passed && self.source.last_failure.contains("may be sending until");
        if self.source.at_rest && self.source.reset.is_none() && !waits && !awaits {
            self.source.failures_at_rest += 1;
            let most = self.most_failures_at_rest();
            if self.source.failures_at_rest > most {
                let why = self.source.last_failure.clone();
                return self.check.broken("I9", || format!("the source is not done after {most} failures: {why}"));
            }
        }
        if self.gives_batch_up(number, &parts) {
            let poller = &mut self.source.pollers[number];
            poller.busy = false;
            let wait = poller.draw.spread(MS, MINUTE);
            return self.later(wait, move |world| world.poll(number));
        }
        let struck = self.faults.strike(500_000 + number as u32, Site::Retry, self.now).map(|(fault, _)| fault);
        if let Some(fault) = struck {
            self.note(1_000 + fault as u64, || format!("* mapping: {}", fault.name()));
        }
        let poller = &mut self.source.pollers[number];
        poller.busy = false;
        poller.failures += 1;
        let size = parts.iter().map(|(_, from, to)| to - from).max().unwrap_or(1);
        match struck {
            Some(Fault::RetryCutSmaller) => poller.limit = Some(poller.draw.within(1, size as u64) as usize),
            Some(Fault::RetryCutLarger) => poller.limit = Some(size + poller.draw.within(1, 4) as usize),
            Some(_) => poller.limit = Some(size.div_ceil(2)),
            None => poller.again = Some(parts),
        }
        let wait = poller.draw.spread(100 * MS, MINUTE << poller.failures.min(4));
        self.later(wait, move |world| world.poll(number));
    }

    pub(super) fn tick(&mut self) {
        if self.source.at_rest {
            return;
        }
        if self.is_replaced() {
            return self.later(self.config.tick, World::tick);
        }
        let struck = self.faults.strike(900_000, Site::Tick, self.now).map(|(fault, _)| fault);
        let times = match struck {
            Some(Fault::TickMissed) => 0,
            Some(_) => 2,
            None => 1,
        };
        for _ in 0..times {
            let environment = self.place(times == 2);
            self.begin(environment, None, Job::Tick, Vec::new());
        }
        self.later(self.config.tick, World::tick);
    }
}

fn words(job: &Job) -> String {
    match job {
        Job::Batch(parts) => {
            let parts: Vec<String> =
                parts.iter().map(|(p, from, to)| format!("p{p} records {from} to {}", to.saturating_sub(1))).collect();
            parts.join(", ")
        }
        Job::Tick => "tick".into(),
        Job::Look => "ask the guards".into(),
        Job::Drain => "close everything".into(),
        Job::Seal { ends } => format!("seal every ring of generation {ends}"),
        Job::Open { abandon, repair, .. } => {
            let (owed, how) =
                (if *abandon { ", whatever is owed" } else { "" }, if *repair { " for a repair" } else { "" });
            format!("open the next generation{how}{owed}")
        }
    }
}

fn outcome(results: &[PartResult]) -> String {
    let texts: Vec<String> = results
        .iter()
        .map(|result| match result {
            Ok(()) => "done".to_owned(),
            Err((kind, message)) => format!("{kind:?}: {}", message.lines().next().unwrap_or_default()),
        })
        .collect();
    texts.join("; ")
}
