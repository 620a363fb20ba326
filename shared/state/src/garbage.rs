//! Removes objects that nothing refers to: of commits that lost their slot, of state that was compacted away, of sealed
//! generations.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};
use tidegate_core::{Error, LaneId, LaneKey, Result};

use crate::decide::garbage::{self as decide, Group, Limits, Scan};
use crate::keys;
use crate::load;
use crate::pipeline::Pipeline;
use crate::ports::{Condition, Item, StoreError};
use crate::record::garbage::Candidates;
use crate::record::registry::Registry;
use crate::record::seal::SealItem;
use crate::record::{Payload, commit::Commit, manifest::Manifest};
use crate::retry;

/// Default of what [`Pipeline::collect_garbage`] is given: longer than any write of a reference can be under way (a
/// signed request is good for minutes, an invocation lasts 15), clocks that differ included.
pub const DEFAULT_GARBAGE_HORIZON: Duration = Duration::from_secs(24 * 60 * 60);
/// Lanes and outputs that one call looks at. The next call goes on behind them.
pub const MAX_GARBAGE_GROUPS: usize = 32;
/// Objects that one call removes.
pub const MAX_OBJECTS_REMOVED: usize = 1_000;
/// Objects that are remembered from call to call. There may be more; they wait.
pub const MAX_GARBAGE_CANDIDATES: usize = 2_000;

/// What a call has found and done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Objects that are there, of any lane.
    pub objects: usize,
    /// Those that nothing refers to and that are remembered until the horizon has passed.
    pub waiting: usize,
    /// Those that were removed.
    pub removed: usize,
}

impl Pipeline {
    /// Looks at the objects of some lanes and removes those that two scans, `horizon` apart, have found unreferenced.
    ///
    /// For the tick. A lane without objects costs nothing, one with objects all its slots and its manifest. Safe beside
    /// everything else, itself included; calls that overlap may find less than one alone.
    pub async fn collect_garbage(&self, horizon: Duration) -> Result<Collected> {
        let within = |e: Error| e.within("collecting garbage");
        let shared = &self.shared;
        let key = keys::garbage(&shared.name);
        let stored = retry::read(&shared.ports, || shared.ports.store.get(&key)).await;
        let stored = stored.map_err(|e| within(e.into()))?;
        let before = stored.as_ref().map(|item| Candidates::decode(&item.data)).transpose();
        let before = before.map_err(|e| within(e.into()))?.unwrap_or_default();
        // First the names, then who refers to them: what is put meanwhile is not in the list.
        let prefix = keys::objects(&shared.name, shared.incarnation);
        let names = retry::read(&shared.ports, || shared.ports.blobs.list(&prefix)).await;
        let names = names.map_err(|e| within(e.into()))?;
        let registry = shared.refresh().await?.registry;
        let names: Vec<&str> = names.iter().filter_map(|name| name.strip_prefix(&prefix)?.strip_prefix('/')).collect();
        let groups: BTreeSet<&str> = names.iter().filter_map(|name| decide::group(name)).collect();
        let mut scan = Scan::default();
        let mut cursor = String::new();
        for group in decide::next_groups(&groups, &before.cursor, MAX_GARBAGE_GROUPS) {
            group.clone_into(&mut cursor);
            let Some(referenced) = self.referenced(group, &registry).await.map_err(within)? else { continue };
            scan.groups.insert(group);
            let skip = prefix.len() + 1;
            scan.referenced.extend(referenced.into_iter().map(|name| name[skip..].to_owned()));
        }
        scan.listed.extend(names.iter().filter(|name| decide::group(name).is_some_and(|g| scan.groups.contains(g))));
        // Objects that are gone take their place in the memory with them, whatever group is looked at.
        let there: BTreeSet<&str> = names.iter().copied().collect();
        let since: BTreeMap<_, _> =
            before.since.into_iter().filter(|(name, _)| there.contains(name.as_str())).collect();
        let limits = Limits { horizon, candidates: MAX_GARBAGE_CANDIDATES, removed: MAX_OBJECTS_REMOVED };
        let sweep =
            decide::sweep(&Candidates { since, ..Candidates::default() }, &scan, shared.ports.clock.now(), limits);
        let removed = self.remove_objects(&prefix, &sweep.remove).await.map_err(within)?;
        let collected = Collected { objects: names.len(), waiting: sweep.since.len(), removed };
        self.remember(key, stored, Candidates { since: sweep.since, cursor }).await.map_err(within)?;
        Ok(collected)
    }

    /// Full names of the objects of a group that something refers to. `None`: leave the group alone.
    async fn referenced(&self, group: &str, registry: &Registry) -> Result<Option<Vec<String>>> {
        let current = self.shared.generation;
        Ok(match decide::parse(group) {
            None => None,
            Some(Group::Lane(generation, _) | Group::Seals(generation, _)) if generation > current => None,
            // Every ring of an older generation is sealed.
            Some(Group::Lane(generation, _) | Group::Seals(generation, _)) if generation < current => Some(Vec::new()),
            Some(Group::Lane(_, lane)) => {
                let lane = LaneId::from_stored(lane);
                match registry.lanes.get(&lane) {
                    Some(entry) => Some(self.of_lane(&self.lane_key(&lane), entry.ring).await?),
                    None => Some(Vec::new()),
                }
            }
            Some(Group::Seals(_, output)) => Some(self.of_seals(output).await?),
        })
    }

    /// All slots first, then the manifest: what moves from a slot to the manifest in between is seen there.
    async fn of_lane(&self, key: &LaneKey, ring: u16) -> Result<Vec<String>> {
        let shared = &self.shared;
        let commits: Vec<Option<Commit>> = stream::iter(0..ring)
            .map(|slot| async move {
                let item = load::get(shared, keys::slot(key, slot)).await?;
                item.map(|item| Commit::decode(&item.data))
                    .transpose()
                    .map_err(|e| Error::from(e).within(format!("lane {}: slot {slot}", key.lane)))
            })
            .buffered(shared.options.load_concurrency)
            .try_collect()
            .await?;
        let mut names = Vec::new();
        let mut refer = |n, attempt, payload: &Payload| {
            if let Payload::Blob(part) = payload {
                names.push(keys::blob(key, n, attempt, &part.hash));
            }
        };
        for commit in commits.iter().flatten() {
            refer(commit.n, commit.attempt, &commit.delta);
            commit.outbox.iter().for_each(|entry| refer(commit.n, commit.attempt, &entry.payload));
        }
        if let Some(item) = load::get(shared, keys::manifest(key)).await? {
            let manifest = Manifest::decode(&item.data);
            let manifest = manifest.map_err(|e| Error::from(e).within(format!("lane {}: manifest", key.lane)))?;
            refer(manifest.n, manifest.attempt, &manifest.snapshot);
            names.extend(manifest.segments.iter().map(|s| keys::segment(key, s.attempt, &s.hash)));
        }
        Ok(names)
    }

    async fn of_seals(&self, output: &str) -> Result<Vec<String>> {
        let shared = &self.shared;
        let partition = keys::seals_of_encoded(&shared.name, shared.generation, output);
        let items = retry::read(&shared.ports, || shared.ports.store.query(&partition)).await;
        let mut names = Vec::new();
        for (key, item) in items.map_err(|e| Error::from(e).within(&partition))? {
            let seal = SealItem::decode(&item.data).map_err(|e| Error::from(e).within(key))?;
            if let Payload::Blob(part) = &seal.rows {
                names.push(keys::seal_blob(&shared.name, &seal, item.attempt, &part.hash));
            }
        }
        Ok(names)
    }

    async fn remove_objects(&self, prefix: &str, names: &[String]) -> Result<usize> {
        let shared = &self.shared;
        let removed: Vec<()> = stream::iter(names)
            .map(|name| async move {
                let name = format!("{prefix}/{name}");
                retry::read(&shared.ports, || shared.ports.blobs.delete(&name)).await
            })
            .buffered(shared.options.load_concurrency)
            .try_collect()
            .await?;
        Ok(removed.len())
    }

    /// Keeps what was found, unless somebody else has meanwhile: then that is as good.
    async fn remember(&self, key: crate::ItemKey, stored: Option<Item>, candidates: Candidates) -> Result<()> {
        let version = stored.as_ref().map_or(0, |item| item.version);
        let condition = stored.map_or(Condition::Absent, |item| Condition::Version(item.version));
        let data = candidates.encode()?;
        let item = Item { version: version + 1, attempt: self.shared.ports.random.next_u128(), data };
        match self.shared.ports.store.put_if(&key, item, condition).await {
            Ok(_) | Err(StoreError::Throttled | StoreError::Unknown(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
