use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use tidegate_core::{
    EffectId, ErrorKind, Generation, Incarnation, LaneId, OutboxEntry, Position, RequestIndex, Segment, Sequence,
    Timestamp,
};

use super::commit::{Commit, StoredEntry};
use super::garbage::Candidates;
use super::manifest::Manifest;
use super::mark::MarkRecord;
use super::registry::{Phase, Registered, Registry};
use super::seal::{Seal, SealItem};
use super::*;

fn sample_commit() -> Commit {
    let kinesis: Sequence = "49590338271490256608559692538361571095921575989136588898".parse().unwrap();
    let before: Sequence = "49590338271490256608559692538361571095921575989136588882".parse().unwrap();
    let entry = |index: RequestIndex, payload: Payload| StoredEntry {
        entry: OutboxEntry {
            id: EffectId { n: 41, index },
            target: "sums".into(),
            wave: 1,
            rows: 500,
            committed_at: Timestamp(1_767_225_600_000_000),
            payload: Bytes::new(),
        },
        payload,
    };
    Commit {
        incarnation: Incarnation(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff),
        generation: Generation(1),
        n: 42,
        ring: 64,
        previous: [7; 16],
        writer: 1 << 100,
        attempt: u128::MAX - 5,
        deadline: Timestamp(1_767_225_660_000_000),
        carry: true,
        sealed: false,
        birth: false,
        positions: [
            ("shardId-000000000000".to_owned(), Position { sequence: kinesis, sub: 3 }),
            ("1".to_owned(), Position::new(0)),
        ]
        .into(),
        ranges: [
            (
                "shardId-000000000000".to_owned(),
                Range {
                    after: Some(Position { sequence: before, sub: 0 }),
                    first: Position { sequence: kinesis, sub: 1 },
                },
            ),
            ("1".to_owned(), Range { after: None, first: Position::new(0) }),
        ]
        .into(),
        watermark: Some(Timestamp(-5)),
        sink_lengths: [("out.jsonl".to_owned(), 12_345_678_901)].into(),
        fingerprint: [9; 16],
        layout: Some(vec!["output sums: window(2s) by branch, sum(amount) v1".into()]),
        delta: Payload::Inline((0..=255).collect()),
        outbox: vec![
            entry(RequestIndex::top(0).child(1), Payload::Inline(Bytes::from_static(b"[{\"a\":1}]"))),
            entry(RequestIndex::top(3), Payload::Blob(BlobPart { hash: [3; 32], offset: 10, length: 1 << 33 })),
        ],
    }
}

fn sample_sealing_commit() -> Commit {
    Commit { sealed: true, birth: true, ..sample_commit() }
}

fn sample_mark() -> MarkRecord {
    MarkRecord { before: vec![(Incarnation(5), Generation(2)), (Incarnation(u128::MAX), Generation(1))] }
}

fn sample_candidates() -> Candidates {
    Candidates { since: [("1/s:0/3/a/b".to_owned(), Timestamp(-5))].into(), cursor: "1/s:0".into() }
}

fn sample_manifest() -> Manifest {
    Manifest {
        incarnation: Incarnation(5),
        generation: Generation(2),
        ring: 16,
        n: 1000,
        checksum: [8; 16],
        writer: 6,
        attempt: 7,
        positions: [("orders-3".to_owned(), Position::new(77))].into(),
        ranges: [("orders-3".to_owned(), Range { after: Some(Position::new(70)), first: Position::new(72) })].into(),
        watermark: None,
        sink_lengths: BTreeMap::new(),
        fingerprint: [1; 16],
        layout: vec!["a".into(), "b".into()],
        snapshot: Payload::Inline(Bytes::from_static(b"state")),
        segments: Vec::new(),
    }
}

fn sample_manifest_of_segments() -> Manifest {
    let about = Bytes::from_static(&[0, 255, 128]);
    let segment = Segment { attempt: u128::MAX, hash: [7; 32], length: 1 << 33, about };
    let small = Segment { attempt: 0, hash: [0; 32], length: 0, about: Bytes::new() };
    Manifest { segments: vec![segment, small], ..sample_manifest() }
}

fn sample_registry() -> Registry {
    let entry = |ring, first| Registered { ring, first };
    let shard = |number: u32| LaneId::new("t", &format!("shardId-{number:012}"));
    let lanes =
        [(LaneId::new("orders", "orders-3"), entry(16, 1)), (shard(0), entry(64, 1)), (shard(1), entry(64, 900))];
    Registry {
        incarnation: Incarnation(5),
        generation: Generation(2),
        phase: Phase::Sealing { next: Generation(3) },
        lanes: lanes.into(),
        finished: [shard(0)].into(),
        floors: [("sums".to_owned(), Timestamp(-7)), ("max".to_owned(), Timestamp(1_767_225_600_000_000))].into(),
        sources: [("orders".to_owned(), "topic 1a2b".to_owned())].into(),
        origin: Bytes::from_static(b"why"),
    }
}

/// What format 1 could say of it.
fn sample_registry_1() -> Registry {
    let mut old = Registry::new(Incarnation(5), Generation(2));
    let lanes = [(LaneId::new("orders", "orders-3"), 16), (LaneId::new("t", "shardId-000000000000"), 64)];
    old.lanes = lanes.into_iter().map(|(lane, ring)| (lane, Registered { ring, first: 1 })).collect();
    old
}

fn sample_seal() -> Seal {
    Seal {
        output: "sums".into(),
        lane: LaneId::new("orders", "orders-3"),
        n: 1 << 40,
        part: 2,
        through: Some(Timestamp(1_767_225_600_000_000)),
        latest_end: Some(Timestamp(-5)),
        rows: (0..=255).collect(),
    }
}

fn sample_seal_item() -> SealItem {
    SealItem {
        incarnation: Incarnation(5),
        generation: Generation(2),
        hash: [4; 32],
        seal: Seal { through: None, rows: Bytes::new(), ..sample_seal() },
        rows: Payload::Blob(BlobPart { hash: [3; 32], offset: 0, length: 1 << 33 }),
    }
}

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/record/fixtures").join(name)
}

/// The bytes of each format stay readable for ever. To add those of a new format: raise the number in the name, run
/// `TIDEGATE_WRITE_FIXTURES=1 cargo test -p tidegate-state --lib kept_bytes`, and keep the old files and their tests.
/// A file that is there is never written again.
#[test]
#[expect(clippy::disallowed_methods, reason = "how a person asks for new files")]
fn kept_bytes_still_decode() {
    if std::env::var("TIDEGATE_WRITE_FIXTURES").is_ok() {
        write_fixtures();
    }
    let read = |name| std::fs::read(fixture(name)).unwrap();
    assert_eq!(Commit::decode(&read("commit-1.bin")).unwrap(), sample_commit());
    assert_eq!(Commit::decode(&read("commit-2.bin")).unwrap(), sample_sealing_commit());
    assert_eq!(Manifest::decode(&read("manifest-1.bin")).unwrap(), sample_manifest());
    assert_eq!(Manifest::decode(&read("manifest-2.bin")).unwrap(), sample_manifest_of_segments());
    assert_eq!(Registry::decode(&read("registry-1.bin")).unwrap(), sample_registry_1());
    assert_eq!(Registry::decode(&read("registry-2.bin")).unwrap(), sample_registry());
    assert_eq!(Seal::decode(&read("seal-1.bin")).unwrap(), sample_seal());
    assert_eq!(SealItem::decode(&read("seal-item-1.bin")).unwrap(), sample_seal_item());
    assert_eq!(MarkRecord::decode(&read("mark-1.bin")).unwrap(), sample_mark());
    assert_eq!(Candidates::decode(&read("garbage-1.bin")).unwrap(), sample_candidates());
    // A commit without flags is still one of format 1.
    assert_eq!(sample_commit().encode().unwrap()[0], 1);
    assert_eq!(sample_sealing_commit().encode().unwrap()[0], 2);
    // So is a manifest without segments.
    assert_eq!(sample_manifest().encode().unwrap()[0], 1);
    assert_eq!(sample_manifest_of_segments().encode().unwrap()[0], 2);
}

fn write_fixtures() {
    for (name, bytes) in [
        ("commit-1.bin", sample_commit().encode()),
        ("commit-2.bin", sample_sealing_commit().encode()),
        ("manifest-1.bin", sample_manifest().encode()),
        ("manifest-2.bin", sample_manifest_of_segments().encode()),
        ("registry-2.bin", sample_registry().encode()),
        ("seal-1.bin", sample_seal().encode()),
        ("seal-item-1.bin", sample_seal_item().encode()),
        ("mark-1.bin", sample_mark().encode()),
        ("garbage-1.bin", sample_candidates().encode()),
    ] {
        if !fixture(name).exists() {
            std::fs::write(fixture(name), bytes.unwrap()).unwrap();
        }
    }
}

#[test]
fn a_newer_format_is_named() {
    let mut bytes = sample_commit().encode().unwrap().to_vec();
    bytes[0] = COMMIT_FORMAT + 1;
    let error = Error::from(Commit::decode(&bytes).unwrap_err());
    assert_eq!(error.kind(), ErrorKind::Fenced);
    assert_eq!(
        error.message(),
        "state written by a newer version (format 3, this build reads up to 2): upgrade Tidegate"
    );
}

#[test]
fn a_record_is_not_taken_for_another_kind() {
    let bytes = sample_registry().encode().unwrap();
    assert!(matches!(Commit::decode(&bytes), Err(DecodeError::Damaged(_))));
    assert!(matches!(Manifest::decode(&bytes), Err(DecodeError::Damaged(_))));
}

#[test]
fn every_damaged_byte_is_noticed() {
    let bytes = sample_commit().encode().unwrap();
    for i in 0..bytes.len() {
        let mut damaged = bytes.to_vec();
        damaged[i] ^= 0x40;
        assert!(Commit::decode(&damaged).is_err(), "byte {i}");
        assert!(Commit::decode(&bytes[..i]).is_err(), "cut at {i}");
    }
}

#[test]
fn a_small_commit_is_small() {
    let commit = Commit { layout: None, delta: Payload::Inline(Bytes::new()), outbox: Vec::new(), ..sample_commit() };
    let bytes = commit.encode().unwrap().len();
    assert!(bytes < 260, "{bytes} bytes");
}

fn payloads() -> impl Strategy<Value = Payload> {
    prop_oneof![
        vec(any::<u8>(), 0..200).prop_map(|bytes| Payload::Inline(bytes.into())),
        (any::<[u8; 32]>(), any::<u64>(), any::<u64>()).prop_map(|(hash, offset, length)| Payload::Blob(BlobPart {
            hash,
            offset,
            length
        })),
    ]
}

fn segments() -> impl Strategy<Value = Segment> {
    let about = vec(any::<u8>(), 0..40).prop_map(Bytes::from);
    (any::<u128>(), any::<[u8; 32]>(), any::<u64>(), about).prop_map(|(attempt, hash, length, about)| Segment {
        attempt,
        hash,
        length,
        about,
    })
}

fn positions() -> impl Strategy<Value = BTreeMap<String, Position>> {
    let position = (any::<[u8; 32]>(), 0usize..=32, any::<u64>()).prop_map(|(mut bytes, zeros, sub)| {
        bytes[..zeros].fill(0);
        Position { sequence: Sequence::from_be_bytes(bytes), sub }
    });
    btree_map(".{0,12}", position, 0..4)
}

fn ranges() -> impl Strategy<Value = BTreeMap<String, Range>> {
    let position = (any::<u64>(), any::<u64>()).prop_map(|(number, sub)| Position { sub, ..Position::new(number) });
    let range = (proptest::option::of(position.clone()), position).prop_map(|(after, first)| Range { after, first });
    btree_map(".{0,12}", range, 0..4)
}

fn entries() -> impl Strategy<Value = StoredEntry> {
    let id = (any::<u64>(), vec(any::<u32>(), 1..4));
    (id, "[a-c]", any::<u16>(), any::<u32>(), any::<i64>(), payloads()).prop_map(
        |((n, path), target, wave, rows, committed_at, payload)| StoredEntry {
            entry: OutboxEntry {
                id: EffectId { n, index: RequestIndex::from_path(path).unwrap() },
                target,
                wave,
                rows,
                committed_at: Timestamp(committed_at),
                payload: Bytes::new(),
            },
            payload,
        },
    )
}

prop_compose! {
    fn commits()(
        numbers in (any::<u128>(), any::<u32>(), any::<u64>(), any::<u16>(), any::<u128>(), any::<u128>(), any::<i64>()),
        arrays in (any::<[u8; 16]>(), any::<[u8; 16]>()),
        (carry, sealed, birth) in (any::<bool>(), any::<bool>(), any::<bool>()),
        positions in positions(),
        ranges in ranges(),
        watermark in any::<Option<i64>>(),
        sink_lengths in btree_map(".{0,12}", any::<u64>(), 0..3),
        layout in proptest::option::of(vec(".{0,20}", 0..3)),
        delta in payloads(),
        outbox in vec(entries(), 0..5),
    ) -> Commit {
        let (incarnation, generation, n, ring, writer, attempt, deadline) = numbers;
        Commit {
            incarnation: Incarnation(incarnation),
            generation: Generation(generation),
            n,
            ring,
            previous: arrays.0,
            writer,
            attempt,
            deadline: Timestamp(deadline),
            carry,
            sealed,
            birth,
            positions,
            ranges,
            watermark: watermark.map(Timestamp),
            sink_lengths,
            fingerprint: arrays.1,
            layout,
            delta,
            outbox,
        }
    }
}

proptest! {
    #[test]
    fn commits_round_trip(commit in commits()) {
        prop_assert_eq!(Commit::decode(&commit.encode().unwrap()).unwrap(), commit);
    }

    #[test]
    fn manifests_round_trip(
        commit in commits(),
        layout in vec(".{0,20}", 0..3),
        snapshot in payloads(),
        segments in vec(segments(), 0..4),
    ) {
        let manifest = Manifest {
            incarnation: commit.incarnation,
            generation: commit.generation,
            ring: commit.ring,
            n: commit.n,
            checksum: commit.previous,
            writer: commit.writer,
            attempt: commit.attempt,
            positions: commit.positions,
            ranges: commit.ranges,
            watermark: commit.watermark,
            sink_lengths: commit.sink_lengths,
            fingerprint: commit.fingerprint,
            layout,
            snapshot,
            segments,
        };
        prop_assert_eq!(Manifest::decode(&manifest.encode().unwrap()).unwrap(), manifest);
    }

    #[test]
    fn registries_round_trip(
        numbers in (any::<u128>(), any::<u32>(), any::<Option<u32>>()),
        lanes in btree_map(".{0,12}", (any::<u16>(), any::<u64>()), 0..5),
        finished in vec(".{0,12}", 0..3),
        floors in btree_map(".{0,12}", any::<i64>(), 0..3),
        sources in btree_map(".{0,12}", ".{0,12}", 0..3),
        origin in vec(any::<u8>(), 0..20),
    ) {
        let (incarnation, generation, next) = numbers;
        let entry = |(lane, (ring, first)): (String, _)| (LaneId::from_stored(lane), Registered { ring, first });
        let registry = Registry {
            incarnation: Incarnation(incarnation),
            generation: Generation(generation),
            phase: next.map_or(Phase::Open, |next| Phase::Sealing { next: Generation(next) }),
            lanes: lanes.into_iter().map(entry).collect(),
            finished: finished.into_iter().map(LaneId::from_stored).collect(),
            floors: floors.into_iter().map(|(output, floor)| (output, Timestamp(floor))).collect(),
            sources,
            origin: origin.into(),
        };
        prop_assert_eq!(Registry::decode(&registry.encode().unwrap()).unwrap(), registry);
    }

    #[test]
    fn seals_round_trip(
        names in (".{0,12}", ".{0,12}"), n: u64, part: u32, through: Option<i64>, latest_end: Option<i64>,
        rows in vec(any::<u8>(), 0..200), stored in payloads(),
        origin in (any::<u128>(), any::<u32>(), any::<[u8; 32]>()),
    ) {
        let (output, lane) = names;
        let (incarnation, generation, hash) = origin;
        let lane = LaneId::from_stored(lane);
        let (through, latest_end) = (through.map(Timestamp), latest_end.map(Timestamp));
        let seal = Seal { output, lane, n, part, through, latest_end, rows: rows.into() };
        prop_assert_eq!(&Seal::decode(&seal.encode().unwrap()).unwrap(), &seal);
        let item = SealItem {
            incarnation: Incarnation(incarnation),
            generation: Generation(generation),
            hash,
            seal: Seal { rows: Bytes::new(), ..seal },
            rows: stored,
        };
        prop_assert_eq!(SealItem::decode(&item.encode().unwrap()).unwrap(), item);
    }

    #[test]
    fn any_bytes_are_an_error_and_no_panic(bytes in vec(any::<u8>(), 0..300), kind in 0usize..3) {
        let mut bytes = bytes;
        if bytes.len() > 2 {
            bytes[0] = 1;
            bytes[1] = b"CMR"[kind];
        }
        prop_assert!(Commit::decode(&bytes).is_err());
        // Behind a frame that is right, too.
        let framed = frame(Kind::Commit, &bytes).unwrap();
        prop_assert!(Commit::decode(&framed).is_err());
    }
}
