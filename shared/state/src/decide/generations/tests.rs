use super::*;

const A: Incarnation = Incarnation(1);
const B: Incarnation = Incarnation(2);

fn mark(incarnation: Incarnation, generation: u32, before: &[(Incarnation, u32)]) -> Mark {
    let before = before.iter().map(|(incarnation, until)| (*incarnation, Generation(*until))).collect();
    Mark { incarnation, generation: Generation(generation), before }
}

#[test]
fn a_registry_that_is_older_than_its_marks_is_found() {
    let judge = |incarnation, generation, marks: &[Mark]| guard(incarnation, Generation(generation), marks);
    assert_eq!(judge(A, 1, &[]), Guarded::Unmarked);
    assert_eq!(judge(A, 1, &[mark(A, 1, &[])]), Guarded::Fine);
    assert_eq!(judge(A, 2, &[mark(A, 1, &[])]), Guarded::Unmarked);
    assert!(matches!(judge(A, 1, &[mark(A, 1, &[]), mark(A, 2, &[])]), Guarded::Older(_)));
    // The mark of the generation itself was lost.
    assert!(matches!(judge(A, 1, &[mark(A, 2, &[])]), Guarded::Older(_)));
    // The state was deleted and created again, then the old one was restored.
    let marks = [mark(A, 1, &[]), mark(B, 1, &[(A, 1)])];
    assert_eq!(judge(B, 1, &marks), Guarded::Fine);
    assert!(matches!(judge(A, 1, &marks), Guarded::Older(_)));
    // After a reset the old one goes on under new ids.
    assert_eq!(judge(A, 2, &marks), Guarded::Unmarked);
    // Two pipelines of one name that do not know each other.
    assert_eq!(judge(B, 1, &[mark(A, 1, &[]), mark(B, 1, &[])]), Guarded::Fine);
}

fn registry(generation: u32, phase: Phase) -> Registry {
    Registry { phase, ..Registry::new(A, Generation(generation)) }
}

#[test]
fn a_generation_begins_once_behind_every_mark() {
    let begin =
        |registry: &Registry, marks: &[Mark]| begin(registry, Generation(2), marks).map(|change| change.map(next));
    fn next(change: Change) -> u32 {
        match change {
            Change::Write(Registry { phase: Phase::Sealing { next }, generation, .. }) => {
                assert_eq!(generation, Generation(2));
                next.0
            }
            other => panic!("{other:?}"),
        }
    }
    let open = registry(2, Phase::Open);
    assert_eq!(begin(&open, &[]).unwrap(), Some(3));
    assert_eq!(begin(&open, &[mark(A, 7, &[]), mark(B, 9, &[])]).unwrap(), Some(8));
    let sealing = registry(2, Phase::Sealing { next: Generation(3) });
    assert_eq!(begin(&sealing, &[mark(A, 2, &[]), mark(B, 9, &[])]).unwrap(), None);
    // A table that was restored to a copy from while rings were sealed: the number that it names is used.
    assert_eq!(begin(&sealing, &[mark(A, 3, &[])]).unwrap(), Some(4));
    assert_eq!(begin(&sealing, &[mark(A, 7, &[])]).unwrap(), Some(8));
    assert_eq!(begin(&registry(3, Phase::Open), &[]).unwrap_err().kind(), ErrorKind::Fenced);
}

#[test]
fn a_generation_opens_once_and_empty() {
    let mut sealing = registry(2, Phase::Sealing { next: Generation(8) });
    sealing.floors.insert("sums".into(), tidegate_core::Timestamp(5));
    sealing.sources.insert("s".into(), "x".into());
    let origin = Bytes::from_static(b"why");
    let Some(Change::Write(next)) = open(&sealing, Generation(2), &origin).unwrap() else { panic!("refused") };
    assert_eq!(next, Registry { origin: origin.clone(), ..registry(8, Phase::Open) });
    assert_eq!(open(&next, Generation(2), &origin).unwrap(), None);
    assert_eq!(open(&registry(2, Phase::Open), Generation(2), &origin).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn the_first_identity_stays() {
    let mut registry = registry(2, Phase::Open);
    let Some(Change::Write(known)) = identify(&registry, Generation(2), "s", "x") else { panic!("refused") };
    assert_eq!(known.sources["s"], "x");
    assert_eq!(identify(&known, Generation(2), "s", "y"), None);
    registry.generation = Generation(3);
    assert_eq!(identify(&registry, Generation(2), "s", "x"), None);
}
