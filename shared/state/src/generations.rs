//! Generations: how a pipeline begins anew without any id being used twice, and guards against state and sources that
//! are not what they were.

use bytes::Bytes;
use tidegate_core::{Error, ErrorKind, Generation, Result};

use crate::decide::generations::{self as decide, Guarded, Mark};
use crate::keys;
use crate::pipeline::{Known, Pipeline, read_registry};
use crate::record::mark::MarkRecord;
use crate::record::registry::Phase;
use crate::retry;

/// How a generation is opened.
#[derive(Clone, Debug, Default)]
pub struct Opening {
    /// What the new generation has to know of how it began, in words of the caller: where it starts, up to where it is
    /// silent. It stands in the registry ([`RegistryView::origin`](crate::RegistryView::origin)), so keep it small.
    pub origin: Bytes,
    /// Opens although sealed lanes still owe something: it is never sent. Only where a person says so.
    pub abandon_owed: bool,
}

/// How often the lanes are looked at before a generation opens, if the registry changes meanwhile.
const MAX_OPEN_TRIES: u32 = 5;

/// Bytes that [`Opening::origin`] may have.
pub const MAX_ORIGIN: usize = 64 * 1024;

impl Pipeline {
    /// Begins a new generation, which the caller says why: from here on no lane registers and no window is closed. What
    /// follows is [`Lane::seal`](crate::Lane::seal) for every registered lane, close lanes included, then
    /// [`Pipeline::open_generation`]. Every step may be repeated, by anybody: a sealing that stopped half way goes on.
    ///
    /// The number that opens next: larger than that of any generation that the blob store has a mark of.
    pub async fn begin_generation(&self) -> Result<Generation> {
        let marks = self.marks().await?;
        let mine = self.shared.generation;
        let known = self.shared.change_registry(|known| decide::begin(&known.registry, mine, &marks)).await?;
        self.shared.learn(known.clone())?;
        match known.registry.phase {
            Phase::Sealing { next } => Ok(next),
            Phase::Open => Err(Error::internal("the registry was not changed")),
        }
    }

    /// Opens the generation that [`Pipeline::begin_generation`] has named. The handle that it returns works on it; this one
    /// does not any more.
    ///
    /// The new generation has no lanes, no floors and no source identities. Where it was opened already, its handle is
    /// returned and `opening` is ignored.
    ///
    /// # Errors
    /// Unavailable when a lane is not sealed, or still owes something and `opening` does not say to abandon it: seal and
    /// settle it first. Invalid when no generation was begun.
    pub async fn open_generation(&self, opening: &Opening) -> Result<Self> {
        if opening.origin.len() > MAX_ORIGIN {
            return Err(Error::invalid(format!(
                "an origin of {} bytes, the limit is {MAX_ORIGIN}",
                opening.origin.len()
            )));
        }
        let mine = self.shared.generation;
        for _ in 0..MAX_OPEN_TRIES {
            let before = self.shared.read_any_generation().await?;
            if before.registry.generation == mine {
                self.check_sealed(opening.abandon_owed).await?;
            }
            // Who takes an outbox over meanwhile says so in the registry: then the lanes are looked at again.
            let open = |known: &Known| match known.version == before.version {
                true => decide::open(&known.registry, mine, &opening.origin),
                false => Ok(None),
            };
            let known = self.shared.change_registry(open).await?;
            if known.registry.generation != mine {
                let next = self.handle_on(known);
                next.mark().await?;
                return Ok(next);
            }
        }
        Err(Error::unavailable(format!(
            "the registry was changed {MAX_OPEN_TRIES} times while the lanes were looked at"
        ))
        .with_help("others are at work on what the lanes owe; try again"))
    }

    /// Says in the registry that this environment is about to send what a sealed lane owes. Whoever opens the next generation
    /// looks at the lanes again after that.
    ///
    /// # Errors
    /// Fenced where the next generation is open.
    pub async fn announce_sender(&self) -> Result<()> {
        let mine = self.shared.generation;
        let known = self.shared.change_registry(|known| Ok(decide::announce(&known.registry, mine))).await?;
        self.shared.learn(known).map(drop)
    }

    async fn check_sealed(&self, abandon_owed: bool) -> Result<()> {
        for report in self.inspect().await? {
            if !report.head.sealed {
                return Err(Error::unavailable(format!("lane {} is not sealed yet", report.lane))
                    .with_help("the tick goes on with it; try again"));
            }
            if !report.head.settled && !abandon_owed {
                let owed = report.head.outbox.len();
                return Err(Error::unavailable(format!("lane {} still owes {owed} requests", report.lane))
                    .with_help("wait until its target takes them, or abandon them"));
            }
        }
        Ok(())
    }

    /// Compares what a source is (its topic id, its creation time) with what it was when it was first read. A source that was
    /// deleted and created again begins with small positions: all of it would be skipped as done.
    ///
    /// One write for a source that is new, no request where it is known.
    ///
    /// # Errors
    /// Fenced when it is another one.
    pub async fn identify(&self, source: &str, identity: &str) -> Result<()> {
        let (known, mine) = (self.shared.known(), self.shared.generation);
        let known = match known.registry.sources.get(source).is_some_and(|found| found == identity) {
            true => known,
            false => {
                self.shared
                    .change_registry(|known| Ok(decide::identify(&known.registry, mine, source, identity)))
                    .await?
            }
        };
        let known = self.shared.learn(known)?;
        match known.registry.sources.get(source) {
            Some(found) if found != identity => Err(Error::new(
                ErrorKind::Fenced,
                format!(
                    "source {source} is another one than its state was made from: it was {found}, it is {identity}"
                ),
            )
            .with_help("it was deleted and created again: begin a new generation with `tidegate reset`")),
            _ => Ok(()),
        }
    }

    /// Checks that the registry is not older than the marks in the blob store, and sets a mark for this generation where
    /// there is none. For cold starts: a table that was restored to an earlier generation, or to an earlier
    /// incarnation, would give old ids to other requests.
    ///
    /// A restore within one generation leaves no trace here.
    ///
    /// # Errors
    /// Fenced when the state was restored, or has moved on.
    pub async fn check_guard(&self) -> Result<()> {
        let marks = self.marks().await?;
        let (incarnation, mine) = (self.shared.incarnation, self.shared.generation);
        match decide::guard(incarnation, mine, &marks) {
            Guarded::Fine => Ok(()),
            Guarded::Unmarked => self.mark().await,
            Guarded::Older(found) => {
                // Somebody may have opened a newer generation since this handle was made: then `learn` says so.
                self.shared.refresh().await?;
                Err(Error::new(
                    ErrorKind::Fenced,
                    format!("pipeline {}: the state was restored: {found}", self.shared.name),
                )
                .with_help("its ids were used already: begin a new generation with `tidegate reset`"))
            }
        }
    }

    /// Sets the mark of this generation.
    async fn mark(&self) -> Result<()> {
        let shared = &self.shared;
        let mut before: Vec<Mark> = self.marks().await?;
        before.retain(|mark| mark.incarnation != shared.incarnation);
        let before = before.into_iter().map(|mark| (mark.incarnation, mark.generation)).collect();
        let data = MarkRecord { before }.encode()?;
        let key = keys::mark(&shared.name, shared.incarnation, shared.generation);
        let put = retry::read(&shared.ports, || shared.ports.blobs.put(&key, data.clone())).await;
        put.map_err(|e| Error::from(e).within(format!("marking generation {}", shared.generation)))
    }

    /// All marks of the pipeline's name. Those of other incarnations tell which ones they have replaced.
    async fn marks(&self) -> Result<Vec<Mark>> {
        let shared = &self.shared;
        let within = |e: Error| e.within("reading the marks of generations");
        let prefix = keys::marks(&shared.name);
        let names = retry::read(&shared.ports, || shared.ports.blobs.list(&prefix)).await;
        let mut marks = Vec::new();
        for name in names.map_err(|e| within(e.into()))? {
            let Some((incarnation, generation)) = keys::marked(&prefix, &name) else { continue };
            let mut before = Vec::new();
            if incarnation != shared.incarnation {
                let data = retry::read(&shared.ports, || shared.ports.blobs.get(&name)).await;
                if let Some(data) = data.map_err(|e| within(e.into()))? {
                    before = MarkRecord::decode(&data).map_err(|e| within(e.into()))?.before;
                }
            }
            marks.push(Mark { incarnation, generation, before });
        }
        Ok(marks)
    }

    fn handle_on(&self, known: Known) -> Self {
        Self::with(self.shared.ports.clone(), &self.shared.name, self.shared.options.clone(), known)
    }

    /// A handle on the generation that the registry names now: what a process needs that was fenced because the
    /// pipeline has moved on.
    pub async fn reopened(&self) -> Result<Self> {
        let known = read_registry(&self.shared.ports, &self.shared.name).await?;
        known.map(|known| self.handle_on(known)).ok_or_else(|| {
            Error::new(ErrorKind::Fenced, format!("pipeline {}: the registry is gone", self.shared.name))
        })
    }
}
