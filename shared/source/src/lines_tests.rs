use proptest::prelude::*;

use super::*;
use crate::inflate::gzip;

/// Hands out a few bytes at a time.
struct Trickle<'a>(&'a [u8], usize);

impl Read for Trickle<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let n = self.1.min(self.0.len()).min(room.len());
        room[..n].copy_from_slice(&self.0[..n]);
        self.0 = &self.0[n..];
        Ok(n)
    }
}

fn lines(records: &Records) -> Vec<(u64, String)> {
    let line = |r: crate::RecordRef<'_>| {
        (r.position.sequence.as_u64().unwrap(), String::from_utf8_lossy(r.payload).into_owned())
    };
    records.iter().map(line).collect()
}

fn all(bytes: &[u8]) -> Vec<(u64, String)> {
    let mut records = Records::new();
    LineReader::new(bytes).read(usize::MAX, &mut records).unwrap();
    lines(&records)
}

#[test]
fn counts_every_line_and_gives_those_with_text() {
    let text = b"\xef\xbb\xbfa\r\n\n  \t\nb\n\r\nc";
    assert_eq!(all(text), [(1, "a".into()), (4, "b".into()), (6, "c".into())]);
    assert_eq!(all(b""), []);
    assert_eq!(all(b"\n\n"), []);
    assert_eq!(all(b"x"), [(1, "x".into())]);
}

#[test]
fn batches_are_exact() {
    let mut reader = LineReader::new(&b"1\n2\n\n3\n4\n5\n"[..]);
    let mut sizes = Vec::new();
    let mut records = Records::new();
    loop {
        records.clear();
        match reader.read(2, &mut records).unwrap() {
            0 => break,
            n => sizes.push((n, records.len())),
        }
    }
    assert_eq!(sizes, [(2, 2), (2, 2), (1, 1)]);
    assert_eq!(reader.line(), 6);
}

#[test]
fn gzip_is_inflated_and_damage_is_named() {
    let packed = gzip(b"a\nb\n");
    assert_eq!(all(&packed), [(1, "a".into()), (2, "b".into())]);
    let mut reader = LineReader::new(Trickle(&packed, 1));
    let mut records = Records::new();
    assert_eq!(reader.read(9, &mut records).unwrap(), 2);
    let mut cut = LineReader::new(&packed[..packed.len() - 4]);
    assert!(cut.read(9, &mut records).unwrap_err().to_string().contains("gzip"));
}

#[test]
fn skips_to_a_position() {
    for (target, left) in [(0, 3), (1, 2), (3, 1), (4, 0)] {
        let mut reader = LineReader::new(Trickle(b"a\n\nb\nc", 2));
        let mut records = Records::new();
        reader.skip_to(Position::new(target)).unwrap();
        assert_eq!(reader.read(9, &mut records).unwrap(), left, "{target}");
        assert!(records.iter().all(|r| r.position > Position::new(target)));
    }
    let error = LineReader::new(&b"a\n\nb\nc"[..]).skip_to(Position::new(5)).unwrap_err();
    assert!(error.to_string().contains("ends at line 4"), "{error}");
    assert!(LineReader::new(&b""[..]).skip_to(Position::new(1)).is_err());
}

#[test]
fn a_line_that_is_too_long_is_a_rejected_record() {
    let long = "x".repeat(MAX_LINE_BYTES + 5_000_000);
    let text = format!("a\n{long}\nb\n{}\nc", "y".repeat(MAX_LINE_BYTES));
    let mut records = Records::new();
    assert_eq!(LineReader::new(text.as_bytes()).read(9, &mut records).unwrap(), 5);
    let faults: Vec<_> = records.iter().map(|r| (r.payload.len(), r.fault.is_some())).collect();
    assert_eq!(faults, [(1, false), (MAX_LINE_BYTES, true), (1, false), (MAX_LINE_BYTES, false), (1, false)]);
    assert_eq!(records.last_position(), Some(Position::new(5)));
}

proptest! {
    #[test]
    fn equals_str_lines(text in "[ab\\r\\n ]{0,60}", step in 1usize..9, skip in 0usize..9) {
        let mut expected = Vec::new();
        let mut count = 0;
        for (i, line) in text.split_inclusive('\n').enumerate() {
            count = i + 1;
            let line = line.strip_suffix('\n').unwrap_or(line);
            let line = line.strip_suffix('\r').unwrap_or(line);
            if !line.trim_ascii().is_empty() && count > skip {
                expected.push((count as u64, line.to_owned()));
            }
        }
        let mut reader = LineReader::new(Trickle(text.as_bytes(), step));
        let mut records = Records::new();
        let skipped = reader.skip_to(Position::new(skip as u64));
        prop_assert_eq!(skipped.is_ok(), skip <= count);
        if skipped.is_ok() {
            while reader.read(step, &mut records).unwrap() > 0 {}
            prop_assert_eq!(lines(&records), expected);
        }
    }
}
