//! Records that the Kinesis Producer Library packed into one ("aggregated records").
//!
//! Layout: 4 bytes of magic, a protobuf message, its MD5. The message has a table of partition keys (field 1), a
//! table of explicit hash keys (2) and the user records (3): index of the partition key (1), index of
//! the hash key (2), data (3), tags (4).
//!
//! The producer library groups user records by the shard that their own hash belongs to, and puts the whole under the
//! partition key [`ANY_KEY`] and the hash of one of them. So each user record's own hash counts: the explicit one, or that
//! of its partition key. Other libraries put the whole under the key of the first user record and aggregate what comes:
//! there only user records with that key are where their hash says.

use md5::{Digest, Md5};

use crate::records::key_hash;

/// The most user records that one aggregated record may hold. A larger one is rejected.
pub const MAX_AGGREGATED_RECORDS: usize = 100_000;

const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];
const DIGEST: usize = 16;

/// One user record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UserRecord<'a> {
    pub key: &'a [u8],
    /// The explicit hash key, as decimal text.
    pub hash: Option<&'a [u8]>,
    pub data: &'a [u8],
}

/// The partition key of what the Kinesis Producer Library has aggregated.
const ANY_KEY: &[u8] = b"a";

impl UserRecord<'_> {
    /// The hash that chose its shard, when the aggregated record has the partition key `outer`. `None`: unknown.
    pub fn hash(&self, outer: &[u8]) -> Option<u128> {
        if outer != ANY_KEY && outer != self.key {
            return None;
        }
        match self.hash {
            Some(decimal) => std::str::from_utf8(decimal).ok()?.parse().ok(),
            None => Some(key_hash(self.key)),
        }
    }
}

/// Whether `payload` is an aggregated record.
#[inline]
pub(crate) fn is_aggregated(payload: &[u8]) -> bool {
    payload.starts_with(&MAGIC)
}

/// The user records of an aggregated record, or why it cannot be read.
pub(crate) fn user_records(payload: &[u8]) -> Result<Vec<UserRecord<'_>>, String> {
    let broken = |why: &str| format!("the aggregated record (KPL) cannot be read: {why}");
    let (message, digest) = payload
        .strip_prefix(&MAGIC)
        .and_then(|rest| rest.split_last_chunk::<DIGEST>())
        .ok_or_else(|| broken("it is cut off"))?;
    if Md5::digest(message).as_slice() != digest {
        return Err(broken("its MD5 does not match"));
    }
    read(message).ok_or_else(|| broken("its protobuf message is damaged or holds too many records"))
}

fn read(message: &[u8]) -> Option<Vec<UserRecord<'_>>> {
    let (mut keys, mut hashes) = (Vec::new(), Vec::new());
    let mut records = Vec::new();
    let mut fields = Fields(message);
    while let Some(field) = fields.next()? {
        match field {
            (1, Value::Bytes(key)) => keys.push(key),
            (2, Value::Bytes(hash)) => hashes.push(hash),
            (3, Value::Bytes(record)) => records.push(user_record(record)?),
            _ => {}
        }
        if records.len() > MAX_AGGREGATED_RECORDS {
            return None;
        }
    }
    // The tables may stand behind the records.
    let record = |Raw { key, hash, data }| {
        // A hash that is named and missing is as unknown as one that cannot be read.
        let hash = hash.map(|at| text(&hashes, at).unwrap_or_default());
        Some(UserRecord { key: text(&keys, key)?, hash, data })
    };
    records.into_iter().map(record).collect()
}

fn text<'a>(table: &[&'a [u8]], at: u64) -> Option<&'a [u8]> {
    table.get(usize::try_from(at).ok()?).copied()
}

/// A user record with its places in the tables.
struct Raw<'a> {
    key: u64,
    hash: Option<u64>,
    data: &'a [u8],
}

fn user_record(message: &[u8]) -> Option<Raw<'_>> {
    let (mut key, mut hash, mut data) = (None, None, None);
    let mut fields = Fields(message);
    while let Some(field) = fields.next()? {
        match field {
            (1, Value::Number(index)) => key = Some(index),
            (2, Value::Number(index)) => hash = Some(index),
            (3, Value::Bytes(bytes)) => data = Some(bytes),
            _ => {}
        }
    }
    Some(Raw { key: key?, hash, data: data? })
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a protobuf message, one after the other.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// `Some(None)` at the end, `None` when the message is damaged.
    #[expect(clippy::option_option, reason = "the outer one carries damage through `?`")]
    fn next(&mut self) -> Option<Option<(u64, Value<'a>)>> {
        if self.0.is_empty() {
            return Some(None);
        }
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?),
            1 => Value::Bytes(self.take(8)?),
            2 => {
                let len = self.varint()?;
                Value::Bytes(self.take(len)?)
            }
            5 => Value::Bytes(self.take(4)?),
            _ => return None,
        };
        Some(Some((tag >> 3, value)))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, len: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(len).ok()?)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
pub(crate) fn aggregate(records: &[(&str, &[u8])]) -> Vec<u8> {
    fn field(number: u8, bytes: &[u8], out: &mut Vec<u8>) {
        out.extend([number << 3 | 2, bytes.len() as u8 | 0x80, (bytes.len() >> 7) as u8]);
        out.extend(bytes);
    }
    let mut message = Vec::new();
    for (key, _) in records {
        field(1, key.as_bytes(), &mut message);
    }
    for (i, (_, data)) in records.iter().enumerate() {
        let mut record = vec![1 << 3, i as u8];
        field(3, data, &mut record);
        field(3, &record, &mut message);
    }
    [&MAGIC[..], &message, &Md5::digest(&message)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn unpacks() {
        let packed = aggregate(&[("k1", b"one"), ("k2", &[7; 300])]);
        assert!(is_aggregated(&packed));
        let records = user_records(&packed).unwrap();
        assert_eq!(records[0], UserRecord { key: b"k1", hash: None, data: b"one" });
        assert_eq!(records[1], UserRecord { key: b"k2", hash: None, data: &[7; 300] });
    }

    #[test]
    fn the_hash_of_a_user_record_is_its_own() {
        // MD5("k1"), by md5sum.
        let by_key = 0xb637_b17a_f08a_ced8_850c_18cc_cde9_15da_u128;
        let record = |hash| UserRecord { key: b"k1", hash, data: b"" };
        for (outer, hash, expected) in [
            (&b"a"[..], None, Some(by_key)),
            (b"k1", None, Some(by_key)),
            (b"a", Some(&b"12"[..]), Some(12)),
            (b"k1", Some(b"340282366920938463463374607431768211455"), Some(u128::MAX)),
            (b"a", Some(b"340282366920938463463374607431768211456"), None),
            (b"a", Some(b""), None),
            (b"k0", None, None),
            (b"k0", Some(b"12"), None),
        ] {
            assert_eq!(record(hash).hash(outer), expected, "{outer:?} {hash:?}");
        }
        let mut message = vec![1 << 3 | 2, 2, b'k', b'1', 2 << 3 | 2, 2, b'1', b'2'];
        message.extend([3 << 3 | 2, 7, 1 << 3, 0, 2 << 3, 0, 3 << 3 | 2, 1, b'x']);
        assert_eq!(read(&message).unwrap(), [UserRecord { key: b"k1", hash: Some(b"12"), data: b"x" }]);
    }

    #[test]
    fn damage_is_named() {
        let mut packed = aggregate(&[("k1", b"one")]);
        packed[6] ^= 1;
        assert!(user_records(&packed).unwrap_err().contains("MD5"));
        assert!(user_records(&MAGIC).unwrap_err().contains("cut off"));
        let message = [1 << 3 | 2, 200];
        let damaged = [&MAGIC[..], &message, &Md5::digest(message)].concat();
        assert!(user_records(&damaged).unwrap_err().contains("damaged"));
    }

    proptest! {
        #[test]
        fn never_panics(message in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = read(&message);
        }
    }
}
