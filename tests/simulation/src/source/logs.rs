//! The logs of a schedule, drawn before it begins: partitions, and those that continue others.

use tidegate_core::{Position, Sequence};

use super::{Partition, Record};
use crate::draw::Draw;
use crate::fault::Fault;
use crate::world::{Micros, SECOND, World};

/// Of 100 schedules that may have deadly records, those that have some.
const DEADLY_SHARE: u64 = 40;

/// What the records of a schedule are like.
struct Traits {
    late: bool,
    idle: bool,
    sparse: bool,
    aggregated: bool,
    poison: u64,
    refused: u64,
    /// Of each partition, at most this many records kill whoever takes them.
    deadly: usize,
}

impl World {
    /// Fills the logs and sets the pollers up.
    pub fn set_up(&mut self) {
        self.source.tampered = self.plant;
        let new = self.config.partitions > 1 && self.faults.has(Fault::NewPartition, 0).is_some();
        let traits = Traits {
            late: self.faults.has(Fault::LatePartition, 0).is_some(),
            idle: self.faults.has(Fault::IdlePartition, 0).is_some(),
            sparse: self.faults.has(Fault::SparsePositions, 0).is_some(),
            aggregated: self.faults.has(Fault::AggregatedRecords, 0).is_some(),
            poison: if self.faults.has(Fault::PoisonRecords, 0).is_some() { 12 } else { 0 },
            deadly: usize::from(self.faults.has_rarely(Fault::DeadlyRecords, 0, DEADLY_SHARE).is_some()),
            refused: if self.faults.has(Fault::RejectedRows, 0).is_some() { 15 } else { 0 },
        };
        self.config.skew = self.faults.has(Fault::ClockSkew, 0).is_some();
        let mut draw = Draw::new(self.config.seed).part(2);
        for number in 0..self.config.partitions {
            let born = if new && number + 1 == self.config.partitions { self.config.span / 2 } else { 0 };
            self.add_partition(&traits, &mut draw, born, Vec::new());
        }
        self.reshard(&traits, &mut draw);
        for number in 0..self.source.partitions.len() {
            let times: Vec<Micros> = self.source.partitions[number].log.iter().map(Record::at).collect();
            times.into_iter().for_each(|at| self.later(at, move |world| world.produce(number)));
        }
        self.start_pollers();
        self.plan_gaps();
        // Over lanes it is all the same which child has a window.
        self.source.tells_hashes = !self.config.over_lanes;
        self.plan_resets();
        self.plan_restores();
        self.plan_storms();
        if self.config.tick > 0 {
            self.later(self.config.tick, World::tick);
        }
    }

    /// Splits and merges, as the schedule has them.
    fn reshard(&mut self, traits: &Traits, draw: &mut Draw) {
        let split = self.faults.has(Fault::Split, 0).is_some();
        let again = split && self.faults.has(Fault::SplitOfSplit, 0).is_some();
        let merge = (split || self.config.partitions > 1) && self.faults.has(Fault::Merge, 0).is_some();
        self.source.early = (split || merge) && self.faults.has(Fault::ChildTooEarly, 0).is_some();
        // Sources whose partitions end can be asked.
        self.config.asks |= split || merge;
        // Each of them has a poller of its own.
        self.config.several_partitions &= !(split || merge);
        let children = self.source.partitions.len();
        if split {
            self.replace(traits, draw, &[0], 2);
        }
        if again {
            self.replace(traits, draw, &[children], 2);
        }
        match (split, self.config.partitions > 1) {
            _ if !merge => {}
            (true, true) => self.replace(traits, draw, &[1, children + 1], 1),
            (true, false) if !again => self.replace(traits, draw, &[children, children + 1], 1),
            (true, false) => self.replace(traits, draw, &[children + 1, children + 2], 1),
            (false, _) => self.replace(traits, draw, &[0, 1], 1),
        }
    }

    /// Partitions end, and others continue them.
    fn replace(&mut self, traits: &Traits, draw: &mut Draw, parents: &[usize], children: usize) {
        let mut born = 0;
        for parent in parents {
            let log = &mut self.source.partitions[*parent].log;
            log.truncate(draw.within(1, log.len() as u64) as usize);
            born = log.last().map_or(born, |last| born.max(last.at()));
        }
        let begins = born + draw.spread(1, 60 * SECOND);
        for _ in 0..children {
            self.add_partition(traits, draw, begins, parents.to_vec());
        }
    }

    /// What is yet to come, in a partition whose positions begin anew.
    pub(super) fn replace_log(&mut self, number: usize) {
        let partition = &mut self.source.partitions[number];
        partition.log.drain(..partition.produced);
        for (place, record) in partition.log.iter_mut().enumerate() {
            record.position = Position::new(place as u64 + 1);
        }
        (partition.produced, partition.checkpoint) = (0, 0);
    }

    fn add_partition(&mut self, traits: &Traits, draw: &mut Draw, born: Micros, parents: Vec<usize>) {
        let number = self.source.partitions.len();
        let before = parents.iter().map(|parent| self.source.partitions[*parent].log.len()).max().unwrap_or_default();
        let records = if parents.is_empty() { self.config.records } else { self.config.records.div_ceil(2) };
        let mut log = Vec::with_capacity(records);
        let mut at = born;
        let gap = 2 * self.config.span / self.config.records as u64;
        let mut position = Position::new(if traits.sparse { draw.within(5, 9) } else { 0 });
        for place in 0..records {
            at += draw.below(gap + 1);
            if traits.idle && number == 0 && place == records / 2 {
                at += self.config.span;
            }
            position = next_position(position, traits.sparse, traits.aggregated, draw);
            let lag = if traits.late && number == 0 { 3 * self.config.window } else { 0 };
            let pace = (before + place) as i64 * self.config.window / 3 + draw.below(self.config.window as u64) as i64;
            let (poison, deadly) = (draw.percent(traits.poison), draw.percent(10));
            let deadly =
                deadly && !poison && log.iter().filter(|record: &&Record| record.deadly).count() < traits.deadly;
            log.push(Record {
                position,
                event: pace - lag - if draw.percent(6) { 2 * self.config.window } else { 0 },
                key: draw.below(self.config.keys),
                value: draw.below(1_000) as i64,
                refusal: if draw.percent(traits.refused) { draw.within(1, 3).min(2) as u8 } else { 0 },
                poison,
                deadly,
                filtered: draw.percent(8),
                at,
            });
        }
        let name = format!("p{number}");
        self.source.partitions.push(Partition { name, log, produced: 0, checkpoint: 0, born, parents });
    }
}

fn next_position(position: Position, sparse: bool, aggregated: bool, draw: &mut Draw) -> Position {
    if aggregated && draw.percent(40) {
        return Position { sub: position.sub + 1, ..position };
    }
    let number = position.sequence.to_string();
    if sparse && draw.percent(20) && number.len() < 50 {
        // One more digit: the number before it ends in anything.
        let digits = format!("{}{number}", draw.within(1, 9));
        return Position { sequence: Sequence::from_decimal(digits.as_bytes()).unwrap_or_default(), sub: 0 };
    }
    let bytes = position.sequence.to_be_bytes();
    let mut low = [0; 16];
    low.copy_from_slice(&bytes[16..]);
    let step = if sparse { draw.within(1, 60) } else { 1 };
    let next = u128::from_be_bytes(low).checked_add(u128::from(step));
    let mut all = bytes;
    match next {
        Some(next) => all[16..].copy_from_slice(&next.to_be_bytes()),
        None => {
            all[15] += 1;
            all[16..].fill(0);
        }
    }
    Position { sequence: Sequence::from_be_bytes(all), sub: 0 }
}
