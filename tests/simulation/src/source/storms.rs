//! Storms at one record: it takes long, and the mapping gives it out again and again while others are at work with it.
//!
//! It kills nobody, so nobody has a reason to give it up before the deadlines of those that began with it.

use tidegate_core::Position;

use crate::draw::Draw;
use crate::fault::Fault;
use crate::paths::Path;
use crate::world::{Cell, Job, MS, Micros, World};

/// Places that storms are drawn at: one each at most. With these no seed of `regressions.txt` gets a storm, and with it
/// another schedule.
const PLACES: [u32; 2] = [5, 6];
/// Of 100 schedules that may have a storm, those that have one.
const SHARE: u64 = 20;
/// Of 100 environments of a storm, those that are new ones. Others may have met the lane before: they leave no marker.
const FRESH: u64 = 85;
/// Of 100 steps with the record, those in which the process is suspended. The others are at work for as long.
const SUSPENDED: u64 = 30;

/// A storm.
pub struct Storm {
    partition: usize,
    /// It breaks at the first batch that begins with this record of the log or a later one.
    from: usize,
    /// Steps with the record that still take long, once it has broken.
    left: u64,
    /// The record that it broke at.
    at: Option<Position>,
    draw: Draw,
}

/// Places in the log of a partition that a batch is made of.
type Part = (usize, usize, usize);

impl World {
    pub(super) fn plan_storms(&mut self) {
        for place in PLACES {
            let Some(mut draw) = self.faults.has_rarely(Fault::StormAtOneRecord, place, SHARE) else { continue };
            let partition = draw.below(self.source.partitions.len() as u64) as usize;
            let from = draw.below(self.source.partitions[partition].log.len() as u64) as usize;
            self.source.storms.push(Storm { partition, from, left: 0, at: None, draw });
        }
    }

    /// A storm breaks where a batch begins with what one waits for: the batch is cut down to a record or two, and others
    /// are given it one after the other.
    pub(super) fn break_storm(&mut self, parts: Vec<Part>) -> Vec<Part> {
        let met = |storm: &Storm, (partition, from, _): &Part| {
            storm.at.is_none()
                && storm.partition == *partition
                && storm.from <= *from
                && !crate::check::committed(self, *partition, from + 1)
        };
        let storms = self.source.storms.iter().enumerate();
        let broken = storms.flat_map(|(number, storm)| parts.iter().map(move |part| (number, storm, *part)));
        let broken = broken.filter(|(_, storm, part)| met(storm, part)).map(|(number, _, part)| (number, part)).next();
        let Some((number, (partition, from, to))) = broken.filter(|_| !self.source.at_rest) else { return parts };
        let position = self.source.partitions[partition].log[from].position;
        let storm = &mut self.source.storms[number];
        storm.at = Some(position);
        let size = storm.draw.pick(&[1, 1, 1, 2]);
        let others = storm.draw.within(3, 6);
        storm.left = others + storm.draw.below(3);
        let mut draw = storm.draw.part(1);
        let name = Fault::StormAtOneRecord.name();
        self.note(1_000 + Fault::StormAtOneRecord as u64, || {
            format!("* mapping: {name} at p{partition} record {from}")
        });
        let parts = vec![(partition, from, to.min(from + size))];
        let mut wait = 0;
        for _ in 0..others {
            wait += draw.spread(20 * MS, self.config.timeout / 8);
            let (parts, generation, fresh) = (parts.clone(), self.check.generation, draw.percent(FRESH));
            self.later(wait, move |world| world.join_storm(parts, generation, fresh));
        }
        parts
    }

    /// One more environment gets the batch, unless the mapping was stopped since.
    fn join_storm(&mut self, parts: Vec<Part>, generation: u64, fresh: bool) {
        if self.source.at_rest || self.check.generation != generation || self.stands_still() {
            return;
        }
        self.check.disturbances += 1;
        let environment = self.place(fresh);
        self.begin(environment, None, Job::Batch(parts.clone()), parts);
    }

    /// What a step waits for that takes one of `positions` while a storm is on. `None`: it takes no time.
    pub fn weight(
        &mut self,
        environment: usize,
        partition: &str,
        mut positions: impl Iterator<Item = Position>,
    ) -> Option<Cell<()>> {
        if self.source.at_rest || self.source.storms.is_empty() {
            return None;
        }
        let name = |storm: &Storm| &self.source.partitions[storm.partition].name;
        let on = |storm: &Storm| storm.left > 0 && name(storm) == partition;
        let at = positions
            .find_map(|position| self.source.storms.iter().position(|storm| on(storm) && storm.at == Some(position)))?;
        let timeout = self.config.timeout;
        let storm = &mut self.source.storms[at];
        storm.left -= 1;
        let suspended = storm.draw.percent(SUSPENDED);
        let time: Micros = storm.draw.within(timeout / 16, if suspended { 2 * timeout } else { timeout });
        if suspended {
            self.freeze(environment, time);
        }
        self.check.path(Path::RecordTakesLong);
        let cell = Cell::default();
        let done = cell.clone();
        self.later(time, move |_| done.fill(()));
        Some(cell)
    }
}
