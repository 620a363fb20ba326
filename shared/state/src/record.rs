//! What is persisted, one file per kind of record, and the frame that all kinds share.
//!
//! A frame is `[format version][kind][length of the body, 4 bytes LE][zstd level 1 of the body][check, 8 bytes]`,
//! where the body is the record in postcard and the check is the head of SHA-256 over all that stands before it.
//! Each kind counts its own format versions, so that a change of one leaves the others readable for older builds. Old
//! versions stay readable; a newer one is refused, never guessed at.

use std::cell::RefCell;
use std::fmt;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use tidegate_core::{Error, ErrorKind, Position, Sequence};

use crate::range::Range;

pub mod commit;
pub mod garbage;
pub mod manifest;
pub mod mark;
pub mod registry;
pub mod seal;
pub mod tries;

/// The newest format of commits that this build reads. It writes the oldest one that says all there is to say.
pub const COMMIT_FORMAT: u8 = 2;
/// The same of manifests.
pub const MANIFEST_FORMAT: u8 = 2;
/// The newest format of registries that this build reads, and the one it writes.
pub const REGISTRY_FORMAT: u8 = 2;
/// The same of seals.
pub const SEAL_FORMAT: u8 = 1;
/// The same of marks of generations.
pub const MARK_FORMAT: u8 = 1;
/// The same of what the collection of garbage remembers.
pub const GARBAGE_FORMAT: u8 = 1;
/// The same of markers of records that may kill: as with commits, the oldest one that says all.
pub const TRIES_FORMAT: u8 = 2;
/// The same of objects in the blob store.
pub const BLOB_FORMAT: u8 = 1;

/// Bytes that a record or an object may have before compression. What is larger is not written and not read.
pub const MAX_BODY: usize = 1 << 30;

const HEADER: usize = 6;
const CHECK: usize = 8;

/// The first 16 bytes of the SHA-256 of a stored record: what the next commit of the chain carries.
pub type Checksum = [u8; 16];

/// Why a record cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// Written by a build that is newer than this one.
    Newer {
        /// Its format.
        format: u8,
        /// The newest one that this build reads.
        newest: u8,
    },
    /// Not what was written.
    Damaged(String),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newer { format, newest } => write!(
                f,
                "state written by a newer version (format {format}, this build reads up to {newest}): upgrade Tidegate"
            ),
            Self::Damaged(why) => write!(f, "damaged record: {why}"),
        }
    }
}

impl std::error::Error for DecodeError {}

impl From<DecodeError> for Error {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::Newer { .. } => Self::new(ErrorKind::Fenced, error.to_string()),
            DecodeError::Damaged(_) => {
                Self::internal(error.to_string()).with_help("keep a copy of the state, then restore it from a backup")
            }
        }
    }
}

/// Kinds of framed bytes, so that one is never taken for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Commit = b'C' as isize,
    Manifest = b'M' as isize,
    Registry = b'R' as isize,
    Blob = b'B' as isize,
    Seal = b'S' as isize,
    SealItem = b's' as isize,
    Mark = b'G' as isize,
    Garbage = b'X' as isize,
    Tries = b'T' as isize,
}

impl Kind {
    /// The newest format of this kind that this build reads.
    pub(crate) const fn format(self) -> u8 {
        match self {
            Self::Commit => COMMIT_FORMAT,
            Self::Manifest => MANIFEST_FORMAT,
            Self::Registry => REGISTRY_FORMAT,
            Self::Blob => BLOB_FORMAT,
            Self::Seal | Self::SealItem => SEAL_FORMAT,
            Self::Mark => MARK_FORMAT,
            Self::Garbage => GARBAGE_FORMAT,
            Self::Tries => TRIES_FORMAT,
        }
    }
}

/// The checksum of stored bytes.
pub fn checksum(stored: &[u8]) -> Checksum {
    head(Sha256::digest(stored).as_slice())
}

fn head<const N: usize>(hash: &[u8]) -> [u8; N] {
    std::array::from_fn(|i| hash[i])
}

thread_local! {
    // A context costs more to make than a commit costs to compress.
    static COMPRESSOR: RefCell<Option<zstd::bulk::Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

fn decompress(stored: &[u8], length: usize) -> std::io::Result<Vec<u8>> {
    DECOMPRESSOR.with_borrow_mut(|slot| {
        let decompressor = match slot {
            Some(decompressor) => decompressor,
            None => slot.insert(zstd::bulk::Decompressor::new()?),
        };
        decompressor.decompress(stored, length)
    })
}

fn compress(body: &[u8], into: &mut Vec<u8>) -> std::io::Result<()> {
    COMPRESSOR.with_borrow_mut(|slot| {
        let compressor = match slot {
            Some(compressor) => compressor,
            None => slot.insert(zstd::bulk::Compressor::new(1)?),
        };
        into.extend_from_slice(&compressor.compress(body)?);
        Ok(())
    })
}

pub(crate) fn frame(kind: Kind, body: &[u8]) -> Result<Bytes, Error> {
    frame_as(kind, kind.format(), body)
}

fn frame_as(kind: Kind, format: u8, body: &[u8]) -> Result<Bytes, Error> {
    let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= MAX_BODY).ok_or_else(|| {
        Error::invalid(format!("a record of {} bytes is larger than the limit of {MAX_BODY}", body.len()))
            .with_help("use smaller batches, or windows that close sooner")
    })?;
    let mut out = Vec::with_capacity(HEADER + body.len() / 2 + CHECK + 64);
    out.extend_from_slice(&[format, kind as u8]);
    out.extend_from_slice(&length.to_le_bytes());
    compress(body, &mut out).map_err(|e| Error::internal("compressing a record failed").with_source(e))?;
    let check: [u8; CHECK] = head(Sha256::digest(&out).as_slice());
    out.extend_from_slice(&check);
    Ok(out.into())
}

/// The format version of stored bytes, if it can be read by this build.
fn format_of(kind: Kind, stored: &[u8]) -> Result<u8, DecodeError> {
    match *stored {
        [] | [_] | [0, ..] => Err(DecodeError::Damaged("it has no format version".into())),
        [_, found, ..] if found != kind as u8 => {
            Err(DecodeError::Damaged(format!("it is of kind {found}, not of kind {}", kind as u8)))
        }
        [format, ..] if format > kind.format() => Err(DecodeError::Newer { format, newest: kind.format() }),
        [format, ..] => Ok(format),
    }
}

pub(crate) fn unframe(kind: Kind, stored: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let damaged = |why: &str| DecodeError::Damaged(why.into());
    format_of(kind, stored)?;
    let at = stored.len().checked_sub(CHECK).filter(|at| *at >= HEADER).ok_or_else(|| damaged("it is cut off"))?;
    let (framed, check) = stored.split_at(at);
    if head::<CHECK>(Sha256::digest(framed).as_slice()) != check {
        return Err(damaged("its check does not match"));
    }
    let length = u32::from_le_bytes(head(&framed[2..HEADER])) as usize;
    if length > MAX_BODY {
        return Err(damaged("it claims to be larger than any record"));
    }
    let body = decompress(&framed[HEADER..], length).map_err(|e| damaged(&e.to_string()))?;
    if body.len() == length { Ok(body) } else { Err(damaged("its length does not match")) }
}

pub(crate) fn encode<T: Serialize>(kind: Kind, record: &T) -> Result<Bytes, Error> {
    encode_as(kind, kind.format(), record)
}

/// The record in a format that is not the newest.
pub(crate) fn encode_as<T: Serialize>(kind: Kind, format: u8, record: &T) -> Result<Bytes, Error> {
    let body = postcard::to_stdvec(record).map_err(|e| Error::internal("encoding a record failed").with_source(e))?;
    frame_as(kind, format, &body)
}

pub(crate) fn decode<T: DeserializeOwned>(kind: Kind, stored: &[u8]) -> Result<T, DecodeError> {
    let body = unframe(kind, stored)?;
    decode_body(&body)
}

fn decode_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, DecodeError> {
    let (record, rest) = postcard::take_from_bytes(body).map_err(|e| DecodeError::Damaged(e.to_string()))?;
    if rest.is_empty() { Ok(record) } else { Err(DecodeError::Damaged("bytes are left over".into())) }
}

/// Bytes of a record: kept in it, or in an object of their own.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Payload {
    /// In the record.
    Inline(#[serde(with = "raw_bytes")] Bytes),
    /// A part of an object.
    Blob(BlobPart),
}

impl Payload {
    /// Length of the bytes that are meant.
    pub fn len(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Blob(part) => part.length,
        }
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(bytes) => write!(f, "Inline({} bytes)", bytes.len()),
            Self::Blob(part) => part.fmt(f),
        }
    }
}

/// A piece of an object. The object's name follows from the record that refers to it and from the hash.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct BlobPart {
    /// SHA-256 of the stored object.
    pub hash: [u8; 32],
    /// Where the piece starts in the object's content.
    pub offset: u64,
    /// Its length.
    pub length: u64,
}

/// Bytes as one run instead of a sequence of numbers.
mod raw_bytes {
    use std::fmt;

    use serde::de::{Error, Visitor};
    use serde::{Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &impl AsRef<[u8]>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(bytes.as_ref())
    }

    struct Raw;

    impl Visitor<'_> for Raw {
        type Value = Vec<u8>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bytes")
        }

        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
            Ok(bytes.to_vec())
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>, B: From<Vec<u8>>>(from: D) -> Result<B, D::Error> {
        from.deserialize_bytes(Raw).map(B::from)
    }
}

/// A position without its leading zero bytes: 256 bits would be mostly zeros.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct StoredPosition {
    #[serde(with = "raw_bytes")]
    sequence: Vec<u8>,
    sub: u64,
}

impl From<&Position> for StoredPosition {
    fn from(position: &Position) -> Self {
        let bytes = position.sequence.to_be_bytes();
        let zeros = bytes.iter().take_while(|b| **b == 0).count();
        Self { sequence: bytes[zeros..].to_vec(), sub: position.sub }
    }
}

impl TryFrom<StoredPosition> for Position {
    type Error = DecodeError;

    fn try_from(stored: StoredPosition) -> Result<Self, DecodeError> {
        let length = stored.sequence.len();
        if length > 32 {
            return Err(DecodeError::Damaged(format!("a position of {length} bytes")));
        }
        let mut bytes = [0; 32];
        bytes[32 - length..].copy_from_slice(&stored.sequence);
        Ok(Self { sequence: Sequence::from_be_bytes(bytes), sub: stored.sub })
    }
}

/// A range as it is stored.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct StoredRange {
    after: Option<StoredPosition>,
    first: StoredPosition,
}

impl From<&Range> for StoredRange {
    fn from(range: &Range) -> Self {
        Self { after: range.after.as_ref().map(StoredPosition::from), first: (&range.first).into() }
    }
}

impl TryFrom<StoredRange> for Range {
    type Error = DecodeError;

    fn try_from(stored: StoredRange) -> Result<Self, DecodeError> {
        Ok(Self { after: stored.after.map(Position::try_from).transpose()?, first: stored.first.try_into()? })
    }
}

#[cfg(test)]
mod tests;
