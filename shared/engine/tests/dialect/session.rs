//! A session with the dialect, tables from JSON lines, results as JSON lines.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, StructArray, new_null_array};
use datafusion::arrow::compute::concat;
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::error::DataFusionError;
use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::scalar::ScalarValue;
use datafusion::sql::parser::Statement;
use tidegate_core::types::parse_columns;
use tidegate_engine::dialect::cast::{self, Mode};
use tidegate_engine::dialect::functions::json::write_json;
use tidegate_engine::dialect::{Dialect, parse_query_with, types};

use crate::json::Json;

/// Rows and their types, as text.
#[derive(Debug)]
pub struct Answer {
    pub schema: Vec<(String, String)>,
    pub rows: Vec<String>,
}

/// A schema of Spark's DDL.
pub fn schema(ddl: &str) -> Arc<Schema> {
    let columns = parse_columns(ddl).expect("columns");
    Arc::new(Schema::new(columns.iter().map(|(name, ty)| Field::new(name, ty.to_arrow(), true)).collect::<Vec<_>>()))
}

/// JSON lines as a batch.
pub fn batch(schema: &Arc<Schema>, lines: &[Json]) -> RecordBatch {
    let column = |field: &Arc<Field>| {
        let values: Vec<ArrayRef> = lines.iter().map(|line| array(line.get(field.name()), field.data_type())).collect();
        let refs: Vec<_> = values.iter().map(AsRef::as_ref).collect();
        if refs.is_empty() { new_null_array(field.data_type(), 0) } else { concat(&refs).expect("one type") }
    };
    let columns = schema.fields().iter().map(column).collect();
    RecordBatch::try_new(Arc::clone(schema), columns).expect("a batch")
}

/// One value as an array of one row.
fn array(value: &Json, ty: &DataType) -> ArrayRef {
    use datafusion::arrow::array::{ListArray, MapArray};
    use datafusion::arrow::buffer::OffsetBuffer;
    let text = |text: &str| ScalarValue::from(text).to_array().expect("a text");
    let together = |items: &[Json], ty: &DataType| {
        let items: Vec<ArrayRef> = items.iter().map(|item| array(item, ty)).collect();
        let refs: Vec<_> = items.iter().map(AsRef::as_ref).collect();
        if refs.is_empty() { new_null_array(ty, 0) } else { concat(&refs).expect("one type") }
    };
    match (value, ty) {
        (Json::Null, _) => new_null_array(ty, 1),
        (Json::List(items), DataType::List(field)) => {
            let values = together(items, field.data_type());
            Arc::new(ListArray::new(Arc::clone(field), OffsetBuffer::from_lengths([values.len()]), values, None))
        }
        (Json::Object(_), DataType::Struct(fields)) => {
            let columns = fields.iter().map(|field| array(value.get(field.name()), field.data_type())).collect();
            Arc::new(StructArray::new(fields.clone(), columns, None))
        }
        (Json::Object(pairs), DataType::Map(entries, _)) => {
            let DataType::Struct(fields) = entries.data_type() else { panic!("entries") };
            let keys: Vec<Json> = pairs.iter().map(|(key, _)| Json::Text(key.clone())).collect();
            let values: Vec<Json> = pairs.iter().map(|(_, value)| value.clone()).collect();
            let columns = vec![together(&keys, fields[0].data_type()), together(&values, fields[1].data_type())];
            let offsets = OffsetBuffer::from_lengths([pairs.len()]);
            let pairs = StructArray::new(fields.clone(), columns, None);
            Arc::new(MapArray::new(Arc::clone(entries), offsets, pairs, None, false))
        }
        (Json::Bool(value), _) => cast_to(text(&value.to_string()), ty),
        (Json::Number(number), DataType::Timestamp(_, _)) => cast_to(cast_to(text(number), &DataType::Int64), ty),
        (Json::Text(value), DataType::Binary) => {
            let run = tidegate_engine::dialect::functions::find("unbase64").expect("a function").run;
            let args = [text(value)];
            run(&tidegate_engine::dialect::functions::Call {
                args: &args,
                rows: 1,
                out: ty,
                zone: tidegate_core::Zone::UTC,
            })
            .expect("base64")
        }
        (other, _) => cast_to(text(other.text()), ty),
    }
}

fn cast_to(array: ArrayRef, ty: &DataType) -> ArrayRef {
    cast::cast(&array, ty, Mode::Raise).expect("a value that fits")
}

/// A session.
pub fn context(dialect: &Dialect) -> SessionContext {
    let config = SessionConfig::new().with_target_partitions(1);
    let builder = SessionStateBuilder::new().with_config(config).with_default_features();
    SessionContext::new_with_state(dialect.install(builder).build())
}

fn names<'a>(schema: &'a Schema, out: &mut Vec<&'a str>) {
    fn of<'a>(ty: &'a DataType, out: &mut Vec<&'a str>) {
        match ty {
            DataType::Struct(fields) => fields.iter().for_each(|field| {
                out.push(field.name());
                of(field.data_type(), out);
            }),
            DataType::List(field) | DataType::Map(field, _) => of(field.data_type(), out),
            _ => {}
        }
    }
    for field in schema.fields() {
        out.push(field.name());
        of(field.data_type(), out);
    }
}

/// Runs a query over `t`.
pub async fn run(dialect: &Dialect, sql: &str, input: RecordBatch) -> Result<Answer, DataFusionError> {
    let mut known = vec!["t"];
    let schema = input.schema();
    names(&schema, &mut known);
    let query = parse_query_with(sql, &known)
        .map_err(|error| DataFusionError::Plan(tidegate_core::Error::from(error).to_string()))?;
    let context = context(dialect);
    context.register_batch("t", input)?;
    let statement = datafusion::sql::sqlparser::ast::Statement::Query(Box::new(query));
    let plan = context.state().statement_to_plan(Statement::Statement(Box::new(statement))).await?;
    let frame = context.execute_logical_plan(plan).await?;
    let schema =
        frame.schema().fields().iter().map(|field| (field.name().clone(), types::sql_name_of(field))).collect();
    let mut rows = vec![];
    for batch in frame.collect().await? {
        let all: ArrayRef = Arc::new(StructArray::from(batch));
        for row in 0..all.len() {
            let mut out = String::new();
            write_json(&mut out, &all, row, true, dialect.zone)?;
            rows.push(out);
        }
    }
    Ok(Answer { schema, rows })
}
