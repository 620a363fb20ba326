//! `percentile_approx` over many values: the rank that Spark promises, in a state of a limited size.

use tidegate_core::Timestamp;
use tidegate_engine::dialect::functions::aggregate::approx::MAX_ACCURACY;
use tidegate_engine::dialect::functions::aggregate::summary::{
    FEWEST_HELD, HELD_PER_ACCURACY, MOST_TIMES, Summary, place,
};
use tidegate_engine::spec::Scope;

use crate::support::{Row, batch, engine, process, refused, results, run};

const VALUES: usize = 300_000;

/// A generator of numbers (xorshift).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// Values in one of some orders: drawn, drawn of few, up, down, from the middle.
fn stream(shape: usize, numbers: &mut Numbers) -> Vec<i128> {
    let value = |i: usize| match shape {
        0 => i128::from(numbers.next()),
        1 => i128::from(numbers.next() % 100),
        2 => i as i128,
        3 => -(i as i128),
        _ => i as i128 * if i.is_multiple_of(2) { 1 } else { -1 },
    };
    (0..VALUES).map(value).collect()
}

/// Summaries of parts of the stream, merged two by two in any order. The most values that one of them held.
fn summarized(values: &[i128], accuracy: u32, longest: usize, numbers: &mut Numbers) -> (Summary, usize) {
    let (mut parts, mut rest, mut most) = (vec![], values, 0);
    while !rest.is_empty() {
        let (part, behind) = rest.split_at((1 + numbers.below(longest)).min(rest.len()));
        let mut summary = Summary::new(accuracy);
        part.iter().for_each(|value| summary.add(*value).unwrap());
        parts.push(summary);
        rest = behind;
    }
    while parts.len() > 1 {
        let mut one = parts.swap_remove(numbers.below(parts.len()));
        let other = numbers.below(parts.len());
        parts[other].merge(one.held().unwrap()).unwrap();
        most = most.max(parts[other].held().unwrap().len());
    }
    (parts.remove(0), most)
}

/// How many ranks a value is away from a rank, counted in the sorted values.
fn away(sorted: &[i128], value: i128, rank: usize) -> usize {
    let (first, last) = (sorted.partition_point(|v| *v < value) + 1, sorted.partition_point(|v| *v <= value));
    assert!(last >= first, "{value} is none of the values");
    first.saturating_sub(rank).max(rank.saturating_sub(last))
}

/// One drawn stream, cut and merged at random: its ranks against the sorted values.
fn check_ranks(seed: u64, shape: usize, accuracy: u32) {
    let mut numbers = Numbers(seed);
    let values = stream(shape, &mut numbers);
    let longest = 10 + numbers.below(40_000);
    let (mut summary, most) = summarized(&values, accuracy, longest, &mut numbers);
    let case = format!("seed {seed}, shape {shape}, accuracy {accuracy}");
    assert!(most <= (HELD_PER_ACCURACY * accuracy as usize).max(FEWEST_HELD) * MOST_TIMES, "{case}: {most} held");
    let mut sorted = values;
    sorted.sort_unstable();
    let held = summary.held().unwrap();
    for share in (0..=20).map(|part| f64::from(part) / 20.0).chain([numbers.below(1 << 30) as f64 / (1 << 30) as f64]) {
        let value = held[place(held, accuracy, share).unwrap()].value;
        let rank = ((share * VALUES as f64).ceil() as usize).max(1);
        let away = away(&sorted, value, rank);
        assert!(away * accuracy as usize <= VALUES, "{case}: {share} is {away} ranks off");
    }
}

#[test]
fn ranks_are_as_near_as_the_accuracy_says() {
    for (seed, accuracy) in (1..).zip([1, 7, 100, 1000, 1000, 10_000, 100_000]) {
        for shape in 0..5 {
            check_ranks(seed * 1_000_003 + shape as u64, shape, accuracy);
        }
    }
}

#[test]
fn few_values_have_their_exact_ranks_however_they_are_cut() {
    let mut numbers = Numbers(7);
    for accuracy in [100, 1000, 10_000] {
        let values: Vec<i128> = (0..accuracy).map(|_| i128::from(numbers.next() % 5000)).collect();
        let (mut summary, _) = summarized(&values, accuracy, 30, &mut numbers);
        let mut sorted = values;
        sorted.sort_unstable();
        let held = summary.held().unwrap();
        for part in 1..100_u32 {
            let share = f64::from(part) / 101.0;
            let rank = (share * f64::from(accuracy)).ceil() as usize;
            assert_eq!(held[place(held, accuracy, share).unwrap()].value, sorted[rank - 1], "{accuracy} {share}");
        }
    }
}

#[test]
fn a_group_of_many_rows_has_a_result_and_a_small_state() {
    let sql = "SELECT branch, percentile_approx(n, array(0.25, 0.5), 1000) AS v, percentile_approx(amount, 0.9, 1000) AS w \
               FROM t GROUP BY window(ts, '2 seconds'), branch";
    let engine = engine(sql, Scope::Stream);
    let mut numbers = Numbers(3);
    let mut values: Vec<i64> = (0..VALUES as i64).collect();
    (1..values.len()).rev().for_each(|i| values.swap(i, numbers.below(i + 1)));
    let mut state = engine.new_state("t");
    for part in values.chunks(30_000) {
        let row = |n: &i64| -> Row { (Some(1), Some("a"), Some(*n as f64), Some(*n)) };
        let step = process(&engine, &state, batch(&part.iter().map(row).collect::<Vec<_>>()));
        assert_eq!(step.rejected, []);
        let bytes = engine.snapshot("t", &step.next).unwrap();
        assert!(bytes.len() < 500_000, "{}", bytes.len());
        state = run(engine.restore("t", Some(&bytes), &[])).unwrap();
    }
    let last = run(engine.drain("t", &state, Timestamp(0))).unwrap();
    assert_eq!(last.rejected, []);
    let line = &results(&last, 0, false)[0];
    let found: Vec<f64> =
        line.split(|c: char| !(c.is_ascii_digit() || c == '.')).filter_map(|part| part.parse().ok()).collect();
    assert_eq!(found.len(), 3, "{line}");
    for (found, share) in found.iter().zip([0.25, 0.5, 0.9]) {
        assert!((found - share * VALUES as f64).abs() <= VALUES as f64 / 1000.0 + 1.0, "{line}");
    }
}

#[test]
fn an_accuracy_out_of_range_is_refused_when_the_query_is_planned() {
    for accuracy in ["0".to_owned(), (MAX_ACCURACY + 1).to_string(), "n".to_owned()] {
        let message = refused(&format!(
            "SELECT percentile_approx(n, 0.5, {accuracy}) AS v FROM t GROUP BY window(ts, '1 second')"
        ));
        assert!(message.contains("the accuracy of percentile_approx"), "{accuracy}: {message}");
    }
}
