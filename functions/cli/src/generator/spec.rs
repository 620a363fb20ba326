//! Specifications such as `treasury?rate=100&records=2000`.

use std::fmt;
use std::time::Duration;

use tidegate_core::time::days_from_civil;
use tidegate_core::units::{format_duration, parse_duration};
use tidegate_core::{Error, Result, Timestamp};

use super::{Generator, Scenario};

/// Records unless told.
const DEFAULT_RECORDS: u64 = 10_000;

/// Seed unless told.
const DEFAULT_SEED: u64 = 7;

/// 2026-01-01T00:00:00Z, the start unless told.
const DEFAULT_START: Timestamp = Timestamp(1_767_225_600_000_000);

/// Records per second of event time at most.
const MAX_RATE: u64 = 1_000_000_000;

const PARAMETERS: [&str; 8] = ["rate", "records", "seed", "start", "disorder", "bad", "late", "pace"];

pub fn parse(text: &str) -> Result<Generator> {
    let (name, parameters) = text.split_once('?').unwrap_or((text, ""));
    let scenario = Scenario::ALL.into_iter().find(|scenario| scenario.name() == name).ok_or_else(|| {
        let names: Vec<_> = Scenario::ALL.iter().map(|scenario| scenario.name()).collect();
        Error::invalid(format!("there is no generator '{name}'"))
            .with_help(format!("generators are {}", names.join(", ")))
    })?;
    let mut generator = Generator {
        scenario,
        records: Some(DEFAULT_RECORDS),
        rate: scenario.default_rate(),
        seed: DEFAULT_SEED,
        start: DEFAULT_START,
        disorder: scenario.default_disorder(),
        bad: 0.0,
        late: scenario.default_late(),
        paced: false,
    };
    let mut seen: Vec<&str> = Vec::new();
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        let (key, value) = parameter.split_once('=').ok_or_else(|| {
            Error::invalid(format!("generator {name}: '{parameter}' has no value")).with_help("write NAME=VALUE")
        })?;
        if seen.contains(&key) {
            return Err(Error::invalid(format!("generator {name}: '{key}' is given twice")));
        }
        seen.push(key);
        set(&mut generator, key, value).map_err(|error| error.within(format!("generator {name}: {key}")))?;
    }
    Ok(generator)
}

fn set(generator: &mut Generator, key: &str, value: &str) -> Result<()> {
    match key {
        "rate" => {
            generator.rate = number(value)?;
            if !(1..=MAX_RATE).contains(&generator.rate) {
                return Err(Error::invalid(format!("{value} is not between 1 and {MAX_RATE}")));
            }
        }
        "records" if value == "endless" => generator.records = None,
        "records" => generator.records = Some(number(value)?),
        "seed" => generator.seed = number(value)?,
        "start" => generator.start = timestamp(value)?,
        "disorder" => generator.disorder = parse_duration(value)?,
        "bad" => generator.bad = share(value)?,
        "late" if generator.scenario == Scenario::Cities => generator.late = share(value)?,
        "late" => return Err(Error::invalid("only the generator cities has late records")),
        "pace" => {
            generator.paced = match value {
                "fast" => false,
                "real" => true,
                _ => return Err(Error::invalid(format!("'{value}' is no pace")).with_help("write fast or real")),
            }
        }
        _ => {
            return Err(Error::invalid("there is no such parameter")
                .with_help(format!("parameters are {}", PARAMETERS.join(", "))));
        }
    }
    Ok(())
}

fn number(value: &str) -> Result<u64> {
    value.parse().map_err(|_| Error::invalid(format!("'{value}' is no whole number")))
}

fn share(value: &str) -> Result<f64> {
    value
        .parse()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| Error::invalid(format!("'{value}' is no share")).with_help("write a number from 0 to 1"))
}

/// Reads `2026-01-01T00:00:00Z`, with or without milliseconds.
fn timestamp(value: &str) -> Result<Timestamp> {
    let wrong = || Error::invalid(format!("'{value}' is no time")).with_help("write 2026-01-01T00:00:00Z");
    let text = value.strip_suffix('Z').ok_or_else(wrong)?;
    let (text, millis) = text.split_once('.').unwrap_or((text, "000"));
    let shape = |text: &str, shape: &str| {
        text.len() == shape.len()
            && text.bytes().zip(shape.bytes()).all(|(b, s)| if s == b'0' { b.is_ascii_digit() } else { b == s })
    };
    if !shape(text, "0000-00-00T00:00:00") || !shape(millis, "000") {
        return Err(wrong());
    }
    let part = |from: usize, to: usize| text[from..to].parse::<i64>().map_err(|_| wrong());
    let (year, month, day) = (part(0, 4)?, part(5, 7)? as u32, part(8, 10)? as u32);
    let (hour, minute, second) = (part(11, 13)?, part(14, 16)?, part(17, 19)?);
    let exists = (1..=12).contains(&month) && day >= 1 && hour < 24 && minute < 60 && second < 60;
    let (next_year, next_month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    if !exists || days_from_civil(year, month, day) >= days_from_civil(next_year, next_month, 1) {
        return Err(wrong());
    }
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    Ok(Timestamp::from_millis(seconds * 1000 + millis.parse::<i64>().map_err(|_| wrong())?))
}

/// Writes the whole specification, defaults included: equal texts mean equal records.
impl fmt::Display for Generator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}?rate={}&records=", self.scenario.name(), self.rate)?;
        match self.records {
            Some(records) => write!(f, "{records}")?,
            None => f.write_str("endless")?,
        }
        let disorder = if self.disorder == Duration::ZERO { "0s".to_owned() } else { format_duration(self.disorder) };
        write!(f, "&seed={}&start={}&disorder={disorder}&bad={}", self.seed, self.start, self.bad)?;
        if self.scenario == Scenario::Cities {
            write!(f, "&late={}", self.late)?;
        }
        f.write_str(if self.paced { "&pace=real" } else { "&pace=fast" })
    }
}
