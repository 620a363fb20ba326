use serde_json::Value;

use super::*;
use crate::tests::{lane, run};

fn lines(entries: &[OutboxEntry]) -> Vec<Value> {
    let decode = |entry: &OutboxEntry| match Payload::decode(&entry.payload).unwrap() {
        Payload::DeadLetters(lines) => lines,
        other => panic!("{other:?}"),
    };
    let text = entries.iter().map(decode).map(|lines| String::from_utf8(lines.to_vec()).unwrap()).collect::<String>();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn letters_say_where_they_come_from() {
    let letter = DeadLetter {
        partition: Some("shard-0".into()),
        position: Some("42".into()),
        reason: "no JSON".into(),
        payload: Bytes::from_static(b"\xff\x00"),
        ..DeadLetter::default()
    };
    let text = DeadLetter { payload: Bytes::from_static(b"{\"a\":"), ..letter.clone() };
    let entries = dead_letter_entries(&lane(), 7, 3, Timestamp(0), &[letter, text]).unwrap();
    assert_eq!((entries.len(), entries[0].rows, entries[0].target.as_str()), (1, 2, DEAD_LETTERS));
    let lines = lines(&entries);
    assert_eq!(lines[0]["source"], "orders");
    assert_eq!(lines[0]["position"], "42");
    assert_eq!((&lines[0]["payload"], &lines[0]["encoding"]), (&"/wA=".into(), &"base64".into()));
    assert_eq!((&lines[1]["payload"], &lines[1]["encoding"]), (&"{\"a\":".into(), &"text".into()));
    assert!(lines[0]["id"].as_str().unwrap().ends_with("/7/3#0"));
    assert_eq!(lines[0]["time"], "1970-01-01T00:00:00.000Z");
    assert!(lines[0].get("expression").is_none());
}

#[test]
fn entries_are_bounded() {
    let letter = DeadLetter { payload: vec![b'x'; 100_000].into(), ..DeadLetter::default() };
    let entries = dead_letter_entries(&lane(), 7, 0, Timestamp(0), &vec![letter; 10]).unwrap();
    assert_eq!(entries.len(), 5);
    assert!(entries.iter().all(|entry| entry.payload.len() <= DEAD_LETTER_ENTRY_BYTES + 2));
    let letters = vec![DeadLetter::default(); 250];
    let entries = dead_letter_entries(&lane(), 7, 0, Timestamp(0), &letters).unwrap();
    assert_eq!(entries.iter().map(|entry| entry.rows).collect::<Vec<_>>(), [100, 100, 50]);
    let ids: std::collections::HashSet<_> = lines(&entries).iter().map(|line| line["id"].to_string()).collect();
    assert_eq!(ids.len(), 250);
}

#[test]
fn huge_originals_are_cut_with_a_flag() {
    let letter = DeadLetter { payload: "é".repeat(3_000_000).into(), ..DeadLetter::default() };
    let lines = lines(&dead_letter_entries(&lane(), 7, 0, Timestamp(0), &[letter]).unwrap());
    assert_eq!(lines[0]["cut"], 1_000_000);
    assert_eq!(lines[0]["payload"].as_str().unwrap().len(), 5_000_000);
}

#[test]
fn a_file_grows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dead.jsonl").to_str().unwrap().to_owned();
    let file = DeadLetterFile { path: path.clone() };
    run(file.keep(b"{}\n")).unwrap();
    run(file.keep(b"{}\n")).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), b"{}\n{}\n");
    let nowhere = DeadLetterFile { path: dir.path().to_str().unwrap().into() };
    assert_eq!(run(nowhere.keep(b"{}\n")).unwrap_err().kind(), tidegate_core::ErrorKind::Unavailable);
}
