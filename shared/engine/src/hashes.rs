//! Which partition the rows of a group come to: the hash of their source's key, beside the groups.
//!
//! A stream such as Kinesis puts a record where the hash of its key belongs. Where lanes close windows by themselves, all
//! rows of a group have one key, so one hash: with it the groups of a lane can be divided among the lanes that continue it.
//! The hash stands in two columns behind those of the aggregation:
//!
//! | Column | Meaning |
//! |---|---|
//! | [`HASH`], 16 bytes or NULL | the hash, big-endian; NULL where that of a row is not known |
//! | [`MIXED`], boolean | rows of the group's key had several hashes |
//!
//! Rows without these columns have hashes that are not known: they are of a stream that has none, or were written by a
//! version that did not keep them. The columns are filled from the values of the source's `partition_key`, which are
//! among the keys of each group; so the plans of the aggregation know nothing of them.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, FixedSizeBinaryBuilder, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::row::{RowConverter, Rows, SortField};
use tidegate_core::{Error, Result};

/// The column with the hash.
const HASH: &str = "__hash";
/// The column that says that there are several.
const MIXED: &str = "__hash_mixed";

/// What is known of the hashes of rows with one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyHash {
    /// Of some row it is not known.
    Unknown,
    /// All have this one.
    One(u128),
    /// There are several: the key is not what the stream is partitioned by.
    Mixed,
}

impl KeyHash {
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Mixed, _) | (_, Self::Mixed) => Self::Mixed,
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            (Self::One(a), Self::One(b)) if a == b => self,
            (Self::One(_), Self::One(_)) => Self::Mixed,
        }
    }
}

impl From<Option<u128>> for KeyHash {
    fn from(hash: Option<u128>) -> Self {
        hash.map_or(Self::Unknown, Self::One)
    }
}

/// Where the columns of a source's `partition_key` stand, and the schemas of an output's partial rows.
#[derive(Clone, Debug)]
pub(crate) struct KeyColumns {
    /// In the source's rows.
    source: Vec<usize>,
    /// In partial rows, in the same order.
    state: Vec<usize>,
    plain: SchemaRef,
    with_hashes: SchemaRef,
}

impl KeyColumns {
    /// `None` where hashes cannot be kept: a key has a type without an order, or another one than in the source.
    pub(crate) fn new(source: Vec<usize>, state: Vec<usize>, rows: &SchemaRef, plain: SchemaRef) -> Option<Self> {
        let ty = |schema: &SchemaRef, at: &usize| schema.field(*at).data_type().clone();
        let types: Vec<DataType> = source.iter().map(|at| ty(rows, at)).collect();
        let same = !types.is_empty() && types.iter().eq(&state.iter().map(|at| ty(&plain, at)).collect::<Vec<_>>());
        let ordered = RowConverter::supports_fields(&types.into_iter().map(SortField::new).collect::<Vec<_>>());
        let mut fields: Vec<Arc<Field>> = plain.fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new(HASH, DataType::FixedSizeBinary(16), true)));
        fields.push(Arc::new(Field::new(MIXED, DataType::Boolean, false)));
        let with_hashes = Arc::new(Schema::new(fields));
        (same && ordered).then_some(Self { source, state, plain, with_hashes })
    }

    /// Partial rows that have hashes.
    pub(crate) fn with_hashes(&self) -> &SchemaRef {
        &self.with_hashes
    }

    /// Whether partial rows have them.
    pub(crate) fn are_in(&self, rows: &RecordBatch) -> bool {
        rows.num_columns() == self.with_hashes.fields().len()
    }

    /// Partial rows without the hashes.
    pub(crate) fn removed(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let columns = rows.columns()[..self.plain.fields().len()].to_vec();
        RecordBatch::try_new(Arc::clone(&self.plain), columns).map_err(broken)
    }

    /// The hashes of partial rows.
    pub(crate) fn read(&self, rows: &RecordBatch) -> Vec<KeyHash> {
        if !self.are_in(rows) {
            return vec![KeyHash::Unknown; rows.num_rows()];
        }
        let at = self.plain.fields().len();
        let (hashes, mixed) = (rows.column(at).as_fixed_size_binary(), rows.column(at + 1).as_boolean());
        let one = |row: usize| match mixed.value(row) {
            true => KeyHash::Mixed,
            false if hashes.is_null(row) => KeyHash::Unknown,
            false => hashes.value(row).try_into().map_or(KeyHash::Unknown, |b| KeyHash::One(u128::from_be_bytes(b))),
        };
        (0..rows.num_rows()).map(one).collect()
    }

    /// The partial rows of a micro-batch with the hashes of their keys.
    pub(crate) fn fill(&self, partial: &RecordBatch, keys: &HashedKeys) -> Result<RecordBatch> {
        let rows = key_rows(partial, &self.state)?;
        self.added(partial, rows.iter().map(|row| keys.of(row.as_ref())))
    }

    /// The keys of a source's rows, which have `hashes`: one for each row.
    pub(crate) fn of_source(&self, rows: &RecordBatch, hashes: &[Option<u128>]) -> Result<HashedKeys> {
        let mut keys = HashedKeys::default();
        keys.add(&key_rows(rows, &self.source)?, hashes.iter().map(|hash| KeyHash::from(*hash)));
        Ok(keys)
    }

    /// The keys of partial rows.
    pub(crate) fn of_state(&self, parts: &[RecordBatch]) -> Result<HashedKeys> {
        let mut keys = HashedKeys::default();
        for rows in parts {
            keys.add(&key_rows(rows, &self.state)?, self.read(rows).into_iter());
        }
        Ok(keys)
    }

    fn added(&self, rows: &RecordBatch, hashes: impl ExactSizeIterator<Item = KeyHash>) -> Result<RecordBatch> {
        let mut values = FixedSizeBinaryBuilder::with_capacity(hashes.len(), 16);
        let mut mixed = Vec::with_capacity(hashes.len());
        for hash in hashes {
            mixed.push(hash == KeyHash::Mixed);
            match hash {
                KeyHash::One(hash) => values.append_value(hash.to_be_bytes()).map_err(broken)?,
                KeyHash::Unknown | KeyHash::Mixed => values.append_null(),
            }
        }
        let added: [ArrayRef; 2] = [Arc::new(values.finish()), Arc::new(BooleanArray::from(mixed))];
        let columns = rows.columns().iter().cloned().chain(added).collect();
        RecordBatch::try_new(Arc::clone(&self.with_hashes), columns).map_err(broken)
    }
}

/// The hash of each key.
#[derive(Debug, Default)]
pub(crate) struct HashedKeys(HashMap<Box<[u8]>, KeyHash>);

impl HashedKeys {
    fn add(&mut self, rows: &Rows, hashes: impl Iterator<Item = KeyHash>) {
        for (row, hash) in rows.iter().zip(hashes) {
            match self.0.get_mut(row.as_ref()) {
                Some(known) => *known = known.and(hash),
                None => drop(self.0.insert(row.as_ref().into(), hash)),
            }
        }
    }

    fn of(&self, key: &[u8]) -> KeyHash {
        self.0.get(key).copied().unwrap_or(KeyHash::Unknown)
    }
}

/// Columns as rows whose bytes are equal where the values are.
fn key_rows(rows: &RecordBatch, columns: &[usize]) -> Result<Rows> {
    let columns: Vec<ArrayRef> = columns.iter().map(|at| Arc::clone(rows.column(*at))).collect();
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    RowConverter::new(fields).and_then(|converter| converter.convert_columns(&columns)).map_err(broken)
}

fn broken(error: arrow::error::ArrowError) -> Error {
    Error::internal("hashes of keys cannot be kept").with_source(error)
}

#[cfg(test)]
mod tests {
    use super::KeyHash::{Mixed, One, Unknown};

    #[test]
    fn what_is_known_of_two_rows() {
        for (a, b, expected) in [
            (One(1), One(1), One(1)),
            (One(1), One(2), Mixed),
            (One(1), Unknown, Unknown),
            (Unknown, Unknown, Unknown),
            (Mixed, Unknown, Mixed),
            (Mixed, One(1), Mixed),
        ] {
            assert_eq!((a.and(b), b.and(a)), (expected, expected));
        }
    }
}
