//! The naive evaluator: what must come out of the cuts that were committed. It shares no code with the computation.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::Config;
use crate::operators::{State, WindowSum, digest};
use crate::rows;
use crate::source::Record;

/// What one commit must owe.
#[derive(Debug, Default)]
pub struct Expected {
    /// Target and row.
    pub rows: Vec<(usize, String)>,
    /// Records that become dead letters.
    pub letters: Vec<String>,
    /// Windows that several commits have filled.
    pub across: u64,
    /// Up to where the lane hands its windows over, and what of each.
    pub sealed: Option<(i64, Vec<WindowSum>)>,
}

/// A lane as it must be: every record taken so far, in order of commits.
#[derive(Clone, Default)]
pub struct Reference {
    window: i64,
    delay: i64,
    over_lanes: bool,
    /// Records that are in no closed window yet: start, key, value, and the commit that took them.
    waiting: Vec<(i64, u64, i64, usize)>,
    watermark: Option<i64>,
    newest: Option<i64>,
    folded: u64,
    digest: u64,
    /// The state behind each commit, from the first one on.
    pub states: Vec<State>,
}

impl Reference {
    /// A lane without commits.
    pub fn new(config: &Config) -> Self {
        Self { window: config.window, delay: config.delay, over_lanes: config.over_lanes, ..Self::default() }
    }

    /// The lanes that take the place of `parents`: open windows go to the child that `heir` says for their key.
    pub fn divide(
        config: &Config,
        parents: &mut [&mut Self],
        children: usize,
        heir: impl Fn(u64) -> usize,
    ) -> Vec<Self> {
        let newest = parents.iter().filter_map(|parent| parent.newest).max();
        let watermark = parents.iter().filter_map(|parent| parent.watermark).max();
        let mut all: Vec<Self> = (0..children).map(|_| Self { newest, watermark, ..Self::new(config) }).collect();
        for parent in parents {
            let waiting = std::mem::take(&mut parent.waiting);
            for (start, key, value, _) in waiting {
                all[heir(key)].waiting.push((start, key, value, 0));
            }
            all[0].folded += parent.folded;
            all[0].digest ^= parent.digest;
        }
        all.iter_mut().for_each(Self::remember);
        all
    }

    /// A new lane begins behind what is closed.
    pub fn begin(&mut self, floor: Option<i64>) {
        self.watermark = self.watermark.max(floor);
    }

    /// The largest event time that was seen.
    pub fn newest(&self) -> Option<i64> {
        self.newest
    }

    /// The next commit takes `records` of `partition`; without records it moves the watermark to `to`.
    pub fn cut(&mut self, partition: &str, records: &[Record], to: Option<i64>) -> Expected {
        let mut expected = Expected::default();
        let before = self.watermark;
        for record in records {
            self.folded += 1;
            if record.poison || record.deadly {
                expected.letters.push(format!("d/{partition}/{}", record.position));
                continue;
            }
            self.digest ^= digest(record.position, record.event, record.value);
            self.watermark = self.watermark.max(Some(record.event - self.delay));
            self.newest = self.newest.max(Some(record.event));
            if record.filtered {
                continue;
            }
            let text = |kind: &str| {
                let id = format!("{kind}/{partition}/{}", record.position);
                rows::text(&id, record.key, record.value, 1, record.refusal)
            };
            expected.rows.push((0, text("r")));
            let start = record.event - record.event.rem_euclid(self.window);
            match before {
                Some(watermark) if watermark >= start + self.window => expected.rows.push((2, text("l"))),
                _ => self.waiting.push((start, record.key, record.value, self.states.len())),
            }
        }
        if records.is_empty() {
            self.watermark = self.watermark.max(to);
        }
        self.close(partition, before, &mut expected);
        expected
    }

    fn close(&mut self, partition: &str, before: Option<i64>, expected: &mut Expected) {
        let Some(watermark) = self.watermark else { return self.remember() };
        let ended = |at: i64| at - at.rem_euclid(self.window);
        let mut handed = Vec::new();
        let mut places: Vec<(i64, u64)> = self.waiting.iter().map(|(start, key, ..)| (*start, *key)).collect();
        places.sort_unstable();
        places.dedup();
        for (start, key) in places {
            if start + self.window > watermark {
                continue;
            }
            let here = |(s, k, ..): &&(i64, u64, i64, usize)| (*s, *k) == (start, key);
            let values: Vec<i64> = self.waiting.iter().filter(here).map(|(_, _, value, _)| *value).collect();
            let commits: BTreeSet<usize> = self.waiting.iter().filter(here).map(|(.., commit)| *commit).collect();
            expected.across += u64::from(commits.len() > 1);
            self.waiting.retain(|(s, k, ..)| (*s, *k) != (start, key));
            let (sum, count) = (values.iter().sum(), values.len() as u64);
            if self.over_lanes {
                handed.push((start, key, sum, count));
            } else {
                let id = format!("w/{partition}/{start}/{key}");
                expected.rows.push((1, rows::text(&id, key, sum, count, 0)));
            }
        }
        if self.over_lanes && (!handed.is_empty() || before.is_none_or(|before| ended(before) < ended(watermark))) {
            expected.sealed = Some((ended(watermark), handed));
        }
        self.remember();
    }

    /// A commit that changes no state.
    pub fn remember(&mut self) {
        let mut state = State {
            watermark: self.watermark,
            newest: self.newest,
            folded: self.folded,
            digest: self.digest,
            windows: BTreeMap::new(),
        };
        for (start, key, value, _) in &self.waiting {
            let entry = state.windows.entry((*start, *key)).or_default();
            *entry = (entry.0 + value, entry.1 + 1);
        }
        self.states.push(state);
    }

    /// The watermark.
    pub fn watermark(&self) -> Option<i64> {
        self.watermark
    }

    /// Whether every window is closed.
    pub fn is_closed(&self) -> bool {
        self.waiting.is_empty()
    }
}
