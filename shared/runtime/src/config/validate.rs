//! From raw to validated: everything that needs more than one value. Pure; reports every mistake.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_core::Zone;
use tidegate_core::types::{SqlType, parse_columns};

use super::errors::Mistake;
use super::raw;
use super::read::{At, Named};
use super::suggest;
use super::target;
use super::validated::{
    Column, DeadLetters, Format, MetadataColumn, OnBadRecord, Output, OutputScope, Source, SqlText, StateSettings,
    TimestampUnit, View, Watermark,
};

/// Characters of a name at most.
pub const MAX_NAME: usize = 64;

/// A target name that dead letters use themselves.
const RESERVED_TARGET: &str = "dead_letters";

/// The validated parts of a file. They are used only if `mistakes` stays empty.
#[derive(Default)]
pub(super) struct Parts {
    pub name: String,
    pub sources: Vec<Source>,
    pub views: Vec<View>,
    pub session_time_zone: Option<Zone>,
    pub outputs: Vec<Output>,
    pub targets: BTreeMap<String, tidegate_delivery::config::Target>,
    pub dead_letters: Option<DeadLetters>,
    pub report_item_failures: Option<bool>,
    pub state: StateSettings,
    pub mistakes: Vec<Mistake>,
    pub warnings: Vec<Mistake>,
}

/// Checks `raw`.
pub(super) fn validate(raw: raw::Pipeline) -> Parts {
    let mut parts = Parts::default();
    if let Some(name) = &raw.name {
        if !is_label(name) {
            let message = format!("'{}' is no pipeline name", name.value);
            parts.mistakes.push(name.mistake(message, label_rule()));
        }
        parts.name.clone_from(&name.value);
    }
    let targets = raw.targets.as_ref().map(|targets| names_of(targets)).unwrap_or_default();
    let targets_known = raw.targets.is_some();
    sql_names(&raw, &mut parts);
    if let Some(sources) = raw.sources {
        check_sources(sources, &mut parts);
    }
    if let Some(views) = raw.views {
        parts.views = views.value.0.into_iter().filter_map(|(name, sql)| view(name, sql?)).collect();
    }
    if let Some(name) = &raw.session_time_zone {
        parts.session_time_zone = zone(name, &mut parts.mistakes);
    }
    if let Some(outputs) = raw.outputs {
        check_outputs(outputs, targets_known.then_some(&targets), &mut parts);
    }
    if let Some(targets) = raw.targets {
        check_targets(targets, &mut parts);
    }
    unused_views(&mut parts);
    parts.dead_letters = raw.dead_letters.map(|letters| dead_letters(letters.value, &mut parts.mistakes));
    parts.report_item_failures = raw.report_item_failures.map(|flag| flag.0);
    if let Some(state) = raw.state {
        parts.state.ring = state.ring.as_ref().and_then(|ring| u16::try_from(ring.0).ok());
        parts.state.inline_limit = state.inline_limit.as_ref().and_then(|limit| usize::try_from(limit.0).ok());
    }
    parts
}

/// A time zone by its name or offset.
fn zone(name: &At<String>, mistakes: &mut Vec<Mistake>) -> Option<Zone> {
    let found = Zone::parse(name);
    if found.is_none() {
        let rule = "write a name of the tz database such as Europe/Berlin, or an offset such as +02:00";
        let help = match suggest::closest(name, Zone::names()) {
            Some(like) => format!("did you mean '{like}'? Else {rule}"),
            None => rule.to_owned(),
        };
        mistakes.push(name.mistake(format!("'{}' is no time zone", name.value), help));
    }
    found
}

fn names_of<T>(named: &Named<T>) -> Vec<String> {
    named.0.iter().map(|(name, _)| name.value.clone()).collect()
}

/// Letters, digits and `_`, not beginning with a digit.
fn is_identifier(name: &str) -> bool {
    name.len() <= MAX_NAME
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// An identifier that may hold `-` too.
fn is_label(name: &str) -> bool {
    is_identifier(&name.replace('-', "_")) && !name.starts_with('-')
}

fn label_rule() -> String {
    format!("use letters, digits, '_' and '-', a letter first, at most {MAX_NAME} characters")
}

/// Checks that names can be used in SQL and are used once.
fn sql_names(raw: &raw::Pipeline, parts: &mut Parts) {
    let mut tables: BTreeMap<String, String> = BTreeMap::new();
    let sources = raw.sources.iter().flat_map(|sources| sources.0.iter().map(|(name, _)| (name, true)));
    let views = raw.views.iter().flat_map(|views| views.0.iter().map(|(name, _)| (name, true)));
    let outputs = raw.outputs.iter().flat_map(|outputs| outputs.0.iter().map(|(name, _)| (name, false)));
    let mut seen_outputs: BTreeMap<String, String> = BTreeMap::new();
    for (name, is_table) in sources.chain(views).chain(outputs) {
        if !is_identifier(name) {
            let rule =
                format!("use letters, digits and '_', a letter first, at most {MAX_NAME} characters, no '$' or '-'");
            parts.mistakes.push(name.mistake(format!("'{}' cannot be a name in SQL", name.value), rule));
        }
        let seen = if is_table { &mut tables } else { &mut seen_outputs };
        if let Some(other) = seen.get(&name.to_ascii_lowercase()) {
            let message = format!("'{other}' has this name already; SQL does not tell upper from lower case");
            parts.mistakes.push(name.mistake(message, "choose another name"));
        } else {
            seen.insert(name.to_ascii_lowercase(), name.key.clone());
        }
    }
}

fn check_sources(sources: At<Named<raw::Source>>, parts: &mut Parts) {
    if sources.0.is_empty() {
        parts.mistakes.push(sources.mistake("a pipeline needs a source", "add one below 'sources:'"));
    }
    let many = sources.0.len() > 1;
    let mut fed: BTreeMap<String, String> = BTreeMap::new();
    for (name, raw) in sources.value.0 {
        let Some(raw) = raw else { continue };
        match &raw.from {
            Some(from) => {
                if let Some(other) = fed.insert(from.value.clone(), name.key.clone()) {
                    let message = format!("'{other}' reads this stream already");
                    parts.mistakes.push(from.mistake(message, "read a stream once, and derive views from it"));
                }
            }
            None if many => parts.warnings.push(name.mistake(
                "nothing says which stream feeds this source, and there are several sources",
                "add 'from:' with the stream or topic; local runs do without",
            )),
            None => {}
        }
        parts.sources.extend(source(name, raw.value, &mut parts.mistakes));
    }
}

fn source(name: At<String>, raw: raw::Source, mistakes: &mut Vec<Mistake>) -> Option<Source> {
    let metadata: Vec<MetadataColumn> = raw.metadata.iter().flat_map(|list| list.iter().map(|word| word.0)).collect();
    for (i, word) in raw.metadata.iter().flat_map(|list| list.iter()).enumerate() {
        if metadata[..i].contains(&word.0) {
            mistakes.push(word.mistake(format!("'{}' stands here twice", word.0.name()), "remove one"));
        }
    }
    let names = raw.columns.as_ref().and_then(|columns| columns_of(columns, &metadata, mistakes));
    let known = names.unwrap_or_default();
    let watermark = raw.watermark.and_then(|watermark| check_watermark(watermark.value, &known, mistakes));
    let keys = raw.partition_key.into_iter().flat_map(|keys| keys.value);
    let partition_key = keys.filter_map(|key| find(&key, &known, mistakes).map(|found| found.0.clone())).collect();
    let columns = known.iter().filter_map(|(name, ty)| Some((name, ty.clone()?)));
    let columns = columns
        .filter(|(name, _)| !metadata.iter().any(|meta| meta.name() == name.as_str()))
        .map(|(name, (ty, unit))| Column { name: name.clone(), timestamp_unit: unit_of(&ty, unit), ty })
        .collect();
    Some(Source {
        place: name.place,
        name: name.value,
        format: raw.format.map_or(Format::Json, |format| format.0),
        columns,
        metadata,
        from: raw.from.map(|from| from.value),
        watermark,
        partitions: raw.partitions.map(|count| count.value.0 as u32),
        partition_key,
        on_bad_record: raw.on_bad_record.map_or(OnBadRecord::DeadLetter, |word| word.0),
    })
}

fn unit_of(ty: &SqlType, unit: Option<TimestampUnit>) -> Option<TimestampUnit> {
    (*ty == SqlType::Timestamp).then(|| unit.unwrap_or_default())
}

/// A column by name; a type that is wrong is `None`, so that the name still counts as known.
type KnownColumn = (String, Option<(SqlType, Option<TimestampUnit>)>);

/// The columns of a source.
type Known = Vec<KnownColumn>;

fn columns_of(columns: &At<raw::Columns>, metadata: &[MetadataColumn], mistakes: &mut Vec<Mistake>) -> Option<Known> {
    let mut known: Known = match &columns.value {
        raw::Columns::Ddl(ddl) => match parse_columns(&ddl.text) {
            Ok(list) => list.into_iter().map(|(name, ty)| (name, Some((ty, None)))).collect(),
            Err(error) => {
                let help = error.help().unwrap_or("write 'NAME TYPE, NAME TYPE'").to_owned();
                mistakes.push(columns.mistake(error.message(), help));
                return None;
            }
        },
        raw::Columns::Map(named) => {
            if named.0.is_empty() {
                mistakes.push(columns.mistake("a source needs a column", "write { NAME: TYPE }"));
            }
            named.0.iter().map(|(name, column)| (name.value.clone(), column_type(name, column, mistakes))).collect()
        }
    };
    let mut seen = BTreeSet::new();
    known.retain(|(name, ty)| ty.is_some() || !raw::cut(name));
    for (name, _) in &known {
        let place = column_place(columns, name);
        if name.is_empty() || name.contains(|c: char| c.is_control() || c == '`') {
            mistakes.push(place.mistake("this cannot be a column name", "name the column, without '`'"));
        } else if metadata.iter().any(|meta| meta.name().eq_ignore_ascii_case(name)) {
            mistakes.push(place.mistake(
                format!("'{name}' is asked for as metadata and declared as a column"),
                "remove one of the two",
            ));
        } else if !seen.insert(name.to_lowercase()) {
            let message = format!("column '{name}' is declared twice; SQL does not tell upper from lower case");
            mistakes.push(place.mistake(message, "rename one of the two"));
        }
    }
    for meta in metadata {
        let ty = match meta {
            MetadataColumn::Arrival => SqlType::Timestamp,
            MetadataColumn::Key => SqlType::Binary,
            MetadataColumn::Headers => SqlType::Map(Box::new(SqlType::String), Box::new(SqlType::Binary)),
            MetadataColumn::Partition | MetadataColumn::Position => SqlType::String,
        };
        known.push((meta.name().to_owned(), Some((ty, None))));
    }
    Some(known)
}

/// Where the column `name` is declared.
fn column_place(columns: &At<raw::Columns>, name: &str) -> At<String> {
    let named = match &columns.value {
        raw::Columns::Map(named) => named.0.iter().map(|(at, _)| at).rfind(|at| at.value == name).cloned(),
        raw::Columns::Ddl(_) => None,
    };
    named.unwrap_or_else(|| At {
        value: name.to_owned(),
        place: columns.place,
        width: columns.width,
        key: columns.key.clone(),
    })
}

fn column_type(
    name: &At<String>,
    column: &Option<At<raw::Column>>,
    mistakes: &mut Vec<Mistake>,
) -> Option<(SqlType, Option<TimestampUnit>)> {
    let column = column.as_ref()?;
    let text = column.ty.as_ref()?;
    let ty = match SqlType::parse(text) {
        Ok(ty) => ty,
        Err(error) => {
            let open = text.matches(['(', '<']).count() > text.matches([')', '>']).count();
            let word = text.split(['(', '<', ' ']).next().unwrap_or("");
            let help = match suggest::closest(word, TYPE_WORDS) {
                _ if open => {
                    format!("inside {{ }} YAML cuts at the comma: put the type in quotes, {}: \"...\"", name.value)
                }
                Some(close) if close != word => format!("did you mean '{close}'? {}", error.help().unwrap_or_default()),
                _ => error.help().unwrap_or("write a type of Spark's DDL").to_owned(),
            };
            mistakes.push(text.mistake(error.message(), help));
            return None;
        }
    };
    if let Some(unit) = column.unit.as_ref().filter(|_| ty != SqlType::Timestamp) {
        let message = format!("'unit' is for timestamps, '{}' is {ty}", name.value);
        mistakes.push(unit.mistake(message, "remove 'unit', or declare the column as timestamp"));
    }
    Some((ty, column.unit.as_ref().map(|unit| unit.0)))
}

/// Simple type names, for "did you mean".
const TYPE_WORDS: [&str; 17] = [
    "string",
    "boolean",
    "tinyint",
    "smallint",
    "int",
    "integer",
    "bigint",
    "long",
    "float",
    "double",
    "decimal",
    "date",
    "timestamp",
    "binary",
    "array",
    "struct",
    "map",
];

/// A column as SQL finds it: by its exact name, or in another letter case.
fn find<'a>(name: &At<String>, known: &'a Known, mistakes: &mut Vec<Mistake>) -> Option<&'a KnownColumn> {
    if known.is_empty() {
        return None;
    }
    let exact = known.iter().find(|(column, _)| *column == name.value);
    let found = exact.or_else(|| known.iter().find(|(column, _)| column.eq_ignore_ascii_case(name)));
    if found.is_none() {
        let names: Vec<&str> = known.iter().map(|(name, _)| name.as_str()).collect();
        let mut help = suggest::help(name, &names);
        if MetadataColumn::ALL.iter().any(|meta| meta.name() == name.value) {
            help = format!("add metadata: [{}] to the source", name.value);
        }
        mistakes.push(name.mistake(format!("the source has no column '{}'", name.value), help));
    }
    found
}

fn check_watermark(raw: raw::Watermark, known: &Known, mistakes: &mut Vec<Mistake>) -> Option<Watermark> {
    let wanted = raw.column?;
    let (column, ty) = find(&wanted, known, mistakes)?;
    if let Some((ty, _)) = ty.as_ref().filter(|(ty, _)| *ty != SqlType::Timestamp) {
        let message = format!("event time must be a timestamp, '{column}' is {ty}");
        let help = "declare the column as timestamp; numbers are read as seconds, or say { type: timestamp, unit: ms }";
        mistakes.push(wanted.mistake(message, help));
    }
    Some(Watermark { column: column.clone(), delay: raw.delay?.value.0, idle: raw.idle.map(|idle| idle.value.0) })
}

fn view(name: At<String>, sql: At<super::read::Text>) -> Option<View> {
    Some(View { place: name.place, name: name.value, sql: sql_text(sql) })
}

fn sql_text(sql: At<super::read::Text>) -> SqlText {
    SqlText { text: sql.value.text, map: sql.value.map }
}

/// Warns of views that no other query mentions, as a word anywhere in its text.
fn unused_views(parts: &mut Parts) {
    let words = |sql: &SqlText| -> BTreeSet<String> {
        let split = sql.text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        split.map(str::to_ascii_lowercase).collect()
    };
    let views: Vec<_> = parts.views.iter().map(|view| (view, words(&view.sql))).collect();
    let outputs: Vec<_> = parts.outputs.iter().map(|output| words(&output.sql)).collect();
    for (view, _) in &views {
        let name = view.name.to_ascii_lowercase();
        let in_view = views.iter().any(|(other, words)| other.name != view.name && words.contains(&name));
        if !in_view && !outputs.iter().any(|words| words.contains(&name)) {
            let warning = Mistake::new(view.place, format!("views.{}", view.name), "no query mentions this view")
                .with_width(view.name.chars().count())
                .with_help("use it in an output or another view, or remove it");
            parts.warnings.push(warning);
        }
    }
}

fn check_outputs(outputs: At<Named<raw::Output>>, targets: Option<&Vec<String>>, parts: &mut Parts) {
    if outputs.0.is_empty() {
        parts.mistakes.push(outputs.mistake("a pipeline needs an output", "add one below 'outputs:'"));
    }
    for (name, raw) in outputs.value.0 {
        let Some(raw) = raw else { continue };
        parts.outputs.extend(output(name, raw.value, targets, parts.sources.as_slice(), &mut parts.mistakes));
    }
}

fn output(
    name: At<String>,
    raw: raw::Output,
    targets: Option<&Vec<String>>,
    sources: &[Source],
    mistakes: &mut Vec<Mistake>,
) -> Option<Output> {
    let late = raw.late.and_then(|late| late.value.target);
    for target in raw.target.iter().chain(&late) {
        check_target_name(target, targets, mistakes);
    }
    let scope = raw.scope.as_ref().map_or(OutputScope::Stream, |scope| scope.0);
    if let (Some(mode), Some(_)) = (&raw.mode, &raw.scope) {
        mistakes.push(mode.mistake("'scope: batch' stands instead of 'mode'", "remove 'mode'"));
    }
    if let Some(late) = late.as_ref().filter(|_| scope == OutputScope::Batch) {
        mistakes.push(late.mistake("'scope: batch' has no windows, so no row is late", "remove 'late'"));
    }
    let no_watermark = !sources.is_empty() && sources.iter().all(|source| source.watermark.is_none());
    if let Some(late) = late.as_ref().filter(|_| scope == OutputScope::Stream && no_watermark) {
        let help = "add 'watermark: { column: ..., delay: ... }' to the source, or remove 'late'";
        mistakes.push(late.mistake("no source has a watermark, so no row is late", help));
    }
    Some(Output {
        place: name.place,
        name: name.value,
        sql: sql_text(raw.query?),
        scope,
        target: raw.target?.value,
        late_target: late.map(|target| target.value),
        order_by: target::column_list(raw.order_by, mistakes),
    })
}

fn check_target_name(target: &At<String>, targets: Option<&Vec<String>>, mistakes: &mut Vec<Mistake>) {
    let Some(targets) = targets.filter(|targets| !targets.contains(&target.value)) else { return };
    let names: Vec<&str> = targets.iter().map(String::as_str).collect();
    let help = match names.is_empty() {
        true => "add it below 'targets:'".to_owned(),
        false => suggest::help(target, &names),
    };
    mistakes.push(target.mistake(format!("there is no target '{}'", target.value), help));
}

fn check_targets(targets: At<Named<raw::Target>>, parts: &mut Parts) {
    for (name, raw) in targets.value.0 {
        if !is_label(&name) {
            parts.mistakes.push(name.mistake(format!("'{}' is no target name", name.value), label_rule()));
        } else if name.value == RESERVED_TARGET {
            let message = "this name is kept for dead letters";
            parts
                .mistakes
                .push(name.mistake(message, "choose another name; 'dead_letters:' stands at the top of the file"));
        }
        let used = parts
            .outputs
            .iter()
            .any(|output| output.target == name.value || output.late_target.as_ref() == Some(&name.value));
        if !used {
            let help = "name it as the 'target' of an output, or remove it";
            parts.warnings.push(name.mistake("no output uses this target", help));
        }
        let Some(rest) = raw.and_then(|raw| raw.value.rest) else { continue };
        let target = target::rest(*rest.value, &mut parts.mistakes, &mut parts.warnings);
        if let Some(target) = target {
            parts.targets.insert(name.value, tidegate_delivery::config::Target::Rest(Box::new(target)));
        }
    }
}

fn dead_letters(raw: raw::DeadLetters, mistakes: &mut Vec<Mistake>) -> DeadLetters {
    match raw {
        raw::DeadLetters::File(file) => DeadLetters::File(file.value),
        raw::DeadLetters::Sqs(queue) => {
            if !(queue.starts_with("https://") || queue.starts_with("http://")) {
                let help = "write the queue's URL: https://sqs.REGION.amazonaws.com/ACCOUNT/NAME";
                mistakes.push(queue.mistake("this is no queue URL", help));
            }
            DeadLetters::Sqs(queue.value)
        }
    }
}
