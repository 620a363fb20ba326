//! The naive evaluator: what must come out of the cuts that were committed. It shares no code with the computation.

use std::collections::BTreeSet;

use crate::config::Config;
use crate::operators::{State, digest};
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
}

/// A lane as it must be: every record taken so far, in order of commits.
#[derive(Default)]
pub struct Reference {
    window: i64,
    delay: i64,
    /// Records that are in no closed window yet: start, key, value, and the commit that took them.
    waiting: Vec<(i64, u64, i64, usize)>,
    watermark: Option<i64>,
    folded: u64,
    digest: u64,
    /// The state behind each commit, from the first one on.
    pub states: Vec<State>,
}

impl Reference {
    /// A lane without commits.
    pub fn new(config: &Config) -> Self {
        Self { window: config.window, delay: config.delay, ..Self::default() }
    }

    /// The next commit takes `records` of `partition`; without records it closes everything.
    pub fn cut(&mut self, partition: &str, records: &[Record], close_all: bool) -> Expected {
        let mut expected = Expected::default();
        let before = self.watermark;
        for record in records {
            self.folded += 1;
            if record.poison {
                expected.letters.push(format!("d/{partition}/{}", record.position));
                continue;
            }
            self.digest ^= digest(record.position, record.event, record.value);
            self.watermark = self.watermark.max(Some(record.event - self.delay));
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
        if close_all {
            self.watermark = self.watermark.max(self.waiting.iter().map(|(start, ..)| start + self.window).max());
        }
        self.close(partition, &mut expected);
        expected
    }

    fn close(&mut self, partition: &str, expected: &mut Expected) {
        let Some(watermark) = self.watermark else { return self.remember() };
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
            let id = format!("w/{partition}/{start}/{key}");
            expected.rows.push((1, rows::text(&id, key, values.iter().sum(), values.len() as u64, 0)));
        }
        self.remember();
    }

    /// A commit that changes no state.
    pub fn remember(&mut self) {
        let mut state =
            State { watermark: self.watermark, folded: self.folded, digest: self.digest, ..State::default() };
        for (start, key, value, _) in &self.waiting {
            let entry = state.windows.entry((*start, *key)).or_default();
            *entry = (entry.0 + value, entry.1 + 1);
        }
        self.states.push(state);
    }

    /// Whether every window is closed.
    pub fn is_closed(&self) -> bool {
        self.waiting.is_empty()
    }
}
