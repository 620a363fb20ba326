//! Bytes that are too large for an item: packed into objects before the item is written, fetched after it is read.
//!
//! An object that no commit and no manifest refers to may be left over: by a commit that lost its slot, by a commit
//! that was overwritten, by an older manifest. They are harmless and are left for a garbage collection.

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tidegate_core::{Error, LaneKey, Result};

use crate::keys;
use crate::options::Ports;
use crate::ports::StoreError;
use crate::record::{self, BlobPart, DecodeError, Kind, Payload};
use crate::retry;

/// Moves the bytes of `payloads` into one object and stores it.
pub(crate) async fn spill(
    ports: &Ports,
    lane: &LaneKey,
    n: u64,
    attempt: u128,
    payloads: &mut [&mut Payload],
) -> Result<()> {
    let mut content = Vec::new();
    for payload in payloads.iter() {
        if let Payload::Inline(bytes) = &**payload {
            content.extend_from_slice(bytes);
        }
    }
    let hash = store(ports, &content, |hash| keys::blob(lane, n, attempt, hash)).await?;
    let mut offset = 0;
    for payload in payloads.iter_mut() {
        if let Payload::Inline(bytes) = &**payload {
            let length = bytes.len() as u64;
            **payload = Payload::Blob(BlobPart { hash, offset, length });
            offset += length;
        }
    }
    Ok(())
}

/// Stores `content` as one object, named after its hash.
pub(crate) async fn store(ports: &Ports, content: &[u8], name: impl FnOnce(&[u8; 32]) -> String) -> Result<[u8; 32]> {
    let object = record::frame(Kind::Blob, content)?;
    let hash: [u8; 32] = Sha256::digest(&object).into();
    let key = name(&hash);
    retry::read(ports, || ports.blobs.put(&key, object.clone())).await.map_err(Error::from)?;
    Ok(hash)
}

/// The content of an object, checked against its hash.
pub(crate) async fn read(ports: &Ports, key: &str, hash: &[u8; 32]) -> Result<Bytes, FetchError> {
    let object = match retry::read(ports, || ports.blobs.get(key)).await {
        Ok(Some(object)) => object,
        Ok(None) => return Err(FetchError::Missing(key.to_owned())),
        Err(error) => return Err(FetchError::Failed(error.into())),
    };
    let found: [u8; 32] = Sha256::digest(&object).into();
    if found != *hash {
        return Err(FetchError::Failed(damaged(key, "its content does not match its name")));
    }
    let content = record::unframe(Kind::Blob, &object);
    content.map(Bytes::from).map_err(|e| FetchError::Failed(Error::from(e).within(format!("object {key}"))))
}

/// Why bytes could not be fetched.
#[derive(Debug)]
pub(crate) enum FetchError {
    /// The object is gone: the manifest has moved on, so load again.
    Missing(String),
    /// Loading again does not help.
    Failed(Error),
}

/// Fetches pieces of objects, remembering the last object: neighbours usually share one.
pub(crate) struct Fetcher<'a> {
    ports: &'a Ports,
    lane: &'a LaneKey,
    last: Option<(String, Bytes)>,
    /// Objects read so far.
    pub reads: u32,
}

impl<'a> Fetcher<'a> {
    pub(crate) fn new(ports: &'a Ports, lane: &'a LaneKey) -> Self {
        Self { ports, lane, last: None, reads: 0 }
    }

    /// The bytes of a payload of commit or manifest `n`, written under `attempt`.
    pub(crate) async fn fetch(&mut self, n: u64, attempt: u128, payload: &Payload) -> Result<Bytes, FetchError> {
        let part = match payload {
            Payload::Inline(bytes) => return Ok(bytes.clone()),
            Payload::Blob(part) => part,
        };
        let key = keys::blob(self.lane, n, attempt, &part.hash);
        let content = match &self.last {
            Some((last, content)) if *last == key => content.clone(),
            _ => self.object(&key, part).await?,
        };
        self.last = Some((key.clone(), content.clone()));
        let range = usize::try_from(part.offset).ok().zip(usize::try_from(part.length).ok());
        range
            .and_then(|(from, length)| Some((from, from.checked_add(length)?)))
            .filter(|(_, to)| *to <= content.len())
            .map(|(from, to)| content.slice(from..to))
            .ok_or_else(|| FetchError::Failed(damaged(&key, "it is shorter than what refers to it")))
    }

    async fn object(&mut self, key: &str, part: &BlobPart) -> Result<Bytes, FetchError> {
        self.reads += 1;
        read(self.ports, key, &part.hash).await
    }
}

fn damaged(key: &str, why: &str) -> Error {
    Error::from(DecodeError::Damaged(why.into())).within(format!("object {key}"))
}

impl From<StoreError> for FetchError {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}
