//! The table is restored to an older copy, or the source is deleted and created again. Both replace what everybody
//! works on, so nobody from before goes on. A person looks at what the guards say before the mapping runs again.

use crate::draw::Draw;
use crate::fault::Fault;
use crate::paths::Path;
use crate::store::Items;
use crate::world::World;

/// Of 100 schedules with such a fault, those that it happens in.
const SHARE: u64 = 30;

/// A copy of the table, and what was known of it.
pub struct Copy {
    items: Items,
    seen: crate::check::Seen,
}

impl World {
    pub(super) fn plan_restores(&mut self) {
        let span = self.config.span;
        if let Some(mut draw) = self.faults.has_rarely(Fault::TableRestored, 0, SHARE) {
            let copied = draw.below(span);
            let restored = copied + draw.spread(1, span);
            self.later(copied, |world| {
                if world.items.is_empty() {
                    return;
                }
                world.source.copy = Some(Copy { items: world.items.clone(), seen: world.check.seen() });
            });
            self.later(restored, move |world| world.restore(draw));
        }
        let whole = self.source.partitions.iter().all(|partition| partition.parents.is_empty());
        let recreated = if whole { self.faults.has_rarely(Fault::SourceRecreated, 0, SHARE) } else { None };
        if let Some(mut draw) = recreated {
            // What the source is was learned when the pipeline was deployed.
            self.later(1, |world| {
                let environment = world.start_environment();
                world.begin(environment, None, crate::world::Job::Look, Vec::new());
            });
            let at = span / 4 + draw.below(span);
            self.later(at, move |world| world.recreate(draw));
        }
    }

    fn restore(&mut self, draw: Draw) {
        if self.source.reset.is_some() || self.source.at_rest {
            return;
        }
        let Some(Copy { items, seen }) = self.source.copy.take() else { return };
        self.note(81, || "the table is restored to an older copy".into());
        self.replace_everybody();
        let table = self.items.table + 1;
        self.items = items;
        self.items.table = table;
        let within = crate::check::restored(self, seen);
        self.check.path(if within { Path::RestoredWithin } else { Path::RestoredBehindMark });
        self.look(draw, within, None);
    }

    /// Everything that the source had is gone; it goes on with other records under positions that begin anew.
    fn recreate(&mut self, draw: Draw) {
        let known = crate::check::identity(self).is_some();
        let waits = self.source.partitions.iter().any(|partition| partition.produced < partition.log.len());
        if self.source.reset.is_some() || self.source.at_rest || !known || !waits {
            return;
        }
        self.note(82, || "the source is deleted and created again".into());
        self.replace_everybody();
        // What is on its way is lost with the connections.
        self.items.table += 1;
        self.source.created += 1;
        for number in 0..self.source.partitions.len() {
            self.replace_log(number);
        }
        crate::check::outlived(self);
        self.check.path(Path::SourceCreatedAgain);
        let from = vec![0; self.source.partitions.len()];
        self.look(draw, false, Some(from));
    }

    /// The mapping stands still, and every environment is one of before.
    fn replace_everybody(&mut self) {
        self.retire_pollers();
        for number in 0..self.environments.len() {
            self.kill(number);
        }
    }
}
