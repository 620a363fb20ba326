//! Cold loads: everything is read, checked, and read again when the parts do not belong together.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use tidegate_core::{Error, ErrorKind, LaneId, LaneKey, OutboxEntry, Result, Segment, Timestamp};

use crate::blobs::{FetchError, Fetcher};
use crate::decide::{self, LoadFacts, LoadVerdict, Stored};
use crate::keys;
use crate::lane::{Covered, Head, Lane, Manifested};
use crate::pipeline::Shared;
use crate::ports::{Item, ItemKey};
use crate::record::commit::Commit;
use crate::record::manifest::Manifest;
use crate::record::registry::Registered;
use crate::record::{self, DecodeError};
use crate::retry;

/// Times that a load starts over because what it read was torn.
pub const MAX_LOAD_TRIES: u32 = 8;

/// What a load insists on.
#[derive(Clone, Debug, Default)]
pub struct LoadRules {
    /// The layout of state that this build's plan has. A committed state with another one is refused.
    pub layout: Option<Layout>,
}

/// A layout of state: its hash, and a line per stateful operator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// What is compared.
    pub fingerprint: [u8; 16],
    /// What is shown when it differs.
    pub lines: Vec<String>,
}

/// A loaded lane.
#[derive(Debug)]
pub struct Loaded {
    /// The memory of its chain.
    pub lane: Lane,
    /// The state at the manifest, or the one that the lane has inherited, if there is one.
    pub snapshot: Option<Bytes>,
    /// The rest of the state at the manifest. [`Lane::segments`] fetches them.
    pub segments: Vec<Segment>,
    /// The changes since, in commit order, up to the head. Those of carry commits are empty.
    pub deltas: Vec<Bytes>,
    /// For a lane that is not registered yet: up to where each output over lanes is closed. Its first watermark is the
    /// largest of them over the outputs of its source, since what is closed is late for it. Empty for other lanes.
    pub floors: BTreeMap<String, Timestamp>,
}

/// What a look at a lane shows.
#[derive(Clone, Debug)]
pub struct LaneReport {
    /// The lane.
    pub lane: LaneId,
    /// K: slots of its ring.
    pub ring: u16,
    /// Its head. Payloads of the outbox are left out.
    pub head: Head,
    /// Bytes of all payloads of the head's outbox.
    pub outbox_bytes: u64,
    /// The commit up to which the manifest covers; without one, the number before the lane's first.
    pub manifest_n: u64,
    /// Bytes of the snapshot in the manifest.
    pub snapshot_bytes: u64,
    /// Segments of the state at the manifest.
    pub segments: usize,
    /// Bytes in them.
    pub segment_bytes: u64,
    /// Bytes of the deltas since.
    pub delta_bytes: u64,
    /// Bytes that the head takes as an item.
    pub head_item_bytes: usize,
}

/// A consistent picture of a lane.
struct Picture {
    facts: LoadFacts,
    head: u64,
    floors: BTreeMap<String, Timestamp>,
}

impl Picture {
    fn covered(&self) -> u64 {
        decide::covered(&self.facts)
    }

    /// The commit `n`, which the checks have found.
    fn commit(&self, n: u64) -> Option<&Stored<Commit>> {
        decide::slot_of(&self.facts, n)
    }

    /// Commits behind the manifest, up to the head.
    fn tail(&self) -> impl DoubleEndedIterator<Item = &Stored<Commit>> {
        (self.covered() + 1..=self.head).filter_map(|n| self.commit(n))
    }

    fn layout_at(&self, n: u64) -> Vec<String> {
        let newest = self.tail().filter(|c| c.record.n <= n).rev().find_map(|c| c.record.layout.clone());
        newest.or_else(|| self.facts.manifest.as_ref().map(|m| m.record.layout.clone())).unwrap_or_default()
    }

    fn head(&self) -> Head {
        let Some(commit) = self.commit(self.head).map(|stored| &stored.record) else { return Head::default() };
        Head {
            n: commit.n,
            positions: commit.positions.clone(),
            ranges: commit.ranges.clone(),
            watermark: commit.watermark,
            sink_lengths: commit.sink_lengths.clone(),
            outbox: commit.outbox.iter().map(|stored| stored.entry.clone()).collect(),
            settled: commit.outbox.is_empty() || self.covered() == commit.n,
            carry: commit.carry,
            sealed: commit.sealed,
            writer: commit.writer,
            deadline: commit.deadline,
            fingerprint: commit.fingerprint,
            layout: self.layout_at(commit.n),
        }
    }

    /// What a manifest that covers the commit before the head would say.
    fn before_head(&self) -> Option<Covered> {
        let n = self.head.checked_sub(1).filter(|n| *n > self.covered())?;
        let stored = self.commit(n)?;
        Some(Covered {
            n,
            checksum: stored.checksum,
            positions: stored.record.positions.clone(),
            ranges: stored.record.ranges.clone(),
            watermark: stored.record.watermark,
            sink_lengths: stored.record.sink_lengths.clone(),
            fingerprint: stored.record.fingerprint,
            layout: self.layout_at(n),
        })
    }
}

pub(crate) async fn load(shared: &Arc<Shared>, key: LaneKey, rules: LoadRules) -> Result<Loaded> {
    let mut tries = 0;
    loop {
        tries += 1;
        let torn = match picture(shared, &key).await? {
            Ok(picture) => {
                check_layout(&picture, &rules)?;
                match fetch(shared, &key, &picture).await {
                    Ok(loaded) => return Ok(loaded),
                    Err(FetchError::Missing(object)) => format!("object {object} is missing"),
                    Err(FetchError::Failed(error)) => return Err(error),
                }
            }
            Err(torn) => torn,
        };
        give_up(tries, &torn)?;
        retry::pause(&shared.ports, tries).await;
    }
}

pub(crate) async fn inspect(shared: &Arc<Shared>, key: LaneKey) -> Result<LaneReport> {
    let mut tries = 0;
    loop {
        tries += 1;
        match picture(shared, &key).await? {
            Ok(picture) => return Ok(report(key.lane, &picture)),
            Err(torn) => give_up(tries, &torn)?,
        }
        retry::pause(&shared.ports, tries).await;
    }
}

fn report(lane: LaneId, picture: &Picture) -> LaneReport {
    let head = picture.commit(picture.head);
    let segments = picture.facts.manifest.as_ref().map_or(&[][..], |manifest| &manifest.record.segments);
    LaneReport {
        lane,
        ring: picture.facts.ring,
        head: picture.head(),
        outbox_bytes: head.map_or(0, |c| c.record.outbox.iter().map(|entry| entry.payload.len()).sum()),
        manifest_n: picture.covered(),
        snapshot_bytes: picture.facts.manifest.as_ref().map_or(0, |m| m.record.snapshot.len()),
        segments: segments.len(),
        segment_bytes: segments.iter().map(|segment| segment.length).sum(),
        delta_bytes: picture.tail().map(|c| c.record.delta.len()).sum(),
        head_item_bytes: head.map_or(0, |c| c.bytes),
    }
}

fn give_up(tries: u32, torn: &str) -> Result<()> {
    if tries < MAX_LOAD_TRIES {
        return Ok(());
    }
    Err(Error::unavailable(format!("no consistent load in {tries} tries: {torn}"))
        .with_help("another writer may be very busy on this lane; if the state stays like this, it is damaged"))
}

/// Reads all parts of a lane and judges them. The inner error says why they are torn.
async fn picture(shared: &Shared, key: &LaneKey) -> Result<std::result::Result<Picture, String>> {
    let (facts, floors) = read(shared, key).await?;
    match decide::load(&facts) {
        LoadVerdict::Head(head) => Ok(Ok(Picture { facts, head, floors })),
        LoadVerdict::Torn(why) => Ok(Err(why)),
        LoadVerdict::Fenced(why) => Err(Error::new(ErrorKind::Fenced, why)
            .with_help("the state was deleted in part or mixed with another pipeline's: use a state of its own")),
        LoadVerdict::Broken(why) => {
            Err(Error::internal(why).with_help("keep a copy of the state; restore it from a backup or start anew"))
        }
    }
}

/// Reads the parts of a lane; for one that is not registered, the floors as well.
async fn read(shared: &Shared, key: &LaneKey) -> Result<(LoadFacts, BTreeMap<String, Timestamp>)> {
    // Only the registry knows the ring of a lane that somebody else has created.
    let mut entry = shared.known_lane(&key.lane);
    let mut floors = BTreeMap::new();
    if entry.is_none() {
        let registry = shared.refresh().await?.registry;
        entry = registry.lanes.get(&key.lane).copied();
        if entry.is_none() {
            floors = registry.floors;
        }
    }
    let registered = entry.is_some();
    let Registered { ring, first } = entry.unwrap_or(Registered { ring: shared.options.ring, first: 1 });
    let manifest = get(shared, keys::manifest(key)).await?;
    let manifest = manifest.map(|item| stored(&item, "manifest", Manifest::decode)).transpose()?;
    let slots = stream::iter(0..ring)
        .map(|slot| async move {
            let item = get(shared, keys::slot(key, slot)).await?;
            item.map(|item| stored(&item, &format!("slot {slot}"), Commit::decode)).transpose()
        })
        .buffered(shared.options.load_concurrency)
        .try_collect()
        .await?;
    let (incarnation, genesis) = (shared.incarnation, genesis(key));
    Ok((LoadFacts { incarnation, ring, first, registered, genesis, manifest, slots }, floors))
}

pub(crate) async fn get(shared: &Shared, key: ItemKey) -> Result<Option<Item>> {
    let item = retry::read(&shared.ports, || shared.ports.store.get(&key)).await;
    item.map_err(|e| Error::from(e).within(format!("reading {key}")))
}

fn stored<T>(item: &Item, what: &str, decode: impl Fn(&[u8]) -> Result<T, DecodeError>) -> Result<Stored<T>> {
    let record = decode(&item.data).map_err(|e| Error::from(e).within(what))?;
    Ok(Stored { version: item.version, checksum: record::checksum(&item.data), bytes: item.data.len(), record })
}

/// What the first commit carries in place of the checksum of the one before it: it ties the chain to its lane.
pub(crate) fn genesis(key: &LaneKey) -> record::Checksum {
    record::checksum(format!("{}/{}/{}/{}", key.pipeline, key.incarnation, key.generation, key.lane).as_bytes())
}

fn check_layout(picture: &Picture, rules: &LoadRules) -> Result<()> {
    let Some(wanted) = &rules.layout else { return Ok(()) };
    let head = picture.head();
    if head.n == 0 || head.fingerprint == wanted.fingerprint {
        return Ok(());
    }
    let only = |mine: &[String], other: &[String]| -> String {
        let lines: Vec<&str> = mine.iter().filter(|line| !other.contains(line)).map(String::as_str).collect();
        if lines.is_empty() { "nothing".to_owned() } else { lines.join("; ") }
    };
    Err(Error::invalid(format!(
        "the pipeline's state has another layout than its committed state: it now has {}, the state was made by {}",
        only(&wanted.lines, &head.layout),
        only(&head.layout, &wanted.lines)
    ))
    .with_help("undo the change, or begin a new generation: `tidegate reset` or `tidegate rewind`, on Lambda the event reset or repair"))
}

/// Fetches what lies in objects and makes the lane's memory.
async fn fetch(shared: &Arc<Shared>, key: &LaneKey, picture: &Picture) -> Result<Loaded, FetchError> {
    let mut fetcher = Fetcher::new(&shared.ports, key);
    let snapshot = match &picture.facts.manifest {
        Some(manifest) => {
            let Manifest { n, attempt, snapshot, .. } = &manifest.record;
            Some(fetcher.fetch(*n, *attempt, snapshot).await?)
        }
        None => None,
    };
    let (mut snapshot, mut deltas) = (snapshot, Vec::new());
    for commit in picture.tail() {
        let delta = fetcher.fetch(commit.record.n, commit.record.attempt, &commit.record.delta).await?;
        match commit.record.birth {
            true => snapshot = Some(delta),
            false => deltas.push(delta),
        }
    }
    let mut head = picture.head();
    if let Some(commit) = picture.commit(picture.head) {
        head.outbox = outbox(&mut fetcher, &commit.record).await?;
    }
    let manifest = picture.facts.manifest.as_ref();
    let lane = Lane::new(
        shared.clone(),
        key.clone(),
        Registered { ring: picture.facts.ring, first: picture.facts.first },
        head,
        picture.commit(picture.head).map_or(picture.facts.genesis, |commit| commit.checksum),
        picture.before_head(),
        Manifested { n: picture.covered(), version: manifest.map(|manifest| manifest.version) },
    );
    let floors = picture.floors.clone();
    let segments = manifest.map(|manifest| manifest.record.segments.clone()).unwrap_or_default();
    Ok(Loaded { lane: lane.with_floors(floors.clone()), snapshot, segments, deltas, floors })
}

async fn outbox(fetcher: &mut Fetcher<'_>, commit: &Commit) -> Result<Vec<OutboxEntry>, FetchError> {
    let mut outbox = Vec::with_capacity(commit.outbox.len());
    for stored in &commit.outbox {
        let payload = fetcher.fetch(commit.n, commit.attempt, &stored.payload).await?;
        outbox.push(OutboxEntry { payload, ..stored.entry.clone() });
    }
    Ok(outbox)
}
