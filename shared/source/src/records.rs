//! The records of one partition in one micro-batch: payloads in one buffer, what belongs to them beside it.

use std::ops::Range;

use md5::{Digest, Md5};
use tidegate_core::{Position, Timestamp};

/// One partition's records of one micro-batch, in the order in which they came.
///
/// Payloads stand one behind the other in one buffer, so that a batch costs a handful of allocations.
/// A record may be marked as undecodable when it is taken in (broken base64, broken gzip, too long a line);
/// its payload is then its original bytes and the decoder reports it as rejected.
#[derive(Clone, Debug, Default)]
pub struct Records {
    payloads: Vec<u8>,
    keys: Vec<u8>,
    entries: Vec<Entry>,
    headers: Vec<Vec<(String, Vec<u8>)>>,
    faults: Vec<String>,
    /// Whether the stream chose the partition by a hash of the key.
    hashed: bool,
    /// Hashes that do not follow from the record's key.
    hashes: Vec<Option<u128>>,
}

#[derive(Clone, Debug)]
struct Entry {
    position: Position,
    arrival: Option<Timestamp>,
    start: usize,
    len: usize,
    key_start: usize,
    /// `NONE` stands for "no key".
    key_len: u32,
    /// Index into `headers`, or `NONE`.
    headers: u32,
    /// Index into `faults`, or `NONE`.
    fault: u32,
    /// Index into `hashes`, or `NONE`: the key's own.
    hash: u32,
}

const NONE: u32 = u32::MAX;

/// One record of [`Records`].
#[derive(Clone, Copy, Debug)]
pub struct RecordRef<'a> {
    /// Where it stands in its partition.
    pub position: Position,
    /// When the source took it in.
    pub arrival: Option<Timestamp>,
    /// Kinesis partition key or Kafka key.
    pub key: Option<&'a [u8]>,
    /// Kafka headers, in the order in which they came.
    pub headers: &'a [(String, Vec<u8>)],
    /// The payload, uncompressed; the original bytes when `fault` is set.
    pub payload: &'a [u8],
    /// Why the payload cannot be read, if so.
    pub fault: Option<&'a str>,
}

impl Records {
    /// No records.
    pub fn new() -> Self {
        Self::default()
    }

    /// No records, with room for `records` with `bytes` of payload together.
    pub fn with_capacity(records: usize, bytes: usize) -> Self {
        Self { payloads: Vec::with_capacity(bytes), entries: Vec::with_capacity(records), ..Self::default() }
    }

    /// Adds a record behind the others.
    pub fn push(
        &mut self,
        position: Position,
        arrival: Option<Timestamp>,
        key: Option<&[u8]>,
        headers: Vec<(String, Vec<u8>)>,
        payload: &[u8],
    ) {
        let start = self.payloads.len();
        self.payloads.extend_from_slice(payload);
        self.finish(Meta { position, arrival, key, headers }, start);
    }

    /// Adds a record whose payload cannot be read. `payload` is kept for its dead letter, `reason` says why.
    pub fn push_undecodable(
        &mut self,
        position: Position,
        arrival: Option<Timestamp>,
        key: Option<&[u8]>,
        headers: Vec<(String, Vec<u8>)>,
        payload: &[u8],
        reason: impl Into<String>,
    ) {
        self.push(position, arrival, key, headers, payload);
        self.mark_last(reason.into());
    }

    /// The buffer to append a payload to, before [`Self::finish`].
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.payloads
    }

    /// Makes a record of everything in the buffer from `start` on.
    pub(crate) fn finish(&mut self, meta: Meta<'_>, start: usize) {
        let key_start = self.keys.len();
        let key_len = match meta.key {
            Some(key) => {
                self.keys.extend_from_slice(key);
                index(key.len())
            }
            None => NONE,
        };
        let headers = if meta.headers.is_empty() {
            NONE
        } else {
            self.headers.push(meta.headers);
            index(self.headers.len() - 1)
        };
        self.entries.push(Entry {
            position: meta.position,
            arrival: meta.arrival,
            start,
            len: self.payloads.len() - start,
            key_start,
            key_len,
            headers,
            fault: NONE,
            hash: NONE,
        });
    }

    /// Declares the last record undecodable: it becomes a dead letter with this reason.
    pub fn mark_last(&mut self, reason: String) {
        if let Some(entry) = self.entries.last_mut() {
            entry.fault = index(self.faults.len());
            self.faults.push(reason);
        }
    }

    /// Says that the stream chose the partition of these records by the MD5 of their keys, as Kinesis does.
    pub fn set_hashed(&mut self) {
        self.hashed = true;
    }

    /// Says what the last record was put into its partition by, where that is not the MD5 of its key. `None`: unknown.
    pub fn hash_last(&mut self, hash: Option<u128>) {
        if let Some(entry) = self.entries.last_mut() {
            entry.hash = index(self.hashes.len());
            self.hashes.push(hash);
        }
    }

    /// Whether the stream chose the partition of these records by a hash.
    pub fn is_hashed(&self) -> bool {
        self.hashed
    }

    /// The hash that chose the partition of the `i`-th record, as far as the record tells. A producer may have named
    /// another one (`ExplicitHashKey`), which no event says. `None`: unknown. Panics when there are fewer records.
    pub fn hash(&self, i: usize) -> Option<u128> {
        let entry = &self.entries[i];
        match entry.hash {
            NONE => self.get(i).key.filter(|_| self.hashed).map(key_hash),
            place => self.hashes[place as usize],
        }
    }

    /// Some of the records, with nothing of the others.
    pub fn copy_of(&self, places: Range<usize>) -> Self {
        let mut copy = Self::new();
        copy.hashed = self.hashed;
        for place in places {
            let RecordRef { position, arrival, key, headers, payload, fault } = self.get(place);
            copy.push(position, arrival, key, headers.to_vec(), payload);
            if let Some(reason) = fault {
                copy.mark_last(reason.to_owned());
            }
            if let Some(hash) = self.hashes.get(self.entries[place].hash as usize) {
                copy.hash_last(*hash);
            }
        }
        copy
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The `i`-th record. Panics when there are fewer, as slices do.
    pub fn get(&self, i: usize) -> RecordRef<'_> {
        let entry = &self.entries[i];
        RecordRef {
            position: entry.position,
            arrival: entry.arrival,
            key: (entry.key_len != NONE).then(|| &self.keys[entry.key_start..entry.key_start + entry.key_len as usize]),
            headers: self.headers.get(entry.headers as usize).map_or(&[], Vec::as_slice),
            payload: &self.payloads[entry.start..entry.start + entry.len],
            fault: self.faults.get(entry.fault as usize).map(String::as_str),
        }
    }

    /// Payload and fault of the `i`-th record: what decoding needs of it.
    pub(crate) fn payload(&self, i: usize) -> (&[u8], Option<&str>) {
        let entry = &self.entries[i];
        let fault = if entry.fault == NONE { None } else { Some(self.faults[entry.fault as usize].as_str()) };
        (&self.payloads[entry.start..entry.start + entry.len], fault)
    }

    /// All records in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = RecordRef<'_>> {
        (0..self.len()).map(|i| self.get(i))
    }

    /// Bytes of payload held.
    pub fn bytes(&self) -> usize {
        self.payloads.len()
    }

    /// Whether every payload held is ASCII, so that no single one has to be checked for UTF-8.
    pub(crate) fn is_ascii(&self) -> bool {
        self.payloads.is_ascii()
    }

    /// Drops all records and keeps the memory.
    pub fn clear(&mut self) {
        self.payloads.clear();
        self.keys.clear();
        self.entries.clear();
        self.headers.clear();
        self.faults.clear();
        self.hashes.clear();
    }

    /// Drops every record at or below `committed`, wherever it stands; the others keep their order.
    pub fn skip_through(&mut self, committed: Option<Position>) {
        if let Some(committed) = committed {
            self.entries.retain(|entry| entry.position > committed);
        }
    }

    /// Keeps the first `len` records.
    pub fn truncate(&mut self, len: usize) {
        self.entries.truncate(len);
    }

    /// The largest position, wherever it stands.
    pub fn last_position(&self) -> Option<Position> {
        self.entries.iter().map(|entry| entry.position).max()
    }
}

/// What belongs to a payload.
pub(crate) struct Meta<'a> {
    pub position: Position,
    pub arrival: Option<Timestamp>,
    pub key: Option<&'a [u8]>,
    pub headers: Vec<(String, Vec<u8>)>,
}

/// What Kinesis puts a record into its shard by.
pub(crate) fn key_hash(key: &[u8]) -> u128 {
    u128::from_be_bytes(Md5::digest(key).into())
}

fn index(i: usize) -> u32 {
    u32::try_from(i).ok().filter(|i| *i != NONE).expect("a batch has far fewer than 2^32 records and key bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(numbers: &[u64]) -> Records {
        let mut records = Records::new();
        for n in numbers {
            records.push(Position::new(*n), None, None, Vec::new(), n.to_string().as_bytes());
        }
        records
    }

    #[test]
    fn skips_by_position_wherever_a_record_stands() {
        let mut records = numbered(&[5, 3, 9, 5, 10]);
        assert_eq!(records.last_position(), Some(Position::new(10)));
        records.skip_through(Some(Position::new(5)));
        let left: Vec<_> = records.iter().map(|r| r.payload.to_vec()).collect();
        assert_eq!(left, [b"9".to_vec(), b"10".to_vec()]);
        records.truncate(1);
        assert_eq!(records.last_position(), Some(Position::new(9)));
        records.skip_through(None);
        assert_eq!(records.len(), 1);
        records.clear();
        assert!(records.is_empty() && records.last_position().is_none());
    }

    #[test]
    fn keeps_what_belongs_to_a_record() {
        let mut records = Records::with_capacity(2, 10);
        let headers = vec![("h".to_owned(), vec![1, 2])];
        records.push(Position::new(1), Some(Timestamp(7)), Some(b"k"), headers.clone(), b"a");
        records.push_undecodable(Position::new(2), None, Some(b""), Vec::new(), b"raw", "broken");
        let first = records.get(0);
        assert_eq!((first.key, first.headers, first.arrival), (Some(&b"k"[..]), &headers[..], Some(Timestamp(7))));
        let second = records.get(1);
        assert_eq!((second.key, second.payload, second.fault), (Some(&b""[..]), &b"raw"[..], Some("broken")));
    }
}
