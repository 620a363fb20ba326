use super::{load, mistakes_of, with_rest};
use tidegate_runtime::config::Place;

fn sql_of(query: &str) -> tidegate_runtime::config::SqlText {
    let text = format!(
        "name: p\nsources:\n  s: {{ format: json, columns: {{ a: int }} }}\noutputs:\n  o:\n    target: t\n    query: {query}\n\
         targets:\n  t: {{ rest: {{ url: https://h/ }} }}\n"
    );
    load(&text).map_err(|errors| panic!("{errors}")).unwrap().outputs[0].sql.clone()
}

fn at(line: usize, column: usize) -> Place {
    Place { line, column }
}

#[test]
fn sql_leads_back_to_the_file() {
    let block = sql_of("|\n      select a,\n        b\n\n      from s\n");
    assert_eq!(block.text, "select a,\n  b\n\nfrom s\n");
    assert_eq!(
        [block.start(), block.place(1, 8), block.place(2, 3), block.place(4, 6)],
        [at(8, 7), at(8, 14), at(9, 9), at(11, 12)]
    );
    let folded = sql_of(">-\n      select a,\n      b from s\n");
    assert_eq!(folded.text, "select a, b from s");
    assert_eq!(folded.place(1, 11), at(9, 7));
    let plain = sql_of("select a,\n      b from s");
    assert_eq!(plain.text, "select a, b from s");
    assert_eq!([plain.place(1, 1), plain.place(1, 11)], [at(7, 12), at(8, 7)]);
    let single = sql_of("'select ''x'', b from s'");
    assert_eq!(single.text, "select 'x', b from s");
    assert_eq!([single.place(1, 8), single.place(1, 13)], [at(7, 20), at(7, 27)]);
    let double = sql_of(r#""select \"x\",\n  b from s""#);
    assert_eq!(double.text, "select \"x\",\n  b from s");
    assert_eq!(double.place(2, 3), at(7, 30));
}

#[test]
fn values_of_the_environment_stand_where_they_are_named() {
    let sql = sql_of("|\n      select '${REGION}' as r,\n        ${HOST} $${x} b\n");
    assert_eq!(sql.text, "select 'eu-west-1' as r,\n  api.example ${x} b\n");
    assert_eq!(sql.place(1, 12), at(8, 15), "inside the value: its beginning");
    assert_eq!(sql.place(1, 20), at(8, 26), "behind the value");
    assert_eq!(sql.place(2, 20), at(9, 23));
}

#[test]
fn places_outside_of_the_text_are_its_ends() {
    let sql = sql_of("|\n      select\n");
    assert_eq!(sql.place(0, 0), at(8, 7));
    assert_eq!(sql.place(1, 999), at(8, 13));
    assert!(sql.place(99, 1).line >= 8);
}

#[test]
fn later_mistakes_look_like_those_of_the_file() {
    let file = load(&with_rest("      url: https://h/{nope}\n")).map_err(|errors| panic!("{errors}")).unwrap();
    let mistake = file.mistake("targets.t.rest.url", "no output has a column 'nope'").with_help("known here: a");
    let shown = file.mistakes(vec![mistake]).to_string();
    assert_eq!(
        shown,
        "pipeline.yaml:11:12: targets.t.rest.url: no output has a column 'nope'\n  11 |       url: https://h/{nope}\n     \
         |            ^^^^^^^^^^^^^^^^\n  help: known here: a\n"
    );
    assert_eq!(file.mistake("targets.t.rest.batch.rows", "x").place, Some(at(11, 7)), "the nearest key above");
}

#[test]
fn windows_line_ends_and_marks_change_nothing() {
    let text = with_rest("      url: nope\n").replace('\n', "\r\n");
    let messages = mistakes_of(&format!("\u{feff}{text}"));
    assert!(messages.contains("pipeline.yaml:11:12: ") && messages.contains("  11 |       url: nope\n"), "{messages}");
}
