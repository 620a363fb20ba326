//! The memory of one lane's chain, and the writes that extend it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tidegate_core::{CommitNumber, Error, LaneKey, OutboxEntry, Position, Result, Segments, Timestamp};

use crate::blobs;
use crate::decide::registry::{Change, Closing};
use crate::decide::{self, Verdict};
use crate::keys;
use crate::pipeline::Shared;
use crate::ports::{Condition, Item};
use crate::range::Range;
use crate::record::commit::{Commit, StoredEntry};
use crate::record::manifest::Manifest;
use crate::record::registry::Registered;
use crate::record::{self, Checksum, Payload};
use crate::segments::{LaneSegments, Snapshot};
use crate::writes::{Slot, Written};

mod seal;
mod write;

use write::check_limit;

/// The last commit of a lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Its number; 0 when nothing was committed yet.
    pub n: CommitNumber,
    /// Committed position per source partition: what is at or below it is done.
    pub positions: BTreeMap<String, Position>,
    /// Where the batch began that last moved a partition's position.
    pub ranges: BTreeMap<String, Range>,
    /// The watermark.
    pub watermark: Option<Timestamp>,
    /// Bytes written so far per file target.
    pub sink_lengths: BTreeMap<String, u64>,
    /// What it owes, in order, as committed.
    pub outbox: Vec<OutboxEntry>,
    /// Whether all of `outbox` is known to be acknowledged.
    pub settled: bool,
    /// Whether it carries over what the commit before it owed.
    pub carry: bool,
    /// Whether the lane takes no records any more. What it owes may still be carried.
    pub sealed: bool,
    /// Token of the environment that wrote it.
    pub writer: u128,
    /// When its writer, and everybody whose requests it carries over, stops sending.
    pub deadline: Timestamp,
    /// Hash of the state's layout.
    pub fingerprint: [u8; 16],
    /// What `fingerprint` stands for.
    pub layout: Vec<String>,
}

/// What the next commit is to say.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// Committed position of every partition of the lane, those that did not move included.
    pub positions: BTreeMap<String, Position>,
    /// Where the batch began that moved a partition's position; the head's for those that did not move.
    pub ranges: BTreeMap<String, Range>,
    /// The watermark; never earlier than the head's.
    pub watermark: Option<Timestamp>,
    /// Bytes written so far per file target.
    pub sink_lengths: BTreeMap<String, u64>,
    /// The change of state.
    pub delta: Bytes,
    /// What the commit owes, in order.
    pub outbox: Vec<OutboxEntry>,
    /// When this writer stops sending. A commit that carries over what the head owes keeps the head's, if that is later:
    /// so it says when everybody has stopped who may be sending any of it.
    pub deadline: Timestamp,
    /// A commit without records whose outbox carries over what the head still owes.
    pub carry: bool,
    /// Hash of the state's layout. A carry commit keeps the head's.
    pub fingerprint: [u8; 16],
    /// What `fingerprint` stands for.
    pub layout: Vec<String>,
}

/// How many lanes a source may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneLimit {
    /// One: the answer would be wrong with more.
    Single,
    /// Any number.
    Many,
}

/// What became of a commit.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitOutcome {
    /// It is the head now.
    Committed,
    /// It is the head now; the answer to an earlier delivery of the same request had been lost.
    AlreadyCommitted,
    /// Somebody else committed that number, or the registry is not what the commit was decided from: load again,
    /// decide again.
    Conflict,
    /// This writer may not write any more.
    Fenced(String),
    /// It may be committed, now or later: load again at the next try, never report success.
    Unknown(String),
    /// Nothing was tried and the lane is as good as before: write the manifest first.
    ManifestDue,
}

/// What became of a manifest.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManifestOutcome {
    /// It covers up to the head, or up to the commit before it when the head is a carry commit.
    Written,
    /// It covers that already. Nothing was written.
    Unchanged,
    /// Somebody else wrote it: load again.
    Conflict,
    /// It may be written, now or later: load again.
    Unknown(String),
}

/// How a commit is written.
enum Way {
    /// Into its slot; with the registry if it is the first one.
    Batch(LaneLimit),
    /// Always with the registry.
    Close(Closing),
    /// Into its slot; the lane takes no records from here on.
    Seal,
    /// With the registry, which lists the lane as finished.
    Finish,
}

impl Way {
    fn seals(&self) -> bool {
        matches!(self, Self::Seal | Self::Finish)
    }
}

/// What a manifest says about the commit up to which it covers.
#[derive(Clone, Debug)]
pub(crate) struct Covered {
    pub n: u64,
    pub checksum: Checksum,
    pub positions: BTreeMap<String, Position>,
    pub ranges: BTreeMap<String, Range>,
    pub watermark: Option<Timestamp>,
    pub sink_lengths: BTreeMap<String, u64>,
    pub fingerprint: [u8; 16],
    pub layout: Vec<String>,
}

impl Covered {
    fn of(head: Head, checksum: Checksum) -> Self {
        Self {
            n: head.n,
            checksum,
            positions: head.positions,
            ranges: head.ranges,
            watermark: head.watermark,
            sink_lengths: head.sink_lengths,
            fingerprint: head.fingerprint,
            layout: head.layout,
        }
    }
}

/// The manifest that was last read or written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manifested {
    pub n: u64,
    pub version: Option<u64>,
}

/// The memory of one lane's chain.
///
/// It is good as long as every write succeeds. After anything else, a dropped future included, every further
/// write is refused: load the lane again.
pub struct Lane {
    shared: Arc<Shared>,
    key: LaneKey,
    ring: Registered,
    head: Head,
    checksum: Checksum,
    head_bytes: usize,
    before_head: Option<Covered>,
    manifest: Manifested,
    /// The floors when the lane was loaded, if it was not registered then.
    floors: BTreeMap<String, Timestamp>,
    spoiled: Option<&'static str>,
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lane({}, n {}, manifest {:?})", self.key.lane, self.head.n, self.manifest)
    }
}

impl Lane {
    pub(crate) fn new(
        shared: Arc<Shared>,
        key: LaneKey,
        ring: Registered,
        head: Head,
        checksum: Checksum,
        before_head: Option<Covered>,
        manifest: Manifested,
    ) -> Self {
        let head = Head { settled: head.settled || head.n == 0, ..head };
        Self {
            shared,
            key,
            ring,
            head,
            checksum,
            head_bytes: 0,
            before_head,
            manifest,
            floors: BTreeMap::new(),
            spoiled: None,
        }
    }

    pub(crate) fn with_floors(self, floors: BTreeMap<String, Timestamp>) -> Self {
        Self { floors, ..self }
    }

    /// Whose chain it is.
    pub fn key(&self) -> &LaneKey {
        &self.key
    }

    /// K: slots of the lane's ring.
    pub fn ring(&self) -> u16 {
        self.ring.ring
    }

    /// The last commit.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Bytes of the head as stored, if this environment committed it; else 0. Spilled bytes are not counted.
    pub fn head_bytes(&self) -> usize {
        self.head_bytes
    }

    /// The number of the next commit.
    pub fn next_number(&self) -> CommitNumber {
        self.head.n + 1
    }

    /// The commit up to which the manifest covers; without one, the number before the lane's first.
    pub fn manifest_number(&self) -> CommitNumber {
        self.manifest.n
    }

    /// Whether writes are refused until the lane is loaded again.
    pub fn is_spoiled(&self) -> bool {
        self.spoiled.is_some()
    }

    /// Notes that every request of the head is acknowledged. No I/O: the next commit is what proves it.
    pub fn settled(&mut self) {
        self.head.settled = true;
    }

    /// Whether it is time for a manifest: half of the ring is used up.
    pub fn manifest_due(&self) -> bool {
        let used = self.head.n - self.manifest.n;
        used > 0 && used >= u64::from(self.ring.ring / 2)
    }

    /// Commits `draft` as the next number: one conditional write and no read when the lane is warm. The first commit of
    /// a lane is one transaction that also registers the lane; only there `limit` matters. It is a conflict if any
    /// output was closed since the load.
    ///
    /// # Errors
    /// Invalid when the source may have only one lane and has another; Internal when the draft breaks a rule of
    /// the protocol or the lane is spoiled. In both cases nothing was written.
    pub async fn commit(&mut self, draft: Draft, limit: LaneLimit) -> Result<CommitOutcome> {
        if self.key.lane.is_close() && !draft.carry {
            return Err(self.within(Error::internal("windows are closed by a close commit only")));
        }
        self.commit_by(draft, Way::Batch(limit)).await
    }

    /// Commits `draft`, the results of closed windows, as the next number of a close lane: one transaction that also
    /// raises the output's floor in the registry, and lists the close lane with its first commit.
    ///
    /// A registry that has changed since `closing.registry_version` is a conflict, so that no lane can join unseen: read
    /// it again, decide again. The lane is then as good as before, see [`Self::is_spoiled`].
    ///
    /// # Errors
    /// Internal when the lane is not the output's close lane, when the floor would not rise, when the draft breaks a
    /// rule of the protocol, or when the lane is spoiled. Nothing was written then.
    pub async fn commit_close(&mut self, draft: Draft, closing: Closing) -> Result<CommitOutcome> {
        if draft.carry {
            return Err(self.within(Error::internal("a carry commit closes nothing")));
        }
        self.commit_by(draft, Way::Close(closing)).await
    }

    /// Whether the ring has no slot left, not even for a commit without records.
    pub(crate) fn is_full(&self) -> bool {
        self.next_number() > self.last_possible(true)
    }

    async fn commit_by(&mut self, mut draft: Draft, way: Way) -> Result<CommitOutcome> {
        self.check_usable()?;
        if draft.carry && !draft.outbox.is_empty() {
            draft.deadline = draft.deadline.max(self.head.deadline);
        }
        if self.head.sealed && !draft.carry {
            return Ok(CommitOutcome::Fenced(format!("commit {} has sealed lane {}", self.head.n, self.key.lane)));
        }
        self.check_draft(&draft)?;
        if self.next_number() > self.last_possible(draft.carry) {
            return Ok(CommitOutcome::ManifestDue);
        }
        if let Some(early) = self.check_way(&way)? {
            return Ok(early);
        }
        let attempt = self.shared.ports.random.next_u128();
        let sealed = self.head.sealed || way.seals();
        let data = self.build(&draft, sealed, attempt).await?;
        let checksum = record::checksum(&data);
        let bytes = data.len();
        let item = Item { version: self.next_number(), attempt, data };
        self.spoiled = Some("a commit did not succeed, or was broken off");
        let written = match &way {
            Way::Batch(_) if self.head.n > 0 => Written::Judged(self.put(item).await),
            Way::Batch(limit) => self.register(item, *limit).await?,
            Way::Close(closing) => self.close(item, closing).await?,
            Way::Seal => Written::Judged(self.put(item).await),
            Way::Finish => self.finish_with(item).await?,
        };
        let verdict = match written {
            Written::Judged(verdict) => verdict,
            Written::RegistryChanged => {
                self.spoiled = None;
                return Ok(CommitOutcome::Conflict);
            }
        };
        let outcome = match verdict {
            Verdict::Committed => CommitOutcome::Committed,
            Verdict::AlreadyCommitted => CommitOutcome::AlreadyCommitted,
            Verdict::Conflict => return Ok(CommitOutcome::Conflict),
            Verdict::Fenced(why) => return Ok(CommitOutcome::Fenced(why)),
            Verdict::Unknown(why) => return Ok(CommitOutcome::Unknown(why)),
            Verdict::Failed(error) => return Err(self.within(error.into())),
            Verdict::Repeat | Verdict::Read(_) => return Err(Error::internal("an undecided commit")),
        };
        self.advance(draft, sealed, checksum);
        self.head_bytes = bytes;
        Ok(outcome)
    }

    /// What can be told before anything is built, from the registry as last seen.
    fn check_way(&self, way: &Way) -> Result<Option<CommitOutcome>> {
        match way {
            Way::Batch(limit) if self.head.n == 0 => check_limit(&self.shared.known(), &self.key, *limit)?,
            Way::Batch(_) | Way::Seal | Way::Finish => {}
            Way::Close(closing) => match self.judge_close(&self.shared.known(), closing) {
                Change::Write(_) => {}
                Change::Outdated => return Ok(Some(CommitOutcome::Conflict)),
                Change::Fenced(why) => return Ok(Some(CommitOutcome::Fenced(why))),
                Change::Wrong(why) => return Err(self.within(Error::internal(why))),
            },
        }
        Ok(None)
    }

    /// Where segments of the lane's state are stored and fetched. It stays good when the lane is loaded again.
    pub fn segments(&self) -> Arc<dyn Segments> {
        Arc::new(LaneSegments { shared: Arc::clone(&self.shared), key: self.key.clone() })
    }

    /// Writes a manifest with `snapshot`, the state at the head, by compare-and-swap on the manifest last seen. Its
    /// segments are new ones of [`Self::segments`], or those of the manifest last seen.
    ///
    /// The head must be settled. A head that is a carry commit changes no state, so there the manifest covers the
    /// commit before it: a chain of carries cannot use up the ring. The objects that the manifest before named stay until
    /// a garbage collection, since a load may be reading them.
    ///
    /// # Errors
    /// Internal when the head is not settled or the lane is spoiled; Invalid with more than [`crate::MAX_SEGMENTS`].
    pub async fn write_manifest(&mut self, snapshot: impl Into<Snapshot>) -> Result<ManifestOutcome> {
        self.check_usable()?;
        let covered = if self.head.settled {
            Some(Covered::of(Head { outbox: Vec::new(), ..self.head.clone() }, self.checksum))
        } else if self.head.carry {
            self.before_head.clone()
        } else {
            return Err(self.within(Error::internal(format!("commit {} is not settled", self.head.n))));
        };
        let Some(covered) = covered.filter(|covered| covered.n > self.manifest.n) else {
            return Ok(ManifestOutcome::Unchanged);
        };
        let (n, attempt) = (covered.n, self.shared.ports.random.next_u128());
        let data = self.build_manifest(covered, snapshot.into(), attempt).await?;
        let version = self.manifest.version.map_or(1, |version| version + 1);
        let condition = self.manifest.version.map_or(Condition::Absent, Condition::Version);
        self.spoiled = Some("a manifest was not written, or its write was broken off");
        let item = Item { version, attempt, data };
        let slot = Slot { key: keys::manifest(&self.key), item, condition };
        match self.shared.put_with(slot, decide::manifest).await {
            Verdict::Committed | Verdict::AlreadyCommitted => {}
            Verdict::Conflict => return Ok(ManifestOutcome::Conflict),
            Verdict::Unknown(why) => return Ok(ManifestOutcome::Unknown(why)),
            Verdict::Failed(error) => return Err(self.within(Error::from(error).within("manifest"))),
            _ => return Err(Error::internal("an undecided manifest")),
        }
        self.spoiled = None;
        self.manifest = Manifested { n, version: Some(version) };
        Ok(ManifestOutcome::Written)
    }

    fn within(&self, error: Error) -> Error {
        error.within(format!("lane {}", self.key.lane))
    }

    fn check_usable(&self) -> Result<()> {
        match self.spoiled {
            None => Ok(()),
            Some(why) => Err(self.within(Error::internal(format!("the lane has to be loaded again: {why}")))),
        }
    }

    /// The largest number that leaves every commit behind the manifest in its slot. The last slot is kept for a carry
    /// commit: without it, a ring full of data with an unsettled head could neither carry nor write its manifest.
    fn last_possible(&self, carry: bool) -> u64 {
        self.manifest.n + u64::from(self.ring.ring) - u64::from(!carry)
    }

    fn check_draft(&self, draft: &Draft) -> Result<()> {
        let wrong = |why: String| Err(self.within(Error::internal(format!("commit {}: {why}", self.next_number()))));
        if !draft.carry && !self.head.settled {
            return wrong(format!("commit {} is not settled and this is no carry commit", self.head.n));
        }
        let moves = draft.positions != self.head.positions || draft.ranges != self.head.ranges;
        if draft.carry && (self.head.n == 0 || !draft.delta.is_empty() || moves) {
            return wrong("a carry commit takes no records and changes no state".into());
        }
        for (partition, at) in &self.head.positions {
            if draft.positions.get(partition).is_none_or(|new| new < at) {
                return wrong(format!("the position of {partition} would go back from {at}"));
            }
        }
        for (partition, range) in &draft.ranges {
            let (before, last) = (self.head.positions.get(partition), draft.positions.get(partition));
            let began = range.after.as_ref() == before && before.is_none_or(|before| range.first > *before);
            let ended = last.is_some_and(|last| range.first <= *last);
            if self.head.ranges.get(partition) != Some(range) && !(began && ended) {
                return wrong(format!("the range of {partition} does not follow the commit before it"));
            }
        }
        if draft.watermark < self.head.watermark || (draft.carry && draft.watermark != self.head.watermark) {
            return wrong("the watermark would go back, or move without records".into());
        }
        Ok(())
    }

    /// Encodes the commit; what is too large for an item is in the blob store before this returns.
    async fn build(&self, draft: &Draft, sealed: bool, attempt: u128) -> Result<Bytes> {
        let n = self.next_number();
        let (fingerprint, layout) =
            if draft.carry { (self.head.fingerprint, &self.head.layout) } else { (draft.fingerprint, &draft.layout) };
        let repeated = self.head.n > 0 && fingerprint == self.head.fingerprint;
        let mut commit = Commit {
            incarnation: self.key.incarnation,
            generation: self.key.generation,
            n,
            ring: self.ring.ring,
            previous: self.checksum,
            writer: self.shared.writer,
            attempt,
            deadline: draft.deadline,
            carry: draft.carry,
            sealed,
            birth: false,
            positions: draft.positions.clone(),
            ranges: draft.ranges.clone(),
            watermark: draft.watermark,
            sink_lengths: draft.sink_lengths.clone(),
            fingerprint,
            layout: (!repeated).then(|| layout.clone()),
            delta: Payload::Inline(draft.delta.clone()),
            outbox: draft.outbox.iter().map(StoredEntry::inline).collect(),
        };
        let limit = self.shared.options.inline_limit;
        let mut data = commit.encode()?;
        let outbox_bytes: u64 = commit.outbox.iter().map(|entry| entry.payload.len()).sum();
        let delta_first = commit.delta.len() > outbox_bytes;
        // The larger part first; often that is enough.
        for spill_delta in [delta_first, !delta_first] {
            if data.len() <= limit {
                break;
            }
            let mut payloads: Vec<&mut Payload> = match spill_delta {
                true => vec![&mut commit.delta],
                false => commit.outbox.iter_mut().map(|entry| &mut entry.payload).collect(),
            };
            if !payloads.is_empty() {
                blobs::spill(&self.shared.ports, &self.key, n, attempt, &mut payloads).await?;
                data = commit.encode()?;
            }
        }
        self.check_size(data, "a commit")
    }

    async fn build_manifest(&self, covered: Covered, snapshot: Snapshot, attempt: u128) -> Result<Bytes> {
        snapshot.check().map_err(|e| self.within(e))?;
        let mut manifest = Manifest {
            incarnation: self.key.incarnation,
            generation: self.key.generation,
            ring: self.ring.ring,
            n: covered.n,
            checksum: covered.checksum,
            writer: self.shared.writer,
            attempt,
            positions: covered.positions,
            ranges: covered.ranges,
            watermark: covered.watermark,
            sink_lengths: covered.sink_lengths,
            fingerprint: covered.fingerprint,
            layout: covered.layout,
            snapshot: Payload::Inline(snapshot.rest),
            segments: snapshot.segments,
        };
        let mut data = manifest.encode()?;
        if data.len() > self.shared.options.inline_limit {
            let (n, payloads) = (manifest.n, &mut [&mut manifest.snapshot]);
            blobs::spill(&self.shared.ports, &self.key, n, attempt, payloads).await?;
            data = manifest.encode()?;
        }
        self.check_size(data, "a manifest")
    }

    fn check_size(&self, data: Bytes, what: &str) -> Result<Bytes> {
        let limit = self.shared.options.inline_limit;
        if data.len() <= limit {
            return Ok(data);
        }
        let message = format!("{what} needs {} bytes beside its spilled parts, the limit is {limit}", data.len());
        Err(self.within(Error::invalid(message).with_help("use smaller batches or larger requests")))
    }

    /// The new head after a commit that succeeded.
    fn advance(&mut self, draft: Draft, sealed: bool, checksum: Checksum) {
        self.spoiled = None;
        let carry = draft.carry;
        let (fingerprint, layout) = match carry {
            true => (self.head.fingerprint, self.head.layout.clone()),
            false => (draft.fingerprint, draft.layout),
        };
        let head = Head {
            n: self.next_number(),
            positions: draft.positions,
            ranges: draft.ranges,
            watermark: draft.watermark,
            sink_lengths: draft.sink_lengths,
            settled: draft.outbox.is_empty(),
            outbox: draft.outbox,
            carry,
            sealed,
            writer: self.shared.writer,
            deadline: draft.deadline,
            fingerprint,
            layout,
        };
        let before = std::mem::replace(&mut self.head, head);
        let before_checksum = std::mem::replace(&mut self.checksum, checksum);
        self.before_head = (before.n > 0).then(|| Covered::of(before, before_checksum));
    }
}
