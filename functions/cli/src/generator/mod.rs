//! The inputs of the reference scenarios: record `i` depends on the seed and on `i` alone.
//!
//! So a run that is resumed at any record sees the same records again, and finds its place without work.

mod draw;
mod scenarios;
mod spec;
#[cfg(test)]
mod tests;
mod text;

use std::io::{ErrorKind, Write};
use std::time::Duration;

use tidegate_core::{Error, Result, Timestamp};

use draw::Draw;
pub use scenarios::Scenario;

/// Bytes that are gathered before they are written.
const WRITE_BUFFER: usize = 1 << 16;

/// The records of one scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct Generator {
    scenario: Scenario,
    /// `None`: endless.
    records: Option<u64>,
    /// Records per second of event time.
    rate: u64,
    seed: u64,
    start: Timestamp,
    disorder: Duration,
    /// Share of records that are broken, 0 to 1.
    bad: f64,
    /// Share of records that come later than five minutes, 0 to 1 (cities).
    late: f64,
    paced: bool,
}

impl Generator {
    /// Reads a specification such as `treasury?rate=100&records=2000&seed=7`.
    ///
    /// Parameters: `rate` (records per second of event time), `records` (a number or `endless`), `seed`, `start`
    /// (`2026-01-01T00:00:00Z`), `disorder` (how much earlier than its place an event time may be), `bad` (share of
    /// broken records), `late` (share of records five to ten minutes late; cities only), `pace` (`fast`, or `real`:
    /// as many records a second as `rate` says).
    pub fn parse(text: &str) -> Result<Self> {
        spec::parse(text)
    }

    /// How many records there are; `None` if they never end.
    pub fn records(&self) -> Option<u64> {
        self.records
    }

    /// When record `index` is due, counted from the start of the run; zero for a run as fast as possible.
    pub fn due(&self, index: u64) -> Duration {
        if self.paced { self.offset(index) } else { Duration::ZERO }
    }

    /// The columns in Spark's DDL.
    pub fn columns(&self) -> &'static str {
        self.scenario.columns()
    }

    /// Appends record `index` to `out`: one JSON object without a line break. Any index may be asked for.
    #[inline]
    pub fn record(&self, index: u64, out: &mut Vec<u8>) {
        let mut draw = Draw::new(self.seed, index);
        let from = out.len();
        self.scenario.write(self, index, &mut draw, out);
        // Drawn last: switching it on leaves the good records as they were.
        if self.bad > 0.0 && draw.share(self.bad) {
            scenarios::break_record(from, &mut draw, out);
        }
    }

    /// Time of record `index` behind the start, without disorder.
    fn offset(&self, index: u64) -> Duration {
        let rest = u128::from(index % self.rate) * 1_000_000 / u128::from(self.rate);
        Duration::from_secs(index / self.rate) + Duration::from_micros(rest as u64)
    }

    /// The time at which record `index` is sent, in milliseconds since 1970.
    #[inline]
    fn sent_at(&self, index: u64) -> i64 {
        let seconds = i64::try_from(index / self.rate).unwrap_or(i64::MAX).saturating_mul(1000);
        // The rest is below the rate, which is at most 10^9.
        let millis = (index % self.rate * 1000 / self.rate) as i64;
        self.start.as_millis().saturating_add(seconds).saturating_add(millis)
    }

    /// The event time of record `index`: up to `disorder` before it is sent.
    #[inline]
    fn event_time(&self, index: u64, draw: &mut Draw) -> i64 {
        let sent = self.sent_at(index);
        if self.disorder.is_zero() {
            return sent;
        }
        let most = u64::try_from(self.disorder.as_millis()).unwrap_or(u64::MAX - 1);
        sent.saturating_sub(i64::try_from(draw.below(most.saturating_add(1))).unwrap_or(i64::MAX))
    }
}

/// Writes all records as lines (`tidegate generate SPEC > file`) and returns how many. A reader that goes away is
/// an ordinary end.
pub fn write_all(generator: &Generator, out: &mut dyn Write) -> Result<u64> {
    let mut lines = Vec::with_capacity(WRITE_BUFFER + 4096);
    let mut index = 0;
    let mut flush = |lines: &mut Vec<u8>| match out.write_all(lines) {
        Ok(()) => {
            lines.clear();
            Ok(true)
        }
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Error::unavailable("the generated records cannot be written").with_source(error)),
    };
    while generator.records.is_none_or(|records| index < records) {
        generator.record(index, &mut lines);
        lines.push(b'\n');
        index += 1;
        if lines.len() >= WRITE_BUFFER && !flush(&mut lines)? {
            return Ok(index);
        }
    }
    flush(&mut lines)?;
    Ok(index)
}
