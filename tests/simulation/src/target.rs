//! Simulated targets: REST receivers that remember ids, or do not, and everything that can happen on the way to them.

use async_trait::async_trait;
use tidegate_core::{Error, Result};
use tidegate_delivery::{DeadLetterStore, HttpFault, HttpRequest, HttpResponse, HttpTransport};

use crate::config::TARGETS;
use crate::draw::Draw;
use crate::environment;
use crate::fault::{Fault, Site};
use crate::plant::{self, Plant};
use crate::rows;
use crate::world::{Cell, HOUR, MINUTE, MS, Micros, SECOND, Shared, World};

mod receiver;

pub use receiver::{Arrival, Targets};

/// An answer to a request.
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
            let late = there >= timeout;
            let heard = world.arrive(&Arrival { sender, target, request: &request, late });
            let heard = instead.unwrap_or(heard);
            if there + back < timeout {
                world.later(back, move |_| cell.fill(heard));
            }
        });
    }

    /// A copy of a request arrives when nobody waits for it.
    fn lands_late(&mut self, (sender, target): (usize, usize), request: HttpRequest, lands: Micros) {
        self.later(lands, move |world| {
            drop(world.arrive(&Arrival { sender, target, request: &request, late: true }));
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
            Fault::HttpLandsSoon | Fault::HttpLandsLater => {
                answer(self, timeout, cell, Err(HttpFault::TimedOut));
                let longest = if fault == Fault::HttpLandsSoon { 20 * SECOND } else { 30 * MINUTE };
                self.lands_late((sender, target), request, timeout + draw.spread(MS, longest));
            }
            Fault::HttpLandsAtTheLast => {
                // Its sender gives up in the next moment, and whoever waits for that sender has waited long enough.
                let last = timeout.saturating_sub(1);
                self.transfer((sender, target), request, (last, timeout), timeout, cell, None);
            }
            Fault::HttpSenderDies => {
                self.transfer((sender, target), request, ways, timeout, cell, None);
                self.kill(sender);
            }
            Fault::HttpTwice => {
                if self.targets.receivers[target].repeats_are_harmless {
                    self.lands_late((sender, target), request.clone(), there + draw.spread(MS, 10 * MINUTE));
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
            // Where 409 is the word of a fence, nothing else is told with it.
            Fault::Http409 if self.targets.receivers[target].fence_status() == Some(409) => {
                answer(self, back, cell, Ok(status(500)));
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
}

fn answer(world: &mut World, after: Micros, cell: &Cell<Heard>, heard: Heard) {
    let cell = cell.clone();
    world.later(after, move |_| cell.fill(heard));
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
            crate::check::leaves(&mut world, self.environment, &request);
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
            if before.is_some_and(|before| before != line) && !self.check.is_restored() {
                self.check.broken("I5", || format!("dead letter {id} came with two different contents"));
            }
            self.note(46, || format!("  dead letter {line}"));
            self.check.letter(self.now, line);
        }
    }
}
