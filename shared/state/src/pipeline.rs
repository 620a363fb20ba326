//! A pipeline's registry: who it is, and which lanes it has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tidegate_core::{Error, ErrorKind, Generation, Incarnation, LaneId, LaneKey, Result, Timestamp};

use crate::keys;
use crate::load::{self, LaneReport, LoadRules, Loaded};
use crate::options::{Ports, StateOptions};
use crate::ports::{Condition, Item, PutOutcome, StoreError};
use crate::record::registry::{Phase, Registered, Registry};
use crate::retry::{self, MAX_THROTTLED_TRIES};

/// Version of a registry's first item.
const FIRST_VERSION: u64 = 1;

/// A handle on a pipeline's registry. Cheap to clone; the clones share what was last read of it.
#[derive(Clone)]
pub struct Pipeline {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub ports: Ports,
    pub name: String,
    pub options: StateOptions,
    /// Token of this environment.
    pub writer: u128,
    pub incarnation: Incarnation,
    pub generation: Generation,
    known: Mutex<Known>,
}

/// The registry as it was last seen. It may be old: whatever depends on it is checked by a transaction.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub version: u64,
    pub registry: Registry,
}

/// What the registry said at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryView {
    /// Its version: every change raises it.
    pub version: u64,
    /// The generation whose lanes are listed.
    pub generation: Generation,
    /// Whether lanes may be added and windows closed.
    pub phase: Phase,
    /// Registered lanes, finished ones and close lanes included.
    pub lanes: BTreeSet<LaneId>,
    /// Lanes that are sealed for good.
    pub finished: BTreeSet<LaneId>,
    /// Per output over lanes: windows that end at or before this are closed.
    pub floors: BTreeMap<String, Timestamp>,
    /// What each source was when it was first read.
    pub sources: BTreeMap<String, String>,
    /// What the generation was opened with.
    pub origin: Bytes,
}

impl RegistryView {
    /// The lanes of a source (by its name in the pipeline file) that may still get records.
    pub fn active<'a>(&'a self, source: &str) -> impl Iterator<Item = &'a LaneId> {
        let name = LaneId::new(source, "");
        let of_source = move |lane: &&LaneId| lane.source() == name.source() && !lane.is_close();
        self.lanes.iter().filter(of_source).filter(|lane| !self.finished.contains(*lane))
    }
}

impl std::fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pipeline({}, {:?})", self.shared.name, self.shared.incarnation)
    }
}

impl Pipeline {
    /// Opens the pipeline's registry and creates it, with a new random incarnation, where there is none.
    pub async fn open(ports: Ports, name: &str, options: StateOptions) -> Result<Self> {
        options.check()?;
        let attempt = ports.random.next_u128();
        let registry = Registry::new(Incarnation(ports.random.next_u128()), Generation::FIRST);
        let item = Item { version: FIRST_VERSION, attempt, data: registry.encode()? };
        let key = keys::registry(name);
        let mut tries = 0;
        loop {
            tries += 1;
            if let Some(known) = read_registry(&ports, name).await? {
                return Ok(Self::with(ports, name, options, known));
            }
            // The same item each time: a late first delivery changes nothing then.
            match ports.store.put_if(&key, item.clone(), Condition::Absent).await {
                Ok(PutOutcome::Applied) => {
                    return Ok(Self::with(ports, name, options, Known { version: FIRST_VERSION, registry }));
                }
                Ok(PutOutcome::Refused(_)) => {}
                Err(StoreError::Throttled | StoreError::Unknown(_)) if tries < MAX_THROTTLED_TRIES => {}
                Err(error) => return Err(Error::from(error).within(format!("creating pipeline {name}"))),
            }
            if tries >= MAX_THROTTLED_TRIES {
                return Err(Error::unavailable(format!("the registry of pipeline {name} could not be created")));
            }
            retry::pause(&ports, tries).await;
        }
    }

    /// Opens the pipeline if it exists. Writes nothing, so it works on a store that may only be read.
    pub async fn open_existing(ports: Ports, name: &str, options: StateOptions) -> Result<Option<Self>> {
        options.check()?;
        let known = read_registry(&ports, name).await?;
        Ok(known.map(|known| Self::with(ports, name, options, known)))
    }

    pub(crate) fn with(ports: Ports, name: &str, options: StateOptions, known: Known) -> Self {
        let writer = ports.random.next_u128();
        let (incarnation, generation) = (known.registry.incarnation, known.registry.generation);
        let name = name.to_owned();
        let known = Mutex::new(known);
        Self { shared: Arc::new(Shared { ports, name, options, writer, incarnation, generation, known }) }
    }

    /// The incarnation of its state.
    pub fn incarnation(&self) -> Incarnation {
        self.shared.incarnation
    }

    /// The generation of its lanes.
    pub fn generation(&self) -> Generation {
        self.shared.generation
    }

    /// What the generation was opened with.
    pub fn origin(&self) -> Bytes {
        self.shared.known().registry.origin
    }

    /// Whether this process has seen the lane in the registry. No request: a lane that others have registered since is
    /// not known.
    pub fn knows(&self, lane: &LaneId) -> bool {
        self.shared.known_lane(lane).is_some()
    }

    /// The registered lanes, strongly read.
    pub async fn lanes(&self) -> Result<Vec<LaneId>> {
        Ok(self.shared.refresh().await?.registry.lanes.into_keys().collect())
    }

    /// The registry, strongly read.
    pub async fn registry(&self) -> Result<RegistryView> {
        let Known { version, registry } = self.shared.refresh().await?;
        Ok(RegistryView {
            version,
            generation: registry.generation,
            phase: registry.phase,
            lanes: registry.lanes.into_keys().collect(),
            finished: registry.finished,
            floors: registry.floors,
            sources: registry.sources,
            origin: registry.origin,
        })
    }

    /// The key of a lane of this pipeline.
    pub fn lane_key(&self, lane: &LaneId) -> LaneKey {
        LaneKey {
            pipeline: self.shared.name.clone(),
            incarnation: self.shared.incarnation,
            generation: self.shared.generation,
            lane: lane.clone(),
        }
    }

    /// Loads a lane and checks everything that is read. A lane that was never registered has head 0. Writes nothing.
    pub async fn load(&self, lane: &LaneId, rules: LoadRules) -> Result<Loaded> {
        load::load(&self.shared, self.lane_key(lane), rules).await.map_err(|e| e.within(format!("lane {lane}")))
    }

    /// Looks at every registered lane. Reads no objects and writes nothing.
    pub async fn inspect(&self) -> Result<Vec<LaneReport>> {
        let mut reports = Vec::new();
        for lane in self.lanes().await? {
            let report = load::inspect(&self.shared, self.lane_key(&lane)).await;
            reports.push(report.map_err(|e| e.within(format!("lane {lane}")))?);
        }
        Ok(reports)
    }
}

impl Shared {
    /// The registry as last seen.
    pub(crate) fn known(&self) -> Known {
        self.lock().clone()
    }

    pub(crate) fn known_lane(&self, lane: &LaneId) -> Option<Registered> {
        self.lock().registry.lanes.get(lane).copied()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the registry again.
    pub(crate) async fn refresh(&self) -> Result<Known> {
        self.learn(self.read_any_generation().await?)
    }

    /// Reads the registry as it is, also one of another generation.
    pub(crate) async fn read_any_generation(&self) -> Result<Known> {
        let known = read_registry(&self.ports, &self.name).await?;
        let known = known.ok_or_else(|| self.foreign("the registry is gone"))?;
        self.check_incarnation(&known)?;
        Ok(known)
    }

    fn check_incarnation(&self, known: &Known) -> Result<()> {
        if known.registry.incarnation == self.incarnation {
            return Ok(());
        }
        Err(self.foreign(&format!("the registry now belongs to incarnation {}", known.registry.incarnation)))
    }

    /// Takes over a newer registry.
    pub(crate) fn learn(&self, known: Known) -> Result<Known> {
        self.check_incarnation(&known)?;
        if known.registry.generation != self.generation {
            let found = format!("the pipeline has moved on to generation {}", known.registry.generation);
            return Err(self.foreign(&found));
        }
        let mut mine = self.lock();
        if known.version > mine.version {
            *mine = known;
        }
        Ok(mine.clone())
    }

    fn foreign(&self, found: &str) -> Error {
        Error::new(ErrorKind::Fenced, format!("pipeline {}: {found}", self.name))
            .with_help("this process works on state that was replaced: start it again")
    }

    pub(crate) fn decode_registry(&self, item: &Item) -> Result<Known> {
        decode(item).map_err(|e| e.within(format!("registry of pipeline {}", self.name)))
    }
}

fn decode(item: &Item) -> Result<Known> {
    Ok(Known { version: item.version, registry: Registry::decode(&item.data)? })
}

pub(crate) async fn read_registry(ports: &Ports, name: &str) -> Result<Option<Known>> {
    let key = keys::registry(name);
    let within = |e: Error| e.within(format!("registry of pipeline {name}"));
    let item = retry::read(ports, || ports.store.get(&key)).await.map_err(|e| within(e.into()))?;
    item.as_ref().map(decode).transpose().map_err(within)
}
