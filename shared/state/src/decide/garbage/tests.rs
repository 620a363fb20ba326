use super::*;

const HORIZON: Duration = Duration::from_secs(10);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

fn limits() -> Limits {
    Limits { horizon: HORIZON, candidates: 100, removed: 100 }
}

fn candidates(since: &[(&str, i64)]) -> Candidates {
    let since = since.iter().map(|(name, seconds)| ((*name).to_owned(), at(*seconds))).collect();
    Candidates { since, cursor: String::new() }
}

fn scan<'a>(listed: &[&'a str], referenced: &[&str]) -> Scan<'a> {
    Scan {
        groups: listed.iter().filter_map(|name| group(name)).collect(),
        listed: listed.iter().copied().collect(),
        referenced: referenced.iter().map(|name| (*name).to_owned()).collect(),
    }
}

#[test]
fn names_belong_to_groups() {
    assert_eq!(group("1/s:0/3/a/b"), Some("1/s:0"));
    assert_eq!(group("2/$close:sums/3/a/b"), Some("2/$close:sums"));
    assert_eq!(group("1/$seals/sums/s:0/7/0/a/b"), Some("1/$seals/sums"));
    for odd in ["", "1", "1/s:0", "1/$seals", "1/$seals/sums"] {
        assert_eq!(group(odd), None, "{odd}");
    }
    assert_eq!(parse("1/s:0"), Some(Group::Lane(Generation(1), "s:0")));
    assert_eq!(parse("12/$seals/sums"), Some(Group::Seals(Generation(12), "sums")));
    assert_eq!(parse("x/s:0"), None);
}

#[test]
fn groups_take_turns() {
    let groups: BTreeSet<&str> = ["a", "b", "c", "d"].into();
    assert_eq!(next_groups(&groups, "", 3), ["a", "b", "c"]);
    assert_eq!(next_groups(&groups, "c", 3), ["d", "a", "b"]);
    assert_eq!(next_groups(&groups, "bb", 9), ["c", "d", "a", "b"]);
}

#[test]
fn only_what_two_scans_a_horizon_apart_have_found_is_removed() {
    let [a, b, c, d] = ["1/s:0/1/a", "1/s:0/2/b", "1/s:0/3/c", "1/s:0/4/d"];
    let before = candidates(&[(a, 0), (b, 1), (c, 0), ("1/s:0/9/gone", 0), ("1/t:0/1/x", 0)]);
    // a is due, b is not yet, c is referred to again, d is new, x was not looked at.
    let sweep = sweep(&before, &scan(&[a, b, c, d], &[c]), at(10), limits());
    assert_eq!(sweep.remove, [a]);
    assert_eq!(sweep.since, candidates(&[(b, 1), (d, 10), ("1/t:0/1/x", 0)]).since);
}

#[test]
fn a_finding_in_between_starts_the_horizon_again() {
    let name = "1/s:0/1/a";
    let mut known = Candidates::default();
    for (seconds, referenced, removed) in [(0, false, 0), (9, true, 0), (11, false, 0), (20, false, 0), (21, false, 1)]
    {
        let referenced: &[&str] = if referenced { &[name] } else { &[] };
        let sweep = sweep(&known, &scan(&[name], referenced), at(seconds), limits());
        assert_eq!(sweep.remove.len(), removed, "at {seconds}");
        known.since = sweep.since;
    }
    // A clock that goes back removes nothing.
    let sweep = sweep(&candidates(&[(name, 50)]), &scan(&[name], &[]), at(0), limits());
    assert!(sweep.remove.is_empty());
}

#[test]
fn work_and_memory_are_bounded() {
    let names: Vec<String> = (0..20).map(|i| format!("1/s:0/{i:02}/a")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let bounds = Limits { candidates: 8, removed: 3, ..limits() };
    let first = sweep(&Candidates::default(), &scan(&names, &[]), at(0), bounds);
    assert_eq!((first.remove.len(), first.since.len()), (0, 8));
    let known = Candidates { since: first.since, ..Candidates::default() };
    let second = sweep(&known, &scan(&names, &[]), at(10), bounds);
    assert_eq!((second.remove.len(), second.since.len()), (3, 8));
}
