//! The reference of functions and operators, in the engine and in the documentation, is what the examples show.
//!
//! `UPDATE=1 cargo test -p tidegate-engine --test dialect reference` writes it anew.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use tidegate_engine::dialect::functions;

use crate::examples::{Outcome, folder, replay};
use crate::json::Json;

/// Characters of a query that is shown as an example.
const SHOWN: usize = 110;

/// What answers the time of the run, which is never that of the recording.
const CLOCK: &[&str] =
    &["curdate", "current_date", "current_timestamp", "current_timezone", "localtimestamp", "now", "unix_timestamp"];

/// One line of the reference.
struct Entry {
    group: String,
    support: &'static str,
    form: String,
    line: String,
    example: String,
    answer: String,
}

/// Form and line by name, as `catalogue.txt` has them.
fn catalogue(names: &[String]) -> BTreeMap<String, (String, String)> {
    let text = std::fs::read_to_string(folder().join("catalogue.txt")).expect("the catalogue is there");
    let mut found = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (form, what) = line.split_once(": ").unwrap_or_else(|| panic!("'{line}' has no colon"));
        let called = form.split('(').next().unwrap_or_default();
        let known = |word: &&str| names.iter().any(|name| name == word);
        let name = Some(called).filter(known).or_else(|| form.split(' ').find(known));
        let name = name.unwrap_or_else(|| panic!("'{form}' is no function of Spark"));
        let before = found.insert(name.to_owned(), (form.to_owned(), what.to_owned()));
        assert!(before.is_none(), "'{name}' stands in the catalogue twice");
    }
    found
}

fn answer(case: &Json) -> Option<String> {
    let [row] = case.get("rows").items() else { return None };
    let cell = |cell: &Json| if cell == &Json::Null { "NULL".to_owned() } else { cell.text().to_owned() };
    Some(row.items().iter().map(cell).collect::<Vec<_>>().join(", "))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

async fn entries() -> BTreeMap<String, Entry> {
    let read = |file: &str| Json::parse(&std::fs::read_to_string(folder().join(file)).expect("a recording"));
    let functions = read("documented/functions.json");
    let names: Vec<String> =
        functions.get("functions").items().iter().map(|f| f.get("name").text().to_owned()).collect();
    let catalogue = catalogue(&names);
    // Examples that count, and those that are set aside, which count where there are no others.
    let mut outcomes: BTreeMap<String, [Vec<Outcome>; 2]> = BTreeMap::new();
    let mut examples: BTreeMap<String, (String, String)> = BTreeMap::new();
    for case in read("documented/examples.json").get("cases").items() {
        if case.get("error") != &Json::Null {
            continue;
        }
        let (name, aside) = (case.get("function").text().to_owned(), case.get("aside") != &Json::Null);
        let (outcome, ..) = replay(case.clone()).await;
        let timed = CLOCK.contains(&name.as_str()) && outcome == Outcome::Different;
        let outcome = if timed { Outcome::Equal } else { outcome };
        outcomes.entry(name.clone()).or_default()[usize::from(aside)].push(outcome);
        let query = one_line(case.get("query").text());
        if let Some(answer) = answer(case)
            && !aside
            && outcome == Outcome::Equal
            && query.len() <= SHOWN
            && answer.len() <= SHOWN
        {
            examples.entry(name).or_insert_with(|| (query, one_line(&answer)));
        }
    }
    let known: Vec<&str> = functions::names().collect();
    let entry = |function: &Json| {
        let name = function.get("name").text().to_owned();
        let found = outcomes.get(&name).map(|[counted, aside]| if counted.is_empty() { aside } else { counted });
        let found = found.map(Vec::as_slice).unwrap_or_default();
        let equal = found.iter().filter(|outcome| **outcome == Outcome::Equal).count();
        let support = match (equal, found.len()) {
            (0, 0) if known.contains(&name.as_str()) => "yes",
            (0, _) => "no",
            (equal, all) if equal == all => "yes",
            _ => "partly",
        };
        let (form, line) = catalogue.get(&name).cloned().unwrap_or_else(|| (name.clone(), String::new()));
        let (example, answer) = examples.get(&name).cloned().unwrap_or_default();
        let group = function.get("group").text().to_owned();
        (name, Entry { group, support, form, line, example, answer })
    };
    functions.get("functions").items().iter().map(entry).collect()
}

fn tsv(entries: &BTreeMap<String, Entry>) -> String {
    let mut out = String::new();
    for (name, e) in entries {
        let fields = [name.as_str(), &e.group, e.support, &e.form, &e.line, &e.example, &e.answer];
        out.push_str(&fields.map(|field| field.replace('\t', " ")).join("\t"));
        out.push('\n');
    }
    out
}

/// Within a cell of a table.
fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{}`", text.replace('|', "\\|").replace('`', "'")) }
}

fn page(entries: &BTreeMap<String, Entry>) -> String {
    let count = |support| entries.values().filter(|entry| entry.support == support).count();
    let mut out = format!(
        "# Functions and operators\n\nEvery built-in function and operator of Spark 4.3 by its name there: {} are supported, {} \
         in part, {} not: they are refused, or nothing is promised of them. Supported means that all examples in Spark's documentation give the same types and values; \
         [examples.txt](../tests/spark/examples.txt) says what is missing in the others. `tidegate sql --functions NAME` shows \
         one of them. This page is written by a test; see [tests/spark](../tests/spark/README.md).\n",
        count("yes"),
        count("partly"),
        count("no")
    );
    let mut groups: BTreeMap<&str, Vec<(&String, &Entry)>> = BTreeMap::new();
    for (name, entry) in entries {
        groups.entry(entry.group.trim_end_matches("_funcs")).or_default().push((name, entry));
    }
    for (group, members) in groups {
        let (described, bare): (Vec<_>, Vec<_>) = members.into_iter().partition(|(_, entry)| !entry.line.is_empty());
        let _ = write!(out, "\n## {group}\n");
        if !described.is_empty() {
            out.push_str("\n| Form | Supported | What it does | Example | Answer |\n|---|---|---|---|---|\n");
        }
        for (_, e) in described {
            let line = e.line.replace('|', "\\|");
            let cells = [code(&e.form), e.support.to_owned(), line, code(&e.example), code(&e.answer)];
            let _ = writeln!(out, "| {} |", cells.join(" | "));
        }
        if !bare.is_empty() {
            let names: Vec<String> = bare.iter().map(|(name, _)| format!("`{name}`")).collect();
            let _ = write!(out, "\nNot supported: {}.\n", names.join(", "));
        }
    }
    out
}

#[tokio::test]
async fn reference_is_current() {
    let entries = entries().await;
    let bare: Vec<_> = entries.iter().filter(|(_, e)| e.line.is_empty() && e.support != "no").collect();
    let bare: Vec<_> = bare.iter().map(|(name, _)| name).collect();
    assert!(bare.is_empty(), "these are supported and not described in catalogue.txt: {bare:?}");
    let engine = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    for (path, text) in [
        (engine.join("src/dialect/reference/functions.tsv"), tsv(&entries)),
        (engine.join("../../docs/functions.md"), page(&entries)),
    ] {
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &text).expect("the reference is written");
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == text, "{} is not current: run this test with UPDATE=1", path.display());
    }
}
