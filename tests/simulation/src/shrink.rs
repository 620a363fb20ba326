//! Makes a counterexample small: fewer records, fewer partitions, fewer faults, as long as the same invariant is broken.

use std::collections::BTreeSet;

use crate::config::Config;
use crate::simulation::{Outcome, Plan, run};

/// Runs of one shrinking at most.
pub const MAX_RUNS: u32 = 600;

struct Shrinker {
    id: &'static str,
    best: Plan,
    found: Outcome,
    runs: u32,
}

impl Shrinker {
    fn try_plan(&mut self, plan: Plan) -> bool {
        if self.runs >= MAX_RUNS {
            return false;
        }
        self.runs += 1;
        let found = run(&plan);
        let same = found.violation.as_ref().is_some_and(|violation| violation.id == self.id);
        if same {
            (self.best, self.found) = (plan, found);
        }
        same
    }

    /// Tries other layouts.
    fn layout(&mut self) {
        let changes: [fn(&mut Config); 9] = [
            |config| config.partitions = 1,
            |config| config.records = config.records.div_ceil(2),
            |config| config.records = config.records.saturating_sub(1).max(1),
            |config| config.tick = 0,
            |config| config.inline_limit = 300_000,
            |config| config.keys = 1,
            |config| config.batch = 1,
            |config| config.load_concurrency = 16,
            |config| config.several_partitions = false,
        ];
        for change in changes {
            loop {
                let mut plan = self.best.clone();
                let mut config = plan.config.clone().unwrap_or_else(|| Config::draw(plan.seed));
                let before = format!("{config:?}");
                change(&mut config);
                if format!("{config:?}") == before {
                    break;
                }
                plan.config = Some(config);
                if !self.try_plan(plan) {
                    break;
                }
            }
        }
    }

    /// Switches faults off, many at a time and then one by one.
    fn faults(&mut self) {
        let mut piece = self.found.fired.len().div_ceil(2);
        while piece > 0 {
            let mut from = 0;
            while from < self.found.fired.len() {
                let fired = &self.found.fired;
                let kept = fired.iter().enumerate().filter(|(place, _)| *place < from || *place >= from + piece);
                let only: BTreeSet<u64> = kept.map(|(_, fired)| fired.id).collect();
                let smaller = Plan { only: Some(only), ..self.best.clone() };
                if !self.try_plan(smaller) {
                    from += piece;
                }
            }
            piece /= 2;
        }
    }
}

/// The smallest schedule that was found to break the same invariant, and what came of it. `None`: nothing is broken.
pub fn shrink(plan: &Plan) -> Option<(Plan, Outcome)> {
    let found = run(plan);
    let id = found.violation.as_ref()?.id;
    let mut shrinker = Shrinker { id, best: plan.clone(), found, runs: 0 };
    loop {
        let before = (shrinker.found.fired.len(), shrinker.found.events);
        shrinker.faults();
        shrinker.layout();
        let after = (shrinker.found.fired.len(), shrinker.found.events);
        if after >= before || shrinker.runs >= MAX_RUNS {
            break;
        }
    }
    let plan = Plan { story: true, ..shrinker.best };
    let found = run(&plan);
    Some((plan, found))
}
