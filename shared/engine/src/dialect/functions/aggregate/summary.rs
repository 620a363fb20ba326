//! A summary of many values that knows the rank of each up to a share of their count (Greenwald and Khanna, 2001).
//!
//! It holds some of the values in order, each with the least and the greatest rank that it can have. From the least
//! rank of one to the greatest of the next there are fewer than `2 * count / accuracy` ranks, or both are known
//! exactly: for each rank a value is held whose own rank is at most `count / accuracy` away. Of no more than
//! `accuracy` values each rank is exact. Of equal values two are enough, the first and the last.
//!
//! Numbers are integers throughout: the same values in the same parts give the same summary everywhere.

/// How many values a summary holds for each unit of accuracy before it leaves some out.
pub const HELD_PER_ACCURACY: usize = 4;

/// How many values a summary holds whatever its accuracy is.
pub const FEWEST_HELD: usize = 1000;

/// How many times more than that it holds at most: where summaries that left out values are merged over and over, little
/// more can be left out.
pub const MOST_TIMES: usize = 4;

/// How many values are gathered before they are put in order, and in again.
const GATHERED: usize = 8192;

/// A value that is held. `steps` is how far its least rank is above the one of the value before, `spread` is how far
/// its greatest rank is above its least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The value, as a number with the same order.
    pub value: i128,
    /// At least 1.
    pub steps: u64,
    /// 0 where the rank is known.
    pub spread: u64,
}

/// The summary of the values of a group.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    accuracy: u64,
    count: u64,
    held: Vec<Held>,
    /// Values that are not in `held` and not in `count` yet.
    gathered: Vec<i128>,
}

/// The summary would hold more than [`MOST_TIMES`] allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

impl Summary {
    /// A summary of no values. Ranks are known up to `count / accuracy`; an accuracy of 0 is taken for 1.
    pub fn new(accuracy: u32) -> Self {
        Self { accuracy: u64::from(accuracy.max(1)), ..Self::default() }
    }

    /// Adds one value.
    ///
    /// # Errors
    /// When the summary gets too large. It is of no use then.
    pub fn add(&mut self, value: i128) -> Result<(), TooLarge> {
        self.gathered.push(value);
        if self.gathered.len() < GATHERED { Ok(()) } else { self.settle() }
    }

    /// Adds the values of another summary.
    ///
    /// # Errors
    /// When the summary gets too large. It is of no use then.
    pub fn merge(&mut self, other: &[Held]) -> Result<(), TooLarge> {
        if other.iter().all(|held| held.steps == 1 && held.spread == 0) {
            return other.iter().try_for_each(|held| self.add(held.value));
        }
        self.settle()?;
        self.put_in(other)
    }

    /// What is held, in order.
    ///
    /// # Errors
    /// When the summary gets too large. It is of no use then.
    pub fn held(&mut self) -> Result<&[Held], TooLarge> {
        self.settle()?;
        Ok(&self.held)
    }

    /// How many values it holds before it leaves some out.
    fn working(&self) -> usize {
        usize::try_from(self.accuracy).unwrap_or(usize::MAX).saturating_mul(HELD_PER_ACCURACY).max(FEWEST_HELD)
    }

    /// The bytes that it takes in memory.
    pub fn bytes(&self) -> usize {
        self.held.capacity() * size_of::<Held>() + self.gathered.capacity() * size_of::<i128>()
    }

    /// Puts in what was gathered.
    fn settle(&mut self) -> Result<(), TooLarge> {
        let mut gathered = std::mem::take(&mut self.gathered);
        gathered.sort_unstable();
        let fresh: Vec<Held> = gathered.iter().map(|value| Held { value: *value, steps: 1, spread: 0 }).collect();
        self.put_in(&fresh)
    }

    fn put_in(&mut self, other: &[Held]) -> Result<(), TooLarge> {
        if other.is_empty() {
            return Ok(());
        }
        self.count += other.iter().map(|held| held.steps).sum::<u64>();
        self.held = if self.held.is_empty() { other.to_vec() } else { merged(&self.held, other) };
        let working = self.working();
        if self.held.len() > working {
            self.leave_out(working);
        }
        if self.held.len() > working.saturating_mul(MOST_TIMES) { Err(TooLarge) } else { Ok(()) }
    }

    /// Leaves out values, so that half of the place is free: no more ranks than that takes may lie between neighbours,
    /// and never more than the accuracy allows.
    fn leave_out(&mut self, most: usize) {
        let (mut none, mut enough) = (0, self.widest());
        while none + 1 < enough {
            let middle = none + (enough - none) / 2;
            if thinned(&self.held, middle).len() <= most / 2 { enough = middle } else { none = middle }
        }
        self.held = thinned(&self.held, enough);
    }

    /// The most ranks between neighbours: fewer than `2 * count / accuracy`.
    fn widest(&self) -> u64 {
        (2 * self.count).div_ceil(self.accuracy).saturating_sub(1)
    }
}

/// Without each value between two that are equal to it, and each whose ranks the next one can stand for with at most
/// `widest` ranks between neighbours. The first and the last one stay.
fn thinned(all: &[Held], widest: u64) -> Vec<Held> {
    let mut kept: Vec<Held> = Vec::with_capacity(all.len());
    for (place, held) in all.iter().enumerate().rev() {
        let equals_before = place.checked_sub(1).is_some_and(|before| all[before].value == held.value);
        match kept.last_mut() {
            Some(next)
                if equals_before && next.value == held.value || held.steps + next.steps + next.spread <= widest =>
            {
                next.steps += held.steps;
            }
            _ => kept.push(*held),
        }
    }
    // The smallest value has a rank of its own.
    if let (Some(first), Some(last)) = (all.first(), kept.last_mut())
        && last.steps > first.steps
    {
        last.steps -= first.steps;
        kept.push(*first);
    }
    kept.reverse();
    kept
}

/// Two summaries as one. A value of one side has at least the rank of the one before it on the other side, and less
/// than the greatest rank of the one behind it there.
fn merged(left: &[Held], right: &[Held]) -> Vec<Held> {
    let mut all: Vec<Held> = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (Side::new(left), Side::new(right));
    let mut before = 0;
    loop {
        let (from, other) = match (left.next(), right.next()) {
            (Some(a), Some(b)) if a.value <= b.value => (&mut left, &right),
            (Some(_), None) => (&mut left, &right),
            (_, Some(_)) => (&mut right, &left),
            (None, None) => return all,
        };
        let Some(held) = from.take() else { return all };
        let least = from.least + other.least;
        let greatest = from.least + held.spread + other.greatest_before_next();
        all.push(Held { value: held.value, steps: least - before, spread: greatest - least });
        before = least;
    }
}

/// A summary while it is merged: what comes next, and the least rank of what was taken last.
struct Side<'a> {
    held: &'a [Held],
    least: u64,
}

impl<'a> Side<'a> {
    fn new(held: &'a [Held]) -> Self {
        Self { held, least: 0 }
    }

    fn next(&self) -> Option<&'a Held> {
        self.held.first()
    }

    fn take(&mut self) -> Option<&'a Held> {
        let (first, rest) = self.held.split_first()?;
        self.held = rest;
        self.least += first.steps;
        Some(first)
    }

    /// How many values can be before the one that comes next.
    fn greatest_before_next(&self) -> u64 {
        self.next().map_or(self.least, |next| self.least + next.steps + next.spread - 1)
    }
}

/// The place in `held` of a value at this share of all values, as Spark asks for it: the first or the last one for
/// shares within `1 / accuracy` of an end. `None` where nothing is held.
pub fn place(held: &[Held], accuracy: u32, share: f64) -> Option<usize> {
    let error = 1.0 / f64::from(accuracy.max(1));
    if share <= error || held.len() <= 1 {
        return (!held.is_empty()).then_some(0);
    }
    if share >= 1.0 - error {
        return Some(held.len() - 1);
    }
    let count: u64 = held.iter().map(|held| held.steps).sum();
    let rank = (share * count as f64).ceil() as u64;
    let (mut before, mut place, mut best) = (0, 0, (u64::MAX, 0));
    for equal in held.chunk_by(|a, b| a.value == b.value) {
        let (first, steps) = (equal[0], equal.iter().map(|held| held.steps).sum::<u64>());
        // All of the ranks from the one of the first to the one of the last are of this value.
        let from = before + first.steps + first.spread;
        let to = before + steps;
        let away = from.saturating_sub(rank).max(rank.saturating_sub(to));
        if away < best.0 {
            best = (away, place);
        }
        (before, place) = (to, place + equal.len());
    }
    Some(best.1)
}
