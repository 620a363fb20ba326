//! Seals in the store: put once, read by the closer, removed when their windows are closed.

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use sha2::{Digest, Sha256};
use tidegate_core::{Error, ErrorKind, Result};

use crate::blobs::{self, FetchError};
use crate::decide::{self, Answer, Verdict};
use crate::keys;
use crate::load;
use crate::pipeline::{Pipeline, Shared};
use crate::ports::{Condition, Item, ItemKey, PutOutcome, StoreError};
use crate::record::seal::{Seal, SealItem};
use crate::record::{BlobPart, Payload};
use crate::retry::{self, MAX_THROTTLED_TRIES};

/// Version of a seal's item: it never changes.
const VERSION: u64 = 1;
/// Seals that one call of [`Pipeline::remove_seals`] removes at most. The next call goes on.
pub const MAX_SEALS_REMOVED: usize = 1_000;

/// What became of a seal. Both mean that it is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealOutcome {
    /// This call has stored it.
    Stored,
    /// It was there, with the same bytes.
    AlreadyStored,
}

/// A seal as it was found in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSeal {
    /// The seal, without its rows: [`Pipeline::seal_rows`] has them.
    pub seal: Seal,
    item: SealItem,
    attempt: u128,
}

impl StoredSeal {
    /// Length of its rows.
    pub fn rows_bytes(&self) -> u64 {
        self.item.rows.len()
    }
}

impl Pipeline {
    /// Stores a seal as it stands in an outbox. Its place follows from what it says, so a repeat finds it there. Rows that
    /// make the item too large go to the blob store first.
    ///
    /// # Errors
    /// Unavailable when the outcome is not known: repeat it. Internal when another payload is stored under the seal's
    /// id. Fenced when another incarnation or a newer build has stored it.
    pub async fn put_seal(&self, payload: &Bytes) -> Result<SealOutcome> {
        let seal = Seal::decode(payload)?;
        let within = |e: Error| e.within(format!("seal {}.{} of lane {}", seal.n, seal.part, seal.lane));
        let key = keys::seal(&self.shared.name, self.shared.generation, &seal);
        let hash: [u8; 32] = Sha256::digest(payload).into();
        let attempt = self.shared.ports.random.next_u128();
        let verdict = match build(&self.shared, &key, &seal, attempt, hash).await.map_err(within)? {
            Built::Item(data) => put(&self.shared, &key, Item { version: VERSION, attempt, data }, &hash).await,
            Built::There(verdict) => verdict,
        };
        match verdict {
            Verdict::Committed => Ok(SealOutcome::Stored),
            Verdict::AlreadyCommitted => Ok(SealOutcome::AlreadyStored),
            Verdict::Conflict => Err(within(
                Error::internal("the store holds another payload under the same id")
                    .with_help("two writers have committed under one number, or the state was restored in part"),
            )),
            Verdict::Fenced(why) => Err(within(Error::new(ErrorKind::Fenced, why))),
            Verdict::Unknown(why) => Err(within(StoreError::Unknown(why).into())),
            Verdict::Failed(error) => Err(within(error.into())),
            Verdict::Repeat | Verdict::Read(_) => Err(within(Error::internal("an undecided put"))),
        }
    }

    /// All seals of an output, strongly read, by lane and number. Their rows are not fetched.
    pub async fn seals(&self, output: &str) -> Result<Vec<StoredSeal>> {
        let partition = keys::seals(&self.shared.name, self.shared.generation, output);
        let store = &self.shared.ports.store;
        let items = retry::read(&self.shared.ports, || store.query(&partition)).await;
        let items = items.map_err(|e| Error::from(e).within(format!("reading {partition}")))?;
        items.iter().map(|(key, item)| self.stored_seal(key, item)).collect()
    }

    fn stored_seal(&self, key: &ItemKey, item: &Item) -> Result<StoredSeal> {
        let attempt = item.attempt;
        let item = SealItem::decode(&item.data).map_err(|e| Error::from(e).within(key))?;
        if item.incarnation != self.shared.incarnation {
            let why = format!("it was written by another incarnation of the pipeline ({})", item.incarnation);
            return Err(Error::new(ErrorKind::Fenced, why)
                .within(key)
                .with_help("the state was deleted in part or mixed with another pipeline's: use a state of its own"));
        }
        Ok(StoredSeal { seal: item.seal.clone(), item, attempt })
    }

    /// The rows of a seal, fetched from the blob store if they are not in the item.
    ///
    /// Only for seals whose windows are open: the rows of closed ones may be gone.
    pub async fn seal_rows(&self, stored: &StoredSeal) -> Result<Bytes> {
        let part = match &stored.item.rows {
            Payload::Inline(rows) => return Ok(rows.clone()),
            Payload::Blob(part) => part,
        };
        let key = keys::seal_blob(&self.shared.name, &stored.item, stored.attempt, &part.hash);
        match blobs::read(&self.shared.ports, &key, &part.hash).await {
            Ok(rows) => Ok(rows),
            Err(FetchError::Failed(error)) => Err(error),
            Err(FetchError::Missing(key)) => Err(Error::internal(format!("object {key} is missing"))
                .with_help("the rows of a sealed window are gone: restore the object, or start a new generation")),
        }
    }

    /// Removes seals that nobody needs any more, by the floor that the registry shows, and at most
    /// `MAX_SEALS_REMOVED` of them. How many it has removed; those that were slow or gone are not counted.
    pub async fn remove_seals(&self, output: &str) -> Result<usize> {
        let Some(floor) = self.registry().await?.floors.get(output).copied() else { return Ok(0) };
        let stored = self.seals(output).await?;
        let seals: Vec<&Seal> = stored.iter().map(|stored| &stored.seal).collect();
        let garbage = decide::seals::garbage_seals(&seals, floor);
        let removed: Vec<bool> = stream::iter(garbage.into_iter().take(MAX_SEALS_REMOVED))
            .map(|place| self.remove_seal(&stored[place]))
            .buffered(self.shared.options.load_concurrency)
            .try_collect()
            .await?;
        Ok(removed.into_iter().filter(|removed| *removed).count())
    }

    async fn remove_seal(&self, stored: &StoredSeal) -> Result<bool> {
        let ports = &self.shared.ports;
        let key = keys::seal(&self.shared.name, self.shared.generation, &stored.seal);
        match ports.store.delete_if(&key, VERSION).await {
            Ok(PutOutcome::Applied) => {}
            // It goes with the next call.
            Ok(PutOutcome::Refused(_)) | Err(StoreError::Throttled | StoreError::Unknown(_)) => return Ok(false),
            Err(error) => return Err(Error::from(error).within(format!("removing {key}"))),
        }
        if let Payload::Blob(part) = &stored.item.rows {
            let object = keys::seal_blob(&self.shared.name, &stored.item, stored.attempt, &part.hash);
            // One that stays is found by the collection of objects.
            let _ = ports.blobs.delete(&object).await;
        }
        Ok(true)
    }
}

enum Built {
    /// The bytes of the item. Rows that make it too large are in the blob store.
    Item(Bytes),
    /// Something is stored already, and this is what it means.
    There(Verdict),
}

async fn build(shared: &Shared, key: &ItemKey, seal: &Seal, attempt: u128, hash: [u8; 32]) -> Result<Built> {
    let mut item = SealItem {
        incarnation: shared.incarnation,
        generation: shared.generation,
        hash,
        seal: Seal { rows: Bytes::new(), ..seal.clone() },
        rows: Payload::Inline(seal.rows.clone()),
    };
    let data = item.encode()?;
    if data.len() <= shared.options.inline_limit {
        return Ok(Built::Item(data));
    }
    // A read is cheaper than an object that nobody needs.
    if let Some(found) = load::get(shared, key.clone()).await? {
        let answer = Answer::Refused(Some(found));
        return Ok(Built::There(decide::seals::seal(shared.incarnation, &hash, answer, false)));
    }
    let name = |hash: &[u8; 32]| keys::seal_blob(&shared.name, &item, attempt, hash);
    let hash = blobs::store(&shared.ports, &seal.rows, name).await?;
    item.rows = Payload::Blob(BlobPart { hash, offset: 0, length: seal.rows.len() as u64 });
    item.encode().map(Built::Item)
}

async fn put(shared: &Shared, key: &ItemKey, item: Item, hash: &[u8; 32]) -> Verdict {
    let mut tries = 0;
    loop {
        tries += 1;
        let answer = match shared.ports.store.put_if(key, item.clone(), Condition::Absent).await {
            Ok(PutOutcome::Applied) => Answer::Applied,
            Ok(PutOutcome::Refused(old)) => Answer::Refused(old),
            Err(error) => Answer::Failed(error),
        };
        match decide::seals::seal(shared.incarnation, hash, answer, tries < MAX_THROTTLED_TRIES) {
            Verdict::Repeat => retry::pause(&shared.ports, tries).await,
            Verdict::Read(doubt) => {
                return match shared.ports.store.get(key).await {
                    Ok(slot) => decide::seals::seal(shared.incarnation, hash, Answer::Read { slot, doubt }, false),
                    Err(error) => Verdict::Unknown(error.to_string()),
                };
            }
            verdict => return verdict,
        }
    }
}
