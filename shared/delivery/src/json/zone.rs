//! Instants as the clocks of a zone show them.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, make_array};
use arrow_data::ArrayData;
use arrow_schema::{DataType, Field, Fields, Schema};
use tidegate_core::{Error, Result, Zone};

/// The same rows; timestamps are written as the clocks of `zone` show them, with their offset. Values stay instants.
pub fn in_zone(rows: &RecordBatch, zone: Zone) -> Result<RecordBatch> {
    if zone == Zone::UTC {
        return Ok(rows.clone());
    }
    let name: Arc<str> = zone.to_string().into();
    let fields: Fields = rows.schema().fields().iter().map(|field| moved_field(field, &name)).collect();
    let failed = |error| Error::internal("rows cannot be shown in a time zone").with_source(error);
    let column = |(column, field): (&ArrayRef, &Arc<Field>)| {
        moved(column.to_data(), field.data_type()).map(make_array).map_err(failed)
    };
    let columns = rows.columns().iter().zip(&fields).map(column).collect::<Result<Vec<_>>>()?;
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(failed)
}

fn moved_field(field: &Field, zone: &Arc<str>) -> Field {
    field.clone().with_data_type(moved_type(field.data_type(), zone))
}

fn moved_type(ty: &DataType, zone: &Arc<str>) -> DataType {
    let inner = |field: &Arc<Field>| Arc::new(moved_field(field, zone));
    match ty {
        DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, Some(Arc::clone(zone))),
        DataType::List(item) => DataType::List(inner(item)),
        DataType::LargeList(item) => DataType::LargeList(inner(item)),
        DataType::FixedSizeList(item, length) => DataType::FixedSizeList(inner(item), *length),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inner).collect()),
        DataType::Map(entries, sorted) => DataType::Map(inner(entries), *sorted),
        other => other.clone(),
    }
}

/// The same values under another type; those within them too.
fn moved(data: ArrayData, ty: &DataType) -> std::result::Result<ArrayData, arrow_schema::ArrowError> {
    if data.data_type() == ty {
        return Ok(data);
    }
    let inner: Vec<&DataType> = match ty {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => vec![item.data_type()],
        DataType::Map(entries, _) => vec![entries.data_type()],
        DataType::Struct(fields) => fields.iter().map(|field| field.data_type()).collect(),
        _ => vec![],
    };
    let children = data.child_data().iter().zip(inner).map(|(child, ty)| moved(child.clone(), ty));
    let children = children.collect::<std::result::Result<Vec<_>, _>>()?;
    data.into_builder().data_type(ty.clone()).child_data(children).build()
}
