//! Columns under construction: plain vectors, so that rows can be taken back cheaply.

use std::sync::Arc;

use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimestampMicrosecondType,
};
use arrow_array::{ArrayRef, BinaryArray, BooleanArray, ListArray, MapArray, PrimitiveArray, StringArray, StructArray};
use arrow_buffer::{BooleanBufferBuilder, Buffer, NullBuffer, NullBufferBuilder, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field};
use tidegate_core::types::SqlType;
use tidegate_core::{Error, Result};

use super::fields::Fields;
use crate::schema::TimestampUnit;

/// A column of some type under construction.
#[derive(Debug)]
pub(crate) enum Builder {
    Boolean(Booleans),
    TinyInt(Numbers<Int8Type>),
    SmallInt(Numbers<Int16Type>),
    Int(Numbers<Int32Type>),
    BigInt(Numbers<Int64Type>),
    Float(Numbers<Float32Type>),
    Double(Numbers<Float64Type>),
    Decimal(Numbers<Decimal128Type>, u8, u8),
    Date(Numbers<Date32Type>),
    Timestamp(Numbers<TimestampMicrosecondType>, TimestampUnit),
    TimestampNtz(Numbers<TimestampMicrosecondType>),
    String(Bytes),
    Binary(Bytes),
    Array(Offsets, Box<Builder>),
    Struct(Validity, Box<Fields>),
    Map(Offsets, Bytes, Box<Builder>),
    /// A map whose keys are no text: JSON cannot fill it.
    Refused(Validity, SqlType),
}

/// Applies an expression to the part that knows the length and validity.
macro_rules! each {
    ($self:expr, $part:ident => $do:expr) => {
        match $self {
            Builder::Boolean($part) => $do,
            Builder::TinyInt($part) => $do,
            Builder::SmallInt($part) => $do,
            Builder::Int($part) => $do,
            Builder::BigInt($part) => $do,
            Builder::Float($part) => $do,
            Builder::Double($part) => $do,
            Builder::Decimal($part, _, _) => $do,
            Builder::Date($part) => $do,
            Builder::Timestamp($part, _) | Builder::TimestampNtz($part) => $do,
            Builder::String($part) | Builder::Binary($part) => $do,
            Builder::Array($part, _) | Builder::Map($part, _, _) => $do,
            Builder::Struct($part, _) | Builder::Refused($part, _) => $do,
        }
    };
}

impl Builder {
    /// An empty column. `unit` is what numbers mean in timestamps, at any depth.
    pub fn new(ty: &SqlType, unit: TimestampUnit) -> Self {
        let arrow = ty.to_arrow();
        match ty {
            SqlType::Boolean => Self::Boolean(Booleans::default()),
            SqlType::TinyInt => Self::TinyInt(Numbers::new(arrow)),
            SqlType::SmallInt => Self::SmallInt(Numbers::new(arrow)),
            SqlType::Int => Self::Int(Numbers::new(arrow)),
            SqlType::BigInt => Self::BigInt(Numbers::new(arrow)),
            SqlType::Float => Self::Float(Numbers::new(arrow)),
            SqlType::Double => Self::Double(Numbers::new(arrow)),
            SqlType::Decimal { precision, scale } => Self::Decimal(Numbers::new(arrow), *precision, *scale),
            SqlType::Date => Self::Date(Numbers::new(arrow)),
            SqlType::Timestamp => Self::Timestamp(Numbers::new(arrow), unit),
            SqlType::TimestampNtz => Self::TimestampNtz(Numbers::new(arrow)),
            SqlType::String => Self::String(Bytes::default()),
            SqlType::Binary => Self::Binary(Bytes::default()),
            SqlType::Array(item) => Self::Array(Offsets::new(arrow), Box::new(Self::new(item, unit))),
            SqlType::Struct(fields) => Self::Struct(Validity::new(arrow), Box::new(Fields::of_struct(fields, unit))),
            SqlType::Map(key, value) if **key == SqlType::String => {
                Self::Map(Offsets::new(arrow), Bytes::default(), Box::new(Self::new(value, unit)))
            }
            SqlType::Map(..) => Self::Refused(Validity::new(arrow), ty.clone()),
        }
    }

    /// Rows so far.
    #[inline]
    pub fn len(&self) -> usize {
        each!(self, part => part.len())
    }

    /// Adds a NULL.
    pub fn push_null(&mut self) {
        if let Self::Struct(_, fields) = self {
            fields.push_nulls();
        }
        each!(self, part => part.push_null());
    }

    /// Keeps the first `rows` rows, and nothing half-written behind them.
    pub fn truncate(&mut self, rows: usize) {
        each!(self, part => part.truncate(rows));
        match self {
            Self::Array(offsets, item) => item.truncate(offsets.end()),
            Self::Map(offsets, keys, values) => {
                keys.truncate(offsets.end());
                values.truncate(offsets.end());
            }
            Self::Struct(_, fields) => fields.truncate(rows),
            _ => {}
        }
    }

    /// Makes room for `rows` more.
    pub fn reserve(&mut self, rows: usize) {
        each!(self, part => part.reserve(rows));
        if let Self::Struct(_, fields) = self {
            fields.reserve(rows);
        }
    }

    /// Hands over the column and starts anew.
    pub fn take(&mut self) -> Result<ArrayRef> {
        let array: ArrayRef = match self {
            Self::Boolean(part) => Arc::new(part.take()),
            Self::TinyInt(part) => part.take()?,
            Self::SmallInt(part) => part.take()?,
            Self::Int(part) => part.take()?,
            Self::BigInt(part) => part.take()?,
            Self::Float(part) => part.take()?,
            Self::Double(part) => part.take()?,
            Self::Decimal(part, _, _) => part.take()?,
            Self::Date(part) => part.take()?,
            Self::Timestamp(part, _) | Self::TimestampNtz(part) => part.take()?,
            Self::String(part) => Arc::new(part.take_strings()?),
            Self::Binary(part) => {
                let (offsets, values, nulls) = part.parts();
                Arc::new(BinaryArray::try_new(offsets, values, nulls).map_err(inconsistent)?)
            }
            Self::Array(part, item) => {
                let DataType::List(field) = part.ty.clone() else { return Err(no_type(&part.ty)) };
                let (offsets, nulls) = part.parts();
                Arc::new(ListArray::try_new(field, offsets, item.take()?, nulls).map_err(inconsistent)?)
            }
            Self::Struct(part, fields) => {
                let DataType::Struct(types) = part.ty.clone() else { return Err(no_type(&part.ty)) };
                let len = part.len();
                let columns = fields.take()?;
                let array = StructArray::try_new_with_length(types, columns, part.parts(), len);
                Arc::new(array.map_err(inconsistent)?)
            }
            Self::Map(part, keys, values) => {
                let DataType::Map(field, sorted) = part.ty.clone() else { return Err(no_type(&part.ty)) };
                let (offsets, nulls) = part.parts();
                let entries = vec![Arc::new(keys.take_strings()?) as ArrayRef, values.take()?];
                Arc::new(map(&field, sorted, offsets, entries, nulls)?)
            }
            Self::Refused(part, _) => {
                let array = arrow_array::new_null_array(&part.ty, part.len());
                part.parts();
                array
            }
        };
        Ok(array)
    }
}

/// A map array of the given entries.
pub(crate) fn map(
    field: &Arc<Field>,
    sorted: bool,
    offsets: OffsetBuffer<i32>,
    entries: Vec<ArrayRef>,
    nulls: Option<NullBuffer>,
) -> Result<MapArray> {
    let DataType::Struct(types) = field.data_type() else { return Err(no_type(field.data_type())) };
    let entries = StructArray::try_new(types.clone(), entries, None).map_err(inconsistent)?;
    MapArray::try_new(Arc::clone(field), offsets, entries, nulls, sorted).map_err(inconsistent)
}

#[cold]
pub(crate) fn inconsistent(e: arrow_schema::ArrowError) -> Error {
    Error::internal("a decoded column is inconsistent").with_source(e)
}

#[cold]
fn no_type(ty: &DataType) -> Error {
    Error::internal(format!("a column builder of type {ty} is impossible"))
}

/// Which rows are not NULL. Costs nothing but a count while there is no NULL.
#[derive(Debug)]
pub(crate) struct Validity {
    nulls: NullBufferBuilder,
    ty: DataType,
}

impl Validity {
    fn new(ty: DataType) -> Self {
        Self { nulls: NullBufferBuilder::new(0), ty }
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.nulls.len()
    }

    #[inline]
    pub fn push(&mut self) {
        self.nulls.append_non_null();
    }

    fn push_null(&mut self) {
        self.nulls.append_null();
    }

    fn truncate(&mut self, rows: usize) {
        self.nulls.truncate(rows);
    }

    #[expect(clippy::unused_self, reason = "the parts of a builder share their methods' names")]
    fn reserve(&mut self, _rows: usize) {}

    fn parts(&mut self) -> Option<NullBuffer> {
        self.nulls.finish()
    }
}

/// Booleans, one bit each.
#[derive(Debug)]
pub(crate) struct Booleans {
    values: BooleanBufferBuilder,
    nulls: NullBufferBuilder,
}

impl Default for Booleans {
    fn default() -> Self {
        Self { values: BooleanBufferBuilder::new(0), nulls: NullBufferBuilder::new(0) }
    }
}

impl Booleans {
    #[inline]
    fn len(&self) -> usize {
        self.nulls.len()
    }

    #[inline]
    pub fn push(&mut self, value: bool) {
        self.values.append(value);
        self.nulls.append_non_null();
    }

    fn push_null(&mut self) {
        self.values.append(false);
        self.nulls.append_null();
    }

    fn truncate(&mut self, rows: usize) {
        self.values.truncate(rows);
        self.nulls.truncate(rows);
    }

    fn reserve(&mut self, rows: usize) {
        self.values.reserve(rows);
    }

    fn take(&mut self) -> BooleanArray {
        BooleanArray::new(self.values.finish(), self.nulls.finish())
    }
}

/// Values of a fixed width.
#[derive(Debug)]
pub(crate) struct Numbers<T: ArrowPrimitiveType> {
    values: Vec<T::Native>,
    nulls: NullBufferBuilder,
    ty: DataType,
}

impl<T: ArrowPrimitiveType> Numbers<T> {
    fn new(ty: DataType) -> Self {
        Self { values: Vec::new(), nulls: NullBufferBuilder::new(0), ty }
    }

    #[inline]
    fn len(&self) -> usize {
        self.values.len()
    }

    #[inline]
    pub fn push(&mut self, value: T::Native) {
        self.values.push(value);
        self.nulls.append_non_null();
    }

    fn push_null(&mut self) {
        self.values.push(T::default_value());
        self.nulls.append_null();
    }

    fn truncate(&mut self, rows: usize) {
        self.values.truncate(rows);
        self.nulls.truncate(rows);
    }

    fn reserve(&mut self, rows: usize) {
        self.values.reserve(rows);
    }

    fn take(&mut self) -> Result<ArrayRef> {
        let values = ScalarBuffer::from(std::mem::take(&mut self.values));
        let array = PrimitiveArray::<T>::try_new(values, self.nulls.finish()).map_err(inconsistent)?;
        Ok(Arc::new(array.with_data_type(self.ty.clone())))
    }
}

/// Where each row ends in another column.
#[derive(Debug)]
pub(crate) struct Offsets {
    /// One more than there are rows; the first is 0.
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
    ty: DataType,
}

impl Offsets {
    fn new(ty: DataType) -> Self {
        Self { offsets: vec![0], nulls: NullBufferBuilder::new(0), ty }
    }

    #[inline]
    fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Where the last row ends.
    pub fn end(&self) -> usize {
        self.offsets.last().map_or(0, |end| *end as usize)
    }

    /// Adds a row that ends at `end`.
    #[inline]
    pub fn push(&mut self, end: usize) {
        self.offsets.push(offset(end));
        self.nulls.append_non_null();
    }

    fn push_null(&mut self) {
        self.offsets.push(offset(self.end()));
        self.nulls.append_null();
    }

    fn truncate(&mut self, rows: usize) {
        self.offsets.truncate(rows + 1);
        self.nulls.truncate(rows);
    }

    fn reserve(&mut self, rows: usize) {
        self.offsets.reserve(rows);
    }

    fn parts(&mut self) -> (OffsetBuffer<i32>, Option<NullBuffer>) {
        let offsets = std::mem::replace(&mut self.offsets, vec![0]);
        (OffsetBuffer::new(offsets.into()), self.nulls.finish())
    }
}

#[inline]
fn offset(end: usize) -> i32 {
    i32::try_from(end).expect("a column holds no more than its batch, and MAX_BATCH_BYTES fits 31 bits")
}

/// Texts or bytes, one behind the other.
#[derive(Debug)]
pub(crate) struct Bytes {
    values: Vec<u8>,
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
    /// Bytes of the last batch: how much room the next one will need.
    usual: usize,
}

impl Default for Bytes {
    fn default() -> Self {
        Self { values: Vec::new(), offsets: vec![0], nulls: NullBufferBuilder::new(0), usual: 0 }
    }
}

impl Bytes {
    #[inline]
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Adds a value.
    #[inline]
    pub fn push(&mut self, value: &[u8]) {
        self.values.extend_from_slice(value);
        self.end_row();
    }

    /// Adds the value that `write` appends; nothing when it returns false.
    pub fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>) -> bool) -> bool {
        let done = write(&mut self.values);
        if done {
            self.end_row();
        }
        done
    }

    #[inline]
    fn end_row(&mut self) {
        self.offsets.push(offset(self.values.len()));
        self.nulls.append_non_null();
    }

    pub fn push_null(&mut self) {
        self.offsets.push(offset(self.values.len()));
        self.nulls.append_null();
    }

    pub fn truncate(&mut self, rows: usize) {
        self.offsets.truncate(rows + 1);
        self.nulls.truncate(rows);
        self.values.truncate(self.offsets.last().map_or(0, |end| *end as usize));
    }

    pub fn reserve(&mut self, rows: usize) {
        self.offsets.reserve(rows);
        self.values.reserve(self.usual);
    }

    pub fn parts(&mut self) -> (OffsetBuffer<i32>, Buffer, Option<NullBuffer>) {
        self.usual = self.values.len();
        let offsets = std::mem::replace(&mut self.offsets, vec![0]);
        let values = Buffer::from_vec(std::mem::take(&mut self.values));
        (OffsetBuffer::new(offsets.into()), values, self.nulls.finish())
    }

    pub fn take_strings(&mut self) -> Result<StringArray> {
        let (offsets, values, nulls) = self.parts();
        StringArray::try_new(offsets, values, nulls).map_err(inconsistent)
    }
}
