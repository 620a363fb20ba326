//! Replays, shrinks and runs schedules.
use tidegate_simulation::{run, Plan};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let n: u64 = args[2].parse().unwrap();
    if args[1] == "replay" {
        let o = run(&Plan { story: true, ..Plan::of(n) });
        for l in o.story { println!("{l}"); }
        println!("{:?}", o.violation);
        return;
    }
    let t = std::time::Instant::now();
    let mut days = 0u64;
    let mut events = 0;
    for seed in 0..n {
        let o = run(&Plan::of(seed));
        days += o.time / 1_000_000;
        events += o.events;
        if let Some(v) = o.violation { println!("seed {seed}: {} {}", v.id, v.what); }
    }
    println!("{n} schedules in {:?}, {} days, {events} events", t.elapsed(), days / 86400);
}
