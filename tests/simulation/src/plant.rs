//! Mistakes that are planted to see that the checks find them: in the world that the code runs in, or in a policy
//! handed to it. The code itself has no branch for them.

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate_core::{ErrorKind, Position, Sequence};
use tidegate_delivery::config::Idempotency;
use tidegate_delivery::{HttpFault, HttpRequest, HttpResponse, Target};
use tidegate_lane::{Backlog, Descent, LaneOptions, Sent};
use tidegate_state::record::commit::Commit;
use tidegate_state::record::registry::Registry;
use tidegate_state::record::tries::Tries;
use tidegate_state::{Condition, Item, ItemKey, PutOutcome, StoreError, TransactOutcome};

use crate::config::Config;
use crate::environment::{self, PartResult};
use crate::store::{Answer, Write, Wrote};
use crate::world::{HOUR, Micros, World};

/// How long an object is unreferenced before it is removed: longer than anything is frozen or on its way.
pub const GARBAGE_HORIZON: Micros = 130 * HOUR;

macro_rules! plants {
    ($($name:ident: $rule:literal;)*) => {
        /// A planted mistake.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "each has the rule that it breaks beside it")]
        pub enum Plant { $($name),* }

        impl Plant {
            /// All of them.
            pub const ALL: &[Plant] = &[$(Plant::$name),*];

            /// The rule that it breaks.
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

plants! {
    SlotConditionIgnored: "commit n is put on condition";
    ManifestConditionIgnored: "a manifest moves by compare-and-swap";
    ManifestConditionOnlyLarger: "a manifest moves by compare-and-swap on the version that was read";
    RegistryConditionIgnored: "registrations are conditional";
    TransactionsAreNotAtomic: "a lane is registered with its first commit or not at all";
    WritesLost: "what was answered with success is durable";
    RefusalAnsweredAsSuccess: "a refusal is no success";
    UnknownAnsweredAsSuccess: "an unknown outcome is never success";
    ThrottlingAnsweredAsSuccess: "throttling is no success";
    EveryRefusalLooksOwn: "know your own write by its attempt, not by its writer";
    ReadsAreStale: "reads are strongly consistent";
    MemoryOutlivesErrors: "memory follows the store";
    OldCommitsExpire: "nothing is deleted on the way";
    ManifestsExpire: "nothing is deleted on the way";
    ObjectsCollectedTooEarly: "what is named is kept";
    NewerFormatOverwritten: "a writer never replaces a format newer than its own";
    PositionsComparedAsText: "positions compare as numbers";
    PositionsCountedPerBatch: "nothing is keyed on a batch";
    RestoreForgetsLastDelta: "state is the snapshot and all deltas";
    RestoreForgetsSnapshot: "state is the snapshot and all deltas";
    RestoreAppliesDeltaTwice: "each delta counts once";
    RestoreForgetsSegment: "state is the snapshot, its segments and all deltas";
    SegmentsBringBackWhatEnded: "windows that have ended are dropped with their segments";
    LateRowsDropped: "late rows are in the late output";
    PoisonFailsTheBatch: "bad data is data";
    WavesIgnored: "requests of one lane leave in order";
    TimeoutAtTargetIsSuccess: "an unknown outcome at a target is never success";
    ServerErrorIsSuccess: "success is judged from the response";
    InProgressIsSuccess: "in progress is neither yes nor no";
    ErrorInsideIsSuccess: "success is judged from the whole response";
    TroubleIsRejection: "only 400, 413 and 422 reject content";
    BusyIsRejection: "a passing fault is no rejection";
    UnknownIsRejection: "an unknown outcome is never a dead letter";
    NewIdPerAttempt: "the id is the same over all attempts";
    IdWithoutLane: "the id names the lane";
    IdWithoutNumber: "the id names the commit";
    BodyRecomputed: "what is sent is what was committed";
    RejectionAlwaysProof: "a rejection after an unknown attempt proves nothing";
    ErrorsAnsweredAsSuccess: "success only when the outbox is settled";
    SentAfterTheHandler: "nothing outlives the handler";
    SealsLoseRows: "a seal holds all of the lane's rows";
    SealsSayTooMuch: "proof of sealing is what the lane has handed over";
    SealsNotStored: "a seal leaves the lane like any other effect";
    SealsExpire: "a seal is kept until its windows are closed";
    NewLaneBeginsAnywhere: "a new lane is late for what is closed";
    PartitionsNotListed: "before anything is closed, every partition of the source has its lane";
    BacklogOverlooked: "idle means that the source was asked";
    OpenedBeforeSealed: "every ring is sealed before the next generation opens";
    RegistryRemembered: "who has nothing to commit asks whether its generation goes on";
    RepairSendsAgain: "a repair is silent up to the old positions";
    GarbageWithoutHorizon: "what is removed was found unreferenced twice, a horizon apart";
    LineageOverlooked: "what continues others begins with what they leave";
    ChildrenInheritNothing: "open windows go to exactly one child";
    ChildrenInheritTwice: "open windows go to exactly one child";
    ChildrenInheritOfOthers: "open windows go to the child that takes their keys";
    IdWithoutGeneration: "the id names the generation";
    SilenceRunsAhead: "silence moves a watermark to what was seen, not beyond";
    QueriesMissTheEnd: "a query is paged to its end";
    MarksForgotten: "marks outlive the table";
    IdentityIgnored: "a source that was created again is another one";
    MarkersNotWritten: "who begins a batch leaves a marker";
    BeginningForgotten: "a generation reads behind the positions that its opening names";
    DeadlinesForgotten: "a record is not given up while one that began with it may be at work";
    DeathsCountedTwice: "three environments must have ended with a record before it is a dead letter";
    GapsNotRefused: "records that a batch has passed over are refused, not skipped";
    TargetForgetsSooner: "what a target may have forgotten is not sent again";
    FenceIgnored: "a fence refuses what is not newer";
    FenceForgets: "a fence never forgets its number";
    FenceWithoutLane: "each lane has a fence of its own";
    FenceCalledInProgress: "what a fence refuses took effect before";
    RejectionMovesFence: "a rejection for content does not move the fence";
    EarlierSendersNotAwaited: "where the last writer wins, every earlier sender is waited for";
    ManifestNotMovedAtOnce: "where repeats count, the manifest is moved right after sending";
    RepeatsNotCounted: "each repeat is counted";
    SentOnceLikeAnyOther: "what is sent at most once is not sent again after a crash";
    UnknownLooksRefused: "at most once, an unknown outcome is final";
    UnknownNotCounted: "what is let go without an answer is counted";
}

fn is_slot(key: &ItemKey) -> bool {
    key.sort == "commit"
}

fn is_manifest(key: &ItemKey) -> bool {
    key.sort == "manifest"
}

fn is_seal(key: &ItemKey) -> bool {
    key.partition.contains("#seals#")
}

/// The partitions that the source lists.
pub fn partitions(world: &World, mut names: Vec<String>) -> Vec<String> {
    if world.planted(Plant::PartitionsNotListed) {
        names.retain(|name| world.check.is_registered(name));
    }
    names
}

/// Where partitions come from, as the source says.
pub fn lineage(world: &World, lineage: Vec<Descent>) -> Vec<Descent> {
    if world.planted(Plant::LineageOverlooked) { Vec::new() } else { lineage }
}

/// What the source says about a partition's backlog.
pub fn backlog(world: &World, backlog: Backlog) -> Backlog {
    if world.planted(Plant::BacklogOverlooked) { Backlog::Empty } else { backlog }
}

/// The items that a query shows.
pub fn query(world: &World, mut items: Vec<(ItemKey, Item)>) -> Vec<(ItemKey, Item)> {
    if world.planted(Plant::QueriesMissTheEnd) && items.len() > 2 {
        items.pop();
    }
    items
}

/// Whether a put takes effect.
pub fn holds(world: &World, key: &ItemKey, item: &Item, condition: Condition, old: Option<&Item>) -> bool {
    match world.plant {
        Some(Plant::SlotConditionIgnored) if is_slot(key) => true,
        Some(Plant::ManifestConditionIgnored) if is_manifest(key) => true,
        Some(Plant::ManifestConditionOnlyLarger) if is_manifest(key) => {
            condition.holds(old) || {
                // The version of the item is a counter; the number of the commit is what such a rule would look at.
                let n = |item: &Item| manifest_number(item);
                old.is_none_or(|old| n(old) < n(item))
            }
        }
        _ => condition.holds(old),
    }
}

fn manifest_number(item: &Item) -> u64 {
    let item = environment::plain(item.clone());
    tidegate_state::record::manifest::Manifest::decode(&item.data).map_or(0, |manifest| manifest.n)
}

/// Whether a write is dropped although it is answered with success.
pub fn loses_write(world: &mut World, key: &ItemKey) -> bool {
    match world.plant {
        Some(Plant::WritesLost) => is_slot(key) && world.dice.percent(10),
        Some(Plant::MarkersNotWritten) => key.sort == "tries",
        Some(Plant::SealsNotStored) => is_seal(key) && world.dice.percent(30),
        _ => false,
    }
}

/// What else happens when a write takes effect.
pub fn after_write(world: &mut World, key: &ItemKey) {
    let (plant, later) = match world.plant {
        Some(plant @ (Plant::OldCommitsExpire | Plant::ManifestsExpire)) => (plant, 30 * crate::world::MINUTE),
        Some(plant @ Plant::SealsExpire) => (plant, crate::world::MINUTE),
        Some(plant @ Plant::ObjectsCollectedTooEarly) => (plant, 10 * crate::world::SECOND),
        _ => return,
    };
    let expires = match plant {
        Plant::OldCommitsExpire => is_slot(key),
        Plant::ManifestsExpire => is_manifest(key),
        Plant::SealsExpire => is_seal(key),
        _ => true,
    };
    if !expires || world.source.at_rest {
        return;
    }
    let key = key.clone();
    let version = world.items.get(&key).map(|item| item.version);
    world.later(later, move |world| {
        if plant == Plant::ObjectsCollectedTooEarly {
            let names: Vec<String> = world.objects.names().cloned().collect();
            names.iter().for_each(|name| world.objects.remove(name));
        } else if world.items.get(&key).map(|item| item.version) == version {
            world.items.remove(&key);
        }
    });
}

/// What a read shows.
pub fn read(world: &mut World, environment: usize, key: &ItemKey) -> Option<Item> {
    let found = world.items.get(key).cloned();
    match world.plant {
        Some(Plant::ReadsAreStale) if world.dice.percent(40) => world.items.stale(key).cloned(),
        Some(Plant::MemoryOutlivesErrors) => world.check.cached(environment, key, found),
        Some(Plant::NewerFormatOverwritten) => found.map(environment::plain),
        Some(Plant::RegistryRemembered) if key.sort == "registry" => world.check.cached(environment, key, found),
        Some(plant @ (Plant::DeathsCountedTwice | Plant::DeadlinesForgotten)) if key.sort == "tries" => {
            found.map(|item| misread(item, plant))
        }
        Some(Plant::RepairSendsAgain) if key.sort == "registry" => found.map(without_origin),
        Some(Plant::OpenedBeforeSealed) if is_slot(key) && world.environments[environment].opens => {
            found.map(|item| as_if_sealed(world, key, item))
        }
        _ => found,
    }
}

/// How often a batch looks for garbage before it begins.
pub fn garbage_scans_of_a_batch(plant: Option<Plant>) -> u32 {
    if plant == Some(Plant::GarbageWithoutHorizon) { 2 } else { 0 }
}

/// For how long an object must be unreferenced.
pub fn garbage_horizon(plant: Option<Plant>) -> Duration {
    match plant {
        Some(Plant::GarbageWithoutHorizon) => Duration::ZERO,
        _ => Duration::from_micros(GARBAGE_HORIZON),
    }
}

fn misread(item: Item, plant: Plant) -> Item {
    let Ok(mut tries) = Tries::decode(&item.data) else { return item };
    match plant {
        Plant::DeadlinesForgotten => tries.until = Default::default(),
        _ => tries.deaths *= 2,
    }
    tries.encode().map_or(item.clone(), |data| Item { data, ..item })
}

fn without_origin(item: Item) -> Item {
    let Ok(mut registry) = Registry::decode(&item.data) else { return item };
    registry.origin = Default::default();
    registry.encode().map_or(item.clone(), |data| Item { data, ..item })
}

/// The newest commit of a lane as it would be if it had sealed the ring.
fn as_if_sealed(world: &World, key: &ItemKey, item: Item) -> Item {
    let Ok(mut commit) = Commit::decode(&item.data) else { return item };
    let lane = key.partition.rsplit_once('#').map_or("", |(lane, _)| lane);
    let next = ItemKey::new(format!("{lane}#{}", (commit.n + 1) % u64::from(commit.ring)), "commit");
    if world.items.get(&next).is_some_and(|next| next.version > commit.n) {
        return item;
    }
    commit.sealed = true;
    commit.encode().map_or(item.clone(), |data| Item { data, ..item })
}

/// What a writer hears.
pub(crate) fn answer(world: &mut World, write: &Write, answer: Answer) -> Answer {
    let success = || match write {
        Write::Put(..) => Wrote::Put(PutOutcome::Applied),
        Write::Transact(_) => Wrote::Transact(TransactOutcome::Applied),
    };
    match (world.plant, answer) {
        (Some(Plant::RefusalAnsweredAsSuccess), Ok(_)) => Ok(success()),
        (Some(Plant::UnknownAnsweredAsSuccess), Err(StoreError::Unknown(_))) => Ok(success()),
        (Some(Plant::ThrottlingAnsweredAsSuccess), Err(StoreError::Throttled)) => Ok(success()),
        (Some(Plant::EveryRefusalLooksOwn), Ok(Wrote::Put(PutOutcome::Refused(Some(old))))) => {
            let attempt = match write {
                Write::Put(_, item, _) => item.attempt,
                Write::Transact(_) => old.attempt,
            };
            Ok(Wrote::Put(PutOutcome::Refused(Some(Item { attempt, ..old }))))
        }
        (Some(Plant::NewerFormatOverwritten), Ok(Wrote::Put(PutOutcome::Refused(Some(old))))) => {
            Ok(Wrote::Put(PutOutcome::Refused(Some(environment::plain(old)))))
        }
        (_, answer) => answer,
    }
}

/// A request as it leaves.
pub fn request(world: &mut World, environment: usize, mut request: HttpRequest) -> HttpRequest {
    let Some(plant) = world.plant else { return request };
    let token = world.environments[environment].tokens.number();
    for (name, value) in &mut request.headers {
        if name != "Idempotency-Key" {
            continue;
        }
        let mut parts: Vec<String> = value.split('/').map(str::to_owned).collect();
        match plant {
            Plant::NewIdPerAttempt => parts.push(token.to_string()),
            Plant::IdWithoutGeneration => drop(parts.remove(1)),
            Plant::IdWithoutLane => drop(parts.remove(2)),
            Plant::IdWithoutNumber => drop(parts.remove(3)),
            _ => {}
        }
        *value = parts.join("/");
    }
    let fence = |(name, _): &&mut (String, String)| name == tidegate_delivery::FENCE_LANE_HEADER;
    if plant == Plant::FenceWithoutLane
        && let Some((_, lane)) = request.headers.iter_mut().find(fence)
    {
        let mut parts: Vec<&str> = lane.split('/').collect();
        parts.remove(2);
        *lane = parts.join("/");
    }
    if plant == Plant::BodyRecomputed
        && let Ok(text) = std::str::from_utf8(&request.body)
    {
        // The same rows as computed at another moment: another value, another hash.
        let body = text.replace("\"x\":0", &format!("\"x\":0,\"at\":{}", world.now / crate::world::SECOND));
        for (name, value) in &mut request.headers {
            if name == tidegate_delivery::CONTENT_HASH_HEADER {
                *value = format!("{:x}", crate::draw::mix(body.len() as u64, world.now / crate::world::SECOND));
            }
        }
        request.body = body.into();
    }
    request
}

/// What a sender hears.
pub fn heard(world: &mut World, heard: Result<HttpResponse, HttpFault>) -> Result<HttpResponse, HttpFault> {
    let Some(plant) = world.plant else { return heard };
    let ok = |status| HttpResponse { status, complete: true, ..HttpResponse::default() };
    let status = heard.as_ref().map_or(0, |response| response.status);
    let lost = matches!(heard, Err(HttpFault::Lost(_) | HttpFault::TimedOut));
    match plant {
        Plant::TimeoutAtTargetIsSuccess if lost => Ok(ok(200)),
        Plant::ServerErrorIsSuccess if status == 500 || status == 503 => Ok(ok(200)),
        Plant::InProgressIsSuccess if status == 409 => Ok(ok(200)),
        Plant::ErrorInsideIsSuccess if status == 200 => Ok(ok(200)),
        Plant::TroubleIsRejection if matches!(status, 401 | 404) => Ok(ok(422)),
        Plant::BusyIsRejection if matches!(status, 429 | 503) => Ok(ok(422)),
        Plant::UnknownIsRejection if lost => Ok(ok(422)),
        Plant::UnknownLooksRefused if lost => Ok(ok(503)),
        Plant::FenceCalledInProgress if status == 412 => Ok(ok(422)),
        _ => heard,
    }
}

/// Where a record seems to stand.
pub fn position(plant: Option<Plant>, position: Position, place: usize) -> Position {
    match plant {
        Some(Plant::PositionsCountedPerBatch) => Position::new(place as u64 + 1),
        Some(Plant::PositionsComparedAsText) => {
            // Digits from the left, as text is compared: "10" stands before "9".
            let text = format!("{:0<40}", position.sequence.to_string());
            let sequence = Sequence::from_decimal(text.get(..40).unwrap_or(&text).as_bytes());
            Position { sequence: sequence.unwrap_or_default(), sub: position.sub }
        }
        _ => position,
    }
}

/// What an environment believes of its targets.
pub fn targets(plant: Option<Plant>, mut targets: BTreeMap<String, Target>) -> BTreeMap<String, Target> {
    for target in targets.values_mut() {
        let Target::Rest(rest) = target else { continue };
        match plant {
            Some(Plant::RejectionAlwaysProof) => rest.promise.rejections_are_final = true,
            Some(Plant::ManifestNotMovedAtOnce) if rest.idempotency.repeats_count() => {
                rest.idempotency = Idempotency::Header("Idempotency-Key".into());
                rest.promise.remembers_ids = Duration::from_secs(1 << 40);
            }
            Some(Plant::TargetForgetsSooner) => rest.promise.remembers_ids = Duration::from_secs(1 << 40),
            _ => {}
        }
    }
    targets
}

/// The layout as an environment plans its requests by it.
pub fn layout(plant: Option<Plant>, config: &Config) -> Config {
    let mut config = config.clone();
    for target in config.targets.values_mut() {
        let Target::Rest(rest) = target else { continue };
        if plant == Some(Plant::SentOnceLikeAnyOther) && matches!(rest.idempotency, Idempotency::AtMostOnce { .. }) {
            rest.idempotency = Idempotency::None;
        }
    }
    config
}

/// What an environment believes of the others that work beside it.
pub fn lane_options(plant: Option<Plant>) -> LaneOptions {
    LaneOptions { alone: plant == Some(Plant::EarlierSendersNotAwaited), ..LaneOptions::default() }
}

/// A request has passed a fence.
pub fn after_fence(world: &mut World) {
    if world.planted(Plant::FenceForgets) && world.dice.percent(20) {
        world.targets.forget_fences();
    }
}

/// What an environment says that it has sent.
pub fn sent(world: &World, sent: Sent) -> Sent {
    match world.plant {
        Some(Plant::RepeatsNotCounted) => Sent { retries: 0, ..sent },
        Some(Plant::UnknownNotCounted) => Sent { unknown: 0, ..sent },
        _ => sent,
    }
}

/// What the source says that it is.
pub fn identity(world: &World) -> String {
    if world.planted(Plant::IdentityIgnored) { String::from("stream") } else { world.source.identity() }
}

/// The names of objects that a listing shows.
pub fn listed(world: &World, mut names: Vec<String>) -> Vec<String> {
    if world.planted(Plant::MarksForgotten) {
        names.retain(|name| !name.contains("$generations"));
    }
    names
}

/// What an invocation answers.
pub fn answered(world: &World, results: &mut [PartResult]) {
    if world.planted(Plant::GapsNotRefused) {
        for result in &mut *results {
            if matches!(result, Err((_, why)) if crate::source::is_gap(why)) {
                *result = Ok(());
            }
        }
    }
    if world.planted(Plant::ErrorsAnsweredAsSuccess) {
        for result in results {
            if matches!(result, Err((ErrorKind::Unavailable, _))) {
                *result = Ok(());
            }
        }
    }
}
