//! Simulated targets: REST receivers that remember ids, or do not, and everything that can happen on the way to them.

use std::collections::HashMap;

use async_trait::async_trait;
use tidegate_core::{Error, Result};
use tidegate_delivery::config::{Idempotency, OnExhausted};
use tidegate_delivery::{CONTENT_HASH_HEADER, DeadLetterStore, HttpFault, HttpRequest, HttpResponse, HttpTransport};

use crate::config::{Config, TARGETS};
use crate::draw::{Draw, mix};
use crate::environment;
use crate::fault::{Fault, Site};
use crate::plant::{self, Plant};
use crate::rows;
use crate::world::{Cell, HOUR, MINUTE, MS, Micros, SECOND, Shared, World};

struct Known {
    hash: String,
    applied: bool,
    at: Micros,
}

/// One receiver.
pub struct Receiver {
    idempotency: Idempotency,
    /// It looks an id up before it validates, and a rejected id stays rejected.
    looks_up_first: bool,
    /// It remembers ids for so long.
    memory: Micros,
    known: HashMap<String, Known>,
    /// Rows that are sometimes refused are refused now.
    strict: bool,
    /// A request may arrive twice: not where a late second one would contradict what was decided about the first.
    repeats_are_harmless: bool,
    down_until: Micros,
    /// The person at rest: takes everything and has looked up what it once knew.
    mended: bool,
}

/// All receivers, and what was kept of dead letters.
pub struct Targets {
    receivers: Vec<Receiver>,
    /// Lines of dead letters by id.
    pub letters: HashMap<String, String>,
}

/// A target remembers longer than it promises: clocks differ, and a request may be on its way.
const MARGIN: Micros = 2 * HOUR;

impl Targets {
    /// The receivers of a layout.
    pub fn new(config: &Config) -> Self {
        let receivers = TARGETS.iter().filter_map(|name| config.rest(name)).map(|rest| Receiver {
            idempotency: rest.idempotency.clone(),
            looks_up_first: rest.promise.rejections_are_final,
            memory: rest.promise.remembers_ids.as_micros() as u64 + MARGIN,
            known: HashMap::new(),
            strict: false,
            repeats_are_harmless: rest.promise.rejections_are_final && rest.on_exhausted == OnExhausted::Block,
            down_until: 0,
            mended: false,
        });
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
}

type Heard = Result<HttpResponse, HttpFault>;

fn status(status: u16) -> HttpResponse {
    HttpResponse { status, complete: true, ..HttpResponse::default() }
}

impl World {
    fn send_request(&mut self, environment: usize, request: HttpRequest) -> Cell<Heard> {
        let cell = Cell::default();
        let Some(target) = TARGETS.iter().position(|name| request.url.starts_with(&format!("https://{name}.test/")))
        else {
            cell.fill(Err(HttpFault::Unsendable("no such host".into())));
            return cell;
        };
        let timeout = request.timeout.as_micros() as u64;
        let (there, back) = (self.latency(environment), self.latency(environment));
        self.note(41, || format!("  env {environment} sends {}", story(target, &request)));
        let request = plant::request(self, environment, request);
        match self.strike(environment, Site::Http) {
            None => self.transfer((environment, target), request, (there, back), timeout, &cell, None),
            Some((fault, draw)) => {
                self.transfer_faulty((environment, target), request, (there, back), timeout, &cell, (fault, draw));
            }
        }
        cell
    }

    /// Carries a request to its target and the answer back; `instead` replaces the answer.
    fn transfer(
        &mut self,
        (sender, target): (usize, usize),
        request: HttpRequest,
        (there, back): (Micros, Micros),
        timeout: Micros,
        cell: &Cell<Heard>,
        instead: Option<Heard>,
    ) {
        let cell = cell.clone();
        if there + back >= timeout {
            let late = cell.clone();
            self.later(timeout, move |_| late.fill(Err(HttpFault::TimedOut)));
        }
        self.later(there, move |world| {
            let heard = world.arrive(sender, target, &request);
            let heard = instead.unwrap_or(heard);
            if there + back < timeout {
                world.later(back, move |_| cell.fill(heard));
            }
        });
    }

    fn transfer_faulty(
        &mut self,
        (sender, target): (usize, usize),
        request: HttpRequest,
        (there, back): (Micros, Micros),
        timeout: Micros,
        cell: &Cell<Heard>,
        (fault, mut draw): (Fault, Draw),
    ) {
        let ways = (there, back);
        let lost = || Err(HttpFault::Lost("connection reset".into()));
        match fault {
            Fault::HttpNotConnected => answer(self, back, cell, Err(HttpFault::NotConnected("refused".into()))),
            Fault::HttpLostBefore => answer(self, there, cell, lost()),
            Fault::HttpLostAfter => self.transfer((sender, target), request, ways, timeout, cell, Some(lost())),
            Fault::HttpTimedOutBefore => answer(self, timeout, cell, Err(HttpFault::TimedOut)),
            Fault::HttpTimedOutAfter => self.transfer((sender, target), request, (there, timeout), timeout, cell, None),
            Fault::HttpLandsLater => {
                answer(self, timeout, cell, Err(HttpFault::TimedOut));
                self.later(timeout + draw.spread(MS, 30 * MINUTE), move |world| {
                    drop(world.arrive(sender, target, &request))
                });
            }
            Fault::HttpTwice => {
                let receiver = &self.targets.receivers[target];
                if receiver.repeats_are_harmless && receiver.idempotency != Idempotency::None {
                    let again = request.clone();
                    let lands = there + draw.spread(MS, 10 * MINUTE);
                    self.later(lands, move |world| drop(world.arrive(sender, target, &again)));
                }
                self.transfer((sender, target), request, ways, timeout, cell, None);
            }
            Fault::Http500Applied => {
                self.transfer((sender, target), request, ways, timeout, cell, Some(Ok(status(500))))
            }
            Fault::Http408 => self.transfer((sender, target), request, ways, timeout, cell, Some(Ok(status(408)))),
            Fault::Http500NotApplied => answer(self, back, cell, Ok(status(500))),
            Fault::Http503 => answer(self, back, cell, Ok(status(503))),
            Fault::Http429 => answer(self, back, cell, Ok(status(429))),
            Fault::Http429RetryAfter => {
                let seconds = draw.within(1, 90).to_string();
                answer(self, back, cell, Ok(HttpResponse { retry_after: Some(seconds), ..status(429) }));
            }
            Fault::Http409 => answer(self, back, cell, Ok(status(409))),
            Fault::HttpErrorInside => {
                let body = bytes::Bytes::from_static(b"{\"error\":\"try later\"}");
                answer(self, back, cell, Ok(HttpResponse { body, ..status(200) }));
            }
            Fault::Http401 => answer(self, back, cell, Ok(status(401))),
            Fault::Http404 => answer(self, back, cell, Ok(status(404))),
            Fault::Http302 => answer(self, back, cell, Ok(status(302))),
            Fault::TargetChangesItsRules => {
                // The worst moment: the request is taken, its answer is lost, and then the rule changes.
                self.transfer((sender, target), request, ways, timeout, cell, Some(lost()));
                self.later(there + 1, move |world| {
                    let receiver = &mut world.targets.receivers[target];
                    // Without the promise, a rule only becomes stricter: what was refused is not taken later.
                    receiver.strict = !(receiver.strict && receiver.looks_up_first);
                });
            }
            Fault::TargetDown => {
                self.targets.receivers[target].down_until = self.now + draw.spread(SECOND, 3 * HOUR);
                self.transfer((sender, target), request, ways, timeout, cell, None);
            }
            _ => {
                let slow = draw.spread(50 * MS, 20 * SECOND);
                self.transfer((sender, target), request, (there + slow, back), timeout, cell, None);
            }
        }
    }

    /// A request arrives at a target.
    fn arrive(&mut self, sender: usize, target: usize, request: &HttpRequest) -> Heard {
        let now = self.now;
        let alive = self.environments[sender].alive;
        let receiver = &mut self.targets.receivers[target];
        if receiver.mended && !alive {
            // A person has ended every sender before the rules were changed: what they had sent does not arrive any more.
            return Err(HttpFault::Lost("the connection was closed".into()));
        }
        if receiver.down_until > now {
            return Ok(status(503));
        }
        let id = id_of(&receiver.idempotency, request);
        let hash = header(request, CONTENT_HASH_HEADER).unwrap_or_default().to_owned();
        let body = std::str::from_utf8(&request.body).unwrap_or_default();
        let rows = rows::split(body);
        let memory = receiver.memory;
        let known = id.as_ref().and_then(|id| receiver.known.get(id));
        let known = known.filter(|known| !receiver.mended || known.applied);
        let known = known.filter(|known| receiver.mended || known.at.saturating_add(memory) >= now);
        let refused = !receiver.mended && rows.iter().any(|row| rows::refused(row, receiver.strict));
        if let Some(known) = known
            && (receiver.looks_up_first || receiver.mended || !refused || !known.applied)
        {
            let (same, applied) = (known.hash == hash, known.applied);
            if !same {
                let id = id.unwrap_or_default();
                self.check.broken("I5", || format!("effect id {id} came with two different bodies"));
            }
            self.note(43, || format!("  target {} knows this request", TARGETS[target]));
            self.check.path(crate::paths::Path::TargetKnewTheId);
            return Ok(HttpResponse { repeat: applied, ..status(if applied { 200 } else { 422 }) });
        }
        if refused {
            if let Some(id) = id.filter(|_| receiver.looks_up_first) {
                receiver.known.insert(id, Known { hash, applied: false, at: now });
            }
            self.note(44, || format!("  target {} refuses the content", TARGETS[target]));
            self.check.path(crate::paths::Path::TargetRefusedContent);
            return Ok(status(422));
        }
        if let Some(id) = &id {
            receiver.known.insert(id.clone(), Known { hash, applied: true, at: now });
        }
        self.note(45 + mix(0, rows.len() as u64), || {
            format!("  target {} applies {}", TARGETS[target], rows.join(" "))
        });
        self.check.effect(now, sender, target, &rows);
        Ok(status(200))
    }
}

fn answer(world: &mut World, after: Micros, cell: &Cell<Heard>, heard: Heard) {
    let cell = cell.clone();
    world.later(after, move |_| cell.fill(heard));
}

fn header<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    request.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

fn id_of(idempotency: &Idempotency, request: &HttpRequest) -> Option<String> {
    match idempotency {
        Idempotency::Header(name) => header(request, name).map(str::to_owned),
        Idempotency::Path => request.url.rsplit('/').next().map(str::to_owned),
        Idempotency::BodyField(field) => {
            let body = std::str::from_utf8(&request.body).unwrap_or_default();
            rows::text_field(body, field)
        }
        // The simulation has targets that know ids and targets that know nothing.
        Idempotency::Fenced(_) | Idempotency::LastWriterWins | Idempotency::None | Idempotency::AtMostOnce { .. } => {
            None
        }
    }
}

fn story(target: usize, request: &HttpRequest) -> String {
    let body = String::from_utf8_lossy(&request.body);
    format!("to {}: {}", TARGETS[target], rows::split(&body).join(" "))
}

/// HTTP as one environment sees it.
pub struct HttpPort {
    /// The world.
    pub world: Shared,
    /// Whose requests these are.
    pub environment: usize,
}

#[async_trait]
impl HttpTransport for HttpPort {
    async fn send(&self, request: HttpRequest) -> Heard {
        let latest = self.world.lock().now + request.timeout.as_micros() as u64;
        environment::struck(&self.world, self.environment).await;
        let cell = {
            let mut world = self.world.lock();
            // A client looks at its timeout before it writes: a request that has not left by then never leaves.
            if world.now >= latest {
                return Err(HttpFault::TimedOut);
            }
            if world.planted(Plant::SentAfterTheHandler) {
                // The handler goes on; what was left behind runs when the environment is next at work, if ever.
                let (wait, environment) = (world.dice.spread(MS, MINUTE), self.environment);
                world.later(wait, move |world| {
                    if world.environments[environment].alive {
                        drop(world.send_request(environment, request));
                    }
                });
                return Ok(status(200));
            }
            world.send_request(self.environment, request)
        };
        let heard = cell.await;
        plant::heard(&mut self.world.lock(), heard)
    }
}

/// The place for dead letters as one environment sees it.
pub struct LetterPort {
    /// The world.
    pub world: Shared,
    /// Whose letters these are.
    pub environment: usize,
}

#[async_trait]
impl DeadLetterStore for LetterPort {
    async fn keep(&self, lines: &[u8]) -> Result<()> {
        environment::struck(&self.world, self.environment).await;
        let cell = Cell::default();
        {
            let mut world = self.world.lock();
            let (there, back) = (world.latency(self.environment), world.latency(self.environment));
            let struck = world.strike(self.environment, Site::Letter).map(|(fault, _)| fault);
            let lines = String::from_utf8_lossy(lines).into_owned();
            let kept = cell.clone();
            world.later(there, move |world| {
                if struck != Some(Fault::LetterNotKept) {
                    world.keep_letters(&lines);
                }
                world.later(back, move |_| kept.fill(struck.is_none()));
            });
        }
        if cell.await { Ok(()) } else { Err(Error::unavailable("the dead letters may not be kept")) }
    }
}

impl World {
    fn keep_letters(&mut self, lines: &str) {
        for line in lines.lines() {
            let id = rows::text_field(line, "id").unwrap_or_default();
            let before = self.targets.letters.insert(id.clone(), line.to_owned());
            if before.is_some_and(|before| before != line) {
                self.check.broken("I5", || format!("dead letter {id} came with two different contents"));
            }
            self.note(46, || format!("  dead letter {line}"));
            self.check.letter(self.now, line);
        }
    }
}
