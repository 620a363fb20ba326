//! What a source's records look like as columns.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use tidegate_core::types::SqlType;
use tidegate_core::{Error, Result};

/// The columns of a source, and which metadata columns stand behind them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSchema {
    /// The declared columns, in order.
    pub columns: Vec<Column>,
    /// Metadata columns, in order; usually those that the SQL names.
    pub metadata: Vec<MetadataColumn>,
}

/// A declared column: a key of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// The key, letter case included.
    pub name: String,
    /// Its type.
    pub ty: SqlType,
    /// What a number means in a `timestamp` column, at any depth of the type; seconds when not declared.
    pub timestamp_unit: Option<TimestampUnit>,
}

/// The unit of numbers since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum TimestampUnit {
    /// Seconds, as in Spark.
    #[default]
    Seconds,
    /// Milliseconds.
    Millis,
    /// Microseconds.
    Micros,
    /// Nanoseconds, cut to microseconds (towards the past).
    Nanos,
}

/// A column that the source fills, not the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataColumn {
    /// `_key`, `binary`: Kinesis partition key or Kafka key.
    Key,
    /// `_partition`, `string`: shard id or Kafka partition number.
    Partition,
    /// `_position`, `string`: sequence number, offset or line number as decimal text.
    Position,
    /// `_arrival`, `timestamp`: when the source took the record in.
    Arrival,
    /// `_headers`, `map<string,binary>`: Kafka headers; a name may stand in it twice.
    Headers,
}

impl MetadataColumn {
    /// Every metadata column.
    pub const ALL: [Self; 5] = [Self::Key, Self::Partition, Self::Position, Self::Arrival, Self::Headers];

    /// The name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Self::Key => "_key",
            Self::Partition => "_partition",
            Self::Position => "_position",
            Self::Arrival => "_arrival",
            Self::Headers => "_headers",
        }
    }

    /// The column of that name, in any letter case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|column| column.name().eq_ignore_ascii_case(name))
    }

    /// The Arrow type.
    pub fn arrow(self) -> DataType {
        match self {
            Self::Key => DataType::Binary,
            Self::Partition | Self::Position => DataType::Utf8,
            Self::Arrival => DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC"))),
            Self::Headers => SqlType::Map(Box::new(SqlType::String), Box::new(SqlType::Binary)).to_arrow(),
        }
    }
}

impl SourceSchema {
    /// The Arrow schema: declared columns, then metadata columns, all nullable.
    pub fn arrow(&self) -> SchemaRef {
        let declared = self.columns.iter().map(|column| Field::new(&column.name, column.ty.to_arrow(), true));
        let metadata = self.metadata.iter().map(|column| Field::new(column.name(), column.arrow(), true));
        Arc::new(Schema::new(declared.chain(metadata).collect::<Vec<_>>()))
    }

    /// Refuses what JSON records cannot fill: maps whose keys are no text, and a column that bears the name of
    /// a metadata column that is asked for.
    pub fn check(&self) -> Result<()> {
        for column in &self.columns {
            check_keys(&column.ty).map_err(|e| e.within(format!("column '{}'", column.name)))?;
            let clash = self.metadata.iter().find(|m| m.name().eq_ignore_ascii_case(&column.name));
            if let Some(metadata) = clash {
                return Err(Error::invalid(format!("column '{}' clashes with metadata column", column.name))
                    .with_help(format!("rename the column, or do not use {}", metadata.name())));
            }
        }
        Ok(())
    }
}

fn check_keys(ty: &SqlType) -> Result<()> {
    match ty {
        SqlType::Map(key, value) if **key == SqlType::String => check_keys(value),
        SqlType::Map(key, _) => Err(Error::invalid(format!("{ty} has keys of type {key}"))
            .with_help("keys in JSON are text: write map<string,...>")),
        SqlType::Array(item) => check_keys(item),
        SqlType::Struct(fields) => fields.iter().try_for_each(|(_, ty)| check_keys(ty)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, ty: &str) -> Column {
        Column { name: name.into(), ty: SqlType::parse(ty).unwrap(), timestamp_unit: None }
    }

    #[test]
    fn metadata_stands_behind_the_declared_columns() {
        let schema = SourceSchema { columns: vec![column("a", "int")], metadata: MetadataColumn::ALL.to_vec() };
        let names: Vec<_> = schema.arrow().fields().iter().map(|f| f.name().clone()).collect();
        assert_eq!(names, ["a", "_key", "_partition", "_position", "_arrival", "_headers"]);
        assert!(schema.arrow().fields().iter().all(|f| f.is_nullable()));
        assert!(schema.check().is_ok());
        assert_eq!(MetadataColumn::from_name("_KEY"), Some(MetadataColumn::Key));
    }

    #[test]
    fn refuses_what_json_cannot_fill() {
        let bad = SourceSchema { columns: vec![column("m", "array<map<int,string>>")], metadata: vec![] };
        assert!(bad.check().unwrap_err().to_string().contains("column 'm'"));
        let clash = SourceSchema { columns: vec![column("_key", "int")], metadata: vec![MetadataColumn::Key] };
        assert!(clash.check().is_err());
    }
}
