//! What can go wrong, the rule that each of it attacks, and what of it happens in a schedule.

use std::collections::BTreeSet;

use crate::draw::{Draw, mix};

/// Where a fault can strike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site {
    /// A read of an item.
    StoreRead,
    /// A query of a partition.
    StoreQuery,
    /// A conditional write.
    StorePut,
    /// A transaction.
    StoreTransact,
    /// An item is removed.
    StoreDelete,
    /// An object is written.
    BlobPut,
    /// An object is read.
    BlobGet,
    /// The source is asked about its partitions.
    View,
    /// A request to a target.
    Http,
    /// Dead letters are kept.
    Letter,
    /// An environment asks anything of the outside.
    Compute,
    /// A micro-batch is computed.
    Step,
    /// An event source mapping invokes.
    Invoke,
    /// It hears how an invocation ended.
    Answer,
    /// It tries again.
    Retry,
    /// The tick is due.
    Tick,
    /// A person does a step towards a new generation.
    Operator,
    /// The schedule is set up.
    Setup,
}

/// Sites.
pub const SITES: usize = 18;

macro_rules! faults {
    ($($name:ident: $site:ident, $rule:literal;)*) => {
        /// A kind of fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(missing_docs, reason = "each name is explained by the rule that it attacks")]
        pub enum Fault { $($name),* }

        impl Fault {
            /// All kinds.
            pub const ALL: &[Fault] = &[$(Fault::$name),*];

            /// Where it strikes.
            pub fn site(self) -> Site {
                match self { $(Self::$name => Site::$site),* }
            }

            /// The rule of the protocol that it attacks.
            pub fn rule(self) -> &'static str {
                match self { $(Self::$name => $rule),* }
            }

            /// Its name.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),* }
            }
        }
    };
}

faults! {
    ReadTimedOut: StoreRead, "a read without an answer is repeated within bounds";
    ReadThrottled: StoreRead, "throttling is neither conflict nor success";
    ReadSlow: StoreRead, "a load whose parts are of different moments is torn and repeated";
    QueryTorn: StoreQuery, "no snapshot over several items is assumed";
    DeleteLandsLater: StoreDelete, "removing garbage is never part of safety";
    PutLostBefore: StorePut, "an unknown outcome is never success";
    PutLostAfter: StorePut, "an unknown outcome is read before it is judged";
    PutLandsSecondsLater: StorePut, "a late write is judged by its condition when it lands";
    PutLandsHoursLater: StorePut, "no clock is part of safety: the ring refuses a write of any age";
    Put500Applied: StorePut, "a 500 may have been applied";
    Put500NotApplied: StorePut, "a 500 may not have been applied";
    Put503: StorePut, "a 503 is no success";
    PutThrottled: StorePut, "throttling repeats the same attempt";
    PutThrottledAfterApply: StorePut, "throttling says nothing about an earlier delivery of the request";
    PutAnswerLost: StorePut, "know your own write by its attempt token";
    PutTwice: StorePut, "a second delivery of a write changes nothing";
    PutOldItemMissing: StorePut, "a refusal without the old item is read, not guessed";
    PutTooLarge: StorePut, "a definite failure leaves the lane as it was";
    PutExpiredSignature: StorePut, "a definite failure leaves the lane as it was";
    PutSlow: StorePut, "two writers of one number: one wins";
    TransactLostBefore: StoreTransact, "a registration of unknown outcome is never success";
    TransactLostAfter: StoreTransact, "a registration of unknown outcome is read";
    TransactLandsLater: StoreTransact, "a late registration is judged by its conditions";
    TransactConflict: StoreTransact, "another transaction at work is throttling, not a conflict";
    TransactAnswerLost: StoreTransact, "know your own registration";
    TransactOldItemsMissing: StoreTransact, "a refusal without the old items is read";
    BlobPutLost: BlobPut, "bytes are durable before a commit names them";
    BlobPutAnswerLost: BlobPut, "objects are never overwritten, so writing again is harmless";
    BlobPutSlow: BlobPut, "bytes are durable before a commit names them";
    BlobGetMissing: BlobGet, "a missing object means: load again";
    BlobGetTimedOut: BlobGet, "a read without an answer is repeated within bounds";
    BlobGetTruncated: BlobGet, "an object is checked against its name";
    BlobGetCorrupt: BlobGet, "an object is checked against its name";
    SourceDoesNotAnswer: View, "idle means that the source was asked";
    SourceAnswersLate: View, "what comes after the answer is late, not lost";
    HttpNotConnected: Http, "a target that is down means an error; the source is the buffer";
    HttpLostBefore: Http, "an unknown outcome at a target is never success";
    HttpLostAfter: Http, "the same id takes effect once";
    HttpTimedOutBefore: Http, "an unknown outcome at a target is never success";
    HttpTimedOutAfter: Http, "the same id takes effect once";
    HttpLandsLater: Http, "a request that lands late is known by its id";
    HttpLandsSoon: Http, "where the last writer wins, only a row that lands after its timeout may stand behind a newer one";
    HttpLandsAtTheLast: Http, "where the last writer wins, every sender before is waited for until its deadline";
    HttpSenderDies: Http, "at most once: nobody sends what may have left";
    HttpTwice: Http, "the network may repeat a request";
    Http500Applied: Http, "a 5xx may have been applied";
    Http500NotApplied: Http, "a 5xx may not have been applied";
    Http503: Http, "a refusal is tried again";
    Http429: Http, "a refusal is tried again";
    Http429RetryAfter: Http, "a target's pause holds for all of its requests";
    Http408: Http, "a 408 is an unknown outcome";
    Http409: Http, "in progress is neither yes nor no";
    HttpErrorInside: Http, "success is judged from the whole response";
    Http401: Http, "credentials are no reason for a dead letter";
    Http404: Http, "a wrong address is no reason for a dead letter";
    Http302: Http, "a redirect is no success";
    HttpSlow: Http, "slow is not lost";
    TargetChangesItsRules: Http, "a rejection proves nothing after an unknown attempt, unless the target promises it";
    TargetDown: Http, "the lane waits while its target is down";
    LetterNotKept: Letter, "a dead letter is owed like any request";
    LetterAnswerLost: Letter, "dead letters are kept at least once, under one id";
    CrashNow: Compute, "memory is worth nothing: everything is in the commit";
    CrashSoon: Compute, "a crash at any await loses and doubles nothing";
    FreezeForMinutes: Compute, "a writer that was away finds the slot taken";
    FreezeForDays: Compute, "a writer that was away for days finds the slot taken";
    ClockJumps: Compute, "no clock is part of safety";
    OutOfMemory: Step, "an abort is no answer: the batch comes again";
    InvokedTwice: Invoke, "a batch that comes twice at the same time counts once";
    StormOfColdStarts: Invoke, "any number of writers: one wins each number";
    TwoInOneEnvironment: Invoke, "memory is taken out while somebody works with it";
    OldBatchAgain: Invoke, "what is at or below the committed position is skipped";
    OverlappingOwners: Invoke, "two owners of a partition: conditional writes decide";
    DeployOfNext: Invoke, "a writer never replaces a format newer than its own";
    ColdStart: Invoke, "a cold start sends what is owed and goes on";
    AnswerOfInvocationLost: Answer, "a batch that was done comes again and is skipped";
    PartialAnswerIgnored: Answer, "what was committed is skipped when the whole batch comes again";
    RetriedAfterTimeout: Invoke, "a try that still runs and its retry: one wins";
    RetryCutSmaller: Retry, "nothing is keyed on a batch";
    RetryCutLarger: Retry, "nothing is keyed on a batch";
    RetryBisected: Retry, "nothing is keyed on a batch";
    TickTwice: Tick, "a tick beside a tick is harmless";
    TickMissed: Tick, "nothing depends on the tick for safety";
    OperatorTwice: Operator, "sealing and opening side by side with themselves change nothing";
    OperatorGivesUp: Operator, "a sealing that stopped half way is gone on with by anybody";
    OperatorClockSkew: Operator, "no clock is part of safety";
    Split: Setup, "one transaction ends the parents and begins all children";
    Merge: Setup, "one transaction ends the parents and begins all children";
    SplitOfSplit: Setup, "children are brought forward one generation after the other";
    ChildTooEarly: Setup, "a child begins when nothing is left of its parents";
    ParallelBatches: Setup, "records that a batch has passed over are refused, not skipped";
    DiscardedBatches: Setup, "records that a batch has passed over are refused, not skipped";
    TableRestored: Setup, "a registry that is older than a mark is noticed, and the next generation gets a new number";
    SourceRecreated: Setup, "a source that is another one is noticed, and nothing of it is skipped";
    NewGeneration: Setup, "every ring is sealed before the next generation opens";
    ClockSkew: Setup, "decisions are commits, clocks are hints";
    AggregatedRecords: Setup, "a position is a number and a place within an aggregated record";
    SparsePositions: Setup, "positions compare as numbers, whatever their length";
    IdlePartition: Setup, "a silent partition holds nobody up in another lane";
    NewPartition: Setup, "a lane that begins later is late for what is closed";
    LatePartition: Setup, "late rows are late, not lost";
    PoisonRecords: Setup, "bad data is data: a dead letter in the same commit";
    DeadlyRecords: Setup, "a record that kills whoever takes it becomes a dead letter, everything else goes on";
    RejectedRows: Setup, "what a target rejects is decided by a commit before it is acted on";
    StormAtOneRecord: Setup, "a record is not given up while one that began with it may be at work";
}

/// A fault that was fired: its place among all chances for faults, which a replay can switch off.
#[derive(Clone, Copy, Debug)]
pub struct Fired {
    /// Actor and chance.
    pub id: u64,
    /// What.
    pub fault: Fault,
    /// Simulated microseconds.
    pub at: u64,
}

struct Stream {
    draw: Draw,
    chances: u64,
}

/// Which faults a schedule has, and when.
pub struct Faults {
    seed: u64,
    enabled: [Vec<Fault>; SITES],
    /// In 10,000 chances.
    rates: [u64; SITES],
    streams: std::collections::HashMap<u32, Stream>,
    only: Option<BTreeSet<u64>>,
    healed: bool,
    /// What was fired, in order.
    pub fired: Vec<Fired>,
}

impl Faults {
    /// Draws kinds and rates for a schedule. `calm`: none at all. `only`: the ones that may fire.
    pub fn draw(seed: u64, calm: bool, only: Option<BTreeSet<u64>>) -> Self {
        let mut draw = Draw::new(seed).part(77);
        let share = draw.pick(&[10, 30, 60, 100]);
        let heat = draw.pick(&[40, 100, 250, 600]);
        let mut enabled: [Vec<Fault>; SITES] = std::array::from_fn(|_| Vec::new());
        for fault in Fault::ALL {
            if draw.percent(share) && !calm {
                enabled[fault.site() as usize].push(*fault);
            }
        }
        let rates = std::array::from_fn(|site| match site {
            s if s == Site::Compute as usize => heat / 6,
            s if s == Site::StoreRead as usize => heat / 3,
            s if s == Site::Invoke as usize || s == Site::Answer as usize => heat * 3,
            s if s == Site::Retry as usize
                || s == Site::Tick as usize
                || s == Site::Setup as usize
                || s == Site::Operator as usize =>
            {
                5_000
            }
            s if s == Site::Http as usize => heat * 2,
            s if s == Site::StoreTransact as usize => heat * 8,
            s if s == Site::Letter as usize || s == Site::StoreQuery as usize => heat * 3,
            s if s == Site::StoreDelete as usize || s == Site::View as usize => heat * 3,
            s if s == Site::BlobPut as usize || s == Site::BlobGet as usize => heat * 3,
            _ => heat,
        });
        Self { seed, enabled, rates, streams: Default::default(), only, healed: false, fired: Vec::new() }
    }

    /// Asks whether a fault strikes `actor` at `site` now, and with which stream for its details.
    pub fn strike(&mut self, actor: u32, site: Site, at: u64) -> Option<(Fault, Draw)> {
        let kinds = &self.enabled[site as usize];
        if self.healed || kinds.is_empty() {
            return None;
        }
        let seed = self.seed;
        let stream = self
            .streams
            .entry(actor)
            .or_insert_with(|| Stream { draw: Draw::new(mix(seed, u64::from(actor) + 1_000)), chances: 0 });
        stream.chances += 1;
        let id = u64::from(actor) << 32 | stream.chances;
        let roll = stream.draw.number();
        if roll % 10_000 >= self.rates[site as usize] {
            return None;
        }
        let fault = kinds[((roll >> 32) as usize) % kinds.len()];
        self.accept(id, fault, at)
    }

    /// Whether a kind that belongs to the set-up of the schedule is part of it.
    pub fn has(&mut self, fault: Fault, place: u32) -> Option<Draw> {
        self.has_rarely(fault, place, 100)
    }

    /// The same in `share` of 100 schedules that could have it: for what disturbs all the rest of a schedule.
    pub fn has_rarely(&mut self, fault: Fault, place: u32, share: u64) -> Option<Draw> {
        let id = (0xffff_0000u64 + fault as u64) << 32 | u64::from(place);
        let mut draw = Draw::new(mix(self.seed, id));
        if !self.enabled[fault.site() as usize].contains(&fault) || !draw.percent(50) || !draw.percent(share) {
            return None;
        }
        self.accept(id, fault, 0).map(|(_, draw)| draw)
    }

    fn accept(&mut self, id: u64, fault: Fault, at: u64) -> Option<(Fault, Draw)> {
        if self.only.as_ref().is_some_and(|only| !only.contains(&id)) {
            return None;
        }
        self.fired.push(Fired { id, fault, at });
        Some((fault, Draw::new(mix(self.seed, id))))
    }

    /// No faults from now on.
    pub fn heal(&mut self) {
        self.healed = true;
    }

    /// Whether a kind was fired.
    pub fn saw(&self, fault: Fault) -> bool {
        self.fired.iter().any(|fired| fired.fault == fault)
    }
}
