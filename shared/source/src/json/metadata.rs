//! Metadata columns: what the source knows of the record that a row comes from.

use std::sync::Arc;

use arrow_array::{ArrayRef, BinaryArray, TimestampMicrosecondArray};
use arrow_buffer::{NullBufferBuilder, OffsetBuffer};
use arrow_schema::DataType;
use tidegate_core::{Error, Result};

use super::MAX_BATCH_BYTES;
use super::builder::{self, Bytes};
use crate::records::{RecordRef, Records};
use crate::schema::MetadataColumn;

/// The column for `rows`, which names the record of each row.
pub(crate) fn column(column: MetadataColumn, records: &Records, partition: &str, rows: &[u32]) -> Result<ArrayRef> {
    let of_rows = || rows.iter().map(|record| records.get(*record as usize));
    Ok(match column {
        MetadataColumn::Key => {
            check(column, of_rows().map(|record| record.key.map_or(0, <[u8]>::len)))?;
            let mut keys = Bytes::default();
            for record in of_rows() {
                match record.key {
                    Some(key) => keys.push(key),
                    None => keys.push_null(),
                }
            }
            binary(&mut keys)?
        }
        MetadataColumn::Partition => {
            check(column, rows.iter().map(|_| partition.len()))?;
            let mut texts = Bytes::default();
            rows.iter().for_each(|_| texts.push(partition.as_bytes()));
            Arc::new(texts.take_strings()?)
        }
        MetadataColumn::Position => {
            const LONGEST: usize = 78;
            check(column, rows.iter().map(|_| LONGEST))?;
            let mut texts = Bytes::default();
            for record in of_rows() {
                texts.push(record.position.to_string().as_bytes());
            }
            Arc::new(texts.take_strings()?)
        }
        MetadataColumn::Arrival => {
            let times: TimestampMicrosecondArray = of_rows().map(|record| record.arrival.map(|at| at.0)).collect();
            Arc::new(times.with_timezone("UTC"))
        }
        MetadataColumn::Headers => headers(of_rows)?,
    })
}

fn headers<'a, I: Iterator<Item = RecordRef<'a>>>(of_rows: impl Fn() -> I) -> Result<ArrayRef> {
    let sizes = of_rows().map(|record| record.headers.iter().map(|(name, value)| name.len() + value.len()).sum());
    check(MetadataColumn::Headers, sizes)?;
    let DataType::Map(field, sorted) = MetadataColumn::Headers.arrow() else {
        return Err(Error::internal("_headers is a map"));
    };
    let (mut names, mut values, mut counts) = (Bytes::default(), Bytes::default(), Vec::new());
    let mut nulls = NullBufferBuilder::new(0);
    for record in of_rows() {
        for (name, value) in record.headers {
            names.push(name.as_bytes());
            values.push(value);
        }
        counts.push(record.headers.len());
        nulls.append_non_null();
    }
    let entries = vec![Arc::new(names.take_strings()?) as ArrayRef, binary(&mut values)?];
    let offsets = OffsetBuffer::from_lengths(counts);
    Ok(Arc::new(builder::map(&field, sorted, offsets, entries, nulls.finish())?))
}

fn binary(bytes: &mut Bytes) -> Result<ArrayRef> {
    let (offsets, values, nulls) = bytes.parts();
    Ok(Arc::new(BinaryArray::try_new(offsets, values, nulls).map_err(builder::inconsistent)?))
}

/// Refuses a column that Arrow's offsets cannot address.
fn check(column: MetadataColumn, sizes: impl Iterator<Item = usize>) -> Result<()> {
    let total = sizes.fold(0usize, usize::saturating_add);
    if total <= MAX_BATCH_BYTES {
        return Ok(());
    }
    Err(Error::invalid(format!("column {} of a batch would hold {total} bytes", column.name()))
        .with_help("make the batches smaller, or leave the column out"))
}
