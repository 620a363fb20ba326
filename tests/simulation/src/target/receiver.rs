//! The receivers of a schedule, each with the memory that its level asks for.

use std::collections::{HashMap, HashSet};

use tidegate_delivery::config::{Idempotency, OnExhausted, RestTarget};
use tidegate_delivery::{
    CONTENT_HASH_HEADER, FENCE_LANE_HEADER, FENCE_NUMBER_HEADER, HttpFault, HttpRequest, HttpResponse,
};

use super::{Heard, status};
use crate::config::{Config, Level, TARGETS};
use crate::draw::mix;
use crate::paths::Path;
use crate::plant::{self, Plant};
use crate::rows;
use crate::world::{HOUR, Micros, World};

struct Known {
    hash: String,
    applied: bool,
    at: Micros,
}

/// The last number of a fence's lane, and the hash of the body that it came with.
struct Fence {
    number: String,
    hash: String,
}

/// One receiver.
pub struct Receiver {
    idempotency: Idempotency,
    /// What it promises of repeats.
    pub level: Level,
    /// It looks an id or a number up before it validates, and what is rejected stays rejected.
    pub looks_up_first: bool,
    /// It remembers ids for so long.
    memory: Micros,
    known: HashMap<String, Known>,
    fences: HashMap<String, Fence>,
    /// Numbers of fences that were rejected for their content.
    rejected: HashSet<(String, String)>,
    /// Rows that are sometimes refused are refused now.
    pub strict: bool,
    /// A request may arrive twice: not where a late second one would contradict what was decided about the first.
    pub repeats_are_harmless: bool,
    /// It answers 503 until then.
    pub down_until: Micros,
    /// The person at rest: takes everything and has looked up what it once knew.
    mended: bool,
}

/// All receivers, and what was kept of dead letters.
pub struct Targets {
    /// In the order of [`TARGETS`].
    pub receivers: Vec<Receiver>,
    /// Lines of dead letters by id.
    pub letters: HashMap<String, String>,
}

/// A target remembers longer than it promises: clocks differ, and a request may be on its way.
const MARGIN: Micros = 2 * HOUR;

impl Receiver {
    fn new(rest: &RestTarget) -> Self {
        let level = Level::of(&rest.idempotency);
        let knows = matches!(level, Level::ById | Level::Fenced);
        let decided = rest.promise.rejections_are_final && rest.on_exhausted == OnExhausted::Block;
        Self {
            idempotency: rest.idempotency.clone(),
            level,
            looks_up_first: rest.promise.rejections_are_final,
            memory: rest.promise.remembers_ids.as_micros() as u64 + MARGIN,
            known: HashMap::new(),
            fences: HashMap::new(),
            rejected: HashSet::new(),
            strict: false,
            // Where the last writer wins, a second one changes nothing, unless a newer row came between.
            repeats_are_harmless: knows && decided || level == Level::LastWriterWins,
            down_until: 0,
            mended: false,
        }
    }

    /// The status with which a fence refuses what is not newer.
    pub fn fence_status(&self) -> Option<u16> {
        match self.idempotency {
            Idempotency::Fenced(status) => Some(status),
            _ => None,
        }
    }
}

impl Targets {
    /// The receivers of a layout.
    pub fn new(config: &Config) -> Self {
        let receivers = TARGETS.iter().filter_map(|name| config.rest(name)).map(Receiver::new);
        Self { receivers: receivers.collect(), letters: HashMap::new() }
    }

    /// Whatever was down is up again.
    pub fn heal(&mut self) {
        self.receivers.iter_mut().for_each(|receiver| receiver.down_until = 0);
    }

    /// What a person does when lanes have stopped: every receiver takes everything and knows again what it once knew.
    pub fn mend(&mut self) {
        for receiver in &mut self.receivers {
            receiver.mended = true;
            receiver.down_until = 0;
        }
    }

    /// Every fence starts anew.
    pub fn forget_fences(&mut self) {
        self.receivers.iter_mut().for_each(|receiver| receiver.fences.clear());
    }
}

/// A request that arrives.
pub struct Arrival<'a> {
    /// The environment that sent it.
    pub sender: usize,
    /// Place in [`TARGETS`].
    pub target: usize,
    /// What was sent.
    pub request: &'a HttpRequest,
    /// Its sender does not wait for it any more.
    pub late: bool,
}

/// What a receiver sees of a request.
struct Content {
    hash: String,
    rows: Vec<String>,
    refused: bool,
}

impl World {
    /// A request arrives at a target.
    pub(super) fn arrive(&mut self, arrival: &Arrival<'_>) -> Heard {
        let alive = self.environments[arrival.sender].alive;
        let receiver = &self.targets.receivers[arrival.target];
        if receiver.mended && !alive {
            // A person has ended every sender before the rules were changed: what they had sent does not arrive any more.
            return Err(HttpFault::Lost("the connection was closed".into()));
        }
        if receiver.down_until > self.now {
            return Ok(status(503));
        }
        let hash = header(arrival.request, CONTENT_HASH_HEADER).unwrap_or_default().to_owned();
        let rows = rows::split(std::str::from_utf8(&arrival.request.body).unwrap_or_default());
        let refused = !receiver.mended && rows.iter().any(|row| rows::refused(row, receiver.strict));
        let content = Content { hash, rows, refused };
        match receiver.level {
            Level::ById => self.arrive_with_id(arrival, &content),
            Level::Fenced => self.arrive_at_fence(arrival, &content),
            _ if refused => self.refuse(arrival.target, &content),
            _ => self.take_effect(arrival, &content),
        }
    }

    fn refuse(&mut self, target: usize, content: &Content) -> Heard {
        self.note(44, || format!("  target {} refuses the content", TARGETS[target]));
        self.check.path(Path::TargetRefusedContent);
        self.check.refused_content(&content.rows);
        Ok(status(422))
    }

    fn take_effect(&mut self, arrival: &Arrival<'_>, content: &Content) -> Heard {
        let (rows, late) = (&content.rows, arrival.late);
        self.note(45 + mix(0, rows.len() as u64), || {
            let when = if late { ", late" } else { "" };
            format!("  target {} applies {}{when}", TARGETS[arrival.target], rows.join(" "))
        });
        self.check.effect(self.now, arrival, rows);
        Ok(status(200))
    }

    fn arrive_with_id(&mut self, arrival: &Arrival<'_>, content: &Content) -> Heard {
        let (now, target) = (self.now, arrival.target);
        let receiver = &mut self.targets.receivers[target];
        let id = id_of(&receiver.idempotency, arrival.request).unwrap_or_default();
        let (memory, mended) = (receiver.memory, receiver.mended);
        let known = receiver.known.get(&id).filter(|known| !mended || known.applied);
        let known = known.filter(|known| mended || known.at.saturating_add(memory) >= now);
        if let Some(known) = known
            && (receiver.looks_up_first || mended || !content.refused || !known.applied)
        {
            let (same, applied) = (known.hash == content.hash, known.applied);
            if !same {
                self.check.broken("I5", || format!("effect id {id} came with two different bodies"));
            }
            self.note(43, || format!("  target {} knows this request", TARGETS[target]));
            self.check.path(Path::TargetKnewTheId);
            return Ok(HttpResponse { repeat: applied, ..status(if applied { 200 } else { 422 }) });
        }
        let known = Known { hash: content.hash.clone(), applied: !content.refused, at: now };
        if !content.refused || receiver.looks_up_first {
            receiver.known.insert(id, known);
        }
        if content.refused { self.refuse(target, content) } else { self.take_effect(arrival, content) }
    }

    fn arrive_at_fence(&mut self, arrival: &Arrival<'_>, content: &Content) -> Heard {
        let target = arrival.target;
        let (ignored, moves) = (self.planted(Plant::FenceIgnored), self.planted(Plant::RejectionMovesFence));
        let field = |name| header(arrival.request, name).unwrap_or_default().to_owned();
        let (lane, number) = (field(FENCE_LANE_HEADER), field(FENCE_NUMBER_HEADER));
        let receiver = &mut self.targets.receivers[target];
        let newest = receiver.fences.get(&lane).filter(|_| !ignored);
        let old = newest.filter(|newest| number <= newest.number);
        if let Some(newest) = old
            && (receiver.looks_up_first || receiver.mended || !content.refused)
        {
            let contradicts = number == newest.number && content.hash != newest.hash;
            let refused = receiver.fence_status().unwrap_or_default();
            if contradicts {
                self.check.broken("I5", || format!("number {number} of {lane} came with two different bodies"));
            }
            self.note(47, || format!("  target {} has a newer number", TARGETS[target]));
            self.check.path(Path::FenceRefusedRepeat);
            return Ok(status(refused));
        }
        let place = (lane, number);
        let before = receiver.looks_up_first && !receiver.mended && receiver.rejected.contains(&place);
        if content.refused && moves {
            receiver.fences.insert(place.0, Fence { number: place.1, hash: content.hash.clone() });
            return self.refuse(target, content);
        }
        if content.refused || before {
            receiver.rejected.insert(place);
            return self.refuse(target, content);
        }
        receiver.fences.insert(place.0, Fence { number: place.1, hash: content.hash.clone() });
        plant::after_fence(self);
        self.take_effect(arrival, content)
    }
}

fn header<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    request.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

fn id_of(idempotency: &Idempotency, request: &HttpRequest) -> Option<String> {
    match idempotency {
        Idempotency::Header(name) => header(request, name).map(str::to_owned),
        Idempotency::Path => request.url.rsplit('/').next().map(str::to_owned),
        Idempotency::BodyField(field) => {
            rows::text_field(std::str::from_utf8(&request.body).unwrap_or_default(), field)
        }
        Idempotency::Fenced(_) | Idempotency::LastWriterWins | Idempotency::None | Idempotency::AtMostOnce { .. } => {
            None
        }
    }
}
