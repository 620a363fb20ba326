//! A process that commits is killed at random moments; what it said was committed is there, and the chain is whole.
#![allow(clippy::disallowed_methods, reason = "the test starts and kills processes")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the child tells what it has committed")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tidegate_core::random::StdRandom;
use tidegate_core::time::SystemClock;
use tidegate_core::{LaneId, Position};
use tidegate_state::embedded::{Durability, EmbeddedStore};
use tidegate_state::folder::FolderBlobs;
use tidegate_state::{
    CommitOutcome, Draft, LaneLimit, LoadRules, Loaded, ManifestOutcome, Pipeline, Ports, StateOptions,
};

const FOLDER: &str = "TIDEGATE_TEST_STATE_FOLDER";
const KILLS: usize = 12;

fn ports(folder: &Path) -> Ports {
    Ports {
        store: Arc::new(EmbeddedStore::open(folder, Durability::Process).unwrap()),
        blobs: Arc::new(FolderBlobs::new(folder.join("blobs"))),
        clock: Arc::new(SystemClock::default()),
        random: Arc::new(StdRandom::from_os()),
    }
}

async fn load(folder: &Path) -> Loaded {
    // Some commits and snapshots are spilled.
    let options = StateOptions { ring: 8, inline_limit: 400, ..StateOptions::default() };
    let pipeline = Pipeline::open(ports(folder), "p", options).await.unwrap();
    pipeline.load(&LaneId::new("s", "0"), LoadRules::default()).await.unwrap()
}

/// Numbers that are committed, in order.
fn numbers(loaded: &Loaded) -> Vec<u64> {
    let parts = loaded.snapshot.iter().chain(&loaded.deltas);
    let bytes: Vec<u8> = parts.flat_map(|part| part.iter().copied()).collect();
    bytes.chunks(8).map(|chunk| u64::from_be_bytes(chunk.try_into().unwrap())).collect()
}

/// What the killed process does: nothing unless the parent says so.
#[tokio::test]
async fn child() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let loaded = load(Path::new(&folder)).await;
    let mut state: Vec<u8> = numbers(&loaded).into_iter().flat_map(u64::to_be_bytes).collect();
    let mut lane = loaded.lane;
    lane.settled();
    loop {
        let n = lane.next_number();
        let delta = n.to_be_bytes().repeat(if n % 7 == 0 { 60 } else { 1 });
        state.extend_from_slice(&delta);
        let draft =
            Draft { positions: [("0".to_owned(), Position::new(n))].into(), delta: delta.into(), ..Draft::default() };
        assert_eq!(lane.commit(draft, LaneLimit::Single).await.unwrap(), CommitOutcome::Committed);
        println!("committed {n}");
        std::io::stdout().flush().unwrap();
        if lane.manifest_due() {
            let outcome = lane.write_manifest(Bytes::from(state.clone())).await.unwrap();
            assert_eq!(outcome, ManifestOutcome::Written);
        }
    }
}

#[tokio::test]
async fn killed_processes_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = StdRng::seed_from_u64(11);
    let mut before = 0;
    for _ in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let commits = random.random_range(1..60);
        let mut said = 0;
        let mut note = |line: String| {
            if let Some((_, n)) = line.rsplit_once("committed ") {
                said = n.parse::<u64>().unwrap();
            }
        };
        lines.by_ref().take(commits + 3).for_each(|line| note(line.unwrap()));
        std::thread::sleep(Duration::from_micros(random.random_range(0..3000)));
        child.kill().unwrap();
        child.wait().unwrap();
        lines.map_while(Result::ok).for_each(note);
        let loaded = load(folder.path()).await;
        let head = loaded.lane.head().n;
        assert!(head >= said && head > before, "the head is {head}, the process said {said}, it was {before}");
        let mut numbers = numbers(&loaded);
        numbers.dedup();
        assert!(numbers.iter().copied().eq(1..=head), "{numbers:?}");
        before = head;
    }
    eprintln!("{KILLS} kills, {before} commits");
}
