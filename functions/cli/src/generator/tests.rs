use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::Value;
use tidegate_core::Timestamp;
use tidegate_core::types::parse_columns;

use super::*;

fn generator(spec: &str) -> Generator {
    Generator::parse(spec).unwrap()
}

fn record(generator: &Generator, index: u64) -> String {
    let mut out = Vec::new();
    generator.record(index, &mut out);
    String::from_utf8(out).unwrap()
}

fn lines(spec: &str) -> Vec<String> {
    let mut out = Vec::new();
    let written = write_all(&generator(spec), &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    assert_eq!(lines.len() as u64, written);
    lines
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap()
}

#[test]
fn the_treasury_is_as_the_scenario_says() {
    let lines = lines("treasury?rate=100&records=2000&seed=7&start=2026-01-01T00:00:00Z&disorder=0s&bad=0");
    assert_eq!(lines.len(), 2000);
    let mut groups = BTreeSet::new();
    for (i, line) in lines.iter().enumerate() {
        let row = json(line);
        groups.insert((row["branch"].to_string(), row["currency"].to_string()));
        assert!((-100.0..=100.0).contains(&row["amount"].as_f64().unwrap()));
        let expected = Timestamp(1_767_225_600_000_000).plus(Duration::from_millis(10 * i as u64));
        assert_eq!(row["ts"], expected.to_string());
        assert_eq!(row.as_object().unwrap().len(), 4);
        assert!(line.contains("\"amount\":") && line.split_once('.').is_some());
    }
    assert_eq!(groups.len(), 16);
}

/// Recorded: a new version must not change what a resumed run sees.
#[test]
fn records_never_change() {
    use sha2::Digest;
    let found = Scenario::ALL.map(|scenario| {
        let all = lines(&format!("{}?records=1000&bad=0.01", scenario.name())).join("\n");
        let hash: String = sha2::Sha256::digest(all).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        format!("{} {hash}", scenario.name())
    });
    let recorded = [
        "treasury 74ebf833d6612671",
        "treasury500 f1192cd685cd1d55",
        "treasury85 48976f472ac999c6",
        "cities 3c35a817dea1e658",
        "wide c5e33336e84a13ad",
    ];
    assert_eq!(found, recorded);
}

#[test]
fn sizes_are_exact() {
    for (spec, size) in [("treasury85?records=5000", 84), ("treasury500?records=5000&disorder=1h", 300)] {
        for line in lines(spec) {
            assert_eq!(line.len(), size, "{line}");
            json(&line);
        }
    }
    let groups: BTreeSet<String> =
        lines("treasury85?records=5000").iter().map(|line| line[11..34].to_owned()).collect();
    assert_eq!(groups.len(), 200);
}

#[test]
fn cities_come_out_of_order() {
    let generator = generator("cities?records=20000");
    let (mut late, mut disordered, mut newest) = (0, 0, i64::MIN);
    for (i, line) in lines("cities?records=20000").iter().enumerate() {
        let sent = generator.sent_at(i as u64);
        let ts = json(line)["ts"].as_str().unwrap().to_owned();
        let at = spec::parse(&format!("cities?start={ts}")).unwrap().start.as_millis();
        let behind = sent - at;
        assert!((0..=600_000).contains(&behind));
        assert!(!(240_000 < behind && behind <= 300_000), "either within the disorder or really late");
        late += u32::from(behind > 300_000);
        disordered += u32::from(at < newest);
        newest = newest.max(at);
    }
    assert!((50..200).contains(&late), "{late}");
    assert!(disordered > 5000, "{disordered}");
    assert_eq!(lines("cities?records=10&late=0&disorder=0s").len(), 10);
}

#[test]
fn wide_records_are_half_null_in_changing_order() {
    let declared = parse_columns(Scenario::Wide.columns()).unwrap();
    assert_eq!(declared.len(), 20);
    let (mut null, mut explicit, mut orders) = (0, 0, BTreeSet::new());
    for line in lines("wide?records=2000") {
        let row = json(&line);
        let row = row.as_object().unwrap();
        for key in row.keys() {
            assert!(declared.iter().any(|(name, _)| name == key), "{key}");
        }
        let present = row.values().filter(|value| !value.is_null()).count();
        explicit += row.len() - present;
        null += 20 - present;
        orders.insert(row.keys().next().cloned());
    }
    assert!((19_000..21_000).contains(&null), "{null}");
    assert!((9_000..11_000).contains(&explicit), "{explicit}");
    assert!(orders.len() > 15);
}

#[test]
fn bad_records_leave_the_others_alone() {
    let good = lines("treasury?records=10000");
    let mixed = lines("treasury?records=10000&bad=0.02");
    let differing: Vec<_> = good.iter().zip(&mixed).filter(|(good, mixed)| good != mixed).collect();
    assert!((150..250).contains(&differing.len()), "{}", differing.len());
    for (_, bad) in differing {
        let wrong = serde_json::from_str::<Value>(bad)
            .is_ok_and(|value| value["amount"].is_number() && value["branch"].is_string());
        assert!(!wrong, "{bad}");
    }
}

#[test]
fn mistakes_are_named() {
    let cases = [
        ("tresury", "generators are treasury, treasury500, treasury85, cities, wide"),
        ("treasury?rat=1", "parameters are rate, records, seed, start, disorder, bad, late, pace"),
        ("treasury?rate=0", "between 1 and"),
        ("treasury?rate", "NAME=VALUE"),
        ("treasury?rate=1&rate=2", "twice"),
        ("treasury?late=0.1", "only the generator cities"),
        ("treasury?bad=2", "from 0 to 1"),
        ("treasury?disorder=5", "unit is missing"),
        ("treasury?start=2026-02-29T00:00:00Z", "is no time"),
        ("treasury?start=2026-01-01", "is no time"),
        ("treasury?start=2026-01-01T24:00:00Z", "is no time"),
        ("treasury?pace=slow", "fast or real"),
    ];
    for (spec, part) in cases {
        let error = Generator::parse(spec).unwrap_err().to_string();
        assert!(error.contains(part), "{spec}: {error}");
    }
}

#[test]
fn any_index_and_any_time_may_be_asked_for() {
    for scenario in Scenario::ALL {
        for extra in ["rate=1", "rate=1000000000&disorder=100000d", "start=9999-12-31T23:59:59.999Z&rate=1"] {
            let generator = generator(&format!("{}?{extra}&records=endless", scenario.name()));
            for index in [0, 1, u64::MAX / 2, u64::MAX] {
                json(&record(&generator, index));
                generator.due(index);
            }
        }
    }
}

#[test]
fn pace_is_real_time_only_where_asked() {
    assert_eq!(generator("treasury").due(500), Duration::ZERO);
    assert_eq!(generator("treasury?pace=real").due(550), Duration::from_millis(5500));
    assert_eq!(generator("treasury?pace=real&rate=3").due(1), Duration::from_micros(333_333));
}

struct Shut;

impl Write for Shut {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_goes_away_ends_an_endless_generator() {
    assert!(write_all(&generator("treasury?records=endless"), &mut Shut).unwrap() > 0);
}

proptest! {
    #[test]
    fn a_record_depends_on_seed_and_index_alone(
        scenario in 0..Scenario::ALL.len(), seed: u64, index: u64, bad in 0.0..1.0, before in 0..50u64
    ) {
        let name = Scenario::ALL[scenario].name();
        let spec = format!("{name}?records=endless&seed={seed}&bad={bad}&disorder=10s");
        let first = generator(&spec);
        let mut run = Vec::new();
        for i in index.saturating_sub(before)..index {
            first.record(i, &mut run);
        }
        let from = run.len();
        first.record(index, &mut run);
        let again = Generator::parse(&first.to_string()).unwrap();
        prop_assert_eq!(&again, &first);
        // As bytes: a broken record may end within a character.
        let mut expected = Vec::new();
        again.record(index, &mut expected);
        prop_assert_eq!(&run[from..], &expected);
    }

    #[test]
    fn times_print_as_the_clock_does(millis in -60_000_000_000_000i64..250_000_000_000_000) {
        let mut out = Vec::new();
        text::timestamp(millis, &mut out);
        prop_assert_eq!(String::from_utf8(out).unwrap(), Timestamp::from_millis(millis).to_string());
    }

    #[test]
    fn numbers_print_as_rust_does(number: u64, hundredths in -1_000_000i64..1_000_000) {
        let mut out = Vec::new();
        text::integer(number, &mut out);
        text::hundredths(hundredths, &mut out);
        let sign = if hundredths < 0 { "-" } else { "" };
        let rest = hundredths.abs();
        prop_assert_eq!(String::from_utf8(out).unwrap(), format!("{number}{sign}{}.{:02}", rest / 100, rest % 100));
    }
}
