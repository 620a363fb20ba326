//! `--input NAME=PATH`: files as tables. What does not fit its column is told and left out, as a pipeline would make
//! a dead letter of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;

use serde_json::{Map, Value};
use tidegate_core::types::{SqlType, parse_columns};
use tidegate_core::{Error, Position, Result};
use tidegate_engine::AdHoc;
use tidegate_engine::dialect::types::sql_name;
use tidegate_source::{Column, JsonDecoder, LineReader, Records, SourceSchema};

use super::csv::{self, Split};
use super::infer::Shape;
use crate::args::SqlOptions;
use crate::output;

/// Lines that are decoded at once.
const BATCH_LINES: usize = 50_000;
/// Bytes of all lines of one table at most: a table is held in memory.
const MAX_TABLE_BYTES: usize = 1 << 30;
/// Lines of a quoted field at most.
const MAX_FIELD_LINES: usize = 10_000;
/// Records left out that are told one by one.
const MAX_NOTES: usize = 10;
/// The table that holds the texts of a CSV file, and its column of line numbers.
const TEXTS: &str = "__texts";
const LINE: &str = "__line";

type Columns = Vec<(String, SqlType)>;

/// Reads every input into a table.
pub async fn open(options: &SqlOptions, adhoc: &mut AdHoc) -> Result<()> {
    let mut declared = declared_columns(&options.columns)?;
    let mut names: Vec<&str> = Vec::new();
    for input in &options.inputs {
        let (name, path) =
            input.split_once('=').filter(|(name, path)| !name.is_empty() && !path.is_empty()).ok_or_else(|| {
                Error::invalid(format!("--input '{input}' does not say which table it fills"))
                    .with_help("write --input NAME=PATH, for example --input orders=orders.jsonl")
            })?;
        if names.contains(&name) {
            return Err(Error::invalid(format!("--input names the table '{name}' twice"))
                .with_help("give each file a table of its own, and UNION ALL them in the query"));
        }
        names.push(name);
        let columns = declared.remove(name);
        let lines = read_lines(path)?;
        match separator(path) {
            Some(separator) => from_csv(name, path, &lines, separator, columns, adhoc).await?,
            None => from_json(name, path, &lines, columns, adhoc)?,
        }
    }
    match declared.into_keys().next() {
        Some(name) => Err(Error::invalid(format!("--columns names the table '{name}', which no --input fills"))
            .with_help(format!("add --input {name}=PATH"))),
        None => Ok(()),
    }
}

fn declared_columns(given: &[String]) -> Result<BTreeMap<String, Columns>> {
    let mut declared = BTreeMap::new();
    for text in given {
        let (name, columns) = text.split_once('=').ok_or_else(|| {
            Error::invalid(format!("--columns '{text}' does not say which table it is for")).with_help(
                "write --columns 'NAME=COLUMN TYPE, ...', for example --columns 'orders=id bigint, at timestamp'",
            )
        })?;
        let columns = parse_columns(columns).map_err(|error| error.within(format!("--columns {name}")))?;
        declared.insert(name.to_owned(), columns);
    }
    Ok(declared)
}

/// The separator of a CSV file; `None` for JSON lines.
fn separator(path: &str) -> Option<char> {
    let path = path.to_ascii_lowercase();
    match path.strip_suffix(".gz").unwrap_or(&path).rsplit_once('.')?.1 {
        "csv" => Some(','),
        "tsv" => Some('\t'),
        _ => None,
    }
}

fn read_lines(path: &str) -> Result<Records> {
    let input: Box<dyn Read> = if path == "-" {
        Box::new(std::io::stdin())
    } else {
        let file = File::open(path).map_err(|error| {
            Error::invalid(format!("input {path} cannot be opened")).with_source(error).with_help("name a file, or -")
        })?;
        Box::new(file)
    };
    let (mut reader, mut lines) = (LineReader::new(input), Records::new());
    while reader.read(BATCH_LINES, &mut lines).map_err(|error| error.within(path))? == BATCH_LINES {
        if lines.bytes() > MAX_TABLE_BYTES {
            return Err(Error::invalid(format!("{path} holds more than {MAX_TABLE_BYTES} bytes"))
                .with_help("cut it into parts; a pipeline reads files of any size"));
        }
    }
    Ok(lines)
}

fn schema(columns: Columns) -> SourceSchema {
    let column = |(name, ty)| Column { name, ty, timestamp_unit: None };
    SourceSchema { columns: columns.into_iter().map(column).collect(), metadata: Vec::new() }
}

/// Tells what is left out: the first ones by line.
fn tell(path: &str, mut left_out: Vec<(String, String)>) {
    let more = left_out.len().saturating_sub(MAX_NOTES);
    left_out.truncate(MAX_NOTES);
    for (line, reason) in left_out {
        output::note(&format!("{path} line {line} is left out: {reason}"));
    }
    if more > 0 {
        output::note(&format!("{path}: {more} more lines are left out"));
    }
}

fn line_of(lines: &Records, record: usize) -> String {
    lines.get(record).position.sequence.to_string()
}

fn from_json(name: &str, path: &str, lines: &Records, columns: Option<Columns>, adhoc: &mut AdHoc) -> Result<()> {
    let columns = match columns {
        Some(columns) => columns,
        None => inferred(lines).ok_or_else(|| {
            Error::invalid(format!("{path} holds no JSON object to infer the columns of '{name}' from"))
                .with_help(format!("declare them: --columns '{name}=COLUMN TYPE, ...'"))
        })?,
    };
    let schema = schema(columns);
    schema.check().map_err(|error| error.within(path))?;
    let decoded =
        JsonDecoder::new(schema).in_zone(adhoc.zone()).decode(lines, "0").map_err(|error| error.within(path))?;
    let left_out = decoded.rejected.into_iter().map(|found| (line_of(lines, found.record as usize), found.reason));
    tell(path, left_out.collect());
    adhoc.add(name, decoded.batch);
    Ok(())
}

/// The columns of all records; a record may be an array of objects.
fn inferred(lines: &Records) -> Option<Columns> {
    let mut shape = Shape::Null;
    for line in lines.iter() {
        match serde_json::from_slice::<Value>(line.payload) {
            Ok(value @ Value::Object(_)) => shape = shape.with(Shape::of(&value)),
            Ok(Value::Array(items)) => {
                let objects = items.iter().filter(|item| item.is_object());
                shape = objects.map(Shape::of).fold(shape, Shape::with);
            }
            _ => {}
        }
    }
    match shape {
        Shape::Object(fields) if !fields.is_empty() => {
            Some(fields.into_iter().map(|(name, shape)| (name, shape.sql_type())).collect())
        }
        _ => None,
    }
}

/// The head line's names and the records behind it, as JSON objects of texts.
fn csv_records(path: &str, lines: &Records, separator: char) -> Result<(Vec<String>, Records)> {
    let (mut head, mut records): (Option<Vec<String>>, Records) = (None, Records::new());
    let (mut left_out, mut text, mut begin, mut parts) = (Vec::new(), String::new(), Position::new(0), 0);
    for line in lines.iter() {
        if parts > 0 {
            text.push('\n');
        } else {
            begin = line.position;
        }
        text.push_str(&String::from_utf8_lossy(line.payload));
        parts += 1;
        let fields = match csv::split(&text, separator) {
            Split::Open if parts < MAX_FIELD_LINES => continue,
            Split::Open => {
                return Err(Error::invalid(format!("{path} line {}: a quote is not closed", begin.sequence))
                    .with_help("double quotes within a quoted field"));
            }
            Split::Fields(fields) => fields,
        };
        (text, parts) = (String::new(), 0);
        let Some(head) = &head else {
            head = Some(head_names(fields));
            continue;
        };
        if fields.len() > head.len() {
            let reason = format!("it has {} fields, the head line has {}", fields.len(), head.len());
            left_out.push((begin.sequence.to_string(), reason));
            continue;
        }
        let mut object: Map<String, Value> =
            head.iter().zip(fields).filter_map(|(name, field)| Some((name.clone(), Value::String(field?)))).collect();
        object.insert(LINE.to_owned(), Value::String(begin.sequence.to_string()));
        records.push(begin, None, None, Vec::new(), Value::Object(object).to_string().as_bytes());
    }
    if parts > 0 {
        return Err(Error::invalid(format!("{path} line {}: a quote is not closed", begin.sequence))
            .with_help("double quotes within a quoted field"));
    }
    tell(path, left_out);
    head.map(|head| (head, records)).ok_or_else(|| {
        Error::invalid(format!("{path} is empty")).with_help("a CSV file begins with a line of column names")
    })
}

/// Columns without a name are called as in Spark.
fn head_names(fields: Vec<csv::Field>) -> Vec<String> {
    fields.into_iter().enumerate().map(|(i, name)| name.unwrap_or_else(|| format!("_c{i}"))).collect()
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

async fn from_csv(
    name: &str,
    path: &str,
    lines: &Records,
    separator: char,
    columns: Option<Columns>,
    adhoc: &mut AdHoc,
) -> Result<()> {
    let (head, records) = csv_records(path, lines, separator)?;
    if let Some(twice) = head.iter().enumerate().find_map(|(i, name)| head[..i].contains(name).then_some(name)) {
        return Err(Error::invalid(format!("{path} has two columns called '{twice}'"))
            .with_help("rename one of them in the head line"));
    }
    let texts = head.iter().cloned().chain([LINE.to_owned()]).map(|name| (name, SqlType::String)).collect();
    let decoded = JsonDecoder::new(schema(texts)).decode(&records, "0").map_err(|error| error.within(path))?;
    adhoc.add(TEXTS, decoded.batch);
    let types: Vec<(String, String)> = match columns {
        Some(columns) => {
            if let Some((unknown, _)) = columns.iter().find(|(name, _)| !head.contains(name)) {
                return Err(Error::invalid(format!("{path} has no column '{unknown}'"))
                    .with_help(format!("its columns are {}", head.join(", "))));
            }
            columns.into_iter().map(|(name, ty)| (name, sql_name(&ty.to_arrow()))).collect()
        }
        None => csv_types(&head, adhoc).await?,
    };
    left_out_of_csv(path, &types, adhoc).await?;
    let casts: Vec<String> = types.iter().map(|(name, ty)| format!("CAST({0} AS {ty}) AS {0}", quoted(name))).collect();
    let fits: Vec<String> = types.iter().map(|(name, ty)| format!("NOT ({})", misfit(name, ty))).collect();
    let query = format!("SELECT {} FROM {TEXTS} WHERE {}", casts.join(", "), fits.join(" AND "));
    let rows = adhoc.run(&query).await.map_err(|error| error.error.within(path))?;
    adhoc.remove(TEXTS);
    adhoc.add(name, rows);
    Ok(())
}

fn misfit(name: &str, ty: &str) -> String {
    format!("{0} IS NOT NULL AND try_cast({0} AS {ty}) IS NULL", quoted(name))
}

async fn left_out_of_csv(path: &str, types: &[(String, String)], adhoc: &AdHoc) -> Result<()> {
    let mut left_out = Vec::new();
    for (name, ty) in types.iter().filter(|(_, ty)| ty != "string") {
        let query = format!("SELECT {LINE}, {} AS value FROM {TEXTS} WHERE {}", quoted(name), misfit(name, ty));
        let rows = adhoc.run(&query).await.map_err(|error| error.error.within(path))?;
        for row in tidegate_engine::texts(&rows, adhoc.zone())? {
            let [line, value] = row.as_slice() else { continue };
            let (line, value) = (line.clone().unwrap_or_default(), value.clone().unwrap_or_default());
            left_out.push((line, format!("column '{name}': '{}' does not fit {ty}", value.escape_debug())));
        }
    }
    tell(path, left_out);
    Ok(())
}

/// The narrowest type that all values of a column fit: int, bigint, double, date, timestamp, boolean, string.
async fn csv_types(head: &[String], adhoc: &AdHoc) -> Result<Vec<(String, String)>> {
    const TYPES: [&str; 6] = ["int", "bigint", "double", "date", "timestamp", "boolean"];
    let mut types = Vec::with_capacity(head.len());
    for name in head {
        let column = quoted(name);
        let fit = |ty: &str| {
            let form = match ty {
                "date" => format!("{column} RLIKE '^[0-9]{{4}}-[0-9]{{1,2}}-[0-9]{{1,2}}$'"),
                "timestamp" => format!("{column} RLIKE '^[0-9]{{4}}-[0-9]{{1,2}}-[0-9]{{1,2}}[ T]'"),
                "boolean" => format!("lower({column}) IN ('true', 'false')"),
                _ => "true".to_owned(),
            };
            format!("count_if({form} AND try_cast({column} AS {ty}) IS NOT NULL) = count({column}) AS `{ty}`")
        };
        let fits: Vec<String> = TYPES.iter().map(|ty| fit(ty)).collect();
        let query = format!("SELECT count({column}) > 0 AS given, {} FROM {TEXTS}", fits.join(", "));
        let rows = adhoc.run(&query).await.map_err(|error| error.error)?;
        let answers = tidegate_engine::texts(&rows, adhoc.zone())?;
        let yes = |at: usize| answers.first().is_some_and(|row| row[at].as_deref() == Some("true"));
        let found = TYPES.iter().enumerate().find(|(i, _)| yes(0) && yes(i + 1)).map_or("string", |(_, ty)| ty);
        types.push((name.clone(), found.to_owned()));
    }
    Ok(types)
}
