//! What is checked and counted when a write takes effect, or is refused.

use tidegate_core::outbox::SEALS;
use tidegate_delivery::payload::Payload as Request;
use tidegate_state::record::commit::{Commit, StoredEntry};
use tidegate_state::record::manifest::Manifest;
use tidegate_state::record::registry::{Phase, Registry};
use tidegate_state::record::seal::Seal;
use tidegate_state::record::{self, Payload};
use tidegate_state::{Item, ItemKey, Refusal, TransactOp};

use super::{Checker, Owed, cuts, deaths, letter_name, windows};
use crate::config::TARGETS;
use crate::environment;
use crate::paths::Path;
use crate::rows;
use crate::world::World;

/// A write took effect.
pub fn wrote(world: &mut World, environment: usize, key: &ItemKey, item: &Item) {
    let format = if item.data.first().is_some_and(|format| *format > 100) { 2 } else { 1 };
    let plain = environment::plain(item.clone());
    match key.sort.as_str() {
        "commit" => slot(world, environment, key, &plain, format),
        "manifest" => manifest(world, environment, key, &plain, format),
        "registry" => registry(world, &plain),
        "garbage" => {}
        "tries" => deaths::marked(world, environment, key, &plain),
        _ => windows::stored(world, key, &plain),
    }
}

/// Counts what a refused put has met.
pub fn count_refusal(world: &mut World, writer: usize, key: &ItemKey, item: &Item, old: Option<&Item>) {
    let Some(old) = old else { return };
    let same = old.attempt == item.attempt;
    let path = match key.sort.as_str() {
        "commit" if same => Path::SlotHoldsThisAttempt,
        "commit" if old.version > item.version => Path::SlotLongGone,
        "commit" => {
            let place = (generation_of(key), lane_id(key));
            let lane = world.check.by_name.get(&place).map(|lane| &world.check.lanes[*lane]);
            if lane.is_some_and(|lane| lane.sealed) {
                world.check.path(Path::WriterMetSeal);
            }
            let lane = world.check.by_name.get(&place).map(|lane| &world.check.lanes[*lane]);
            match lane.is_some_and(|lane| lane.writer == Some(writer)) {
                true => Path::SlotTakenByItself,
                false => Path::SlotTakenByAnother,
            }
        }
        "manifest" if same => Path::ManifestHoldsThisAttempt,
        "manifest" => Path::ManifestMovedByAnother,
        "registry" => Path::RegistryCreatedByAnother,
        "garbage" | "tries" => return,
        _ => return windows::refused(world, &environment::plain(item.clone()), &environment::plain(old.clone())),
    };
    world.check.path(path);
}

/// Counts what a refused transaction has met.
pub fn count_refused_transaction(world: &mut World, ops: &[TransactOp], refused: &[Refusal]) {
    let slot = refused.iter().any(|refusal| ops[refusal.op].key().sort == "commit");
    let close = ops[0].key().partition.contains("#$close:");
    world.check.path(match (close, slot) {
        (true, _) => Path::CloseRefused,
        (false, true) => Path::LaneRegisteredByAnother,
        (false, false) => Path::RegistryMoved,
    });
}

/// An item was removed.
pub fn removed(world: &mut World, key: &ItemKey) {
    if matches!(key.sort.as_str(), "commit" | "manifest" | "registry" | "tries") {
        world.check.broken("I10", || format!("{key} is removed"));
    } else {
        world.check.path(Path::SealRemoved);
    }
}

pub(super) fn lane_id(key: &ItemKey) -> String {
    key.partition.split('#').nth(2).unwrap_or_default().to_owned()
}

/// The generation that a key names.
pub(super) fn generation_of(key: &ItemKey) -> u64 {
    key.partition.split('#').nth(1).and_then(|number| number.parse().ok()).unwrap_or_default()
}

fn slot(world: &mut World, environment: usize, key: &ItemKey, item: &Item, format: u8) {
    let commit = match Commit::decode(&item.data) {
        Ok(commit) => commit,
        Err(error) => return world.check.broken("I1", || format!("{key}: {error}")),
    };
    let config = world.config.clone();
    let lane = world.check.lane(&config, commit.generation.0.into(), &lane_id(key));
    let content = contents(world, &lane_id(key), &commit);
    if commit.birth {
        let watch = &mut world.check.lanes[lane];
        (watch.first, watch.head, watch.checksum) = (commit.n, commit.n - 1, commit.previous);
    }
    check_chain(&mut world.check, lane, &commit, item, format);
    let owed = match content {
        Ok(content) => content,
        Err(why) => return world.check.broken("I10", || format!("commit {}: {why}", commit.n)),
    };
    count_commit(world, lane, environment, &commit, format);
    check_sealed(world, lane, environment, &commit);
    check_settled(&mut world.check, (lane, environment), &commit, &owed);
    if commit.birth {
        world.check.birth(lane, &commit, !owed.is_empty());
    } else if commit.carry {
        let watch = &mut world.check.lanes[lane];
        watch.ends.push(watch.end());
        watch.reference.remember();
    } else if world.check.lanes[lane].partition == usize::MAX {
        windows::closes(world, &commit, &owed);
        owe(world, lane, environment, &commit, &owed);
        world.check.lanes[lane].ends.push(0);
    } else {
        cuts::check(world, lane, environment, &commit, &owed);
    }
    let check = &mut world.check;
    let outstanding: Vec<String> = owed.into_iter().map(|(_, name)| name).collect();
    let watch = &mut check.lanes[lane];
    watch.outstanding = outstanding;
    watch.head = commit.n;
    watch.checksum = record::checksum(&item.data);
    watch.positions = commit.positions;
    watch.watermark = commit.watermark;
    watch.format = format;
    watch.carries = if commit.carry { watch.carries + 1 } else { 0 };
    watch.writer = Some(environment);
    watch.sealed |= commit.sealed;
    let owed = &check.owed;
    watch.open.retain(|(_, name)| !owed[name].done());
}

fn check_chain(check: &mut Checker, lane: usize, commit: &Commit, item: &Item, format: u8) {
    let watch = &check.lanes[lane];
    let (name, n, head) = (watch.name.clone(), commit.n, watch.head);
    if n != head + 1 || n != item.version {
        return check
            .broken("I1", || format!("{name}: commit {n} is written as version {} on head {head}", item.version));
    }
    if head > 0 && commit.previous != watch.checksum {
        return check.broken("I1", || format!("{name}: commit {n} does not carry the checksum of the one before it"));
    }
    if commit.ring == 0 || commit.attempt != item.attempt {
        return check.broken("I1", || format!("{name}: commit {n} is not what its item says"));
    }
    let back = watch.positions.iter().any(|(partition, at)| commit.positions.get(partition).is_none_or(|new| new < at));
    if back || commit.watermark < watch.watermark {
        return check.broken("I2", || format!("{name}: commit {n} goes back"));
    }
    if format < watch.format {
        check.broken("I2", || format!("{name}: commit {n} replaces a newer format"));
    }
}

/// A ring that is sealed takes no records, and a generation that has ended takes nothing that is not given up.
fn check_sealed(world: &mut World, lane: usize, environment: usize, commit: &Commit) {
    let check = &mut world.check;
    let watch = &check.lanes[lane];
    let (name, n, sealed, ended) = (watch.name.clone(), commit.n, watch.sealed, watch.generation < check.generation);
    if sealed && !(commit.carry && commit.sealed) {
        return check.broken("I1", || format!("{name}: commit {n} follows although the ring is sealed"));
    }
    if watch.generation < check.newest && !sealed && !commit.sealed && !commit.carry {
        return check.broken("I1", || format!("{name}: commit {n}, a newer generation was open already"));
    }
    if ended && !sealed {
        return check.broken("I1", || format!("{name}: commit {n} although its generation has ended"));
    }
    if commit.sealed && !sealed {
        let others = check.lanes.iter().filter(|other| other.generation == watch.generation && other.sealed);
        let gone_on = others.filter_map(|other| other.writer).any(|writer| writer != environment);
        let owing = !commit.outbox.is_empty();
        if check.born.is_some() {
            return;
        }
        if !check.sealing {
            return check.broken("I1", || format!("{name}: commit {n} seals the ring, nobody has asked for it"));
        }
        check.path(Path::RingSealed);
        if owing {
            check.path(Path::SealedWhileOwing);
        }
        if gone_on {
            check.path(Path::SealingGoneOnWith);
        }
    }
}

/// Everything in a commit's outbox: target and name.
pub type Content = Vec<(Option<usize>, String)>;

fn contents(world: &World, lane: &str, commit: &Commit) -> Result<Content, String> {
    let mut content = Vec::new();
    for entry in &commit.outbox {
        let bytes = payload(world, lane, commit, entry)?;
        if entry.entry.target == SEALS {
            let seal = Seal::decode(&bytes).map_err(|error| error.to_string())?;
            content.push((None, windows::name(commit.generation.0.into(), &seal)));
            continue;
        }
        match Request::decode(&bytes).map_err(|error| error.to_string())? {
            Request::Http(http) => {
                let body = String::from_utf8_lossy(&http.rows).into_owned();
                let rows = rows::split(&body);
                if rows.len() != entry.entry.rows as usize {
                    return Err(format!("a request says {} rows and has {}", entry.entry.rows, rows.len()));
                }
                let target = TARGETS.iter().position(|name| *name == entry.entry.target);
                content.extend(rows.into_iter().map(|row| (target, row)));
            }
            Request::DeadLetters(lines) => {
                let text = String::from_utf8_lossy(&lines).into_owned();
                content.extend(text.lines().map(|line| (None, letter_name(line))));
            }
            Request::Lines(_) => return Err("a dry run's lines".into()),
        }
    }
    Ok(content)
}

fn payload(world: &World, lane: &str, commit: &Commit, entry: &StoredEntry) -> Result<bytes::Bytes, String> {
    let part = match &entry.payload {
        Payload::Inline(bytes) => return Ok(bytes.clone()),
        Payload::Blob(part) => part,
    };
    let mut name =
        format!("p/{}/{}/{lane}/{}/{:032x}/", commit.incarnation, commit.generation, commit.n, commit.attempt);
    for byte in part.hash {
        name.push_str(&format!("{byte:02x}"));
    }
    let object = world.objects.get(&name).ok_or_else(|| format!("object {name} is not there"))?;
    let inner = object.get(6..object.len() - 8).unwrap_or_default();
    let content = zstd::decode_all(inner).map_err(|error| format!("object {name}: {error}"))?;
    let range = part.offset as usize..(part.offset + part.length) as usize;
    content.get(range).map(|bytes| bytes.to_vec().into()).ok_or_else(|| format!("object {name} is too short"))
}

fn count_commit(world: &mut World, lane: usize, environment: usize, commit: &Commit, format: u8) {
    let check = &mut world.check;
    let watch = &check.lanes[lane];
    let (writer, carries, before) = (watch.writer, watch.carries, watch.format);
    let ring = u64::from(commit.ring);
    let spilled = matches!(commit.delta, Payload::Blob(_))
        || commit.outbox.iter().any(|entry| matches!(entry.payload, Payload::Blob(_)));
    let deepest = commit.outbox.iter().map(|entry| entry.entry.id.index.path().len()).max().unwrap_or(0);
    let other = writer.is_some_and(|writer| writer != environment);
    let close = watch.partition == usize::MAX;
    let committed = watch.positions.values().next().copied();
    let in_part = !commit.carry && world.source.offered_at_or_below(environment, watch.partition, committed);
    let mut took = |path, yes: bool| {
        if yes {
            check.path(path);
        }
    };
    took(Path::HandOver, other);
    took(Path::CloseResumed, other && close);
    took(Path::RingWrapped, commit.n > ring);
    took(Path::RingWrappedManyTimes, commit.n > 4 * ring);
    took(Path::CommitSpilled, spilled);
    took(Path::BatchSkippedInPart, in_part);
    took(Path::CarryCommit, commit.carry);
    took(Path::CarryByAnother, commit.carry && other);
    took(Path::CarryOfCarry, commit.carry && carries == 1);
    took(Path::CarryChain, commit.carry && carries == 2);
    took(Path::RequestHalved, commit.carry && deepest == 2);
    took(Path::RequestQuartered, commit.carry && deepest > 2);
    took(Path::CommitOfNextVersion, before == 1 && format == 2);
}

/// Rule 2: what the head owes is done, or carried.
fn check_settled(check: &mut Checker, (lane, environment): (usize, usize), commit: &Commit, owed: &Content) {
    let watch = &check.lanes[lane];
    let name = watch.name.clone();
    let carried = |item: &String| commit.carry && owed.iter().any(|(_, other)| other == item);
    let left: Vec<String> =
        watch.outstanding.iter().filter(|item| !carried(item) && !check.owed[*item].done()).cloned().collect();
    let settled: Vec<String> = watch.outstanding.iter().filter(|item| !carried(item)).cloned().collect();
    let strange = owed.iter().find(|(_, item)| commit.carry && !watch.outstanding.contains(item));
    if let Some((_, item)) = strange {
        let (item, n) = (item.clone(), commit.n);
        check.broken("I4", || format!("{name}: carry commit {n} owes {item}, which the head did not"));
    }
    let taken = commit.carry && settled.is_empty() && check.lanes[lane].writer != Some(environment);
    if taken && owed.iter().any(|(_, item)| check.waits(item)) {
        check.path(Path::EarlierSenderAwaited);
    }
    settled.iter().for_each(|item| check.stands(item));
    for item in left {
        let n = commit.n;
        if check.is_once(&item) {
            check.let_go(environment, &item);
        } else {
            check.broken("I13", || format!("{name}: commit {n} follows although {item} is not settled"));
        }
    }
}

/// What a commit owes for the first time.
pub(super) fn owe(world: &mut World, lane: usize, environment: usize, commit: &Commit, owed: &Content) {
    let now = world.now;
    let name = world.check.lanes[lane].name.clone();
    for (place, (target, item)) in owed.iter().enumerate() {
        let key = rows::number_field(item, "k").unwrap_or_default();
        let since = now;
        let (applied, lettered, given_up) = (0, 0, false);
        let owed =
            Owed { target: *target, lane, n: commit.n, place, key, since, environment, applied, lettered, given_up };
        let check = &mut world.check;
        match target {
            None if item.starts_with("s/") => {}
            None => check.path(Path::PoisonBecameDeadLetter),
            Some(1) => check.path(Path::WindowClosed),
            Some(2) => check.path(Path::LateRow),
            _ => {}
        }
        check.lanes[lane].open.push((commit.n, item.clone()));
        if check.owed.insert(item.clone(), owed).is_some() {
            check.broken("I8", || format!("{name}: {item} is owed twice"));
        }
    }
}

fn manifest(world: &mut World, environment: usize, key: &ItemKey, item: &Item, _: u8) {
    let manifest = match Manifest::decode(&item.data) {
        Ok(manifest) => manifest,
        Err(error) => return world.check.broken("I2", || format!("{key}: {error}")),
    };
    let config = world.config.clone();
    let lane = world.check.lane(&config, generation_of(key), &lane_id(key));
    let check = &mut world.check;
    let before = std::mem::replace(&mut check.lanes[lane].manifest, (manifest.n, item.version));
    let watch = &check.lanes[lane];
    let (n, head) = (manifest.n, watch.head);
    let name = watch.name.clone();
    let (carries, writer) = (watch.carries, watch.writer);
    let owes = !watch.outstanding.is_empty();
    let covers = |owed: u64, item: &String| owed <= n && n == head && watch.outstanding.contains(item);
    let unsettled = watch.open.iter().filter(|(owed, item)| covers(*owed, item) && !check.owed[item].done());
    let (once, unsettled): (Vec<String>, Vec<String>) =
        unsettled.map(|(_, item)| item.clone()).partition(|item| check.is_once(item));
    once.iter().for_each(|item| check.let_go(environment, item));
    if n < before.0 || item.version <= before.1 || n > head {
        check.broken("I2", || format!("{name}: the manifest goes from {before:?} to {n}, the head is {head}"));
    }
    if let Some(item) = unsettled.first() {
        check.broken("I13", || format!("{name}: the manifest calls {n} settled although {item} is not"));
    }
    let ticks = world.environments[environment].ticks;
    let mut took = |path, yes: bool| {
        if yes {
            check.path(path);
        }
    };
    took(Path::SettledByTick, ticks && owes && n == head);
    took(Path::ManifestSpilled, matches!(manifest.snapshot, Payload::Blob(_)));
    took(Path::ManifestNamesSegment, manifest.segments.len() == 1);
    took(Path::ManifestNamesSegments, manifest.segments.len() > 1);
    took(Path::ManifestFirst, before.0 == 0);
    took(Path::ManifestAtHead, n == head);
    took(Path::ManifestBehindCarry, carries > 0 && n < head);
    took(Path::ManifestByAnother, writer != Some(environment));
}

fn registry(world: &mut World, item: &Item) {
    let Ok(registry) = Registry::decode(&item.data) else {
        return world.check.broken("I2", || "the registry cannot be read".into());
    };
    let lanes = registry.lanes.len();
    let (generation, was) = (u64::from(registry.generation.0), world.check.generation);
    let before = world.check.registry.replace((item.version, lanes));
    if before.is_some_and(|(version, _)| item.version != version + 1) {
        let now = item.version;
        world.check.broken("I2", || format!("the registry goes from {before:?} to version {now}"));
    }
    if generation != was {
        opened(world, generation);
    } else if before.is_some_and(|(_, count)| lanes < count || (world.check.sealing && lanes != count)) {
        world.check.broken("I2", || format!("the registry goes from {before:?} to {lanes} lanes"));
    }
    windows::registry(world, &registry);
    world.check.sealing = registry.phase != Phase::Open;
}

/// A generation opens: every ring of the one before is sealed, and nothing is owed that was not given up.
fn opened(world: &mut World, generation: u64) {
    let (starts, names) = world.begins_at();
    let (repairs, gives_up) = (world.repairs(), world.gives_up());
    let check = &mut world.check;
    let was = std::mem::replace(&mut check.generation, generation);
    if repairs {
        let silence = cuts::silence_after(check, was);
        check.silence.insert(generation, silence);
        check.path(Path::RepairOpened);
    }
    check.starts.insert(generation, starts);
    if names {
        check.named.insert(generation);
    }
    if gives_up {
        check.given_up.insert(was);
        check.left_in_the_middle(was);
    }
    check.warm.clear();
    check.path(Path::GenerationOpened);
    if generation <= check.newest {
        let newest = check.newest;
        return check.broken("I2", || format!("generation {generation} opens, generation {newest} was open already"));
    }
    check.newest = generation;
    if generation <= was || !check.sealing {
        return check.broken("I2", || format!("generation {generation} opens after {was}"));
    }
    let open = check.lanes.iter().find(|lane| lane.generation == was && lane.head > 0 && !lane.sealed);
    if let Some(lane) = open {
        let name = lane.name.clone();
        return check.broken("I1", || format!("generation {generation} opens, the ring of {name} is not sealed"));
    }
    let owed = check.owed.iter().filter(|(item, owed)| {
        !owed.done() && check.lanes[owed.lane].generation == was && !check.abandoned.contains(*item)
    });
    let owed: Vec<String> = owed.map(|(item, _)| item.clone()).collect();
    if owed.is_empty() {
        return;
    }
    check.path(Path::OwedAbandoned);
    check.abandoned.extend(owed.iter().cloned());
    if !gives_up {
        let item = &owed[0];
        world.check.broken("I13", || format!("generation {generation} opens although {item} is not settled"));
    }
}
