//! How a schedule is laid out: drawn from its seed, before anything happens.

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate_delivery::Target;
use tidegate_delivery::config::{
    Auth, Batch, BodyFormat, Idempotency, Method, OnExhausted, OnReject, Promise, RestTarget, Retry, Success, Template,
    TemplatePart,
};

use crate::draw::{Draw, mix};
use crate::world::{HOUR, MINUTE, Micros, SECOND};

/// The names of the targets: rows, sums per window, late rows.
pub const TARGETS: [&str; 3] = ["rows", "sums", "late"];

/// Ticks while records are produced, at most.
const MOST_TICKS: u64 = 12;

/// What is promised of a target: see docs/protocol.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Exactly once, by ids.
    ById,
    /// Exactly once and in order, by numbers that grow.
    Fenced,
    /// Right at rest: a row replaces what is at its URL.
    LastWriterWins,
    /// At least once.
    AtLeastOnce,
    /// At most once.
    AtMostOnce,
}

impl Level {
    /// The level of a target.
    pub fn of(idempotency: &Idempotency) -> Self {
        match idempotency {
            Idempotency::Header(_) | Idempotency::Path | Idempotency::BodyField(_) => Self::ById,
            Idempotency::Fenced(_) => Self::Fenced,
            Idempotency::LastWriterWins => Self::LastWriterWins,
            Idempotency::None => Self::AtLeastOnce,
            Idempotency::AtMostOnce { .. } => Self::AtMostOnce,
        }
    }
}

/// One schedule's layout.
#[derive(Clone, Debug)]
pub struct Config {
    /// The seed that everything follows from.
    pub seed: u64,
    /// Neither faults nor a second writer.
    pub calm: bool,
    /// Partitions of the source.
    pub partitions: usize,
    /// Records per partition.
    pub records: usize,
    /// Records of a batch at most.
    pub batch: usize,
    /// K.
    pub ring: u16,
    /// Bytes of an item at most, before bytes go to objects.
    pub inline_limit: usize,
    /// Bytes by which a snapshot is larger than it has to be.
    pub padding: usize,
    /// Reads that a load has in flight.
    pub load_concurrency: usize,
    /// Different keys.
    pub keys: u64,
    /// Length of a window.
    pub window: i64,
    /// How far the watermark stays behind.
    pub delay: i64,
    /// Time of an invocation.
    pub timeout: Micros,
    /// Whether an invocation takes several partitions, as with Kafka.
    pub several_partitions: bool,
    /// Whether failures of single partitions are reported.
    pub partial: bool,
    /// Over how long the records are spread.
    pub span: Micros,
    /// How often the tick is due; 0: never.
    pub tick: Micros,
    /// The targets, by name.
    pub targets: BTreeMap<String, Target>,
    /// The sums are closed over all lanes.
    pub over_lanes: bool,
    /// The source can be asked what it has.
    pub asks: bool,
    /// Windows in memory that a checkpoint moves into a segment; 0: none.
    pub flush: usize,
    /// After how long a silent lane counts as idle.
    pub idle_after: Option<Micros>,
    /// Environments may have wrong clocks.
    pub skew: bool,
}

impl Config {
    /// The layout of a seed.
    pub fn draw(seed: u64) -> Self {
        let mut draw = Draw::new(seed).part(1);
        let calm = draw.percent(3);
        let partitions = draw.pick(&[1, 1, 2, 2, 3]);
        let over_lanes = draw.percent(50) && !calm;
        let asks = draw.percent(75);
        let idle_after = (!asks || draw.percent(30)).then(|| draw.spread(MINUTE, HOUR));
        let span = draw.spread(10 * SECOND, 30 * HOUR);
        let targets = TARGETS.iter().map(|name| ((*name).to_owned(), target(name, &mut draw))).collect();
        Self {
            seed,
            calm,
            partitions,
            records: draw.within(3, 30 / partitions as u64) as usize,
            batch: draw.within(1, 8) as usize,
            ring: draw.pick(&[2, 2, 3, 4, 6, 8]),
            inline_limit: draw.pick(&[300_000, 300_000, 480]),
            padding: draw.pick(&[0, 0, 512]),
            load_concurrency: draw.pick(&[1, 4, 16]),
            keys: draw.within(1, 4),
            window: draw.pick(&[1_000, 10_000, 60_000]),
            delay: draw.pick(&[0, 500, 5_000]),
            timeout: draw.pick(&[20 * SECOND, MINUTE, 15 * MINUTE]),
            several_partitions: draw.percent(40) || calm,
            partial: draw.percent(50),
            span,
            tick: if draw.percent(40) && !calm { draw.spread(MINUTE, 6 * HOUR).max(span / MOST_TICKS) } else { 0 },
            targets,
            over_lanes,
            asks,
            // Of the seed itself: a draw more would change all that follow.
            flush: [0, 0, 1, 2, 4][(mix(seed, 5) % 5) as usize],
            idle_after: idle_after.filter(|_| !calm),
            skew: false,
        }
    }

    /// The levels of the targets, in the order of [`TARGETS`].
    pub fn levels(&self) -> [Level; 3] {
        TARGETS.map(|name| self.rest(name).map_or(Level::ById, |rest| Level::of(&rest.idempotency)))
    }

    /// How far a clock may be off: where the last writer wins, two of them differ by less than two seconds.
    pub fn most_skew(&self, usual: Micros) -> Micros {
        if self.levels().contains(&Level::LastWriterWins) { SECOND - 1 } else { usual }
    }

    /// The REST target of a name.
    pub fn rest(&self, name: &str) -> Option<&RestTarget> {
        match self.targets.get(name)? {
            Target::Rest(rest) => Some(rest),
            Target::Lines(_) => None,
        }
    }
}

fn idempotency(draw: &mut Draw) -> Idempotency {
    match draw.below(20) {
        0..6 => Idempotency::Header("Idempotency-Key".into()),
        6..8 => Idempotency::Path,
        8..11 => Idempotency::BodyField("id".into()),
        11..13 => Idempotency::None,
        13..15 => Idempotency::Fenced(412),
        15 => Idempotency::Fenced(409),
        16..18 => Idempotency::LastWriterWins,
        _ => Idempotency::AtMostOnce { offered: false },
    }
}

fn target(name: &str, draw: &mut Draw) -> Target {
    let idempotency = idempotency(draw);
    let level = Level::of(&idempotency);
    let format = match (&idempotency, draw.below(4)) {
        (Idempotency::LastWriterWins, _) | (Idempotency::BodyField(_), 0) | (_, 1) => BodyFormat::JsonObject,
        (Idempotency::BodyField(_), _) => BodyFormat::JsonArray,
        (_, 0) => BodyFormat::Ndjson,
        _ => BodyFormat::JsonArray,
    };
    let mut parts = vec![TemplatePart::Text(format!("https://{name}.test/{name}"))];
    if level == Level::LastWriterWins {
        parts.push(TemplatePart::Text("/".into()));
        parts.push(TemplatePart::Column("k".into()));
    }
    let (concurrency, ordered) = (draw.pick(&[1, 1, 2, 4]), draw.percent(80));
    Target::Rest(Box::new(RestTarget {
        url: Template { parts },
        method: if level == Level::LastWriterWins { Method::Put } else { Method::Post },
        headers: Vec::new(),
        promise: Promise {
            remembers_ids: Duration::from_micros(draw.pick(&[HOUR, 24 * HOUR, 240 * HOUR])),
            rejections_are_final: matches!(level, Level::ById | Level::Fenced) && draw.percent(40),
        },
        idempotency,
        batch: Batch { rows: draw.within(1, 5) as usize, bytes: 1_000_000, format },
        // What the pipeline file allows at these levels.
        concurrency: if level == Level::Fenced { 1 } else { concurrency },
        key: if draw.percent(50) && level != Level::LastWriterWins { Some(vec!["k".into()]) } else { None },
        ordered: ordered || matches!(level, Level::Fenced | Level::LastWriterWins),
        order_by: Vec::new(),
        rate_limit: None,
        auth: Auth::None,
        retry: Retry {
            max_elapsed: Duration::from_secs(draw.pick(&[5, 60])),
            max_attempts: draw.pick(&[1, 3, 10]),
            initial_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(10),
        },
        success: Success { status: Vec::new(), error_field: Some("error".into()) },
        on_reject: if draw.percent(85) { OnReject::DeadLetter } else { OnReject::Block },
        on_exhausted: if draw.percent(75) { OnExhausted::Block } else { OnExhausted::DeadLetter },
        timeout: Duration::from_micros(draw.pick(&[2 * SECOND, 10 * SECOND])),
    }))
}
