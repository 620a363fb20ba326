//! Silence on Kafka partitions, which cannot be asked: the tick closes what they hold up.

use std::time::Duration;

use serde_json::json;

use crate::aws::{processor, resources};
use crate::kit::{Dice, Receiver, root};
use crate::lambda::kafka;
use crate::lanes::{WINDOW, naive, pipeline, records, rows};
use crate::stand_in::StandIn;

/// Of an invocation. A lane counts as silent only behind the deadline of its last one.
const TIMEOUT: Duration = Duration::from_secs(6);
/// The watermark's delay, in milliseconds.
const DELAY: u64 = 2_000;

async fn pause(time: Duration) {
    #[expect(clippy::disallowed_methods, reason = "real time has to pass")]
    tokio::time::sleep(time).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_partition_is_not_waited_for_for_ever() {
    let Some(aws) = StandIn::start(&root()) else { return };
    resources(&aws.url).await;
    let folder = tempfile::tempdir().expect("a folder");
    let receiver = Receiver::start(&folder.path().join("r.db"), &[]);
    let file = pipeline(folder.path());
    let text = std::fs::read_to_string(&file).expect("the pipeline");
    let text =
        text.replace("format: json", "format: json\n    partitions: 2").replace("delay: 2s", "delay: 2s, idle: 1s");
    std::fs::write(&file, text).expect("the pipeline is changed");
    let mut environment =
        processor(&aws.url, &file, &[("TIDEGATE_REST_AFTER", "0s"), ("LANES_URL", &receiver.url)]).await;
    let all = records(400, &mut Dice(31));
    let lines: Vec<String> = all.iter().map(|record| record.line()).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    // Both partitions for a while, then one alone.
    let one = environment.invoke_within(&kafka(&[(0, 0, &lines[..60]), (1, 0, &lines[60..120])]), TIMEOUT).await;
    assert_eq!(one, Ok(json!({ "batchItemFailures": [] })));
    let two = environment.invoke_within(&kafka(&[(0, 60, &lines[120..])]), TIMEOUT).await;
    assert_eq!(two, Ok(json!({ "batchItemFailures": [] })));
    let ended =
        |newest: u64| -> Vec<_> { naive(&all).into_iter().filter(|(at, ..)| at + WINDOW + DELAY <= newest).collect() };
    // Partition 1 has told how far it is with its own records only.
    let newest = |places: &[crate::lanes::Record]| places.iter().map(|record| record.at).max().unwrap_or(0);
    let held_up = rows(receiver.rows().await.into_iter());
    assert!(held_up.len() <= ended(newest(&all[60..120])).len(), "{held_up:?}");
    // The first tick takes the lane to what it has seen, the next ones to what the other has reached.
    for _ in 0..3 {
        pause(TIMEOUT + Duration::from_secs(2)).await;
        let ticked = environment.invoke_within(br#"{"tidegate":"tick"}"#, TIMEOUT).await;
        assert_eq!(ticked, Ok(json!({ "batchItemFailures": [] })));
    }
    let closed = rows(receiver.rows().await.into_iter());
    // A lane that has been silent is taken for as far as it has seen: no delay is waited for.
    let most: Vec<_> = naive(&all).into_iter().filter(|(at, ..)| at + WINDOW <= newest(&all)).collect();
    assert!(closed.len() >= ended(newest(&all)).len() && closed.len() <= most.len(), "{closed:?}");
    assert_eq!(closed, most[..closed.len()], "whole windows, each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_may_gain_partitions_where_windows_are_closed_over_all() {
    let Some(aws) = StandIn::start(&root()) else { return };
    resources(&aws.url).await;
    let folder = tempfile::tempdir().expect("a folder");
    let receiver = Receiver::start(&folder.path().join("r.db"), &[]);
    let file = pipeline(folder.path());
    let text = std::fs::read_to_string(&file).expect("the pipeline");
    let environment = async |partitions: u32| {
        std::fs::write(&file, text.replace("format: json", &format!("format: json\n    partitions: {partitions}")))
            .expect("the pipeline is changed");
        processor(&aws.url, &file, &[("LANES_URL", &receiver.url)]).await
    };
    let all = records(600, &mut Dice(41));
    let lines: Vec<String> = all.iter().map(|record| record.line()).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let done = Ok(json!({ "batchItemFailures": [] }));
    let mut two = environment(2).await;
    assert_eq!(two.invoke(&kafka(&[(0, 0, &lines[..60]), (1, 0, &lines[60..120])])).await, done);
    // The third partition comes before anybody has changed the pipeline file.
    assert_eq!(two.invoke(&kafka(&[(0, 60, &lines[120..180]), (2, 0, &lines[180..240])])).await, done);
    assert_eq!(two.invoke(&kafka(&[(1, 60, &lines[240..300]), (2, 60, &lines[300..360])])).await, done);
    let mut three = environment(3).await;
    let rest = [(0, 120, &lines[360..440]), (1, 120, &lines[440..520]), (2, 120, &lines[520..])];
    assert_eq!(three.invoke(&kafka(&rest)).await, done);
    let closed = rows(receiver.rows().await.into_iter());
    // Up to where the slowest of the three is: partition 0, whose last record is line 440.
    let slowest = all[360..440].iter().map(|record| record.at).max().unwrap_or(0);
    let ended: Vec<_> = naive(&all).into_iter().filter(|(at, ..)| at + WINDOW + DELAY <= slowest).collect();
    assert!(ended.len() > 20 && closed == ended, "{closed:?}\n{ended:?}");
}
