//! Processors that are killed, or stopped in the middle of a batch while others go on, and continued later: the receiver's
//! content is that of an undisturbed run.

use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;

use crate::kit::{Dice, Receiver};
use crate::lambda::{Dynamo, expected, kinesis, lines, sequence_number};
use crate::lambda_api::{Answer, Environment};

/// Environments that take turns.
const ENVIRONMENTS: usize = 4;
/// Batches between a stop and what continues it, at most.
const STOPPED_FOR: u64 = 6;
/// Invocations of one environment at most: nobody reads what it prints, a line of 1 to 2 KB each, and a pipe holds 64 KB.
const USES: u32 = 20;
/// Interruptions. `TIDEGATE_KILLS=2000` asks for more.
const INTERRUPTIONS: u64 = 24;
/// Records for each of them.
const RECORDS: u64 = 120;

fn interruptions() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a developer asks for more")]
    let asked = std::env::var("TIDEGATE_KILLS").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(INTERRUPTIONS)
}

struct Slot {
    environment: Environment,
    uses: u32,
    stopped: Option<Stopped>,
}

/// An invocation that stands still.
struct Stopped {
    answer: oneshot::Receiver<Answer>,
    from: usize,
    to: usize,
    until: u64,
}

/// How far an answer says that records are done.
fn done(answer: &Answer, from: usize, to: usize) -> usize {
    match answer.as_ref().map(|answer| answer["batchItemFailures"][0]["itemIdentifier"].as_str()) {
        Ok(None) => to,
        Ok(Some(first)) => {
            assert_eq!(first, sequence_number(from), "the first record of what is not done");
            0
        }
        // Its time was over when it went on.
        Err(_) => 0,
    }
}

async fn pause(dice: &mut Dice) {
    #[expect(clippy::disallowed_methods, reason = "another process is at work")]
    tokio::time::sleep(Duration::from_micros(dice.below(40_000))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn environments_are_killed_stopped_and_continued() {
    let folder = tempfile::tempdir().expect("a folder");
    let wanted = interruptions();
    let text = lines(u32::try_from(wanted * RECORDS).expect("records fit"));
    let lines: Vec<&str> = text.lines().collect();
    let expected = expected(folder.path(), &text).await;
    let (dynamo, faults) = (Dynamo::start().await, ["--fail-503", "0.02", "--lose-answer", "0.03"]);
    let receiver = Receiver::start(&folder.path().join("r.db"), &faults);
    let fresh = async || {
        let environment = dynamo.environment(&receiver.url, folder.path()).await;
        Slot { environment, uses: 0, stopped: None }
    };
    let mut slots = Vec::new();
    for _ in 0..ENVIRONMENTS {
        slots.push(fresh().await);
    }
    let (mut dice, mut reached, mut turn, mut kills, mut stops, mut behind) = (Dice(17), 0, 0, 0, 0, 0);
    while reached < lines.len() || slots.iter().any(|slot| slot.stopped.is_some()) {
        turn += 1;
        assert!(turn < 40 * wanted + 400, "no progress");
        for slot in &mut slots {
            let due = |stopped: &mut Stopped| stopped.until <= turn || reached == lines.len();
            let Some(stopped) = slot.stopped.take_if(due) else { continue };
            slot.environment.signal("CONT");
            let answer = slot.environment.end(stopped.answer).await;
            behind += usize::from(reached >= stopped.to);
            reached = reached.max(done(&answer, stopped.from, stopped.to));
        }
        let free: Vec<usize> = (0..ENVIRONMENTS).filter(|slot| slots[*slot].stopped.is_none()).collect();
        if free.is_empty() || reached == lines.len() {
            continue;
        }
        let slot = &mut slots[free[dice.below(free.len() as u64) as usize]];
        let from = reached.saturating_sub(dice.below(100) as usize);
        let to = (from + 1 + dice.below(200) as usize).min(lines.len());
        let answer = slot.environment.begin(&kinesis("shardId-000000000000", &lines[from..to], from)).await;
        slot.uses += 1;
        match dice.below(6) {
            0 | 1 if stops < wanted / 2 => {
                pause(&mut dice).await;
                slot.environment.signal("STOP");
                stops += 1;
                slot.stopped = Some(Stopped { answer, from, to, until: turn + 1 + dice.below(STOPPED_FOR) });
            }
            2 | 3 if kills < wanted / 2 => {
                pause(&mut dice).await;
                slot.environment.kill();
                kills += 1;
                *slot = fresh().await;
            }
            _ => {
                let answer = slot.environment.end(answer).await;
                reached = reached.max(done(&answer, from, to));
                if slot.uses >= USES {
                    *slot = fresh().await;
                }
            }
        }
    }
    let summary: Value = receiver.summary().await;
    println!("{kills} kills, {stops} stops, {behind} continued behind others, {turn} turns; receiver: {summary}");
    assert!(kills > wanted / 4 && stops > wanted / 4 && behind > 0, "{kills} kills, {stops} stops, {behind}");
    assert_eq!(summary["conflicts"], 0, "{summary}");
    assert_eq!(receiver.rows().await, expected);
}
