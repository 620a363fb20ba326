//! What each target level promises: `docs/protocol.md` says it, this looks at it.

use std::collections::HashMap;

use tidegate_delivery::HttpRequest;
use tidegate_lane::Sent;

use super::Checker;
use crate::config::{Config, Level, TARGETS};
use crate::paths::Path;
use crate::rows;
use crate::target::Arrival;
use crate::world::{HOUR, Micros, World};

/// Where a row stands that the last writer wins: target, partition, key.
type Place = (usize, usize, i64);
/// The order of rows: generation, commit, place in it.
type Rank = (u64, u64, usize);

#[derive(Default)]
struct Stand {
    stands: Rank,
    newest: Rank,
    /// What stands there has landed after its sender had given up.
    excused: bool,
}

/// What an environment has done, and what it has said of it.
#[derive(Default)]
struct Account {
    /// Requests that may have been sent before, to targets where that counts.
    again: u64,
    retries: u64,
    /// Rows that count as done though nobody knows whether they took effect.
    let_go: u64,
    unknown: u64,
}

/// What is known about targets without a memory of ids.
#[derive(Default)]
pub struct Levels {
    of: Vec<Level>,
    /// Rows of a request at most, where it is sent at most once.
    most_rows: u64,
    /// Rows that have left, to targets where a repeat counts, and who has sent them.
    left: HashMap<String, Vec<usize>>,
    stands: HashMap<Place, Stand>,
    accounts: HashMap<usize, Account>,
}

impl Levels {
    /// Of the targets of a layout.
    pub fn new(config: &Config) -> Self {
        let once = TARGETS.iter().filter_map(|name| config.rest(name));
        let once = once.filter(|rest| Level::of(&rest.idempotency) == Level::AtMostOnce);
        let most_rows = once.map(|rest| rest.batch.rows as u64).max().unwrap_or(1);
        Self { of: config.levels().to_vec(), most_rows, ..Self::default() }
    }

    /// The level of a target, by its place in [`TARGETS`].
    pub fn of(&self, target: usize) -> Level {
        self.of.get(target).copied().unwrap_or(Level::ById)
    }

    /// Whether everything at a target takes effect once and no more.
    pub fn is_exact(&self, target: usize) -> bool {
        matches!(self.of(target), Level::ById | Level::Fenced)
    }

    /// Whether nothing at a target keeps a repeat from taking effect again.
    pub fn counts_repeats(&self, target: usize) -> bool {
        matches!(self.of(target), Level::AtLeastOnce | Level::AtMostOnce)
    }
}

impl Checker {
    /// A request takes effect.
    pub fn effect(&mut self, now: Micros, arrival: &Arrival<'_>, rows: &[String]) {
        if rows.is_empty() {
            self.broken("I6", || format!("a request without rows takes effect at {}", TARGETS[arrival.target]));
        }
        for row in rows {
            let committer = self.owed.get(row).map(|owed| owed.environment);
            if committer.is_some_and(|committer| committer != arrival.sender) {
                self.path(Path::EffectAfterHandOver);
            }
            self.effect_of(now, arrival.target, arrival.late, row);
        }
    }

    fn effect_of(&mut self, now: Micros, target: usize, late: bool, row: &str) {
        let Some(owed) = self.owed.get_mut(row) else {
            return self.broken("I6", || format!("{row} takes effect at {} but no commit owes it", TARGETS[target]));
        };
        owed.applied += 1;
        let (n, applied, lettered, given_up) = (owed.n, owed.applied, owed.lettered, owed.given_up);
        let (wanted, age, since) = (owed.target, now - owed.since, owed.since);
        // A restored copy may owe it once more.
        let again = self.is_of_before(since);
        let text = || format!("{row} of commit {n} at {}", TARGETS[target]);
        if wanted != Some(target) {
            self.broken("I6", || format!("{} is meant for another target", text()));
        }
        if age > HOUR {
            self.path(Path::EffectAfterHours);
        }
        if given_up {
            self.path(Path::EffectOfUnknown);
        }
        let level = self.levels.of(target);
        if applied > 1 {
            match level {
                Level::ById | Level::Fenced => self.broken("I6", || format!("{} takes effect twice", text())),
                Level::AtMostOnce if again => {}
                Level::AtMostOnce => self.broken("I6", || format!("{} takes effect twice, at most once", text())),
                Level::AtLeastOnce => self.path(Path::EffectAgainAtNone),
                Level::LastWriterWins => self.path(Path::EffectAgainWhereLastWins),
            }
        }
        // Where the last writer wins, a rejection is acted on at once: a second effect would change nothing.
        if lettered > 0 && level != Level::LastWriterWins && !again {
            self.broken("I7", || format!("{} takes effect and is a dead letter", text()));
        }
        match level {
            Level::LastWriterWins => self.replaces(late, row),
            _ if applied == 1 => self.in_order(target, row),
            _ => {}
        }
    }

    /// Where the target knows what it has, and order is kept, rows take effect in order.
    fn in_order(&mut self, target: usize, row: &str) {
        let Some(per_key) = self.sequences[target].filter(|_| self.levels.is_exact(target)) else { return };
        let owed = &self.owed[row];
        if self.is_of_before(owed.since) {
            return;
        }
        let (n, place) = (owed.n, owed.place);
        let latest = self.latest.entry((owed.lane, target, per_key.then_some(owed.key))).or_default();
        let before = std::mem::replace(latest, (n, place).max(*latest));
        if (n, place) < before {
            let at = TARGETS[target];
            self.broken("I6", || {
                format!("{row} of commit {n} at {at} takes effect after a row of commit {}", before.0)
            });
        }
    }

    /// Where a row stands that the last writer wins, and its rank there. `None`: it is none of these.
    fn place_of(&self, row: &str) -> Option<(Place, Rank)> {
        let owed = self.owed.get(row)?;
        let target = owed.target.filter(|target| self.levels.of(*target) == Level::LastWriterWins)?;
        let lane = &self.lanes[owed.lane];
        Some(((target, lane.partition, owed.key), (lane.generation, owed.n, owed.place)))
    }

    /// A row replaces what is at its URL. Rows of one commit may be sent again, in order, until it is settled; one of an
    /// older commit comes only if it lands when its sender has given up.
    fn replaces(&mut self, late: bool, row: &str) {
        let Some((place, rank)) = self.place_of(row) else { return };
        // Where a person gives up what is owed, whoever works on the old generation may send it still.
        let excused = late || self.given_up.contains(&rank.0);
        let stand = self.levels.stands.entry(place).or_default();
        let (put_back, newest) = (stand.stands < stand.newest, stand.newest);
        (stand.stands, stand.newest) = (rank, rank.max(newest));
        stand.excused = rank < newest && (stand.excused || excused);
        if rank < newest && excused {
            self.path(Path::OldRowPutBack);
        } else if (rank.0, rank.1) < (newest.0, newest.1) {
            let at = TARGETS[place.0];
            self.broken("I6", || format!("{row} of commit {} replaces one of commit {} at {at}", rank.1, newest.1));
        } else if put_back {
            self.path(Path::NewRowAfterOld);
        }
    }

    /// What a settled commit has sent stands, where the last writer wins.
    pub(super) fn stands(&mut self, row: &str) {
        let Some((place, rank)) = self.place_of(row) else { return };
        let wrong = self.levels.stands.get(&place).is_some_and(|stand| stand.stands < rank && !stand.excused);
        let owed = &self.owed[row];
        if wrong && owed.applied > 0 && owed.lettered == 0 {
            let at = TARGETS[place.0];
            self.broken("I6", || format!("commit {} is settled, but an older row than {row} stands at {at}", rank.1));
        }
    }

    /// A row that became a dead letter need not stand, though it may.
    pub(super) fn not_newest(&mut self, row: &str) {
        let Some((place, rank)) = self.place_of(row) else { return };
        if let Some(stand) = self.levels.stands.get_mut(&place) {
            stand.excused |= stand.newest == rank;
        }
    }

    /// A person gives up what a generation owes. A commit whose rows are put again, in order, is left in the middle.
    pub(super) fn left_in_the_middle(&mut self, generation: u64) {
        for stand in self.levels.stands.values_mut() {
            stand.excused |= stand.newest.0 == generation && stand.stands < stand.newest;
        }
    }

    /// At rest the newest row of each URL stands.
    pub(super) fn newest_stand(&mut self) {
        let wrong = self.levels.stands.iter().find(|(_, stand)| stand.stands < stand.newest && !stand.excused);
        if let Some((place, stand)) = wrong {
            let text = format!("{place:?}: {:?} stands at rest, {:?} is newer", stand.stands, stand.newest);
            self.broken("I6", || text);
        }
    }

    /// A request that is sent at most once is not waited for any more.
    pub(super) fn let_go(&mut self, environment: usize, item: &str) {
        if let Some(owed) = self.owed.get_mut(item) {
            owed.given_up = true;
            self.levels.accounts.entry(environment).or_default().let_go += 1;
            self.path(Path::UnknownLetGo);
        }
    }

    /// Whether who takes it over waits for those who may be sending it.
    pub(super) fn waits(&self, item: &str) -> bool {
        self.place_of(item).is_some()
    }

    /// A target has refused the content of a request: nothing of it took effect.
    pub fn refused_content(&mut self, rows: &[String]) {
        for row in rows {
            self.levels.left.remove(row);
        }
    }

    /// Whether it may be let go without an answer.
    pub(super) fn is_once(&self, item: &str) -> bool {
        let target = self.owed.get(item).and_then(|owed| owed.target);
        target.is_some_and(|target| self.levels.of(target) == Level::AtMostOnce)
    }
}

/// A request leaves an environment.
pub fn leaves(world: &mut World, environment: usize, request: &HttpRequest) {
    let target = TARGETS.iter().position(|name| request.url.starts_with(&format!("https://{name}.test/")));
    let check = &mut world.check;
    let level = target.map(|target| check.levels.of(target));
    let Some(level @ (Level::AtLeastOnce | Level::AtMostOnce)) = level else { return };
    let mut again = false;
    let mut others = false;
    for row in rows::split(std::str::from_utf8(&request.body).unwrap_or_default()) {
        let committer = check.owed.get(&row).map(|owed| owed.environment);
        let senders = check.levels.left.entry(row).or_default();
        // Who has committed it is the first to send it, as far as it knows. All other requests may be repeats.
        again |= committer != Some(environment) || senders.contains(&environment);
        others |= senders.iter().any(|sender| *sender != environment);
        senders.push(environment);
    }
    if level == Level::AtLeastOnce {
        check.levels.accounts.entry(environment).or_default().again += u64::from(again);
    } else if others {
        check.path(Path::OfferedTakenUp);
    }
}

/// An environment says what it has sent. `alone`: nothing else is at work in it.
pub fn reported(world: &mut World, environment: usize, sent: Sent, alone: bool) {
    let check = &mut world.check;
    let rows = check.levels.most_rows;
    let account = check.levels.accounts.entry(environment).or_default();
    account.retries += sent.retries;
    account.unknown += sent.unknown;
    let (again, retries, let_go, unknown) = (account.again, account.retries, account.let_go, account.unknown);
    if sent.unknown > 0 {
        check.path(Path::UnknownReported);
    }
    if again > 0 {
        check.path(Path::RepeatCounted);
    }
    if alone && again > retries {
        check.broken("I6", || format!("env {environment} repeats {again} requests and counts {retries}"));
    }
    if alone && let_go > unknown * rows {
        check.broken("I6", || {
            format!("env {environment} gives {let_go} rows up and reports {unknown} requests of unknown outcome")
        });
    }
}
