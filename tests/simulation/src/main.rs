//! Replays, shrinks and runs schedules.
fn main() {
    let n: u64 = std::env::args().nth(1).and_then(|s| s.parse().ok()).unwrap_or(100);
    let t = std::time::Instant::now();
    let mut years = 0u64;
    for seed in 0..n {
        let o = tidegate_simulation::run(&tidegate_simulation::Plan::of(seed));
        years += o.time / 1_000_000;
        if let Some(v) = o.violation { println!("seed {seed}: {} {}", v.id, v.what); }
    }
    println!("{n} schedules in {:?}, {} days", t.elapsed(), years / 86400);
}
