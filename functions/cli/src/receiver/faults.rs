//! The receiver's faults: which of them a request meets is drawn from a seed and the request's number.

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate_core::random::{Random, StdRandom};
use tidegate_core::{Error, Result};

/// Faults and how often they happen. `P` is a probability from 0 to 1, drawn for each request.
#[derive(Clone, Debug, Default, PartialEq, clap::Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FaultOptions {
    /// Answer 429 without effect
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = probability)]
    pub fail_429: f64,

    /// Answer 500 without effect
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = probability)]
    pub fail_500: f64,

    /// Answer 503 without effect
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = probability)]
    pub fail_503: f64,

    /// Seconds in the `Retry-After` header of 429 and 503 [default: no such header]
    #[arg(long, value_name = "SECONDS")]
    pub retry_after: Option<u32>,

    /// Take effect, then close the connection without an answer
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = probability)]
    pub lose_answer: f64,

    /// Close the connection without effect and without an answer
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = probability)]
    pub drop: f64,

    /// Wait MS milliseconds first, for example 0.1:500; takes effect even if the client hangs up meanwhile
    #[arg(long, value_name = "P:MS")]
    pub delay: Option<Delay>,

    /// Answer 200 with `{"error": ...}`, without effect
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = probability)]
    pub lie: f64,

    /// At every N-th request: cut all connections, refuse new ones for a moment, listen again
    #[arg(long, value_name = "N")]
    pub restart_every: Option<u64>,

    /// How long a restart takes, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = DEFAULT_RESTART_MS)]
    #[serde(default = "default_restart_ms")]
    pub restart_ms: u64,

    /// Seed of the draws
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub fault_seed: u64,
}

/// How long a restart takes unless told.
pub const DEFAULT_RESTART_MS: u64 = 200;

fn default_restart_ms() -> u64 {
    DEFAULT_RESTART_MS
}

fn probability(text: &str) -> Result<f64> {
    text.parse().ok().filter(|p| (0.0..=1.0).contains(p)).ok_or_else(|| {
        Error::invalid(format!("'{text}' is no probability")).with_help("write a number from 0 to 1, such as 0.05")
    })
}

/// A delay with its probability, written `P:MS`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Delay {
    /// How often, from 0 to 1.
    pub probability: f64,
    /// How long.
    pub duration: Duration,
}

impl FromStr for Delay {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::invalid(format!("'{text}' is no delay")).with_help("write P:MS, such as 0.1:500");
        let (p, millis) = text.split_once(':').ok_or_else(wrong)?;
        let duration = Duration::from_millis(millis.parse().map_err(|_| wrong())?);
        Ok(Self { probability: probability(p)?, duration })
    }
}

impl TryFrom<String> for Delay {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Delay> for String {
    fn from(delay: Delay) -> Self {
        format!("{}:{}", delay.probability, delay.duration.as_millis())
    }
}

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fate {
    /// It is handled.
    Handle {
        /// After so long.
        delay: Option<Duration>,
        /// Its answer gets lost.
        lose_answer: bool,
    },
    /// All connections are cut.
    Restart,
    /// Its connection is closed without effect.
    Drop,
    /// This status, without effect.
    Status(u16),
    /// 200 with an error inside, without effect.
    Lie,
}

impl FaultOptions {
    /// Refuses numbers that are no probabilities, and a restart at every 0-th request.
    pub fn check(&self) -> Result<()> {
        let all = [self.fail_429, self.fail_500, self.fail_503, self.lose_answer, self.drop, self.lie];
        let all = all.into_iter().chain(self.delay.map(|delay| delay.probability));
        if let Some(wrong) = all.into_iter().find(|p| !(0.0..=1.0).contains(p)) {
            return Err(Error::invalid(format!("{wrong} is no probability")).with_help("write a number from 0 to 1"));
        }
        if self.restart_every == Some(0) {
            return Err(Error::invalid("restart_every is 0").with_help("write a number from 1"));
        }
        Ok(())
    }

    /// The fate of the `number`-th request. The same number of draws for each request, so that switching one
    /// fault on does not move the others.
    pub fn draw(&self, number: u64) -> Fate {
        const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
        let random = StdRandom::seeded(self.fault_seed ^ number.wrapping_mul(GOLDEN));
        let hit = |p: f64| ((random.next_u64() >> 11) as f64) < p * (1u64 << 53) as f64;
        let drop = hit(self.drop);
        let statuses = [(hit(self.fail_429), 429), (hit(self.fail_500), 500), (hit(self.fail_503), 503)];
        let lie = hit(self.lie);
        let lose_answer = hit(self.lose_answer);
        let delay = self.delay.filter(|delay| hit(delay.probability)).map(|delay| delay.duration);
        if self.restart_every.is_some_and(|every| number.is_multiple_of(every)) {
            return Fate::Restart;
        }
        if drop {
            return Fate::Drop;
        }
        if let Some((_, status)) = statuses.into_iter().find(|(hit, _)| *hit) {
            return Fate::Status(status);
        }
        if lie { Fate::Lie } else { Fate::Handle { delay, lose_answer } }
    }
}
